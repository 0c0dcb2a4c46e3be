//! Trials in parallel. A network that is small enough to be searched is too small for many cores, so each
//! lane trains a trial of its own on one thread; with fewer trials than threads, the trials share all
//! threads. The bits do not depend on which lane trains a trial, or with how many threads.

use super::state::{Definition, Row, Scores};
use crate::data::Split;
use crate::distributed::World;
use crate::train::{Ended, Moment, RunFolder, Session, Task};
use crate::{Error, Result};
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use threadcount_kernels::precision::Arithmetic;
use threadcount_kernels::{Isa, Pool};

/// What trials train on. Only the instruction set and the arithmetic change the bits of the results.
#[derive(Clone, Debug)]
pub struct Resources {
    /// The instruction set.
    pub isa: Isa,
    /// How products are computed.
    pub arithmetic: Arithmetic,
    /// Threads of all trials together.
    pub threads: usize,
    /// The bytes of memory that trials may take together, if that is known.
    pub memory: Option<u64>,
}

/// What has just been finished when a search asks whether to go on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step<'a> {
    /// A batch of some trial.
    Batch,
    /// An epoch of a trial, which is saved.
    Epoch {
        /// The trial's number, from 1.
        trial: usize,
        /// The epochs that it has now.
        epochs: usize,
    },
    /// A trial's part of a rung, which is saved.
    Rung(&'a Row),
}

/// Asked after every step, by several threads at once.
pub(super) type Watch<'a> = dyn Fn(Step<'_>) -> ControlFlow<()> + Sync + 'a;

/// What the lanes need to train the trials of one rung.
pub(super) struct Lanes<'a> {
    pub(super) definition: &'a Definition,
    pub(super) tasks: &'a [Task],
    pub(super) folders: &'a (dyn Fn(usize) -> PathBuf + Sync),
    pub(super) split: &'a Split,
    pub(super) resources: &'a Resources,
    /// Records a row, and saves it.
    pub(super) put: &'a (dyn Fn(Row) -> Result<()> + Sync),
    pub(super) watch: &'a Watch<'a>,
    /// The ranks that train trials too, each one at a time.
    pub(super) world: &'a World,
    /// The rung, from 1.
    pub(super) rung: usize,
    /// The epochs at which the rung ends.
    pub(super) epochs: usize,
}

/// What lanes share.
pub(super) struct Shared {
    stop: AtomicBool,
    /// How many lanes have ended.
    ended: AtomicUsize,
    state: Mutex<State>,
}

struct State {
    queue: VecDeque<usize>,
    is_active: Vec<bool>,
    failure: Option<Error>,
}

