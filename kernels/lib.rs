//! Hand-written CPU kernels for training small networks. This crate works on slices, shapes and strides;
//! it knows nothing of layers, models or epochs.
//!
//! ```
//! use threadcount_kernels::gemm::{Epilogue, Write, gemm};
//! use threadcount_kernels::{Activation, Isa, Mat, MatMut, Pool, sgemm};
//!
//! // C = A B in one line: 2 x 3 times 3 x 2, row by row.
//! let a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
//! let b = [1.0, 0.0, 0.0, 1.0, 1.0, 1.0];
//! let (a, b) = (Mat::new(&a, 2, 3), Mat::new(&b, 3, 2));
//! let mut c = [0.0; 4];
//! sgemm(a, b, MatMut::new(&mut c, 2, 2));
//! assert_eq!(c, [4.0, 5.0, 10.0, 11.0]);
//!
//! // All other kernels run on a team of threads. Enter the pool once, and call many inside.
//! let pool = Pool::new(Isa::best(), 2).expect("two threads");
//! let bias = Epilogue::Bias { bias: &[-5.0, 1.0], activation: Activation::Relu };
//! pool.enter(|team| gemm(team, 1.0, a, b, Write::Set, MatMut::new(&mut c, 2, 2), bias));
//! assert_eq!(c, [0.0, 6.0, 5.0, 12.0]);
//! ```
//!
//! Users of `matrixmultiply` or `cblas` find a table of the arguments at [`sgemm`].
//!
//! # The map
//! A module uses only what stands above it; a test reads this list and their imports.
//! - [`geometry`], [`matrix`]: the only places where shapes are checked
//! - [`simd`], [`isa`]: the vector operations that kernels are written on, and the list of
//!   instruction sets they run on; `math`: elementary functions of vectors
//! - `tiles`: the unit that multiplies tiles of bf16 numbers, and its twin
//! - `micro`: how the micro-kernel of products multiplies, floats or pairs of bf16; [`precision`]: the precisions
//!   of products, and by which instructions
//! - [`machine`]: what CPU this is; `blocking`: the sizes and costs that follow from it
//! - [`team`]: the threads, who does which task, and the waiting between phases
//! - [`peak`]: how fast this CPU could be at best, and what a phase costs it
//! - `sweep`, `columns`: one pass over several buffers, and over columns, as tasks; [`sums`]; [`vectors`]: norms,
//!   multiples and averages of flat arrays
//! - [`activation`], [`dropout`], [`pool`], [`norm`], [`row_norm`], [`loss`]: what stands between the
//!   multiplications
//! - [`histogram`], [`nearest`]: samples added up by a byte of theirs, and the search for large scores: what decision
//!   trees and nearest neighbours stand on
//! - [`gemm`], [`conv`]: matrix multiplication, and convolution on the same micro-kernel, alone
//!   or fused with what follows it
//! - [`update`]: the steps of optimizers; [`gather`]: bytes to a batch of floats, cut as the step is;
//!   [`augment`]: the same of images that are moved on the way
//! - [`recurrent`]: a simple recurrence and an LSTM, built of all these
//! - [`online_sgd`]: stochastic gradient descent with a step after each sample, a block of samples at a
//!   time
//! - [`naive`]: the plain-loop twin of every kernel; what tests compare with and benches call the
//!   baseline
//!
//! # The numeric contract
//! - **Same bits at any thread count, on every machine, with AVX2 and with AVX-512**: sums are cut by
//!   the shape alone, never by what is measured or read from the machine (caches, cores, what a phase
//!   costs), nor by the lanes of a vector; their parts are added in a fixed order; no instruction is
//!   used whose result is an estimate. Sets without fused multiply-adds (SSE2) round differently.
//! - **Accuracy of every GEMM**: `|C - ref| <= (R / 2) eps (|alpha| |A||B| + |beta||C|)` elementwise
//!   for all data, where R counts the roundings in a row: 258 at K = 256, 288 at 65,536 ([`gemm`]
//!   derives it; `eps = 2^-23`). Where rounding errors have random signs, `8 eps` instead, at every
//!   K up to 65,536. Max-pooling and ReLU are exact.
//! - **Accuracy of every convolution**: the same bound with another R. Forward and the gradient of the
//!   data: `min(K, 256) + ceil(K / 256)` for K elements under a window (or filters times taps). Where
//!   that gradient is scattered tap by tap: `min(filters, 256)`, plus 1 for each tap and block of 256
//!   filters. The gradient of the weights: R of a GEMM whose K is the number of windows.
//! - **Other precisions** ([`precision`]) are of products and convolutions alone; all else is f32, and so is a
//!   product whose shape gains nothing ([`Precision::of_product`]).
//!   - `bf16`: operands are rounded to bf16, to nearest, ties to even (`u = 2^-8`); products and sums are as
//!     those of f32. So the bound of a GEMM or convolution grows by `(2 u + u^2) |alpha| |A||B|`: 0.8 %. Blocks of
//!     K have an even number of elements.
//!   - `f32-split`: each operand is the sum of three bf16 numbers, and the six largest of the nine products are
//!     added up, the smallest first. f32's own bound holds, elementwise, for every K up to 300,000 ([`gemm`] shows
//!     why), for operands that are zero or at least 2^-101 in magnitude: of a smaller number less than 2^-126 is
//!     lost. Of convolutions, R is that of f32 with blocks of 42 in place of 256, plus 3: less than f32's, but
//!     for a gradient of the data that is scattered over more than nine taps.
//!   - **Bits** are the same at any thread count and on every machine with the same kernel of bf16 numbers
//!     ([`precision::Bf16Kernel`]). The kernels on vectors add the products of pairs one by one in the order of K, so
//!     all of them, with AVX2 and AVX-512, give the same bits, as long as no partial sum is subnormal: `vdpbf16ps`
//!     makes such a sum zero, multiply-adds keep it. Where it is one, they may differ by [`f32::MIN_POSITIVE`]
//!     at each step.
//!   - **On tiles** (AMX, or its twin in plain Rust with the same bits) products have an order of their own: within 32
//!     elements of K, those with an even number and those with an odd one are two sums from zero, which are added to
//!     each other and then to the sum. Blocks of K have 512 elements, or 64 where operands are split. Their
//!     bits differ from those on vectors; their bounds are the same, and are kept with fewer roundings.
//!   - **Convolutions** pair channels; the last of an odd number has a zero beside it, which takes part in K. The
//!     gradient of the weights pairs a window of one image with the same window of the next: its K is the windows of
//!     the first two images, in turns, then of the next two; beside an odd last image stand zeros.
//!   - **Subnormal operands are zero** in both, as the instructions have it: an infinity times one is NaN.
//!   - **NaN and infinity** come out where IEEE arithmetic has them. bf16 rounds numbers from 3.396e38 up to
//!     an infinity. A split leaves them finite; of an infinity or a NaN it multiplies the first part alone, and
//!     that only with the other's first part.
//! - **Accuracy of elementary functions**: exp, tanh, the logistic function, ln and ln(1 + x) are within
//!   the bounds of [`ulp`], on every float and instruction set.
//! - **No subnormals**: what a kernel stores is never subnormal. A result whose magnitude is below
//!   `f32::MIN_POSITIVE` (1.2e-38), `-0` included, is stored as `+0`, by every kernel, on every
//!   instruction set and in every twin. So the bounds above hold up to that much at each store. (Kernels
//!   that only copy or choose store what they were given: ReLU's gradient, the forward pass of
//!   max-pooling and its backward pass where windows do not overlap, a transposition; and dropout, whose
//!   factor is at least 1.) The reason is weights that decay towards zero: 0.9 times the smallest number
//!   is rounded to itself, and on Intel's CPUs an operation with such an operand or result takes 150
//!   cycles, which made whole trainings three to five times as slow. Values are clamped where they are
//!   stored ([`simd::Simd::flush`]). The control register is not used: changing its flush-to-zero mode is
//!   undefined behaviour in Rust (`core::arch::x86_64::_mm_setcsr`), and other architectures, WebAssembly
//!   and the twins would each need a way of their own. Therefore intermediate results can be subnormal;
//!   where a long training would have them in step after step, formulas are arranged so that it does not
//!   (see [`update`]).
//! - **NaN and infinity** come out where IEEE arithmetic has them: `max` and similar operations pass a
//!   NaN on. Max-pooling is the exception: there a NaN loses every comparison unless it is the first
//!   element of its window. For optimizers see [`update`].
//! - Arrays are of `f32`. Lengths that do not fit together are the caller's bug: kernels check them once, at
//!   entry, and panic with both lengths.

