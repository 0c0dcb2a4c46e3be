//! Walking a row-major matrix with something to keep for every column: the loop that column sums
//! and batch normalisation share. Columns are vectors, so nothing is ever summed across lanes.

use crate::simd::{Kernel, Simd};
use crate::team::{Parts, Team};

/// Elements of one task: 128 KB per array, so that what a task reads twice stays in L2.
const TASK: usize = 32_768;

/// Rows that one sum takes before it is added to the total: bounds the rounding error of long
/// columns to that of some hundred additions.
const SUM: usize = 256;

/// Rows of one task over a matrix of `cols` columns: a function of the shape alone, because sums of
/// tasks are rounded sums.
fn task_rows(cols: usize) -> usize {
    (TASK / cols.max(1)).max(1)
}

/// Vectors of a group. With two sums and up to four parameters each, more would not stay in
/// registers even where there are 32.
const GROUP: usize = 4;

/// Rows of a block. They depend on the shape alone, because each block is a sum of its own. Where a row
/// is at most one group of 8-lane vectors, a block has the rows of one sum. Else it has as few rows as
/// still make the loop worth starting: memory is then read nearly in order, which suits the CPU's
/// prefetchers. (Blocks of 64 rows of 64 columns took twice as long from L3.)
fn block_rows(cols: usize) -> usize {
    if cols <= 32 { SUM } else { 8 }
}

/// What happens to one element: `P` parameters of its column, the elements of `R` matrices that are
/// read, `A` running sums of the column, the elements of `W` matrices that are written.
pub(crate) trait Cell<const P: usize, const R: usize, const A: usize, const W: usize>:
    Copy + Sync
{
    /// The new sums, and what is written. Mark it `#[inline(always)]`.
    fn cell<S: Simd>(
        self,
        simd: S,
        params: [S::V; P],
        read: [S::V; R],
        sums: [S::V; A],
    ) -> ([S::V; A], [S::V; W]);
}

/// The arrays of one walk. Parameters and sums have `cols` elements; matrices `rows` rows, those
/// that are read `rs` elements apart, those that are written `cols` apart. Sums are added to what
/// is there.
struct Walk<'a, const P: usize, const R: usize, const A: usize, const W: usize> {
    rows: usize,
    cols: usize,
    rs: usize,
    params: [&'a [f32]; P],
    reads: [&'a [f32]; R],
    sums: [&'a mut [f32]; A],
    writes: [&'a mut [f32]; W],
}

impl<const P: usize, const R: usize, const A: usize, const W: usize> Walk<'_, P, R, A, W> {
    /// Walks all columns: in groups of vectors (several chains of additions hide their latency),
    /// pairs, single vectors, then what is left.
    #[inline(always)]
    fn run<S: Simd>(&mut self, simd: S, cell: impl Cell<P, R, A, W>) {
        if self.rows == 0 || self.cols == 0 {
            return;
        }
        let reach = (self.rows - 1) * self.rs + self.cols;
        assert!(self.params.iter().all(|p| p.len() == self.cols), "parameters per column");
        assert!(self.sums.iter().all(|s| s.len() == self.cols), "sums per column");
        assert!(self.reads.iter().all(|r| r.len() >= reach), "matrices read");
        assert!(self.writes.iter().all(|w| w.len() == self.rows * self.cols), "matrices written");
        let mut column = 0;
        while column + GROUP * S::LANES <= self.cols {
            // SAFETY: lengths were checked above, and all vectors lie inside the columns.
            unsafe { self.group::<S, GROUP, false>(simd, cell, column) };
            column += GROUP * S::LANES;
        }
        while column + 2 * S::LANES <= self.cols {
            // SAFETY: as above.
            unsafe { self.group::<S, 2, false>(simd, cell, column) };
            column += 2 * S::LANES;
        }
        while column + S::LANES <= self.cols {
            // SAFETY: as above.
            unsafe { self.group::<S, 1, false>(simd, cell, column) };
            column += S::LANES;
        }
        if column < self.cols {
            // SAFETY: as above; the tail is masked.
            unsafe { self.group::<S, 1, true>(simd, cell, column) };
        }
    }

    /// The columns of `G` vectors from `column` on; or the last few columns, if this is the tail.
    ///
    /// # Safety
    /// The lengths are as the type says; without a tail the vectors lie inside the columns.
    #[inline(always)]
    unsafe fn group<S: Simd, const G: usize, const TAIL: bool>(
        &mut self,
        simd: S,
        cell: impl Cell<P, R, A, W>,
        column: usize,
    ) {
        let mask = simd.mask_first(self.cols - column);
        let zero = simd.splat(0.0);
        let mut params = [[zero; P]; G];
        let mut sums = [[zero; A]; G];
        for g in 0..G {
            for k in 0..P {
                // SAFETY: inside the columns by this function's contract.
                unsafe {
                    let p = self.params[k].as_ptr().add(column + g * S::LANES);
                    params[g][k] = if TAIL { simd.load_masked(p, mask) } else { simd.load(p) };
                }
            }
        }
        for row in 0..self.rows {
            for g in 0..G {
                let mut read = [zero; R];
                for k in 0..R {
                    // SAFETY: row < rows, the rest as above.
                    unsafe {
                        let p = self.reads[k].as_ptr().add(row * self.rs + column + g * S::LANES);
                        read[k] = if TAIL { simd.load_masked(p, mask) } else { simd.load(p) };
                    }
                }
                let (new, written) = cell.cell(simd, params[g], read, sums[g]);
                sums[g] = new;
                for k in 0..W {
                    // SAFETY: as above, with rows of `cols` elements.
                    unsafe {
                        let p = self.writes[k].as_mut_ptr();
                        let p = p.add(row * self.cols + column + g * S::LANES);
                        let written = simd.flush(written[k]);
                        if TAIL {
                            simd.store_masked(p, written, mask);
                        } else {
                            simd.store(p, written);
                        }
                    }
                }
            }
        }
        for g in 0..G {
            for k in 0..A {
                // SAFETY: inside the columns.
                unsafe {
                    let p = self.sums[k].as_mut_ptr().add(column + g * S::LANES);
                    if TAIL {
                        let total = simd.add(simd.load_masked(p, mask), sums[g][k]);
                        simd.store_masked(p, simd.flush(total), mask);
                    } else {
                        simd.store(p, simd.flush(simd.add(simd.load(p), sums[g][k])));
                    }
                }
            }
        }
    }
}

/// Rows of one task, in blocks.
struct Rows<'a, T, const P: usize, const R: usize, const A: usize, const W: usize> {
    walk: Walk<'a, P, R, A, W>,
    cell: T,
}

impl<T: Cell<P, R, A, W>, const P: usize, const R: usize, const A: usize, const W: usize> Kernel
    for Rows<'_, T, P, R, A, W>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Walk { rows, cols, rs, params, reads, mut sums, mut writes } = self.walk;
        let block = block_rows(cols);
        let mut start = 0;
        while start < rows {
            let rows = block.min(rows - start);
            let mut walk = Walk {
                rows,
                cols,
                rs,
                params,
                reads: reads.map(|read| &read[start * rs..]),
                sums: sums.each_mut().map(|sum| &mut **sum),
                writes: writes.each_mut().map(|w| &mut w[start * cols..(start + rows) * cols]),
            };
            walk.run(simd, self.cell);
            start += rows;
        }
    }
}