impl Shared {
    fn new(trials: Vec<usize>, lanes: usize) -> Self {
        let state = State { queue: trials.into(), is_active: vec![true; lanes], failure: None };
        Self { stop: AtomicBool::new(false), ended: AtomicUsize::new(0), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A lane that panics ends all of them anyway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The next trial of this lane; after `None`, the lane has ended.
    fn next(&self, lane: usize) -> Option<usize> {
        let mut state = self.state();
        let next = if self.is_stopped() { None } else { state.queue.pop_front() };
        if next.is_none() {
            state.is_active[lane] = false;
            self.ended.fetch_add(1, Ordering::Relaxed);
        }
        next
    }

    /// The next trial for another rank.
    pub(super) fn next_elsewhere(&self) -> Option<usize> {
        if self.is_stopped() { None } else { self.state().queue.pop_front() }
    }
}

/// How many trials run at once: at most one per thread, and as many as fit in memory even if they are the
/// largest.
pub(super) fn at_once(needed: &[u64], threads: usize, memory: Option<u64>) -> usize {
    let mut largest = needed.to_vec();
    largest.sort_unstable_by(|a, b| b.cmp(a));
    let mut sum = 0_u64;
    let fits = largest.iter().take_while(|&&bytes| {
        sum = sum.saturating_add(bytes);
        memory.is_none_or(|memory| sum <= memory)
    });
    // A single trial is known to fit.
    fits.count().min(threads).max(1)
}

/// The number of threads of the lane `lane`, if the active lanes share `threads`.
fn share(is_active: &[bool], lane: usize, threads: usize) -> usize {
    let count = is_active.iter().filter(|&&active| active).count().max(1);
    let before = is_active[..lane].iter().filter(|&&active| active).count();
    (threads / count + usize::from(before < threads % count)).max(1)
}

impl Lanes<'_> {
    /// Trains these trials to the end of the rung. `needed` are the bytes that each takes.
    ///
    /// # Errors
    /// The first failure of any, other than that a trial diverged.
    pub(super) fn run(&self, trials: Vec<usize>, needed: &[u64]) -> Result<Ended> {
        let Resources { threads, memory, .. } = *self.resources;
        let alone = self.world.size() == 1;
        let lanes = if alone { at_once(needed, threads, memory) } else { 1 };
        let shared = Shared::new(trials, lanes);
        std::thread::scope(|scope| {
            let shared = &shared;
            for rank in self.world.others() {
                scope.spawn(move || {
                    if let Err(error) = self.serve(rank, shared) {
                        self.fail(shared, error);
                    }
                });
            }
            for lane in 1..lanes {
                scope.spawn(move || self.lane(lane, shared));
            }
            self.lane(0, shared);
        });
        let stopped = shared.is_stopped();
        let state = shared.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        match state.failure {
            Some(failure) => Err(failure),
            None if stopped => Ok(Ended::Interrupted),
            None => Ok(Ended::Finished),
        }
    }

    fn lane(&self, lane: usize, shared: &Shared) {
        let mut pool = None;
        while let Some(trial) = shared.next(lane) {
            let row = self.train(lane, shared, trial, &mut pool);
            let done = row.and_then(|row| row.map_or(Ok(()), |row| self.take_in(row, shared)));
            if let Err(error) = done {
                self.fail(shared, error);
            }
        }
    }

    /// A trial has come to the end of the rung.
    pub(super) fn take_in(&self, row: Row, shared: &Shared) -> Result<()> {
        (self.put)(row)?;
        self.obey(shared, (self.watch)(Step::Rung(&row)))
    }

    /// Stops all lanes, here and elsewhere, if the watcher says so.
    fn obey(&self, shared: &Shared, flow: ControlFlow<()>) -> Result<()> {
        if flow.is_break() && !shared.stop.swap(true, Ordering::Relaxed) {
            self.stop_others()?;
        }
        Ok(())
    }

    fn fail(&self, shared: &Shared, error: Error) {
        let told = self.obey(shared, ControlFlow::Break(()));
        // The first failure counts; that others cannot be told is a later one.
        shared.state().failure.get_or_insert(error);
        drop(told);
    }

    /// Trains one trial with all threads; `None` if it was stopped before the end of the rung.
    pub(super) fn train_one(&self, trial: usize) -> Result<Option<Row>> {
        self.train(0, &Shared::new(Vec::new(), 1), trial, &mut None)
    }

    /// Trains a trial from where it was saved to the end of the rung; `None` if it was stopped before that.
    fn train(
        &self,
        lane: usize,
        shared: &Shared,
        trial: usize,
        pool: &mut Option<Pool>,
    ) -> Result<Option<Row>> {
        let task = &self.tasks[trial - 1];
        let (folder, mut session) = resumed(
            self.definition,
            task,
            &(self.folders)(trial),
            self.split,
            self.resources.threads,
        )?;
        let done = |session: &Session<'_>| session.progress().history.epochs.len();
        let is_over = |session: &Session<'_>| session.is_finished() || done(session) >= self.epochs;
        let mut diverged = false;
        while !is_over(&session) && !diverged {
            let ended = shared.ended.load(Ordering::Relaxed);
            let threads = share(&shared.state().is_active, lane, self.resources.threads);
            if pool.as_ref().is_none_or(|pool| pool.threads() != threads) {
                // The old threads end before the new ones begin.
                drop(pool.take());
            }
            let pool = match pool {
                Some(pool) => pool,
                None => pool.insert(
                    Pool::new(self.resources.isa, threads)
                        .map_err(|error| {
                            Error::Failed(format!("cannot start {threads} threads: {error}"))
                        })?
                        .with_arithmetic(self.resources.arithmetic),
                ),
            };
            let mut watch = |session: &Session<'_>, moment| {
                let step = match moment {
                    Moment::Batch => Step::Batch,
                    Moment::Epoch => {
                        folder.save(session)?;
                        Step::Epoch { trial, epochs: done(session) }
                    }
                };
                self.obey(shared, (self.watch)(step))?;
                if shared.is_stopped() && moment == Moment::Batch {
                    folder.save(session)?;
                }
                let is_over = moment == Moment::Epoch && is_over(session);
                // Other lanes have ended: their threads are free.
                let may_grow = shared.ended.load(Ordering::Relaxed) != ended;
                Ok(match shared.is_stopped() || is_over || may_grow {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                })
            };
            match pool.enter(|team| session.train(team, &mut watch)) {
                Ok(_) => {}
                Err(Error::Diverged { .. }) => diverged = true,
                Err(error) => return Err(error),
            }
            if shared.is_stopped() && !is_over(&session) && !diverged {
                return Ok(None);
            }
        }
        let epochs = &session.progress().history.epochs;
        let epochs = &epochs[..epochs.len().min(self.epochs)];
        let scores = if diverged { None } else { Scores::of(epochs, task.keep) };
        Ok(Some(Row { trial, rung: self.rung, epochs: epochs.len(), scores }))
    }
}

