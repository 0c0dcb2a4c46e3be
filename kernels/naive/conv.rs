//! Twins of [`crate::conv`]: loops over images, output pixels, filters, and the window.

use super::{activation, norm, pool};
use crate::conv::{Convolution, Winners};
use crate::dropout::Dropout;
use crate::simd::flush;
use crate::{Geometry, Padding};

/// The offset in one input image of the pixel under tap `i, j` of the window at `row, col`, or
/// `None` in the padding.
pub(super) fn pixel(g: &Geometry, row: usize, col: usize, i: usize, j: usize) -> Option<usize> {
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
pub fn forward(convolution: &Convolution, y: &mut [f32]) {
    let Convolution { geometry: g, x, w, bias, activation } = *convolution;
    let filters = bias.len();
    y.iter_mut().enumerate().for_each(|(i, y)| *y = bias[i % filters]);
    for_each_product(g, x.len() / g.in_len(), filters, |at_x, at_w, at_y| {
        y[at_y] += x[at_x] * w[at_w];
    });
    y.iter_mut().for_each(|y| *y = flush(*y));
    activation::forward_in_place(activation, y);
}

/// The gradient by `x`.
pub fn backward_data(g: &Geometry, dz: &[f32], w: &[f32], dx: &mut [f32]) {
    dx.fill(0.0);
    let filters = w.len() / g.window_len();
    for_each_product(g, dx.len() / g.in_len(), filters, |at_x, at_w, at_y| {
        dx[at_x] += dz[at_y] * w[at_w];
    });
    dx.iter_mut().for_each(|dx| *dx = flush(*dx));
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
    dw.iter_mut().chain(db).for_each(|sum| *sum = flush(*sum));
}

/// The pool of `forward_pooled`, over the map at full resolution. `None` if that has no window.
fn pool_of_map(g: &Geometry, filters: usize) -> Option<Geometry> {
    Geometry::new([g.out_h, g.out_w, filters], [2, 2], 2, Padding::Valid)
}

/// `y = max_pool(dropout(activation(conv(x, w) + bias)))`, one after the other.
pub fn forward_pooled(
    job: &Convolution,
    dropout: Option<&Dropout>,
    y: &mut [f32],
    argmax: &mut [u8],
) {
    let (g, filters) = (job.geometry, job.bias.len());
    let Some(pooling) = pool_of_map(g, filters) else { return };
    let per_sample = g.out_pixels() * filters;
    let mut map = vec![0.0; job.x.len() / g.in_len() * per_sample];
    forward(job, &mut map);
    let mut alive = vec![1.0; map.len()];
    if let Some(rule) = dropout {
        super::dropout::backward(rule, per_sample, &mut map);
        super::dropout::backward(rule, per_sample, &mut alive);
    }
    pool::max_forward(&pooling, &map, y, argmax);
    let dead: Vec<f32> = alive.iter().map(|&alive| f32::from(u8::from(alive == 0.0))).collect();
    let mut is_dead = vec![0.0; y.len()];
    gather_winners(&pooling, argmax, &dead, &mut is_dead);
    for (argmax, dead) in argmax.iter_mut().zip(is_dead) {
        *argmax += 4 * dead as u8;
    }
}

/// `y = activation(conv(x, w) + bias)`, and the mean and biased variance of each filter's column.
pub fn forward_with_moments(
    job: &Convolution,
    y: &mut [f32],
    mean: &mut [f32],
    variance: &mut [f32],
) {
    forward(job, y);
    let (zeros, mut normal) = (vec![0.0; mean.len()], vec![0.0; y.len()]);
    norm::train_forward(y, &zeros, &zeros, 1.0, &mut normal, mean, variance);
}

/// The elements of a map at the winners' places.
fn gather_winners(pooling: &Geometry, argmax: &[u8], map: &[f32], out: &mut [f32]) {
    let c = pooling.channels;
    for (i, out) in out.iter_mut().enumerate() {
        let (filter, pixel) = (i % c, i / c);
        let (col, line) = (pixel % pooling.out_w, pixel / pooling.out_w);
        let (line, image) = (line % pooling.out_h, line / pooling.out_h);
        let (row, place) = (image * pooling.in_h + 2 * line, usize::from(argmax[i]));
        *out = map[((row + place / 2) * pooling.in_w + 2 * col + place % 2) * c + filter];
    }
}

/// The pool's gradient, then that of dropout and activation, at full resolution.
pub fn expand_winners(g: &Geometry, filters: usize, winners: &Winners, dz: &mut [f32]) {
    let Some(pooling) = pool_of_map(g, filters) else { return dz.fill(0.0) };
    let keep = 1.0 - winners.dropout_rate;
    let mut gradients = winners.dy.to_vec();
    for (gradient, argmax) in gradients.iter_mut().zip(winners.argmax) {
        *gradient = if *argmax >= 4 { 0.0 } else { flush(*gradient * (1.0 / keep)) };
    }
    let outputs: Vec<f32> = winners.y.iter().map(|y| y * keep).collect();
    activation::backward(winners.activation, &outputs, &mut gradients);
    let places: Vec<u8> = winners.argmax.iter().map(|argmax| argmax % 4).collect();
    pool::max_backward(&pooling, &places, &gradients, dz);
}

/// The gradients by `w` and the bias, by way of the map at full resolution.
pub fn backward_weights_pooled(
    g: &Geometry,
    x: &[f32],
    winners: &Winners,
    dw: &mut [f32],
    db: &mut [f32],
) {
    let mut dz = vec![0.0; x.len() / g.in_len() * g.out_pixels() * db.len()];
    expand_winners(g, db.len(), winners, &mut dz);
    backward_weights(g, x, &dz, dw, db);
}
