//! The backward pass of the data where windows do not cover the input evenly: at the edges of a
//! convolution without padding, or with a stride. Each tap of the kernel carries the gradients of all
//! outputs back to the pixels that it was multiplied with, as a product that is added to rows of `dx`.
//! The transposed convolution would multiply with the zeros around and between the gradients: 2.8 times
//! the work for a 3 x 3 output.

use super::images::{Framed, images_per_task};
use super::windows::{OnWindows, Windows};
use crate::gemm::pack::row_pointers;
use crate::gemm::store::{StripEpilogue, StripOutput};
use crate::gemm::tile::{MAX_MR, StripInput, TileShape, strip};
use crate::micro::Micro;
use crate::simd::{Kernel, Simd};
use crate::team::{Parts, Scratch};
use crate::{Geometry, Team};
use std::ops::Range;

/// `dx = sum over taps of dz w[tap]^T`, each product added to the pixels under the tap.
pub(super) struct Scatter<'a> {
    pub(super) g: &'a Geometry,
    /// The pixels of `dz`, each multiplied with the weights of each tap, transposed: `[taps, filters, channels]`.
    pub(super) pixels: Windows<'a>,
}

impl Scatter<'_> {
    /// Computes it, a few images to a task.
    pub(super) fn run(&self, team: &Team, dx: &mut [f32]) {
        self.pixels.on(team, OnTeam { g: self.g, team, dx });
    }
}

/// The same on a team.
struct OnTeam<'a, 'pool> {
    g: &'a Geometry,
    team: &'a Team<'pool>,
    dx: &'a mut [f32],
}

impl OnWindows for OnTeam<'_, '_> {
    fn run<M: Micro>(self, micro: M, windows: &Windows) {
        let Self { g, team, dx } = self;
        let in_len = g.in_len();
        let images = dx.len() / in_len;
        let floats = Framed::input(g).framed_len() + windows.images.len();
        let images_at_once = images_per_task(team, images, floats);
        let (isa, parts) = (team.isa(), Parts::new(dx));
        team.run_chunks(images, images_at_once, |images, scratch| {
            // SAFETY: each image is one task's.
            let dx = unsafe { parts.part(images.start * in_len..images.end * in_len) };
            isa.run(ImagesOfScatter { micro, g, windows, images, dx, scratch });
        });
    }
}

/// Some images.
struct ImagesOfScatter<'a, M> {
    micro: M,
    g: &'a Geometry,
    windows: &'a Windows<'a>,
    images: Range<usize>,
    dx: &'a mut [f32],
    scratch: &'a mut Scratch,
}

impl<M: Micro> Kernel for ImagesOfScatter<'_, M> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { micro, g, windows, images, dx, scratch } = self;
        let (tile, framed) = (TileShape::of::<S>(), Framed::input(g));
        // Words of a pixel of dz, and those of its products.
        let (out_len, pixel_len) = (windows.images.len(), windows.images.channels);
        let (depth, w, kc) = (windows.depth(), windows.w, windows.kc());
        let dz = windows.x[images.start * out_len..images.end * out_len].as_ptr();
        // A spare row: at every tap, the tile's rows beyond those of the panel are written to it.
        let spare_len = framed.line_len() * g.kernel_h;
        let framed_len = framed.copies_len(images.len());
        let (steps, rest) = scratch.floats(depth + spare_len + framed_len).split_at_mut(depth);
        let (spare, copies) = rest.split_at_mut(spare_len);
        let steps: &mut [u32] = bytemuck::cast_slice_mut(steps);
        windows.write_steps(steps);
        // Taps write to the frame as well, and nobody reads what they write there.
        let target = if framed.has_frame() { &mut *copies } else { &mut *dx };
        target.fill(0.0);
        let (to, spare) = (target.as_mut_ptr(), spare.as_mut_ptr());
        let mut walk = framed.windows(g.out_h, g.out_w, g.stride).walk(0);
        let pixels = images.len() * g.out_pixels();
        let height = tile.even_height(pixels);
        for pixel in (0..pixels).step_by(height) {
            let height = height.min(pixels - pixel);
            let mut out = [spare; MAX_MR];
            walk.place(to, height, &mut out);
            let output = StripOutput {
                rows: out,
                partial: None,
                cs: 1,
                by_column: false,
                height,
                alpha: 1.0,
                beta: Some(1.0),
                epilogue: &StripEpilogue::None,
            };
            // The order in which windows add to a pixel is the order of the windows, however many are in
            // a panel. In one panel a later window adds to the pixel with an earlier tap, so taps go from
            // the last to the first. And each window adds all its blocks of filters before the next
            // window. So no bit depends on how windows are cut into panels and tasks.
            for tap in (0..g.kernel_h * g.kernel_w).rev() {
                // The pixel under a tap is as far from the window's first pixel as the tap is from the
                // first tap, like a column further right.
                let (kh, kw) = (tap / g.kernel_w, tap % g.kernel_w);
                let at = kh * framed.line_len() + kw * g.channels;
                for (block, steps) in steps.chunks(kc).enumerate() {
                    let row = dz.wrapping_add(pixel * pixel_len);
                    let w = w.as_ptr().wrapping_add((tap * depth + block * kc) * w.rs());
                    let input = StripInput {
                        rows: row_pointers(row, height, pixel_len),
                        steps,
                        rows_are_contiguous: false,
                        b: w.wrapping_sub(at),
                        b_rs: g.channels,
                    };
                    // SAFETY: every tap of every window is inside its image or frame, or the spare
                    // row; the tap's weights are filters x channels.
                    unsafe { strip(simd, micro, &input, &output, at..at + g.channels) };
                }
            }
        }
        if framed.has_frame() {
            framed.copy_back(copies, dx);
        }
    }
}
