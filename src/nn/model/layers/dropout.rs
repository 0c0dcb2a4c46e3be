//! Inverted dropout (Srivastava et al. 2014).

use serde::{Deserialize, Serialize};
use threadcount_kernels::{Activation, activation, dropout as kernel, naive};

use super::*;
use crate::error::Result;

/// In training, sets each element to zero with probability `rate` and divides the others by
/// `1 - rate`; otherwise passes everything on. The mask is a function of the seed, the epoch, the
/// layer, the sample's position in the epoch and the element, so it does not depend on how an
/// epoch is cut into batches, and backward draws it again instead of reading it from memory.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropout {
    /// Share of elements that are dropped, in `[0, 1)`.
    pub rate: f32,
}

/// Drops elements with probability `rate` in training.
pub fn dropout(rate: f32) -> Layer {
    Dropout { rate }.into()
}

impl Dropout {
    /// The masks of a pass; none where nothing is dropped.
    pub(super) fn mask(self, mode: Mode) -> Option<kernel::Dropout> {
        match mode {
            Mode::Train { key, first_sample } if self.rate > 0.0 => {
                Some(kernel::Dropout { rate: self.rate, key, first_sample })
            }
            _ => None,
        }
    }
}

impl LayerKind for Dropout {
    fn names(&self) -> (&'static str, &'static str) {
        ("Dropout", "dropout")
    }

    fn plan(&self, input: Shape) -> Result<LayerPlan> {
        if !(0.0..1.0).contains(&self.rate) {
            return refuse(format!("dropout: the rate must be in [0, 1), not {}", self.rate));
        }
        Ok(LayerPlan::new(input, Buffers::GradientInPlace))
    }

    fn forward(&self, pass: Forward<'_>) {
        match self.mask(pass.mode) {
            Some(mask) => kernel::forward(pass.team, &mask, pass.input.len(), pass.x, pass.y),
            None => activation::forward(pass.team, Activation::Linear, pass.x, pass.y),
        }
    }

    fn backward(&self, pass: Backward<'_>) {
        if let Some(mask) = self.mask(pass.mode) {
            kernel::backward(pass.team, &mask, pass.input.len(), pass.dy);
        }
    }

    fn exchange(&self, place: &Place) -> Option<Exchange> {
        let rate = self.rate;
        Some(Exchange::without_tensors(
            place,
            format!("nn.Dropout({rate})"),
            format!("layers.Dropout({rate})"),
        ))
    }

    fn twin(&self) -> Option<&dyn Twin> {
        Some(self)
    }

    fn with_option(&self, option: LayerOption) -> Option<Layer> {
        match option {
            LayerOption::DropoutRate(rate) => Some(dropout(rate)),
            _ => None,
        }
    }

    fn kernels(&self, _: &Site, _: &[Layer]) -> Vec<KernelCall> {
        vec![KernelCall::Layer]
    }

    /// The mask is drawn again.
    fn backward_traffic(&self, input: Shape, _: Shape) -> Traffic {
        Traffic::floats(2 * input.len(), input.len())
    }
}

impl Twin for Dropout {
    fn naive_forward(&self, pass: Forward<'_>) {
        match self.mask(pass.mode) {
            Some(mask) => naive::dropout::forward(&mask, pass.input.len(), pass.x, pass.y),
            None => pass.y.copy_from_slice(pass.x),
        }
    }

    fn naive_backward(&self, pass: Backward<'_>) {
        if let Some(mask) = self.mask(pass.mode) {
            naive::dropout::backward(&mask, pass.input.len(), pass.dy);
        }
    }
}

pub(super) fn examples() -> Vec<Example> {
    vec![
        Example::new(Shape::Flat(9), dropout(0.4)),
        Example::new(Shape::Image([3, 4, 2]), dropout(0.0)),
    ]
}
