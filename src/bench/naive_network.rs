//! The twin of a whole [`Network`]: every layer, the loss and the optimizer by the kernels' plain-loop
//! twins, one after the other on one thread. It is the baseline that a recipe's speed is compared with,
//! and the oracle of whatever a network fuses: it knows plans, and nothing of how they are run.

mod layer;

use crate::nn::{BatchKey, BatchResult, Loss, Network, Optimizer, Plan, Saved};
use crate::random::{Key, Purpose};
use layer::{Gradients, Pass};
use threadcount_kernels::naive;
use threadcount_kernels::update::Moving;

use super::shapes::Place;

/// A network on the naive twins.
#[derive(Clone, Debug)]
pub struct NaiveNetwork {
    plan: Plan,
    loss: Loss,
    optimizer: Optimizer,
    /// Optimizer steps done.
    steps: u64,
    seed: u64,
    params: Vec<f32>,
    grads: Vec<f32>,
    state: Vec<f32>,
    /// What the optimizer keeps beside the parameters, in the order of its names.
    buffers: Vec<Vec<f32>>,
    /// Parameters and moving statistics before the first step.
    start: (Vec<f32>, Vec<f32>),
}

impl NaiveNetwork {
    /// A network's twin, as far as that has come. `seed` is the one that it was built with: dropout
    /// masks depend on it.
    pub fn of(network: &Network, seed: u64) -> Self {
        let plan = network.plan().clone();
        let (params, state) = (network.params().to_vec(), network.state().to_vec());
        let saved = network.tensors(Saved::Optimizer);
        let buffers = saved
            .chunks(plan.params().len())
            .map(|tensors| tensors.iter().flat_map(|tensor| tensor.data).copied().collect())
            .collect();
        Self {
            loss: network.loss(),
            optimizer: network.optimizer(),
            steps: network.optimizer_steps(),
            seed,
            grads: vec![0.0; params.len()],
            buffers,
            start: (params.clone(), state.clone()),
            params,
            state,
            plan,
        }
    }

    /// One step of the optimizer on the mean loss of a batch: `x` is `[n, input]`, `labels` is `[n]`.
    ///
    /// # Panics
    /// If the two are not of these lengths, or a label is no class of the network.
    pub fn train_batch(&mut self, x: &[f32], labels: &[u8], key: BatchKey) -> BatchResult {
        let n = labels.len();
        assert_eq!(x.len(), n * self.plan.input().len(), "a label for each sample");
        let layers = self.plan.layers();
        let pass = |index: usize| Pass {
            layer: &layers[index],
            place: match layers[..index].iter().all(|below| below.params.is_empty()) {
                true => Place::First,
                false => Place::Inner,
            },
            key: Key::new(self.seed, Purpose::Dropout).with(key.epoch).with(index as u64).bits(),
            first_sample: key.first_sample,
            params: &self.params[layers[index].params.clone()],
        };

        // What goes into each layer, and at last what comes out.
        let mut flow = vec![x.to_vec()];
        let mut tapes = Vec::new();
        for (index, layer) in layers.iter().enumerate() {
            let mut y = vec![0.0; n * layer.output.len()];
            let state = &mut self.state[layer.state.clone()];
            tapes.push(pass(index).forward(&flow[index], state, &mut y));
            flow.push(y);
        }

        let outputs = &flow[layers.len()];
        let (result, mut dy) = compare(self.loss, outputs, labels);
        for index in (0..layers.len()).rev() {
            let grads = &mut self.grads[layers[index].params.clone()];
            let mut dx = match pass(index).place {
                Place::First => Vec::new(),
                Place::Inner => vec![0.0; flow[index].len()],
            };
            let gradients = Gradients { dy, params: grads, dx: &mut dx };
            pass(index).backward(&flow[index], &flow[index + 1], &mut tapes[index], gradients);
            dy = dx;
            if dy.is_empty() {
                break;
            }
        }
        self.update();
        result
    }

