//! What a network does with a batch: a training step, an evaluation, predictions; and on which threads.

use threadcount_kernels::Team;
use threadcount_kernels::gather::Cut;
use threadcount_kernels::gemm::is_worth_sharing;

use super::{BatchKey, Network};
use crate::error::{Error, Result};
use crate::nn::laps::Part;
use crate::nn::layers::{Backward, Flow, Forward, Layer, Mode, Params, StepIs, UnitLaps};
use crate::nn::loss::BatchResult;
use crate::nn::memory::InputBuffer;
use crate::nn::per_sample::PerSample;
use crate::random::{Key, Purpose};

impl Network {
    /// One step of the optimizer on the mean loss of a batch: `x` is `[n, input]` with
    /// `1 <= n <= max_batch`, `labels` is `[n]`. The result is that of the parameters before the
    /// step. Allocates nothing.
    ///
    /// # Errors
    /// [`Error::Failed`] if the batch does not fit the network or a label is no class of it;
    /// nothing is changed then.
    pub fn train_batch(
        &mut self,
        team: &Team,
        x: &[f32],
        labels: &[u8],
        key: BatchKey,
    ) -> Result<BatchResult> {
        self.check_labels(x, labels)?;
        Ok(self.pass(team, x, labels, key, Then::Step))
    }

    /// How many steps [`Self::train_steps`] does at once with batches of `batch_size`: many where
    /// each takes one sample and a kernel does that many together, else one.
    pub fn steps_at_once(&self, batch_size: usize) -> usize {
        match self.per_sample {
            Some(_) if batch_size == 1 => PerSample::STEPS.min(self.max_batch),
            _ => 1,
        }
    }

    /// As [`Self::train_batch`] for each `batch_size` samples in turn, for
    /// [`Self::steps_at_once`] of them (fewer at the end of an epoch); several steps are rounded
    /// otherwise than one by one. `key` is that of the first. The result is the sum of theirs.
    ///
    /// # Errors
    /// As [`Self::train_batch`].
    pub fn train_steps(
        &mut self,
        team: &Team,
        x: &[f32],
        labels: &[u8],
        batch_size: usize,
        key: BatchKey,
    ) -> Result<BatchResult> {
        self.check_labels(x, labels)?;
        self.end_lap(Part::Gather);
        let Some(per_sample) = self.per_sample.as_mut().filter(|_| batch_size == 1) else {
            return Ok(self.pass(team, x, labels, key, Then::Step));
        };
        let losses = &mut self.losses[..labels.len()];
        let logits = per_sample.train(team, &mut self.params, x, labels, losses);
        self.optimizer.count(labels.len() as u64);
        let result = self.loss.result(losses, logits, labels);
        self.end_lap(Part::PerSample);
        Ok(result)
    }

    /// The training step without its last call: leaves the gradient of the mean loss in
    /// [`Self::grads`] and does not move the parameters. Moving statistics are updated.
    ///
    /// # Errors
    /// As [`Self::train_batch`].
    pub fn gradients(
        &mut self,
        team: &Team,
        x: &[f32],
        labels: &[u8],
        key: BatchKey,
    ) -> Result<BatchResult> {
        self.check_labels(x, labels)?;
        Ok(self.pass(team, x, labels, key, Then::Stay))
    }

    /// Forward, loss, backward, and the step if there is to be one.
    fn pass(
        &mut self,
        team: &Team,
        x: &[f32],
        labels: &[u8],
        key: BatchKey,
        then: Then,
    ) -> BatchResult {
        if then == Then::Step {
            self.optimizer.count(1);
        }
        self.forward(team, x, Some(key));
        let result = self.compare(team, labels);
        self.end_lap(Part::Loss);
        self.backward(team, x, key, then);
        if then == Then::Step && !self.moved_apart.is_empty() {
            for range in &self.moved_apart {
                let moving = self.optimizer.moving(&mut self.params, range.clone());
                moving.step(team, &self.grads[range.clone()]);
            }
            self.end_lap(Part::Update);
        }
        result
    }

