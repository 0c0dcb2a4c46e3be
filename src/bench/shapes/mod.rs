//! The sizes that kernels are measured at. They are taken from the recipes, layer by layer, so that
//! benchmarks measure what is trained. One list does not depend on the recipes: [`CLASSES`].

mod products;
mod sweep;

use super::fused::Fusion;
use crate::Result;
use crate::nn::{ConvolutionSize, KernelCall, PlannedLayer, Position, WeightMatrix};
use crate::reports::{self, Recipe};
pub use products::{CLASSES, Class, Product, Role};
pub use sweep::{Direction, Sweep};

/// What a training step is made of, in the order of the layers.
#[derive(Clone, Debug, Default)]
pub struct Shapes {
    /// Matrices of weights.
    pub weights: Vec<WeightMatrix>,
    /// Convolutions.
    pub convolutions: Vec<ConvolutionSize>,
    /// Everything elementwise; the optimizer's step last.
    pub sweeps: Vec<Sweep>,
}

impl Shapes {
    /// The sizes of one recipe's training step, equal layers as often as they occur.
    ///
    /// # Errors
    /// [`crate::Error::Usage`] if the recipe's layers do not fit each other.
    pub fn of(recipe: &Recipe) -> Result<Self> {
        let plan = recipe.plan()?;
        let batch = recipe.task.batch_size;
        let mut shapes = Self::default();
        for (index, planned) in plan.layers().iter().enumerate() {
            for kernel in plan.kernels(index, batch) {
                shapes.add(kernel, planned, batch);
            }
        }
        let (optimizer, parameters) = (recipe.task.optimizer, plan.trainable_count());
        shapes.sweeps.push(Sweep::Update { optimizer, parameters });
        Ok(shapes)
    }

    /// The sizes of all recipes of all reports, each once; a convolution once for each kind of layer that
    /// follows it. A size that is the first layer of one network and an inner layer of another counts as
    /// inner.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn of_reports() -> Result<Self> {
        let mut all = Self::default();
        for recipe in reports::ALL.iter().flat_map(|report| (report.recipes)()) {
            let Self { weights, convolutions, sweeps } = Self::of(&recipe)?;
            for new in weights {
                let equal = |old: &&mut WeightMatrix| {
                    WeightMatrix { position: new.position, ..**old } == new
                };
                match all.weights.iter_mut().find(equal) {
                    Some(old) => old.position = inner(old.position, new.position),
                    None => all.weights.push(new),
                }
            }
            for new in convolutions {
                let equal = |old: &&mut ConvolutionSize| {
                    ConvolutionSize { position: new.position, ..**old } == new
                };
                match all.convolutions.iter_mut().find(equal) {
                    Some(old) => old.position = inner(old.position, new.position),
                    None => all.convolutions.push(new),
                }
            }
            for new in sweeps {
                if !all.sweeps.iter().any(|old| old.name() == new.name()) {
                    all.sweeps.push(new);
                }
            }
        }
        Ok(all)
    }

    /// Every product of [`CLASSES`] and of these weights, each once.
    pub fn products(&self) -> Vec<Product> {
        let classes = CLASSES.iter().flat_map(Class::products);
        let mut products = Vec::new();
        for product in classes.chain(self.weights.iter().flat_map(WeightMatrix::products)) {
            if !products.contains(&product) {
                products.push(product);
            }
        }
        products
    }

    /// Of convolutions that differ only in the batch, or in what follows them, the largest.
    pub fn largest_convolutions(&self) -> Vec<ConvolutionSize> {
        largest(&self.convolutions, same_shape, |convolution| convolution.batch)
    }

    /// The same for those that can be fused with what follows them in this way.
    pub fn largest_fused(&self, fusion: Fusion) -> Vec<ConvolutionSize> {
        let fused: Vec<_> =
            self.convolutions.iter().filter(|c| fusion.applies_to(c.next)).copied().collect();
        largest(&fused, same_shape, |convolution| convolution.batch)
    }

    /// Of each elementwise operation, the largest.
    pub fn largest_sweeps(&self) -> Vec<Sweep> {
        largest(&self.sweeps, |a, b| a.operation() == b.operation(), Sweep::elements)
    }

    /// Adds what a kernel does for a layer.
    fn add(&mut self, kernel: KernelCall, planned: &PlannedLayer, batch: usize) {
        let sweep = |layer, input| Sweep::Layer { layer, input, batch };
        match kernel {
            KernelCall::Products { weights, .. } => self.weights.push(weights),
            KernelCall::Convolution(convolution) => self.convolutions.push(convolution),
            KernelCall::Activation(activation) => {
                self.sweeps.push(sweep(activation.into(), planned.output));
            }
            KernelCall::Layer => self.sweeps.push(sweep(planned.layer.clone(), planned.input)),
        }
    }
}

/// Inner if one of the two is.
fn inner(a: Position, b: Position) -> Position {
    if a == Position::First { b } else { a }
}

/// Whether two convolutions differ only in the batch, or in what follows them.
fn same_shape(a: &ConvolutionSize, b: &ConvolutionSize) -> bool {
    (a.geometry, a.filters) == (b.geometry, b.filters)
}

/// The largest item of each group of items that are the same. The groups are in the order of their first
/// items.
fn largest<T: Clone>(items: &[T], same: fn(&T, &T) -> bool, size: fn(&T) -> usize) -> Vec<T> {
    let mut picked: Vec<T> = Vec::new();
    for item in items {
        match picked.iter_mut().find(|other| same(other, item)) {
            Some(other) if size(other) < size(item) => *other = item.clone(),
            Some(_) => {}
            None => picked.push(item.clone()),
        }
    }
    picked
}

