//! Precision, recall and F1 of every class, in the layout of scikit-learn's
//! `classification_report`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Confusion;
use super::confusion::share;

/// The quality of a classifier, class by class and averaged.
///
/// `Display` prints the table that scikit-learn prints; `{:.4}` asks for four decimals in place of
/// two.
///
/// ```
/// use threadcount::evaluate::{ClassificationReport, Confusion};
/// let mut confusion = Confusion::new(["cat", "dog"]);
/// confusion.add(&[0, 0, 1], &[Some(0), Some(1), Some(1)]);
/// let report = ClassificationReport::new(&confusion);
/// assert_eq!(report.classes[1].precision, 0.5);
/// println!("{report}");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassificationReport {
    /// One row per class, label 0 first.
    pub classes: Vec<Scores>,
    /// The share of correct predictions.
    pub accuracy: f64,
    /// The mean over the classes that occur, in truth or as a prediction, each counting the same.
    pub macro_avg: Scores,
    /// The mean over the classes, each counting as often as it occurs.
    pub weighted_avg: Scores,
}

/// One row of a [`ClassificationReport`]. A ratio with nothing to divide by is 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// The class, or what the row averages.
    pub name: String,
    /// Of the samples predicted as this class, the share that is of this class.
    pub precision: f64,
    /// Of the samples of this class, the share predicted as it: the accuracy within the class.
    pub recall: f64,
    /// The harmonic mean of precision and recall.
    pub f1: f64,
    /// The number of samples of this class.
    pub support: u64,
}

impl ClassificationReport {
    /// Scores every class of a confusion matrix. The macro average is over the classes that occur, in truth
    /// or as a prediction, as in scikit-learn without `labels`.
    pub fn new(confusion: &Confusion) -> Self {
        let names = confusion.classes();
        let mut occurring = Vec::with_capacity(names.len());
        let classes: Vec<Scores> = (0..names.len())
            .map(|class| {
                let hits = confusion.count(class, class);
                let support = confusion.support(class);
                let predicted: u64 =
                    (0..names.len()).map(|label| confusion.count(label, class)).sum();
                occurring.push(support + predicted > 0);
                Scores {
                    name: names[class].clone(),
                    precision: share(hits, predicted),
                    recall: share(hits, support),
                    // 2PR / (P + R) with both written out: no 0/0 when only one of them is 0.
                    f1: share(2 * hits, support + predicted),
                    support,
                }
            })
            .collect();
        let macro_avg = average("macro avg", &classes, |class, _| u64::from(occurring[class]));
        let weighted_avg = average("weighted avg", &classes, |_, scores| scores.support);
        Self { classes, accuracy: confusion.accuracy(), macro_avg, weighted_avg }
    }
}

fn average(name: &str, classes: &[Scores], weight: impl Fn(usize, &Scores) -> u64) -> Scores {
    // Without classes or samples every product below is 0, and so is the average.
    let weights: Vec<_> = classes.iter().enumerate().map(|(i, class)| weight(i, class)).collect();
    let whole = weights.iter().sum::<u64>().max(1) as f64;
    let mean = |score: fn(&Scores) -> f64| {
        let weighted =
            classes.iter().zip(&weights).map(|(class, &weight)| score(class) * weight as f64);
        weighted.sum::<f64>() / whole
    };
    Scores {
        name: name.to_owned(),
        precision: mean(|class| class.precision),
        recall: mean(|class| class.recall),
        f1: mean(|class| class.f1),
        support: classes.iter().map(|class| class.support).sum(),
    }
}

