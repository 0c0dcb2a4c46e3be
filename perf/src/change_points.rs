//! Where a series of measurements has changed for good: the series is cut where the means of the two
//! sides differ most, if those of shuffled series hardly ever differ as much, and each part is looked at
//! again (binary segmentation with a permutation test). Outliers are first brought into the range of the
//! other measurements.

use crate::statistics::median;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// Measurements on each side of a change, at least: fewer may be a bad day.
const LEAST: usize = 3;

/// Shuffled series that a cut is compared with.
const SHUFFLES: usize = 999;

/// Of the [`SHUFFLES`] shuffled series and the series itself, at most this many may differ as much.
const ALIKE: usize = 10;

/// Smaller changes are not worth a mark.
const LEAST_CHANGE: f64 = 0.02;

/// A change for good.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChangePoint {
    /// The first measurement after it.
    pub at: usize,
    /// From the median before the change to the median after it, as a share of the first. Both medians
    /// reach up to the next change on their side.
    pub change: f64,
}

/// The changes of a series of positive numbers, in order.
pub fn change_points(values: &[f64]) -> Vec<ChangePoint> {
    let mut cuts = vec![0, values.len()];
    // Its own for each series: the same series has the same changes.
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    split(values, 0, &mut cuts, &mut rng);
    cuts.sort_unstable();
    let mut points = Vec::new();
    for window in cuts.windows(3) {
        let [before, behind] =
            [window[0]..window[1], window[1]..window[2]].map(|range| median(&values[range]));
        let change = behind / before - 1.0;
        if change.abs() >= LEAST_CHANGE {
            points.push(ChangePoint { at: window[1], change });
        }
    }
    points
}

/// Adds the places where a part of the series that begins at `start` is to be cut.
fn split(part: &[f64], start: usize, cuts: &mut Vec<usize>, rng: &mut ChaCha8Rng) {
    if part.len() < 2 * LEAST {
        return;
    }
    let mut values = drawn_in(part);
    let (at, difference) = best_cut(&values);
    let mut alike = 1;
    for _ in 0..SHUFFLES {
        values.shuffle(rng);
        alike += usize::from(best_cut(&values).1 >= difference);
        if alike > ALIKE {
            return;
        }
    }
    cuts.push(start + at);
    split(&part[..at], start, cuts, rng);
    split(&part[at..], start + at, cuts, rng);
}

/// Where the means of the two sides differ most, and by how much, in units of the difference that chance
/// alone makes between sides of these lengths.
fn best_cut(values: &[f64]) -> (usize, f64) {
    let n = values.len() as f64;
    let total: f64 = values.iter().sum();
    let (mut sum, mut best) = (0.0, (0, 0.0));
    for (index, value) in values.iter().enumerate() {
        let at = index + 1;
        sum += value;
        if at < LEAST || values.len() - at < LEAST {
            continue;
        }
        let (left, right) = (at as f64, n - at as f64);
        let difference = (sum / left - (total - sum) / right).abs() * (left * right / n).sqrt();
        if difference > best.1 {
            best = (at, difference);
        }
    }
    best
}

/// The values, with the outer tenth on each side clamped to the range of the others. (Ranks would not
/// need this, but with ranks a cut moves with the noise inside of each level: half of the cuts of the
/// tests below were three or more measurements off.)
fn drawn_in(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let outer = sorted.len().div_ceil(10);
    let (low, high) = (sorted[outer], sorted[sorted.len() - 1 - outer]);
    values.iter().map(|value| value.clamp(low, high)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    /// Levels with some per cent of noise, heavy on one side.
    fn series(levels: &[(f64, usize)], seed: u64) -> Vec<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let levels = levels.iter().flat_map(|&(level, count)| std::iter::repeat_n(level, count));
        levels
            .map(|level| {
                let slow = if rng.random::<f64>() < 0.05 { 0.8 } else { 1.0 };
                level * slow * (1.0 + 0.02 * (rng.random::<f64>() - 0.5))
            })
            .collect()
    }

    #[test]
    fn a_step_is_found_where_it_is() {
        for seed in 0..20 {
            let values = series(&[(80.0, 12), (72.0, 12)], seed);
            let points = change_points(&values);
            assert!(!points.is_empty(), "{values:?}");
            assert!(points.iter().any(|point| point.at.abs_diff(12) <= 2), "{points:?}");
            assert!((points[0].change + 0.1).abs() < 0.03, "{points:?}");
        }
    }

    /// There and back again is what binary segmentation finds worst: one cut alone explains little.
    #[test]
    fn two_steps_are_mostly_two() {
        let found = (0..20).filter(|&seed| {
            let values = series(&[(80.0, 15), (60.0, 15), (80.0, 15)], seed);
            let at: Vec<usize> = change_points(&values).iter().map(|point| point.at).collect();
            at.len() == 2 && at[0].abs_diff(15) <= 2 && at[1].abs_diff(30) <= 2
        });
        let found = found.count();
        assert!(found >= 14, "{found}");
    }

    /// One of a hundred flat series has a change at most, but for chance.
    #[test]
    fn noise_is_no_change() {
        let wrong =
            (0..200).filter(|&seed| !change_points(&series(&[(80.0, 30)], seed)).is_empty());
        let wrong = wrong.count();
        assert!(wrong <= 6, "{wrong}");
    }

    #[test]
    fn short_and_equal_series_have_none() {
        for len in 0..40 {
            assert!(change_points(&vec![5.0; len]).is_empty());
        }
        assert!(change_points(&[1.0, 1.0, 1.0, 2.0, 2.0, 2.0]).is_empty(), "as good as chance");
        // Below what is worth a mark.
        let small: Vec<f64> = (0..40).map(|i| if i < 20 { 100.0 } else { 101.0 }).collect();
        assert!(change_points(&small).is_empty());
    }
}
