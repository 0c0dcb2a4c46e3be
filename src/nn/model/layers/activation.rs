//! An activation as a layer.

use serde::{Deserialize, Serialize};
use threadcount_kernels::{Activation, activation as kernel, naive};

use super::text;
use super::*;
use crate::error::Result;

/// Any activation as a layer of its own, for use where another layer stands between it and the layer that
/// would otherwise apply it.
pub fn activation(activation: Activation) -> Layer {
    Layer::new(activation)
}

/// `max(x, slope x)` as a layer.
pub fn leaky_relu(slope: f32) -> Layer {
    activation(Activation::LeakyRelu { slope })
}

impl LayerKind for Activation {
    fn names(&self) -> (&'static str, &'static str) {
        match self {
            Self::Relu => ("ReLU", "re_lu"),
            Self::LeakyRelu { .. } => ("LeakyReLU", "leaky_re_lu"),
            Self::Linear | Self::Sigmoid | Self::Tanh => ("Activation", "activation"),
        }
    }

    fn plan(&self, input: Shape) -> Result<LayerPlan> {
        check_activation(*self)?;
        Ok(LayerPlan::new(input, Buffers::GradientInPlace))
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

    fn exchange(&self, place: &Place) -> Option<Exchange> {
        let keras = match self {
            Self::LeakyRelu { .. } => exchange::keras_activation(*self),
            other => format!("layers.Activation({})", exchange::keras_activation(*other)),
        };
        Some(Exchange::without_tensors(place, exchange::pytorch_activation(*self), keras))
    }

    fn twin(&self) -> Option<&dyn Twin> {
        Some(self)
    }

    fn with_option(&self, option: LayerOption) -> Option<Layer> {
        match option {
            LayerOption::HiddenActivation(new) if *self != Self::Linear => Some(activation(new)),
            _ => None,
        }
    }

    fn kernel_name(&self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Relu => "relu",
            Self::LeakyRelu { .. } => "leaky-relu",
            Self::Sigmoid => "sigmoid",
            Self::Tanh => "tanh",
        }
    }

    fn kernels(&self, _: &Site, _: &[Layer]) -> Vec<KernelCall> {
        sweep_of(*self).into_iter().collect()
    }
}

/// The pass of an activation over a layer's outputs; `None` if it is linear.
pub(super) fn sweep_of(activation: Activation) -> Option<KernelCall> {
    (activation != Activation::Linear).then_some(KernelCall::Activation(activation))
}

impl Twin for Activation {
    fn naive_forward(&self, pass: Forward<'_>) {
        naive::activation::forward(*self, pass.x, pass.y);
    }

    fn naive_backward(&self, pass: Backward<'_>) {
        naive::activation::backward(*self, pass.y, pass.dy);
    }
}

pub(super) const KIND: Kind = Kind {
    name: "activation",
    examples,
    read: |settings| Settings::deserialize(settings).map(|read| activation(read.activation)),
    write: |layer| {
        let &activation = layer.get::<Activation>()?;
        Some(crate::toml_file::inline(&Settings { activation }))
    },
};

/// The layer in files.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(with = "text::ActivationText")]
    activation: Activation,
}

fn examples() -> Vec<Example> {
    let [relu, leaky] = [Activation::Relu, Activation::LeakyRelu { slope: 0.2 }];
    [relu, leaky, Activation::Sigmoid, Activation::Tanh, Activation::Linear]
        .map(|activation| Example::new(Shape::Image([2, 3, 2]), activation))
        .into()
}
