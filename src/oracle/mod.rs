//! The oracle: the twin of a whole [`Network`]. The kernels' plain-loop twins compute every layer, the loss
//! and the optimizer's step, one after the other on one thread. Networks are tested against it, whatever
//! they fuse, and recipes' speeds are compared with its speed. It uses plans, and nothing of how networks
//! run them.

mod agreement;

pub use agreement::{Batches, Step};

use std::borrow::Cow;

use threadcount_kernels::update::{Decay, Moving};
use threadcount_kernels::{Activation, Isa, Team, naive};

use crate::nn::{
    Backward, BatchKey, BatchResult, Buffers, Forward, Gradient, InputGradient, Loss, Mode,
    Network, Objective, Optimizer, Params, Plan, PlannedLayer, Position, Saved, Targets, Twin,
    UnitLaps, fill_targets,
};
use crate::random::{Key, Purpose};
use crate::{Error, Result};

/// What one layer leaves behind.
struct Pass {
    y: Vec<f32>,
    kept: Vec<f32>,
    winners: Vec<u8>,
}

/// A layer's twin.
fn twin(planned: &PlannedLayer) -> &dyn Twin {
    planned.layer.twin().expect("the network was made of layers that have one")
}

/// A network computed by the naive twins.
#[derive(Clone, Debug)]
pub struct NaiveNetwork {
    plan: Plan,
    objective: Objective,
    clip_norm: Option<f32>,
    optimizer: Optimizer,
    /// Optimizer steps done.
    steps: u64,
    seed: u64,
    params: Vec<f32>,
    grads: Vec<f32>,
    state: Vec<f32>,
    /// The optimizer's buffers, in the order of their names in `Optimizer::buffers`.
    buffers: Vec<Vec<f32>>,
    last: Call,
}

/// The last call of [`NaiveNetwork::train_steps`].
#[derive(Clone, Debug)]
struct Call {
    /// Parameters and moving statistics before it.
    params: Vec<f32>,
    state: Vec<f32>,
    result: BatchResult,
}

impl NaiveNetwork {
    /// The twin of a network in its current state. `seed` is the one that the network was built with:
    /// dropout masks depend on it.
    ///
    /// # Errors
    /// [`Error::Failed`] if a layer has no [`LayerKind::twin`](crate::nn::LayerKind::twin).
    pub fn of(network: &Network, seed: u64) -> Result<Self> {
        let plan = network.plan().clone();
        if let Some(layer) = plan.layers().iter().find(|layer| layer.layer.twin().is_none()) {
            let name = &layer.name;
            return Err(Error::Failed(format!("layer {name} has no naive twin to compare with")));
        }
        let (params, state) = (network.params().to_vec(), network.state().to_vec());
        Ok(Self {
            objective: network.objective(),
            clip_norm: network.clip_norm(),
            optimizer: network.optimizer(),
            steps: network.optimizer_steps(),
            seed,
            grads: vec![0.0; params.len()],
            buffers: memory_of(network),
            last: Call {
                params: params.clone(),
                state: state.clone(),
                result: BatchResult::default(),
            },
            params,
            state,
            plan,
        })
    }

    /// All parameters, in the order of [`Network::params`].
    pub fn params(&self) -> &[f32] {
        &self.params
    }

    /// All moving statistics, in the order of [`Network::state`].
    pub fn state(&self) -> &[f32] {
        &self.state
    }

