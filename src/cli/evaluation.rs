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

/// What is evaluated, on what.
#[derive(Serialize)]
pub(super) struct Subject<'a> {
    pub(super) recipe: &'a str,
    pub(super) data: &'a str,
    /// The epoch whose weights are evaluated, if the model says so.
    pub(super) epoch: Option<usize>,
}

/// The evaluation as one JSON document.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    subject: &'a Subject<'a>,
    test_loss: f64,
    test_accuracy: f64,
    classes: &'a [String],
    /// Row: the true class; column: the predicted one.
    confusion: Vec<&'a [u64]>,
    /// For each true class, how many samples were given no class.
    #[serde(skip_serializing_if = "Option::is_none")]
    unclassified: Option<&'a [u64]>,
    report: &'a ClassificationReport,
}

impl Evaluation {
    /// Predictions for samples of these classes, counted as [`confusion`] does.
    pub(super) fn new(
        score: Score,
        names: &[String],
        labels: &[u8],
        predictions: &[Option<u8>],
    ) -> Self {
        let confusion = confusion(names, labels, predictions);
        let report = ClassificationReport::new(&confusion);
        Self { score, confusion, report }
    }

    pub(super) fn text(&self) -> String {
        let Self { score, confusion, report } = self;
        let without = match self.unclassified() {
            0 => String::new(),
            n => format!(
                "without class  {}  (outputs that are NaN or no class's; counted as wrong)\n",
                table::grouped(n)
            ),
        };
        format!(
            "test loss      {:.4}\ntest accuracy  {:.4}  ({} of {} wrong)\n{without}\n{confusion}\n{report:.4}",
            score.loss,
            score.accuracy,
            table::grouped(confusion.total() - confusion.correct()),
            table::grouped(confusion.total()),
        )
    }

    /// How many samples were given no class.
    fn unclassified(&self) -> u64 {
        self.confusion.unclassified().iter().sum()
    }

    pub(super) fn json(&self, subject: &Subject<'_>) -> Result<String> {
        let classes = self.confusion.classes();
        table::json(&Document {
            subject,
            test_loss: self.score.loss,
            test_accuracy: self.score.accuracy,
            classes,
            confusion: (0..classes.len()).map(|label| self.confusion.row(label)).collect(),
            unclassified: (self.unclassified() > 0).then(|| self.confusion.unclassified()),
            report: &self.report,
        })
    }
}

/// The confusion of predictions for samples of these classes. A network with more outputs than the set has classes
/// may predict others, which are named by the number of the output.
pub(super) fn confusion(names: &[String], labels: &[u8], predictions: &[Option<u8>]) -> Confusion {
    let outputs = predictions.iter().flatten().max().map_or(0, |&last| usize::from(last) + 1);
    let beyond = (names.len()..outputs).map(|output| format!("output {output}"));
    let mut confusion = Confusion::new(names.iter().cloned().chain(beyond));
    confusion.add(labels, predictions);
    confusion
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluation(predictions: &[Option<u8>]) -> Evaluation {
        let names = ["cat", "dog"].map(String::from);
        Evaluation::new(Score { loss: 0.5, accuracy: 0.5 }, &names, &[0, 0, 1, 1], predictions)
    }

    #[test]
    fn samples_without_a_class_are_told() {
        let some = evaluation(&[Some(0), None, Some(1), Some(0)]);
        let text = some.text();
        assert!(text.contains("(2 of 4 wrong)\nwithout class  1  ("), "{text}");
        let subject = Subject { recipe: "", data: "", epoch: None };
        let json: serde_json::Value = serde_json::from_str(&some.json(&subject).unwrap()).unwrap();
        assert_eq!(json["unclassified"], serde_json::json!([1, 0]));
        assert_eq!(json["confusion"], serde_json::json!([[1, 0], [1, 1]]));
        assert_eq!(json["report"]["classes"][0]["support"], 2);
    }

    #[test]
    fn and_not_where_there_are_none() {
        let none = evaluation(&[Some(0), Some(1), Some(1), Some(0)]);
        assert!(!none.text().contains("without class"), "{}", none.text());
        let subject = Subject { recipe: "", data: "", epoch: None };
        assert!(!none.json(&subject).unwrap().contains("unclassified"));
    }
}
