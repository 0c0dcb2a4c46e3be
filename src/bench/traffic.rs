//! What the phases of a training step read and write that are bound by memory.

use crate::nn::{Network, Plan, PlannedLayer, Shape, Traffic};

/// Picking a batch: pixels as bytes, out of all there are, and as floats.
pub(super) fn gather(input: Shape, batch: f64, samples: f64) -> Traffic {
    let pixels = input.len() as f64;
    let bytes = (1.0 + Traffic::FLOAT) * batch * pixels;
    Traffic { bytes, buffers: samples * pixels + Traffic::FLOAT * batch * pixels }
}

/// A layer's forward pass, of one sample.
pub(super) fn forward(planned: &PlannedLayer) -> Traffic {
    planned.layer.forward_traffic(planned.input, planned.output)
}

/// A layer's backward pass, of one sample.
pub(super) fn backward(planned: &PlannedLayer) -> Traffic {
    planned.layer.backward_traffic(planned.input, planned.output)
}

/// The loss, of one sample: from the outputs to their gradient.
pub(super) fn loss(plan: &Plan) -> Traffic {
    let floats = 2 * plan.output().len();
    Traffic::floats(floats, floats)
}

/// An optimizer's sweep: gradients are read, parameters and what it keeps beside them read and
/// written.
pub(super) fn update(network: &Network) -> Traffic {
    let swept: usize = network.swept().iter().map(|range| range.len()).sum();
    let kept = network.optimizer().buffers().len() * swept;
    Traffic::floats(3 * swept + 2 * kept, 2 * swept + kept)
}

/// A whole step: the layers both ways, the loss, and every parameter read on both ways and moved
/// once, with what the optimizer keeps beside it.
pub(super) fn step(network: &Network, batch_size: usize) -> Traffic {
    let plan = network.plan();
    let layers: Traffic = plan.layers().iter().map(|layer| forward(layer) + backward(layer)).sum();
    let params = plan.trainable_count();
    let kept = network.optimizer().buffers().len() * params;
    let moved = Traffic::floats(4 * params + 2 * kept, params + kept);
    (layers + loss(plan)) * batch_size as f64 + moved
}
