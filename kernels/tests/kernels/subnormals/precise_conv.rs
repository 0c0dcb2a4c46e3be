//! Convolutions in each precision but f32, on vectors and on tiles.

use super::{Regime, Run, Runner, noise, untouched};
use threadcount_kernels::conv::{self, Convolution};
use threadcount_kernels::precision::{Arithmetic, Bf16Kernel};
use threadcount_kernels::{Activation, Geometry, Padding, Precision, Team, naive};

/// Each pass.
pub(crate) const KERNELS: [(&str, Run); 3] = [
    ("bf16_conv::forward", |runner, regime| {
        each(runner, regime, |team, arithmetic, job, len| {
            let mut y = untouched(len);
            match team {
                Some(team) => conv::forward(team, job, &mut y),
                None => naive::bf16_conv::forward(arithmetic, job, &mut y),
            }
            y
        })
    }),
    ("bf16_conv::backward_data", |runner, regime| {
        each(runner, regime, |team, arithmetic, job, len| {
            let (g, dz, mut dx) = (job.geometry, regime.numbers(7, len), untouched(job.x.len()));
            match team {
                Some(team) => conv::backward_data(team, g, &dz, job.w, &mut dx),
                None => naive::bf16_conv::backward_data(arithmetic, g, &dz, job.w, &mut dx),
            }
            dx
        })
    }),
    ("bf16_conv::backward_weights", |runner, regime| {
        each(runner, regime, |team, arithmetic, job, len| {
            let (g, dz, mut dw) = (job.geometry, regime.numbers(7, len), untouched(job.w.len()));
            match team {
                Some(team) => {
                    let db = &mut untouched(job.bias.len());
                    conv::backward_weights(team, g, job.x, &dz, &mut dw, db);
                }
                None => naive::bf16_conv::backward_weights(arithmetic, g, job.x, &dz, &mut dw),
            }
            dw
        })
    }),
];

/// Runs a pass of convolutions whose gradient of the data is one itself and is scattered, of an odd number of channels
/// and of images, by each arithmetic; gives it so many elements of the output too.
fn each(
    runner: Runner,
    regime: Regime,
    run: impl Fn(Option<&Team>, Arithmetic, &Convolution, usize) -> Vec<f32>,
) -> Vec<Vec<f32>> {
    let mut all = Vec::new();
    for (input, stride, padding) in
        [([7, 6, 18], 1, Padding::Same), ([8, 9, 19], 2, Padding::Valid)]
    {
        let geometry = &Geometry::new(input, [3, 3], stride, padding).unwrap();
        let (batch, filters) = (3, 45);
        let x = regime.numbers(1, batch * geometry.in_len());
        let bias = vec![0.0; filters];
        let len = geometry.window_len() * filters;
        for w in [regime.numbers(2, len), noise(2, len)] {
            let activation = Activation::Linear;
            let job = Convolution { geometry, x: &x, w: &w, bias: &bias, activation };
            for precision in [Precision::F32Split, Precision::Bf16] {
                for kernel in [Bf16Kernel::MulAdd, Bf16Kernel::AmxTwin] {
                    let arithmetic = Arithmetic { precision, kernel };
                    let team = runner.map(|t| Team::solo(t.isa()).with_arithmetic(arithmetic));
                    let len = batch * geometry.out_pixels() * filters;
                    all.push(run(team.as_ref(), arithmetic, &job, len));
                }
            }
        }
    }
    all
}
