//! `sessions.json` in a run's folder: each process that trained the run, with its machine, what that can do at
//! most, and how far the clock was after each epoch. A run that was resumed has several.

use crate::bench::{Facts, fma_gflops_within};
use crate::cli::REVISION;
use crate::files::write_atomically;
use crate::train::{Progress, Session};
use crate::{Error, Result, console};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use threadcount_kernels::{Pool, Team};

/// Incremented when the meaning of the file changes.
const FORMAT: u32 = 1;

/// The share of an epoch's time that measuring the peak may take.
const PEAK_SHARE: f64 = 0.1;

/// The contents of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::cli) struct Sessions {
    format: u32,
    /// In the order in which they trained.
    pub(super) sessions: Vec<Sitting>,
}

/// One process that trained the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sitting {
    pub(super) machine: Facts,
    /// The revision of the program, if it is known: older versions did not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) revision: Option<String>,
    /// The FMA peak of its threads, measured after its first epoch.
    pub(super) fma_gflops: Option<f64>,
    /// The epochs that it ended.
    pub(super) epochs: Vec<Clock>,
    /// Why it ended, in words; none if it was killed, or still trains.
    pub(super) ended: Option<String>,
}

/// Totals of the run, of all its processes, at the end of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Clock {
    /// From 1.
    pub(super) epoch: usize,
    /// Wall time of training and validation.
    pub(super) train_seconds: f64,
    /// The part of it that went into training steps.
    pub(super) step_seconds: f64,
    /// Samples that those steps trained on.
    pub(super) images: u64,
}

/// How fast one epoch was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    /// Wall time of its training and validation.
    pub(super) seconds: f64,
    /// Training samples per second of training steps.
    pub(super) images_per_second: f64,
    /// The FMA peak of the threads that ended it.
    pub(super) fma_gflops: f64,
}

impl Clock {
    fn of(progress: &Progress) -> Self {
        Self {
            epoch: progress.history.epochs.len(),
            train_seconds: progress.train_seconds,
            step_seconds: progress.step_seconds,
            images: progress.trained_samples,
        }
    }
}

impl Sessions {
    /// Where the file of this run's folder is, or would be.
    pub(super) fn path(folder: &Path) -> PathBuf {
        folder.join("sessions.json")
    }

    /// Reads the file of a run's folder.
    ///
    /// # Errors
    /// [`Error::Data`] if it is missing or damaged; [`Error::Io`].
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let path = Self::path(folder);
        let bytes = fs::read(&path).map_err(|source| match source.kind() {
            ErrorKind::NotFound => {
                Error::data(&path, "missing: no times of epochs and no machine are known")
            }
            _ => Error::Io { path: path.clone(), source },
        })?;
        let damaged = |fault: String| {
            Error::data(&path, format!("not the sessions of a run ({fault}): restore it"))
        };
        let sessions: Self =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        match sessions.format {
            FORMAT => Ok(sessions),
            other => Err(damaged(format!("its format is {other}, and not {FORMAT}"))),
        }
    }

    /// How fast each epoch was. An epoch is left out if the clock at its beginning is not known.
    pub(super) fn paces(&self) -> BTreeMap<usize, Pace> {
        let ends = self.sessions.iter().flat_map(|sitting| {
            sitting
                .epochs
                .iter()
                .filter_map(|clock| Some((clock.epoch, (*clock, sitting.fma_gflops?))))
        });
        let ends: BTreeMap<usize, (Clock, f64)> = ends.collect();
        let start = Clock { epoch: 0, train_seconds: 0.0, step_seconds: 0.0, images: 0 };
        let pace = |(&epoch, &(clock, fma_gflops)): (&usize, &(Clock, f64))| {
            let before = match epoch.checked_sub(1)? {
                0 => start,
                before => ends.get(&before)?.0,
            };
            let images = clock.images.checked_sub(before.images)? as f64;
            let seconds = clock.train_seconds - before.train_seconds;
            let images_per_second = images / (clock.step_seconds - before.step_seconds);
            Some((epoch, Pace { seconds, images_per_second, fma_gflops }))
        };
        ends.iter().filter_map(pace).collect()
    }
}

