//! What a run trains: everything that, with a seed, decides the bits of its result. The reports'
//! recipes are tasks with a name and a claim; the command line's options change a task before it
//! starts.

use crate::data::{Scaling, Selection};
use crate::nn::{Layer, LayerOption, Loss, Optimizer, Shape};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use threadcount_kernels::Activation;

/// A network, its data and its schedule.
#[derive(Clone, Debug)]
pub struct Task {
    /// Which samples, and how they are cut into training, validation and test.
    pub selection: Selection,
    /// How pixels become inputs.
    pub scaling: Scaling,
    /// How the network sees one sample.
    pub input: Input,
    /// The network, from the input to the outputs before softmax or sigmoid.
    pub layers: Vec<Layer>,
    /// What is minimised.
    pub loss: Loss,
    /// How.
    pub optimizer: Optimizer,
    /// The most epochs to train.
    pub epochs: usize,
    /// Samples per optimizer step; an epoch's last batch may be smaller.
    pub batch_size: usize,
    /// In which order an epoch goes through the training samples.
    pub order: Order,
    /// Whether to stop before `epochs`.
    pub early_stopping: Option<EarlyStopping>,
    /// Which epoch's weights are the result.
    pub keep: Keep,
}

/// Everything but the layers as Keras has it: Adam on batches of 32 shuffled samples. Ten epochs, of
/// which the last one's weights are kept.
impl Default for Task {
    fn default() -> Self {
        Self {
            selection: Selection::default(),
            scaling: Scaling::Unit,
            input: Input::AsIs,
            layers: Vec::new(),
            loss: Loss::SoftmaxCrossEntropy,
            optimizer: Optimizer::adam(),
            epochs: 10,
            batch_size: 32,
            order: Order::Shuffled,
            early_stopping: None,
            keep: Keep::Last,
        }
    }
}

/// How a network sees a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Input {
    /// In the shape that it has.
    #[default]
    AsIs,
    /// As one vector, for dense layers. An image's are its H * W pixels.
    Pixels,
    /// As an image: H x W with its channels, for convolutions.
    Image,
    /// As a sequence, for recurrent layers. An image's are H steps of W numbers.
    Rows,
}

impl Input {
    /// The network's input shape for samples of this shape.
    ///
    /// # Errors
    /// [`Error::Usage`] if they cannot be seen so.
    pub fn of(self, sample: Shape) -> Result<Shape> {
        match (self, sample) {
            (Self::AsIs, sample) => Ok(sample),
            (Self::Pixels, sample) => Ok(Shape::Flat(sample.len())),
            (Self::Image, Shape::Image(_)) | (Self::Rows, Shape::Rows(_)) => Ok(sample),
            (Self::Rows, Shape::Image([height, width, channels])) => {
                Ok(Shape::Rows([height, width * channels]))
            }
            (Self::Image, _) => Err(usage(format!("samples of shape {sample} are no images"))),
            (Self::Rows, _) => Err(usage(format!("samples of shape {sample} are no sequences"))),
        }
    }

    /// The network's input shape for images of this height and width with one channel.
    pub fn shape(self, height: usize, width: usize) -> Shape {
        let image = Shape::Image([height, width, 1]);
        self.of(image).unwrap_or(image)
    }
}

/// The order of the samples in an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Another random order in every epoch.
    Shuffled,
    /// The order of the split in every epoch.
    AsSplit,
}

/// Keras's `EarlyStopping(monitor="val_loss")`: stop once the validation loss has not improved on
/// its best for this many epochs in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlyStopping {
    /// Epochs without improvement that end the run.
    pub patience: usize,
}

/// Which epoch's weights a run ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// The last epoch's.
    Last,
    /// Those of the epoch with the highest validation accuracy (the first of equals).
    BestAccuracy,
    /// Those of the epoch with the lowest validation loss (the first of equals).
    BestLoss,
}

/// Changes to a task, as the options of the program and the file `run.toml` spell them.
/// `None` leaves the task as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Changes {
    /// Most epochs to train.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<usize>,
    /// Samples per step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<usize>,
    /// Another optimizer, by name, at its Keras defaults.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optimizer: Option<String>,
    /// Learning rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f32>,
    /// Momentum of SGD or RMSprop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub momentum: Option<f32>,
    /// Rate of every dropout layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f32>,
    /// Activation of every hidden layer, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation: Option<String>,
}

impl Changes {
    /// The task with the changes made.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the option whose value is out of range or does not fit the task.
    pub fn apply(&self, mut task: Task) -> Result<Task> {
        if let Some(epochs) = self.epochs {
            task.epochs = at_least_one("epochs", epochs)?;
        }
        if let Some(size) = self.batch_size {
            task.batch_size = at_least_one("batch-size", size)?;
        }
        self.change_optimizer(&mut task)?;
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
        Ok(task)
    }
}

impl Changes {
    /// The first option, other than the epochs, that asks for something else than `before` did.
    pub fn beyond_epochs(&self, before: &Self) -> Option<&'static str> {
        fn differs<T: PartialEq>(now: &Option<T>, before: &Option<T>) -> bool {
            now.is_some() && now != before
        }
        [
            ("batch-size", differs(&self.batch_size, &before.batch_size)),
            ("optimizer", differs(&self.optimizer, &before.optimizer)),
            ("learning-rate", differs(&self.learning_rate, &before.learning_rate)),
            ("momentum", differs(&self.momentum, &before.momentum)),
            ("dropout", differs(&self.dropout, &before.dropout)),
            ("activation", differs(&self.activation, &before.activation)),
        ]
        .into_iter()
        .find_map(|(option, differs)| differs.then_some(option))
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
            if matches!(task.optimizer, Optimizer::Adam { .. }) {
                return Err(setting("momentum", "Adam has its own; use it with sgd or rmsprop"));
            }
            task.optimizer = task.optimizer.with_momentum(share);
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

fn setting(name: &'static str, fault: impl Into<String>) -> Error {
    Error::Setting { name, fault: fault.into() }
}

fn usage(message: impl Into<String>) -> Error {
    Error::Usage(message.into())
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
                "no activation is called '{name}'; there are relu, leaky-relu, sigmoid and tanh"
            ),
        )),
    }
}
