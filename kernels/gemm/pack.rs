//! The operands as the micro-kernel wants them. A panel of A is a few rows by one block of K, read
//! by broadcasts, so it may lie by row or by depth, whichever is a plain copy; a panel of B is one
//! block of K by a tile's width, read by vectors.

use crate::Mat;
use crate::simd::Simd;

/// Steps of K summed in registers. 256 x 32 floats of packed B are 32 KB: they stay in a
/// first-level cache of 48 KB beside a panel of A. It also bounds the rounding error of one chain.
pub(crate) const KC: usize = 256;

/// Elements from one row to the next in a panel that lies by row. Not a power of two, so that the
/// rows of a panel fall into different sets of the first-level cache.
pub(crate) const ROW_STRIDE: usize = KC + 16;

/// How a packed panel of A lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PanelLayout {
    /// Element `i, p` at `i * ROW_STRIDE + p`.
    ByRow,
    /// Element `i, p` at `p * panel rows + i`.
    ByDepth,
}

impl PanelLayout {
    /// Floats that a panel of `rows x depth` takes.
    pub(crate) fn panel_len(self, rows: usize, depth: usize) -> usize {
        match self {
            Self::ByRow => rows * ROW_STRIDE,
            Self::ByDepth => rows * depth,
        }
    }
}

/// Which part of A a panel is of.
#[derive(Clone, Copy)]
pub(crate) struct RowsOfA {
    /// The first row.
    pub(crate) row: usize,
    /// Rows.
    pub(crate) rows: usize,
    /// Rows of the panel, at least as many. What stands in those beyond is unimportant: the
    /// micro-kernel computes with it and stores nothing of it.
    pub(crate) panel_rows: usize,
    /// The first column.
    pub(crate) k: usize,
    /// Columns.
    pub(crate) depth: usize,
}

/// Which part of B a panel is of.
#[derive(Clone, Copy)]
pub(crate) struct ColsOfB {
    /// The first row.
    pub(crate) k: usize,
    /// Rows.
    pub(crate) depth: usize,
    /// The first column.
    pub(crate) col: usize,
    /// Columns of the panel; those beyond the matrix are filled with zeros.
    pub(crate) panel_cols: usize,
}

/// The left operand: a matrix that can hand out packed panels of itself. A plain matrix copies; a
/// convolution gathers the pixels under its window and never holds the matrix.
pub(crate) trait Left: Sync {
    /// Rows of A.
    fn rows(&self) -> usize;
    /// Columns of A.
    fn depth(&self) -> usize;
    /// How its panels lie.
    fn layout(&self) -> PanelLayout;
    /// Packs one panel.
    fn pack<S: Simd>(&self, simd: S, part: RowsOfA, panel: &mut [f32]);
}

/// The right operand: a matrix that packs panels of itself. A plain matrix may also be read where
/// it lies; the kernel of a convolution's backward pass is turned around while it is packed.
pub(crate) trait Right: Sync {
    /// Rows of B.
    fn depth(&self) -> usize;
    /// Columns of B.
    fn cols(&self) -> usize;
    /// The matrix as it lies in memory, if its rows are contiguous.
    fn in_place(&self) -> Option<Mat<'_>>;
    /// Packs one panel, row after row.
    fn pack<S: Simd>(&self, simd: S, part: ColsOfB, panel: &mut [f32]);
}

/// Copies a run of floats. The lengths of whole panels are known to the compiler, which then moves
/// them in registers: a call of `memcpy` costs as much as moving 14 floats ten times.
#[inline(always)]
pub(crate) fn copy_run(to: &mut [f32], from: &[f32]) {
    match from.len() {
        14 => to[..14].copy_from_slice(&from[..14]),
        6 => to[..6].copy_from_slice(&from[..6]),
        3 => to[..3].copy_from_slice(&from[..3]),
        _ => to.copy_from_slice(from),
    }
}

