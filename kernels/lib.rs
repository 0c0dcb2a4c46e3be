//! Hand-written CPU kernels for training small networks. This crate knows slices, shapes and
//! strides; it never hears the words layer, model or epoch.
//!
//! # The map
//! - [`naive`]: the plain-loop twin of every kernel; what tests compare with and benches call the
//!   baseline
//! - [`matrix`], [`geometry`]: the only places where shapes are checked
//! - [`simd`], [`isa`]: the vector operations that kernels are written on, and the list of
//!   instruction sets they run on
//! - [`team`]: the threads, who does which task, and the waiting between phases
//! - [`gemm`], [`conv`]: matrix multiplication, and convolution on the same micro-kernel, alone or
//!   fused with what follows it
//! - [`activation`], [`pool`], [`norm`], [`loss`], [`dropout`], [`sums`], [`update`]: what stands
//!   between the multiplications
//! - [`gather`]: bytes to a batch of floats
//! - [`recurrent`]: a simple layer and an LSTM, built of all these
//! - [`per_sample`]: gradient descent after each sample, a block of samples at a time
//! - [`machine`], [`peak`]: what CPU this is, and how fast it could be at best
//!
//! # The numeric contract
//! - **Same bits at any thread count**: sums are cut by the shape alone, and their parts added in a
//!   fixed order. Another ISA may round differently.
//! - **Accuracy of every GEMM**: `|C - ref| <= 8 eps (|alpha| |A||B| + |beta||C|)` elementwise at
//!   every K up to 65,536 (`eps = 2^-23`). Max-pooling and ReLU are exact.
//! - **Accuracy of elementary functions**: exp, tanh, the logistic function, ln and ln(1 + x) are within
//!   the bounds of [`ulp`], on every float and instruction set.
//! - `f32` only. Lengths that do not fit together are the caller's bug: kernels check them once, at
//!   entry, and panic with both lengths.

#![allow(
    clippy::needless_range_loop,
    reason = "kernels are plain loops over several arrays at once; see `simd`"
)]

pub mod activation;
mod columns;
pub mod conv;
pub mod dropout;
pub mod gather;
pub mod gemm;
pub mod geometry;
pub mod isa;
pub mod loss;
pub mod machine;
pub(crate) mod math;
pub mod matrix;
pub mod naive;
pub mod norm;
pub mod peak;
pub mod per_sample;
pub mod pool;
pub mod recurrent;
pub mod simd;
pub mod sums;
mod sweep;
pub mod team;
pub mod update;

pub use activation::Activation;
pub use geometry::{Geometry, Padding};
pub use isa::Isa;
pub use math::ulp;
pub use matrix::{Mat, MatMut};
pub use team::{Pool, Team};

/// A failure that a person can cause: asking for an instruction set that does not exist or that
/// this CPU lacks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No instruction set has this name.
    #[error("unknown instruction set `{name}`: choose one of {known}")]
    UnknownIsa {
        /// The name that was asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The CPU does not have this instruction set.
    #[error("this CPU lacks the instruction set `{name}`: it has {detected}")]
    MissingIsa {
        /// The name that was asked for.
        name: &'static str,
        /// The names that this CPU has.
        detected: String,
    },
}
