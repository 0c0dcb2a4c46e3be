//! What `regress` prints and draws: a table, a JSON document, two pictures.

use super::table::{self, Table as Rows};
use crate::Result;
use crate::bench::Facts;
use crate::evaluate::Regression;
use crate::evaluate::bars::{Along, Bars, Figure, bars};
use crate::evaluate::predictions::{Against, against};
use crate::names::shortened;
use crate::reports::flights;
use crate::tables::models::Kind;
use crate::tables::{Encoding, Table};
use serde::Serialize;
use std::path::Path;

/// The most rows that a picture of predictions shows.
const MOST_POINTS: usize = 2_000;

/// What one model measured.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) kind: Kind,
    pub(super) score: Regression,
    train_seconds: f64,
    predict_seconds: f64,
    bytes: u64,
}

impl Measured {
    pub(super) fn new(kind: Kind, score: Regression, seconds: [f64; 2], bytes: u64) -> Self {
        let [train_seconds, predict_seconds] = seconds;
        Self { kind, score, train_seconds, predict_seconds, bytes }
    }

    /// What the report calls the mean absolute error: its square root.
    fn root_mae(&self) -> f64 {
        self.score.mae.sqrt()
    }
}

/// Everything that is told about a comparison.
pub(super) struct Report<'a> {
    pub(super) facts: &'a Facts,
    pub(super) table: &'a Table,
    pub(super) encoding: &'a Encoding,
    /// Training and test rows.
    pub(super) rows: [usize; 2],
    pub(super) seed: u64,
    /// Bytes that all took at most.
    pub(super) memory: u64,
    pub(super) measured: &'a [Measured],
}

#[derive(Serialize)]
struct Document<'a> {
    machine: &'a Facts,
    file: &'a Path,
    target: &'a str,
    training_rows: usize,
    test_rows: usize,
    dropped_rows: usize,
    encoded_columns: usize,
    constant_columns: &'a [String],
    remarks: &'a [String],
    memory_bytes: u64,
    seed: u64,
    results: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    model: &'static str,
    claimed_mse: Option<f64>,
    claimed_r2: Option<f64>,
    mse: f64,
    rmse: f64,
    mae: f64,
    root_mae: f64,
    /// None for a single test row.
    r2: Option<f64>,
    train_seconds: f64,
    predict_seconds: f64,
    bytes: u64,
}

