//! Activations against their twins.

use crate::common::{SIZES, assert_close, noise, run_everywhere, untouched};
use threadcount_kernels::{Activation, activation, naive};

const ALL: [Activation; 5] = [
    Activation::Linear,
    Activation::Relu,
    Activation::LeakyRelu { slope: 0.1 },
    Activation::Sigmoid,
    Activation::Tanh,
];

/// Random numbers in -10..10, and every special number.
fn inputs(len: usize) -> Vec<f32> {
    let specials =
        [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1e-40, -1e-40, 88.0, -95.0];
    let mut x: Vec<f32> = noise(1, len).iter().map(|x| 10.0 * x).collect();
    for (x, special) in x.iter_mut().step_by(3).zip(specials) {
        *x = special;
    }
    x
}

/// Special numbers as numbers that compare: NaN as 7, infinities as the largest floats.
fn comparable(values: &[f32]) -> Vec<f32> {
    values.iter().map(|x| if x.is_nan() { 7.0 } else { x.clamp(f32::MIN, f32::MAX) }).collect()
}

#[test]
fn forward() {
    for activation in ALL {
        for len in SIZES {
            let x = inputs(len);
            let mut expected = untouched(len);
            naive::activation::forward(activation, &x, &mut expected);
            let results = run_everywhere(|team| {
                let (mut y, mut in_place) = (untouched(len), x.clone());
                activation::forward(team, activation, &x, &mut y);
                activation::forward_in_place(team, activation, &mut in_place);
                vec![y, in_place]
            });
            let tolerance = match activation {
                Activation::Sigmoid | Activation::Tanh => 4e-7,
                _ => 0.0,
            };
            for (isa, outputs) in results {
                for y in outputs {
                    // What is subnormal is zero, or passed on where nothing is computed.
                    assert_close(
                        &comparable(&y),
                        &comparable(&expected),
                        tolerance,
                        f32::MIN_POSITIVE,
                        &format!("{activation:?} {isa}"),
                    );
                }
            }
        }
    }
}

#[test]
fn backward() {
    for activation in ALL {
        for len in SIZES {
            let x = inputs(len);
            let mut y = untouched(len);
            naive::activation::forward(activation, &x, &mut y);
            let dy = noise(2, len);
            let mut expected = dy.clone();
            naive::activation::backward(activation, &y, &mut expected);
            let results = run_everywhere(|team| {
                let mut dx = dy.clone();
                activation::backward(team, activation, &y, &mut dx);
                vec![dx]
            });
            for (isa, dx) in results {
                assert_close(
                    &comparable(&dx[0]),
                    &comparable(&expected),
                    3e-7,
                    f32::MIN_POSITIVE,
                    &format!("{activation:?} {isa}"),
                );
            }
        }
    }
}

/// The twin's derivatives are those of its functions.
#[test]
fn derivatives_are_slopes() {
    for activation in ALL {
        for x in [-3.0_f32, -0.7, 0.4, 2.5] {
            let value = |x: f32| {
                let mut y = [0.0];
                naive::activation::forward(activation, &[x], &mut y);
                y[0]
            };
            let step = 1.0 / 128.0;
            let slope = (value(x + step) - value(x - step)) / (2.0 * step);
            let mut dy = [1.0];
            naive::activation::backward(activation, &[value(x)], &mut dy);
            assert!((dy[0] - slope).abs() < 1e-4, "{activation:?} at {x}: {} {slope}", dy[0]);
        }
    }
}
