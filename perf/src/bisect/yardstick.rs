//! What tells a revision that is as the base from one that is as the head: half of the difference between these
//! two, and how often that is wrong of themselves.

use super::search::Answer;
use crate::statistics::median;

/// Answers that are wrong more often than this do not lead anywhere.
const MOST_WRONG: f64 = 0.25;

/// Tells the two sides apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Yardstick {
    /// The logarithm of the ratio in the middle between the base and the head.
    middle: f64,
    /// The probability of a wrong answer.
    pub error: f64,
}

impl Yardstick {
    /// From sweeps of logarithms of ratios: of the base against itself, and against the head.
    ///
    /// The pairs of a sweep share their processes, and are disturbed together: the sweep is one answer. Of n
    /// known answers of which k were wrong, the next one is wrong with a probability of (k + 1) / (n + 2)
    /// (Laplace's rule of succession).
    ///
    /// # Panics
    /// Without sweeps, or with one that has no pairs.
    pub fn of(same: &[Vec<f64>], changed: &[Vec<f64>]) -> Self {
        let middle = median(&changed.concat()) / 2.0;
        let mut yardstick = Self { middle, error: 0.0 };
        let differ = |sweeps: &[Vec<f64>], from: Answer| {
            sweeps.iter().filter(|sweep| yardstick.answer(sweep) != from).count()
        };
        let wrong = differ(same, Answer::Before) + differ(changed, Answer::After);
        yardstick.error = (wrong + 1) as f64 / (same.len() + changed.len() + 2) as f64;
        yardstick
    }

    /// Whether answers are right often enough to search with.
    pub fn can_tell(&self) -> bool {
        self.error <= MOST_WRONG
    }

    /// What a sweep of a revision against the base says of it.
    pub fn answer(&self, sweep: &[f64]) -> Answer {
        // The head may have become faster.
        match median(sweep) / self.middle > 1.0 {
            true => Answer::After,
            false => Answer::Before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sweeps(values: &[f64]) -> Vec<Vec<f64>> {
        values.iter().map(|&value| vec![value - 0.001, value, value + 0.5]).collect()
    }

    #[test]
    fn the_middle_tells_slower_and_faster() {
        for sign in [1.0, -1.0] {
            let same = vec![vec![0.0; 3]; 8];
            let changed = vec![vec![sign * 0.1; 3]; 8];
            let yardstick = Yardstick::of(&same, &changed);
            assert_eq!(yardstick, Yardstick { middle: sign * 0.05, error: 1.0 / 18.0 });
            assert!(yardstick.can_tell());
            for (value, answer) in [
                (0.04, Answer::Before),
                (0.06, Answer::After),
                (0.3, Answer::After),
                (-0.1, Answer::Before),
                (0.0, Answer::Before),
            ] {
                assert_eq!(yardstick.answer(&[9.0, sign * value, -9.0]), answer, "{value}");
            }
        }
    }

    #[test]
    fn wrong_answers_of_the_ends_are_counted() {
        let same = sweeps(&[0.0, 0.0, 0.0, 0.0, 0.09, 0.0, 0.0, 0.0]);
        let changed = sweeps(&[0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.02, 0.1]);
        let yardstick = Yardstick::of(&same, &changed);
        assert_eq!(yardstick.error, 3.0 / 18.0);
        assert!(yardstick.can_tell());
        // The head is as the base: half of the answers are wrong.
        let none = sweeps(&[0.01, -0.01, 0.01, -0.01]);
        assert!(!Yardstick::of(&none, &none).can_tell());
    }
}
