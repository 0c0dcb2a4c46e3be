//! A network in memory: everything is taken once, in [`Network::build`], and a training step
//! (`step`) is a list of calls into it.

mod step;

use std::ops::Range;

use threadcount_kernels::Team;

use super::buffer::Buffer;
use super::laps::Laps;
use super::layers::{Layer, StepIs};
use super::loss::Loss;
use super::memory::Memory;
use super::optimizer::{Optimizer, OptimizerState};
use super::per_sample::PerSample;
use super::plan::{Plan, PlannedLayer, Tensor};
use super::program::{Unit, program};
use super::shape::Shape;
use super::tensors::{Saved, TensorMut, TensorRef, named, named_mut};
use crate::error::{Error, Result};
use crate::random::{Key, Purpose};

/// Where in its run a training batch stands: with the seed and the layer, all that dropout masks
/// depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchKey {
    /// The epoch.
    pub epoch: u64,
    /// Position in the epoch of the batch's first sample.
    pub first_sample: u64,
}

/// Layers, loss and optimizer with all the memory that training takes.
#[derive(Clone, Debug)]
pub struct Network {
    plan: Plan,
    program: Vec<Unit>,
    memory: Memory,
    loss: Loss,
    optimizer: OptimizerState,
    /// For batches of one sample, where a kernel trains many of them at once.
    per_sample: Option<PerSample>,
    /// The parameters that no layer moves itself.
    moved_apart: Vec<Range<usize>>,
    max_batch: usize,
    seed: u64,
    params: Buffer,
    grads: Buffer,
    state: Buffer,
    /// The layers' outputs, in order.
    arena: Buffer,
    /// What the layers keep from forward to backward.
    kept: Buffer,
    winners: Vec<u8>,
    /// The gradients by a layer's output and input; they change places from layer to layer.
    dy: Buffer,
    dx: Buffer,
    losses: Buffer,
    targets: Buffer,
    laps: Option<Laps>,
}

impl Network {
    /// Plans `layers` for samples of shape `input`, takes the memory for batches of up to
    /// `max_batch` samples (the larger of training's and evaluation's), and fills the parameters
    /// from `seed`.
    ///
    /// # Errors
    /// [`Error::Usage`] if the layers do not fit each other or the loss, or the optimizer's
    /// constants make no sense; [`Error::Failed`] if the memory cannot be had.
    pub fn build(
        input: Shape,
        layers: &[Layer],
        loss: Loss,
        optimizer: Optimizer,
        max_batch: usize,
        seed: u64,
    ) -> Result<Self> {
        let plan = Plan::new(input, layers)?;
        loss.check(&plan)?;
        if max_batch == 0 {
            return Err(Error::Usage("a batch needs at least one sample".into()));
        }
        let program = program(&plan);
        let memory = Memory::lay_out(&program, max_batch);
        let mut params = Buffer::zeroed(plan.trainable_count())?;
        let mut state = Buffer::zeroed(plan.non_trainable_count())?;
        let key = Key::new(seed, Purpose::Init);
        fill(plan.params(), key, &mut params);
        fill(plan.state(), key, &mut state);
        // The memory of bytes and per-sample numbers goes the same fallible way as the floats'.
        Buffer::zeroed(memory.winners.div_ceil(size_of::<f32>()))?;
        let outputs = plan.output().len().saturating_mul(max_batch);
        let targets = if loss.needs_targets() { outputs } else { 0 };
        Ok(Self {
            loss,
            optimizer: OptimizerState::new(optimizer, plan.trainable_count())?,
            per_sample: PerSample::new(&plan, loss, optimizer, max_batch)?,
            max_batch,
            seed,
            params,
            grads: Buffer::zeroed(plan.trainable_count())?,
            state,
            arena: Buffer::zeroed(memory.arena)?,
            kept: Buffer::zeroed(memory.kept)?,
            winners: vec![0; memory.winners],
            dy: Buffer::zeroed(memory.gradient)?,
            dx: Buffer::zeroed(memory.gradient)?,
            losses: Buffer::zeroed(max_batch)?,
            targets: Buffer::zeroed(targets)?,
            moved_apart: moved_apart(&program),
            laps: None,
            memory,
            program,
            plan,
        })
    }

