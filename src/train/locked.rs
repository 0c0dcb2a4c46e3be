//! Folders that one process at a time works in, of runs and of searches: how they begin, how they are numbered, and the
//! lock on them.

use crate::files::write_new;
use crate::{Error, Result};
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;

/// Makes a folder, if it does not exist, with a first file of this name and text, and locks it.
///
/// # Errors
/// [`Error::RunExists`] if the file is there; [`Error::Io`]. A folder that was created is then removed again.
pub(super) fn begin(path: &Path, file: &str, text: &str) -> Result<Lock> {
    let missing: Vec<&Path> = path.ancestors().take_while(|p| !p.exists()).collect();
    let start = || {
        fs::create_dir_all(path).map_err(Error::io(path))?;
        let exists = || Error::RunExists { path: path.to_owned() };
        let lock = Lock::take(path).map_err(|error| match error {
            // Another process is about to start one here.
            Error::RunBusy { .. } => exists(),
            error => error,
        })?;
        match write_new(&path.join(file), text.as_bytes()) {
            Ok(()) => Ok(lock),
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::AlreadyExists => {
                Err(exists())
            }
            Err(error) => Err(error),
        }
    };
    let started: Result<Lock> = start();
    if let Err(error) = &started
        && !matches!(error, Error::RunExists { .. })
        && !missing.is_empty()
    {
        // These failures are ignored, since the first error matters more; a folder that is not empty stays.
        let _ = fs::remove_file(path.join(Lock::FILE));
        missing.iter().for_each(|path| drop(fs::remove_dir(path)));
    }
    started
}

/// Starts something in the first free one of `root/name`, `root/name-2`, `root/name-3` ...
///
/// # Errors
/// Whatever `start` fails with, other than [`Error::RunExists`].
pub(crate) fn numbered<T>(
    root: &Path,
    name: &str,
    start: impl Fn(&Path) -> Result<T>,
) -> Result<T> {
    let mut number = 1;
    loop {
        let path = root.join(match number {
            1 => name.to_owned(),
            _ => format!("{name}-{number}"),
        });
        match start(&path) {
            Err(Error::RunExists { .. }) => number += 1,
            other => return other,
        }
    }
}

/// A lock on a folder. The system releases it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    pub(super) const FILE: &str = ".lock";

    pub(super) fn take(folder: &Path) -> Result<Self> {
        let path = folder.join(Self::FILE);
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(Error::io(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Error::RunBusy { path: folder.to_owned() }),
            // A file system without locks: the run goes on without one.
            Err(TryLockError::Error(source)) if source.kind() == ErrorKind::Unsupported => {
                Ok(Self { _file: file })
            }
            Err(TryLockError::Error(source)) => Err(Error::Io { path, source }),
        }
    }
}