/// The revisions of the program that trained the run in this folder, each once; none where that is not known.
pub(in crate::cli) fn revisions(folder: &Path) -> Vec<String> {
    let sessions = Sessions::read(folder).map(|sessions| sessions.sessions).unwrap_or_default();
    let mut all: Vec<String> = Vec::new();
    for revision in sessions.into_iter().filter_map(|sitting| sitting.revision) {
        if !all.contains(&revision) {
            all.push(revision);
        }
    }
    all
}

/// The file while a process trains the run.
pub(in crate::cli) struct SessionLog {
    path: PathBuf,
    sessions: Sessions,
    /// What the run had trained for when this process took it up.
    train_seconds: f64,
    /// A finished run that is taken up again trains nothing.
    is_idle: bool,
}

impl SessionLog {
    /// Begins the log of this process. What an earlier process wrote of epochs that
    /// the session no longer has is left out.
    pub(in crate::cli) fn begin(folder: &Path, pool: &Pool, session: &Session<'_>) -> Self {
        let path = Sessions::path(folder);
        let done = session.progress().history.epochs.len();
        let mut sessions = Sessions { format: FORMAT, sessions: Vec::new() };
        if path.exists() {
            match Sessions::read(folder) {
                Ok(earlier) => sessions = earlier,
                Err(error) => console::warn(&format!("{error}; it is begun anew")),
            }
        }
        for sitting in &mut sessions.sessions {
            sitting.epochs.retain(|clock| clock.epoch <= done);
        }
        let is_idle = session.is_finished();
        if !is_idle {
            sessions.sessions.push(Sitting {
                machine: Facts::of(pool),
                revision: REVISION.map(str::to_owned),
                fma_gflops: None,
                epochs: Vec::new(),
                ended: None,
            });
        }
        let train_seconds = session.progress().train_seconds;
        Self { path, sessions, train_seconds, is_idle }
    }

