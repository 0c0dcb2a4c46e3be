//! Changes to a task before it starts: what the options of the program ask for.

use super::change_options::setting;
use super::schedule::Schedule;
use super::task::Task;
use crate::Result;
use crate::names::shortened;
use crate::nn::{Freeze, Layer, LayerOption, Optimizer};
use threadcount_kernels::Activation;

/// Changes to a task, as the options of the program spell them. `None` leaves the task as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// Most epochs to train.
    pub epochs: Option<usize>,
    /// Samples per step.
    pub batch_size: Option<usize>,
    /// Another optimizer, by name, at its Keras defaults.
    pub optimizer: Option<String>,
    /// Learning rate.
    pub learning_rate: Option<f32>,
    /// Momentum of SGD or RMSprop.
    pub momentum: Option<f32>,
    /// Weight decay of AdamW.
    pub weight_decay: Option<f32>,
    /// Factor of the squared weights in the loss.
    pub l2: Option<f32>,
    /// Share of each label that is spread over all classes.
    pub label_smoothing: Option<f32>,
    /// Largest norm of the gradients.
    pub clip_norm: Option<f32>,
    /// Decay of the moving average of the weights.
    pub weight_average: Option<f32>,
    /// Learning-rate schedule, as [`Schedule`] is spelt.
    pub schedule: Option<String>,
    /// Epochs of warm-up.
    pub warm_up: Option<f64>,
    /// Augmentation of training images, as [`Augment`](crate::data::Augment) is spelt.
    pub augment: Option<String>,
    /// Test-time augmentation, as [`TestAugment`](crate::nn::TestAugment) is spelt.
    pub test_augment: Option<String>,
    /// Rate of every dropout layer.
    pub dropout: Option<f32>,
    /// Activation of every hidden layer, by name.
    pub activation: Option<String>,
    /// Layers that do not learn, as [`Freeze`] is spelt.
    pub freeze: Option<String>,
    /// Parts of a batch that are summed apart.
    pub shards: Option<usize>,
    /// What batch normalisation takes its statistics over, by name.
    pub batch_norm_over: Option<String>,
}

impl Changes {
    /// The task with the changes made.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] naming the option whose value is out of range or does not fit the task.
    pub fn apply(&self, mut task: Task) -> Result<Task> {
        if let Some(epochs) = self.epochs {
            task.epochs = at_least_one("epochs", epochs)?;
        }
        if let Some(size) = self.batch_size {
            task.batch_size = at_least_one("batch-size", size)?;
        }
        if let Some(shards) = self.shards {
            task.shards = at_least_one("shards", shards)?;
        }
        if let Some(over) = &self.batch_norm_over {
            task.batch_norm_over = over.parse()?;
        }
        self.change_optimizer(&mut task)?;
        task.l2 = self.l2.unwrap_or(task.l2);
        task.label_smoothing = self.label_smoothing.unwrap_or(task.label_smoothing);
        task.clip_norm = self.clip_norm.or(task.clip_norm);
        task.weight_average = self.weight_average.or(task.weight_average);
        if let Some(schedule) = &self.schedule {
            let parsed = schedule.parse::<Schedule>();
            task.schedule = parsed.map_err(|error| setting("schedule", error.to_string()))?;
        }
        task.warm_up = self.warm_up.unwrap_or(task.warm_up);
        if let Some(augment) = &self.augment {
            task.augment = augment.parse()?;
        }
        if let Some(augment) = &self.test_augment {
            task.test_augment = augment.parse()?;
        }
        if let Some(rate) = self.dropout {
            if !(0.0..1.0).contains(&rate) {
                return Err(setting("dropout", format!("a rate is from 0 to below 1, not {rate}")));
            }
            if !change(&mut task.layers, LayerOption::DropoutRate(rate)) {
                return Err(setting("dropout", "this network has no dropout layer"));
            }
        }
        if let Some(name) = &self.activation {
            let activation = activation(name)?;
            if !change(&mut task.layers, LayerOption::HiddenActivation(activation)) {
                return Err(setting("activation", "this network has no hidden activation"));
            }
        }
        // Whether the schedule fits the epochs is checked later, when the epochs cannot change any more.
        task.check_regularisation()?;
        if let Some(layers) = &self.freeze {
            // Whether these layers exist is checked when the network is planned, which names them.
            task.freeze = layers.parse::<Freeze>()?;
        }
        Ok(task)
    }

    /// The first option, other than the epochs, that would change `task`.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub fn beyond_epochs(&self, task: &Task) -> Result<Option<&'static str>> {
        let same = task.to_toml()?;
        for option in Self::OPTIONS.iter().filter(|option| option.name != "epochs") {
            if option.alone(self).apply(task.clone())?.to_toml()? != same {
                return Ok(Some(option.name));
            }
        }
        Ok(None)
    }

    /// Naming the optimizer that the task already has keeps the task's own rates; naming another
    /// one starts from that one's Keras defaults.
    fn change_optimizer(&self, task: &mut Task) -> Result<()> {
        if let Some(name) = &self.optimizer {
            let named: Optimizer = name.parse()?;
            if std::mem::discriminant(&named) != std::mem::discriminant(&task.optimizer) {
                task.optimizer = named;
            }
        }
        if let Some(rate) = self.learning_rate {
            task.optimizer = task.optimizer.with_learning_rate(rate);
        }
        if let Some(share) = self.momentum {
            if matches!(task.optimizer, Optimizer::Adam { .. } | Optimizer::AdamW { .. }) {
                return Err(setting("momentum", "Adam has its own; use it with sgd or rmsprop"));
            }
            task.optimizer = task.optimizer.with_momentum(share);
        }
        if let Some(decay) = self.weight_decay {
            if !matches!(task.optimizer, Optimizer::AdamW { .. }) {
                let name = task.optimizer.name();
                return Err(setting(
                    "weight-decay",
                    format!("{name} has none; use it with adamw, or l2 with any optimizer"),
                ));
            }
            task.optimizer = task.optimizer.with_weight_decay(decay);
        }
        task.optimizer.check()
    }
}

/// Changes every layer that has this option; false if none has.
fn change(layers: &mut [Layer], option: LayerOption) -> bool {
    let mut any = false;
    for layer in layers {
        if let Some(changed) = layer.with_option(option) {
            (*layer, any) = (changed, true);
        }
    }
    any
}

fn at_least_one(name: &'static str, value: usize) -> Result<usize> {
    if value == 0 { Err(setting(name, "at least 1, not 0")) } else { Ok(value) }
}

/// The activation of that name. Leaky ReLU has the reports' slope of 0.1.
fn activation(name: &str) -> Result<Activation> {
    match name {
        "relu" => Ok(Activation::Relu),
        "leaky-relu" => Ok(Activation::LeakyRelu { slope: 0.1 }),
        "sigmoid" => Ok(Activation::Sigmoid),
        "tanh" => Ok(Activation::Tanh),
        _ => Err(setting(
            "activation",
            format!(
                "no activation is called '{}'; there are relu, leaky-relu, sigmoid and tanh",
                shortened(name)
            ),
        )),
    }
}
