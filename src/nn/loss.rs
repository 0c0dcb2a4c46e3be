//! Losses, computed from logits: the last layer stays linear, and the loss applies the softmax or the
//! sigmoid itself, which is exact where probabilities underflow, and saves a pass.

use serde::{Deserialize, Serialize};
use threadcount_kernels::{Activation, Team, activation, loss};

use crate::data::Shape;
use crate::data::Targets;
use crate::error::{Error, Result};
use crate::nn::model::Plan;

/// A loss function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// Cross-entropy of the softmax over all outputs with the label's class.
    SoftmaxCrossEntropy,
    /// Cross-entropy of the sigmoid of the one output with a label of 0 or 1.
    BinaryCrossEntropy,
    /// Mean over the outputs of the squared distance to the target values. The target values of a class are
    /// its one-hot vector, or its number if there is a single output.
    MeanSquaredError,
}

/// The results of one batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BatchResult {
    /// The sum of the samples' losses.
    pub loss_sum: f64,
    /// Samples whose class was predicted correctly; 0 if targets are values. A sample with an output that
    /// is NaN counts as wrong.
    pub correct: usize,
    /// Number of samples.
    pub count: usize,
}

/// The sum over several batches.
impl std::ops::AddAssign for BatchResult {
    fn add_assign(&mut self, other: Self) {
        self.loss_sum += other.loss_sum;
        self.correct += other.correct;
        self.count += other.count;
    }
}

impl BatchResult {
    /// Mean loss per sample.
    pub fn loss(&self) -> f64 {
        self.loss_sum / self.count as f64
    }

    /// Share of samples whose class was predicted correctly.
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.count as f64
    }
}

impl Loss {
    /// All of them.
    pub const ALL: [Self; 3] =
        [Self::SoftmaxCrossEntropy, Self::BinaryCrossEntropy, Self::MeanSquaredError];

    /// Checks that this loss works on the network's outputs.
    pub(crate) fn check(self, plan: &Plan) -> Result<()> {
        let output = plan.output();
        let Shape::Flat(outputs) = output else {
            return Err(Error::Usage(format!(
                "a network must end in a vector, not {output}: add flatten and dense"
            )));
        };
        let fits = match self {
            Self::SoftmaxCrossEntropy => outputs >= 2,
            Self::BinaryCrossEntropy => outputs == 1,
            Self::MeanSquaredError => true,
        };
        if !fits {
            let (wants, other) = match self {
                Self::BinaryCrossEntropy => ("one output", "softmax"),
                _ => ("two outputs or more", "binary"),
            };
            return Err(Error::Usage(format!(
                "this loss needs {wants}, the network has {outputs}: use {other} cross-entropy"
            )));
        }
        let last = plan.layers().last().map(|layer| layer.layer.activation());
        match (self, last) {
            (Self::MeanSquaredError, _) | (_, None | Some(Activation::Linear)) => Ok(()),
            (_, Some(activation)) => Err(Error::Usage(format!(
                "the loss applies the softmax or the sigmoid itself: make the last layer linear, not {activation:?}"
            ))),
        }
    }

    /// The number of valid labels with that many outputs: they are `0..labels`.
    pub(crate) fn labels(self, outputs: usize) -> usize {
        match (self, outputs) {
            (Self::BinaryCrossEntropy, _) => 2,
            (Self::MeanSquaredError, 1) => 256,
            _ => outputs,
        }
    }

