//! Pooling windows, walked tap by tap.

use crate::geometry::Geometry;
use crate::simd::flush;

/// Calls `visit(tap, offset)` for every tap of the window of output pixel (`oh`, `ow`) that lies
/// inside the image, in row order; `offset` is that of the tap's first channel in the image.
fn taps(g: &Geometry, oh: usize, ow: usize, mut visit: impl FnMut(usize, usize)) {
    for kh in 0..g.kernel_h {
        for kw in 0..g.kernel_w {
            let (h, w) = (oh * g.stride + kh, ow * g.stride + kw);
            if h < g.pad_top
                || w < g.pad_left
                || h - g.pad_top >= g.in_h
                || w - g.pad_left >= g.in_w
            {
                continue;
            }
            visit(kh * g.kernel_w + kw, ((h - g.pad_top) * g.in_w + (w - g.pad_left)) * g.channels);
        }
    }
}

/// Calls `visit(image, oh, ow, offset)` for every output pixel of `images` images; `offset` is that
/// of its first channel.
fn pixels(g: &Geometry, images: usize, mut visit: impl FnMut(usize, usize, usize, usize)) {
    for image in 0..images {
        for oh in 0..g.out_h {
            for ow in 0..g.out_w {
                visit(image, oh, ow, ((image * g.out_h + oh) * g.out_w + ow) * g.channels);
            }
        }
    }
}

/// Largest element of every window, and its place in the window; the first wins on ties.
pub fn max_forward(g: &Geometry, x: &[f32], y: &mut [f32], argmax: &mut [u8]) {
    pixels(g, x.len() / g.in_len(), |image, oh, ow, out| {
        for c in 0..g.channels {
            let mut winner: Option<(f32, usize)> = None;
            taps(g, oh, ow, |tap, offset| {
                let value = x[image * g.in_len() + offset + c];
                if winner.is_none_or(|(best, _)| value > best) {
                    winner = Some((value, tap));
                }
            });
            let (best, tap) = winner.expect("every window meets the image");
            y[out + c] = best;
            argmax[out + c] = tap as u8;
        }
    });
}

/// Gradient of [`max_forward`]: every dy goes to its winner.
pub fn max_backward(g: &Geometry, argmax: &[u8], dy: &[f32], dx: &mut [f32]) {
    dx.fill(0.0);
    pixels(g, dx.len() / g.in_len(), |image, oh, ow, out| {
        taps(g, oh, ow, |tap, offset| {
            for c in 0..g.channels {
                if usize::from(argmax[out + c]) == tap {
                    let dx = &mut dx[image * g.in_len() + offset + c];
                    *dx = flush(*dx + dy[out + c]);
                }
            }
        });
    });
}

/// Mean of every window's taps inside the image.
pub fn average_forward(g: &Geometry, x: &[f32], y: &mut [f32]) {
    pixels(g, x.len() / g.in_len(), |image, oh, ow, out| {
        for c in 0..g.channels {
            let (mut sum, mut count) = (0.0_f64, 0_u32);
            taps(g, oh, ow, |_, offset| {
                sum += f64::from(x[image * g.in_len() + offset + c]);
                count += 1;
            });
            y[out + c] = flush((sum / f64::from(count)) as f32);
        }
    });
}

/// Gradient of [`average_forward`]: every dy is shared equally among its taps.
pub fn average_backward(g: &Geometry, dy: &[f32], dx: &mut [f32]) {
    dx.fill(0.0);
    pixels(g, dx.len() / g.in_len(), |image, oh, ow, out| {
        let mut count = 0_u32;
        taps(g, oh, ow, |_, _| count += 1);
        taps(g, oh, ow, |_, offset| {
            for c in 0..g.channels {
                let dx = &mut dx[image * g.in_len() + offset + c];
                *dx = flush(*dx + dy[out + c] / count as f32);
            }
        });
    });
}
