//! The twins of [`crate::vectors`], an element at a time in f64.

use crate::simd::flush;

/// The sum of squares.
pub fn sum_of_squares(x: &[f32]) -> f64 {
    x.iter().map(|&x| f64::from(x).powi(2)).sum()
}

/// `x = factor x`.
pub fn scale(factor: f32, x: &mut [f32]) {
    x.iter_mut().for_each(|x| *x = flush(factor * *x));
}

/// `y = factor x + y`.
pub fn add_multiple(factor: f32, x: &[f32], y: &mut [f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = flush((f64::from(factor) * f64::from(x) + f64::from(*y)) as f32);
    }
}

/// `average = average + share (x - average)`.
pub fn approach(share: f32, x: &[f32], average: &mut [f32]) {
    for (average, &x) in average.iter_mut().zip(x) {
        let old = f64::from(*average);
        *average = flush((old + f64::from(share) * (f64::from(x) - old)) as f32);
    }
}
