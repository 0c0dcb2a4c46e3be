//! Networks. A module uses only those listed before it:
//!
//! - `buffer`, `laps`: memory, and an optional timer of the parts of a training step
//! - `model`: what a network is: [`Layer`]s, the [`Plan`] of their shapes and tensors, and the [`Model`],
//!   which adds their numbers
//! - `loss`, `objective`: what outputs mean, how far they are from their targets, and the penalty that
//!   training minimises besides
//! - `run`: the memory for running a model, and [`Predictor`], which makes predictions only
//! - `learn`: [`Optimizer`], and [`Network`], which trains a model
//! - `io`: models in files
//!
//! A list of [`Layer`]s is plain data. [`Network`] allocates all its memory once, and training allocates
//! nothing. Definitions and defaults are Keras's. Kernels are called in `model/`, [`Loss`], [`Objective`],
//! [`Optimizer`] and `learn/per_sample.rs` only.
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
pub(crate) mod io;
mod laps;
mod learn;
mod loss;
mod model;
mod objective;
mod run;

pub use crate::data::{Shape, Targets};
pub use buffer::Buffer;
pub(crate) use buffer::bytes;
pub use laps::{Laps, Part};
pub use learn::{BatchNormOver, Memory, Network, Optimizer, StepSum, Stepping, When};
pub(crate) use learn::{check_clip_norm, check_shards};
pub(crate) use loss::fill_targets;
pub use loss::{BatchResult, Loss};
pub use model::*;
pub use objective::Objective;
pub use run::{BatchKey, Predictor};
pub use threadcount_kernels::{Activation, Padding};
