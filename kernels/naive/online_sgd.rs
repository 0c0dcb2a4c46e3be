//! Gradient descent after each sample as it is written in textbooks, in f64 but for what is kept from
//! sample to sample.

use super::activation;
use crate::Mat;
use crate::online_sgd::TwoProducts;
use crate::simd::flush;

/// For each sample: forward, the gradients, and every parameter moves against its own.
pub fn descend(
    params: TwoProducts,
    learning_rate: f32,
    x: Mat,
    labels: &[u8],
    [losses, logits]: [&mut [f32]; 2],
) {
    let TwoProducts { w1, b1, w2, b2, activation } = params;
    let (hidden, rate) = (b1.len(), f64::from(learning_rate));
    let mut a = vec![0.0; hidden];
    for j in 0..x.rows() {
        for unit in 0..hidden {
            let sum: f64 = (0..x.cols())
                .map(|i| f64::from(x.at(j, i)) * f64::from(w1[i * hidden + unit]))
                .sum();
            a[unit] = (sum + f64::from(b1[unit])) as f32;
        }
        activation::forward_in_place(activation, &mut a);
        let sum: f64 = a.iter().zip(&*w2).map(|(&a, &w)| f64::from(a) * f64::from(w)).sum();
        let (logit, label) = (sum + f64::from(*b2), f64::from(labels[j]));
        logits[j] = flush(logit as f32);
        losses[j] = flush((logit.max(0.0) - logit * label + (-logit.abs()).exp().ln_1p()) as f32);

        let miss = 1.0 / (1.0 + (-logit).exp()) - label;
        let mut dz: Vec<f32> = w2.iter().map(|&w| flush((miss * f64::from(w)) as f32)).collect();
        activation::backward(activation, &a, &mut dz);
        step(w2, &a, rate * miss);
        *b2 = flush((f64::from(*b2) - rate * miss) as f32);
        step(b1, &dz, rate);
        for (i, w) in w1.chunks_exact_mut(hidden).enumerate() {
            step(w, &dz, rate * f64::from(x.at(j, i)));
        }
    }
}

/// `w -= factor d`
fn step(w: &mut [f32], d: &[f32], factor: f64) {
    for (w, &d) in w.iter_mut().zip(d) {
        *w = flush((f64::from(*w) - factor * f64::from(d)) as f32);
    }
}
