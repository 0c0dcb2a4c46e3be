//! The backward pass of the data where windows do not cover the input evenly: at the edges of a
//! convolution without padding, or with a stride. Each tap of the kernel carries the gradients of
//! all outputs back to the pixels it met them from, as a product that is added to rows of `dx`.
//! The transposed convolution would multiply with the zeros around and between: 2.8 times the work
//! for a 3 x 3 output.

use super::images::Grid;
use crate::gemm::blocking::Blocking;
use crate::gemm::pack::contiguous_steps;
use crate::gemm::store::{StripEpilogue, StripOutput};
use crate::gemm::tile::{MAX_MR, StripInput, TileShape, strip};
use crate::simd::{Kernel, Simd};
use crate::team::{Parts, Scratch};
use crate::{Geometry, Team};
use std::ops::Range;

/// `dx = sum over taps of dz w[tap]^T`, each where the tap was.
pub(super) struct Scatter<'a> {
    pub(super) g: &'a Geometry,
    pub(super) filters: usize,
    pub(super) dz: &'a [f32],
    /// The weights turned, `[taps, filters, channels]`.
    pub(super) turned: &'a [f32],
}

impl Scatter<'_> {
    /// Computes it, a few images to a task.
    pub(super) fn run(&self, team: &Team, dx: &mut [f32]) {
        let in_len = self.g.in_len();
        let images_at_once = (112 / self.g.out_pixels().max(1)).max(1);
        let (isa, parts) = (team.isa(), Parts::new(dx));
        team.run_chunks(parts.len() / in_len, images_at_once, |images, scratch| {
            // SAFETY: each image is one task's.
            let dx = unsafe { parts.part(images.start * in_len..images.end * in_len) };
            isa.run(ImagesOfScatter { job: self, images, dx, scratch });
        });
    }
}

/// Some images.
struct ImagesOfScatter<'a> {
    job: &'a Scatter<'a>,
    images: Range<usize>,
    dx: &'a mut [f32],
    scratch: &'a mut Scratch,
}

/// The outputs along one axis whose tap `at` met the input, and the input place of the first.
fn met(at: usize, pad: usize, stride: usize, len: usize, outs: usize) -> (Range<usize>, usize) {
    let first = pad.saturating_sub(at).div_ceil(stride);
    let end = if len + pad > at { (len + pad - at).div_ceil(stride).min(outs) } else { 0 };
    (first..end.max(first), (first * stride + at).saturating_sub(pad))
}

impl Kernel for ImagesOfScatter<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { job: &Scatter { g, filters, dz, turned }, images, dx, scratch } = self;
        let tile = TileShape::of::<S>();
        let out_len = g.out_pixels() * filters;
        let dz = dz[images.start * out_len..images.end * out_len].as_ptr();
        let spare_row = scratch.floats(g.channels).as_mut_ptr();
        dx.fill(0.0);
        let dx = dx.as_mut_ptr();
        let kc = Blocking::of_machine().even_kc(filters);
        for tap in 0..g.kernel_h * g.kernel_w {
            let (kh, kw) = (tap / g.kernel_w, tap % g.kernel_w);
            let (lines, in_line) = met(kh, g.pad_top, g.stride, g.in_h, g.out_h);
            let (cols, in_col) = met(kw, g.pad_left, g.stride, g.in_w, g.out_w);
            if lines.is_empty() || cols.is_empty() {
                continue;
            }
            let grid = |image_step, line_step, pixel_step| Grid {
                lines: lines.len(),
                pixels: cols.len(),
                image_step,
                line_step,
                pixel_step,
            };
            let from = grid(out_len, g.out_w * filters, filters);
            let line_len = g.in_w * g.channels;
            let to = grid(g.in_len(), g.stride * line_len, g.stride * g.channels);
            let dz = dz.wrapping_add((lines.start * g.out_w + cols.start) * filters);
            let dx = dx.wrapping_add(in_line * line_len + in_col * g.channels);
            let (mut from, mut to, all) = (from.walk(0), to.walk(0), from.pixels_per_image());
            let pixels = images.len() * all;
            let height = tile.even_height(pixels);
            for pixel in (0..pixels).step_by(height) {
                let height = height.min(pixels - pixel);
                let (mut rows, mut out) = ([dz; MAX_MR], [spare_row; MAX_MR]);
                for i in 0..height {
                    rows[i] = dz.wrapping_add(from.next());
                    out[i] = dx.wrapping_add(to.next());
                }
                for i in height..MAX_MR {
                    rows[i] = rows[height - 1];
                }
                for first in (0..filters).step_by(kc) {
                    let b = turned[(tap * filters + first) * g.channels..].as_ptr();
                    let input = StripInput {
                        rows: rows.map(|row| row.wrapping_add(first)),
                        steps: contiguous_steps(kc.min(filters - first)),
                        rows_are_contiguous: false,
                        b,
                        b_rs: g.channels,
                    };
                    let output = StripOutput {
                        rows: out,
                        partial: None,
                        cs: 1,
                        by_column: false,
                        height,
                        cols: g.channels,
                        alpha: 1.0,
                        beta: Some(1.0),
                        epilogue: &StripEpilogue::None,
                    };
                    // SAFETY: outputs and inputs that the tap joins are inside their images, the
                    // tap's weights are filters x channels.
                    unsafe { strip(simd, &input, &output) };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::met;

    #[test]
    fn taps_meet_the_input_inside() {
        // 5 inputs, no padding, 3 outputs: every tap meets all.
        assert_eq!(
            (0..3).map(|at| met(at, 0, 1, 5, 3)).collect::<Vec<_>>(),
            [(0..3, 0), (0..3, 1), (0..3, 2)]
        );
        // Padding of one: the first tap misses the first output, the last the last.
        assert_eq!(met(0, 1, 1, 5, 5), (1..5, 0));
        assert_eq!(met(2, 1, 1, 5, 5), (0..4, 1));
        // Stride 2 over 5 inputs with padding 1: outputs at -1, 1, 3.
        assert_eq!(met(0, 1, 2, 5, 3), (1..3, 1));
        assert_eq!(met(1, 1, 2, 5, 3), (0..3, 0));
    }
}
