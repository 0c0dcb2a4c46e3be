//! Makes a data set from a folder of pictures: one folder per class, with PNG and JPEG files in it. They
//! become the four IDX files and `classes.txt`, which every other part of the crate reads. Behind the cargo
//! feature `pictures`, which brings the decoders.
//!
//! Every picture is rotated as its EXIF tag says, laid on white where it is transparent, converted to grey
//! with the weights of ITU-R BT.601 (as Pillow and Keras do) or left in colour, and resized to the size asked
//! for, without keeping its aspect ratio. A triangle filter as wide as the new pixels averages all pixels
//! that become one.

#[cfg(feature = "pictures")]
mod jpeg;
#[cfg(feature = "pictures")]
mod listing;
#[cfg(feature = "pictures")]
mod pixels;
#[cfg(feature = "pictures")]
mod work;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::Result;
pub use crate::data::class_names::CLASSES_FILE;

/// The share of each class in the test part, unless another is asked for: 1 of 7, as in MNIST.
pub const TEST_FRACTION: f64 = 1.0 / 7.0;
/// The longest side of the images that are made.
pub const MAX_SIDE: usize = 1024;

/// How colours are converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// One channel: images `[n, H, W]`.
    Grey,
    /// Red, green and blue: images `[n, H, W, 3]`.
    Rgb,
}

impl Colours {
    /// Channels of an image.
    pub const fn channels(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
        }
    }
}

/// Whether light and dark are exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tones {
    /// As in the picture: 0 is black.
    Kept,
    /// Light becomes dark: ink on paper becomes light strokes on black, as in MNIST.
    Inverted,
}

/// The data set to make from a folder of pictures.
#[derive(Clone, Debug)]
pub struct Import {
    /// The folder: `CLASS/PICTURE`, or `train/CLASS/PICTURE` and `test/CLASS/PICTURE`.
    pub folder: PathBuf,
    /// The folder for the set: it must not exist yet, or must be empty.
    pub out: PathBuf,
    /// Height and width of the images in pixels, each 1 to [`MAX_SIDE`].
    pub size: [usize; 2],
    /// How colours are converted.
    pub colours: Colours,
    /// Whether light and dark are exchanged.
    pub tones: Tones,
    /// The seed that decides which pictures are tested on, and the order of all.
    pub seed: u64,
    /// Share of each class in the test part, above 0 and below 1; `None`: as the folders `train` and `test`
    /// have it, else [`TEST_FRACTION`].
    pub test_fraction: Option<f64>,
}

/// What an import is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportEvent<'a> {
    /// The pictures to read are known.
    Found {
        /// Pictures of all classes.
        pictures: usize,
        /// Classes.
        classes: usize,
    },
    /// This many of them have been read so far.
    Read(usize),
    /// The set is being written.
    Writing,
    /// A picture cannot be used.
    Unreadable {
        /// The picture.
        path: &'a Path,
        /// Why.
        fault: &'a str,
    },
}

/// What an import has made.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Imported {
    /// Height of an image in pixels.
    pub height: usize,
    /// Width of an image in pixels.
    pub width: usize,
    /// Channels of an image: 1 or 3.
    pub channels: usize,
    /// Every class, by label.
    pub classes: Vec<ClassCount>,
    /// How many files were skipped, by the endings of their names: files that are not PNG or JPEG by name,
    /// and hidden ones.
    pub skipped: BTreeMap<String, usize>,
    /// Pictures beside the folders of classes, which belong to no class.
    pub unfiled: usize,
}

/// What became of the pictures of one class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClassCount {
    /// Name of its folder.
    pub name: String,
    /// Images in the training part.
    pub train: usize,
    /// Images in the test part.
    pub test: usize,
    /// Pictures that could not be used.
    pub unreadable: usize,
}

impl Imported {
    /// The sum over classes of one of their counts.
    pub fn sum(&self, count: impl Fn(&ClassCount) -> usize) -> usize {
        self.classes.iter().map(count).sum()
    }
}

impl Import {
    /// Grey images of 28x28 pixels, as Fashion-MNIST has them.
    pub fn new(folder: impl Into<PathBuf>, out: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            out: out.into(),
            size: [28, 28],
            colours: Colours::Grey,
            tones: Tones::Kept,
            seed: 0,
            test_fraction: None,
        }
    }

    /// Reads all pictures, on all of rayon's threads, and writes the set: the folder appears whole or not at
    /// all. The bits of the set depend only on the pictures, their names and the fields of this.
    ///
    /// Each class is split by itself, so that a class with two pictures has one in each part; a single
    /// picture goes into the training part. Memory is bounded: pictures of more than 67 million pixels, or
    /// that need more than 256 MiB decoded, are not read.
    ///
    /// `watch` is told what happens; if it returns `Break`, the work ends and leaves nothing behind.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) for a size, fraction or seed that is out of range;
    /// [`Error::Usage`](crate::Error::Usage) if `out` is taken, or in a build without the feature `pictures`;
    /// [`Error::Data`](crate::Error::Data) if the folder holds no classes, or one of them has no picture that
    /// can be read; [`Error::Io`](crate::Error::Io) if the set cannot be written;
    /// [`Error::Interrupted`](crate::Error::Interrupted).
    pub fn run(
        &self,
        watch: &mut dyn FnMut(ImportEvent<'_>) -> ControlFlow<()>,
    ) -> Result<Imported> {
        imp::run(self, watch)
    }
}

/// Makes light pixels dark and dark ones light.
pub(super) fn invert(pixels: &mut [u8]) {
    pixels.iter_mut().for_each(|pixel| *pixel = 255 - *pixel);
}

/// A picture as an image of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// `[H, W, channels]`
    pub pixels: Vec<u8>,
    /// The height and width that it had, after rotation.
    pub was: [usize; 2],
}

impl Picture {
    /// Reads a PNG or JPEG file and brings it to a size.
    ///
    /// # Errors
    /// The fault, for the caller to add the file's name.
    pub fn read(
        path: &Path,
        size: [usize; 2],
        colours: Colours,
    ) -> std::result::Result<Self, String> {
        imp::read(path, size, colours, Tones::Kept)
    }
}

#[cfg(feature = "pictures")]
mod imp {
    pub(super) use super::pixels::read;
    pub(super) use super::work::run;
}

#[cfg(not(feature = "pictures"))]
mod imp {
    use super::{Colours, ControlFlow, Import, ImportEvent, Imported, Path, Picture, Tones};
    use crate::{Error, Result};

    const UNABLE: &str = "this build cannot read pictures (it was made without the feature `pictures`); build it \
                          with the default features";

    pub(super) fn read(
        _: &Path,
        _: [usize; 2],
        _: Colours,
        _: Tones,
    ) -> std::result::Result<Picture, String> {
        Err(UNABLE.to_owned())
    }

    pub(super) fn run(
        _: &Import,
        _: &mut dyn FnMut(ImportEvent<'_>) -> ControlFlow<()>,
    ) -> Result<Imported> {
        Err(Error::Usage(UNABLE.into()))
    }
}

#[cfg(all(test, not(feature = "pictures")))]
mod tests {
    use super::*;

    #[test]
    fn a_build_without_the_decoders_says_so() {
        let mut watch = |_: ImportEvent<'_>| ControlFlow::Continue(());
        let error = Import::new("pictures", "set").run(&mut watch).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("cannot read pictures"), "{error}");
    }
}
