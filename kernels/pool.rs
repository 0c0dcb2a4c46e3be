//! Max and average pooling of NHWC images. Vectors run over channels; a task is some whole images.

use crate::geometry::Geometry;
use crate::simd::{Kernel, Simd};
use crate::team::{Parts, Team};
use std::ops::Range;

/// Input elements of the smallest task.
const TASK: usize = 16_384;

/// Checks the lengths and returns the number of images.
#[track_caller]
fn images(g: &Geometry, input: usize, output: usize) -> usize {
    // Holds for what `Geometry::new` makes; its fields are public, and pointers rely on it.
    let meets = |out: usize, pad: usize, kernel: usize, len: usize| {
        pad < kernel && out > 0 && (out - 1) * g.stride < pad + len
    };
    assert!(
        meets(g.out_h, g.pad_top, g.kernel_h, g.in_h)
            && meets(g.out_w, g.pad_left, g.kernel_w, g.in_w),
        "a window of {g:?} lies outside the image"
    );
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

/// The mean of each window; padding counts for nothing, not in the divisor either.
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
    /// The window of output pixel (`oh`, `ow`). It is never empty: `images` saw to
    /// that.
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

/// Loads up to `LANES` floats.
///
/// # Safety
/// `p` is valid for reads of `min(left, LANES)` floats.
#[inline(always)]
unsafe fn load<S: Simd>(simd: S, p: *const f32, left: usize) -> S::V {
    // SAFETY: by this function's contract.
    unsafe {
        if left >= S::LANES { simd.load(p) } else { simd.load_masked(p, simd.mask_first(left)) }
    }
}

/// Stores up to `LANES` floats.
///
/// # Safety
/// `p` is valid for writes of `min(left, LANES)` floats.
#[inline(always)]
unsafe fn store<S: Simd>(simd: S, p: *mut f32, v: S::V, left: usize) {
    // SAFETY: by this function's contract.
    unsafe {
        if left >= S::LANES {
            simd.store(p, v);
        } else {
            simd.store_masked(p, v, simd.mask_first(left));
        }
    }
}

struct MaxForward<'a> {
    g: &'a Geometry,
    x: &'a [f32],
    y: &'a mut [f32],
    argmax: &'a mut [u8],
}

impl Kernel for MaxForward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { g, x, y, argmax } = self;
        let mut out = 0;
        for image in 0..x.len() / g.in_len() {
            let x = &x[image * g.in_len()..][..g.in_len()];
            for oh in 0..g.out_h {
                for ow in 0..g.out_w {
                    let window = Window::new(g, oh, ow);
                    let (y, argmax) =
                        (&mut y[out..][..g.channels], &mut argmax[out..][..g.channels]);
                    // 2x2 is the size that networks use: written out by the compiler.
                    if g.kernel_w == 2 && window.rows == 2 && window.cols == 2 {
                        max_pixel(simd, g, Window { rows: 2, cols: 2, ..window }, 2, x, y, argmax);
                    } else {
                        max_pixel(simd, g, window, g.kernel_w, x, y, argmax);
                    }
                    out += g.channels;
                }
            }
        }
    }
}

/// All channels of one output pixel.
#[inline(always)]
fn max_pixel<S: Simd>(
    simd: S,
    g: &Geometry,
    window: Window,
    kernel_w: usize,
    x: &[f32],
    y: &mut [f32],
    argmax: &mut [u8],
) {
    let mut c = 0;
    while c < g.channels {
        let left = g.channels - c;
        let first = window.kh * kernel_w + window.kw;
        // SAFETY: the window's places lie in the image, and c + min(left, LANES) <= channels, the
        // length of y and argmax.
        unsafe {
            let mut best = load(simd, x.as_ptr().add(window.offset(g, 0, 0) + c), left);
            let mut place = simd.splat(first as f32);
            for i in 0..window.rows {
                for j in 0..window.cols {
                    let value = load(simd, x.as_ptr().add(window.offset(g, i, j) + c), left);
                    let wins = simd.gt(value, best);
                    let here = simd.splat((first + i * kernel_w + j) as f32);
                    best = simd.select(wins, value, best);
                    place = simd.select(wins, here, place);
                }
            }
            store(simd, y.as_mut_ptr().add(c), best, left);
            simd.store_u8(argmax.as_mut_ptr().add(c), place, left);
        }
        c += S::LANES;
    }
}