/// The matrices that a reduction reads: rows `rs` elements apart.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a, const R: usize> {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) rs: usize,
    pub(crate) reads: [&'a [f32]; R],
}

impl<'a, const R: usize> Input<'a, R> {
    /// Dense matrices of `cols` columns.
    pub(crate) fn dense(cols: usize, reads: [&'a [f32]; R]) -> Self {
        Self { rows: reads[0].len() / cols.max(1), cols, rs: cols, reads }
    }

    /// Elements of workspace that [`reduce`] needs for `sums` sums.
    pub(crate) fn workspace(&self, sums: usize) -> usize {
        match self.rows.div_ceil(task_rows(self.cols)) {
            0 | 1 => 0,
            tasks => tasks * sums * self.cols,
        }
    }
}

/// `totals` are the sums over all rows: those of a task in order, then those of the tasks in order.
pub(crate) fn reduce<const P: usize, const R: usize, const A: usize>(
    team: &Team,
    cell: impl Cell<P, R, A, 0>,
    params: [&[f32]; P],
    input: Input<R>,
    workspace: &mut [f32],
    totals: [&mut [f32]; A],
) {
    let Input { rows, cols, rs, reads } = input;
    let isa = team.isa();
    let chunk = task_rows(cols);
    let tasks = rows.div_ceil(chunk);
    let mut totals = totals;
    for total in &mut totals {
        total.fill(0.0);
    }
    if tasks <= 1 {
        let walk = Walk { rows, cols, rs, params, reads, sums: totals, writes: [] };
        return isa.run(Rows { walk, cell });
    }
    // Task after task, sum after sum, column after column.
    let workspace = &mut workspace[..tasks * A * cols];
    let parts = Parts::new(workspace);
    team.run_chunks(rows, chunk, |rows, _| {
        let first = rows.start / chunk * A;
        let sums = std::array::from_fn(|k| {
            // SAFETY: each task and each k has its own part.
            let sum = unsafe { parts.part((first + k) * cols..(first + k + 1) * cols) };
            sum.fill(0.0);
            sum
        });
        let reads = reads.map(|read| &read[rows.start * rs..]);
        let walk = Walk { rows: rows.len(), cols, rs, params, reads, sums, writes: [] };
        isa.run(Rows { walk, cell });
    });
    for (k, total) in totals.into_iter().enumerate() {
        let walk = Walk {
            rows: tasks,
            cols,
            rs: A * cols,
            params: [],
            reads: [&workspace[k * cols..]],
            sums: [total],
            writes: [],
        };
        isa.run(Rows { walk, cell: Sum });
    }
}

/// Writes `out [rows, cols]`, each element from its column's parameters and its place in `reads`.
pub(crate) fn map<const P: usize, const R: usize>(
    team: &Team,
    cell: impl Cell<P, R, 0, 1>,
    params: [&[f32]; P],
    reads: [&[f32]; R],
    cols: usize,
    out: &mut [f32],
) {
    let isa = team.isa();
    let rows = out.len() / cols.max(1);
    let out = Parts::new(out);
    team.run_chunks(rows, task_rows(cols), |rows, _| {
        let range = rows.start * cols..rows.end * cols;
        let reads = reads.map(|read| &read[range.clone()]);
        // SAFETY: tasks have disjoint rows.
        let out = unsafe { out.part(range) };
        let walk =
            Walk { rows: rows.len(), cols, rs: cols, params, reads, sums: [], writes: [out] };
        isa.run(Rows { walk, cell });
    });
}

/// The sum of a matrix.
#[derive(Clone, Copy)]
pub(crate) struct Sum;

impl Cell<0, 1, 1, 0> for Sum {
    #[inline(always)]
    fn cell<S: Simd>(
        self,
        simd: S,
        _: [S::V; 0],
        [x]: [S::V; 1],
        [sum]: [S::V; 1],
    ) -> ([S::V; 1], [S::V; 0]) {
        ([simd.add(sum, x)], [])
    }
}
