//! Where each layer's data lies in the buffers, for a given batch size. Sizes saturate: what is too large
//! for `usize` is refused when the memory is allocated.

use threadcount_kernels::Activation;

use crate::nn::buffer::lines;
use crate::nn::model::{Buffers, Gradient, InputGradient, Unit};

/// The positions of all layers' data, and the sizes of the buffers that hold them.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) steps: Vec<Step>,
    /// Index of the first layer with parameters that are not frozen: below it no gradient is needed.
    pub(crate) first_trainable: usize,
    /// Floats of the layers' outputs.
    pub(crate) arena: usize,
    /// Floats that layers keep from forward to backward.
    pub(crate) kept: usize,
    /// Bytes for the positions of the winners of max-pooling.
    pub(crate) winners: usize,
    /// Floats of the largest gradient between two layers.
    pub(crate) gradient: usize,
}

/// The positions of one layer's data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// Where its input begins in the arena; `None` for the batch itself.
    pub(crate) x: Option<usize>,
    /// Where its output begins; `None` if that is the batch itself (flatten as first layer).
    pub(crate) y: Option<usize>,
    /// Where what it keeps begins.
    pub(crate) kept: usize,
    /// Where its winners begin.
    pub(crate) winners: usize,
    pub(crate) dx: InputBuffer,
    pub(crate) dy_is: Gradient,
    /// The activation by whose derivative the layer multiplies its `dx`, so that the layer below need not.
    pub(crate) below: Activation,
}

/// Where a layer's input gradient goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InputBuffer {
    /// Nowhere: it is not needed.
    None,
    /// Into the buffer that holds the gradient of the output.
    InPlace,
    /// Into the other buffer.
    Other,
}

impl Layout {
    /// Lays out the data of one layer after another, each starting on a cache line.
    pub(crate) fn new(layers: &[Unit], max_batch: usize) -> Self {
        let first_trainable =
            layers.iter().position(|l| !l.params.is_empty() && !l.frozen).unwrap_or(0);
        let (mut arena, mut kept, mut winners) = (0, 0, 0);
        let mut gradient = layers.last().map_or(0, |last| last.output.len());
        let mut steps: Vec<Step> = Vec::with_capacity(layers.len());
        for (index, layer) in layers.iter().enumerate() {
            let x = steps.last().and_then(|below| below.y);
            let y = match layer.buffers {
                Buffers::Reshape => x,
                _ => Some(take(&mut arena, layer.output.len(), max_batch)),
            };
            let dx = input_buffer(layer, index > first_trainable);
            if dx == InputBuffer::Other {
                gradient = gradient.max(layer.input.len());
            }
            let dy_is = match layer.layer.activation() {
                // There is no derivative to multiply by.
                Activation::Linear => Gradient::OfPreActivation,
                _ => Gradient::OfOutput,
            };
            let below = match dx {
                InputBuffer::Other => fuse(layers, &mut steps, first_trainable, index),
                _ => Activation::Linear,
            };
            let step = Step { x, y, kept, winners, dx, dy_is, below };
            take(&mut kept, layer.kept.per_sample, max_batch);
            take(&mut kept, layer.kept.per_batch, 1);
            winners = winners.saturating_add(layer.kept.winners.saturating_mul(max_batch));
            steps.push(step);
        }
        let gradient = gradient.saturating_mul(max_batch);
        Self { steps, first_trainable, arena, kept, winners, gradient }
    }
}

/// Reserves whole cache lines for `max_batch` samples and returns where they begin.
fn take(end: &mut usize, per_sample: usize, max_batch: usize) -> usize {
    let at = *end;
    *end = at.saturating_add(lines(per_sample.saturating_mul(max_batch)));
    at
}

fn input_buffer(layer: &Unit, wanted: bool) -> InputBuffer {
    match (layer.buffers, layer.input_gradient) {
        (Buffers::GradientInPlace | Buffers::Reshape, _) => InputBuffer::InPlace,
        (Buffers::Apart, InputGradient::Always) => InputBuffer::Other,
        (Buffers::Apart, _) if wanted => InputBuffer::Other,
        (Buffers::Apart, _) => InputBuffer::None,
    }
}

/// Lets layer `index` multiply its `dx` by the derivative of the layer below, if it can, and records that
/// in that layer's step. Returns the activation. Only reshapes may lie between the two layers.
fn fuse(layers: &[Unit], steps: &mut [Step], first_trainable: usize, index: usize) -> Activation {
    if layers[index].input_gradient != InputGradient::TimesDerivative {
        return Activation::Linear;
    }
    let below = layers[..index].iter().rposition(|layer| layer.buffers != Buffers::Reshape);
    match below.filter(|&below| below >= first_trainable) {
        None => Activation::Linear,
        Some(below) => {
            steps[below].dy_is = Gradient::OfPreActivation;
            layers[below].layer.activation()
        }
    }
}
