//! The plan of a list of layers, made before any memory is allocated: the shapes between the layers, and
//! every tensor with its name and its place in the flat buffers.

use std::ops::Range;

use threadcount_kernels::gather::Cut;

use super::init::Initializer;
use super::layer::{Buffers, InputGradient, Kept, Layer, Position, TensorPlan};
use super::test_augment::TestAugment;
use super::work::{Flops, KernelCall, Site};
use crate::data::{Shape, elements};
use crate::error::{Error, Result};

/// A named slice of a flat buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// The layer's name and the tensor's own, as `conv2d_1/kernel`.
    pub name: String,
    /// Sizes of its axes, row-major.
    pub shape: Vec<usize>,
    /// Its elements in the flat buffer.
    pub range: Range<usize>,
    pub(crate) initializer: Initializer,
    /// Whether it belongs to a frozen layer.
    pub(crate) frozen: bool,
}

impl Tensor {
    /// Whether weight decay applies to it: to matrices and kernels, but not to biases, scales and frozen
    /// layers.
    pub fn decays(&self) -> bool {
        self.shape.len() > 1 && !self.frozen
    }
}

/// One layer, with its place in a network.
#[derive(Clone, Debug)]
pub struct PlannedLayer {
    /// The layer as it was specified.
    pub layer: Layer,
    /// Unique in the network: Keras's stem, with a number from the second layer of a kind on.
    pub name: String,
    /// Shape of one input sample.
    pub input: Shape,
    /// Shape of one output sample.
    pub output: Shape,
    /// Its parameters in the flat buffer.
    pub params: Range<usize>,
    /// Its moving statistics in the flat buffer.
    pub state: Range<usize>,
    /// Whether training leaves it as it is: [`Plan::freeze`].
    pub frozen: bool,
    pub(crate) kept: Kept,
    pub(crate) buffers: Buffers,
    pub(crate) input_gradient: InputGradient,
}

impl PlannedLayer {
    /// Keras's name of the kind of layer.
    pub fn class_name(&self) -> &'static str {
        self.layer.names().0
    }

    /// All the numbers it holds: trained ones and moving statistics.
    pub fn parameter_count(&self) -> usize {
        self.params.len() + self.state.len()
    }
}

/// A checked list of layers: everything about a network that does not depend on the batch.
#[derive(Clone, Debug)]
pub struct Plan {
    input: Shape,
    layers: Vec<PlannedLayer>,
    params: Vec<Tensor>,
    state: Vec<Tensor>,
    test_augment: TestAugment,
}

impl Plan {
    /// Follows the shapes from `input` through `layers`.
    ///
    /// # Errors
    /// [`Error::Usage`] that names the layer that does not fit, or that is larger than any memory.
    pub fn new(input: Shape, layers: &[Layer]) -> Result<Self> {
        if input.is_empty() {
            return Err(Error::Usage(format!("samples of shape {input} have no elements")));
        }
        let mut plan = Self {
            input,
            layers: Vec::new(),
            params: Vec::new(),
            state: Vec::new(),
            test_augment: TestAugment::None,
        };
        for layer in layers {
            plan.push(layer)?;
        }
        if plan.params.is_empty() {
            return Err(Error::Usage("a network needs a layer with parameters".into()));
        }
        Ok(plan)
    }

    fn push(&mut self, layer: &Layer) -> Result<()> {
        let input = self.output();
        let (_, stem) = layer.names();
        let name = match self.layers.iter().filter(|l| l.layer.names().1 == stem).count() {
            0 => stem.to_owned(),
            earlier => format!("{stem}_{earlier}"),
        };
        let at = |fault: &str| Error::Usage(format!("layer {}, {fault}", self.layers.len() + 1));
        let plan = layer.plan(input).map_err(|error| at(&error.to_string()))?;
        let too_large =
            || at(&format!("{stem} would hold more elements than memory has addresses"));
        let params = append(&mut self.params, &name, plan.params);
        let state = append(&mut self.state, &name, plan.state);
        if plan.output.len() == usize::MAX {
            return Err(too_large());
        }
        let (Some(params), Some(state)) = (params, state) else { return Err(too_large()) };
        self.layers.push(PlannedLayer {
            layer: layer.clone(),
            name,
            input,
            output: plan.output,
            params,
            state,
            frozen: false,
            kept: plan.kept,
            buffers: plan.buffers,
            input_gradient: plan.input_gradient,
        });
        Ok(())
    }

