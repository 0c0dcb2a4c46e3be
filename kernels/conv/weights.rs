//! The gradient of the weights: for each element under a window, the sum over all windows of that element
//! times the window's gradient. This is a product whose K is the number of windows. K is so long that its
//! slices are summed separately and then added up in order.

use super::images::{Framed, Grid};
use super::pairs::{Pairs, PairsInRows, PairsInTiles, PairsOfImages, Rows};
use super::weights_on_tiles::OnTiles;
use crate::blocking::{Blocking, Cut};
use crate::gemm::grid::share;
use crate::gemm::on_tiles::SQUARE;
use crate::gemm::packed_tiles::{self, Side, panels};
use crate::gemm::parts::Terms;
use crate::gemm::store::StripOutput;
use crate::gemm::tile::{MAX_MR, StripInput, TileFacts, TileShape, strip};
use crate::gemm::words::{Operand, PackOperand, Words, pack};
use crate::micro::{Floats, Micro, WithKernel, WithMicro};
use crate::precision::Bf16Kernel;
use crate::simd::{Kernel, Simd};
use crate::sums::AddTo;
use crate::team::{Parts, Scratch};
use crate::tiles::{SIDE, TileUnit};
use crate::{Geometry, Mat, Team};
use std::ops::Range;

/// `dw = windows(x)^T dz`, in the team's precision. `dz` has a row for each window.
#[track_caller]
pub(super) fn gradient(team: &Team, g: &Geometry, x: &[f32], dz: Mat, dw: &mut [f32]) {
    let images = Framed::input(g);
    let arithmetic = team.arithmetic();
    let taps = g.kernel_h * g.kernel_w;
    let precision = arithmetic.precision.of_weights(taps, g.channels, dz.cols(), dz.rows());
    let gradient = WeightGradient {
        x,
        images,
        windows: images.windows(g.out_h, g.out_w, g.stride),
        kernel_w: g.kernel_w,
        dz,
        filters: dz.cols(),
        window_len: g.window_len(),
        k: dz.rows(),
        cut: Cut::of(dz.rows()),
        pairs: None,
    };
    match Terms::of(precision) {
        None => gradient.run(team, dw),
        Some(terms) => gradient.run_packed(team, terms, arithmetic.kernel, dw),
    }
}

/// The same, as it is computed.
#[derive(Clone, Copy)]
pub(super) struct WeightGradient<'a> {
    /// Images in their frames, as floats or in pairs.
    pub(super) x: &'a [f32],
    pub(super) images: Framed,
    pub(super) windows: Grid,
    pub(super) kernel_w: usize,
    /// A row for each window, or for each word of K; on a tile unit a row for each panel of filters.
    pub(super) dz: Mat<'a>,
    pub(super) filters: usize,
    /// Elements under a window: the rows of `dw`.
    window_len: usize,
    /// Elements of K, and how sums over it are cut.
    k: usize,
    cut: Cut,
    /// How it is packed.
    pub(super) pairs: Option<Pairs>,
}

