//! `index.jsonl`: the log of all runs, one line of JSON for each time that a run began, went on, ended or was
//! removed. Lines are only ever appended, under a lock on the file, so processes that write at once lose
//! nothing. A line that was cut by a crash, or written by another version, is skipped and stays where it is.
//!
//! The log lies in the folder of the run folders and names them by their names there; runs in other folders by
//! their whole paths. Every line holds all there is to know of a run, so any of them may be missing; the last
//! one of a run counts.

mod listing;
mod run;
mod time;

pub use listing::{Listed, Listing, State};
pub use run::LoggedRun;

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Incremented when the meaning of a line changes.
const FORMAT: u32 = 1;

/// The log of the runs in one folder.
#[derive(Clone, Debug)]
pub struct RunLog {
    root: PathBuf,
}

/// What a line tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A new run began.
    Start,
    /// A run went on.
    Resume,
    /// A run ended, or was stopped: its result tells.
    End,
    /// The run and its folder were removed.
    Remove,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Line {
    format: u32,
    event: Event,
    /// When it was written: `2026-07-12T14:03:05Z`.
    time: String,
    folder: String,
    /// Of every event but [`Event::Remove`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<LoggedRun>,
}

/// What comes before all else in a line of any format.
#[derive(Deserialize)]
struct Header {
    format: u32,
}

/// What the log says of one run.
#[derive(Debug)]
struct Logged {
    started: String,
    run: LoggedRun,
}

impl RunLog {
    /// The log of the run folders in `root`. Neither has to exist.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder of the run folders.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The file.
    pub fn path(&self) -> PathBuf {
        self.root.join("index.jsonl")
    }

    /// Appends a line about the run in `folder`, as that folder tells it now.
    ///
    /// # Errors
    /// [`Error::Data`] if there is no run; [`Error::Usage`] for a folder whose name is not UTF-8;
    /// [`Error::Io`].
    pub fn append(&self, event: Event, folder: &Path) -> Result<()> {
        let run = match event {
            Event::Remove => None,
            _ => Some(LoggedRun::of_folder(folder)?.on_this_machine()),
        };
        fs::create_dir_all(&self.root).map_err(Error::io(&self.root))?;
        self.write(event, self.name_of(folder)?, run)
    }

    /// Appends that the run of this name was removed.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn append_removal(&self, name: &str) -> Result<()> {
        self.write(Event::Remove, name.to_owned(), None)
    }

    fn write(&self, event: Event, folder: String, run: Option<LoggedRun>) -> Result<()> {
        let time = time::utc(SystemTime::now());
        let line = Line { format: FORMAT, event, time, folder, run };
        let line = serde_json::to_string(&line)
            .map_err(|error| Error::Failed(format!("cannot write a line of the log: {error}")))?;
        append_line(&self.path(), &line).map_err(Error::io(self.path()))
    }

    /// The name of a run's folder in the log: relative to the folder of all runs if it is in there, else its
    /// whole path.
    ///
    /// # Errors
    /// [`Error::Io`] if there is no such folder; [`Error::Usage`] if its name is not UTF-8.
    fn name_of(&self, folder: &Path) -> Result<String> {
        let whole = folder.canonicalize().map_err(Error::io(folder))?;
        let root = self.root.canonicalize().ok();
        let inside = root.as_ref().and_then(|root| whole.strip_prefix(root).ok());
        let name = inside.filter(|inside| *inside != Path::new("")).unwrap_or(&whole);
        name.to_str().map(str::to_owned).ok_or_else(|| {
            Error::Usage(format!(
                "{}: the log of runs cannot name this folder, whose name is not UTF-8",
                folder.display()
            ))
        })
    }

    /// What the lines say of each run by its name, and the faults of lines that cannot be read.
    fn read(&self) -> Result<(BTreeMap<String, Logged>, Vec<String>)> {
        let path = self.path();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::io(path)(error)),
        };
        let (mut runs, mut faults) = (BTreeMap::new(), Vec::new());
        for (number, bytes) in (1..).zip(bytes.split(|&byte| byte == b'\n')) {
            if bytes.trim_ascii().is_empty() {
                continue;
            }
            match parse(bytes) {
                Ok(line) => take_in(&mut runs, line),
                Err(fault) => faults.push(format!("line {number}: {fault}")),
            }
        }
        Ok((runs, faults))
    }
}

/// Appends a line as a whole, while no other process does.
fn append_line(path: &Path, line: &str) -> io::Result<()> {
    let mut file = File::options().create(true).read(true).append(true).open(path)?;
    match file.lock() {
        // A file system without locks: one write to the end of a file is seldom divided.
        Err(error) if error.kind() != ErrorKind::Unsupported => return Err(error),
        _ => {}
    }
    let mut text = String::with_capacity(line.len() + 2);
    if file.seek(SeekFrom::End(0))? > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            // A crash has cut the line before: this one begins anew.
            text.push('\n');
        }
    }
    text += line;
    text.push('\n');
    file.write_all(text.as_bytes())
}

fn parse(bytes: &[u8]) -> std::result::Result<Line, String> {
    let header: std::result::Result<Header, _> = serde_json::from_slice(bytes);
    match header {
        Ok(Header { format }) if format != FORMAT => {
            Err(format!("format {format}, where this version of threadcount reads {FORMAT}"))
        }
        Ok(_) => serde_json::from_slice(bytes)
            .map_err(|error| format!("not a line of this version: {error}")),
        Err(error) if error.is_eof() => Err("cut off".to_owned()),
        Err(error) => Err(format!("not a line of the log: {error}")),
    }
}

fn take_in(runs: &mut BTreeMap<String, Logged>, line: Line) {
    let Line { event, time, folder, run, .. } = line;
    let before = runs.remove(&folder);
    let Some(run) = run.filter(|_| event != Event::Remove) else { return };
    let started = match (event, before) {
        (Event::Resume | Event::End, Some(before)) => before.started,
        _ => time,
    };
    runs.insert(folder, Logged { started, run });
}

#[cfg(test)]
mod tests;
