//! Sums of columns, which give the gradient of a bias, and sums of the partial sums of tasks.

use crate::columns::{Input, Sum, reduce};
use crate::matrix::Mat;
use crate::simd::{Kernel, Simd, flush};
use crate::team::Team;

/// `out[j] = sum over i of a[i, j]`; zero for no rows.
///
/// # Panics
/// If `out` has not one element for each column.
#[track_caller]
pub fn columns(team: &Team, a: Mat, out: &mut [f32]) {
    let (rows, cols, rs) = (a.rows(), a.cols(), a.rs());
    assert_eq!(out.len(), cols, "one sum for each column");
    if rows == 0 || cols == 0 {
        return out.fill(0.0);
    }
    if a.cs() != 1 && cols > 1 {
        // Nothing in a training step sums such a matrix; here it need only be right.
        for (j, out) in out.iter_mut().enumerate() {
            *out = flush((0..rows).map(|i| f64::from(a.at(i, j))).sum::<f64>() as f32);
        }
        return;
    }
    // SAFETY: the view was checked against its slice: this is from its first to its last element.
    let data = unsafe { std::slice::from_raw_parts(a.as_ptr(), (rows - 1) * rs + cols) };
    let input = Input { rows, cols, rs, reads: [data] };
    let mut scratch = team.phase_scratch();
    reduce(team, Sum, [], input, scratch.floats(input.workspace(1)), [out]);
}

/// `total += addend`, of the same length; what is subnormal becomes zero.
pub(crate) struct AddTo<'a> {
    pub(crate) total: &'a mut [f32],
    pub(crate) addend: &'a [f32],
}

impl Kernel for AddTo<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for i in 0..self.total.len() {
            self.total[i] = flush(self.total[i] + self.addend[i]);
        }
    }
}
