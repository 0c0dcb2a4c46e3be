//! A convolution with the batch normalisation that follows it.

use super::{Execution, Inputs};
use crate::bench::case::{Case, Pieces, Work, lock, noise, untouched};
use crate::nn::Buffer;
use std::ops::Range;
use std::sync::Mutex;
use threadcount_kernels::{Team, conv, naive, norm};

/// Keras's default epsilon of batch normalisation.
const EPSILON: f32 = 1e-3;

/// `y`, the mean and the variance.
fn split_norm(channels: usize, out: &mut [f32]) -> (&mut [f32], &mut [f32], &mut [f32]) {
    let (y, rest) = out.split_at_mut(out.len() - 2 * channels);
    let (mean, variance) = rest.split_at_mut(channels);
    (y, mean, variance)
}

/// The outputs are the normalised map, and the means and variances after it. No kernel computes the
/// statistics of a finished map without normalising it too, so both executions normalise.
pub(super) struct MomentsForward {
    inputs: Inputs,
    execution: Execution,
    gamma: Buffer,
    beta: Buffer,
    /// The convolution's output, which the backward pass needs too.
    map: Mutex<Buffer>,
}

impl MomentsForward {
    pub(super) fn new(inputs: Inputs, execution: Execution) -> Self {
        let filters = inputs.convolution.filters;
        let map = Mutex::new(untouched(inputs.batch() * inputs.map_len()));
        Self { gamma: noise(4, filters), beta: noise(5, filters), map, inputs, execution }
    }
}

impl Case for MomentsForward {
    fn work(&self) -> Work {
        self.inputs.convolution.work()
    }

    fn inputs(&self) -> usize {
        self.inputs.len() + 2 * self.gamma.len()
    }

    fn outputs(&self) -> usize {
        self.inputs.batch() * self.inputs.map_len() + 2 * self.gamma.len()
    }

    fn run(&self, team: &Team, out: &mut [f32]) {
        let Self { gamma, beta, .. } = self;
        let (normal, mean, variance) = split_norm(gamma.len(), out);
        let (map, job) = (&mut **lock(&self.map), self.inputs.whole_forward());
        match self.execution {
            Execution::Fused => {
                conv::forward_with_moments(team, &job, map, mean, variance);
                norm::eval_forward(team, map, gamma, beta, mean, variance, EPSILON, normal);
            }
            Execution::Apart => {
                conv::forward(team, &job, map);
                norm::train_forward(team, map, gamma, beta, EPSILON, normal, mean, variance);
            }
        }
    }

    /// Statistics are those of all images.
    fn pieces(&self) -> Pieces {
        Pieces::WHOLE
    }

    fn twin(&self, _whole: Range<usize>, out: &mut [f32]) {
        let Self { gamma, beta, .. } = self;
        let (normal, mean, variance) = split_norm(gamma.len(), out);
        let mut map = vec![f32::NAN; normal.len()];
        naive::conv::forward_with_moments(&self.inputs.whole_forward(), &mut map, mean, variance);
        naive::norm::eval_forward(&map, gamma, beta, mean, variance, EPSILON, normal);
    }
}
