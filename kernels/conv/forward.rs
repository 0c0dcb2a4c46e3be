//! Windows over images times weights: the forward pass, and the backward pass of the data where
//! that is a convolution of the same kind. The micro-kernel of [`crate::gemm`] reads the pixels
//! under the windows where they lie, by their offsets.

use super::images::images_per_task;
use super::moments::{Moments, MomentsOfTasks, ROWS_AT_ONCE};
use super::one_channel::{Lines, OneChannel, PIXELS};
use super::windows::{OnWindows, Windows};
use crate::gemm::store::{StripEpilogue, StripOutput};
use crate::gemm::tile::{MAX_MR, StripInput, TileShape, strip};
use crate::micro::Micro;
use crate::simd::{Kernel, Simd};
use crate::team::{Parts, Scratch};
use crate::{Activation, Mat, Team};
use std::ops::Range;

/// `y = activation(windows(x) w + bias)`, for every window of every image.
pub(super) struct Correlation<'a> {
    pub(super) windows: Windows<'a>,
    /// Lines and pixels of an image of `y`.
    pub(super) out: (usize, usize),
    pub(super) stride: usize,
    pub(super) bias: Option<(&'a [f32], Activation)>,
    /// The same weights, if the convolution has one channel.
    pub(super) one_channel: Option<OneChannel<'a>>,
}

impl Correlation<'_> {
    /// Computes it, a few images to a task.
    #[track_caller]
    pub(super) fn run(&self, team: &Team, y: &mut [f32], moments: Option<MomentsOfTasks>) {
        self.windows.on(team, OnTeam { job: self, team, y, moments });
    }
}

/// A correlation on a team.
struct OnTeam<'a, 'pool> {
    job: &'a Correlation<'a>,
    team: &'a Team<'pool>,
    y: &'a mut [f32],
    moments: Option<MomentsOfTasks<'a>>,
}

impl OnWindows for OnTeam<'_, '_> {
    fn run<M: Micro>(self, micro: M, windows: &Windows) {
        let Self { job, team, y, moments } = self;
        let out_len = job.out.0 * job.out.1 * windows.w.cols();
        if out_len == 0 || y.is_empty() {
            return;
        }
        let images = y.len() / out_len;
        let floats = windows.images.framed_len() + out_len;
        let images_at_once = match &moments {
            None => images_per_task(team, images, floats),
            Some(moments) => moments.images_per_task,
        };
        let moments = moments.as_ref();
        let (isa, parts) = (team.isa(), Parts::new(y));
        team.run_chunks(images, images_at_once, |images, scratch| {
            let task = images.start / images_at_once;
            // SAFETY: each image's outputs are one task's, and so are each task's moments.
            let (y, moments) = unsafe {
                let y = parts.part(images.start * out_len..images.end * out_len);
                (y, moments.map(|moments| moments.of_task(task)))
            };
            isa.run(ImagesOfCorrelation { micro, job, windows, images, y, moments, scratch });
        });
    }
}

/// Some images of a correlation.
struct ImagesOfCorrelation<'a, M> {
    micro: M,
    job: &'a Correlation<'a>,
    windows: &'a Windows<'a>,
    images: Range<usize>,
    y: &'a mut [f32],
    moments: Option<Moments<'a>>,
    scratch: &'a mut Scratch,
}

impl<M: Micro> Kernel for ImagesOfCorrelation<'_, M> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.job.one_channel {
            Some(weights) if self.job.out.1 >= PIXELS => self.by_lines(simd, weights),
            _ => self.by_panels(simd),
        }
    }
}

