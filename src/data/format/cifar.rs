//! CIFAR-10 and CIFAR-100 in their binary form (<https://www.cs.toronto.edu/~kriz/cifar.html>): records of
//! a label, or two, and 32 x 32 bytes of red, then of green, then of blue.

use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::form::Form;
use super::header::{header_bytes, images};
use super::{Filed, FiledFile, FiledPart, Format, Listing, Look, Opened};
use crate::Result;
use crate::data::cache::Cache;
use crate::data::contents::Contents;
use crate::data::images::FiledLabels;
use crate::data::unpack::{Fault, Packed};

/// The entry in [`FORMATS`](super::FORMATS).
pub(super) struct Cifar;

const SIDE: usize = 32;
const CHANNELS: usize = 3;
const PIXELS: usize = SIDE * SIDE;

/// The files of one of the sets.
#[derive(Debug)]
struct Layout {
    name: &'static str,
    /// The files to train on, then the one to test on.
    files: &'static [&'static str],
    /// Label bytes before the pixels; the last of them is the class.
    labels: usize,
    classes: u8,
    archive: &'static str,
    /// Another file of the set, without which its files may belong to another set.
    witness: Option<&'static str>,
}

const LAYOUTS: [Layout; 2] = [
    Layout {
        name: "CIFAR-10",
        files: &[
            "data_batch_1.bin",
            "data_batch_2.bin",
            "data_batch_3.bin",
            "data_batch_4.bin",
            "data_batch_5.bin",
            "test_batch.bin",
        ],
        labels: 1,
        classes: 10,
        archive: "cifar-10-binary.tar.gz",
        witness: None,
    },
    Layout {
        name: "CIFAR-100",
        files: &["train.bin", "test.bin"],
        labels: 2,
        classes: 100,
        archive: "cifar-100-binary.tar.gz",
        witness: Some("fine_label_names.txt"),
    },
];

impl Layout {
    /// Bytes of a label and an image.
    const fn record(&self) -> usize {
        self.labels + CHANNELS * PIXELS
    }

    fn of(filed: &Filed) -> &'static Self {
        let is = |layout: &&Self| layout.files[0] == filed.files[0].name;
        LAYOUTS.iter().find(is).expect("a set that was recognised")
    }
}

impl Format for Cifar {
    fn name(&self) -> &'static str {
        "CIFAR"
    }

    fn files(&self) -> &'static str {
        "data_batch_1.bin to data_batch_5.bin and test_batch.bin, or train.bin, test.bin and fine_label_names.txt"
    }

    fn recognise(&self, listing: &Listing) -> Vec<Filed> {
        let called =
            |wanted: &str| listing.names.iter().find(|name| name.eq_ignore_ascii_case(wanted));
        // The version for Python has the same names without the ending.
        let python = |name: &str| called(name.strip_suffix(".bin")?);
        let filed = |layout: &Layout| {
            let file = |&name: &&str| {
                let found = match (called(name), python(name)) {
                    (Some(found), _) => Ok(found.clone()),
                    (None, Some(python)) => Err(format!(
                        "not found; {python} is a file of the version for Python: put those of {} there",
                        layout.archive
                    )),
                    (None, None) => Err(format!(
                        "not found; put the files of {} there, or name another folder",
                        layout.archive
                    )),
                };
                FiledFile { name: name.to_owned(), found }
            };
            Filed {
                format: &Cifar,
                folder: listing.folder.clone(),
                prefix: String::new(),
                files: layout.files.iter().map(file).collect(),
            }
        };
        let is_there = |layout: &&Layout| {
            layout.files.iter().any(|name| called(name).or(python(name)).is_some())
                && layout.witness.is_none_or(|name| called(name).is_some())
        };
        LAYOUTS.iter().filter(is_there).map(filed).collect()
    }

    fn look(&self, filed: &Filed, file: usize, _: &Cache) -> Result<Look> {
        let batches = Batches::open(filed, file..file + 1)?;
        batches.labels()?;
        let remark = batches.files[0].remark().map(str::to_owned);
        Ok(Look { dims: batches.dims().into(), is_official: None, remark })
    }

    fn open(&self, filed: &Filed, cache: &Cache) -> Result<Opened> {
        let last = filed.files.len() - 1;
        let part = |files| -> Result<_> {
            let batches = Batches::open(filed, files)?;
            // Labels first: bad ones are found quickly.
            let labels = batches.labels()?;
            Ok(FiledPart { images: images(cache.unpacked(&batches)?)?, labels })
        };
        Ok(Opened { train: part(0..last)?, test: part(last..last + 1)? })
    }
}

/// The files of one part of a set.
struct Batches {
    layout: &'static Layout,
    /// At least one, each with whole records.
    files: Vec<Contents>,
    first: PathBuf,
}

impl Batches {
    fn open(filed: &Filed, files: std::ops::Range<usize>) -> Result<Self> {
        let layout = Layout::of(filed);
        let first = filed.path(files.start)?;
        let open = |file: usize| {
            let contents = Contents::map(&filed.path(file)?)?;
            if contents.len() % layout.record() == 0 {
                return Ok(contents);
            }
            Err(contents.fault(format!(
                "its {} bytes are not whole records of {} bytes, as {} has them; restore the file or fetch {} again",
                contents.len(),
                layout.record(),
                layout.name,
                layout.archive
            )))
        };
        let files = files.map(open).collect::<Result<Vec<_>>>()?;
        Ok(Self { layout, files, first })
    }

    fn dims(&self) -> [usize; 4] {
        let bytes: usize = self.files.iter().map(|file| file.len()).sum();
        [bytes / self.layout.record(), SIDE, SIDE, CHANNELS]
    }

    fn labels(&self) -> Result<FiledLabels> {
        let Layout { name, classes, .. } = *self.layout;
        let mut values = Vec::new();
        for file in &self.files {
            for (i, record) in file.chunks_exact(self.layout.record()).enumerate() {
                let label = record[self.layout.labels - 1];
                if label >= classes {
                    return Err(file.fault(format!(
                        "record {i} has the label {label}, those of {name} are 0 to {}; restore the file",
                        classes - 1
                    )));
                }
                values.push(label.into());
            }
        }
        let remark = self.files.iter().find_map(|file| file.remark().map(str::to_owned));
        Ok(FiledLabels { path: self.first.clone(), values, remark })
    }
}

impl Packed for Batches {
    fn path(&self) -> &Path {
        &self.first
    }

    fn name(&self) -> String {
        self.first.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    fn form(&self) -> Form {
        Form::Images
    }

    fn sha256(&self) -> Result<[u8; 32]> {
        let mut hash = Sha256::new();
        self.files.iter().for_each(|file| hash.update(&**file));
        Ok(hash.finalize().into())
    }

    fn unpack<W: Write>(
        &self,
        out: impl FnOnce(u64) -> std::result::Result<W, Fault>,
    ) -> std::result::Result<W, Fault> {
        let dims = self.dims();
        let raw = header_bytes(&dims);
        let mut out = out((raw.len() + dims.iter().product::<usize>()) as u64)?;
        out.write_all(&raw).map_err(Fault::Full)?;
        let mut image = [0; PIXELS * CHANNELS];
        for record in self.files.iter().flat_map(|file| file.chunks_exact(self.layout.record())) {
            let planes = record[self.layout.labels..].chunks_exact(PIXELS);
            for (channel, plane) in planes.enumerate() {
                for (pixel, &shade) in image.chunks_exact_mut(CHANNELS).zip(plane) {
                    pixel[channel] = shade;
                }
            }
            out.write_all(&image).map_err(Fault::Full)?;
        }
        Ok(out)
    }
}
