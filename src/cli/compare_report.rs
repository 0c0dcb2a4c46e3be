//! What `threadcount compare` prints and draws.

use super::data::other_images;
use super::table::{self, Table};
use crate::Result;
use crate::bench::Facts;
use crate::classical::{Ended, Minimised};
use crate::data::{Dataset, Identity, Split};
use crate::evaluate::bars::{Along, Bars, Figure, bars};
use serde::Serialize;

/// One of them, measured; the fields are those of the JSON document. Times are in seconds.
#[derive(Serialize)]
pub(super) struct Measured {
    pub(super) model: String,
    pub(super) test_accuracy: f64,
    pub(super) macro_f1: f64,
    /// None where outputs are not probabilities, or are not finite.
    pub(super) log_loss: Option<f64>,
    pub(super) train_seconds: f64,
    pub(super) predict_seconds: f64,
    pub(super) predicted_images_per_second: f64,
    pub(super) bytes: u64,
    pub(super) train_images: usize,
    pub(super) test_images: usize,
    /// Of the nearest neighbours: the speed of their products.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) gflops: Option<f64>,
    /// The FMA peak of the threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fma_gflops: Option<f64>,
    /// And what share of it that speed is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) share_of_peak: Option<f64>,
    /// Which samples it was trained and tested on.
    #[serde(skip)]
    pub(super) samples: Samples,
    /// What else is to be said of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
}

/// Which samples a model is trained and tested on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Samples {
    /// The set's own parts.
    Filed,
    /// Those that its recipe selects.
    Selected,
}

#[derive(Serialize)]
pub(super) struct Document<'a> {
    pub(super) machine: &'a Facts,
    pub(super) data: &'a str,
    pub(super) seed: u64,
    pub(super) results: &'a [Measured],
}

/// How the logistic regression ended.
pub(super) fn told(done: Minimised) -> String {
    let Minimised { ended, iterations, gradient, .. } = done;
    let how = match ended {
        Ended::Converged => "converged",
        Ended::AtMostIterations => "not converged (--iterations)",
        Ended::AtRounding => "as far as float32 products allow",
        Ended::Interrupted => "interrupted",
    };
    format!("{how} after {iterations} iterations, largest gradient {gradient:.1e}")
}

/// What the results were measured on.
pub(super) struct Conditions<'a> {
    pub(super) facts: &'a Facts,
    pub(super) dataset: &'a Dataset,
    /// The set's own parts.
    pub(super) split: &'a Split,
    pub(super) seed: u64,
}

impl Conditions<'_> {
    /// The table, with what it was measured on above it and the notes below it.
    pub(super) fn report(&self, results: &[Measured]) -> String {
        let Self { facts, dataset, split, seed } = self;
        let has = |samples| results.iter().any(|m| m.samples == samples);
        let mut text = table::heading(facts, &format!("seed {seed}"));
        if dataset.identity != Identity::FashionMnist {
            text += &table::prose(&other_images(dataset));
        }
        let header = [
            "model",
            "accuracy",
            "macro F1",
            "log loss",
            "training",
            "prediction",
            "images/s",
            "size",
        ];
        let mut rows = Table::new(&header, &["model"]);
        for m in results {
            rows.add_row([
                m.model.clone(),
                table::percent(m.test_accuracy),
                format!("{:.4}", m.macro_f1),
                m.log_loss.map_or("-".to_owned(), |loss| format!("{loss:.4}")),
                format!("{} s", table::seconds(m.train_seconds)),
                format!("{} s", table::seconds(m.predict_seconds)),
                table::rate(m.predicted_images_per_second),
                table::bytes(m.bytes),
            ]);
        }
        text += &format!("\n{rows}\n\n");
        let mut notes = String::new();
        for m in results {
            if let (Some(gflops), Some(share)) = (m.gflops, m.share_of_peak) {
                let share = table::percent(share);
                notes += &format!("{}: {gflops:.0} GFLOP/s, {share} % of the FMA peak.\n", m.model);
            }
            if let Some(note) = &m.note {
                notes += &format!("{}: {note}.\n", m.model);
            }
        }
        if has(Samples::Filed) {
            notes += &format!(
                "Classical models: the set's own {} training and {} test images, pixels 0 to 1.\n",
                table::grouped(split.train.len() as u64),
                table::grouped(split.test.len() as u64)
            );
        }
        if has(Samples::Selected) {
            notes += "Networks: their recipes' own samples; training with validation.\n";
        }
        notes += "Accuracy in % and macro F1 on the test samples; log loss: natural logarithms, probabilities \
                clipped by the epsilon of their type. Images/s: of prediction. Size: in memory.\n";
        text + &table::prose(&notes)
    }
}

/// The bars.
pub(super) fn picture(results: &[Measured], facts: &Facts) -> Result<String> {
    let figure = |name: &str, axis, value: fn(&Measured) -> Option<f64>| Figure {
        name: name.to_owned(),
        values: results.iter().map(value).collect(),
        axis,
    };
    bars(&Bars {
        title: format!("{}, {}", facts.machine.cpu, table::threads(facts.threads)),
        names: results.iter().map(|m| m.model.clone()).collect(),
        panels: vec![
            figure("accuracy, % of the test samples", Along::FromZero, |m| {
                Some(m.test_accuracy * 100.0)
            }),
            figure("log loss", Along::FromZero, |m| m.log_loss),
            figure("training, s", Along::Log, |m| Some(m.train_seconds)),
            figure("prediction, s", Along::Log, |m| Some(m.predict_seconds)),
            figure("size, bytes", Along::Log, |m| Some(m.bytes as f64)),
        ],
    })
}
