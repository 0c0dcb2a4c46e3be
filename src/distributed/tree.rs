//! The order in which shards are summed: neighbours first, then pairs of neighbours, and so on. Shard `i` takes in
//! shard `i + s` for `s` = 1, 2, 4 and so on, and `i` a multiple of `2 s`. The order depends on the number of shards
//! alone; how many processes hold them decides only which of the sums need a message.

use std::ops::Range;

use threadcount_kernels::{Team, vectors};

use super::path::{Hop, from_one};
use super::shares::Share;
use super::world::World;
use crate::Result;

/// Two neighbouring groups of shards whose values become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Join {
    /// The first shard of the left group, which ends where the right one begins.
    pub(crate) left: usize,
    /// The first shard of the right group.
    pub(crate) right: usize,
    /// Behind the last shard of the right group.
    pub(crate) end: usize,
}

/// What one process does in a sum. Its own shards' values lie in slots, numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// Adds one slot to another.
    Add { join: Join, into: usize, from: usize },
    /// Sends what a slot holds to another process, which adds it.
    Send { slot: usize, to: usize },
    /// Adds what another process sends.
    Receive { join: Join, into: usize, from: usize },
    /// The sum of all is in this slot: moves it to the first.
    Settle { slot: usize },
    /// Sends the sum of all, in the first slot.
    Give { to: usize },
    /// Receives the sum of all into the first slot.
    Take { from: usize },
}

/// How the processes of a run sum what they have of each shard.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    share: Share,
    /// What this process does, for each of several ways to share out the sums among the processes.
    turns: Vec<Vec<Act>>,
}

/// The values of a process's shards: of each as many as `range` has, in rows of `stride`, the first row apart from
/// the others.
pub(crate) struct Slots<'a> {
    pub(crate) first: &'a mut [f32],
    pub(crate) others: &'a mut [f32],
    pub(crate) stride: usize,
    pub(crate) range: Range<usize>,
}

impl Slots<'_> {
    fn one(&mut self, slot: usize) -> &mut [f32] {
        match slot {
            0 => &mut self.first[self.range.clone()],
            _ => &mut self.others[(slot - 1) * self.stride..][self.range.clone()],
        }
    }

    /// Two slots, of which the second is not the first.
    fn two(&mut self, into: usize, from: usize) -> (&mut [f32], &[f32]) {
        let range = self.range.clone();
        let row = |slot: usize| (slot - 1) * self.stride;
        match (into, from) {
            (0, from) => (&mut self.first[range.clone()], &self.others[row(from)..][range]),
            (into, 0) => (&mut self.others[row(into)..][range.clone()], &self.first[range]),
            (into, from) => {
                let (low, high) = self.others.split_at_mut(row(into.max(from)));
                let (low, high) =
                    (&mut low[row(into.min(from))..][range.clone()], &mut high[range]);
                if into < from { (low, high) } else { (high, low) }
            }
        }
    }
}

/// Whether to wait for other processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Stop where a message is needed that has not come yet.
    No,
    /// Go on to the end.
    Yes,
}

impl Tree {
    /// For this process's share of the shards.
    pub(crate) fn new(share: Share) -> Self {
        let turns = share.ranks.next_power_of_two();
        Self { share, turns: (0..turns).map(|turn| acts(share, turn)).collect() }
    }

    pub(crate) fn share(&self) -> Share {
        self.share
    }

    /// How many ways there are to share out sums. In the first, every right group is added to the left one; only
    /// sums that do not depend on the order of two operands may use another.
    pub(crate) fn turns(&self) -> usize {
        self.turns.len()
    }

