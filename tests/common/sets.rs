//! Small sets written by hand for the data tests: headers are spelled out here, not taken from the
//! code under test.

// Each test file uses its own share of this.
#![allow(dead_code)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;
use threadcount::Error;
use threadcount::data::{Cache, Dataset};

/// Train images, train labels, test images, test labels.
pub(crate) const NAMES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

/// An IDX file of bytes: magic number, dimensions, elements.
pub(crate) fn idx(shape: &[u32], elements: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, shape.len() as u8];
    for side in shape {
        bytes.extend(side.to_be_bytes());
    }
    bytes.extend(elements);
    bytes
}

/// The bytes as one gzip member.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Pixel `i` of image `n` of the hand-written sets.
pub(crate) fn pixel(n: usize, i: usize) -> u8 {
    (n * 31 + i * 7 + n * i) as u8
}

/// Images of `pixel`, `[count, height, width]`.
pub(crate) fn images(count: usize, height: usize, width: usize) -> Vec<u8> {
    let pixels: Vec<u8> =
        (0..count).flat_map(|n| (0..height * width).map(move |i| pixel(n, i))).collect();
    idx(&[count as u32, height as u32, width as u32], &pixels)
}

/// A folder with a cache beside it, both gone at the end of the test.
pub(crate) struct Scratch {
    root: TempDir,
    pub(crate) folder: PathBuf,
    pub(crate) cache: Cache,
}

impl Scratch {
    pub(crate) fn empty() -> Self {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("set");
        fs::create_dir(&folder).unwrap();
        let cache = Cache::at(root.path().join("cache"));
        Self { root, folder, cache }
    }

    /// Twenty training images of 3x4 pixels with labels 0 to 9 twice, and ten test images.
    pub(crate) fn good() -> Self {
        let labels: Vec<u8> = (0..20).map(|i| i % 10).collect();
        Self::with_labels(&labels, &labels[..10])
    }

    /// Images of 3x4 pixels with these labels.
    pub(crate) fn with_labels(train: &[u8], test: &[u8]) -> Self {
        let scratch = Self::empty();
        for (labels, [images_name, labels_name]) in
            [(train, [NAMES[0], NAMES[1]]), (test, [NAMES[2], NAMES[3]])]
        {
            scratch.put(images_name, &images(labels.len(), 3, 4));
            scratch.put(labels_name, &idx(&[labels.len() as u32], labels));
        }
        scratch
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Takes the raw file away and puts these bytes in as its `.gz`.
    pub(crate) fn put_packed(&self, name: &str, packed: &[u8]) -> PathBuf {
        fs::remove_file(self.folder.join(name)).unwrap();
        self.put(&format!("{name}.gz"), packed)
    }

    /// The set in the folder.
    pub(crate) fn open(&self) -> Result<Arc<Dataset>, Error> {
        Dataset::open_folder(&self.folder, &self.cache)
    }

    /// What is said of the file or folder at `path`, for which the set is refused: one line of bearable
    /// length, and the exit code for bad data.
    #[track_caller]
    pub(crate) fn refusal(&self, path: &Path) -> String {
        let error = self.open().unwrap_err();
        assert_eq!(error.exit_code(), 3, "{error}");
        let line = error.to_string();
        assert!(!line.contains('\n') && line.len() < 600, "{line}");
        let fault = line.strip_prefix(&format!("{}: ", path.display()));
        fault.unwrap_or_else(|| panic!("{line} does not name {}", path.display())).to_owned()
    }

    pub(crate) fn path(&self) -> &Path {
        self.root.path()
    }

    /// Names and lengths of the files unpacked in the cache.
    pub(crate) fn unpacked(&self) -> Vec<(String, u64)> {
        let Ok(entries) = fs::read_dir(self.cache.root().unwrap().join("unpacked")) else {
            return Vec::new();
        };
        entries
            .map(|entry| entry.unwrap())
            .map(|entry| {
                (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len())
            })
            .collect()
    }
}
