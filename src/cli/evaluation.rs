//! What `train` and `eval` print about a trained network.

use super::table;
use crate::evaluate::{ClassificationReport, Confusion};
use crate::names::{LongWords, broken};
use crate::train::Score;
use crate::{Result, console};
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
        self.text_of(console::width())
    }

    /// The text, at most this wide.
    fn text_of(&self, width: usize) -> String {
        let Self { score, confusion, report } = self;
        let (confusion_text, report_text) = (matrix(confusion, width), scores(report, width));
        let without = match self.unclassified() {
            0 => String::new(),
            n => format!(
                "without class  {}  (outputs that are NaN or no class's; counted as wrong)\n",
                table::grouped(n)
            ),
        };
        format!(
            "test loss      {:.4}\ntest accuracy  {:.4}  ({} of {} wrong)\n{without}\n{confusion_text}\n{report_text}",
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

/// The most characters of a line of a name beside figures that would not fit otherwise.
const NAME: usize = 24;

/// The confusion matrix as it is; where that is too wide, with columns named by the numbers of their classes, and in
/// several blocks if need be.
fn matrix(confusion: &Confusion, width: usize) -> String {
    let text = confusion.to_string();
    if text.lines().all(|line| line.chars().count() <= width) {
        return text;
    }
    let classes = confusion.classes().len();
    let has_others = confusion.unclassified().iter().any(|&count| count > 0);
    let count = |label: usize, column: usize| match column < classes {
        true => confusion.count(label, column),
        false => confusion.unclassified()[label],
    };
    let columns: Vec<usize> = (0..classes + usize::from(has_others)).collect();
    let heading = |column: usize| if column < classes { column.to_string() } else { "none".into() };
    let digits = columns.iter().map(|&column| {
        let counts = (0..classes).map(|label| count(label, column).to_string().len());
        counts.max().unwrap_or(0).max(heading(column).len())
    });
    let cell = digits.max().unwrap_or(1);
    let names: Vec<Vec<String>> =
        (confusion.classes().iter()).map(|name| broken(name, NAME, LongWords::Broken)).collect();
    let longest = names.iter().flatten().map(|line| line.chars().count()).max().unwrap_or(0);
    let number = classes.saturating_sub(1).to_string().len();
    let left = number + 1 + longest.max("true".len());
    let at_once = (width.saturating_sub(left) / (cell + 1)).max(1);
    let mut text = String::new();
    for block in columns.chunks(at_once) {
        let cells = |of: &dyn Fn(usize) -> String| {
            block.iter().map(|&column| format!(" {:>cell$}", of(column))).collect::<String>()
        };
        text += &format!("{:left$} predicted, by its number\n", "");
        text += &format!("{:left$}{}\n", "true", cells(&heading));
        for (label, lines) in names.iter().enumerate() {
            let figures = cells(&|column| count(label, column).to_string());
            let first = format!("{label:>number$} {}", lines[0]);
            text += &format!("{first:left$}{figures}\n");
            for line in &lines[1..] {
                text += &format!("{:number$} {line}\n", "");
            }
        }
        text.push('\n');
    }
    text.pop();
    text
}

/// The figures of each class as they are; where that is too wide, with names in several lines.
fn scores(report: &ClassificationReport, width: usize) -> String {
    let text = format!("{report:.4}");
    let widest = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    if widest <= width {
        return text;
    }
    let rows = report.classes.iter().chain([&report.macro_avg, &report.weighted_avg]);
    let names = rows.map(|row| row.name.chars().count()).max().unwrap_or(0);
    let room = names.saturating_sub(widest - width).max(NAME / 2);
    let mut narrow = String::new();
    for line in text.lines() {
        // Names stand on the left of all figures, at the right of their column.
        let name: String = line.chars().take(names).collect();
        let figures: String = line.chars().skip(names).collect();
        let lines = broken(name.trim(), room, LongWords::Broken);
        narrow += format!("{:>room$}{figures}", lines[0]).trim_end();
        narrow.push('\n');
        lines[1..].iter().for_each(|line| narrow += &format!("{line:>room$}\n"));
    }
    narrow
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

    /// Of three classes with long names, one of which has no place to break it at: what fits is as it was; what does
    /// not keeps every name and every count.
    #[test]
    fn long_names_fit_a_terminal() {
        let names =
            ["a kind of shoe with a very long name", "anotherkindofshoewithnoblanks", "ankle boot"];
        let mut confusion = Confusion::new(names);
        for (label, prediction, count) in [(0, 1, 123), (1, 1, 4_567), (2, 0, 89), (2, 2, 10)] {
            confusion.add(&vec![label; count], &vec![Some(prediction); count]);
        }
        confusion.add(&[1], &[None]);
        let report = ClassificationReport::new(&confusion);
        let score = Score { loss: 0.5, accuracy: 0.5 };
        let all = Evaluation { score, confusion, report };
        assert_eq!(
            all.text_of(200),
            format!(
                "test loss      0.5000\ntest accuracy  0.5000  (213 of 4,790 wrong)\nwithout class  1  (outputs that \
                 are NaN or no class's; counted as wrong)\n\n{}\n{:.4}",
                all.confusion, all.report
            )
        );
        let text = matrix(&all.confusion, 60);
        assert_eq!(
            text,
            "\x20                          predicted, by its number
true                          0    1    2 none
0 a kind of shoe with a       0  123    0    0
  very long name
1 anotherkindofshoewithnob    0 4567    0    1
  lanks
2 ankle boot                 89    0   10    0
"
        );
        let blocks = matrix(&all.confusion, 40);
        assert!(blocks.lines().all(|line| line.chars().count() <= 51), "{blocks}");
        for line in ["true                          0    1", "true                          2 none"]
        {
            assert!(blocks.lines().any(|other| other == line), "{blocks}");
        }
        assert!(
            blocks.contains("nob    0    1\n")
                && blocks.contains("ankle boot                 10    0\n")
        );
        let figures = scores(&all.report, 60);
        assert!(figures.lines().all(|line| line.chars().count() <= 60), "{figures}");
        for line in [
            "a kind of shoe with     0.0000    0.0000    0.0000       123\n   a very long name\n",
            "         ankle boot     1.0000    0.1010    0.1835        99\n",
        ] {
            assert!(figures.contains(line), "{figures}");
        }
        for width in 40..100 {
            let text = all.text_of(width);
            let counts = ["123", "4567", "89", "10", "0.0000", "0.1835", "4790"];
            assert!(counts.iter().all(|count| text.contains(count)), "{width}: {text}");
        }
    }

    #[test]
    fn and_not_where_there_are_none() {
        let none = evaluation(&[Some(0), Some(1), Some(1), Some(0)]);
        assert!(!none.text().contains("without class"), "{}", none.text());
        let subject = Subject { recipe: "", data: "", epoch: None };
        assert!(!none.json(&subject).unwrap().contains("unclassified"));
    }
}
