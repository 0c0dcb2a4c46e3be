//! The course of a bisection: base and head are timed first, then the revisions that the search asks for. Where
//! programs come from is for others to say, so tests can do without any.

use super::search::{Answer, Search, Suspects};
use super::yardstick::Yardstick;
use crate::check::judge::PAIRS;
use crate::check::margin::Margins;
use crate::check::verdict::{Change, ERROR, log_ratios};
use crate::program::{Side, shuffled};
use crate::protocol::{Benchmark, Sampled, Twin};
use crate::rounds::{Earlier, Pair, Workers, pairs};
use crate::statistics::medians;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::Serialize;
use std::process::ExitCode;
use threadcount::{Error, Result};

/// Sweeps of the base against itself, and as many against the head: answers that are known, from which it is
/// learned how often they are wrong.
const KNOWN: usize = 8;

/// A revision's program, or why it has none.
pub type Made = std::result::Result<Box<dyn Side>, String>;

/// What is bisected.
pub struct Bisection<'a> {
    /// What is timed.
    pub benchmark: &'a Benchmark,
    /// Its margin.
    pub margins: &'a Margins,
    /// The commits from the base to the head, one at least.
    pub commits: usize,
    /// The program of a revision: 0 is the base, the last is the head.
    pub program: &'a dyn Fn(usize) -> Result<Made>,
    /// The seed of the random order within pairs.
    pub seed: u64,
}

/// What has come out.
pub struct Finding {
    /// In a word.
    pub outcome: Outcome,
    /// From the base to the head.
    pub change: Change,
    /// The margin that it must be beyond.
    pub margin: f64,
    /// The probability that a sweep gives a wrong answer.
    pub error: f64,
    /// The commits that are most probably guilty, if it was searched for them.
    pub suspects: Option<Suspects>,
    /// What was seen of each revision.
    pub seen: Vec<Seen>,
}

/// What is said of a bisection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The commit is known, or some that nobody can tell apart.
    Found,
    /// Base and head do not differ.
    Unchanged,
    /// They do, but the machine does not let anybody tell which commit it was.
    TooNoisy,
}

impl Outcome {
    /// As the program's exit code.
    pub fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Found => 0,
            Self::Unchanged => 1,
            Self::TooNoisy => 4,
        })
    }
}

/// What was seen of a revision.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// It was not needed.
    Nothing,
    /// Logarithms of the ratios to the base's times.
    Timed(Vec<f64>),
    /// Why it could not be timed.
    Fault(String),
}

