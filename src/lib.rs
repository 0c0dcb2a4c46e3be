//! threadcount trains every network of five published Fashion-MNIST reports on the CPU, on kernels
//! written by hand (crate [`threadcount_kernels`]). The rooms stand in the order data flows:
//!
//! - [`data`]: memory-mapped IDX files, splits, scaling, batches
//! - [`nn`]: layers, network, losses, optimizers
//! - [`oracle`]: the same in plain loops, which everything is held to
//! - [`train`]: the loop, early stopping, checkpoints, history
//! - [`evaluate`]: confusion matrix, classification report, plots
//! - [`reports`]: what each report trained and claimed
//! - [`mod@bench`]: kernels at the sizes of the recipes, and how they are timed
//! - [`cli`]: the command line
//!
//! [`random`], [`error`] and [`console`] serve them all. A room uses only what stands above it in
//! this list.

#[cfg(feature = "program")]
pub mod bench;
#[cfg(feature = "program")]
pub mod cli;
#[cfg(feature = "program")]
pub mod console;
pub mod data;
pub mod error;
pub mod evaluate;
pub mod files;
mod names;
pub mod nn;
pub mod oracle;
pub mod random;
pub mod reports;
pub mod train;

pub use error::{Error, Result};
pub use threadcount_kernels as kernels;
