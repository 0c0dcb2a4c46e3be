//! The kinds of layers, one file each: small declarative structs that know their output shape, their
//! parameters, which kernels run them forward and backward, and their plain-loop twins.
//!
//! A new kind needs a file here with its `mod` line below, and a row of [`KINDS`]; nothing else in the
//! crate tells the kinds apart.

use super::across::{AcrossShards, Whole};
use super::exchange::{self, Exchange, Foreign, ForeignTensor, Holds, Place, View, all, bias};
use super::layer::*;
use super::work::{ConvolutionSize, Next, WeightMatrix};
use crate::data::Shape;
use serde::Serialize;
use serde::de::DeserializeOwned;
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
mod text;

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

/// A layer, and the shape of the samples that tests run it on.
#[derive(Clone, Debug)]
pub struct Example {
    /// Shape of one input sample.
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
    /// Its name in files.
    pub name: &'static str,
    /// Layers of this kind that together show all it can do.
    pub examples: fn() -> Vec<Example>,
    /// Makes a layer of this kind from the table of its settings.
    pub(crate) read:
        fn(toml::de::ValueDeserializer<'_>) -> std::result::Result<Layer, toml::de::Error>,
    /// The settings of a layer as an inline table of TOML; `None` for a layer of another kind.
    pub(crate) write: fn(&Layer) -> Option<std::result::Result<String, toml::ser::Error>>,
}

impl Kind {
    /// The kind of the layers `K`.
    const fn of<K>(name: &'static str, shown: fn() -> Vec<Example>) -> Self
    where
        K: LayerKind + Serialize + DeserializeOwned,
    {
        Self {
            name,
            examples: shown,
            read: |settings| K::deserialize(settings).map(Layer::new),
            write: |layer| layer.get::<K>().map(crate::toml_file::inline),
        }
    }
}

/// Every kind. Tests run over this list, and files of networks are read with it.
pub const KINDS: &[Kind] = &[
    activation::KIND,
    Kind::of::<BatchNorm>("batch-norm", batch_norm::examples),
    Kind::of::<Conv2d>("conv2d", conv2d::examples),
    Kind::of::<Dense>("dense", dense::examples),
    Kind::of::<Dropout>("dropout", dropout::examples),
    Kind::of::<Flatten>("flatten", flatten::examples),
    Kind::of::<GlobalAveragePool2d>("global-average-pool2d", global_average_pool2d::examples),
    Kind::of::<LayerNorm>("layer-norm", layer_norm::examples),
    Kind::of::<Lstm>("lstm", lstm::examples),
    Kind::of::<Pool2d>("pool2d", pool2d::examples),
    Kind::of::<SimpleRnn>("simple-rnn", simple_rnn::examples),
];
