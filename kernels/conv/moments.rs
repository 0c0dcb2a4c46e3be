//! A convolution that also gives the mean and variance of each filter over its output, for batch
//! normalisation, while rows of the output are in the first-level cache.
//!
//! A few tiles at a time: their mean, then the squares of what differs from it, so that the
//! accuracy is that of two passes. Sets of rows are merged by the formula of Chan, Golub and
//! LeVeque ("Updating formulae and a pairwise algorithm for computing sample variances", 1979): of
//! counts `a` and `b`, with means `d` apart, squares of both and `d^2 a b / (a + b)`. Means are kept
//! as differences from one of the rows, or a mean of 1,000 deviations would blur `d`.

use super::{Convolution, check};
use crate::Team;
use crate::pool::{load, store};
use crate::simd::{Kernel, Simd};
use crate::team::Parts;

/// Rows that have a mean of their own: four tiles of 14, 14 KB for 64 filters. Merging costs about
/// as much as ten rows.
pub(super) const ROWS_AT_ONCE: usize = 56;

/// Partial sums: one would wait for its own additions, four cycles each.
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
    let &Convolution { geometry, x, w, bias, .. } = convolution;
    let filters = bias.len();
    let batch = check(geometry, x.len(), w.len(), filters, y.len());
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
    let (total, others) = floats.split_at_mut(3 * filters);
    let mut total = Moments::of(total, images_per_task.min(batch) * geometry.out_pixels());
    for (i, moments) in others.chunks_exact_mut(3 * filters).enumerate() {
        let images = images_per_task.min(batch - (i + 1) * images_per_task);
        let other = Moments::of(moments, images * geometry.out_pixels());
        team.isa().run(Merge { total: &mut total, other });
    }
    for j in 0..filters {
        mean[j] = total.pivot[j] + total.mean[j];
        variance[j] = total.squares[j] / total.count as f32;
    }
}

/// Room for each task's moments, and how many images a task has.
pub(super) struct MomentsOfTasks<'a> {
    filters: usize,
    pub(super) images_per_task: usize,
    floats: Parts<'a, f32>,
}

impl MomentsOfTasks<'_> {
    /// Those of one task, of no rows yet.
    ///
    /// # Safety
    /// Nobody else has them.
    pub(super) unsafe fn of_task(&self, task: usize) -> Moments<'_> {
        let len = 3 * self.filters;
        // SAFETY: by the caller's promise.
        Moments::of(unsafe { self.floats.part(task * len..(task + 1) * len) }, 0)
    }
}

/// The mean of each column over some rows, and the sum of squares of what differs from it.
pub(super) struct Moments<'a> {
    count: usize,
    /// The first row.
    pivot: &'a mut [f32],
    /// How far the mean is from there.
    mean: &'a mut [f32],
    squares: &'a mut [f32],
}

impl<'a> Moments<'a> {
    /// Those of so many rows that are kept here: `3 columns` floats.
    fn of(floats: &'a mut [f32], count: usize) -> Self {
        let (pivot, rest) = floats.split_at_mut(floats.len() / 3);
        let (mean, squares) = rest.split_at_mut(pivot.len());
        Self { count, pivot, mean, squares }
    }

    /// How many rows there were.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Adds rows, at least one.
    #[inline(always)]
    pub(super) fn add<S: Simd>(&mut self, simd: S, rows: &[f32]) {
        let cols = self.mean.len();
        let count = rows.len() / cols;
        assert!(count > 0 && rows.len() == count * cols);
        if self.count == 0 {
            self.pivot.copy_from_slice(&rows[..cols]);
            self.mean.fill(0.0);
            self.squares.fill(0.0);
        }
        let chained = count / CHAINS * CHAINS;
        let inverse = simd.splat(1.0 / count as f32);
        for first in (0..cols).step_by(S::LANES) {
            let left = cols - first;
            let at = rows.as_ptr().wrapping_add(first);
            // SAFETY: up to the last column, here and in the loops.
            let pivot = unsafe { load(simd, self.pivot.as_ptr().add(first), left) };
            let mut sums = [simd.splat(0.0); CHAINS];
            for row in (0..chained).step_by(CHAINS) {
                for i in 0..CHAINS {
                    // SAFETY: row < count.
                    let x = unsafe { load(simd, at.add((row + i) * cols), left) };
                    sums[i] = simd.add(sums[i], simd.sub(x, pivot));
                }
            }
            for row in chained..count {
                // SAFETY: as above.
                let x = unsafe { load(simd, at.add(row * cols), left) };
                sums[0] = simd.add(sums[0], simd.sub(x, pivot));
            }
            let mean = simd.mul(sum_of(simd, sums), inverse);
            let mut squares = [simd.splat(0.0); CHAINS];
            for row in (0..chained).step_by(CHAINS) {
                for i in 0..CHAINS {
                    // SAFETY: as above.
                    let x = unsafe { load(simd, at.add((row + i) * cols), left) };
                    let d = simd.sub(simd.sub(x, pivot), mean);
                    squares[i] = simd.mul_add(d, d, squares[i]);
                }
            }
            for row in chained..count {
                // SAFETY: as above.
                let x = unsafe { load(simd, at.add(row * cols), left) };
                let d = simd.sub(simd.sub(x, pivot), mean);
                squares[0] = simd.mul_add(d, d, squares[0]);
            }
            self.merge(simd, count, first, mean, sum_of(simd, squares));
        }
        self.count += count;
    }

    /// Merges the moments of `count` rows, of a vector of columns from `first` on.
    #[inline(always)]
    fn merge<S: Simd>(&mut self, simd: S, count: usize, first: usize, mean: S::V, squares: S::V) {
        let left = self.mean.len() - first;
        let (old, new) = (self.count as f64, count as f64);
        let share = simd.splat((new / (old + new)) as f32);
        let weight = simd.splat((old * new / (old + new)) as f32);
        // SAFETY: up to the last column.
        unsafe {
            let at = (self.mean.as_mut_ptr().add(first), self.squares.as_mut_ptr().add(first));
            let (old_mean, old_squares) = (load(simd, at.0, left), load(simd, at.1, left));
            let d = simd.sub(mean, old_mean);
            let squares = simd.add(old_squares, squares);
            store(simd, at.0, simd.mul_add(d, share, old_mean), left);
            store(simd, at.1, simd.mul_add(simd.mul(d, d), weight, squares), left);
        }
    }
}

/// The sum of partial sums.
#[inline(always)]
fn sum_of<S: Simd>(simd: S, [a, b, c, d]: [S::V; CHAINS]) -> S::V {
    simd.add(simd.add(a, b), simd.add(c, d))
}

/// Adds the moments of other rows.
struct Merge<'a, 'b> {
    total: &'a mut Moments<'b>,
    other: Moments<'a>,
}

impl Kernel for Merge<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { total, other } = self;
        let cols = total.mean.len();
        assert!(other.mean.len() == cols);
        for first in (0..cols).step_by(S::LANES) {
            let left = cols - first;
            // SAFETY: up to the last column.
            let (pivot, other_pivot, mean, squares) = unsafe {
                (
                    load(simd, total.pivot.as_ptr().add(first), left),
                    load(simd, other.pivot.as_ptr().add(first), left),
                    load(simd, other.mean.as_ptr().add(first), left),
                    load(simd, other.squares.as_ptr().add(first), left),
                )
            };
            let mean = simd.add(simd.sub(other_pivot, pivot), mean);
            total.merge(simd, other.count, first, mean, squares);
        }
        total.count += other.count;
    }
}
