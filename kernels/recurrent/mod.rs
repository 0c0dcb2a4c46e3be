//! Recurrent layers over short sequences: a simple layer (tanh) and an LSTM, both returning the
//! last hidden state.
//!
//! What a caller keeps between forward and backward is a *tape* of buffers, time-major:
//! `[steps, n, ...]`. One step of the whole batch is then one contiguous matrix, the last hidden
//! state is the last `n * units` elements of `hidden`, and the states "one step earlier" are the
//! same buffer shifted by one step, so each weight gradient is a single product over all steps. The
//! batch size `n` of a call is `x.len() / (steps * inputs)`; every buffer must have exactly the
//! length that its comment states for that `n`. Nothing is allocated.
//!
//! Formulas as Keras: `SimpleRNN(units)` and `LSTM(units)` with their default activations and zero
//! initial states.

mod lstm;
mod simple;

pub use lstm::{lstm_backward, lstm_forward};
pub use simple::{rnn_backward, rnn_forward};

use crate::gemm::{Epilogue, Write, gemm};
use crate::matrix::{Mat, MatMut};
use crate::sums;
use crate::team::{Parts, Team};

/// Sizes of a recurrent layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Length of a sequence.
    pub steps: usize,
    /// Features per step.
    pub inputs: usize,
    /// Size of the hidden state.
    pub units: usize,
}

/// Parameters of a recurrent layer; `g` is 1 for the simple layer and 4 for the LSTM (gates i, f,
/// c, o side by side).
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    /// `[inputs, g * units]`: the kernel.
    pub wx: &'a [f32],
    /// `[units, g * units]`: the recurrent kernel.
    pub wh: &'a [f32],
    /// `[g * units]`.
    pub b: &'a [f32],
}

/// Where backward writes; all of it is overwritten. Lengths as in [`Weights`].
#[derive(Debug)]
pub struct Gradients<'a> {
    /// `[inputs, g * units]`
    pub dwx: &'a mut [f32],
    /// `[units, g * units]`
    pub dwh: &'a mut [f32],
    /// `[g * units]`
    pub db: &'a mut [f32],
    /// `[n, steps, inputs]` (sample-major, like `x`), or `None` for a first layer.
    pub dx: Option<&'a mut [f32]>,
}

/// Buffers of the simple layer, written by [`rnn_forward`] and read by [`rnn_backward`].
#[derive(Debug)]
pub struct RnnTape<'a> {
    /// `[steps, n, inputs]`: the input, time-major.
    pub x: &'a mut [f32],
    /// `[steps, n, units]`: h of every step; the layer's output is the last `n * units` elements.
    pub hidden: &'a mut [f32],
}

/// Buffers of the LSTM, written by [`lstm_forward`]; [`lstm_backward`] reads them and destroys
/// `gates`.
#[derive(Debug)]
pub struct LstmTape<'a> {
    /// `[steps, n, inputs]`: the input, time-major.
    pub x: &'a mut [f32],
    /// `[steps, n, 4 * units]`: the activated gates i, f, c, o; after backward the gradient of the
    /// loss by their pre-activations.
    pub gates: &'a mut [f32],
    /// `[steps, n, units]`: c of every step.
    pub cell: &'a mut [f32],
    /// `[steps, n, units]`: h of every step; the layer's output is the last `n * units` elements.
    pub hidden: &'a mut [f32],
}

impl Shape {
    /// The batch size, from the length of `x`.
    #[track_caller]
    fn batch(&self, x: usize) -> usize {
        let Self { steps, inputs, units } = *self;
        assert!(steps > 0 && inputs > 0 && units > 0, "a recurrent layer without size: {self:?}");
        // Gates and their weights, of up to four gates: kernels multiply these sizes unchecked.
        let row = units.checked_mul(4).filter(|&width| {
            let rows =
                steps.checked_mul(inputs.max(units)).and_then(|rows| rows.checked_mul(width));
            rows.is_some_and(|rows| rows.checked_mul(x.max(1)).is_some())
        });
        assert!(row.is_some(), "a recurrent layer beyond any memory: {self:?}");
        let n = x / (steps * inputs);
        assert_eq!(x, n * steps * inputs, "x is no batch of {self:?}");
        n
    }

    /// Checks the parameters of a layer with `gates` gates.
    #[track_caller]
    fn check(&self, gates: usize, wx: usize, wh: usize, b: usize) {
        let width = gates * self.units;
        assert_eq!(wx, self.inputs * width, "the kernel is not {} x {width}", self.inputs);
        assert_eq!(wh, self.units * width, "the recurrent kernel is not {} x {width}", self.units);
        assert_eq!(b, width, "the bias has not {width} elements");
    }
}

/// Checks the length of a buffer of the tape.
#[track_caller]
fn check(name: &str, actual: usize, expected: usize) {
    assert_eq!(actual, expected, "{name} has {actual} elements instead of {expected}");
}

/// `x [n, steps, inputs]` to `tape [steps, n, inputs]`.
fn time_major(team: &Team, shape: &Shape, n: usize, x: &[f32], tape: &mut [f32]) {
    let Shape { steps, inputs, .. } = *shape;
    // 16,384 elements or more in a task.
    let chunk = (16_384 / (n * inputs).max(1)).max(1);
    let tape = Parts::new(tape);
    team.run_chunks(steps, chunk, |range, _| {
        for t in range {
            // SAFETY: each step is in one task.
            let step = unsafe { tape.part(t * n * inputs..(t + 1) * n * inputs) };
            for (i, row) in step.chunks_exact_mut(inputs).enumerate() {
                row.copy_from_slice(&x[(i * steps + t) * inputs..][..inputs]);
            }
        }
    });
}

/// All gradients from `dz [steps, n, width]`, the gradient by the pre-activations of all steps.
#[expect(clippy::too_many_arguments, reason = "one call from each layer")]
fn gradients(
    team: &Team,
    shape: &Shape,
    n: usize,
    weights: &Weights,
    x: &[f32],
    hidden: &[f32],
    dz: &[f32],
    out: &mut Gradients,
) {
    let Shape { steps, inputs, units } = *shape;
    let (rows, width) = (steps * n, weights.b.len());
    let all = Mat::new(dz, rows, width);
    let dwx = MatMut::new(out.dwx, inputs, width);
    gemm(team, 1.0, Mat::new(x, rows, inputs).t(), all, Write::Set, dwx, Epilogue::None);
    sums::columns(team, all, out.db);
    // The h of a step is multiplied with Wh in the next step.
    let before = Mat::new(hidden, rows - n, units).t();
    let after = Mat::new(&dz[n * width..], rows - n, width);
    let dwh = MatMut::new(out.dwh, units, width);
    gemm(team, 1.0, before, after, Write::Set, dwh, Epilogue::None);
    if let Some(dx) = &mut out.dx
        && n > 0
    {
        let wx = Mat::new(weights.wx, inputs, width).t();
        for t in 0..steps {
            let dz = Mat::new(&dz[t * n * width..], n, width);
            // Sample-major: rows of one step are `steps` rows apart.
            let dx = MatMut::strided(&mut dx[t * inputs..], n, inputs, steps * inputs, 1);
            gemm(team, 1.0, dz, wx, Write::Set, dx, Epilogue::None);
        }
    }
}
