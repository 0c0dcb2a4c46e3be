//! Windows over images times weights: the forward pass, and the backward pass of the data where
//! that is a convolution of the same kind. The micro-kernel of [`crate::gemm`] reads the pixels
//! under the windows where they lie, by their offsets.

use super::images::{Framed, Grid};
use super::moments::{Moments, ROWS_OF_MOMENTS};
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
    /// Images of one task. At least eight whole tiles: small images are taken together.
    pub(super) fn images_at_once(&self) -> usize {
        (112 / (self.out.0 * self.out.1).max(1)).max(1)
    }

    /// Computes it, a few images to a task, and if asked for each task's moments.
    pub(super) fn run(&self, team: &Team, y: &mut [f32], moments: Option<&mut [f32]>) {
        let out_len = self.out.0 * self.out.1 * self.w.cols();
        if out_len == 0 || y.is_empty() {
            return;
        }
        let images = y.len() / out_len;
        let (isa, parts, images_at_once) = (team.isa(), Parts::new(y), self.images_at_once());
        let moments_len = 2 * self.w.cols();
        let moments = moments.map(Parts::new);
        team.run_chunks(images, images_at_once, |images, scratch| {
            // SAFETY: each image's outputs are one task's.
            let y = unsafe { parts.part(images.start * out_len..images.end * out_len) };
            let moments = moments.as_ref().map(|moments| {
                let start = images.start / images_at_once * moments_len;
                // SAFETY: so are each task's moments.
                Moments::new(unsafe { moments.part(start..start + moments_len) })
            });
            isa.run(ImagesOfCorrelation { job: self, images, y, moments, scratch });
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
    moments: Option<Moments<'a>>,
    scratch: &'a mut Scratch,
}

impl Kernel for ImagesOfCorrelation<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { job, images, y, mut moments, scratch } = self;
        let (Correlation { images: framed, w, .. }, tile) = (job, TileShape::of::<S>());
        let (k, filters) = (w.rows(), w.cols());
        let framed_len = if framed.has_frame() { images.len() * framed.framed_len() } else { 0 };
        let (steps, rest) = scratch.floats(k + filters + framed_len).split_at_mut(k);
        let (spare_row, copies) = rest.split_at_mut(filters);
        let steps: &mut [u32] = bytemuck::cast_slice_mut(steps);
        framed.steps_under_window(job.kernel_w, steps);
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
        for pixel in (0..pixels).step_by(height) {
            let height = height.min(pixels - pixel);
            let mut rows = [x; MAX_MR];
            let mut out = [spare_row; MAX_MR];
            for i in 0..height {
                rows[i] = x.wrapping_add(walk.next());
                out[i] = y.wrapping_add((pixel + i) * filters);
            }
            for i in height..MAX_MR {
                rows[i] = rows[height - 1];
            }
            let panel = Panel { rows, out, height, steps, w: job.w, epilogue: &epilogue };
            // SAFETY: windows are inside their images or frames, rows of y inside these images',
            // and there is one bias for each filter.
            unsafe { panel.run(simd) };
            if let Some(moments) = &mut moments {
                let (done, from) = (pixel + height, moments.count());
                if done == pixels || done - from >= ROWS_OF_MOMENTS {
                    // SAFETY: these rows of y have just been written.
                    let rows = unsafe {
                        std::slice::from_raw_parts(
                            y.wrapping_add(from * filters),
                            (done - from) * filters,
                        )
                    };
                    moments.add(simd, rows);
                }
            }
        }
    }
}

/// Some windows times the weights, at most as many as the highest tile has rows.
pub(super) struct Panel<'a> {
    /// Where the windows begin; those beyond `height` repeat the last.
    pub(super) rows: [*const f32; MAX_MR],
    /// Where their outputs go; beyond `height`, to a row that nobody needs.
    pub(super) out: [*mut f32; MAX_MR],
    pub(super) height: usize,
    /// How far each element under a window is from its first.
    pub(super) steps: &'a [u32],
    pub(super) w: Mat<'a>,
    pub(super) epilogue: &'a StripEpilogue,
}

impl Panel<'_> {
    /// Computes it, block by block of K.
    ///
    /// # Safety
    /// Windows are readable at every step, outputs and the epilogue's bias have an element for each
    /// column of `w`.
    #[inline(always)]
    pub(super) unsafe fn run<S: Simd>(self, simd: S) {
        let Self { rows, out, height, steps, w, epilogue } = self;
        let kc = Blocking::of_machine().even_kc(steps.len());
        for (block, block_steps) in steps.chunks(kc).enumerate() {
            let input = StripInput {
                rows,
                steps: block_steps,
                rows_are_contiguous: false,
                b: w.as_ptr().wrapping_add(block * kc * w.rs()),
                b_rs: w.rs(),
            };
            let is_last = (block + 1) * kc >= steps.len();
            let output = StripOutput {
                rows: out,
                partial: None,
                cs: 1,
                by_column: false,
                height,
                cols: w.cols(),
                alpha: 1.0,
                beta: (block > 0).then_some(1.0),
                epilogue: if is_last { epilogue } else { &StripEpilogue::None },
            };
            // SAFETY: by the caller's promise; blocks of w are inside it.
            unsafe { strip(simd, &input, &output) };
        }
    }
}
