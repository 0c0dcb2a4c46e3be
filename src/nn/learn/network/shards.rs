//! The training step of a batch that is cut into shards. Everything that is summed over the batch is computed for
//! each shard apart, and summed in one tree over the shards of all processes. The gradients are summed in pieces:
//! those of a layer travel while the layers below it compute theirs.

use threadcount_kernels::{Team, vectors};

use super::Network;
use super::apart::{Apart, BatchNormOver};
use super::cut::{RESULTS, Results, Shards, check_shards};
use crate::data::Targets;
use crate::distributed::{Share, Wait, World};
use crate::error::{Error, Result};
use crate::nn::buffer::bytes;
use crate::nn::laps::Part;
use crate::nn::loss::BatchResult;
use crate::nn::model::{Backward, Buffers, Model, Params, Plan, UnitLaps, Whole};
use crate::nn::objective::Objective;
use crate::nn::run::{BatchKey, InputBuffer, mode, of};

/// Tags of the messages of layers that mix samples, numbered from these on.
const FORWARD: u32 = 0x2000_0000;
const BACKWARD: u32 = 0x3000_0000;

impl Network {
    /// From the next step on, batches are cut into shards, of which this process has a share;
    /// [`Self::train_shards`] makes the steps, each by itself. `over` is what batch normalisation takes its statistics
    /// over.
    ///
    /// # Errors
    /// [`Error::Setting`] if a layer cannot be trained in shards; [`Error::Memory`] if the memory cannot be had.
    pub fn cut_batches(&mut self, share: Share, over: BatchNormOver) -> Result<()> {
        check_shards(share.shards, over, self.max_batch(), self.plan())?;
        self.step_one_by_one();
        // Before the new memory is taken.
        self.shards = None;
        self.shards = Some(Shards::new(&self.model, share, over)?);
        Ok(())
    }

    /// How batches are cut, if they are.
    pub fn share(&self) -> Option<Share> {
        self.shards.as_ref().map(|shards| shards.tree.share())
    }

    /// The bytes that [`Self::cut_batches`] takes in one process.
    pub(crate) fn shard_memory(plan: &Plan, shards: usize, over: BatchNormOver) -> u64 {
        if shards <= 1 {
            return 0;
        }
        let floats = Shards::floats(plan, Share { shards, ranks: 1, rank: 0 });
        let apart = if over == BatchNormOver::Shard { Apart::floats(plan, shards) } else { 0 };
        floats.into_iter().chain([apart]).map(bytes).fold(0, u64::saturating_add)
    }

