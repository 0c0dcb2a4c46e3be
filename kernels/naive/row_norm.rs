//! Normalisation of each row by its own statistics, in f64.

use crate::simd::flush;

/// `normal = (x - mean) / sqrt(variance + epsilon)` for each row, and `y = gamma normal + beta`.
pub fn forward(
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    epsilon: f32,
    y: &mut [f32],
    normal: &mut [f32],
    inverse: &mut [f32],
) {
    let c = gamma.len();
    for (i, inverse) in inverse.iter_mut().enumerate() {
        let row = i * c..(i + 1) * c;
        let x = &x[row.clone()];
        let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / c as f64;
        let square = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>();
        let scale = 1.0 / (square / c as f64 + f64::from(epsilon)).sqrt();
        *inverse = flush(scale as f32);
        for (j, at) in row.enumerate() {
            let value = (f64::from(x[j]) - mean) * scale;
            normal[at] = flush(value as f32);
            y[at] = flush((f64::from(gamma[j]) * value + f64::from(beta[j])) as f32);
        }
    }
}

/// Gradients of [`forward`]. `normal` becomes `dy normal`, whose sums `dgamma` are.
pub fn backward(
    dy: &[f32],
    gamma: &[f32],
    normal: &mut [f32],
    inverse: &[f32],
    dx: &mut [f32],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
) {
    let c = gamma.len();
    let (mut gammas, mut betas) = (vec![0.0_f64; c], vec![0.0_f64; c]);
    for (i, &inverse) in inverse.iter().enumerate() {
        let g = |j: usize| f64::from(dy[i * c + j]) * f64::from(gamma[j]);
        let mean = (0..c).map(g).sum::<f64>() / c as f64;
        let slope = (0..c).map(|j| g(j) * f64::from(normal[i * c + j])).sum::<f64>() / c as f64;
        for j in 0..c {
            let at = i * c + j;
            let value = f64::from(normal[at]);
            dx[at] = flush((f64::from(inverse) * (g(j) - mean - value * slope)) as f32);
            let product = f64::from(dy[at]) * value;
            gammas[j] += product;
            betas[j] += f64::from(dy[at]);
            normal[at] = flush(product as f32);
        }
    }
    for j in 0..c {
        (dgamma[j], dbeta[j]) = (flush(gammas[j] as f32), flush(betas[j] as f32));
    }
}
