//! Training with batches of one sample, if a kernel makes many such steps at once.

use threadcount_kernels::online_sgd::{self, BLOCK, TwoProducts};
use threadcount_kernels::{Mat, Team};

use super::optimizer::Optimizer;
use crate::error::Result;
use crate::nn::buffer::Buffer;
use crate::nn::loss::Loss;
use crate::nn::model::{Dense, Plan};
use crate::nn::objective::Objective;

/// One hidden layer and one logit, trained by plain gradient descent.
#[derive(Clone, Debug)]
pub(crate) struct PerSample {
    hidden: Dense,
    scratch: Buffer,
    logits: Buffer,
}

impl PerSample {
    /// Steps of one call: four blocks, so that gathering their images is worth sharing among the threads.
    pub(crate) const STEPS: usize = 4 * BLOCK;

    /// The kernel's memory, or `None` if the kernel cannot train the network.
    pub(crate) fn new(
        plan: &Plan,
        objective: Objective,
        optimizer: Optimizer,
        max_batch: usize,
    ) -> Result<Option<Self>> {
        let Some(hidden) = Self::hidden(plan, objective, optimizer) else { return Ok(None) };
        let scratch = Buffer::zeroed(online_sgd::scratch_len(hidden.units.number()))?;
        let logits = Buffer::zeroed(max_batch)?;
        Ok(Some(Self { hidden, scratch, logits }))
    }

    /// The floats of the kernel's memory.
    pub(crate) fn floats(
        plan: &Plan,
        objective: Objective,
        optimizer: Optimizer,
        max_batch: usize,
    ) -> usize {
        Self::hidden(plan, objective, optimizer).map_or(0, |hidden| {
            online_sgd::scratch_len(hidden.units.number()).saturating_add(max_batch)
        })
    }

    /// The hidden layer, or `None` if the kernel cannot train the network.
    fn hidden(plan: &Plan, objective: Objective, optimizer: Optimizer) -> Option<Dense> {
        if !objective.is_plain() {
            return None;
        }
        let loss = objective.loss;
        let (Loss::BinaryCrossEntropy, Optimizer::Sgd { momentum: 0.0, .. }) = (loss, optimizer)
        else {
            return None;
        };
        // `Loss::check` ensures that the second one is linear, and has one unit.
        let [hidden, logit] = plan.layers() else { return None };
        if hidden.frozen || logit.frozen {
            return None;
        }
        logit.layer.get::<Dense>()?;
        hidden.layer.get::<Dense>().copied()
    }

    /// All memory that it holds.
    #[cfg(test)]
    pub(crate) fn buffers(&self) -> [&Buffer; 2] {
        [&self.scratch, &self.logits]
    }

    /// One step for each sample, `max_batch` at most. Returns their logits.
    pub(crate) fn train(
        &mut self,
        team: &Team,
        params: &mut [f32],
        learning_rate: f32,
        x: &[f32],
        labels: &[u8],
        losses: &mut [f32],
    ) -> &[f32] {
        let (n, units) = (labels.len(), self.hidden.units.number());
        let inputs = x.len() / n;
        let (w1, rest) = params.split_at_mut(inputs * units);
        let (b1, rest) = rest.split_at_mut(units);
        let (w2, b2) = rest.split_at_mut(units);
        let activation = self.hidden.activation;
        let network = TwoProducts { w1, b1, w2, b2: &mut b2[0], activation };
        let x = Mat::new(x, n, inputs);
        let outputs = [losses, &mut self.logits[..n]];
        let scratch = &mut self.scratch;
        online_sgd::descend(team, network, learning_rate, x, labels, outputs, scratch);
        &self.logits[..n]
    }
}
