//! Base against head: the noise of the day first, then a pass over the suite, then the suspects again.

use crate::program::{Pair, Program, Workers};
use crate::protocol::{Benchmark, Twin};
use crate::report::{Report, Row, too_noisy};
use crate::suite::SENTINELS;
use crate::verdict::{Margin, Verdict, confirm, log_ratios};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::time::UNIX_EPOCH;
use threadcount::Result;
use threadcount::cli::Steps;

/// Pairs of a benchmark that are taken in one go. Then the other benchmarks follow, and later this one is
/// continued in fresh processes: a core that is away for half a second, or a process whose memory lies
/// badly, spoils a part of its pairs and not all. (With 15 pairs in one go a quarter of all slowdowns of
/// 10 % on two threads were missed.)
const PAIRS: usize = 8;

/// The most sweeps over what is still unclear.
const MOST_SWEEPS: usize = 4;

/// Sweeps over suspects: four times as many pairs as in the two that a suspect had at least.
const SWEEPS_AGAIN: usize = 8;

/// Measurements of the noise before the machine counts as too noisy: bursts pass.
const NOISE_ATTEMPTS: usize = 3;

/// What is compared, and how.
pub struct Check<'a> {
    /// The program before the change.
    pub base: &'a Program,
    /// The program after the change.
    pub head: &'a Program,
    /// What is timed.
    pub benchmarks: &'a [Benchmark],
    /// Margins other than the usual.
    pub margins: &'a [Margin],
    /// The seed of the random order within pairs.
    pub seed: u64,
}

/// The pairs of one benchmark.
struct Series<'a> {
    benchmark: &'a Benchmark,
    pairs: Vec<Pair>,
}

impl<'a> Series<'a> {
    fn new(benchmark: &'a Benchmark) -> Self {
        Self { benchmark, pairs: Vec::new() }
    }
}

impl Check<'_> {
    /// Measures and judges.
    ///
    /// # Errors
    /// [`threadcount::Error::Failed`] if a worker dies, or a kernel differs from its twin.
    pub fn run(&self) -> Result<Report> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let names = self.base.start()?.names.clone();
        let (known, new): (Vec<&Benchmark>, Vec<&Benchmark>) =
            self.benchmarks.iter().partition(|benchmark| names.contains(&benchmark.name));
        let mut report = Report {
            new: new.into_iter().cloned().collect(),
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
        head: &Program,
        benchmarks: impl IntoIterator<Item = &'a Benchmark>,
        what: &str,
        rng: &mut ChaCha8Rng,
    ) -> Result<Vec<Row>> {
        let row = |series: &Series| Row::new(series.benchmark, &series.pairs, self.margins);
        let mut all: Vec<Series> = benchmarks.into_iter().map(Series::new).collect();
        for sweep in 0..MOST_SWEEPS {
            let is_due = |series: &&mut Series| match sweep {
                0 => true,
                // All eight pairs within the margins are enough: if the median were on a margin, that
                // would happen once in 256 times.
                1 => row(series).could_be_a_change(),
                _ => row(series).verdict == Verdict::Inconclusive,
            };
            let mut due: Vec<&mut Series> = all.iter_mut().filter(is_due).collect();
            let twin = if sweep == 0 { Twin::Compared } else { Twin::Trusted };
            self.sweep(head, &mut due, twin, what, rng)?;
        }
        Ok(all.iter().map(row).collect())
    }

    /// Some pairs of each, in processes of their own.
    fn sweep(
        &self,
        head: &Program,
        series: &mut [&mut Series],
        twin: Twin,
        what: &str,
        rng: &mut ChaCha8Rng,
    ) -> Result<()> {
        if series.is_empty() {
            return Ok(());
        }
        let progress = Steps::new(series.len());
        let mut workers = Workers::start(self.base, head)?;
        for Series { benchmark, pairs, .. } in series.iter_mut().map(|series| &mut **series) {
            progress.begin(&format!("{what}{benchmark}"));
            let size = workers.prepare(benchmark, twin)?;
            pairs.extend(workers.pairs(size, PAIRS, rng)?);
        }
        Ok(())
    }

    /// Measures suspects again, and writes the results to their rows. A change that the first pass only
    /// leaned to is a suspect too, and counts if two further passes find it.
    fn confirm(&self, rows: &mut [Row], rng: &mut ChaCha8Rng) -> Result<()> {
        let tests = rows.len();
        let mut suspects: Vec<&mut Row> = rows.iter_mut().filter(|row| row.is_suspect()).collect();
        while !suspects.is_empty() {
            let benchmarks: Vec<Benchmark> =
                suspects.iter().map(|row| row.benchmark.clone()).collect();
            let mut all: Vec<Series> = benchmarks.iter().map(Series::new).collect();
            for _ in 0..SWEEPS_AGAIN {
                let mut due: Vec<&mut Series> = all.iter_mut().collect();
                self.sweep(self.head, &mut due, Twin::Trusted, "again: ", rng)?;
            }
            let measured: Vec<_> = suspects
                .iter()
                .zip(&all)
                .map(|(row, series)| (row.verdict, log_ratios(&series.pairs), row.margin))
                .collect();
            let judged = confirm(&measured, tests);
            let mut found_once = Vec::new();
            for ((row, series), (change, verdict)) in suspects.into_iter().zip(&all).zip(judged) {
                let leaned = row.verdict == Verdict::Inconclusive;
                let again = Row::new(series.benchmark, &series.pairs, self.margins);
                *row = Row { change, verdict, margin: row.margin, ..again };
                if leaned && verdict.is_change() {
                    found_once.push(row);
                }
            }
            suspects = found_once;
        }
        Ok(())
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

/// A seed that nobody has chosen: the clock's.
pub fn any_seed() -> u64 {
    UNIX_EPOCH.elapsed().map_or(0, |time| time.as_nanos() as u64)
}
