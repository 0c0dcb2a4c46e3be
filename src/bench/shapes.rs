//! The sizes that kernels are measured at. They are asked from the recipes, layer by layer, so that
//! no bench can disagree with what is trained. Beside them stands one list that is no recipe's:
//! [`CLASSES`].

mod next;
mod products;

use super::fused::Fusion;
use crate::Result;
use crate::nn::{Conv2d, Layer, Optimizer, PlannedLayer, Pooling, Shape};
use crate::reports::{self, Recipe};
pub use next::Next;
pub use products::{CLASSES, Class, Product, Role, Weights};
use threadcount_kernels::{Activation, Geometry, Padding};

/// Whether a layer's gradient by its input is needed in training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nothing below has parameters: that gradient is never computed.
    First,
    /// It is.
    Inner,
}

/// A convolution over a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Convolution {
    /// How its window slides.
    pub geometry: Geometry,
    /// What happens at the border.
    pub padding: Padding,
    /// Output channels.
    pub filters: usize,
    /// Images.
    pub batch: usize,
    /// Where in its network it stands.
    pub place: Place,
    /// What follows it there.
    pub next: Next,
}

/// What is done to every element between the products.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sweep {
    /// What is done.
    pub operation: Operation,
    /// Samples of a batch; 1 for an optimizer.
    pub batch: usize,
    /// Elements of one sample on the input's side; parameters of an optimizer.
    pub elements: usize,
}

/// The operation of a [`Sweep`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operation {
    /// An activation other than linear, of its own or at the end of another layer.
    Activation(Activation),
    /// Batch normalisation over the last axis, of that many channels.
    BatchNorm(usize),
    /// Dropout at that rate.
    Dropout(f32),
    /// Pooling.
    Pool(Pooling, Geometry),
    /// An optimizer's step over all parameters.
    Update(Optimizer),
}

impl Operation {
    /// Its name in tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Activation(Activation::Linear) => "linear",
            Self::Activation(Activation::Relu) => "relu",
            Self::Activation(Activation::LeakyRelu { .. }) => "leaky-relu",
            Self::Activation(Activation::Sigmoid) => "sigmoid",
            Self::Activation(Activation::Tanh) => "tanh",
            Self::BatchNorm(_) => "batch-norm",
            Self::Dropout(_) => "dropout",
            Self::Pool(Pooling::Max, _) => "max-pool",
            Self::Pool(Pooling::Average, _) => "average-pool",
            Self::Update(optimizer) => optimizer.name(),
        }
    }
}

/// What a training step is made of, in the order of the layers.
#[derive(Clone, Debug, Default)]
pub struct Shapes {
    /// Matrices of weights.
    pub weights: Vec<Weights>,
    /// Convolutions.
    pub convolutions: Vec<Convolution>,
    /// Everything elementwise; the optimizer's step last.
    pub sweeps: Vec<Sweep>,
}

impl Shapes {
    /// All of one recipe's training step, equal layers as often as they occur.
    ///
    /// # Errors
    /// [`crate::Error::Usage`] if the recipe's layers do not fit each other.
    pub fn of(recipe: &Recipe) -> Result<Self> {
        let plan = recipe.plan()?;
        let batch = recipe.task.batch_size;
        let mut shapes = Self::default();
        let layers: Vec<Layer> = plan.layers().iter().map(|planned| planned.layer).collect();
        let mut place = Place::First;
        for (index, layer) in plan.layers().iter().enumerate() {
            shapes.add(layer, &layers[index + 1..], batch, place);
            if !layer.params.is_empty() {
                place = Place::Inner;
            }
        }
        let operation = Operation::Update(recipe.task.optimizer);
        shapes.sweeps.push(Sweep { operation, batch: 1, elements: plan.trainable_count() });
        Ok(shapes)
    }

