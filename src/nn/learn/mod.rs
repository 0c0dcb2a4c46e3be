//! How a model learns: an optimizer, the memory for the backward pass, and [`Network`], which makes the
//! steps.

mod network;
mod optimizer;
mod per_sample;

pub(crate) use network::check_clip_norm;
pub use network::{Memory, Network, Stepping};
pub use optimizer::Optimizer;
