//! The operands as the micro-kernel wants them. A panel of A is a few rows by one block of K, read
//! by broadcasts, so it may lie by row or by depth, whichever is a plain copy; a panel of B is one
//! block of K by a tile's width, read by vectors.

use crate::Mat;

/// Elements from one row to the next in a panel that lies by row. Not a power of two, so that the
/// rows of a panel fall into different sets of the first-level cache.
pub(crate) const ROW_STRIDE: usize = super::blocking::KC + 16;

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

/// The left operand: a matrix that can hand out packed panels of itself. A plain matrix copies; a
/// convolution gathers the pixels under its window and never holds the matrix.
pub(crate) trait Left: Sync {
    /// Rows of A.
    fn rows(&self) -> usize;
    /// Columns of A.
    fn depth(&self) -> usize;
    /// How its panels lie.
    fn layout(&self) -> PanelLayout;
    /// Packs rows `row..row + rows` and columns `k..k + depth` into `panel`, which is
    /// `panel_rows >= rows` rows high. What stands in the rows beyond is unimportant: the
    /// micro-kernel computes with it and stores nothing of it.
    fn pack(
        &self,
        row: usize,
        rows: usize,
        panel_rows: usize,
        k: usize,
        depth: usize,
        panel: &mut [f32],
    );
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

    fn pack(
        &self,
        row: usize,
        rows: usize,
        panel_rows: usize,
        k: usize,
        depth: usize,
        panel: &mut [f32],
    ) {
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
                    match rows {
                        // A length known to the compiler is moved in registers, not by a call.
                        14 => line[..14].copy_from_slice(&source[..14]),
                        6 => line[..6].copy_from_slice(&source[..6]),
                        _ => line[..rows].copy_from_slice(source),
                    }
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

/// Packs rows `k..k + depth` and columns `col..` of B into a panel of `nr` columns: row after row,
/// columns beyond the matrix as zeros.
pub(crate) fn pack_b(b: &Mat, k: usize, depth: usize, col: usize, nr: usize, panel: &mut [f32]) {
    let cols = nr.min(b.cols() - col);
    assert!(k + depth <= b.rows() && panel.len() == depth * nr);
    // SAFETY: inside the matrix, as just checked.
    let from = unsafe { b.as_ptr().add(k * b.rs() + col * b.cs()) };
    if b.cs() == 1 {
        for (p, line) in panel.chunks_exact_mut(nr).enumerate() {
            // SAFETY: columns of this row are contiguous and inside the matrix.
            let source = unsafe { std::slice::from_raw_parts(from.add(p * b.rs()), cols) };
            line[..cols].copy_from_slice(source);
            line[cols..].fill(0.0);
        }
        return;
    }
    // A transposed B: read along its contiguous direction, sixteen rows of the panel at a time, which
    // stay in the first-level cache while all columns pass.
    for (band, lines) in panel.chunks_mut(16 * nr).enumerate() {
        let rows = lines.len() / nr;
        for j in 0..cols {
            for p in 0..rows {
                // SAFETY: inside the matrix.
                lines[p * nr + j] = unsafe { *from.add((16 * band + p) * b.rs() + j * b.cs()) };
            }
        }
        if cols < nr {
            lines.chunks_exact_mut(nr).for_each(|line| line[cols..].fill(0.0));
        }
    }
}
