//! What a page shows of a network's predictions for the test samples: the confusion matrix, the figures of each
//! class, the mistakes, look-alikes and the calibration.

use super::picture::{Picture, inlined};
use crate::Result;
use crate::cli::evaluation::confusion;
use crate::cli::table::{count, grouped, percent};
use crate::data::Samples;
use crate::evaluate::reliability::reliability;
use crate::evaluate::{
    Calibration, ClassificationReport, Confusion, Scores, confused_pairs, look_alikes, mistakes,
};
use crate::names::shortened;

/// The most classes whose confusion matrix is a table; a larger one is a picture.
const TABLE_CLASSES: usize = 25;
/// Beyond this many classes, the headings of the columns stand upright.
const LEVEL_HEADINGS: usize = 6;
/// The most mistakes that are shown.
pub(super) const GALLERY: usize = 36;
/// The most pairs of classes that are listed, and of which look-alikes are shown.
const PAIRS: usize = 20;
const SHOWN_PAIRS: usize = 6;
/// Look-alikes of each class of a pair.
const ALIKE: usize = 6;

/// What a network says about samples.
pub(super) struct Answers<'a> {
    pub(super) samples: &'a Samples,
    /// The class of each; none for a sample that was given no class.
    pub(super) predictions: &'a [Option<u8>],
    /// `[n, outputs]`; none if the outputs are no probabilities. A single output is that of class 1.
    pub(super) probabilities: Option<&'a [f32]>,
}

impl Answers<'_> {
    /// The probability that sample `i` is of class `class`; NaN if there is none.
    fn chance(&self, i: usize, class: usize) -> f32 {
        let Some(all) = self.probabilities else { return f32::NAN };
        let outputs = all.len() / self.samples.len();
        match (outputs, class) {
            (1, 0) => 1.0 - all[i],
            (1, 1) => all[i],
            _ if class < outputs => all[i * outputs + class],
            _ => f32::NAN,
        }
    }

    /// The probability of the class that was predicted.
    fn confidence(&self, i: usize) -> f32 {
        self.predictions[i].map_or(f32::NAN, |class| self.chance(i, class.into()))
    }
}

/// The parts of a page about predictions.
pub(super) struct Judged {
    pub(super) samples: String,
    pub(super) accuracy: f64,
    pub(super) matrix: Matrix,
    pub(super) classes: Vec<ScoresRow>,
    pub(super) averages: Vec<ScoresRow>,
    pub(super) gallery: Gallery,
    pub(super) pairs: Pairs,
    pub(super) calibration: Option<CalibrationView>,
}

/// The confusion matrix.
pub(super) enum Matrix {
    /// With names and counts.
    Table { upright: bool, names: Vec<String>, has_unclassified: bool, rows: Vec<MatrixRow> },
    /// A pixel for each cell.
    Picture { source: String, classes: usize },
}

/// A true class.
pub(super) struct MatrixRow {
    pub(super) name: String,
    pub(super) cells: Vec<Cell>,
    pub(super) unclassified: u64,
}

/// How often it was predicted as a class.
pub(super) struct Cell {
    pub(super) count: u64,
    /// How strongly it is coloured, in percent.
    pub(super) heat: u32,
    pub(super) is_hit: bool,
}

/// Figures of a class, or averages.
pub(super) struct ScoresRow {
    pub(super) name: String,
    pub(super) precision: String,
    pub(super) recall: String,
    pub(super) f1: String,
    pub(super) support: String,
}

/// The mistakes, the most certain first.
pub(super) struct Gallery {
    pub(super) wrong: String,
    pub(super) share: String,
    /// What is not shown, if anything.
    pub(super) left_out: Option<String>,
    pub(super) has_probabilities: bool,
    pub(super) shown: Vec<Mistake>,
}

/// A sample that was classified wrongly.
pub(super) struct Mistake {
    pub(super) sample: SampleView,
    pub(super) predicted: String,
    /// Of the predicted class.
    pub(super) probability: Option<String>,
}

/// A sample of a class.
pub(super) struct SampleView {
    pub(super) number: usize,
    pub(super) class: String,
    pub(super) picture: Option<Picture>,
}

