//! Recurrent layers against their twins, and the twins' gradients against differences.

use crate::common::{assert_close, noise, run_everywhere, untouched};
use threadcount_kernels::recurrent::{self, Gradients, LstmTape, RnnTape, Shape, Weights};
use threadcount_kernels::{Team, naive};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Simple,
    Lstm,
}

/// What runs a layer: the kernels with a team, or the twins.
type Runner<'a> = Option<&'a Team<'a>>;

struct Layer {
    kind: Kind,
    shape: Shape,
    n: usize,
    x: Vec<f32>,
    wx: Vec<f32>,
    wh: Vec<f32>,
    b: Vec<f32>,
    d_last: Vec<f32>,
}

impl Layer {
    fn new(kind: Kind, shape: Shape, n: usize) -> Self {
        let Shape { steps, inputs, units } = shape;
        let width = if kind == Kind::Lstm { 4 * units } else { units };
        let scaled = |seed, len, scale: f32| -> Vec<f32> {
            noise(seed, len).iter().map(|x| x * scale).collect()
        };
        Self {
            kind,
            shape,
            n,
            x: noise(1, n * steps * inputs),
            // Sums of size 1, as after Glorot's initialisation.
            wx: scaled(2, inputs * width, (3.0 / inputs as f32).sqrt()),
            wh: scaled(3, units * width, (3.0 / units as f32).sqrt()),
            b: scaled(4, width, 0.5),
            d_last: noise(5, n * units),
        }
    }

    /// Forward and backward; returns the last state, then dwx, dwh, db, dx.
    fn run(&self, runner: Runner) -> Vec<Vec<f32>> {
        let Self { kind, shape, n, x, wx, wh, b, d_last } = self;
        let size = n * shape.units;
        let weights = Weights { wx, wh, b };
        let mut out: Vec<_> =
            [size, wx.len(), wh.len(), b.len(), x.len()].into_iter().map(untouched).collect();
        let [last, dwx, dwh, db, dx] = &mut out[..] else { unreachable!() };
        let mut gradients = Gradients { dwx, dwh, db, dx: Some(dx) };
        let mut hidden = untouched(shape.steps * size);
        let mut tape_x = untouched(x.len());
        let from = (shape.steps - 1) * size;
        match kind {
            Kind::Simple => {
                let mut tape = RnnTape { x: &mut tape_x, hidden: &mut hidden };
                let mut dz = untouched(shape.steps * size);
                if let Some(team) = runner {
                    recurrent::rnn_forward(team, shape, x, &weights, &mut tape);
                    recurrent::rnn_backward(
                        team,
                        shape,
                        &weights,
                        &tape,
                        d_last,
                        &mut dz,
                        &mut gradients,
                    );
                } else {
                    naive::recurrent::rnn_forward(shape, x, &weights, &mut tape);
                    naive::recurrent::rnn_backward(
                        shape,
                        &weights,
                        &tape,
                        d_last,
                        &mut dz,
                        &mut gradients,
                    );
                }
            }
            Kind::Lstm => {
                let (mut gates, mut cell) =
                    (untouched(4 * shape.steps * size), untouched(shape.steps * size));
                let mut carry = untouched(2 * size);
                let mut tape = LstmTape {
                    x: &mut tape_x,
                    gates: &mut gates,
                    cell: &mut cell,
                    hidden: &mut hidden,
                };
                if let Some(team) = runner {
                    recurrent::lstm_forward(team, shape, x, &weights, &mut tape);
                    recurrent::lstm_backward(
                        team,
                        shape,
                        &weights,
                        &mut tape,
                        d_last,
                        &mut carry,
                        &mut gradients,
                    );
                } else {
                    naive::recurrent::lstm_forward(shape, x, &weights, &mut tape);
                    naive::recurrent::lstm_backward(
                        shape,
                        &weights,
                        &mut tape,
                        d_last,
                        &mut carry,
                        &mut gradients,
                    );
                }
            }
        }
        last.copy_from_slice(&hidden[from..]);
        out
    }

    /// Sum of the last state times `d_last`: the function whose gradients `run` gives.
    fn objective(&self) -> f64 {
        let last = &self.run(None)[0];
        last.iter().zip(&self.d_last).map(|(&h, &d)| f64::from(h) * f64::from(d)).sum()
    }
}

