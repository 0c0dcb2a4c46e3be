//! What the memory-bound phases of a training step read and write.

use crate::nn::{Network, Plan, PlannedLayer, Shape, Traffic};

/// Gathering a batch: pixels are read as bytes, out of all samples, and written as floats.
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

/// An optimizer's sweep: gradients are read, parameters and the optimizer's buffers are read and written.
pub(super) fn update(network: &Network) -> Traffic {
    let swept: usize = network.swept().iter().map(|range| range.len()).sum();
    let kept = network.optimizer().buffers().len() * swept;
    Traffic::floats(3 * swept + 2 * kept, 2 * swept + kept)
}

/// A whole step: the layers in both passes, the loss, and every parameter, which is read in both passes and
/// updated once, with the optimizer's buffers.
pub(super) fn step(network: &Network, batch_size: usize) -> Traffic {
    let plan = network.plan();
    let layers: Traffic = plan.layers().iter().map(|layer| forward(layer) + backward(layer)).sum();
    let params = plan.trainable_count();
    let kept = network.optimizer().buffers().len() * params;
    let moved = Traffic::floats(4 * params + 2 * kept, params + kept);
    (layers + loss(plan)) * batch_size as f64 + moved
}
