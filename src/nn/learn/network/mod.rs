//! A network that learns: a model, the memory of its passes, a loss and an optimizer. Everything is
//! taken once, in [`Network::build`]; a training step (`step`) is a list of calls into it.

mod memory;
mod step;

use std::ops::Range;

use threadcount_kernels::Team;

pub use memory::Memory;
pub use step::Stepping;

use super::optimizer::{Optimizer, OptimizerState};
use super::per_sample::PerSample;
use crate::data::Shape;
use crate::error::{Error, Result};
use crate::nn::buffer::{Buffer, check_memory};
use crate::nn::laps::Laps;
use crate::nn::loss::Loss;
use crate::nn::model::{
    Buffers, Layer, Model, Plan, PlannedLayer, Saved, StepIs, TensorMut, TensorRef, Unit, joined,
    named, named_mut,
};
use crate::nn::objective::Objective;
use crate::nn::run::Workspace;

/// A model, and all that training it takes.
#[derive(Clone, Debug)]
pub struct Network {
    model: Model,
    workspace: Workspace,
    gradients: BackwardMemory,
    objective: Objective,
    optimizer: OptimizerState,
    /// For batches of one sample, where a kernel trains many of them at once.
    per_sample: Option<PerSample>,
    /// For each unit of the program, whether its layer moves its own parameters.
    steps: Vec<StepIs>,
    /// The parameters that no layer moves itself, in pieces for the optimizer.
    moved_apart: Vec<Range<usize>>,
    /// All parameters that are not frozen, in such pieces.
    learning: Vec<Range<usize>>,
    laps: Option<Laps>,
}

/// Memory of the way back.
#[derive(Clone, Debug)]
struct BackwardMemory {
    /// By the parameters.
    params: Buffer,
    /// By a layer's output and input; they change places from layer to layer.
    dy: Buffer,
    dx: Buffer,
    /// Of each sample.
    losses: Buffer,
    /// Classes as numbers, for losses that compare with numbers.
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
    /// Plans `layers` for samples of shape `input`, takes the memory for batches of up to
    /// `max_batch` samples (the larger of training's and evaluation's), and fills the parameters
    /// from `seed`.
    ///
    /// # Errors
    /// [`Error::Usage`](crate::Error::Usage) if the layers do not fit each other or the loss, or the
    /// optimizer's constants make no sense; [`Error::Failed`](crate::Error::Failed) if the memory
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

    /// The same for a model that is there already.
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
        // All at once: each buffer alone may be less than there is.
        check_memory(Self::memory(model.plan(), objective, optimizer, max_batch).total())?;
        let workspace = Workspace::new(&model, max_batch)?;
        let mut network = Self {
            gradients: BackwardMemory::new(&model, &workspace, objective.loss)?,
            objective,
            optimizer: OptimizerState::new(optimizer, objective, model.plan())?,
            per_sample: PerSample::new(model.plan(), objective, optimizer, max_batch)?,
            steps: Vec::new(),
            moved_apart: Vec::new(),
            learning: Vec::new(),
            laps: None,
            workspace,
            model,
        };
        network.share_out_steps();
        Ok(network)
    }

    /// What has been learnt.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The same, to be changed.
    pub fn model_mut(&mut self) -> &mut Model {
        &mut self.model
    }

    /// The model alone; what only training needs is given back.
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

    /// The same, to be changed.
    pub fn params_mut(&mut self) -> &mut [f32] {
        self.model.params_mut()
    }

    /// All moving statistics; [`Plan::state`] names the slices.
    pub fn state(&self) -> &[f32] {
        self.model.state()
    }

    /// The same, to be changed.
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

    /// A step begins, with picking its batch.
    pub(crate) fn begin_laps(&mut self) {
        if let Some(laps) = &mut self.laps {
            laps.begin();
        }
    }

    /// The parameters that the optimizer moves in a sweep when all gradients are there; the others are
    /// moved as part of their layers' backward passes.
    pub fn swept(&self) -> &[Range<usize>] {
        &self.moved_apart
    }

    /// The plan's layers that are executed as one, from number `first` on.
    pub fn unit(&self, first: usize) -> Option<&[PlannedLayer]> {
        self.model.unit(first)
    }

    /// The most samples a batch may have.
    pub fn max_batch(&self) -> usize {
        self.workspace.max_batch
    }

    /// What training makes small.
    pub fn objective(&self) -> Objective {
        self.objective
    }

    /// From the next step on, gradients whose norm (of all of them together, the penalty's included) is
    /// above `norm` are multiplied by what makes it that, as in Keras's `global_clipnorm`; with `None`, none
    /// are. Every step then stands by itself, as after [`Self::step_one_by_one`].
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

    /// The largest norm of the gradients with which a step is made.
    pub fn clip_norm(&self) -> Option<f32> {
        self.optimizer.clip_norm
    }

    /// Has every step made by itself, also with batches of one sample: for whoever looks at the parameters
    /// after each.
    pub fn step_one_by_one(&mut self) {
        self.per_sample = None;
    }

    /// Decides which layers move their own parameters, and what is left for the optimizer's sweep.
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

    /// Steps of this size from the next one on.
    ///
    /// # Errors
    /// [`Error::Usage`](crate::Error::Usage) if it is not a positive number; the old one stays then.
    pub fn set_learning_rate(&mut self, rate: f32) -> Result<()> {
        let rule = self.optimizer.rule.with_learning_rate(rate);
        rule.check()?;
        self.optimizer.rule = rule;
        Ok(())
    }

    /// What [`Self::gradients`] left, in the order of the parameters, zero for those that are frozen; a training
    /// step uses it as room for gradients that need not last.
    pub fn grads(&self) -> &[f32] {
        &self.gradients.params
    }

    /// The same, to be changed before [`Self::apply_gradients`]: summed over processes, clipped.
    pub fn grads_mut(&mut self) -> &mut [f32] {
        &mut self.gradients.params
    }

    /// Optimizer steps done so far.
    pub fn optimizer_steps(&self) -> u64 {
        self.optimizer.steps
    }

    /// Sets the number of optimizer steps done so far, when training is taken up again.
    pub fn set_optimizer_steps(&mut self, steps: u64) {
        self.optimizer.steps = steps;
    }

    /// Ages what the optimizer remembers by so many steps with gradients of zero; parameters and
    /// [`Self::optimizer_steps`] stay. Whatever has a gradient in the next steps forgets that soon; what
    /// has none, as the weights of pixels that are hardly ever lit, is then as a long training
    /// leaves it. For benchmarks.
    pub fn age_optimizer(&mut self, team: &Team, steps: u32) {
        // Before the first step nothing is remembered.
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

/// # Errors
/// [`Error::Setting`](crate::Error::Setting) for a norm to which nothing can be clipped.
pub(crate) fn check_clip_norm(norm: f32) -> Result<()> {
    if norm > 0.0 && norm.is_finite() {
        return Ok(());
    }
    let fault = format!("a norm is a positive number, not {norm}");
    Err(Error::Setting { name: "clip-norm", fault })
}
