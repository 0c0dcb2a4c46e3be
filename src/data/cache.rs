//! The cache folder: where packed files are unpacked to, `threadcount data fetch` puts the official
//! set, and the synthetic set is kept. Everything appears in it under its final name in one step (a
//! temporary file or folder, then a rename), so any number of processes may use it at once.

use std::env;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use directories::ProjectDirs;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::contents::{self, Contents};
use super::format::form::Form;
use super::format::header::Header;
use super::map::open_regular;
use super::unpack::{Fault, Packed, unreadable};
use crate::files::hex;
use crate::{Error, Result};

/// The environment variable that names another cache folder.
pub const CACHE_VARIABLE: &str = "THREADCOUNT_CACHE";

/// The file that is locked while the synthetic set is drawn.
const LOCK: &str = ".lock";

/// Bytes moved at a time when hashing and unpacking: half of a core's usual share of L2, so the copy stays in
/// cache.
pub(super) const CHUNK: usize = 128 << 10;

/// The cache folder. Made when something is first put into it.
#[derive(Clone, Debug)]
pub struct Cache {
    root: Option<PathBuf>,
}

impl Cache {
    /// The user's cache: the folder that `THREADCOUNT_CACHE` names, or the system's folder for caches.
    pub fn user() -> Self {
        let root = match env::var_os(CACHE_VARIABLE) {
            Some(path) if !path.is_empty() => Some(path.into()),
            _ => ProjectDirs::from("", "", "threadcount").map(|dirs| dirs.cache_dir().to_owned()),
        };
        Self { root }
    }

    /// A cache in any folder.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: Some(root.into()) }
    }

    /// The folder, which need not exist yet.
    ///
    /// # Errors
    /// [`Error::Usage`] if the user has no home folder and sets no cache folder.
    pub fn root(&self) -> Result<&Path> {
        self.root.as_deref().ok_or_else(|| {
            Error::Usage(format!("no home folder to keep a cache in; set {CACHE_VARIABLE} to a folder that can be written"))
        })
    }

    /// Where `threadcount data fetch` puts the official files.
    ///
    /// # Errors
    /// As [`Cache::root`].
    pub fn fashion_mnist(&self) -> Result<PathBuf> {
        Ok(self.root()?.join("fashion-mnist"))
    }

    /// Makes the folder `name` below the root; the error says why if that fails.
    fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.root()?.join(name);
        fs::create_dir_all(&folder).map_err(not_writable(&folder))?;
        Ok(folder)
    }

    /// Waits until no other process holds the cache's lock, and holds it until the file is dropped. Where
    /// the file system has no locks, the steps that need one are only as safe as a rename.
    pub(super) fn lock(&self) -> Result<File> {
        let path = self.folder("")?.join(LOCK);
        let file = File::create(&path).map_err(not_writable(&path))?;
        match file.lock() {
            Err(source) if source.kind() != io::ErrorKind::Unsupported => {
                Err(not_writable(&path)(source))
            }
            _ => Ok(file),
        }
    }

    /// An empty folder to fill and then [`publish`](Self::publish).
    pub(super) fn staging(&self) -> Result<TempDir> {
        let root = self.folder("")?;
        temporary(".making-", 0o755).tempdir_in(&root).map_err(not_writable(&root))
    }

    /// Gives a filled staging folder its name. If another process was first, that one's folder stays.
    pub(super) fn publish(&self, staging: TempDir, name: &str) -> Result<PathBuf> {
        let folder = self.root()?.join(name);
        // Renaming onto a folder that is not empty fails: then another process was first.
        match fs::rename(staging.path(), &folder) {
            Ok(()) => {
                // Nothing is left under the old name to be cleaned up.
                let _ = staging.keep();
                Ok(folder)
            }
            Err(_) if folder.is_dir() => Ok(folder),
            Err(source) => Err(not_writable(&folder)(source)),
        }
    }

    /// The raw form of a packed file: unpacked into the cache if it is not there yet, or into memory if the
    /// cache cannot be written. The cached name carries the SHA-256 of the packed bytes, so a changed file is
    /// never served stale.
    ///
    /// # Errors
    /// [`Error::Data`] if it cannot be read, or is not valid.
    pub(super) fn unpacked(&self, packed: &impl Packed) -> Result<Contents> {
        let path = packed.path();
        let reason = match self.unpack(packed) {
            Ok(raw) => return Ok(Contents::map(&raw)?.unpacked_from(path)),
            Err(Fault::Bad(error)) => return Err(error),
            Err(Fault::Full(reason)) => reason,
        };
        let remark = match &self.root {
            Some(root) => format!(
                "unpacked into memory, as the cache folder {} cannot be written ({reason}); make room or set \
                 {CACHE_VARIABLE} to another folder",
                root.display()
            ),
            None => format!("unpacked into memory: {reason}"),
        };
        let room = |len| match usize::try_from(len) {
            Ok(len) => contents::room(path, len).map_err(Fault::Bad),
            Err(_) => Err(Fault::Bad(Error::data(path, "too large for this machine's addresses"))),
        };
        match packed.unpack(room) {
            Ok(bytes) => Ok(Contents::held(path, bytes, Some(remark)).unpacked_from(path)),
            Err(Fault::Bad(error)) => Err(error),
            Err(Fault::Full(reason)) => Err(not_writable(path)(reason)),
        }
    }

    /// The path of the raw form in the cache; unpacks it if it is not there.
    fn unpack(&self, packed: &impl Packed) -> std::result::Result<PathBuf, Fault> {
        let root = self.root().map_err(|error| Fault::Full(io::Error::other(error.to_string())))?;
        let key = packed.sha256().map_err(Fault::Bad)?;
        let folder = root.join("unpacked");
        let target = folder.join(format!("{}.{}", packed.name(), &hex(&key)[..32]));
        if is_whole(packed.form(), &target) {
            return Ok(target);
        }
        let temporary = packed.unpack(|_| {
            fs::create_dir_all(&folder)
                .and_then(|()| temporary(".unpacking-", 0o644).tempfile_in(&folder))
                .map_err(Fault::Full)
        })?;
        temporary.persist(&target).map_err(|error| Fault::Full(error.error))?;
        Ok(target)
    }
}

