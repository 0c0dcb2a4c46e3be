//! A mid-semester project of 2023: T-shirts against trousers, first with a network written in
//! NumPy, then with Keras.

use super::{Claim, Recipe, Report, Span};
use crate::data::{Classes, Partition, Scaling, Selection, Validation};
use crate::nn::{Loss, Optimizer, dense};
use crate::train::{Input, Keep, Order, Task};
use threadcount_kernels::Activation::{Linear, Relu, Sigmoid};

pub(super) const REPORT: Report = Report {
    id: "biu2023",
    title: "Mid-semester project 2023: T-shirt against trouser, from scratch and in Keras",
    recipes,
};

fn recipes() -> Vec<Recipe> {
    vec![
        Recipe::new(
            "biu-scratch",
            "784 - 32 sigmoid - 1 sigmoid, SGD one sample at a time",
            Task {
                layers: vec![dense(32, Sigmoid), dense(1, Linear)],
                loss: Loss::BinaryCrossEntropy,
                // The report gives neither the rate nor the order. Over 8-12 seeds the test accuracy was
                // 99.05-99.25 % in the files' order at 0.05; reshuffled in every epoch, it depends on the
                // last samples: 96.8-99.3 % at 0.1, 98.4-99.4 % at 0.05, 98.4-99.3 % at 0.03.
                optimizer: Optimizer::sgd().with_learning_rate(0.05),
                batch_size: 1,
                order: Order::AsSplit,
                ..task()
            },
            Claim {
                accuracy: Some(Span::exactly(0.994)),
                seconds: Some(Span::exactly(540.0)), // "about 9 minutes"
                note: None,
            },
        ),
        Recipe::new(
            "biu-base",
            "784 - 40 sigmoid - 2 softmax, SGD",
            Task { layers: vec![dense(40, Sigmoid), dense(2, Linear)], ..task() },
            Claim { accuracy: Some(Span::exactly(0.9685)), ..Claim::default() },
        ),
        Recipe::new(
            "biu-relu",
            "784 - 150 - 40 relu - 2 softmax, SGD",
            Task { layers: vec![dense(150, Relu), dense(40, Relu), dense(2, Linear)], ..task() },
            Claim { accuracy: Some(Span::exactly(0.984)), ..Claim::default() },
        ),
        Recipe::new(
            "biu-adam",
            "784 - 150 - 40 relu - 2 softmax, Adam, the best epoch kept",
            Task {
                layers: vec![dense(150, Relu), dense(40, Relu), dense(2, Linear)],
                optimizer: Optimizer::adam(),
                epochs: 12,
                keep: Keep::BestAccuracy,
                ..task()
            },
            Claim {
                accuracy: Some(Span::exactly(0.994)),
                seconds: None,
                note: Some(
                    "the report counts 11 wrong of 2,000; its best epoch is picked, as here, \
                     on the test images themselves",
                ),
            },
        ),
    ]
}

/// What the recipes share: the Keras defaults of the report's three Keras models.
fn task() -> Task {
    Task {
        selection: Selection {
            classes: Classes::Pair { zero: 0, one: 1 },
            partition: Partition::AsFiled(Validation::Test),
        },
        scaling: Scaling::Unit,
        input: Input::Pixels,
        loss: Loss::SoftmaxCrossEntropy,
        optimizer: Optimizer::sgd(),
        epochs: 10,
        batch_size: 32,
        ..Task::default()
    }
}
