//! Windows over images times weights: the forward pass, and the backward pass of the data where
//! that is a convolution of the same kind.

use super::images::images_per_task;
use super::moments::{Moments, MomentsOfTasks, ROWS_AT_ONCE};
use super::one_channel::{Lines, OneChannel, PIXELS};
use super::panel::{ByPanel, Panel, Store};
use super::windows::{OnWindows, Windows};
use crate::gemm::store::StripEpilogue;
use crate::simd::{Kernel, Simd};
use crate::team::{Parts, Scratch};
use crate::{Activation, Team};
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
    fn run<P: ByPanel>(self, by: P, windows: &Windows) {
        let Self { job, team, y, moments } = self;
        let out_len = job.out.0 * job.out.1 * windows.filters;
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
            isa.run(ImagesOfCorrelation { by, job, windows, images, y, moments, scratch });
        });
    }
}

/// Some images of a correlation.
struct ImagesOfCorrelation<'a, P> {
    by: P,
    job: &'a Correlation<'a>,
    windows: &'a Windows<'a>,
    images: Range<usize>,
    y: &'a mut [f32],
    moments: Option<Moments<'a>>,
    scratch: &'a mut Scratch,
}

impl<P: ByPanel> Kernel for ImagesOfCorrelation<'_, P> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.job.one_channel {
            Some(weights) if self.job.out.1 >= PIXELS => self.by_lines(simd, weights),
            _ => self.by_panels(simd),
        }
    }
}

impl<P: ByPanel> ImagesOfCorrelation<'_, P> {
    /// Panels, which run on from image to image.
    #[inline(always)]
    fn by_panels<S: Simd>(self, simd: S) {
        let Self { by, job, windows, images, y, mut moments, scratch } = self;
        let Windows { images: framed, filters, .. } = *windows;
        let panel_len = by.scratch_len(windows, filters);
        let framed_len = framed.copies_len(images.len());
        let (of_panel, copies) = scratch.floats(panel_len + framed_len).split_at_mut(panel_len);
        let x = &windows.x[images.start * framed.len()..images.end * framed.len()];
        let x = framed.framed(x, copies);
        let (x, y) = (x.as_ptr(), y.as_mut_ptr());
        let epilogue = &match job.bias {
            None => StripEpilogue::None,
            Some((bias, activation)) => StripEpilogue::Bias { bias: bias.as_ptr(), activation },
        };
        let places = framed.windows(job.out.0, job.out.1, job.stride);
        let pixels = images.len() * places.pixels_per_image();
        let height = by.height::<S>(pixels);
        let mut walk = places.walk(0);
        let mut panel = by.panel(windows, Store { adds: false, epilogue }, of_panel);
        for pixel in (0..pixels).step_by(height) {
            let height = height.min(pixels - pixel);
            walk.place(x, height, panel.windows());
            for (i, row) in panel.outputs()[..height].iter_mut().enumerate() {
                *row = y.wrapping_add((pixel + i) * filters);
            }
            // SAFETY: windows are inside their images or frames, rows of y inside these images',
            // and there is one bias for each filter.
            unsafe {
                panel.load(simd, height);
                panel.multiply(simd, 0, 0);
            }
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