/// A trial's folder, created if it is not there, and its session, resumed where it was saved.
pub(super) fn resumed<'a>(
    definition: &Definition,
    task: &'a Task,
    path: &Path,
    split: &'a Split,
    threads: usize,
) -> Result<(RunFolder, Session<'a>)> {
    let expected = definition.record(task.clone(), threads);
    let (folder, record) = match path.join("run.toml").exists() {
        true => RunFolder::open_to_train(path)?,
        false => (RunFolder::start(path, &expected)?, expected.clone()),
    };
    if folder.id() != expected.id()? {
        return Err(Error::data(path, "not this trial of the search: put its own folder back"));
    }
    if record.task.epochs != task.epochs {
        return Err(Error::data(
            path,
            format!(
                "this trial was given {} epochs since, where the search gives it {}: put back what was \
                 there, or remove the folder to train the trial anew",
                record.task.epochs, task.epochs
            ),
        ));
    }
    let mut session = Session::new(task, split, definition.seed)?;
    folder.resume(&mut session, &record)?;
    Ok((folder, session))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_run_as_there_are_threads_and_memory() {
        assert_eq!(at_once(&[10; 5], 2, None), 2);
        assert_eq!(at_once(&[10; 5], 8, None), 5);
        assert_eq!(at_once(&[10; 5], 8, Some(39)), 3);
        assert_eq!(at_once(&[10; 5], 8, Some(40)), 4);
        // Whichever trials run together.
        assert_eq!(at_once(&[1, 30, 1, 30], 8, Some(60)), 2);
        assert_eq!(at_once(&[1, 30, 1, 30], 8, Some(61)), 3);
        assert_eq!(at_once(&[10], 4, Some(5)), 1);
        assert_eq!(at_once(&[u64::MAX, u64::MAX], 4, Some(5)), 1);
    }

    #[test]
    fn threads_without_a_trial_are_shared_out() {
        let shares = |active: &[bool], threads| -> Vec<usize> {
            (0..active.len())
                .filter(|&lane| active[lane])
                .map(|lane| share(active, lane, threads))
                .collect()
        };
        assert_eq!(shares(&[true; 4], 4), [1, 1, 1, 1]);
        assert_eq!(shares(&[true, false, true, false], 4), [2, 2]);
        assert_eq!(shares(&[true, true, false, true], 4), [2, 1, 1]);
        assert_eq!(shares(&[false, true], 3), [3]);
        assert_eq!(shares(&[true; 3], 8), [3, 3, 2]);
    }
}
