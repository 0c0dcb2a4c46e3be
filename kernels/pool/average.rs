//! Average-pooling of the images of one task.

use super::Window;
use crate::geometry::Geometry;
use crate::simd::{Kernel, Simd};

pub(super) struct AverageForward<'a> {
    pub(super) g: &'a Geometry,
    pub(super) x: &'a [f32],
    pub(super) y: &'a mut [f32],
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
                                // SAFETY: the window lies in the image, and c + min(left, LANES) <=
                                // channels.
                                let value = unsafe {
                                    simd.load_first(
                                        x.as_ptr().add(window.offset(g, i, j) + c),
                                        left,
                                    )
                                };
                                sum = simd.add(sum, value);
                            }
                        }
                        // SAFETY: c + min(left, LANES) <= channels, the length of y.
                        unsafe {
                            let mean = simd.flush(simd.mul(sum, share));
                            simd.store_first(y.as_mut_ptr().add(c), mean, left);
                        }
                        c += S::LANES;
                    }
                    out += g.channels;
                }
            }
        }
    }
}

pub(super) struct AverageBackward<'a> {
    pub(super) g: &'a Geometry,
    pub(super) dy: &'a [f32],
    pub(super) dx: &'a mut [f32],
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
                        // SAFETY: the window lies in the image, and c + min(left, LANES) <=
                        // channels.
                        unsafe {
                            let value = simd.mul(simd.load_first(dy.as_ptr().add(c), left), share);
                            let value = simd.flush(value);
                            for i in 0..window.rows {
                                for j in 0..window.cols {
                                    let p = dx.as_mut_ptr().add(window.offset(g, i, j) + c);
                                    let sum = simd.add(simd.load_first(p, left), value);
                                    simd.store_first(p, simd.flush(sum), left);
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
