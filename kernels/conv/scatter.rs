//! The backward pass of the data where windows do not cover the input evenly: at the edges of a
//! convolution without padding, or with a stride. Each tap of the kernel carries the gradients of all
//! outputs back to the pixels that it was multiplied with, as a product that is added to rows of `dx`.
//! The transposed convolution would multiply with the zeros around and between the gradients: 2.8 times
//! the work for a 3 x 3 output.

use super::images::{Framed, images_per_task};
use super::panel::{ByPanel, Panel, Store};
use super::windows::{OnWindows, Windows};
use crate::gemm::store::StripEpilogue;
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
    fn run<P: ByPanel>(self, by: P, windows: &Windows) {
        let Self { g, team, dx } = self;
        let in_len = g.in_len();
        let images = dx.len() / in_len;
        let floats = Framed::input(g).framed_len() + windows.images.len();
        let images_at_once = images_per_task(team, images, floats);
        let (isa, parts) = (team.isa(), Parts::new(dx));
        team.run_chunks(images, images_at_once, |images, scratch| {
            // SAFETY: each image is one task's.
            let dx = unsafe { parts.part(images.start * in_len..images.end * in_len) };
            isa.run(ImagesOfScatter { by, g, windows, images, dx, scratch });
        });
    }
}

/// Some images.
struct ImagesOfScatter<'a, P> {
    by: P,
    g: &'a Geometry,
    windows: &'a Windows<'a>,
    images: Range<usize>,
    dx: &'a mut [f32],
    scratch: &'a mut Scratch,
}

impl<P: ByPanel> Kernel for ImagesOfScatter<'_, P> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { by, g, windows, images, dx, scratch } = self;
        let framed = Framed::input(g);
        // Words of the pixels of an image of dz, and of one.
        let (out_len, pixel_len) = (windows.images.len(), windows.images.channels);
        let dz = windows.x[images.start * out_len..images.end * out_len].as_ptr();
        // A spare row that is as long as a tap is far from the first.
        let panel_len = by.scratch_len(windows, framed.line_len() * g.kernel_h);
        let framed_len = framed.copies_len(images.len());
        let (of_panel, copies) = scratch.floats(panel_len + framed_len).split_at_mut(panel_len);
        let store = Store { adds: true, epilogue: &StripEpilogue::None };
        let mut panel = by.panel(windows, store, of_panel);
        // Taps write to the frame as well, and nobody reads what they write there.
        let target = if framed.has_frame() { &mut *copies } else { &mut *dx };
        target.fill(0.0);
        let to = target.as_mut_ptr();
        let mut walk = framed.windows(g.out_h, g.out_w, g.stride).walk(0);
        let pixels = images.len() * g.out_pixels();
        let height = by.height::<S>(pixels);
        for pixel in (0..pixels).step_by(height) {
            let height = height.min(pixels - pixel);
            walk.place(to, height, panel.outputs());
            for (i, place) in panel.windows()[..height].iter_mut().enumerate() {
                *place = dz.wrapping_add((pixel + i) * pixel_len);
            }
            // SAFETY: these are pixels of dz.
            unsafe { panel.load(simd, height) };
            // The order in which windows add to a pixel is the order of the windows, however many are in
            // a panel. In one panel a later window adds to the pixel with an earlier tap, so taps go from
            // the last to the first. And each window adds all its blocks of filters before the next
            // window. So no bit depends on how windows are cut into panels and tasks.
            for tap in (0..g.kernel_h * g.kernel_w).rev() {
                // The pixel under a tap is as far from the window's first pixel as the tap is from the
                // first tap, like a column further right.
                let (kh, kw) = (tap / g.kernel_w, tap % g.kernel_w);
                let at = kh * framed.line_len() + kw * g.channels;
                // SAFETY: every tap of every window is inside its image or frame.
                unsafe { panel.multiply(simd, tap, at) };
            }
        }
        if framed.has_frame() {
            framed.copy_back(copies, dx);
        }
    }
}
