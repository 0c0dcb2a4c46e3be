//! Optimizer sweeps, a parameter at a time in f64; formulas as Keras 3.

use std::borrow::Cow;

use crate::simd::flush;
use crate::update::{Adam, LEAST_SQUARE, Moving, Nesterov, RmsProp, Rule, Sgd};

/// `v = momentum v - lr g`; `w += v`, or with Nesterov `w += momentum v - lr g`.
pub fn sgd(sgd: &Sgd, params: &mut [f32], grads: &[f32], velocity: &mut [f32]) {
    let (lr, momentum) = (f64::from(sgd.learning_rate), f64::from(sgd.momentum));
    for i in 0..params.len() {
        let step = lr * f64::from(grads[i]);
        let change = if momentum == 0.0 {
            -step
        } else {
            let v = momentum * f64::from(velocity[i]) - step;
            velocity[i] = flush(v as f32);
            match sgd.nesterov {
                Nesterov::No => v,
                Nesterov::Yes => momentum * v - step,
            }
        };
        params[i] = flush((f64::from(params[i]) + change) as f32);
    }
}

/// `s = rho s + (1 - rho) g^2`; `v = momentum v + lr g / sqrt(s + epsilon)`; `w -= v`.
pub fn rmsprop(
    rms: &RmsProp,
    params: &mut [f32],
    grads: &[f32],
    mean_square: &mut [f32],
    velocity: &mut [f32],
) {
    let (rho, momentum) = (f64::from(rms.rho), f64::from(rms.momentum));
    for i in 0..params.len() {
        let g = f64::from(grads[i]);
        let old = at_least(mean_square[i]);
        let s = old + (1.0 - rho) * (f64::from((g * g) as f32) - old);
        mean_square[i] = flush(s as f32);
        let root = finite((s + f64::from(rms.epsilon)).sqrt(), mean_square[i]);
        let mut v = f64::from(rms.learning_rate) * g / root;
        if momentum != 0.0 {
            v += momentum * f64::from(velocity[i]);
            velocity[i] = flush(v as f32);
        }
        params[i] = flush((f64::from(params[i]) - v) as f32);
    }
}

/// `m += (1 - beta1)(g - m)`; `v += (1 - beta2)(g^2 - v)`;
/// `w -= lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon)`.
pub fn adam(adam: &Adam, params: &mut [f32], grads: &[f32], m: &mut [f32], v: &mut [f32]) {
    let (beta1, beta2) = (f64::from(adam.beta1), f64::from(adam.beta2));
    let t = adam.step as f64;
    let alpha =
        f64::from(adam.learning_rate) * (1.0 - beta2.powf(t)).sqrt() / (1.0 - beta1.powf(t));
    for i in 0..params.len() {
        let g = f64::from(grads[i]);
        let square = f64::from((g * g) as f32);
        let first = f64::from(m[i]) + (1.0 - beta1) * (g - f64::from(m[i]));
        let old = at_least(v[i]);
        let second = old + (1.0 - beta2) * (square - old);
        m[i] = flush(first as f32);
        v[i] = flush(second as f32);
        let root = finite(second.sqrt(), v[i]) + f64::from(adam.epsilon);
        params[i] = flush((f64::from(params[i]) - alpha * first / root) as f32);
    }
}

/// The mean square, or the least value that it counts as if it is smaller; NaN stays.
fn at_least(mean_square: f32) -> f64 {
    f64::from(if mean_square < LEAST_SQUARE { LEAST_SQUARE } else { mean_square })
}

/// A root, or NaN if the mean square it is of has overflowed: see `crate::update`.
fn finite(root: f64, mean_square: f32) -> f64 {
    if mean_square.is_infinite() { f64::NAN } else { root }
}

/// One step of whatever the rule is: the twin of [`Moving::step`].
pub fn step(Moving { rule, decay, params, memory: [first, second] }: Moving, grads: &[f32]) {
    let mut grads = Cow::Borrowed(grads);
    if !decay.is_none() {
        let decaying = params.len().min(decay.len);
        for (w, g) in params[..decaying].iter_mut().zip(grads.to_mut()) {
            *g = flush(decay.l2.mul_add(*w, *g));
            *w = flush(*w * (1.0 - decay.share));
        }
    }
    let grads = &grads[..];
    match rule {
        Rule::Sgd(rule) => sgd(&rule, params, grads, first),
        Rule::RmsProp(rule) => rmsprop(&rule, params, grads, first, second),
        Rule::Adam(rule) => adam(&rule, params, grads, first, second),
    }
}
