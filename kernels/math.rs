//! Elementary functions on vectors: exp, ln, tanh and the logistic function, written on [`Simd`].
//!
//! The polynomials interpolate at Chebyshev nodes, of the degree that brings their own error below
//! a fifth of a unit in the last place (ULP). Largest errors on any of the 2^32 floats, on the worst
//! instruction set: exp 1.17 ULP, ln 1.01, ln_1p 1.42, sigmoid 2.00 (1.9990), tanh 1.38; the tests
//! below hold each to its bound in [`ulp`]. NaN gives NaN, infinities give the limits, and overflow gives
//! infinity. Below the normal range exp and the logistic function give zero, without subnormal
//! intermediate results; tanh and ln may give subnormal results for subnormal arguments.

use crate::simd::Simd;
use std::f32::consts::{LN_2, LOG2_E, SQRT_2};

/// Bounds of the elementary functions' errors, in units in the last place of the exact result, on every
/// float and instruction set. (Those of results below the normal range are 2^-149 apart.)
pub mod ulp {
    /// e^x
    pub const EXP: f64 = 1.2;
    /// The natural logarithm.
    pub const LN: f64 = 1.1;
    /// ln(1 + x) on `0 ..= 1`
    pub const LN_1P: f64 = 1.5;
    /// 1 / (1 + e^-x)
    pub const SIGMOID: f64 = 2.0;
    /// The hyperbolic tangent.
    pub const TANH: f64 = 1.4;
}

/// ln 2 in two parts: the first has 9 significant bits, so that its product with an exponent is
/// exact.
const LN_2_PARTS: [f32; 2] = [0.691_406_25, 0.001_740_930_6];

/// (e^r - 1 - r) / r^2 for |r| <= ln 2 / 2.
const EXP: [f32; 5] = [0.5, 0.166_665_78, 0.041_666_556, 0.008_363_173, 0.001_392_617_6];

/// (ln(1 + f) - f + f^2 / 2) / f^3 for 1 + f in sqrt(1/2) .. sqrt 2.
const LN: [f32; 8] = [
    0.333_333_3,
    -0.250_003_07,
    0.200_010_45,
    -0.166_412_82,
    0.142_144_96,
    -0.129_981_83,
    0.126_223_19,
    -0.079_027_44,
];

/// The least x whose e^x is a normal number: that of the next float is 2^-126 (1 - 3.1e-6).
const LEAST_EXP: f32 = -87.336_54;

/// Below this tanh x rounds to x; squares and cubes from here on are normal numbers.
const TANH_TINY: f32 = 1.0 / (1_u64 << 40) as f32;

/// Where tanh leaves its polynomial.
const TANH_NEAR: f32 = 0.55;

/// A, B, C of (a - tanh a) / a^3 = (A + a^2) / (B + C a^2 + a^4) for a <= 0.55.
const TANH: [f32; 3] = [35.252_487, 105.757_46, 45.302_82];

/// c[0] + c[1] x + c[2] x^2 ...
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(simd: S, coefficients: [f32; N], x: S::V) -> S::V {
    let mut sum = simd.splat(coefficients[N - 1]);
    let mut i = N - 1;
    while i > 0 {
        i -= 1;
        sum = simd.mul_add(sum, x, simd.splat(coefficients[i]));
    }
    sum
}

/// e^r - 1 for |r| <= ln 2 / 2.
#[inline(always)]
fn small_exp_m1<S: Simd>(simd: S, r: S::V) -> S::V {
    let [c0, c1, c2, c3, c4] = EXP.map(|c| simd.splat(c));
    // In powers of r^2, so that few terms wait for others: a chain shorter by four cycles takes 3 %
    // off, because the CPU's queues hold no more than a few vectors.
    let square = simd.mul(r, r);
    let q = simd.mul_add(c4, square, simd.mul_add(c3, r, c2));
    let q = simd.mul_add(q, square, simd.mul_add(c1, r, c0));
    simd.mul_add(square, q, r)
}

/// n and e^r - 1 with x = n ln 2 + r, n integral and |r| <= ln 2 / 2.
#[inline(always)]
fn reduced_exp_m1<S: Simd>(simd: S, x: S::V) -> (S::V, S::V) {
    let n = simd.round(simd.mul(x, simd.splat(LOG2_E)));
    let r = simd.mul_add(n, simd.splat(-LN_2_PARTS[0]), x);
    let r = simd.mul_add(n, simd.splat(-LN_2_PARTS[1]), r);
    (n, small_exp_m1(simd, r))
}

