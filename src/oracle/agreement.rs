//! Whether a network's step agrees with its twin's.
//!
//! The parameters after a step cannot be compared directly: Adam and RMSprop divide a gradient by its own
//! size, so a gradient that is 0 except for rounding moves its parameter by the whole learning rate, in
//! either direction. The two halves of a step can be compared. The **gradients** are those of the twin
//! within rounding. And from a network's own gradients, everything that the optimizer changes (the
//! parameters and its buffers) **follows** by the twin's formula, again within rounding.

use threadcount_kernels::Team;

use super::{NaiveNetwork, memory_of};
use crate::nn::{BatchKey, BatchResult, Network, Targets, Tensor};
use crate::{Error, Result};

/// The tolerance for the tensor that is closest to its twin, as a share of the tolerance for the others. If
/// rounding opens a ReLU in only one of the two networks, the gradients of its layer and of the layers
/// below change, but not those above. A fault in all tensors alike, such as a wrong factor, shows in the
/// closest tensor too.
const CLOSEST: f64 = 0.05;
/// The rounding error allowed in any tensor, as a share of all tensors together: a tensor with a gradient
/// of 0, such as a bias that batch normalisation subtracts again, holds nothing else.
const FLOOR: f64 = 1e-6;
/// The rounding error of f32 allowed in a change by the optimizer's formula, as a share of the change.
const FORMULA: f64 = 1e-5;
/// The same as a share of the numbers that change: a few roundings of each.
const ROUNDING: f64 = 4.0 * f32::EPSILON as f64;

/// `Ok`, or the difference in words.
type Agreement = std::result::Result<(), String>;

/// The arguments of [`Network::train_steps`].
#[derive(Clone, Copy, Debug)]
pub struct Batches<'a> {
    /// `[n, input]`
    pub x: &'a [f32],
    /// The targets of the `n` samples.
    pub targets: Targets<'a>,
    /// Samples of one step.
    pub size: usize,
    /// The key of the first batch.
    pub key: BatchKey,
}

/// One call of [`Network::train_steps`], and its results.
#[derive(Clone, Debug)]
pub struct Step {
    /// The network before it.
    pub start: Network,
    /// The gradients of [`Network::gradients`] before the step; `None` if the call makes several steps.
    pub gradients: Option<Vec<f32>>,
    /// The network after it.
    pub end: Network,
    /// Loss and correct predictions.
    pub result: BatchResult,
}

impl Step {
    /// Makes the step.
    ///
    /// # Errors
    /// As [`Network::train_steps`].
    pub fn make(team: &Team, start: Network, batches: Batches<'_>) -> Result<Self> {
        let Batches { x, targets, size, key } = batches;
        let is_one = x.len() <= size * start.plan().input().len();
        let gradients = match is_one {
            true => {
                let mut apart = start.clone();
                apart.gradients(team, x, targets, key)?;
                Some(apart.grads().to_vec())
            }
            false => None,
        };
        let mut end = start.clone();
        let result = end.train_steps(team, x, targets, size, key)?;
        Ok(Self { start, gradients, end, result })
    }
}

impl NaiveNetwork {
    /// Makes the steps of this twin's last call with `network`, and compares the two. Before these steps,
    /// both must be in the same state, or in states that the same steps led to.
    ///
    /// # Errors
    /// [`Error::Failed`] if they differ, as [`Self::agrees_with`] says; the errors of
    /// [`Network::train_steps`].
    pub fn check_step(
        &self,
        team: &Team,
        network: &mut Network,
        batches: Batches<'_>,
        tolerance: f64,
    ) -> Result<()> {
        let step = Step::make(team, network.clone(), batches)?;
        self.agrees_with(&step, tolerance).map_err(Error::Failed)?;
        *network = step.end;
        Ok(())
    }

