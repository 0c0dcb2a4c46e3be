//! Which folder the data comes from, and the set that it holds.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cache::Cache;
use super::fashion_mnist::{self, FILES, Half, Official, Verification};
use super::idx::{CLASSES, Images, Labels};
use super::synthetic;
use crate::{Error, Result};

/// The classes of Fashion-MNIST, by label.
pub const CLASS_NAMES: [&str; CLASSES] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// Where the data lies by default, below the working folder.
pub const LOCAL_FOLDER: &str = "data/fashion-mnist";

/// What a set is. Only [`Identity::FashionMnist`] is ever compared with the reports' claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The official files, by SHA-256.
    FashionMnist,
    /// Drawn by [`synthetic`], by the marker in its folder.
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
#[derive(Debug)]
pub struct Part {
    /// `[count, height, width]`.
    pub images: Images,
    /// `[count]`.
    pub labels: Labels,
}

/// A set: two parts of images of one size.
#[derive(Debug)]
pub struct Dataset {
    /// The `train-` files.
    pub train: Part,
    /// The `t10k-` files.
    pub test: Part,
    /// What the set is.
    pub identity: Identity,
    /// The folder that it was found in.
    pub origin: PathBuf,
}

impl Dataset {
    /// Opens the set that the user means: `explicit` if there is one, else the first of
    /// `./data/fashion-mnist`, the cache, and the synthetic set.
    ///
    /// # Errors
    /// [`Error::Data`] if the folder that counts is missing, incomplete or holds a bad file.
    pub fn open(explicit: Option<&Path>) -> Result<Arc<Self>> {
        Places::user(explicit).open()
    }

    /// Opens the four files of a folder; packed ones are unpacked into the cache.
    ///
    /// # Errors
    /// [`Error::Data`] if a file is missing or bad, or the four do not fit together.
    pub fn open_folder(folder: &Path, cache: &Cache) -> Result<Arc<Self>> {
        check_folder(folder)?;
        let [train_images, train_labels, test_images, test_labels] = &FILES;
        let train = Part::open(folder, cache, train_images, train_labels)?;
        let test = Part::open(folder, cache, test_images, test_labels)?;
        let [h, w] = [train.images.height(), train.images.width()];
        let [test_h, test_w] = [test.images.height(), test.images.width()];
        if [h, w] != [test_h, test_w] {
            return Err(Error::data(
                test_images.find(folder)?,
                format!(
                    "its images measure {test_h}x{test_w}, the training images {h}x{w}; use files of one set"
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
        let identity = if folder.join(synthetic::MARKER).exists() {
            Identity::Synthetic
        } else if is_official(&train, &test) {
            Identity::FashionMnist
        } else {
            Identity::Other
        };
        Ok(Arc::new(Self { train, test, identity, origin: folder.to_owned() }))
    }

    /// One of the two parts.
    pub fn part(&self, half: Half) -> &Part {
        match half {
            Half::Train => &self.train,
            Half::Test => &self.test,
        }
    }

    /// The names of all classes, by label.
    pub fn class_names(&self) -> Arc<[String]> {
        (0..CLASSES as u8).map(|label| self.class_name(label)).collect()
    }

    /// The name of a label: the garment, or the bare number where the classes are not known.
    pub fn class_name(&self, label: u8) -> String {
        match (self.identity, CLASS_NAMES.get(usize::from(label))) {
            (Identity::FashionMnist | Identity::Synthetic, Some(name)) => (*name).to_owned(),
            _ => format!("class {label}"),
        }
    }
}

impl Part {
    fn open(folder: &Path, cache: &Cache, images: &Official, labels: &Official) -> Result<Self> {
        let images = images.open(folder, cache, Images::open)?;
        let labels_path = labels.find(folder)?;
        let labels = labels.open(folder, cache, Labels::open)?;
        if images.count() != labels.count() {
            return Err(Error::data(
                labels_path,
                format!(
                    "holds {} labels for {} images; use files of one set",
                    labels.count(),
                    images.count()
                ),
            ));
        }
        Ok(Self { images, labels })
    }
}

/// Smallest files first: a set that is not official is found out without a hash of its images.
fn is_official(train: &Part, test: &Part) -> bool {
    FILES[3].is_raw(test.labels.file())
        && FILES[1].is_raw(train.labels.file())
        && FILES[2].is_raw(test.images.file())
        && FILES[0].is_raw(train.images.file())
}

/// How a folder was come by.
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
    /// The folder; of [`Source::Synthetic`] it need not exist yet.
    pub folder: PathBuf,
    /// How it was come by.
    pub source: Source,
}

/// The places that are searched, in order.
#[derive(Clone, Debug)]
pub struct Places {
    /// The folder that the user named: never passed over.
    pub explicit: Option<PathBuf>,
    /// The folder below the working folder: passed over if it holds none of the four files.
    pub local: PathBuf,
    /// The cache: its Fashion-MNIST folder counts once all four files are there.
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
    /// [`Error::Data`] if the explicit folder is missing; [`Error::Usage`] if it takes a cache
    /// folder and there is none.
    pub fn locate(&self) -> Result<Location> {
        if let Some(folder) = &self.explicit {
            check_folder(folder)?;
            return Ok(Location { folder: folder.clone(), source: Source::Explicit });
        }
        let holds = |folder: &Path| FILES.iter().filter(|file| file.find(folder).is_ok()).count();
        if holds(&self.local) > 0 {
            return Ok(Location { folder: self.local.clone(), source: Source::Local });
        }
        let cached = self.cache.fashion_mnist()?;
        if holds(&cached) == FILES.len() {
            return Ok(Location { folder: cached, source: Source::Cached });
        }
        Ok(Location {
            folder: self.cache.root()?.join(synthetic::folder_name()),
            source: Source::Synthetic,
        })
    }

    /// Opens the set of [`Places::locate`]; the synthetic one is drawn if it is not there. Says nothing:
    /// whoever compares results with others' looks at [`Dataset::identity`].
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
        Ok(fashion_mnist::verify(&folder, &self.cache))
    }
}

fn check_folder(folder: &Path) -> Result<()> {
    match folder.metadata() {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => {
            Err(Error::data(folder, "not a folder; name the folder that holds the four IDX files"))
        }
        Err(source) => Err(Error::data(
            folder,
            format!("cannot be opened ({source}); name the folder that holds the four IDX files"),
        )),
    }
}
