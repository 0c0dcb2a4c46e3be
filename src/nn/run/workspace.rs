//! What running a network needs: memory for the forward pass of a batch.

use std::ops::Range;

use threadcount_kernels::Team;

use super::layout::Layout;
use crate::data::Shape;
use crate::error::{Error, Result};
use crate::nn::buffer::Buffer;
use crate::nn::laps::{Laps, Part};
use crate::nn::model::{Buffers, Forward, Mode, Model, Plan, TestAugment, Unit, flip};
use crate::random::{Key, Purpose};

/// The position of a batch in a training run. Dropout masks depend on it, on the seed and on the layer
/// only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchKey {
    /// The epoch.
    pub epoch: u64,
    /// Position in the epoch of the batch's first sample.
    pub first_sample: u64,
}

/// Memory for a forward pass of one model, and for what its layers keep for backward.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    pub(crate) layout: Layout,
    pub(crate) max_batch: usize,
    /// The layers' outputs, in order.
    pub(crate) arena: Buffer,
    /// What the layers keep from forward to backward.
    pub(crate) kept: Buffer,
    pub(crate) winners: Vec<u8>,
    /// If predictions are made from mirror images too.
    pub(crate) flipped: Option<Flipped>,
}

/// Memory for test-time augmentation.
#[derive(Clone, Debug)]
pub(crate) struct Flipped {
    /// The mirror images of a batch, `[n, input]`.
    pub(crate) x: Buffer,
    /// The outputs for the images themselves, `[n, width]`.
    pub(crate) outputs: Buffer,
}

impl Flipped {
    /// Floats of each of its buffers: none if the plan does not ask for mirror images.
    pub(crate) fn floats(plan: &Plan, max_batch: usize) -> [usize; 2] {
        match plan.test_augment() {
            TestAugment::None => [0, 0],
            TestAugment::Flip => {
                [plan.input().len(), plan.output().len()].map(|len| len.saturating_mul(max_batch))
            }
        }
    }

    fn new(plan: &Plan, max_batch: usize) -> Result<Option<Self>> {
        if plan.test_augment().is_none() {
            return Ok(None);
        }
        let [x, outputs] = Self::floats(plan, max_batch);
        Ok(Some(Self { x: Buffer::zeroed(x)?, outputs: Buffer::zeroed(outputs)? }))
    }
}

impl Workspace {
    /// For batches of up to `max_batch` samples.
    pub(crate) fn new(model: &Model, max_batch: usize) -> Result<Self> {
        if max_batch == 0 {
            return Err(Error::Usage("a batch needs at least one sample".into()));
        }
        let layout = Layout::new(&model.program, max_batch);
        // `vec!` aborts when memory runs out, so a buffer of that size is tried first.
        Buffer::zeroed(layout.winners.div_ceil(size_of::<f32>()))?;
        Ok(Self {
            max_batch,
            arena: Buffer::zeroed(layout.arena)?,
            kept: Buffer::zeroed(layout.kept)?,
            winners: vec![0; layout.winners],
            flipped: Flipped::new(model.plan(), max_batch)?,
            layout,
        })
    }

    /// From `x` (`[n, input]`) to [`Self::outputs`]: training if there is a `key`, else evaluating.
    pub(crate) fn forward(
        &mut self,
        team: &Team,
        model: &mut Model,
        x: &[f32],
        key: Option<BatchKey>,
        mut laps: Option<&mut Laps>,
    ) {
        let n = x.len() / model.plan().input().len();
        for index in 0..model.program.len() {
            let Some((unit, pass)) = self.forward_of(team, model, index, x, 0..n, key) else {
                continue;
            };
            unit.layer.forward(pass);
            if let Some(laps) = &mut laps {
                laps.end(Part::Forward(unit.layers.start));
            }
        }
    }