    /// From the next step on, measures how long each part of a step takes.
    pub fn time_laps(&mut self) {
        self.laps = Some(Laps::new(&self.program));
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
        let unit = self.program.iter().find(|unit| unit.layers.start == first)?;
        Some(&self.plan.layers()[unit.layers.clone()])
    }

    /// The layers with their shapes and tensors.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Parameters and moving statistics together, as Keras counts them.
    pub fn parameter_count(&self) -> usize {
        self.plan.parameter_count()
    }

    /// The most samples a batch may have.
    pub fn max_batch(&self) -> usize {
        self.max_batch
    }

    /// What training makes small.
    pub fn loss(&self) -> Loss {
        self.loss
    }

    /// The update rule.
    pub fn optimizer(&self) -> Optimizer {
        self.optimizer.rule
    }

    /// All parameters; [`Plan::params`] names the slices.
    pub fn params(&self) -> &[f32] {
        &self.params
    }

    /// The same, to be changed.
    pub fn params_mut(&mut self) -> &mut [f32] {
        &mut self.params
    }

    /// What [`Self::gradients`] left, in the order of the parameters; a training step uses it as
    /// room for gradients that need not last.
    pub fn grads(&self) -> &[f32] {
        &self.grads
    }

    /// All moving statistics; [`Plan::state`] names the slices.
    pub fn state(&self) -> &[f32] {
        &self.state
    }

    /// The same, to be changed.
    pub fn state_mut(&mut self) -> &mut [f32] {
        &mut self.state
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
        let len = self.params.len();
        let (mut params, zeros) = (self.params.to_vec(), vec![0.0; len]);
        for _ in 0..steps {
            self.optimizer.moving(&mut params, 0..len).step(team, &zeros);
        }
    }

    /// Named tensors to be saved.
    pub fn tensors(&self, saved: Saved) -> Vec<TensorRef<'_>> {
        let (params, state) = (self.plan.params(), self.plan.state());
        match saved {
            Saved::Model => {
                let mut tensors = named("", params, &self.params);
                tensors.extend(named("", state, &self.state));
                tensors
            }
            Saved::Optimizer => {
                let rule = self.optimizer.rule.name();
                let buffers = self.optimizer.buffers.iter();
                buffers
                    .flat_map(|(name, data)| named(&format!("{rule}/{name}/"), params, data))
                    .collect()
            }
        }
    }

    /// The same tensors in the same order, to be filled with what was saved.
    pub fn tensors_mut(&mut self, saved: Saved) -> Vec<TensorMut<'_>> {
        let (params, state) = (self.plan.params(), self.plan.state());
        match saved {
            Saved::Model => {
                let mut tensors = named_mut("", params, &mut self.params);
                tensors.extend(named_mut("", state, &mut self.state));
                tensors
            }
            Saved::Optimizer => {
                let rule = self.optimizer.rule.name();
                let buffers = self.optimizer.buffers.iter_mut();
                buffers
                    .flat_map(|(name, data)| named_mut(&format!("{rule}/{name}/"), params, data))
                    .collect()
            }
        }
    }
}

/// The parameters of units whose step is not part of their backward pass; neighbours as one range.
fn moved_apart(program: &[Unit]) -> Vec<Range<usize>> {
    let apart = program.iter().filter(|unit| unit.ops().step_is() == StepIs::Apart);
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for range in apart.map(|unit| unit.params.clone()).filter(|range| !range.is_empty()) {
        match ranges.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => ranges.push(range),
        }
    }
    ranges
}

/// Fills every tensor from its own stream.
fn fill(tensors: &[Tensor], key: Key, data: &mut [f32]) {
    for (index, tensor) in tensors.iter().enumerate() {
        tensor.initializer.fill(key.with(index as u64), &mut data[tensor.range.clone()]);
    }
}