impl Report<'_> {
    /// The report's claim, if this table has the columns of its own.
    fn claim(&self, kind: Kind) -> Option<flights::FlightClaim> {
        flights::are_columns(&self.table.names, &self.table.target).then(|| flights::claim(kind))
    }

    fn has_claims(&self) -> bool {
        self.claim(Kind::Mean).is_some()
    }

    pub(super) fn json(&self) -> Result<String> {
        let row = |m: &Measured| {
            let claim = self.claim(m.kind);
            Row {
                model: m.kind.name(),
                claimed_mse: claim.map(|claim| claim.mse),
                claimed_r2: claim.and_then(|claim| claim.r2),
                mse: m.score.mse,
                rmse: m.score.rmse,
                mae: m.score.mae,
                root_mae: m.root_mae(),
                r2: m.score.r2,
                train_seconds: m.train_seconds,
                predict_seconds: m.predict_seconds,
                bytes: m.bytes,
            }
        };
        table::json(&Document {
            machine: self.facts,
            file: &self.table.path,
            target: &self.table.target,
            training_rows: self.rows[0],
            test_rows: self.rows[1],
            dropped_rows: self.table.dropped,
            encoded_columns: self.encoding.width(),
            constant_columns: &self.encoding.constant,
            remarks: &self.table.remarks,
            memory_bytes: self.memory,
            seed: self.seed,
            results: self.measured.iter().map(row).collect(),
        })
    }

    pub(super) fn text(&self) -> String {
        let Self { facts, table: read, encoding, rows: [train, test], .. } = self;
        let mut text = table::heading(facts, &format!("seed {}", self.seed));
        text += &table::prose(&format!(
            "{}: '{}' from {} ({} encoded), {} training and {} test rows\n\n",
            read.path.display(),
            shortened(&read.target),
            table::count(encoding.columns.len(), "column"),
            encoding.width(),
            table::grouped(*train as u64),
            table::grouped(*test as u64),
        ));
        text += &format!("{}\n\n", self.rows());
        let mut notes = String::new();
        let models =
            self.measured.iter().map(|m| format!("{}: {}.", m.kind.name(), m.kind.about()));
        notes += &format!("{}\n", models.collect::<Vec<_>>().join(" "));
        notes += "root MAE: the square root of the mean absolute error, which the report nlp2024 prints as its MAE.\n";
        if self.has_claims() {
            notes += &format!(
                "Claimed: by the report nlp2024, for its own {} flights; its network trained for 10,000 epochs. This \
                 table has the same columns, and {} rows. Of a table that was drawn (data flights) the claims say \
                 nothing.\n",
                table::grouped(flights::ROWS as u64),
                table::grouped((train + test) as u64),
            );
        }
        text + &table::prose(&notes)
    }

    fn rows(&self) -> Rows {
        let claims = self.has_claims();
        let claimed = |name| if claims { vec![name] } else { vec![] };
        let header = [
            vec!["model"],
            claimed("claimed MSE"),
            vec!["MSE"],
            claimed("claimed R2"),
            vec!["R2", "RMSE", "MAE", "root MAE", "training", "prediction", "memory"],
        ]
        .concat();
        let mut rows = Rows::new(&header, &["model"]);
        for m in self.measured {
            let mut row = vec![m.kind.name().to_owned()];
            let claim = self.claim(m.kind);
            row.extend(claim.map(|claim| amount(claim.mse)));
            row.push(amount(m.score.mse));
            if let Some(claim) = claim {
                row.push(claim.r2.map_or("-".to_owned(), |r2| format!("{r2:.4}")));
            }
            row.push(m.score.r2_text());
            row.extend([m.score.rmse, m.score.mae, m.root_mae()].map(amount));
            row.extend(
                [m.train_seconds, m.predict_seconds].map(|s| format!("{} s", table::seconds(s))),
            );
            row.push(table::bytes(m.bytes));
            rows.add_row(row);
        }
        rows
    }

    /// The errors as bars; under each model what is claimed of it, if anything.
    pub(super) fn bars(&self) -> Result<String> {
        let mut names = Vec::new();
        let mut figures: [Vec<Option<f64>>; 3] = Default::default();
        let mut add = |name: String, values: [Option<f64>; 3]| {
            names.push(name);
            figures.iter_mut().zip(values).for_each(|(figure, value)| figure.push(value));
        };
        for m in self.measured {
            add(m.kind.name().to_owned(), [Some(m.score.mse), m.score.r2, Some(m.score.mae)]);
            if let Some(claim) = self.claim(m.kind) {
                add(format!("{}, claimed", m.kind.name()), [Some(claim.mse), claim.r2, None]);
            }
        }
        let named = ["mean squared error", "R2", "mean absolute error"];
        let panels = named.into_iter().zip(figures).map(|(name, values)| Figure {
            name: name.to_owned(),
            values,
            axis: Along::FromZero,
        });
        bars(&Bars {
            title: format!("{} of the test rows", shortened(&self.table.target)),
            names,
            panels: panels.collect(),
        })
    }

    /// Predictions over true values, of the first rows: which rows are first is random.
    pub(super) fn against(&self, targets: &[f64], predictions: &[&[f64]]) -> Result<String> {
        let panels = self.measured.iter().zip(predictions).map(|(m, predictions)| {
            let points = targets.iter().copied().zip(predictions.iter().copied());
            (m.kind.name().to_owned(), points.take(MOST_POINTS).collect())
        });
        let target = shortened(&self.table.target);
        against(&Against {
            title: format!("{target} of {} test rows", targets.len().min(MOST_POINTS)),
            unit: target,
            panels: panels.collect(),
        })
    }
}

/// A figure of any size: digits in groups where it is large, four decimals where it is small.
fn amount(x: f64) -> String {
    match x.abs() {
        ..1_000.0 => format!("{x:.4}"),
        ..1e15 => {
            let sign = if x < 0.0 { "-" } else { "" };
            format!("{sign}{}", table::grouped(x.abs().round() as u64))
        }
        _ => format!("{x:.4e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_well() {
        assert_eq!(amount(0.375), "0.3750");
        assert_eq!(amount(515_482_303.4), "515,482,303");
        assert_eq!(amount(-1_234.5), "-1,235");
        assert_eq!(amount(1e20), "1.0000e20");
        assert_eq!(amount(f64::NAN), "NaN");
    }
}
