//! The folder of a search: `search.toml` (what decides it, and what came of it), a run folder for each trial,
//! in the end `best.toml` and `search.svg`; and `.lock`, which the process that trains the search holds.

use super::halving::{ranked, survivors};
use super::lanes::{Lanes, Resources, Watch, resumed};
use super::ranks;
use super::space::Settings;
use super::state::{Definition, Row, Scores};
use crate::data::Split;
use crate::distributed::World;
use crate::files::write_atomically;
use crate::toml_file::read_text;
use crate::train::locked::{Lock, begin, numbered};
use crate::train::{Ended, ResultRecord, RunFolder, Task};
use crate::{Error, Result};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use threadcount_kernels::Team;

/// The name of the file.
const FILE: &str = "search.toml";

/// A search in its folder, locked against other processes.
#[derive(Debug)]
pub struct Search {
    path: PathBuf,
    definition: Definition,
    trials: Vec<Settings>,
    tasks: Vec<Task>,
    /// By rung and trial.
    rows: Vec<Row>,
    _lock: Lock,
}

/// The standing of a trial.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// Its number, from 1.
    pub trial: usize,
    /// The epochs that it has been trained for.
    pub epochs: usize,
    /// What it scores after them; `None` if it diverged.
    pub scores: Option<Scores>,
    /// Its rank, from 1; `None` if it diverged.
    pub rank: Option<usize>,
    /// Whether it was trained to its end.
    pub is_finished: bool,
}

impl Search {
    /// Starts a search in `path`, which is made if it does not exist.
    ///
    /// # Errors
    /// As [`Definition::tasks`]; [`Error::RunExists`] if there is a search or a run; [`Error::Io`].
    pub fn start(path: &Path, definition: &Definition) -> Result<Self> {
        let (trials, tasks) = (definition.trials()?, definition.tasks()?);
        let text = definition.text(&[])?;
        if path.join("run.toml").exists() {
            return Err(Error::RunExists { path: path.to_owned() });
        }
        let lock = begin(path, FILE, &text)?;
        let (path, definition) = (path.to_owned(), definition.clone());
        Ok(Self { path, definition, trials, tasks, rows: Vec::new(), _lock: lock })
    }

    /// Starts a search in the first free one of `root/name`, `root/name-2`, `root/name-3` ...
    ///
    /// # Errors
    /// As [`Search::start`].
    pub fn start_numbered(root: &Path, name: &str, definition: &Definition) -> Result<Self> {
        numbered(root, name, |path| Self::start(path, definition))
    }

