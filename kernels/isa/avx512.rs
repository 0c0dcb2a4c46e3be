//! AVX-512: 32 registers of 16 floats, and a mask register for every tail.

#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "one argument serves the file: an Avx512 exists only where `new` saw the CPU's \
              features, so its instructions may run; pointers are the caller's promise"
)]

use super::avx2::Avx2;
use crate::simd::{Kernel, Simd, Tuning};
use core::arch::x86_64::*;

/// Proof that the CPU has AVX-512 F, VL, BW and DQ.
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

impl Avx512 {
    #[inline]
    pub(super) fn new() -> Option<Self> {
        let detected = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma");
        detected.then_some(Self(()))
    }

    #[inline]
    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        unsafe { run_avx512(self, kernel) }
    }
}

#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
fn run_avx512<K: Kernel>(simd: Avx512, kernel: K) -> K::Output {
    kernel.run(simd)
}

#[inline(never)]
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
fn call_avx512<K: Kernel>(simd: Avx512, kernel: K) -> K::Output {
    kernel.run(simd)
}

/// See [`Simd::after`].
#[inline]
#[target_feature(enable = "avx512f")]
fn after(v: __m512, mut x: usize) -> usize {
    unsafe {
        core::arch::asm!(
            "/* {x} after {v} */",
            v = in(zmm_reg) v,
            x = inout(reg) x,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    x
}

// SAFETY: __m512 is sixteen floats, and AVX2 has eight; an Avx512 exists only where `new` saw the
// features.
unsafe impl Simd for Avx512 {
    type V = __m512;
    type M = __mmask16;
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
        unsafe { call_avx512(self, kernel) }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: __m512) {
        unsafe { _mm512_storeu_ps(p, v) }
    }
    #[inline(always)]
    fn mask_first(self, n: usize) -> __mmask16 {
        if n >= 16 { !0 } else { (1 << n) - 1 }
    }
    #[inline(always)]
    unsafe fn load_masked(self, p: *const f32, m: __mmask16) -> __m512 {
        unsafe { _mm512_maskz_loadu_ps(m, p) }
    }
    #[inline(always)]
    unsafe fn store_masked(self, p: *mut f32, v: __m512, m: __mmask16) {
        unsafe { _mm512_mask_storeu_ps(p, m, v) }
    }
    #[inline(always)]
    unsafe fn load_u8(self, p: *const u8, n: usize) -> __m512 {
        unsafe {
            let bytes = _mm_maskz_loadu_epi8(self.mask_first(n), p.cast());
            _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes))
        }
    }
    #[inline(always)]
    unsafe fn store_u8(self, p: *mut u8, v: __m512, n: usize) {
        unsafe {
            let bytes = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v));
            _mm_mask_storeu_epi8(p.cast(), self.mask_first(n), bytes);
        }
    }
    #[inline(always)]
    fn after(self, v: __m512, x: usize) -> usize {
        unsafe { after(v, x) }
    }
    #[inline(always)]
    fn prefetch(self, p: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
    #[inline(always)]
    unsafe fn transpose4(self, p: *const f32, stride: usize) -> [__m512; 4] {
        unsafe {
            // Lane l of vector i is row i + 4 l; then each lane is a 4 x 4 transpose of its own.
            let rows = |i: usize| {
                let row = |l: usize| _mm_loadu_ps(p.add((i + 4 * l) * stride));
                let v = _mm512_castps128_ps512(row(0));
                let v = _mm512_insertf32x4::<1>(v, row(1));
                let v = _mm512_insertf32x4::<2>(v, row(2));
                _mm512_insertf32x4::<3>(v, row(3))
            };
            let [a, b, c, d] = [rows(0), rows(1), rows(2), rows(3)];
            let (ab_low, ab_high) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
            let (cd_low, cd_high) = (_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
            [
                _mm512_shuffle_ps::<0b01_00_01_00>(ab_low, cd_low),
                _mm512_shuffle_ps::<0b11_10_11_10>(ab_low, cd_low),
                _mm512_shuffle_ps::<0b01_00_01_00>(ab_high, cd_high),
                _mm512_shuffle_ps::<0b11_10_11_10>(ab_high, cd_high),
            ]
        }
    }
    #[inline(always)]
    unsafe fn pick4(self, p: *const f32, index: __m512) -> __m512 {
        unsafe {
            let four = _mm512_broadcast_f32x4(_mm_loadu_ps(p));
            _mm512_permutevar_ps(four, _mm512_cvtps_epi32(index))
        }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn mul_sub(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmsub_ps(a, b, c) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    fn sqrt(self, a: __m512) -> __m512 {
        unsafe { _mm512_sqrt_ps(a) }
    }
    #[inline(always)]
    fn abs(self, a: __m512) -> __m512 {
        unsafe { _mm512_abs_ps(a) }
    }
    /// By class: subnormal, or negative zero. Two instructions, and none that a subnormal slows.
    #[inline(always)]
    fn flush(self, a: __m512) -> __m512 {
        const NEGATIVE_ZERO: i32 = 0x04;
        const SUBNORMAL: i32 = 0x20;
        unsafe {
            let is_below = _mm512_fpclass_ps_mask::<{ NEGATIVE_ZERO | SUBNORMAL }>(a);
            let exponent = _mm512_castsi512_ps(_mm512_set1_epi32(0x7F80_0000));
            _mm512_mask_and_ps(a, is_below, a, exponent)
        }
    }
    #[inline(always)]
    fn with_sign(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_or_ps(a, _mm512_and_ps(b, _mm512_set1_ps(-0.0))) }
    }
    #[inline(always)]
    fn round(self, a: __m512) -> __m512 {
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    fn pow2(self, n: __m512) -> __m512 {
        unsafe { _mm512_scalef_ps(_mm512_set1_ps(1.0), n) }
    }
    #[inline(always)]
    fn exponent(self, a: __m512) -> __m512 {
        unsafe { _mm512_getexp_ps(a) }
    }
    #[inline(always)]
    fn gt(self, a: __m512, b: __m512) -> __mmask16 {
        unsafe { _mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b) }
    }
    #[inline(always)]
    fn ge(self, a: __m512, b: __m512) -> __mmask16 {
        unsafe { _mm512_cmp_ps_mask::<_CMP_GE_OQ>(a, b) }
    }
    #[inline(always)]
    fn select(self, m: __mmask16, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mask_blend_ps(m, b, a) }
    }
    #[inline(always)]
    fn reduce_add(self, a: __m512) -> f32 {
        // Not `_mm512_reduce_add_ps`, whose order is the compiler's to choose.
        unsafe {
            let eight = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a));
            self.half().reduce_add(eight)
        }
    }
    #[inline(always)]
    fn reduce_add4(self, [a, b, c, d]: [__m512; 4]) -> [f32; 4] {
        unsafe {
            // Halves of pairs are added, so that each step sums two vectors at the price of one.
            let halves = |a, b| {
                _mm512_add_ps(
                    _mm512_shuffle_f32x4::<0b01_00_01_00>(a, b),
                    _mm512_shuffle_f32x4::<0b11_10_11_10>(a, b),
                )
            };
            let (ab, cd) = (halves(a, b), halves(c, d));
            // Now lane l of four floats is a quarter of vector l.
            let v = _mm512_add_ps(
                _mm512_shuffle_f32x4::<0b10_00_10_00>(ab, cd),
                _mm512_shuffle_f32x4::<0b11_01_11_01>(ab, cd),
            );
            let v = _mm512_add_ps(v, _mm512_permute_ps::<0b01_00_11_10>(v));
            let v = _mm512_add_ps(v, _mm512_permute_ps::<0b10_11_00_01>(v));
            let first = _mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
            let mut sums = [0.0; 4];
            let low = _mm512_castps512_ps128(_mm512_permutexvar_ps(first, v));
            _mm_storeu_ps(sums.as_mut_ptr(), low);
            sums
        }
    }
    #[inline(always)]
    fn reduce_max(self, a: __m512) -> f32 {
        unsafe { _mm512_reduce_max_ps(a) }
    }
}
