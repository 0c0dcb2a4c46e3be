//! Convolutions in the smaller precisions, as products of matrices that are built element by element: with the bits of
//! [`crate::conv`] by the same kernel, where the shape is computed in that precision.

use super::bf16::{cut, gemm};
use super::conv::pixel;
use crate::conv::{Convolution, is_covered_evenly};
use crate::gemm::{Blocking, Epilogue, Write};
use crate::precision::Arithmetic;
use crate::simd::flush;
use crate::{Geometry, Mat, MatMut, Precision};

/// Channels with the zero beside the last of an odd number: pairs are of the channels of one pixel.
fn even(channels: usize) -> usize {
    channels.next_multiple_of(2)
}

/// `C = A B`, whose blocks of K are summed one by one: a convolution's K has no slices.
fn product(
    arithmetic: Arithmetic,
    [m, n, k]: [usize; 3],
    a: &[f32],
    b: &[f32],
    c: &mut [f32],
    epilogue: Epilogue,
) {
    let blocking = Blocking { slice_blocks: 1 << 30, ..*Blocking::of_machine() };
    let (a, b, c) = (Mat::new(a, m, k), Mat::new(b, k, n), MatMut::new(c, m, n));
    gemm(arithmetic, &blocking, 1.0, a, b, Write::Set, c, epilogue);
}

/// `y = activation(conv(x, w) + bias)`
pub fn forward(arithmetic: Arithmetic, convolution: &Convolution, y: &mut [f32]) {
    let Convolution { geometry: g, x, w, bias, activation } = *convolution;
    let (taps, filters) = (g.kernel_h * g.kernel_w, bias.len());
    let (batch, k) = (x.len() / g.in_len(), taps * even(g.channels));
    let rows = batch * g.out_pixels();
    let (mut windows, mut weights) = (vec![0.0; rows * k], vec![0.0; k * filters]);
    for row in 0..rows {
        let (image, at) = (row / g.out_pixels(), row % g.out_pixels());
        for tap in 0..taps {
            let (i, j) = (tap / g.kernel_w, tap % g.kernel_w);
            let Some(pixel) = pixel(g, at / g.out_w, at % g.out_w, i, j) else { continue };
            for channel in 0..g.channels {
                windows[row * k + tap * even(g.channels) + channel] =
                    x[image * g.in_len() + pixel + channel];
            }
        }
    }
    for tap in 0..taps {
        for (i, w) in w[tap * g.channels * filters..][..g.channels * filters].iter().enumerate() {
            weights[tap * even(g.channels) * filters + i] = *w;
        }
    }
    let epilogue = Epilogue::Bias { bias, activation };
    product(arithmetic, [rows, filters, k], &windows, &weights, y, epilogue);
}

/// The gradient by `x`.
pub fn backward_data(arithmetic: Arithmetic, g: &Geometry, dz: &[f32], w: &[f32], dx: &mut [f32]) {
    if is_covered_evenly(g) {
        turned(arithmetic, g, dz, w, dx);
    } else {
        scattered(arithmetic, g, dz, w, dx);
    }
}

/// The transposed convolution: each input pixel with the outputs whose windows it is in, the last tap first.
fn turned(arithmetic: Arithmetic, g: &Geometry, dz: &[f32], w: &[f32], dx: &mut [f32]) {
    let (taps, filters) = (g.kernel_h * g.kernel_w, w.len() / g.window_len());
    let pixels = g.in_h * g.in_w;
    let (rows, k) = (dx.len() / g.channels, taps * even(filters));
    let (mut windows, mut weights) = (vec![0.0; rows * k], vec![0.0; k * g.channels]);
    for row in 0..rows {
        let (image, at) = (row / pixels, row % pixels);
        for turned in 0..taps {
            let tap = taps - 1 - turned;
            let under = |at: usize, pad: usize, tap: usize, out: usize| {
                (at + pad).checked_sub(tap).filter(|at| *at < out)
            };
            let line = under(at / g.in_w, g.pad_top, tap / g.kernel_w, g.out_h);
            let column = under(at % g.in_w, g.pad_left, tap % g.kernel_w, g.out_w);
            let (Some(line), Some(column)) = (line, column) else { continue };
            let output = image * g.out_pixels() + line * g.out_w + column;
            for filter in 0..filters {
                windows[row * k + turned * even(filters) + filter] = dz[output * filters + filter];
            }
        }
    }
    for turned in 0..taps {
        let tap = taps - 1 - turned;
        for channel in 0..g.channels {
            for filter in 0..filters {
                weights[(turned * even(filters) + filter) * g.channels + channel] =
                    w[(tap * g.channels + channel) * filters + filter];
            }
        }
    }
    product(arithmetic, [rows, g.channels, k], &windows, &weights, dx, Epilogue::None);
}

