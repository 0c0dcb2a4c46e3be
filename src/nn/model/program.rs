//! What is executed for a plan: its layers, or several of them as one if a kernel computes them together.
//! Users see the plan; only networks see the program.

use std::ops::Range;

use super::layer::{Buffers, Fused, InputGradient, Kept, Layer};
use super::plan::{Plan, PlannedLayer};
use crate::data::Shape;

/// What is executed as one: a layer, or several.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    /// The layer that is executed.
    pub(crate) layer: Layer,
    /// The index in the plan of the layer whose dropout masks are drawn.
    pub(crate) masked_layer: usize,
    /// The plan's layers that it stands for.
    pub(crate) layers: Range<usize>,
    /// Shape of one input sample.
    pub(crate) input: Shape,
    /// Shape of one output sample.
    pub(crate) output: Shape,
    /// Parameters in the flat buffer.
    pub(crate) params: Range<usize>,
    /// Moving statistics in the flat buffer.
    pub(crate) state: Range<usize>,
    /// Whether training leaves both as they are.
    pub(crate) frozen: bool,
    pub(crate) kept: Kept,
    pub(crate) buffers: Buffers,
    pub(crate) input_gradient: InputGradient,
}

impl Unit {
    fn of(layer: &PlannedLayer, index: usize) -> Self {
        Self {
            layer: layer.layer.clone(),
            masked_layer: index,
            layers: index..index + 1,
            input: layer.input,
            output: layer.output,
            params: layer.params.clone(),
            state: layer.state.clone(),
            frozen: layer.frozen,
            kept: layer.kept,
            buffers: layer.buffers,
            input_gradient: layer.input_gradient,
        }
    }
}

/// The units of a plan, in order.
pub(crate) fn program(plan: &Plan) -> Vec<Unit> {
    let planned = plan.layers();
    let layers: Vec<Layer> = planned.iter().map(|layer| layer.layer.clone()).collect();
    let mut units = Vec::with_capacity(layers.len());
    let mut index = 0;
    while index < layers.len() {
        let unit = fused(plan, &layers, index).unwrap_or_else(|| Unit::of(&planned[index], index));
        index = unit.layers.end;
        units.push(unit);
    }
    units
}

/// The layers from `index` on as one, if a kernel computes them together.
fn fused(plan: &Plan, layers: &[Layer], index: usize) -> Option<Unit> {
    let (layer, behind) = layers[index..].split_first()?;
    let Fused { layer, count, masked } = layer.fuse(behind, plan.position(index))?;
    let first = &plan.layers()[index];
    // Each of these layers is planned already, so this has no error.
    let planned = layer.plan(first.input).ok()?;
    Some(Unit {
        layer,
        masked_layer: index + masked,
        layers: index..index + count,
        output: planned.output,
        kept: planned.kept,
        buffers: planned.buffers,
        input_gradient: planned.input_gradient,
        ..Unit::of(first, index)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::*;

    fn units(layers: &[Layer]) -> Vec<Range<usize>> {
        let plan = Plan::new(Shape::Image([12, 12, 1]), layers).unwrap();
        let units = program(&plan);
        assert_eq!(units.last().unwrap().output, plan.output());
        units.into_iter().map(|unit| unit.layers).collect()
    }

    #[test]
    fn a_convolution_and_its_pool_are_one() {
        let conv = || conv2d(3, 3, Padding::Same, Activation::Relu);
        assert_eq!(
            units(&[conv(), max_pool(2), conv(), dropout(0.5), max_pool(2), conv(), flatten()]),
            [0..2, 2..5, 5..6, 6..7]
        );
    }

    #[test]
    fn what_no_kernel_does_stays_apart() {
        let conv = || conv2d(3, 3, Padding::Same, Activation::Relu);
        let layers = [conv(), max_pool(3), conv(), average_pool(2), conv(), batch_norm()];
        assert_eq!(units(&layers), [0..1, 1..2, 2..3, 3..4, 4..5, 5..6]);
        let layers = [conv(), dropout(0.5), dropout(0.5), max_pool(2)];
        assert_eq!(units(&layers), [0..1, 1..2, 2..3, 3..4]);
    }
}
