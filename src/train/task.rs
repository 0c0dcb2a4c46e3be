//! What a run trains: everything that, with a seed, decides the bits of its result. The reports'
//! recipes are tasks with a name and a claim.

use super::schedule::Schedule;
use crate::data::{Augment, Samples, Scaling, Selection};
use crate::nn::{
    BatchNormOver, Freeze, Layer, LayerOption, Loss, Objective, Optimizer, Plan, Shape,
    TestAugment, check_clip_norm,
};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use threadcount_kernels::precision::Arithmetic;
use threadcount_kernels::{Isa, Precision};

/// A network, its data and its schedule.
#[derive(Clone, Debug)]
pub struct Task {
    /// Which samples, and how they are split into training, validation and test.
    pub selection: Selection,
    /// How pixels become inputs.
    pub scaling: Scaling,
    /// How training images are augmented. Validation and test images never are.
    pub augment: Augment,
    /// What is predicted from: the image alone, or its mirror image too.
    pub test_augment: TestAugment,
    /// How the network sees one sample.
    pub input: Input,
    /// The network, from the input to the outputs before softmax or sigmoid.
    pub layers: Vec<Layer>,
    /// Which layers keep their initial weights.
    pub freeze: Freeze,
    /// What is minimised.
    pub loss: Loss,
    /// As in [`Objective`].
    pub label_smoothing: f32,
    /// As in [`Objective`].
    pub l2: f32,
    /// The largest norm of the gradients: as [`Network::clip_gradients`](crate::nn::Network::clip_gradients).
    pub clip_norm: Option<f32>,
    /// The optimizer, with its settings.
    pub optimizer: Optimizer,
    /// How the learning rate changes during training.
    pub schedule: Schedule,
    /// Epochs in which the learning rate rises from nearly nothing, before the schedule begins; need not be a
    /// whole number.
    pub warm_up: f64,
    /// The most epochs to train.
    pub epochs: usize,
    /// Samples per optimizer step; an epoch's last batch may be smaller.
    pub batch_size: usize,
    /// Parts of a batch whose gradients, losses and moments are computed apart and summed in a fixed order: several
    /// processes may then share them, with the bits of one. Another number rounds differently.
    pub shards: usize,
    /// What batch normalisation takes its statistics over, if there are several shards.
    pub batch_norm_over: BatchNormOver,
    /// In which order an epoch goes through the training samples.
    pub order: Order,
    /// Whether to stop before `epochs`.
    pub early_stopping: Option<EarlyStopping>,
    /// Which epoch's weights are the result.
    pub keep: Keep,
    /// The decay of an exponential moving average of the weights and moving statistics, 0 to below 1: after
    /// step t it becomes `d average + (1 - d) weights`, where `d` is the smaller of this and
    /// `(1 + t) / (10 + t)`, so that the first weights are soon forgotten (as TensorFlow's
    /// `ExponentialMovingAverage`). Validation uses the average, and a run keeps it.
    pub weight_average: Option<f32>,
    /// What the operands of products are rounded to. Weights, optimizer, losses and normalisation are f32.
    pub precision: Precision,
}

/// Keras's defaults for everything but the layers: Adam on batches of 32 shuffled samples. Ten epochs, of
/// which the last one's weights are kept.
impl Default for Task {
    fn default() -> Self {
        Self {
            selection: Selection::default(),
            scaling: Scaling::Unit,
            augment: Augment::default(),
            test_augment: TestAugment::None,
            input: Input::AsIs,
            layers: Vec::new(),
            freeze: Freeze::default(),
            loss: Loss::SoftmaxCrossEntropy,
            label_smoothing: 0.0,
            l2: 0.0,
            clip_norm: None,
            optimizer: Optimizer::adam(),
            schedule: Schedule::Constant,
            warm_up: 0.0,
            epochs: 10,
            batch_size: 32,
            shards: 1,
            batch_norm_over: BatchNormOver::Batch,
            order: Order::Shuffled,
            early_stopping: None,
            keep: Keep::Last,
            weight_average: None,
            precision: Precision::F32,
        }
    }
}

impl Task {
    /// The layers for samples of `classes` classes: layers with one output per class get that many outputs.
    pub fn layers_for(&self, classes: usize) -> Vec<Layer> {
        let option = LayerOption::Classes(classes);
        let resolved = |layer: &Layer| layer.with_option(option).unwrap_or_else(|| layer.clone());
        self.layers.iter().map(resolved).collect()
    }

