//! Losses and their gradients, a sample at a time in f64.

use crate::simd::flush;

/// Softmax of every row of `classes` logits.
pub fn softmax(logits: &[f32], classes: usize, probabilities: &mut [f32]) {
    for (logits, probabilities) in
        logits.chunks_exact(classes).zip(probabilities.chunks_exact_mut(classes))
    {
        let max = logits.iter().fold(f64::NEG_INFINITY, |max, &z| max.max(f64::from(z)));
        let sum: f64 = logits.iter().map(|&z| (f64::from(z) - max).exp()).sum();
        for (p, &z) in probabilities.iter_mut().zip(logits) {
            *p = flush(((f64::from(z) - max).exp() / sum) as f32);
        }
    }
}

/// `losses = -sum of t ln softmax(logits)`; `dlogits = (softmax(logits) - t) / n`, where `t` is 1 at the
/// label and 0 elsewhere, smoothed.
pub fn softmax_cross_entropy(
    logits: &[f32],
    classes: usize,
    labels: &[u8],
    smoothing: f32,
    losses: &mut [f32],
    dlogits: &mut [f32],
) {
    let n = labels.len();
    let smoothing = f64::from(smoothing);
    for i in 0..n {
        let row = &logits[i * classes..][..classes];
        let label = usize::from(labels[i]);
        let max = row.iter().fold(f64::NEG_INFINITY, |max, &z| max.max(f64::from(z)));
        let sum: f64 = row.iter().map(|&z| (f64::from(z) - max).exp()).sum();
        let mut loss = 0.0;
        for (j, &z) in row.iter().enumerate() {
            let hot = if j == label { 1.0 - smoothing } else { 0.0 };
            let target = hot + smoothing / classes as f64;
            // A class that a mask has closed, and nothing asks for, has no loss.
            if target != 0.0 {
                loss += target * (sum.ln() + max - f64::from(z));
            }
            let gradient = ((f64::from(z) - max).exp() / sum - target) / n as f64;
            dlogits[i * classes + j] = flush(gradient as f32);
        }
        losses[i] = flush(loss as f32);
    }
}

/// `losses = -t ln p - (1 - t) ln(1 - p)` with `p = sigmoid(logits)`; `dlogits = (p - t) / n`, where `t` is
/// the label, smoothed.
pub fn binary_cross_entropy(
    logits: &[f32],
    labels: &[u8],
    smoothing: f32,
    losses: &mut [f32],
    dlogits: &mut [f32],
) {
    let n = labels.len();
    for i in 0..n {
        let (z, smoothing) = (f64::from(logits[i]), f64::from(smoothing));
        let label = f64::from(labels[i]) * (1.0 - smoothing) + smoothing / 2.0;
        losses[i] = flush((z.max(0.0) - z * label + (-z.abs()).exp().ln_1p()) as f32);
        dlogits[i] = flush(((1.0 / (1.0 + (-z).exp()) - label) / n as f64) as f32);
    }
}

/// `losses = mean (prediction - target)^2` over a sample's outputs, and its gradient over n.
pub fn mean_squared_error(
    predictions: &[f32],
    targets: &[f32],
    outputs_per_sample: usize,
    losses: &mut [f32],
    dpredictions: &mut [f32],
) {
    for (i, loss) in losses.iter_mut().enumerate() {
        let rows = i * outputs_per_sample..(i + 1) * outputs_per_sample;
        let mut sum = 0.0;
        for (&p, &t) in predictions[rows.clone()].iter().zip(&targets[rows]) {
            sum += (f64::from(p) - f64::from(t)).powi(2);
        }
        *loss = flush((sum / outputs_per_sample as f64) as f32);
    }
    for ((d, &p), &t) in dpredictions.iter_mut().zip(predictions).zip(targets) {
        *d = flush((2.0 * (f64::from(p) - f64::from(t)) / predictions.len() as f64) as f32);
    }
}
