//! Rounds: samples of base, head and anchor, one right after the other, so that all meet the same machine.

use crate::program::{Side, Worker};
use crate::protocol::{Benchmark, Prepared, Sampled, Size, Twin};
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use threadcount::Result;

/// The earlier program that the head is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// That which the change began from.
    Base,
    /// That which the repository has pinned.
    Anchor,
}

/// A sample of an earlier program and one of the head.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// The earlier program's.
    pub earlier: Sampled,
    /// The head's.
    pub head: Sampled,
}

impl Pair {
    /// The logarithm of how many times as long the head took.
    pub fn log_ratio(&self) -> f64 {
        (self.head.seconds / self.earlier.seconds).ln()
    }
}

/// A sample of each program, taken one right after the other.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// The base's.
    pub base: Sampled,
    /// The head's.
    pub head: Sampled,
    /// The anchor's, if it has the benchmark.
    pub anchor: Option<Sampled>,
}

impl Round {
    /// The head beside an earlier program.
    pub fn pair(&self, earlier: Earlier) -> Option<Pair> {
        let sample = match earlier {
            Earlier::Base => Some(self.base),
            Earlier::Anchor => self.anchor,
        };
        sample.map(|earlier| Pair { earlier, head: self.head })
    }
}

/// The head beside an earlier program, in each round that has both.
pub fn pairs(rounds: &[Round], earlier: Earlier) -> Vec<Pair> {
    rounds.iter().filter_map(|round| round.pair(earlier)).collect()
}

/// Workers that are timed in turn.
pub struct Workers {
    base: Worker,
    head: Worker,
    anchor: Option<Worker>,
    /// Whether the anchor's worker has what was prepared.
    anchor_is_ready: bool,
}

impl Workers {
    /// Starts one of each, in these orders.
    ///
    /// # Errors
    /// As [`Side::start`].
    pub fn start(
        base: (&dyn Side, usize),
        head: (&dyn Side, usize),
        anchor: Option<(&dyn Side, usize)>,
    ) -> Result<Self> {
        let start = |(side, order): (&dyn Side, usize)| side.start(order);
        let (base, head) = (start(base)?, start(head)?);
        Ok(Self { base, head, anchor: anchor.map(start).transpose()?, anchor_is_ready: false })
    }

    /// Lets all prepare a benchmark; returns what the base's says of it. Samples of all are to be of the size that the
    /// fastest needs. The anchor has been compared with its twins when it was a head.
    ///
    /// # Errors
    /// [`threadcount::Error::Failed`] with what a worker says.
    pub fn prepare(&mut self, benchmark: &Benchmark, twin: Twin) -> Result<Prepared> {
        // All at the same time.
        self.base.ask_to_prepare(benchmark, twin)?;
        self.head.ask_to_prepare(benchmark, twin)?;
        let has = |anchor: &&mut Worker| anchor.names.contains(&benchmark.name);
        let mut anchor = self.anchor.as_mut().filter(has);
        if let Some(anchor) = &mut anchor {
            anchor.ask_to_prepare(benchmark, Twin::Trusted)?;
        }
        let mut prepared = self.base.prepared()?;
        let mut sizes = vec![self.head.prepared()?.size];
        self.anchor_is_ready = anchor.is_some();
        if let Some(anchor) = anchor {
            sizes.push(anchor.prepared()?.size);
        }
        for Size { timings, runs } in sizes {
            let size = &mut prepared.size;
            *size = Size { timings: size.timings.max(timings), runs: size.runs.max(runs) };
        }
        Ok(prepared)
    }

    /// Takes so many rounds of samples of what was prepared, in random order within each, all at the same
    /// random place.
    ///
    /// # Errors
    /// [`threadcount::Error::Failed`] with what a worker says.
    pub fn rounds(&mut self, size: Size, count: usize, rng: &mut ChaCha8Rng) -> Result<Vec<Round>> {
        let Self { base, head, anchor, anchor_is_ready } = self;
        let anchor = anchor.as_mut().filter(|_| *anchor_is_ready);
        let mut workers: Vec<&mut Worker> = [base, head].into_iter().chain(anchor).collect();
        let mut order: Vec<usize> = (0..workers.len()).collect();
        let round = |_| {
            let place = rng.random();
            order.shuffle(rng);
            let mut samples = [Sampled { seconds: f64::NAN, share_of_limit: None }; 3];
            for &index in &order {
                samples[index] = workers[index].sample(size, place)?;
            }
            let [base, head, anchor] = samples;
            Ok(Round { base, head, anchor: (workers.len() > 2).then_some(anchor) })
        };
        (0..count).map(round).collect()
    }
}
