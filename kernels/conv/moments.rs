//! A convolution that also gives the mean and variance of each filter over its output, for batch
//! normalisation, while rows of the output are in the first-level cache.
//!
//! A few tiles at a time: their mean, then the squares of what differs from it, so that the
//! accuracy is that of two passes. Sets of rows are merged by the formula of Chan, Golub and
//! LeVeque ("Updating formulae and a pairwise algorithm for computing sample variances", 1979): of
//! counts `a` and `b`, with means `d` apart, squares of both and `d^2 a b / (a + b)`.

use super::{Convolution, check};
use crate::Team;
use crate::pool::{load, store};
use crate::simd::{Kernel, Simd};

/// Rows that have a mean of their own: four tiles of 14, 14 KB for 64 filters. Merging costs about
/// as much as ten rows.
pub(super) const ROWS_OF_MOMENTS: usize = 56;

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
    let correlation = convolution.correlation();
    let images_at_once = correlation.images_at_once();
    let mut buffer = team.phase_scratch();
    let tasks = buffer.floats((batch.div_ceil(images_at_once) + 1) * 2 * filters);
    let (total, tasks) = tasks.split_at_mut(2 * filters);
    correlation.run(team, y, Some(&mut *tasks));
    let mut total = Moments::new(total);
    for (task, moments) in tasks.chunks_exact(2 * filters).enumerate() {
        let images = images_at_once.min(batch - task * images_at_once);
        let (mean, squares) = moments.split_at(filters);
        let other = Others { count: images * geometry.out_pixels(), mean, squares };
        team.isa().run(Merge { total: &mut total, other });
    }
    mean.copy_from_slice(total.mean);
    for (variance, squares) in variance.iter_mut().zip(&*total.squares) {
        *variance = squares / total.count as f32;
    }
}

/// The mean of each column over some rows, and the sum of squares of what differs from it.
pub(super) struct Moments<'a> {
    count: usize,
    mean: &'a mut [f32],
    squares: &'a mut [f32],
}

impl<'a> Moments<'a> {
    /// Those of no rows, to be kept here: `2 columns` floats.
    pub(super) fn new(floats: &'a mut [f32]) -> Self {
        floats.fill(0.0);
        let (mean, squares) = floats.split_at_mut(floats.len() / 2);
        Self { count: 0, mean, squares }
    }

    /// How many rows there were.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Adds rows.
    #[inline(always)]
    pub(super) fn add<S: Simd>(&mut self, simd: S, rows: &[f32]) {
        let cols = self.mean.len();
        let count = rows.len() / cols;
        assert_eq!(rows.len(), count * cols);
        let chained = count / CHAINS * CHAINS;
        let inverse = simd.splat(1.0 / count as f32);
        for first in (0..cols).step_by(S::LANES) {
            let left = cols - first;
            let at = rows.as_ptr().wrapping_add(first);
            let mut sums = [simd.splat(0.0); CHAINS];
            for row in (0..chained).step_by(CHAINS) {
                for i in 0..CHAINS {
                    // SAFETY: row < count, and up to the last column.
                    let x = unsafe { load(simd, at.add((row + i) * cols), left) };
                    sums[i] = simd.add(sums[i], x);
                }
            }
            for row in chained..count {
                // SAFETY: as above.
                let x = unsafe { load(simd, at.add(row * cols), left) };
                sums[0] = simd.add(sums[0], x);
            }
            let mean = simd.mul(sum_of(simd, sums), inverse);
            let mut squares = [simd.splat(0.0); CHAINS];
            for row in (0..chained).step_by(CHAINS) {
                for i in 0..CHAINS {
                    // SAFETY: as above.
                    let x = unsafe { load(simd, at.add((row + i) * cols), left) };
                    let d = simd.sub(x, mean);
                    squares[i] = simd.mul_add(d, d, squares[i]);
                }
            }
            for row in chained..count {
                // SAFETY: as above.
                let x = unsafe { load(simd, at.add(row * cols), left) };
                let d = simd.sub(x, mean);
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

/// The moments of other rows.
struct Others<'a> {
    count: usize,
    mean: &'a [f32],
    squares: &'a [f32],
}

/// Merges them.
struct Merge<'a, 'b> {
    total: &'a mut Moments<'b>,
    other: Others<'a>,
}

impl Kernel for Merge<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { total, other: Others { count, mean, squares } } = self;
        let cols = total.mean.len();
        assert!(mean.len() == cols && squares.len() == cols);
        for first in (0..cols).step_by(S::LANES) {
            let left = cols - first;
            // SAFETY: up to the last column.
            let (mean, squares) = unsafe {
                (
                    load(simd, mean.as_ptr().add(first), left),
                    load(simd, squares.as_ptr().add(first), left),
                )
            };
            total.merge(simd, count, first, mean, squares);
        }
        total.count += count;
    }
}
