//! Samples of any shape as vectors.

use super::{Backward, Flow, Forward, Layer, LayerOps, LayerPlan};
use crate::error::Result;
use crate::nn::shape::Shape;

/// The same elements as one vector. Data is row-major with the channels last everywhere, so
/// nothing moves.
pub(super) struct Flatten;

/// Samples of any shape as vectors.
pub const fn flatten() -> Layer {
    Layer::Flatten
}

impl LayerOps for Flatten {
    fn names(&self) -> (&'static str, &'static str) {
        ("Flatten", "flatten")
    }

    fn plan(&self, input: Shape) -> Result<LayerPlan> {
        Ok(LayerPlan::new(Shape::Flat(input.len()), Flow::Reshape))
    }

    fn forward(&self, _: Forward<'_>) {}

    fn backward(&self, _: Backward<'_>) {}
}
