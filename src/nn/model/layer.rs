//! The interface between layers and networks. All other code uses layers through [`LayerKind`] only, so a
//! kind of your own works like a built-in one. The built-in kinds are in `layers/`, one file each.
//!
//! A layer holds no memory. Its [`LayerPlan`] says what it needs, and each pass gets the slices.

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use threadcount_kernels::gather::Cut;
use threadcount_kernels::update::Moving;
use threadcount_kernels::{Activation, Team};

use super::across::AcrossShards;
use super::exchange;
use super::init::Initializer;
pub use super::work::{KernelCall, Position, Site, Traffic};
use crate::data::Shape;
use crate::error::{Error, Result};
use crate::nn::laps::{Laps, Part};

/// One layer of a network, of any kind, as a recipe specifies it. A clone shares the kind and is cheap.
#[derive(Clone)]
pub struct Layer(Arc<dyn LayerKind>);

impl Layer {
    /// A layer of this kind.
    pub fn new(kind: impl LayerKind) -> Self {
        Self(Arc::new(kind))
    }

    /// The layer, if it is of kind `K`.
    pub fn get<K: LayerKind>(&self) -> Option<&K> {
        (&*self.0 as &dyn Any).downcast_ref()
    }
}

impl<K: LayerKind> From<K> for Layer {
    fn from(kind: K) -> Self {
        Self::new(kind)
    }
}

impl Deref for Layer {
    type Target = dyn LayerKind;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What every kind of layer can do.
///
/// Four methods make a layer; the others have defaults that are right for one without parameters of its
/// own. A layer whose gradients come from a matrix product, or that shares a kernel with its neighbours,
/// overrides them.
///
/// ```
/// use threadcount::nn::{Backward, Buffers, Forward, LayerKind, LayerPlan, Shape};
///
/// /// `y = x^2`
/// #[derive(Debug)]
/// struct Square;
///
/// impl LayerKind for Square {
///     fn names(&self) -> (&'static str, &'static str) {
///         ("Square", "square")
///     }
///
///     fn plan(&self, input: Shape) -> threadcount::Result<LayerPlan> {
///         Ok(LayerPlan::new(input, Buffers::Apart))
///     }
///
///     fn forward(&self, pass: Forward<'_>) {
///         pass.y.iter_mut().zip(pass.x).for_each(|(y, x)| *y = x * x);
///     }
///
///     fn backward(&self, pass: Backward<'_>) {
///         let Some(dx) = pass.dx else { return };
///         for ((dx, dy), x) in dx.iter_mut().zip(&*pass.dy).zip(pass.x) {
///             *dx = 2.0 * x * dy;
///         }
///     }
/// }
///
/// use threadcount::nn::{Activation, Layer, Plan, dense};
/// let layers = [Layer::new(Square), dense(10, Activation::Linear)];
/// assert_eq!(Plan::new(Shape::Flat(784), &layers)?.layers()[0].name, "square");
/// # Ok::<(), threadcount::Error>(())
/// ```
pub trait LayerKind: fmt::Debug + Send + Sync + Any {
    /// Keras's name of the class, and the stem of the layer's own name: `("Conv2D", "conv2d")`.
    fn names(&self) -> (&'static str, &'static str);

    /// Output shape and memory for samples of shape `input`.
    ///
    /// # Errors
    /// [`Error::Usage`] that says why this layer cannot take them.
    fn plan(&self, input: Shape) -> Result<LayerPlan>;

