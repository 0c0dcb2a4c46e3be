//! The training step of a batch that is cut into shards. Everything that is summed over the batch is computed for
//! each shard apart, and summed in one tree over the shards of all processes. The gradients are summed in pieces:
//! those of a layer travel while the layers below it compute theirs.

use std::ops::Range;

use threadcount_kernels::{Team, vectors};

use super::Network;
use crate::data::Targets;
use crate::distributed::{Share, Slots, Tree, Wait, World, add};
use crate::error::{Error, Result};
use crate::nn::buffer::{Buffer, bytes};
use crate::nn::laps::Part;
use crate::nn::loss::BatchResult;
use crate::nn::model::{Backward, Buffers, Model, Params, Plan, Unit, UnitLaps, Whole, program};
use crate::nn::objective::Objective;
use crate::nn::run::{BatchKey, InputBuffer, mode, of};

/// The most numbers of a piece that travels. Small enough that the sums of a layer are shared out among several
/// processes, large enough that the time of a message is that of its numbers.
const PIECE: usize = 1 << 16;

/// Numbers of a shard's results.
const RESULTS: usize = 4;

/// Tags of the messages of a step. The others are numbered from these on.
const PIECES: u32 = 0x1000_0000;
const FORWARD: u32 = 0x2000_0000;
const BACKWARD: u32 = 0x3000_0000;
const LOSSES: u32 = 0x4000_0000;

/// The shards of a batch that this process has, and the memory for their sums.
#[derive(Clone, Debug)]
pub(super) struct Shards {
    tree: Tree,
    /// The gradients of each shard here but the first, whose place is the network's own gradients.
    grads: Buffer,
    /// For what arrives.
    room: Buffer,
    /// For [`Whole`].
    summed: Buffer,
    /// The results of each shard here, and of one elsewhere.
    results: Buffer,
    /// In the order in which backward ends them.
    pieces: Vec<Piece>,
}

/// Parameters whose gradients are summed at once.
#[derive(Clone, Debug)]
struct Piece {
    /// Of the program.
    unit: usize,
    params: Range<usize>,
    /// One of [`Tree::turns`].
    turn: usize,
    /// How far its sum is.
    at: usize,
}

/// Refuses batches that cannot be cut like that.
///
/// # Errors
/// [`Error::Setting`] with the reason.
pub(crate) fn check_shards(shards: usize, batch_size: usize, plan: &Plan) -> Result<()> {
    let refuse = |fault| Err(Error::Setting { name: "shards", fault });
    if shards == 0 {
        return refuse("at least 1, not 0".to_owned());
    }
    if shards > 1 && batch_size == 1 {
        return refuse(
            "a batch of one sample cannot be cut; take a larger batch-size, or one shard".into(),
        );
    }
    if shards > batch_size {
        return refuse(format!(
            "a batch of {batch_size} samples cannot be cut into {shards}; take a larger batch-size, or fewer shards"
        ));
    }
    let mixes = |unit: &&Unit| {
        unit.layer.across().is_none() && (unit.kept.per_batch > 0 || !unit.state.is_empty())
    };
    match program(plan).iter().find(mixes) {
        Some(unit) if shards > 1 => refuse(format!(
            "the layer {} keeps something of a whole batch, and does not say how that is summed over shards",
            unit.layer.names().0
        )),
        _ => Ok(()),
    }
}

impl Shards {
    fn new(model: &Model, share: Share) -> Result<Self> {
        let tree = Tree::new(share);
        let [grads, room, summed] = Self::floats(model.plan(), share);
        Ok(Self {
            pieces: pieces(&model.program, share, tree.turns()),
            tree,
            grads: Buffer::zeroed(grads)?,
            room: Buffer::zeroed(room)?,
            summed: Buffer::zeroed(summed)?,
            results: Buffer::zeroed((share.own() + 1) * RESULTS)?,
        })
    }

    /// The lengths of its buffers that depend on the network.
    fn floats(plan: &Plan, share: Share) -> [usize; 3] {
        let units = program(plan);
        let summed = |unit: &Unit| unit.layer.across().map_or(0, |layer| layer.summed(unit.input));
        let summed = units.iter().map(summed).max().unwrap_or(0);
        let room = if share.ranks > 1 { PIECE.min(plan.trainable_count()) } else { 0 };
        [
            (share.own() - 1).saturating_mul(plan.trainable_count()),
            room,
            (share.own() + 1).saturating_mul(summed),
        ]
    }
}

/// The gradients of all layers that learn and do not sum them by themselves, last layer first.
fn pieces(program: &[Unit], share: Share, turns: usize) -> Vec<Piece> {
    let most = if share.ranks > 1 { PIECE } else { usize::MAX };
    let mut pieces = Vec::new();
    for (unit, planned) in program.iter().enumerate().rev() {
        if planned.frozen || planned.layer.across().is_some() {
            continue;
        }
        let Range { mut start, end } = planned.params.clone();
        while start < end {
            let params = start..start + most.min(end - start);
            start = params.end;
            pieces.push(Piece { unit, params, turn: pieces.len() % turns, at: 0 });
        }
    }
    pieces
}

