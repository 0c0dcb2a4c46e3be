//! A script on any number of ranks, message by message, along the path that messages take: that of the tree of sums,
//! and of what rank 0 tells all.
//!
//! A rank sends one message at a time, as fast as the link takes its bytes, and computes meanwhile; the message arrives
//! a latency after its last byte has gone. A rank that computes takes in what has come only where it looks.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use super::script::Item;
use crate::distributed::{Hop, Share, from_one, hops};
use crate::nn::StepSum;
use crate::{Error, Result};

/// What a message costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LinkCost {
    /// Seconds from its last byte to its arrival.
    pub latency: f64,
    /// Seconds of a byte.
    pub per_byte: f64,
}

impl std::ops::Add for LinkCost {
    type Output = Self;

    /// One after the other.
    fn add(self, other: Self) -> Self {
        let (latency, per_byte) = (self.latency + other.latency, self.per_byte + other.per_byte);
        Self { latency, per_byte }
    }
}

/// The steps of all ranks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Steps {
    /// The seconds of a step.
    pub seconds: f64,
    /// The bytes that all ranks send in it.
    pub bytes: f64,
    /// How many messages these are.
    pub messages: f64,
}

/// Steps that are simulated; the first one begins on all ranks at once, and does not count.
pub(super) const STEPS: usize = 3;

/// The bytes of a message of so many numbers: they come after a tag.
pub(super) fn message(floats: usize) -> f64 {
    4.0 * (floats as f64 + 1.0)
}

/// Simulates the steps of `ranks` ranks that all do `items`.
///
/// # Errors
/// [`Error::Setting`] if so many ranks cannot share a batch.
pub fn simulate(ranks: usize, items: &[Item], sums: &[StepSum], link: LinkCost) -> Result<Steps> {
    let turns = ranks.next_power_of_two();
    let mut paths = Vec::new();
    for rank in 0..ranks {
        let share = Share::new(ranks, ranks, rank)?;
        let mut own: Vec<Vec<Hop>> = sums.iter().map(|sum| hops(share, sum.turn % turns)).collect();
        // All learn from rank 0 whether to go on.
        own.push(from_one(ranks, 0, rank).collect());
        paths.push(own);
    }
    let mut sizes: Vec<f64> = sums.iter().map(|sum| message(sum.floats)).collect();
    sizes.push(message(1));
    let rank = || Rank { at: vec![0; sizes.len()], ..Rank::default() };
    let world = World {
        items,
        paths,
        sizes: &sizes,
        link,
        ranks: (0..ranks).map(|_| rank()).collect(),
        posted: HashMap::new(),
        waiting: vec![None; ranks],
        ready: (0..ranks).map(|rank| Reverse((0, rank))).collect(),
        ends: Vec::new(),
        sent: [0.0; 2],
    };
    world.run()
}

#[derive(Clone, Debug, Default)]
struct Rank {
    clock: f64,
    /// When it can send the next message.
    port: f64,
    step: usize,
    item: usize,
    /// How far each sum is.
    at: Vec<usize>,
}

struct World<'a> {
    items: &'a [Item],
    /// By rank and sum.
    paths: Vec<Vec<Vec<Hop>>>,
    sizes: &'a [f64],
    link: LinkCost,
    ranks: Vec<Rank>,
    /// When messages arrive, by sum, receiver and sender.
    posted: HashMap<(usize, usize, usize), VecDeque<f64>>,
    /// The sum and the sender that a rank waits for.
    waiting: Vec<Option<(usize, usize)>>,
    /// When a rank goes on: times that are not negative are in the order of their bits.
    ready: BinaryHeap<Reverse<(u64, usize)>>,
    /// When the last rank has ended each step.
    ends: Vec<f64>,
    sent: [f64; 2],
}

/// How far a rank came with a sum.
#[derive(PartialEq)]
enum Came {
    ToItsEnd,
    /// It needs a message from this rank.
    AsFarAs(usize),
}

impl World<'_> {
    /// Always the rank whose clock is the earliest goes on: no message can arrive any more before that.
    fn run(mut self) -> Result<Steps> {
        self.ends = vec![0.0; STEPS];
        while let Some(Reverse((_, rank))) = self.ready.pop() {
            self.go_on(rank);
        }
        if let Some((sum, from)) = self.waiting.iter().flatten().next() {
            return Err(Error::Failed(format!("sum {sum} waits for rank {from} for ever")));
        }
        let (first, last) = (self.ends[0], self.ends[STEPS - 1]);
        let [bytes, messages] = self.sent.map(|sent| sent / STEPS as f64);
        Ok(Steps { seconds: (last - first) / (STEPS - 1) as f64, bytes, messages })
    }

    fn is_ready(&mut self, rank: usize) {
        self.ready.push(Reverse((self.ranks[rank].clock.to_bits(), rank)));
    }

    /// Does one item of a rank, or as much of it as can be done now.
    fn go_on(&mut self, rank: usize) {
        let flow = self.sizes.len() - 1;
        let Rank { step, item, .. } = self.ranks[rank];
        let came = match self.items[item] {
            Item::Compute(seconds) => {
                self.ranks[rank].clock += seconds;
                Came::ToItsEnd
            }
            Item::Begin(sum) => {
                self.ranks[rank].at[sum] = 0;
                self.sum(rank, sum, false);
                Came::ToItsEnd
            }
            Item::GoOn(until) => {
                (0..until).for_each(|sum| _ = self.sum(rank, sum, false));
                Came::ToItsEnd
            }
            Item::Finish(sum) => self.sum(rank, sum, true),
            Item::Flow => self.sum(rank, flow, true),
        };
        if let Came::AsFarAs(from) = came {
            let sum = if let Item::Finish(sum) = self.items[item] { sum } else { flow };
            self.waiting[rank] = Some((sum, from));
            return;
        }
        let own = &mut self.ranks[rank];
        own.item += 1;
        if own.item == self.items.len() {
            own.at[flow] = 0;
            self.ends[step] = f64::max(self.ends[step], own.clock);
            (own.step, own.item) = (step + 1, 0);
            if own.step == STEPS {
                return;
            }
        }
        self.is_ready(rank);
    }

    /// Goes on with a sum; `waits` for messages that are under way.
    fn sum(&mut self, rank: usize, sum: usize, waits: bool) -> Came {
        while let Some(&hop) = self.paths[rank][sum].get(self.ranks[rank].at[sum]) {
            match hop {
                Hop::To(to) => self.send(rank, sum, to),
                Hop::From(from) => {
                    let clock = self.ranks[rank].clock;
                    let posted = self.posted.get_mut(&(sum, rank, from));
                    let posted = posted.filter(|all| {
                        all.front().is_some_and(|&arrival| waits || arrival <= clock)
                    });
                    let Some(arrival) = posted.and_then(VecDeque::pop_front) else {
                        return Came::AsFarAs(from);
                    };
                    self.ranks[rank].clock = clock.max(arrival);
                }
            }
            self.ranks[rank].at[sum] += 1;
        }
        Came::ToItsEnd
    }

    fn send(&mut self, rank: usize, sum: usize, to: usize) {
        let size = self.sizes[sum];
        let own = &mut self.ranks[rank];
        own.port = own.port.max(own.clock) + size * self.link.per_byte;
        let arrival = own.port + self.link.latency;
        self.posted.entry((sum, to, rank)).or_default().push_back(arrival);
        self.sent[0] += size;
        self.sent[1] += 1.0;
        if self.waiting[to] == Some((sum, rank)) {
            self.waiting[to] = None;
            self.ranks[to].clock = self.ranks[to].clock.max(arrival);
            self.is_ready(to);
        }
    }
}