/// e^x.
#[inline(always)]
pub(crate) fn exp<S: Simd>(simd: S, x: S::V) -> S::V {
    let zero = simd.gt(simd.splat(LEAST_EXP), x);
    // Beyond these bounds the result is 0 or infinity; NaN passes, being the second operand.
    let x = simd.min(simd.splat(104.0), simd.max(simd.splat(LEAST_EXP), x));
    let (n, p) = reduced_exp_m1(simd, x);
    // n is up to 150: two factors reach infinity, one would not.
    let half = simd.round(simd.mul(n, simd.splat(0.5)));
    let p = simd.add(p, simd.splat(1.0));
    let result = simd.mul(simd.mul(p, simd.pow2(half)), simd.pow2(simd.sub(n, half)));
    simd.select(zero, simd.splat(0.0), result)
}

/// Natural logarithm.
#[inline(always)]
pub(crate) fn ln<S: Simd>(simd: S, x: S::V) -> S::V {
    let one = simd.splat(1.0);
    // Denormals are scaled into the normal range first.
    let denormal = simd.gt(simd.splat(f32::MIN_POSITIVE), x);
    let a = simd.select(denormal, simd.mul(x, simd.splat(16_777_216.0)), x);
    let offset = simd.select(denormal, simd.splat(-24.0), simd.splat(0.0));
    // a = 2^e m with m in sqrt(1/2) .. sqrt 2; 2^-e in two factors because 2^-127 is no normal
    // number.
    let e = simd.exponent(a);
    let half = simd.round(simd.mul(e, simd.splat(-0.5)));
    let rest = simd.sub(simd.sub(simd.splat(0.0), e), half);
    let m = simd.mul(simd.mul(a, simd.pow2(half)), simd.pow2(rest));
    let high = simd.gt(m, simd.splat(SQRT_2));
    let m = simd.select(high, simd.mul(m, simd.splat(0.5)), m);
    let e = simd.select(high, simd.add(e, one), e);
    let e = simd.add(e, offset);

    let f = simd.sub(m, one);
    let square = simd.mul(f, f);
    let tail = simd.mul(simd.mul(square, f), polynomial(simd, LN, f));
    let tail = simd.mul_add(e, simd.splat(LN_2_PARTS[1]), tail);
    let tail = simd.mul_add(square, simd.splat(-0.5), tail);
    let result = simd.mul_add(e, simd.splat(LN_2_PARTS[0]), simd.add(f, tail));

    // Infinity and NaN stay what they are, 0 gives -infinity, and what is below gives NaN.
    let finite = simd.gt(simd.splat(f32::INFINITY), x);
    let result = simd.select(finite, result, x);
    let positive = simd.gt(x, simd.splat(0.0));
    let zero = simd.ge(x, simd.splat(0.0));
    let low = simd.select(zero, simd.splat(f32::NEG_INFINITY), simd.splat(f32::NAN));
    simd.select(positive, result, low)
}