#[test]
fn against_twins() {
    for kind in [Kind::Simple, Kind::Lstm] {
        for [steps, inputs, units, n] in [
            [1, 1, 1, 1],
            [1, 3, 5, 2],
            [2, 4, 7, 0],
            [3, 1, 16, 4],
            [4, 28, 8, 3],
            [5, 17, 33, 9],
            [7, 28, 64, 70],
        ] {
            let shape = Shape { steps, inputs, units };
            let layer = Layer::new(kind, shape, n);
            let expected = layer.run(None);
            for (isa, outputs) in run_everywhere(|team| layer.run(Some(team))) {
                for (actual, expected) in outputs.iter().zip(&expected) {
                    let name = format!("{kind:?} {isa} {shape:?} n {n}");
                    let terms = ((n * steps) as f32).sqrt().max(1.0);
                    assert_close(actual, expected, 1e-4, 4e-6 * terms, &name);
                }
            }
        }
    }
}

/// A first layer asks for no dx; its other gradients are the same.
#[test]
fn without_dx() {
    let layer = Layer::new(Kind::Simple, Shape { steps: 3, inputs: 4, units: 5 }, 6);
    let Layer { shape, x, wx, wh, b, d_last, .. } = &layer;
    let weights = Weights { wx, wh, b };
    let expected = layer.run(None);
    for (_, outputs) in run_everywhere(|team| {
        let (mut tape_x, mut hidden) = (untouched(x.len()), untouched(90));
        let mut tape = RnnTape { x: &mut tape_x, hidden: &mut hidden };
        let mut out = vec![untouched(20), untouched(25), untouched(5)];
        let [dwx, dwh, db] = &mut out[..] else { unreachable!() };
        let mut gradients = Gradients { dwx, dwh, db, dx: None };
        recurrent::rnn_forward(team, shape, x, &weights, &mut tape);
        let dz = &mut untouched(90);
        recurrent::rnn_backward(team, shape, &weights, &tape, d_last, dz, &mut gradients);
        out
    }) {
        for (actual, expected) in outputs.iter().zip(&expected[1..]) {
            assert_close(actual, expected, 1e-5, 1e-5, "without dx");
        }
    }
}

/// The twins' gradients are slopes.
#[test]
fn gradients_are_slopes() {
    for kind in [Kind::Simple, Kind::Lstm] {
        let mut layer = Layer::new(kind, Shape { steps: 3, inputs: 2, units: 3 }, 2);
        let out = layer.run(None);
        type Field = fn(&mut Layer) -> &mut Vec<f32>;
        let fields: [(usize, Field); 4] =
            [(1, |l| &mut l.wx), (2, |l| &mut l.wh), (3, |l| &mut l.b), (4, |l| &mut l.x)];
        for (which, field) in fields {
            for i in 0..out[which].len() {
                let old = field(&mut layer)[i];
                let step = 1.0 / 128.0;
                field(&mut layer)[i] = old + step;
                let up = layer.objective();
                field(&mut layer)[i] = old - step;
                let down = layer.objective();
                field(&mut layer)[i] = old;
                let slope = ((up - down) / (2.0 * f64::from(step))) as f32;
                let name = format!("{kind:?} output {which} element {i}");
                assert_close(&out[which][i..=i], &[slope], 2e-3, 5e-4, &name);
            }
        }
    }
}

/// One unit, one input, two steps, worked by hand.
#[test]
fn twin_by_hand() {
    let shape = Shape { steps: 2, inputs: 1, units: 1 };
    let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
    let (wx, wh) = ([0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]);
    let b = [0.01, 1.0, 0.03, 0.04];
    let step = |x: f32, h: f32, c: f32| {
        let z = |k: usize| x * wx[k] + h * wh[k] + b[k];
        let c = sigmoid(z(1)) * c + sigmoid(z(0)) * z(2).tanh();
        (sigmoid(z(3)) * c.tanh(), c)
    };
    let (h, c) = step(2.0, 0.0, 0.0);
    let (h, _) = step(-1.0, h, c);
    let (mut x, mut gates, mut cell, mut hidden) =
        (untouched(2), untouched(8), untouched(2), untouched(2));
    let mut tape = LstmTape { x: &mut x, gates: &mut gates, cell: &mut cell, hidden: &mut hidden };
    let weights = Weights { wx: &wx, wh: &wh, b: &b };
    naive::recurrent::lstm_forward(&shape, &[2.0, -1.0], &weights, &mut tape);
    assert_close(&hidden[1..], &[h], 1e-6, 0.0, "lstm");
}