    /// Adds the epoch that has just ended.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(in crate::cli) fn epoch(&mut self, progress: &Progress) -> Result<()> {
        match self.sessions.sessions.last_mut() {
            Some(sitting) => sitting.epochs.push(Clock::of(progress)),
            None => return Ok(()),
        }
        self.write()
    }

    /// Whether an epoch has ended whose speed there is no FMA peak to compare with.
    pub(in crate::cli) fn lacks_peak(&self) -> bool {
        let last = self.sessions.sessions.last();
        last.is_some_and(|sitting| sitting.fma_gflops.is_none() && !sitting.epochs.is_empty())
    }

    /// Measures the FMA peak if it is lacking: for a share of the time that was trained, so that short runs stay short.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub(in crate::cli) fn measure_peak(&mut self, team: &Team, progress: &Progress) -> Result<()> {
        if !self.lacks_peak() {
            return Ok(());
        }
        let trained = progress.train_seconds - self.train_seconds;
        if let Some(sitting) = self.sessions.sessions.last_mut() {
            sitting.fma_gflops = Some(fma_gflops_within(team, PEAK_SHARE * trained));
        }
        self.write()
    }

    /// Adds why this process has ended: the error, if there was one.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(in crate::cli) fn end(&mut self, error: Option<&Error>) -> Result<()> {
        if self.is_idle {
            return Ok(());
        }
        if let Some(sitting) = self.sessions.sessions.last_mut() {
            sitting.ended = Some(error.map_or("finished".to_owned(), Error::to_string));
        }
        self.write()
    }

    fn write(&self) -> Result<()> {
        let text = super::super::table::json(&self.sessions)?;
        write_atomically(&self.path, text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sitting(fma_gflops: f64, epochs: &[(usize, f64, f64, u64)]) -> Sitting {
        let clock = |&(epoch, train_seconds, step_seconds, images)| Clock {
            epoch,
            train_seconds,
            step_seconds,
            images,
        };
        let pool = Pool::new(threadcount_kernels::Isa::best(), 1).unwrap();
        Sitting {
            machine: Facts::of(&pool),
            revision: None,
            fma_gflops: Some(fma_gflops),
            epochs: epochs.iter().map(clock).collect(),
            ended: None,
        }
    }

    #[test]
    fn a_pace_is_the_difference_to_the_epoch_before() {
        let first = sitting(100.0, &[(1, 3.0, 2.0, 600), (2, 5.0, 3.0, 1_200)]);
        let second = sitting(50.0, &[(3, 9.0, 5.0, 1_800), (5, 20.0, 10.0, 3_000)]);
        let paces = Sessions { format: FORMAT, sessions: vec![first, second] }.paces();
        let told: Vec<_> = paces
            .iter()
            .map(|(epoch, pace)| (*epoch, pace.seconds, pace.images_per_second, pace.fma_gflops))
            .collect();
        // Nothing is known of epoch 4, so that of epoch 5 nothing can be told.
        let expected = [(1, 3.0, 300.0, 100.0), (2, 2.0, 600.0, 100.0), (3, 4.0, 300.0, 50.0)];
        assert_eq!(told, expected);
    }

    /// A process that is killed in a later epoch has left the peak behind.
    #[test]
    fn the_peak_is_written_as_soon_as_it_is_measured() {
        let folder = tempfile::tempdir().unwrap();
        let mut begun = sitting(0.0, &[]);
        begun.fma_gflops = None;
        let mut log = SessionLog {
            path: Sessions::path(folder.path()),
            sessions: Sessions { format: FORMAT, sessions: vec![begun] },
            train_seconds: 0.0,
            is_idle: false,
        };
        let team = Team::solo(threadcount_kernels::Isa::best());
        log.measure_peak(&team, &Progress::default()).unwrap();
        assert!(!log.path.exists(), "no epoch has ended");
        log.epoch(&Progress::default()).unwrap();
        assert_eq!(Sessions::read(folder.path()).unwrap().sessions[0].fma_gflops, None);
        log.measure_peak(&team, &Progress::default()).unwrap();
        let written = Sessions::read(folder.path()).unwrap().sessions[0].fma_gflops;
        assert!(written.is_some_and(|peak| peak > 0.0), "{written:?}");
        log.measure_peak(&team, &Progress::default()).unwrap();
        assert_eq!(log.sessions.sessions[0].fma_gflops, written, "it is measured once");
    }

    /// As versions wrote it that did not know their revision; and one that ended before its first epoch.
    #[test]
    fn what_older_versions_wrote_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let whole = Sessions { format: FORMAT, sessions: vec![sitting(1.5, &[(1, 3.0, 2.0, 9)])] };
        let text = serde_json::to_string(&whole).unwrap();
        assert!(!text.contains("revision") && text.contains("\"fma_gflops\":1.5"), "{text}");
        fs::write(Sessions::path(folder.path()), &text).unwrap();
        assert_eq!(Sessions::read(folder.path()).unwrap(), whole);
        assert!(revisions(folder.path()).is_empty());

        let of = |revision: &str| Sitting {
            revision: Some(revision.to_owned()),
            fma_gflops: None,
            ..sitting(0.0, &[(1, 3.0, 2.0, 9)])
        };
        let several =
            Sessions { format: FORMAT, sessions: vec![of("b-dirty"), of("a"), of("b-dirty")] };
        assert!(several.paces().is_empty());
        fs::write(Sessions::path(folder.path()), serde_json::to_string(&several).unwrap()).unwrap();
        assert_eq!(revisions(folder.path()), ["b-dirty", "a"]);
        assert!(revisions(Path::new("nowhere")).is_empty());
    }

    #[test]
    fn a_damaged_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |text: &str| {
            fs::write(Sessions::path(folder.path()), text).unwrap();
            let error = Sessions::read(folder.path()).unwrap_err();
            assert_eq!(error.exit_code(), 3);
            error.to_string()
        };
        assert!(Sessions::read(folder.path()).unwrap_err().to_string().contains("missing"));
        assert!(refused("").contains("sessions.json: not the sessions of a run"));
        assert!(refused(r#"{"format": 7, "sessions": []}"#).contains("its format is 7"));
        let whole = Sessions { format: FORMAT, sessions: vec![sitting(1.5, &[(1, 3.0, 2.0, 9)])] };
        fs::write(Sessions::path(folder.path()), serde_json::to_string(&whole).unwrap()).unwrap();
        assert_eq!(Sessions::read(folder.path()).unwrap(), whole);
    }
}
