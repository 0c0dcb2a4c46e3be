//! bf16 numbers as the operands of a product: an f32 rounded to one, or split into three of them. A bf16 is kept
//! as the f32 of the same value, whose low half is zero.
//!
//! A number `x` is `high + middle + low`: `high` is x rounded to bf16, `middle` the rest, rounded, and `low` the
//! rest of that. Each has eight significant bits, so nothing is left over: all three are exact, unless `low` would
//! be subnormal (`|x| < 2^-101`). `|middle| <= 2^-8 |x|` and `|low| <= 2^-17 |x|`.

use crate::precision::Precision;

/// One of the numbers that an operand is packed as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Rounded to bf16. The largest floats become infinite, as IEEE arithmetic rounds them.
    Rounded,
    /// The first part of a split: finite if the float is.
    High,
    /// The same, but zero if the float is not finite: what is multiplied with the small parts of the other
    /// operand, which could make an infinity a NaN or cancel it.
    FiniteHigh,
    /// The second part; zero of a float that is not finite.
    Middle,
    /// The third; likewise.
    Low,
}

/// The products that a product is the sum of: part i of A with part i of B.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) a: &'static [Part],
    pub(crate) b: &'static [Part],
}

impl Terms {
    const ROUNDED: Self = Self { a: &[Part::Rounded], b: &[Part::Rounded] };

    /// The six largest products of parts, the smallest first: their sum is then rounded as the sum of numbers that
    /// are 2^-8 times as large as the last. The three others add up to 2^-24 of the product at most.
    const SPLIT: Self = {
        use Part::*;
        Self {
            a: &[Middle, Low, FiniteHigh, Middle, FiniteHigh, High],
            b: &[Middle, FiniteHigh, Low, FiniteHigh, Middle, High],
        }
    };

    /// Those of a precision; `None` of f32, whose operands are not packed so.
    pub(crate) fn of(precision: Precision) -> Option<Self> {
        match precision {
            Precision::F32 => None,
            Precision::F32Split => Some(Self::SPLIT),
            Precision::Bf16 => Some(Self::ROUNDED),
        }
    }

    /// The same products where A and B have changed places, in the same order: so with the same bits.
    pub(crate) fn transposed(self) -> Self {
        Self { a: self.b, b: self.a }
    }

    /// The number of products.
    pub(crate) fn count(self) -> usize {
        self.a.len()
    }
}

/// The infinity's bits.
const INFINITE: u32 = f32::INFINITY.to_bits();

/// The bits of a float rounded to bf16, to nearest, ties to even. Subnormal numbers become zero, as the
/// instructions have it.
#[inline(always)]
fn rounded(x: u32) -> u32 {
    let magnitude = x & !(1 << 31);
    let nearest = x.wrapping_add(0x7FFF + (x >> 16 & 1)) & 0xFFFF_0000;
    let quiet = (x | 0x0040_0000) & 0xFFFF_0000;
    let bits = if magnitude > INFINITE { quiet } else { nearest };
    if magnitude < f32::MIN_POSITIVE.to_bits() { x & 1 << 31 } else { bits }
}

#[inline(always)]
fn is_finite(x: u32) -> bool {
    x & !(1 << 31) < INFINITE
}

#[inline(always)]
fn high(x: u32) -> u32 {
    let rounded = rounded(x);
    let overflows = is_finite(x) && !is_finite(rounded);
    if overflows { x & 0xFFFF_0000 } else { rounded }
}

/// The rest of a float beyond one of its parts, exactly.
#[inline(always)]
fn rest(x: u32, part: u32) -> u32 {
    (f32::from_bits(x) - f32::from_bits(part)).to_bits()
}

#[inline(always)]
fn middle(x: u32) -> u32 {
    let middle = rounded(rest(x, high(x)));
    if is_finite(x) { middle } else { 0 }
}

#[inline(always)]
fn low(x: u32) -> u32 {
    let after_high = rest(x, high(x));
    let low = rounded(rest(after_high, rounded(after_high)));
    if is_finite(x) { low } else { 0 }
}

#[inline(always)]
fn finite_high(x: u32) -> u32 {
    if is_finite(x) { high(x) } else { 0 }
}

/// What is done to many floats with a part's bits, as a loop of its own for each part.
pub(crate) trait OnPart {
    /// Does it. `bits` gives the part's bits from a float's. Mark it `#[inline(always)]`.
    fn run(self, bits: impl Fn(u32) -> u32 + Copy);
}

impl Part {
    /// The bits of a float's part.
    #[cfg(test)]
    pub(crate) fn bits(self, x: u32) -> u32 {
        match self {
            Self::Rounded => rounded(x),
            Self::High => high(x),
            Self::FiniteHigh => finite_high(x),
            Self::Middle => middle(x),
            Self::Low => low(x),
        }
    }

