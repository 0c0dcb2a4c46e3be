//! What stands between the products.

use super::{ACTIVATIONS, Regime, Run, labels, untouched};
use threadcount_kernels::augment::{self, Motion, Rectangle, Warp};
use threadcount_kernels::dropout::{self, Dropout};
use threadcount_kernels::gather::{self, Batch, Cut};
use threadcount_kernels::{Activation, Geometry, Mat, Padding};
use threadcount_kernels::{activation, loss, naive, norm, pool, row_norm, sums, vectors};

/// With tails and in several tasks.
pub(crate) const KERNELS: [(&str, Run); 25] = [
    ("activation::forward", |runner, regime| {
        each_activation(regime, |function, x, _| {
            let mut y = untouched(x.len());
            match runner {
                Some(team) => activation::forward(team, function, x, &mut y),
                None => naive::activation::forward(function, x, &mut y),
            }
            y
        })
    }),
    ("activation::forward_in_place", |runner, regime| {
        each_activation(regime, |function, x, _| {
            let mut y = x.to_vec();
            match runner {
                Some(team) => activation::forward_in_place(team, function, &mut y),
                None => naive::activation::forward_in_place(function, &mut y),
            }
            y
        })
    }),
    ("activation::backward", |runner, regime| {
        each_activation(regime, |function, y, dy| {
            let mut dx = dy.to_vec();
            match runner {
                Some(team) => activation::backward(team, function, y, &mut dx),
                None => naive::activation::backward(function, y, &mut dx),
            }
            dx
        })
    }),
    ("dropout::forward", |runner, regime| {
        let rule = Dropout { rate: 0.3, key: 1, first_sample: 2 };
        let x = regime.numbers(1, 206);
        let mut y = untouched(x.len());
        match runner {
            Some(team) => dropout::forward(team, &rule, 103, &x, &mut y),
            None => naive::dropout::forward(&rule, 103, &x, &mut y),
        }
        vec![y]
    }),
    ("dropout::backward", |runner, regime| {
        let rule = Dropout { rate: 0.3, key: 1, first_sample: 2 };
        let mut dy = regime.numbers(1, 206);
        match runner {
            Some(team) => dropout::backward(team, &rule, 103, &mut dy),
            None => naive::dropout::backward(&rule, 103, &mut dy),
        }
        vec![dy]
    }),
    ("gather::scaled", |runner, regime| {
        let (cols, rows) = (37, 5);
        let bytes: Vec<u8> = (0..rows * cols).map(|i| 126 + (i % 3) as u8).collect();
        let factors: Vec<f32> = regime.numbers(1, cols);
        // The offsets cancel the products with the bytes, but for half a factor.
        let offsets: Vec<f32> = factors.iter().map(|factor| -factor * 126.5).collect();
        let row = |i: usize| bytes.get(i * cols..(i + 1) * cols).unwrap_or(&[]);
        let mut out = untouched(rows * cols);
        match runner {
            Some(team) => {
                let batch = Batch { factors: &factors, offsets: &offsets, cut: Cut::Rows };
                gather::scaled(team, row, batch, &mut out);
            }
            None => naive::gather::scaled(row, &factors, &offsets, &mut out),
        }
        vec![out]
    }),
    ("vectors::scale", |runner, regime| {
        let mut x = regime.numbers(1, 37);
        match runner {
            Some(team) => vectors::scale(team, 0.3, &mut x),
            None => naive::vectors::scale(0.3, &mut x),
        }
        vec![x]
    }),
    ("vectors::add_multiple", |runner, regime| {
        let (x, mut y) = (regime.numbers(1, 37), regime.numbers(2, 37));
        match runner {
            Some(team) => vectors::add_multiple(team, 0.3, &x, &mut y),
            None => naive::vectors::add_multiple(0.3, &x, &mut y),
        }
        vec![y]
    }),
    ("vectors::approach", |runner, regime| {
        let (x, mut average) = (regime.numbers(1, 37), regime.numbers(2, 37));
        match runner {
            Some(team) => vectors::approach(team, 0.3, &x, &mut average),
            None => naive::vectors::approach(0.3, &x, &mut average),
        }
        vec![average]
    }),
    ("augment::scaled", |runner, regime| {
        // An image of floats that are subnormal between four, or whose products with the factors are.
        let (shape, images) = ([5, 7, 1], 5);
        let len = shape.iter().product();
        let pixels = regime.numbers(1, images * len);
        let factors: Vec<f32> = regime.numbers(2, len);
        let offsets: Vec<f32> = regime.numbers(3, len);
        let image = |i: usize| pixels.get(i * len..(i + 1) * len).unwrap_or(&[]);
        let warp = |_| Warp {
            motion: Motion::Affine { x_from: [0.9, 0.1, 0.3], y_from: [-0.1, 0.9, 0.4] },
            erased: Rectangle::EMPTY,
        };
        let mut out = untouched(images * len);
        match runner {
            Some(team) => {
                let batch = Batch { factors: &factors, offsets: &offsets, cut: Cut::Rows };
                augment::scaled(team, shape, image, warp, batch, &mut out);
            }
            None => naive::augment::scaled(shape, image, warp, &factors, &offsets, &mut out),
        }
        vec![out]
    }),
    ("loss::softmax", |runner, regime| {
        each_logits(regime, |logits, classes| {
            let mut out = untouched(logits.len());
            match runner {
                Some(team) => loss::softmax(team, logits, classes, &mut out),
                None => naive::loss::softmax(logits, classes, &mut out),
            }
            vec![out]
        })
    }),
    ("loss::softmax_cross_entropy", |runner, regime| {
        each_logits(regime, |logits, classes| {
            let n = logits.len() / classes;
            let labels = labels(3, n, classes);
            let (mut losses, mut dlogits) = (untouched(n), untouched(logits.len()));
            match runner {
                Some(team) => loss::softmax_cross_entropy(
                    team,
                    logits,
                    classes,
                    &labels,
                    0.1,
                    &mut losses,
                    &mut dlogits,
                ),
                None => naive::loss::softmax_cross_entropy(
                    logits,
                    classes,
                    &labels,
                    0.1,
                    &mut losses,
                    &mut dlogits,
                ),
            }
            vec![losses, dlogits]
        })
    }),
    ("loss::binary_cross_entropy", |runner, regime| {
        each_logits(regime, |logits, _| {
            let labels = labels(3, logits.len(), 2);
            let (mut losses, mut dlogits) = (untouched(logits.len()), untouched(logits.len()));
            match runner {
                Some(team) => {
                    let kernel = loss::binary_cross_entropy;
                    kernel(team, logits, &labels, 0.1, &mut losses, &mut dlogits);
                }
                None => {
                    let twin = naive::loss::binary_cross_entropy;
                    twin(logits, &labels, 0.1, &mut losses, &mut dlogits);
                }
            }
            vec![losses, dlogits]
        })
    }),
    ("loss::mean_squared_error", |runner, regime| {
        let (p, t) = (regime.numbers(1, 210), regime.numbers(2, 210));
        let mut all = Vec::new();
        for outputs in [1, 7, 21] {
            let (mut losses, mut gradients) = (untouched(210 / outputs), untouched(210));
            match runner {
                Some(team) => {
                    loss::mean_squared_error(team, &p, &t, outputs, &mut losses, &mut gradients);
                }
                None => {
                    naive::loss::mean_squared_error(&p, &t, outputs, &mut losses, &mut gradients)
                }
            }
            all.extend([losses, gradients]);
        }
        all
    }),
    ("norm::train_forward", |runner, regime| {
        each_columns(|rows, c| {
            let x = regime.numbers(1, rows * c);
            let (gamma, beta) = (regime.numbers(2, c), regime.numbers(3, c));
            let (mut y, mut mean, mut variance) = (untouched(x.len()), untouched(c), untouched(c));
            let (m, v) = (&mut mean, &mut variance);
            match runner {
                Some(team) => norm::train_forward(team, &x, &gamma, &beta, 1e-3, &mut y, m, v),
                None => naive::norm::train_forward(&x, &gamma, &beta, 1e-3, &mut y, m, v),
            }
            vec![y, mean, variance]
        })
    }),
    ("norm::eval_forward", |runner, regime| {
        each_columns(|rows, c| {
            let x = regime.numbers(1, rows * c);
            let (gamma, beta) = (regime.numbers(2, c), vec![0.0; c]);
            let (mean, variance) = (regime.numbers(4, c), regime.positive(5, c));
            let (m, v, mut y) = (&mean, &variance, untouched(x.len()));
            match runner {
                Some(team) => norm::eval_forward(team, &x, &gamma, &beta, m, v, 1e-3, &mut y),
                None => naive::norm::eval_forward(&x, &gamma, &beta, m, v, 1e-3, &mut y),
            }
            vec![y]
        })
    }),
    ("norm::backward", |runner, regime| {
        each_columns(|rows, c| {
            let (x, dy) = (regime.numbers(1, rows * c), regime.numbers(2, rows * c));
            let (gamma, mean) = (regime.numbers(3, c), regime.numbers(4, c));
            let variance = regime.positive(5, c);
            let (mut dx, mut dgamma, mut dbeta) = (untouched(x.len()), untouched(c), untouched(c));
            let (g, m, v) = (&gamma, &mean, &variance);
            let (a, b, d) = (&mut dx, &mut dgamma, &mut dbeta);
            match runner {
                Some(team) => norm::backward(team, &x, &dy, g, m, v, 100.0, a, b, d),
                None => naive::norm::backward(&x, &dy, g, m, v, 100.0, a, b, d),
            }
            vec![dx, dgamma, dbeta]
        })
    }),
    ("norm::update_moving", |runner, regime| {
        let (batch, mut moving) = (regime.numbers(1, 103), regime.numbers(2, 103));
        match runner {
            Some(_) => norm::update_moving(0.9, &batch, &mut moving),
            None => naive::norm::update_moving(0.9, &batch, &mut moving),
        }
        vec![moving]
    }),
    ("pool::max_forward", |runner, regime| {
        each_pool(|g| {
            let x = regime.numbers(1, 2 * g.in_len());
            let len = 2 * g.out_pixels() * g.channels();
            let (mut y, mut argmax) = (untouched(len), vec![0; len]);
            match runner {
                Some(team) => pool::max_forward(team, g, &x, &mut y, &mut argmax),
                None => naive::pool::max_forward(g, &x, &mut y, &mut argmax),
            }
            y
        })
    }),
    ("pool::max_backward", |runner, regime| {
        each_pool(|g| {
            let len = 2 * g.out_pixels() * g.channels();
            let (dy, argmax) = (nearly_equal(regime, 1, len), vec![0; len]);
            let mut dx = untouched(2 * g.in_len());
            match runner {
                Some(team) => pool::max_backward(team, g, &argmax, &dy, &mut dx),
                None => naive::pool::max_backward(g, &argmax, &dy, &mut dx),
            }
            dx
        })
    }),
    ("pool::average_forward", |runner, regime| {
        each_pool(|g| {
            let x = regime.numbers(1, 2 * g.in_len());
            let mut y = untouched(2 * g.out_pixels() * g.channels());
            match runner {
                Some(team) => pool::average_forward(team, g, &x, &mut y),
                None => naive::pool::average_forward(g, &x, &mut y),
            }
            y
        })
    }),
    ("pool::average_backward", |runner, regime| {
        each_pool(|g| {
            let dy = regime.numbers(1, 2 * g.out_pixels() * g.channels());
            let mut dx = untouched(2 * g.in_len());
            match runner {
                Some(team) => pool::average_backward(team, g, &dy, &mut dx),
                None => naive::pool::average_backward(g, &dy, &mut dx),
            }
            dx
        })
    }),
    ("row_norm::forward", |runner, regime| {
        let (rows, c) = (40, 19);
        let x = regime.numbers(1, rows * c);
        let (gamma, beta) = (regime.numbers(2, c), regime.numbers(3, c));
        let (mut y, mut normal) = (untouched(rows * c), untouched(rows * c));
        let mut inverse = untouched(rows);
        let (y_, normal_, inverse_) = (&mut y, &mut normal, &mut inverse);
        match runner {
            Some(team) => {
                row_norm::forward(team, &x, &gamma, &beta, 1e-3, y_, normal_, inverse_);
            }
            None => naive::row_norm::forward(&x, &gamma, &beta, 1e-3, y_, normal_, inverse_),
        }
        vec![y, normal, inverse]
    }),
    ("row_norm::backward", |runner, regime| {
        let (rows, c) = (40, 19);
        let (dy, gamma) = (regime.numbers(1, rows * c), regime.numbers(2, c));
        let (mut normal, inverse) = (regime.numbers(3, rows * c), regime.positive(4, rows));
        let (mut dx, mut dgamma, mut dbeta) = (untouched(rows * c), untouched(c), untouched(c));
        let (h, dx_, dg, db) = (&mut normal, &mut dx, &mut dgamma, &mut dbeta);
        match runner {
            Some(team) => row_norm::backward(team, &dy, &gamma, h, &inverse, dx_, dg, db),
            None => naive::row_norm::backward(&dy, &gamma, h, &inverse, dx_, dg, db),
        }
        vec![normal, dx, dgamma, dbeta]
    }),
    ("sums::columns", |runner, regime| {
        let mut all = Vec::new();
        for (rows, cols) in [(1, 3), (9, 37), (4000, 33)] {
            let a = nearly_equal(regime, 1, rows * cols);
            let by_row = Mat::new(&a, rows, cols);
            for a in [by_row, Mat::new(&a, cols, rows).t()] {
                let mut out = untouched(cols);
                match runner {
                    Some(team) => sums::columns(team, a, &mut out),
                    None => naive::sums::columns(a, &mut out),
                }
                all.push(out);
            }
        }
        all
    }),
];

