//! Progress on stderr: a bar that is redrawn in place on a terminal, plain lines elsewhere.

use super::interrupt;
use super::progress_line::{Done, More, Now};
use crate::console;
use crate::data::Split;
use crate::train::{self, Moment, Session, Task};
use indicatif::{ProgressBar, ProgressStyle};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// The time between two redraws of the bar.
const REDRAW: Duration = Duration::from_millis(100);

/// A bar without a length yet, if stderr is a terminal.
pub(super) fn bar(template: &str) -> Option<ProgressBar> {
    let style = ProgressStyle::with_template(template).ok()?;
    (console::is_interactive() && !console::is_quiet())
        .then(|| ProgressBar::no_length().with_style(style.progress_chars("=> ")))
}

/// The progress through a list: on a terminal, a bar that names the current item.
pub struct Steps(Option<ProgressBar>);

impl Steps {
    /// Before the first of `count` items.
    pub fn new(count: usize) -> Self {
        let bar = bar("{prefix}  {wide_bar}  {pos}/{len}");
        if let Some(bar) = &bar {
            bar.set_length(count as u64);
        }
        Self(bar)
    }

    /// The next item begins.
    pub fn begin(&self, name: &str) {
        if let Some(bar) = &self.0 {
            bar.set_prefix(format!("{name:<60}"));
            bar.inc(1);
        }
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// The progress of one training run.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    drawn: Instant,
    began: Began,
}

/// Where the epoch under way began, or the run was taken up.
#[derive(Clone, Copy)]
struct Began {
    at: Instant,
    samples: u64,
    step_seconds: f64,
    train_seconds: f64,
}

impl Progress {
    /// Before the first batch.
    pub(super) fn new() -> Self {
        let at = Instant::now();
        let began = Began { at, samples: 0, step_seconds: 0.0, train_seconds: 0.0 };
        Self { bar: bar("{msg}"), drawn: at, began }
    }

    /// Before the next batch of a session.
    pub(super) fn of(session: &Session<'_>) -> Self {
        let mut progress = Self::new();
        progress.began = Began::of(session.progress());
        progress
    }

    /// Shows on the bar what comes next, until the first batch is done.
    pub(super) fn begin(&self, line: &str) {
        if let Some(bar) = &self.bar {
            let width = console::progress_width();
            bar.set_message(line.chars().take(width).collect::<String>());
        }
    }

    /// Redraws the bar, and returns `Break` if Ctrl-C was pressed.
    pub(super) fn watch(
        &mut self,
        name: &str,
        session: &Session<'_>,
        moment: Moment,
    ) -> ControlFlow<()> {
        if moment == Moment::Batch && self.bar.is_some() && self.drawn.elapsed() >= REDRAW {
            self.draw(name, session);
        }
        interrupt::go_on()
    }

    fn draw(&mut self, name: &str, session: &Session<'_>) {
        let (Some(bar), Some(score)) = (&self.bar, session.running_score()) else { return };
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
            seconds: self.began.at.elapsed().as_secs_f64(),
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
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Removes the bar.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Began {
    fn of(progress: &train::Progress) -> Self {
        Self {
            at: Instant::now(),
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
