//! A convolution that also gives the mean and variance of each filter over its output, for batch
//! normalisation, while rows of the output are in the first-level cache.
//!
//! A task sums how far its rows are from a pivot, and the squares of that. The pivot is the mean of
//! its first rows: it misses the task's mean by a few deviations at most, and the difference that
//! makes the variance loses a digit or so. Tasks are merged by the formula of Chan, Golub and LeVeque
//! ("Updating formulae and a pairwise algorithm for computing sample variances", 1979): for two tasks of
//! `a` and `b` rows, whose means are `d` apart, the merged sum of squares is the sum of both plus
//! `d^2 a b / (a + b)`.
//!
//! This saves the separate pass that would read the output again, and nothing else: at best 5 % of a
//! convolution of one channel and 2 % of the others.

use super::Convolution;
use crate::Team;
use crate::simd::{Simd, flush};
use crate::team::Parts;

/// Rows that are added at once: four tiles of 14, 14 KB for 64 filters.
pub(super) const ROWS_AT_ONCE: usize = 56;

/// Independent partial sums: a single one would wait for its own additions, four cycles each.
const CHAINS: usize = 4;

/// [`super::forward`], and of each filter the mean and the biased variance over the `n out_h out_w`
/// elements of its output (zeros for none). `y` is `[n, out_h, out_w, filters]`, `mean` and
/// `variance` are `[filters]`. The bits of `y` are those of [`super::forward`].
///
/// # Panics
/// If the lengths do not fit together.
#[track_caller]
pub fn forward_with_moments(
    team: &Team,
    convolution: &Convolution,
    y: &mut [f32],
    mean: &mut [f32],
    variance: &mut [f32],
) {
    let (geometry, filters) = (convolution.geometry, convolution.bias.len());
    let batch = convolution.check(y.len());
    assert_eq!(mean.len(), filters, "a mean for each filter");
    assert_eq!(variance.len(), filters, "a variance for each filter");
    mean.fill(0.0);
    variance.fill(0.0);
    if y.is_empty() {
        return;
    }
    // At least eight tiles to a task. By the shape alone: the bits of the sums depend on it.
    let images_per_task = 112_usize.div_ceil(geometry.out_pixels());
    let mut buffer = team.phase_scratch();
    let floats = buffer.floats(batch.div_ceil(images_per_task) * 3 * filters);
    let tasks = MomentsOfTasks { filters, images_per_task, floats: Parts::new(&mut *floats) };
    convolution.correlation().run(team, y, Some(tasks));
    let count =
        |task: usize| images_per_task.min(batch - task * images_per_task) * geometry.out_pixels();
    let (first, others) = floats.split_at_mut(3 * filters);
    let mut total = Moments::of(first, count(0)).centred();
    for (i, moments) in others.chunks_exact_mut(3 * filters).enumerate() {
        total.merge(&Moments::of(moments, count(i + 1)).centred());
    }
    for j in 0..filters {
        mean[j] = flush(total.pivot[j] + total.mean[j]);
        variance[j] = flush(total.squares[j] / total.count as f32);
    }
}

/// Room for each task's moments, and how many images a task has.
pub(super) struct MomentsOfTasks<'a> {
    filters: usize,
    pub(super) images_per_task: usize,
    floats: Parts<'a, f32>,
}

impl MomentsOfTasks<'_> {
    /// The moments of one task, before any row is added.
    ///
    /// # Safety
    /// No other caller has the moments of this task.
    pub(super) unsafe fn of_task(&self, task: usize) -> Moments<'_> {
        let len = 3 * self.filters;
        // SAFETY: by the caller's promise.
        Moments::of(unsafe { self.floats.part(task * len..(task + 1) * len) }, 0)
    }
}

/// For each column over some rows, the sums of `x - pivot` and of `(x - pivot)^2`.
pub(super) struct Moments<'a> {
    count: usize,
    pivot: &'a mut [f32],
    sum: &'a mut [f32],
    squares: &'a mut [f32],
}

impl<'a> Moments<'a> {
    /// The moments of `count` rows, kept in `floats`: three floats for each column.
    fn of(floats: &'a mut [f32], count: usize) -> Self {
        let (pivot, rest) = floats.split_at_mut(floats.len() / 3);
        let (sum, squares) = rest.split_at_mut(pivot.len());
        Self { count, pivot, sum, squares }
    }

