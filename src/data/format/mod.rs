//! The formats in which sets of images are stored: one entry of [`FORMATS`] each, in a file of its own below
//! this one. A format recognises its files by their names, checks single files, and opens a set.

mod cifar;
pub(super) mod form;
mod idx;
#[cfg(feature = "numpy")]
mod numpy;

#[cfg(feature = "numpy")]
pub(crate) use numpy::{read_npz, write_npz};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::cache::Cache;
use super::fashion_mnist::Half;
use super::images::{FiledLabels, Images};
use crate::{Error, Result};
use form::Form;

pub(super) use idx::{header, images as idx_images};
#[cfg(feature = "numpy")]
pub(super) use numpy::images as numpy_images;

/// [`numpy_images`] of a build without that format.
#[cfg(not(feature = "numpy"))]
pub(super) fn numpy_images(path: &Path, _: &Cache) -> Result<Images> {
    let fault =
        "a NumPy array, which this build cannot read (it was made without the feature `numpy`)";
    Err(Error::data(path, fault))
}

/// All formats. Searching, verifying and opening folders goes through this list alone.
pub const FORMATS: &[&dyn Format] = &[
    &idx::Idx,
    #[cfg(feature = "numpy")]
    &numpy::NumPy,
    &cifar::Cifar,
];

/// The four arrays of a set, in the order of the formats that have a file for each.
const PLACES: [(Half, Form); 4] = [
    (Half::Train, Form::Images),
    (Half::Train, Form::Labels),
    (Half::Test, Form::Images),
    (Half::Test, Form::Labels),
];

/// What the name of a file or an array of a set says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    /// What comes before it, in lower case and with its hyphen: `emnist-letters-`.
    prefix: String,
    half: Half,
    form: Form,
    /// Of several names for the same array, the smallest rank wins: packed or archived ones come last, then
    /// the order of the format's spellings decides.
    rank: (bool, usize, usize),
}

impl Named {
    /// A sort key that puts the names of one set side by side, the better ones first.
    fn order(&self) -> (&str, (bool, usize, usize)) {
        (&self.prefix, self.rank)
    }
}

/// A format in which a set of images with labels is stored in a folder.
pub trait Format: Sync {
    /// What messages call it: `IDX`.
    fn name(&self) -> &'static str;

    /// What its files are called, for the message that no set is there.
    fn files(&self) -> &'static str;

    /// The sets that the names in a folder promise, complete or not. Of a file, reads no more than a table of
    /// its contents.
    fn recognise(&self, listing: &Listing) -> Vec<Filed>;

    /// Checks one file by itself, down to its last byte.
    ///
    /// # Errors
    /// [`Error::Data`] with its fault.
    fn look(&self, filed: &Filed, file: usize, cache: &Cache) -> Result<Look>;

    /// Opens a set. The caller checks whether its parts fit each other.
    ///
    /// # Errors
    /// [`Error::Data`] if a file is missing or bad.
    fn open(&self, filed: &Filed, cache: &Cache) -> Result<Opened>;
}

/// The names in a folder, sorted.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The folder.
    pub folder: PathBuf,
    /// Everything in it, including broken links: they are reported, not skipped. Names that are not UTF-8 are
    /// left out: no data file has one.
    pub names: Vec<String>,
}

impl Listing {
    /// Reads the names in a folder.
    ///
    /// # Errors
    /// The error of the system.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name()));
        let names = names.collect::<io::Result<Vec<_>>>()?;
        let mut names: Vec<_> =
            names.into_iter().filter_map(|name| name.into_string().ok()).collect();
        names.sort_unstable();
        Ok(Self { folder: folder.to_owned(), names })
    }

    /// The sets that all formats find.
    fn sets(&self) -> Vec<Filed> {
        FORMATS.iter().flat_map(|format| format.recognise(self)).collect()
    }
}

