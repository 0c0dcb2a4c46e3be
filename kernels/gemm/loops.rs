//! How a planned product becomes tasks: blocks of C. Each reads its operands in place, or copies of its
//! own where those pay, so a product is one phase and nobody waits for a shared buffer. Where K is
//! long, tasks are slices of K as well, summed into buffers of their own and added up in order.

use super::block::BlockOfC;
use super::blocking::{Blocking, Grid, Work, share};
use super::dot::DotProduct;
use super::pack::KC;
use super::plan::{Workforce, Method, Plan};
use super::store::{Row, StripEpilogue, StripOutput, finish_row};
use super::tile::MAX_MR;
use super::{Epilogue, Subnormals, Write};
use crate::simd::{Kernel, Simd};
use crate::sums::AddTo;
use crate::team::{Parts, Scratch};
use crate::{Isa, Mat, MatMut, Team};
use std::ops::Range;

/// `C = epilogue(alpha A B + beta C)`: the problem as it was given, or transposed.
#[derive(Clone, Copy)]
pub(crate) struct Product<'a> {
    pub(super) a: Mat<'a>,
    pub(super) b: Mat<'a>,
    pub(super) target: Target<'a>,
}

/// C from its element `0, 0` on, and what is done to it.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) c: *mut f32,
    pub(super) rs: usize,
    pub(super) cs: usize,
    alpha: f32,
    pub(super) beta: Option<f32>,
    pub(super) epilogue: Epilogue<'a>,
    /// Whether `bias` is one for each row, not one for each column.
    pub(super) is_transposed: bool,
    subnormals: Subnormals,
}

// SAFETY: tasks store disjoint tiles of C.
unsafe impl Sync for Target<'_> {}

impl<'a> Product<'a> {
    /// The problem as given. Shapes have been checked. As in BLAS, what is multiplied with zero is
    /// not read: with alpha = 0 the sums are those of no products, and beta = 0 sets C.
    pub(super) fn new(
        mut alpha: f32,
        mut a: Mat<'a>,
        mut b: Mat<'a>,
        write: Write,
        c: &'a mut MatMut,
        epilogue: Epilogue<'a>,
        subnormals: Subnormals,
    ) -> Self {
        if alpha == 0.0 || a.cols() == 0 {
            (a, b) = (a.block(0..a.rows(), 0..0), b.block(0..0, 0..b.cols()));
            alpha = 1.0;
        }
        let beta = match write {
            Write::Set => None,
            Write::Add { beta } => (beta != 0.0).then_some(beta),
        };
        let (rs, cs) = (c.rs(), c.cs());
        let is_transposed = false;
        let c = c.as_mut_ptr();
        let target = Target { c, rs, cs, alpha, beta, epilogue, is_transposed, subnormals };
        Self { a, b, target }
    }

    /// The same with all three matrices transposed.
    pub(super) fn transposed(&self) -> Self {
        let Target { rs, cs, epilogue, is_transposed, .. } = self.target;
        let epilogue = match epilogue {
            Epilogue::Derivative { y, activation } => Epilogue::Derivative { y: y.t(), activation },
            other => other,
        };
        let target =
            Target { rs: cs, cs: rs, epilogue, is_transposed: !is_transposed, ..self.target };
        Self { a: self.b.t(), b: self.a.t(), target }
    }
}

impl<'a> Target<'a> {
    /// Whether tiles are turned: the transposed problem of a C that lies by row.
    pub(super) fn is_by_column(&self) -> bool {
        self.is_transposed && self.cs != 1 && self.rs == 1
    }

    /// Whether sums of several blocks of K are kept apart until the last: where only the complete
    /// sum may be scaled, or meet the old C; where each would be turned; or where C's rows are pages
    /// apart and share few sets of every cache (1024^3: 95 % of the peak, not 89).
    pub(super) fn keeps_sums_apart(&self) -> bool {
        self.beta.is_some()
            || self.alpha != 1.0
            || self.is_by_column()
            || self.cs == 1 && self.rs.is_multiple_of(1024)
    }

    /// The same pointing `elements` further on.
    fn offset(&self, elements: usize) -> Self {
        Self { c: self.c.wrapping_add(elements), ..*self }
    }

    /// What happens to the strip whose first element is `row, col` when its sums are complete.
    pub(super) fn epilogue(&self, row: usize, col: usize) -> StripEpilogue {
        match self.epilogue {
            Epilogue::None => match self.subnormals {
                Subnormals::AreZero => StripEpilogue::None,
                Subnormals::Stay => StripEpilogue::Raw,
            },
            Epilogue::Bias { bias, activation } => {
                let at = if self.is_transposed { row } else { col };
                StripEpilogue::Bias { bias: bias.as_ptr().wrapping_add(at), activation }
            }
            Epilogue::Derivative { y, activation } => {
                let (rs, cs) =
                    if self.is_by_column() { (y.cs(), y.rs()) } else { (y.rs(), y.cs()) };
                let y = y.as_ptr().wrapping_add(row * y.rs() + col * y.cs());
                StripEpilogue::Derivative { y, rs, cs, activation }
            }
        }
    }

    /// What becomes of a row of sums in memory.
    pub(super) fn row<'e>(&self, epilogue: &'e StripEpilogue) -> StripOutput<'e> {
        StripOutput {
            rows: [self.c; MAX_MR],
            partial: None,
            cs: self.cs,
            by_column: false,
            height: 1,
            alpha: self.alpha,
            beta: self.beta,
            epilogue,
        }
    }

    /// Where the strip goes whose first element is `row, col`. The first block of K replaces the old
    /// C, or if it is the only one adds to it; later ones add to its sums.
    pub(super) fn strip<'e>(
        &self,
        (row, height): (usize, usize),
        cols: &Range<usize>,
        is_first: bool,
        epilogue: &'e StripEpilogue,
        spare_row: *mut f32,
    ) -> StripOutput<'e> {
        let first = self.c.wrapping_add(row * self.rs + cols.start * self.cs);
        let row = |i| if i < height { first.wrapping_add(i * self.rs) } else { spare_row };
        StripOutput {
            rows: std::array::from_fn(row),
            partial: None,
            cs: self.cs,
            by_column: self.is_by_column(),
            height,
            alpha: self.alpha,
            beta: if is_first { self.beta } else { Some(1.0) },
            epilogue,
        }
    }
}

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
    // A band of columns at a time, so that partial sums stay within the buffer.
    let band = match work.slices {
        1 => work.n,
        slices => (blocking.buffer / (slices * work.m) / work.tile.nr).max(1) * work.tile.nr,
    };
    for start in (0..work.n).step_by(band) {
        let cols = start..work.n.min(start + band);
        // A narrow band has fewer tiles than all of C, and is cut by itself.
        let grid = if cols.len() == work.n { grid } else { workforce.grid(&work, cols.len()) };
        Job { product, work, grid, cols, blocking }.run(team);
    }
}

/// Computes a product whose K is one slice on the calling thread alone.
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
            isa.run(BlockOfC { job, target, rows, cols, blocks, scratch });
        }
    }
}

/// One product: operands, sizes, and how it is cut.
pub(super) struct Job<'a> {
    pub(super) product: Product<'a>,
    pub(super) work: Work,
    grid: Grid,
    /// The columns of C that this job is about: all, but where partial sums would be too many.
    cols: Range<usize>,
    pub(super) blocking: &'a Blocking,
}

impl Job<'_> {
    fn run(&self, team: &Team) {
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
            isa.run(BlockOfC { job: self, target, rows, cols, blocks, scratch });
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