impl Bisection<'_> {
    /// Times and searches.
    ///
    /// # Errors
    /// [`Error::Failed`] if the base or the head cannot be timed; whatever [`Self::program`] fails with.
    pub fn run(&self) -> Result<Finding> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let end = |revision| (self.program)(revision)?.map_err(Error::Failed);
        let (base, head) = (end(0)?, end(self.commits)?);
        let (mut same, mut changed) = (Vec::new(), Vec::new());
        for turn in 0..KNOWN {
            let twin = if turn == 0 { Twin::Compared } else { Twin::Trusted };
            changed.push(self.sweep(&*base, &*head, turn, twin, &mut rng)?);
            same.push(self.sweep(&*base, &*base, turn, Twin::Trusted, &mut rng)?);
        }
        let ratios = |sweeps: &[Vec<Pair>]| -> Vec<Vec<f64>> {
            sweeps.iter().map(|pairs| log_ratios(pairs)).collect()
        };
        let yardstick = Yardstick::of(&ratios(&same), &ratios(&changed));
        let all = changed.concat();
        let bases: Vec<Sampled> = all.iter().map(|pair| pair.earlier).collect();
        let mut finding = Finding {
            outcome: Outcome::Unchanged,
            change: Change::of(&log_ratios(&all), ERROR),
            margin: self.margins.of(self.benchmark, medians(&bases).seconds, Earlier::Base),
            error: yardstick.error,
            suspects: None,
            seen: vec![Seen::Nothing; self.commits + 1],
        };
        finding.seen[0] = Seen::Timed(log_ratios(&same.concat()));
        finding.seen[self.commits] = Seen::Timed(log_ratios(&all));
        if !finding.change.verdict(finding.margin).is_change() {
            return Ok(finding);
        }
        finding.outcome = Outcome::TooNoisy;
        if yardstick.can_tell() {
            let suspects = self.search(&*base, yardstick, &mut finding.seen, &mut rng)?;
            if suspects.is_enough() {
                finding.outcome = Outcome::Found;
            }
            finding.suspects = Some(suspects);
        }
        Ok(finding)
    }

    fn search(
        &self,
        base: &dyn Side,
        yardstick: Yardstick,
        seen: &mut [Seen],
        rng: &mut ChaCha8Rng,
    ) -> Result<Suspects> {
        let mut search = Search::new(self.commits, yardstick.error);
        let mut turn = 0;
        while let Some(revision) = search.next() {
            turn += 1;
            let pairs = match (self.program)(revision)? {
                Ok(side) => match self.sweep(base, &*side, turn, Twin::Compared, rng) {
                    Ok(pairs) => Ok(log_ratios(&pairs)),
                    Err(Error::Failed(fault)) => Err(fault),
                    Err(other) => return Err(other),
                },
                Err(fault) => Err(fault),
            };
            let answer = match (pairs, &mut seen[revision]) {
                (Ok(pairs), Seen::Timed(before)) => {
                    before.extend(&pairs);
                    yardstick.answer(&pairs)
                }
                (Ok(pairs), new) => {
                    let answer = yardstick.answer(&pairs);
                    *new = Seen::Timed(pairs);
                    answer
                }
                (Err(fault), place) => {
                    *place = Seen::Fault(fault);
                    Answer::None
                }
            };
            search.learn(revision, answer);
        }
        Ok(search.suspects())
    }

    /// Some pairs in processes of their own, both with their functions in the order whose turn it is.
    fn sweep(
        &self,
        base: &dyn Side,
        other: &dyn Side,
        turn: usize,
        twin: Twin,
        rng: &mut ChaCha8Rng,
    ) -> Result<Vec<Pair>> {
        let mut workers =
            Workers::start((base, shuffled(base, turn)), (other, shuffled(other, turn)), None)?;
        let prepared = workers.prepare(self.benchmark, twin)?;
        let rounds = workers.rounds(prepared.size, PAIRS, rng)?;
        Ok(pairs(&rounds, Earlier::Base))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::scripted::Scripted;
    use std::cell::Cell;

    fn benchmark() -> Benchmark {
        Benchmark { name: "a".into(), isa: "portable".into(), threads: 1 }
    }

    fn program(role: &'static str, longer: fn(usize) -> f64) -> Box<Scripted> {
        let mut program = Scripted::new(role, &["a"], |_, _| 1e-3);
        program.orders = (0, longer);
        Box::new(program)
    }

    fn run(commits: usize, program: &dyn Fn(usize) -> Result<Made>) -> Finding {
        let benchmark = benchmark();
        Bisection { benchmark: &benchmark, margins: &Margins::default(), commits, program, seed: 5 }
            .run()
            .unwrap()
    }

    /// Revisions that were built, besides the ends.
    fn built(finding: &Finding) -> usize {
        finding.seen.iter().filter(|seen| **seen != Seen::Nothing).count() - 2
    }

    #[test]
    fn the_commit_is_found() {
        for (guilty, longer) in [(0, true), (9, true), (31, true), (20, false)] {
            let finding = run(32, &|revision| {
                Ok(Ok(match (revision > guilty, longer) {
                    (false, _) => program("x", |_| 1.0),
                    (true, true) => program("x", |_| 1.1),
                    (true, false) => program("x", |_| 0.9),
                }))
            });
            assert_eq!(finding.outcome, Outcome::Found);
            let found = finding.suspects.as_ref().unwrap();
            assert_eq!((found.first, found.last), (guilty, guilty));
            assert!(found.confidence > 0.99 && finding.error == 1.0 / 18.0);
            assert_eq!(built(&finding), 5);
            assert_eq!(finding.margin, 0.02);
            assert_eq!(finding.seen[0], Seen::Timed(vec![0.0; 64]));
            let change = if longer { 0.1 } else { -0.1 };
            assert!((finding.change.median - change).abs() < 1e-12);
        }
    }

    /// Every fourth sweep of a revision says the opposite.
    #[test]
    fn it_is_found_among_wrong_answers() {
        let calls = Cell::new(0);
        let finding = run(32, &|revision| {
            calls.set(calls.get() + 1);
            let lies = calls.get() > 2 && calls.get() % 4 == 0;
            let slow = (revision > 12) != lies;
            Ok(Ok(if slow { program("x", |_| 1.1) } else { program("x", |_| 1.0) }))
        });
        let found = finding.suspects.as_ref().unwrap();
        assert_eq!((finding.outcome, found.first, found.last), (Outcome::Found, 12, 12));
        assert!(built(&finding) <= 7, "{:?}", finding.seen);
    }

    #[test]
    fn what_cannot_be_timed_is_left_out() {
        let finding = run(8, &|revision| {
            Ok(match revision {
                3 | 4 => Err("it does not build".into()),
                // Its worker does not know the benchmark.
                5 => Ok(Box::new(Scripted::new("revision", &[], |_, _| 1e-3))),
                _ => Ok(if revision > 3 { program("x", |_| 1.1) } else { program("x", |_| 1.0) }),
            })
        });
        let found = finding.suspects.as_ref().unwrap();
        assert_eq!((finding.outcome, found.first, found.last), (Outcome::Found, 2, 5));
        assert_eq!(finding.seen[4], Seen::Fault("it does not build".into()));
        let Seen::Fault(fault) = &finding.seen[5] else { panic!("{:?}", finding.seen[5]) };
        assert!(
            fault.contains("a on 1 thread of portable") && fault.contains("no such"),
            "{fault}"
        );
    }

    #[test]
    fn where_nothing_has_changed_nothing_is_built() {
        let finding = run(8, &|_| Ok(Ok(program("x", |_| 1.0))));
        assert_eq!((finding.outcome, built(&finding)), (Outcome::Unchanged, 0));
        assert!(finding.suspects.is_none());
        // What is not beyond the margin that was given is no change either.
        let (benchmark, margins) =
            (benchmark(), Margins { given: vec!["a=20".parse().unwrap()], ..Margins::default() });
        let program: &dyn Fn(usize) -> Result<Made> =
            &|revision| Ok(Ok(program("x", if revision > 3 { |_| 1.1 } else { |_| 1.0 })));
        let wide =
            Bisection { benchmark: &benchmark, margins: &margins, commits: 8, program, seed: 1 };
        let finding = wide.run().unwrap();
        assert_eq!((finding.outcome, finding.margin), (Outcome::Unchanged, 0.2));
    }

    #[test]
    fn ends_that_cannot_be_timed_are_errors() {
        for end in [0, 4] {
            let benchmark = benchmark();
            let program: &dyn Fn(usize) -> Result<Made> = &|revision| {
                Ok(if revision == end { Err("broken".into()) } else { Ok(program("x", |_| 1.0)) })
            };
            let margins = &Margins::default();
            let bisection =
                Bisection { benchmark: &benchmark, margins, commits: 4, program, seed: 1 };
            assert!(matches!(bisection.run(), Err(Error::Failed(fault)) if fault == "broken"));
        }
    }

    /// In half of the sweeps five of eight pairs do not show the change: it is there, but answers are often wrong.
    #[test]
    fn a_noisy_machine_is_not_searched_on() {
        let finding = run(8, &|revision| {
            Ok(Ok(match revision {
                0 => program("base", |_| 1.0),
                _ => Box::new(Scripted::new("head", &["a"], |_, n| match (n / 8, n % 8) {
                    (..4, ..5) => 1e-3,
                    _ => 1.1e-3,
                })),
            }))
        });
        assert_eq!((finding.error, finding.change.median.signum()), (5.0 / 18.0, 1.0));
        assert_eq!((finding.outcome, built(&finding)), (Outcome::TooNoisy, 0));
    }

    #[test]
    fn outcomes_are_exit_codes() {
        for (outcome, code) in
            [(Outcome::Found, 0), (Outcome::Unchanged, 1), (Outcome::TooNoisy, 4)]
        {
            assert_eq!(format!("{:?}", outcome.exit_code()), format!("{:?}", ExitCode::from(code)));
        }
    }
}
