//! Batch normalisation against its twin, and the twin's gradients against differences.

use crate::common::{assert_close, noise, run_everywhere, untouched};
use threadcount_kernels::{naive, norm};

const SHAPES: [[usize; 2]; 14] = [
    [0, 3],
    [1, 1],
    [1, 16],
    [2, 17],
    [64, 1],
    [65, 5],
    [255, 8],
    [257, 32],
    [1009, 7],
    [1024, 32],
    [1025, 33],
    [2500, 64],
    [4099, 19],
    [40_000, 3],
];

struct Case {
    c: usize,
    x: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    mean: Vec<f32>,
    variance: Vec<f32>,
    y: Vec<f32>,
}

const EPSILON: f32 = 1e-3;

/// `x` of that mean and deviation, and what the twin makes of it.
fn case([rows, c]: [usize; 2], mean: f32, deviation: f32) -> Case {
    // Uniform in -1..1 has a deviation of 1 / sqrt 3.
    let scale = deviation * 3.0_f32.sqrt();
    let x: Vec<f32> = noise(1, rows * c).iter().map(|x| mean + scale * x).collect();
    let gamma: Vec<f32> = noise(2, c).iter().map(|x| x + 1.5).collect();
    let beta = noise(3, c);
    let (mut y, mut mean, mut variance) = (untouched(rows * c), untouched(c), untouched(c));
    naive::norm::train_forward(&x, &gamma, &beta, EPSILON, &mut y, &mut mean, &mut variance);
    Case { c, x, gamma, beta, mean, variance, y }
}

#[test]
fn train_forward() {
    for shape in SHAPES {
        for (mean, deviation) in [(0.3, 1.0), (1000.0, 0.1), (-5.0, 0.0)] {
            let case = case(shape, mean, deviation);
            let results = run_everywhere(|team| {
                let Case { c, x, gamma, beta, .. } = &case;
                let mut y = untouched(x.len());
                let (mut mean, mut variance) = (untouched(*c), untouched(*c));
                norm::train_forward(
                    team,
                    x,
                    gamma,
                    beta,
                    EPSILON,
                    &mut y,
                    &mut mean,
                    &mut variance,
                );
                vec![y, mean, variance]
            });
            for (isa, outputs) in results {
                let name = format!("{isa} {shape:?} mean {mean}");
                // The mean is a float: off by half its last digit, y is off by as many deviations.
                let digit = mean.abs() * 6e-8;
                let off = digit / (deviation * deviation + EPSILON).sqrt() * 2.5;
                assert_close(&outputs[1], &case.mean, 1e-7, 2.0 * digit + 2e-7, &name);
                assert_close(&outputs[2], &case.variance, 1e-5, 2e-9, &name);
                assert_close(&outputs[0], &case.y, 2e-6, 2.0 * off + 4e-6, &name);
            }
        }
    }
}

/// Blocks of very different rows: what the shift is taken from must not be the first rows alone.
#[test]
fn variance_of_unlike_rows() {
    let rows = 200_003;
    let x: Vec<f32> = noise(7, rows)
        .iter()
        .enumerate()
        .map(|(i, x)| if i < 64 { 0.0 } else { 1000.0 + x })
        .collect();
    let (mut y, mut mean, mut variance) = (untouched(rows), [0.0], [0.0]);
    naive::norm::train_forward(&x, &[1.0], &[0.0], EPSILON, &mut y, &mut mean, &mut variance);
    let results = run_everywhere(|team| {
        let (mut y, mut mean, mut variance) = (untouched(rows), untouched(1), untouched(1));
        norm::train_forward(team, &x, &[1.0], &[0.0], EPSILON, &mut y, &mut mean, &mut variance);
        vec![mean, variance]
    });
    for (isa, outputs) in results {
        assert_close(&outputs[0], &mean, 1e-6, 0.0, &format!("{isa} mean"));
        assert_close(&outputs[1], &variance, 1e-5, 0.0, &format!("{isa} variance"));
    }
}

#[test]
fn eval_forward() {
    for shape in SHAPES {
        let case = case(shape, 0.3, 1.0);
        let results = run_everywhere(|team| {
            let Case { x, gamma, beta, mean, variance, .. } = &case;
            let mut y = untouched(x.len());
            norm::eval_forward(team, x, gamma, beta, mean, variance, EPSILON, &mut y);
            vec![y]
        });
        for (isa, outputs) in results {
            assert_close(&outputs[0], &case.y, 2e-6, 1e-6, &format!("{isa} {shape:?}"));
        }
    }
}

#[test]
fn backward() {
    for shape in SHAPES {
        let Case { c, x, gamma, mean, variance, .. } = case(shape, 0.3, 1.0);
        let dy = noise(4, x.len());
        let (mut dx, mut dgamma, mut dbeta) = (untouched(x.len()), untouched(c), untouched(c));
        naive::norm::backward(
            &x,
            &dy,
            &gamma,
            &mean,
            &variance,
            EPSILON,
            &mut dx,
            &mut dgamma,
            &mut dbeta,
        );
        let results = run_everywhere(|team| {
            let mut out = vec![untouched(x.len()), untouched(c), untouched(c)];
            let [dx, dgamma, dbeta] = &mut out[..] else { unreachable!() };
            norm::backward(team, &x, &dy, &gamma, &mean, &variance, EPSILON, dx, dgamma, dbeta);
            out
        });
        for (isa, out) in results {
            let name = format!("{isa} {shape:?}");
            let terms = shape[0] as f32 * 1e-6;
            // One row, or few: dx is a small difference of large terms over a small deviation.
            assert_close(&out[0], &dx, 1e-5, 2e-4 / (shape[0] as f32).max(1.0) + 1e-5, &name);
            assert_close(&out[1], &dgamma, 1e-5, terms + 1e-6, &name);
            assert_close(&out[2], &dbeta, 1e-5, terms + 1e-6, &name);
        }
    }
}