/// The files of a set, and their format.
#[derive(Clone)]
pub struct Filed {
    /// The format.
    pub format: &'static dyn Format,
    /// The folder.
    pub folder: PathBuf,
    /// What the names of its files begin with, such as `emnist-letters-`; usually empty.
    pub prefix: String,
    /// Its files, in the format's order.
    pub files: Vec<FiledFile>,
}

impl std::fmt::Debug for Filed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { format, folder, prefix, files } = self;
        write!(f, "{} {} {prefix:?} {files:?}", format.name(), folder.display())
    }
}

/// One file of a set.
#[derive(Clone, Debug)]
pub struct FiledFile {
    /// Its name in the format's own spelling.
    pub name: String,
    /// The name that was found; or why there is none, and what to do.
    pub found: std::result::Result<String, String>,
}

impl Filed {
    /// Whether every file is there.
    pub fn is_complete(&self) -> bool {
        self.files.iter().all(|file| file.found.is_ok())
    }

    fn count(&self) -> usize {
        self.files.iter().filter(|file| file.found.is_ok()).count()
    }

    /// Where a file is.
    ///
    /// # Errors
    /// [`Error::Data`] if it is missing.
    pub fn path(&self, file: usize) -> Result<PathBuf> {
        let FiledFile { name, found } = &self.files[file];
        match found {
            Ok(name) => Ok(self.folder.join(name)),
            Err(fault) => Err(Error::data(self.folder.join(name), fault)),
        }
    }

    /// Its name where several sets are in one folder.
    fn called(&self) -> String {
        match self.prefix.trim_end_matches(['-', '_', '.']) {
            "" => self.files.first().map_or_else(String::new, |file| match &file.found {
                Ok(name) => name.clone(),
                Err(_) => file.name.clone(),
            }),
            prefix => prefix.to_owned(),
        }
    }
}

/// What checking one file found.
#[derive(Clone, Debug)]
pub struct Look {
    /// Sizes of the array in it, outermost first.
    pub dims: Vec<usize>,
    /// Whether its contents are those of an official file of Fashion-MNIST; `None` where the format has no
    /// such files.
    pub is_official: Option<bool>,
    /// What was odd about reading it, though it could be read.
    pub remark: Option<String>,
}

/// The contents of a set, with the labels of the files: they are not numbered as classes yet.
#[derive(Debug)]
pub struct Opened {
    /// The training part.
    pub train: FiledPart,
    /// The test part.
    pub test: FiledPart,
}

/// Images and the labels that belong to them.
#[derive(Debug)]
pub struct FiledPart {
    /// `[count, height, width, channels]`
    pub images: Images,
    /// `[count]`
    pub labels: FiledLabels,
}

/// The set at `place`: the set in that folder; or, where a folder holds several, the one whose files begin
/// with the last component of `place` (`gzip/emnist-letters`).
///
/// # Errors
/// [`Error::Data`] if there is no complete set, or more than one.
pub fn find(place: &Path) -> Result<Filed> {
    if let Some(set) = named_by_prefix(place).or_else(|| in_one_file(place)) {
        return Ok(set);
    }
    check_place(place)?;
    let listing = Listing::read(place).map_err(cannot_open(place))?;
    let mut sets = listing.sets();
    if sets.iter().any(Filed::is_complete) {
        sets.retain(Filed::is_complete);
        if sets.len() > 1 {
            return Err(several(&listing.folder, &sets));
        }
    }
    // Of incomplete sets, the one with the most files; of equals, the first.
    let best = sets.iter().map(Filed::count).max();
    let best = sets.into_iter().find(|set| Some(set.count()) == best);
    best.ok_or_else(|| nothing(&listing))
}

/// For a path that does not exist: the set in its parent folder that has its last component as a prefix.
fn named_by_prefix(place: &Path) -> Option<Filed> {
    let called = place.file_name()?.to_str().filter(|_| !place.exists())?;
    let sets = Listing::read(parent(place)?).ok()?.sets().into_iter();
    sets.filter(|set| !set.prefix.is_empty()).find(|set| set.called().eq_ignore_ascii_case(called))
}

