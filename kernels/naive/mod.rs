//! The plain-loop twin of every kernel: what tests compare with and benches call the baseline.
//! Each has the kernel's name and arguments, without the team. What they store passes through
//! [`crate::simd::flush`], as what kernels store does.
#![forbid(unsafe_code)]

pub mod activation;
pub mod augment;
pub mod bf16;
pub mod bf16_conv;
pub mod conv;
pub mod dropout;
pub mod gather;
pub mod gemm;
pub mod histogram;
pub mod loss;
pub mod nearest;
pub mod norm;
pub mod online_sgd;
pub mod pool;
pub mod recurrent;
pub mod row_norm;
pub mod sums;
pub mod update;
pub mod vectors;
