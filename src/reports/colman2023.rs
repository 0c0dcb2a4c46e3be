//! A network from scratch, 2023: dresses against ankle boots, one sample at a time.

use super::{Claim, Recipe, Report, Span};
use crate::data::{Classes, Partition, Scaling, Selection};
use crate::nn::{Loss, Optimizer, dense};
use crate::train::{Input, Task};
use threadcount_kernels::Activation::{Linear, Sigmoid};

pub(super) const REPORT: Report = Report {
    id: "colman2023",
    title: "A network from scratch 2023: dress against ankle boot",
    recipes,
};

fn recipes() -> Vec<Recipe> {
    vec![Recipe::new(
        "colman-scratch",
        "784 - 12 sigmoid - 1 sigmoid, gradient descent one sample at a time",
        Task {
            selection: Selection {
                // Dress is label 1, ankle boot label 0.
                classes: Classes::Pair { zero: 9, one: 3 },
                // Train and test merged, 14,000 in all: 12,000 to train on, 2,000 to test.
                partition: Partition::Shuffled { test: 1.0 / 7.0, validation: 0.0 },
            },
            scaling: Scaling::Unit,
            input: Input::Pixels,
            layers: vec![dense(12, Sigmoid), dense(1, Linear)],
            loss: Loss::BinaryCrossEntropy,
            // The report does not give the rate.
            optimizer: Optimizer::sgd().with_learning_rate(0.1),
            epochs: 20,
            batch_size: 1,
            ..Task::default()
        },
        Claim {
            accuracy: Some(Span::exactly(1.0)),
            seconds: Some(Span::exactly(150.0)), // "2.5 minutes"
            note: Some("the report says \"about 100 %\""),
        },
    )]
}