    /// Loss and hits of a batch, with dropout off and normalisation by moving statistics.
    ///
    /// # Errors
    /// As [`Self::train_batch`].
    pub fn evaluate_batch(&mut self, team: &Team, x: &[f32], labels: &[u8]) -> Result<BatchResult> {
        self.check_labels(x, labels)?;
        self.forward(team, x, None);
        Ok(self.compare(team, labels))
    }

    /// What the network makes of a batch: `predictions` is `[n, outputs]` and receives the
    /// probabilities of the classes (of class 1, for binary cross-entropy), or the plain outputs
    /// for squared errors.
    ///
    /// # Errors
    /// As [`Self::train_batch`], or if `predictions` has another size.
    pub fn predict(&mut self, team: &Team, x: &[f32], predictions: &mut [f32]) -> Result<()> {
        let n = self.check_batch(x)?;
        let width = self.plan.output().len();
        if predictions.len() != n * width {
            return Err(Error::Failed(format!(
                "{n} predictions of {width} outputs do not fit {} elements",
                predictions.len()
            )));
        }
        self.forward(team, x, None);
        self.loss.predictions(team, self.outputs(n), width, predictions);
        Ok(())
    }

    fn forward(&mut self, team: &Team, x: &[f32], key: Option<BatchKey>) {
        let n = x.len() / self.plan.input().len();
        for (layer, step) in self.program.iter().zip(&self.memory.steps) {
            let Some(y) = step.y.filter(|_| layer.flow != Flow::Reshape) else { continue };
            let (before, after) = self.arena.split_at_mut(y);
            layer.ops().forward(Forward {
                team,
                mode: mode(self.seed, layer.masked_layer(), key),
                input: layer.input,
                params: &self.params[layer.params.clone()],
                state: &mut self.state[layer.state.clone()],
                x: step.x.map_or(x, |at| &before[at..][..n * layer.input.len()]),
                y: &mut after[..n * layer.output.len()],
                kept: &mut self.kept[step.kept..][..layer.kept.floats(n)],
                winners: &mut self.winners[step.winners..][..n * layer.kept.winners],
            });
            if let Some(laps) = &mut self.laps {
                laps.end(Part::Forward(layer.layers.start));
            }
        }
    }

    /// The loss of the outputs in the arena; its gradient goes to `dy`.
    fn compare(&mut self, team: &Team, labels: &[u8]) -> BatchResult {
        let n = labels.len();
        let (at, len) = self.output_range(n);
        let targets = if self.loss.needs_targets() { len } else { 0 };
        self.loss.apply(
            team,
            &self.arena[at..][..len],
            labels,
            &mut self.losses[..n],
            &mut self.targets[..targets],
            &mut self.dy[..len],
        )
    }

    fn backward(&mut self, team: &Team, x: &[f32], key: BatchKey, then: Then) {
        let n = x.len() / self.plan.input().len();
        let (mut dy, mut dx) = (&mut self.dy, &mut self.dx);
        let layers = self.program.iter().zip(&self.memory.steps);
        for (layer, step) in layers.skip(self.memory.first_trainable).rev() {
            let (inputs, outputs) = (n * layer.input.len(), n * layer.output.len());
            let slice = |at: Option<usize>, len| at.map_or(x, |at| &self.arena[at..][..len]);
            let params = match (then, layer.ops().step_is()) {
                (Then::Step, StepIs::PartOfBackward) => {
                    Params::Moving(self.optimizer.moving(&mut self.params, layer.params.clone()))
                }
                _ => Params::Fixed(&self.params[layer.params.clone()]),
            };
            layer.ops().backward(Backward {
                team,
                mode: mode(self.seed, layer.masked_layer(), Some(key)),
                input: layer.input,
                params,
                grads: &mut self.grads[layer.params.clone()],
                x: slice(step.x, inputs),
                y: slice(step.y, outputs),
                kept: &mut self.kept[step.kept..][..layer.kept.floats(n)],
                winners: &self.winners[step.winners..][..n * layer.kept.winners],
                dy: &mut dy[..outputs],
                dy_is: step.dy_is,
                dx: (step.dx == InputBuffer::Other).then(|| &mut dx[..inputs]),
                below: step.below,
                laps: UnitLaps { laps: self.laps.as_mut(), unit: layer.layers.start },
            });
            if let Some(laps) = self.laps.as_mut().filter(|_| layer.flow != Flow::Reshape) {
                laps.end(Part::Backward(layer.layers.start));
            }
            if step.dx == InputBuffer::Other {
                std::mem::swap(&mut dy, &mut dx);
            }
        }
    }

