//! How a planned product becomes tasks: blocks of C. Each reads its operands in place, or copies of its
//! own where those pay, so a product is one phase and nobody waits for a shared buffer. Where K is
//! long, tasks are slices of K as well, summed into buffers of their own and added up in order.

use super::block::{BlockOfC, ByBlock, InRegisters, Job, Task};
use super::dot::DotProduct;
use super::grid::{Grid, Work, share};
use super::on_tiles::OnTiles;
use super::packed_tiles;
use super::plan::{Method, Packing, Plan, Workforce};
use super::product::{Epilogue, Product, Target};
use super::store::{Row, finish_row};
use super::words;
use crate::blocking::{Blocking, KC};
use crate::micro::{Floats, Micro, WithKernel, WithMicro};
use crate::simd::{Kernel, Simd};
use crate::sums::AddTo;
use crate::team::{Parts, Scratch};
use crate::tiles::TileUnit;
use crate::{Isa, Team};
use std::ops::Range;

/// Computes a product, as it is planned.
pub(super) fn multiply(team: &Team, blocking: &Blocking, given: Product) {
    if given.a.rows() == 0 || given.b.cols() == 0 {
        return;
    }
    assert!(blocking.kc <= KC, "blocks of K are at most {KC}, not {}", blocking.kc);
    let workforce = Workforce::of(team, blocking);
    let plan = Plan::of(workforce, blocking, &given);
    let product = if plan.is_transposed { given.transposed() } else { given };
    let (work, grid) = match plan.method {
        Method::Dots { tasks } => {
            let Product { a, b, target } = product;
            return DotProduct { a, b, target }.run(team, tasks);
        }
        Method::Strips { work, grid } => (work, grid),
    };
    let bands = Bands { team, workforce, blocking, product, work, grid };
    match Packing::of(&workforce, blocking, &given) {
        None => bands.run(Floats),
        Some((packing, _)) => bands.run_packed(packing, plan.is_transposed),
    }
}

/// A product by strips, on a team: a band of columns at a time, so that partial sums stay within the buffer.
struct Bands<'a, 'pool> {
    team: &'a Team<'pool>,
    workforce: Workforce,
    blocking: &'a Blocking,
    product: Product<'a>,
    work: Work,
    grid: Grid,
}

impl Bands<'_, '_> {
    /// The product of the packed operands.
    #[inline(never)]
    fn run_packed(self, Packing { terms, words, kernel }: Packing, is_transposed: bool) {
        let (team, product) = (self.team, self.product);
        let terms = if is_transposed { terms.transposed() } else { terms };
        let mut buffer = team.packed_scratch();
        let product = if kernel.is_on_tiles() {
            let buffer = buffer.floats(packed_tiles::packed_len(&product, words));
            packed_tiles::packed(team, &product, words, terms, buffer)
        } else {
            let buffer = buffer.floats(words::packed_len(&product, words));
            words::packed(team, &product, words, terms, buffer)
        };
        kernel.run(Bands { product, ..self });
    }
}

impl WithMicro for Bands<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<M: Micro>(self, micro: M) {
        self.by(InRegisters(micro));
    }
}

impl WithKernel for Bands<'_, '_> {
    #[inline(always)]
    fn on_tiles<T: TileUnit>(self, unit: T) {
        self.by(OnTiles(unit));
    }
}

impl Bands<'_, '_> {
    #[inline(always)]
    fn by(self, by: impl ByBlock) {
        let Self { team, workforce, blocking, product, work, grid } = self;
        let band = match work.slices {
            1 => work.n,
            slices => (blocking.buffer / (slices * work.m) / work.tile.nr).max(1) * work.tile.nr,
        };
        for start in (0..work.n).step_by(band) {
            let cols = start..work.n.min(start + band);
            // A narrow band has fewer tiles than all of C, and is cut by itself.
            let grid = if cols.len() == work.n { grid } else { workforce.grid(&work, cols.len()) };
            Job { product, work, grid, cols, blocking }.run(team, by);
        }
    }
}

