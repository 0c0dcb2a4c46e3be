//! The record: networks of our own, outside the reports, that classify a share of the test images correctly after
//! as little training as possible. They were chosen on training images that were held out, never on test images.

use super::{Claim, Recipe};
use crate::data::{Augment, Classes, Partition, Selection, Validation};
use crate::nn::{
    BatchNorm, Layer, Optimizer, TestAugment, conv2d, dense, dropout, flatten, max_pool,
};
use crate::train::{Input, Schedule, Task};
use threadcount_kernels::Activation::{Linear, Relu};
use threadcount_kernels::Padding::{Same, Valid};

/// An accuracy, and the recipe that reaches it.
#[derive(Clone, Debug)]
pub struct Record {
    /// Share of the test images that are classified correctly, on average over seeds.
    pub target: f64,
    /// What is trained.
    pub recipe: Recipe,
}

/// The records, from the lowest accuracy to the highest.
pub fn records() -> Vec<Record> {
    let small = |dropped: &[Layer]| {
        let mut layers = vec![
            conv2d(32, 3, Same, Relu),
            max_pool(2),
            batch_norm(),
            conv2d(64, 3, Valid, Relu),
            max_pool(2),
            batch_norm(),
            conv2d(128, 3, Valid, Relu),
            batch_norm(),
            flatten(),
        ];
        layers.extend_from_slice(dropped);
        layers.push(dense(10, Linear));
        layers
    };
    vec![
        Record {
            target: 0.92,
            recipe: recipe(
                "record-92",
                "convolutions 32, 64, 128 relu, batch norm - 10 softmax, AdamW, 3 epochs",
                Task { layers: small(&[]), epochs: 3, ..task() },
            ),
        },
        Record {
            target: 0.93,
            recipe: recipe(
                "record-93",
                "the same with dropout, label smoothing and flips, 10 epochs",
                Task { layers: small(&[dropout(0.3)]), epochs: 10, ..regularised() },
            ),
        },
        Record {
            target: 0.94,
            recipe: recipe(
                "record-94",
                "convolutions 32, 64, 64, 128, 128 relu, batch norm - 10 softmax, AdamW, 14 epochs",
                Task {
                    layers: large(),
                    optimizer: adamw(0.005, 0.05),
                    epochs: 14,
                    test_augment: TestAugment::Flip,
                    ..regularised()
                },
            ),
        },
    ]
}

/// Of the last record: a pair of convolutions in place of one, and no row or column lost at the edges.
fn large() -> Vec<Layer> {
    vec![
        conv2d(32, 3, Same, Relu),
        max_pool(2),
        batch_norm(),
        conv2d(64, 3, Same, Relu),
        batch_norm(),
        conv2d(64, 3, Same, Relu),
        max_pool(2),
        batch_norm(),
        conv2d(128, 3, Same, Relu),
        batch_norm(),
        conv2d(128, 3, Same, Relu),
        max_pool(2),
        batch_norm(),
        flatten(),
        dropout(0.3),
        dense(10, Linear),
    ]
}

fn recipe(id: &'static str, about: &'static str, task: Task) -> Recipe {
    Recipe::new(id, about, task, Claim::default())
}

/// What the records have in common: AdamW with one cycle of the learning rate.
fn task() -> Task {
    Task {
        selection: Selection {
            classes: Classes::All,
            // The validation accuracy is only shown: the last epoch counts. So few samples are kept for it that
            // training on them too would hardly help.
            partition: Partition::AsFiled(Validation::Tail(0.02)),
        },
        input: Input::Image,
        optimizer: adamw(0.01, 0.01),
        schedule: Schedule::OneCycle { rise: 0.25, first: 0.04, last: 1e-4 },
        batch_size: 128,
        ..Task::default()
    }
}

fn adamw(learning_rate: f32, weight_decay: f32) -> Optimizer {
    Optimizer::AdamW { learning_rate, beta1: 0.9, beta2: 0.999, epsilon: 1e-7, weight_decay }
}

fn regularised() -> Task {
    Task { label_smoothing: 0.1, augment: Augment { flip: true, ..Augment::default() }, ..task() }
}

/// Of a few epochs, the moving statistics must forget the first: Keras's momentum of 0.99 is for longer runs.
fn batch_norm() -> Layer {
    BatchNorm { momentum: 0.9, ..BatchNorm::default() }.into()
}
