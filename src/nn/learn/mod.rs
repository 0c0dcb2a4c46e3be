//! How a model learns: an optimizer, the memory for the backward pass, and [`Network`], which makes the
//! steps.

mod network;
mod optimizer;
mod per_sample;

pub use network::{BatchNormOver, Memory, Network, StepSum, Stepping, When};
pub(crate) use network::{check_clip_norm, check_shards};
pub use optimizer::Optimizer;