/// Computes a product whose K is one slice on the calling thread alone, in f32.
pub(super) fn multiply_in_task(
    isa: Isa,
    blocking: &Blocking,
    given: Product,
    scratch: &mut Scratch,
) {
    if given.a.rows() == 0 || given.b.cols() == 0 {
        return;
    }
    let plan = Plan::of(Workforce::alone(isa), blocking, &given);
    let product = if plan.is_transposed { given.transposed() } else { given };
    match plan.method {
        Method::Dots { .. } => {
            let Product { a, b, target } = product;
            DotProduct { a, b, target }.run_in_task(isa, scratch);
        }
        Method::Strips { work, grid } => {
            assert_eq!(work.slices, 1, "slices of K are tasks of their own");
            let (target, rows, cols) = (product.target, 0..work.m, 0..work.n);
            let (job_cols, blocks) = (cols.clone(), 0..work.blocks);
            let job = &Job { product, work, grid, cols: job_cols, blocking };
            let block = BlockOfC { job, target, rows, cols, blocks, scratch };
            isa.run(Task { by: InRegisters(Floats), block });
        }
    }
}

impl Job<'_> {
    fn run(&self, team: &Team, by: impl ByBlock) {
        let (isa, Work { m, slices, tile, .. }) = (team.isa(), self.work);
        let n = self.cols.len();
        let sums_len = if slices > 1 { slices * m * n } else { 0 };
        let mut buffer = team.phase_scratch();
        let sums = buffer.floats(sums_len);
        let partial = Target {
            // `columns` below begins at the first of this job's.
            c: sums.as_mut_ptr().wrapping_sub(self.cols.start),
            rs: n,
            cs: 1,
            alpha: 1.0,
            beta: None,
            epilogue: Epilogue::None,
            ..self.product.target
        };
        let per_slice = self.grid.row_groups * self.grid.col_groups;
        team.run(per_slice * slices, |task, scratch| {
            let (slice, task) = (task / per_slice, task % per_slice);
            let (rows, cols) = self.grid.block(task, m, n, tile);
            let cols = self.cols.start + cols.start..self.cols.start + cols.end;
            let blocks = share(self.work.blocks, 1, slice, slices);
            let target = match slices {
                1 => self.product.target,
                _ => partial.offset(slice * m * n),
            };
            let block = BlockOfC { job: self, target, rows, cols, blocks, scratch };
            isa.run(Task { by, block });
        });
        if slices > 1 {
            self.add_up(team, sums);
        }
    }

    /// Adds the slices' partial sums up, in order, and finishes C.
    fn add_up(&self, team: &Team, sums: &mut [f32]) {
        let (isa, m, n, slices) = (team.isa(), self.work.m, self.cols.len(), self.work.slices);
        let rows_at_once = (4096 / n).max(1);
        let parts = Parts::new(sums);
        team.run_chunks(m, rows_at_once, |rows, _| {
            let part = |slice: usize| (slice * m + rows.start) * n..(slice * m + rows.end) * n;
            // SAFETY: these rows of every slice belong to this task.
            let total = unsafe { parts.part(part(0)) };
            for slice in 1..slices {
                // SAFETY: as above.
                let addend = unsafe { parts.part(part(slice)) };
                isa.run(AddTo { total: &mut *total, addend });
            }
            isa.run(FinishRows { job: self, rows, sums: total });
        });
    }
}

/// Finishes some rows of C from their sums.
struct FinishRows<'a> {
    job: &'a Job<'a>,
    rows: Range<usize>,
    sums: &'a [f32],
}

impl Kernel for FinishRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { job, rows, sums } = self;
        let Target { c, rs, cs, .. } = job.product.target;
        let n = job.cols.len();
        for (i, row) in rows.enumerate() {
            let epilogue = job.product.target.epilogue(row, job.cols.start);
            let output = job.product.target.row(&epilogue);
            let c = c.wrapping_add(row * rs + job.cols.start * cs);
            let row = Row { at: 0, c, cs, cols: n, output: &output };
            // SAFETY: the row is inside C, bias and y, and its sums inside this task's.
            unsafe { finish_row(simd, sums[i * n..].as_ptr(), row) };
        }
    }
}
