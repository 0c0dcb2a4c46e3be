//! What pairs of timings say of a benchmark: how much it has changed, and whether that counts.

use crate::rounds::Pair;
use crate::statistics::{Interval, holm_levels, median, sign_test};
use serde::Serialize;
use std::fmt;

/// The probability of a wrong verdict: of a single benchmark in the first pass, of any of the suite in
/// the second, which decides.
pub const ERROR: f64 = 0.01;

/// The speedup that corresponds to a slowdown of `margin`: twice as fast corresponds to twice as slow.
fn faster(margin: f64) -> f64 {
    (-margin.ln_1p()).exp_m1()
}

/// What has become of a benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Slower by more than the margin, twice.
    Regressed,
    /// Faster by more than the margin, twice.
    Improved,
    /// Not known well enough to tell: the interval is wider than the margin, or the median is beyond the
    /// margin and the interval reaches across it.
    Inconclusive,
    /// None of these.
    Unchanged,
}

impl Verdict {
    /// Whether it is the verdict of a change that counts.
    pub fn is_change(self) -> bool {
        matches!(self, Self::Regressed | Self::Improved)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Regressed => "regressed",
            Self::Improved => "improved",
            Self::Inconclusive => "inconclusive",
            Self::Unchanged => "unchanged",
        })
    }
}

/// The change of one benchmark's time, as pairs of timings tell it; shares of the base's time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// The median.
    pub median: f64,
    /// The interval that holds the median.
    pub interval: Interval,
}

impl Change {
    /// From logarithms of ratios, with an interval that is wrong with a probability of `error`.
    pub fn of(log_ratios: &[f64], error: f64) -> Self {
        let Interval { low, high } = Interval::of_median(log_ratios, error);
        Self {
            median: median(log_ratios).exp_m1(),
            interval: Interval { low: low.exp_m1(), high: high.exp_m1() },
        }
    }

    /// Whether the median is beyond the margin.
    pub fn leans(&self, margin: f64) -> bool {
        self.median > margin || self.median < faster(margin)
    }

    /// The verdict from this change alone.
    pub fn verdict(self, margin: f64) -> Verdict {
        let Interval { low, high } = self.interval;
        if low > margin {
            Verdict::Regressed
        } else if high < faster(margin) {
            Verdict::Improved
        } else if self.interval.width() > margin || self.leans(margin) {
            Verdict::Inconclusive
        } else {
            Verdict::Unchanged
        }
    }
}

/// A suspect that was measured again.
pub struct Again {
    /// What the first pass has found.
    pub suspected: Verdict,
    /// What was measured now.
    pub sweeps: Vec<Sweep>,
    /// The margin.
    pub margin: f64,
}

/// Pairs of the same two processes.
pub struct Sweep {
    /// The orders of functions that the earlier program and the head were linked in.
    pub orders: [usize; 2],
    /// The logarithms of their ratios.
    pub log_ratios: Vec<f64>,
}

impl Again {
    fn log_ratios(&self) -> Vec<f64> {
        self.sweeps.iter().flat_map(|sweep| sweep.log_ratios.iter().copied()).collect()
    }

    /// Whether each order of each side shows it, with half of the margin at least: what only some orders show
    /// comes from where code lies. (Of programs whose times differ by 6 % between half of all orders and the
    /// other half, one order of each accuses a quarter of the innocent, four orders less than one in a hundred.)
    fn in_every_order(&self, verdict: Verdict) -> bool {
        let shows = |side: usize, order: usize| {
            let with = self.sweeps.iter().filter(|sweep| sweep.orders[side] == order);
            let ratios: Vec<f64> = with.flat_map(|sweep| sweep.log_ratios.clone()).collect();
            let (change, half) = (median(&ratios).exp_m1(), self.margin / 2.0);
            match verdict {
                Verdict::Regressed => change > half,
                _ => change < faster(half),
            }
        };
        self.sweeps.iter().all(|Sweep { orders, .. }| shows(0, orders[0]) && shows(1, orders[1]))
    }
}

/// Judges what was measured again, among all that were suspected. `tests` is the number of comparisons of the
/// suite, with the base and with the anchor together, of which these are a part. A change counts if it is in the direction in which it was suspected, where
/// that was clear, and if it does not depend on the order of functions.
pub fn confirm(suspects: &[Again], tests: usize) -> Vec<(Change, Verdict)> {
    let probabilities: Vec<f64> =
        suspects.iter().map(|again| sign_test(&again.log_ratios(), again.margin.ln_1p())).collect();
    let levels = holm_levels(&probabilities, tests, ERROR);
    let judged = suspects.iter().zip(levels).map(|(again, level)| {
        let change = Change::of(&again.log_ratios(), level);
        let turned = |found| again.suspected.is_change() && found != again.suspected;
        let verdict = match change.verdict(again.margin) {
            found if found.is_change() && (turned(found) || !again.in_every_order(found)) => {
                Verdict::Inconclusive
            }
            other => other,
        };
        (change, verdict)
    });
    judged.collect()
}

