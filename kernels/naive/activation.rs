//! Activations, one element at a time in f64.

use crate::activation::Activation;
use crate::simd::flush;

fn value(activation: Activation, x: f32) -> f32 {
    flush(match activation {
        Activation::Linear => x,
        Activation::Relu => {
            if x < 0.0 {
                0.0
            } else {
                x
            }
        }
        Activation::LeakyRelu { slope } => {
            if x < 0.0 {
                slope * x
            } else {
                x
            }
        }
        Activation::Sigmoid => (1.0 / (1.0 + (-f64::from(x)).exp())) as f32,
        Activation::Tanh => f64::from(x).tanh() as f32,
    })
}

/// `y = act(x)`.
pub fn forward(activation: Activation, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len(), "x and y differ in length");
    for (y, &x) in y.iter_mut().zip(x) {
        *y = value(activation, x);
    }
}

/// `x = act(x)`.
pub fn forward_in_place(activation: Activation, x: &mut [f32]) {
    if activation == Activation::Linear {
        return;
    }
    for x in x {
        *x = value(activation, *x);
    }
}

/// `dy *= act'`, the derivative taken where the output is `y`; 0 counts as the left side of a kink,
/// as in TensorFlow.
pub fn backward(activation: Activation, y: &[f32], dy: &mut [f32]) {
    assert_eq!(y.len(), dy.len(), "y and dy differ in length");
    for (dy, &y) in dy.iter_mut().zip(y) {
        let y64 = f64::from(y);
        match activation {
            Activation::Linear => {}
            Activation::Relu => {
                if y <= 0.0 {
                    *dy = 0.0;
                }
            }
            Activation::LeakyRelu { slope } => {
                if y <= 0.0 {
                    *dy = flush(*dy * slope);
                }
            }
            Activation::Sigmoid => *dy = flush((f64::from(*dy) * y64 * (1.0 - y64)) as f32),
            Activation::Tanh => *dy = flush((f64::from(*dy) * (1.0 - y64 * y64)) as f32),
        }
    }
}
