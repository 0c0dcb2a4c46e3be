//! Which folder the data comes from, and the set that it holds.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cache::Cache;
use super::class_names::ClassList;
use super::fashion_mnist::{self, Half};
use super::format::{self, FiledPart, Opened};
use super::images::{Images, Labels};
use super::synthetic;
use super::verify::{Verification, verify};
use crate::{Error, Result};

/// The default folder of the data, below the working folder.
pub const LOCAL_FOLDER: &str = "data/fashion-mnist";

/// What a set is. Only [`Identity::FashionMnist`] is ever compared with the reports' claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The official files, recognised by SHA-256.
    FashionMnist,
    /// Drawn by [`synthetic`], recognised by the marker in its folder.
    Synthetic,
    /// Anything else of the right form.
    Other,
}

impl Identity {
    /// The name in results: `fashion-mnist`, `synthetic` or `other`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FashionMnist => "fashion-mnist",
            Self::Synthetic => "synthetic",
            Self::Other => "other",
        }
    }
}

/// Images and their labels, of equal count.
#[derive(Clone, Debug)]
pub struct Part {
    /// `[count, height, width, channels]`.
    pub images: Images,
    /// `[count]`, classes numbered from 0.
    pub labels: Labels,
}

/// A set: two parts of images of one size.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The training part.
    pub train: Part,
    /// The test part.
    pub test: Part,
    /// What the set is.
    pub identity: Identity,
    /// The folder that it was found in.
    pub origin: PathBuf,
    /// Its labels and their names.
    pub class_list: ClassList,
}

impl Dataset {
    /// Opens the set that the user means: `explicit` if there is one, else the first of
    /// `./data/fashion-mnist`, the cache, and the synthetic set.
    ///
    /// # Errors
    /// [`Error::Data`] if the folder that is used is missing, incomplete or holds a bad file.
    pub fn open(explicit: Option<&Path>) -> Result<Arc<Self>> {
        Places::user(explicit).open()
    }

    /// Opens the set in a folder, in any of the formats; packed files are unpacked into the cache. Its
    /// classes are all labels from the smallest to the largest of both parts.
    ///
    /// # Errors
    /// [`Error::Data`] if there is no set, a file is missing or bad, or the files do not fit together.
    pub fn open_folder(folder: &Path, cache: &Cache) -> Result<Arc<Self>> {
        let filed = format::find(folder)?;
        let Opened { train, test } = filed.format.open(&filed, cache)?;
        train.check()?;
        test.check()?;
        let [of_train, of_test] = [&train, &test].map(|part| part.images.measures());
        if of_train != of_test {
            return Err(Error::data(
                test.images.path(),
                format!(
                    "its images measure {of_test}, the training images {of_train}; use files of one set"
                ),
            ));
        }
        // Samples of both parts are numbered in one u32.
        if u32::try_from(train.images.count() + test.images.count()).is_err() {
            return Err(Error::data(
                folder,
                format!("holds more than {} images; use fewer", u32::MAX),
            ));
        }
        let identity = if filed.folder.join(synthetic::MARKER).exists() {
            Identity::Synthetic
        } else if fashion_mnist::is_official(&train, &test) {
            Identity::FashionMnist
        } else {
            Identity::Other
        };
        let labels = || [&train, &test].into_iter().flat_map(|part| &part.labels.values).copied();
        let range = [labels().min().unwrap_or(0), labels().max().unwrap_or(0)];
        let class_list = ClassList::of(&filed, identity, range)?;
        let numbered = |FiledPart { images, labels }| Part {
            images,
            labels: Labels::number(labels, class_list.first),
        };
        let (train, test) = (numbered(train), numbered(test));
        Ok(Arc::new(Self { train, test, identity, origin: folder.to_owned(), class_list }))
    }

    /// One of the two parts.
    pub fn part(&self, half: Half) -> &Part {
        match half {
            Half::Train => &self.train,
            Half::Test => &self.test,
        }
    }

    /// The names of all classes, by their number.
    pub fn class_names(&self) -> Arc<[String]> {
        self.class_list.names.clone().into()
    }

    /// The name of a class, by its number: its label where no name is known.
    pub fn class_name(&self, class: u8) -> String {
        match self.class_list.names.get(usize::from(class)) {
            Some(name) => name.clone(),
            None => self.label(class).to_string(),
        }
    }

    /// The label of class 0.
    pub fn first_label(&self) -> u32 {
        self.class_list.first
    }

    /// The label that the files give a class.
    pub fn label(&self, class: u8) -> u32 {
        self.class_list.first + u32::from(class)
    }

