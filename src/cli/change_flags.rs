//! The options of `train` and `search` that change a recipe.

use super::choices;
use crate::train::Changes;

/// What may be changed about a recipe.
#[derive(clap::Args, Clone)]
#[command(next_help_heading = "Changes to the recipe")]
pub(super) struct ChangeFlags {
    /// Most epochs to train
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Samples per optimizer step
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    #[arg(long, value_name = "NAME", help = choices::optimizers())]
    optimizer: Option<String>,
    /// Learning rate
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f32>,
    /// Momentum of sgd or rmsprop
    #[arg(long, value_name = "SHARE")]
    momentum: Option<f32>,
    /// Weight decay of adamw, separate from the gradient
    #[arg(long, value_name = "DECAY")]
    weight_decay: Option<f32>,
    /// Adds this times the squares of all weights to the loss
    #[arg(long, value_name = "FACTOR")]
    l2: Option<f32>,
    /// Share of each label that is spread evenly over all classes
    #[arg(long, value_name = "SHARE")]
    label_smoothing: Option<f32>,
    /// Gradients whose norm is larger are scaled down to it
    #[arg(long, value_name = "NORM")]
    clip_norm: Option<f32>,
    /// Keeps a moving average of the weights with this decay, such as 0.999
    #[arg(long, value_name = "DECAY")]
    weight_average: Option<f32>,
    /// Learning-rate schedule: constant, cosine, one-cycle, plateau, or steps=10,20 (times 0.1 at the end
    /// of these epochs)
    #[arg(long, value_name = "NAME")]
    schedule: Option<String>,
    /// Epochs in which the learning rate rises before the schedule begins
    #[arg(long, value_name = "EPOCHS")]
    warm_up: Option<f64>,
    /// Augmentation of training images: rotate=10,scale=0.1,shift=2,flip,erase=0.2 (any of these), or none
    #[arg(long, value_name = "SETTINGS")]
    augment: Option<String>,
    /// Predicts from the mirror image of each image too: flip, or none
    #[arg(long, value_name = "NAME")]
    test_augment: Option<String>,
    /// Rate of the network's dropout layers
    #[arg(long, value_name = "RATE")]
    dropout: Option<f32>,
    /// Activation of the hidden layers: relu, leaky-relu, sigmoid or tanh
    #[arg(long, value_name = "NAME")]
    activation: Option<String>,
    /// Layers that do not learn: their names separated by commas ('summary' shows them; conv2d* stands for
    /// all that begin with conv2d), or how many of the first ones
    #[arg(long, value_name = "LAYERS")]
    pub(super) freeze: Option<String>,
    /// Parts of a batch that are summed apart, in a fixed order: a multiple of the ranks under mpirun
    /// (another number rounds differently) [default: 1]
    #[arg(long, value_name = "N")]
    shards: Option<usize>,
    /// What batch normalisation takes its statistics over, if there are several shards: batch or shard (forward
    /// then waits for no other rank) [default: batch]
    #[arg(long, value_name = "NAME")]
    batch_norm_over: Option<String>,
}

impl From<ChangeFlags> for Changes {
    fn from(flags: ChangeFlags) -> Self {
        Self {
            epochs: flags.epochs,
            batch_size: flags.batch_size,
            optimizer: flags.optimizer,
            learning_rate: flags.learning_rate,
            momentum: flags.momentum,
            weight_decay: flags.weight_decay,
            l2: flags.l2,
            label_smoothing: flags.label_smoothing,
            clip_norm: flags.clip_norm,
            weight_average: flags.weight_average,
            schedule: flags.schedule,
            warm_up: flags.warm_up,
            augment: flags.augment,
            test_augment: flags.test_augment,
            dropout: flags.dropout,
            activation: flags.activation,
            freeze: flags.freeze,
            shards: flags.shards,
            batch_norm_over: flags.batch_norm_over,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Args as _;

    /// Whatever `train` can change, a search can search: an option here is one of [`Changes::OPTIONS`].
    #[test]
    fn every_change_is_known_by_its_name() {
        let command = ChangeFlags::augment_args(clap::Command::new("changes"));
        let flags: Vec<_> = command.get_arguments().filter_map(|arg| arg.get_long()).collect();
        let options: Vec<_> = Changes::OPTIONS.iter().map(|option| option.name).collect();
        assert_eq!(flags, options);
    }
}
