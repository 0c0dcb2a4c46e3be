//! One task of a product: a block of C. Panels of A are multiplied with blocks of B. Each operand is read
//! in place, or from copies that stay in the caches where the operand itself would not.

use super::grid::{Grid, Work};
use super::pack::{PANEL_OF_A, PanelOfA, pack_b};
use super::product::{Product, Target};
use super::store::StripEpilogue;
use super::tile::{StripInput, TileShape, strip};
use crate::Mat;
use crate::blocking::{Blocking, KC};
use crate::micro::Micro;
use crate::simd::{Kernel, Simd};
use crate::team::Scratch;
use std::ops::Range;

/// One product: operands, sizes, and how it is cut.
pub(super) struct Job<'a> {
    pub(super) product: Product<'a>,
    pub(super) work: Work,
    pub(super) grid: Grid,
    /// The columns of C that this job computes: all of them, unless there would be too many partial sums.
    pub(super) cols: Range<usize>,
    pub(super) blocking: &'a Blocking,
}

/// One task: a block of C, summed over some blocks of K.
pub(super) struct BlockOfC<'a> {
    pub(super) job: &'a Job<'a>,
    pub(super) target: Target<'a>,
    pub(super) rows: Range<usize>,
    pub(super) cols: Range<usize>,
    pub(super) blocks: Range<usize>,
    pub(super) scratch: &'a mut Scratch,
}

/// How blocks of C are computed.
pub(super) trait ByBlock: Copy + Send + Sync {
    /// Computes one. Mark it `#[inline(always)]`.
    fn compute<S: Simd>(self, simd: S, block: BlockOfC);
}

/// A task, and how it is done.
pub(super) struct Task<'a, B> {
    pub(super) by: B,
    pub(super) block: BlockOfC<'a>,
}

impl<B: ByBlock> Kernel for Task<'_, B> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.by.compute(simd, self.block);
    }
}

/// In registers, strip by strip.
#[derive(Clone, Copy)]
pub(crate) struct InRegisters<M>(pub(crate) M);

impl<M: Micro> ByBlock for InRegisters<M> {
    #[inline(always)]
    fn compute<S: Simd>(self, simd: S, block: BlockOfC) {
        let Self(micro) = self;
        let BlockOfC { job, target, rows: task_rows, cols, blocks, scratch } = block;
        let (Product { a, b, .. }, tile) = (job.product, TileShape::of::<S>());
        let Work { k, kc, .. } = job.work;
        let nc = job.blocking.nc.min(cols.len()).next_multiple_of(tile.nr);
        let copies_b = copies_b(&b, task_rows.len(), tile, job.blocking);
        let copy_rs = nc + if is_narrow(tile) { 16 } else { 0 };
        let block_len = if copies_b { kc * copy_rs } else { 0 };
        // Rows of partial sums, and a spare row, to which the tile's rows beyond those of C are written.
        let sums_apart = blocks.len() > 1 && target.keeps_sums_apart();
        let sums_len = nc * (1 + if sums_apart { task_rows.len() } else { 0 });
        let (panel_of_a, rest) =
            scratch.floats(PANEL_OF_A + sums_len + block_len).split_at_mut(PANEL_OF_A);
        let (sums, block_of_b) = rest.split_at_mut(sums_len);
        let sums = sums.as_mut_ptr();
        let mut steps = [0_u32; KC];
        let height = tile.even_height(task_rows.len());
        for col in cols.clone().step_by(nc) {
            let cols = col..cols.end.min(col + nc);
            let tiles = cols.len().div_ceil(tile.nr);
            let copies_a = copies_a(&a, tiles, kc, tile, job.blocking);
            for block in blocks.clone() {
                let (p, depth) = (block * kc, kc.min(k - block * kc));
                let in_place = b.as_ptr().wrapping_add(p * b.rs() + col * b.cs());
                let (b_first, b_rs) = if copies_b {
                    let part = b.block(p..p + depth, cols.clone());
                    pack_b(simd, part, block_of_b, copy_rs);
                    (block_of_b.as_ptr(), copy_rs)
                } else {
                    (in_place, b.rs())
                };
                let (is_first, is_last) = (block == blocks.start, block + 1 == blocks.end);
                // (Rows in groups whose sums stay in the second-level cache: no gain at 1024^3, where
                // copying B for each group costs as much.)
                for row in task_rows.clone().step_by(height) {
                    let rows = row..task_rows.end.min(row + height);
                    let panel = a.block(rows.clone(), p..p + depth);
                    let kernel = tile.height(rows.len());
                    let panel = if copies_a {
                        PanelOfA::copied(panel, kernel, panel_of_a, &mut steps)
                    } else {
                        PanelOfA::in_place(panel, kernel, &mut steps)
                    };
                    let epilogue = match is_last {
                        true => target.epilogue(row, col),
                        false => StripEpilogue::None,
                    };
                    let mut output =
                        target.strip((row, rows.len()), &cols, is_first, &epilogue, sums);
                    if sums_apart {
                        let first = sums.wrapping_add(nc * (1 + row - task_rows.start));
                        let partial = std::array::from_fn(|i| {
                            if i < rows.len() { first.wrapping_add(i * nc) } else { sums }
                        });
                        output = output.with_sums_apart(partial, is_first, is_last, target.beta);
                    }
                    let input = StripInput {
                        rows: panel.rows,
                        steps: panel.steps,
                        rows_are_contiguous: panel.rows_are_contiguous,
                        b: b_first,
                        b_rs,
                    };
                    // SAFETY: the panel is inside A or copied for this height; B is inside its
                    // matrix or copied for these columns; the strip is inside C, bias and y.
                    unsafe { strip(simd, micro, &input, &output, 0..cols.len()) };
                }
            }
        }
    }
}