    /// Computes `y` from `x`.
    fn forward(&self, pass: Forward<'_>);

    /// Computes the gradients of the parameters and of `x` from that of `y`; updates parameters that are
    /// [`Params::Moving`].
    fn backward(&self, pass: Backward<'_>);

    /// The layer in plain loops, which tests and benchmarks compare with. With `None`, no
    /// [`NaiveNetwork`](crate::oracle::NaiveNetwork) can be made of a network with it.
    fn twin(&self) -> Option<&dyn Twin> {
        None
    }

    /// The layer and its tensors in other frameworks. With `None`, the weights of a network with it can be
    /// neither read from nor written for them.
    fn exchange(&self, _place: &exchange::Place) -> Option<exchange::Exchange> {
        None
    }

    /// The activation whose derivative backward applies to `dy` before anything else.
    fn activation(&self) -> Activation {
        Activation::Linear
    }

    /// Where the optimizer's step of its parameters is made.
    fn step_is(&self) -> StepIs {
        StepIs::Apart
    }

    /// The passes over a batch that is cut into shards, for a layer whose result for one sample depends on the
    /// others. With `None`, each shard is a batch of its own to it.
    fn across(&self) -> Option<&dyn AcrossShards> {
        None
    }

    /// This layer and some of those after it as one, if a kernel computes them together.
    fn fuse(&self, _behind: &[Layer], _position: Position) -> Option<Fused> {
        None
    }

    /// How threads should share the gathering of a batch, if this is the layer that reads it.
    fn input_cut(&self) -> Cut {
        Cut::Rows
    }

    /// Whether a batch of `rows` samples of shape `input` is so much work that a team finishes it sooner
    /// than its leader alone.
    fn is_worth_sharing(&self, _team: &Team, _rows: usize, _input: Shape) -> bool {
        false
    }

    /// The layer with this option changed; `None` if it has no such option.
    fn with_option(&self, _option: LayerOption) -> Option<Layer> {
        None
    }

    /// Its kernel's name in benchmarks.
    fn kernel_name(&self) -> &'static str {
        self.names().1
    }

    /// The kernels that a training step runs for it if these layers follow; for benchmarks and for counting
    /// operations.
    fn kernels(&self, _site: &Site, _behind: &[Layer]) -> Vec<KernelCall> {
        Vec::new()
    }

    /// What forward reads and writes for one sample: by default `x` and `y` once.
    fn forward_traffic(&self, input: Shape, output: Shape) -> Traffic {
        Traffic::floats(input.len() + output.len(), input.len() + output.len())
    }

    /// What backward reads and writes for one sample: by default `y` and `dy`, which becomes `dx` in
    /// place.
    fn backward_traffic(&self, input: Shape, _output: Shape) -> Traffic {
        Traffic::floats(3 * input.len(), 2 * input.len())
    }
}

/// A layer in plain loops on one thread. It gets the slices that its layer would get in a network that
/// fuses nothing: `dy` is always the gradient with respect to the output, `below` is linear, and parameters
/// are fixed. It never uses the team.
pub trait Twin {
    /// Computes `y` from `x`.
    fn naive_forward(&self, pass: Forward<'_>);

    /// Computes the gradients of the parameters and of `x` from that of `y`.
    fn naive_backward(&self, pass: Backward<'_>);
}

/// Several layers that one kernel computes.
#[derive(Clone, Debug)]
pub struct Fused {
    /// The layer that computes them.
    pub layer: Layer,
    /// How many layers it stands for.
    pub count: usize,
    /// The index among them of the layer whose dropout masks are drawn.
    pub masked: usize,
}

/// A setting of a layer that can be changed in an existing network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LayerOption {
    /// The share of elements that dropout drops.
    DropoutRate(f32),
    /// The activation of a layer whose activation is not linear. The tanh of recurrent layers is fixed.
    HiddenActivation(Activation),
    /// The number of classes, for a layer that has an output for each.
    Classes(usize),
}

/// The slices that one layer works on in a forward pass.
pub struct Forward<'a> {
    /// The threads.
    pub team: &'a Team<'a>,
    /// Training or evaluating.
    pub mode: Mode,
    /// Shape of one sample of `x`.
    pub input: Shape,
    /// The layer's parameters, in the order of its plan.
    pub params: &'a [f32],
    /// The layer's moving statistics, in the order of its plan.
    pub state: &'a mut [f32],
    /// `[n, input]`
    pub x: &'a [f32],
    /// `[n, output]`: every element is overwritten.
    pub y: &'a mut [f32],
    /// `[n * kept.per_sample + kept.per_batch]`: written here, read by backward.
    pub kept: &'a mut [f32],
    /// `[n * kept.winners]`: written here, read by backward.
    pub winners: &'a mut [u8],
}

/// The slices that one layer works on in a backward pass.
pub struct Backward<'a> {
    /// The threads.
    pub team: &'a Team<'a>,
    /// As in forward.
    pub mode: Mode,
    /// Shape of one sample of `x`.
    pub input: Shape,
    /// The layer's parameters, in the order of its plan.
    pub params: Params<'a>,
    /// Gradients of the parameters: every element is overwritten, unless they are [`Params::Frozen`].
    pub grads: &'a mut [f32],
    /// `[n, input]`, as in forward.
    pub x: &'a [f32],
    /// `[n, output]`, as forward left it.
    pub y: &'a [f32],
    /// As forward left it; free to be overwritten.
    pub kept: &'a mut [f32],
    /// As forward left it.
    pub winners: &'a [u8],
    /// `[n, output]`: the gradient of the loss with respect to `y`. A layer whose buffers are
    /// [`Buffers::GradientInPlace`] turns it into the gradient with respect to `x`; any other may overwrite
    /// it.
    pub dy: &'a mut [f32],
    /// Whether the layer above has already multiplied `dy` by the derivative of [`LayerKind::activation`].
    pub dy_is: Gradient,
    /// `[n, input]`, overwritten; `None` for layers that work in place, and if no layer below has
    /// parameters (but see [`InputGradient::Always`]).
    pub dx: Option<&'a mut [f32]>,
    /// The activation by whose derivative (in terms of `x`) `dx` must be multiplied. Always linear unless
    /// the layer's plan says [`InputGradient::TimesDerivative`].
    pub below: Activation,
    /// To be told when `dx` is done.
    pub laps: UnitLaps<'a>,
}

impl Backward<'_> {
    /// `dy` multiplied by the derivative of the layer's activation.
    pub fn dz(&mut self, activation: Activation) -> &mut [f32] {
        if self.dy_is == Gradient::OfOutput {
            threadcount_kernels::activation::backward(self.team, activation, self.y, self.dy);
        }
        self.dy
    }
}