    /// Does it with this part.
    #[inline(always)]
    pub(crate) fn on(self, work: impl OnPart) {
        match self {
            Self::Rounded => work.run(rounded),
            Self::High => work.run(high),
            Self::FiniteHigh => work.run(finite_high),
            Self::Middle => work.run(middle),
            Self::Low => work.run(low),
        }
    }
}

/// Packs numbers that follow each other along K, in words of `unit` numbers. A word that is not full is filled up
/// with zero, and words behind the last number are zero.
pub(crate) struct Along<'a> {
    pub(crate) from: &'a [f32],
    pub(crate) to: &'a mut [u32],
    pub(crate) unit: usize,
}

impl OnPart for Along<'_> {
    #[inline(always)]
    fn run(self, bits: impl Fn(u32) -> u32 + Copy) {
        let Self { from, to, unit } = self;
        let (pairs, last) = from.as_chunks::<2>();
        if unit == 2 {
            assert!(to.len() >= from.len().div_ceil(2));
            for (to, [first, second]) in to.iter_mut().zip(pairs) {
                *to = bits(first.to_bits()) | bits(second.to_bits()) >> 16;
            }
            if let [last] = last {
                to[pairs.len()] = bits(last.to_bits());
            }
            to[from.len().div_ceil(2)..].fill(0);
        } else {
            assert_eq!(to.len(), from.len().next_multiple_of(2));
            for (to, from) in to.iter_mut().zip(from) {
                *to = bits(from.to_bits());
            }
            to[from.len()..].fill(0);
        }
    }
}

/// Packs two rows of numbers, `second` one step of K behind `first`: to one row of pairs, or to two rows one after
/// the other. Behind the last number of K there is no second row, and zeros are packed.
pub(crate) struct Across<'a> {
    pub(crate) first: &'a [f32],
    pub(crate) second: Option<&'a [f32]>,
    /// One row, or two.
    pub(crate) to: [&'a mut [u32]; 2],
    pub(crate) unit: usize,
}

impl OnPart for Across<'_> {
    #[inline(always)]
    fn run(self, bits: impl Fn(u32) -> u32 + Copy) {
        let Self { first, second, to: [to, to_second], unit } = self;
        let n = first.len();
        assert!(to.len() == n && second.is_none_or(|second| second.len() == n));
        match second {
            Some(second) if unit == 2 => {
                for j in 0..n {
                    to[j] = bits(first[j].to_bits()) | bits(second[j].to_bits()) >> 16;
                }
            }
            _ => {
                for j in 0..n {
                    to[j] = bits(first[j].to_bits());
                }
            }
        }
        if unit == 1 {
            assert_eq!(to_second.len(), n);
            match second {
                Some(second) => {
                    for j in 0..n {
                        to_second[j] = bits(second[j].to_bits());
                    }
                }
                None => to_second.fill(0),
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Floats of every kind: all exponents, and fractions around every tie.
    pub(crate) fn floats() -> impl Iterator<Item = u32> {
        let fractions = [
            0, 1, 0x7FFF, 0x8000, 0x8001, 0x1_7FFF, 0x1_8000, 0x7F_7FFF, 0x7F_8000, 0x7F_FFFF,
            0x2A_5A5A,
        ];
        let magnitudes = (0..=255_u32)
            .flat_map(move |exponent| fractions.map(|fraction| exponent << 23 | fraction));
        magnitudes.flat_map(|x| [x, x | 1 << 31])
    }

    #[test]
    fn three_parts_are_the_whole_number() {
        for x in floats() {
            let value = f32::from_bits(x);
            let parts = [high(x), middle(x), low(x)];
            assert!(parts.iter().all(|part| part & 0xFFFF == 0));
            let parts = parts.map(|part| f64::from(f32::from_bits(part)));
            if !value.is_finite() {
                assert_eq!((finite_high(x), middle(x), low(x)), (0, 0, 0));
                assert!(parts[0] == f64::from(value) || parts[0].is_nan() && value.is_nan());
                continue;
            }
            assert_eq!(finite_high(x), high(x));
            let whole = f64::from(value);
            let size = whole.abs();
            if size >= 2.0_f64.powi(-101) || size == 0.0 {
                assert_eq!(parts.iter().sum::<f64>(), whole, "{value:e}");
            } else {
                let lost = (parts.iter().sum::<f64>() - whole).abs();
                assert!(lost < f64::from(f32::MIN_POSITIVE), "{value:e} loses {lost:e}");
            }
            assert!(
                parts[1].abs() <= size / 256.0 && parts[2].abs() <= size / 131_072.0
                    || size > 3.3e38
            );
        }
    }
}
