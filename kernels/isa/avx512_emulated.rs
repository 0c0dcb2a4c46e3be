//! AVX-512 in pairs of AVX2's vectors, for tests on a CPU that lacks it (feature `emulated-avx512`):
//! the same lanes, registers and tiles, so all that is generic over [`Simd`] runs as it would there,
//! and gives the same bits. Only the instructions themselves, in `avx512.rs`, are not tested by it.

#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "one argument serves the file: an Avx512 exists only where `new` saw AVX2 and FMA, so \
              their instructions may run; pointers are the caller's promise"
)]

use super::avx2::Avx2;
use crate::simd::{Kernel, Simd, Tuning};
use core::arch::x86_64::__m256;

/// Proof that the CPU has AVX2 and FMA.
#[derive(Clone, Copy)]
pub(super) struct Avx512(Avx2);

impl Avx512 {
    #[inline]
    pub(super) fn new() -> Option<Self> {
        Avx2::new().map(Self)
    }

    #[inline]
    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        unsafe { run_emulated(self, kernel) }
    }

    /// One operation on both halves.
    #[inline(always)]
    fn both<T: Copy, U>(self, a: [T; 2], operation: impl Fn(Avx2, T) -> U) -> [U; 2] {
        [operation(self.0, a[0]), operation(self.0, a[1])]
    }

    #[inline(always)]
    fn both2<T: Copy, U>(
        self,
        a: [T; 2],
        b: [T; 2],
        operation: impl Fn(Avx2, T, T) -> U,
    ) -> [U; 2] {
        [operation(self.0, a[0], b[0]), operation(self.0, a[1], b[1])]
    }
}

#[target_feature(enable = "avx2,fma")]
fn run_emulated<K: Kernel>(simd: Avx512, kernel: K) -> K::Output {
    kernel.run(simd)
}

#[inline(never)]
#[target_feature(enable = "avx2,fma")]
fn call_emulated<K: Kernel>(simd: Avx512, kernel: K) -> K::Output {
    kernel.run(simd)
}

// SAFETY: two of __m256 are sixteen floats in order, and AVX2 has eight; an Avx512 exists only where
// `new` saw the features that its instructions need.
unsafe impl Simd for Avx512 {
    type V = [__m256; 2];
    type M = [__m256; 2];
    const LANES: usize = 16;
    const TUNING: &'static Tuning = &Tuning::WIDEST;
    type Half = Avx2;
    const HALF_LANES: usize = 8;

    #[inline(always)]
    fn half(self) -> Avx2 {
        Avx2::from_avx512(self)
    }
    #[inline(always)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        unsafe { call_emulated(self, kernel) }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [self.0.splat(x); 2]
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> Self::V {
        unsafe { [self.0.load(p), self.0.load(p.add(8))] }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: Self::V) {
        unsafe {
            self.0.store(p, v[0]);
            self.0.store(p.add(8), v[1]);
        }
    }
    #[inline(always)]
    fn mask_first(self, n: usize) -> Self::M {
        [self.0.mask_first(n), self.0.mask_first(n.saturating_sub(8))]
    }
    #[inline(always)]
    unsafe fn load_masked(self, p: *const f32, m: Self::M) -> Self::V {
        unsafe { [self.0.load_masked(p, m[0]), self.0.load_masked(p.wrapping_add(8), m[1])] }
    }
    #[inline(always)]
    unsafe fn store_masked(self, p: *mut f32, v: Self::V, m: Self::M) {
        unsafe {
            self.0.store_masked(p, v[0], m[0]);
            self.0.store_masked(p.wrapping_add(8), v[1], m[1]);
        }
    }
    #[inline(always)]
    unsafe fn load_u8(self, p: *const u8, n: usize) -> Self::V {
        unsafe { [self.0.load_u8(p, n), self.0.load_u8(p.wrapping_add(8), n.saturating_sub(8))] }
    }
    #[inline(always)]
    unsafe fn store_u8(self, p: *mut u8, v: Self::V, n: usize) {
        unsafe {
            self.0.store_u8(p, v[0], n);
            self.0.store_u8(p.wrapping_add(8), v[1], n.saturating_sub(8));
        }
    }
    #[inline(always)]
    fn prefetch(self, p: *const f32) {
        self.0.prefetch(p);
    }
    #[inline(always)]
    unsafe fn transpose4(self, p: *const f32, stride: usize) -> [Self::V; 4] {
        unsafe {
            let low = self.0.transpose4(p, stride);
            let high = self.0.transpose4(p.add(8 * stride), stride);
            [[low[0], high[0]], [low[1], high[1]], [low[2], high[2]], [low[3], high[3]]]
        }
    }
    #[inline(always)]
    unsafe fn pick4(self, p: *const f32, index: Self::V) -> Self::V {
        unsafe { [self.0.pick4(p, index[0]), self.0.pick4(p, index[1])] }
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        self.both2(a, b, Avx2::add)
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        self.both2(a, b, Avx2::sub)
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        self.both2(a, b, Avx2::mul)
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        self.both2(a, b, Avx2::div)
    }
    #[inline(always)]
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        [self.0.mul_add(a[0], b[0], c[0]), self.0.mul_add(a[1], b[1], c[1])]
    }
    #[inline(always)]
    fn mul_sub(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        [self.0.mul_sub(a[0], b[0], c[0]), self.0.mul_sub(a[1], b[1], c[1])]
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        self.both2(a, b, Avx2::max)
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        self.both2(a, b, Avx2::min)
    }
    #[inline(always)]
    fn sqrt(self, a: Self::V) -> Self::V {
        self.both(a, Avx2::sqrt)
    }
    #[inline(always)]
    fn abs(self, a: Self::V) -> Self::V {
        self.both(a, Avx2::abs)
    }
    #[inline(always)]
    fn flush(self, a: Self::V) -> Self::V {
        self.both(a, Avx2::flush)
    }
    #[inline(always)]
    fn with_sign(self, a: Self::V, b: Self::V) -> Self::V {
        self.both2(a, b, Avx2::with_sign)
    }
    #[inline(always)]
    fn round(self, a: Self::V) -> Self::V {
        self.both(a, Avx2::round)
    }
    #[inline(always)]
    fn pow2(self, n: Self::V) -> Self::V {
        self.both(n, Avx2::pow2)
    }
    #[inline(always)]
    fn exponent(self, a: Self::V) -> Self::V {
        self.both(a, Avx2::exponent)
    }
    #[inline(always)]
    fn gt(self, a: Self::V, b: Self::V) -> Self::M {
        self.both2(a, b, Avx2::gt)
    }
    #[inline(always)]
    fn ge(self, a: Self::V, b: Self::V) -> Self::M {
        self.both2(a, b, Avx2::ge)
    }
    #[inline(always)]
    fn select(self, m: Self::M, a: Self::V, b: Self::V) -> Self::V {
        [self.0.select(m[0], a[0], b[0]), self.0.select(m[1], a[1], b[1])]
    }
    #[inline(always)]
    fn reduce_add(self, a: Self::V) -> f32 {
        self.0.reduce_add(self.0.add(a[0], a[1]))
    }
    #[inline(always)]
    fn reduce_max(self, a: Self::V) -> f32 {
        self.0.reduce_max(self.0.max(a[0], a[1]))
    }
}