    /// Losses and correct predictions of a batch, and the gradient of the mean loss with respect to
    /// `outputs` (`[n, width]`). `losses` is `[n]`; `room` is scratch of the size of `outputs`, or empty if
    /// [`Self::needs_targets`] is false. The caller has checked the targets. `smoothing` is the label
    /// smoothing of [`Objective`](crate::nn::Objective).
    pub(crate) fn apply(
        self,
        team: &Team,
        outputs: &[f32],
        (targets, smoothing): (Targets<'_>, f32),
        losses: &mut [f32],
        room: &mut [f32],
        gradient: &mut [f32],
    ) -> BatchResult {
        let width = outputs.len() / losses.len();
        match (self, targets) {
            (Self::SoftmaxCrossEntropy, Targets::Classes(labels)) => {
                let apply = loss::softmax_cross_entropy;
                apply(team, outputs, width, labels, smoothing, losses, gradient);
            }
            (Self::BinaryCrossEntropy, Targets::Classes(labels)) => {
                loss::binary_cross_entropy(team, outputs, labels, smoothing, losses, gradient);
            }
            (Self::MeanSquaredError, Targets::Classes(labels)) => {
                fill_targets(labels, room);
                loss::mean_squared_error(team, outputs, room, width, losses, gradient);
            }
            (Self::MeanSquaredError, Targets::Values(values)) => {
                loss::mean_squared_error(team, outputs, values, width, losses, gradient);
            }
            (_, Targets::Values(_)) => unreachable!("a loss of classes takes no values"),
        }
        self.result(losses, outputs, targets)
    }

    /// The sum of `losses`, and how many samples' outputs predict their label.
    pub(crate) fn result(
        self,
        losses: &[f32],
        outputs: &[f32],
        targets: Targets<'_>,
    ) -> BatchResult {
        let count = losses.len();
        let loss_sum = losses.iter().map(|&loss| f64::from(loss)).sum();
        let labels = match targets {
            Targets::Classes(labels) => labels,
            Targets::Values(_) => &[],
        };
        let rows = outputs.chunks_exact(outputs.len() / count).zip(labels);
        let correct = rows.filter(|&(row, &label)| self.class(row) == Some(label)).count();
        BatchResult { loss_sum, correct, count }
    }

    /// Checks that targets fit `n` samples of a network with that many outputs.
    ///
    /// # Errors
    /// [`Error::Mismatch`] that says what does not fit.
    pub(crate) fn check_targets(
        self,
        targets: Targets<'_>,
        n: usize,
        outputs: usize,
    ) -> Result<()> {
        if matches!(targets, Targets::Values(_)) && self != Self::MeanSquaredError {
            return Err(Error::Mismatch(format!(
                "{self:?} compares with classes, not with values: use the mean squared error"
            )));
        }
        targets.check(n, outputs, self.labels(outputs))
    }

    /// Whether [`Self::apply`] needs scratch for classes as target values.
    pub(crate) fn needs_targets(self) -> bool {
        self == Self::MeanSquaredError
    }

    /// The class that one sample's outputs predict. Of several outputs it is the index of the largest, and
    /// of equal ones the first. Of one logit it is 1 if the logit is above 0, which is a probability above
    /// a half. Of one output under squared errors it is the nearest whole number, and halfway the lower.
    /// `None` if an output is NaN, or if the number is not a class.
    ///
    /// This is the only rule: accuracies in training and in evaluation, and predicted classes, all come
    /// from here. It reads the outputs, not the probabilities: outputs that differ by little have equal
    /// probabilities after rounding.
    pub(crate) fn class(self, outputs: &[f32]) -> Option<u8> {
        let class = match (self, outputs) {
            (_, outputs) if outputs.iter().any(|output| output.is_nan()) => return None,
            (Self::MeanSquaredError, [number]) => {
                let class = (number - 0.5).ceil();
                return (0.0..256.0).contains(&class).then_some(class as u8);
            }
            (_, [logit]) => usize::from(*logit > 0.0),
            _ => first_maximum(outputs),
        };
        u8::try_from(class).ok()
    }

    /// The predictions of the outputs: softmax or sigmoid of logits, or the outputs themselves. `outputs`
    /// and `predictions` are `[n, width]`.
    pub(crate) fn predictions(
        self,
        team: &Team,
        outputs: &[f32],
        width: usize,
        predictions: &mut [f32],
    ) {
        match self {
            Self::SoftmaxCrossEntropy => loss::softmax(team, outputs, width, predictions),
            Self::BinaryCrossEntropy => {
                activation::forward(team, Activation::Sigmoid, outputs, predictions);
            }
            Self::MeanSquaredError => predictions.copy_from_slice(outputs),
        }
    }
}

/// Writes classes as target values for squared errors. `targets` has the size of the outputs.
pub(crate) fn fill_targets(labels: &[u8], targets: &mut [f32]) {
    let width = targets.len() / labels.len();
    for (row, &label) in targets.chunks_exact_mut(width).zip(labels) {
        match row {
            [only] => *only = f32::from(label),
            _ => {
                row.fill(0.0);
                row[usize::from(label)] = 1.0;
            }
        }
    }
}

/// The index of the first of the largest elements, none of which is NaN.
fn first_maximum(row: &[f32]) -> usize {
    let mut best = 0;
    for (index, &value) in row.iter().enumerate() {
        if value > row[best] {
            best = index;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f32 = f32::NAN;
    const INFINITY: f32 = f32::INFINITY;

    /// [`Loss::ALL`] has every loss that a file may name.
    #[test]
    fn all_are_all() {
        #[derive(Debug, Deserialize)]
        struct Held {
            loss: Loss,
        }
        let text = toml::from_str::<Held>("loss = \"no loss\"").unwrap_err().to_string();
        let (_, names) = text.split_once("expected one of ").unwrap();
        let names: Vec<&str> =
            names.trim().split(", ").map(|name| name.trim_matches('`')).collect();
        assert_eq!(names.len(), Loss::ALL.len(), "{text}");
        for (name, loss) in names.into_iter().zip(Loss::ALL) {
            let held: Held = toml::from_str(&format!("loss = {name:?}")).unwrap();
            assert_eq!(held.loss, loss);
        }
    }

    #[test]
    fn several_outputs_name_the_first_of_the_largest() {
        for loss in [Loss::SoftmaxCrossEntropy, Loss::MeanSquaredError] {
            assert_eq!(loss.class(&[1.0, 3.0, 3.0, 2.0]), Some(1));
            assert_eq!(loss.class(&[-INFINITY, -2.0]), Some(1));
            assert_eq!(loss.class(&[0.0, INFINITY, 5.0]), Some(1));
            // Equal as probabilities.
            assert_eq!(loss.class(&[1.0, 1.0 + f32::EPSILON]), Some(1));
            let mut many = vec![0.0; 300];
            many[255] = 1.0;
            assert_eq!(loss.class(&many), Some(255));
            many[299] = 2.0;
            assert_eq!(loss.class(&many), None, "no label is that large");
        }
    }

    #[test]
    fn one_logit_is_split_at_zero() {
        let class = |logit| Loss::BinaryCrossEntropy.class(&[logit]);
        assert_eq!([0.1, f32::MIN_POSITIVE, INFINITY].map(class), [Some(1); 3]);
        assert_eq!([0.0, -0.0, -0.1, -INFINITY].map(class), [Some(0); 4]);
    }

    #[test]
    fn one_number_names_the_nearest() {
        let class = |number| Loss::MeanSquaredError.class(&[number]);
        assert_eq!([-0.4, 0.0, 0.5].map(class), [Some(0); 3]);
        assert_eq!([0.6, 1.0, 1.5].map(class), [Some(1); 3]);
        assert_eq!([6.6, 7.4].map(class), [Some(7); 2]);
        assert_eq!([254.6, 255.5].map(class), [Some(255); 2]);
        assert_eq!([-0.5, -3.0, 255.6, 1e30, INFINITY, -INFINITY].map(class), [None; 6]);
    }

    #[test]
    fn what_is_no_number_is_no_class_and_no_hit() {
        for (loss, outputs) in [
            (Loss::SoftmaxCrossEntropy, &[NAN, 1.0, 0.0][..]),
            (Loss::SoftmaxCrossEntropy, &[0.0, 1.0, NAN]),
            (Loss::SoftmaxCrossEntropy, &[NAN, NAN]),
            (Loss::BinaryCrossEntropy, &[NAN]),
            (Loss::MeanSquaredError, &[NAN]),
            (Loss::MeanSquaredError, &[NAN, 1.0]),
        ] {
            assert_eq!(loss.class(outputs), None, "{loss:?}: {outputs:?}");
            for label in [0, 1, 2, 255] {
                let result = loss.result(&[NAN], outputs, Targets::Classes(&[label]));
                assert_eq!((result.correct, result.count), (0, 1), "{loss:?}: {outputs:?}");
            }
        }
    }
}
