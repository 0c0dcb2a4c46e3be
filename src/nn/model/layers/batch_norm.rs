//! Batch normalisation (Ioffe & Szegedy 2015) over the last axis.

use serde::{Deserialize, Serialize};
use threadcount_kernels::{naive, norm};

use super::*;
use crate::error::Result;
use crate::nn::model::Initializer;

/// `y = gamma (x - mean) / sqrt(variance + epsilon) + beta` for every channel. The statistics are those of
/// the batch in training, and their moving averages in evaluation and if the layer is frozen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchNorm {
    /// Share of the moving statistics that one step keeps.
    pub momentum: f32,
    /// Keeps the quotient finite.
    pub epsilon: f32,
}

/// Batch normalisation with Keras's defaults: momentum 0.99, epsilon 0.001.
pub fn batch_norm() -> Layer {
    BatchNorm::default().into()
}

impl Default for BatchNorm {
    fn default() -> Self {
        Self { momentum: 0.99, epsilon: 1e-3 }
    }
}

/// PyTorch's batch normalisation is over axis 1.
const ROWS_BATCH_NORM: &str = "\
class RowsBatchNorm(nn.BatchNorm1d):
    def forward(self, x):
        return super().forward(x.transpose(1, 2)).transpose(1, 2)
";

impl LayerKind for BatchNorm {
    fn names(&self) -> (&'static str, &'static str) {
        ("BatchNormalization", "batch_normalization")
    }

    fn plan(&self, input: Shape) -> Result<LayerPlan> {
        if !(0.0..=1.0).contains(&self.momentum) {
            return refuse(format!(
                "batch norm: momentum must be in [0, 1], not {}",
                self.momentum
            ));
        }
        if !(self.epsilon > 0.0 && self.epsilon.is_finite()) {
            return refuse(format!("batch norm: epsilon must be positive, not {}", self.epsilon));
        }
        let channels = input.last();
        let tensor = |name, initializer| TensorPlan::new(name, &[channels], initializer);
        Ok(LayerPlan {
            params: vec![tensor("gamma", Initializer::Ones), tensor("beta", Initializer::Zeros)],
            state: vec![
                tensor("moving_mean", Initializer::Zeros),
                tensor("moving_variance", Initializer::Ones),
            ],
            kept: Kept { per_batch: channels.saturating_mul(2), ..Kept::default() },
            input_gradient: InputGradient::Always,
            ..LayerPlan::new(input, Buffers::Apart)
        })
    }

    fn forward(&self, pass: Forward<'_>) {
        let channels = pass.input.last();
        let (gamma, beta) = pass.params.split_at(channels);
        let (moving_mean, moving_variance) = pass.state.split_at_mut(channels);
        let (x, y, epsilon) = (pass.x, pass.y, self.epsilon);
        match pass.mode {
            Mode::Train { .. } => {
                let (mean, variance) = pass.kept.split_at_mut(channels);
                norm::train_forward(pass.team, x, gamma, beta, epsilon, y, mean, variance);
                norm::update_moving(self.momentum, mean, moving_mean);
                norm::update_moving(self.momentum, variance, moving_variance);
            }
            Mode::Evaluate => {
                // For the backward pass of a frozen layer.
                pass.kept[channels..2 * channels].copy_from_slice(moving_variance);
                let (mean, variance) = (moving_mean, moving_variance);
                norm::eval_forward(pass.team, x, gamma, beta, mean, variance, epsilon, y);
            }
        }
    }

    fn backward(&self, pass: Backward<'_>) {
        let Some(dx) = pass.dx else { return };
        let channels = pass.input.last();
        let gamma = &pass.params[..channels];
        let (dgamma, dbeta) = pass.grads.split_at_mut(channels);
        let (mean, variance) = pass.kept.split_at(channels);
        if pass.mode == Mode::Evaluate {
            // The layer is `y = scale x + shift` with fixed numbers, so `dx = scale dy`.
            dbeta.fill(0.0);
            let (team, dy, zeros, epsilon) = (pass.team, &*pass.dy, &*dbeta, self.epsilon);
            return norm::eval_forward(team, dy, gamma, zeros, zeros, variance, epsilon, dx);
        }
        norm::backward(
            pass.team,
            pass.x,
            pass.dy,
            gamma,
            mean,
            variance,
            self.epsilon,
            dx,
            dgamma,
            dbeta,
        );
    }

