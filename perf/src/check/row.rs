//! What was measured of one benchmark, and what is said of it.

use super::margin::Margins;
use super::verdict::{Change, ERROR, Verdict, log_ratios};
use super::why::Why;
use crate::protocol::{Benchmark, Sampled};
use crate::rounds::{Earlier, Pair, Round, pairs};
use crate::statistics::{Interval, medians};

/// One benchmark.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which.
    pub benchmark: Benchmark,
    /// The head beside the base.
    pub since_base: Compared,
    /// The head beside the anchor, if that has the benchmark.
    pub since_anchor: Option<Compared>,
    /// Where its time has grown, if it has and that was seen.
    pub why: Option<Why>,
}

/// The head beside an earlier program.
#[derive(Clone, Debug)]
pub struct Compared {
    /// Which.
    pub earlier: Earlier,
    /// Median times of one run, earlier and now, in seconds.
    pub seconds: [f64; 2],
    /// Median shares of what bounds it.
    pub shares: [Option<f64>; 2],
    /// Pairs that it was judged by.
    pub pairs: usize,
    /// How its time has changed.
    pub change: Change,
    /// Whether that counts.
    pub verdict: Verdict,
    /// The margin beyond which it would count.
    pub margin: f64,
}

impl Row {
    /// The row of one benchmark: what was measured, and the verdicts from that alone.
    pub fn new(benchmark: &Benchmark, rounds: &[Round], margins: &Margins) -> Self {
        let compared = |earlier| {
            let pairs = pairs(rounds, earlier);
            (!pairs.is_empty()).then(|| Compared::new(benchmark, &pairs, earlier, margins))
        };
        let base = pairs(rounds, Earlier::Base);
        Self {
            benchmark: benchmark.clone(),
            since_base: Compared::new(benchmark, &base, Earlier::Base, margins),
            since_anchor: compared(Earlier::Anchor),
            why: None,
        }
    }

    /// The comparison in which it has become slower: that with the base, if it has there.
    pub fn regressed(&self) -> Option<&Compared> {
        self.compared().find(|compared| compared.verdict == Verdict::Regressed)
    }

    /// The head beside each earlier program that has the benchmark.
    pub fn compared(&self) -> impl Iterator<Item = &Compared> {
        [&self.since_base].into_iter().chain(&self.since_anchor)
    }

    /// The head beside one of them.
    pub fn beside(&self, earlier: Earlier) -> Option<&Compared> {
        self.compared().find(|compared| compared.earlier == earlier)
    }

    /// Puts another comparison with the same program in the place of one.
    pub fn replace(&mut self, compared: Compared) {
        match compared.earlier {
            Earlier::Base => self.since_base = compared,
            Earlier::Anchor => self.since_anchor = Some(compared),
        }
    }
}

impl Compared {
    fn new(benchmark: &Benchmark, pairs: &[Pair], earlier: Earlier, margins: &Margins) -> Self {
        let side = |of: fn(&Pair) -> Sampled| medians(&pairs.iter().map(of).collect::<Vec<_>>());
        let sides = [side(|pair| pair.earlier), side(|pair| pair.head)];
        let seconds = sides.map(|side| side.seconds);
        let change = Change::of(&log_ratios(pairs), ERROR);
        let margin = margins.of(benchmark, seconds[0], earlier);
        Self {
            earlier,
            seconds,
            shares: sides.map(|side| side.share_of_limit),
            pairs: pairs.len(),
            change,
            verdict: change.verdict(margin),
            margin,
        }
    }

    /// Whether a change beyond the margin is possible. If that is so for a program against itself,
    /// changes of that size cannot be told from none.
    pub fn could_be_a_change(&self) -> bool {
        let Interval { low, high } = self.change.interval;
        low < -self.margin || high > self.margin
    }

    /// Whether it is worth more pairs. What has become faster since the anchor raises no alarm, and stays so check
    /// after check: nobody waits for that.
    fn matters(&self) -> bool {
        self.earlier == Earlier::Base || self.change.interval.high > self.margin
    }

    /// Whether the first pass has still to tell, of a benchmark with a sweep or with more.
    pub fn is_unclear(&self, sweeps: usize) -> bool {
        // All eight pairs within the margins are enough: if the median were on a margin, that would happen once
        // in 256 times.
        let unclear = match sweeps {
            0 => return true,
            1 => self.could_be_a_change(),
            _ => self.verdict == Verdict::Inconclusive,
        };
        unclear && self.matters()
    }

    /// Whether the first pass has found a change, or leans to one.
    pub fn is_suspect(&self) -> bool {
        (self.verdict.is_change() || self.change.leans(self.margin)) && self.matters()
    }
}
