//! The simple recurrent layer (Elman 1990).

use serde::{Deserialize, Serialize};
use threadcount_kernels::naive;
use threadcount_kernels::recurrent::{self, RnnTape};

use super::recurrent::{gradients, kernels, plan_params, shape, weights};
use super::*;
use crate::error::Result;
use crate::nn::model::Initializer;

/// `h_t = tanh(x_t wx + h_{t-1} wh + b)` from `h_0 = 0`; the output is the last `h`. Glorot
/// uniform `wx` `[inputs, units]`, orthogonal `wh` `[units, units]`, zero `b`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimpleRnn {
    /// Size of the hidden state.
    pub units: usize,
}

/// A simple recurrent layer that returns its last hidden state.
pub fn simple_rnn(units: usize) -> Layer {
    SimpleRnn { units }.into()
}

impl SimpleRnn {
    /// Splits what is kept into the tape and the workspace of backward.
    fn tape<'a>(
        &self,
        s: &recurrent::Shape,
        n: usize,
        kept: &'a mut [f32],
    ) -> (RnnTape<'a>, &'a mut [f32]) {
        let (x, rest) = kept.split_at_mut(n * s.steps * s.inputs);
        let (hidden, dz) = rest.split_at_mut(n * s.steps * s.units);
        (RnnTape { x, hidden }, dz)
    }
}

const HELPER: &str = "\
class LastOfRNN(nn.RNN):
    def forward(self, x):
        return super().forward(x)[0][:, -1]
";

impl LayerKind for SimpleRnn {
    fn names(&self) -> (&'static str, &'static str) {
        ("SimpleRNN", "simple_rnn")
    }

    fn plan(&self, input: Shape) -> Result<LayerPlan> {
        let params = plan_params("simple_rnn", input, self.units, 1, Initializer::Zeros)?;
        let s = shape(input, self.units);
        let per_step = self.units.saturating_mul(2).saturating_add(s.inputs);
        let kept = Kept { per_sample: s.steps.saturating_mul(per_step), ..Kept::default() };
        Ok(LayerPlan { params, kept, ..LayerPlan::new(Shape::Flat(self.units), Buffers::Apart) })
    }

    fn forward(&self, pass: Forward<'_>) {
        let s = shape(pass.input, self.units);
        let n = pass.y.len() / self.units;
        let (mut tape, _) = self.tape(&s, n, pass.kept);
        recurrent::rnn_forward(pass.team, &s, pass.x, &weights(pass.params, &s), &mut tape);
        pass.y.copy_from_slice(&tape.hidden[tape.hidden.len() - n * self.units..]);
    }

    fn backward(&self, pass: Backward<'_>) {
        let s = shape(pass.input, self.units);
        let n = pass.y.len() / self.units;
        let (tape, dz) = self.tape(&s, n, pass.kept);
        let weights = weights(&pass.params, &s);
        let mut gradients = gradients(pass.grads, pass.dx, &s);
        recurrent::rnn_backward(pass.team, &s, &weights, &tape, pass.dy, dz, &mut gradients);
    }

    fn exchange(&self, place: &Place) -> Option<Exchange> {
        Some(super::recurrent::exchange(place, self.units, 1, "SimpleRNN", "LastOfRNN", HELPER))
    }

    fn twin(&self) -> Option<&dyn Twin> {
        Some(self)
    }

    fn is_worth_sharing(&self, _: &Team, _rows: usize, _: Shape) -> bool {
        true
    }

    fn kernels(&self, site: &Site, _: &[Layer]) -> Vec<KernelCall> {
        kernels(site, self.units, 1)
    }
}

impl Twin for SimpleRnn {
    fn naive_forward(&self, pass: Forward<'_>) {
        let s = shape(pass.input, self.units);
        let n = pass.y.len() / self.units;
        let (mut tape, _) = self.tape(&s, n, pass.kept);
        naive::recurrent::rnn_forward(&s, pass.x, &weights(pass.params, &s), &mut tape);
        pass.y.copy_from_slice(&tape.hidden[tape.hidden.len() - n * self.units..]);
    }

    fn naive_backward(&self, pass: Backward<'_>) {
        let s = shape(pass.input, self.units);
        let n = pass.y.len() / self.units;
        let (tape, dz) = self.tape(&s, n, pass.kept);
        let weights = weights(&pass.params, &s);
        let mut out = gradients(pass.grads, pass.dx, &s);
        naive::recurrent::rnn_backward(&s, &weights, &tape, pass.dy, dz, &mut out);
    }
}

pub(super) fn examples() -> Vec<Example> {
    [Shape::Rows([4, 5]), Shape::Rows([2, 3])]
        .map(|input| Example::new(input, simple_rnn(4)))
        .into()
}
