//! The cache folder: where `.gz` files are unpacked to, `threadcount data fetch` puts the official
//! set, and the synthetic set is kept. Everything appears in it under its final name in one step (a
//! temporary file or folder, then a rename), so any number of processes may use it at once.

use std::env;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use directories::ProjectDirs;
use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};
use tempfile::{NamedTempFile, TempDir};

use super::idx::{Form, Header};
use super::map::open_regular;
use crate::files::hex;
use crate::{Error, Result};

/// The environment variable that names another cache folder.
pub const CACHE_VARIABLE: &str = "THREADCOUNT_CACHE";

/// Bytes moved at a time when hashing and unpacking: half of a common L2 share, so the copy stays
/// in cache.
const CHUNK: usize = 128 << 10;

/// No deflate stream expands further than 1032:1 (zlib's technical notes: 258 bytes from 2 bits). A
/// header that promises more than that is a lie which need not be unpacked to be found out.
const MAX_EXPANSION: u64 = 1032;

/// The cache folder. Made when something is first put into it.
#[derive(Clone, Debug)]
pub struct Cache {
    root: Option<PathBuf>,
}

impl Cache {
    /// The user's own: `THREADCOUNT_CACHE`, or the system's folder for caches.
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
    /// [`Error::Usage`] if the user has no home folder and names none.
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

    /// Makes the folder `name` below the root, and says clearly why if that cannot be.
    fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.root()?.join(name);
        fs::create_dir_all(&folder).map_err(not_writable(&folder))?;
        Ok(folder)
    }

    /// An empty folder to fill and then [`publish`](Self::publish).
    pub(super) fn staging(&self) -> Result<TempDir> {
        let root = self.folder("")?;
        temporary(".making-", 0o755).tempdir_in(&root).map_err(not_writable(&root))
    }

    /// Gives a filled staging folder its name. If another process was first, its folder stays.
    pub(super) fn publish(&self, staging: TempDir, name: &str) -> Result<PathBuf> {
        let folder = self.root()?.join(name);
        // Renaming onto a folder that is not empty fails: that is how losing the race shows.
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

    /// The raw form of the `.gz` file at `path`, unpacked if it is not in the cache yet. The cached
    /// name carries the SHA-256 of the packed bytes, so a changed `.gz` is never served stale.
    ///
    /// # Errors
    /// [`Error::Data`] if the file is not a whole gzip file that holds exactly the IDX file its
    /// inner header promises, or the cache cannot be written.
    pub fn unpacked(&self, form: Form, path: &Path) -> Result<PathBuf> {
        let (file, metadata) = open_regular(path)?;
        let key = sha256_of(BufReader::with_capacity(CHUNK, file)).map_err(unreadable(path))?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let name = format!("{stem}.{}", &hex(&key)[..32]);
        let target = self.root()?.join("unpacked").join(name);
        if is_whole(form, &target) {
            return Ok(target);
        }
        let folder = self.folder("unpacked")?;
        let mut temporary =
            temporary(".unpacking-", 0o644).tempfile_in(&folder).map_err(not_writable(&folder))?;
        gunzip(form, path, metadata.len(), &mut temporary)?;
        persist(temporary, &target)?;
        Ok(target)
    }
}

/// For a temporary file or folder that will be renamed: with the mode (less the umask) of any other
/// file, and not the private one of temporary files, which it would keep.
pub(super) fn temporary(prefix: &str, mode: u32) -> tempfile::Builder<'_, '_> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
    #[cfg(not(unix))]
    let _ = mode;
    builder
}

/// Moves a finished temporary file to its name, over whatever is there.
pub(super) fn persist(temporary: NamedTempFile, target: &Path) -> Result<()> {
    temporary.persist(target).map_err(|error| not_writable(target)(error.error))?;
    Ok(())
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

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::data(path, format!("cannot be read: {source}"))
}

/// Whether the cached file is there with the length that its own header promises. After a crash of
/// the machine a renamed file can turn up short or empty; it is then unpacked again.
fn is_whole(form: Form, path: &Path) -> bool {
    let mut header = Vec::new();
    let Ok((file, metadata)) = open_regular(path) else { return false };
    file.take(form.header_len() as u64).read_to_end(&mut header).is_ok()
        && Header::parse(form, &header).is_ok_and(|header| header.file_len == metadata.len())
}

/// Unpacks `path` into `out`: the header first, then exactly the bytes that it promises, then the
/// end of the file with a good checksum. Never writes more than was promised, never promises more
/// than `packed_len` bytes can hold, and needs [`CHUNK`] bytes of memory.
fn gunzip(form: Form, path: &Path, packed_len: u64, out: &mut NamedTempFile) -> Result<()> {
    let broken = |source: io::Error| {
        Error::data(
            path,
            format!("broken gzip data ({source}); restore the file or fetch it again"),
        )
    };
    let (file, _) = open_regular(path)?;
    let mut input = BufReader::with_capacity(CHUNK, file);
    // The decoder takes a stream that ends before its first byte for an empty file.
    if !input.fill_buf().map_err(unreadable(path))?.starts_with(&[0x1f, 0x8b]) {
        return Err(Error::data(
            path,
            "not a gzip file (it does not begin with 1f 8b); restore it or fetch it again",
        ));
    }
    let mut input = MultiGzDecoder::new(input);
    let mut head = Vec::new();
    input.by_ref().take(form.header_len() as u64).read_to_end(&mut head).map_err(broken)?;
    let header = Header::parse(form, &head)
        .map_err(|fault| Error::data(path, format!("unpacked, {fault}")))?;
    if header.file_len > packed_len.saturating_mul(MAX_EXPANSION) {
        return Err(Error::data(
            path,
            format!(
                "its inner header promises {} bytes, more than {packed_len} packed bytes can hold; restore the file or fetch it again",
                header.file_len
            ),
        ));
    }
    let target = out.path().to_owned();
    out.write_all(&head).map_err(not_writable(&target))?;
    let mut left = header.file_len - head.len() as u64;
    let mut chunk = vec![0; CHUNK];
    while left > 0 {
        let room = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
        let read = input.read(&mut chunk[..room]).map_err(broken)?;
        if read == 0 {
            return Err(Error::data(
                path,
                format!(
                    "unpacked, truncated: the header promises {} bytes, {left} are missing; restore the file or fetch it again",
                    header.file_len
                ),
            ));
        }
        out.write_all(&chunk[..read]).map_err(not_writable(&target))?;
        left -= read as u64;
    }
    // The read that meets the end is also the one that checks the CRC and the length behind it.
    match input.read(&mut chunk[..1]).map_err(broken)? {
        0 => Ok(()),
        _ => Err(Error::data(
            path,
            format!(
                "unpacked, has trailing bytes: the header promises {}; restore the file",
                header.file_len
            ),
        )),
    }
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
    let (file, _): (File, _) = open_regular(path)?;
    Ok(hex(&sha256_of(file).map_err(unreadable(path))?))
}

/// SHA-256 of bytes in memory, as lower-case hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_of_the_standards_examples() {
        // FIPS 180-2, appendix B.
        assert_eq!(
            sha256(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            hex(&sha256_of(&b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"[..])
                .unwrap()),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        );
    }
}
