//! Copies of operands for the micro-kernel, where reading them in place would cost more: a panel of
//! A whose rows lie a power of two apart falls into a few sets of the first-level cache; a panel of
//! B is a block of K by a tile's width, and must be contiguous along its rows.

use crate::Mat;
use crate::blocking::KC;
use crate::simd::Simd;

/// Rows of the highest tile of any instruction set.
pub(crate) const MAX_MR: usize = 14;

/// Elements from one row to the next in a copied panel of A. Not a power of two, so that the rows
/// fall into different sets of the first-level cache.
const ROW_STRIDE: usize = KC + 16;

/// Floats of a copied panel of A.
pub(crate) const PANEL_OF_A: usize = MAX_MR * ROW_STRIDE;

/// The steps of a panel whose columns are contiguous.
static CONTIGUOUS_STEPS: [u32; KC] = {
    let mut steps = [0; KC];
    let mut p = 0;
    while p < KC {
        steps[p] = p as u32;
        p += 1;
    }
    steps
};

/// The first `depth` steps along contiguous columns.
pub(crate) fn contiguous_steps(depth: usize) -> &'static [u32] {
    &CONTIGUOUS_STEPS[..depth]
}

/// A panel of A as the micro-kernel reads it: element `i, p` at `rows[i] + steps[p]`.
pub(crate) struct PanelOfA<'a> {
    pub(crate) rows: [*const f32; MAX_MR],
    pub(crate) steps: &'a [u32],
    pub(crate) rows_are_contiguous: bool,
}

impl<'a> PanelOfA<'a> {
    /// The rows of `a`, all its columns (at most [`KC`]) for one panel, in place. `height` is that
    /// of the micro-kernel; `steps` has room for the columns.
    pub(crate) fn in_place(a: Mat, height: usize, steps: &'a mut [u32]) -> Self {
        let rows = row_pointers(a.as_ptr(), a.rows(), a.rs());
        if a.cs() == 1 {
            let steps = contiguous_steps(a.cols());
            return Self { rows, steps, rows_are_contiguous: false };
        }
        let steps = &mut steps[..a.cols()];
        for (p, step) in steps.iter_mut().enumerate() {
            *step = (p * a.cs()) as u32;
        }
        // The kernel reads as many rows as it is high: only a whole panel has them in place.
        let rows_are_contiguous = a.rs() == 1 && a.rows() == height;
        Self { rows, steps, rows_are_contiguous }
    }

    /// The same, copied into `panel` of [`PANEL_OF_A`] floats.
    pub(crate) fn copied(
        a: Mat,
        height: usize,
        panel: &'a mut [f32],
        steps: &'a mut [u32],
    ) -> Self {
        let (rows, depth) = (a.rows(), a.cols());
        if a.cs() == 1 {
            for (i, line) in panel.chunks_mut(ROW_STRIDE).take(rows).enumerate() {
                // SAFETY: columns of this row are contiguous and inside the matrix.
                let source =
                    unsafe { std::slice::from_raw_parts(a.as_ptr().add(i * a.rs()), depth) };
                line[..depth].copy_from_slice(source);
            }
            let rows = row_pointers(panel.as_ptr(), rows, ROW_STRIDE);
            return Self { rows, steps: contiguous_steps(depth), rows_are_contiguous: false };
        }
        let steps = &mut steps[..depth];
        for (p, line) in panel.chunks_exact_mut(height).take(depth).enumerate() {
            steps[p] = (p * height) as u32;
            if a.rs() == 1 {
                // SAFETY: rows of this column are contiguous and inside the matrix.
                let source =
                    unsafe { std::slice::from_raw_parts(a.as_ptr().add(p * a.cs()), rows) };
                copy_run(&mut line[..rows], source);
            } else {
                for (i, value) in line[..rows].iter_mut().enumerate() {
                    *value = a.at(i, p);
                }
            }
        }
        // The content of the rows beyond does not matter: nothing of it is stored.
        let rows = row_pointers(panel.as_ptr(), height, 1);
        Self { rows, steps, rows_are_contiguous: true }
    }
}

/// Where `rows` rows begin, `stride` apart; the last is repeated.
pub(crate) fn row_pointers(first: *const f32, rows: usize, stride: usize) -> [*const f32; MAX_MR] {
    std::array::from_fn(|i| first.wrapping_add(i.min(rows - 1) * stride))
}

/// Copies a run of floats. The length of the highest panel is known to the compiler, which then
/// moves it in registers: a call of `memcpy` costs as much as moving 14 floats ten times.
#[inline(always)]
fn copy_run(to: &mut [f32], from: &[f32]) {
    match from.len() {
        14 => to[..14].copy_from_slice(&from[..14]),
        6 => to[..6].copy_from_slice(&from[..6]),
        _ => to.copy_from_slice(from),
    }
}

/// Copies a block of B into `to`, row after row, `rs` elements apart.
///
/// Rows are kept far apart on purpose: the part of them that a tile reads then falls into few sets of the
/// first-level cache and leaves the others to the panel of A. If tile after tile is packed, as in BLIS,
/// 256 rows stream through all sets: 92 % of the peak at 512^3 instead of 95 %.
#[inline(always)]
pub(crate) fn pack_b<S: Simd>(simd: S, b: Mat, to: &mut [f32], rs: usize) {
    let (depth, cols) = (b.rows(), b.cols());
    assert!(cols <= rs && depth * rs <= to.len());
    let (from, to) = (b.as_ptr(), to.as_mut_ptr());
    if b.cs() == 1 {
        for p in 0..depth {
            // SAFETY: a row of B, and one of the copy.
            unsafe { to.add(p * rs).copy_from_nonoverlapping(from.add(p * b.rs()), cols) };
        }
        return;
    }
    // A transposed B: along its contiguous direction by blocks of four, as many columns at a time
    // as a vector has lanes; what is left over one by one.
    let whole_cols = if b.rs() == 1 && depth >= 4 { cols / S::LANES * S::LANES } else { 0 };
    for j in (0..whole_cols).step_by(S::LANES) {
        for p in (0..depth).step_by(4) {
            // The last four rows overlap those before, where the depth is not a multiple of four.
            let p = p.min(depth - 4);
            // SAFETY: four rows from p on and LANES columns from j on are inside both.
            unsafe {
                let block = simd.transpose4(from.add(p + j * b.cs()), b.cs());
                for (i, line) in block.into_iter().enumerate() {
                    simd.store(to.add((p + i) * rs + j), line);
                }
            }
        }
    }
    if whole_cols < cols {
        // SAFETY: the matrix ends, and so does the copy, at `cols` of `depth` rows.
        unsafe { pack_elements(b, whole_cols, to, rs) };
    }
}

/// Copies the columns of B from one on element by element. A function of its own, because in the loops around a tile
/// there are no registers left for it: 40 x 2 elements took 0.05 us longer (Xeon).
///
/// # Safety
/// `to` has room for as many rows as B, `rs` elements apart.
#[inline(never)]
unsafe fn pack_elements(b: Mat, first: usize, to: *mut f32, rs: usize) {
    for p in 0..b.rows() {
        for j in first..b.cols() {
            // SAFETY: inside both.
            unsafe { *to.add(p * rs + j) = *b.as_ptr().add(p * b.rs() + j * b.cs()) };
        }
    }
}