    /// As [`Network::train_batch`], for a batch of `samples` that is cut into shards: `x` and `targets` are
    /// those of this process. Every process gets the same result and makes the same step.
    ///
    /// # Errors
    /// As [`Network::train_batch`]; [`Error::Failed`] if another process has failed. The network is then not fit
    /// for use.
    pub fn train_shards<'t>(
        &mut self,
        team: &Team,
        world: &World,
        samples: usize,
        x: &[f32],
        targets: impl Into<Targets<'t>>,
        key: BatchKey,
    ) -> Result<BatchResult> {
        let targets = targets.into();
        // Taken out, because the passes need the rest.
        let Some(mut shards) = self.shards.take() else {
            return Err(Error::Mismatch("batches are not cut into shards".into()));
        };
        let batch = Batch { team, world, samples, x, targets, key };
        let result = self.step_of_shards(&mut shards, &batch);
        self.shards = Some(shards);
        result
    }

    fn step_of_shards(&mut self, shards: &mut Shards, batch: &Batch<'_>) -> Result<BatchResult> {
        let &Batch { team, world, samples, x, targets, .. } = batch;
        let (share, width) = (shards.tree.share(), self.plan().output().len());
        let own = share.own_samples(samples).len();
        if samples == 0 || samples > self.max_batch() || x.len() != own * self.plan().input().len()
        {
            return Err(Error::Mismatch(format!(
                "{} numbers are not {own} samples of a batch of {samples}",
                x.len()
            )));
        }
        self.objective.loss.check_targets(targets, own, width)?;
        self.end_lap(Part::Gather);
        if let Some(apart) = &mut shards.apart {
            apart.begin(&self.model.state);
        }
        self.forward_of_shards(shards, batch)?;
        self.compare_shards(shards, batch);
        let penalty = self.objective.penalty(team, &self.model);
        self.end_lap(Part::Loss);
        // The results travel while backward runs.
        let mut at = 0;
        shards.sum_results(&mut at, Wait::No, world)?;
        self.sum_states(shards, Wait::No, world)?;
        self.backward_of_shards(shards, batch)?;
        for piece in 0..shards.pieces.len() {
            shards.sum_piece(piece, Wait::Yes, (team, world), &mut self.gradients.params)?;
        }
        shards.sum_results(&mut at, Wait::Yes, world)?;
        self.sum_states(shards, Wait::Yes, world)?;
        let Results { loss, correct } = Results::read(&shards.results);
        self.apply_gradients(team);
        self.end_lap(Part::Update);
        let loss_sum = loss + penalty * samples as f64;
        Ok(BatchResult { loss_sum, correct: correct as usize, count: samples })
    }

    /// Goes on with the sum of moving statistics, if each shard has its own.
    fn sum_states(&mut self, shards: &mut Shards, wait: Wait, world: &World) -> Result<()> {
        let Shards { tree, apart, .. } = shards;
        let state = &mut self.model.state;
        apart.as_mut().map_or(Ok(()), |apart| apart.sum(tree, wait, world, state))
    }

    fn forward_of_shards(&mut self, shards: &mut Shards, batch: &Batch<'_>) -> Result<()> {
        let Self { model, workspace, laps, .. } = self;
        let &Batch { team, world, samples, x, .. } = batch;
        let share = shards.tree.share();
        let own = share.own_samples(samples);
        for index in 0..model.program.len() {
            if shards.across(&model.program[index]).is_some() {
                let (tree, memory) = (&shards.tree, &mut shards.summed[..]);
                let mut whole = Whole { tree, world, tag: FORWARD + index as u32, samples, memory };
                let key = Some(batch.key_of(own.start));
                let pass = workspace.forward_of(team, model, index, x, 0..own.len(), key);
                if let Some((unit, pass)) = pass
                    && let Some(layer) = unit.layer.across()
                {
                    layer.forward_across(pass, &mut whole)?;
                }
            } else {
                for slot in 0..share.own() {
                    let part = share.own_part(samples, slot);
                    // A shard of a small batch may have no samples.
                    if part.is_empty() {
                        continue;
                    }
                    let key = Some(batch.key_of(own.start + part.start));
                    let pass = workspace.forward_of(team, model, index, x, part.clone(), key);
                    let Some((unit, pass)) = pass else { continue };
                    unit.layer.forward(pass);
                    if let Some(apart) = &mut shards.apart {
                        let Model { program, state, .. } = &mut *model;
                        let unit = &program[index];
                        let weight = (part.len() as f64 / samples as f64) as f32;
                        let (_, _, kept, _) = workspace.left_by(unit, index, x, part);
                        let state = &mut state[unit.state.clone()];
                        apart.take_in((index, unit), slot, weight, kept, state);
                    }
                }
            }
            if let Some(laps) = laps {
                laps.end(Part::Forward(model.program[index].layers.start));
            }
        }
        Ok(())
    }

    /// The results of each shard; the gradient of the mean loss of the whole batch goes to `dy`.
    fn compare_shards(&mut self, shards: &mut Shards, batch: &Batch<'_>) {
        let &Batch { team, samples, targets, .. } = batch;
        let (share, output) = (shards.tree.share(), self.model.plan().output());
        let outputs = self.workspace.outputs(share.own_samples(samples).len(), output.len());
        let gradients = &mut self.gradients;
        let Objective { loss, label_smoothing, .. } = self.objective;
        let results = shards.results.chunks_exact_mut(RESULTS);
        for (index, results) in results.enumerate() {
            let part = share.own_part(samples, index);
            if part.is_empty() {
                Results { loss: 0.0, correct: 0 }.write(results);
                continue;
            }
            let elements = of(&part, output);
            let room = if loss.needs_targets() { elements.clone() } else { 0..0 };
            let dy = &mut gradients.dy[elements.clone()];
            let result = loss.apply(
                team,
                &outputs[elements],
                (targets.of(part.clone(), output.len()), label_smoothing),
                &mut gradients.losses[part.clone()],
                &mut gradients.targets[room],
                dy,
            );
            // From the mean over the shard to its share of the mean over the batch.
            vectors::scale(team, (part.len() as f64 / samples as f64) as f32, dy);
            Results { loss: result.loss_sum, correct: result.correct as u64 }.write(results);
        }
    }

    fn backward_of_shards(&mut self, shards: &mut Shards, batch: &Batch<'_>) -> Result<()> {
        let mut next = 0;
        for piece in &mut shards.pieces {
            piece.at = 0;
        }
        let mut is_swapped = false;
        for index in (self.workspace.layout.first_trainable..self.model.program.len()).rev() {
            self.backward_of_unit(shards, batch, index, is_swapped)?;
            while shards.pieces.get(next).is_some_and(|piece| piece.unit == index) {
                next += 1;
            }
            // The new ones, and the earlier ones of which something has come meanwhile.
            for piece in 0..next {
                let grads = &mut self.gradients.params;
                shards.sum_piece(piece, Wait::No, (batch.team, batch.world), grads)?;
            }
            let unit = &self.model.program[index];
            if let Some(laps) = self.laps.as_mut().filter(|_| unit.buffers != Buffers::Reshape) {
                laps.end(Part::Backward(unit.layers.start));
            }
            is_swapped ^= self.workspace.layout.steps[index].dx == InputBuffer::Other;
        }
        Ok(())
    }

    /// The backward pass of one layer, for all shards here.
    fn backward_of_unit(
        &mut self,
        shards: &mut Shards,
        batch: &Batch<'_>,
        index: usize,
        is_swapped: bool,
    ) -> Result<()> {
        let Self { model, workspace, gradients, laps, .. } = self;
        let &Batch { team, world, samples, x, .. } = batch;
        let (mut dy, mut dx) = (&mut gradients.dy, &mut gradients.dx);
        if is_swapped {
            (dy, dx) = (dx, dy);
        }
        let (unit, step) = (&model.program[index], workspace.layout.steps[index]);
        let share = shards.tree.share();
        let own = share.own_samples(samples);
        let (across, params) = (shards.across(unit), unit.params.clone());
        let parts = if across.is_some() { 1 } else { share.own() };
        // The last one first: what is kept of a batch lies where the next shard's samples begin.
        for slot in (0..parts).rev() {
            let grads = match slot {
                0 => &mut gradients.params[params.clone()],
                _ => &mut shards.grads[(slot - 1) * model.params.len()..][params.clone()],
            };
            let part = match across {
                Some(_) => 0..own.len(),
                None => share.own_part(samples, slot),
            };
            if across.is_none() && part.is_empty() {
                grads.fill(0.0);
                continue;
            }
            let weights = &model.params[params.clone()];
            let (x, y, kept, winners) = workspace.left_by(unit, index, x, part.clone());
            if let Some(apart) = &shards.apart {
                let at = kept.len() - unit.kept.per_batch;
                kept[at..].copy_from_slice(apart.kept(index, unit, slot));
            }
            let pass = Backward {
                team,
                mode: mode(model.seed, unit, Some(batch.key_of(own.start + part.start))),
                input: unit.input,
                params: match unit.frozen {
                    true => Params::Frozen(weights),
                    false => Params::Fixed(weights),
                },
                grads,
                x,
                y,
                kept,
                winners,
                dy: &mut dy[of(&part, unit.output)],
                dy_is: step.dy_is,
                dx: (step.dx == InputBuffer::Other).then(|| &mut dx[of(&part, unit.input)]),
                below: step.below,
                laps: UnitLaps { laps: laps.as_mut(), unit: unit.layers.start },
            };
            let Some(layer) = across else {
                unit.layer.backward(pass);
                continue;
            };
            let (tree, memory) = (&shards.tree, &mut shards.summed[..]);
            let mut whole = Whole { tree, world, tag: BACKWARD + index as u32, samples, memory };
            layer.backward_across(pass, &mut whole)?;
        }
        if unit.frozen {
            gradients.params[params].fill(0.0);
        }
        Ok(())
    }
}

/// What this process has of a batch.
struct Batch<'a> {
    team: &'a Team<'a>,
    world: &'a World,
    /// Of the whole batch.
    samples: usize,
    x: &'a [f32],
    targets: Targets<'a>,
    key: BatchKey,
}

impl Batch<'_> {
    /// The key of what begins with this sample of the whole batch.
    fn key_of(&self, sample: usize) -> BatchKey {
        BatchKey { first_sample: self.key.first_sample + sample as u64, ..self.key }
    }
}