    /// How many rows there were.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Adds rows, at least one.
    #[inline(always)]
    pub(super) fn add<S: Simd>(&mut self, simd: S, rows: &[f32]) {
        let cols = self.pivot.len();
        let count = rows.len() / cols;
        assert!(count > 0 && rows.len() == count * cols);
        for first in (0..cols).step_by(S::LANES) {
            let left = cols - first;
            let rows = Columns { first: rows[first..].as_ptr(), stride: cols, count, left };
            let pivot = self.pivot[first..].as_mut_ptr();
            let (sum, squares) =
                (self.sum[first..].as_mut_ptr(), self.squares[first..].as_mut_ptr());
            // SAFETY: up to the last column of as many rows.
            unsafe {
                if self.count == 0 {
                    let start = simd.load_first(rows.first, left);
                    let (sum_of_rows, _) = rows.sums(simd, start);
                    let mean = simd.mul(sum_of_rows, simd.splat(1.0 / count as f32));
                    simd.store_first(pivot, simd.add(start, mean), left);
                    simd.store_first(sum, simd.splat(0.0), left);
                    simd.store_first(squares, simd.splat(0.0), left);
                }
                let sums = rows.sums(simd, simd.load_first(pivot, left));
                simd.store_first(sum, simd.add(simd.load_first(sum, left), sums.0), left);
                simd.store_first(squares, simd.add(simd.load_first(squares, left), sums.1), left);
            }
        }
        self.count += count;
    }

    /// The same moments about the mean instead of the pivot.
    fn centred(self) -> Centred<'a> {
        let Self { count, pivot, sum, squares } = self;
        for (sum, squares) in sum.iter_mut().zip(&mut *squares) {
            let mean = *sum / count as f32;
            // For a constant column, rounding may make it slightly negative; NaN stays.
            let rest = *squares - *sum * mean;
            *squares = if rest < 0.0 { 0.0 } else { rest };
            *sum = mean;
        }
        Centred { count, pivot, mean: sum, squares }
    }
}

/// For each column over some rows: how far the mean is from the pivot, and the sum of squared deviations
/// from the mean.
struct Centred<'a> {
    count: usize,
    pivot: &'a [f32],
    mean: &'a mut [f32],
    squares: &'a mut [f32],
}

impl Centred<'_> {
    /// Adds other rows.
    fn merge(&mut self, other: &Centred) {
        let (a, b) = (self.count as f64, other.count as f64);
        let (share, weight) = ((b / (a + b)) as f32, (a * b / (a + b)) as f32);
        for j in 0..self.mean.len() {
            let d = (other.pivot[j] - self.pivot[j]) + (other.mean[j] - self.mean[j]);
            self.mean[j] += d * share;
            self.squares[j] += other.squares[j] + d * d * weight;
        }
        self.count += other.count;
    }
}

/// A vector of columns of some rows.
struct Columns {
    first: *const f32,
    /// Elements from row to row.
    stride: usize,
    count: usize,
    /// Columns from the first on; those beyond a vector are not looked at.
    left: usize,
}

impl Columns {
    /// The sums of `x - pivot` and of `(x - pivot)^2`.
    ///
    /// # Safety
    /// The rows are readable.
    #[inline(always)]
    unsafe fn sums<S: Simd>(&self, simd: S, pivot: S::V) -> (S::V, S::V) {
        let Self { first, stride, count, left } = *self;
        let (mut sums, mut squares) = ([simd.splat(0.0); CHAINS], [simd.splat(0.0); CHAINS]);
        let chained = count / CHAINS * CHAINS;
        for row in (0..chained).step_by(CHAINS) {
            for i in 0..CHAINS {
                // SAFETY: row < count.
                let x = unsafe { simd.load_first(first.add((row + i) * stride), left) };
                let d = simd.sub(x, pivot);
                sums[i] = simd.add(sums[i], d);
                squares[i] = simd.mul_add(d, d, squares[i]);
            }
        }
        for row in chained..count {
            // SAFETY: row < count.
            let d = simd.sub(unsafe { simd.load_first(first.add(row * stride), left) }, pivot);
            sums[0] = simd.add(sums[0], d);
            squares[0] = simd.mul_add(d, d, squares[0]);
        }
        (sum_of(simd, sums), sum_of(simd, squares))
    }
}

/// The sum of partial sums.
#[inline(always)]
fn sum_of<S: Simd>(simd: S, [a, b, c, d]: [S::V; CHAINS]) -> S::V {
    simd.add(simd.add(a, b), simd.add(c, d))
}
