//! What the targets share: a folder in memory that is written anew for each input.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// The longest message that a person should have to read, in bytes.
const MESSAGE: usize = 2_000;

/// A folder for files made of an input; gone with the process.
pub struct Folder(TempDir);

impl Folder {
    /// An empty one, in memory where the system has such.
    pub fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
        Self(folder.expect("a folder"))
    }

    /// A file or folder in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file, with the folders above it.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    }

    /// Takes a file or folder away, if it is there.
    pub fn remove(&self, name: &str) {
        let path = self.path(name);
        _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

/// Checks that a refusal is one short line, and gives back what was taken.
pub fn taken<T>(result: threadcount::Result<T>) -> Option<T> {
    result
        .inspect_err(|error| {
            let message = error.to_string();
            assert!(message.len() < MESSAGE && !message.contains('\n'), "{message}");
        })
        .ok()
}

/// An IDX file of bytes.
pub fn idx(shape: &[u32], elements: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, shape.len() as u8];
    shape.iter().for_each(|side| bytes.extend(side.to_be_bytes()));
    bytes.extend(elements);
    bytes
}