    /// Goes on with a sum, from act `at` on; in the end the sum is in the first slot of every process. `join` adds
    /// its second values to its first.
    ///
    /// # Errors
    /// [`crate::Error::Failed`] if another process has failed.
    #[expect(clippy::too_many_arguments, reason = "one sum, and how far it is")]
    pub(crate) fn go_on(
        &self,
        turn: usize,
        at: &mut usize,
        wait: Wait,
        world: &World,
        tag: u32,
        slots: &mut Slots<'_>,
        mut join: impl FnMut(Join, &mut [f32], &[f32]),
    ) -> Result<()> {
        for act in &self.turns[turn][*at..] {
            match *act {
                Act::Add { join: groups, into, from } => {
                    let (into, from) = slots.two(into, from);
                    join(groups, into, from);
                }
                Act::Send { slot, to } => world.send(to, tag, slots.one(slot))?,
                Act::Receive { join: groups, into, from } => {
                    let (len, into) = (slots.range.len(), slots.one(into));
                    let add = |from: &[f32]| join(groups, into, from);
                    if !world.read((from, tag), len, wait == Wait::Yes, add)? {
                        return Ok(());
                    }
                }
                Act::Settle { slot } => {
                    let (first, from) = slots.two(0, slot);
                    first.copy_from_slice(from);
                }
                Act::Give { to } => world.send(to, tag, slots.one(0))?,
                Act::Take { from } => {
                    let (len, first) = (slots.range.len(), slots.one(0));
                    let copy = |sum: &[f32]| first.copy_from_slice(sum);
                    if !world.read((from, tag), len, wait == Wait::Yes, copy)? {
                        return Ok(());
                    }
                }
            }
            *at += 1;
        }
        Ok(())
    }

    /// Whether a sum has come to its end with this act.
    pub(crate) fn is_done(&self, turn: usize, at: usize) -> bool {
        at == self.turns[turn].len()
    }

    /// A whole sum at once, in the first of [`Self::turns`].
    ///
    /// # Errors
    /// As [`Self::go_on`].
    pub(crate) fn sum(
        &self,
        world: &World,
        tag: u32,
        slots: &mut Slots<'_>,
        join: impl FnMut(Join, &mut [f32], &[f32]),
    ) -> Result<()> {
        self.go_on(0, &mut 0, Wait::Yes, world, tag, slots, join)
    }
}

/// Adds the second values to the first ones.
pub(crate) fn add(team: &Team, into: &mut [f32], from: &[f32]) {
    vectors::add_multiple(team, 1.0, from, into);
}

/// What the process of this share does. At a sum across processes, the bits of `turn` choose which of the two goes
/// on with it: so the sums of many pieces are spread over all processes.
fn acts(share: Share, turn: usize) -> Vec<Act> {
    let Share { shards, rank, .. } = share;
    // Where the sum of the group that begins with a shard is.
    let mut place: Vec<usize> = (0..shards).collect();
    let slot = |shard: usize| shard - share.first();
    let mut acts = Vec::new();
    let (mut reach, mut across) = (1, 0);
    while reach < shards {
        let mut is_across = false;
        for left in (0..shards - reach).step_by(2 * reach) {
            let right = left + reach;
            let join = Join { left, right, end: (right + reach).min(shards) };
            let (at_left, at_right) = (place[left], place[right]);
            let [left_rank, right_rank] = [at_left, at_right].map(|shard| share.owner(shard));
            if left_rank == right_rank {
                if left_rank == rank {
                    acts.push(Act::Add { join, into: slot(at_left), from: slot(at_right) });
                }
                continue;
            }
            is_across = true;
            let goes_right = (turn >> across) & 1 == 1;
            let (into, from) = if goes_right { (at_right, at_left) } else { (at_left, at_right) };
            let (to, sender) = (share.owner(into), share.owner(from));
            if sender == rank {
                acts.push(Act::Send { slot: slot(from), to });
            } else if to == rank {
                acts.push(Act::Receive { join, into: slot(into), from: sender });
            }
            place[left] = into;
        }
        across += usize::from(is_across);
        reach *= 2;
    }
    let root = share.owner(place[0]);
    if root == rank && slot(place[0]) != 0 {
        acts.push(Act::Settle { slot: slot(place[0]) });
    }
    acts.extend(from_one(share.ranks, root, rank).map(|hop| match hop {
        Hop::To(to) => Act::Give { to },
        Hop::From(from) => Act::Take { from },
    }));
    acts
}

/// The messages of the process of this share in a sum, in their order.
#[cfg(feature = "program")]
pub(crate) fn hops(share: Share, turn: usize) -> Vec<Hop> {
    let hop = |act: Act| match act {
        Act::Send { to, .. } | Act::Give { to } => Some(Hop::To(to)),
        Act::Receive { from, .. } | Act::Take { from } => Some(Hop::From(from)),
        Act::Add { .. } | Act::Settle { .. } => None,
    };
    acts(share, turn).into_iter().filter_map(hop).collect()
}

