//! The simple layer: tanh of one product.

use super::{Gradients, RnnTape, Shape, Weights, check, gradients, time_major};
use crate::Activation;
use crate::activation;
use crate::gemm::{Epilogue, Write, gemm};
use crate::matrix::{Mat, MatMut};
use crate::team::Team;

/// `h_t = tanh(x_t Wx + h_{t-1} Wh + b)` for all steps; `x` is `[n, steps, inputs]`.
///
/// # Panics
/// If a length does not fit.
#[track_caller]
pub fn rnn_forward(team: &Team, shape: &Shape, x: &[f32], weights: &Weights, tape: &mut RnnTape) {
    let Shape { steps, inputs, units } = *shape;
    let n = shape.batch(x.len());
    shape.check(1, weights.wx.len(), weights.wh.len(), weights.b.len());
    check("tape.x", tape.x.len(), x.len());
    check("tape.hidden", tape.hidden.len(), steps * n * units);
    if n == 0 {
        return;
    }
    time_major(team, shape, n, x, tape.x);
    let wx = Mat::new(weights.wx, inputs, units);
    let wh = Mat::new(weights.wh, units, units);
    let epilogue = || Epilogue::Bias { bias: weights.b, activation: Activation::Tanh };

    // x Wx of all steps at once; the first step, having no state, is finished by it.
    let (x_first, x_rest) = tape.x.split_at(n * inputs);
    let (first, rest) = tape.hidden.split_at_mut(n * units);
    let x_first = Mat::new(x_first, n, inputs);
    gemm(team, 1.0, x_first, wx, Write::Set, MatMut::new(first, n, units), epilogue());
    let rows = (steps - 1) * n;
    let x_rest = Mat::new(x_rest, rows, inputs);
    gemm(team, 1.0, x_rest, wx, Write::Set, MatMut::new(rest, rows, units), Epilogue::None);
    for t in 1..steps {
        let (before, now) = tape.hidden.split_at_mut(t * n * units);
        let before = Mat::new(&before[(t - 1) * n * units..], n, units);
        let now = MatMut::new(now, n, units);
        gemm(team, 1.0, before, wh, Write::Add { beta: 1.0 }, now, epilogue());
    }
}

/// Backpropagation through time from `d_last [n, units]`, the gradient by the last state.
/// `dz [steps, n, units]` is workspace. All gradients are overwritten.
///
/// # Panics
/// If a length does not fit.
#[track_caller]
pub fn rnn_backward(
    team: &Team,
    shape: &Shape,
    weights: &Weights,
    tape: &RnnTape,
    d_last: &[f32],
    dz: &mut [f32],
    out: &mut Gradients,
) {
    let Shape { steps, units, .. } = *shape;
    let n = shape.batch(tape.x.len());
    shape.check(1, weights.wx.len(), weights.wh.len(), weights.b.len());
    shape.check(1, out.dwx.len(), out.dwh.len(), out.db.len());
    check("tape.hidden", tape.hidden.len(), steps * n * units);
    check("d_last", d_last.len(), n * units);
    check("dz", dz.len(), steps * n * units);
    if let Some(dx) = &out.dx {
        check("dx", dx.len(), tape.x.len());
    }

    let last = (steps - 1) * n * units;
    dz[last..].copy_from_slice(d_last);
    activation::backward(team, Activation::Tanh, &tape.hidden[last..], &mut dz[last..]);
    let wh = Mat::new(weights.wh, units, units).t();
    for t in (1..steps).rev() {
        let (before, now) = dz.split_at_mut(t * n * units);
        let now = Mat::new(now, n, units);
        let y = Mat::new(&tape.hidden[(t - 1) * n * units..], n, units);
        let before = MatMut::new(&mut before[(t - 1) * n * units..], n, units);
        let epilogue = Epilogue::Derivative { y, activation: Activation::Tanh };
        gemm(team, 1.0, now, wh, Write::Set, before, epilogue);
    }
    gradients(team, shape, n, weights, tape.x, tape.hidden, dz, out);
}
