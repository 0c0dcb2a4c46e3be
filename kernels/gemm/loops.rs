//! The loops around the micro-kernel. B is packed by all threads together, once; then each task
//! takes a block of C and packs the rows of A that it needs. Where K is long, tasks are slices of K
//! as well, summed into buffers of their own and added up in order.

use super::blocking::{Blocking, Grid, share};
use super::pack::{ColsOfB, KC, Left, Right, RowsOfA};
use super::tile::{
    Finish, TileEpilogue, TileInput, TileOutput, TileShape, TileShapeOf, sgemm_tile,
};
use super::{Epilogue, Write};
use crate::simd::{Kernel, Simd};
use crate::team::{Parts, Scratch};
use crate::{Mat, MatMut, Team};
use std::ops::Range;

/// Where a product goes.
pub(crate) struct Output<'a> {
    pub(crate) alpha: f32,
    pub(crate) write: Write,
    pub(crate) c: MatMut<'a>,
    pub(crate) epilogue: Epilogue<'a>,
}

/// `C = epilogue(alpha A B + beta C)`.
///
/// # Panics
/// If the shapes of A, B and C do not fit together.
pub(crate) fn multiply<A: Left, B: Right>(
    team: &Team,
    blocking: &Blocking,
    a: &A,
    b: &B,
    output: Output,
) {
    let Output { alpha, write, mut c, epilogue } = output;
    let (m, n, k) = (a.rows(), b.cols(), a.depth());
    assert!((b.depth(), c.rows(), c.cols()) == (k, m, n), "shapes of A, B and C");
    if m == 0 || n == 0 {
        return;
    }
    let beta = match write {
        Write::Set => None,
        Write::Add { beta } => Some(beta),
    };
    let target = Target { rs: c.rs(), cs: c.cs(), c: c.as_mut_ptr(), alpha, beta, epilogue };
    assert!(blocking.kc <= KC, "blocks of K are at most {KC}, not {}", blocking.kc);
    let tile = team.isa().run(TileShapeOf);
    let kc = blocking.even_kc(k);
    let blocks = k.div_ceil(kc).max(1);
    let slices = blocks.div_ceil(blocking.slice_blocks);
    let mc = (blocking.mc / tile.mr).max(1) * tile.mr;
    let solo = 2.0 * m as f64 * n as f64 * k as f64 <= blocking.solo_flops;
    let threads = if solo { 1 } else { team.threads() };
    // Packing B costs a pass over it; reading it where it lies costs cache misses on every pass but
    // the first. Rows that are exactly a tile wide lie as if packed.
    let direct = b.in_place().filter(|b| m <= 2 * tile.mr || (b.rs() == tile.nr && n == tile.nr));

    // A band of columns at a time, so that packed B and partial sums stay within the buffer.
    let floats_per_column = k + if slices > 1 { slices * m } else { 0 };
    let band = (blocking.buffer / floats_per_column.max(1) / tile.nr).max(1) * tile.nr;
    for start in (0..n).step_by(band) {
        let cols = start..n.min(start + band);
        let target = target.columns(cols.clone());
        let job = Job { tile, mc, a, b, cols, direct, target, kc, blocks, slices };
        job.run(team, threads);
    }
}

/// C from its element `0, 0` on, and what is done to it.
#[derive(Clone, Copy)]
struct Target<'a> {
    c: *mut f32,
    rs: usize,
    cs: usize,
    alpha: f32,
    beta: Option<f32>,
    epilogue: Epilogue<'a>,
}

// SAFETY: tasks store disjoint tiles of C.
unsafe impl Sync for Target<'_> {}

impl Target<'_> {
    /// The same pointing `elements` further on.
    fn offset(&self, elements: usize) -> Self {
        Self { c: self.c.wrapping_add(elements), ..*self }
    }

    /// The same for some of the columns.
    fn columns(&self, cols: Range<usize>) -> Self {
        let epilogue = match self.epilogue {
            Epilogue::None => Epilogue::None,
            Epilogue::Bias { bias, activation } => {
                Epilogue::Bias { bias: &bias[cols.clone()], activation }
            }
            Epilogue::Derivative { y, activation } => {
                Epilogue::Derivative { y: y.columns(cols.clone()), activation }
            }
        };
        Self { c: self.c.wrapping_add(cols.start * self.cs), epilogue, ..*self }
    }

    /// The output of one tile. The first block of K scales or replaces the old C, later ones add to
    /// it, the last one ends with the epilogue.
    fn tile(&self, rows: Range<usize>, cols: Range<usize>, step: Step) -> TileOutput {
        let epilogue = match self.epilogue {
            _ if !step.is_last => TileEpilogue::None,
            Epilogue::None => TileEpilogue::None,
            Epilogue::Bias { bias, activation } => {
                TileEpilogue::Bias { bias: bias[cols.start..].as_ptr(), activation }
            }
            Epilogue::Derivative { y, activation } => TileEpilogue::Derivative {
                y: y.as_ptr().wrapping_add(rows.start * y.rs() + cols.start * y.cs()),
                rs: y.rs(),
                cs: y.cs(),
                activation,
            },
        };
        TileOutput {
            c: self.c.wrapping_add(rows.start * self.rs + cols.start * self.cs),
            rs: self.rs,
            cs: self.cs,
            rows: rows.len(),
            cols: cols.len(),
            alpha: self.alpha,
            beta: if step.is_first { self.beta } else { Some(1.0) },
            epilogue,
        }
    }
}

