//! Products with few columns: every element of C is a dot product along K, sixteen steps to a
//! vector. A tile of the other kind would leave most lanes of its vectors empty: 10 columns of 16.

use super::grid::share;
use super::pack::pack_b;
use super::product::Target;
use super::store::{Row, finish_row};
use crate::blocking::Blocking;
use crate::simd::{Kernel, LaneSums, SUM_LANES, Simd};
use crate::team::Scratch;
use crate::{Isa, Mat, Team};
use std::ops::Range;

/// Columns from which on the other kernels are better on every instruction set.
pub(super) const MAX_COLS: usize = 16;

/// Rows of A that are multiplied with a column at once.
const ROWS: usize = 4;

/// A product whose rows of A, and columns of B once copied, are contiguous.
pub(super) struct DotProduct<'a> {
    pub(super) a: Mat<'a>,
    pub(super) b: Mat<'a>,
    pub(super) target: Target<'a>,
}

impl DotProduct<'_> {
    /// What it costs in vector multiply-adds, if these kernels can compute it and sums of K are as
    /// short as the accuracy contract needs: 256 steps to a lane.
    pub(super) fn cost(&self, blocking: &Blocking) -> Option<f64> {
        let (m, n, k) = (self.a.rows(), self.b.cols(), self.a.cols());
        let lanes = SUM_LANES;
        let fits = self.a.cs() == 1 && n <= MAX_COLS && k >= lanes && k <= lanes * blocking.kc;
        let (m, n, k) = (m as f64, n as f64, k as f64);
        // 5 for adding up the lanes of a sum, 6 for a row of C, 0.3 for transposing an element of B.
        let sums = m * n * (k / lanes as f64).ceil();
        fits.then_some(sums + 5.0 * m * n + 6.0 * m + 0.3 * n * k + 500.0)
    }

    /// Computes it in so many tasks, or fewer.
    pub(super) fn run(&self, team: &Team, tasks: usize) {
        let (m, isa) = (self.a.rows(), team.isa());
        let groups = tasks.min(m.div_ceil(ROWS));
        team.run(groups, |task, scratch| {
            let rows = share(m, ROWS, task, groups);
            isa.run(DotRows { job: self, rows, scratch });
        });
    }

    /// Computes it on the calling thread, inside a task.
    pub(super) fn run_in_task(&self, isa: Isa, scratch: &mut Scratch) {
        isa.run(DotRows { job: self, rows: 0..self.a.rows(), scratch });
    }
}

/// Some rows of C.
struct DotRows<'a> {
    job: &'a DotProduct<'a>,
    rows: Range<usize>,
    scratch: &'a mut Scratch,
}

impl Kernel for DotRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { job: &DotProduct { a, b, target }, rows, scratch } = self;
        let (n, k) = (b.cols(), b.rows());
        // Columns of B one after the other, in place if they lie so already.
        let turned = scratch.floats(n * k);
        let (columns, stride) = if b.rs() == 1 {
            (b.as_ptr(), b.cs())
        } else {
            pack_b(simd, b.t(), turned, k);
            (turned.as_ptr(), k)
        };
        for first in rows.clone().step_by(ROWS) {
            let live = ROWS.min(rows.end - first);
            let row = |i: usize| a.as_ptr().wrapping_add((first + i.min(live - 1)) * a.rs());
            let rows_of_a: [*const f32; ROWS] = [row(0), row(1), row(2), row(3)];
            let mut sums = [[0.0_f32; MAX_COLS]; ROWS];
            let mut col = 0;
            while col < n {
                let cols = S::TUNING.dot_cols.min(n - col);
                let b = columns.wrapping_add(col * stride);
                let input = DotInput { a: rows_of_a, b, stride, k };
                let sums = &mut sums;
                match cols {
                    1 => simd.call(DotTile::<1> { input, sums, col }),
                    2 => simd.call(DotTile::<2> { input, sums, col }),
                    3 => simd.call(DotTile::<3> { input, sums, col }),
                    4 => simd.call(DotTile::<4> { input, sums, col }),
                    _ => simd.call(DotTile::<5> { input, sums, col }),
                }
                col += cols;
            }
            for i in 0..live {
                let epilogue = target.epilogue(first + i, 0);
                let output = target.row(&epilogue);
                let c = target.c.wrapping_add((first + i) * target.rs);
                let row = Row { at: 0, c, cs: target.cs, cols: n, output: &output };
                // SAFETY: the row is inside C, bias and y; there is a sum for each column.
                unsafe { finish_row(simd, sums[i].as_ptr(), row) };
            }
        }
    }
}

/// Four rows of A and some columns of B, `stride` elements apart.
struct DotInput {
    a: [*const f32; ROWS],
    b: *const f32,
    stride: usize,
    k: usize,
}

/// The dot products of four rows and N columns, written to the columns from `col` on. Its input is
/// readable for k elements.
struct DotTile<'a, const N: usize> {
    input: DotInput,
    sums: &'a mut [[f32; MAX_COLS]; ROWS],
    col: usize,
}

impl<const N: usize> DotTile<'_, N> {
    /// The sums of lanes `first .. first + LANES` of every [`SUM_LANES`] steps of K.
    #[inline(always)]
    fn part<S: Simd>(&self, simd: S, first: usize) -> [[S::V; ROWS]; N] {
        let DotInput { a, b, stride, k } = self.input;
        let mut sums = [[simd.splat(0.0); ROWS]; N];
        let whole = k / SUM_LANES * SUM_LANES;
        let mut p = first;
        while p < whole {
            // SAFETY: p + LANES <= whole: elements of every row and column.
            unsafe {
                let mut rows = [simd.splat(0.0); ROWS];
                for i in 0..ROWS {
                    rows[i] = simd.load(a[i].add(p));
                }
                for j in 0..N {
                    let column = simd.load(b.add(j * stride + p));
                    for i in 0..ROWS {
                        sums[j][i] = simd.mul_add(rows[i], column, sums[j][i]);
                    }
                }
            }
            p += SUM_LANES;
        }
        if p < k {
            let mask = simd.mask_first(k - p);
            // SAFETY: the rest of every row and column.
            unsafe {
                for j in 0..N {
                    let column = simd.load_masked(b.add(j * stride + p), mask);
                    for i in 0..ROWS {
                        let row = simd.load_masked(a[i].add(p), mask);
                        sums[j][i] = simd.mul_add(row, column, sums[j][i]);
                    }
                }
            }
        }
        sums
    }
}

impl<const N: usize> Kernel for DotTile<'_, N> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        // Where the sums of an element take several vectors, all of K is walked once for each vector: the
        // sums of more than one vector would not stay in registers. The vectors are added up in the order
        // of `fold`.
        let part = |vector: usize| self.part::<S>(simd, vector * S::LANES);
        let both = |mut a: [[S::V; ROWS]; N], b: [[S::V; ROWS]; N]| {
            for j in 0..N {
                for i in 0..ROWS {
                    a[j][i] = simd.add(a[j][i], b[j][i]);
                }
            }
            a
        };
        let sums = match LaneSums::<S>::VECTORS {
            1 => part(0),
            2 => both(part(0), part(1)),
            _ => both(both(part(0), part(2)), both(part(1), part(3))),
        };
        for j in 0..N {
            let totals = simd.reduce_add4(sums[j]);
            for i in 0..ROWS {
                self.sums[i][self.col + j] = totals[i];
            }
        }
    }
}