#[cfg(test)]
mod tests {
    use super::products::weights;
    use super::*;
    use crate::nn::Next;

    fn shapes(recipe: &str) -> Shapes {
        Shapes::of(&reports::recipe(recipe).unwrap()).unwrap()
    }

    #[test]
    fn a_dense_network() {
        let shapes = shapes("cse574-mlp");
        let sizes: Vec<_> = shapes.weights.iter().map(|w| (w.inputs, w.outputs, w.batch)).collect();
        assert_eq!(sizes, [(784, 512, 256), (512, 256, 256), (256, 128, 256), (128, 10, 256)]);
        // The images need no gradient.
        let counts: Vec<_> = shapes.weights.iter().map(|w| w.products().len()).collect();
        assert_eq!(counts, [2, 3, 3, 3]);
        let names: Vec<_> = shapes.sweeps.iter().map(|s| s.operation()).collect();
        assert_eq!(names, ["relu", "relu", "relu", "adam"]);
        assert_eq!(shapes.sweeps[3].elements(), 567_434);
    }

    #[test]
    fn a_convolutional_network() {
        let shapes = shapes("cse574-cnn");
        let sizes: Vec<_> = shapes
            .convolutions
            .iter()
            .map(|c| (c.geometry.in_h(), c.geometry.channels(), c.filters, c.batch, c.position))
            .collect();
        assert_eq!(sizes, [(28, 1, 64, 64, Position::First), (14, 64, 32, 64, Position::Inner)]);
        assert_eq!(shapes.weights[0], weights(1568, 256, 64));
        let names: Vec<_> = shapes.sweeps.iter().map(|s| s.operation()).collect();
        let stage = ["relu", "dropout", "max-pool"];
        assert_eq!(names, [&stage[..], &stage, &["relu", "adam"]].concat());
    }

    #[test]
    fn what_follows_convolutions() {
        let next = |recipe| -> Vec<Next> {
            shapes(recipe).convolutions.iter().map(|convolution| convolution.next).collect()
        };
        assert_eq!(next("cse574-cnn"), [Next::DropoutMaxPool(0.2); 2]);
        assert_eq!(next("comp475-cnn"), [Next::MaxPool, Next::MaxPool, Next::Other]);
        assert_eq!(next("nlp-cnn"), [Next::BatchNorm; 3]);

        // Each once, however many recipes have it, but once for each kind of layer that follows.
        let all = Shapes::of_reports().unwrap();
        for (i, convolution) in all.convolutions.iter().enumerate() {
            assert!(!all.convolutions[..i].contains(convolution), "{convolution:?}");
        }
        for recipe in ["cse574-cnn", "comp475-cnn", "nlp-cnn"] {
            for own in shapes(recipe).convolutions {
                assert!(all.convolutions.contains(&own), "{recipe}: {own:?}");
            }
        }
        let counts = Fusion::ALL.map(|fusion| all.largest_fused(fusion).len());
        assert_eq!(counts, [4, 2, 4, 3]);
    }

    #[test]
    fn a_recurrent_network() {
        let [x, h, head] = shapes("nlp-rnn").weights[..] else { panic!("three matrices") };
        assert_eq!(x, WeightMatrix { position: Position::First, ..weights(28, 256, 28 * 32) });
        assert_eq!((h, head), (weights(64, 256, 32), weights(64, 10, 32)));
    }

    /// A recipe that is added or changed is measured without another line of code.
    #[test]
    fn every_recipe_is_covered_and_nothing_is_named_twice() {
        let all = Shapes::of_reports().unwrap();
        let products = all.products();
        for recipe in reports::select(&[]).unwrap() {
            let own = Shapes::of(&recipe).unwrap();
            assert!(!own.weights.is_empty() && !own.sweeps.is_empty(), "{}", recipe.id);
            for product in own.weights.iter().flat_map(WeightMatrix::products) {
                assert!(products.contains(&product), "{}: {product:?}", recipe.id);
            }
            let is_known =
                |sweep: &Sweep| all.sweeps.iter().any(|other| other.name() == sweep.name());
            assert!(own.sweeps.iter().all(is_known), "{}", recipe.id);
        }
        for (i, product) in products.iter().enumerate() {
            assert!(!products[..i].contains(product), "{product:?}");
        }
        assert_eq!(all.largest_convolutions().len(), 5);
        assert!(all.convolutions.len() >= 5);
        let names: Vec<_> = all.largest_sweeps().iter().map(|s| s.operation()).collect();
        for name in ["relu", "leaky-relu", "sigmoid", "batch-norm", "dropout", "max-pool", "adam"] {
            assert_eq!(names.iter().filter(|other| **other == name).count(), 1, "{name}");
        }
    }

    /// The operations of a plan are those of the kernels that are measured, product by product.
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
                let passes = if convolution.position == Position::First { 2.0 } else { 3.0 };
                expected += passes * convolution.work().amount();
            }
            let flops = recipe.plan().unwrap().flops_per_sample() * recipe.task.batch_size as f64;
            assert_eq!(flops, expected, "{}", recipe.id);
        }
    }

    #[test]
    fn a_recurrent_layer_goes_through_its_states() {
        let plan = reports::recipe("nlp-rnn").unwrap().plan().unwrap();
        let [lstm, head] = plan.flops()[..] else { panic!("two layers") };
        let (inputs, states) = (2.0 * 28.0 * 28.0 * 256.0, 2.0 * 27.0 * 64.0 * 256.0);
        assert_eq!((lstm.forward, lstm.by_weights), (inputs + states, inputs + states));
        assert_eq!((lstm.by_input, head.by_input), (states, 2.0 * 640.0));
    }
}
