//! threadcount trains small networks on the CPU, on kernels written by hand (crate
//! [`threadcount_kernels`], here [`kernels`]), and reproduces those of five published Fashion-MNIST
//! reports.
//!
//! # Where to begin
//! - To use the program: the [`guide`].
//! - To train from Rust: the example below, then [`Task`](train::Task), [`data`] and [`nn`], and the programs in
//!   `examples/`.
//! - To use the kernels alone: [`kernels`].
//! - To change something: "Where to make a change", at the end of this page.
//!
//! # From arrays to a network
//!
//! ```
//! use std::ops::ControlFlow;
//! use threadcount::data::{Samples, Shape, Split};
//! use threadcount::nn::{Activation, dense};
//! use threadcount::train::{EarlyStopping, Setup, Task, Trained};
//!
//! # let x: Vec<f32> = (0..400).map(|i| (i as f32 * 0.618_034).fract() - 0.5).collect();
//! # let labels: Vec<u8> = x.chunks(2).map(|p| u8::from(p[0] > p[1])).collect();
//! # let path = std::env::temp_dir().join("threadcount-doc.safetensors");
//! # let path = path.as_path();
//! // x: [n, 2] floats (or bytes), labels: [n] classes (or values, for a regression).
//! let samples = Samples::new(Shape::Flat(2), x, &labels)?;
//! let (train, validation) = samples.split_tail(0.2)?;
//! let task = Task {
//!     layers: vec![dense(32, Activation::Tanh), dense(2, Activation::Linear)],
//!     epochs: 50,
//!     early_stopping: Some(EarlyStopping { patience: 5 }),
//!     ..Task::default()
//! };
//! let (split, setup) = (Split::new(train, validation.clone()), Setup::default());
//! let trained = task.fit(&split, &setup, |_session, _moment| ControlFlow::Continue(()))?;
//! trained.save(path)?;
//! let mut loaded = Trained::load(path, &task, Shape::Flat(2), &setup)?;
//! assert!(loaded.evaluate(&validation)?.accuracy > 0.8);
//! let probabilities = loaded.predict(&validation)?; // [n, 2]
//! # assert_eq!(probabilities.len(), 80);
//! # Ok::<(), threadcount::Error>(())
//! ```
//!
//! The library prints nothing, installs no handlers, and without the feature `program` builds without
//! the command line's dependencies. Errors are of one type, [`Error`], whose variants can be matched on.
//!
//! # Modules
//! In the order data flows; a module uses only what is above it. (`program` marks what only the feature of
//! that name has.)
//!
//! ```text
//! kernels          slices, shapes, strides: a crate of its own
//!    |
//! data             samples in files and arrays, split, scaled, gathered into batches
//!    |
//! distributed      several processes as one: messages, the tree of sums
//!    |
//!   nn/model       layer -> plan -> program: what a network is
//!    |             (nn/loss: what its outputs mean)
//!   nn/run         layout -> workspace -> predictor: what a run of it needs
//!   nn/learn       optimizer -> network: how it learns
//!   nn/io          its files
//!    |--- oracle   the same in plain loops: what everything is held to
//! classical        logistic regression, nearest neighbours, random forests
//!    |
//! train            task -> session -> fit; checkpoints, run folders, search
//!    |--- evaluate confusion, report, regression, plots (program)
//! tables           CSV files, regression on them, their models' files (feature tables)
//!    |
//! reports          what each report trained and claimed
//!    |
//! bench (program)  kernels and steps at the recipes' sizes, and how they are timed
//!    |
//!  cli (program)   one file a subcommand
//! ```
//!
//! [`random`], [`error`], [`files`], `memory` and (program) `console` serve them all.
//!
//! # Where to make a change
//! - **A layer**: its file in `nn/model/layers/`, three lines in that folder's `mod.rs`, and its kernel with
//!   a plain-loop twin if there is none yet. [`LayerKind`](nn::LayerKind) is its whole interface; tests and
//!   benchmarks iterate over [`KINDS`](nn::KINDS).
//! - **A layer's layout in PyTorch and Keras**: [`LayerKind::exchange`](nn::LayerKind::exchange), in its own
//!   file.
//! - **A user-defined layer**: an implementation of [`LayerKind`](nn::LayerKind); see
//!   `examples/own_layer.rs`.
//! - **An optimizer or a loss**: a variant of [`Optimizer`](nn::Optimizer) or [`Loss`](nn::Loss), its kernel
//!   and twin.
//! - **A classical classifier**: its file in `classical/`, with its twin in `classical/naive/`, and its variants in
//!   `classical/classifier.rs`; the command line and the tests walk [`Kind::ALL`](classical::Kind::ALL).
//! - **A model of tables**: its file in `tables/models/`, and its variants of
//!   [`Kind`](tables::models::Kind) and [`Regressor`](tables::models::Regressor).
//! - **A recipe**: its entry in its report's file; **a setting of a task**: its field, with its value in the
//!   default of [`Task`](train::Task), and a line in `train/task_file.rs`, without which it does not compile.
//! - **A layer that mixes the samples of a batch**: besides, [`AcrossShards`](nn::AcrossShards), which says how
//!   what it sums is summed over shards.
//! - **A way for ranks to talk**: an implementation of [`Link`](distributed::Link).
//! - **An instruction set**: its file in `kernels/isa/` and its entry there.
//! - **An instruction that multiplies other numbers**: an implementation of `Micro` (`kernels/micro.rs`), or of
//!   `TileUnit` (`kernels/tiles`) for one that multiplies tiles, and a variant of
//!   [`Bf16Kernel`](threadcount_kernels::precision::Bf16Kernel); the tests walk its list.

#[cfg(feature = "program")]
pub mod bench;
pub mod classical;
#[cfg(feature = "program")]
pub mod cli;
#[cfg(feature = "program")]
pub mod console;
pub mod data;
pub mod distributed;
pub mod error;
pub mod evaluate;
pub mod files;
pub mod guide;
mod memory;
mod names;
pub mod nn;
pub mod oracle;
pub mod random;
pub mod reports;
#[cfg(feature = "tables")]
pub mod tables;
mod toml_file;
pub mod train;

pub use error::{Error, Result};
pub use threadcount_kernels as kernels;