/// The logarithms of how many times as long the head took.
pub fn log_ratios(pairs: &[Pair]) -> Vec<f64> {
    pairs.iter().map(Pair::log_ratio).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    /// That many values around `centre`, at most `spread` away from it.
    fn around(centre: f64, spread: f64, count: usize) -> Vec<f64> {
        let offset = |i: usize| 2.0 * ((i * 7 % count) as f64 + 0.5) / count as f64 - 1.0;
        (0..count).map(|i| centre + spread * offset(i)).collect()
    }

    fn verdict(centre: f64, spread: f64) -> Verdict {
        Change::of(&around(centre, spread, 15), ERROR).verdict(0.02)
    }

    #[test]
    fn changes_beyond_the_margin_count() {
        assert_eq!(verdict(0.05, 0.01), Verdict::Regressed);
        assert_eq!(verdict(-0.05, 0.01), Verdict::Improved);
        assert_eq!(verdict(0.0, 0.005), Verdict::Unchanged);
        assert_eq!(verdict(0.015, 0.005), Verdict::Unchanged);
        assert_eq!(verdict(0.0, 0.05), Verdict::Inconclusive);
        assert_eq!(verdict(0.03, 0.05), Verdict::Inconclusive);
        // The interval is narrow enough to tell, but the median contradicts.
        assert_eq!(verdict(0.022, 0.006), Verdict::Inconclusive);
        // Three pairs tell nothing, whatever they say.
        let three = Change::of(&[0.5, 0.5, 0.5], ERROR);
        assert_eq!(three.verdict(0.02), Verdict::Inconclusive);
        assert!((three.median - 0.5_f64.exp_m1()).abs() < 1e-15);
    }

    /// Measured again in one order only.
    fn again(suspected: Verdict, log_ratios: Vec<f64>) -> Again {
        Again { suspected, sweeps: vec![Sweep { orders: [0, 0], log_ratios }], margin: 0.02 }
    }

    #[test]
    fn a_suspect_must_be_found_again() {
        let slow = again(Verdict::Regressed, around(0.05, 0.01, 60));
        let quick_again = again(Verdict::Regressed, around(0.0, 0.005, 60));
        let turned = again(Verdict::Regressed, around(-0.05, 0.01, 60));
        let fast = again(Verdict::Improved, around(-0.05, 0.01, 60));
        let judged = confirm(&[slow, quick_again, turned, fast], 300);
        let verdicts: Vec<Verdict> = judged.iter().map(|(_, verdict)| *verdict).collect();
        use Verdict::*;
        assert_eq!(verdicts, [Regressed, Unchanged, Inconclusive, Improved]);
    }

    /// With the same values, a larger suite asks for more.
    #[test]
    fn the_size_of_the_suite_counts() {
        let mut values = around(0.05, 0.01, 16);
        values[0] = 0.0;
        let suspects = [again(Verdict::Regressed, values)];
        assert_eq!(confirm(&suspects, 1)[0].1, Verdict::Regressed);
        assert_ne!(confirm(&suspects, 1_000)[0].1, Verdict::Regressed);
    }

    /// Four orders of each side, of which `odd` of one side shows another change than the rest.
    #[test]
    fn what_one_order_does_not_show_is_no_change() {
        let verdict = |sign: f64, side: usize, odd: f64| {
            let sweep = |index: usize| {
                let orders = [1 + index % 4, 1 + (index + index / 4) % 4];
                let centre = if orders[side] == 2 { odd } else { 0.05 };
                Sweep { orders, log_ratios: around(sign * centre, 0.002, 16) }
            };
            let sweeps = (0..8).map(sweep).collect();
            let again = Again { suspected: Verdict::Inconclusive, sweeps, margin: 0.02 };
            confirm(&[again], 12)[0].1
        };
        for side in [0, 1] {
            assert_eq!(verdict(1.0, side, 0.05), Verdict::Regressed);
            assert_eq!(verdict(1.0, side, 0.015), Verdict::Regressed);
            assert_eq!(verdict(1.0, side, 0.005), Verdict::Inconclusive);
            assert_eq!(verdict(1.0, side, -0.05), Verdict::Inconclusive);
            assert_eq!(verdict(-1.0, side, 0.015), Verdict::Improved);
            assert_eq!(verdict(-1.0, side, 0.005), Verdict::Inconclusive);
        }
    }

    /// Programs of the same code, half of whose orders are slower by 6 %: how many in a thousand accuse the head.
    fn accused(orders: usize) -> usize {
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        let accuses = |_: &usize| {
            let mut draw = || -> Vec<f64> {
                (0..orders).map(|_| if rng.random() { 0.06 } else { 0.0 }).collect()
            };
            let (base, head) = (draw(), draw());
            let sweep = |turn: usize| {
                let orders = [turn % orders, (turn + turn / orders) % orders];
                let change = head[orders[1]] - base[orders[0]];
                Sweep { orders, log_ratios: around(change, 0.005, 8) }
            };
            let sweeps = (0..8).map(sweep).collect();
            let suspect = Again { suspected: Verdict::Inconclusive, sweeps, margin: 0.02 };
            confirm(&[suspect], 300)[0].1 == Verdict::Regressed
        };
        (0..1_000).filter(accuses).count()
    }

    #[test]
    fn several_orders_protect_the_innocent() {
        assert!((200..300).contains(&accused(1)));
        assert!(accused(4) < 10);
    }
}