/// Which of the blocks of K that are summed into one target this is.
#[derive(Clone, Copy)]
struct Step {
    is_first: bool,
    is_last: bool,
}

/// One product: operands, sizes, and how K is cut.
struct Job<'a, A, B> {
    tile: TileShape,
    /// Rows of A packed at once; whole tiles.
    mc: usize,
    a: &'a A,
    b: &'a B,
    /// The columns of B, and of the C that `target` is only a part of, that this job is about.
    cols: Range<usize>,
    /// B where it lies, if its whole panels are read there.
    direct: Option<Mat<'a>>,
    target: Target<'a>,
    /// Steps of K in a block; the last may be shorter.
    kc: usize,
    /// Blocks of K.
    blocks: usize,
    /// Slices of K, each of about `blocks / slices` blocks.
    slices: usize,
}

impl<A: Left, B: Right> Job<'_, A, B> {
    fn run(&self, team: &Team, threads: usize) {
        let (isa, m, n) = (team.isa(), self.a.rows(), self.cols.len());
        let packed_len = self.a.depth() * self.packed_cols();
        // Room behind the partial sums lets the last of them be loaded as a whole vector.
        let sums_len = if self.slices > 1 { self.slices * m * n + self.tile.nr } else { 0 };
        let mut buffer = team.phase_scratch();
        let (packed, sums) = buffer.floats(packed_len + sums_len).split_at_mut(packed_len);
        if packed_len > 0 {
            self.pack(team, threads, packed);
        }
        let packed = &*packed;

        let grid = Grid::choose(m, n, self.slices, self.tile, threads);
        let per_slice = grid.row_groups * grid.col_groups;
        let partial = Target {
            c: sums.as_mut_ptr(),
            rs: n,
            cs: 1,
            beta: None,
            epilogue: Epilogue::None,
            ..self.target
        };
        team.run(per_slice * self.slices, |task, scratch| {
            let (slice, task) = (task / per_slice, task % per_slice);
            let (rows, cols) = grid.block(task, m, n, self.tile);
            let blocks = share(self.blocks, 1, slice, self.slices);
            let target = match self.slices {
                1 => self.target,
                _ => partial.offset(slice * m * n),
            };
            isa.run(BlockOfC { job: self, packed, target, rows, cols, blocks, scratch });
        });
        if self.slices > 1 {
            self.add_up(team, sums);
        }
    }

    /// Columns that packed B takes: all, or only those of an incomplete last panel.
    fn packed_cols(&self) -> usize {
        let n = self.cols.len();
        let whole = n / self.tile.nr * self.tile.nr;
        let tail = match n - whole {
            0 => 0,
            cols => self.tile.panel_cols(cols),
        };
        if self.direct.is_some() { tail } else { whole + tail }
    }

    /// First step and length of a block of K.
    fn block_of_k(&self, block: usize) -> (usize, usize) {
        let start = block * self.kc;
        (start, self.kc.min(self.a.depth() - start))
    }

    /// Packs B: one block of K after the other, in each one panel after the other.
    fn pack(&self, team: &Team, threads: usize, packed: &mut [f32]) {
        let isa = team.isa();
        let (n, nr, width) = (self.cols.len(), self.tile.nr, self.packed_cols());
        let first = if self.direct.is_some() { n / nr * nr } else { 0 };
        // One task for each panel of each block: they are many and equal.
        let panels = (n - first).div_ceil(nr);
        let parts = Parts::new(packed);
        let pack = |task: usize| {
            let (k, depth) = self.block_of_k(task / panels);
            let offset = task % panels * nr;
            let panel_cols = nr.min(width - offset);
            let start = k * width + offset * depth;
            // SAFETY: each panel of each block is a part of its own.
            let panel = unsafe { parts.part(start..start + depth * panel_cols) };
            let col = self.cols.start + first + offset;
            isa.run(PackB { b: self.b, part: ColsOfB { k, depth, col, panel_cols }, panel });
        };
        if threads == 1 {
            (0..self.blocks * panels).for_each(pack);
        } else {
            team.run(self.blocks * panels, |task, _| pack(task));
        }
    }

    /// Where the micro-kernel finds the panel of B at `col` in a block of K: a pointer and the
    /// elements from one row to the next.
    fn panel_of_b(
        &self,
        packed: &[f32],
        k: usize,
        depth: usize,
        col: usize,
    ) -> (*const f32, usize) {
        let (n, nr, width) = (self.cols.len(), self.tile.nr, self.packed_cols());
        if let Some(b) = self.direct.filter(|_| col + nr <= n) {
            let offset = k * b.rs() + self.cols.start + col;
            return (b.as_ptr().wrapping_add(offset), b.rs());
        }
        let offset = if self.direct.is_some() { 0 } else { col };
        let panel = &packed[k * width + offset * depth..];
        (panel.as_ptr(), nr.min(width - offset))
    }

    /// Adds the slices' partial sums up, in order, and finishes C.
    fn add_up(&self, team: &Team, sums: &mut [f32]) {
        let (isa, m, n) = (team.isa(), self.a.rows(), self.cols.len());
        let slices = self.slices;
        let rows_at_once = (4096 / n).max(1);
        let (room, parts) = (sums.len(), Parts::new(sums));
        team.run_chunks(m, rows_at_once, |rows, _| {
            let part = |slice: usize| (slice * m + rows.start) * n..(slice * m + rows.end) * n;
            // SAFETY: these rows of every slice belong to this task.
            let total = unsafe { parts.part(part(0)) };
            for slice in 1..slices {
                // SAFETY: as above.
                let addend = unsafe { parts.part(part(slice)) };
                isa.run(AddTo { total, addend });
            }
            let (row, rows) = (rows.start, rows.len());
            debug_assert!((row + rows) * n + self.tile.nr <= room);
            let step = Step { is_first: true, is_last: true };
            let output = TileOutput { alpha: 1.0, ..self.target.tile(row..row + rows, 0..n, step) };
            isa.run(Finish {
                sums: total.as_ptr(),
                rs: n,
                vector_stride: self.tile.nr / 2,
                output: &output,
            });
        });
    }
}