    /// Plans the network for inputs of shape `input` and `classes` classes, with its frozen layers.
    ///
    /// # Errors
    /// [`Error::Usage`] if the layers do not fit; [`Error::Setting`] if layers to freeze do not exist, or if
    /// test-time augmentation does not fit the input.
    pub fn plan(&self, input: Shape, classes: usize) -> Result<Plan> {
        let mut plan = Plan::new(input, &self.layers_for(classes))?;
        plan.freeze(&self.freeze)?;
        plan.augment_tests(self.test_augment)?;
        Ok(plan)
    }
}

impl Task {
    /// How its products are computed on that instruction set: in its precision, by the fastest kernel.
    ///
    /// # Errors
    /// [`Error::Usage`] if `THREADCOUNT_BF16` forces a kernel that does not run there.
    pub fn arithmetic(&self, isa: Isa) -> Result<Arithmetic> {
        Ok(Arithmetic::of(isa, self.precision)?)
    }

    /// What training minimises.
    pub fn objective(&self) -> Objective {
        Objective { loss: self.loss, label_smoothing: self.label_smoothing, l2: self.l2 }
    }

    /// Refuses settings that are out of range or do not fit each other.
    ///
    /// # Errors
    /// [`Error::Usage`] or [`Error::Setting`] with the setting and its range.
    pub fn check(&self) -> Result<()> {
        self.check_schedule()?;
        self.check_regularisation()
    }

    /// Refuses regularisation settings that are out of range.
    ///
    /// # Errors
    /// [`Error::Setting`] with the setting and its range.
    pub(super) fn check_regularisation(&self) -> Result<()> {
        self.objective().check()?;
        self.clip_norm.map_or(Ok(()), check_clip_norm)?;
        match self.weight_average {
            Some(decay) if !(0.0..1.0).contains(&decay) => Err(Error::Setting {
                name: "weight-average",
                fault: format!("a decay is from 0 to below 1, not {decay}"),
            }),
            _ => Ok(()),
        }
    }

    /// Checks that a network with `outputs` outputs can distinguish all classes of `samples`. More outputs
    /// than classes are fine.
    ///
    /// # Errors
    /// [`Error::Data`] for samples of files, [`Error::Mismatch`] for others.
    pub fn check_classes(&self, samples: &Samples, outputs: usize) -> Result<()> {
        let (classes, told) = (samples.classes(), self.loss.labels(outputs));
        if classes <= told {
            return Ok(());
        }
        let outputs = match outputs {
            1 => "1 output".to_owned(),
            _ => format!("{outputs} outputs"),
        };
        let fault = match self.loss {
            Loss::BinaryCrossEntropy => format!(
                "the set has {classes} classes, the network {outputs} of which each tells {told} classes apart: \
                 train on a pair of classes, or with another loss"
            ),
            _ => format!(
                "the set has {classes} classes, the network {outputs}: give its last layer units = \"classes\" in \
                 the file of the task, or take a set of {told} classes at most"
            ),
        };
        match samples.origin() {
            Some(origin) => Err(Error::data(origin, fault)),
            None => Err(Error::Mismatch(fault)),
        }
    }
}

/// How a network sees a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Input {
    /// In its own shape.
    #[default]
    AsIs,
    /// As one vector, for dense layers. An image becomes a vector of its H * W * C numbers.
    Pixels,
    /// As an image: H x W with its channels, for convolutions.
    Image,
    /// As a sequence, for recurrent layers. An image becomes H steps of W * C numbers.
    Rows,
}

impl Input {
    /// The network's input shape for samples of this shape.
    ///
    /// # Errors
    /// [`Error::Usage`] if the samples cannot have that shape.
    pub fn of(self, sample: Shape) -> Result<Shape> {
        match (self, sample) {
            (Self::AsIs, sample) => Ok(sample),
            (Self::Pixels, sample) => Ok(Shape::Flat(sample.len())),
            (Self::Image, Shape::Image(_)) | (Self::Rows, Shape::Rows(_)) => Ok(sample),
            (Self::Rows, Shape::Image([height, width, channels])) => {
                Ok(Shape::Rows([height, width.saturating_mul(channels)]))
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
#[serde(deny_unknown_fields)]
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

pub(super) fn usage(message: impl Into<String>) -> Error {
    Error::Usage(message.into())
}
