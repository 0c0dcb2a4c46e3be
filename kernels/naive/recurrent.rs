//! Recurrent layers as their recurrences are written on paper: one sample, one step, one unit at a
//! time, sums in f64.
//!
//! Sizes and layouts of all buffers: `crate::recurrent`.

use crate::recurrent::{Gradients, LstmTape, RnnTape, Shape, Weights};
use crate::simd::flush;

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `x` sample-major to `tape` time-major; returns the batch size.
fn transpose(shape: &Shape, x: &[f32], tape: &mut [f32]) -> usize {
    let n = x.len() / (shape.steps * shape.inputs);
    for i in 0..n {
        for t in 0..shape.steps {
            for j in 0..shape.inputs {
                tape[(t * n + i) * shape.inputs + j] = x[(i * shape.steps + t) * shape.inputs + j];
            }
        }
    }
    n
}

/// Column `column` of `b + x Wx + h Wh` for row `row` of the tape (`step * n + sample`); there is
/// no h before the first step.
fn preactivation(
    shape: &Shape,
    n: usize,
    row: usize,
    column: usize,
    weights: &Weights,
    x: &[f32],
    hidden: &[f32],
) -> f64 {
    let width = weights.b.len();
    let mut z = f64::from(weights.b[column]);
    for j in 0..shape.inputs {
        z += f64::from(x[row * shape.inputs + j]) * f64::from(weights.wx[j * width + column]);
    }
    if row >= n {
        for j in 0..shape.units {
            z += f64::from(hidden[(row - n) * shape.units + j])
                * f64::from(weights.wh[j * width + column]);
        }
    }
    z
}

/// All weight gradients and dx from dz, the gradient by the pre-activations of all steps.
fn gradients(
    shape: &Shape,
    n: usize,
    weights: &Weights,
    x: &[f32],
    hidden: &[f32],
    dz: &[f32],
    out: &mut Gradients,
) {
    let width = weights.b.len();
    let rows = shape.steps * n;
    for column in 0..width {
        let sum = |value: &dyn Fn(usize) -> f64, from: usize| -> f32 {
            let products = (from..rows).map(|row| value(row) * f64::from(dz[row * width + column]));
            flush(products.sum::<f64>() as f32)
        };
        out.db[column] = sum(&|_| 1.0, 0);
        for j in 0..shape.inputs {
            out.dwx[j * width + column] = sum(&|row| f64::from(x[row * shape.inputs + j]), 0);
        }
        for j in 0..shape.units {
            out.dwh[j * width + column] =
                sum(&|row| f64::from(hidden[(row - n) * shape.units + j]), n);
        }
    }
    if let Some(dx) = &mut out.dx {
        for row in 0..rows {
            let (t, i) = (row / n, row % n);
            for j in 0..shape.inputs {
                let products = (0..width)
                    .map(|k| f64::from(dz[row * width + k]) * f64::from(weights.wx[j * width + k]));
                dx[(i * shape.steps + t) * shape.inputs + j] = flush(products.sum::<f64>() as f32);
            }
        }
    }
}

/// dz Wh^T: what row `row` of dz sends back to unit `unit` of the state one step earlier.
fn sent_back(shape: &Shape, weights: &Weights, dz: &[f32], row: usize, unit: usize) -> f64 {
    let width = weights.b.len();
    debug_assert_eq!(weights.wh.len(), shape.units * width);
    (0..width)
        .map(|k| f64::from(dz[row * width + k]) * f64::from(weights.wh[unit * width + k]))
        .sum()
}

/// `h_t = tanh(x_t Wx + h_{t-1} Wh + b)`.
pub fn rnn_forward(shape: &Shape, x: &[f32], weights: &Weights, tape: &mut RnnTape) {
    let n = transpose(shape, x, tape.x);
    for row in 0..shape.steps * n {
        for unit in 0..shape.units {
            let z = preactivation(shape, n, row, unit, weights, tape.x, tape.hidden);
            tape.hidden[row * shape.units + unit] = flush(z.tanh() as f32);
        }
    }
}

