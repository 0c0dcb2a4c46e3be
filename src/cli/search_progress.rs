//! The progress of a search on stderr: one bar over all trials, or a line for each.

use super::progress::bar;
use super::search_report::scores;
use super::table;
use crate::console;
use crate::train::search::{Metric, Row, Search, Settings, Space, halving};
use indicatif::ProgressBar;
use std::sync::{Mutex, PoisonError};

/// One bar over all trials, or a line for each.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    /// The number of trials of all rungs together.
    planned: usize,
    metric: Metric,
    space: Space,
    trials: Vec<Settings>,
    rows: Mutex<Vec<Row>>,
}

impl Progress {
    /// Where the search stands.
    pub(super) fn new(search: &Search) -> Self {
        let definition = search.definition();
        let trials = search.trials().to_vec();
        let planned = definition.planned(trials.len()).iter().sum();
        let bar = bar("{prefix}  {wide_bar}  {msg}");
        let progress = Self {
            bar,
            planned,
            metric: definition.metric,
            space: definition.space.clone(),
            trials,
            rows: Mutex::new(search.rows().to_vec()),
        };
        progress.draw(search.rows());
        progress
    }

    fn draw(&self, rows: &[Row]) {
        let Some(bar) = &self.bar else { return };
        bar.set_length(self.planned as u64);
        bar.set_position(rows.len() as u64);
        bar.set_prefix(format!("trials {}/{}", rows.len(), self.planned));
        if let Some(Row { trial, scores: Some(scores), .. }) =
            halving::ranked(rows, self.metric).first()
        {
            bar.set_message(format!("best {:.4} (trial {trial})", self.metric.of(scores)));
        }
    }

    /// A trial has come to the end of a rung.
    pub(super) fn take_in(&self, row: &Row) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.push(*row);
        let line = format!(
            "{:>digits$}/{}  trial {}  {}  {}  {}",
            rows.len(),
            self.planned,
            row.trial,
            self.space.told(&self.trials[row.trial - 1]),
            table::count(row.epochs, "epoch"),
            scores(row),
            digits = self.planned.to_string().len(),
        );
        match &self.bar {
            Some(bar) => bar.suspend(|| console::note(&line)),
            None => console::note(&line),
        }
        self.draw(&rows);
    }

    /// Removes the bar.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
