//! A comparison of several models, 2024: softmax regression, dense networks, a convolutional one,
//! and a recurrent one that the report announces and leaves out.

use super::{Claim, Recipe, Report, Span};
use crate::data::{Classes, Partition, Scaling, Selection};
use crate::nn::{
    Layer, Loss, Optimizer, batch_norm, conv2d, dense, dropout, flatten, lstm, max_pool,
};
use crate::train::{EarlyStopping, Input, Keep, Task};
use threadcount_kernels::Activation::{self, Linear, Relu};
use threadcount_kernels::Padding;

pub(super) const REPORT: Report = Report {
    id: "nlp2024",
    title: "Several models compared 2024: softmax regression, dense, convolutional, recurrent",
    recipes,
};

/// The slope of the report's leaky ReLU.
const LEAKY: Activation = Activation::LeakyRelu { slope: 0.1 };

fn recipes() -> Vec<Recipe> {
    vec![
        Recipe::new(
            "nlp-softmax",
            "784 - 10 softmax, Adam",
            Task { layers: vec![dense(10, Linear)], ..task() },
            Claim {
                accuracy: Some(Span::exactly(0.8944)),
                seconds: Some(Span::between(40.0, 70.0)), // 4-7 s per epoch, 10 epochs
                note: Some(
                    "a linear softmax model does not reach 0.894 on this data (about 0.85 is its \
                     limit); the log in the report fits a model with a hidden layer",
                ),
            },
        ),
        Recipe::new(
            "nlp-mlp80",
            "784 - 80 - 80 relu - 10 softmax, Adam, early stopping, the best epoch kept",
            Task {
                layers: vec![dense(80, Relu), dense(80, Relu), dense(10, Linear)],
                epochs: 30,
                early_stopping: Some(EarlyStopping { patience: 3 }),
                // Not said for this one; without it, seeds 0-9 end at 87.8-89.4 %, with it at
                // 88.1-89.5 %.
                keep: Keep::BestLoss,
                ..task()
            },
            Claim::default(),
        ),
        Recipe::new(
            "nlp-mlp300",
            "784 - 300 relu - 10 softmax, Adam, early stopping, the best epoch kept",
            Task {
                selection: selection(0.10, 0.09),
                layers: vec![dense(300, Relu), dense(10, Linear)],
                epochs: 30,
                early_stopping: Some(EarlyStopping { patience: 3 }),
                keep: Keep::BestLoss,
                ..task()
            },
            Claim::default(),
        ),
        Recipe::new(
            "nlp-cnn",
            "convolutions 32, 64, 64 with leaky relu and batch norm - 64 - 10 softmax, Adam",
            Task { input: Input::Image, layers: cnn(), epochs: 8, ..task() },
            Claim {
                accuracy: Some(Span::between(0.886, 0.907)),
                seconds: Some(Span::between(328.0, 592.0)), // 41-74 s per epoch, 8 epochs
                note: Some("the claimed accuracy is the report's range over its epochs"),
            },
        ),
        Recipe::new(
            "nlp-rnn",
            "28 rows of 28 - LSTM of 64 - 10 softmax, Adam",
            // A simple recurrent layer of 128 forgets too much: 82.5 % where this gives 89 %.
            Task { input: Input::Rows, layers: vec![lstm(64), dense(10, Linear)], ..task() },
            Claim {
                note: Some(
                    "the report announces a recurrent network and gives neither its layers nor its figures",
                ),
                ..Claim::default()
            },
        ),
    ]
}

fn cnn() -> Vec<Layer> {
    vec![
        conv2d(32, 3, Padding::Valid, LEAKY),
        batch_norm(),
        max_pool(2),
        conv2d(64, 3, Padding::Valid, LEAKY),
        batch_norm(),
        max_pool(2),
        conv2d(64, 3, Padding::Valid, LEAKY),
        batch_norm(),
        flatten(),
        dense(64, LEAKY),
        dropout(0.3),
        dense(10, Linear),
    ]
}

/// What the recipes share.
fn task() -> Task {
    Task {
        // 59,500 to train on, 10,500 to test; validated on the test samples.
        selection: selection(0.15, 0.0),
        scaling: Scaling::Unit,
        input: Input::Pixels,
        loss: Loss::SoftmaxCrossEntropy,
        optimizer: Optimizer::adam(),
        epochs: 10,
        batch_size: 32,
        ..Task::default()
    }
}

/// All 70,000 images merged, shuffled and split.
fn selection(test: f64, validation: f64) -> Selection {
    Selection { classes: Classes::All, partition: Partition::Shuffled { test, validation } }
}
