//! Recurrent layers over short sequences: a simple layer (tanh) and an LSTM, both returning the last hidden state.
//!
//! What a caller keeps between forward and backward is a *tape* of buffers, time-major: `[steps, n, ...]`. One step of the
//! whole batch is then one contiguous matrix, the last hidden state is the last `n * units` elements of `hidden`, and the
//! states "one step earlier" are the same buffer shifted by one step, so each weight gradient is a single product over all
//! steps. The batch size `n` of a call is `x.len() / (steps * inputs)`; every buffer must have exactly the length its
//! comment states for that `n`. Nothing is allocated.
//!
//! Formulas as Keras: `SimpleRNN(units)` and `LSTM(units)` with their default activations, zero initial states.

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

/// Parameters of a recurrent layer; `g` is 1 for the simple layer and 4 for the LSTM (gates i, f, c, o side by side).
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

/// Buffers of the LSTM, written by [`lstm_forward`]; [`lstm_backward`] reads them and destroys `gates`.
#[derive(Debug)]
pub struct LstmTape<'a> {
    /// `[steps, n, inputs]`: the input, time-major.
    pub x: &'a mut [f32],
    /// `[steps, n, 4 * units]`: the activated gates i, f, c, o; after backward the gradient of the loss by their pre-activations.
    pub gates: &'a mut [f32],
    /// `[steps, n, units]`: c of every step.
    pub cell: &'a mut [f32],
    /// `[steps, n, units]`: h of every step; the layer's output is the last `n * units` elements.
    pub hidden: &'a mut [f32],
}

// Signatures (bodies land with the gemm):
//
// pub fn rnn_forward(team: &Team, shape: &Shape, x: &[f32] /* [n, steps, inputs] */, weights: &Weights, tape: &mut RnnTape)
//
// pub fn rnn_backward(team: &Team, shape: &Shape, weights: &Weights, tape: &RnnTape, d_last: &[f32] /* [n, units] */,
//                     dz: &mut [f32] /* workspace [steps, n, units] */, gradients: &mut Gradients)
//
// pub fn lstm_forward(team: &Team, shape: &Shape, x: &[f32] /* [n, steps, inputs] */, weights: &Weights, tape: &mut LstmTape)
//
// pub fn lstm_backward(team: &Team, shape: &Shape, weights: &Weights, tape: &mut LstmTape, d_last: &[f32] /* [n, units] */,
//                      carry: &mut [f32] /* workspace [2, n, units]: dh and dc of the step below */, gradients: &mut Gradients)
//
// naive twins: the same without `team`.
