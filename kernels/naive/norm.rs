//! Batch normalisation over the last axis, in f64 and two passes.

use crate::simd::flush;

/// `y = gamma (x - mean) / sqrt(variance + epsilon) + beta` with the mean and the biased variance
/// of the batch; for no rows both are 0.
pub fn train_forward(
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    epsilon: f32,
    y: &mut [f32],
    mean: &mut [f32],
    variance: &mut [f32],
) {
    let c = gamma.len();
    let rows = x.len() / c;
    for j in 0..c {
        let column = || x.iter().skip(j).step_by(c).map(|&x| f64::from(x));
        let m = column().sum::<f64>() / rows.max(1) as f64;
        let v = column().map(|x| (x - m) * (x - m)).sum::<f64>() / rows.max(1) as f64;
        let inverse = 1.0 / (v + f64::from(epsilon)).sqrt();
        for i in 0..rows {
            let x = f64::from(x[i * c + j]);
            let normal = f64::from(gamma[j]) * (x - m) * inverse + f64::from(beta[j]);
            y[i * c + j] = flush(normal as f32);
        }
        mean[j] = flush(m as f32);
        variance[j] = flush(v as f32);
    }
}

/// The same formula with given statistics.
pub fn eval_forward(
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    mean: &[f32],
    variance: &[f32],
    epsilon: f32,
    y: &mut [f32],
) {
    let c = gamma.len();
    for (i, (y, &x)) in y.iter_mut().zip(x).enumerate() {
        let j = i % c;
        let inverse = 1.0 / (f64::from(variance[j]) + f64::from(epsilon)).sqrt();
        let normal = f64::from(gamma[j]) * (f64::from(x) - f64::from(mean[j])) * inverse;
        *y = flush((normal + f64::from(beta[j])) as f32);
    }
}

/// Gradients of [`train_forward`] (the statistics depend on x).
#[expect(clippy::too_many_arguments, reason = "six inputs, three outputs of one formula")]
pub fn backward(
    x: &[f32],
    dy: &[f32],
    gamma: &[f32],
    mean: &[f32],
    variance: &[f32],
    epsilon: f32,
    dx: &mut [f32],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
) {
    let c = gamma.len();
    let rows = x.len() / c;
    for j in 0..c {
        let inverse = 1.0 / (f64::from(variance[j]) + f64::from(epsilon)).sqrt();
        let hat = |i: usize| (f64::from(x[i * c + j]) - f64::from(mean[j])) * inverse;
        let (mut sum, mut product) = (0.0, 0.0);
        for i in 0..rows {
            sum += f64::from(dy[i * c + j]);
            product += f64::from(dy[i * c + j]) * hat(i);
        }
        for i in 0..rows {
            let centred =
                f64::from(dy[i * c + j]) - sum / rows as f64 - hat(i) * product / rows as f64;
            dx[i * c + j] = flush((f64::from(gamma[j]) * inverse * centred) as f32);
        }
        dgamma[j] = flush(product as f32);
        dbeta[j] = flush(sum as f32);
    }
}

/// `moving = momentum moving + (1 - momentum) batch`.
pub fn update_moving(momentum: f32, batch: &[f32], moving: &mut [f32]) {
    for (moving, &batch) in moving.iter_mut().zip(batch) {
        *moving = flush(momentum * *moving + (1.0 - momentum) * batch);
    }
}
