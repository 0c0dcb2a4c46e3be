//! An activation as a layer of its own.

use threadcount_kernels::{Activation, activation as kernel};

use super::{Backward, Flow, Forward, Layer, LayerOps, LayerPlan, check_activation};
use crate::error::Result;
use crate::nn::shape::Shape;

/// Any activation as a layer.
pub const fn activation(activation: Activation) -> Layer {
    Layer::Activation(activation)
}

/// `max(x, slope x)` as a layer.
pub const fn leaky_relu(slope: f32) -> Layer {
    Layer::Activation(Activation::LeakyRelu { slope })
}

impl LayerOps for Activation {
    fn names(&self) -> (&'static str, &'static str) {
        match self {
            Self::Relu => ("ReLU", "re_lu"),
            Self::LeakyRelu { .. } => ("LeakyReLU", "leaky_re_lu"),
            Self::Linear | Self::Sigmoid | Self::Tanh => ("Activation", "activation"),
        }
    }

    fn plan(&self, input: Shape) -> Result<LayerPlan> {
        check_activation(*self)?;
        Ok(LayerPlan::new(input, Flow::GradientInPlace))
    }

    fn activation(&self) -> Activation {
        *self
    }

    fn forward(&self, pass: Forward<'_>) {
        kernel::forward(pass.team, *self, pass.x, pass.y);
    }

    fn backward(&self, mut pass: Backward<'_>) {
        pass.dz(*self);
    }
}