    /// Compares the last call of [`Self::train_steps`] with a network's. The losses must be the same. The
    /// gradient of each tensor may differ by `tolerance` at most, as a share of its size, and the closest
    /// one by a twentieth of that. Parameters and the optimizer's buffers must follow from the network's
    /// gradients. Moving statistics must have changed alike, within `tolerance`.
    ///
    /// A call with several steps rounds differently from single steps. There the change of the parameters
    /// is compared instead of the gradient. Only plain gradient descent makes several steps at once, and
    /// for it the two are equivalent.
    ///
    /// Rounding in another order changes about 1e-6 of a gradient, a fault about 1. Chance lies in between:
    /// a ReLU whose input is within rounding of 0 may open in only one of the two networks, which changes
    /// some hundredths of a gradient.
    ///
    /// # Errors
    /// The first difference, in words.
    pub fn agrees_with(&self, step: &Step, tolerance: f64) -> Agreement {
        let Step { start, gradients, end, result } = step;
        same_loss(*result, self.last.result)?;
        let (steps, expected) = (end.optimizer_steps(), self.steps);
        if steps != expected {
            return Err(format!("it counts {steps} steps, its twin {expected}"));
        }
        let params = self.plan.params();
        match gradients {
            Some(gradients) => {
                let zero = vec![0.0; gradients.len()];
                let expected = [&zero, &self.grads[..]];
                same_change("gradient", params, [&zero, gradients], expected, tolerance)?;
                self.follows(start, gradients, end)?;
            }
            None => {
                let expected = [&self.last.params, &self.params[..]];
                let actual = [start.params(), end.params()];
                same_change("change", params, actual, expected, tolerance)?;
            }
        }
        let expected = [&self.last.state, &self.state[..]];
        same_change("change", self.plan.state(), [start.state(), end.state()], expected, tolerance)
    }

    /// Whether the optimizer's formula leads from start to end.
    fn follows(&self, start: &Network, gradients: &[f32], end: &Network) -> Agreement {
        let (mut params, mut memory) = (start.params().to_vec(), memory_of(start));
        self.follow(gradients, &mut params, &mut memory);
        self.near("", start.params(), end.params(), &params)?;
        let [before, after] = [start, end].map(memory_of);
        let names = self.optimizer.buffers().iter();
        for (((name, before), after), expected) in names.zip(before).zip(after).zip(memory) {
            self.near(&format!("{name} of "), &before, &after, &expected)?;
        }
        Ok(())
    }

    /// Whether each tensor of one kind is where it should be, within rounding.
    fn near(&self, kind: &str, before: &[f32], after: &[f32], expected: &[f32]) -> Agreement {
        for Tensor { name, range, .. } in self.plan.params() {
            let [before, after, expected] =
                [before, after, expected].map(|values| &values[range.clone()]);
            let apart = norm(differences([expected, after]));
            let way = norm(differences([before, expected]));
            let is_near = apart <= FORMULA * way + ROUNDING * size(expected);
            if !is_near {
                return Err(format!(
                    "{kind}{name} ended {apart:.1e} from where a step of {way:.1e} leads by its gradients"
                ));
            }
        }
        Ok(())
    }
}

/// Whether all tensors change alike from one state to another, and at least one of them very closely.
fn same_change(
    what: &str,
    tensors: &[Tensor],
    actual: [&[f32]; 2],
    expected: [&[f32]; 2],
    tolerance: f64,
) -> Agreement {
    let floor = FLOOR * norm(differences(expected));
    let mut closest: Option<(f64, &str)> = None;
    for Tensor { name, range, .. } in tensors {
        let [actual, expected] = [actual, expected].map(|states| states.map(|s| &s[range.clone()]));
        let pairs = differences(actual).zip(differences(expected));
        let (apart, way) = (norm(pairs.map(|(a, b)| a - b)), norm(differences(expected)));
        let rounding = floor + ROUNDING * size(expected[0]);
        let is_near = apart <= tolerance * way + rounding;
        if !is_near {
            return Err(format!("{name}: its {what} is {apart:.1e} from its twin's of {way:.1e}"));
        }
        let share = (apart - rounding).max(0.0) / way;
        // A tensor that is little more than rounding does not count as the closest.
        if way > 100.0 * rounding && closest.is_none_or(|(least, _)| share < least) {
            closest = Some((share, name));
        }
    }
    match closest {
        Some((share, name)) if share > CLOSEST * tolerance => Err(format!(
            "no {what} is close to its twin's: the closest, of {name}, differs by {share:.1e} of its size"
        )),
        _ => Ok(()),
    }
}

/// Whether two results of the same steps have the same loss.
fn same_loss(network: BatchResult, twin: BatchResult) -> Agreement {
    let (loss, expected) = (network.loss(), twin.loss());
    match (loss - expected).abs() <= 1e-5 * expected.abs().max(1e-2) {
        true => Ok(()),
        false => Err(format!("the loss is {loss}, its twin says {expected}")),
    }
}

/// The differences from one state to another.
fn differences([before, after]: [&[f32]; 2]) -> impl Iterator<Item = f64> {
    before.iter().zip(after).map(|(&before, &after)| f64::from(after) - f64::from(before))
}

fn size(values: &[f32]) -> f64 {
    norm(values.iter().map(|&value| f64::from(value)))
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}
