//! A network that learns: a model, the memory of its passes, a loss and an optimizer. All memory is
//! allocated once, in [`Network::build`]; a training step (`step`) is a list of calls that use it.

mod apart;
mod cut;
mod memory;
mod shards;
mod step;
mod sums;

use std::ops::Range;

use threadcount_kernels::Team;

pub use apart::BatchNormOver;
use cut::Shards;
pub(crate) use cut::check_shards;
pub use memory::Memory;
pub use step::Stepping;
pub use sums::{StepSum, When};

use super::optimizer::{Optimizer, OptimizerState};
use super::per_sample::PerSample;
use crate::data::Shape;
use crate::error::{Error, Result};
use crate::nn::buffer::Buffer;
use crate::nn::laps::Laps;
use crate::nn::loss::Loss;
use crate::nn::model::{
    Buffers, Layer, Model, Plan, PlannedLayer, Saved, StepIs, TensorMut, TensorRef, Unit, joined,
    named, named_mut,
};
use crate::nn::objective::Objective;
use crate::nn::run::Workspace;

/// A model, and everything that training needs.
#[derive(Clone, Debug)]
pub struct Network {
    model: Model,
    workspace: Workspace,
    gradients: BackwardMemory,
    objective: Objective,
    optimizer: OptimizerState,
    /// For batches of one sample, if a kernel trains on many of them at once.
    per_sample: Option<PerSample>,
    /// For each unit of the program, whether its layer updates its own parameters.
    steps: Vec<StepIs>,
    /// The parameters that no layer updates itself, in pieces for the optimizer.
    moved_apart: Vec<Range<usize>>,
    /// All parameters that are not frozen, in such pieces.
    learning: Vec<Range<usize>>,
    /// If batches are cut into shards.
    shards: Option<Shards>,
    laps: Option<Laps>,
}

/// Memory for the backward pass.
#[derive(Clone, Debug)]
struct BackwardMemory {
    /// Gradients of the parameters.
    params: Buffer,
    /// Gradients with respect to a layer's output and input; the two buffers are swapped from layer to
    /// layer.
    dy: Buffer,
    dx: Buffer,
    /// The loss of each sample.
    losses: Buffer,
    /// Classes as target values, for losses that need them.
    targets: Buffer,
}

impl BackwardMemory {
    fn new(model: &Model, workspace: &Workspace, loss: Loss) -> Result<Self> {
        let max_batch = workspace.max_batch;
        let outputs = model.plan().output().len().saturating_mul(max_batch);
        let targets = if loss.needs_targets() { outputs } else { 0 };
        Ok(Self {
            params: Buffer::zeroed(model.plan().trainable_count())?,
            dy: Buffer::zeroed(workspace.layout.gradient)?,
            dx: Buffer::zeroed(workspace.layout.gradient)?,
            losses: Buffer::zeroed(max_batch)?,
            targets: Buffer::zeroed(targets)?,
        })
    }
}

impl Network {
    /// Plans `layers` for samples of shape `input`, allocates the memory for batches of up to `max_batch`
    /// samples (the larger of training's and evaluation's), and fills the parameters from `seed`.
    ///
    /// # Errors
    /// [`Error::Usage`](crate::Error::Usage) if the layers do not fit each other or the loss, or the
    /// optimizer's constants make no sense; [`Error::Memory`](crate::Error::Memory) if the memory
    /// cannot be had.
    pub fn build(
        input: Shape,
        layers: &[Layer],
        objective: impl Into<Objective>,
        optimizer: Optimizer,
        max_batch: usize,
        seed: u64,
    ) -> Result<Self> {
        Self::of(Model::new(input, layers, seed)?, objective, optimizer, max_batch)
    }

