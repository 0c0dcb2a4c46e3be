//! bf16 numbers in plain Rust: the rounding, the split of an f32 into three, the arithmetic of the instructions
//! `vdpbf16ps` and `tdpbf16ps`, and products of matrices by either. A bf16 is the upper half of an f32.

use crate::blocking::Cut;
use crate::gemm::{Blocking, Epilogue, Write};
use crate::precision::{Arithmetic, Bf16Kernel};
use crate::simd::flush;
use crate::tiles::{DEPTH, fused};
use crate::{Mat, MatMut, Precision};

/// A float rounded to bf16: the nearer of the two bf16 beside it, of two as near the one whose last bit is zero.
/// A subnormal float is zero, and a NaN stays one.
pub fn round(x: f32) -> u16 {
    let sign = ((x.to_bits() >> 31) as u16) << 15;
    let below = (x.to_bits() >> 16) as u16;
    if x.is_nan() {
        return below | 0x40;
    }
    if x.abs() < f32::MIN_POSITIVE {
        return sign;
    }
    if x.is_infinite() {
        return below;
    }
    // Beyond the largest bf16 lies 2^128, which is an infinity.
    let value = |bits: u16| {
        if bits & 0x7FFF == 0x7F80 { 2.0_f64.powi(128) } else { f64::from(widen(bits).abs()) }
    };
    let (size, above) = (f64::from(x.abs()), below + 1);
    let (to_below, to_above) = (size - value(below), value(above) - size);
    if to_below < to_above || (to_below == to_above && below.is_multiple_of(2)) {
        below
    } else {
        above
    }
}

/// The float of a bf16.
pub fn widen(x: u16) -> f32 {
    f32::from_bits(u32::from(x) << 16)
}

/// Three bf16 whose sum is the float: it is rounded, then the rest, then the rest of that. Nothing is left over
/// unless the third is subnormal, and then zero. A float beyond the largest bf16 is cut off instead of rounded, so
/// that the parts are finite. Of an infinity or a NaN the second and third are zero.
pub fn split(x: f32) -> [u16; 3] {
    let mut high = round(x);
    if !x.is_finite() {
        return [high, 0, 0];
    }
    if widen(high).is_infinite() {
        high = (x.to_bits() >> 16) as u16;
    }
    let rest = x - widen(high);
    let middle = round(rest);
    [high, middle, round(rest - widen(middle))]
}

/// A subnormal number as zero, of the same sign.
fn without_subnormal(x: f32) -> f32 {
    if x.abs() < f32::MIN_POSITIVE { 0.0_f32.copysign(x) } else { x }
}

/// One lane of `vdpbf16ps`: `sum + a[1] b[1] + a[0] b[0]`, where `[0]` is the lower half of a pair. Two fused
/// multiply-adds in that order, each rounded to nearest, ties to even. Operands and results that are subnormal are
/// zero; there are no exceptions, and the control register is not asked. (Intel, "64 and IA-32 Architectures
/// Software Developer's Manual", volume 2, VDPBF16PS.)
pub fn dpbf16ps(sum: f32, a: [u16; 2], b: [u16; 2]) -> f32 {
    let add = |sum: f32, a: u16, b: u16| fused(widen(a), widen(b), sum);
    add(add(sum, a[1], b[1]), a[0], b[0])
}

/// One element of `tdpbf16ps`: a row of pairs of A and a column of pairs of B. The first halves are multiplied and
/// added up from zero, and so are the second; then the one sum is added to the other, and both to `sum`. (Intel, as
/// [`dpbf16ps`], TDPBF16PS.)
pub fn tdpbf16ps(sum: f32, a: &[[u16; 2]], b: &[[u16; 2]]) -> f32 {
    let chain = |half: usize| {
        a.iter().zip(b).fold(0.0, |sum, (a, b)| fused(widen(a[half]), widen(b[half]), sum))
    };
    let add = |one: f32, other: f32| without_subnormal(without_subnormal(one) + other);
    add(sum, add(chain(0), chain(1)))
}

/// What a product takes of a float: its first, second and third part, and then the first once more, if the float is
/// finite, else zero.
fn parts(x: f32) -> [u16; 4] {
    let [high, middle, low] = split(x);
    [high, middle, low, if x.is_finite() { high } else { 0 }]
}

/// The products of parts of A and B that a product is the sum of, in the order in which they are added up.
const SPLIT: [(usize, usize); 6] = [(1, 1), (2, 3), (3, 2), (1, 3), (3, 1), (0, 0)];