/// Backpropagation through time from the gradient by the last state.
pub fn rnn_backward(
    shape: &Shape,
    weights: &Weights,
    tape: &RnnTape,
    d_last: &[f32],
    dz: &mut [f32],
    out: &mut Gradients,
) {
    let n = d_last.len() / shape.units;
    for row in (0..shape.steps * n).rev() {
        for unit in 0..shape.units {
            let dh = if row >= (shape.steps - 1) * n {
                f64::from(d_last[(row - (shape.steps - 1) * n) * shape.units + unit])
            } else {
                sent_back(shape, weights, dz, row + n, unit)
            };
            let h = f64::from(tape.hidden[row * shape.units + unit]);
            dz[row * shape.units + unit] = flush((dh * (1.0 - h * h)) as f32);
        }
    }
    gradients(shape, n, weights, tape.x, tape.hidden, dz, out);
}

/// `i, f, o = sigmoid(z)`, `g = tanh(z)` with `z = x_t Wx + h_{t-1} Wh + b`, a column for each;
/// `c_t = f c_{t-1} + i g`; `h_t = o tanh(c_t)`.
pub fn lstm_forward(shape: &Shape, x: &[f32], weights: &Weights, tape: &mut LstmTape) {
    let n = transpose(shape, x, tape.x);
    let u = shape.units;
    for row in 0..shape.steps * n {
        for unit in 0..u {
            let z = [0, 1, 2, 3].map(|gate| {
                preactivation(shape, n, row, gate * u + unit, weights, tape.x, tape.hidden)
            });
            let [i, f, g, o] = [sigmoid(z[0]), sigmoid(z[1]), z[2].tanh(), sigmoid(z[3])];
            let before = if row >= n { f64::from(tape.cell[(row - n) * u + unit]) } else { 0.0 };
            let c = f * before + i * g;
            for (gate, value) in [i, f, g, o].into_iter().enumerate() {
                tape.gates[row * 4 * u + gate * u + unit] = flush(value as f32);
            }
            tape.cell[row * u + unit] = flush(c as f32);
            tape.hidden[row * u + unit] = flush((o * c.tanh()) as f32);
        }
    }
}

/// Backpropagation through time from the gradient by the last state.
pub fn lstm_backward(
    shape: &Shape,
    weights: &Weights,
    tape: &mut LstmTape,
    d_last: &[f32],
    carry: &mut [f32],
    out: &mut Gradients,
) {
    let u = shape.units;
    let n = d_last.len() / u;
    let (_, dc) = carry.split_at_mut(n * u);
    dc.fill(0.0);
    for row in (0..shape.steps * n).rev() {
        for unit in 0..u {
            let last = row >= (shape.steps - 1) * n;
            let dh = if last {
                f64::from(d_last[(row - (shape.steps - 1) * n) * u + unit])
            } else {
                sent_back(shape, weights, tape.gates, row + n, unit)
            };
            let gate = |k: usize| f64::from(tape.gates[row * 4 * u + k * u + unit]);
            let [i, f, g, o] = [gate(0), gate(1), gate(2), gate(3)];
            let squashed = f64::from(tape.cell[row * u + unit]).tanh();
            let before = if row >= n { f64::from(tape.cell[(row - n) * u + unit]) } else { 0.0 };
            let carried = &mut dc[(row % n) * u + unit];
            let dc = f64::from(*carried) + dh * o * (1.0 - squashed * squashed);
            *carried = flush((dc * f) as f32);
            let dz = [
                dc * g * i * (1.0 - i),
                dc * before * f * (1.0 - f),
                dc * i * (1.0 - g * g),
                dh * squashed * o * (1.0 - o),
            ];
            for (k, dz) in dz.into_iter().enumerate() {
                tape.gates[row * 4 * u + k * u + unit] = flush(dz as f32);
            }
        }
    }
    gradients(shape, n, weights, tape.x, tape.hidden, tape.gates, out);
}
