//! A network for predictions alone: no gradients, no optimizer.

use threadcount_kernels::Team;

use super::loss::Loss;
use super::model::Model;
use super::workspace::Workspace;
use crate::error::{Error, Result};

/// A model with the memory for a batch, which predicts and learns nothing.
#[derive(Clone, Debug)]
pub struct Predictor {
    model: Model,
    loss: Loss,
    workspace: Workspace,
}

impl Predictor {
    /// For batches of up to `max_batch` samples. The loss that the model was trained with says what
    /// its outputs mean.
    ///
    /// # Errors
    /// [`Error::Usage`] if the model does not end in what the loss works on; [`Error::Failed`] if the
    /// memory cannot be had.
    pub fn new(model: Model, loss: Loss, max_batch: usize) -> Result<Self> {
        loss.check(model.plan())?;
        let workspace = Workspace::new(&model, max_batch)?;
        Ok(Self { model, loss, workspace })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What the network makes of a batch: `predictions` is `[n, outputs]` and receives the
    /// probabilities of the classes (of class 1, for binary cross-entropy), or the plain outputs
    /// for squared errors.
    ///
    /// # Errors
    /// [`Error::Failed`] if the batch, or the predictions, do not fit.
    pub fn predict(&mut self, team: &Team, x: &[f32], predictions: &mut [f32]) -> Result<()> {
        predict(team, &mut self.model, &mut self.workspace, self.loss, x, predictions)
    }
}

/// As [`Predictor::predict`], for whoever has the parts.
pub(super) fn predict(
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
        return Err(Error::Failed(format!(
            "{n} predictions of {width} outputs do not fit {} elements",
            predictions.len()
        )));
    }
    workspace.forward(team, model, x, None, None);
    loss.predictions(team, workspace.outputs(n, width), width, predictions);
    Ok(())
}