    fn end_lap(&mut self, part: Part) {
        if let Some(laps) = &mut self.laps {
            laps.end(part);
        }
    }

    /// The last layer's outputs for a batch of `n`.
    fn outputs(&self, n: usize) -> &[f32] {
        let (at, len) = self.output_range(n);
        &self.arena[at..][..len]
    }

    /// Where they begin, and how many there are.
    fn output_range(&self, n: usize) -> (usize, usize) {
        let at = self.memory.steps.last().and_then(|step| step.y).unwrap_or(0);
        (at, n * self.plan.output().len())
    }

    fn check_batch(&self, x: &[f32]) -> Result<usize> {
        let input = self.plan.input();
        let n = x.len() / input.len();
        if n == 0 || n > self.max_batch || n * input.len() != x.len() {
            return Err(Error::Failed(format!(
                "a batch of {} numbers is not 1 to {} samples of shape {input}",
                x.len(),
                self.max_batch
            )));
        }
        Ok(n)
    }

    fn check_labels(&self, x: &[f32], labels: &[u8]) -> Result<()> {
        let n = self.check_batch(x)?;
        if labels.len() != n {
            return Err(Error::Failed(format!("{n} samples with {} labels", labels.len())));
        }
        let classes = self.loss.labels(self.plan.output().len());
        match labels.iter().find(|&&label| usize::from(label) >= classes) {
            None => Ok(()),
            Some(label) => Err(Error::Failed(format!(
                "label {label} is no class of a network that tells {classes} apart"
            ))),
        }
    }

    /// Who had better train batches of `batch_size`: `team`, or its leader alone if the network is so
    /// small that threads would wait for each other longer than they compute. The bits are the same.
    pub fn team<'a>(&self, team: &'a Team<'a>, batch_size: usize) -> &'a Team<'a> {
        let rows = batch_size * self.steps_at_once(batch_size);
        let products = self.plan.layers().iter().map(|layer| match layer.layer {
            Layer::Dense(dense) => is_worth_sharing(team, rows, dense.units, layer.input.len()),
            Layer::Conv2d(_) | Layer::SimpleRnn(_) | Layer::Lstm(_) => true,
            _ => false,
        });
        if team.threads() == 1 || products.into_iter().any(|shared| shared) {
            return team;
        }
        team.alone()
    }

    /// How threads had better share the work of gathering a batch, for what they do with it next.
    pub fn batch_cut(&self) -> Cut {
        let first = self.plan.layers().iter().find(|layer| layer.flow != Flow::Reshape);
        match first.map(|layer| layer.layer) {
            Some(Layer::Dense(_)) => Cut::Columns,
            _ => Cut::Rows,
        }
    }
}

/// What follows the gradients.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Nothing.
    Stay,
    /// A step of the optimizer.
    Step,
}

/// What one layer is doing: training under the key of its masks, or evaluating.
fn mode(seed: u64, layer: usize, key: Option<BatchKey>) -> Mode {
    match key {
        None => Mode::Evaluate,
        Some(BatchKey { epoch, first_sample }) => {
            let key = Key::new(seed, Purpose::Dropout).with(epoch).with(layer as u64).bits();
            Mode::Train { key, first_sample }
        }
    }
}
