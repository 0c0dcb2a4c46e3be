//! Progress on stderr: a line that is redrawn in place on a terminal, and never wider than it; plain lines elsewhere.
//! Nothing with `--quiet`. All commands whose work takes long show it by these means:
//!
//! - [`Bar`]: work of a known length, such as bytes to download
//! - [`Steps`]: a list, item by item
//! - [`Progress`]: a training run

use super::interrupt;
use super::progress_line::{Done, More, Now, Work};
use crate::console;
use crate::data::Split;
use crate::train::{self, Moment, Session, Task};
use indicatif::{ProgressBar, ProgressStyle};
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

pub(super) use super::progress_line::Unit;

/// The time between two redraws of the bar.
const REDRAW: Duration = Duration::from_millis(100);
/// The time between two ticks of a clock, and the columns that it takes: `  00:00:00`.
const TICK: Duration = Duration::from_secs(1);
const CLOCK: usize = 10;

/// No end is foretold before this time has passed.
const FORETOLD: f64 = 1.0;

/// A line that is redrawn in place, and removed in the end; none where stderr is no terminal, or nothing but results
/// is wanted.
struct Line(Option<ProgressBar>);

impl Line {
    fn new() -> Self {
        let is_shown = console::is_interactive() && !console::is_quiet();
        Self(is_shown.then(|| ProgressBar::no_length().with_style(style("{msg}"))))
    }

    /// Draws the text that `text` returns for the columns that there are.
    fn draw(&self, text: impl FnOnce(usize) -> String) {
        if let Some(bar) = &self.0 {
            bar.set_message(text(console::progress_width()));
        }
    }

    /// Writes something above the line.
    fn aside(&self, write: impl FnOnce()) {
        match &self.0 {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.finish();
    }
}

/// The templates here are valid; if one were not, indicatif's own would do.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// The progress of work whose length is known: on a terminal a bar until it is dropped.
pub(super) struct Bar {
    line: Line,
    name: String,
    done: u64,
    total: u64,
    unit: Unit,
    remark: String,
    began: Instant,
    drawn: Instant,
}

impl Bar {
    /// Before work of this length.
    pub(super) fn new(name: &str, total: u64, unit: Unit) -> Self {
        let now = Instant::now();
        let bar = Self {
            line: Line::new(),
            name: name.to_owned(),
            done: 0,
            total,
            unit,
            remark: String::new(),
            began: now,
            drawn: now,
        };
        bar.draw();
        bar
    }

    /// Whether there is a bar.
    pub(super) fn is_drawn(&self) -> bool {
        self.line.0.is_some()
    }

    /// A line for where there is no bar.
    pub(super) fn or_note(self, line: &str) -> Self {
        if !self.is_drawn() {
            console::note(line);
        }
        self
    }

    /// That much is done.
    pub(super) fn set(&mut self, done: u64) {
        self.done = done;
        if self.drawn.elapsed() >= REDRAW || done == self.total {
            self.drawn = Instant::now();
            self.draw();
        }
    }

    /// What is being worked on from here on.
    fn rename(&mut self, name: &str) {
        name.clone_into(&mut self.name);
        self.draw();
    }

    /// What else is to be said.
    pub(super) fn remark(&mut self, remark: String) {
        self.remark = remark;
        self.draw();
    }

    /// Writes something above the bar.
    pub(super) fn aside(&self, write: impl FnOnce()) {
        self.line.aside(write);
    }

    fn draw(&self) {
        let seconds = self.began.elapsed().as_secs_f64();
        self.line.draw(|width| {
            let work = Work {
                name: &self.name,
                done: self.done,
                total: self.total,
                unit: self.unit,
                remark: &self.remark,
                seconds_left: work_left(self.done, self.total, seconds),
            };
            work.line(width)
        });
    }
}

/// The time that the rest takes, if it goes on as it did for so long; `None` while that is not to be known.
fn work_left(done: u64, total: u64, seconds: f64) -> Option<f64> {
    let rest = total.saturating_sub(done) as f64;
    (done > 0 && seconds >= FORETOLD).then(|| rest * seconds / done as f64)
}

/// The progress through a list: on a terminal a bar that names the current item; elsewhere nothing, or one line
/// before the first item.
pub struct Steps(Mutex<Stepping>);

struct Stepping {
    bar: Bar,
    begun: u64,
}

impl Steps {
    /// Before the first of `count` items.
    pub fn new(count: usize) -> Self {
        Self(Mutex::new(Stepping { bar: Bar::new("", count as u64, Unit::Pieces), begun: 0 }))
    }