/// Classes that are taken for each other.
pub(super) struct Pairs {
    pub(super) listed: Vec<PairRow>,
    pub(super) left_out: usize,
    pub(super) shown: Vec<LookAlikes>,
}

/// A pair in the list.
pub(super) struct PairRow {
    pub(super) names: [String; 2],
    pub(super) mistaken: [String; 2],
    pub(super) total: String,
}

/// The samples of two classes that look most like the other one.
pub(super) struct LookAlikes {
    pub(super) names: [String; 2],
    pub(super) sides: [Vec<AlikeView>; 2],
}

/// A sample, and the probability of the other class.
pub(super) struct AlikeView {
    pub(super) sample: SampleView,
    pub(super) chance: String,
}

/// The reliability diagram.
pub(super) struct CalibrationView {
    pub(super) error: f64,
    pub(super) diagram: String,
    pub(super) left_out: usize,
    pub(super) bins: Vec<BinRow>,
}

/// A range of confidence.
pub(super) struct BinRow {
    pub(super) range: String,
    pub(super) samples: String,
    pub(super) confidence: String,
    pub(super) accuracy: String,
}

impl Judged {
    /// Judges the answers for at least one sample.
    ///
    /// # Errors
    /// As the drawing functions.
    pub(super) fn new(answers: &Answers<'_>) -> Result<Self> {
        let samples = answers.samples;
        let confusion = confusion(samples.class_names(), samples.labels(), answers.predictions);
        let names: Vec<String> = confusion.classes().iter().map(|name| shortened(name)).collect();
        let report = ClassificationReport::new(&confusion);
        let accuracy = Scores {
            name: "accuracy".to_owned(),
            precision: report.accuracy,
            recall: report.accuracy,
            f1: report.accuracy,
            support: report.macro_avg.support,
        };
        Ok(Self {
            samples: count_of(samples.len(), "test sample"),
            accuracy: report.accuracy,
            matrix: matrix(&confusion, &names)?,
            classes: report.classes.iter().map(ScoresRow::of).collect(),
            averages: vec![
                ScoresRow {
                    precision: String::new(),
                    recall: String::new(),
                    ..ScoresRow::of(&accuracy)
                },
                ScoresRow::of(&report.macro_avg),
                ScoresRow::of(&report.weighted_avg),
            ],
            gallery: gallery(answers, &names)?,
            pairs: pairs(answers, &confusion, &names)?,
            calibration: answers.probabilities.map(|_| calibration(answers)).transpose()?,
        })
    }
}

/// `10,000 test samples`
fn count_of(n: usize, what: &str) -> String {
    count(n, what).replacen(&n.to_string(), &grouped(n as u64), 1)
}

impl ScoresRow {
    fn of(scores: &Scores) -> Self {
        let Scores { name, precision, recall, f1, support } = scores;
        let [precision, recall, f1] = [precision, recall, f1].map(|score| format!("{score:.4}"));
        Self { name: shortened(name), precision, recall, f1, support: grouped(*support) }
    }
}

fn matrix(confusion: &Confusion, names: &[String]) -> Result<Matrix> {
    let classes = names.len();
    let heat = |label: usize, class: usize| {
        let share = confusion.count(label, class) as f64 / confusion.support(label).max(1) as f64;
        // Mistakes are few: the root tells them apart.
        if label == class { share } else { share.sqrt() }
    };
    if classes > TABLE_CLASSES {
        let cells = (0..classes).flat_map(|label| (0..classes).map(move |class| (label, class)));
        let pixels: Vec<u8> =
            cells.map(|(label, class)| 255 - (255.0 * heat(label, class)).round() as u8).collect();
        let source = Picture::png([classes, classes, 1], &pixels)?;
        return Ok(Matrix::Picture { source, classes });
    }
    let cell = |label, class| Cell {
        count: confusion.count(label, class),
        heat: (100.0 * heat(label, class)).round() as u32,
        is_hit: label == class,
    };
    let row = |(label, name): (usize, &String)| MatrixRow {
        name: name.clone(),
        cells: (0..classes).map(|class| cell(label, class)).collect(),
        unclassified: confusion.unclassified()[label],
    };
    Ok(Matrix::Table {
        upright: classes > LEVEL_HEADINGS,
        names: names.to_vec(),
        has_unclassified: confusion.unclassified().iter().any(|&count| count > 0),
        rows: names.iter().enumerate().map(row).collect(),
    })
}

