//! What the processes of a run say to each other in a training step, in a list; and all of it said with nothing
//! computed. For benchmarks, and for what they foretell of other machines.

use threadcount_kernels::Team;

use super::Network;
use super::apart::Apart;
use super::cut::{RESULTS, Shards};
use crate::distributed::{Slots, Wait, World, add};
use crate::error::{Error, Result};
use crate::nn::laps::Part;

/// A sum over all shards that a step makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepSum {
    /// The part of the step that begins it, at its end if it is [`When::Meanwhile`].
    pub part: Part,
    /// How many numbers are summed.
    pub floats: usize,
    /// Whether the step waits for it.
    pub when: When,
    /// Which of the ways to share out sums among the processes it takes: of as many as there are, counted on from the
    /// first again.
    pub turn: usize,
}

/// Whether a step waits for a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Within its part.
    AtOnce,
    /// It travels while the next parts are computed; the step waits for it before its update.
    Meanwhile,
}

impl Network {
    /// The sums of a step in their order, if batches are cut into shards that several processes have. A layer that sums
    /// something over the batch is taken to do so once in each pass, with as many numbers as it says.
    pub fn step_sums(&self) -> Vec<StepSum> {
        let Some(shards) = &self.shards else { return Vec::new() };
        let units = &self.model.program;
        let across = |index: usize, part: fn(usize) -> Part| {
            let unit = &units[index];
            let layer = shards.across(unit).filter(|_| !unit.frozen)?;
            let floats = layer.summed(unit.input);
            Some(StepSum { part: part(unit.layers.start), floats, when: When::AtOnce, turn: 0 })
        };
        let mut sums: Vec<StepSum> =
            (0..units.len()).filter_map(|index| across(index, Part::Forward)).collect();
        let states = shards.apart.as_ref().map_or(0, Apart::summed);
        let travelling = [RESULTS, states].into_iter().filter(|&floats| floats > 0);
        sums.extend(travelling.map(|floats| StepSum {
            part: Part::Loss,
            floats,
            when: When::Meanwhile,
            turn: 0,
        }));
        for index in (self.workspace.layout.first_trainable..units.len()).rev() {
            sums.extend(across(index, Part::Backward));
            let part = Part::Backward(units[index].layers.start);
            let pieces = (0..).zip(&shards.pieces).filter(|(_, piece)| piece.unit == index);
            sums.extend(pieces.map(|(turn, piece)| StepSum {
                part,
                floats: piece.params.len(),
                when: When::Meanwhile,
                turn,
            }));
        }
        sums
    }

    /// Makes all sums of a step, of zeros, with nothing computed between them. Overwrites the gradients.
    ///
    /// # Errors
    /// [`Error::Failed`] if another process has failed, [`Error::Mismatch`] if batches are not cut into shards.
    pub fn exchange(&mut self, team: &Team, world: &World) -> Result<()> {
        let sums = self.step_sums();
        let Some(shards) = &mut self.shards else {
            return Err(Error::Mismatch("batches are not cut into shards".into()));
        };
        let Shards { tree, grads, summed, pieces, .. } = shards;
        let own = tree.share().own();
        self.gradients.params.fill(0.0);
        grads.fill(0.0);
        for (tag, sum) in (SUMS..).zip(sums.iter().filter(|sum| sum.when == When::AtOnce)) {
            let len = sum.floats;
            let values = &mut summed[..own * len];
            values.fill(0.0);
            let (first, others) = values.split_at_mut(len);
            let mut slots = Slots { first, others, stride: len, range: 0..len };
            tree.sum(world, tag, &mut slots, |_, into, from| add(team, into, from))?;
        }
        pieces.iter_mut().for_each(|piece| piece.at = 0);
        for wait in [Wait::No, Wait::Yes] {
            for piece in 0..shards.pieces.len() {
                shards.sum_piece(piece, wait, (team, world), &mut self.gradients.params)?;
            }
        }
        shards.sum_results(&mut 0, Wait::Yes, world)?;
        let Shards { tree, apart, .. } = shards;
        let Some(apart) = apart else { return Ok(()) };
        apart.begin(&self.model.state);
        apart.sum(tree, Wait::Yes, world, &mut vec![0.0; apart.summed()])
    }
}

/// The tag of the first of these messages that a step waits for; the others are numbered from it on.
const SUMS: u32 = 0x7000_0000;
