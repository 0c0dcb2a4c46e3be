//! The official Fashion-MNIST files (Xiao, Rasul & Vollgraf 2017): their names and checksums, and
//! the report behind `threadcount data verify`.

use std::fmt;
use std::path::{Path, PathBuf};

use super::cache::{Cache, file_sha256, sha256};
use super::idx::{Form, Images, Labels};
use crate::{Error, Result};

/// One half of a set as it is filed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// The `train-` files.
    Train = 0,
    /// The `t10k-` files.
    Test = 1,
}

/// One of the four files of a set, and what the official one looks like.
#[derive(Clone, Copy, Debug)]
pub struct Official {
    /// Name of the raw file; the packed one adds `.gz`.
    pub name: &'static str,
    /// Images or labels.
    pub form: Form,
    /// Length of the official `.gz` in bytes.
    pub packed_len: u64,
    /// SHA-256 of the official `.gz`.
    pub packed_sha256: &'static str,
    /// Length of the official raw file in bytes.
    pub raw_len: u64,
    /// SHA-256 of the official raw file.
    pub raw_sha256: &'static str,
}

/// The four files: train images, train labels, test images, test labels. The SHA-256 were taken
/// from files whose MD5 are the published ones (README of zalandoresearch/fashion-mnist), in the
/// same order: 8d4fb7e6c68d591d4c3dfef9ec88bf0d, 25c81989df183df01b3e8a0aad5dffbe,
/// bef4ecab320f06d8554ea6380940ec79, bb300cfdad3c16e7a12a480ee83cd310.
pub const FILES: [Official; 4] = [
    Official {
        name: "train-images-idx3-ubyte",
        form: Form::Images,
        packed_len: 26_421_880,
        packed_sha256: "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        raw_len: 47_040_016,
        raw_sha256: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    },
    Official {
        name: "train-labels-idx1-ubyte",
        form: Form::Labels,
        packed_len: 29_515,
        packed_sha256: "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        raw_len: 60_008,
        raw_sha256: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    },
    Official {
        name: "t10k-images-idx3-ubyte",
        form: Form::Images,
        packed_len: 4_422_102,
        packed_sha256: "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        raw_len: 7_840_016,
        raw_sha256: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    },
    Official {
        name: "t10k-labels-idx1-ubyte",
        form: Form::Labels,
        packed_len: 5_148,
        packed_sha256: "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        raw_len: 10_008,
        raw_sha256: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
];

impl Official {
    /// Whether these bytes of a raw file are the official ones. The length is asked first, so only
    /// a file that may be official costs a hash (train images: about 25 ms with SHA instructions).
    pub fn is_raw(&self, bytes: &[u8]) -> bool {
        bytes.len() as u64 == self.raw_len && sha256(bytes) == self.raw_sha256
    }

    /// This file in `folder`: raw if it is there, else packed.
    ///
    /// # Errors
    /// [`Error::Data`] if there is neither.
    pub fn find(&self, folder: &Path) -> Result<PathBuf> {
        let raw = folder.join(self.name);
        let packed = folder.join(format!("{}.gz", self.name));
        // A dangling link counts as present: it is told of, not passed over.
        let present = |path: &PathBuf| path.symlink_metadata().is_ok();
        [&raw, &packed].into_iter().find(|path| present(path)).cloned().ok_or_else(|| {
            Error::data(
                &raw,
                "not found, nor is its .gz; name another folder or run `threadcount data fetch`",
            )
        })
    }

    /// Opens this file of `folder` with `open`; a packed one is unpacked into the cache first.
    /// Faults name the file in `folder`, not its copy in the cache.
    ///
    /// # Errors
    /// As [`Official::find`], [`Cache::unpacked`] and `open`.
    pub fn open<T>(
        &self,
        folder: &Path,
        cache: &Cache,
        open: impl FnOnce(&Path) -> Result<T>,
    ) -> Result<T> {
        let path = self.find(folder)?;
        if path.extension().is_none_or(|extension| extension != "gz") {
            return open(&path);
        }
        let raw = cache.unpacked(self.form, &path)?;
        open(&raw).map_err(|error| match error {
            Error::Data { fault, .. } => Error::data(path, format!("unpacked, {fault}")),
            other => other,
        })
    }
}

/// What `threadcount data verify` found.
#[derive(Debug)]
pub struct Verification {
    /// The folder.
    pub folder: PathBuf,
    /// One row per file of [`FILES`], in that order.
    pub files: Vec<FileCheck>,
}

/// What became of one file.
#[derive(Debug)]
pub struct FileCheck {
    /// The file's name without `.gz`.
    pub name: &'static str,
    /// What the file is, or its fault.
    pub outcome: Result<Checked>,
}

/// A file of the right form.
#[derive(Debug)]
pub struct Checked {
    /// The file that was found, raw or packed.
    pub path: PathBuf,
    /// `[count, height, width]`, or `[count]` for labels.
    pub shape: Vec<usize>,
    /// SHA-256 of the file as found.
    pub sha256: String,
    /// Whether its raw contents are the official file's.
    pub official: bool,
}

impl Verification {
    /// Whether all four files are the official ones.
    pub fn is_official(&self) -> bool {
        self.files.iter().all(|file| file.outcome.as_ref().is_ok_and(|checked| checked.official))
    }

    /// The first file's fault, if any has one: what the command ends with.
    ///
    /// # Errors
    /// [`Error::Data`], as from opening the file.
    pub fn into_result(self) -> Result<()> {
        self.files.into_iter().try_for_each(|file| file.outcome.map(drop))
    }
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.folder.display())?;
        for file in &self.files {
            match &file.outcome {
                Ok(Checked { path, shape, sha256, official }) => {
                    let name = path.file_name().unwrap_or_default().display();
                    let shape = shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("x");
                    let verdict = if *official { "official" } else { "not the official file" };
                    writeln!(f, "  {name:<27}  {shape:<11}  {verdict}  sha256 {sha256}")?;
                }
                Err(Error::Data { fault, .. }) => writeln!(f, "  {:<27}  BAD: {fault}", file.name)?,
                Err(error) => writeln!(f, "  {:<27}  BAD: {error}", file.name)?,
            }
        }
        let verdict = if self.is_official() {
            "This is Fashion-MNIST."
        } else if self.files.iter().all(|file| file.outcome.is_ok()) {
            "This is another set of the same form: results are not compared with the reports' claims."
        } else {
            "This set cannot be used as it is."
        };
        writeln!(f, "{verdict}")
    }
}

/// Checks each of the four files in `folder` by itself: form, lengths, labels, checksums. Faults
/// are rows of the result, so one bad file does not hide the others.
pub fn verify(folder: &Path, cache: &Cache) -> Verification {
    let check = |official: &Official| {
        let path = official.find(folder)?;
        let (shape, is_official) = match official.form {
            Form::Images => {
                let images = official.open(folder, cache, Images::open)?;
                (
                    vec![images.count(), images.height(), images.width()],
                    official.is_raw(images.file()),
                )
            }
            Form::Labels => {
                let labels = official.open(folder, cache, Labels::open)?;
                (vec![labels.count()], official.is_raw(labels.file()))
            }
        };
        Ok(Checked { sha256: file_sha256(&path)?, path, shape, official: is_official })
    };
    let files = FILES
        .iter()
        .map(|official| FileCheck { name: official.name, outcome: check(official) })
        .collect();
    Verification { folder: folder.to_owned(), files }
}
