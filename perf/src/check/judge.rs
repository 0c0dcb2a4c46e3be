//! Base against head: the noise of the day first, then a pass over the suite, then the suspects again.

use super::report::{Report, Row, too_noisy};
use super::verdict::{Again, Margin, Sweep, Verdict, confirm, log_ratios};
use crate::program::{Pair, Side, Workers, shuffled};
use crate::protocol::{Benchmark, Twin};
use crate::suite::{SENTINELS, Selection};
use glob::Pattern;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::time::UNIX_EPOCH;
use threadcount::Result;
use threadcount::cli::Steps;

/// Pairs of a benchmark that are taken in one go. Then the other benchmarks follow, and later this one is
/// continued in fresh processes: a core that is away for half a second, or a process whose memory lies
/// badly, spoils a part of its pairs and not all. (With 15 pairs in one go a quarter of all slowdowns of
/// 10 % on two threads were missed.)
pub const PAIRS: usize = 8;

/// The most sweeps over what is still unclear.
const MOST_SWEEPS: usize = 4;

/// Sweeps over suspects: four times as many pairs as in the two that a suspect had at least.
const SWEEPS_AGAIN: usize = 8;

/// Measurements of the noise before the machine counts as too noisy: bursts pass.
const NOISE_ATTEMPTS: usize = 3;

/// What is compared, and how.
pub struct Check<'a> {
    /// The program before the change.
    pub base: &'a dyn Side,
    /// The program after the change.
    pub head: &'a dyn Side,
    /// What is timed, of what both have.
    pub benchmarks: &'a [Benchmark],
    /// Where these come from: what only one of them has is named if it is meant.
    pub selection: &'a Selection,
    /// Globs of benchmarks that may have gone.
    pub may_go: &'a [Pattern],
    /// Margins other than the usual.
    pub margins: &'a [Margin],
    /// The seed of the random order within pairs.
    pub seed: u64,
}

/// What was measured of one benchmark.
struct Series<'a> {
    benchmark: &'a Benchmark,
    /// The pairs of each sweep, with the orders of functions that base and head were linked in.
    sweeps: Vec<([usize; 2], Vec<Pair>)>,
}

impl<'a> Series<'a> {
    fn new(benchmark: &'a Benchmark) -> Self {
        Self { benchmark, sweeps: Vec::new() }
    }

    fn row(&self, margins: &[Margin]) -> Row {
        let pairs: Vec<Pair> = self.sweeps.iter().flat_map(|(_, pairs)| pairs.clone()).collect();
        Row::new(self.benchmark, &pairs, margins)
    }
}

/// The programs of a sweep, each with its functions in one order.
#[derive(Clone, Copy)]
struct Programs<'a> {
    base: &'a dyn Side,
    head: &'a dyn Side,
    orders: [usize; 2],
}