impl<M: Micro> ImagesOfCorrelation<'_, M> {
    /// Panels of the micro-kernel, which run on from image to image.
    #[inline(always)]
    fn by_panels<S: Simd>(self, simd: S) {
        let Self { micro, job, windows, images, y, mut moments, scratch } = self;
        let (Windows { images: framed, w, .. }, tile) = (windows, TileShape::of::<S>());
        let (k, filters) = (w.rows(), w.cols());
        let framed_len = framed.copies_len(images.len());
        let (steps, rest) = scratch.floats(k + filters + framed_len).split_at_mut(k);
        let (spare_row, copies) = rest.split_at_mut(filters);
        let steps: &mut [u32] = bytemuck::cast_slice_mut(steps);
        windows.write_steps(steps);
        let x = &windows.x[images.start * framed.len()..images.end * framed.len()];
        let x = framed.framed(x, copies);
        let (x, y) = (x.as_ptr(), y.as_mut_ptr());
        let epilogue = match job.bias {
            None => StripEpilogue::None,
            Some((bias, activation)) => StripEpilogue::Bias { bias: bias.as_ptr(), activation },
        };
        let places = framed.windows(job.out.0, job.out.1, job.stride);
        let pixels = images.len() * places.pixels_per_image();
        let height = tile.even_height(pixels);
        let mut walk = places.walk(0);
        let mut panel = Panel::new(windows, steps, &epilogue, spare_row.as_mut_ptr());
        for pixel in (0..pixels).step_by(height) {
            let height = height.min(pixels - pixel);
            walk.place(x, height, panel.windows());
            for (i, row) in panel.outputs()[..height].iter_mut().enumerate() {
                *row = y.wrapping_add((pixel + i) * filters);
            }
            // SAFETY: windows are inside their images or frames, rows of y inside these images',
            // and there is one bias for each filter.
            unsafe { panel.run(simd, micro, height) };
            if let Some(moments) = &mut moments {
                let done = pixel + height;
                // The number of rows at a time depends on the shape, not on the tile: the bits of the
                // sums depend on it.
                while done - moments.count() >= ROWS_AT_ONCE
                    || (done == pixels && moments.count() < done)
                {
                    let from = moments.count();
                    let count = ROWS_AT_ONCE.min(done - from);
                    // SAFETY: these rows of y have just been written.
                    let rows = unsafe {
                        std::slice::from_raw_parts(y.wrapping_add(from * filters), count * filters)
                    };
                    moments.add(simd, rows);
                }
            }
        }
    }

    /// Lines of images of one channel: a whole image at once, or, where moments are taken, a few.
    #[inline(always)]
    fn by_lines<S: Simd>(self, simd: S, weights: OneChannel) {
        let Self { job, windows, images, y, mut moments, scratch, .. } = self;
        let (framed, (lines, pixels)) = (windows.images, job.out);
        let lines_at_once = if moments.is_some() { ROWS_AT_ONCE.div_ceil(pixels) } else { lines };
        let copy = scratch.floats(framed.copies_len(1));
        let (line_len, filters) = (framed.line_len(), weights.filters());
        for (image, y) in images.zip(y.chunks_exact_mut(lines * pixels * filters)) {
            let x = framed.framed(&windows.x[image * framed.len()..][..framed.len()], copy);
            for (i, y) in y.chunks_mut(lines_at_once * pixels * filters).enumerate() {
                let x = &x[i * lines_at_once * line_len..];
                Lines { weights, pixels, x, line_len, y: &mut *y }.compute(simd);
                if let Some(moments) = &mut moments {
                    moments.add(simd, y);
                }
            }
        }
    }
}

/// Some windows times the weights, at most as many as the highest tile has rows.
pub(super) struct Panel<'a> {
    input: StripInput<'a>,
    output: StripOutput<'a>,
    /// How far each word under a window is from its first.
    steps: &'a [u32],
    /// Words of K in a block.
    kc: usize,
    w: Mat<'a>,
    epilogue: &'a StripEpilogue,
    /// Where the tile's rows beyond those of the panel are written.
    spare_row: *mut f32,
}

impl<'a> Panel<'a> {
    /// Without windows.
    #[inline(always)]
    pub(super) fn new(
        windows: &Windows<'a>,
        steps: &'a [u32],
        epilogue: &'a StripEpilogue,
        spare_row: *mut f32,
    ) -> Self {
        let (w, kc) = (windows.w, windows.kc());
        let input = StripInput {
            rows: [w.as_ptr(); MAX_MR],
            steps,
            rows_are_contiguous: false,
            b: w.as_ptr(),
            b_rs: w.rs(),
        };
        let output = StripOutput {
            rows: [spare_row; MAX_MR],
            partial: None,
            cs: 1,
            by_column: false,
            height: 0,
            alpha: 1.0,
            beta: None,
            epilogue,
        };
        Self { input, output, steps, kc, w, epilogue, spare_row }
    }

    /// Where the windows begin.
    #[inline(always)]
    pub(super) fn windows(&mut self) -> &mut [*const f32; MAX_MR] {
        &mut self.input.rows
    }

    /// Where their outputs go.
    #[inline(always)]
    pub(super) fn outputs(&mut self) -> &mut [*mut f32; MAX_MR] {
        &mut self.output.rows
    }

    /// Computes the first `height` windows, block by block of K.
    ///
    /// # Safety
    /// These windows are readable at every step; their outputs, the spare row and the epilogue's
    /// bias have an element for each column of `w`.
    #[inline(always)]
    pub(super) unsafe fn run<S: Simd>(&mut self, simd: S, micro: impl Micro, height: usize) {
        let Self { input, output, steps, kc, w, epilogue, spare_row } = self;
        let kc = *kc;
        output.height = height;
        for i in height..MAX_MR {
            (input.rows[i], output.rows[i]) = (input.rows[height - 1], *spare_row);
        }
        for (block, block_steps) in steps.chunks(kc).enumerate() {
            let is_last = (block + 1) * kc >= steps.len();
            input.steps = block_steps;
            input.b = w.as_ptr().wrapping_add(block * kc * w.rs());
            output.beta = (block > 0).then_some(1.0);
            output.epilogue = if is_last { epilogue } else { &StripEpilogue::None };
            // SAFETY: by the caller's promise; blocks of w are inside it.
            unsafe { strip(simd, micro, input, output, 0..w.cols()) };
        }
    }
}