    /// As [`Self::build`], with an existing model.
    ///
    /// # Errors
    /// As [`Self::build`].
    pub fn of(
        model: Model,
        objective: impl Into<Objective>,
        optimizer: Optimizer,
        max_batch: usize,
    ) -> Result<Self> {
        let objective = objective.into();
        objective.check()?;
        objective.loss.check(model.plan())?;
        // The total: each buffer alone may fit into memory when all together do not.
        crate::memory::check(Self::memory(model.plan(), objective, optimizer, max_batch).total())?;
        let workspace = Workspace::new(&model, max_batch)?;
        let mut network = Self {
            gradients: BackwardMemory::new(&model, &workspace, objective.loss)?,
            objective,
            optimizer: OptimizerState::new(optimizer, objective, model.plan())?,
            per_sample: PerSample::new(model.plan(), objective, optimizer, max_batch)?,
            steps: Vec::new(),
            moved_apart: Vec::new(),
            learning: Vec::new(),
            shards: None,
            laps: None,
            workspace,
            model,
        };
        network.share_out_steps();
        Ok(network)
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The model, mutable.
    pub fn model_mut(&mut self) -> &mut Model {
        &mut self.model
    }

    /// The model. The memory that only training needs is freed.
    pub fn into_model(self) -> Model {
        self.model
    }

    /// The layers with their shapes and tensors.
    pub fn plan(&self) -> &Plan {
        self.model.plan()
    }

    /// All parameters; [`Plan::params`] names the slices.
    pub fn params(&self) -> &[f32] {
        self.model.params()
    }

    /// All parameters, mutable.
    pub fn params_mut(&mut self) -> &mut [f32] {
        self.model.params_mut()
    }

    /// All moving statistics; [`Plan::state`] names the slices.
    pub fn state(&self) -> &[f32] {
        self.model.state()
    }

    /// All moving statistics, mutable.
    pub fn state_mut(&mut self) -> &mut [f32] {
        self.model.state_mut()
    }

    /// From the next step on, measures how long each part of a step takes.
    pub fn time_laps(&mut self) {
        let program = self.model.program.iter();
        let working = program.filter(|unit| unit.buffers != Buffers::Reshape);
        self.laps = Some(Laps::new(&working.map(|unit| unit.layers.start).collect::<Vec<_>>()));
    }

    /// The times of the last step's parts, if they are measured.
    pub fn laps(&self) -> Option<&Laps> {
        self.laps.as_ref()
    }

    /// Starts the timer for a step, which begins with gathering its batch.
    pub(crate) fn begin_laps(&mut self) {
        if let Some(laps) = &mut self.laps {
            laps.begin();
        }
    }

    /// The parameters that the optimizer updates in a sweep after all gradients; the others are updated in
    /// their layers' backward passes.
    pub fn swept(&self) -> &[Range<usize>] {
        &self.moved_apart
    }

    /// The plan's layers that are executed as one, from index `first` on.
    pub fn unit(&self, first: usize) -> Option<&[PlannedLayer]> {
        self.model.unit(first)
    }

    /// The most samples a batch may have.
    pub fn max_batch(&self) -> usize {
        self.workspace.max_batch
    }

    /// What training minimises.
    pub fn objective(&self) -> Objective {
        self.objective
    }

    /// From the next step on, gradients whose norm (of all of them together, the penalty's included) is
    /// above `norm` are scaled down to that norm, as with Keras's `global_clipnorm`; with `None`, none are.
    /// With a norm, every step is made by itself, as after [`Self::step_one_by_one`].
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) if it is not a positive number; nothing changes then.
    pub fn clip_gradients(&mut self, norm: Option<f32>) -> Result<()> {
        if let Some(norm) = norm {
            check_clip_norm(norm)?;
            self.step_one_by_one();
        }
        self.optimizer.clip_norm = norm;
        self.share_out_steps();
        Ok(())
    }

    /// The norm to which the gradients of a step are clipped.
    pub fn clip_norm(&self) -> Option<f32> {
        self.optimizer.clip_norm
    }

    /// Makes every step by itself, also with batches of one sample: for callers that look at the parameters
    /// after each step.
    pub fn step_one_by_one(&mut self) {
        self.per_sample = None;
    }

    /// Decides which layers update their own parameters, and what is left for the optimizer's sweep.
    fn share_out_steps(&mut self) {
        let Self { model, optimizer, .. } = self;
        let of = |unit: &Unit| match unit.layer.step_is() {
            StepIs::PartOfBackward
                if optimizer.clip_norm.is_none()
                    && optimizer.pieces(unit.params.clone()).len() == 1 =>
            {
                StepIs::PartOfBackward
            }
            _ => StepIs::Apart,
        };
        self.steps = model.program.iter().map(of).collect();
        let units = model.program.iter().zip(&self.steps);
        let apart = units.filter(|(unit, step_is)| **step_is == StepIs::Apart && !unit.frozen);
        let apart = joined(apart.map(|(unit, _)| unit.params.clone()));
        let pieces = |ranges: Vec<Range<usize>>| -> Vec<Range<usize>> {
            ranges.into_iter().flat_map(|range| optimizer.pieces(range)).collect()
        };
        self.moved_apart = pieces(apart);
        self.learning = pieces(model.plan().learning());
    }

