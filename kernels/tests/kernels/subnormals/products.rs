//! Products, what is made of them, and the steps of optimizers.

use super::{ACTIVATIONS, Regime, Run, Runner, labels, noise, untouched};
use threadcount_kernels::gemm::{Blocking, Epilogue, Write, gemm};
use threadcount_kernels::online_sgd::{self, TwoProducts};
use threadcount_kernels::precision::Arithmetic;
use threadcount_kernels::recurrent::{self, Gradients, LstmTape, RnnTape, Shape, Weights};
use threadcount_kernels::update::{self, Adam, Decay, Moving, Nesterov, RmsProp, Rule, Sgd};
use threadcount_kernels::{Isa, Mat, MatMut, Precision, Team, naive};

/// With every epilogue, layer and rule.
pub(crate) const KERNELS: [(&str, Run); 10] = [
    ("gemm::gemm", |runner, regime| products(runner, regime)),
    ("bf16::gemm", products_in_other_precisions),
    ("online_sgd::descend", |runner, regime| {
        let mut all = Vec::new();
        for function in ACTIVATIONS {
            let (n, inputs, hidden) = (37, 21, 19);
            let (images, labels) = (regime.numbers(1, n * inputs), labels(2, n, 2));
            let x = Mat::new(&images, n, inputs);
            let (mut w1, mut b1) = (regime.numbers(3, inputs * hidden), regime.numbers(4, hidden));
            let (mut w2, mut b2) = (regime.numbers(5, hidden), vec![-1e-37]);
            let (mut losses, mut logits) = (untouched(n), untouched(n));
            let params = TwoProducts {
                w1: &mut w1,
                b1: &mut b1,
                w2: &mut w2,
                b2: &mut b2[0],
                activation: function,
            };
            let outputs = [&mut losses[..], &mut logits[..]];
            match runner {
                Some(team) => {
                    let mut scratch = untouched(online_sgd::scratch_len(hidden));
                    online_sgd::descend(team, params, 0.01, x, &labels, outputs, &mut scratch);
                }
                None => naive::online_sgd::descend(params, 0.01, x, &labels, outputs),
            }
            all.extend([w1, b1, w2, b2, losses, logits]);
        }
        all
    }),
    ("recurrent::rnn_forward", |runner, regime| layer(runner, regime, 1, false)),
    ("recurrent::rnn_backward", |runner, regime| layer(runner, regime, 1, true)),
    ("recurrent::lstm_forward", |runner, regime| layer(runner, regime, 4, false)),
    ("recurrent::lstm_backward", |runner, regime| layer(runner, regime, 4, true)),
    ("update::sgd", |runner, regime| {
        let sgd = |momentum, nesterov| Rule::Sgd(Sgd { learning_rate: 0.1, momentum, nesterov });
        let rules = [sgd(0.0, Nesterov::No), sgd(0.9, Nesterov::No), sgd(0.9, Nesterov::Yes)];
        rules.into_iter().flat_map(|rule| steps(runner, regime, rule)).collect()
    }),
    ("update::rmsprop", |runner, regime| {
        let rms = |momentum| RmsProp { learning_rate: 1e-3, rho: 0.9, momentum, epsilon: 1e-7 };
        [0.0, 0.9].into_iter().flat_map(|m| steps(runner, regime, Rule::RmsProp(rms(m)))).collect()
    }),
    ("update::adam", |runner, regime| steps(runner, regime, Rule::Adam(ADAM))),
];

const ADAM: Adam = Adam { learning_rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-7, step: 3 };

/// A product in each precision but f32.
fn products_in_other_precisions(runner: Runner, regime: Regime) -> Vec<Vec<f32>> {
    let (m, n, k) = (19, 33, 90);
    let (a, b) = (regime.numbers(1, m * k), regime.numbers(2, k * n));
    let (a, b) = (Mat::new(&a, m, k), Mat::new(&b, k, n));
    let product = |precision: Precision| {
        let mut c = untouched(m * n);
        let target = MatMut::new(&mut c, m, n);
        match runner {
            Some(team) => {
                let arithmetic = Arithmetic::of(team.isa(), precision).unwrap();
                let team = Team::solo(team.isa()).with_arithmetic(arithmetic);
                gemm(&team, 1.0, a, b, Write::Set, target, Epilogue::None);
            }
            None => {
                let blocking = Blocking::of_machine();
                let write = Write::Set;
                let arithmetic = Arithmetic::of(Isa::best(), precision).unwrap();
                naive::bf16::gemm(arithmetic, blocking, 1.0, a, b, write, target, Epilogue::None);
            }
        }
        c
    };
    [Precision::F32Split, Precision::Bf16].map(product).to_vec()
}

