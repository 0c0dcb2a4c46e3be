//! A network for predictions alone: no gradients, no optimizer.

use threadcount_kernels::Team;

use super::workspace::Workspace;
use crate::data::Targets;
use crate::error::{Error, Result};
use crate::nn::buffer::Buffer;
use crate::nn::loss::{BatchResult, Loss};
use crate::nn::model::Model;
use crate::nn::objective::Objective;

/// A model with the memory for a batch, for predictions only.
#[derive(Clone, Debug)]
pub struct Predictor {
    model: Model,
    objective: Objective,
    workspace: Workspace,
    judge: Judge,
}

impl Predictor {
    /// For batches of up to `max_batch` samples. The loss that the model was trained with says what its
    /// outputs mean; evaluated losses include the penalty of its training.
    ///
    /// # Errors
    /// [`Error::Usage`] if the loss does not work on the model's outputs; [`Error::Setting`] for an objective
    /// that is out of range; [`Error::Memory`] if the memory cannot be had.
    pub fn new(model: Model, objective: impl Into<Objective>, max_batch: usize) -> Result<Self> {
        let objective = objective.into();
        let loss = objective.loss;
        objective.check()?;
        loss.check(model.plan())?;
        let workspace = Workspace::new(&model, max_batch)?;
        let judge = Judge::new(&model, loss, max_batch)?;
        Ok(Self { model, objective, workspace, judge })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The loss that the model was trained with.
    pub fn loss(&self) -> Loss {
        self.objective.loss
    }

    /// The network's predictions for a batch: `predictions` is `[n, outputs]` and receives the
    /// probabilities of the classes (of class 1, for binary cross-entropy), or the plain outputs for
    /// squared errors.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if the batch, or the predictions, do not fit.
    pub fn predict(&mut self, team: &Team, x: &[f32], predictions: &mut [f32]) -> Result<()> {
        predict(team, &mut self.model, &mut self.workspace, self.objective.loss, x, predictions)
    }

    /// The class of each sample of a batch, `[n]`; `None` if an output is NaN, or a number that is not a
    /// class.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if the batch, or the classes, do not fit.
    pub fn classify(&mut self, team: &Team, x: &[f32], classes: &mut [Option<u8>]) -> Result<()> {
        classify(team, &mut self.model, &mut self.workspace, self.objective.loss, x, classes)
    }

    /// Loss and correct predictions of a batch.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if the batch, or its targets, do not fit.
    pub fn evaluate<'t>(
        &mut self,
        team: &Team,
        x: &[f32],
        targets: impl Into<Targets<'t>>,
    ) -> Result<BatchResult> {
        let targets = targets.into();
        let n = self.workspace.check_batch(&self.model, x)?;
        let width = self.model.plan().output().len();
        self.objective.loss.check_targets(targets, n, width)?;
        self.workspace.evaluate(team, &mut self.model, x);
        let outputs = self.workspace.outputs(n, width);
        let mut result = self.judge.compare(team, self.objective, outputs, targets, n);
        result.loss_sum += self.objective.penalty(team, &self.model) * n as f64;
        Ok(result)
    }
}

/// Memory for comparing outputs with targets.
#[derive(Clone, Debug)]
struct Judge {
    losses: Buffer,
    /// Classes as target values.
    targets: Buffer,
    /// The gradient of the loss with respect to the outputs, which the kernels compute with the loss.
    gradient: Buffer,
}

impl Judge {
    fn new(model: &Model, loss: Loss, max_batch: usize) -> Result<Self> {
        let outputs = model.plan().output().len().saturating_mul(max_batch);
        Ok(Self {
            losses: Buffer::zeroed(max_batch)?,
            targets: Buffer::zeroed(if loss.needs_targets() { outputs } else { 0 })?,
            gradient: Buffer::zeroed(outputs)?,
        })
    }

    fn compare(
        &mut self,
        team: &Team,
        Objective { loss, label_smoothing, .. }: Objective,
        outputs: &[f32],
        targets: Targets<'_>,
        n: usize,
    ) -> BatchResult {
        let room = if loss.needs_targets() { outputs.len() } else { 0 };
        let (losses, gradient) = (&mut self.losses[..n], &mut self.gradient[..outputs.len()]);
        let targets = (targets, label_smoothing);
        loss.apply(team, outputs, targets, losses, &mut self.targets[..room], gradient)
    }
}

/// As [`Predictor::predict`], with its parts as arguments.
pub(crate) fn predict(
    team: &Team,
    model: &mut Model,
    workspace: &mut Workspace,
    loss: Loss,
    x: &[f32],
    predictions: &mut [f32],
) -> Result<()> {
    let n = workspace.check_batch(model, x)?;
    let width = model.plan().output().len();
    if predictions.len() != n * width {
        return Err(Error::Mismatch(format!(
            "{n} predictions of {width} outputs do not fit {} elements",
            predictions.len()
        )));
    }
    workspace.evaluate(team, model, x);
    loss.predictions(team, workspace.outputs(n, width), width, predictions);
    Ok(())
}

/// As [`Predictor::classify`], with its parts as arguments.
pub(crate) fn classify(
    team: &Team,
    model: &mut Model,
    workspace: &mut Workspace,
    loss: Loss,
    x: &[f32],
    classes: &mut [Option<u8>],
) -> Result<()> {
    let n = workspace.check_batch(model, x)?;
    if classes.len() != n {
        return Err(Error::Mismatch(format!(
            "the classes of {n} samples do not fit {} elements",
            classes.len()
        )));
    }
    workspace.evaluate(team, model, x);
    let width = model.plan().output().len();
    let rows = workspace.outputs(n, width).chunks_exact(width);
    for (class, outputs) in classes.iter_mut().zip(rows) {
        *class = loss.class(outputs);
    }
    Ok(())
}
