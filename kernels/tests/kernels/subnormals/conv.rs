//! Convolutions.

use super::{ACTIVATIONS, Regime, Run, noise, untouched};
use threadcount_kernels::conv::{self, Convolution, Winners};
use threadcount_kernels::dropout::Dropout;
use threadcount_kernels::{Activation, Geometry, Padding, naive};

/// On each of the paths there are.
pub(crate) const KERNELS: [(&str, Run); 7] = [
    ("conv::forward", |runner, regime| {
        each_convolution(regime, |job, y| match runner {
            Some(team) => conv::forward(team, &job, y),
            None => naive::conv::forward(&job, y),
        })
    }),
    ("conv::forward_with_moments", |runner, regime| {
        each_convolution_of(regime, |job, mut y| {
            let (mut mean, mut variance) = (untouched(job.bias.len()), untouched(job.bias.len()));
            match runner {
                Some(team) => {
                    conv::forward_with_moments(team, &job, &mut y, &mut mean, &mut variance);
                }
                None => naive::conv::forward_with_moments(&job, &mut y, &mut mean, &mut variance),
            }
            vec![y, mean, variance]
        })
    }),
    ("conv::forward_pooled", |runner, regime| {
        each_convolution_of(regime, |job, y| {
            let g = job.geometry;
            let len = y.len() / g.out_pixels() * (g.out_h() / 2) * (g.out_w() / 2);
            let rule = Dropout { rate: 0.3, key: 1, first_sample: 2 };
            let mut all = Vec::new();
            for dropout in [None, Some(&rule)] {
                let (mut y, mut argmax) = (untouched(len), vec![0; len]);
                match runner {
                    Some(team) => conv::forward_pooled(team, &job, dropout, &mut y, &mut argmax),
                    None => naive::conv::forward_pooled(&job, dropout, &mut y, &mut argmax),
                }
                all.push(y);
            }
            all
        })
    }),
    ("conv::backward_data", |runner, regime| {
        each_convolution_of(regime, |job, y| {
            let (g, dz) = (job.geometry, regime.numbers(7, y.len()));
            let mut dx = untouched(job.x.len());
            match runner {
                Some(team) => conv::backward_data(team, g, &dz, job.w, &mut dx),
                None => naive::conv::backward_data(g, &dz, job.w, &mut dx),
            }
            vec![dx]
        })
    }),
    ("conv::backward_weights", |runner, regime| {
        each_convolution_of(regime, |job, y| {
            let (g, dz) = (job.geometry, regime.numbers(7, y.len()));
            let (mut dw, mut db) = (untouched(job.w.len()), untouched(job.bias.len()));
            match runner {
                Some(team) => conv::backward_weights(team, g, job.x, &dz, &mut dw, &mut db),
                None => naive::conv::backward_weights(g, job.x, &dz, &mut dw, &mut db),
            }
            vec![dw, db]
        })
    }),
    ("conv::expand_winners", |runner, regime| {
        each_winners(regime, |job, winners| {
            let (g, filters) = (job.geometry, job.bias.len());
            let mut dz = untouched(job.x.len() / g.in_len() * g.out_pixels() * filters);
            match runner {
                Some(team) => conv::expand_winners(team, g, filters, &winners, &mut dz),
                None => naive::conv::expand_winners(g, filters, &winners, &mut dz),
            }
            vec![dz]
        })
    }),
    ("conv::backward_weights_pooled", |runner, regime| {
        each_winners(regime, |job, winners| {
            if !conv::is_one_channel(job.geometry) {
                return Vec::new();
            }
            let (mut dw, mut db) = (untouched(job.w.len()), untouched(job.bias.len()));
            let g = job.geometry;
            match runner {
                Some(team) => {
                    conv::backward_weights_pooled(team, g, job.x, &winners, &mut dw, &mut db);
                }
                None => naive::conv::backward_weights_pooled(g, job.x, &winners, &mut dw, &mut db),
            }
            vec![dw, db]
        })
    }),
];

/// Convolutions on each of the paths there are.
fn each_convolution_of(
    regime: Regime,
    run: impl Fn(Convolution, Vec<f32>) -> Vec<Vec<f32>>,
) -> Vec<Vec<f32>> {
    let shapes = [
        ([9, 10, 1], [3, 3], 1, Padding::Valid),
        ([7, 6, 1], [3, 3], 1, Padding::Same),
        ([7, 6, 5], [3, 3], 1, Padding::Same),
        ([8, 9, 3], [3, 3], 2, Padding::Valid),
    ];
    let mut all = Vec::new();
    for (input, kernel, stride, padding) in shapes {
        let geometry = &Geometry::new(input, kernel, stride, padding).unwrap();
        let (batch, filters) = (5, 21);
        let x = regime.numbers(1, batch * geometry.in_len());
        // Ordinary weights too: outputs are then of the inputs' size.
        let ws = [
            regime.numbers(2, geometry.window_len() * filters),
            noise(2, geometry.window_len() * filters),
        ];
        let zero = vec![0.0; filters];
        let bias = regime.numbers(3, filters);
        for (bias, activation) in ACTIVATIONS.map(|a| (&bias, a)).into_iter().chain([
            (&zero, Activation::Linear),
            (&zero, Activation::Relu),
            (&zero, Activation::LeakyRelu { slope: 0.1 }),
        ]) {
            for w in &ws {
                let y = untouched(batch * geometry.out_pixels() * filters);
                all.extend(run(Convolution { geometry, x: &x, w, bias, activation }, y));
            }
        }
    }
    all
}

fn each_convolution(regime: Regime, run: impl Fn(Convolution, &mut [f32])) -> Vec<Vec<f32>> {
    each_convolution_of(regime, |job, mut y| {
        run(job, &mut y);
        vec![y]
    })
}

/// The same with gradients of pooled outputs.
fn each_winners(
    regime: Regime,
    run: impl Fn(Convolution, Winners) -> Vec<Vec<f32>>,
) -> Vec<Vec<f32>> {
    each_convolution_of(regime, |job, map| {
        let g = job.geometry;
        let len = map.len() / g.out_pixels() * (g.out_h() / 2) * (g.out_w() / 2);
        let (dy, y) = (regime.numbers(4, len), regime.numbers(5, len));
        let argmax: Vec<u8> = (0..len).map(|i| (i % 8) as u8).collect();
        let (activation, dropout_rate) = (job.activation, 0.3);
        run(job, Winners { dy: &dy, y: &y, argmax: &argmax, activation, dropout_rate })
    })
}