/// Of one shard, or of several.
#[derive(Clone, Copy)]
struct Results {
    loss: f64,
    correct: u64,
}

impl Results {
    /// As numbers that travel: only their bits count.
    fn write(self, to: &mut [f32]) {
        let bits = [self.loss.to_bits(), self.correct];
        to.copy_from_slice(bytemuck::cast_slice(&bits));
    }

    fn read(from: &[f32]) -> Self {
        let mut bits = [0_u64; 2];
        bytemuck::cast_slice_mut(&mut bits).copy_from_slice(&from[..RESULTS]);
        Self { loss: f64::from_bits(bits[0]), correct: bits[1] }
    }
}

impl Network {
    /// From the next step on, batches are cut into shards, of which this process has a share;
    /// [`Self::train_shards`] makes the steps, each by itself.
    ///
    /// # Errors
    /// [`Error::Setting`] if a layer cannot be trained in shards; [`Error::Memory`] if the memory cannot be had.
    pub fn cut_batches(&mut self, share: Share) -> Result<()> {
        check_shards(share.shards, self.max_batch(), self.plan())?;
        self.step_one_by_one();
        // Before the new memory is taken.
        self.shards = None;
        self.shards = Some(Shards::new(&self.model, share)?);
        Ok(())
    }

    /// How batches are cut, if they are.
    pub fn share(&self) -> Option<Share> {
        self.shards.as_ref().map(|shards| shards.tree.share())
    }

    /// The bytes that [`Self::cut_batches`] takes in one process.
    pub(crate) fn shard_memory(plan: &Plan, shards: usize) -> u64 {
        if shards <= 1 {
            return 0;
        }
        let floats = Shards::floats(plan, Share { shards, ranks: 1, rank: 0 });
        floats.into_iter().map(bytes).fold(0, u64::saturating_add)
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
        self.forward_of_shards(shards, batch)?;
        self.compare_shards(shards, batch);
        let penalty = self.objective.penalty(team, &self.model);
        self.end_lap(Part::Loss);
        self.backward_of_shards(shards, batch)?;
        for piece in 0..shards.pieces.len() {
            self.go_on(shards, piece, Wait::Yes, batch)?;
        }
        let (results, room) = shards.results.split_at_mut(share.own() * RESULTS);
        let (first, others) = results.split_at_mut(RESULTS);
        let mut slots = Slots { first, others, stride: RESULTS, range: 0..RESULTS };
        shards.tree.sum(world, LOSSES, &mut slots, room, |_, into, from| {
            let (one, other) = (Results::read(into), Results::read(from));
            let (loss, correct) = (one.loss + other.loss, one.correct + other.correct);
            Results { loss, correct }.write(into);
        })?;
        let Results { loss, correct } = Results::read(&shards.results);
        self.apply_gradients(team);
        self.end_lap(Part::Update);
        let loss_sum = loss + penalty * samples as f64;
        Ok(BatchResult { loss_sum, correct: correct as usize, count: samples })
    }

    fn forward_of_shards(&mut self, shards: &mut Shards, batch: &Batch<'_>) -> Result<()> {
        let Self { model, workspace, laps, .. } = self;
        let &Batch { team, world, samples, x, .. } = batch;
        let share = shards.tree.share();
        let own = share.own_samples(samples);
        for index in 0..model.program.len() {
            if model.program[index].layer.across().is_some() {
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
                for part in (0..share.own()).map(|part| share.own_part(samples, part)) {
                    let key = Some(batch.key_of(own.start + part.start));
                    // A shard of a small batch may have no samples.
                    let part = Some(part).filter(|part| !part.is_empty());
                    let pass = part
                        .and_then(|part| workspace.forward_of(team, model, index, x, part, key));
                    if let Some((unit, pass)) = pass {
                        unit.layer.forward(pass);
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
        for (index, results) in results.take(share.own()).enumerate() {
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
                self.go_on(shards, next, Wait::No, batch)?;
                next += 1;
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
        let (across, params) = (unit.layer.across(), unit.params.clone());
        let parts = if across.is_some() { 1 } else { share.own() };
        for slot in 0..parts {
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

    /// Goes on with the sum of a piece of the gradients.
    fn go_on(
        &mut self,
        shards: &mut Shards,
        piece: usize,
        wait: Wait,
        batch: &Batch<'_>,
    ) -> Result<()> {
        let Shards { tree, grads, room, pieces, .. } = shards;
        let Piece { params, turn, at, .. } = &mut pieces[piece];
        let stride = self.model.params.len();
        let range = params.clone();
        let mut slots = Slots { first: &mut self.gradients.params, others: grads, stride, range };
        let tag = PIECES + piece as u32;
        tree.go_on(*turn, at, wait, batch.world, tag, &mut slots, room, |_, into, from| {
            add(batch.team, into, from);
        })
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