    fn across(&self) -> Option<&dyn AcrossShards> {
        Some(self)
    }

    /// PyTorch's momentum is the share of the new statistics. Its running variance is the unbiased one,
    /// ours and Keras's the biased one; a trained network computes the same with it.
    fn exchange(&self, place: &Place) -> Option<Exchange> {
        let channels = place.input.last();
        let own = View::same(&[channels]);
        let sorted = own.clone().channels_first(0, place.image);
        let (class, helper) = match place.input {
            Shape::Flat(_) => ("nn.BatchNorm1d", ""),
            Shape::Image(_) => ("nn.BatchNorm2d", ""),
            Shape::Rows(_) => ("RowsBatchNorm", ROWS_BATCH_NORM),
        };
        let Self { momentum, epsilon } = *self;
        let module = format!("{class}({channels}, eps={epsilon}, momentum=1 - {momentum})");
        let keras = format!("layers.BatchNormalization(momentum={momentum}, epsilon={epsilon})");
        let tensors = [
            ("weight", "gamma"),
            ("bias", "beta"),
            ("running_mean", "moving_mean"),
            ("running_var", "moving_variance"),
        ];
        let mut pytorch: Vec<_> =
            tensors.iter().map(|(name, ours)| all(name, ours, sorted.clone())).collect();
        let counter = ForeignTensor { name: "num_batches_tracked", holds: Holds::Counter };
        pytorch.push(counter);
        let keras_tensors = tensors.iter().map(|(_, ours)| all(ours, ours, own.clone())).collect();
        Some(Exchange {
            pytorch: Foreign { helper, ..Foreign::new(vec![module], pytorch) },
            keras: Foreign::new(vec![keras], keras_tensors),
            image: place.image,
        })
    }

    fn twin(&self) -> Option<&dyn Twin> {
        Some(self)
    }

    fn kernel_name(&self) -> &'static str {
        "batch-norm"
    }

    fn kernels(&self, _: &Site, _: &[Layer]) -> Vec<KernelCall> {
        vec![KernelCall::Layer]
    }

    /// Statistics first, then the elements: `x` is read twice.
    fn forward_traffic(&self, input: Shape, _: Shape) -> Traffic {
        Traffic::floats(3 * input.len(), 2 * input.len())
    }

    /// Sums first, then the elements: `x` and `dy` are read twice, `dx` is written.
    fn backward_traffic(&self, input: Shape, _: Shape) -> Traffic {
        Traffic::floats(5 * input.len(), 3 * input.len())
    }
}

/// The statistics are those of the whole batch.
impl AcrossShards for BatchNorm {
    /// Mean and variance, or the sums of backward.
    fn summed(&self, input: Shape) -> usize {
        input.last().saturating_mul(2)
    }

    fn forward_across(&self, pass: Forward<'_>, whole: &mut Whole<'_>) -> Result<()> {
        if pass.mode == Mode::Evaluate {
            self.forward(pass);
            return Ok(());
        }
        let (inputs, channels) = (pass.input.len(), pass.input.last());
        // Rows of channels in a sample.
        let rows = inputs / channels;
        let (team, x) = (pass.team, pass.x);
        let moments = whole.sum(
            2 * channels,
            |samples, moments| {
                let (mean, variance) = moments.split_at_mut(channels);
                let x = &x[samples.start * inputs..samples.end * inputs];
                norm::moments(team, x, mean, variance);
            },
            |[left, right], moments, more| {
                let (mean, variance) = moments.split_at_mut(channels);
                let (more_mean, more_variance) = more.split_at(channels);
                let more = norm::RowMoments {
                    rows: right * rows,
                    mean: more_mean,
                    variance: more_variance,
                };
                norm::add_moments(left * rows, mean, variance, more);
            },
        )?;
        let (gamma, beta) = pass.params.split_at(channels);
        let (moving_mean, moving_variance) = pass.state.split_at_mut(channels);
        let (mean, variance) = pass.kept.split_at_mut(channels);
        mean.copy_from_slice(&moments[..channels]);
        variance.copy_from_slice(&moments[channels..]);
        norm::eval_forward(team, x, gamma, beta, mean, variance, self.epsilon, pass.y);
        norm::update_moving(self.momentum, mean, moving_mean);
        norm::update_moving(self.momentum, variance, moving_variance);
        Ok(())
    }

