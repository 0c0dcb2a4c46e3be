//! A network of one's own on a data set in the four files of Fashion-MNIST: a convolution, the mean of
//! each feature map, and a layer of classes.
//!
//! ```sh
//! cargo run --release --no-default-features --example own_recipe [FOLDER]
//! ```
//!
//! Without a folder it takes `./data/fashion-mnist`, or the set that the program has fetched, or a
//! synthetic one.

use std::ops::ControlFlow;
use std::path::PathBuf;
use threadcount::data::{Classes, Dataset, Identity, Partition, Selection, Validation};
use threadcount::nn::{
    Activation, Padding, batch_norm, conv2d, dense, global_average_pool2d, max_pool,
};
use threadcount::train::{Keep, Moment, Setup, Task};

fn main() -> threadcount::Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let dataset = Dataset::open(folder.as_deref())?;
    if dataset.identity == Identity::Synthetic {
        println!("this is the synthetic set, not Fashion-MNIST");
    }
    let relu = Activation::Relu;
    let task = Task {
        // Coats and shirts; the last tenth of the training images is held out.
        selection: Selection {
            classes: Classes::Pair { zero: 4, one: 6 },
            partition: Partition::AsFiled(Validation::Tail(0.1)),
        },
        layers: vec![
            conv2d(16, 3, Padding::Same, relu),
            max_pool(2),
            batch_norm(),
            conv2d(32, 3, Padding::Same, relu),
            global_average_pool2d(),
            dense(2, Activation::Linear),
        ],
        epochs: 3,
        batch_size: 64,
        keep: Keep::BestAccuracy,
        ..Task::default()
    };
    let split = task.selection.apply(&dataset, 0)?;
    let mut trained = task.fit(&split, &Setup::default(), |session, moment| {
        if let (Moment::Epoch, Some(epoch)) = (moment, session.progress().history.epochs.last()) {
            println!("epoch {}: {:.4} of the images held out", epoch.epoch, epoch.val_accuracy);
        }
        ControlFlow::Continue(())
    })?;
    let score = trained.evaluate(&split.test)?;
    println!("{:.4} of {} test images", score.accuracy, split.test.len());
    Ok(())
}
