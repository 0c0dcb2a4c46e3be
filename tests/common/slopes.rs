//! Gradients against finite differences of the loss.
//!
//! For each parameter tensor the slope of the loss is measured along several directions d (that of
//! the gradient itself, and eleven random ones, all of length 1) as `D(h) = (L(p + h d) - L(p - h
//! d)) / 2h`, extrapolated to `(4 D(h) - D(2h)) / 3` so that its error is of order h^4, and
//! compared with `g . d`. The gradient's own direction sees any wrong factor, the random ones any
//! wrong element.
//!
//! Tolerance: the losses carry f32 rounding of about 1e-7, so D(h) is off by `1e-7 / h` = 1e-5 at h
//! = 0.01, and the tensors of these networks have gradients |g| of 0.01 to 1. So 5e-4 |g| + 2e-5 is
//! allowed; a wrong factor, sign or index is off by the order of |g|. Where the loss has kinks
//! (ReLU, max-pooling) the step is smaller, so that few lie within it, and rounding weighs more:
//! 2e-3 |g| + 1e-4. A direction in which D(h) and D(2h) differ crosses one and proves nothing; at
//! least three of the twelve must not. (A kink right at the start escapes that; this seed has
//! none.)

// Each test file uses its own share of this.
#![allow(dead_code)]

use std::ops::Range;

use rand::RngExt;
use threadcount::nn::*;
use threadcount::random::{Key, Purpose};
use threadcount_kernels::{Isa, Team};

const KEY: BatchKey = BatchKey { epoch: 3, first_sample: 40 };

/// What the loss looks like as a function of the parameters.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Surface {
    Smooth,
    Kinked,
}
pub(crate) use Surface::{Kinked, Smooth};

pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) input: Shape,
    pub(crate) layers: Vec<Layer>,
    pub(crate) loss: Loss,
    pub(crate) n: usize,
    pub(crate) surface: Surface,
}

pub(crate) fn case(
    name: impl Into<String>,
    input: Shape,
    layers: &[Layer],
    surface: Surface,
) -> Case {
    let loss = Loss::SoftmaxCrossEntropy;
    Case { name: name.into(), input, layers: layers.to_vec(), loss, n: 5, surface }
}

fn uniform(stream: u64, len: usize) -> Vec<f32> {
    let mut rng = Key::new(15, Purpose::Synthetic).with(stream).rng();
    (0..len).map(|_| rng.random::<f32>() * 2.0 - 1.0).collect()
}

/// The gradient's own direction and eleven random ones, for a gradient of length `norm`.
fn directions(tensor: usize, g: &[f64], norm: f64) -> Vec<Vec<f64>> {
    let mut all = vec![g.iter().map(|g| g / norm).collect()];
    for direction in 0..11 {
        let d = uniform(100 + 20 * tensor as u64 + direction, g.len());
        let length = d.iter().map(|&d| f64::from(d).powi(2)).sum::<f64>().sqrt();
        all.push(d.iter().map(|&d| f64::from(d) / length).collect());
    }
    all
}

/// The largest error over all tensors and directions as a share of what is allowed, or the first
/// that is too large.
fn check(case: &Case, isa: Isa) -> Result<f64, String> {
    let team = Team::solo(isa);
    let (input, n) = (case.input, case.n);
    let mut network = Network::build(input, &case.layers, case.loss, Optimizer::sgd(), n, 5)
        .map_err(|error| error.to_string())?;
    let x = uniform(1, n * input.len());
    let classes = network.plan().output().len().max(2);
    let labels: Vec<u8> = (0..n).map(|i| ((i * 7 + 1) % classes) as u8).collect();
    // Away from the zeros and ones that biases, gamma and beta start at.
    let noise = uniform(2, network.params().len());
    network.params_mut().iter_mut().zip(&noise).for_each(|(p, noise)| *p += 0.2 * noise);
    network.gradients(&team, &x, &labels, KEY).map_err(|error| error.to_string())?;
    let grads = network.grads().to_vec();
    let start = network.params().to_vec();
    let tensors = network.plan().params().to_vec();

    let (h, relative, absolute) = match case.surface {
        Smooth => (1e-2, 5e-4, 2e-5),
        Kinked => (1e-3, 2e-3, 1e-4),
    };
    let mut loss_at = |range: &Range<usize>, direction: &[f64], t: f64| {
        let params = network.params_mut();
        params.copy_from_slice(&start);
        for (p, d) in params[range.clone()].iter_mut().zip(direction) {
            *p = (f64::from(*p) + t * d) as f32;
        }
        network.gradients(&team, &x, &labels, KEY).unwrap().loss()
    };
    let mut worst: f64 = 0.0;
    for (index, tensor) in tensors.iter().enumerate() {
        let g: Vec<f64> = grads[tensor.range.clone()].iter().map(|&g| f64::from(g)).collect();
        let norm = g.iter().map(|g| g * g).sum::<f64>().sqrt();
        if norm == 0.0 {
            return Err(format!("{}, {}: no gradient at all", case.name, tensor.name));
        }
        let mut used = 0;
        for (which, d) in directions(index, &g, norm).iter().enumerate() {
            let mut slope =
                |h: f64| (loss_at(&tensor.range, d, h) - loss_at(&tensor.range, d, -h)) / (2.0 * h);
            let (near, far) = (slope(h), slope(2.0 * h));
            let allowed = relative * norm + absolute;
            if matches!(case.surface, Kinked) && (near - far).abs() > 0.5 * allowed {
                continue;
            }
            used += 1;
            let measured = (4.0 * near - far) / 3.0;
            let computed: f64 = g.iter().zip(d).map(|(g, d)| g * d).sum();
            let share = (measured - computed).abs() / allowed;
            if share.is_nan() || share > 1.0 {
                return Err(format!(
                    "{} on {isa}, {}, direction {which}: slope {measured:.6}, gradient {computed:.6}, |g| {norm:.6}: {share:.1} times the tolerance",
                    case.name, tensor.name
                ));
            }
            worst = worst.max(share);
        }
        if used < 3 {
            return Err(format!("{}, {}: kinks in all directions", case.name, tensor.name));
        }
    }
    Ok(worst)
}

pub(crate) fn check_all(cases: &[Case]) {
    let mut faults = Vec::new();
    for case in cases {
        for isa in Isa::detected() {
            match check(case, isa) {
                Ok(worst) => {
                    println!("{:32} {:10} {worst:.3} of the tolerance", case.name, isa.name());
                }
                Err(fault) => faults.push(fault),
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