/// One panel of B.
struct PackB<'a, B> {
    b: &'a B,
    part: ColsOfB,
    panel: &'a mut [f32],
}

impl<B: Right> Kernel for PackB<'_, B> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.b.pack(simd, self.part, self.panel);
    }
}

/// `total += addend`
struct AddTo<'a> {
    total: &'a mut [f32],
    addend: &'a [f32],
}

impl Kernel for AddTo<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for i in 0..self.total.len() {
            self.total[i] += self.addend[i];
        }
    }
}

/// One task: a block of C, summed over some blocks of K.
struct BlockOfC<'a, A, B> {
    job: &'a Job<'a, A, B>,
    packed: &'a [f32],
    target: Target<'a>,
    rows: Range<usize>,
    cols: Range<usize>,
    blocks: Range<usize>,
    scratch: &'a mut Scratch,
}

impl<A: Left, B: Right> Kernel for BlockOfC<'_, A, B> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { job, packed, target, rows, cols, blocks, scratch } = self;
        let TileShape { mr, nr } = job.tile;
        let layout = job.a.layout();
        let panel_len = layout.panel_len(mr, job.kc);
        let panels = job.mc.min(rows.len()).div_ceil(mr);
        let packed_a = scratch.floats(panels * panel_len);
        for row in rows.clone().step_by(job.mc) {
            let mc = job.mc.min(rows.end - row);
            for block in blocks.clone() {
                let (k, depth) = job.block_of_k(block);
                for (panel, offset) in packed_a.chunks_exact_mut(panel_len).zip((0..mc).step_by(mr))
                {
                    let rows = mr.min(mc - offset);
                    let panel_rows = job.tile.panel_rows(rows);
                    let part = RowsOfA { row: row + offset, rows, panel_rows, k, depth };
                    job.a.pack(simd, part, panel);
                }
                let step =
                    Step { is_first: block == blocks.start, is_last: block + 1 == blocks.end };
                for col in cols.clone().step_by(nr) {
                    let width = nr.min(cols.end - col);
                    let (b, b_rs) = job.panel_of_b(packed, k, depth, col);
                    for (panel, offset) in packed_a.chunks_exact(panel_len).zip((0..mc).step_by(mr))
                    {
                        let height = mr.min(mc - offset);
                        let first = row + offset;
                        let output = target.tile(first..first + height, col..col + width, step);
                        let input = TileInput { depth, a: panel.as_ptr(), layout, b, b_rs };
                        // SAFETY: the panels were packed above for this block; B's panel has the
                        // width that its columns need; the tile is inside C, bias and y.
                        unsafe { sgemm_tile(simd, &input, &output) };
                    }
                }
            }
        }
    }
}
