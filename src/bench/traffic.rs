//! What the elementwise phases of a training step read and write.

use crate::nn::{Layer, Network, Plan, PlannedLayer, Pooling, Saved, Shape};
use std::iter::Sum;
use std::ops::{Add, Mul};

/// Bytes of a number.
const FLOAT: f64 = 4.0;

/// Bytes of one sample, or of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Traffic {
    /// Read and written, each buffer once in each direction.
    pub bytes: f64,
    /// Of the buffers themselves: what is changed in place is read and written, but there once.
    pub buffers: f64,
}

impl Traffic {
    /// Floats that are read or written in that many buffers.
    fn floats(moved: usize, held: usize) -> Self {
        Self { bytes: FLOAT * moved as f64, buffers: FLOAT * held as f64 }
    }

    /// Picking a batch: pixels as bytes, out of all there are, and as floats.
    pub fn gather(input: Shape, batch: f64, samples: f64) -> Self {
        let pixels = input.len() as f64;
        let bytes = (1.0 + FLOAT) * batch * pixels;
        Self { bytes, buffers: samples * pixels + FLOAT * batch * pixels }
    }

    /// A layer's forward pass: from `x` to `y`.
    pub fn forward(layer: &PlannedLayer) -> Self {
        let floats = layer.input.len() + layer.output.len();
        Self::floats(floats, floats) + Self::winners(layer)
    }

    /// A layer's backward pass. `dy` becomes `dx` in place, but for pools and normalisation.
    pub fn backward(layer: &PlannedLayer) -> Self {
        let (x, y) = (layer.input.len(), layer.output.len());
        match layer.layer {
            // `x` and `dy` to `dx`.
            Layer::BatchNorm(_) => Self::floats(3 * x, 3 * x),
            Layer::Pool2d(_) => Self::floats(x + y, x + y) + Self::winners(layer),
            // The mask is drawn again.
            Layer::Dropout(_) => Self::floats(2 * x, x),
            // The derivative is taken where the output is `y`.
            _ => Self::floats(3 * x, 2 * x),
        }
    }

    /// The loss: from the outputs to their gradient.
    pub fn loss(plan: &Plan) -> Self {
        let floats = 2 * plan.output().len();
        Self::floats(floats, floats)
    }

    /// An optimizer's sweep: gradients are read, parameters and what it keeps beside them read and
    /// written.
    pub fn update(network: &Network) -> Self {
        let swept: usize = network.swept().iter().map(|range| range.len()).sum();
        let kept = network.tensors(Saved::Optimizer).len() / network.plan().params().len() * swept;
        Self::floats(3 * swept + 2 * kept, 2 * swept + kept)
    }

    /// A whole step: the layers both ways, the loss, and every parameter read on both ways and moved
    /// once, with what the optimizer keeps beside it.
    pub fn step(network: &Network, batch_size: usize) -> Self {
        let plan = network.plan();
        let both_ways = |layer| Self::forward(layer) + Self::backward(layer);
        let layers: Self = plan.layers().iter().map(both_ways).sum();
        let params = plan.trainable_count();
        let kept = network.tensors(Saved::Optimizer).len() / plan.params().len() * params;
        let moved = Self::floats(4 * params + 2 * kept, params + kept);
        (layers + Self::loss(plan)) * batch_size as f64 + moved
    }

    /// The places of max-pooling's winners, a byte each.
    fn winners(layer: &PlannedLayer) -> Self {
        match layer.layer {
            Layer::Pool2d(pool) if pool.pooling == Pooling::Max => {
                let bytes = layer.output.len() as f64;
                Self { bytes, buffers: bytes }
            }
            _ => Self::default(),
        }
    }
}

impl Add for Traffic {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { bytes: self.bytes + other.bytes, buffers: self.buffers + other.buffers }
    }
}

impl Sum for Traffic {
    fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
        items.fold(Self::default(), |sum, item| sum + item)
    }
}

/// Of so many samples.
impl Mul<f64> for Traffic {
    type Output = Self;

    fn mul(self, samples: f64) -> Self {
        Self { bytes: self.bytes * samples, buffers: self.buffers * samples }
    }
}