/// A builder for a temporary file or folder that will be renamed: with the mode (less the umask) of any other
/// file. With the private mode of temporary files, it would stay private after the rename.
pub(super) fn temporary(prefix: &str, mode: u32) -> tempfile::Builder<'_, '_> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
    #[cfg(not(unix))]
    let _ = mode;
    builder
}

/// An adapter for `map_err`: the cache cannot be written.
pub(super) fn not_writable(path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| {
        Error::data(
            path,
            format!(
                "the cache folder cannot be written ({source}); make room or set {CACHE_VARIABLE} to another folder"
            ),
        )
    }
}

/// Whether the cached file is there with the length that its own header promises. After a crash of
/// the machine a renamed file can turn up short or empty; it is then unpacked again.
pub(super) fn is_whole(form: Form, path: &Path) -> bool {
    let mut head = Vec::new();
    let Ok((file, metadata)) = open_regular(path) else { return false };
    file.take(Header::LONGEST as u64).read_to_end(&mut head).is_ok()
        && Header::parse(form, &head, Some(metadata.len())).is_ok()
}

/// SHA-256 of the file at `path`.
pub(super) fn sha256_of_file(path: &Path) -> Result<[u8; 32]> {
    let (file, _) = open_regular(path)?;
    sha256_of(file).map_err(unreadable(path))
}

/// SHA-256 of a whole stream.
fn sha256_of(mut input: impl Read) -> io::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        match input.read(&mut chunk)? {
            0 => return Ok(hash.finalize().into()),
            read => hash.update(&chunk[..read]),
        }
    }
}

/// SHA-256 of the file at `path`, as lower-case hexadecimal digits.
pub(super) fn file_sha256(path: &Path) -> Result<String> {
    Ok(hex(&sha256_of_file(path)?))
}

/// SHA-256 of bytes in memory, given in consecutive pieces, as lower-case hexadecimal digits.
pub(super) fn sha256(pieces: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    pieces.iter().for_each(|piece| hash.update(piece));
    hex(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second process finds the first one's folder, and leaves nothing of its own.
    #[test]
    fn of_two_that_publish_the_first_one_counts() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::at(root.path());
        let staged = ["first", "second"].map(|text| {
            let staging = cache.staging().unwrap();
            fs::write(staging.path().join("file"), text).unwrap();
            staging
        });
        for staging in staged {
            let folder = cache.publish(staging, "set").unwrap();
            assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), "first");
        }
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn what_is_renamed_has_the_mode_of_any_other() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        let [plain, folder] = ["plain", "folder"].map(|name| root.path().join(name));
        File::create(&plain).unwrap();
        fs::create_dir(&folder).unwrap();
        let file = temporary("file-", 0o644).tempfile_in(root.path()).unwrap();
        assert_eq!(mode(file.path()), mode(&plain) & 0o644);
        let made = temporary("folder-", 0o755).tempdir_in(root.path()).unwrap();
        assert_eq!(mode(made.path()), mode(&folder) & 0o755);
    }

    #[test]
    fn sha256_of_the_standards_examples() {
        // FIPS 180-2, appendix B.
        assert_eq!(
            sha256(&[b"a", b"", b"bc"]),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            hex(&sha256_of(&b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"[..])
                .unwrap()),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        );
    }
}
