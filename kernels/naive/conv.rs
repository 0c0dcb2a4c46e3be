//! Twins of [`crate::conv`]: loops over images, output pixels, filters, and the window.

use super::activation;
use crate::{Activation, Geometry};

/// The offset in one input image of the pixel under tap `i, j` of the window at `row, col`, or
/// `None` in the padding.
fn pixel(g: &Geometry, row: usize, col: usize, i: usize, j: usize) -> Option<usize> {
    let y = (row * g.stride + i).checked_sub(g.pad_top)?;
    let x = (col * g.stride + j).checked_sub(g.pad_left)?;
    (y < g.in_h && x < g.in_w).then_some((y * g.in_w + x) * g.channels)
}

/// Calls `visit(x offset, w offset, y offset)` for every product of a convolution: all offsets
/// count elements, `x` and `y` over the whole batch.
fn for_each_product(
    g: &Geometry,
    batch: usize,
    filters: usize,
    mut visit: impl FnMut(usize, usize, usize),
) {
    for image in 0..batch {
        for row in 0..g.out_h {
            for col in 0..g.out_w {
                for filter in 0..filters {
                    let y = ((image * g.out_h + row) * g.out_w + col) * filters + filter;
                    for i in 0..g.kernel_h {
                        for j in 0..g.kernel_w {
                            let Some(pixel) = pixel(g, row, col, i, j) else { continue };
                            for channel in 0..g.channels {
                                let tap = (i * g.kernel_w + j) * g.channels + channel;
                                let x = image * g.in_len() + pixel + channel;
                                visit(x, tap * filters + filter, y);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// `y = activation(conv(x, w) + bias)`.
pub fn forward(
    g: &Geometry,
    x: &[f32],
    w: &[f32],
    bias: &[f32],
    activation: Activation,
    y: &mut [f32],
) {
    let filters = bias.len();
    y.iter_mut().enumerate().for_each(|(i, y)| *y = bias[i % filters]);
    for_each_product(g, x.len() / g.in_len(), filters, |at_x, at_w, at_y| {
        y[at_y] += x[at_x] * w[at_w];
    });
    activation::forward_in_place(activation, y);
}

/// The gradient by `x`.
pub fn backward_data(g: &Geometry, dz: &[f32], w: &[f32], dx: &mut [f32]) {
    dx.fill(0.0);
    let filters = w.len() / g.window_len();
    for_each_product(g, dx.len() / g.in_len(), filters, |at_x, at_w, at_y| {
        dx[at_x] += dz[at_y] * w[at_w];
    });
}

/// The gradients by `w` and the bias.
pub fn backward_weights(g: &Geometry, x: &[f32], dz: &[f32], dw: &mut [f32], db: &mut [f32]) {
    dw.fill(0.0);
    db.fill(0.0);
    let filters = db.len();
    for_each_product(g, x.len() / g.in_len(), filters, |at_x, at_w, at_y| {
        dw[at_w] += x[at_x] * dz[at_y];
    });
    dz.iter().enumerate().for_each(|(i, dz)| db[i % filters] += dz);
}
