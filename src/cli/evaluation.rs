//! What `train` and `eval` print about a trained network.

use super::table;
use crate::Result;
use crate::evaluate::{ClassificationReport, Confusion};
use crate::train::Score;
use serde::Serialize;

/// The evaluation on the test samples.
pub(super) struct Evaluation {
    score: Score,
    confusion: Confusion,
    report: ClassificationReport,
}

/// The same as one JSON document.
#[derive(Serialize)]
struct Document<'a> {
    recipe: &'a str,
    data: &'a str,
    test_loss: f64,
    test_accuracy: f64,
    classes: &'a [String],
    /// Row: the true class; column: the predicted one.
    confusion: Vec<&'a [u64]>,
    report: &'a ClassificationReport,
}

impl Evaluation {
    /// Predictions for samples of these classes. A network with more outputs than the set has classes
    /// may predict others, which get the number of the output for a name.
    pub(super) fn new(score: Score, names: &[String], labels: &[u8], predictions: &[u8]) -> Self {
        let outputs = predictions.iter().max().map_or(0, |&last| usize::from(last) + 1);
        let beyond = (names.len()..outputs).map(|output| format!("output {output}"));
        let mut confusion = Confusion::new(names.iter().cloned().chain(beyond));
        confusion.add(labels, predictions);
        let report = ClassificationReport::new(&confusion);
        Self { score, confusion, report }
    }

    pub(super) fn text(&self) -> String {
        let Self { score, confusion, report } = self;
        format!(
            "test loss      {:.4}\ntest accuracy  {:.4}  ({} of {} wrong)\n\n{confusion}\n{report:.4}",
            score.loss,
            score.accuracy,
            table::grouped(confusion.total() - confusion.correct()),
            table::grouped(confusion.total()),
        )
    }

    pub(super) fn json(&self, recipe: &str, data: &str) -> Result<String> {
        let classes = self.confusion.classes();
        table::json(&Document {
            recipe,
            data,
            test_loss: self.score.loss,
            test_accuracy: self.score.accuracy,
            classes,
            confusion: (0..classes.len()).map(|label| self.confusion.row(label)).collect(),
            report: &self.report,
        })
    }
}