    /// One step of the optimizer on the mean loss of a batch: `x` is `[n, input]`, with `n` targets. The
    /// result is for the parameters before the step.
    ///
    /// # Panics
    /// If `x` or `targets` do not fit the network.
    pub fn train_batch<'t>(
        &mut self,
        x: &[f32],
        targets: impl Into<Targets<'t>>,
        key: BatchKey,
    ) -> BatchResult {
        let n = x.len() / self.plan.input().len();
        self.train_steps(x, targets, n, key)
    }

    fn step(&mut self, x: &[f32], targets: Targets<'_>, key: BatchKey) -> BatchResult {
        let n = x.len() / self.plan.input().len();
        let dropout = Key::new(self.seed, Purpose::Dropout).with(key.epoch);
        let is_still: Vec<bool> =
            self.plan.layers().iter().map(|l| l.frozen && !l.state.is_empty()).collect();
        let mode = |index: usize| match is_still[index] {
            true => Mode::Evaluate,
            false => Mode::Train {
                key: dropout.with(index as u64).bits(),
                first_sample: key.first_sample,
            },
        };
        let mut passes = self.forward(x, mode);
        let outputs = passes.last().map_or(x, |pass| &pass.y);
        let (mut result, mut dy) = compare(self.objective, outputs, targets, n);
        result.loss_sum += self.penalty() * n as f64;
        for (index, planned) in self.plan.layers().iter().enumerate().rev() {
            let (below, this) = passes.split_at_mut(index);
            let Pass { y, kept, winners } = &mut this[0];
            let position = self.plan.position(index);
            let needs_dx = planned.buffers == Buffers::Apart
                && (position == Position::Inner || planned.input_gradient == InputGradient::Always);
            let mut dx = vec![f32::NAN; if needs_dx { n * planned.input.len() } else { 0 }];
            if planned.buffers != Buffers::Reshape {
                twin(planned).naive_backward(Backward {
                    team: &Team::solo(Isa::Portable),
                    mode: mode(index),
                    input: planned.input,
                    params: Params::Fixed(&self.params[planned.params.clone()]),
                    grads: &mut self.grads[planned.params.clone()],
                    x: below.last().map_or(x, |pass| &pass.y),
                    y,
                    kept,
                    winners,
                    dy: &mut dy,
                    dy_is: Gradient::OfOutput,
                    dx: needs_dx.then_some(&mut dx[..]),
                    below: Activation::Linear,
                    laps: UnitLaps::NONE,
                });
            }
            if planned.frozen {
                self.grads[planned.params.clone()].fill(0.0);
            }
            if planned.buffers == Buffers::Apart {
                if position == Position::First {
                    break;
                }
                dy = dx;
            }
        }
        self.update();
        result
    }

    /// All layers in turn.
    fn forward(&mut self, x: &[f32], mode: impl Fn(usize) -> Mode) -> Vec<Pass> {
        let n = x.len() / self.plan.input().len();
        let mut passes: Vec<Pass> = Vec::new();
        for (index, planned) in self.plan.layers().iter().enumerate() {
            let x = passes.last().map_or(x, |pass| &pass.y);
            let mut pass = Pass {
                y: vec![f32::NAN; n * planned.output.len()],
                kept: vec![f32::NAN; planned.kept.floats(n)],
                winners: vec![0; planned.kept.winners * n],
            };
            match planned.buffers {
                Buffers::Reshape => pass.y.copy_from_slice(x),
                _ => twin(planned).naive_forward(Forward {
                    team: &Team::solo(Isa::Portable),
                    mode: mode(index),
                    input: planned.input,
                    params: &self.params[planned.params.clone()],
                    state: &mut self.state[planned.state.clone()],
                    x,
                    y: &mut pass.y,
                    kept: &mut pass.kept,
                    winners: &mut pass.winners,
                }),
            }
            passes.push(pass);
        }
        passes
    }

    /// As [`Self::train_batch`] for each `batch_size` samples in turn. `key` is that of the first batch.
    /// The result is the sum over the batches.
    ///
    /// # Panics
    /// As [`Self::train_batch`].
    pub fn train_steps<'t>(
        &mut self,
        x: &[f32],
        targets: impl Into<Targets<'t>>,
        batch_size: usize,
        key: BatchKey,
    ) -> BatchResult {
        let (inputs, outputs) = (self.plan.input().len(), self.plan.output().len());
        let (targets, samples) = (targets.into(), x.len() / inputs);
        self.last.params.copy_from_slice(&self.params);
        self.last.state.copy_from_slice(&self.state);
        let mut sum = BatchResult::default();
        for first in (0..samples).step_by(batch_size) {
            let batch = first..samples.min(first + batch_size);
            let x = &x[batch.start * inputs..batch.end * inputs];
            let key = BatchKey { first_sample: key.first_sample + first as u64, ..key };
            sum += self.step(x, targets.of(batch, outputs), key);
        }
        self.last.result = sum;
        sum
    }

    fn update(&mut self) {
        self.steps = self.steps.saturating_add(1);
        let mut params = std::mem::take(&mut self.params);
        let mut buffers = std::mem::take(&mut self.buffers);
        self.follow(&self.grads, &mut params, &mut buffers);
        (self.params, self.buffers) = (params, buffers);
    }

    /// The penalty on the weights, which is added to the loss of each sample.
    fn penalty(&self) -> f64 {
        if self.objective.l2 == 0.0 {
            return 0.0;
        }
        let weights = self.plan.params().iter().filter(|tensor| tensor.decays());
        let weights = weights.flat_map(|tensor| &self.params[tensor.range.clone()]);
        f64::from(self.objective.l2) * weights.map(|&w| f64::from(w).powi(2)).sum::<f64>()
    }

    /// Makes step number `self.steps` of the optimizer on `params` and `buffers`, with these gradients of
    /// the loss.
    fn follow(&self, gradients: &[f32], params: &mut [f32], buffers: &mut [Vec<f32>]) {
        let mut gradients = Cow::Borrowed(gradients);
        let mut l2 = 2.0 * self.objective.l2;
        if let Some(limit) = self.clip_norm {
            let gradients = gradients.to_mut();
            for tensor in self.plan.params().iter().filter(|tensor| tensor.decays()) {
                let range = tensor.range.clone();
                naive::vectors::add_multiple(l2, &params[range.clone()], &mut gradients[range]);
            }
            l2 = 0.0;
            let norm = naive::vectors::sum_of_squares(gradients).sqrt();
            naive::vectors::scale((f64::from(limit) / norm).min(1.0) as f32, gradients);
        }
        for tensor in self.plan.params().iter().filter(|tensor| !tensor.frozen) {
            let range = tensor.range.clone();
            let len = if tensor.decays() { range.len() } else { 0 };
            let decay = Decay { l2, share: self.optimizer.decay_share(), len };
            let mut buffers = buffers.iter_mut().map(|buffer| &mut buffer[range.clone()]);
            let mut next = || buffers.next().unwrap_or_default();
            let (rule, memory) = (self.optimizer.kernel(self.steps), [next(), next()]);
            let params = &mut params[range.clone()];
            naive::update::step(Moving { rule, decay, params, memory }, &gradients[range.clone()]);
        }
    }
}

