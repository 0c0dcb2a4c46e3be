//! The floating-point operations of a training step: those of the products, by the plain algorithm.
//! They depend on the network alone, so a rate in them compares whatever computes it.

use super::shapes::{Place, window};
use crate::nn::{Layer, Plan, PlannedLayer};

/// Operations of a layer for one sample, a multiplication and an addition each counted. Only products
/// count, of dense, convolutional (every tap, in the padding too) and recurrent layers; what is done to
/// each element once is left out, and so is the gradient by the images, which nobody needs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Flops {
    /// From input to output.
    pub forward: f64,
    /// The gradient by the weights.
    pub by_weights: f64,
    /// The gradient by the input; of a recurrent layer, also that by its earlier states.
    pub by_input: f64,
}

impl Flops {
    /// Those of each layer of a plan.
    pub fn of_layers(plan: &Plan) -> Vec<Self> {
        let mut place = Place::First;
        let mut all = Vec::new();
        for layer in plan.layers() {
            all.push(Self::of(layer, place));
            if !layer.params.is_empty() {
                place = Place::Inner;
            }
        }
        all
    }

    /// Those of a whole training step, for one sample.
    pub fn of_step(plan: &Plan) -> f64 {
        Self::of_layers(plan).iter().map(Self::total).sum()
    }

    /// All of them.
    pub fn total(&self) -> f64 {
        self.forward + self.by_weights + self.by_input
    }

    fn of(layer: &PlannedLayer, place: Place) -> Self {
        let (input, output) = (layer.input, layer.output);
        let wanted = match place {
            Place::First => 0.0,
            Place::Inner => 1.0,
        };
        let product = |multiply_adds: usize| {
            let flops = 2.0 * multiply_adds as f64;
            Self { forward: flops, by_weights: flops, by_input: flops * wanted }
        };
        // The states go back through the steps wherever the layer stands; before the first step there
        // is none.
        let recurrent = |units: usize, gates: usize| {
            let steps = input.len() / input.last();
            let inputs = product(input.len() * gates * units);
            let states = 2.0 * ((steps - 1) * units * gates * units) as f64;
            Self {
                forward: inputs.forward + states,
                by_weights: inputs.by_weights + states,
                by_input: inputs.by_input + states,
            }
        };
        match layer.layer {
            Layer::Dense(dense) => product(input.len() * dense.units),
            Layer::Conv2d(conv) => {
                let taps = window(input, conv.kernel, 1, conv.padding);
                product(taps.map_or(0, |g| output.len() * g.window_len()))
            }
            Layer::SimpleRnn(rnn) => recurrent(rnn.units, 1),
            Layer::Lstm(lstm) => recurrent(lstm.units, 4),
            Layer::Pool2d(_)
            | Layer::Activation(_)
            | Layer::BatchNorm(_)
            | Layer::Dropout(_)
            | Layer::Flatten => Self::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::shapes::Shapes;
    use crate::reports;

    /// The same products, one by one, as the kernels are measured.
    #[test]
    fn they_are_those_of_the_kernels() {
        for recipe in reports::select(&[]).unwrap() {
            if recipe.id == "nlp-rnn" {
                continue;
            }
            let shapes = Shapes::of(&recipe).unwrap();
            let products = shapes.weights.iter().flat_map(|weights| weights.products());
            let mut expected: f64 = products.map(|product| product.flops()).sum();
            for convolution in &shapes.convolutions {
                let passes = if convolution.place == Place::First { 2.0 } else { 3.0 };
                expected += passes * convolution.work().amount();
            }
            let flops = Flops::of_step(&recipe.plan().unwrap()) * recipe.task.batch_size as f64;
            assert_eq!(flops, expected, "{}", recipe.id);
        }
    }

    #[test]
    fn a_recurrent_layer_goes_through_its_states() {
        let plan = reports::recipe("nlp-rnn").unwrap().plan().unwrap();
        let [lstm, head] = Flops::of_layers(&plan)[..] else { panic!("two layers") };
        let (inputs, states) = (2.0 * 28.0 * 28.0 * 256.0, 2.0 * 27.0 * 64.0 * 256.0);
        assert_eq!((lstm.forward, lstm.by_weights), (inputs + states, inputs + states));
        assert_eq!((lstm.by_input, head.by_input), (states, 2.0 * 640.0));
    }
}
