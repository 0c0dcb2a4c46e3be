//! Max-pooling of the images of one task.

use super::Window;
use crate::geometry::Geometry;
use crate::simd::{Kernel, Simd};

pub(super) struct MaxForward<'a> {
    pub(super) g: &'a Geometry,
    pub(super) x: &'a [f32],
    pub(super) y: &'a mut [f32],
    pub(super) argmax: &'a mut [u8],
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
            let mut best = simd.load_first(x.as_ptr().add(window.offset(g, 0, 0) + c), left);
            let mut place = simd.splat(first as f32);
            for i in 0..window.rows {
                for j in 0..window.cols {
                    let p = x.as_ptr().add(window.offset(g, i, j) + c);
                    // Prefetches the same place of the next row of windows. With the CPU's prefetchers
                    // alone, which see short runs in two rows, an image in L3 took one and a half times
                    // as long; an image in L2 takes a fifth longer with this prefetch.
                    simd.prefetch(p.wrapping_add(g.stride * g.in_w * g.channels));
                    let value = simd.load_first(p, left);
                    let wins = simd.gt(value, best);
                    let here = simd.splat((first + i * kernel_w + j) as f32);
                    best = simd.select(wins, value, best);
                    place = simd.select(wins, here, place);
                }
            }
            simd.store_first(y.as_mut_ptr().add(c), best, left);
            simd.store_u8(argmax.as_mut_ptr().add(c), place, left);
        }
        c += S::LANES;
    }
}

pub(super) struct MaxBackward<'a> {
    pub(super) g: &'a Geometry,
    pub(super) argmax: &'a [u8],
    pub(super) dy: &'a [f32],
    pub(super) dx: &'a mut [f32],
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
            // Zeros are written one row of windows ahead, not a whole image ahead: what is written next
            // is then in L1, and a cache line that is filled as a whole need not be read first.
            let row = g.in_w * g.channels;
            let mut filled = 0;
            for oh in 0..g.out_h {
                let window = Window::new(g, oh, 0);
                let end = (window.h + window.rows) * row;
                if filled < end {
                    dx[filled..end].fill(0.0);
                    filled = end;
                }
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
            dx[filled..].fill(0.0);
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
            let mut rest = simd.load_first(dy.as_ptr().add(c), left);
            let place = simd.load_u8(argmax.as_ptr().add(c), left);
            for i in 0..window.rows {
                for j in 0..window.cols {
                    // What is left of dy after the earlier places: lanes whose winner comes later keep
                    // it, the others store it here.
                    let here = ((window.kh + i) * kernel_w + window.kw + j) as f32;
                    let later = simd.gt(place, simd.splat(here));
                    let mut value = simd.select(later, zero, rest);
                    rest = simd.select(later, rest, zero);
                    let p = dx.as_mut_ptr().add(window.offset(g, i, j) + c);
                    if OVERLAP {
                        value = simd.flush(simd.add(simd.load_first(p, left), value));
                    }
                    simd.store_first(p, value, left);
                }
            }
        }
        c += S::LANES;
    }
}
