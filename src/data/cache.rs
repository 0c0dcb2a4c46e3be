//! The cache folder: where packed files are unpacked to, `threadcount data fetch` puts the official
//! set, and the synthetic set is kept. Everything appears in it under its final name in one step (a
//! temporary file or folder, then a rename), so any number of processes may use it at once.

use std::env;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    watch: Option<Watch>,
}

/// Work of a cache that may take seconds. It is told when it begins, with nothing done, and as it goes on, until
/// all is done; what fails is not told to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheWork<'a> {
    /// What is made.
    pub made: Made<'a>,
    /// How much of it is there.
    pub done: u64,
    /// How much it will be.
    pub total: u64,
}

/// What a cache makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made<'a> {
    /// The raw form of this file, counted in bytes.
    Unpacked(&'a Path),
    /// The synthetic set, counted in images.
    Drawn,
}

/// Who is told of the work.
#[derive(Clone)]
struct Watch(Arc<dyn Fn(CacheWork<'_>) + Send + Sync>);

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

impl Cache {
    /// The user's cache: the folder that `THREADCOUNT_CACHE` names, or the system's folder for caches.
    pub fn user() -> Self {
        let root = match env::var_os(CACHE_VARIABLE) {
            Some(path) if !path.is_empty() => Some(path.into()),
            _ => ProjectDirs::from("", "", "threadcount").map(|dirs| dirs.cache_dir().to_owned()),
        };
        Self { root, watch: None }
    }

    /// A cache in any folder.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: Some(root.into()), watch: None }
    }

    /// The same cache, which tells `watch` of its work.
    pub fn watched(self, watch: impl Fn(CacheWork<'_>) + Send + Sync + 'static) -> Self {
        Self { watch: Some(Watch(Arc::new(watch))), ..self }
    }

    /// Tells how far a work has come.
    pub(super) fn tell(&self, work: CacheWork<'_>) {
        if let Some(Watch(watch)) = &self.watch {
            watch(work);
        }
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
            Ok(bytes) => {
                let room = contents::room(path, bytes).map_err(Fault::Bad)?;
                Ok(Counted::new(room, self, path, len))
            }
            Err(_) => Err(Fault::Bad(Error::data(path, "too large for this machine's addresses"))),
        };
        match packed.unpack(room) {
            Ok(bytes) => Ok(Contents::held(path, bytes.to, Some(remark)).unpacked_from(path)),
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
        let unpacked = packed.unpack(|len| {
            let file = fs::create_dir_all(&folder)
                .and_then(|()| temporary(".unpacking-", 0o644).tempfile_in(&folder))
                .map_err(Fault::Full)?;
            Ok(Counted::new(file, self, packed.path(), len))
        })?;
        unpacked.to.persist(&target).map_err(|error| Fault::Full(error.error))?;
        Ok(target)
    }
}

/// A writer of something unpacked, which tells how much it has taken.
struct Counted<'a, W> {
    to: W,
    cache: &'a Cache,
    work: CacheWork<'a>,
}

impl<'a, W> Counted<'a, W> {
    fn new(to: W, cache: &'a Cache, path: &'a Path, total: u64) -> Self {
        let work = CacheWork { made: Made::Unpacked(path), done: 0, total };
        cache.tell(work);
        Self { to, cache, work }
    }
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.to.write(bytes)?;
        self.work.done += taken as u64;
        self.cache.tell(self.work);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
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

    /// Three labels, written in two pieces.
    struct Labels(PathBuf);

    impl Packed for Labels {
        fn path(&self) -> &Path {
            &self.0
        }

        fn name(&self) -> String {
            "labels".to_owned()
        }

        fn form(&self) -> Form {
            Form::Labels
        }

        fn sha256(&self) -> Result<[u8; 32]> {
            Ok([7; 32])
        }

        fn unpack<W: Write>(
            &self,
            out: impl FnOnce(u64) -> std::result::Result<W, Fault>,
        ) -> std::result::Result<W, Fault> {
            let mut out = out(11)?;
            out.write_all(&[0, 0, 8, 1, 0, 0, 0, 3]).map_err(Fault::Full)?;
            out.write_all(&[2, 0, 1]).map_err(Fault::Full)?;
            Ok(out)
        }
    }

    /// Into the cache once, and into memory each time where there is none.
    #[test]
    fn unpacking_is_told_from_its_beginning_to_its_end() {
        let root = tempfile::tempdir().unwrap();
        let full = root.path().join("file");
        fs::write(&full, "no folder").unwrap();
        for (root, times) in [(root.path(), 1), (&full, 2)] {
            let told = Arc::new(std::sync::Mutex::new(Vec::new()));
            let teller = Arc::clone(&told);
            let cache = Cache::at(root).watched(move |work| {
                assert_eq!(work.made, Made::Unpacked(Path::new("labels.gz")));
                teller.lock().unwrap().push((work.done, work.total));
            });
            for _ in 0..2 {
                let contents = cache.unpacked(&Labels("labels.gz".into())).unwrap();
                assert_eq!(contents[8..], [2, 0, 1]);
            }
            let once = [(0, 11), (8, 11), (11, 11)];
            assert_eq!(*told.lock().unwrap(), once.repeat(times));
        }
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
