//! What a rank does in a step, in its order.

use crate::nn::{Network, Part, StepSum, When};

/// A part of a step: what is computed, and the sums that it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct SharedStep {
    /// Which.
    pub part: Part,
    /// The seconds that any number of samples takes, and those that each takes besides.
    pub seconds: [f64; 2],
    /// The sums that the rank waits for, and those that travel from the end of the part on.
    pub sums: Vec<StepSum>,
}

/// A step of a network whose batches are cut, with one shard for each rank.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// In their order.
    pub parts: Vec<SharedStep>,
}

/// One thing that a rank does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Item {
    /// Computes for so many seconds.
    Compute(f64),
    /// Begins the sum of this number, and goes as far with it as messages have come.
    Begin(usize),
    /// Goes on with all sums before this number that are under way, as far as messages have come.
    GoOn(usize),
    /// Waits for the end of a sum.
    Finish(usize),
    /// Learns from rank 0 whether to go on.
    Flow,
}

impl Script {
    /// Of a network's sums, with the parts of its steps in two measurements: of how many samples, and the seconds of
    /// each part. `rest` are the seconds besides, in both.
    pub(super) fn new(network: &Network, samples: [usize; 2], parts: [&Parts; 2]) -> Self {
        let [few, many] = parts;
        let sums = network.step_sums();
        let line = |part: Part| {
            let of = |parts: &Parts| {
                let found = parts.parts.iter().find(|(other, _)| *other == part);
                let rest = if part == Part::Gather { parts.rest } else { 0.0 };
                found.map_or(0.0, |(_, seconds)| *seconds) + rest
            };
            line([samples[0] as f64, samples[1] as f64], [of(few), of(many)])
        };
        let part = |&part: &Part| SharedStep {
            part,
            seconds: line(part),
            sums: sums.iter().copied().filter(|sum| sum.part == part).collect(),
        };
        Self { parts: few.order.iter().map(part).collect() }
    }

    /// The sums of a step, by their number in the items: those that travel meanwhile first, the results of the batch
    /// last of them.
    pub fn sums(&self) -> Vec<StepSum> {
        let all = || self.parts.iter().flat_map(|part| part.sums.iter().copied());
        let is_piece = |sum: &StepSum| sum.when == When::Meanwhile && sum.part != Part::Loss;
        let mut sums: Vec<StepSum> = all().filter(is_piece).collect();
        sums.extend(all().filter(|sum| sum.when == When::Meanwhile && sum.part == Part::Loss));
        sums.extend(all().filter(|sum| sum.when == When::AtOnce));
        sums
    }

    /// What a rank with so many samples does.
    pub fn items(&self, samples: f64) -> Vec<Item> {
        let sums = self.sums();
        let pieces = sums.iter().take_while(|sum| sum.when == When::Meanwhile).count();
        let mut at_once = pieces;
        let (mut begun, mut results) = (0, sums.iter().position(|sum| sum.part == Part::Loss));
        let mut items = Vec::new();
        for SharedStep { part, seconds: [base, each], sums } in &self.parts {
            if *part == Part::Update {
                items.extend((0..pieces).map(Item::Finish));
            }
            items.push(Item::Compute(base + each * samples));
            for sum in sums {
                match sum.when {
                    When::AtOnce => {
                        items.extend([Item::Begin(at_once), Item::Finish(at_once)]);
                        at_once += 1;
                    }
                    When::Meanwhile if *part == Part::Loss => {
                        items.extend(results.map(Item::Begin));
                        results = results.map(|sum| sum + 1);
                    }
                    When::Meanwhile => {
                        items.push(Item::Begin(begun));
                        begun += 1;
                    }
                }
            }
            if matches!(part, Part::Backward(_)) && begun > 0 {
                items.push(Item::GoOn(begun));
            }
        }
        items.push(Item::Flow);
        items
    }

