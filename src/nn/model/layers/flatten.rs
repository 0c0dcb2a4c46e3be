//! Samples of any shape as vectors.

use super::*;
use crate::error::Result;
use serde::{Deserialize, Serialize};

/// The same elements as one vector. Data is row-major with the channels last everywhere, so
/// nothing moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flatten {}

/// Samples of any shape as vectors.
pub fn flatten() -> Layer {
    Flatten {}.into()
}

impl LayerKind for Flatten {
    fn names(&self) -> (&'static str, &'static str) {
        ("Flatten", "flatten")
    }

    fn plan(&self, input: Shape) -> Result<LayerPlan> {
        Ok(LayerPlan::new(Shape::Flat(input.len()), Buffers::Reshape))
    }

    fn forward(&self, _: Forward<'_>) {}

    fn backward(&self, _: Backward<'_>) {}

    /// PyTorch flattens an image channel by channel, so tensors with a number for each element of the
    /// vector have that order there.
    fn exchange(&self, place: &Place) -> Option<Exchange> {
        let flattened = match place.input {
            // Otherwise both orders are the same.
            Shape::Image([h, w, c]) if h * w > 1 && c > 1 => Some([h, w, c]),
            _ => place.image,
        };
        let plain = Exchange::without_tensors(place, "nn.Flatten()", "layers.Flatten()");
        Some(Exchange { image: flattened, ..plain })
    }

    fn twin(&self) -> Option<&dyn Twin> {
        Some(self)
    }
}

impl Twin for Flatten {
    fn naive_forward(&self, _: Forward<'_>) {}

    fn naive_backward(&self, _: Backward<'_>) {}
}

pub(super) fn examples() -> Vec<Example> {
    vec![Example::new(Shape::Image([2, 3, 4]), flatten())]
}