/// Whether a tile of B, 256 rows of a cache line, stays in the first-level cache beside a panel of A if
/// its rows are spread over all sets. A wider tile does not. It is better kept in few sets, which leaves
/// the others to the panel.
fn is_narrow(tile: TileShape) -> bool {
    tile.nr <= 16
}

/// Whether blocks of B are copied for that many rows: where B must be transposed, and where its rows
/// share few sets of the cache, or lie each on a page of its own.
fn copies_b(b: &Mat, rows: usize, tile: TileShape, blocking: &Blocking) -> bool {
    let (enough, bad) =
        if is_narrow(tile) { (4 * tile.mr, 512) } else { (blocking.copy_b_rows, 1024) };
    b.cs() != 1 || (rows >= enough && b.rs().is_multiple_of(bad))
}

/// Whether a panel of A is copied before it is multiplied with that many tiles.
fn copies_a(a: &Mat, tiles: usize, depth: usize, tile: TileShape, blocking: &Blocking) -> bool {
    let stride = if a.cs() == 1 { a.rs() } else { a.cs() };
    // Steps are 32 bits wide.
    if stride > u32::MAX as usize / KC {
        return true;
    }
    // Lines a power of two apart share a few sets of the first-level cache: by column each step
    // is one of up to 256 lines, by row 14 are in use at once. A copy everywhere would cost 2 to
    // 7 %.
    let bad = if a.cs() == 1 { 1024 } else { 256 };
    if tiles > 1 && stride.is_multiple_of(bad) {
        return true;
    }
    if a.cs() == 1 || tiles < 4 {
        return false;
    }
    if is_narrow(tile) {
        // If A lies by column, each step may be on a page of its own. A low tile has only 12 multiply-adds in
        // a step, and waits for address translations that the TLB has no room for (67 % of the peak, 92 with
        // a copy); a high tile has 28, and does not wait.
        let pages = depth.min(depth * stride * size_of::<f32>() / 4096);
        return pages > 40;
    }
    // The rows of a step are a part of one or two cache lines, and may not stay in the first-level cache beside a
    // wide tile of B. (Of the peak, 784 x 512 and 784 x 300 with K = 256: 53 and 50 %, 87 and 66 with a copy; with
    // K = 64 a copy costs 5 %. Xeon of family 6, model 85, with 32 KiB. Low tiles gain nothing there.)
    let lines = (tile.mr * size_of::<f32>()).next_multiple_of(LINE) + LINE;
    depth * (lines + tile.nr * size_of::<f32>()) > blocking.l1
}

/// Bytes of a cache line.
const LINE: usize = 64;
