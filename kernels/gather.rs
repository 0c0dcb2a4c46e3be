//! Rows of bytes, picked from all over memory, as rows of floats: how images become a batch.

use crate::simd::{Kernel, Simd};
use crate::team::Team;

/// Rows of one task: 16 images of 784 bytes are some 5 us of work.
const TASK: usize = 16;

/// Rows between the one that is converted and the one that is asked for. A picked row is where no
/// CPU expects it: waiting for its first lines took three quarters of the time.
const AHEAD: usize = 4;

/// `out[i, j] = row(i)[j] * factors[j] + offsets[j]`, rounded after each operation, so that the bits
/// are the same on every instruction set. `out` is `[rows, cols]`, the others `[cols]`.
///
/// # Panics
/// If a row, or the offsets, are not as long as the factors, or `out` is not whole rows.
#[track_caller]
pub fn scaled<'a>(
    team: &Team,
    row: impl Fn(usize) -> &'a [u8] + Sync,
    factors: &[f32],
    offsets: &[f32],
    out: &mut [f32],
) {
    let cols = factors.len();
    assert_eq!(offsets.len(), cols, "an offset for each factor");
    let rows = out.len().checked_div(cols).unwrap_or(0);
    assert_eq!(out.len(), rows * cols, "out is no matrix of {cols} columns");
    let (isa, row) = (team.isa(), &row);
    team.run_on_chunks(out, TASK * cols.max(1), |start, out| {
        isa.run(Rows { row, first: start / cols, factors, offsets, out });
    });
}

/// The rows of one task.
struct Rows<'a, F> {
    row: &'a F,
    first: usize,
    factors: &'a [f32],
    offsets: &'a [f32],
    out: &'a mut [f32],
}

impl<'b, F: Fn(usize) -> &'b [u8]> Kernel for Rows<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { row, first, factors, offsets, out } = self;
        let cols = factors.len();
        let count = out.len() / cols;
        for ahead in 0..AHEAD.min(count) {
            ask_for(simd, row(first + ahead));
        }
        for (i, out) in out.chunks_exact_mut(cols).enumerate() {
            if i + AHEAD < count {
                ask_for(simd, row(first + i + AHEAD));
            }
            let bytes = row(first + i);
            assert_eq!(bytes.len(), cols, "row {} has another length", first + i);
            for j in (0..cols).step_by(S::LANES) {
                let n = cols - j;
                // SAFETY: min(n, LANES) elements from j on are in each of the four.
                unsafe {
                    let x = simd.load_u8(bytes.as_ptr().add(j), n);
                    let factor = simd.load_first(factors.as_ptr().add(j), n);
                    let offset = simd.load_first(offsets.as_ptr().add(j), n);
                    let y = simd.add(simd.mul(x, factor), offset);
                    simd.store_first(out.as_mut_ptr().add(j), y, n);
                }
            }
        }
    }
}

/// Prefetches a row, a cache line at a time.
#[inline(always)]
fn ask_for<S: Simd>(simd: S, row: &[u8]) {
    for at in (0..row.len()).step_by(64) {
        simd.prefetch(row.as_ptr().wrapping_add(at).cast());
    }
}