/// The buffers of a network's optimizer, in the order of their names.
fn memory_of(network: &Network) -> Vec<Vec<f32>> {
    let saved = network.tensors(Saved::Optimizer);
    let buffers = saved.chunks(network.plan().params().len());
    buffers
        .map(|tensors| tensors.iter().flat_map(|tensor| tensor.data).copied().collect())
        .collect()
}

/// Loss and correct predictions of a batch of `n`, and the gradient of the mean loss with respect to the
/// outputs.
fn compare(
    Objective { loss, label_smoothing: smoothing, .. }: Objective,
    outputs: &[f32],
    targets: Targets<'_>,
    n: usize,
) -> (BatchResult, Vec<f32>) {
    let width = outputs.len() / n;
    let (mut losses, mut gradient) = (vec![0.0; n], vec![0.0; outputs.len()]);
    match (loss, targets) {
        (Loss::SoftmaxCrossEntropy, Targets::Classes(labels)) => {
            let twin = naive::loss::softmax_cross_entropy;
            twin(outputs, width, labels, smoothing, &mut losses, &mut gradient);
        }
        (Loss::BinaryCrossEntropy, Targets::Classes(labels)) => {
            let twin = naive::loss::binary_cross_entropy;
            twin(outputs, labels, smoothing, &mut losses, &mut gradient);
        }
        (Loss::MeanSquaredError, targets) => {
            let mut values = vec![0.0; outputs.len()];
            match targets {
                Targets::Classes(labels) => fill_targets(labels, &mut values),
                Targets::Values(given) => values.copy_from_slice(given),
            }
            let (losses, gradient) = (&mut losses, &mut gradient);
            naive::loss::mean_squared_error(outputs, &values, width, losses, gradient);
        }
        (_, Targets::Values(_)) => panic!("{loss:?} compares with classes, not with values"),
    }
    (loss.result(&losses, outputs, targets), gradient)
}
