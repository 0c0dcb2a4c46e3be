//! The bytes of a data file: mapped where the file system can map it, else read into memory.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Deref;
use std::path::{Path, PathBuf};

use super::map::{FileMap, open_regular};
use crate::{Error, Result};

/// All bytes of a file. Dereferences to them.
pub struct Contents {
    bytes: Bytes,
    /// The file that was mapped or read.
    path: PathBuf,
    /// The packed file of which `path` is the unpacked copy.
    packed: Option<PathBuf>,
    remark: Option<String>,
}

enum Bytes {
    Mapped(FileMap),
    Held(Vec<u8>),
}

impl fmt::Debug for Contents {
    /// Without the bytes, of which there are millions.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if matches!(self.bytes, Bytes::Mapped(_)) { "mapped" } else { "held" };
        write!(f, "Contents({} bytes {kind}, {})", self.len(), self.origin().display())
    }
}

impl Contents {
    /// Maps the regular file at `path`; reads it where that cannot be done. Empty files, folders, pipes
    /// and devices are refused.
    ///
    /// # Errors
    /// [`Error::Data`] if it cannot be read, or does not fit in memory.
    pub(super) fn map(path: &Path) -> Result<Self> {
        Self::map_by(path, FileMap::new)
    }

    /// Like [`Self::map`], with another function that maps the file: some file systems cannot.
    fn map_by(
        path: &Path,
        map: impl FnOnce(&Path, &File, usize) -> io::Result<FileMap>,
    ) -> Result<Self> {
        let (file, metadata) = open_regular(path)?;
        let len = match usize::try_from(metadata.len()) {
            Ok(0) => {
                return Err(Error::data(path, "the file is empty; restore it or fetch it again"));
            }
            Ok(len) => len,
            Err(_) => {
                return Err(Error::data(
                    path,
                    "the file is too large for this machine's addresses",
                ));
            }
        };
        match map(path, &file, len) {
            Ok(map) => Ok(Self {
                bytes: Bytes::Mapped(map),
                path: path.to_owned(),
                packed: None,
                remark: None,
            }),
            Err(reason) => {
                let mut bytes = room(path, len)?;
                file.take(len as u64)
                    .read_to_end(&mut bytes)
                    .map_err(|source| Error::data(path, format!("cannot be read: {source}")))?;
                let remark = format!("read into memory, as it cannot be mapped ({reason})");
                Ok(Self::held(path, bytes, Some(remark)))
            }
        }
    }

    /// Bytes that were made from the file at `path`, with a remark about that if there is one.
    pub(super) fn held(path: &Path, bytes: Vec<u8>, remark: Option<String>) -> Self {
        Self { bytes: Bytes::Held(bytes), path: path.to_owned(), packed: None, remark }
    }

    /// The same contents, marked as unpacked from the file at `packed`.
    pub(super) fn unpacked_from(self, packed: &Path) -> Self {
        Self { packed: Some(packed.to_owned()), ..self }
    }

    /// A fault of the contents: it names the user's file, not its copy in the cache.
    pub(super) fn fault(&self, fault: impl Into<String>) -> Error {
        match &self.packed {
            Some(packed) => Error::data(packed, format!("unpacked, {}", fault.into())),
            None => Error::data(&self.path, fault),
        }
    }

    /// The user's file: the packed one, or the one that is mapped.
    pub(super) fn origin(&self) -> &Path {
        self.packed.as_deref().unwrap_or(&self.path)
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What was odd about reading the file, though it could be read.
    pub(super) fn remark(&self) -> Option<&str> {
        self.remark.as_deref()
    }
}

impl Deref for Contents {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(map) => map,
            Bytes::Held(bytes) => bytes,
        }
    }
}

/// An empty vector with room for `len` bytes of the file at `path`.
///
/// # Errors
/// [`Error::Data`] if there is not enough memory.
pub(super) fn room(path: &Path, len: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match bytes.try_reserve_exact(len) {
        Ok(()) => Ok(bytes),
        Err(_) => Err(Error::data(
            path,
            format!("its {len} bytes are more than this machine's memory; use a smaller set"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_mapped_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let bytes: Vec<u8> = (0..100_000_u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let read =
            Contents::map_by(&path, |_, _, _| Err(io::Error::from(io::ErrorKind::Unsupported)))
                .unwrap();
        assert!(matches!(read.bytes, Bytes::Held(_)));
        assert_eq!((&*read, read.path()), (&bytes[..], &*path));
        assert!(read.remark().unwrap().starts_with("read into memory, as it cannot be mapped ("));
        let mapped = Contents::map(&path).unwrap();
        assert!(matches!(mapped.bytes, Bytes::Mapped(_)));
        assert_eq!((&*mapped, mapped.remark()), (&bytes[..], None));
    }

    /// Maps are private: some file systems have no shared ones.
    #[test]
    #[cfg(target_os = "linux")]
    fn maps_are_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mapped-by-me");
        std::fs::write(&path, [7; 5000]).unwrap();
        let mapped = Contents::map(&path).unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let line = maps.lines().find(|line| line.ends_with("mapped-by-me")).unwrap();
        assert_eq!(line.split_whitespace().nth(1), Some("r--p"), "{line}");
        assert_eq!(mapped.len(), 5000);
    }
}