/// Each output adds its products to the pixels under its window, the last tap first, a block of filters after the
/// other.
fn scattered(arithmetic: Arithmetic, g: &Geometry, dz: &[f32], w: &[f32], dx: &mut [f32]) {
    let (taps, filters) = (g.kernel_h * g.kernel_w, w.len() / g.window_len());
    let (windows, k) = (dz.len() / filters, even(filters));
    let products = if arithmetic.precision == Precision::F32Split { 6 } else { 1 };
    let block = cut(arithmetic.kernel, Blocking::of_machine(), k, products).kc;
    let filter_of = |p: usize| (p < filters).then_some(p);
    // Of each tap and block the products of all windows.
    let mut of_taps = Vec::new();
    for tap in 0..taps {
        for first in (0..k).step_by(block) {
            let depth = block.min(k - first);
            let (mut a, mut b) = (vec![0.0; windows * depth], vec![0.0; depth * g.channels]);
            for (p, filter) in (0..depth).filter_map(|p| Some((p, filter_of(first + p)?))) {
                for window in 0..windows {
                    a[window * depth + p] = dz[window * filters + filter];
                }
                for channel in 0..g.channels {
                    b[p * g.channels + channel] =
                        w[(tap * g.channels + channel) * filters + filter];
                }
            }
            let mut c = vec![0.0; windows * g.channels];
            product(arithmetic, [windows, g.channels, depth], &a, &b, &mut c, Epilogue::None);
            of_taps.push(c);
        }
    }
    let blocks = k.div_ceil(block);
    dx.fill(0.0);
    for window in 0..windows {
        let (image, at) = (window / g.out_pixels(), window % g.out_pixels());
        for tap in (0..taps).rev() {
            let (i, j) = (tap / g.kernel_w, tap % g.kernel_w);
            let Some(pixel) = pixel(g, at / g.out_w, at % g.out_w, i, j) else { continue };
            for c in &of_taps[tap * blocks..(tap + 1) * blocks] {
                for channel in 0..g.channels {
                    let dx = &mut dx[image * g.in_len() + pixel + channel];
                    *dx = flush(*dx + c[window * g.channels + channel]);
                }
            }
        }
    }
}

/// The gradient by `w`. K is the windows of two images at a time, one of the first and the same of the second; beside an
/// odd last image stand zeros.
pub fn backward_weights(
    arithmetic: Arithmetic,
    g: &Geometry,
    x: &[f32],
    dz: &[f32],
    dw: &mut [f32],
) {
    let (batch, filters) = (x.len() / g.in_len(), dw.len() / g.window_len());
    let k = even(batch) * g.out_pixels();
    let (mut a, mut b) = (vec![0.0; g.window_len() * k], vec![0.0; k * filters]);
    for p in 0..k {
        let (image, at) = (p / 2 / g.out_pixels() * 2 + p % 2, p / 2 % g.out_pixels());
        if image == batch {
            continue;
        }
        for element in 0..g.window_len() {
            let (tap, channel) = (element / g.channels, element % g.channels);
            let (i, j) = (tap / g.kernel_w, tap % g.kernel_w);
            let Some(pixel) = pixel(g, at / g.out_w, at % g.out_w, i, j) else { continue };
            a[element * k + p] = x[image * g.in_len() + pixel + channel];
        }
        let row = (image * g.out_pixels() + at) * filters;
        b[p * filters..(p + 1) * filters].copy_from_slice(&dz[row..row + filters]);
    }
    let (a, b) = (Mat::new(&a, g.window_len(), k), Mat::new(&b, k, filters));
    let c = MatMut::new(dw, g.window_len(), filters);
    gemm(arithmetic, Blocking::of_machine(), 1.0, a, b, Write::Set, c, Epilogue::None);
}
