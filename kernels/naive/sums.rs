//! Sums of columns in f64.

use crate::matrix::Mat;
use crate::simd::flush;

/// `out[j] = sum over i of a[i, j]`.
pub fn columns(a: Mat, out: &mut [f32]) {
    for (j, out) in out.iter_mut().enumerate() {
        *out = flush((0..a.rows()).map(|i| f64::from(a.at(i, j))).sum::<f64>() as f32);
    }
}
