//! Images and labels from files of any format.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::contents::Contents;
use crate::Result;

/// Images of unsigned bytes, row-major `[count, height, width, channels]`, in a mapped file or in memory.
#[derive(Clone, Debug)]
pub struct Images {
    contents: Arc<Contents>,
    /// Where in the contents they begin.
    start: usize,
    shape: [usize; 4],
}

impl Images {
    /// Images `[count, height, width, channels]` that begin at byte `start` of `contents`.
    ///
    /// # Panics
    /// If the contents do not hold that many bytes, or a size is zero; the format has checked its header.
    pub(super) fn new(contents: Contents, start: usize, shape: [usize; 4]) -> Self {
        let bytes = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
        let end = bytes.filter(|&bytes| bytes > 0).and_then(|bytes| bytes.checked_add(start));
        assert!(end.is_some_and(|end| end <= contents.len()), "{shape:?} behind byte {start}");
        Self { contents: contents.into(), start, shape }
    }

    /// Maps a raw IDX file of three or four dimensions.
    ///
    /// # Errors
    /// [`Error::Data`](crate::Error::Data) if it is missing, not a regular file, or not exactly such a
    /// file.
    pub fn open(path: &Path) -> Result<Self> {
        super::format::header::images(Contents::map(path)?)
    }

    /// How many images there are; at least one, and no more than `u32::MAX`.
    pub fn count(&self) -> usize {
        self.shape[0]
    }

    /// Rows of an image.
    pub fn height(&self) -> usize {
        self.shape[1]
    }

    /// Columns of an image.
    pub fn width(&self) -> usize {
        self.shape[2]
    }

    /// Bytes of a pixel: 1 for shades of grey, 3 for red, green and blue.
    pub fn channels(&self) -> usize {
        self.shape[3]
    }

    /// `[height, width, channels]` of an image.
    pub fn shape(&self) -> [usize; 3] {
        [self.height(), self.width(), self.channels()]
    }

    /// Pixels of an image: height x width.
    pub fn pixels(&self) -> usize {
        self.height() * self.width()
    }

    /// The size of an image as text: `28x28`, with three channels `32x32x3`.
    pub fn measures(&self) -> String {
        super::shape::measures(&self.shape[1..])
    }

    /// The bytes of image `i`, row by row, the channels of a pixel side by side.
    ///
    /// # Panics
    /// If there are not that many images.
    #[inline]
    pub fn image(&self, i: usize) -> &[u8] {
        let bytes = self.pixels() * self.channels();
        &self.as_slice()[i * bytes..][..bytes]
    }

    /// All bytes of all images.
    pub fn as_slice(&self) -> &[u8] {
        let bytes = self.count() * self.pixels() * self.channels();
        &self.contents[self.start..][..bytes]
    }

    /// The file that holds them; for a packed file, its copy in the cache.
    pub fn path(&self) -> &Path {
        self.contents.path()
    }

    /// The whole file, header included: what a checksum is taken of.
    pub fn file(&self) -> &[u8] {
        &self.contents
    }

    /// What was odd about reading the file, though it could be read.
    pub fn remark(&self) -> Option<&str> {
        self.contents.remark()
    }
}

/// Labels as a file has them: any numbers from 0 up.
#[derive(Debug)]
pub struct FiledLabels {
    /// The file.
    pub path: PathBuf,
    /// `[count]`, none negative.
    pub values: Vec<u32>,
    /// What was odd about reading the file, though it could be read.
    pub remark: Option<String>,
}

/// Labels as classes, numbered from 0.
#[derive(Clone, Debug)]
pub struct Labels {
    classes: Vec<u8>,
    path: PathBuf,
    remark: Option<String>,
}

impl Labels {
    /// The labels of a file, of which `first` becomes class 0.
    ///
    /// # Panics
    /// If one is below `first` or more than 255 above it.
    pub(super) fn number(filed: FiledLabels, first: u32) -> Self {
        let class = |&label: &u32| u8::try_from(label - first).expect("the range was checked");
        let classes = filed.values.iter().map(class).collect();
        Self { classes, path: filed.path, remark: filed.remark }
    }

    /// The same labels with another number for each class.
    pub(super) fn renumbered(&self, class: impl Fn(u8) -> u8) -> Self {
        let classes = self.classes.iter().map(|&old| class(old)).collect();
        Self { classes, path: self.path.clone(), remark: self.remark.clone() }
    }

    /// How many labels there are; at least one.
    pub fn count(&self) -> usize {
        self.classes.len()
    }

    /// The class of every image, in file order: its label minus the set's first.
    pub fn as_slice(&self) -> &[u8] {
        &self.classes
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was odd about reading the file, though it could be read.
    pub fn remark(&self) -> Option<&str> {
        self.remark.as_deref()
    }
}
