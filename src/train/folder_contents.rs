//! What a run's folder holds, seen from outside: whether it is one, whether it is in use, and its removal.

use super::locked::Lock;
use crate::{Error, Result};
use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::time::SystemTime;

/// The files that training writes, the record last: without it the folder is no longer a run's.
const FILES: [&str; 7] = [
    "model.safetensors",
    "history.csv",
    "curves.svg",
    "report.html",
    "sessions.json",
    "checkpoint.safetensors",
    RECORD,
];
const RECORD: &str = "run.toml";
/// How the names of TensorBoard's event files begin.
pub(super) const EVENTS: &str = "events.out.tfevents.";
/// How the names of files begin that were being written when the process was killed.
const TEMPORARY: &str = ".threadcount-";

/// What a removal left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// Nothing: the folder is gone.
    Folder,
    /// The folder, with this many files that no run has written.
    Files(usize),
}

/// Whether a folder holds a run, or what is left of one.
pub(super) fn holds_run(folder: &Path) -> bool {
    folder.join(RECORD).is_file()
}

/// When the record was last written.
pub(super) fn record_written(folder: &Path) -> Option<SystemTime> {
    fs::metadata(folder.join(RECORD)).and_then(|file| file.modified()).ok()
}

/// Whether a process trains the run. The lock is shared for a moment, and not created.
pub(super) fn is_busy(folder: &Path) -> bool {
    let lock = File::open(folder.join(Lock::FILE));
    lock.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Removes a run: every file that training writes, and the folder if nothing else is in it.
///
/// # Errors
/// [`Error::Data`] if the folder holds no run; [`Error::Usage`] if it is a trial of a search;
/// [`Error::RunBusy`]; [`Error::Io`].
pub fn remove_run(folder: &Path) -> Result<Removed> {
    if !holds_run(folder) {
        return Err(Error::data(folder, "no run here (it has no run.toml); nothing is removed"));
    }
    let whole = folder.canonicalize().map_err(Error::io(folder))?;
    if let Some(search) = whole.parent().filter(|parent| parent.join("search.toml").is_file()) {
        return Err(Error::Usage(format!(
            "{}: a trial of the search in {}, which needs it; remove the search's whole folder yourself",
            folder.display(),
            search.display()
        )));
    }
    let lock = Lock::take(folder)?;
    let begun = names(folder).into_iter().filter(|name| name.starts_with(TEMPORARY));
    for name in begun.chain(files(folder)) {
        remove(&folder.join(name))?;
    }
    drop(lock);
    remove(&folder.join(Lock::FILE))?;
    match fs::read_dir(folder).map_err(Error::io(folder))?.count() {
        0 => fs::remove_dir(folder).map_err(Error::io(folder)).map(|()| Removed::Folder),
        left => Ok(Removed::Files(left)),
    }
}

/// The names of the run's files that are there.
pub(super) fn files(folder: &Path) -> Vec<String> {
    let events = names(folder).into_iter().filter(|name| name.starts_with(EVENTS));
    let known = FILES.iter().filter(|name| folder.join(name).is_file());
    events.chain(known.map(|name| (*name).to_owned())).collect()
}

/// The names in a folder that are UTF-8, in their order; none if it cannot be read.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn remove(file: &Path) -> Result<()> {
    fs::remove_file(file).map_err(Error::io(file))
}
