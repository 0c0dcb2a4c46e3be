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
mod layers;
mod loss;
mod memory;
mod network;
mod optimizer;
mod per_sample;
mod plan;
mod program;
mod shape;
mod summary;
mod tensors;

pub use buffer::Buffer;
pub use init::Initializer;
pub use laps::{Laps, Part};
pub use layers::{
    BatchNorm, Conv2d, Dense, Dropout, Layer, Lstm, Pool2d, Pooling, SimpleRnn, activation,
    average_pool, batch_norm, conv2d, dense, dropout, flatten, leaky_relu, lstm, max_pool,
    simple_rnn,
};
pub use loss::{BatchResult, Loss};
pub use network::{BatchKey, Network};
pub use optimizer::Optimizer;
pub use plan::{Plan, PlannedLayer, Tensor};
pub use shape::Shape;
pub use summary::summary;
pub use tensors::{Saved, TensorMut, TensorRef};
pub use threadcount_kernels::{Activation, Padding};