    /// That for each `batch_size` samples in turn, one by one. `key` is that of the first. The result is
    /// the sum of theirs.
    ///
    /// # Panics
    /// As [`Self::train_batch`].
    pub fn train_steps(
        &mut self,
        x: &[f32],
        labels: &[u8],
        batch_size: usize,
        mut key: BatchKey,
    ) -> BatchResult {
        let pixels = self.plan.input().len();
        let mut sum = BatchResult::default();
        for (x, labels) in x.chunks(batch_size * pixels).zip(labels.chunks(batch_size)) {
            sum += self.train_batch(x, labels, key);
            key.first_sample += labels.len() as u64;
        }
        sum
    }

    fn update(&mut self) {
        self.steps = self.steps.saturating_add(1);
        let Self { params, grads, buffers, .. } = self;
        let mut buffers = buffers.iter_mut().map(|buffer| &mut buffer[..]);
        let mut next = || buffers.next().unwrap_or_default();
        let (rule, memory) = (self.optimizer.kernel(self.steps), [next(), next()]);
        naive::update::step(Moving { rule, params, memory }, grads);
    }

    /// Compares what a network has become with what this has: both began as the same, and trained on
    /// the same batches. Every tensor must have ended within `tolerance` of where it ended here, as a
    /// share of the way that it has gone since.
    ///
    /// Rounding in another order makes 1e-6 of the way, or 1e-3 where Adam divides a tiny gradient by
    /// its own size; a wrong gradient makes something like 1. In between lies chance: a ReLU whose
    /// input is within rounding of 0 may open in one of the two only, which is a hundredth of a
    /// gradient, and a tenth of the way of Adam, whose steps are as long for small gradients as for
    /// large ones.
    ///
    /// # Errors
    /// The first tensor that ended somewhere else, in words.
    pub fn agrees_with(&self, network: &Network, tolerance: f64) -> Result<(), String> {
        let (start_params, start_state) = &self.start;
        let params = (self.plan.params(), network.params(), &self.params[..], &start_params[..]);
        let state = (self.plan.state(), network.state(), &self.state[..], &start_state[..]);
        for (tensors, actual, expected, start) in [params, state] {
            for tensor in tensors {
                let at = tensor.range.clone();
                let apart = distance(&actual[at.clone()], &expected[at.clone()]);
                let way = distance(&expected[at.clone()], &start[at]);
                let near = apart <= tolerance * way;
                if !near {
                    return Err(format!(
                        "{} ended {apart:.1e} from its twin, which has gone {way:.1e}",
                        tensor.name
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Whether two results of the same steps name the same loss.
///
/// # Errors
/// Both, in words.
pub fn same_loss(network: BatchResult, twin: BatchResult) -> Result<(), String> {
    let (loss, expected) = (network.loss(), twin.loss());
    match (loss - expected).abs() <= 1e-5 * expected.abs().max(1e-2) {
        true => Ok(()),
        false => Err(format!("the loss is {loss}, its twin says {expected}")),
    }
}

/// Losses and hits of a batch, and the gradient of the mean loss by the outputs.
fn compare(loss: Loss, outputs: &[f32], labels: &[u8]) -> (BatchResult, Vec<f32>) {
    let width = outputs.len() / labels.len();
    let (mut losses, mut gradient) = (vec![0.0; labels.len()], vec![0.0; outputs.len()]);
    match loss {
        Loss::SoftmaxCrossEntropy => {
            naive::loss::softmax_cross_entropy(outputs, width, labels, &mut losses, &mut gradient);
        }
        Loss::BinaryCrossEntropy => {
            naive::loss::binary_cross_entropy(outputs, labels, &mut losses, &mut gradient);
        }
        Loss::MeanSquaredError => {
            let mut targets = vec![0.0; outputs.len()];
            loss.fill_targets(labels, &mut targets);
            let (losses, gradient) = (&mut losses, &mut gradient);
            naive::loss::mean_squared_error(outputs, &targets, width, losses, gradient);
        }
    }
    (loss.result(&losses, outputs, labels), gradient)
}

/// Of two points.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    let squares = a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
    squares.sum::<f64>().sqrt()
}
