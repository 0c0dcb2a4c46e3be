//! Windows over images times weights: the forward pass, and the backward pass of the data where
//! that is a convolution of the same kind. The micro-kernel of [`crate::gemm`] reads the pixels
//! under the windows where they lie, by their offsets.

use super::images::{Framed, Grid, images_per_task};
use crate::gemm::blocking::Blocking;
use crate::gemm::store::{StripEpilogue, StripOutput};
use crate::gemm::tile::{MAX_MR, StripInput, TileShape, strip};
use crate::simd::{Kernel, Simd};
use crate::team::{Parts, Scratch};
use crate::{Activation, Mat, Team};
use std::ops::Range;

/// `y = activation(windows(x) w + bias)`, for every window of every image.
pub(super) struct Correlation<'a> {
    pub(super) x: &'a [f32],
    pub(super) images: Framed,
    /// Lines and pixels of an image of `y`.
    pub(super) out: (usize, usize),
    pub(super) kernel_w: usize,
    pub(super) stride: usize,
    /// A row for each element under a window.
    pub(super) w: Mat<'a>,
    pub(super) bias: Option<(&'a [f32], Activation)>,
}

impl Correlation<'_> {
    /// Computes it, a few images to a task.
    pub(super) fn run(&self, team: &Team, y: &mut [f32]) {
        let out_len = self.out.0 * self.out.1 * self.w.cols();
        if out_len == 0 || y.is_empty() {
            return;
        }
        let images = y.len() / out_len;
        let floats = self.images.framed_len() + out_len;
        let images_at_once = images_per_task(images, floats, team.threads());
        let (isa, parts) = (team.isa(), Parts::new(y));
        team.run_chunks(images, images_at_once, |images, scratch| {
            // SAFETY: each image's outputs are one task's.
            let y = unsafe { parts.part(images.start * out_len..images.end * out_len) };
            isa.run(ImagesOfCorrelation { job: self, images, y, scratch });
        });
    }

    fn windows(&self) -> Grid {
        self.images.windows(self.out.0, self.out.1, self.stride)
    }
}

/// Some images of a correlation.
struct ImagesOfCorrelation<'a> {
    job: &'a Correlation<'a>,
    images: Range<usize>,
    y: &'a mut [f32],
    scratch: &'a mut Scratch,
}

impl Kernel for ImagesOfCorrelation<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { job, images, y, scratch } = self;
        let (Correlation { images: framed, w, .. }, tile) = (job, TileShape::of::<S>());
        let (k, filters) = (w.rows(), w.cols());
        let kc = Blocking::of_machine().even_kc(k);
        let framed_len = if framed.has_frame() { images.len() * framed.framed_len() } else { 0 };
        let (steps, rest) = scratch.floats(k + filters + framed_len).split_at_mut(k);
        let (spare_row, copies) = rest.split_at_mut(filters);
        let steps: &mut [u32] = bytemuck::cast_slice_mut(steps);
        framed.steps_under_window(job.kernel_w, steps);
        let steps = &*steps;
        let mut x = &job.x[images.start * framed.len()..images.end * framed.len()];
        if framed.has_frame() {
            framed.copy(x, copies);
            x = copies;
        }
        let (x, y, spare_row) = (x.as_ptr(), y.as_mut_ptr(), spare_row.as_mut_ptr());
        let epilogue = match job.bias {
            None => StripEpilogue::None,
            Some((bias, activation)) => StripEpilogue::Bias { bias: bias.as_ptr(), activation },
        };
        let windows = job.windows();
        let pixels = images.len() * windows.pixels_per_image();
        let height = tile.even_height(pixels);
        let mut walk = windows.walk(0);
        let mut input =
            StripInput { rows: [x; MAX_MR], steps, rows_are_contiguous: false, b: x, b_rs: w.rs() };
        let mut output = StripOutput {
            rows: [spare_row; MAX_MR],
            partial: None,
            cs: 1,
            by_column: false,
            height,
            alpha: 1.0,
            beta: None,
            epilogue: &epilogue,
        };
        for pixel in (0..pixels).step_by(height) {
            let height = height.min(pixels - pixel);
            walk.place(x, height, &mut input.rows);
            output.height = height;
            for i in 0..height {
                output.rows[i] = y.wrapping_add((pixel + i) * filters);
            }
            for i in height..MAX_MR {
                (input.rows[i], output.rows[i]) = (input.rows[height - 1], spare_row);
            }
            for (block, steps) in steps.chunks(kc).enumerate() {
                let is_last = (block + 1) * kc >= k;
                input.steps = steps;
                input.b = w.as_ptr().wrapping_add(block * kc * w.rs());
                output.beta = (block > 0).then_some(1.0);
                output.epilogue = if is_last { &epilogue } else { &StripEpilogue::None };
                // SAFETY: windows are inside their images or frames, weights inside their matrix,
                // rows of y inside these images', and there is one bias for each filter.
                unsafe { strip(simd, &input, &output, 0..filters) };
            }
        }
    }
}