impl fmt::Display for ClassificationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        let averages = [&self.macro_avg, &self.weighted_avg];
        let rows = || self.classes.iter().chain(averages);
        let names = rows().map(|row| row.name.chars().count()).max().unwrap_or(0);

        let row = |f: &mut fmt::Formatter<'_>, row: &Scores| {
            let Scores { name, precision, recall, f1, support } = row;
            write!(f, "{name:>names$}  {precision:>9.digits$} {recall:>9.digits$}")?;
            writeln!(f, " {f1:>9.digits$} {support:>9}")
        };
        writeln!(f, "{:names$}  precision    recall  f1-score   support\n", "")?;
        for class in &self.classes {
            row(f, class)?;
        }
        let (accuracy, support) = (self.accuracy, self.macro_avg.support);
        writeln!(f, "\n{:>names$}  {:19} {accuracy:>9.digits$} {support:>9}", "accuracy", "")?;
        averages.iter().try_for_each(|average| row(f, average))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::CLASS_NAMES;

    fn report(classes: &[&str], labels: &[u8], predictions: &[u8]) -> ClassificationReport {
        let mut confusion = Confusion::new(classes.iter().copied());
        let predictions: Vec<Option<u8>> = predictions.iter().copied().map(Some).collect();
        confusion.add(labels, &predictions);
        ClassificationReport::new(&confusion)
    }

    // Expected texts and values: scikit-learn 1.9.1, classification_report(labels,
    // predictions, labels=range(classes), target_names=names, zero_division=0).
    #[test]
    fn ten_classes_as_scikit_learn_prints_them() {
        let labels: Vec<u8> = (0..997).map(|i| (i * i / 7 % 10) as u8).collect();
        let wrong = |i: usize| if i % 10 < 8 { 0 } else { 1 + i % 4 };
        let predictions: Vec<u8> =
            labels.iter().enumerate().map(|(i, &label)| (label + wrong(i) as u8) % 10).collect();
        let report = report(&CLASS_NAMES, &labels, &predictions);
        let expected = "\x20             precision    recall  f1-score   support

 T-shirt/top       0.83      0.57      0.68       130
     Trouser       0.75      0.75      0.75       114
    Pullover       0.78      0.88      0.83       114
       Dress       0.54      0.75      0.63        57
        Coat       0.86      1.00      0.92        86
      Sandal       0.82      1.00      0.90       127
       Shirt       1.00      0.75      0.86       113
     Sneaker       0.80      0.75      0.78       114
         Bag       1.00      1.00      1.00        57
  Ankle boot       0.67      0.66      0.66        85

    accuracy                           0.80       997
   macro avg       0.81      0.81      0.80       997
weighted avg       0.81      0.80      0.80       997
";
        assert_eq!(report.to_string(), expected);
        let close = |measured: f64, expected: f64| assert!((measured - expected).abs() < 1e-15);
        close(report.classes[6].f1, 0.8585858585858586);
        close(report.macro_avg.precision, 0.8058986684139541);
        close(report.macro_avg.f1, 0.8008525685057558);
        close(report.weighted_avg.precision, 0.8126788524499707);
        close(report.weighted_avg.f1, 0.798876451161162);
    }

    #[test]
    fn classes_never_seen_or_never_predicted_score_zero() {
        let report = report(&["a", "b", "c", "d"], &[0, 0, 0, 1, 1, 3], &[0, 0, 1, 1, 0, 2]);
        let expected = "\x20             precision    recall  f1-score   support

           a     0.6667    0.6667    0.6667         3
           b     0.5000    0.5000    0.5000         2
           c     0.0000    0.0000    0.0000         0
           d     0.0000    0.0000    0.0000         1

    accuracy                         0.5000         6
   macro avg     0.2917    0.2917    0.2917         6
weighted avg     0.5000    0.5000    0.5000         6
";
        assert_eq!(format!("{report:.4}"), expected);
    }

    /// As scikit-learn's classification_report without `labels`: a class that does not occur is left out of
    /// the average, one that is only predicted is not.
    #[test]
    fn classes_that_are_nowhere_are_not_averaged_over() {
        let labels = [0, 0, 0, 1, 1, 3];
        let predictions = [0, 0, 1, 1, 0, 2];
        let four = ["a", "b", "c", "d"];
        let ten = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        let (few, many) =
            (report(&four, &labels, &predictions), report(&ten, &labels, &predictions));
        assert_eq!((&many.macro_avg, &many.weighted_avg), (&few.macro_avg, &few.weighted_avg));
        // (2/3 + 1/2 + 0 + 0) / 4, whatever else has a name.
        assert_eq!(many.macro_avg.precision, (2.0 / 3.0 + 0.5) / 4.0);
        // 294 of 295 right, of three classes in ten.
        let labels: Vec<u8> = (0..295).map(|i| i % 3).map(|i| i as u8).collect();
        let mut predictions = labels.clone();
        predictions[0] = 1;
        let Scores { precision, recall, f1, .. } = report(&ten, &labels, &predictions).macro_avg;
        let share = (98.0 / 99.0 + 2.0) / 3.0;
        // Class 0 has 99 samples, class 1 98.
        for (measured, expected) in
            [(precision, share), (recall, share), (f1, (2.0 * 196.0 / 197.0 + 1.0) / 3.0)]
        {
            assert!((measured - expected).abs() < 1e-15, "{measured} {expected}");
        }
    }

    #[test]
    fn scores_by_hand() {
        let report = report(&["a", "b"], &[0, 0, 0, 1], &[0, 0, 1, 1]);
        let Scores { precision, recall, f1, support, .. } = report.classes[0];
        assert_eq!((precision, recall, support), (1.0, 2.0 / 3.0, 3));
        assert_eq!(f1, 0.8); // 2 * 1 * 2/3 / (1 + 2/3)
        let Scores { precision, recall, f1, support, .. } = report.classes[1];
        assert_eq!((precision, recall, f1, support), (0.5, 1.0, 2.0 / 3.0, 1));
        assert_eq!(report.accuracy, 0.75);
        assert_eq!(report.macro_avg.precision, 0.75);
        assert_eq!(report.weighted_avg.precision, 0.875);
        assert_eq!(report.weighted_avg.recall, report.accuracy);
    }

    /// They count as samples of their class that were not found.
    #[test]
    fn samples_without_a_class_lower_the_recall() {
        let mut confusion = Confusion::new(["a", "b"]);
        confusion.add(&[0, 0, 0, 1], &[Some(0), None, None, Some(1)]);
        let report = ClassificationReport::new(&confusion);
        let Scores { precision, recall, f1, support, .. } = report.classes[0];
        assert_eq!((precision, recall, f1, support), (1.0, 1.0 / 3.0, 0.5, 3));
        assert_eq!((report.accuracy, report.weighted_avg.support), (0.5, 4));
    }

    #[test]
    fn nothing_counted_is_all_zero() {
        let report = report(&["a", "b"], &[], &[]);
        assert_eq!((report.accuracy, report.macro_avg.f1, report.weighted_avg.f1), (0.0, 0.0, 0.0));
        assert!(report.to_string().lines().count() == 8);
    }

    #[test]
    fn json_and_back() {
        let report = report(&["a", "b"], &[0, 0, 0, 1], &[0, 0, 1, 1]);
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<ClassificationReport>(&json).unwrap(), report);
    }
}
