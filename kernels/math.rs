//! Elementary functions on vectors: exp, ln, tanh and the logistic function, written on [`Simd`].
//!
//! The polynomials interpolate at Chebyshev nodes, of the degree that brings their own error below
//! a fifth of a unit in the last place (ULP). Largest errors measured on every 97th float of the
//! whole range, on the worst instruction set: exp 1.10 ULP, ln 0.96, ln_1p 1.33, sigmoid 2.29, tanh
//! 2.49; the tests below hold them to that. NaN gives NaN, infinities give the limits, overflow
//! gives infinity, and results below the normal range are denormal.

use crate::simd::Simd;

/// ln 2 in two parts: the first has 9 significant bits, so that its product with an exponent is
/// exact.
const LN_2: [f32; 2] = [0.691_406_25, 0.001_740_930_6];

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

/// n and e^r - 1 with x = n ln 2 + r, n integral and |r| <= ln 2 / 2.
#[inline(always)]
fn reduced_exp_m1<S: Simd>(simd: S, x: S::V) -> (S::V, S::V) {
    let n = simd.round(simd.mul(x, simd.splat(std::f32::consts::LOG2_E)));
    let r = simd.mul_add(n, simd.splat(-LN_2[0]), x);
    let r = simd.mul_add(n, simd.splat(-LN_2[1]), r);
    let q = polynomial(simd, EXP, r);
    (n, simd.mul_add(simd.mul(r, r), q, r))
}

/// e^x.
#[inline(always)]
pub(crate) fn exp<S: Simd>(simd: S, x: S::V) -> S::V {
    // Beyond these bounds the result is 0 or infinity; NaN passes, being the second operand.
    let x = simd.min(simd.splat(104.0), simd.max(simd.splat(-104.0), x));
    let (n, p) = reduced_exp_m1(simd, x);
    // n is up to 150 in size: two factors reach infinity and the denormals, one would not.
    let half = simd.round(simd.mul(n, simd.splat(0.5)));
    let p = simd.add(p, simd.splat(1.0));
    simd.mul(simd.mul(p, simd.pow2(half)), simd.pow2(simd.sub(n, half)))
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
    let high = simd.gt(m, simd.splat(std::f32::consts::SQRT_2));
    let m = simd.select(high, simd.mul(m, simd.splat(0.5)), m);
    let e = simd.select(high, simd.add(e, one), e);
    let e = simd.add(e, offset);

    let f = simd.sub(m, one);
    let square = simd.mul(f, f);
    let tail = simd.mul(simd.mul(square, f), polynomial(simd, LN, f));
    let tail = simd.mul_add(e, simd.splat(LN_2[1]), tail);
    let tail = simd.mul_add(square, simd.splat(-0.5), tail);
    let result = simd.mul_add(e, simd.splat(LN_2[0]), simd.add(f, tail));

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
    // e^-|x| cannot overflow, and keeps the relative accuracy of small results.
    let e = exp(simd, simd.sub(simd.splat(0.0), simd.abs(x)));
    let numerator = simd.select(simd.gt(simd.splat(0.0), x), e, one);
    simd.div(numerator, simd.add(one, e))
}

/// Hyperbolic tangent.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(simd: S, x: S::V) -> S::V {
    // tanh |x| = -d / (2 + d) with d = e^(-2 |x|) - 1; at 9.1 it has rounded to 1.
    let a = simd.min(simd.splat(9.1), simd.abs(x));
    let (n, p) = reduced_exp_m1(simd, simd.mul(a, simd.splat(-2.0)));
    let scale = simd.pow2(n);
    let d = simd.mul_add(p, scale, simd.sub(scale, simd.splat(1.0)));
    let t = simd.div(d, simd.add(d, simd.splat(2.0)));
    let negative = simd.gt(simd.splat(0.0), x);
    simd.select(negative, t, simd.sub(simd.splat(0.0), t))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;
    use crate::simd::Kernel;

    #[derive(Clone, Copy, Debug)]
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
                    simd.store(chunk.as_mut_ptr(), y);
                }
            }
        }
    }

    impl Function {
        /// In f64.
        fn reference(self, x: f64) -> f64 {
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

        /// Largest error in ULP that the head of this file states.
        fn bound(self) -> f64 {
            match self {
                Self::Exp => 1.10,
                Self::Ln => 0.96,
                Self::Ln1p => 1.33,
                Self::Sigmoid => 2.29,
                Self::Tanh => 2.49,
            }
        }

        fn is_defined(self, x: f32) -> bool {
            match self {
                Self::Ln => x > 0.0,
                Self::Ln1p => (0.0..=1.0).contains(&x),
                _ => true,
            }
        }

        const ALL: [Self; 5] = [Self::Exp, Self::Ln, Self::Ln1p, Self::Sigmoid, Self::Tanh];
    }

    /// Distance in ULP of the exact result; those of denormals are 2^-149 apart.
    fn error(actual: f32, exact: f64) -> f64 {
        if actual.is_infinite() && actual == exact as f32 {
            return 0.0;
        }
        let exponent = exact.abs().log2().floor().max(-126.0) as i32;
        (f64::from(actual) - exact).abs() / 2.0_f64.powi(exponent - 23)
    }

    #[test]
    fn errors_are_as_stated() {
        for function in Function::ALL {
            let floats = (0..u32::MAX / 997).map(|i| f32::from_bits(i * 997));
            let mut x: Vec<_> =
                floats.filter(|x| x.is_finite() && function.is_defined(*x)).collect();
            x.truncate(x.len() / 16 * 16);
            assert!(x.len() > 1_000_000);
            let exact: Vec<f64> = x.iter().map(|&x| function.reference(f64::from(x))).collect();
            for isa in Isa::detected() {
                let mut y = x.clone();
                isa.run(Apply(function, &mut y));
                for i in 0..x.len() {
                    let error = error(y[i], exact[i]);
                    let within = error <= function.bound();
                    assert!(within, "{isa} {function:?} of {}: {} is off by {error}", x[i], y[i]);
                }
            }
        }
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
