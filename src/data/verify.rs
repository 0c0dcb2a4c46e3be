//! The report behind `threadcount data verify`: each file by itself, then the set that they make.

use std::fmt;
use std::path::{Path, PathBuf};

use super::cache::{Cache, file_sha256};
use super::dataset::{Dataset, Identity};
use super::format::{self, Look};
use super::shape::times;
use crate::{Error, Result};

/// What `threadcount data verify` found.
#[derive(Debug)]
pub struct Verification {
    /// The folder.
    pub folder: PathBuf,
    /// The format, by its name.
    pub format: &'static str,
    /// One row per file, in the format's order.
    pub files: Vec<FileCheck>,
    /// The set, if every file is good; or why they do not make one.
    pub set: Option<Result<Summary>>,
}

/// The result for one file.
#[derive(Debug)]
pub struct FileCheck {
    /// The file's name: as found, else in the format's own spelling.
    pub name: String,
    /// What the file is, or its fault.
    pub outcome: Result<Checked>,
}

/// A file of the right form.
#[derive(Debug)]
pub struct Checked {
    /// What checking it found.
    pub look: Look,
    /// SHA-256 of the file as found.
    pub sha256: String,
}

/// What a good set holds.
#[derive(Debug)]
pub struct Summary {
    /// What it is.
    pub identity: Identity,
    /// The size of an image: `28x28`, `32x32x3`.
    pub measures: String,
    /// The label of the first class.
    pub first_label: u32,
    /// The classes, by label: name, training images, test images.
    pub classes: Vec<(String, [usize; 2])>,
}

/// Checks the set at a place: each file by itself (form, lengths, labels, checksum), so one bad file
/// does not hide the others, then the whole.
///
/// # Errors
/// [`Error::Data`] if no set is there. Faults of its files are rows of the result.
pub fn verify(place: &Path, cache: &Cache) -> Result<Verification> {
    let filed = format::find(place)?;
    let check = |file: usize| {
        let path = filed.path(file)?;
        let look = filed.format.look(&filed, file, cache)?;
        Ok(Checked { look, sha256: file_sha256(&path)? })
    };
    let files: Vec<_> = (filed.files.iter().enumerate())
        .map(|(i, file)| FileCheck {
            name: file.found.as_ref().unwrap_or(&file.name).clone(),
            outcome: check(i),
        })
        .collect();
    let is_good = files.iter().all(|file| file.outcome.is_ok());
    let set = is_good.then(|| Ok(Summary::of(&*Dataset::open_folder(place, cache)?)));
    Ok(Verification { folder: place.to_owned(), format: filed.format.name(), files, set })
}

impl Summary {
    fn of(set: &Dataset) -> Self {
        let count = |class: usize| {
            [&set.train, &set.test].map(|part| {
                part.labels.as_slice().iter().filter(|&&label| usize::from(label) == class).count()
            })
        };
        let names = set.class_names();
        let classes = names.iter().enumerate().map(|(class, name)| (name.clone(), count(class)));
        Self {
            identity: set.identity,
            measures: set.train.images.measures(),
            first_label: set.first_label(),
            classes: classes.collect(),
        }
    }
}

impl Verification {
    /// Whether all files are the official ones.
    pub fn is_official(&self) -> bool {
        matches!(&self.set, Some(Ok(Summary { identity: Identity::FashionMnist, .. })))
    }

    /// The first fault, if there is any: the result of the command.
    ///
    /// # Errors
    /// [`Error::Data`], as from opening the set.
    pub fn into_result(self) -> Result<()> {
        self.files.into_iter().try_for_each(|file| file.outcome.map(drop))?;
        self.set.map_or(Ok(()), |set| set.map(drop))
    }
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({})", self.folder.display(), self.format)?;
        let width = self.files.iter().map(|file| file.name.chars().count()).max().unwrap_or(0);
        for FileCheck { name, outcome } in &self.files {
            match outcome {
                Ok(Checked { look: Look { dims, is_official, remark }, sha256 }) => {
                    let dims = times(dims);
                    let verdict = match is_official {
                        Some(true) => "  official",
                        Some(false) => "  not official",
                        None => "",
                    };
                    writeln!(f, "  {name:<width$}  {dims}{verdict}")?;
                    // A line of its own: beside the rest it would run past a terminal of 80 columns.
                    writeln!(f, "    sha256 {sha256}")?;
                    if let Some(remark) = remark {
                        writeln!(f, "    {remark}")?;
                    }
                }
                Err(Error::Data { fault, .. }) => writeln!(f, "  {name:<width$}  BAD: {fault}")?,
                Err(error) => writeln!(f, "  {name:<width$}  BAD: {error}")?,
            }
        }
        match &self.set {
            Some(Ok(summary)) => write!(f, "{summary}"),
            Some(Err(Error::Data { path, fault })) => {
                writeln!(f, "This set cannot be used as it is: {}: {fault}", path.display())
            }
            Some(Err(error)) => writeln!(f, "This set cannot be used as it is: {error}"),
            None => writeln!(f, "This set cannot be used as it is."),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { identity, measures, first_label, classes } = self;
        writeln!(
            f,
            "Images of {measures}; {} classes, labels {first_label} to {}:",
            classes.len(),
            *first_label as usize + classes.len() - 1
        )?;
        let width = classes.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (label, (name, [train, test])) in (*first_label..).zip(classes) {
            let absent = match (train, test) {
                (0, 0) => "  (no image)",
                (0, _) => "  (none to train on)",
                (_, 0) => "  (none to test on)",
                _ => "",
            };
            writeln!(
                f,
                "  {label:>5}  {name:<width$}  {train:>7} training  {test:>6} test{absent}"
            )?;
        }
        writeln!(
            f,
            "{}",
            match identity {
                Identity::FashionMnist => "This is Fashion-MNIST.",
                Identity::Synthetic =>
                    "This is the synthetic set: results are not compared with the reports' claims.",
                Identity::Other =>
                    "This is another set: results are not compared with the reports' claims.",
            }
        )
    }
}