impl WeightGradient<'_> {
    /// Computes it in f32, from images that are not in their frames yet.
    #[track_caller]
    fn run(&self, team: &Team, dw: &mut [f32]) {
        let (len, framed_len) = (self.images.len(), self.images.framed_len());
        let copies_len = self.images.copies_len(self.x.len() / len);
        let mut buffer = team.phase_scratch();
        let (framed, sums) = buffer.floats(copies_len + self.sums_len()).split_at_mut(copies_len);
        let mut gradient = *self;
        if self.images.has_frame() {
            team.run_on_chunks(framed, framed_len, |start, framed| {
                let image = start / framed_len;
                self.images.copy(&self.x[image * len..(image + 1) * len], framed);
            });
            gradient.x = framed;
        }
        gradient.check_steps();
        WithMicro::run(OnTeam { job: &gradient, team, sums, dw }, Floats);
    }

    /// Packs both operands, and computes it.
    #[track_caller]
    fn run_packed(&self, team: &Team, terms: Terms, kernel: Bf16Kernel, dw: &mut [f32]) {
        let (x, images, filters) = (self.x, self.images, self.filters);
        let rows = Rows { dz: self.dz, per_image: self.windows.pixels_per_image() };
        // Not of this machine: the cut is the same on all.
        let (words, cut) = Words::of(Blocking::of_machine(), rows.k(), terms, kernel);
        let pairs = Pairs { terms, words, plane: images.framed_len() };
        let of_x = (x.len() / images.len()).div_ceil(2) * pairs.of_images();
        let of_panel = words.count() * SIDE;
        let (rows_of_dz, cols_of_dz) = match kernel.is_on_tiles() {
            true => (panels(filters), of_panel),
            false => (words.count(), filters),
        };
        let mut packed = team.packed_scratch();
        let packed = packed.floats(of_x + rows_of_dz * cols_of_dz);
        let to = &Parts::new(&mut *packed);
        let (parts, at) = (terms.b, of_x);
        let of_images = PairsOfImages { x, images, pairs, to };
        let operand = Operand { from: self.dz, is_along: false, parts, words, to, at };
        let in_rows = PairsInRows { rows, to: operand };
        let operand =
            packed_tiles::Operand { from: self.dz.t(), side: Side::A, parts, words, to, at };
        let in_tiles = PairsInTiles { rows, to: operand };
        let of_dz: &dyn PackOperand = if kernel.is_on_tiles() { &in_tiles } else { &in_rows };
        pack(team, &[&of_images, of_dz]);
        let (x, dz) = packed.split_at(of_x);
        let windows = Grid { image_step: pairs.of_images(), ..self.windows };
        let dz = Mat::new(dz, rows_of_dz, cols_of_dz);
        let (k, pairs) = (rows.k(), Some(pairs));
        let job = &WeightGradient { x, windows, dz, k, cut, pairs, ..*self };
        job.check_steps();
        let mut buffer = team.phase_scratch();
        let sums = buffer.floats(job.sums_len());
        kernel.run(OnTeam { job, team, sums, dw });
    }

    /// Checks that the steps of a block of K, which are windows here, fit 32 bits.
    ///
    /// # Panics
    /// If, in a block, the last window is too far from the first.
    #[track_caller]
    fn check_steps(&self) {
        let per_image = self.windows.pixels_per_image();
        let kc = self.cut.kc;
        // A block may begin at the last window of an image, and then reaches into this many images.
        let images = kc.div_ceil(per_image) + 1;
        let reach = images.min(self.k / per_image).saturating_mul(self.windows.image_step);
        assert!(
            u32::try_from(reach).is_ok(),
            "{kc} windows reach over {reach} elements: 2^32 or more"
        );
    }

    /// Elements of the sums of all slices.
    fn sums_len(&self) -> usize {
        match self.cut.slices {
            1 => 0,
            slices => slices * self.window_len * self.filters,
        }
    }

    /// Words of a whole block of K, which are floats if it is not packed.
    fn per_block(&self) -> usize {
        self.pairs.map_or(self.cut.kc, |pairs| pairs.words.per_block())
    }

    /// Writes how far each word of a block of K is from the first; the place of that, and their number.
    #[inline(always)]
    pub(super) fn write_steps(&self, block: usize, steps: &mut [u32]) -> (usize, usize) {
        let Some(pairs) = self.pairs else {
            let first = block * self.cut.kc;
            let depth = self.cut.kc.min(self.k - first);
            let mut walk = self.windows.walk(first);
            let start = self.windows.walk(first).next();
            for step in &mut steps[..depth] {
                *step = (walk.next() - start) as u32;
            }
            return (start, depth);
        };
        let (start, words) = pairs.words_of_block(self.windows, block);
        for (word, step) in words {
            steps[word] = step as u32;
        }
        (start, pairs.words.parts * pairs.of_part(block))
    }

    /// How far an element under a window is from its first.
    pub(super) fn offset(&self, row: usize) -> usize {
        let run = self.kernel_w * self.images.channels;
        row / run * self.images.line_len() + row % run
    }
}

/// The greatest common divisor.
fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The gradient on a team. `sums` has room for [`WeightGradient::sums_len`].
struct OnTeam<'a, 'pool> {
    job: &'a WeightGradient<'a>,
    team: &'a Team<'pool>,
    sums: &'a mut [f32],
    dw: &'a mut [f32],
}

/// What a task computes: some rows of the gradient, summed over some blocks of windows.
pub(super) struct Task<'a> {
    pub(super) job: &'a WeightGradient<'a>,
    pub(super) rows: Range<usize>,
    pub(super) blocks: Range<usize>,
    pub(super) dw: &'a mut [f32],
    pub(super) scratch: &'a mut Scratch,
}

impl WithMicro for OnTeam<'_, '_> {
    type Output = ();

    fn run<M: Micro>(self, micro: M) {
        let isa = self.team.isa();
        let (TileShape { mr, .. }, _) = isa.run(TileFacts);
        self.tasks(mr, |task| isa.run(InRegisters { micro, task }));
    }
}

