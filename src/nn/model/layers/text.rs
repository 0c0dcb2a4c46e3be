//! How settings of layers are written in files, for types that the kernels' crate defines.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use threadcount_kernels::{Activation, Padding};

/// The activation of a layer whose file names none.
pub(super) fn linear() -> Activation {
    Activation::Linear
}

/// The padding of a convolution whose file names none.
pub(super) fn valid() -> Padding {
    Padding::Valid
}

/// `"relu"`, or `{ leaky-relu = 0.1 }` with the slope.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ActivationText {
    Linear,
    Relu,
    LeakyRelu(f32),
    Sigmoid,
    Tanh,
}

impl ActivationText {
    pub(super) fn serialize<S: Serializer>(
        activation: &Activation,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let text = match *activation {
            Activation::Linear => Self::Linear,
            Activation::Relu => Self::Relu,
            Activation::LeakyRelu { slope } => Self::LeakyRelu(slope),
            Activation::Sigmoid => Self::Sigmoid,
            Activation::Tanh => Self::Tanh,
        };
        Serialize::serialize(&text, serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Activation, D::Error> {
        Ok(match <Self as Deserialize>::deserialize(deserializer)? {
            Self::Linear => Activation::Linear,
            Self::Relu => Activation::Relu,
            Self::LeakyRelu(slope) => Activation::LeakyRelu { slope },
            Self::Sigmoid => Activation::Sigmoid,
            Self::Tanh => Activation::Tanh,
        })
    }
}

/// `"valid"` or `"same"`.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Padding", rename_all = "kebab-case")]
pub(super) enum PaddingText {
    Valid,
    Same,
}