    /// Shape of one input sample.
    pub fn input(&self) -> Shape {
        self.input
    }

    /// Shape of one output sample.
    pub fn output(&self) -> Shape {
        self.layers.last().map_or(self.input, |layer| layer.output)
    }

    /// The layers in order.
    pub fn layers(&self) -> &[PlannedLayer] {
        &self.layers
    }

    /// Marks the layers with these indices as frozen, and all others as learning.
    pub(super) fn mark_frozen(&mut self, layers: &[usize]) {
        for (index, layer) in self.layers.iter_mut().enumerate() {
            layer.frozen = layers.contains(&index);
            for tensor in &mut self.params {
                if layer.params.contains(&tensor.range.start) {
                    tensor.frozen = layer.frozen;
                }
            }
        }
    }

    /// What is predicted from: the sample alone, or changed copies of it too.
    pub fn test_augment(&self) -> TestAugment {
        self.test_augment
    }

    pub(super) fn set_test_augment(&mut self, augment: TestAugment) {
        self.test_augment = augment;
    }

    /// The parameters in the flat buffer of all layers that are not frozen; adjacent ranges are joined.
    pub fn learning(&self) -> Vec<Range<usize>> {
        let layers = self.layers.iter().filter(|layer| !layer.frozen);
        joined(layers.map(|layer| layer.params.clone()))
    }

    /// Whether training needs the input gradient of layer `index`.
    pub fn position(&self, index: usize) -> Position {
        let learns = |below: &PlannedLayer| !below.params.is_empty() && !below.frozen;
        match !self.layers[..index].iter().any(learns) {
            true => Position::First,
            false => Position::Inner,
        }
    }

    /// How threads should share the gathering of a batch: as the first layer that reads it asks for.
    pub fn input_cut(&self) -> Cut {
        let first = self.layers.iter().find(|layer| layer.buffers != Buffers::Reshape);
        first.map_or(Cut::Rows, |planned| planned.layer.input_cut())
    }

    /// The kernels that a training step with `batch` samples runs for layer `index`.
    pub fn kernels(&self, index: usize, batch: usize) -> Vec<KernelCall> {
        let PlannedLayer { layer, input, output, .. } = &self.layers[index];
        let behind: Vec<Layer> = self.layers[index + 1..].iter().map(|l| l.layer.clone()).collect();
        let (input, output, position) = (*input, *output, self.position(index));
        layer.kernels(&Site { input, output, batch, position }, &behind)
    }

    /// The operations of each layer's products in a training step, for one sample.
    pub fn flops(&self) -> Vec<Flops> {
        let of = |index: usize| {
            let flops: Flops = self.kernels(index, 1).iter().map(KernelCall::flops).sum();
            match self.layers[index].frozen {
                true => Flops { by_weights: 0.0, ..flops },
                false => flops,
            }
        };
        (0..self.layers.len()).map(of).collect()
    }

    /// The operations of all layers' products in a training step, for one sample.
    pub fn flops_per_sample(&self) -> f64 {
        self.flops().iter().map(Flops::total).sum()
    }

    /// What the optimizer trains, in the order of the flat buffer, without gaps.
    pub fn params(&self) -> &[Tensor] {
        &self.params
    }

    /// Moving statistics, in the order of their flat buffer, without gaps.
    pub fn state(&self) -> &[Tensor] {
        &self.state
    }

    /// Elements of the parameter buffer.
    pub fn trainable_count(&self) -> usize {
        self.params.last().map_or(0, |tensor| tensor.range.end)
    }

    /// Elements of the state buffer.
    pub fn non_trainable_count(&self) -> usize {
        self.state.last().map_or(0, |tensor| tensor.range.end)
    }

    /// All the numbers a trained network consists of, as Keras counts them: parameters and moving
    /// statistics.
    pub fn parameter_count(&self) -> usize {
        self.trainable_count() + self.non_trainable_count()
    }
}

/// The ranges that are not empty, in order; adjacent ones are joined.
pub(crate) fn joined(all: impl Iterator<Item = Range<usize>>) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for range in all.filter(|range| !range.is_empty()) {
        match ranges.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => ranges.push(range),
        }
    }
    ranges
}