    /// All messages of a step, with nothing computed: as [`Session::exchange`](crate::train::Session::exchange).
    pub fn exchange(&self) -> Vec<Item> {
        let sums = self.sums();
        let pieces = sums.iter().take_while(|sum| sum.when == When::Meanwhile).count();
        let mut items = Vec::new();
        for sum in pieces..sums.len() {
            items.extend([Item::Begin(sum), Item::Finish(sum)]);
        }
        items.extend((0..pieces).map(Item::Begin));
        items.extend((0..pieces).map(Item::Finish));
        items.push(Item::Flow);
        items
    }

    /// The seconds that a rank with so many samples computes in a step.
    pub fn computing(&self, samples: f64) -> f64 {
        self.parts
            .iter()
            .map(|SharedStep { seconds: [base, each], .. }| base + each * samples)
            .sum()
    }
}

/// The seconds of the parts of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Parts {
    /// All parts that a step can have, in their order.
    pub(super) order: Vec<Part>,
    /// Those that occur.
    pub(super) parts: Vec<(Part, f64)>,
    /// What is besides.
    pub(super) rest: f64,
}

/// The line through two points, as its value at 0 and its slope, neither below 0.
fn line(x: [f64; 2], y: [f64; 2]) -> [f64; 2] {
    let slope = ((y[1] - y[0]) / (x[1] - x[0])).max(0.0);
    let base = y[0] - slope * x[0];
    match base >= 0.0 && base.is_finite() {
        true => [base, slope],
        // Through the larger of the points, and 0.
        false => [0.0, y[1] / x[1]],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_through_both_points_unless_that_makes_no_sense() {
        assert_eq!(line([2.0, 4.0], [3.0, 5.0]), [1.0, 1.0]);
        assert_eq!(line([4.0, 2.0], [5.0, 3.0]), [1.0, 1.0]);
        // More samples cannot take less time, and no samples not less than none.
        assert_eq!(line([2.0, 4.0], [5.0, 3.0]), [5.0, 0.0]);
        assert_eq!(line([2.0, 4.0], [1.0, 8.0]), [0.0, 2.0]);
    }

    /// What a network with batch normalisation says, and when.
    #[test]
    fn items_are_in_the_order_of_a_step() {
        let sum = |part, floats, when| StepSum { part, floats, when, turn: 0 };
        let part =
            |part, sums: &[StepSum]| SharedStep { part, seconds: [1.0, 0.5], sums: sums.to_vec() };
        let script = Script {
            parts: vec![
                part(Part::Gather, &[]),
                part(Part::Forward(0), &[sum(Part::Forward(0), 8, When::AtOnce)]),
                part(Part::Loss, &[sum(Part::Loss, 4, When::Meanwhile)]),
                part(Part::Backward(1), &[sum(Part::Backward(1), 100, When::Meanwhile)]),
                part(
                    Part::Backward(0),
                    &[
                        sum(Part::Backward(0), 8, When::AtOnce),
                        sum(Part::Backward(0), 50, When::Meanwhile),
                    ],
                ),
                part(Part::Update, &[]),
            ],
        };
        let floats: Vec<usize> = script.sums().iter().map(|sum| sum.floats).collect();
        assert_eq!(floats, [100, 50, 4, 8, 8]);
        let compute = Item::Compute(2.0);
        use Item::{Begin, Finish, Flow, GoOn};
        assert_eq!(
            script.items(2.0),
            [
                compute,
                compute,
                Begin(3),
                Finish(3),
                compute,
                Begin(2),
                compute,
                Begin(0),
                GoOn(1),
                compute,
                Begin(4),
                Finish(4),
                Begin(1),
                GoOn(2),
                Finish(0),
                Finish(1),
                Finish(2),
                compute,
                Flow
            ]
        );
        assert_eq!(script.computing(2.0), 12.0);
        let exchange = script.exchange();
        assert_eq!(exchange[..4], [Begin(3), Finish(3), Begin(4), Finish(4)]);
        assert_eq!(exchange[4..7], [0, 1, 2].map(Begin));
        assert_eq!(exchange[7..], [Finish(0), Finish(1), Finish(2), Flow]);
    }
}
