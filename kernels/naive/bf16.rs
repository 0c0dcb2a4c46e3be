//! bf16 numbers in plain Rust: the rounding, the split of an f32 into three, the arithmetic of the instruction
//! `vdpbf16ps`, and products of matrices by it. A bf16 is the upper half of an f32.

use crate::blocking::Cut;
use crate::gemm::{Blocking, Epilogue, Write};
use crate::simd::flush;
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
    let add = |sum: f32, a: u16, b: u16| {
        let [a, b, sum] = [widen(a), widen(b), sum].map(without_subnormal);
        without_subnormal(a.mul_add(b, sum))
    };
    add(add(sum, a[1], b[1]), a[0], b[0])
}

/// What a product takes of a float: its first, second and third part, and then the first once more, if the float is
/// finite, else zero.
fn parts(x: f32) -> [u16; 4] {
    let [high, middle, low] = split(x);
    [high, middle, low, if x.is_finite() { high } else { 0 }]
}

/// The products of parts of A and B that a product is the sum of, in the order in which they are added up.
const SPLIT: [(usize, usize); 6] = [(1, 1), (2, 3), (3, 2), (1, 3), (3, 1), (0, 0)];

/// [`super::gemm::gemm`] in another precision, by `vdpbf16ps`, with the sums of [`crate::gemm`] cut as `blocking`
/// cuts them: so with the same bits, if the activation is one of a few instructions. (In f32 it is an ordinary
/// product, in another order.)
#[expect(clippy::too_many_arguments, reason = "gemm's own seven, and how it is computed")]
pub fn gemm(
    precision: Precision,
    blocking: &Blocking,
    alpha: f32,
    a: Mat,
    b: Mat,
    write: Write,
    mut c: MatMut,
    epilogue: Epilogue,
) {
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
    let Cut { kc, blocks, slices } = blocking.cut_of_parts(k, products.len());
    for i in 0..a.rows() {
        for j in 0..b.cols() {
            let block = |first: usize, end: usize| {
                let mut sum = 0.0;
                for &(of_a, of_b) in products {
                    for p in (first..end).step_by(2) {
                        let pair = |number: &dyn Fn(usize) -> u16| {
                            [if p + 1 < end { number(p + 1) } else { 0 }, number(p)]
                        };
                        let of_a = pair(&|p| rows[i * k + p][of_a]);
                        let of_b = pair(&|p| columns[p * b.cols() + j][of_b]);
                        sum = dpbf16ps(sum, of_a, of_b);
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
}