impl WithKernel for OnTeam<'_, '_> {
    fn on_tiles<T: TileUnit>(self, unit: T) {
        let isa = self.team.isa();
        self.tasks(SQUARE, |task| isa.run(OnTiles { unit, task }));
    }
}

impl OnTeam<'_, '_> {
    /// Computes it by tasks whose rows are cut at multiples of `unit`.
    fn tasks(self, unit: usize, compute: impl Fn(Task) + Sync) {
        let Self { job, team, sums, dw } = self;
        let (rows, filters) = (job.window_len, job.filters);
        let Cut { blocks, slices, .. } = job.cut;
        // Slices are cut by the shape alone; rows are cut so that every thread has as many tasks.
        let (isa, threads) = (team.isa(), team.threads());
        let groups = (threads / gcd(threads, slices)).min(rows.div_ceil(unit));
        let target = Parts::new(if slices == 1 { &mut *dw } else { &mut *sums });
        team.run(groups * slices, |task, scratch| {
            let (slice, group) = (task / groups, task % groups);
            let rows_of_group = share(rows, unit, group, groups);
            let start = slice * rows * filters;
            let part = start + rows_of_group.start * filters..start + rows_of_group.end * filters;
            // SAFETY: each task has its slice's sums of its rows.
            let dw = unsafe { target.part(part) };
            let blocks = share(blocks, 1, slice, slices);
            compute(Task { job, rows: rows_of_group, blocks, dw, scratch });
        });
        if slices > 1 {
            let sums = &*sums;
            team.run_on_chunks(dw, 4096, |start, dw| {
                let slice = |i: usize| &sums[i * rows * filters + start..][..dw.len()];
                dw.copy_from_slice(slice(0));
                for i in 1..slices {
                    let addend = &sums[i * rows * filters + start..][..dw.len()];
                    isa.run(AddTo { total: &mut *dw, addend });
                }
            });
        }
    }
}

/// A task in registers: what is under the windows is read where it lies.
struct InRegisters<'a, M> {
    micro: M,
    task: Task<'a>,
}

impl<M: Micro> Kernel for InRegisters<'_, M> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { micro, task: Task { job, rows, blocks, dw, scratch } } = self;
        let (WeightGradient { images, dz, filters, .. }, tile) = (*job, TileShape::of::<S>());
        let per_block = job.per_block();
        let run = job.kernel_w * images.channels;
        let (spare_row, steps) = scratch.floats(filters + per_block).split_at_mut(filters);
        let (dw, spare_row) = (dw.as_mut_ptr(), spare_row.as_mut_ptr());
        let steps: &mut [u32] = bytemuck::cast_slice_mut(steps);
        let height = tile.even_height(rows.len());
        if job.k == 0 {
            // SAFETY: these are the task's rows.
            unsafe { std::slice::from_raw_parts_mut(dw, rows.len() * filters) }.fill(0.0);
            return;
        }
        for block in blocks.clone() {
            let (start, depth) = job.write_steps(block, steps);
            let first = block * per_block;
            for row in rows.clone().step_by(height) {
                let height = height.min(rows.end - row);
                let x = job.x.as_ptr().wrapping_add(start);
                let last = row + height - 1;
                let mut input_rows = [x.wrapping_add(job.offset(last)); MAX_MR];
                let mut output_rows = [spare_row; MAX_MR];
                let (mut at, mut left) = (job.offset(row), run - row % run);
                for i in 0..height {
                    input_rows[i] = x.wrapping_add(at);
                    output_rows[i] = dw.wrapping_add((row - rows.start + i) * filters);
                    (at, left) = (at + 1, left - 1);
                    if left == 0 {
                        (at, left) = (at - run + images.line_len(), run);
                    }
                }
                let input = StripInput {
                    rows: input_rows,
                    steps: &steps[..depth],
                    rows_are_contiguous: height == tile.height(height) && row / run == last / run,
                    b: dz.as_ptr().wrapping_add(first * dz.rs()),
                    b_rs: dz.rs(),
                };
                let beta = (block > blocks.start).then_some(1.0);
                let output = StripOutput { height, beta, ..StripOutput::plain(output_rows) };
                // SAFETY: windows are inside their images' frames, rows of dz inside its matrix,
                // rows of dw this task's.
                unsafe { strip(simd, micro, &input, &output, 0..filters) };
            }
        }
    }
}