fn sample(answers: &Answers<'_>, names: &[String], i: usize) -> Result<SampleView> {
    let class = usize::from(answers.samples.labels()[i]);
    let picture = Picture::of(answers.samples, i)?;
    Ok(SampleView { number: i, class: names[class].clone(), picture })
}

fn gallery(answers: &Answers<'_>, names: &[String]) -> Result<Gallery> {
    let samples = answers.samples;
    let confidences: Vec<f32> = (0..samples.len()).map(|i| answers.confidence(i)).collect();
    let wrong = mistakes(samples.labels(), answers.predictions, &confidences);
    let shown = wrong.iter().take(GALLERY).map(|&i| {
        let predicted = answers.predictions[i].map(usize::from);
        Ok(Mistake {
            sample: sample(answers, names, i)?,
            predicted: predicted.map_or("no class".to_owned(), |class| names[class].clone()),
            probability: chance(confidences[i]),
        })
    });
    Ok(Gallery {
        wrong: grouped(wrong.len() as u64),
        share: percent(wrong.len() as f64 / samples.len() as f64),
        left_out: wrong.len().checked_sub(GALLERY + 1).map(|n| grouped(n as u64 + 1)),
        has_probabilities: answers.probabilities.is_some(),
        shown: shown.collect::<Result<_>>()?,
    })
}

/// A probability; none if it is NaN.
fn chance(chance: f32) -> Option<String> {
    (!chance.is_nan()).then(|| format!("{chance:.4}"))
}

fn pairs(answers: &Answers<'_>, confusion: &Confusion, names: &[String]) -> Result<Pairs> {
    let all = confused_pairs(confusion);
    let named = |classes: [usize; 2]| classes.map(|class| names[class].clone());
    let listed = all.iter().take(PAIRS).map(|pair| PairRow {
        names: named(pair.classes),
        mistaken: pair.mistaken.map(grouped),
        total: grouped(pair.total()),
    });
    let mut shown = Vec::new();
    // Without probabilities nothing tells what looks alike.
    let most = if answers.probabilities.is_some() { SHOWN_PAIRS } else { 0 };
    for pair in all.iter().take(most) {
        let [a, b] = pair.classes;
        let side = |class: usize, other: usize| -> Result<Vec<AlikeView>> {
            let alike = look_alikes(answers.samples.labels(), class, |i| answers.chance(i, other));
            let view = |i: usize| {
                let chance = chance(answers.chance(i, other)).unwrap_or_default();
                Ok(AlikeView { sample: sample(answers, names, i)?, chance })
            };
            alike.into_iter().take(ALIKE).map(view).collect()
        };
        shown.push(LookAlikes { names: named(pair.classes), sides: [side(a, b)?, side(b, a)?] });
    }
    Ok(Pairs { listed: listed.collect(), left_out: all.len().saturating_sub(PAIRS), shown })
}

fn calibration(answers: &Answers<'_>) -> Result<CalibrationView> {
    let samples = 0..answers.samples.len();
    let confidences: Vec<f32> = samples.map(|i| answers.confidence(i)).collect();
    let labels = answers.samples.labels();
    let right: Vec<bool> =
        labels.iter().zip(answers.predictions).map(|(l, p)| Some(*l) == *p).collect();
    let measured = Calibration::measure(&confidences, &right, Calibration::BINS);
    let width = 1.0 / measured.bins.len() as f64;
    let row = |(bin, m): (&crate::evaluate::Bin, u32)| BinRow {
        range: format!("{:.3} - {:.3}", f64::from(m) * width, f64::from(m + 1) * width),
        samples: grouped(bin.samples as u64),
        confidence: format!("{:.4}", bin.confidence),
        accuracy: format!("{:.4}", bin.accuracy),
    };
    let text =
        format!("accuracy over confidence; the calibration error is {:.4}", measured.error());
    Ok(CalibrationView {
        error: measured.error(),
        diagram: inlined(&reliability(&measured)?, &text),
        left_out: measured.left_out,
        bins: measured.bins.iter().zip(0..).filter(|(bin, _)| bin.samples > 0).map(row).collect(),
    })
}
