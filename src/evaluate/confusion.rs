//! The confusion matrix: how often each true class was predicted as each class.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Counts of (true class, predicted class), filled batch by batch.
///
/// `Display` prints a table with the true classes as rows and the predicted ones as columns; with
/// the ten Fashion-MNIST names it is 77 columns wide.
///
/// ```
/// use threadcount::evaluate::Confusion;
/// let mut confusion = Confusion::new(["cat", "dog"]);
/// confusion.add(&[0, 0, 1], &[0, 1, 1]);
/// assert_eq!(confusion.count(0, 1), 1);
/// assert_eq!(confusion.correct(), 2);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    classes: Vec<String>,
    /// `[true class, predicted class]`, row-major.
    counts: Vec<u64>,
}

impl Confusion {
    /// An empty matrix over the named classes, label 0 first.
    pub fn new<N: Into<String>>(classes: impl IntoIterator<Item = N>) -> Self {
        let classes: Vec<String> = classes.into_iter().map(Into::into).collect();
        let counts = vec![0; classes.len() * classes.len()];
        Self { classes, counts }
    }

    /// Counts one batch: `predictions[i]` was answered for a sample of class `labels[i]`.
    ///
    /// # Panics
    /// If the two lengths differ, or a label or prediction is not below the number of classes.
    pub fn add(&mut self, labels: &[u8], predictions: &[u8]) {
        assert_eq!(labels.len(), predictions.len(), "one prediction per label");
        let classes = self.classes.len();
        for (&label, &prediction) in labels.iter().zip(predictions) {
            let (label, prediction) = (usize::from(label), usize::from(prediction));
            // Checked one by one: a prediction too large would land in the next row unnoticed.
            assert!(label < classes, "label {label} of {classes} classes");
            assert!(prediction < classes, "prediction {prediction} of {classes} classes");
            self.counts[label * classes + prediction] += 1;
        }
    }

    /// The class names, label 0 first.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// How many samples of class `label` were predicted as `prediction`.
    ///
    /// # Panics
    /// If either is not below the number of classes.
    pub fn count(&self, label: usize, prediction: usize) -> u64 {
        self.row(label)[prediction]
    }

    /// What the samples of class `label` were predicted as: one count per predicted class.
    ///
    /// # Panics
    /// If `label` is not below the number of classes.
    pub fn row(&self, label: usize) -> &[u64] {
        let classes = self.classes.len();
        &self.counts[label * classes..][..classes]
    }

    /// The number of samples counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The number of samples whose predicted class is the true one.
    pub fn correct(&self) -> u64 {
        (0..self.classes.len()).map(|class| self.count(class, class)).sum()
    }

    /// The share of correct predictions, 0 to 1; 0 when nothing was counted.
    pub fn accuracy(&self) -> f64 {
        share(self.correct(), self.total())
    }
}

