//! The tile unit in plain Rust.

use super::{SIDE, TileUnit, Tiles, WORDS};
use std::array;

/// The arithmetic of AMX (Intel, "64 and IA-32 Architectures Software Developer's Manual", volume 2, TDPBF16PS).
/// For each element of the sum, the lower halves of the pairs are multiplied and added up from zero, in the order of K,
/// by fused multiply-adds, and so are the upper halves. Then one of these two sums is added to the other, and that to
/// the element. Every step rounds to nearest, ties to even. Subnormal operands and results are zero, with their sign;
/// there are no exceptions, and the control register is not asked. Which NaN comes out is left open here.
#[derive(Clone, Copy)]
pub(crate) struct Twin;

/// Eight tiles in memory.
pub(crate) struct TwinTiles(Box<[[u32; WORDS]; 8]>);

impl TileUnit for Twin {
    type Tiles = TwinTiles;

    fn configure(self) -> TwinTiles {
        TwinTiles(Box::new([[0; WORDS]; 8]))
    }
}

/// A subnormal number as zero, of the same sign.
#[inline(always)]
fn without_subnormal(x: f32) -> f32 {
    if x.abs() < f32::MIN_POSITIVE { 0.0_f32.copysign(x) } else { x }
}

/// Below this a result is subnormal when it has been rounded to 24 bits, however small its exponent is.
const TINY: f64 = f32::MIN_POSITIVE as f64 * (1.0 - 1.0 / (1 << 25) as f64);

/// `a b + sum` of two bf16 numbers and a float, as the instructions compute it: rounded once; operands that are
/// subnormal are zero, and so is a result that is subnormal after it was rounded to 24 bits. One just below the
/// smallest normal number can be that though f32's own rounding, which has fewer bits there, makes it normal.
#[inline(always)]
pub(crate) fn fused(a: f32, b: f32, sum: f32) -> f32 {
    let [a, b, sum] = [a, b, sum].map(without_subnormal);
    let result = a.mul_add(b, sum);
    // In f64 the product is exact, and so is the sum where it is near that number.
    let is_tiny = result.abs() == f32::MIN_POSITIVE
        && (f64::from(a) * f64::from(b) + f64::from(sum)).abs() < TINY;
    if is_tiny { 0.0_f32.copysign(result) } else { without_subnormal(result) }
}

/// [`fused`] of a row of words' halves, each already as the float of its bf16 and not subnormal.
#[inline(always)]
fn fused_row(a: f32, b: [f32; SIDE], sums: &mut [f32; SIDE]) {
    let results: [f32; SIDE] = array::from_fn(|n| a.mul_add(b[n], sums[n]));
    // Results at the edge are rare, and slow.
    if results.iter().fold(false, |any, x| any | (x.abs() == f32::MIN_POSITIVE)) {
        *sums = array::from_fn(|n| fused(a, b[n], sums[n]));
    } else {
        *sums = results.map(without_subnormal);
    }
}

#[inline(always)]
fn lower(word: u32) -> f32 {
    without_subnormal(f32::from_bits(word << 16))
}

#[inline(always)]
fn upper(word: u32) -> f32 {
    without_subnormal(f32::from_bits(word & 0xFFFF_0000))
}

#[inline(always)]
fn add(one: f32, other: f32) -> f32 {
    // Of two normal numbers a sum that is subnormal is exact.
    without_subnormal(without_subnormal(one) + other)
}

impl Tiles for TwinTiles {
    #[inline(always)]
    fn zero<const TILE: usize>(&mut self) {
        self.0[TILE] = [0; WORDS];
    }

    #[inline(always)]
    unsafe fn load<const TILE: usize>(&mut self, from: *const u32, stride: usize) {
        for (i, row) in self.0[TILE].as_chunks_mut::<SIDE>().0.iter_mut().enumerate() {
            // SAFETY: a row by the caller's promise; it may lie as a float does, which is aligned alike.
            *row = unsafe { from.add(i * stride).cast::<[u32; SIDE]>().read() };
        }
    }

    #[inline(always)]
    fn multiply<const SUM: usize, const A: usize, const B: usize>(&mut self) {
        let (a, b) = (self.0[A], self.0[B]);
        let (rows_of_a, rows_of_b) = (a.as_chunks::<SIDE>().0, b.as_chunks::<SIDE>().0);
        for (sums, a) in self.0[SUM].as_chunks_mut::<SIDE>().0.iter_mut().zip(rows_of_a) {
            let (mut of_lower, mut of_upper) = ([0.0; SIDE], [0.0; SIDE]);
            for (&a, b) in a.iter().zip(rows_of_b) {
                fused_row(lower(a), b.map(lower), &mut of_lower);
                fused_row(upper(a), b.map(upper), &mut of_upper);
            }
            for n in 0..SIDE {
                let of_tile = add(of_lower[n], of_upper[n]);
                sums[n] = add(f32::from_bits(sums[n]), of_tile).to_bits();
            }
        }
    }

    #[inline(always)]
    unsafe fn store<const TILE: usize>(&mut self, to: *mut f32, stride: usize) {
        for (i, row) in self.0[TILE].as_chunks::<SIDE>().0.iter().enumerate() {
            // SAFETY: as `load`.
            unsafe { to.add(i * stride).cast::<[u32; SIDE]>().write(*row) };
        }
    }
}
