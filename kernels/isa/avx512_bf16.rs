//! AVX512-BF16: dot products of pairs of bf16 numbers. Not a set of its own beside the others, but a way of
//! multiplying on AVX-512 (see [`crate::micro`]).

#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "one argument serves the file: an Avx512Bf16 exists only where `new` saw the CPU's features, so \
              its instructions may run; vectors of sixteen (eight) floats have the bits of a __m512 (__m256) by \
              the contract of `Simd`"
)]

use crate::simd::{Kernel, Simd};
use core::arch::x86_64::*;
use core::mem::transmute_copy;

/// Proof that the CPU has AVX-512 F, VL, BW, DQ and BF16.
#[derive(Clone, Copy)]
pub(crate) struct Avx512Bf16(());

impl Avx512Bf16 {
    pub(crate) fn new() -> Option<Self> {
        let detected = super::Isa::Avx512.is_detected()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512bf16");
        detected.then_some(Self(()))
    }

    /// `sum + a[1] b[1] + a[0] b[0]` in each lane, added in that order, where a lane of `a` and `b` is a pair
    /// of bf16 numbers and `[1]` is its high half (`naive::bf16::dpbf16ps`).
    ///
    /// # Panics
    /// If a vector has neither sixteen nor eight lanes.
    #[inline(always)]
    pub(crate) fn dot_pairs<S: Simd>(self, _: S, a: S::V, b: S::V, sum: S::V) -> S::V {
        unsafe {
            match S::LANES {
                16 => {
                    let (a, b): (__m512bh, __m512bh) = (transmute_copy(&a), transmute_copy(&b));
                    transmute_copy(&_mm512_dpbf16_ps(transmute_copy(&sum), a, b))
                }
                8 => {
                    let (a, b): (__m256bh, __m256bh) = (transmute_copy(&a), transmute_copy(&b));
                    transmute_copy(&_mm256_dpbf16_ps(transmute_copy(&sum), a, b))
                }
                lanes => unreachable!("no dot product of {lanes} pairs"),
            }
        }
    }

    /// Runs a kernel as a function of its own, in which [`Self::dot_pairs`] is one instruction.
    #[inline(always)]
    pub(crate) fn call<S: Simd, K: Kernel>(self, simd: S, kernel: K) -> K::Output {
        unsafe { call_avx512_bf16(simd, kernel) }
    }
}

#[inline(never)]
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,avx512bf16")]
fn call_avx512_bf16<S: Simd, K: Kernel>(simd: S, kernel: K) -> K::Output {
    kernel.run(simd)
}
