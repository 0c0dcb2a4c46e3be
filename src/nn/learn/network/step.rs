//! What a network does with a batch: a training step, an evaluation, predictions; and on which threads.

use threadcount_kernels::Team;
use threadcount_kernels::gather::Cut;

use super::Network;
use crate::data::Targets;
use crate::error::Result;
use crate::nn::laps::Part;
use crate::nn::learn::per_sample::PerSample;
use crate::nn::loss::BatchResult;
use crate::nn::model::{Backward, Buffers, Params, StepIs, UnitLaps};
use crate::nn::objective::Objective;
use crate::nn::run::{BatchKey, InputBuffer, classify, mode, predict};

/// The best way to train a network with batches of one size; none of it changes a bit of the results.
#[derive(Clone, Copy)]
pub struct Stepping<'a> {
    /// The threads: all of a team, or its leader alone if the network is so small that threads would
    /// wait for each other longer than they compute.
    pub team: &'a Team<'a>,
    /// Batches per call of [`Network::train_steps`].
    pub at_once: usize,
    /// How threads share the gathering of a batch, so that it fits what they read next.
    pub cut: Cut,
}

impl Network {
    /// One step of the optimizer on the mean loss of a batch: `x` is `[n, input]` with
    /// `1 <= n <= max_batch`, and there are `n` targets. The result is for the parameters before the step.
    /// Allocates nothing.
    ///
    /// # Errors
    /// [`Error::Mismatch`](crate::Error::Mismatch) if the batch does not fit the network or a label is not
    /// one of its classes; nothing is changed then.
    pub fn train_batch<'t>(
        &mut self,
        team: &Team,
        x: &[f32],
        targets: impl Into<Targets<'t>>,
        key: BatchKey,
    ) -> Result<BatchResult> {
        let targets = targets.into();
        self.check(x, targets)?;
        Ok(self.pass(team, x, targets, key, Then::Step))
    }

    /// How many steps [`Self::train_steps`] makes at once with batches of `batch_size`: several if a batch
    /// is one sample and a kernel makes that many steps together, else one.
    pub fn steps_at_once(&self, batch_size: usize) -> usize {
        match self.per_sample {
            Some(_) if batch_size == 1 => PerSample::STEPS.min(self.max_batch()),
            _ => 1,
        }
    }

    /// As [`Self::train_batch`] for each `batch_size` samples in turn, for [`Self::steps_at_once`] of these
    /// batches (fewer at the end of an epoch). Several steps at once round differently from the same steps
    /// one by one. `key` is that of the first batch. The result is the sum over the batches.
    ///
    /// # Errors
    /// As [`Self::train_batch`].
    pub fn train_steps<'t>(
        &mut self,
        team: &Team,
        x: &[f32],
        targets: impl Into<Targets<'t>>,
        batch_size: usize,
        key: BatchKey,
    ) -> Result<BatchResult> {
        let targets = targets.into();
        self.check(x, targets)?;
        self.end_lap(Part::Gather);
        let rate = self.optimizer.rule.learning_rate();
        let per_sample = self.per_sample.as_mut().filter(|_| batch_size == 1);
        let (Some(per_sample), Targets::Classes(labels)) = (per_sample, targets) else {
            return Ok(self.pass(team, x, targets, key, Then::Step));
        };
        let losses = &mut self.gradients.losses[..labels.len()];
        let logits = per_sample.train(team, self.model.params_mut(), rate, x, labels, losses);
        self.optimizer.count(labels.len() as u64);
        let result = self.objective.loss.result(losses, logits, targets);
        self.end_lap(Part::PerSample);
        Ok(result)
    }

    /// The training step without the optimizer: leaves the gradient of the mean loss in [`Self::grads`] and
    /// does not move the parameters. Moving statistics are updated.
    ///
    /// # Errors
    /// As [`Self::train_batch`].
    pub fn gradients<'t>(
        &mut self,
        team: &Team,
        x: &[f32],
        targets: impl Into<Targets<'t>>,
        key: BatchKey,
    ) -> Result<BatchResult> {
        let targets = targets.into();
        self.check(x, targets)?;
        Ok(self.pass(team, x, targets, key, Then::Stay))
    }

    /// One step of the optimizer with [`Self::grads`] as they are now. [`Self::gradients`] and then this
    /// give the same bits as [`Self::train_batch`].
    pub fn apply_gradients(&mut self, team: &Team) {
        let Self { optimizer, model, gradients, learning, .. } = self;
        optimizer.count(1);
        optimizer.clip(team, &model.params, &mut gradients.params);
        optimizer.sweep(team, &mut model.params, &gradients.params, learning);
    }

    fn pass(
        &mut self,
        team: &Team,
        x: &[f32],
        targets: Targets<'_>,
        key: BatchKey,
        then: Then,
    ) -> BatchResult {
        if then == Then::Step {
            self.optimizer.count(1);
        }
        let n = x.len() / self.plan().input().len();
        self.workspace.forward(team, &mut self.model, x, Some(key), self.laps.as_mut());
        let result = self.compare(team, n, targets);
        self.end_lap(Part::Loss);
        self.backward(team, x, key, then);
        if then == Then::Step && !self.moved_apart.is_empty() {
            let Self { optimizer, model, gradients, moved_apart, .. } = self;
            optimizer.clip(team, &model.params, &mut gradients.params);
            optimizer.sweep(team, &mut model.params, &gradients.params, moved_apart);
            self.end_lap(Part::Update);
        }
        result
    }

    /// Loss and correct predictions of a batch, with dropout off and normalisation by moving statistics.
    ///
    /// # Errors
    /// As [`Self::train_batch`].
    pub fn evaluate_batch<'t>(
        &mut self,
        team: &Team,
        x: &[f32],
        targets: impl Into<Targets<'t>>,
    ) -> Result<BatchResult> {
        let targets = targets.into();
        let n = self.check(x, targets)?;
        self.workspace.evaluate(team, &mut self.model, x);
        Ok(self.compare(team, n, targets))
    }

    /// The classes of the `n` samples of the batch that [`Self::evaluate_batch`] was called with last.
    pub(crate) fn evaluated_classes(&self, n: usize) -> impl Iterator<Item = Option<u8>> {
        let width = self.model.plan().output().len();
        let outputs = self.workspace.outputs(n, width).chunks_exact(width);
        outputs.map(|outputs| self.objective.loss.class(outputs))
    }

    /// The network's predictions for a batch: as [`Predictor::predict`](crate::nn::Predictor::predict).
    ///
    /// # Errors
    /// [`Error::Mismatch`](crate::Error::Mismatch) if the batch, or the predictions, do not fit.
    pub fn predict(&mut self, team: &Team, x: &[f32], predictions: &mut [f32]) -> Result<()> {
        predict(team, &mut self.model, &mut self.workspace, self.objective.loss, x, predictions)
    }

    /// The class of each sample of a batch: as
    /// [`Predictor::classify`](crate::nn::Predictor::classify).
    ///
    /// # Errors
    /// [`Error::Mismatch`](crate::Error::Mismatch) if the batch, or the classes, do not fit.
    pub fn classify(&mut self, team: &Team, x: &[f32], classes: &mut [Option<u8>]) -> Result<()> {
        classify(team, &mut self.model, &mut self.workspace, self.objective.loss, x, classes)
    }

    /// The loss of the outputs in the workspace; its gradient goes to `dy`.
    fn compare(&mut self, team: &Team, n: usize, targets: Targets<'_>) -> BatchResult {
        let outputs = self.workspace.outputs(n, self.model.plan().output().len());
        let gradients = &mut self.gradients;
        let Objective { loss, label_smoothing, .. } = self.objective;
        let room = if loss.needs_targets() { outputs.len() } else { 0 };
        let mut result = loss.apply(
            team,
            outputs,
            (targets, label_smoothing),
            &mut gradients.losses[..n],
            &mut gradients.targets[..room],
            &mut gradients.dy[..outputs.len()],
        );
        result.loss_sum += self.objective.penalty(team, &self.model) * n as f64;
        result
    }

    fn backward(&mut self, team: &Team, x: &[f32], key: BatchKey, then: Then) {
        let Self { model, workspace, gradients, optimizer, steps, laps, .. } = self;
        let n = x.len() / model.plan().input().len();
        let (mut dy, mut dx) = (&mut gradients.dy, &mut gradients.dx);
        let units = model.program.iter().enumerate().zip(steps.iter());
        for ((index, unit), step_is) in units.skip(workspace.layout.first_trainable).rev() {
            let step = workspace.layout.steps[index];
            let params = match (then, step_is) {
                _ if unit.frozen => Params::Frozen(&model.params[unit.params.clone()]),
                (Then::Step, StepIs::PartOfBackward) => {
                    Params::Moving(optimizer.moving(&mut model.params, unit.params.clone()))
                }
                _ => Params::Fixed(&model.params[unit.params.clone()]),
            };
            let (x, y, kept, winners) = workspace.left_by(unit, index, x, 0..n);
            unit.layer.backward(Backward {
                team,
                mode: mode(model.seed, unit, Some(key)),
                input: unit.input,
                params,
                grads: &mut gradients.params[unit.params.clone()],
                x,
                y,
                kept,
                winners,
                dy: &mut dy[..n * unit.output.len()],
                dy_is: step.dy_is,
                dx: (step.dx == InputBuffer::Other).then(|| &mut dx[..n * unit.input.len()]),
                below: step.below,
                laps: UnitLaps { laps: laps.as_mut(), unit: unit.layers.start },
            });
            if let Some(laps) = laps.as_mut().filter(|_| unit.buffers != Buffers::Reshape) {
                laps.end(Part::Backward(unit.layers.start));
            }
            if unit.frozen {
                gradients.params[unit.params.clone()].fill(0.0);
            }
            if step.dx == InputBuffer::Other {
                std::mem::swap(&mut dy, &mut dx);
            }
        }
    }

    pub(super) fn end_lap(&mut self, part: Part) {
        if let Some(laps) = &mut self.laps {
            laps.end(part);
        }
    }

    fn check(&self, x: &[f32], targets: Targets<'_>) -> Result<usize> {
        let n = self.workspace.check_batch(&self.model, x)?;
        self.objective.loss.check_targets(targets, n, self.plan().output().len())?;
        Ok(n)
    }

    /// The best way for this team to train batches of `batch_size`.
    pub fn stepping<'a>(&self, team: &'a Team<'a>, batch_size: usize) -> Stepping<'a> {
        let at_once = self.steps_at_once(batch_size);
        let mut layers = self.plan().layers().iter();
        let is_shared = team.threads() > 1
            && layers.any(|planned| {
                planned.layer.is_worth_sharing(team, batch_size * at_once, planned.input)
            });
        let cut = self.plan().input_cut();
        Stepping { team: if is_shared { team } else { team.alone() }, at_once, cut }
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
