//! All runs that there are: those in the log, and those that only their folders tell of.

use super::run::LoggedRun;
use super::{Logged, RunLog, time};
use crate::train::folder_contents::{holds_run, is_busy, record_written};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// All runs, the newest first.
#[derive(Debug)]
pub struct Listing {
    /// The runs.
    pub runs: Vec<Listed>,
    /// What is wrong with lines of the log that were skipped.
    pub faults: Vec<String>,
}

/// A run.
#[derive(Debug)]
pub struct Listed {
    /// The name of its folder in the folder of all runs, or its whole path if it is elsewhere.
    pub name: String,
    /// Its folder.
    pub path: PathBuf,
    /// When it began, in UTC: `2026-07-12T14:03:05Z`. Of a run that is not in the log: when its record was
    /// last written.
    pub started: String,
    /// How it stands.
    pub state: State,
    /// What is known of it; `None` if the log does not know it and its folder cannot be read.
    pub run: Option<LoggedRun>,
}

/// How a run stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It has finished.
    Done,
    /// A process trains it.
    Running,
    /// It was stopped, or has failed.
    Unfinished,
    /// Its folder is no longer there.
    Gone,
    /// Its folder cannot be read, for this reason.
    Damaged(String),
}

impl State {
    /// One word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Running => "running",
            Self::Unfinished => "unfinished",
            Self::Gone => "gone",
            Self::Damaged(_) => "damaged",
        }
    }
}

impl RunLog {
    /// All runs in the log and in the folder of all runs, the newest first. Folders are read only of runs that
    /// the log does not know to be finished.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn list(&self) -> Result<Listing> {
        let (mut logged, faults) = self.read()?;
        let mut runs = self.unlogged(&logged)?;
        while let Some((name, run)) = logged.pop_first() {
            runs.push(self.listed(name, run));
        }
        runs.sort_by(|a, b| (&b.started, &a.name).cmp(&(&a.started, &b.name)));
        Ok(Listing { runs, faults })
    }

    /// The run of this name, or in this folder.
    ///
    /// # Errors
    /// [`Error::Data`] if there is none; [`Error::Io`].
    pub fn find(&self, name: &str) -> Result<Listed> {
        let (mut logged, _) = self.read()?;
        // A name in the folder of all runs comes before a folder in the current one.
        for path in [self.root.join(name), PathBuf::from(name)] {
            if !holds_run(&path) {
                continue;
            }
            let name = self.name_of(&path)?;
            return Ok(match logged.remove(&name) {
                Some(run) => self.listed(name, run),
                None => unlogged(name, path),
            });
        }
        let name = name.trim_end_matches('/');
        if let Some(run) = logged.remove(name) {
            return Ok(self.listed(name.to_owned(), run));
        }
        let inside = self.root.join(name);
        let path = if inside.exists() { inside } else { name.into() };
        Err(Error::data(
            path,
            format!("no run here, nor in {}; 'threadcount runs' lists them", self.root.display()),
        ))
    }

    /// A run that the log knows.
    fn listed(&self, name: String, Logged { started, run: logged }: Logged) -> Listed {
        let path = self.root.join(&name);
        if !holds_run(&path) {
            return Listed { name, path, started, state: State::Gone, run: Some(logged) };
        }
        if logged.result.is_some() {
            return Listed { name, path, started, state: State::Done, run: Some(logged) };
        }
        // The process that ended it may have had no time to write so.
        let (state, run) = match state_now(&path) {
            (state, Some(mut run)) => {
                run.cpu = logged.cpu;
                (state, run)
            }
            (state, None) => (state, logged),
        };
        Listed { name, path, started, state, run: Some(run) }
    }

    /// The runs in the folder of all runs that the log does not know.
    fn unlogged(&self, logged: &BTreeMap<String, Logged>) -> Result<Vec<Listed>> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io(&self.root)(error)),
        };
        let mut runs = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::io(&self.root))?;
            let path = entry.path();
            let known = |name: &str| logged.contains_key(name);
            if entry.file_name().to_str().is_some_and(known) || !holds_run(&path) {
                continue;
            }
            // A link to a folder elsewhere is known by that folder's path.
            let name = self.name_of(&path)?;
            if !known(&name) {
                runs.push(unlogged(name, path));
            }
        }
        Ok(runs)
    }
}

/// A run that only its folder tells of.
fn unlogged(name: String, path: PathBuf) -> Listed {
    let (state, run) = state_now(&path);
    let written = record_written(&path).unwrap_or(UNIX_EPOCH);
    Listed { name, path, started: time::utc(written), state, run }
}

/// How the run in a folder stands, and what its folder tells.
fn state_now(path: &Path) -> (State, Option<LoggedRun>) {
    let is_busy = is_busy(path);
    match LoggedRun::of_folder(path) {
        Ok(run) if is_busy => (State::Running, Some(run)),
        Ok(run) if run.result.is_some() => (State::Done, Some(run)),
        Ok(run) => (State::Unfinished, Some(run)),
        Err(error) => (State::Damaged(error.to_string()), None),
    }
}
