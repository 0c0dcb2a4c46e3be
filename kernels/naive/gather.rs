//! The twin of [`crate::gather`].

use crate::simd::flush;

/// `out[i, j] = row(i)[j] * factors[j] + offsets[j]`.
pub fn scaled<'a, T: Copy + Into<f32> + 'a>(
    row: impl Fn(usize) -> &'a [T],
    factors: &[f32],
    offsets: &[f32],
    out: &mut [f32],
) {
    let cols = factors.len();
    for (i, out) in out.iter_mut().enumerate() {
        let j = i % cols;
        *out = flush(row(i / cols)[j].into() * factors[j] + offsets[j]);
    }
}