#[cfg(test)]
mod tests {
    use super::super::link::in_world;
    use super::*;

    /// Shards and ranks of all tests.
    const WORLDS: [(usize, usize); 11] =
        [(1, 1), (2, 1), (2, 2), (4, 1), (4, 2), (4, 4), (6, 2), (6, 3), (7, 7), (8, 4), (12, 3)];

    /// The sum by its definition.
    fn naive(mut values: Vec<Vec<f32>>) -> Vec<f32> {
        let mut reach = 1;
        while reach < values.len() {
            for left in (0..values.len() - reach).step_by(2 * reach) {
                let right = values[left + reach].clone();
                values[left].iter_mut().zip(right).for_each(|(x, y)| *x += y);
            }
            reach *= 2;
        }
        values.swap_remove(0)
    }

    /// The values of a shard, of very different sizes, so that another order has other bits.
    fn values(shard: usize, len: usize) -> Vec<f32> {
        let value = |i: usize| (shard as f32 + 1.7).powi(i as i32 % 9) / (i as f32 + 3.1);
        (0..len).map(value).collect()
    }

    #[test]
    fn every_process_has_the_sum_of_the_tree() {
        let len = 37;
        for (shards, ranks) in WORLDS {
            let expected = naive((0..shards).map(|shard| values(shard, len)).collect());
            let sums = in_world(ranks, |world| {
                let share = Share::new(shards, ranks, world.rank())?;
                let tree = Tree::new(share);
                let mut all = Vec::new();
                for turn in 0..tree.turns() {
                    let own = share.first()..share.first() + share.own();
                    let mut held: Vec<f32> = own.flat_map(|shard| values(shard, len)).collect();
                    let (first, others) = held.split_at_mut(len);
                    let mut slots = Slots { first, others, stride: len, range: 2..len };
                    let mut at = 0;
                    for wait in [Wait::No, Wait::Yes] {
                        tree.go_on(
                            turn,
                            &mut at,
                            wait,
                            world,
                            turn as u32,
                            &mut slots,
                            |_, into, from| into.iter_mut().zip(from).for_each(|(x, y)| *x += y),
                        )?;
                    }
                    all.push(held[..len].to_vec());
                }
                Ok(all)
            });
            for (rank, sums) in sums.into_iter().enumerate() {
                for sum in sums.unwrap() {
                    assert_eq!(sum[2..], expected[2..], "{shards} shards, rank {rank} of {ranks}");
                    // What is outside the range stays.
                    assert_eq!(sum[..2], values(rank * shards / ranks, len)[..2]);
                }
            }
        }
    }

    /// In the first turn the left group is always the one that takes in the right one.
    #[test]
    fn groups_are_joined_in_order() {
        for (shards, ranks) in WORLDS {
            let joined = in_world(ranks, |world| {
                let share = Share::new(shards, ranks, world.rank())?;
                let own = share.first()..share.first() + share.own();
                // Each slot says which shards it has.
                let mut held: Vec<f32> =
                    own.flat_map(|shard| [shard as f32, shard as f32 + 1.0]).collect();
                let (first, others) = held.split_at_mut(2);
                let mut slots = Slots { first, others, stride: 2, range: 0..2 };
                Tree::new(share).sum(world, 0, &mut slots, |join, left, right| {
                    assert_eq!([left[0], left[1]], [join.left, join.right].map(|x| x as f32));
                    assert_eq!([right[0], right[1]], [join.right, join.end].map(|x| x as f32));
                    left[1] = right[1];
                })?;
                Ok(held[..2].to_vec())
            });
            for sum in joined {
                assert_eq!(sum.unwrap(), [0.0, shards as f32]);
            }
        }
    }

    /// With several turns, each process ends the sums of some pieces.
    #[test]
    fn turns_share_out_the_roots() {
        for ranks in [2, 4] {
            let is_root = |turn: usize, rank: usize| {
                let acts = acts(Share::new(4, ranks, rank).unwrap(), turn);
                !acts.iter().any(|act| matches!(act, Act::Take { .. }))
            };
            let roots: Vec<usize> = (0..ranks)
                .map(|turn| (0..ranks).find(|&rank| is_root(turn, rank)).unwrap())
                .collect();
            let mut sorted = roots.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..ranks).collect::<Vec<_>>(), "{roots:?}");
        }
    }
}
