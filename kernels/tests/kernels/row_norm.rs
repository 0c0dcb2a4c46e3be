//! Normalisation of rows against its twin, and the twin's gradients against differences.

use crate::common::{assert_close, noise, run_everywhere, untouched};
use threadcount_kernels::{naive, row_norm};

const SHAPES: [[usize; 2]; 16] = [
    [0, 3],
    [1, 1],
    [1, 16],
    [2, 17],
    [3, 15],
    [5, 31],
    [7, 32],
    [6, 33],
    [64, 1],
    [65, 5],
    [257, 64],
    [1009, 7],
    [4099, 19],
    [33, 784],
    [3, 4097],
    [40_000, 3],
];

const EPSILON: f32 = 1e-3;

struct Case {
    x: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    y: Vec<f32>,
    normal: Vec<f32>,
    inverse: Vec<f32>,
}

/// `x` of that mean and deviation, and what the twin makes of it.
fn case([rows, c]: [usize; 2], mean: f32, deviation: f32) -> Case {
    let x: Vec<f32> = noise(1, rows * c).iter().map(|x| mean + deviation * x).collect();
    let gamma: Vec<f32> = noise(2, c).iter().map(|x| x + 1.5).collect();
    let beta = noise(3, c);
    let (mut y, mut normal) = (untouched(rows * c), untouched(rows * c));
    let mut inverse = untouched(rows);
    naive::row_norm::forward(&x, &gamma, &beta, EPSILON, &mut y, &mut normal, &mut inverse);
    Case { x, gamma, beta, y, normal, inverse }
}

#[test]
fn forward() {
    for shape in SHAPES {
        for (mean, deviation) in [(0.3, 1.0), (10_000.0, 0.5), (-5.0, 0.0)] {
            let case = case(shape, mean, deviation);
            let results = run_everywhere(|team| {
                let Case { x, gamma, beta, .. } = &case;
                let mut out = vec![untouched(x.len()), untouched(x.len()), untouched(shape[0])];
                let [y, normal, inverse] = &mut out[..] else { unreachable!() };
                row_norm::forward(team, x, gamma, beta, EPSILON, y, normal, inverse);
                out
            });
            for (isa, out) in results {
                let name = format!("{isa} {shape:?} mean {mean}");
                assert_close(&out[0], &case.y, 2e-6, 2e-6, &name);
                assert_close(&out[1], &case.normal, 2e-6, 1e-6, &name);
                assert_close(&out[2], &case.inverse, 2e-6, 0.0, &name);
            }
        }
    }
}

#[test]
fn backward() {
    for shape in SHAPES {
        let [rows, c] = shape;
        let Case { gamma, normal, inverse, .. } = case(shape, 0.3, 1.0);
        let dy = noise(4, rows * c);
        let mut products = normal.clone();
        let (mut dx, mut dgamma, mut dbeta) = (untouched(rows * c), untouched(c), untouched(c));
        naive::row_norm::backward(
            &dy,
            &gamma,
            &mut products,
            &inverse,
            &mut dx,
            &mut dgamma,
            &mut dbeta,
        );
        let results = run_everywhere(|team| {
            let mut out = vec![untouched(rows * c), untouched(c), untouched(c), normal.clone()];
            let [dx, dgamma, dbeta, normal] = &mut out[..] else { unreachable!() };
            row_norm::backward(team, &dy, &gamma, normal, &inverse, dx, dgamma, dbeta);
            out
        });
        for (isa, out) in results {
            let name = format!("{isa} {shape:?}");
            let terms = rows as f32 * 1e-6;
            // A row of few columns: dx is a small difference of large terms.
            let largest = inverse.iter().fold(1.0, |max: f32, &inverse| max.max(inverse));
            assert_close(&out[0], &dx, 1e-5, 2e-6 * largest, &name);
            assert_close(&out[1], &dgamma, 1e-5, terms + 1e-6, &name);
            assert_close(&out[2], &dbeta, 1e-5, terms + 1e-6, &name);
            assert_close(&out[3], &products, 1e-6, 0.0, &name);
        }
    }
}

/// The twin's gradients are slopes of its forward pass.
#[test]
fn gradients_are_slopes() {
    let (rows, c) = (3, 5);
    let (x, gamma, beta) = (noise(1, rows * c), noise(2, c), noise(3, c));
    let weights = noise(4, rows * c);
    let forward = |x: &[f32], gamma: &[f32], beta: &[f32]| {
        let (mut y, mut normal) = (untouched(rows * c), untouched(rows * c));
        let mut inverse = untouched(rows);
        naive::row_norm::forward(x, gamma, beta, EPSILON, &mut y, &mut normal, &mut inverse);
        (y, normal, inverse)
    };
    let loss = |x: &[f32], gamma: &[f32], beta: &[f32]| -> f64 {
        let (y, ..) = forward(x, gamma, beta);
        y.iter().zip(&weights).map(|(&y, &w)| f64::from(y) * f64::from(w)).sum()
    };
    let (_, mut normal, inverse) = forward(&x, &gamma, &beta);
    let (mut dx, mut dgamma, mut dbeta) = (untouched(rows * c), untouched(c), untouched(c));
    naive::row_norm::backward(
        &weights,
        &gamma,
        &mut normal,
        &inverse,
        &mut dx,
        &mut dgamma,
        &mut dbeta,
    );
    let slope = |values: &[f32], i: usize, loss: &dyn Fn(&[f32]) -> f64| {
        let step = 1.0 / 256.0;
        let (mut up, mut down) = (values.to_vec(), values.to_vec());
        up[i] += step;
        down[i] -= step;
        ((loss(&up) - loss(&down)) / (2.0 * f64::from(step))) as f32
    };
    for (i, &dx) in dx.iter().enumerate() {
        assert_close(&[dx], &[slope(&x, i, &|x| loss(x, &gamma, &beta))], 1e-3, 1e-3, "dx");
    }
    for j in 0..c {
        let expected = [
            slope(&gamma, j, &|gamma| loss(&x, gamma, &beta)),
            slope(&beta, j, &|beta| loss(&x, &gamma, beta)),
        ];
        assert_close(&[dgamma[j], dbeta[j]], &expected, 1e-3, 1e-3, "dgamma, dbeta");
    }
}