    /// The same set with `classes` classes, numbered from the label `first`, as a network was trained on. A
    /// set that lacks the first or last of these classes numbers its own differently.
    ///
    /// # Errors
    /// [`Error::Data`] if the set has a label outside of these classes; [`Error::Usage`] if no set can have
    /// such classes.
    pub fn numbered_as(&self, first: u32, classes: usize) -> Result<Self> {
        ClassList::check(first, classes).map_err(Error::Usage)?;
        let list = &self.class_list;
        let name = |label: u32| match list.class(label) {
            Some(class) => self.class_name(class),
            None => label.to_string(),
        };
        let names = (0..classes as u32).map(|class| name(first + class)).collect();
        let wanted = ClassList { first, names };
        let labels = [&self.train, &self.test].map(|part| &part.labels);
        let occurring = labels.into_iter().flat_map(|labels| labels.as_slice());
        let mut unknown = occurring.map(|&class| self.label(class));
        if let Some(label) = unknown.find(|&label| wanted.class(label).is_none()) {
            return Err(Error::data(
                &self.origin,
                format!(
                    "has the label {label}, but the network was trained on the labels {first} to {}; name a set \
                     of the same classes",
                    wanted.last()
                ),
            ));
        }
        let renumbered = |part: &Part| Part {
            images: part.images.clone(),
            labels: part
                .labels
                .renumbered(|class| wanted.class(self.label(class)).unwrap_or_default()),
        };
        let (train, test) = (renumbered(&self.train), renumbered(&self.test));
        let origin = self.origin.clone();
        Ok(Self { train, test, identity: self.identity, origin, class_list: wanted })
    }

    /// What was odd about reading its files, though they could be read: a line for each oddity, with the
    /// first file that it is about.
    pub fn remarks(&self) -> Vec<String> {
        let parts = [&self.train, &self.test];
        let of_images = parts.map(|part| (part.images.path(), part.images.remark()));
        let of_labels = parts.map(|part| (part.labels.path(), part.labels.remark()));
        let mut all: Vec<(&Path, usize, &str)> = Vec::new();
        for (path, remark) in of_images.into_iter().chain(of_labels) {
            let Some(remark) = remark else { continue };
            match all.iter_mut().find(|(_, _, known)| *known == remark) {
                Some((_, more, _)) => *more += 1,
                None => all.push((path, 0, remark)),
            }
        }
        let line = |(path, more, remark): (&Path, usize, &str)| match more {
            0 => format!("{}: {remark}", path.display()),
            _ => format!("{} and {more} more: {remark}", path.display()),
        };
        all.into_iter().map(line).collect()
    }
}

impl FiledPart {
    /// Checks that there is a label for each image.
    fn check(&self) -> Result<()> {
        let [labels, images] = [self.labels.values.len(), self.images.count()];
        if labels == images {
            return Ok(());
        }
        Err(Error::data(
            &self.labels.path,
            format!("holds {labels} labels for {images} images; use files of one set"),
        ))
    }
}

/// How a folder was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The user named it.
    Explicit,
    /// `./data/fashion-mnist`.
    Local,
    /// `threadcount data fetch` filled it.
    Cached,
    /// Nothing was found: the synthetic set, which is drawn when it is first opened.
    Synthetic,
}

/// A folder that data is taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The folder; for [`Source::Synthetic`] it need not exist yet.
    pub folder: PathBuf,
    /// How it was found.
    pub source: Source,
}

/// The places that are searched, in order.
#[derive(Clone, Debug)]
pub struct Places {
    /// The folder that the user named: never skipped.
    pub explicit: Option<PathBuf>,
    /// The folder below the working folder: skipped if it holds nothing but notes.
    pub local: PathBuf,
    /// The cache: its Fashion-MNIST folder is used once all its files are there.
    pub cache: Cache,
}

impl Places {
    /// The places of this user in this working folder.
    pub fn user(explicit: Option<&Path>) -> Self {
        Self {
            explicit: explicit.map(Path::to_owned),
            local: LOCAL_FOLDER.into(),
            cache: Cache::user(),
        }
    }

    /// The folder that would be used. Looks at names only.
    ///
    /// # Errors
    /// [`Error::Data`] if the explicit folder is missing; [`Error::Usage`] if a cache folder is needed and
    /// there is none.
    pub fn locate(&self) -> Result<Location> {
        if let Some(folder) = &self.explicit {
            format::check_place(folder)?;
            return Ok(Location { folder: folder.clone(), source: Source::Explicit });
        }
        if format::may_hold_data(&self.local) {
            return Ok(Location { folder: self.local.clone(), source: Source::Local });
        }
        let cached = self.cache.fashion_mnist()?;
        if format::find(&cached).is_ok_and(|set| set.is_complete()) {
            return Ok(Location { folder: cached, source: Source::Cached });
        }
        Ok(Location {
            folder: self.cache.root()?.join(synthetic::folder_name()),
            source: Source::Synthetic,
        })
    }

    /// Opens the set that [`Places::locate`] finds; the synthetic one is drawn if it is not there. Prints
    /// nothing: a caller that compares results with published ones checks [`Dataset::identity`].
    ///
    /// # Errors
    /// As [`Dataset::open`].
    pub fn open(&self) -> Result<Arc<Dataset>> {
        let Location { mut folder, source } = self.locate()?;
        if source == Source::Synthetic {
            folder = synthetic::ensure(&self.cache)?;
        }
        Dataset::open_folder(&folder, &self.cache)
    }

    /// Checks the files of the folder that would be used, for `threadcount data verify`.
    ///
    /// # Errors
    /// As [`Places::locate`]; [`Error::Data`] if no set is found anywhere. Faults of the files
    /// themselves are rows of the result.
    pub fn verify(&self) -> Result<Verification> {
        let Location { folder, source } = self.locate()?;
        if source == Source::Synthetic {
            return Err(Error::data(
                &self.local,
                "no set to verify there or in the cache; run `threadcount data fetch`, or name its folder",
            ));
        }
        verify(&folder, &self.cache)
    }
}
