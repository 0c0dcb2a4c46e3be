//! Convolution: GEMM with another packer. The matrix of im2col (a row for each output pixel, a
//! column for each element under its window) is never built; `im2col` hands its panels to the loops
//! of [`crate::gemm`] one by one.
//!
//! Images are `[n, h, w, channels]`, weights `[kernel_h, kernel_w, channels, filters]`, as in
//! Keras.

pub(crate) mod im2col;

use crate::gemm::Blocking;
use crate::gemm::loops::{Output, multiply};
use crate::gemm::{Epilogue, Write};
use crate::{Activation, Geometry, Mat, MatMut, Team, sums};
use im2col::{Im2col, Transposed, TurnedWeights};

/// `y = activation(conv(x, w) + bias)`.
///
/// `x` is `[n, in_h, in_w, channels]`, `w` `[kernel_h, kernel_w, channels, filters]`, `bias`
/// `[filters]`, `y` `[n, out_h, out_w, filters]`.
///
/// # Panics
/// If the lengths do not fit together.
pub fn forward(
    team: &Team,
    geometry: &Geometry,
    x: &[f32],
    w: &[f32],
    bias: &[f32],
    activation: Activation,
    y: &mut [f32],
) {
    let filters = bias.len();
    let batch = check(geometry, x.len(), w.len(), filters, y.len());
    let a = Im2col::of_input(geometry, x);
    let b = Mat::new(w, geometry.window_len(), filters);
    let c = MatMut::new(y, batch * geometry.out_pixels(), filters);
    let epilogue = Epilogue::Bias { bias, activation };
    let output = Output { alpha: 1.0, write: Write::Set, c, epilogue };
    multiply(team, &Blocking::DEFAULT, &a, &b, output);
}

/// The gradient of the loss by `x`, from its gradient `dz` by the convolution's output before the
/// activation. `dx` is overwritten. The transposed convolution: the window of an input pixel slides
/// over `dz`, with the weights turned around.
///
/// # Panics
/// If the lengths do not fit together.
pub fn backward_data(team: &Team, geometry: &Geometry, dz: &[f32], w: &[f32], dx: &mut [f32]) {
    let filters = w.len() / geometry.window_len();
    let batch = check(geometry, dx.len(), w.len(), filters, dz.len());
    let a = Im2col::of_output_gradient(geometry, filters, dz);
    let b = TurnedWeights::new(geometry, filters, w);
    let c = MatMut::new(dx, batch * geometry.in_h * geometry.in_w, geometry.channels);
    let output = Output { alpha: 1.0, write: Write::Set, c, epilogue: Epilogue::None };
    multiply(team, &Blocking::DEFAULT, &a, &b, output);
}

/// The gradients of the loss by the weights and the bias, from its gradient `dz` by the
/// convolution's output before the activation. `dw` and `db` are overwritten.
///
/// # Panics
/// If the lengths do not fit together.
pub fn backward_weights(
    team: &Team,
    geometry: &Geometry,
    x: &[f32],
    dz: &[f32],
    dw: &mut [f32],
    db: &mut [f32],
) {
    let filters = db.len();
    let batch = check(geometry, x.len(), dw.len(), filters, dz.len());
    let dz = Mat::new(dz, batch * geometry.out_pixels(), filters);
    let a = Transposed(Im2col::of_input(geometry, x));
    let c = MatMut::new(dw, geometry.window_len(), filters);
    let output = Output { alpha: 1.0, write: Write::Set, c, epilogue: Epilogue::None };
    multiply(team, &Blocking::DEFAULT, &a, &dz, output);
    sums::columns(team, dz, db);
}

/// Checks all lengths; the batch size.
#[track_caller]
fn check(g: &Geometry, x: usize, w: usize, filters: usize, y: usize) -> usize {
    let batch = x / g.in_len();
    assert_eq!(x, batch * g.in_len(), "x is not whole images of {} elements", g.in_len());
    assert_eq!(w, g.window_len() * filters, "the weights of {filters} filters");
    assert_eq!(y, batch * g.out_pixels() * filters, "y of {batch} images");
    batch
}