/// Numbers whose neighbours cancel but for their last digits.
fn nearly_equal(regime: Regime, seed: u64, len: usize) -> Vec<f32> {
    let mut numbers = regime.numbers(seed, len);
    for i in 1..len {
        if i % 3 > 0 {
            numbers[i] = -numbers[i - 1] * 1.01;
        }
    }
    numbers
}

/// Each activation, forward or backward, on two arrays: numbers of the regime, and numbers that make
/// outputs and logits of ordinary size.
fn each_activation(
    regime: Regime,
    run: impl Fn(Activation, &[f32], &[f32]) -> Vec<f32>,
) -> Vec<Vec<f32>> {
    let (x, dy) = (regime.numbers(1, 203), regime.numbers(2, 203));
    // Where the logistic function and its gradient leave the range of normal numbers.
    let large: Vec<f32> = (0..203).map(|i| -80.0 - 0.1 * i as f32).collect();
    let all = |x: &[f32]| ACTIVATIONS.map(|function| run(function, x, &dy));
    [all(&x), all(&large)].concat()
}

/// Tiny logits, and logits with tiny probabilities.
fn each_logits(regime: Regime, run: impl Fn(&[f32], usize) -> Vec<Vec<f32>>) -> Vec<Vec<f32>> {
    let tiny = regime.numbers(1, 210);
    let spread: Vec<f32> = (0..210).map(|i| (i * 37 % 211) as f32 - 105.0).collect();
    let confident: Vec<f32> = (0..210).map(|i| if i % 7 == 2 { 0.0 } else { -87.0 }).collect();
    let all = [&tiny, &spread, &confident];
    all.into_iter().flat_map(|logits| [1, 7, 21].map(|c| run(logits, c)).concat()).collect()
}

/// Few and many rows and columns.
fn each_columns(run: impl Fn(usize, usize) -> Vec<Vec<f32>>) -> Vec<Vec<f32>> {
    [(1, 3), (9, 37), (3000, 33)].into_iter().flat_map(|(rows, c)| run(rows, c)).collect()
}

/// Windows that overlap and windows that do not; channels with tails.
fn each_pool(run: impl Fn(&Geometry) -> Vec<f32>) -> Vec<Vec<f32>> {
    let geometries = [
        Geometry::new([6, 8, 21], [2, 2], 2, Padding::Valid),
        Geometry::new([7, 5, 21], [3, 3], 1, Padding::Same),
    ];
    geometries.iter().flatten().map(run).collect()
}
