//! The twin of [`crate::classical::Logistic`]: the function in plain loops, and its minimum by Newton's method.

use super::inputs;
use crate::data::{Row, Samples};

/// Inputs as the model takes them: bytes divided by 255.
fn scaled(samples: &Samples, i: usize) -> Vec<f64> {
    let factor = if matches!(samples.row(i), Row::Bytes(_)) { 1.0 / 255.0 } else { 1.0 };
    inputs(samples, i).iter().map(|x| x * factor).collect()
}

/// `mean loss + penalty / (2 n) |W|^2` and its gradient at `x`: `[inputs, classes]` weights, then `[classes]`
/// intercepts.
pub fn function(
    samples: &Samples,
    classes: usize,
    penalty: f64,
    x: &[f64],
    gradient: &mut [f64],
) -> f64 {
    let n = samples.len() as f64;
    let weights = x.len() - classes;
    let mut value = 0.0;
    gradient.fill(0.0);
    for (i, &label) in samples.labels().iter().enumerate() {
        let row = scaled(samples, i);
        let p = probabilities(&row, classes, x);
        value -= p[usize::from(label)].ln() / n;
        for class in 0..classes {
            let error = p[class] - if usize::from(label) == class { 1.0 } else { 0.0 };
            for (j, input) in row.iter().enumerate() {
                gradient[j * classes + class] += error * input / n;
            }
            gradient[weights + class] += error / n;
        }
    }
    for j in 0..weights {
        value += penalty / (2.0 * n) * x[j] * x[j];
        gradient[j] += penalty / n * x[j];
    }
    value
}

fn probabilities(row: &[f64], classes: usize, x: &[f64]) -> Vec<f64> {
    let logit = |class: usize| {
        let products = row.iter().enumerate().map(|(j, input)| input * x[j * classes + class]);
        products.sum::<f64>() + x[row.len() * classes + class]
    };
    let logits: Vec<f64> = (0..classes).map(logit).collect();
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|z| (z - most).exp()).sum();
    logits.iter().map(|z| (z - most).exp() / sum).collect()
}

/// Weights and intercepts at the minimum, where all classes occur. Of all intercepts that give the same
/// probabilities, those whose sum is 0, as steps from zero along gradients have it.
pub fn fit(samples: &Samples, classes: usize, c: f64) -> Vec<f64> {
    let penalty = if classes == 2 { 2.0 / c } else { 1.0 / c };
    let size = (samples.shape().len() + 1) * classes;
    let (mut x, mut gradient) = (vec![0.0; size], vec![0.0; size]);
    for _ in 0..100 {
        let value = function(samples, classes, penalty, &x, &mut gradient);
        let step = solve(second_derivatives(samples, classes, penalty, &x), gradient.clone());
        let mut share = 1.0;
        // Halved until the value falls: far from the minimum a whole step may be too long.
        loop {
            let next: Vec<f64> = x.iter().zip(&step).map(|(x, s)| x - share * s).collect();
            if function(samples, classes, penalty, &next, &mut gradient) <= value || share < 1e-9 {
                x = next;
                break;
            }
            share /= 2.0;
        }
    }
    x
}

/// `[size, size]`; 1 is added where two intercepts meet, so that the matrix has an inverse.
fn second_derivatives(samples: &Samples, classes: usize, penalty: f64, x: &[f64]) -> Vec<Vec<f64>> {
    let n = samples.len() as f64;
    let mut h = vec![vec![0.0; x.len()]; x.len()];
    for i in 0..samples.len() {
        let mut row = scaled(samples, i);
        let p = probabilities(&row, classes, x);
        row.push(1.0);
        for (j, a) in row.iter().enumerate() {
            for (k, b) in row.iter().enumerate() {
                for s in 0..classes {
                    for t in 0..classes {
                        let same = if s == t { p[s] } else { 0.0 };
                        h[j * classes + s][k * classes + t] += a * b * (same - p[s] * p[t]) / n;
                    }
                }
            }
        }
    }
    let weights = x.len() - classes;
    for j in 0..weights {
        h[j][j] += penalty / n;
    }
    for s in weights..x.len() {
        for t in weights..x.len() {
            h[s][t] += 1.0;
        }
    }
    h
}

/// Solves `a x = b` by elimination, with the largest element of a column as pivot.
fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Vec<f64> {
    let n = b.len();
    for i in 0..n {
        let pivot = (i..n).max_by(|&s, &t| a[s][i].abs().total_cmp(&a[t][i].abs())).unwrap_or(i);
        a.swap(i, pivot);
        b.swap(i, pivot);
        for j in i + 1..n {
            let factor = a[j][i] / a[i][i];
            for k in i..n {
                a[j][k] -= factor * a[i][k];
            }
            b[j] -= factor * b[i];
        }
    }
    for i in (0..n).rev() {
        for k in i + 1..n {
            b[i] -= a[i][k] * b[k];
        }
        b[i] /= a[i][i];
    }
    b
}