    /// Opens a search that was started before, to go on with it.
    ///
    /// # Errors
    /// [`Error::Data`] if there is none, or its file cannot be understood; [`Error::RunBusy`].
    pub fn open(path: &Path) -> Result<Self> {
        let file = path.join(FILE);
        if !file.exists() {
            return Err(Error::data(path, format!("no search here (it has no {FILE})")));
        }
        let lock = Lock::take(path)?;
        let text = match read_text(&file) {
            Ok(text) => text,
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Err(Error::data(path, format!("no search here (it has no {FILE})")));
            }
            Err(Error::Usage(_)) => return Err(Error::data(file, "not the file of a search")),
            Err(error) => return Err(error),
        };
        let (definition, rows) =
            Definition::parse(&text).map_err(|fault| Error::data(file, fault))?;
        let (trials, tasks) = (definition.trials()?, definition.tasks()?);
        Ok(Self { path: path.to_owned(), definition, trials, tasks, rows, _lock: lock })
    }

    /// Where the folder is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What decides the search, for the other ranks.
    ///
    /// # Errors
    /// As [`Search::start`].
    pub fn definition_text(&self) -> Result<String> {
        self.definition.text(&[])
    }

    /// What decides the search.
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// The settings of every trial.
    pub fn trials(&self) -> &[Settings] {
        &self.trials
    }

    /// What came of every trial in every rung so far.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The task of a trial, by its number.
    pub fn task(&self, trial: usize) -> &Task {
        &self.tasks[trial - 1]
    }

    /// Where a trial's run folder is, or would be.
    pub fn trial_path(&self, trial: usize) -> PathBuf {
        trial_path(&self.path, trial, self.trials.len())
    }

    /// Where the best task is written.
    pub fn best_path(&self) -> PathBuf {
        self.path.join("best.toml")
    }

    /// Trains the trials of the search from where it was saved, until all rungs are decided or `watch`
    /// returns `Break`. `watch` is called after every batch, epoch and rung of every trial. `needed` is the
    /// result of [`Definition::check`]. This is rank 0 of `world`, whose other ranks call
    /// [`train_for_first`](super::train_for_first); `watch` sees only the rungs of theirs.
    ///
    /// # Errors
    /// Whatever a trial fails with, other than [`Error::Diverged`], which is a result.
    pub fn run(
        &mut self,
        split: &Split,
        needed: &[u64],
        resources: &Resources,
        world: &World,
        watch: &Watch<'_>,
    ) -> Result<Ended> {
        let ended = self.run_rungs(split, needed, resources, world, watch)?;
        ranks::end(world)?;
        Ok(ended)
    }

    fn run_rungs(
        &mut self,
        split: &Split,
        needed: &[u64],
        resources: &Resources,
        world: &World,
        watch: &Watch<'_>,
    ) -> Result<Ended> {
        let Self { path, definition, tasks, rows, .. } = self;
        let count = tasks.len();
        let folders = |trial| trial_path(path, trial, count);
        let rows = Mutex::new(rows);
        let put = |row: Row| {
            let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
            rows.push(row);
            rows.sort_by_key(|row| (row.rung, row.trial));
            write_atomically(&path.join(FILE), definition.text(&rows)?.as_bytes())
        };
        let of_rung = |rung| -> Vec<Row> {
            let rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
            rows.iter().filter(|row| row.rung == rung).copied().collect()
        };
        for (rung, epochs) in (1..).zip(definition.rungs()) {
            let mut entrants = match rung {
                1 => (1..=count).collect(),
                _ => {
                    let factor = definition.halving.unwrap_or(1);
                    survivors(&of_rung(rung - 1), definition.metric, factor)
                }
            };
            let done = of_rung(rung);
            entrants.retain(|&trial| !done.iter().any(|row| row.trial == trial));
            if entrants.is_empty() {
                continue;
            }
            let needed: Vec<u64> = entrants.iter().map(|trial| needed[trial - 1]).collect();
            let lanes = Lanes {
                definition,
                tasks,
                folders: &folders,
                split,
                resources,
                put: &put,
                watch,
                world,
                rung,
                epochs,
            };
            if lanes.run(entrants, &needed)? == Ended::Interrupted {
                return Ok(Ended::Interrupted);
            }
        }
        Ok(Ended::Finished)
    }

    /// The standings of the trials that have come to the end of a rung, best first.
    pub fn standings(&self) -> Vec<Standing> {
        let Definition { metric, .. } = self.definition;
        let last = self.definition.rungs().len();
        let standing = |(place, row): (usize, &Row)| Standing {
            trial: row.trial,
            epochs: row.epochs,
            scores: row.scores,
            rank: row.scores.map(|_| place),
            is_finished: row.rung == last && row.scores.is_some(),
        };
        (1..).zip(ranked(&self.rows, metric)).map(standing).collect()
    }

    /// The best trial, if one has scores.
    pub fn best(&self) -> Option<Standing> {
        self.standings().into_iter().next().filter(|standing| standing.rank.is_some())
    }

    /// Evaluates the best trial's network on the test samples, which had no part in the choice, and writes
    /// its model. Later calls read the result of the first one. `None` if the best trial was not trained to
    /// its end, or no trial has a score.
    ///
    /// # Errors
    /// As [`RunFolder::conclude`] and [`RunFolder::resume`].
    pub fn conclude(&self, split: &Split, team: &Team) -> Result<Option<ResultRecord>> {
        let Some(Standing { trial, is_finished: true, .. }) = self.best() else { return Ok(None) };
        let (path, task) = (self.trial_path(trial), self.task(trial));
        let (_, record) = RunFolder::open(&path)?;
        if let Some(result) = record.result.clone() {
            return Ok(Some(result));
        }
        let (folder, mut session) = resumed(&self.definition, task, &path, split, record.threads)?;
        // Nothing is left to train; the network gets the weights that the task keeps.
        session.train(team, &mut |_, _| Ok(std::ops::ControlFlow::Break(())))?;
        if !session.is_finished() {
            return Err(Error::data(
                path,
                "its checkpoint is of an earlier epoch than search.toml",
            ));
        }
        folder.conclude(team, &mut session, &record).map(Some)
    }

    /// Writes the best trial's task as a file that `train` takes.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Failed`] if no trial has scores.
    pub fn write_best(&self) -> Result<()> {
        let Some(Standing { trial, .. }) = self.best() else {
            return Err(Error::Failed("every trial diverged: there is no best one".to_owned()));
        };
        let text = format!(
            "# Trial {trial} of a search over {}: {}\n{}",
            self.definition.recipe,
            self.definition.space.told(&self.trials[trial - 1]),
            self.task(trial).to_toml()?
        );
        write_atomically(&self.best_path(), text.as_bytes())
    }

    /// Writes the picture.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_picture(&self, svg: &str) -> Result<()> {
        write_atomically(&self.path.join("search.svg"), svg.as_bytes())
    }
}

pub(super) fn trial_path(folder: &Path, trial: usize, trials: usize) -> PathBuf {
    let digits = trials.to_string().len().max(2);
    folder.join(format!("trial-{trial:0digits$}"))
}