    /// The update rule.
    pub fn optimizer(&self) -> Optimizer {
        self.optimizer.rule
    }

    /// Sets the learning rate from the next step on.
    ///
    /// # Errors
    /// [`Error::Usage`](crate::Error::Usage) if it is not a positive number; the old one stays then.
    pub fn set_learning_rate(&mut self, rate: f32) -> Result<()> {
        let rule = self.optimizer.rule.with_learning_rate(rate);
        rule.check()?;
        self.optimizer.rule = rule;
        Ok(())
    }

    /// The gradients that [`Self::gradients`] computed, in the order of the parameters, zero for frozen
    /// ones. A training step uses this buffer as scratch.
    pub fn grads(&self) -> &[f32] {
        &self.gradients.params
    }

    /// The same, mutable: to be changed before [`Self::apply_gradients`], for example summed over processes
    /// or clipped.
    pub fn grads_mut(&mut self) -> &mut [f32] {
        &mut self.gradients.params
    }

    /// Optimizer steps done so far.
    pub fn optimizer_steps(&self) -> u64 {
        self.optimizer.steps
    }

    /// Sets the number of optimizer steps done so far, when training is resumed.
    pub fn set_optimizer_steps(&mut self, steps: u64) {
        self.optimizer.steps = steps;
    }

    /// Ages the optimizer's buffers by `steps` steps with gradients of zero; parameters and
    /// [`Self::optimizer_steps`] stay. Weights with gradients in the next steps soon lose the effect.
    /// Weights without, such as those of pixels that are hardly ever lit, are then as after a long
    /// training. For benchmarks.
    pub fn age_optimizer(&mut self, team: &Team, steps: u32) {
        // Before the first step there is nothing to age.
        if self.optimizer.buffers.is_empty() || self.optimizer.steps == 0 {
            return;
        }
        let len = self.params().len();
        let (mut params, zeros) = (self.params().to_vec(), vec![0.0; len]);
        let pieces = self.optimizer.pieces(0..len);
        for _ in 0..steps {
            self.optimizer.sweep(team, &mut params, &zeros, &pieces);
        }
    }

    /// Lets every second unit and filter die, but those of the last layer: its bias becomes so low that ReLU gives 0,
    /// and a sigmoid a number below the normal floats. Long trainings leave such units. For benchmarks.
    pub fn kill_units(&mut self) {
        let biases = self.plan().params().iter().filter(|tensor| tensor.name.ends_with("/bias"));
        let mut ranges: Vec<_> = biases.map(|tensor| tensor.range.clone()).collect();
        // Its units are the classes.
        ranges.pop();
        for range in ranges {
            self.params_mut()[range].iter_mut().step_by(2).for_each(|bias| *bias = DEAD);
        }
    }

    /// Named tensors to be saved.
    pub fn tensors(&self, saved: Saved) -> Vec<TensorRef<'_>> {
        if saved == Saved::Model {
            return self.model.tensors();
        }
        let (rule, params) = (self.optimizer.rule.name(), self.plan().params());
        let buffers = self.optimizer.buffers.iter();
        buffers.flat_map(|(name, data)| named(&format!("{rule}/{name}/"), params, data)).collect()
    }

    /// The same tensors in the same order, to be filled with what was saved.
    pub fn tensors_mut(&mut self, saved: Saved) -> Vec<TensorMut<'_>> {
        if saved == Saved::Model {
            return self.model.tensors_mut();
        }
        let (rule, params) = (self.optimizer.rule.name(), self.model.plan().params());
        let buffers = self.optimizer.buffers.iter_mut();
        buffers
            .flat_map(|(name, data)| named_mut(&format!("{rule}/{name}/"), params, data))
            .collect()
    }
}

/// The bias of a dead unit: exp(-90) is 8e-40.
const DEAD: f32 = -90.0;

/// # Errors
/// [`Error::Setting`](crate::Error::Setting) if the norm is not a positive number.
pub(crate) fn check_clip_norm(norm: f32) -> Result<()> {
    if norm > 0.0 && norm.is_finite() {
        return Ok(());
    }
    let fault = format!("a norm is a positive number, not {norm}");
    Err(Error::Setting { name: "clip-norm", fault })
}
