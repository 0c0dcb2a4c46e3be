//! One convolutional network, trained on the first 80 % of the training file.

use super::{Claim, Recipe, Report, Span};
use crate::data::{Classes, Partition, Scaling, Selection, Validation};
use crate::nn::{Loss, Optimizer, conv2d, dense, flatten, max_pool};
use crate::train::{Input, Task};
use threadcount_kernels::Activation::{Linear, Relu};
use threadcount_kernels::Padding;

pub(super) const REPORT: Report =
    Report { id: "comp475", title: "One convolutional network, with a held-out fifth", recipes };

fn recipes() -> Vec<Recipe> {
    vec![Recipe::new(
        "comp475-cnn",
        "convolutions 32, 64, 64 relu - 64 - 64 relu - 10 softmax, Adam",
        Task {
            selection: Selection {
                classes: Classes::All,
                // 48,000 to train on, 12,000 to validate, in file order.
                partition: Partition::AsFiled(Validation::Tail(0.2)),
            },
            scaling: Scaling::Unit,
            input: Input::Image,
            layers: vec![
                conv2d(32, 3, Padding::Valid, Relu),
                max_pool(2),
                conv2d(64, 3, Padding::Valid, Relu),
                max_pool(2),
                conv2d(64, 3, Padding::Valid, Relu),
                flatten(),
                dense(64, Relu),
                dense(64, Relu),
                dense(10, Linear),
            ],
            // One-hot labels there, class numbers here: the same loss.
            loss: Loss::SoftmaxCrossEntropy,
            optimizer: Optimizer::adam(),
            epochs: 10,
            batch_size: 64,
            ..Task::default()
        },
        Claim {
            accuracy: None,
            seconds: Some(Span::exactly(470.0)), // 47 s per epoch, 10 epochs
            note: Some(
                "the report's figures are of its first epoch: loss 0.5846, accuracy 0.7841, \
                 val_loss 0.4175, val_accuracy 0.8463",
            ),
        },
    )]
}