/// ln(1 + t) for t in 0 ..= 1.
#[inline(always)]
pub(crate) fn ln_1p<S: Simd>(simd: S, t: S::V) -> S::V {
    let one = simd.splat(1.0);
    let u = simd.add(one, t);
    // What the sum rounded away counts where t is small: ln(u + d) = ln u + d / u + O(d^2).
    let lost = simd.sub(t, simd.sub(u, one));
    simd.add(ln(simd, u), simd.div(lost, u))
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(simd: S, x: S::V) -> S::V {
    let one = simd.splat(1.0);
    // e^-x = 2^n (1 + p). Beyond these bounds the result is 1 or 0; NaN passes.
    let x = simd.sub(simd.splat(0.0), x);
    let zero = simd.gt(x, simd.splat(-LEAST_EXP));
    let x = simd.min(simd.splat(-LEAST_EXP), simd.max(simd.splat(-30.0), x));
    let (n, p) = reduced_exp_m1(simd, x);
    let scale = simd.pow2(n);
    // 1 + 2^n + 2^n p, the largest term added last, so that only the last sum is rounded coarsely. With
    // e^-x itself rounded before, the error was 2.3 ULP.
    let rest = simd.mul_add(p, scale, simd.min(scale, one));
    let y = simd.div(one, simd.add(simd.max(scale, one), rest));
    simd.select(zero, simd.splat(0.0), y)
}

/// Hyperbolic tangent.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(simd: S, x: S::V) -> S::V {
    let (one, two) = (simd.splat(1.0), simd.splat(2.0));
    // At 9.1 it has rounded to 1.
    let a = simd.min(simd.splat(9.1), simd.abs(x));
    // Tiny numbers are their own tanh, and their squares would be subnormal.
    let near = simd.select(simd.gt(simd.splat(TANH_TINY), a), simd.splat(0.0), a);
    // From tanh 0.55 = 1/2 on 1 - 2 / (e^2a + 1): errors of the quotient, which is below 1/2, count half
    // at most, so that ln 2 in one part is enough.
    let n = simd.round(simd.mul(near, simd.splat(2.0 * LOG2_E)));
    let p = small_exp_m1(simd, simd.mul_add(n, simd.splat(-LN_2), simd.add(near, near)));
    let scale = simd.pow2(n);
    let below = simd.add(scale, simd.mul_add(p, scale, one));
    // Near 0, and for NaN, a - a^3 (A + a^2) / (B + C a^2 + a^4): one division serves both.
    let [c0, c1, c2] = TANH.map(|c| simd.splat(c));
    let square = simd.mul(near, near);
    let near_above = simd.mul(simd.mul(square, near), simd.add(square, c0));
    let near_below = simd.mul_add(simd.add(square, c2), square, c1);
    let far = simd.gt(a, simd.splat(TANH_NEAR));
    let quotient = simd.div(simd.select(far, two, near_above), simd.select(far, below, near_below));
    simd.with_sign(simd.sub(simd.select(far, one, a), quotient), x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;
    use crate::simd::Kernel;
    use std::collections::BTreeMap;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    use std::thread;

    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    enum Function {
        Exp,
        Ln,
        Ln1p,
        Sigmoid,
        Tanh,
    }

    struct Apply<'a>(Function, &'a mut [f32]);

    impl Kernel for Apply<'_> {
        type Output = ();

        #[inline(always)]
        fn run<S: Simd>(self, simd: S) {
            for chunk in self.1.chunks_exact_mut(S::LANES) {
                // SAFETY: the chunk has LANES floats.
                unsafe {
                    let x = simd.load(chunk.as_ptr());
                    let y = match self.0 {
                        Function::Exp => exp(simd, x),
                        Function::Ln => ln(simd, x),
                        Function::Ln1p => ln_1p(simd, x),
                        Function::Sigmoid => sigmoid(simd, x),
                        Function::Tanh => tanh(simd, x),
                    };
                    simd.store(chunk.as_mut_ptr(), simd.flush(y));
                }
            }
        }
    }

    impl Function {
        /// In f64.
        fn exact(self, x: f64) -> f64 {
            match self {
                Self::Exp => x.exp(),
                Self::Ln => x.ln(),
                Self::Ln1p => x.ln_1p(),
                // e^x / (1 + e^x) keeps the digits of small results.
                Self::Sigmoid if x < 0.0 => x.exp() / (1.0 + x.exp()),
                Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
                Self::Tanh => x.tanh(),
            }
        }

        /// The largest error that it may have.
        fn bound(self) -> f64 {
            match self {
                Self::Exp => ulp::EXP,
                Self::Ln => ulp::LN,
                Self::Ln1p => ulp::LN_1P,
                Self::Sigmoid => ulp::SIGMOID,
                Self::Tanh => ulp::TANH,
            }
        }

        fn is_defined(self, x: f32) -> bool {
            self != Self::Ln1p || (0.0..=1.0).contains(&x)
        }

        const ALL: [Self; 5] = [Self::Exp, Self::Ln, Self::Ln1p, Self::Sigmoid, Self::Tanh];
    }

    /// Distance in ULP of the exact result; infinity stands where the next float would. Zero is right
    /// where the exact result is below the normal range, or rounds to below it; a subnormal never.
    fn error(actual: f32, exact: f64) -> f64 {
        if actual.is_subnormal() {
            return f64::INFINITY;
        }
        if actual == 0.0 && exact.abs() < f64::from(f32::MIN_POSITIVE) * (1.0 + 2e-7) {
            return 0.0;
        }
        if exact.is_nan() || exact.is_infinite() {
            let same =
                actual.is_nan() == exact.is_nan() && (exact.is_nan() || f64::from(actual) == exact);
            return if same { 0.0 } else { f64::INFINITY };
        }
        let exact = exact.clamp(-2.0_f64.powi(128), 2.0_f64.powi(128));
        let actual = match actual {
            f32::INFINITY => 2.0_f64.powi(128),
            f32::NEG_INFINITY => -2.0_f64.powi(128),
            _ => f64::from(actual),
        };
        let exponent = ((exact.to_bits() >> 52) & 0x7FF).max(1023 - 126);
        let error = (actual - exact).abs() / f64::from_bits((exponent - 23) << 52);
        if error.is_nan() { f64::INFINITY } else { error }
    }

    /// The largest errors on some floats, by function and instruction set, and where.
    type Worst = BTreeMap<(Function, &'static str), (f64, f32)>;

    /// Adds the errors on the floats whose bits are `bits`.
    fn measure(bits: impl Iterator<Item = u32> + Clone, worst: &mut Worst) {
        for function in Function::ALL {
            let floats = bits.clone().map(f32::from_bits).filter(|x| function.is_defined(*x));
            let mut x: Vec<f32> = floats.collect();
            let len = x.len();
            x.resize(len.next_multiple_of(16), 0.0);
            // Once for all instruction sets: this is what takes the time.
            let exact: Vec<f64> = x[..len].iter().map(|&x| function.exact(f64::from(x))).collect();
            for isa in Isa::detected() {
                let mut y = x.clone();
                isa.run(Apply(function, &mut y));
                let worst = worst.entry((function, isa.name())).or_default();
                for i in 0..len {
                    let error = error(y[i], exact[i]);
                    if error > worst.0 {
                        *worst = (error, x[i]);
                    }
                }
            }
        }
    }

    #[track_caller]
    fn assert_bound(worst: &Worst) {
        for ((function, isa), (error, x)) in worst {
            let bound = function.bound();
            println!(
                "{function:?} {isa}: {error:.4} ULP of {bound} at {x:e} ({:#010x})",
                x.to_bits()
            );
        }
        let is_within =
            |(&(function, _), &(error, _)): (&(Function, _), &(f64, _))| error <= function.bound();
        assert!(worst.iter().all(is_within), "{worst:?}");
    }

    #[test]
    fn errors_are_within_the_bound() {
        let mut worst = Worst::new();
        measure((0..=u32::MAX / 997).map(|i| i * 997), &mut worst);
        assert_bound(&worst);
    }

    /// `cargo test --release -p threadcount-kernels every_float -- --ignored --nocapture`
    #[test]
    #[ignore = "all 2^32 floats take minutes"]
    fn errors_on_every_float_are_within_the_bound() {
        const BLOCK: u64 = 1 << 20;
        let next = AtomicU64::new(0);
        let total = Mutex::new(Worst::new());
        thread::scope(|scope| {
            for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(|| {
                    let mut worst = Worst::new();
                    loop {
                        let start = next.fetch_add(BLOCK, Relaxed);
                        if start >> 32 != 0 {
                            break;
                        }
                        measure((start..start + BLOCK).map(|bits| bits as u32), &mut worst);
                    }
                    let mut total = total.lock().unwrap();
                    for (key, value) in worst {
                        let most = total.entry(key).or_default();
                        if value.0 > most.0 {
                            *most = value;
                        }
                    }
                });
            }
        });
        assert_bound(&total.into_inner().unwrap());
    }

    #[test]
    fn special_numbers() {
        const INFINITY: f32 = f32::INFINITY;
        let table = [
            (
                Function::Exp,
                [0.0, -200.0, -INFINITY, 89.0, INFINITY],
                [1.0, 0.0, 0.0, INFINITY, INFINITY],
            ),
            (
                Function::Ln,
                [1.0, 0.0, -0.0, INFINITY, 1.0],
                [0.0, -INFINITY, -INFINITY, INFINITY, 0.0],
            ),
            (
                Function::Sigmoid,
                [0.0, -INFINITY, INFINITY, -200.0, 200.0],
                [0.5, 0.0, 1.0, 0.0, 1.0],
            ),
            (Function::Tanh, [0.0, -INFINITY, INFINITY, -50.0, 50.0], [0.0, -1.0, 1.0, -1.0, 1.0]),
        ];
        for isa in Isa::detected() {
            for (function, x, expected) in table {
                let mut y = [f32::NAN; 16];
                y[..5].copy_from_slice(&x);
                isa.run(Apply(function, &mut y));
                assert_eq!(y[..5], expected, "{isa} {function:?}");
                assert!(y[5..].iter().all(|y| y.is_nan()), "{isa} {function:?} of NaN");
            }
            let mut y = [-1.0; 16];
            isa.run(Apply(Function::Ln, &mut y));
            assert!(y.iter().all(|y| y.is_nan()), "{isa} ln -1");
        }
    }
}
