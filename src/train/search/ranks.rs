//! A search whose trials are trained by several ranks. Rank 0 hands out the trials of a rung, to its own lane and to all
//! others, and it alone writes down what came of them; a trial's folder is written by the rank that trains it, so that
//! all have to see the search's folder. A rank that has nothing to do asks, and is given a trial, or told to ask again.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Mutex;

use super::folder::trial_path;
use super::lanes::{Lanes, Resources, Shared, Step};
use super::state::{Definition, Row, Scores};
use crate::data::Split;
use crate::distributed::World;
use crate::{Error, Result};

/// The tags of the messages.
const ASKED: u32 = 0x6100_0000;
const ORDER: u32 = 0x6100_0001;
const STOP: u32 = 0x6100_0002;

/// What rank 0 answers a rank that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// Train this trial until it has so many epochs, for the rung.
    Train { trial: usize, rung: usize, epochs: usize },
    /// The rung has no more trials; ask again.
    Ask,
    /// The search is over.
    End,
}

impl Order {
    fn written(self) -> Vec<u8> {
        let words = match self {
            Self::Train { trial, rung, epochs } => [trial, rung, epochs].map(|n| n as u64),
            // No trial and no rung have the number 0.
            Self::Ask => [0, 1, 0],
            Self::End => [0, 0, 0],
        };
        bytes(&words)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        match words(bytes)? {
            [0, 1, 0] => Some(Self::Ask),
            [0, 0, 0] => Some(Self::End),
            words => {
                let [trial, rung, epochs] = words.map(|word| word as usize);
                Some(Self::Train { trial, rung, epochs })
            }
        }
    }
}

/// What came of a trial, if one was trained.
fn written(row: Option<Row>) -> Vec<u8> {
    let Some(Row { trial, rung, epochs, scores }) = row else { return Vec::new() };
    let [loss, accuracy] = scores.map_or([0.0; 2], |s| [s.val_loss, s.val_accuracy]);
    let has_scores = u64::from(scores.is_some());
    let counts = [trial, rung, epochs].map(|n| n as u64);
    bytes(&[counts[0], counts[1], counts[2], has_scores, loss.to_bits(), accuracy.to_bits()])
}

fn read(bytes: &[u8]) -> Option<Option<Row>> {
    if bytes.is_empty() {
        return Some(None);
    }
    let [trial, rung, epochs, has_scores, loss, accuracy] = words(bytes)?;
    let scores = Scores { val_loss: f64::from_bits(loss), val_accuracy: f64::from_bits(accuracy) };
    let [trial, rung, epochs] = [trial, rung, epochs].map(|n| n as usize);
    Some(Some(Row { trial, rung, epochs, scores: (has_scores != 0).then_some(scores) }))
}

fn bytes(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn words<const N: usize>(bytes: &[u8]) -> Option<[u64; N]> {
    let (words, rest) = bytes.as_chunks::<8>();
    let words: [[u8; 8]; N] = words.try_into().ok()?;
    rest.is_empty().then(|| words.map(u64::from_le_bytes))
}

fn broken(rank: usize) -> Error {
    Error::Failed(format!("rank {rank} sent what is no trial: do all ranks run the same program?"))
}

impl Lanes<'_> {
    /// On rank 0: gives a rank trials of this rung until there are no more.
    pub(super) fn serve(&self, rank: usize, shared: &Shared) -> Result<()> {
        loop {
            let asked = self.world.receive_bytes(rank, ASKED)?;
            if let Some(row) = read(&asked).ok_or_else(|| broken(rank))? {
                self.take_in(row, shared)?;
            }
            let Some(trial) = shared.next_elsewhere() else {
                return self.world.send_bytes(rank, ORDER, &Order::Ask.written());
            };
            let order = Order::Train { trial, rung: self.rung, epochs: self.epochs };
            self.world.send_bytes(rank, ORDER, &order.written())?;
        }
    }

    /// Tells all other ranks to stop, and to save their trials.
    pub(super) fn stop_others(&self) -> Result<()> {
        self.world.others().try_for_each(|to| self.world.send(to, STOP, &[1.0]))
    }
}

/// On rank 0: tells all ranks that the search is over.
pub(super) fn end(world: &World) -> Result<()> {
    for rank in world.others() {
        world.receive_bytes(rank, ASKED)?;
        world.send_bytes(rank, ORDER, &Order::End.written())?;
    }
    Ok(())
}

/// What every rank but 0 does in a search in `folder`: trains the trials that it is given, until the search is over.
///
/// # Errors
/// Whatever a trial fails with, other than [`Error::Diverged`]; [`Error::Failed`] if a rank has failed.
pub fn train_for_first(
    world: &World,
    definition: &Definition,
    folder: &Path,
    split: &Split,
    resources: &Resources,
) -> Result<()> {
    let tasks = definition.tasks()?;
    let mut done = None;
    loop {
        world.send_bytes(0, ASKED, &written(done.take()))?;
        let order = Order::read(&world.receive_bytes(0, ORDER)?).ok_or_else(|| broken(0))?;
        let (trial, rung, epochs) = match order {
            Order::End => return Ok(()),
            Order::Ask => continue,
            Order::Train { trial, rung, epochs } => (trial, rung, epochs),
        };
        if !(1..=tasks.len()).contains(&trial) {
            return Err(broken(0));
        }
        let fault = Mutex::new(None);
        // Rank 0 says when to stop.
        let watch = |_: Step<'_>| match world.receive_if_here(0, STOP, &mut [0.0]) {
            Ok(false) => ControlFlow::Continue(()),
            Ok(true) => ControlFlow::Break(()),
            Err(error) => {
                fault
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .get_or_insert(error);
                ControlFlow::Break(())
            }
        };
        let lanes = Lanes {
            definition,
            tasks: &tasks,
            folders: &|trial| trial_path(folder, trial, tasks.len()),
            split,
            resources,
            // It is told to rank 0.
            put: &|_| Ok(()),
            watch: &watch,
            world: &World::one(),
            rung,
            epochs,
        };
        done = lanes.train_one(trial)?;
        if let Some(fault) = fault.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
            return Err(fault);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_read_as_they_were_written() {
        let scores = Some(Scores { val_loss: 0.1 + 0.2, val_accuracy: 1.0 / 3.0 });
        for scores in [scores, None] {
            let row = Row { trial: 7, rung: 2, epochs: usize::MAX, scores };
            assert_eq!(read(&written(Some(row))), Some(Some(row)));
        }
        assert_eq!(read(&written(None)), Some(None));
        for order in [Order::Ask, Order::End, Order::Train { trial: 1, rung: 3, epochs: 9 }] {
            assert_eq!(Order::read(&order.written()), Some(order));
        }
        assert!(read(&[0; 47]).is_none() && read(&[0; 40]).is_none());
        assert!(Order::read(&[0; 25]).is_none() && Order::read(&[]).is_none());
    }
}