impl Left for Mat<'_> {
    fn rows(&self) -> usize {
        Mat::rows(self)
    }

    fn depth(&self) -> usize {
        self.cols()
    }

    fn layout(&self) -> PanelLayout {
        if self.cs() == 1 { PanelLayout::ByRow } else { PanelLayout::ByDepth }
    }

    #[inline(always)]
    fn pack<S: Simd>(&self, _: S, part: RowsOfA, panel: &mut [f32]) {
        let RowsOfA { row, rows, panel_rows, k, depth } = part;
        if depth == 0 || rows == 0 {
            return;
        }
        assert!(row + rows <= Mat::rows(self) && k + depth <= self.cols());
        // SAFETY: inside the matrix, as just checked.
        let from = unsafe { self.as_ptr().add(row * self.rs() + k * self.cs()) };
        match self.layout() {
            PanelLayout::ByRow => {
                for (i, line) in panel.chunks_mut(ROW_STRIDE).take(rows).enumerate() {
                    // SAFETY: columns of this row are contiguous and inside the matrix.
                    let source =
                        unsafe { std::slice::from_raw_parts(from.add(i * self.rs()), depth) };
                    line[..depth].copy_from_slice(source);
                }
            }
            PanelLayout::ByDepth if self.rs() == 1 => {
                for (p, line) in panel.chunks_exact_mut(panel_rows).take(depth).enumerate() {
                    // SAFETY: rows of this column are contiguous and inside the matrix.
                    let source =
                        unsafe { std::slice::from_raw_parts(from.add(p * self.cs()), rows) };
                    copy_run(&mut line[..rows], source);
                }
            }
            PanelLayout::ByDepth => {
                for (p, line) in panel.chunks_exact_mut(panel_rows).take(depth).enumerate() {
                    for (i, value) in line[..rows].iter_mut().enumerate() {
                        // SAFETY: inside the matrix.
                        *value = unsafe { *from.add(i * self.rs() + p * self.cs()) };
                    }
                }
            }
        }
    }
}

impl Right for Mat<'_> {
    fn depth(&self) -> usize {
        self.rows()
    }

    fn cols(&self) -> usize {
        Mat::cols(self)
    }

    fn in_place(&self) -> Option<Mat<'_>> {
        (self.cs() == 1).then_some(*self)
    }

    #[inline(always)]
    fn pack<S: Simd>(&self, simd: S, part: ColsOfB, panel: &mut [f32]) {
        let ColsOfB { k, depth, col, panel_cols: nr } = part;
        let cols = nr.min(Mat::cols(self) - col);
        assert!(k + depth <= self.rows() && panel.len() == depth * nr);
        let from = self.as_ptr().wrapping_add(k * self.rs() + col * self.cs());
        if self.cs() == 1 {
            for (p, line) in panel.chunks_exact_mut(nr).enumerate() {
                // SAFETY: columns of this row are contiguous and inside the matrix.
                let source = unsafe { std::slice::from_raw_parts(from.add(p * self.rs()), cols) };
                line[..cols].copy_from_slice(source);
                line[cols..].fill(0.0);
            }
            return;
        }
        if cols < nr {
            panel.chunks_exact_mut(nr).for_each(|line| line[cols..].fill(0.0));
        }
        // A transposed B: along its contiguous direction by blocks of four, as many columns at a
        // time as a vector has lanes; what is left over one by one.
        let (mut whole_cols, mut whole_depth) = (0, 0);
        if self.rs() == 1 {
            whole_cols = cols / S::LANES * S::LANES;
            whole_depth = depth / 4 * 4;
        }
        for j in (0..whole_cols).step_by(S::LANES) {
            for p in (0..whole_depth).step_by(4) {
                // SAFETY: four rows from p on and LANES columns from j on are inside the matrix,
                // and in the panel.
                unsafe {
                    let block = simd.transpose4(from.add(p + j * self.cs()), self.cs());
                    for (i, line) in block.into_iter().enumerate() {
                        simd.store(panel.as_mut_ptr().add((p + i) * nr + j), line);
                    }
                }
            }
        }
        for j in 0..cols {
            let first = if j < whole_cols { whole_depth } else { 0 };
            for p in first..depth {
                // SAFETY: inside the matrix.
                panel[p * nr + j] = unsafe { *from.add(p * self.rs() + j * self.cs()) };
            }
        }
    }
}