    /// Like [`Self::new`], with a line for where there is no bar.
    pub(super) fn announced(count: usize, line: &str) -> Self {
        let bar = Bar::new("", count as u64, Unit::Pieces).or_note(line);
        Self(Mutex::new(Stepping { bar, begun: 0 }))
    }

    /// The next item begins: those before it are done.
    pub fn begin(&self, name: &str) {
        let mut stepping = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let done = stepping.begun;
        stepping.begun += 1;
        stepping.bar.set(done);
        stepping.bar.rename(name);
    }
}

/// The progress of one training run.
pub(super) struct Progress {
    line: Line,
    drawn: Instant,
    began: Began,
}

/// Where the epoch under way began, or the run was taken up.
#[derive(Clone, Copy)]
struct Began {
    samples: u64,
    step_seconds: f64,
    train_seconds: f64,
}

impl Progress {
    /// Before the first batch.
    pub(super) fn new() -> Self {
        let began = Began { samples: 0, step_seconds: 0.0, train_seconds: 0.0 };
        Self { line: Line::new(), drawn: Instant::now(), began }
    }

    /// Before the next batch of a session.
    pub(super) fn of(session: &Session<'_>) -> Self {
        let mut progress = Self::new();
        progress.began = Began::of(session.progress());
        progress
    }

    /// Shows what comes next, and for how long it has been going on, until the first batch is done.
    pub(super) fn begin(&self, line: &str) {
        self.line.draw(|width| line.chars().take(width.saturating_sub(CLOCK)).collect());
        if let Some(bar) = &self.line.0 {
            bar.set_style(style("{msg}  {elapsed_precise}"));
            bar.enable_steady_tick(TICK);
        }
    }

    /// Redraws the bar, and returns `Break` if Ctrl-C was pressed.
    pub(super) fn watch(
        &mut self,
        name: &str,
        session: &Session<'_>,
        moment: Moment,
    ) -> ControlFlow<()> {
        if moment == Moment::Batch && self.line.0.is_some() && self.drawn.elapsed() >= REDRAW {
            self.draw(name, session);
        }
        interrupt::go_on()
    }

    fn draw(&mut self, name: &str, session: &Session<'_>) {
        let (Some(bar), Some(score)) = (&self.line.0, session.running_score()) else { return };
        self.drawn = Instant::now();
        let progress = session.progress();
        let rate = self.began.images_per_second(session.progress());
        let now = Now {
            name,
            epoch: progress.history.epochs.len() + 1,
            epochs: session.task().epochs,
            batch: progress.batches,
            batches: session.batches_per_epoch(),
            loss: score.loss,
            accuracy: score.accuracy,
            images_per_second: rate,
            gflops: rate * session.flops_per_sample() / 1e9,
            seconds_left: seconds_left(progress, session.task(), session.split()),
        };
        bar.disable_steady_tick();
        bar.set_style(style("{msg}"));
        bar.set_message(now.line(console::progress_width()));
    }

    /// One line for the epoch that has ended; `--verbose` asks for all figures.
    pub(super) fn epoch_line(&mut self, session: &Session<'_>, is_verbose: bool) {
        let Some(epoch) = session.progress().history.epochs.last() else { return };
        let images_per_second = self.began.images_per_second(session.progress());
        let more = More {
            images_per_second,
            gflops: images_per_second * session.flops_per_sample() / 1e9,
            validation: self.began.validation_share(session.progress()),
            learning_rate: session.network().optimizer().learning_rate(),
        };
        let done = Done {
            epochs: session.task().epochs,
            epoch,
            seconds: session.progress().train_seconds - self.began.train_seconds,
            more: is_verbose.then_some(more),
        };
        let width = if console::is_interactive() { console::progress_width() } else { usize::MAX };
        self.line(&done.line(width));
        self.began = Began::of(session.progress());
    }

    /// Any line, above the bar if there is one.
    pub(super) fn line(&self, line: &str) {
        self.aside(|| console::note(line));
    }

    /// A warning, above the bar if there is one.
    pub(super) fn warn(&self, message: &str) {
        self.aside(|| console::warn(message));
    }

    fn aside(&self, write: impl FnOnce()) {
        self.line.aside(write);
    }

