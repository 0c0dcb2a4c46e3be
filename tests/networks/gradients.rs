//! Every layer's and loss's gradients, and those of whole networks, against finite differences of
//! the loss (`common/slopes.rs` says how).

use crate::common::slopes::{Case, Kinked, Smooth, case, check_all};
use threadcount::nn::*;

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