/// The network's timer, if it has one, for one layer.
pub struct UnitLaps<'a> {
    pub(crate) laps: Option<&'a mut Laps>,
    /// Index of the layer.
    pub(crate) unit: usize,
}

impl UnitLaps<'_> {
    /// No timer.
    pub(crate) const NONE: Self = Self { laps: None, unit: 0 };

    /// The input gradient is done, the gradients of the parameters follow.
    pub fn input_done(&mut self) {
        if let Some(laps) = &mut self.laps {
            laps.end(Part::BackwardInput(self.unit));
        }
    }
}

/// A layer's parameters in a backward pass.
#[derive(Debug)]
pub enum Params<'a> {
    /// Only read.
    Fixed(&'a [f32]),
    /// Only read, of a frozen layer: its gradients need not be computed, and what [`Backward::grads`] holds
    /// afterwards is ignored.
    Frozen(&'a [f32]),
    /// To be updated by their gradients, once nothing else needs the old values. Only for layers whose step
    /// is [`StepIs::PartOfBackward`].
    Moving(Moving<'a>),
}

impl Deref for Params<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Self::Fixed(params) | Self::Frozen(params) => params,
            Self::Moving(moving) => moving.params,
        }
    }
}

/// Where the optimizer's step of a layer's parameters is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepIs {
    /// In a sweep over the parameters, after all gradients.
    Apart,
    /// In the layer's backward pass, while the gradients are still in the caches.
    PartOfBackward,
}

/// What a layer's `dy` is the gradient with respect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gradient {
    /// The layer's output.
    OfOutput,
    /// The input of its activation.
    OfPreActivation,
}

