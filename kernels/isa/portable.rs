//! What every build has: 4 floats through the crate `wide`, which picks SSE2 on x86-64 and NEON on
//! Arm at compile time. (NEON could not be run where this was written.)

use crate::simd::{Kernel, Simd, Tuning};
use bytemuck::cast;
use wide::{f32x4, i32x4};

/// Needs no proof: its instructions are the build's own.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Portable {
    #[inline]
    #[expect(clippy::unnecessary_wraps, reason = "as every set's")]
    pub(super) fn new() -> Option<Self> {
        Some(Self)
    }

    #[inline]
    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }
}

/// `u32::MAX` four times, then `0` four times: the four from `4 - n` on are the mask of the first
/// `n`.
static MASKS: [u32; 8] = [!0, !0, !0, !0, 0, 0, 0, 0];

// SAFETY: f32x4 is four floats, and half a vector is the vector itself; every CPU runs the build.
unsafe impl Simd for Portable {
    type V = f32x4;
    type M = f32x4;
    const LANES: usize = 4;
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

    #[inline(never)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }
    #[inline(always)]
    fn splat(self, x: f32) -> f32x4 {
        f32x4::splat(x)
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> f32x4 {
        // SAFETY: the caller promises four floats; an array of floats needs no more alignment.
        f32x4::from(unsafe { p.cast::<[f32; 4]>().read() })
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: f32x4) {
        // SAFETY: the caller promises four floats; an array of floats needs no more alignment.
        unsafe { p.cast::<[f32; 4]>().write(v.to_array()) }
    }
    #[inline(always)]
    fn mask_first(self, n: usize) -> f32x4 {
        let from = 4 - n.min(4);
        cast([MASKS[from], MASKS[from + 1], MASKS[from + 2], MASKS[from + 3]])
    }
    #[inline(always)]
    unsafe fn load_masked(self, p: *const f32, m: f32x4) -> f32x4 {
        let chosen: [u32; 4] = cast(m);
        let mut lanes = [0.0; 4];
        for i in 0..4 {
            if chosen[i] != 0 {
                // SAFETY: the caller promises the chosen lanes.
                lanes[i] = unsafe { *p.add(i) };
            }
        }
        f32x4::from(lanes)
    }
    #[inline(always)]
    unsafe fn store_masked(self, p: *mut f32, v: f32x4, m: f32x4) {
        let chosen: [u32; 4] = cast(m);
        let lanes = v.to_array();
        for i in 0..4 {
            if chosen[i] != 0 {
                // SAFETY: the caller promises the chosen lanes.
                unsafe { *p.add(i) = lanes[i] };
            }
        }
    }
    #[inline(always)]
    unsafe fn load_u8(self, p: *const u8, n: usize) -> f32x4 {
        let mut lanes = [0.0; 4];
        for (i, lane) in lanes.iter_mut().enumerate().take(n) {
            // SAFETY: the caller promises the first `n` bytes, up to four.
            *lane = f32::from(unsafe { *p.add(i) });
        }
        f32x4::from(lanes)
    }
    #[inline(always)]
    unsafe fn store_u8(self, p: *mut u8, v: f32x4, n: usize) {
        for (i, lane) in v.to_array().into_iter().enumerate().take(n) {
            // SAFETY: the caller promises the first `n` bytes, up to four.
            unsafe { *p.add(i) = lane as u8 };
        }
    }
    #[inline(always)]
    fn prefetch(self, _: *const f32) {}
    #[inline(always)]
    unsafe fn transpose4(self, p: *const f32, stride: usize) -> [f32x4; 4] {
        // SAFETY: the caller promises four floats in each of four rows.
        let row = |i: usize| unsafe { self.load(p.add(i * stride)) };
        f32x4::transpose([row(0), row(1), row(2), row(3)])
    }
    #[inline(always)]
    unsafe fn pick4(self, p: *const f32, index: f32x4) -> f32x4 {
        // SAFETY: the caller promises four floats.
        let [a, b, c, d] = unsafe { p.cast::<[f32; 4]>().read() };
        let low = index.simd_gt(f32x4::splat(0.5)).select(f32x4::splat(b), f32x4::splat(a));
        let high = index.simd_gt(f32x4::splat(2.5)).select(f32x4::splat(d), f32x4::splat(c));
        index.simd_gt(f32x4::splat(1.5)).select(high, low)
    }
    #[inline(always)]
    fn add(self, a: f32x4, b: f32x4) -> f32x4 {
        a + b
    }
    #[inline(always)]
    fn sub(self, a: f32x4, b: f32x4) -> f32x4 {
        a - b
    }
    #[inline(always)]
    fn mul(self, a: f32x4, b: f32x4) -> f32x4 {
        a * b
    }
    #[inline(always)]
    fn div(self, a: f32x4, b: f32x4) -> f32x4 {
        a / b
    }
    #[inline(always)]
    fn mul_add(self, a: f32x4, b: f32x4, c: f32x4) -> f32x4 {
        a.mul_add(b, c)
    }
    #[inline(always)]
    fn mul_sub(self, a: f32x4, b: f32x4, c: f32x4) -> f32x4 {
        a.mul_sub(b, c)
    }
    #[inline(always)]
    fn max(self, a: f32x4, b: f32x4) -> f32x4 {
        a.simd_gt(b).select(a, b)
    }
    #[inline(always)]
    fn min(self, a: f32x4, b: f32x4) -> f32x4 {
        b.simd_gt(a).select(a, b)
    }
    #[inline(always)]
    fn sqrt(self, a: f32x4) -> f32x4 {
        a.sqrt()
    }
    #[inline(always)]
    fn abs(self, a: f32x4) -> f32x4 {
        a.abs()
    }
    #[inline(always)]
    fn flush(self, a: f32x4) -> f32x4 {
        // On integers, as for AVX2.
        let bits: i32x4 = cast(a);
        let magnitude = bits & i32x4::splat(i32::MAX);
        let largest_subnormal = i32x4::splat(f32::MIN_POSITIVE.to_bits() as i32 - 1);
        cast(bits & magnitude.simd_gt(largest_subnormal))
    }
    #[inline(always)]
    fn with_sign(self, a: f32x4, b: f32x4) -> f32x4 {
        a | (b & f32x4::splat(-0.0))
    }
    #[inline(always)]
    fn round(self, a: f32x4) -> f32x4 {
        // 2^23 floats from 1.5 * 2^23 on are integers: the sum rounds, and SSE2 has nothing better.
        let shift = f32x4::splat(12_582_912.0);
        (a + shift) - shift
    }
    #[inline(always)]
    fn pow2(self, n: f32x4) -> f32x4 {
        // 1.5 * 2^23 is where a float's last bit counts ones: adding it leaves n + 127 in the low
        // bits, which the shift moves into the exponent. SSE2's own conversion would do as well,
        // but `wide` guards it against NaN with four more instructions.
        let shifted: i32x4 = cast(n + f32x4::splat(12_582_912.0 + 127.0));
        cast(shifted << 23)
    }
    #[inline(always)]
    fn exponent(self, a: f32x4) -> f32x4 {
        let bits: i32x4 = cast(a);
        let shifted: i32x4 = bits >> 23;
        (shifted - i32x4::splat(127)).round_float()
    }
    #[inline(always)]
    fn gt(self, a: f32x4, b: f32x4) -> f32x4 {
        a.simd_gt(b)
    }
    #[inline(always)]
    fn ge(self, a: f32x4, b: f32x4) -> f32x4 {
        a.simd_ge(b)
    }
    #[inline(always)]
    fn select(self, m: f32x4, a: f32x4, b: f32x4) -> f32x4 {
        m.select(a, b)
    }
    #[inline(always)]
    fn reduce_add(self, a: f32x4) -> f32 {
        let [a, b, c, d] = a.to_array();
        (a + c) + (b + d)
    }
    #[inline(always)]
    fn reduce_max(self, a: f32x4) -> f32 {
        let [a, b, c, d] = a.to_array();
        a.max(b).max(c.max(d))
    }
}
