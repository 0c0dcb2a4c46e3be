//! The kinds of layers, one file each: small declarative structs that know their output shape, their
//! parameters, which kernels run them forward and backward, and their plain-loop twins.
//!
//! A new kind is a file here with its `mod` line below, and a row of [`KINDS`]; nothing else in the
//! crate tells the kinds apart.

use super::layer::*;
use super::work::{ConvolutionSize, Next, WeightMatrix};
use crate::data::Shape;
use threadcount_kernels::Team;
use threadcount_kernels::gather::Cut;

mod activation;
mod batch_norm;
mod conv2d;
mod conv_pool;
mod dense;
mod dropout;
mod flatten;
mod global_average_pool2d;
mod layer_norm;
mod lstm;
mod pool2d;
mod recurrent;
mod simple_rnn;

pub use activation::*;
pub use batch_norm::*;
pub use conv2d::*;
pub use dense::*;
pub use dropout::*;
pub use flatten::*;
pub use global_average_pool2d::*;
pub use layer_norm::*;
pub use lstm::*;
pub use pool2d::*;
pub use simple_rnn::*;

/// A layer and the samples that it is tried on.
#[derive(Clone, Debug)]
pub struct Example {
    /// Shape of one sample that comes in.
    pub input: Shape,
    /// The layer.
    pub layer: Layer,
}

impl Example {
    fn new(input: Shape, layer: impl Into<Layer>) -> Self {
        Self { input, layer: layer.into() }
    }
}

/// A kind of layer.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The stem of its layers' names.
    pub name: &'static str,
    /// Layers of it that show all that it can do.
    pub examples: fn() -> Vec<Example>,
}

/// Every kind. Tests walk this list.
pub const KINDS: &[Kind] = &[
    Kind { name: "activation", examples: activation::examples },
    Kind { name: "batch_norm", examples: batch_norm::examples },
    Kind { name: "conv2d", examples: conv2d::examples },
    Kind { name: "dense", examples: dense::examples },
    Kind { name: "dropout", examples: dropout::examples },
    Kind { name: "flatten", examples: flatten::examples },
    Kind { name: "global_average_pool2d", examples: global_average_pool2d::examples },
    Kind { name: "layer_norm", examples: layer_norm::examples },
    Kind { name: "lstm", examples: lstm::examples },
    Kind { name: "pool2d", examples: pool2d::examples },
    Kind { name: "simple_rnn", examples: simple_rnn::examples },
];