/// For the path of a file: the set that is in this file alone.
fn in_one_file(place: &Path) -> Option<Filed> {
    let called = place.file_name()?.to_str().filter(|_| place.is_file())?;
    let sets = Listing::read(parent(place)?).ok()?.sets().into_iter();
    sets.filter(|set| set.files.len() == 1).find(|set| set.files[0].name == called)
}

fn parent(place: &Path) -> Option<&Path> {
    let parent = place.parent()?;
    Some(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
}

/// Checks that `place` is a folder, a file that holds a set, or the name of a set in a folder.
///
/// # Errors
/// [`Error::Data`].
pub fn check_place(place: &Path) -> Result<()> {
    match place.metadata() {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) if in_one_file(place).is_some() => Ok(()),
        Ok(_) => Err(Error::data(place, "not a folder; name the folder that holds the set")),
        Err(_) if named_by_prefix(place).is_some() => Ok(()),
        Err(source) => Err(cannot_open(place)(source)),
    }
}

fn cannot_open(place: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| {
        let fault = format!("cannot be opened ({source}); name the folder that holds the set");
        Error::data(place, fault)
    }
}

/// Whether somebody has put data into a folder: a set or a part of one, or files that may be meant as one.
/// Hidden files and text files do not count.
pub fn may_hold_data(folder: &Path) -> bool {
    let Ok(listing) = Listing::read(folder) else { return false };
    let is_note = |name: &&String| {
        let lower = name.to_lowercase();
        let texts = [".txt", ".md", ".rst", ".toml", ".gitkeep"];
        lower.starts_with('.')
            || texts.iter().any(|end| lower.ends_with(end))
            || ["readme", "license"].contains(&&*lower)
    };
    !listing.sets().is_empty() || !listing.names.iter().all(|name| is_note(&name))
}

fn several(folder: &Path, sets: &[Filed]) -> Error {
    let called: Vec<_> = sets.iter().map(Filed::called).collect();
    let mend = match sets.iter().find(|set| !set.prefix.is_empty()) {
        Some(set) => {
            let place = folder.join(set.called());
            match sets.iter().all(|set| !set.prefix.is_empty()) {
                true => format!("name one of them, such as {}", place.display()),
                false => format!("name {}, or leave one of them in it", place.display()),
            }
        }
        None => "leave one of them in it".to_owned(),
    };
    Error::data(folder, format!("holds {} sets ({}); {mend}", sets.len(), called.join(", ")))
}

fn nothing(listing: &Listing) -> Error {
    let folder = &listing.folder;
    let inside = listing.names.iter().map(|name| folder.join(name));
    let better = inside
        .filter_map(|path| Listing::read(&path).ok())
        .find(|inner| inner.sets().iter().any(Filed::is_complete));
    if let Some(inner) = better {
        let fault = format!("holds no set, but {} does; name that", inner.folder.display());
        return Error::data(folder, fault);
    }
    let known: Vec<_> =
        FORMATS.iter().map(|format| format!("{} ({})", format.name(), format.files())).collect();
    let names = &listing.names;
    let there = match names.len() {
        0 => "it is empty".to_owned(),
        1..=4 => format!("it holds {}", names.join(", ")),
        many => format!("it holds {} and {} more", names[..3].join(", "), many - 3),
    };
    let packed = [".tar.gz", ".tgz", ".tar", ".zip", ".7z", ".rar"];
    let is_packed = |name: &&String| packed.iter().any(|end| name.to_lowercase().ends_with(end));
    if let Some(name) = names.iter().find(is_packed) {
        let fault = format!("no set is in it: {there}; if {name} holds one, unpack it there");
        return Error::data(folder, fault);
    }
    Error::data(
        folder,
        format!(
            "no set is in it: {there}; name the folder of a set of one of these formats: {}",
            known.join("; ")
        ),
    )
}
