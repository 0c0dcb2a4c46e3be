//! What a network is: its layers and their parameters. Nothing here depends on a batch or on how the
//! network is trained.

mod across;
pub mod exchange;
mod freeze;
mod init;
mod layer;
mod layers;
mod named;
mod plan;
mod program;
mod test_augment;
mod work;

pub use across::{AcrossShards, Whole};
pub use freeze::Freeze;
pub use init::Initializer;
pub use layer::{
    Backward, Buffers, Forward, Fused, Gradient, InputGradient, Kept, Layer, LayerKind,
    LayerOption, LayerPlan, Mode, Params, StepIs, TensorPlan, Twin, UnitLaps,
};
pub use layers::*;
pub use named::{Saved, TensorMut, TensorRef};
pub(super) use named::{named, named_mut};
pub(crate) use plan::joined;
pub use plan::{Plan, PlannedLayer, Tensor};
pub(super) use program::{Unit, program};
pub use test_augment::TestAugment;
pub(super) use test_augment::flip;
pub use work::{ConvolutionSize, Flops, KernelCall, Next, Position, Site, Traffic, WeightMatrix};

use crate::data::Shape;
use crate::error::Result;
use crate::nn::buffer::Buffer;
use crate::random::{Key, Purpose};

/// Layers with their parameters and moving statistics.
#[derive(Clone, Debug)]
pub struct Model {
    plan: Plan,
    pub(crate) program: Vec<Unit>,
    pub(crate) seed: u64,
    pub(crate) params: Buffer,
    pub(crate) state: Buffer,
}

impl Model {
    /// Plans `layers` for samples of shape `input`, and fills the parameters from `seed`.
    ///
    /// # Errors
    /// [`Error::Usage`](crate::Error::Usage) if the layers do not fit each other;
    /// [`Error::Memory`](crate::Error::Memory) if the memory cannot be had.
    pub fn new(input: Shape, layers: &[Layer], seed: u64) -> Result<Self> {
        Self::of(Plan::new(input, layers)?, seed)
    }

    /// As [`Self::new`], with layers that are already planned.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::Error::Memory) if the memory cannot be had.
    pub fn of(plan: Plan, seed: u64) -> Result<Self> {
        let mut params = Buffer::zeroed(plan.trainable_count())?;
        let mut state = Buffer::zeroed(plan.non_trainable_count())?;
        let key = Key::new(seed, Purpose::Init);
        fill(plan.params(), key, &mut params);
        fill(plan.state(), key, &mut state);
        Ok(Self { program: program(&plan), plan, seed, params, state })
    }

    /// The layers with their shapes and tensors.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// All parameters; [`Plan::params`] names the slices.
    pub fn params(&self) -> &[f32] {
        &self.params
    }

    /// All parameters, mutable.
    pub fn params_mut(&mut self) -> &mut [f32] {
        &mut self.params
    }

    /// All moving statistics; [`Plan::state`] names the slices.
    pub fn state(&self) -> &[f32] {
        &self.state
    }

    /// All moving statistics, mutable.
    pub fn state_mut(&mut self) -> &mut [f32] {
        &mut self.state
    }

    /// The plan's layers that are executed as one, from index `first` on.
    pub fn unit(&self, first: usize) -> Option<&[PlannedLayer]> {
        let unit = self.program.iter().find(|unit| unit.layers.start == first)?;
        Some(&self.plan.layers()[unit.layers.clone()])
    }

    /// All tensors by their names, to be saved: parameters, then moving statistics.
    pub fn tensors(&self) -> Vec<TensorRef<'_>> {
        self.plan.tensors(&self.params, &self.state)
    }

    /// The same tensors in the same order, to be filled with what was saved.
    pub fn tensors_mut(&mut self) -> Vec<TensorMut<'_>> {
        let mut tensors = named_mut("", self.plan.params(), &mut self.params);
        tensors.extend(named_mut("", self.plan.state(), &mut self.state));
        tensors
    }
}

/// Fills every tensor from its own stream of random numbers.
fn fill(tensors: &[Tensor], key: Key, data: &mut [f32]) {
    for (index, tensor) in tensors.iter().enumerate() {
        tensor.initializer.fill(key.with(index as u64), &mut data[tensor.range.clone()]);
    }
}