/// Whether a pass trains or evaluates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Dropout drops, normalisation uses the batch and updates its moving statistics.
    Train {
        /// The key of this layer's dropout masks in this epoch.
        key: u64,
        /// Position in the epoch of the batch's first sample.
        first_sample: u64,
    },
    /// Dropout is off and normalisation uses its moving statistics. A frozen layer with moving statistics
    /// has this mode in training too, forward and backward.
    Evaluate,
}

/// What a layer needs to run.
#[derive(Clone, Debug)]
pub struct LayerPlan {
    /// Shape of one output sample.
    pub output: Shape,
    /// What the optimizer trains.
    pub params: Vec<TensorPlan>,
    /// What training changes without the optimizer: moving statistics.
    pub state: Vec<TensorPlan>,
    /// What forward keeps for backward besides `x` and `y`.
    pub kept: Kept,
    /// Which buffers it works on.
    pub buffers: Buffers,
    /// How it computes `dx`.
    pub input_gradient: InputGradient,
}

impl LayerPlan {
    /// A layer without parameters that keeps nothing.
    pub fn new(output: Shape, buffers: Buffers) -> Self {
        let (params, state) = (Vec::new(), Vec::new());
        let (kept, input_gradient) = (Kept::default(), InputGradient::Optional);
        Self { output, params, state, kept, buffers, input_gradient }
    }
}

/// A tensor that a layer needs.
#[derive(Clone, Debug)]
pub struct TensorPlan {
    /// Its name within the layer, as `kernel`.
    pub name: &'static str,
    /// Sizes of its axes, row-major.
    pub shape: Vec<usize>,
    /// Its values before the first step.
    pub initializer: Initializer,
}

impl TensorPlan {
    /// A tensor of that shape.
    pub fn new(name: &'static str, shape: &[usize], initializer: Initializer) -> Self {
        Self { name, shape: shape.to_vec(), initializer }
    }
}

/// Memory between forward and backward, in elements.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kept {
    /// Floats per sample of the batch.
    pub per_sample: usize,
    /// Floats per batch, after those of the samples.
    pub per_batch: usize,
    /// Bytes per sample for the positions of the winners of max-pooling.
    pub winners: usize,
}

impl Kept {
    /// Floats for a batch of `n`.
    pub fn floats(&self, n: usize) -> usize {
        self.per_sample * n + self.per_batch
    }
}

/// Which buffers a layer's data and gradients move through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buffers {
    /// `y` and `dx` have buffers of their own.
    Apart,
    /// `y` has its own buffer, `dy` becomes `dx` in place.
    GradientInPlace,
    /// `y` is `x` and `dx` is `dy`, in another shape: nothing to do.
    Reshape,
}

/// How a layer computes `dx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputGradient {
    /// Only if it is asked for.
    Optional,
    /// Only if it is asked for. It can then be multiplied by the derivative of the activation that made `x`
    /// while it is still in registers.
    TimesDerivative,
    /// Together with the gradients of the parameters, wanted or not.
    Always,
}

/// An error about a layer that cannot be made.
pub(super) fn refuse<T>(what: impl Into<String>) -> Result<T> {
    Err(Error::Usage(what.into()))
}

/// Refuses a slope with which the sign of an output is not that of the input. Backward relies on that.
pub(super) fn check_activation(activation: Activation) -> Result<()> {
    match activation {
        Activation::LeakyRelu { slope } if !(slope >= 0.0 && slope.is_finite()) => {
            refuse(format!("leaky ReLU: the slope must be a number of at least 0, not {slope}"))
        }
        _ => Ok(()),
    }
}

/// An error about a layer that cannot take samples of shape `input`.
pub(super) fn wrong_input<T>(layer: &str, wants: &str, input: Shape) -> Result<T> {
    refuse(format!("{layer} takes {wants}, not samples of shape {input}"))
}