struct MaxBackward<'a> {
    g: &'a Geometry,
    argmax: &'a [u8],
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl Kernel for MaxBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { g, argmax, dy, dx } = self;
        let overlap = g.stride < g.kernel_h.max(g.kernel_w);
        let mut out = 0;
        for image in 0..dx.len() / g.in_len() {
            let dx = &mut dx[image * g.in_len()..][..g.in_len()];
            dx.fill(0.0);
            for oh in 0..g.out_h {
                for ow in 0..g.out_w {
                    let window = Window::new(g, oh, ow);
                    let (dy, argmax) = (&dy[out..][..g.channels], &argmax[out..][..g.channels]);
                    if overlap {
                        max_back::<S, true>(simd, g, window, g.kernel_w, argmax, dy, dx);
                    } else if g.kernel_w == 2 && window.rows == 2 && window.cols == 2 {
                        let window = Window { rows: 2, cols: 2, ..window };
                        max_back::<S, false>(simd, g, window, 2, argmax, dy, dx);
                    } else {
                        max_back::<S, false>(simd, g, window, g.kernel_w, argmax, dy, dx);
                    }
                    out += g.channels;
                }
            }
        }
    }
}

/// All channels of one output pixel; adds to `dx` if windows overlap.
#[inline(always)]
fn max_back<S: Simd, const OVERLAP: bool>(
    simd: S,
    g: &Geometry,
    window: Window,
    kernel_w: usize,
    argmax: &[u8],
    dy: &[f32],
    dx: &mut [f32],
) {
    let zero = simd.splat(0.0);
    let mut c = 0;
    while c < g.channels {
        let left = g.channels - c;
        // SAFETY: as in `max_pixel`.
        unsafe {
            let mut rest = load(simd, dy.as_ptr().add(c), left);
            let place = simd.load_u8(argmax.as_ptr().add(c), left);
            for i in 0..window.rows {
                for j in 0..window.cols {
                    // What is left of dy once the earlier places had theirs: the lanes whose
                    // winner comes later keep it, the others leave it here.
                    let here = ((window.kh + i) * kernel_w + window.kw + j) as f32;
                    let later = simd.gt(place, simd.splat(here));
                    let mut value = simd.select(later, zero, rest);
                    rest = simd.select(later, rest, zero);
                    let p = dx.as_mut_ptr().add(window.offset(g, i, j) + c);
                    if OVERLAP {
                        value = simd.add(load(simd, p, left), value);
                    }
                    store(simd, p, value, left);
                }
            }
        }
        c += S::LANES;
    }
}

struct AverageForward<'a> {
    g: &'a Geometry,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for AverageForward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { g, x, y } = self;
        let mut out = 0;
        for image in 0..x.len() / g.in_len() {
            let x = &x[image * g.in_len()..][..g.in_len()];
            for oh in 0..g.out_h {
                for ow in 0..g.out_w {
                    let window = Window::new(g, oh, ow);
                    let share = simd.splat(1.0 / (window.rows * window.cols) as f32);
                    let y = &mut y[out..][..g.channels];
                    let mut c = 0;
                    while c < g.channels {
                        let left = g.channels - c;
                        let mut sum = simd.splat(0.0);
                        for i in 0..window.rows {
                            for j in 0..window.cols {
                                // SAFETY: as in `max_pixel`.
                                let value = unsafe {
                                    load(simd, x.as_ptr().add(window.offset(g, i, j) + c), left)
                                };
                                sum = simd.add(sum, value);
                            }
                        }
                        // SAFETY: c + min(left, LANES) <= channels, the length of y.
                        unsafe { store(simd, y.as_mut_ptr().add(c), simd.mul(sum, share), left) };
                        c += S::LANES;
                    }
                    out += g.channels;
                }
            }
        }
    }
}

struct AverageBackward<'a> {
    g: &'a Geometry,
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl Kernel for AverageBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { g, dy, dx } = self;
        let mut out = 0;
        for image in 0..dx.len() / g.in_len() {
            let dx = &mut dx[image * g.in_len()..][..g.in_len()];
            dx.fill(0.0);
            for oh in 0..g.out_h {
                for ow in 0..g.out_w {
                    let window = Window::new(g, oh, ow);
                    let share = simd.splat(1.0 / (window.rows * window.cols) as f32);
                    let dy = &dy[out..][..g.channels];
                    let mut c = 0;
                    while c < g.channels {
                        let left = g.channels - c;
                        // SAFETY: as in `max_pixel`.
                        unsafe {
                            let value = simd.mul(load(simd, dy.as_ptr().add(c), left), share);
                            for i in 0..window.rows {
                                for j in 0..window.cols {
                                    let p = dx.as_mut_ptr().add(window.offset(g, i, j) + c);
                                    store(simd, p, simd.add(load(simd, p, left), value), left);
                                }
                            }
                        }
                        c += S::LANES;
                    }
                    out += g.channels;
                }
            }
        }
    }
}
