//! Activation functions, forward and backward. Each derivative is written in the function's own
//! output, so that a layer keeps its output and forgets its pre-activation.

use crate::math;
use crate::simd::Simd;
use crate::sweep::{Step, sweep};
use crate::team::Team;

/// An elementwise activation function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// `y = x`
    Linear,
    /// `y = max(x, 0)`; the derivative at 0 is 0.
    Relu,
    /// `y = x` where `x > 0`, else `slope x`; the derivative at 0 is `slope`.
    LeakyRelu {
        /// The slope of the negative side; positive, so that the output keeps the input's sign.
        slope: f32,
    },
    /// `y = 1 / (1 + e^-x)`, within 2 ULP on every float; `dy/dx = y (1 - y)`.
    Sigmoid,
    /// `y = tanh x`, within 1.4 ULP on every float; `dy/dx = 1 - y^2`.
    Tanh,
}

impl Activation {
    /// The function, on a vector. NaN gives NaN.
    #[inline(always)]
    pub(crate) fn apply<S: Simd>(self, simd: S, x: S::V) -> S::V {
        match self {
            Self::Linear => x,
            Self::Relu => simd.max(simd.splat(0.0), x),
            Self::LeakyRelu { slope } => {
                let negative = simd.gt(simd.splat(0.0), x);
                simd.select(negative, simd.mul(x, simd.splat(slope)), x)
            }
            Self::Sigmoid => math::sigmoid(simd, x),
            Self::Tanh => math::tanh(simd, x),
        }
    }

    /// The function, ready to be stored: the same as [`Simd::flush`] of it, computed more cheaply where
    /// that is possible. NaN gives NaN.
    #[inline(always)]
    pub(crate) fn apply_flushed<S: Simd>(self, simd: S, x: S::V) -> S::V {
        match self {
            // A value below the smallest normal number is negative, zero or subnormal.
            Self::Relu => {
                let is_below = simd.gt(simd.splat(f32::MIN_POSITIVE), x);
                simd.select(is_below, simd.splat(0.0), x)
            }
            // `math::sigmoid` never gives a subnormal number.
            Self::Sigmoid => math::sigmoid(simd, x),
            _ => simd.flush(self.apply(simd, x)),
        }
    }

    /// `dy` times the derivative where the output is `y`, on a vector.
    #[inline(always)]
    pub(crate) fn chain<S: Simd>(self, simd: S, y: S::V, dy: S::V) -> S::V {
        let zero = simd.splat(0.0);
        match self {
            Self::Linear => dy,
            Self::Relu => simd.select(simd.ge(zero, y), zero, dy),
            Self::LeakyRelu { slope } => {
                simd.select(simd.ge(zero, y), simd.mul(dy, simd.splat(slope)), dy)
            }
            Self::Sigmoid => simd.mul(dy, simd.mul(y, simd.sub(simd.splat(1.0), y))),
            // (1 - y)(1 + y): 1 - y^2 would lose the digits of 1 - |y| near the ends.
            Self::Tanh => {
                let one = simd.splat(1.0);
                simd.mul(dy, simd.mul(simd.sub(one, y), simd.add(one, y)))
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Forward(Activation);

impl Step<1, 1> for Forward {
    const IS_FLUSHED: bool = true;

    #[inline(always)]
    fn step<S: Simd>(self, simd: S, [x]: [S::V; 1], _: [S::V; 1]) -> [S::V; 1] {
        [self.0.apply_flushed(simd, x)]
    }
}

impl Step<0, 1> for Forward {
    const IS_FLUSHED: bool = true;

    #[inline(always)]
    fn step<S: Simd>(self, simd: S, _: [S::V; 0], [x]: [S::V; 1]) -> [S::V; 1] {
        [self.0.apply_flushed(simd, x)]
    }
}

#[derive(Clone, Copy)]
struct Backward(Activation);

impl Step<1, 1> for Backward {
    #[inline(always)]
    fn step<S: Simd>(self, simd: S, [y]: [S::V; 1], [dy]: [S::V; 1]) -> [S::V; 1] {
        [self.0.chain(simd, y, dy)]
    }
}

/// `y = act(x)`.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn forward(team: &Team, activation: Activation, x: &[f32], y: &mut [f32]) {
    sweep(team, Forward(activation), [x], [y]);
}

/// `x = act(x)`.
pub fn forward_in_place(team: &Team, activation: Activation, x: &mut [f32]) {
    if activation != Activation::Linear {
        sweep(team, Forward(activation), [], [x]);
    }
}

/// `dy *= act'`, the derivative taken where the output is `y`.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn backward(team: &Team, activation: Activation, y: &[f32], dy: &mut [f32]) {
    assert_eq!(y.len(), dy.len(), "y and dy differ in length");
    if activation != Activation::Linear {
        sweep(team, Backward(activation), [y], [dy]);
    }
}
