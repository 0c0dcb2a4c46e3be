//! The progress of a search on stderr: one bar over all trials, or a line for each.

use super::progress::{Bar, Unit};
use super::search_report::scores;
use super::table;
use crate::console;
use crate::train::search::{Metric, Row, Search, Settings, Space, halving};
use std::sync::{Mutex, PoisonError};

/// One bar over all trials, or a line for each.
pub(super) struct Progress {
    /// The number of trials of all rungs together.
    planned: usize,
    metric: Metric,
    space: Space,
    trials: Vec<Settings>,
    shown: Mutex<Shown>,
}

/// What is drawn, and what is drawn of; removed with the search's progress.
struct Shown {
    bar: Bar,
    rows: Vec<Row>,
}

impl Progress {
    /// Where the search stands.
    pub(super) fn new(search: &Search) -> Self {
        let definition = search.definition();
        let trials = search.trials().to_vec();
        let planned = definition.planned(trials.len()).iter().sum();
        let (metric, rows) = (definition.metric, search.rows().to_vec());
        let mut shown = Shown { bar: Bar::new("trials", planned as u64, Unit::Pieces), rows };
        shown.draw(metric);
        let (space, shown) = (definition.space.clone(), Mutex::new(shown));
        Self { planned, metric, space, trials, shown }
    }

    /// A trial has come to the end of a rung.
    pub(super) fn take_in(&self, row: &Row) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.rows.push(*row);
        let line = format!(
            "{:>digits$}/{}  trial {}  {}  {}  {}",
            shown.rows.len(),
            self.planned,
            row.trial,
            self.space.told(&self.trials[row.trial - 1]),
            table::count(row.epochs, "epoch"),
            scores(row),
            digits = self.planned.to_string().len(),
        );
        shown.bar.aside(|| console::note(&line));
        shown.draw(self.metric);
    }
}

impl Shown {
    fn draw(&mut self, metric: Metric) {
        self.bar.set(self.rows.len() as u64);
        if let Some(Row { trial, scores: Some(scores), .. }) =
            halving::ranked(&self.rows, metric).first()
        {
            self.bar.remark(format!("best {:.4} (trial {trial})", metric.of(scores)));
        }
    }
}
