//! Every layer's and loss's gradients, and those of whole networks, against finite differences of
//! the loss.
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

use std::ops::Range;

use rand::RngExt;
use threadcount::nn::*;
use threadcount::random::{Key, Purpose};
use threadcount_kernels::{Isa, Team};

const KEY: BatchKey = BatchKey { epoch: 3, first_sample: 40 };

/// What the loss looks like as a function of the parameters.
#[derive(Clone, Copy)]
enum Surface {
    Smooth,
    Kinked,
}
use Surface::{Kinked, Smooth};

struct Case {
    name: &'static str,
    input: Shape,
    layers: Vec<Layer>,
    loss: Loss,
    n: usize,
    surface: Surface,
}

fn case(name: &'static str, input: Shape, layers: &[Layer], surface: Surface) -> Case {
    let loss = Loss::SoftmaxCrossEntropy;
    Case { name, input, layers: layers.to_vec(), loss, n: 5, surface }
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

fn check_all(cases: &[Case]) {
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

const VALID: Padding = Padding::Valid;
const SAME: Padding = Padding::Same;
const TANH: Activation = Activation::Tanh;
const SIGMOID: Activation = Activation::Sigmoid;
const RELU: Activation = Activation::Relu;
const LEAKY: Activation = Activation::LeakyRelu { slope: 0.1 };

fn linear(units: usize) -> Layer {
    dense(units, Activation::Linear)
}

#[test]
fn dense_and_activations() {
    let flat = Shape::Flat(7);
    check_all(&[
        case("softmax regression", flat, &[linear(4)], Smooth),
        case("dense tanh", flat, &[dense(6, TANH), linear(4)], Smooth),
        case("dense sigmoid", flat, &[dense(6, SIGMOID), linear(4)], Smooth),
        case("dense relu", flat, &[dense(6, RELU), linear(4)], Kinked),
        case("dense leaky relu", flat, &[dense(6, LEAKY), linear(4)], Kinked),
        case("tanh layer", flat, &[linear(6), activation(TANH), linear(4)], Smooth),
        case("leaky relu layer", flat, &[linear(6), leaky_relu(0.1), linear(4)], Kinked),
        case("flatten in between", flat, &[dense(6, TANH), flatten(), linear(4)], Smooth),
        case(
            "activations in a row",
            flat,
            &[dense(6, SIGMOID), activation(TANH), activation(SIGMOID), linear(4)],
            Smooth,
        ),
    ]);
}

#[test]
fn losses() {
    let with = |name, loss, units| {
        let layers = [dense(5, TANH), linear(units)];
        Case { loss, ..case(name, Shape::Flat(6), &layers, Smooth) }
    };
    check_all(&[
        with("softmax, 10 classes", Loss::SoftmaxCrossEntropy, 10),
        with("softmax, 2 classes", Loss::SoftmaxCrossEntropy, 2),
        with("binary", Loss::BinaryCrossEntropy, 1),
        with("squared error, one-hot", Loss::MeanSquaredError, 4),
        with("squared error, number", Loss::MeanSquaredError, 1),
        Case {
            layers: vec![dense(5, TANH), dense(3, SIGMOID)],
            ..with("squared error of a sigmoid", Loss::MeanSquaredError, 3)
        },
    ]);
}

#[test]
fn convolution_and_pooling() {
    let image = Shape::Image([6, 7, 2]);
    let net = |layers: &[Layer]| [layers, &[flatten(), linear(3)]].concat();
    let few = |case| Case { n: 2, ..case };
    let two = [conv2d(3, 3, VALID, TANH), conv2d(4, 3, SAME, TANH)];
    check_all(&[
        case("conv valid", image, &net(&[conv2d(3, 3, VALID, TANH)]), Smooth),
        case("conv same", image, &net(&[conv2d(3, 3, SAME, SIGMOID)]), Smooth),
        case("conv 2x2 same", image, &net(&[conv2d(3, 2, SAME, TANH)]), Smooth),
        case("conv 1x1", image, &net(&[conv2d(4, 1, VALID, TANH)]), Smooth),
        case("two convs", image, &net(&two), Smooth),
        case("conv relu", image, &net(&[conv2d(2, 3, VALID, RELU)]), Kinked),
        few(case("max pool", image, &net(&[conv2d(3, 3, SAME, TANH), max_pool(2)]), Kinked)),
        few(case("max pool 3", image, &net(&[conv2d(3, 2, VALID, TANH), max_pool(3)]), Kinked)),
        case("average pool", image, &net(&[conv2d(3, 3, SAME, TANH), average_pool(2)]), Smooth),
        case("pool first", image, &net(&[max_pool(2), conv2d(3, 2, SAME, TANH)]), Smooth),
    ]);
}

/// What one kernel computes: forward without a map, backward from the winners.
#[test]
fn convolution_with_its_pool() {
    let net = |layers: &[Layer]| [layers, &[flatten(), linear(3)]].concat();
    let few = |case| Case { n: 2, ..case };
    let [one, two] = [1, 2].map(|channels| Shape::Image([7, 6, channels]));
    let stage = [conv2d(3, 3, SAME, TANH), max_pool(2)];
    let dropped = [conv2d(3, 3, SAME, TANH), dropout(0.3), max_pool(2)];
    let both = [conv2d(2, 3, SAME, TANH), max_pool(2), conv2d(3, 2, SAME, RELU), max_pool(2)];
    let behind = [dense(4, TANH), linear(3)];
    check_all(&[
        few(case("one channel", one, &net(&stage), Kinked)),
        few(case("one channel, dropout", one, &net(&dropped), Kinked)),
        few(case("two channels, dropout", two, &net(&dropped), Kinked)),
        few(case("2x2 windows", two, &net(&[conv2d(3, 2, VALID, SIGMOID), max_pool(2)]), Kinked)),
        few(case("one after the other", two, &net(&both), Kinked)),
        few(case("below dense", one, &[&dropped[..], &[flatten()], &behind].concat(), Kinked)),
    ]);
}

#[test]
fn batch_norm_and_dropout() {
    let image = Shape::Image([6, 6, 1]);
    let flat = Shape::Flat(7);
    let net = |layers: &[Layer]| [layers, &[average_pool(2), flatten(), linear(3)]].concat();
    let norm = [conv2d(3, 3, VALID, TANH), batch_norm()];
    let drop = [conv2d(3, 3, SAME, TANH), dropout(0.3)];
    check_all(&[
        case("norm after conv", image, &net(&norm), Smooth),
        case("norm after dense", flat, &[dense(6, TANH), batch_norm(), linear(3)], Smooth),
        case("norm first", flat, &[batch_norm(), dense(5, TANH), linear(3)], Smooth),
        case("dropout after conv", image, &net(&drop), Smooth),
        case("dropout after dense", flat, &[dense(12, TANH), dropout(0.4), linear(3)], Smooth),
        case("dropout first", flat, &[dropout(0.2), dense(9, TANH), linear(3)], Smooth),
    ]);
}

#[test]
fn recurrent() {
    let rows = Shape::Rows([5, 4]);
    check_all(&[
        case("simple rnn", rows, &[simple_rnn(6), linear(3)], Smooth),
        case("lstm", rows, &[lstm(5), linear(3)], Smooth),
        case("rnn after norm", rows, &[batch_norm(), simple_rnn(6), linear(3)], Smooth),
        case("lstm after norm", rows, &[batch_norm(), lstm(5), linear(3)], Smooth),
        case("two steps", Shape::Rows([2, 4]), &[lstm(5), linear(3)], Smooth),
    ]);
}

/// Small versions of the reports' networks: the same kinds of layers in the same order, with
/// smooth ones in the place of kinked ones where there are too many kinks to step between.
#[test]
fn whole_networks() {
    let image = Shape::Image([12, 12, 1]);
    let valid = |filters, activation| conv2d(filters, 3, VALID, activation);
    let same = |filters| conv2d(filters, 3, SAME, TANH);
    let nlp = [
        valid(3, Activation::Linear),
        activation(TANH),
        batch_norm(),
        average_pool(2),
        valid(4, TANH),
        batch_norm(),
        flatten(),
        dense(6, TANH),
        dropout(0.3),
        linear(10),
    ];
    let cse574 = [
        same(4),
        dropout(0.2),
        average_pool(2),
        same(3),
        dropout(0.2),
        average_pool(2),
        flatten(),
        dense(8, TANH),
        linear(10),
    ];
    let comp475 = [
        valid(2, RELU),
        max_pool(2),
        valid(3, RELU),
        flatten(),
        dense(5, RELU),
        dense(4, RELU),
        linear(10),
    ];
    let mlp = |first, second, act| [dense(first, act), dense(second, act), linear(10)];
    let batch = |n, case| Case { n, ..case };
    check_all(&[
        batch(8, case("nlp-cnn in small", image, &nlp, Smooth)),
        batch(8, case("cse574-cnn in small", image, &cse574, Smooth)),
        batch(2, case("comp475-cnn in small", image, &comp475, Kinked)),
        batch(8, case("cse574-mlp in small", Shape::Flat(9), &mlp(8, 6, TANH), Smooth)),
        batch(3, case("the same with kinks", Shape::Flat(9), &mlp(5, 4, RELU), Kinked)),
    ]);
}
