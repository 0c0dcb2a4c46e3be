//! Progress on stderr: a bar that is redrawn in place on a terminal, plain lines elsewhere.

use super::interrupt;
use super::table;
use crate::console;
use crate::train::{Epoch, Moment, Session};
use indicatif::{ProgressBar, ProgressStyle};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// The time between two redraws of the bar.
const REDRAW: Duration = Duration::from_millis(100);

/// A bar without a length yet, if stderr is a terminal.
pub(super) fn bar(template: &str) -> Option<ProgressBar> {
    let style = ProgressStyle::with_template(template).ok()?;
    console::is_interactive()
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
    epoch_began: Instant,
}

impl Progress {
    /// Before the first batch.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { bar: bar("{prefix}  {wide_bar}  {msg}"), drawn: now, epoch_began: now }
    }

    /// Shows on the bar what comes next, until the first batch is done.
    pub(super) fn begin(&self, line: &str) {
        if let Some(bar) = &self.bar {
            bar.set_prefix(line.to_owned());
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
        if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn draw(&mut self, name: &str, session: &Session<'_>) {
        let Some(bar) = &self.bar else { return };
        self.drawn = Instant::now();
        let progress = session.progress();
        bar.set_length(session.batches_per_epoch() as u64);
        bar.set_position(progress.batches as u64);
        let epoch = progress.history.epochs.len() + 1;
        bar.set_prefix(format!("{name} epoch {epoch}/{}", session.task().epochs));
        bar.set_message(format!("{} images/s", table::rate(progress.images_per_second())));
    }

    /// One line per epoch.
    pub(super) fn epoch_line(&mut self, epochs: usize, epoch: &Epoch) {
        let digits = epochs.to_string().len();
        let seconds = table::seconds(self.epoch_began.elapsed().as_secs_f64());
        self.epoch_began = Instant::now();
        self.line(&format!(
            "epoch {:>digits$}/{epochs}  loss {:.4}  accuracy {:.4}  val_loss {:.4}  \
             val_accuracy {:.4}  {seconds} s",
            epoch.epoch, epoch.loss, epoch.accuracy, epoch.val_loss, epoch.val_accuracy
        ));
    }

    /// Any line, above the bar if there is one.
    pub(super) fn line(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| console::note(line)),
            None => console::note(line),
        }
    }

    /// Removes the bar.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
