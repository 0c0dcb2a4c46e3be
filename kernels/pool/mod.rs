//! Max and average pooling of NHWC images. Vectors run over channels; a task is some whole images.

mod average;
mod max;

use crate::geometry::Geometry;
use crate::team::{Parts, Team};
use average::{AverageBackward, AverageForward};
use max::{MaxBackward, MaxForward};
use std::ops::Range;

/// Input elements of the smallest task.
const TASK: usize = 16_384;

/// Checks the lengths and returns the number of images.
#[track_caller]
fn images(g: &Geometry, input: usize, output: usize) -> usize {
    let images = input / g.in_len();
    assert_eq!(input, images * g.in_len(), "the input is no batch of {g:?}");
    let expected = images * g.out_pixels() * g.channels;
    assert_eq!(output, expected, "the output is no batch of {images} for {g:?}");
    images
}

#[track_caller]
fn check_argmax(g: &Geometry, argmax: &[u8], output: usize) {
    assert_eq!(argmax.len(), output, "argmax and the output differ in length");
    let taps = g.kernel_h * g.kernel_w;
    assert!(taps <= 256, "a window of {taps} does not fit the bytes of argmax");
}

/// Runs a task for every few images.
fn run(team: &Team, g: &Geometry, images: usize, body: impl Fn(Range<usize>) + Sync) {
    let chunk = (TASK / g.in_len()).max(1);
    team.run_chunks(images, chunk, |images, _| body(images));
}

/// The largest element of each window, and its place in the window (row by row; at most 256
/// places); the first wins among equals. Padding never wins.
/// `x` is `[n, in_h, in_w, c]`; `y` and `argmax` are `[n, out_h, out_w, c]`.
///
/// # Panics
/// If the lengths do not fit, or the window has more than 256 places.
#[track_caller]
pub fn max_forward(team: &Team, g: &Geometry, x: &[f32], y: &mut [f32], argmax: &mut [u8]) {
    check_argmax(g, argmax, y.len());
    let n = images(g, x.len(), y.len());
    let (in_len, out_len) = (g.in_len(), g.out_pixels() * g.channels);
    let (isa, y, argmax) = (team.isa(), Parts::new(y), Parts::new(argmax));
    run(team, g, n, |images| {
        let out = images.start * out_len..images.end * out_len;
        // SAFETY: tasks have disjoint images.
        let (y, argmax) = unsafe { (y.part(out.clone()), argmax.part(out)) };
        isa.run(MaxForward { g, x: &x[images.start * in_len..images.end * in_len], y, argmax });
    });
}

/// Gradient of [`max_forward`]: every `dy` goes to its winner; where windows overlap they add.
/// `dx` is overwritten.
///
/// # Panics
/// If the lengths do not fit, or the window has more than 256 places.
#[track_caller]
pub fn max_backward(team: &Team, g: &Geometry, argmax: &[u8], dy: &[f32], dx: &mut [f32]) {
    check_argmax(g, argmax, dy.len());
    let n = images(g, dx.len(), dy.len());
    let (in_len, out_len) = (g.in_len(), g.out_pixels() * g.channels);
    let (isa, dx) = (team.isa(), Parts::new(dx));
    run(team, g, n, |images| {
        let out = images.start * out_len..images.end * out_len;
        // SAFETY: tasks have disjoint images.
        let dx = unsafe { dx.part(images.start * in_len..images.end * in_len) };
        isa.run(MaxBackward { g, argmax: &argmax[out.clone()], dy: &dy[out], dx });
    });
}

/// The mean of each window. Padding is not counted, not even in the divisor.
/// `x` is `[n, in_h, in_w, c]`, `y` `[n, out_h, out_w, c]`.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
pub fn average_forward(team: &Team, g: &Geometry, x: &[f32], y: &mut [f32]) {
    let n = images(g, x.len(), y.len());
    let (in_len, out_len) = (g.in_len(), g.out_pixels() * g.channels);
    let (isa, y) = (team.isa(), Parts::new(y));
    run(team, g, n, |images| {
        // SAFETY: tasks have disjoint images.
        let y = unsafe { y.part(images.start * out_len..images.end * out_len) };
        isa.run(AverageForward { g, x: &x[images.start * in_len..images.end * in_len], y });
    });
}

/// Gradient of [`average_forward`]: every `dy` is shared equally among the places of its window
/// that lie in the image. `dx` is overwritten.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
pub fn average_backward(team: &Team, g: &Geometry, dy: &[f32], dx: &mut [f32]) {
    let n = images(g, dx.len(), dy.len());
    let (in_len, out_len) = (g.in_len(), g.out_pixels() * g.channels);
    let (isa, dx) = (team.isa(), Parts::new(dx));
    run(team, g, n, |images| {
        // SAFETY: tasks have disjoint images.
        let dx = unsafe { dx.part(images.start * in_len..images.end * in_len) };
        isa.run(AverageBackward { g, dy: &dy[images.start * out_len..images.end * out_len], dx });
    });
}

/// The part of an output pixel's window that lies in the image.
#[derive(Clone, Copy)]
struct Window {
    /// First row and column of the image.
    h: usize,
    w: usize,
    /// Their place in the window.
    kh: usize,
    kw: usize,
    rows: usize,
    cols: usize,
}

impl Window {
    /// The window of output pixel (`oh`, `ow`). It is never empty: `Geometry::new` ensures that.
    #[inline(always)]
    fn new(g: &Geometry, oh: usize, ow: usize) -> Self {
        let (h, kh, rows) = clip(oh * g.stride, g.kernel_h, g.pad_top, g.in_h);
        let (w, kw, cols) = clip(ow * g.stride, g.kernel_w, g.pad_left, g.in_w);
        Self { h, w, kh, kw, rows, cols }
    }

    /// Offset in the image of the first channel of the window's row `i`, column `j`.
    #[inline(always)]
    fn offset(self, g: &Geometry, i: usize, j: usize) -> usize {
        ((self.h + i) * g.in_w + self.w + j) * g.channels
    }
}

/// One dimension of a window that starts at `start` of the padded image: first place inside the
/// image, that place's number in the window, and how many are inside.
#[inline(always)]
fn clip(start: usize, kernel: usize, pad: usize, len: usize) -> (usize, usize, usize) {
    let skipped = pad.saturating_sub(start);
    let first = start + skipped - pad;
    (first, skipped, (kernel - skipped).min(len - first))
}