    /// Of all recipes of all reports, each size once; a convolution once for each thing that
    /// follows it. A size that is one network's first layer and another's inner one counts as inner.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn of_reports() -> Result<Self> {
        let mut all = Self::default();
        for recipe in reports::ALL.iter().flat_map(|report| (report.recipes)()) {
            let Self { weights, convolutions, sweeps } = Self::of(&recipe)?;
            for new in weights {
                let equal = |old: &&mut Weights| Weights { place: new.place, ..**old } == new;
                match all.weights.iter_mut().find(equal) {
                    Some(old) => old.place = old.place.or(new.place),
                    None => all.weights.push(new),
                }
            }
            for new in convolutions {
                let equal =
                    |old: &&mut Convolution| Convolution { place: new.place, ..**old } == new;
                match all.convolutions.iter_mut().find(equal) {
                    Some(old) => old.place = old.place.or(new.place),
                    None => all.convolutions.push(new),
                }
            }
            for new in sweeps {
                if !all.sweeps.contains(&new) {
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
        for product in classes.chain(self.weights.iter().flat_map(Weights::products)) {
            if !products.contains(&product) {
                products.push(product);
            }
        }
        products
    }

    /// Of convolutions that differ in the batch, or in what follows them, only, the largest.
    pub fn largest_convolutions(&self) -> Vec<Convolution> {
        largest(&self.convolutions, Convolution::has_shape_of, |convolution| convolution.batch)
    }

    /// The same of those that can be fused with what follows them in this way.
    pub fn largest_fused(&self, fusion: Fusion) -> Vec<Convolution> {
        let fused: Vec<_> =
            self.convolutions.iter().filter(|c| fusion.applies_to(c.next)).copied().collect();
        largest(&fused, Convolution::has_shape_of, |convolution| convolution.batch)
    }

    /// Of each elementwise operation, the largest.
    pub fn largest_sweeps(&self) -> Vec<Sweep> {
        let same = |a: &Sweep, b: &Sweep| a.operation.name() == b.operation.name();
        largest(&self.sweeps, same, |sweep| sweep.batch * sweep.elements)
    }

    /// Adds what a layer, with those behind it, is made of.
    fn add(&mut self, layer: &PlannedLayer, behind: &[Layer], batch: usize, place: Place) {
        let PlannedLayer { input, output, .. } = *layer;
        let mut recurrent = |gates: usize, units: usize| {
            let Shape::Rows([steps, inputs]) = input else { return };
            let outputs = gates * units;
            // The inputs of all steps at once; the state step by step.
            self.weights.push(Weights { inputs, outputs, batch: steps * batch, place });
            self.weights.push(Weights { inputs: units, outputs, batch, place: Place::Inner });
        };
        let operation = match layer.layer {
            Layer::Dense(dense) => {
                let (inputs, outputs) = (input.len(), dense.units);
                self.weights.push(Weights { inputs, outputs, batch, place });
                Operation::Activation(dense.activation)
            }
            Layer::Conv2d(conv) => {
                let Some(geometry) = window(input, conv.kernel, 1, conv.padding) else { return };
                let Conv2d { filters, padding, .. } = conv;
                let next = Next::of(behind);
                let convolution = Convolution { geometry, padding, filters, batch, place, next };
                self.convolutions.push(convolution);
                Operation::Activation(conv.activation)
            }
            Layer::Pool2d(pool) => {
                let Some(g) = window(input, pool.size, pool.size, Padding::Valid) else { return };
                Operation::Pool(pool.pooling, g)
            }
            Layer::Activation(activation) => Operation::Activation(activation),
            Layer::BatchNorm(_) => Operation::BatchNorm(input.last()),
            Layer::Dropout(dropout) => Operation::Dropout(dropout.rate),
            Layer::Flatten => return,
            Layer::SimpleRnn(rnn) => return recurrent(1, rnn.units),
            Layer::Lstm(lstm) => return recurrent(4, lstm.units),
        };
        let elements = match operation {
            Operation::Activation(Activation::Linear) => return,
            Operation::Activation(_) => output.len(),
            _ => input.len(),
        };
        self.sweeps.push(Sweep { operation, batch, elements });
    }
}

impl Convolution {
    fn has_shape_of(&self, other: &Self) -> bool {
        (self.geometry, self.filters) == (other.geometry, other.filters)
    }
}

impl Place {
    /// Inner if one of the two is.
    fn or(self, other: Self) -> Self {
        if self == Self::First { other } else { self }
    }
}

/// A square window over the images of that shape.
pub(super) fn window(
    input: Shape,
    size: usize,
    stride: usize,
    padding: Padding,
) -> Option<Geometry> {
    let Shape::Image(dims) = input else { return None };
    Geometry::new(dims, [size; 2], stride, padding)
}

/// Of the items that are the same, the one of the largest size, in the order of the first of each.
fn largest<T: Copy>(items: &[T], same: fn(&T, &T) -> bool, size: fn(&T) -> usize) -> Vec<T> {
    let mut picked: Vec<T> = Vec::new();
    for item in items {
        match picked.iter_mut().find(|other| same(other, item)) {
            Some(other) if size(other) < size(item) => *other = *item,
            Some(_) => {}
            None => picked.push(*item),
        }
    }
    picked
}

#[cfg(test)]
mod tests {
    use super::products::weights;
    use super::*;

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
        let names: Vec<_> = shapes.sweeps.iter().map(|s| s.operation.name()).collect();
        assert_eq!(names, ["relu", "relu", "relu", "adam"]);
        assert_eq!(shapes.sweeps[3].elements, 567_434);
    }

    #[test]
    fn a_convolutional_network() {
        let shapes = shapes("cse574-cnn");
        let sizes: Vec<_> = shapes
            .convolutions
            .iter()
            .map(|c| (c.geometry.in_h(), c.geometry.channels(), c.filters, c.batch, c.place))
            .collect();
        assert_eq!(sizes, [(28, 1, 64, 64, Place::First), (14, 64, 32, 64, Place::Inner)]);
        assert_eq!(shapes.weights[0], weights(1568, 256, 64));
        let names: Vec<_> = shapes.sweeps.iter().map(|s| s.operation.name()).collect();
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

        // Each once, however many recipes have it, but one for each that follows.
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
        assert_eq!(x, Weights { place: Place::First, ..weights(28, 256, 28 * 32) });
        assert_eq!((h, head), (weights(64, 256, 32), weights(64, 10, 32)));
    }

    /// A recipe that is added, or changed, is measured without another word.
    #[test]
    fn every_recipe_is_covered_and_nothing_is_named_twice() {
        let all = Shapes::of_reports().unwrap();
        let products = all.products();
        for recipe in reports::select(&[]).unwrap() {
            let own = Shapes::of(&recipe).unwrap();
            assert!(!own.weights.is_empty() && !own.sweeps.is_empty(), "{}", recipe.id);
            for product in own.weights.iter().flat_map(Weights::products) {
                assert!(products.contains(&product), "{}: {product:?}", recipe.id);
            }
            assert!(own.sweeps.iter().all(|sweep| all.sweeps.contains(sweep)), "{}", recipe.id);
        }
        for (i, product) in products.iter().enumerate() {
            assert!(!products[..i].contains(product), "{product:?}");
        }
        assert_eq!(all.largest_convolutions().len(), 5);
        assert!(all.convolutions.len() >= 5);
        let names: Vec<_> = all.largest_sweeps().iter().map(|s| s.operation.name()).collect();
        for name in ["relu", "leaky-relu", "sigmoid", "batch-norm", "dropout", "max-pool", "adam"] {
            assert_eq!(names.iter().filter(|other| **other == name).count(), 1, "{name}");
        }
    }
}
