//! Writing files so that a reader, or a run that starts after a crash, sees the old file or the
//! new one and never half of either.

use crate::{Error, Result};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use tempfile::NamedTempFile;

/// Puts `bytes` at `path` through a temporary file in the same folder and a rename.
///
/// # Errors
/// [`Error::Io`]; then the file that was there before is unchanged.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || temporary(path, bytes)?.persist(path).map_err(|e| e.error);
    write().map(drop).map_err(Error::io(path))
}

/// Like [`write_atomically`], but only if there is nothing at `path`.
///
/// # Errors
/// [`Error::Io`], of kind `AlreadyExists` if there is.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || temporary(path, bytes)?.persist_noclobber(path).map_err(|e| e.error);
    write().map(drop).map_err(Error::io(path))
}

/// Puts what `write` writes at `path` as [`write_atomically`] does, without having it in memory.
///
/// # Errors
/// Those of `write`; [`Error::Io`]. Then the file that was there before is unchanged.
pub fn stream_atomically<T>(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<T>,
) -> Result<T> {
    let file = temporary(path, &[]).map_err(Error::io(path))?;
    let mut buffer = BufWriter::new(file);
    let done = write(&mut buffer)?;
    let file = buffer.into_inner().map_err(|e| Error::io(path)(e.into_error()))?;
    file.as_file().sync_all().map_err(Error::io(path))?;
    file.persist(path).map_err(|e| Error::io(path)(e.error))?;
    Ok(done)
}

/// Bytes as lower-case hexadecimal digits: how checksums are written.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file with these contents next to where it will be renamed to.
fn temporary(path: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".threadcount-");
    // Temporary files are private by default; these end up as ordinary files, so they get the
    // permissions that the user's umask gives to any new file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(bytes)?;
    // Before the rename, or a power cut could leave the new name on an empty file.
    file.as_file().sync_all()?;
    Ok(file)
}