/// `part / whole`, and 0 where there is nothing to divide by.
pub(super) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl fmt::Display for Confusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Ten unbroken names would need 87 columns, so headings are broken into lines, as wide
        // as their longest piece or the column's largest count.
        let columns: Vec<Column> = (0..self.classes.len()).map(|c| self.column(c)).collect();
        let names = self.classes.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let names = names.max("true".len());
        let heading = columns.iter().map(|column| column.heading.len()).max().unwrap_or(0);

        writeln!(f, "{:names$} predicted", "")?;
        for line in 0..heading {
            let corner = if line + 1 == heading { "true" } else { "" };
            let mut text = format!("{corner:names$}");
            for Column { heading: pieces, width } in &columns {
                // Headings end on the same line, next to the counts.
                let piece = (line + pieces.len()).checked_sub(heading).map_or("", |i| &pieces[i]);
                text += &format!(" {piece:>width$}");
            }
            writeln!(f, "{}", text.trim_end())?;
        }
        for (label, name) in self.classes.iter().enumerate() {
            write!(f, "{name:names$}")?;
            for (count, Column { width, .. }) in self.row(label).iter().zip(&columns) {
                write!(f, " {count:>width$}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// How one column of the table is printed.
struct Column {
    heading: Vec<String>,
    width: usize,
}

impl Confusion {
    fn column(&self, prediction: usize) -> Column {
        let pieces = pieces(&self.classes[prediction]);
        let longest = pieces.iter().map(|piece| length(piece)).max().unwrap_or(0);
        let digits = |label| self.count(label, prediction).to_string().len();
        let width = (0..self.classes.len()).map(digits).max().unwrap_or(0).max(longest);

        let mut heading: Vec<String> = Vec::new();
        for piece in pieces {
            match heading.last_mut() {
                Some(line) if line.chars().count() + length(piece) <= width => line.push_str(piece),
                _ => heading.push(piece.to_owned()),
            }
        }
        for line in &mut heading {
            line.truncate(line.trim_end().len());
        }
        Column { heading, width }
    }
}

/// How wide a piece is at the end of a line, where its blank does not show.
fn length(piece: &str) -> usize {
    piece.trim_end().chars().count()
}

/// A name cut where it may be broken: after a space, a hyphen or a slash.
fn pieces(name: &str) -> Vec<&str> {
    name.split_inclusive([' ', '-', '/']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::CLASS_NAMES;

    #[test]
    fn counts_by_hand() {
        let mut confusion = Confusion::new(["a", "b", "c"]);
        confusion.add(&[2, 0, 2, 2], &[0, 0, 2, 2]);
        confusion.add(&[0, 1], &[0, 2]);
        // The example of scikit-learn's documentation of confusion_matrix.
        let rows: Vec<&[u64]> = (0..3).map(|label| confusion.row(label)).collect();
        assert_eq!(rows, [&[2, 0, 0], &[0, 0, 1], &[1, 0, 2]]);
        assert_eq!((confusion.correct(), confusion.total()), (4, 6));
        assert_eq!(confusion.accuracy(), 4.0 / 6.0);
    }

    #[test]
    fn nothing_counted_is_accuracy_zero() {
        assert_eq!(Confusion::new(CLASS_NAMES).accuracy(), 0.0);
        assert_eq!(
            Confusion::new(Vec::<String>::new()).to_string(),
            " ".repeat(4) + " predicted\n"
        );
    }

    #[test]
    #[should_panic(expected = "prediction 2 of 2 classes")]
    fn a_prediction_outside_the_classes_is_refused() {
        Confusion::new(["a", "b"]).add(&[0], &[2]);
    }

    #[test]
    fn ten_classes_fit_eighty_columns() {
        let mut confusion = Confusion::new(CLASS_NAMES);
        for class in 0..10 {
            confusion.add(&[class; 850], &[class; 850]);
            confusion.add(&[class; 150], &[(class + 3) % 10; 150]);
        }
        let text = confusion.to_string();
        let expected = "\x20           predicted
                T-
            shirt/                                                      Ankle
true           top Trouser Pullover Dress Coat Sandal Shirt Sneaker Bag  boot
T-shirt/top    850       0        0   150    0      0     0       0   0     0
Trouser          0     850        0     0  150      0     0       0   0     0
Pullover         0       0      850     0    0    150     0       0   0     0
Dress            0       0        0   850    0      0   150       0   0     0
Coat             0       0        0     0  850      0     0     150   0     0
Sandal           0       0        0     0    0    850     0       0 150     0
Shirt            0       0        0     0    0      0   850       0   0   150
Sneaker        150       0        0     0    0      0     0     850   0     0
Bag              0     150        0     0    0      0     0       0 850     0
Ankle boot       0       0      150     0    0      0     0       0   0   850
";
        assert_eq!(text, expected);
        assert!(text.lines().all(|line| line.len() <= 80));
    }

    #[test]
    fn large_counts_widen_their_column_only() {
        let mut confusion = Confusion::new(["a", "b"]);
        confusion.add(&vec![1; 12_345], &vec![0; 12_345]);
        let expected = "     predicted\ntrue     a b\na        0 0\nb    12345 0\n";
        assert_eq!(confusion.to_string(), expected);
    }
}
