//! What a layer costs: the kernels that a training step runs for it, and the memory that it moves.
//! Benchmarks measure these kernels, and operations are counted from them.

use std::iter::Sum;
use std::ops::{Add, Mul};

use threadcount_kernels::{Activation, Geometry, Padding};

use crate::data::Shape;

/// Where a layer stands in a network, as far as its work depends on that.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    /// Shape of one input sample.
    pub input: Shape,
    /// Shape of one output sample.
    pub output: Shape,
    /// Samples of a batch.
    pub batch: usize,
    /// Whether the input gradient is needed.
    pub position: Position,
}

/// Whether training needs a layer's input gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// It does not: no layer below it learns.
    First,
    /// It does.
    Inner,
}

/// What kernels do for a layer in a training step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum KernelCall {
    /// The products with a matrix of weights.
    Products {
        /// The matrix.
        weights: WeightMatrix,
        /// How often they are computed: once for each step of a sequence.
        times: usize,
    },
    /// A convolution.
    Convolution(ConvolutionSize),
    /// An activation at the end of the layer, over all outputs.
    Activation(Activation),
    /// The layer itself, which is elementwise or nearly so.
    Layer,
}

/// A matrix of weights `[inputs, outputs]` that `batch` rows are multiplied by in a training step: that of
/// a dense layer, or one of the two of a recurrent layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightMatrix {
    /// Rows of the matrix.
    pub inputs: usize,
    /// Columns of the matrix.
    pub outputs: usize,
    /// Rows that are multiplied by it at once.
    pub batch: usize,
    /// Whether the gradient with respect to the rows is needed.
    pub position: Position,
}

/// A convolution over a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvolutionSize {
    /// How its window slides.
    pub geometry: Geometry,
    /// What happens at the border.
    pub padding: Padding,
    /// Output channels.
    pub filters: usize,
    /// Images.
    pub batch: usize,
    /// Whether the gradient with respect to the images is needed.
    pub position: Position,
    /// What follows it.
    pub next: Next,
}

/// What follows a convolution, as far as a kernel can do both at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Next {
    /// A max-pool of 2x2.
    MaxPool,
    /// Dropout at this rate, then a max-pool of 2x2.
    DropoutMaxPool(f32),
    /// Batch normalisation. A pool after it must wait for the statistics of the whole batch.
    BatchNorm,
    /// Anything else: it reads the convolution's output from memory.
    Other,
}

impl Next {
    /// The rate of dropout; 0 without.
    pub fn dropout_rate(self) -> f32 {
        match self {
            Self::DropoutMaxPool(rate) => rate,
            Self::MaxPool | Self::BatchNorm | Self::Other => 0.0,
        }
    }
}

/// Operations of the products for one sample; a multiply-add counts as two. Only products count, those of
/// dense, convolutional (every tap, in the padding too) and recurrent layers. Elementwise work is left out,
/// and so is the gradient with respect to the images, which no step needs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Flops {
    /// From input to output.
    pub forward: f64,
    /// The weight gradient.
    pub by_weights: f64,
    /// The input gradient; for a recurrent layer, also the gradient with respect to its earlier states.
    pub by_input: f64,
}

impl Flops {
    /// All of them.
    pub fn total(&self) -> f64 {
        self.forward + self.by_weights + self.by_input
    }
}

impl KernelCall {
    /// Its operations.
    pub fn flops(&self) -> Flops {
        let (multiply_adds, position) = match self {
            Self::Products { weights, times } => {
                (weights.inputs * weights.outputs * weights.batch * times, weights.position)
            }
            Self::Convolution(convolution) => (convolution.multiply_adds(), convolution.position),
            Self::Activation(_) | Self::Layer => return Flops::default(),
        };
        let flops = 2.0 * multiply_adds as f64;
        let by_input = match position {
            Position::First => 0.0,
            Position::Inner => flops,
        };
        Flops { forward: flops, by_weights: flops, by_input }
    }
}

impl ConvolutionSize {
    /// Multiply-adds of one pass. Every tap counts, in the padding too.
    pub fn multiply_adds(&self) -> usize {
        self.batch * self.geometry.out_pixels() * self.geometry.window_len() * self.filters
    }
}

impl Sum for Flops {
    fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
        items.fold(Self::default(), |sum, item| Self {
            forward: sum.forward + item.forward,
            by_weights: sum.by_weights + item.by_weights,
            by_input: sum.by_input + item.by_input,
        })
    }
}

/// Bytes that elementwise work moves.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Traffic {
    /// Bytes read and written: each buffer once in each direction, and once more for each time it is read
    /// again.
    pub bytes: f64,
    /// Size of the buffers: what is changed in place is read and written, but counts once here.
    pub buffers: f64,
}

impl Traffic {
    /// Bytes of a float.
    pub const FLOAT: f64 = 4.0;

    /// `moved` floats that are read or written, in buffers of `held` floats.
    pub fn floats(moved: usize, held: usize) -> Self {
        Self { bytes: Self::FLOAT * moved as f64, buffers: Self::FLOAT * held as f64 }
    }

    /// Bytes that are read or written once.
    pub fn bytes(bytes: usize) -> Self {
        Self { bytes: bytes as f64, buffers: bytes as f64 }
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

/// The traffic of that many samples.
impl Mul<f64> for Traffic {
    type Output = Self;

    fn mul(self, samples: f64) -> Self {
        Self { bytes: self.bytes * samples, buffers: self.buffers * samples }
    }
}