/// The twin's gradients are slopes of its forward pass.
#[test]
fn gradients_are_slopes() {
    let (rows, c) = (5, 2);
    let (x, gamma, beta) = (noise(1, rows * c), noise(2, c), noise(3, c));
    let weights = noise(4, rows * c);
    let loss = |x: &[f32], gamma: &[f32], beta: &[f32]| -> f64 {
        let (mut y, mut mean, mut variance) = (untouched(rows * c), untouched(c), untouched(c));
        naive::norm::train_forward(x, gamma, beta, EPSILON, &mut y, &mut mean, &mut variance);
        y.iter().zip(&weights).map(|(&y, &w)| f64::from(y) * f64::from(w)).sum()
    };
    let (mut y, mut mean, mut variance) = (untouched(rows * c), untouched(c), untouched(c));
    naive::norm::train_forward(&x, &gamma, &beta, EPSILON, &mut y, &mut mean, &mut variance);
    let (mut dx, mut dgamma, mut dbeta) = (untouched(rows * c), untouched(c), untouched(c));
    naive::norm::backward(
        &x,
        &weights,
        &gamma,
        &mean,
        &variance,
        EPSILON,
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

#[test]
fn moving_statistics() {
    let mut moving = [1.0, -2.0];
    norm::update_moving(0.75, &[5.0, 2.0], &mut moving);
    assert_eq!(moving, [2.0, -1.0]);
}

/// The moments and sums of groups of rows, put together, are those of all rows.
#[test]
fn parts_together_are_the_whole() {
    for [rows, c] in SHAPES {
        for mean in [0.3, 1000.0] {
            let case = case([rows, c], mean, 0.5);
            let dy = noise(5, rows * c);
            let cuts = [0, rows / 5, rows / 5, rows / 2, rows];
            let results = run_everywhere(|team| {
                let Case { x, gamma, .. } = &case;
                let (mut mean, mut variance) = (vec![0.0; c], vec![0.0; c]);
                let parts = || cuts.windows(2).map(|cut| cut[0] * c..cut[1] * c);
                for part in parts() {
                    let (mut more_mean, mut more_variance) = (untouched(c), untouched(c));
                    norm::moments(team, &x[part.clone()], &mut more_mean, &mut more_variance);
                    let rows = part.len() / c;
                    let more =
                        norm::RowMoments { rows, mean: &more_mean, variance: &more_variance };
                    norm::add_moments(part.start / c, &mut mean, &mut variance, more);
                }
                let (mut dgamma, mut dbeta) = (vec![0.0; c], vec![0.0; c]);
                for part in parts() {
                    let (mut products, mut sums) = (untouched(c), untouched(c));
                    let (x, dy) = (&x[part.clone()], &dy[part]);
                    norm::gradient_sums(team, x, dy, &mean, &mut products, &mut sums);
                    dgamma.iter_mut().zip(products).for_each(|(sum, more)| *sum += more);
                    dbeta.iter_mut().zip(sums).for_each(|(sum, more)| *sum += more);
                }
                let products = dgamma.clone();
                let mut dx = untouched(x.len());
                for part in parts() {
                    dgamma.copy_from_slice(&products);
                    let (x, dy, dx) = (&x[part.clone()], &dy[part.clone()], &mut dx[part]);
                    norm::backward_of_sums(
                        team,
                        x,
                        dy,
                        gamma,
                        &mean,
                        &variance,
                        EPSILON,
                        rows,
                        dx,
                        &mut dgamma,
                        &dbeta,
                    );
                }
                if rows == 0 {
                    dgamma.fill(0.0);
                }
                vec![mean, variance, dx, dgamma, dbeta]
            });
            let (mut dx, mut dgamma, mut dbeta) = (untouched(rows * c), untouched(c), untouched(c));
            for (isa, outputs) in results {
                let name = format!("{isa} {rows}x{c} mean {mean}");
                let digit = mean * 6e-8;
                assert_close(&outputs[0], &case.mean, 1e-7, 2.0 * digit + 2e-7, &name);
                // The means of the parts are floats, and the variance between them is off by as much.
                assert_close(&outputs[1], &case.variance, 1e-5, digit + 1e-7, &name);
                let Case { x, gamma, .. } = &case;
                let [mean, variance] = [&outputs[0], &outputs[1]];
                naive::norm::backward(
                    x,
                    &dy,
                    gamma,
                    mean,
                    variance,
                    EPSILON,
                    &mut dx,
                    &mut dgamma,
                    &mut dbeta,
                );
                let much = (rows as f32).sqrt();
                assert_close(&outputs[3], &dgamma, 1e-5, 1e-5 * much, &name);
                assert_close(&outputs[4], &dbeta, 1e-5, 1e-6 * much, &name);
                assert_close(&outputs[2], &dx, 1e-5, 2e-5, &name);
            }
        }
    }
}
