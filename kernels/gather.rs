//! Rows of bytes or floats, picked from all over memory, as rows of scaled floats: how samples become a
//! batch.

use crate::simd::{Kernel, Simd};
use crate::team::{Parts, Team};
use crate::update::INPUT_SHARES;
use std::marker::PhantomData;
use std::ops::Range;

/// Rows of one task: 16 images of 784 bytes are some 5 us of work.
const TASK: usize = 16;

/// Rows between the one that is converted and the one that is prefetched. The CPU cannot foresee where a
/// picked row lies: waiting for its first lines took three quarters of the time.
const AHEAD: usize = 4;

/// What rows are made of.
pub trait Element: Copy + Sync + private::Sealed {
    /// The first `n` elements from `p` on as floats, as many as a vector has at most.
    ///
    /// # Safety
    /// `p` is valid for reads of `min(n, LANES)` elements.
    #[doc(hidden)]
    unsafe fn load<S: Simd>(simd: S, p: *const Self, n: usize) -> S::V;
}

mod private {
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for f32 {}
}

impl Element for u8 {
    #[inline(always)]
    unsafe fn load<S: Simd>(simd: S, p: *const u8, n: usize) -> S::V {
        // SAFETY: by this function's contract.
        unsafe { simd.load_u8(p, n) }
    }
}

impl Element for f32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(simd: S, p: *const f32, n: usize) -> S::V {
        // SAFETY: by this function's contract.
        unsafe { simd.load_first(p, n) }
    }
}

/// How the work of several threads is cut: so that each writes what it is going to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// By rows: for readers that take whole rows, one at a time.
    Rows,
    /// By columns: for readers that take the same columns of all rows (the update of a matrix whose
    /// rows are cut among threads).
    Columns,
}

/// What a batch is made of.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// `[cols]`
    pub factors: &'a [f32],
    /// `[cols]`
    pub offsets: &'a [f32],
    /// How threads share the work.
    pub cut: Cut,
}

/// `out[i, j] = row(i)[j] * factors[j] + offsets[j]`, rounded after each operation, so that the bits are
/// the same on every instruction set. `out` is `[rows, cols]`. `row` also gives the rows of the next
/// call, behind those of this one, or empty rows if there is no next call: they are prefetched a whole
/// batch ahead. (Steps of small networks spent 5 to 10 % of their time waiting for images in DRAM.)
///
/// # Panics
/// If a row, or the offsets, are not as long as the factors, or `out` is not whole rows.
#[track_caller]
pub fn scaled<'a, T: Element + 'a>(
    team: &Team,
    row: impl Fn(usize) -> &'a [T] + Sync,
    Batch { factors, offsets, cut }: Batch,
    out: &mut [f32],
) {
    let cols = factors.len();
    assert_eq!(offsets.len(), cols, "an offset for each factor");
    let rows = out.len().checked_div(cols).unwrap_or(0);
    assert_eq!(out.len(), rows * cols, "out is no matrix of {cols} columns");
    let (isa, row) = (team.isa(), &row);
    let (row_tasks, pieces) = match cut {
        Cut::Columns if team.threads() > 1 => (1, INPUT_SHARES),
        _ => (rows.div_ceil(TASK), 1),
    };
    let (in_all, out) = (rows, Parts::new(out));
    team.run(row_tasks * pieces, |task, _| {
        let (piece, task) = (task / row_tasks, task % row_tasks);
        let rows = rows * task / row_tasks..rows * (task + 1) / row_tasks;
        let columns = cols * piece / pieces..cols * (piece + 1) / pieces;
        isa.run(Block { row, in_all, rows, columns, factors, offsets, out: &out, of: PhantomData });
    });
}

/// The rows and columns of one task.
struct Block<'a, T, F> {
    row: &'a F,
    of: PhantomData<T>,
    /// Rows of the batch.
    in_all: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    factors: &'a [f32],
    offsets: &'a [f32],
    out: &'a Parts<'a, f32>,
}

impl<'b, T: Element + 'b, F: Fn(usize) -> &'b [T]> Kernel for Block<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { row, in_all, rows, columns, factors, offsets, out, .. } = self;
        let cols = factors.len();
        // Prefetches one line of each row of the next batch, all in a burst: each row is on a page of its
        // own, and a core translates the addresses of several pages at a time, but not while it works
        // between two rows. (Prefetching line after line, between rows, waited 150 ns for each page.)
        for i in rows.clone() {
            simd.prefetch(row(i + in_all).as_ptr().wrapping_add(columns.start).cast());
        }
        for ahead in rows.start..rows.end.min(rows.start + AHEAD) {
            ask_for(simd, row(ahead), &columns);
        }
        for i in rows.clone() {
            if i + AHEAD < rows.end {
                ask_for(simd, row(i + AHEAD), &columns);
            }
            ask_for(simd, row(i + in_all), &columns);
            let elements = row(i);
            assert_eq!(elements.len(), cols, "row {i} has another length");
            // SAFETY: tasks have disjoint rows or columns.
            let out = unsafe { out.part(i * cols + columns.start..i * cols + columns.end) };
            for j in columns.clone().step_by(S::LANES) {
                let n = columns.end - j;
                // SAFETY: min(n, LANES) elements from j on are in each of the four.
                unsafe {
                    let x = T::load(simd, elements.as_ptr().add(j), n);
                    let factor = simd.load_first(factors.as_ptr().add(j), n);
                    let offset = simd.load_first(offsets.as_ptr().add(j), n);
                    let y = simd.add(simd.mul(x, factor), offset);
                    let p = out.as_mut_ptr().add(j - columns.start);
                    simd.store_first(p, simd.flush(y), n);
                }
            }
        }
    }
}

/// Prefetches those columns of a row, a cache line at a time.
#[inline(always)]
pub(crate) fn ask_for<S: Simd, T>(simd: S, row: &[T], columns: &Range<usize>) {
    let end = columns.end.min(row.len());
    for at in (columns.start..end).step_by(64 / size_of::<T>()) {
        simd.prefetch(row.as_ptr().wrapping_add(at).cast());
    }
}