/// Places `plans` after the existing tensors. `None` if the end overflows. Half of `usize` is the limit, so
/// that parameters and state can be added up.
fn append(tensors: &mut Vec<Tensor>, layer: &str, plans: Vec<TensorPlan>) -> Option<Range<usize>> {
    let start = tensors.last().map_or(0, |tensor| tensor.range.end);
    let mut end = start;
    for TensorPlan { name, shape, initializer } in plans {
        let from = end;
        end = from.checked_add(elements(&shape)).filter(|&end| end <= usize::MAX / 2)?;
        let name = format!("{layer}/{name}");
        tensors.push(Tensor { name, shape, range: from..end, initializer, frozen: false });
    }
    Some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::*;

    #[test]
    fn names_are_numbered_per_kind_and_ranges_have_no_gaps() {
        let plan = Plan::new(
            Shape::Image([28, 28, 1]),
            &[
                conv2d(32, 3, Padding::Valid, Activation::Relu),
                batch_norm(),
                max_pool(2),
                conv2d(64, 3, Padding::Valid, Activation::Relu),
                flatten(),
                dense(10, Activation::Linear),
            ],
        )
        .unwrap();
        let names: Vec<&str> = plan.params().iter().map(|t| t.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "conv2d/kernel",
                "conv2d/bias",
                "batch_normalization/gamma",
                "batch_normalization/beta",
                "conv2d_1/kernel",
                "conv2d_1/bias",
                "dense/kernel",
                "dense/bias"
            ]
        );
        for tensor in plan.params() {
            assert_eq!(tensor.decays(), tensor.name.ends_with("kernel"), "{}", tensor.name);
        }
        let mut end = 0;
        for tensor in plan.params() {
            assert_eq!(tensor.range.start, end);
            assert_eq!(tensor.range.len(), tensor.shape.iter().product::<usize>());
            end = tensor.range.end;
        }
        let by_hand = (9 * 32 + 32) + 64 + (9 * 32 * 64 + 64) + (11 * 11 * 64 * 10 + 10);
        assert_eq!((plan.trainable_count(), end), (by_hand, by_hand));
        assert_eq!(plan.non_trainable_count(), 64);
        assert_eq!(plan.layers()[3].input, Shape::Image([13, 13, 32]));
    }

    #[test]
    fn what_does_not_fit_is_a_usage_error_that_names_the_layer() {
        let linear = Activation::Linear;
        let image = Shape::Image([5, 5, 1]);
        let flat = Shape::Flat(4);
        let huge = usize::MAX / 2;
        let cases: [(Shape, &[Layer], &str); 18] = [
            (image, &[conv2d(2, 6, Padding::Valid, linear)], "6x6"),
            (image, &[conv2d(0, 3, Padding::Valid, linear)], "filter"),
            (image, &[conv2d(1, 0, Padding::Same, linear)], "window"),
            (image, &[conv2d(huge, 3, Padding::Same, linear)], "memory"),
            (image, &[dense(3, linear)], "flatten"),
            (image, &[flatten(), dense(0, linear)], "unit"),
            (image, &[max_pool(0)], "window"),
            (image, &[max_pool(6)], "6x6"),
            (image, &[average_pool(17)], "window"),
            (image, &[flatten(), conv2d(2, 3, Padding::Valid, linear)], "image"),
            (flat, &[dropout(1.0)], "rate"),
            (flat, &[dropout(f32::NAN)], "rate"),
            (flat, &[lstm(3)], "rows"),
            (Shape::Rows([3, 2]), &[simple_rnn(0)], "unit"),
            (Shape::Rows([3, 2]), &[lstm(huge)], "memory"),
            (flat, &[leaky_relu(-0.1)], "slope"),
            (flat, &[dense(huge, linear), dense(huge, linear)], "layer 1, dense"),
            (flat, &[flatten()], "parameters"),
        ];
        for (input, layers, word) in cases {
            match Plan::new(input, layers) {
                Err(Error::Usage(text)) => assert!(text.contains(word), "{layers:?}: {text}"),
                other => panic!("{layers:?}: {other:?}"),
            }
        }
        assert!(Plan::new(Shape::Flat(0), &[dense(1, linear)]).is_err());
        assert!(
            Plan::new(Shape::Image([usize::MAX, 2, 2]), &[flatten(), dense(1, linear)]).is_err()
        );
    }
}
