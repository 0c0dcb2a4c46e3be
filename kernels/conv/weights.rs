//! The gradient of the weights: for each element under a window, the sum over all windows of that element
//! times the window's gradient. This is a product whose K is the number of windows. K is so long that its
//! slices are summed separately and then added up in order.

use super::images::{Framed, Grid};
use crate::blocking::Cut;
use crate::gemm::grid::share;
use crate::gemm::store::{StripEpilogue, StripOutput};
use crate::gemm::tile::{MAX_MR, StripInput, TileFacts, TileShape, strip};
use crate::micro::Floats;
use crate::simd::{Kernel, Simd};
use crate::sums::AddTo;
use crate::team::{Parts, Scratch};
use crate::{Mat, Team};
use std::ops::Range;

/// `dw = windows(x)^T dz`
pub(super) struct WeightGradient<'a> {
    /// Images in their frames.
    pub(super) x: &'a [f32],
    pub(super) images: Framed,
    pub(super) windows: Grid,
    pub(super) kernel_w: usize,
    /// A row for each window.
    pub(super) dz: Mat<'a>,
    /// Elements under a window: the rows of `dw`.
    pub(super) window_len: usize,
}

impl WeightGradient<'_> {
    /// Computes it. `sums` has room for [`WeightGradient::sums_len`].
    #[track_caller]
    pub(super) fn run(&self, team: &Team, sums: &mut [f32], dw: &mut [f32]) {
        let (rows, filters) = (self.window_len, self.dz.cols());
        let Cut { blocks, slices, .. } = self.cut();
        self.check_steps();
        // Slices are cut by the shape alone; rows are cut so that every thread has as many tasks.
        let (isa, threads) = (team.isa(), team.threads());
        let (TileShape { mr, .. }, _) = isa.run(TileFacts);
        let groups = (threads / gcd(threads, slices)).min(rows.div_ceil(mr));
        let target = Parts::new(if slices == 1 { &mut *dw } else { &mut *sums });
        team.run(groups * slices, |task, scratch| {
            let (slice, group) = (task / groups, task % groups);
            let rows_of_group = share(rows, mr, group, groups);
            let start = slice * rows * filters;
            let part = start + rows_of_group.start * filters..start + rows_of_group.end * filters;
            // SAFETY: each task has its slice's sums of its rows.
            let dw = unsafe { target.part(part) };
            let blocks = share(blocks, 1, slice, slices);
            isa.run(RowsOfGradient { job: self, rows: rows_of_group, blocks, dw, scratch });
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

    /// Checks that the steps of a block of K, which are windows here, fit 32 bits.
    ///
    /// # Panics
    /// If, in a block, the last window is too far from the first.
    #[track_caller]
    fn check_steps(&self) {
        let windows = self.dz.rows();
        let per_image = self.windows.pixels_per_image();
        let kc = self.cut().kc;
        // A block may begin at the last window of an image, and then reaches into this many images.
        let images = kc.div_ceil(per_image) + 1;
        let reach = images.min(windows / per_image).saturating_mul(self.windows.image_step);
        assert!(
            u32::try_from(reach).is_ok(),
            "{kc} windows reach over {reach} elements: 2^32 or more"
        );
    }

    /// How the sums over windows are cut.
    fn cut(&self) -> Cut {
        Cut::of(self.dz.rows())
    }

    /// Elements of the sums of all slices.
    pub(super) fn sums_len(&self) -> usize {
        match self.cut().slices {
            1 => 0,
            slices => slices * self.window_len * self.dz.cols(),
        }
    }
}

/// The greatest common divisor.
fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Some rows of the gradient, summed over some blocks of windows.
struct RowsOfGradient<'a> {
    job: &'a WeightGradient<'a>,
    rows: Range<usize>,
    blocks: Range<usize>,
    dw: &'a mut [f32],
    scratch: &'a mut Scratch,
}

impl Kernel for RowsOfGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { job, rows, blocks, dw, scratch } = self;
        let (WeightGradient { images, windows, dz, .. }, tile) = (job, TileShape::of::<S>());
        let (count, filters) = (dz.rows(), dz.cols());
        let kc = job.cut().kc;
        let run = job.kernel_w * images.channels;
        let (spare_row, steps) = scratch.floats(filters + kc).split_at_mut(filters);
        let (dw, spare_row) = (dw.as_mut_ptr(), spare_row.as_mut_ptr());
        let steps: &mut [u32] = bytemuck::cast_slice_mut(steps);
        let height = tile.even_height(rows.len());
        if count == 0 {
            // SAFETY: these are the task's rows.
            unsafe { std::slice::from_raw_parts_mut(dw, rows.len() * filters) }.fill(0.0);
        }
        for block in blocks.clone() {
            let first = block * kc;
            let Some(depth) = count.checked_sub(first).map(|left| left.min(kc)) else { break };
            let mut walk = windows.walk(first);
            let start = windows.walk(first).next();
            for step in &mut steps[..depth] {
                *step = (walk.next() - start) as u32;
            }
            for row in rows.clone().step_by(height) {
                let height = height.min(rows.end - row);
                let offset = |row: usize| row / run * images.line_len() + row % run;
                let x = job.x.as_ptr().wrapping_add(start);
                let last = row + height - 1;
                let mut input_rows = [x.wrapping_add(offset(last)); MAX_MR];
                let mut output_rows = [spare_row; MAX_MR];
                let (mut at, mut left) = (offset(row), run - row % run);
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
                let output = StripOutput {
                    rows: output_rows,
                    partial: None,
                    cs: 1,
                    by_column: false,
                    height,
                    alpha: 1.0,
                    beta: (block > blocks.start).then_some(1.0),
                    epilogue: &StripEpilogue::None,
                };
                // SAFETY: windows are inside their images' frames, rows of dz inside its matrix,
                // rows of dw this task's.
                unsafe { strip(simd, Floats, &input, &output, 0..filters) };
            }
        }
    }
}