    /// What the layer at `index` computes forward for these samples of `x`; `None` if it only reshapes. `key` is
    /// that of the first of the samples.
    pub(crate) fn forward_of<'a>(
        &'a mut self,
        team: &'a Team,
        model: &'a mut Model,
        index: usize,
        x: &'a [f32],
        samples: Range<usize>,
        key: Option<BatchKey>,
    ) -> Option<(&'a Unit, Forward<'a>)> {
        let Model { program, params, state, seed, .. } = model;
        let (unit, step) = (&program[index], self.layout.steps[index]);
        let y = step.y.filter(|_| unit.buffers != Buffers::Reshape)?;
        let (before, after) = self.arena.split_at_mut(y);
        let (n, inputs) = (samples.len(), of(&samples, unit.input));
        let kept = step.kept + samples.start * unit.kept.per_sample;
        let winners = step.winners + samples.start * unit.kept.winners;
        let pass = Forward {
            team,
            mode: mode(*seed, unit, key),
            input: unit.input,
            params: &params[unit.params.clone()],
            state: &mut state[unit.state.clone()],
            x: &step.x.map_or(x, |at| &before[at..])[inputs],
            y: &mut after[of(&samples, unit.output)],
            kept: &mut self.kept[kept..][..unit.kept.floats(n)],
            winners: &mut self.winners[winners..][..n * unit.kept.winners],
        };
        Some((unit, pass))
    }

    /// What the layer at `index`, which is `unit`, has left for backward of these samples of `x`: its input and
    /// output, what it kept, and its winners.
    pub(crate) fn left_by<'a>(
        &'a mut self,
        unit: &Unit,
        index: usize,
        x: &'a [f32],
        samples: Range<usize>,
    ) -> (&'a [f32], &'a [f32], &'a mut [f32], &'a [u8]) {
        let step = self.layout.steps[index];
        let n = samples.len();
        let slice =
            |at: Option<usize>, range: Range<usize>| &at.map_or(x, |at| &self.arena[at..])[range];
        let kept = step.kept + samples.start * unit.kept.per_sample;
        let winners = step.winners + samples.start * unit.kept.winners;
        (
            slice(step.x, of(&samples, unit.input)),
            slice(step.y, of(&samples, unit.output)),
            &mut self.kept[kept..][..unit.kept.floats(n)],
            &self.winners[winners..][..n * unit.kept.winners],
        )
    }

    /// From `x` to the [`Self::outputs`] that are evaluated and predicted from: with dropout off and
    /// normalisation by moving statistics, and averaged over the mirror images if the plan asks for them.
    pub(crate) fn evaluate(&mut self, team: &Team, model: &mut Model, x: &[f32]) {
        self.forward(team, model, x, None, None);
        // Taken out, because the second pass needs the rest.
        let Some(mut flipped) = self.flipped.take() else { return };
        let (input, width) = (model.plan().input(), model.plan().output().len());
        let n = x.len() / input.len();
        let first = &mut flipped.outputs[..n * width];
        first.copy_from_slice(self.outputs(n, width));
        if let Shape::Image([_, columns, channels]) = input {
            let x_flipped = &mut flipped.x[..x.len()];
            flip(x, [columns, channels], x_flipped);
            self.forward(team, model, x_flipped, None, None);
        }
        let at = self.outputs_at();
        for (output, first) in self.arena[at..][..n * width].iter_mut().zip(first) {
            *output = 0.5 * (*first + *output);
        }
        self.flipped = Some(flipped);
    }

    /// The last layer's outputs for a batch, `[n, width]`.
    pub(crate) fn outputs(&self, n: usize, width: usize) -> &[f32] {
        &self.arena[self.outputs_at()..][..n * width]
    }

    fn outputs_at(&self) -> usize {
        self.layout.steps.last().and_then(|step| step.y).unwrap_or(0)
    }

    /// How many samples `x` holds.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if they do not fit.
    pub(crate) fn check_batch(&self, model: &Model, x: &[f32]) -> Result<usize> {
        let input = model.plan().input();
        let n = x.len() / input.len();
        if n == 0 || n > self.max_batch || n * input.len() != x.len() {
            return Err(Error::Mismatch(format!(
                "a batch of {} numbers is not 1 to {} samples of shape {input}",
                x.len(),
                self.max_batch
            )));
        }
        Ok(n)
    }
}

/// The elements of these samples among those of a batch.
pub(crate) fn of(samples: &Range<usize>, shape: Shape) -> Range<usize> {
    samples.start * shape.len()..samples.end * shape.len()
}

/// The mode of one layer: training with the key of its masks, or evaluating. A frozen layer with moving
/// statistics always evaluates.
pub(crate) fn mode(seed: u64, unit: &Unit, key: Option<BatchKey>) -> Mode {
    let layer = unit.masked_layer;
    match key {
        None => Mode::Evaluate,
        Some(_) if unit.frozen && !unit.state.is_empty() => Mode::Evaluate,
        Some(BatchKey { epoch, first_sample }) => {
            let key = Key::new(seed, Purpose::Dropout).with(epoch).with(layer as u64).bits();
            Mode::Train { key, first_sample }
        }
    }
}
