//! AVX2 and FMA: 16 registers of 8 floats; tails by `maskload`/`maskstore`.

#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "one argument serves the file: an Avx2 exists only where `new` saw the CPU's \
              features, so its instructions may run; pointers are the caller's promise"
)]

use crate::simd::{Kernel, Simd, Tuning};
use core::arch::x86_64::*;

/// Proof that the CPU has AVX2 and FMA.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    #[inline]
    pub(super) fn new() -> Option<Self> {
        let detected = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        detected.then_some(Self(()))
    }

    /// A CPU with AVX-512 has these too.
    #[inline(always)]
    pub(super) fn from_avx512(_: super::avx512::Avx512) -> Self {
        Self(())
    }

    #[inline]
    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        unsafe { run_avx2(self, kernel) }
    }
}

#[target_feature(enable = "avx2,fma")]
fn run_avx2<K: Kernel>(simd: Avx2, kernel: K) -> K::Output {
    kernel.run(simd)
}

/// `-1` eight times, then `0` eight times: the eight from `8 - n` on are the mask of the first `n`.
static MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

#[inline(never)]
#[target_feature(enable = "avx2,fma")]
fn call_avx2<K: Kernel>(simd: Avx2, kernel: K) -> K::Output {
    kernel.run(simd)
}

// SAFETY: __m256 is eight floats, and half a vector is the vector itself; an Avx2 exists only where `new`
// saw the features.
unsafe impl Simd for Avx2 {
    type V = __m256;
    type M = __m256;
    const LANES: usize = 8;
    const TUNING: &'static Tuning = &Tuning {
        heights: &[1, 2, 4, 6],
        wide_rows: 0,
        dot_cols: 2,
        filter_vectors: 1,
        turn_b: 0.8,
        store_by_column: 22.0,
        multiply: 1.0,
    };
    type Half = Self;
    const HALF_LANES: usize = 0;

    #[inline(always)]
    fn half(self) -> Self {
        self
    }

    #[inline(always)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        unsafe { call_avx2(self, kernel) }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m256 {
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: __m256) {
        unsafe { _mm256_storeu_ps(p, v) }
    }
    #[inline(always)]
    fn mask_first(self, n: usize) -> __m256 {
        unsafe { _mm256_loadu_ps(MASKS.as_ptr().add(8 - n.min(8)).cast()) }
    }
    #[inline(always)]
    unsafe fn load_masked(self, p: *const f32, m: __m256) -> __m256 {
        unsafe { _mm256_maskload_ps(p, _mm256_castps_si256(m)) }
    }
    #[inline(always)]
    unsafe fn store_masked(self, p: *mut f32, v: __m256, m: __m256) {
        unsafe { _mm256_maskstore_ps(p, _mm256_castps_si256(m), v) }
    }
    /// In pieces: AMD's CPUs take 20 cycles for a masked store of AVX2.
    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, v: __m256, n: usize) {
        unsafe {
            if n >= 8 {
                return _mm256_storeu_ps(p, v);
            }
            let (mut p, mut rest) = (p, _mm256_castps256_ps128(v));
            if n & 4 != 0 {
                _mm_storeu_ps(p, rest);
                (p, rest) = (p.add(4), _mm256_extractf128_ps::<1>(v));
            }
            if n & 2 != 0 {
                _mm_storel_pd(p.cast(), _mm_castps_pd(rest));
                (p, rest) = (p.add(2), _mm_movehl_ps(rest, rest));
            }
            if n & 1 != 0 {
                _mm_store_ss(p, rest);
            }
        }
    }
    #[inline(always)]
    unsafe fn load_u8(self, p: *const u8, n: usize) -> __m256 {
        unsafe {
            let bytes = if n >= 8 {
                _mm_loadl_epi64(p.cast())
            } else {
                let mut bytes = [0_u8; 8];
                p.copy_to_nonoverlapping(bytes.as_mut_ptr(), n);
                _mm_loadl_epi64(bytes.as_ptr().cast())
            };
            _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes))
        }
    }
    #[inline(always)]
    unsafe fn store_u8(self, p: *mut u8, v: __m256, n: usize) {
        unsafe {
            let words = _mm256_cvtps_epi32(v);
            let high = _mm256_extracti128_si256::<1>(words);
            let shorts = _mm_packus_epi32(_mm256_castsi256_si128(words), high);
            let bytes = _mm_packus_epi16(shorts, shorts);
            if n >= 8 {
                _mm_storel_epi64(p.cast(), bytes);
            } else {
                let bytes = _mm_cvtsi128_si64(bytes).to_le_bytes();
                p.copy_from_nonoverlapping(bytes.as_ptr(), n);
            }
        }
    }
    #[inline(always)]
    fn prefetch(self, p: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
    #[inline(always)]
    unsafe fn transpose4(self, p: *const f32, stride: usize) -> [__m256; 4] {
        unsafe {
            // Half h of vector i is row i + 4 h; then each half is a 4 x 4 transpose of its own.
            let rows = |i: usize| {
                let row = |h: usize| _mm_loadu_ps(p.add((i + 4 * h) * stride));
                _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(row(0)), row(1))
            };
            let [a, b, c, d] = [rows(0), rows(1), rows(2), rows(3)];
            let (ab_low, ab_high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let (cd_low, cd_high) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            [
                _mm256_shuffle_ps::<0b01_00_01_00>(ab_low, cd_low),
                _mm256_shuffle_ps::<0b11_10_11_10>(ab_low, cd_low),
                _mm256_shuffle_ps::<0b01_00_01_00>(ab_high, cd_high),
                _mm256_shuffle_ps::<0b11_10_11_10>(ab_high, cd_high),
            ]
        }
    }
    #[inline(always)]
    unsafe fn pick4(self, p: *const f32, index: __m256) -> __m256 {
        unsafe {
            let four = _mm_loadu_ps(p);
            let four = _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(four), four);
            _mm256_permutevar_ps(four, _mm256_cvtps_epi32(index))
        }
    }
    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_div_ps(a, b) }
    }
    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn mul_sub(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fmsub_ps(a, b, c) }
    }
    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_min_ps(a, b) }
    }
    #[inline(always)]
    fn sqrt(self, a: __m256) -> __m256 {
        unsafe { _mm256_sqrt_ps(a) }
    }
    #[inline(always)]
    fn abs(self, a: __m256) -> __m256 {
        unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), a) }
    }
    /// On integers: a comparison of floats would have subnormal operands, and the bits of NaN and
    /// infinity are the largest of all. (Exponents compared with zero, the same number of instructions,
    /// made products of the depth 32 slower by 14 % on Zen 4.)
    #[inline(always)]
    fn flush(self, a: __m256) -> __m256 {
        unsafe {
            let bits = _mm256_castps_si256(a);
            let magnitude = _mm256_and_si256(bits, _mm256_set1_epi32(i32::MAX));
            let largest_subnormal = _mm256_set1_epi32(f32::MIN_POSITIVE.to_bits() as i32 - 1);
            let keeps = _mm256_cmpgt_epi32(magnitude, largest_subnormal);
            _mm256_castsi256_ps(_mm256_and_si256(bits, keeps))
        }
    }
    #[inline(always)]
    fn with_sign(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_or_ps(a, _mm256_and_ps(b, _mm256_set1_ps(-0.0))) }
    }
    #[inline(always)]
    fn round(self, a: __m256) -> __m256 {
        unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    fn pow2(self, n: __m256) -> __m256 {
        unsafe {
            // At 1.5 * 2^23 a float's last bit counts ones: the sum's low bits are n + 127, which the
            // shift moves into the exponent. One instruction less than a conversion.
            let shifted = _mm256_add_ps(n, _mm256_set1_ps(12_582_912.0 + 127.0));
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(shifted)))
        }
    }
    #[inline(always)]
    fn exponent(self, a: __m256) -> __m256 {
        unsafe {
            let biased = _mm256_srli_epi32::<23>(_mm256_castps_si256(a));
            _mm256_cvtepi32_ps(_mm256_sub_epi32(biased, _mm256_set1_epi32(127)))
        }
    }
    #[inline(always)]
    fn gt(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_cmp_ps::<_CMP_GT_OQ>(a, b) }
    }
    #[inline(always)]
    fn ge(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_cmp_ps::<_CMP_GE_OQ>(a, b) }
    }
    #[inline(always)]
    fn select(self, m: __m256, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_blendv_ps(b, a, m) }
    }
    #[inline(always)]
    fn reduce_add(self, a: __m256) -> f32 {
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
    #[inline(always)]
    fn reduce_add4(self, [a, b, c, d]: [__m256; 4]) -> [f32; 4] {
        unsafe {
            // Halves of pairs are added, so that each step sums two vectors at the price of one.
            let halves = |a, b| {
                _mm256_add_ps(
                    _mm256_permute2f128_ps::<0x20>(a, b),
                    _mm256_permute2f128_ps::<0x31>(a, b),
                )
            };
            // Lanes 0 to 3 are now of a (c), lanes 4 to 7 of b (d).
            let (ab, cd) = (halves(a, b), halves(c, d));
            let v = _mm256_add_ps(
                _mm256_shuffle_ps::<0b01_00_01_00>(ab, cd),
                _mm256_shuffle_ps::<0b11_10_11_10>(ab, cd),
            );
            // Two of a, two of c; two of b, two of d.
            let v = _mm256_add_ps(v, _mm256_movehdup_ps(v));
            let (ac, bd) = (_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let mut sums = [0.0; 4];
            _mm_storeu_ps(
                sums.as_mut_ptr(),
                _mm_unpacklo_ps(
                    _mm_shuffle_ps::<0b10_00_10_00>(ac, ac),
                    _mm_shuffle_ps::<0b10_00_10_00>(bd, bd),
                ),
            );
            sums
        }
    }
    #[inline(always)]
    fn reduce_max(self, a: __m256) -> f32 {
        unsafe {
            let four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        }
    }
}