#![allow(
    clippy::needless_range_loop,
    reason = "kernels are plain loops over several arrays at once; see `simd`"
)]

pub mod activation;
pub mod augment;
mod blocking;
mod columns;
pub mod conv;
pub mod dropout;
pub mod gather;
pub mod gemm;
pub mod geometry;
pub mod histogram;
pub mod isa;
pub mod loss;
pub mod machine;
pub(crate) mod math;
pub mod matrix;
mod micro;
pub mod naive;
pub mod nearest;
pub mod norm;
pub mod online_sgd;
pub mod peak;
pub mod pool;
pub mod precision;
pub mod recurrent;
pub mod row_norm;
pub mod simd;
pub mod sums;
mod sweep;
pub mod team;
mod tiles;
pub mod update;
pub mod vectors;

pub use activation::Activation;
pub use gemm::sgemm;
pub use geometry::{Geometry, Padding};
pub use isa::Isa;
pub use math::ulp;
pub use matrix::{Mat, MatMut};
pub use precision::Precision;
pub use team::{Pool, Team};

/// A failure that a person can cause: asking for an instruction set or a precision that does not exist, or that
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
    /// No precision has this name.
    #[error("unknown precision `{name}`: choose one of {known}")]
    UnknownPrecision {
        /// The name that was asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The kernel of bf16 products that is forced does not exist, or does not run beside this instruction set.
    #[error("THREADCOUNT_BF16: no kernel `{name}` beside `{isa}` on this CPU: it has {detected}")]
    MissingBf16Kernel {
        /// The name that was asked for.
        name: String,
        /// The instruction set.
        isa: &'static str,
        /// The names of those that run.
        detected: String,
    },
    /// There is no kernel of bf16 products of that name.
    #[error("unknown kernel of bf16 products `{name}`: this version of threadcount knows {known}")]
    UnknownBf16Kernel {
        /// The name.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// The kernel that is forced has other bits than those that are to come out.
    #[error("THREADCOUNT_BF16 asks for `{forced}`, whose bits are not those of `{own}`")]
    OtherBf16Bits {
        /// The kernel that is forced.
        forced: &'static str,
        /// The kernel whose bits are to come out.
        own: &'static str,
    },
    /// No kernel that is there for its speed has those bits.
    #[error(
        "this CPU has no kernel with the bits of `{own}` beside `{isa}` but `{twin}`, which is slow: \
         THREADCOUNT_BF16={twin} asks for it"
    )]
    MissingBf16Bits {
        /// The kernel whose bits are to come out.
        own: &'static str,
        /// The instruction set.
        isa: &'static str,
        /// What has them everywhere.
        twin: &'static str,
    },
}

/// The example of the README, as a test.
#[cfg(doctest)]
#[doc = include_str!("README.md")]
struct ReadMe;
