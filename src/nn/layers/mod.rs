//! The layers a network is written in: small declarative structs, one file each, that know their
//! output shape, their parameters, and which kernels run them forward and backward.
//!
//! A list of layers is plain data. [`Layer::ops`] is the only place that tells the kinds apart;
//! everything else speaks to a layer through [`LayerOps`].

use threadcount_kernels::update::Moving;
use threadcount_kernels::{Activation, Team};

use super::init::Initializer;
use super::laps::{Laps, Part};
use super::shape::Shape;
use crate::error::{Error, Result};

mod activation;
mod batch_norm;
mod conv2d;
mod conv_pool;
mod dense;
mod dropout;
mod flatten;
mod lstm;
mod pool2d;
mod recurrent;
mod simple_rnn;

pub use activation::{activation, leaky_relu};
pub use batch_norm::{BatchNorm, batch_norm};
pub(crate) use conv_pool::{ConvPool, Gradients};
pub use conv2d::{Conv2d, conv2d};
pub use dense::{Dense, dense};
pub use dropout::{Dropout, dropout};
pub use flatten::flatten;
pub use lstm::{Lstm, lstm};
pub use pool2d::{Pool2d, Pooling, average_pool, max_pool};
pub use simple_rnn::{SimpleRnn, simple_rnn};

/// One layer of a network, as a recipe writes it down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Layer {
    /// Fully connected: `y = act(x w + b)`.
    Dense(Dense),
    /// Convolution over height and width, with bias and activation.
    Conv2d(Conv2d),
    /// Maximum or mean of windows.
    Pool2d(Pool2d),
    /// An activation as a layer of its own, for where a layer in between keeps it from being
    /// fused into the one that feeds it.
    Activation(Activation),
    /// Batch normalisation over the last axis.
    BatchNorm(BatchNorm),
    /// Inverted dropout.
    Dropout(Dropout),
    /// Any sample as one vector of features.
    Flatten,
    /// A simple recurrent layer (tanh) that returns its last hidden state.
    SimpleRnn(SimpleRnn),
    /// A long short-term memory that returns its last hidden state.
    Lstm(Lstm),
}

impl Layer {
    pub(crate) fn ops(&self) -> &dyn LayerOps {
        match self {
            Self::Dense(layer) => layer,
            Self::Conv2d(layer) => layer,
            Self::Pool2d(layer) => layer,
            Self::Activation(layer) => layer,
            Self::BatchNorm(layer) => layer,
            Self::Dropout(layer) => layer,
            Self::Flatten => &flatten::Flatten,
            Self::SimpleRnn(layer) => layer,
            Self::Lstm(layer) => layer,
        }
    }
}

/// What every kind of layer can do. A layer holds no memory of its own: the network hands it the
/// slices that its [`LayerPlan`] asked for.
pub(crate) trait LayerOps {
    /// Keras's name of the class, and the stem of the layer's own name: `("Conv2D", "conv2d")`.
    fn names(&self) -> (&'static str, &'static str);

    /// Output shape and memory for samples of shape `input`, or why this layer cannot take them.
    fn plan(&self, input: Shape) -> Result<LayerPlan>;

    /// The activation whose derivative backward applies to `dy` before anything else.
    fn activation(&self) -> Activation {
        Activation::Linear
    }

    /// Computes `y` from `x`.
    fn forward(&self, pass: Forward<'_>);

    /// Computes the gradients of the parameters and of `x` from that of `y`; moves parameters that
    /// are [`Params::Moving`].
    fn backward(&self, pass: Backward<'_>);

    /// Who does the optimizer's step.
    fn step_is(&self) -> StepIs {
        StepIs::Apart
    }
}

/// The slices that one layer works on in a forward pass.
pub(crate) struct Forward<'a> {
    pub(crate) team: &'a Team<'a>,
    pub(crate) mode: Mode,
    pub(crate) input: Shape,
    /// The layer's parameters, in the order of its plan.
    pub(crate) params: &'a [f32],
    /// The layer's moving statistics, in the order of its plan.
    pub(crate) state: &'a mut [f32],
    /// `[n, input]`
    pub(crate) x: &'a [f32],
    /// `[n, output]`
    pub(crate) y: &'a mut [f32],
    /// `[n * kept.per_sample + kept.per_batch]`: written here, read by backward.
    pub(crate) kept: &'a mut [f32],
    /// `[n * kept.winners]`
    pub(crate) winners: &'a mut [u8],
}

/// The slices that one layer works on in a backward pass.
pub(crate) struct Backward<'a> {
    pub(crate) team: &'a Team<'a>,
    pub(crate) mode: Mode,
    pub(crate) input: Shape,
    pub(crate) params: Params<'a>,
    /// Gradients of the parameters: every element is overwritten.
    pub(crate) grads: &'a mut [f32],
    /// `[n, input]`, as in forward.
    pub(crate) x: &'a [f32],
    /// `[n, output]`, as forward left it.
    pub(crate) y: &'a [f32],
    /// As forward left it; free to be overwritten.
    pub(crate) kept: &'a mut [f32],
    pub(crate) winners: &'a [u8],
    /// `[n, output]`: the gradient of the loss by `y`. A layer whose flow is
    /// [`Flow::GradientInPlace`] turns it into that by `x`; any other may overwrite it.
    pub(crate) dy: &'a mut [f32],
    /// Whether the layer above has already taken `dy` through [`LayerOps::activation`].
    pub(crate) dy_is: Gradient,
    /// `[n, input]`, overwritten; `None` for layers that work in place, and where nothing below has
    /// parameters (but see [`InputGradient::Always`]).
    pub(crate) dx: Option<&'a mut [f32]>,
    /// The derivative (in terms of `x`) that `dx` must be multiplied with. Never anything but
    /// linear for a layer whose plan does not say [`InputGradient::TimesDerivative`].
    pub(crate) below: Activation,
    pub(crate) laps: UnitLaps<'a>,
}

