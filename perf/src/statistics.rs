//! What can be said of two programs from pairs of timings, without a word on how the noise is
//! distributed: medians, their intervals from order statistics, the sign test, and Holm's correction
//! for judging many at once.

use crate::protocol::Sampled;

/// The medians of times and of shares of the limit.
///
/// # Panics
/// Without samples.
pub fn medians(samples: &[Sampled]) -> Sampled {
    let seconds: Vec<f64> = samples.iter().map(|sample| sample.seconds).collect();
    let shares: Vec<f64> = samples.iter().filter_map(|sample| sample.share_of_limit).collect();
    let share_of_limit = (!shares.is_empty()).then(|| median(&shares));
    Sampled { seconds: median(&seconds), share_of_limit }
}

/// The value in the middle; of an even number of values the mean of the two.
///
/// # Panics
/// Without values.
pub fn median(values: &[f64]) -> f64 {
    let sorted = sorted(values);
    let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
    // Not their mean where they are equal: infinities have none.
    if low == high { low } else { f64::midpoint(low, high) }
}

/// An interval that holds a median.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Interval {
    /// The interval that misses the median of what the values were drawn from with a probability of
    /// `error` at most, whatever the distribution: from the r-th smallest value to the r-th largest.
    /// The median lies outside it only if fewer than r values fall on one of its sides, and they fall
    /// there like tosses of a coin (Thompson 1936). Without enough values it has no ends.
    pub fn of_median(values: &[f64], error: f64) -> Self {
        let n = values.len();
        let mut outside = 0;
        while 2 * (outside + 1) <= n && 2.0 * at_most(n, outside) <= error {
            outside += 1;
        }
        match outside {
            0 => Self { low: f64::NEG_INFINITY, high: f64::INFINITY },
            r => {
                let sorted = sorted(values);
                Self { low: sorted[r - 1], high: sorted[n - r] }
            }
        }
    }

    /// From end to end.
    pub fn width(self) -> f64 {
        self.high - self.low
    }
}

/// The probability, at most, of these values if they are drawn from something with a median between
/// `-margin` and `margin`: the sign test on both sides of it.
pub fn sign_test(values: &[f64], margin: f64) -> f64 {
    let n = values.len();
    let above = values.iter().filter(|&&value| value > margin).count();
    let below = values.iter().filter(|&&value| value < -margin).count();
    // At least this many values on one side means that at most the rest are on the other.
    (2.0 * at_most(n, n - above.max(below))).min(1.0)
}

/// Holm's step-down correction (1979): which of `tests` tests, the others of which have a probability
/// of 1, may be rejected so that a single wrong rejection among all of them has a probability of
/// `error` at most. Returns the level that each of the given probabilities was held against.
pub fn holm_levels(probabilities: &[f64], tests: usize, error: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b]));
    let mut levels = vec![0.0; probabilities.len()];
    let mut rejected = 0;
    for index in order {
        let level = error / tests.saturating_sub(rejected).max(1) as f64;
        levels[index] = level;
        // After the first that is not rejected, all others are held against the same level.
        if probabilities[index] <= level {
            rejected += 1;
        }
    }
    levels
}