    fn backward_across(&self, pass: Backward<'_>, whole: &mut Whole<'_>) -> Result<()> {
        if pass.mode == Mode::Evaluate {
            self.backward(pass);
            return Ok(());
        }
        let Some(dx) = pass.dx else { return Ok(()) };
        let (inputs, channels) = (pass.input.len(), pass.input.last());
        let rows = whole.samples() * (inputs / channels);
        let (team, x, dy) = (pass.team, pass.x, &*pass.dy);
        let (mean, variance) = pass.kept.split_at(channels);
        let sums = whole.sum(
            2 * channels,
            |samples, sums| {
                let (products, sums) = sums.split_at_mut(channels);
                let part = samples.start * inputs..samples.end * inputs;
                norm::gradient_sums(team, &x[part.clone()], &dy[part], mean, products, sums);
            },
            |_, sums, more| sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more),
        )?;
        let gamma = &pass.params[..channels];
        let (dgamma, dbeta) = pass.grads.split_at_mut(channels);
        dgamma.copy_from_slice(&sums[..channels]);
        dbeta.copy_from_slice(&sums[channels..]);
        norm::backward_of_sums(
            team,
            x,
            dy,
            gamma,
            mean,
            variance,
            self.epsilon,
            rows,
            dx,
            dgamma,
            dbeta,
        );
        Ok(())
    }
}

impl Twin for BatchNorm {
    fn naive_forward(&self, pass: Forward<'_>) {
        let channels = pass.input.last();
        let (gamma, beta) = pass.params.split_at(channels);
        let (moving_mean, moving_variance) = pass.state.split_at_mut(channels);
        let (mean, variance) = pass.kept.split_at_mut(channels);
        let (x, y) = (pass.x, pass.y);
        if pass.mode == Mode::Evaluate {
            variance.copy_from_slice(moving_variance);
            let (mean, variance) = (moving_mean, moving_variance);
            return naive::norm::eval_forward(x, gamma, beta, mean, variance, self.epsilon, y);
        }
        naive::norm::train_forward(x, gamma, beta, self.epsilon, y, mean, variance);
        naive::norm::update_moving(self.momentum, mean, moving_mean);
        naive::norm::update_moving(self.momentum, variance, moving_variance);
    }

    fn naive_backward(&self, pass: Backward<'_>) {
        let Some(dx) = pass.dx else { return };
        let channels = pass.input.last();
        let gamma = &pass.params[..channels];
        let (dgamma, dbeta) = pass.grads.split_at_mut(channels);
        let (mean, variance) = pass.kept.split_at(channels);
        let (x, dy, epsilon) = (pass.x, &*pass.dy, self.epsilon);
        if pass.mode == Mode::Evaluate {
            let scaled = dx.iter_mut().zip(dy).enumerate();
            for (i, (dx, dy)) in scaled {
                let c = i % channels;
                *dx = dy * gamma[c] / (variance[c] + epsilon).sqrt();
            }
            return;
        }
        naive::norm::backward(x, dy, gamma, mean, variance, epsilon, dx, dgamma, dbeta);
    }
}

pub(super) fn examples() -> Vec<Example> {
    let quick = BatchNorm { momentum: 0.8, epsilon: 1e-5 };
    vec![Example::new(Shape::Image([4, 3, 5]), batch_norm()), Example::new(Shape::Flat(7), quick)]
}