/// The network's stop-watch, if it carries one, in the hands of one layer.
pub(crate) struct UnitLaps<'a> {
    pub(crate) laps: Option<&'a mut Laps>,
    /// Number of the layer.
    pub(crate) unit: usize,
}

impl UnitLaps<'_> {
    /// The gradient by the input is done, those by the parameters come.
    fn input_done(&mut self) {
        if let Some(laps) = &mut self.laps {
            laps.end(Part::BackwardInput(self.unit));
        }
    }
}

impl<'a> Backward<'a> {
    /// `dy` taken through the derivative of the layer's activation.
    fn dz(&mut self, activation: Activation) -> &mut [f32] {
        if self.dy_is == Gradient::OfOutput {
            threadcount_kernels::activation::backward(self.team, activation, self.y, self.dy);
        }
        self.dy
    }
}

/// A layer's parameters in a backward pass.
pub(crate) enum Params<'a> {
    /// To be read.
    Fixed(&'a [f32]),
    /// To be moved by their gradients, once nothing else needs the old ones. Only for layers whose
    /// step is [`StepIs::PartOfBackward`].
    Moving(Moving<'a>),
}

impl std::ops::Deref for Params<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Self::Fixed(params) => params,
            Self::Moving(moving) => moving.params,
        }
    }
}

/// Who does the optimizer's step for a layer's parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StepIs {
    /// A sweep over them when all gradients are there.
    Apart,
    /// The layer itself, while gradients are still in the caches.
    PartOfBackward,
}

/// What a layer's `dy` is the gradient by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gradient {
    /// By the layer's output.
    OfOutput,
    /// By what its activation is applied to.
    OfPreActivation,
}

/// Whether a pass trains or only looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Dropout drops, normalisation uses the batch and updates its moving statistics.
    Train {
        /// The key of this layer's dropout masks in this epoch.
        key: u64,
        /// Position in the epoch of the batch's first sample.
        first_sample: u64,
    },
    /// Dropout is off and normalisation uses its moving statistics.
    Evaluate,
}

/// What a layer needs to run.
pub(crate) struct LayerPlan {
    /// Shape of one output sample.
    pub(crate) output: Shape,
    /// What the optimizer trains.
    pub(crate) params: Vec<TensorPlan>,
    /// What training changes without the optimizer: moving statistics.
    pub(crate) state: Vec<TensorPlan>,
    /// What forward keeps for backward besides `x` and `y`.
    pub(crate) kept: Kept,
    pub(crate) flow: Flow,
    pub(crate) input_gradient: InputGradient,
}

impl LayerPlan {
    /// A layer without parameters that keeps nothing.
    fn new(output: Shape, flow: Flow) -> Self {
        let (params, state) = (Vec::new(), Vec::new());
        let input_gradient = InputGradient::Optional;
        Self { output, params, state, kept: Kept::default(), flow, input_gradient }
    }
}

/// A tensor that a layer asks for.
pub(crate) struct TensorPlan {
    pub(crate) name: &'static str,
    pub(crate) shape: Vec<usize>,
    pub(crate) initializer: Initializer,
}

impl TensorPlan {
    fn new(name: &'static str, shape: &[usize], initializer: Initializer) -> Self {
        Self { name, shape: shape.to_vec(), initializer }
    }
}

/// Memory between forward and backward, in elements.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kept {
    /// Floats per sample of the batch.
    pub(crate) per_sample: usize,
    /// Floats per batch, behind those of the samples.
    pub(crate) per_batch: usize,
    /// Bytes per sample that name the winners of max-pooling.
    pub(crate) winners: usize,
}

impl Kept {
    /// Floats for a batch of `n`.
    pub(crate) fn floats(&self, n: usize) -> usize {
        self.per_sample * n + self.per_batch
    }
}

/// Which buffers a layer's data and gradients move through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// `y` and `dx` have buffers of their own.
    Buffered,
    /// `y` has its own buffer, `dy` becomes `dx` in place.
    GradientInPlace,
    /// `y` is `x` and `dx` is `dy`, in another shape: nothing to do.
    Reshape,
}

/// How a layer computes `dx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InputGradient {
    /// Only if it is asked for.
    Optional,
    /// Only if it is asked for, and then it can be multiplied with the derivative of the
    /// activation that made `x` while it is still in registers.
    TimesDerivative,
    /// Together with the gradients of the parameters, wanted or not.
    Always,
}

/// An error about a layer that was asked for.
fn refuse<T>(what: impl Into<String>) -> Result<T> {
    Err(Error::Usage(what.into()))
}

/// Refuses a slope with which the sign of an output no longer tells the sign of the input, which
/// backward relies on.
fn check_activation(activation: Activation) -> Result<()> {
    match activation {
        Activation::LeakyRelu { slope } if !(slope >= 0.0 && slope.is_finite()) => {
            refuse(format!("leaky ReLU: the slope must be a number of at least 0, not {slope}"))
        }
        _ => Ok(()),
    }
}

/// An error about a layer that cannot take samples of shape `input`.
fn wrong_input<T>(layer: &str, wants: &str, input: Shape) -> Result<T> {
    refuse(format!("{layer} takes {wants}, not samples of shape {input}"))
}