/// Products by tiles and by dots, by row and transposed, with every epilogue, long and short.
fn products(runner: Runner, regime: Regime) -> Vec<Vec<f32>> {
    let mut all = Vec::new();
    for (m, n, k) in [(1, 1, 1), (5, 3, 70), (13, 37, 9), (37, 50, 300), (3, 5, 5000), (3, 5, 0)] {
        let (a, b) = (regime.numbers(1, m * k), regime.numbers(2, k * n));
        let (c, y) = (regime.numbers(3, m * n), regime.numbers(4, m * n));
        let bias = regime.numbers(5, n);
        let mut epilogues = vec![Epilogue::None];
        for activation in ACTIVATIONS {
            epilogues.push(Epilogue::Bias { bias: &bias, activation });
            epilogues.push(Epilogue::Derivative { y: Mat::new(&y, m, n), activation });
        }
        let transposed = [Mat::new(&a, m, k), Mat::new(&a, k, m).t()];
        for (alpha, write) in [
            (1.0, Write::Set),
            (1.0, Write::Add { beta: 1.0 }),
            (0.3, Write::Set),
            (1.0, Write::Add { beta: 0.01 }),
        ] {
            for epilogue in &epilogues {
                for a in transposed {
                    for by_column in [false, true] {
                        let mut out = c.clone();
                        let target = match by_column {
                            false => MatMut::new(&mut out, m, n),
                            true => MatMut::new(&mut out, n, m).t(),
                        };
                        let b = Mat::new(&b, k, n);
                        match runner {
                            Some(team) => gemm(team, alpha, a, b, write, target, *epilogue),
                            None => naive::gemm::gemm(alpha, a, b, write, target, *epilogue),
                        }
                        all.push(out);
                    }
                }
            }
        }
    }
    all
}

/// Either layer; `parts` is how many columns a unit has.
fn layer(runner: Runner, regime: Regime, parts: usize, backward: bool) -> Vec<Vec<f32>> {
    let shape = Shape { steps: 3, inputs: 5, units: 19 };
    let (n, width) = (4, parts * shape.units);
    let size = n * shape.units;
    let x = regime.numbers(1, n * shape.steps * shape.inputs);
    // Ordinary weights: tiny states and gradients then meet tiny ones.
    let wx = noise(2, shape.inputs * width);
    let (wh, b) = (noise(3, shape.units * width), vec![0.0; width]);
    let weights = Weights { wx: &wx, wh: &wh, b: &b };
    let d_last = regime.numbers(5, size);
    let (mut tape_x, mut hidden) = (untouched(x.len()), untouched(shape.steps * size));
    let (mut gates, mut cell) = (untouched(shape.steps * n * width), untouched(3 * size));
    let (mut dwx, mut dwh) = (untouched(wx.len()), untouched(wh.len()));
    let (mut db, mut dx) = (untouched(width), untouched(x.len()));
    let mut out = Gradients { dwx: &mut dwx, dwh: &mut dwh, db: &mut db, dx: Some(&mut dx) };
    if parts == 1 {
        let tape = &mut RnnTape { x: &mut tape_x, hidden: &mut hidden };
        let (s, w, dz) = (&shape, &weights, &mut gates);
        match runner {
            Some(team) => recurrent::rnn_forward(team, s, &x, w, tape),
            None => naive::recurrent::rnn_forward(s, &x, w, tape),
        }
        match runner {
            _ if !backward => {}
            Some(team) => recurrent::rnn_backward(team, s, w, tape, &d_last, dz, &mut out),
            None => naive::recurrent::rnn_backward(s, w, tape, &d_last, dz, &mut out),
        }
    } else {
        let (x_, h) = (&mut tape_x, &mut hidden);
        let tape = &mut LstmTape { x: x_, gates: &mut gates, cell: &mut cell, hidden: h };
        let (s, w, mut carry) = (&shape, &weights, untouched(2 * size));
        match runner {
            Some(team) => recurrent::lstm_forward(team, s, &x, w, tape),
            None => naive::recurrent::lstm_forward(s, &x, w, tape),
        }
        match runner {
            _ if !backward => {}
            Some(team) => {
                recurrent::lstm_backward(team, s, w, tape, &d_last, &mut carry, &mut out);
            }
            None => naive::recurrent::lstm_backward(s, w, tape, &d_last, &mut carry, &mut out),
        }
    }
    vec![hidden, gates, cell, dwx, dwh, db, dx]
}

/// One step of a rule with the gradients as they are, and with those of a product.
fn steps(runner: Runner, regime: Regime, rule: Rule) -> Vec<Vec<f32>> {
    let (n, inputs, units) = (9, 37, 5);
    let len = inputs * units;
    let (images, dz) = (regime.numbers(6, n * inputs), regime.numbers(7, n * units));
    let x = Mat::new(&images, n, inputs);
    let mut grads = regime.numbers(1, len);
    let mut all = Vec::new();
    let decay = Decay { l2: 0.01, share: 0.1, len: len - 3 };
    for (by_product, decay) in
        [(false, Decay::NONE), (true, Decay::NONE), (false, decay), (true, decay)]
    {
        let mut params = regime.numbers(2, len);
        let (mut first, mut second) = (regime.positive(3, len), regime.positive(4, len));
        let memory = [&mut first[..], &mut second[..]];
        let moving = Moving { rule, decay, params: &mut params, memory };
        let remembers = match rule {
            Rule::Sgd(sgd) => usize::from(sgd.momentum > 0.0),
            Rule::RmsProp(rms) => 1 + usize::from(rms.momentum > 0.0),
            Rule::Adam(_) => 2,
        };
        match runner {
            Some(team) if by_product => {
                update::step_by_product(team, x, &dz, &mut grads, moving);
            }
            Some(team) => moving.step(team, &grads),
            None => naive::update::step(moving, &grads),
        }
        all.push(params);
        all.extend([first, second].into_iter().take(remembers));
    }
    all
}
