//! The confusion matrix: how often each true class was predicted as each class.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Counts of (true class, predicted class), filled batch by batch.
///
/// `Display` prints a table with the true classes as rows and the predicted ones as columns; with
/// the ten Fashion-MNIST names it is 77 columns wide. Samples that were given no class have a column of
/// their own, if there are any.
///
/// ```
/// use threadcount::evaluate::Confusion;
/// let mut confusion = Confusion::new(["cat", "dog"]);
/// confusion.add(&[0, 0, 1], &[Some(0), Some(1), Some(1)]);
/// assert_eq!(confusion.count(0, 1), 1);
/// assert_eq!(confusion.correct(), 2);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    classes: Vec<String>,
    /// `[true class, predicted class]`, row-major.
    counts: Vec<u64>,
    /// For each true class, the number of samples that were given none of the classes.
    unclassified: Vec<u64>,
}

impl Confusion {
    /// An empty matrix over the named classes, label 0 first.
    pub fn new<N: Into<String>>(classes: impl IntoIterator<Item = N>) -> Self {
        let classes: Vec<String> = classes.into_iter().map(Into::into).collect();
        let counts = vec![0; classes.len() * classes.len()];
        let unclassified = vec![0; classes.len()];
        Self { classes, counts, unclassified }
    }

    /// Counts one batch: `predictions[i]` was predicted for a sample of class `labels[i]`. A prediction that
    /// is none of the classes counts as wrong, and as [`Self::unclassified`].
    ///
    /// # Panics
    /// If the two lengths differ, or a label is not below the number of classes.
    pub fn add(&mut self, labels: &[u8], predictions: &[Option<u8>]) {
        assert_eq!(labels.len(), predictions.len(), "one prediction per label");
        let classes = self.classes.len();
        for (&label, &prediction) in labels.iter().zip(predictions) {
            let label = usize::from(label);
            assert!(label < classes, "label {label} of {classes} classes");
            match prediction.map(usize::from).filter(|&prediction| prediction < classes) {
                Some(prediction) => self.counts[label * classes + prediction] += 1,
                None => self.unclassified[label] += 1,
            }
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

    /// What the samples of class `label` were predicted as: one count per predicted class. Those that were
    /// given none are not among them.
    ///
    /// # Panics
    /// If `label` is not below the number of classes.
    pub fn row(&self, label: usize) -> &[u64] {
        let classes = self.classes.len();
        &self.counts[label * classes..][..classes]
    }

    /// For each true class, the number of samples that were given none of the classes.
    pub fn unclassified(&self) -> &[u64] {
        &self.unclassified
    }

    /// The number of samples of class `label`.
    ///
    /// # Panics
    /// If it is not below the number of classes.
    pub fn support(&self, label: usize) -> u64 {
        self.row(label).iter().sum::<u64>() + self.unclassified[label]
    }

    /// The number of samples counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().chain(&self.unclassified).sum()
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
        let classes = self.classes.len();
        let mut columns: Vec<Column> = (0..classes)
            .map(|class| {
                Column::new(&self.classes[class], (0..classes).map(|l| self.count(l, class)))
            })
            .collect();
        if self.unclassified.iter().any(|&count| count > 0) {
            columns.push(Column::new("no class", self.unclassified.iter().copied()));
        }
        let names = self.classes.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let names = names.max("true".len());
        let heading = columns.iter().map(|column| column.heading.len()).max().unwrap_or(0);

        writeln!(f, "{:names$} predicted", "")?;
        for line in 0..heading {
            let corner = if line + 1 == heading { "true" } else { "" };
            let mut text = format!("{corner:names$}");
            for Column { heading: pieces, width, .. } in &columns {
                // Headings end on the same line, next to the counts.
                let piece = (line + pieces.len()).checked_sub(heading).map_or("", |i| &pieces[i]);
                text += &format!(" {piece:>width$}");
            }
            writeln!(f, "{}", text.trim_end())?;
        }
        for (label, name) in self.classes.iter().enumerate() {
            write!(f, "{name:names$}")?;
            for Column { width, counts, .. } in &columns {
                write!(f, " {:>width$}", counts[label])?;
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
    /// For each true class.
    counts: Vec<u64>,
}

impl Column {
    fn new(name: &str, counts: impl Iterator<Item = u64>) -> Self {
        let counts: Vec<u64> = counts.collect();
        let pieces = pieces(name);
        let longest = pieces.iter().map(|piece| length(piece)).max().unwrap_or(0);
        let digits = counts.iter().map(|count| count.to_string().len()).max().unwrap_or(0);
        let width = digits.max(longest);

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
        Self { heading, width, counts }
    }
}

/// How wide a piece is at the end of a line, where its trailing blank does not show.
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
        confusion.add(&[2, 0, 2, 2], &[0, 0, 2, 2].map(Some));
        confusion.add(&[0, 1], &[0, 2].map(Some));
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
    fn what_is_no_class_is_wrong_and_seen() {
        let mut confusion = Confusion::new(["a", "b"]);
        confusion.add(&[0, 0, 1, 1, 1], &[Some(0), None, Some(2), None, Some(1)]);
        assert_eq!([confusion.row(0), confusion.row(1)], [[1, 0], [0, 1]]);
        assert_eq!(confusion.unclassified(), [1, 2]);
        assert_eq!([confusion.support(0), confusion.support(1)], [2, 3]);
        assert_eq!((confusion.correct(), confusion.total()), (2, 5));
        assert_eq!(confusion.accuracy(), 0.4);
        let expected =
            "     predicted\n            no\ntrue a b class\na    1 0     1\nb    0 1     2\n";
        assert_eq!(confusion.to_string(), expected);
    }

    #[test]
    #[should_panic(expected = "label 2 of 2 classes")]
    fn a_label_outside_the_classes_is_refused() {
        Confusion::new(["a", "b"]).add(&[2], &[Some(0)]);
    }

    #[test]
    fn ten_classes_fit_eighty_columns() {
        let mut confusion = Confusion::new(CLASS_NAMES);
        for class in 0..10 {
            confusion.add(&[class; 850], &[Some(class); 850]);
            confusion.add(&[class; 150], &[Some((class + 3) % 10); 150]);
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
        confusion.add(&vec![1; 12_345], &vec![Some(0); 12_345]);
        let expected = "     predicted\ntrue     a b\na        0 0\nb    12345 0\n";
        assert_eq!(confusion.to_string(), expected);
    }
}