impl Check<'_> {
    /// Measures and judges.
    ///
    /// # Errors
    /// [`threadcount::Error::Failed`] if a worker dies, or a kernel differs from its twin.
    pub fn run(&self) -> Result<Report> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let names = self.base.start(0)?.names;
        let in_head = self.head.start(0)?.names;
        let (known, new): (Vec<&Benchmark>, Vec<&Benchmark>) = self
            .benchmarks
            .iter()
            .filter(|benchmark| in_head.contains(&benchmark.name))
            .partition(|benchmark| names.contains(&benchmark.name));
        let lost: Vec<String> =
            names.iter().filter(|name| !in_head.contains(name)).cloned().collect();
        let (gone, gone_as_meant) = self
            .selection
            .among(&lost)?
            .into_iter()
            .partition(|lost| !self.may_go.iter().any(|glob| glob.matches(&lost.name)));
        let mut report = Report {
            new: new.into_iter().cloned().collect(),
            gone,
            gone_as_meant,
            noise: self.noise(&names, &mut rng)?,
            ..Report::default()
        };
        if report.is_too_noisy() {
            return Ok(report);
        }
        report.rows = self.first_pass(self.head, known, "", &mut rng)?;
        self.confirm(&mut report.rows, &mut rng)?;
        Ok(report)
    }

    /// Measures all benchmarks; those that are still unclear with more pairs.
    fn first_pass<'a>(
        &self,
        head: &dyn Side,
        benchmarks: impl IntoIterator<Item = &'a Benchmark>,
        what: &str,
        rng: &mut ChaCha8Rng,
    ) -> Result<Vec<Row>> {
        let row = |series: &Series| series.row(self.margins);
        let programs = Programs { base: self.base, head, orders: [0, 0] };
        let mut all: Vec<Series> = benchmarks.into_iter().map(Series::new).collect();
        for pass in 0..MOST_SWEEPS {
            let is_due = |series: &&mut Series| match pass {
                0 => true,
                // All eight pairs within the margins are enough: if the median were on a margin, that
                // would happen once in 256 times.
                1 => row(series).could_be_a_change(),
                _ => row(series).verdict == Verdict::Inconclusive,
            };
            let mut due: Vec<&mut Series> = all.iter_mut().filter(is_due).collect();
            let twin = if pass == 0 { Twin::Compared } else { Twin::Trusted };
            sweep(programs, &mut due, twin, what, rng)?;
        }
        Ok(all.iter().map(row).collect())
    }

    /// Measures suspects again, with the functions of both programs in several orders, and writes the results to
    /// their rows. A change that the first pass only
    /// leaned to is a suspect too, and counts if two further passes find it.
    fn confirm(&self, rows: &mut [Row], rng: &mut ChaCha8Rng) -> Result<()> {
        let tests = rows.len();
        let mut suspects: Vec<&mut Row> = rows.iter_mut().filter(|row| row.is_suspect()).collect();
        while !suspects.is_empty() {
            let benchmarks: Vec<Benchmark> =
                suspects.iter().map(|row| row.benchmark.clone()).collect();
            let mut all: Vec<Series> = benchmarks.iter().map(Series::new).collect();
            for turn in 0..SWEEPS_AGAIN {
                let mut due: Vec<&mut Series> = all.iter_mut().collect();
                sweep(self.shuffled(turn), &mut due, Twin::Trusted, "again: ", rng)?;
            }
            let measured: Vec<Again> =
                suspects.iter().zip(&all).map(|(row, series)| again(row, series)).collect();
            let judged = confirm(&measured, tests);
            let mut found_once = Vec::new();
            for ((row, series), (change, verdict)) in suspects.into_iter().zip(&all).zip(judged) {
                let leaned = row.verdict == Verdict::Inconclusive;
                *row = Row { change, verdict, margin: row.margin, ..series.row(self.margins) };
                if leaned && verdict.is_change() {
                    found_once.push(row);
                }
            }
            suspects = found_once;
        }
        Ok(())
    }

    /// The programs whose turn it is. With four orders of each, eight turns bring each of them twice, once with
    /// the same order of the other program and once with another.
    fn shuffled(&self, turn: usize) -> Programs<'_> {
        let Self { base, head, .. } = *self;
        let round = turn / base.orders().max(1);
        let orders = [shuffled(base, turn), shuffled(head, turn + round)];
        Programs { base, head, orders }
    }

    /// The base against itself, on the sentinels among these names: what this machine would take for a
    /// change today.
    fn noise(&self, names: &[String], rng: &mut ChaCha8Rng) -> Result<Vec<Row>> {
        let mut conditions: Vec<(&str, usize)> = Vec::new();
        for Benchmark { isa, threads, .. } in self.benchmarks {
            if !conditions.contains(&(isa, *threads)) {
                conditions.push((isa, *threads));
            }
        }
        let known = SENTINELS.into_iter().filter(|name| names.iter().any(|known| known == name));
        let sentinels: Vec<Benchmark> = known
            .flat_map(|name| {
                conditions.iter().map(move |&(isa, threads)| Benchmark {
                    name: name.into(),
                    isa: isa.into(),
                    threads,
                })
            })
            .collect();
        let mut noise = Vec::new();
        for _ in 0..NOISE_ATTEMPTS {
            noise = self.first_pass(self.base, &sentinels, "noise: ", rng)?;
            if !too_noisy(&noise) {
                break;
            }
        }
        Ok(noise)
    }
}

/// Some pairs of each, in processes of their own.
fn sweep(
    programs: Programs,
    series: &mut [&mut Series],
    twin: Twin,
    what: &str,
    rng: &mut ChaCha8Rng,
) -> Result<()> {
    if series.is_empty() {
        return Ok(());
    }
    let progress = Steps::new(series.len());
    let Programs { base, head, orders } = programs;
    let mut workers = Workers::start((base, orders[0]), (head, orders[1]))?;
    for Series { benchmark, sweeps } in series.iter_mut().map(|series| &mut **series) {
        progress.begin(&format!("{what}{benchmark}"));
        let size = workers.prepare(benchmark, twin)?;
        sweeps.push((orders, workers.pairs(size, PAIRS, rng)?));
    }
    Ok(())
}

/// What was measured again of a row.
fn again(row: &Row, series: &Series) -> Again {
    let sweep = |(orders, pairs): &([usize; 2], Vec<Pair>)| Sweep {
        orders: *orders,
        log_ratios: log_ratios(pairs),
    };
    let sweeps = series.sweeps.iter().map(sweep).collect();
    Again { suspected: row.verdict, sweeps, margin: row.margin }
}

/// A seed that nobody has chosen: the clock's.
pub fn any_seed() -> u64 {
    UNIX_EPOCH.elapsed().map_or(0, |time| time.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::scripted::Scripted;

    #[test]
    fn every_order_has_two_turns_beside_two_of_the_others() {
        let side = |role| {
            let mut side = Scripted::new(role, &[], |_, _| 1e-3);
            side.orders = (4, |_| 1.0);
            side
        };
        let (base, head, selection) = (side("base"), side("head"), Selection::default());
        let check = Check {
            base: &base,
            head: &head,
            benchmarks: &[],
            selection: &selection,
            may_go: &[],
            margins: &[],
            seed: 1,
        };
        let mut orders: Vec<[usize; 2]> =
            (0..SWEEPS_AGAIN).map(|turn| check.shuffled(turn).orders).collect();
        for side in [0, 1] {
            for order in 1..=4 {
                assert_eq!(orders.iter().filter(|orders| orders[side] == order).count(), 2);
            }
        }
        orders.sort_unstable();
        orders.dedup();
        assert_eq!(orders.len(), SWEEPS_AGAIN);
    }
}
