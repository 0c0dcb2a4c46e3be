//! The long short-term memory (Hochreiter & Schmidhuber 1997; forget gate by Gers et al. 2000).

use serde::{Deserialize, Serialize};
use threadcount_kernels::naive;
use threadcount_kernels::recurrent::{self, LstmTape};

use super::recurrent::{gradients, kernels, plan_params, shape, weights};
use super::*;
use crate::error::Result;
use crate::nn::model::Initializer;

/// Gates `i, f, o = sigmoid(z)` and candidate `g = tanh(z)` with `z = x_t wx + h_{t-1} wh + b`; then
/// `c_t = f c_{t-1} + i g` and `h_t = o tanh(c_t)`. `c` and `h` start at zero; the output is the last `h`.
/// The weights hold the four side by side in the order i, f, g, o: `wx` `[inputs, 4 units]`, Glorot
/// uniform; `wh` `[units, 4 units]`, orthogonal; `b`, zero except one for the forget gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lstm {
    /// Size of the hidden state.
    pub units: usize,
}

/// An LSTM that returns its last hidden state.
pub fn lstm(units: usize) -> Layer {
    Lstm { units }.into()
}

impl Lstm {
    /// Splits what is kept into the tape and the workspace of backward.
    fn tape<'a>(
        &self,
        s: &recurrent::Shape,
        n: usize,
        kept: &'a mut [f32],
    ) -> (LstmTape<'a>, &'a mut [f32]) {
        let states = n * s.steps * s.units;
        let (x, rest) = kept.split_at_mut(n * s.steps * s.inputs);
        let (gates, rest) = rest.split_at_mut(4 * states);
        let (cell, rest) = rest.split_at_mut(states);
        let (hidden, carry) = rest.split_at_mut(states);
        (LstmTape { x, gates, cell, hidden }, carry)
    }
}

const HELPER: &str = "\
class LastOfLSTM(nn.LSTM):
    def forward(self, x):
        return super().forward(x)[0][:, -1]
";

impl LayerKind for Lstm {
    fn names(&self) -> (&'static str, &'static str) {
        ("LSTM", "lstm")
    }

    fn plan(&self, input: Shape) -> Result<LayerPlan> {
        let units = self.units;
        let params = plan_params("lstm", input, units, 4, Initializer::ForgetGateOnes { units })?;
        let s = shape(input, units);
        let per_step = units.saturating_mul(6).saturating_add(s.inputs);
        let carry = units.saturating_mul(2);
        let per_sample = s.steps.saturating_mul(per_step).saturating_add(carry);
        let kept = Kept { per_sample, ..Kept::default() };
        Ok(LayerPlan { params, kept, ..LayerPlan::new(Shape::Flat(units), Buffers::Apart) })
    }

    fn forward(&self, pass: Forward<'_>) {
        let s = shape(pass.input, self.units);
        let n = pass.y.len() / self.units;
        let (mut tape, _) = self.tape(&s, n, pass.kept);
        recurrent::lstm_forward(pass.team, &s, pass.x, &weights(pass.params, &s), &mut tape);
        pass.y.copy_from_slice(&tape.hidden[tape.hidden.len() - n * self.units..]);
    }

    fn backward(&self, pass: Backward<'_>) {
        let s = shape(pass.input, self.units);
        let n = pass.y.len() / self.units;
        let (mut tape, carry) = self.tape(&s, n, pass.kept);
        let weights = weights(&pass.params, &s);
        let mut gradients = gradients(pass.grads, pass.dx, &s);
        let d_last = &*pass.dy;
        recurrent::lstm_backward(pass.team, &s, &weights, &mut tape, d_last, carry, &mut gradients);
    }

    fn exchange(&self, place: &Place) -> Option<Exchange> {
        Some(super::recurrent::exchange(place, self.units, 4, "LSTM", "LastOfLSTM", HELPER))
    }

    fn twin(&self) -> Option<&dyn Twin> {
        Some(self)
    }

    fn is_worth_sharing(&self, _: &Team, _rows: usize, _: Shape) -> bool {
        true
    }

    fn kernels(&self, site: &Site, _: &[Layer]) -> Vec<KernelCall> {
        kernels(site, self.units, 4)
    }
}

impl Twin for Lstm {
    fn naive_forward(&self, pass: Forward<'_>) {
        let s = shape(pass.input, self.units);
        let n = pass.y.len() / self.units;
        let (mut tape, _) = self.tape(&s, n, pass.kept);
        naive::recurrent::lstm_forward(&s, pass.x, &weights(pass.params, &s), &mut tape);
        pass.y.copy_from_slice(&tape.hidden[tape.hidden.len() - n * self.units..]);
    }

    fn naive_backward(&self, pass: Backward<'_>) {
        let s = shape(pass.input, self.units);
        let n = pass.y.len() / self.units;
        let (mut tape, carry) = self.tape(&s, n, pass.kept);
        let weights = weights(&pass.params, &s);
        let mut out = gradients(pass.grads, pass.dx, &s);
        let d_last = &*pass.dy;
        naive::recurrent::lstm_backward(&s, &weights, &mut tape, d_last, carry, &mut out);
    }
}

pub(super) fn examples() -> Vec<Example> {
    [Shape::Rows([4, 5]), Shape::Rows([2, 3])].map(|input| Example::new(input, lstm(4))).into()
}
