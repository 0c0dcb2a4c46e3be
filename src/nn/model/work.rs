//! What a layer costs: the kernels that a training step runs for it, and the memory that it moves.
//! Benchmarks measure these kernels, and operations are counted from them.

use std::iter::Sum;
use std::ops::{Add, Mul};

use threadcount_kernels::{Activation, Geometry, Padding};

use crate::data::Shape;

/// A layer in its place in a network, as far as its work depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    /// Shape of one sample that comes in.
    pub input: Shape,
    /// Shape of one sample that goes out.
    pub output: Shape,
    /// Samples of a batch.
    pub batch: usize,
    /// Whether the gradient by the input is needed.
    pub position: Position,
}

/// Whether a layer's gradient by its input is needed in training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// Nothing below has parameters: that gradient is never computed.
    First,
    /// It is.
    Inner,
}

/// Something that kernels do for a layer in a training step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum KernelCall {
    /// The products of a matrix of weights, so many times.
    Products {
        /// The matrix.
        weights: WeightMatrix,
        /// How often: once for each step of a sequence.
        times: usize,
    },
    /// A convolution.
    Convolution(ConvolutionSize),
    /// An activation at the end of the layer, over all outputs.
    Activation(Activation),
    /// The layer itself, which is elementwise or nearly so.
    Layer,
}

/// A matrix of weights `[inputs, outputs]` that `batch` rows pass in a training step: a dense
/// layer, or one of the two matrices of a recurrent layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightMatrix {
    /// Rows of the matrix.
    pub inputs: usize,
    /// Columns of the matrix.
    pub outputs: usize,
    /// Rows that pass it at once.
    pub batch: usize,
    /// Whether the gradient by the rows is needed.
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
    /// Whether the gradient by the images is needed.
    pub position: Position,
    /// What follows it.
    pub next: Next,
}

/// What follows a convolution, as far as there is a kernel that does both at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Next {
    /// A max-pool of 2x2.
    MaxPool,
    /// Dropout at this rate, then a max-pool of 2x2.
    DropoutMaxPool(f32),
    /// Batch normalisation. A pool behind it waits for the statistics of the whole batch.
    BatchNorm,
    /// Anything else: it goes through the map in memory.
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

/// Operations of the products for one sample, a multiplication and an addition each counted. Only
/// products count, of dense, convolutional (every tap, in the padding too) and recurrent layers; what
/// is done to each element once is left out, and so is the gradient by the images, which nobody needs.
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
    /// Those of one pass. Every tap counts, in the padding too.
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
    /// Read and written, each buffer once in each direction unless it is read again.
    pub bytes: f64,
    /// Of the buffers themselves: what is changed in place is read and written, but there once.
    pub buffers: f64,
}

impl Traffic {
    /// Bytes of a number.
    pub const FLOAT: f64 = 4.0;

    /// Floats that are read or written in that many buffers.
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

/// Of so many samples.
impl Mul<f64> for Traffic {
    type Output = Self;

    fn mul(self, samples: f64) -> Self {
        Self { bytes: self.bytes * samples, buffers: self.buffers * samples }
    }
}