/// The probability of `most` heads or fewer in `n` tosses of a coin.
fn at_most(n: usize, most: usize) -> f64 {
    // In logarithms: 2^-n vanishes from 1,075 tosses on.
    let mut term = -(n as f64) * std::f64::consts::LN_2;
    let mut sum = term.exp();
    for heads in 1..=most.min(n) {
        term += ((n - heads + 1) as f64 / heads as f64).ln();
        sum += term.exp();
    }
    sum.min(1.0)
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    /// Draws whose median is 0.
    type Noise = fn(&mut ChaCha8Rng) -> f64;

    /// Uniform on -1 to 1.
    fn flat(rng: &mut ChaCha8Rng) -> f64 {
        2.0 * rng.random::<f64>() - 1.0
    }

    /// Cauchy's: it has no mean.
    fn heavy_tails(rng: &mut ChaCha8Rng) -> f64 {
        (std::f64::consts::PI * (rng.random::<f64>() - 0.5)).tan()
    }

    /// What other programs do to a timing: mostly nothing, sometimes a lot, and never the opposite.
    fn bursts(rng: &mut ChaCha8Rng) -> f64 {
        let quiet = rng.random::<f64>() - 0.5;
        // Half of the draws lie below zero, bursts or none.
        if quiet > 0.0 && rng.random::<f64>() < 0.5 { 100.0 * quiet } else { quiet }
    }

    /// Exponential, moved to the median: skewed.
    fn skewed(rng: &mut ChaCha8Rng) -> f64 {
        -(1.0 - rng.random::<f64>()).ln() - std::f64::consts::LN_2
    }

    const NOISES: [(&str, Noise); 4] =
        [("flat", flat), ("heavy tails", heavy_tails), ("bursts", bursts), ("skewed", skewed)];

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0]), 3.0);
        assert_eq!(median(&[9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), 3.0);
        assert_eq!(median(&[f64::INFINITY, f64::INFINITY]), f64::INFINITY);
    }

    /// Tables of the binomial distribution.
    #[test]
    fn tosses_of_a_coin() {
        assert_eq!(at_most(4, 0), 1.0 / 16.0);
        assert!((at_most(4, 1) - 5.0 / 16.0).abs() < 1e-15);
        assert!((at_most(10, 4) - 386.0 / 1024.0).abs() < 1e-14);
        assert!((at_most(15, 2) - 121.0 / 32768.0).abs() < 1e-15);
        assert!((at_most(3000, 1500) - 0.5).abs() < 0.01);
        assert_eq!(at_most(7, 7), 1.0);
    }

    /// At 99 % the third of 15 values from either end, the 20th of 60 (tables of order statistics).
    #[test]
    fn intervals_are_order_statistics() {
        let values = |n: usize| (1..=n).rev().map(|i| i as f64).collect::<Vec<_>>();
        let of = |n, error| Interval::of_median(&values(n), error);
        assert_eq!(of(15, 0.01), Interval { low: 3.0, high: 13.0 });
        assert_eq!(of(60, 0.01), Interval { low: 20.0, high: 41.0 });
        assert_eq!(of(8, 0.01), Interval { low: 1.0, high: 8.0 });
        assert_eq!(of(8, 1.0).width(), 1.0);
        for n in 0..8 {
            assert_eq!(of(n, 0.01).width(), f64::INFINITY, "{n} values say nothing at 99 %");
        }
    }

    #[test]
    fn intervals_hold_the_median_as_often_as_they_say() {
        const DRAWS: usize = 10_000;
        for (index, (name, noise)) in NOISES.iter().enumerate() {
            for n in [9, 15, 60] {
                let mut rng = ChaCha8Rng::seed_from_u64((100 * index + n) as u64);
                let held = (0..DRAWS)
                    .filter(|_| {
                        let values: Vec<f64> = (0..n).map(|_| noise(&mut rng)).collect();
                        let Interval { low, high } = Interval::of_median(&values, 0.01);
                        low <= 0.0 && 0.0 <= high
                    })
                    .count();
                let share = held as f64 / DRAWS as f64;
                assert!(share >= 0.985, "{name}, {n} values: {share}");
            }
        }
    }

    /// The lower end lies beyond the margin just when the sign test rejects at the same level.
    #[test]
    fn the_sign_test_says_what_the_interval_says() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut rejected = 0;
        for round in 0..2_000 {
            let (n, shift) = (8 + round % 60, 0.3 * (round % 5) as f64);
            let values: Vec<f64> = (0..n).map(|_| flat(&mut rng) + shift).collect();
            let Interval { low, high } = Interval::of_median(&values, 0.01);
            let beyond = low > 0.1 || high < -0.1;
            assert_eq!(beyond, sign_test(&values, 0.1) <= 0.01, "{values:?}");
            rejected += usize::from(beyond);
        }
        assert!((500..1_900).contains(&rejected), "{rejected}");
        assert_eq!(sign_test(&[], 0.0), 1.0);
    }

    #[test]
    fn wrong_rejections_are_as_rare_as_they_should_be() {
        const DRAWS: usize = 10_000;
        for (index, (name, noise)) in NOISES.iter().enumerate() {
            let mut rng = ChaCha8Rng::seed_from_u64(1_000 + index as u64);
            let wrong = (0..DRAWS)
                .filter(|_| {
                    let values: Vec<f64> = (0..15).map(|_| noise(&mut rng)).collect();
                    sign_test(&values, 0.0) <= 0.01
                })
                .count();
            assert!(wrong <= DRAWS * 3 / 200, "{name}: {wrong}");
        }
    }

    /// Holm's own kind of example, worked by hand.
    #[test]
    fn levels_step_down() {
        let levels = holm_levels(&[0.01, 0.04, 0.03, 0.005], 4, 0.05);
        let expected = [0.05 / 3.0, 0.05 / 2.0, 0.05 / 2.0, 0.05 / 4.0];
        assert_eq!(levels, expected);
        // Only 0.005 and 0.01 are rejected; one that was not tested again counts among the tests.
        assert_eq!(holm_levels(&[0.001], 100, 0.01), [0.0001]);
        assert!(holm_levels(&[], 5, 0.01).is_empty());
    }

    #[test]
    fn one_wrong_rejection_in_a_hundred_suites() {
        const SUITES: usize = 2_000;
        const TESTS: usize = 40;
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let wrong = (0..SUITES)
            .filter(|_| {
                let p: Vec<f64> = (0..TESTS)
                    .map(|_| {
                        let values: Vec<f64> = (0..60).map(|_| heavy_tails(&mut rng)).collect();
                        sign_test(&values, 0.0)
                    })
                    .collect();
                let levels = holm_levels(&p, TESTS, 0.01);
                p.iter().zip(levels).any(|(&p, level)| p <= level)
            })
            .count();
        assert!(wrong <= SUITES / 50, "{wrong}");
    }
}
