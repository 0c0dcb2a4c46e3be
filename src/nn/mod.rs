//! Networks: the layers that recipes are written in, what they learn by (losses, optimizers), what
//! they start from, and the [`Network`] that runs them.
//!
//! A list of [`Layer`]s is plain data. [`Plan`] follows the shapes through it and names every
//! tensor; [`Network`] takes all the memory once and trains in it without another allocation.
//! Definitions and defaults are Keras's. Kernels are called in `layers/`, [`Loss`],
//! [`Optimizer`] and `per_sample.rs` only.
//!
//! ```
//! use threadcount::nn::*;
//! use threadcount_kernels::{Isa, Team};
//!
//! // XOR.
//! let layers = [dense(8, Activation::Tanh), dense(1, Activation::Linear)];
//! let optimizer = Optimizer::adam().with_learning_rate(0.1);
//! let loss = Loss::BinaryCrossEntropy;
//! let mut network = Network::build(Shape::Flat(2), &layers, loss, optimizer, 4, 0)?;
//! let (x, labels) = ([0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0], [0, 1, 1, 0]);
//! let team = Team::solo(Isa::best());
//! for epoch in 0..100 {
//!     network.train_batch(&team, &x, &labels, BatchKey { epoch, first_sample: 0 })?;
//! }
//! assert_eq!(network.evaluate_batch(&team, &x, &labels)?.correct, 4);
//! # Ok::<(), threadcount::Error>(())
//! ```
#![forbid(unsafe_code)]

mod buffer;
mod init;
mod laps;
mod layer;
mod layers;
mod layout;
mod loss;
mod model;
mod named;
mod network;
mod optimizer;
mod per_sample;
mod plan;
mod predictor;
mod program;
mod work;
mod workspace;

pub use crate::data::{Shape, Targets};
pub use buffer::Buffer;
pub use init::Initializer;
pub use laps::{Laps, Part};
pub use layer::{
    Backward, Buffers, Forward, Fused, Gradient, InputGradient, Kept, Layer, LayerKind,
    LayerOption, LayerPlan, Mode, Params, StepIs, TensorPlan, Twin, UnitLaps,
};
pub use layers::*;
pub(crate) use loss::fill_targets;
pub use loss::{BatchResult, Loss};
pub use model::Model;
pub use named::{Saved, TensorMut, TensorRef};
pub use network::{Network, Stepping};
pub use optimizer::Optimizer;
pub use plan::{Plan, PlannedLayer, Tensor};
pub use predictor::Predictor;
pub use threadcount_kernels::{Activation, Padding};
pub use work::{ConvolutionSize, Flops, KernelCall, Next, Position, Site, Traffic, WeightMatrix};
pub use workspace::BatchKey;
