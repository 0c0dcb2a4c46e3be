//! Writing files so that a reader, or a run that starts after a crash, sees the old file or the
//! new one and never half of either.

use crate::{Error, Result};
use std::io::Write;
use std::path::Path;

/// Puts `bytes` at `path` through a temporary file in the same folder and a rename.
///
/// # Errors
/// [`Error::Io`], and the file that stood there is untouched.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let write = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".threadcount-");
        // Temporary files are private by default; these end up as ordinary files, so they get
        // the permissions that the user's umask gives to any new file.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.tempfile_in(folder)?;
        file.write_all(bytes)?;
        // Before the rename, or a power cut could leave the new name on an empty file.
        file.as_file().sync_all()?;
        file.persist(path).map_err(|e| e.error)?;
        Ok(())
    };
    write().map_err(Error::io(path))
}