    /// Removes the bar.
    pub(super) fn finish(&self) {
        self.line.finish();
    }
}

impl Began {
    fn of(progress: &train::Progress) -> Self {
        Self {
            samples: progress.trained_samples,
            step_seconds: progress.step_seconds,
            train_seconds: progress.train_seconds,
        }
    }

    /// Of the training steps since then.
    fn images_per_second(&self, progress: &train::Progress) -> f64 {
        let seconds = progress.step_seconds - self.step_seconds;
        let samples = progress.trained_samples.saturating_sub(self.samples);
        if seconds > 0.0 { samples as f64 / seconds } else { 0.0 }
    }

    /// The share of validation in the time since then.
    fn validation_share(&self, progress: &train::Progress) -> f64 {
        let all = progress.train_seconds - self.train_seconds;
        let steps = progress.step_seconds - self.step_seconds;
        if all > 0.0 { (1.0 - steps / all).max(0.0) } else { 0.0 }
    }
}

/// The time that all remaining epochs take, with their validation, at the speed of the run so far.
fn seconds_left(progress: &train::Progress, task: &Task, split: &Split) -> f64 {
    let per_sample = 1.0 / progress.images_per_second().max(f64::MIN_POSITIVE);
    let done = progress.history.epochs.len();
    let epochs = task.epochs.saturating_sub(done) as f64;
    let in_epoch = (progress.batches * task.batch_size).min(split.train.len());
    let samples = epochs * split.train.len() as f64 - in_epoch as f64;
    let validation = match done {
        // Forward is about a third of a training step.
        0 => split.validation.len() as f64 * per_sample / 3.0,
        done => (progress.train_seconds - progress.step_seconds) / done as f64,
    };
    samples * per_sample + epochs * validation
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Samples, Shape};
    use crate::train::Epoch;

    fn samples(n: usize) -> Samples {
        Samples::new(Shape::Flat(1), vec![0.0_f32; n], &vec![0_u8; n]).unwrap()
    }

    /// After this many epochs and batches, of which 1000 samples took 5 seconds, and validation `validated`.
    fn progress(epochs: usize, batches: usize, validated: f64) -> train::Progress {
        let mut progress = train::Progress::default();
        let epoch = Epoch { epoch: 1, accuracy: 0.5, loss: 1.0, val_accuracy: 0.5, val_loss: 1.0 };
        progress.history.epochs = vec![epoch; epochs];
        (progress.batches, progress.trained_samples) = (batches, 1_000);
        (progress.step_seconds, progress.train_seconds) = (5.0, 5.0 + validated);
        progress
    }

    /// The item that is named is not done yet.
    #[test]
    fn steps_count_what_is_done() {
        let steps = Steps::new(3);
        for (done, name) in [(0, "one"), (1, "two"), (2, "three")] {
            steps.begin(name);
            let stepping = steps.0.lock().unwrap();
            assert_eq!((stepping.bar.done, stepping.bar.name.as_str()), (done, name));
        }
    }

    #[test]
    fn no_end_is_foretold_at_once() {
        assert_eq!((work_left(0, 10, 9.0), work_left(5, 10, 0.5)), (None, None));
        assert_eq!((work_left(4, 10, 6.0), work_left(10, 10, 6.0)), (Some(9.0), Some(0.0)));
    }

    #[test]
    fn the_time_left_is_of_steps_and_of_validation() {
        let task = Task { epochs: 10, batch_size: 32, ..Task::default() };
        let split = Split::new(samples(100), samples(30));
        let left = |progress| seconds_left(&progress, &task, &split);
        // 0.005 s for each sample. In the first epoch, a third of that for each that is validated on.
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a}, {b}");
        near(left(progress(0, 1, 0.0)), 0.005 * (1_000.0 - 32.0) + 10.0 * 30.0 * 0.005 / 3.0);
        // Later, what it took before.
        near(left(progress(4, 2, 8.0)), 0.005 * (600.0 - 64.0) + 6.0 * 2.0);
        // The last batch is smaller.
        near(left(progress(9, 4, 9.0)), 1.0);
    }

    #[test]
    fn rates_and_shares_are_of_this_epoch() {
        let began = Began::of(&progress(3, 0, 1.0));
        let mut now = progress(3, 5, 1.0);
        assert_eq!((began.images_per_second(&now), began.validation_share(&now)), (0.0, 0.0));
        now.trained_samples += 300;
        now.step_seconds += 1.5;
        now.train_seconds += 2.0;
        assert_eq!((began.images_per_second(&now), began.validation_share(&now)), (200.0, 0.25));
    }
}