/// How a kernel cuts a sum over K, whose elements are the sum of so many products each.
pub(super) fn cut(kernel: Bf16Kernel, blocking: &Blocking, k: usize, products: usize) -> Cut {
    if kernel.is_on_tiles() {
        blocking.cut_of_tiles(k, products)
    } else {
        blocking.cut_of_parts(k, products)
    }
}

/// [`super::gemm::gemm`] in another precision, in the order of a kernel: by `vdpbf16ps`, or on tiles by `tdpbf16ps`,
/// with the sums of [`crate::gemm`] cut as `blocking` cuts them: so with the same bits, if the activation is one of a
/// few instructions. (In f32 it is an ordinary product, in another order.)
#[expect(clippy::too_many_arguments, reason = "gemm's own seven, and how it is computed")]
pub fn gemm(
    arithmetic: Arithmetic,
    blocking: &Blocking,
    alpha: f32,
    a: Mat,
    b: Mat,
    write: Write,
    mut c: MatMut,
    epilogue: Epilogue,
) {
    let Arithmetic { precision, kernel } = arithmetic;
    let (k, products) = match precision {
        Precision::F32 => return super::gemm::gemm(alpha, a, b, write, c, epilogue),
        Precision::F32Split => (a.cols(), &SPLIT[..]),
        Precision::Bf16 => (a.cols(), &[(0, 0)][..]),
    };
    let parts = |x: f32| if precision == Precision::Bf16 { [round(x); 4] } else { parts(x) };
    let of_all = |x: Mat| -> Vec<[u16; 4]> {
        let at = |i| (0..x.cols()).map(move |j| parts(x.at(i, j)));
        (0..x.rows()).flat_map(at).collect()
    };
    let (rows, columns) = (of_all(a), of_all(b));
    let Cut { kc, blocks, slices } = cut(kernel, blocking, k, products.len());
    let unit = if kernel.is_on_tiles() { DEPTH } else { 2 };
    for i in 0..a.rows() {
        for j in 0..b.cols() {
            let block = |first: usize, end: usize| {
                let mut sum = 0.0;
                for &(of_a, of_b) in products {
                    for start in (first..end).step_by(unit) {
                        // The second number of a pair is its lower half.
                        let pairs = |number: &dyn Fn(usize) -> u16| {
                            let number = |p: usize| if p < end { number(p) } else { 0 };
                            let mut pairs = [[0_u16; 2]; DEPTH / 2];
                            for (i, p) in (start..end.min(start + unit)).step_by(2).enumerate() {
                                pairs[i] = [number(p + 1), number(p)];
                            }
                            pairs
                        };
                        let of_a = pairs(&|p| rows[i * k + p][of_a]);
                        let of_b = pairs(&|p| columns[p * b.cols() + j][of_b]);
                        sum = if kernel.is_on_tiles() {
                            tdpbf16ps(sum, &of_a, &of_b)
                        } else {
                            dpbf16ps(sum, of_a[0], of_b[0])
                        };
                    }
                }
                sum
            };
            let mut x = 0.0;
            if alpha != 0.0 {
                for slice in 0..slices {
                    let mut of_slice = 0.0;
                    // Slices have nearly as many blocks.
                    for at in blocks * slice / slices..blocks * (slice + 1) / slices {
                        of_slice = flush(of_slice + block(at * kc, k.min((at + 1) * kc)));
                    }
                    x = flush(x + of_slice);
                }
                x *= alpha;
            }
            if let Write::Add { beta } = write
                && beta != 0.0
            {
                x = c.as_ref().at(i, j).mul_add(beta, x);
            }
            super::gemm::store(&mut c, [i, j], x, epilogue);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemm::parts::Part;
    use crate::gemm::parts::tests::floats;

    #[test]
    fn rounds_to_nearest_even() {
        let one = 0x3F80;
        for (x, expected) in [
            (1.0, one),
            (1.0 + 2.0_f32.powi(-8), one),
            (1.0 + 2.0_f32.powi(-8) + 2.0_f32.powi(-23), one + 1),
            (1.0 + 3.0 * 2.0_f32.powi(-8), one + 2),
            (-1.0 - 2.0_f32.powi(-7), 0x8000 | (one + 1)),
            (f32::MAX, 0x7F80),
            (f32::MIN, 0xFF80),
            (f32::INFINITY, 0x7F80),
            (f32::MIN_POSITIVE, 0x0080),
            (f32::MIN_POSITIVE / 2.0, 0),
            (-f32::MIN_POSITIVE / 2.0, 0x8000),
            (0.0, 0),
        ] {
            assert_eq!(round(x), expected, "{x:e}");
        }
        assert!(
            widen(round(f32::NAN)).is_nan() && widen(round(f32::from_bits(0xFF80_0001))).is_nan()
        );
    }

    #[test]
    fn the_parts_of_packed_operands_are_these() {
        for bits in floats() {
            let x = f32::from_bits(bits);
            let expected = [(Part::Rounded, round(x))].into_iter();
            let kinds = [Part::High, Part::Middle, Part::Low, Part::FiniteHigh];
            let split = kinds.into_iter().zip(parts(x));
            for (kind, expected) in expected.chain(split) {
                assert_eq!(kind.bits(bits), u32::from(expected) << 16, "{kind:?} of {bits:08x}");
            }
        }
    }

    #[test]
    fn splits_without_a_rest() {
        for x in [1.0, 0.1, -std::f32::consts::PI, 1e-25, f32::MAX, f32::MIN_POSITIVE, 0.0] {
            let parts = split(x).map(|part| f64::from(widen(part)));
            assert_eq!(parts.iter().sum::<f64>(), f64::from(x), "{x:e}: {parts:?}");
        }
        assert_eq!(split(f32::NEG_INFINITY), [0xFF80, 0, 0]);
    }

    #[test]
    fn a_dot_product_rounds_twice_and_begins_with_the_upper_half() {
        let [one, two_24] = [1.0, 2.0_f32.powi(-24)].map(round);
        // 1 + 2^-24 + 2^-24: each addend alone is half of the last place, and is rounded away.
        assert_eq!(dpbf16ps(1.0, [two_24, two_24], [one, one]), 1.0);
        let [big, minus] = [3e38, -3e38].map(round);
        // 0 + big + big - big - big would be infinite; the upper half comes first.
        assert_eq!(dpbf16ps(widen(big), [big, minus], [one, one]), widen(big));
        assert!(dpbf16ps(widen(big), [minus, big], [one, one]).is_infinite());
        let tiny = round(f32::MIN_POSITIVE);
        assert_eq!(dpbf16ps(0.0, [tiny, 0], [round(0.5), 0]), 0.0);
    }

    /// Whether a result is subnormal is asked after it was rounded to 24 bits, as seen on a CPU: just below the
    /// smallest normal number f32 has fewer bits, and would round up.
    #[test]
    fn a_result_is_zero_if_it_is_subnormal_when_rounded_to_24_bits() {
        let (small, one) = (round(2.0_f32.powi(-75)), round(-1.0));
        for (exponent, more, is_zero) in
            [(-149, 0, true), (-150, 0, true), (-151, 1, true), (-151, 0, false), (-152, 0, false)]
        {
            let other = round(-2.0_f32.powi(exponent + 75)) + more;
            let found = dpbf16ps(f32::MIN_POSITIVE, [0, small], [one, other]);
            let expected = if is_zero { 0.0 } else { f32::MIN_POSITIVE };
            assert_eq!(found, expected, "2^-126 - 2^{exponent}, {more}");
        }
    }

    #[test]
    fn a_tile_adds_two_sums_from_zero() {
        let [one, two_24] = [1.0, 2.0_f32.powi(-24)].map(round);
        // 2^-24 + 2^-24 alone is enough for the last place of 1: they are added to each other first.
        assert_eq!(dpbf16ps(1.0, [two_24, two_24], [one, one]), 1.0);
        let sum = tdpbf16ps(1.0, &[[two_24, two_24]], &[[one, one]]);
        assert_eq!(sum, 1.0 + 2.0_f32.powi(-23));
        let big = round(3e38);
        let minus = big | 0x8000;
        // Each sum alone is infinite, and their sum is a NaN; one after the other would be finite.
        let ones = [[one, one]; 2];
        assert!(tdpbf16ps(0.0, &[[big, minus]; 2], &ones).is_nan());
        assert_eq!(tdpbf16ps(0.0, &[[big, big], [minus, minus]], &ones), 0.0);
        // Subnormal sums are zero before they are added.
        let tiny = round(1.5 * f32::MIN_POSITIVE);
        let halves = [[round(0.5), round(0.5)]];
        assert_eq!(tdpbf16ps(0.0, &[[tiny, tiny]], &halves), 0.0);
        let largest = f32::from_bits(f32::MIN_POSITIVE.to_bits() - 1);
        assert_eq!(tdpbf16ps(largest, &[[0, 0]], &halves).to_bits(), 0);
        assert_eq!(tdpbf16ps(-f32::MIN_POSITIVE, &[[tiny, 0]], &[[one, 0]]), 0.0);
    }
}
