//! Layer normalisation (Ba, Kiros & Hinton 2016) over the last axis.

use serde::{Deserialize, Serialize};
use threadcount_kernels::{naive, row_norm};

use super::*;
use crate::error::Result;
use crate::nn::model::Initializer;

/// `y = gamma (x - mean) / sqrt(variance + epsilon) + beta` with statistics over the last axis of each
/// sample: over all features of a vector, or over the channels of each pixel. Training and evaluation
/// compute the same.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LayerNorm {
    /// Keeps the quotient finite.
    pub epsilon: f32,
}

/// Layer normalisation with Keras's default: epsilon 0.001.
pub fn layer_norm() -> Layer {
    LayerNorm::default().into()
}

impl Default for LayerNorm {
    fn default() -> Self {
        Self { epsilon: 1e-3 }
    }
}

/// PyTorch's layer normalisation is over the last axis, which is not the channels in its images.
const CHANNEL_NORM: &str = "\
class ChannelNorm(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)
";

/// The normalised `x`, and the inverse standard deviation of each row.
fn split_kept(pass_input: Shape, kept: &mut [f32]) -> (&mut [f32], &mut [f32]) {
    let c = pass_input.last();
    let rows = kept.len() / (c + 1);
    kept.split_at_mut(rows * c)
}

impl LayerKind for LayerNorm {
    fn names(&self) -> (&'static str, &'static str) {
        ("LayerNormalization", "layer_normalization")
    }

    fn plan(&self, input: Shape) -> Result<LayerPlan> {
        if !(self.epsilon > 0.0 && self.epsilon.is_finite()) {
            return refuse(format!("layer norm: epsilon must be positive, not {}", self.epsilon));
        }
        let c = input.last();
        let tensor = |name, initializer| TensorPlan::new(name, &[c], initializer);
        let per_sample = input.len().saturating_add(input.len() / c);
        Ok(LayerPlan {
            params: vec![tensor("gamma", Initializer::Ones), tensor("beta", Initializer::Zeros)],
            kept: Kept { per_sample, ..Kept::default() },
            input_gradient: InputGradient::Always,
            ..LayerPlan::new(input, Buffers::Apart)
        })
    }

    fn forward(&self, pass: Forward<'_>) {
        let (gamma, beta) = pass.params.split_at(pass.input.last());
        let (normal, inverse) = split_kept(pass.input, pass.kept);
        row_norm::forward(pass.team, pass.x, gamma, beta, self.epsilon, pass.y, normal, inverse);
    }

    fn backward(&self, pass: Backward<'_>) {
        let Some(dx) = pass.dx else { return };
        let c = pass.input.last();
        let (dgamma, dbeta) = pass.grads.split_at_mut(c);
        let (normal, inverse) = split_kept(pass.input, pass.kept);
        let gamma = &pass.params[..c];
        row_norm::backward(pass.team, pass.dy, gamma, normal, inverse, dx, dgamma, dbeta);
    }

    fn exchange(&self, place: &Place) -> Option<Exchange> {
        let (features, epsilon) = (place.input.last(), self.epsilon);
        let own = View::same(&[features]);
        let sorted = own.clone().channels_first(0, place.image);
        let (class, helper) = match place.input {
            Shape::Image(_) => ("ChannelNorm", CHANNEL_NORM),
            Shape::Flat(_) | Shape::Rows(_) => ("nn.LayerNorm", ""),
        };
        let pytorch = Foreign::new(
            vec![format!("{class}({features}, eps={epsilon})")],
            vec![all("weight", "gamma", sorted.clone()), all("bias", "beta", sorted)],
        );
        Some(Exchange {
            pytorch: Foreign { helper, ..pytorch },
            keras: Foreign::new(
                vec![format!("layers.LayerNormalization(epsilon={epsilon})")],
                vec![all("gamma", "gamma", own.clone()), all("beta", "beta", own)],
            ),
            image: place.image,
        })
    }

    fn twin(&self) -> Option<&dyn Twin> {
        Some(self)
    }

    fn kernel_name(&self) -> &'static str {
        "layer-norm"
    }

    fn kernels(&self, _: &Site, _: &[Layer]) -> Vec<KernelCall> {
        vec![KernelCall::Layer]
    }

    /// The normalised `x` is written too.
    fn forward_traffic(&self, input: Shape, _: Shape) -> Traffic {
        Traffic::floats(3 * input.len(), 3 * input.len())
    }

    /// First reads `dy` and the normalised `x`, and writes `dx` and the products that `dgamma` is the sum
    /// of; then reads these products and `dy` to sum them.
    fn backward_traffic(&self, input: Shape, _: Shape) -> Traffic {
        Traffic::floats(6 * input.len(), 3 * input.len())
    }
}

impl Twin for LayerNorm {
    fn naive_forward(&self, pass: Forward<'_>) {
        let (gamma, beta) = pass.params.split_at(pass.input.last());
        let (normal, inverse) = split_kept(pass.input, pass.kept);
        naive::row_norm::forward(pass.x, gamma, beta, self.epsilon, pass.y, normal, inverse);
    }

    fn naive_backward(&self, pass: Backward<'_>) {
        let Some(dx) = pass.dx else { return };
        let c = pass.input.last();
        let (dgamma, dbeta) = pass.grads.split_at_mut(c);
        let (normal, inverse) = split_kept(pass.input, pass.kept);
        naive::row_norm::backward(pass.dy, &pass.params[..c], normal, inverse, dx, dgamma, dbeta);
    }
}

pub(super) fn examples() -> Vec<Example> {
    vec![
        Example::new(Shape::Flat(9), layer_norm()),
        Example::new(Shape::Image([3, 2, 5]), LayerNorm { epsilon: 1e-5 }),
        Example::new(Shape::Rows([3, 4]), layer_norm()),
    ]
}
