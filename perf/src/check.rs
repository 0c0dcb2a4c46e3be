//! Base against head: the noise of the day first, then a pass over the suite, then the suspects again.

use crate::program::{Pair, Program, Workers};
use crate::protocol::Benchmark;
use crate::report::{Progress, Report, Row};
use crate::statistics::Interval;
use crate::suite::SENTINELS;
use crate::verdict::{Change, ERROR, Margin, Verdict, confirm, log_ratios, margin};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::time::UNIX_EPOCH;
use threadcount::Result;

/// Pairs of the first pass: at 99 % the interval leaves out two values at each end.
const PAIRS: usize = 15;

/// So many times that, where the interval is still wider than the margin.
const MOST_ROUNDS: usize = 3;

/// Fresh pairs of processes that a suspect is measured with again, so many pairs in each: four times as
/// many as before. Where a process has its memory can make it several per cent slower than another of
/// the same program, so its pairs are no more than a part of all.
const AGAIN: (usize, usize) = (8, 8);

/// Measurements of the noise before the machine counts as too noisy: bursts pass.
const NOISE_ATTEMPTS: usize = 3;

/// What is compared, and how.
pub struct Check<'a> {
    /// The program that was.
    pub base: &'a Program,
    /// The program that is.
    pub head: &'a Program,
    /// What is timed.
    pub benchmarks: &'a [Benchmark],
    /// Margins other than the usual.
    pub margins: &'a [Margin],
    /// Of the order within pairs.
    pub seed: u64,
}

/// The base against itself.
#[derive(Clone, Debug)]
pub struct Noise {
    /// The sentinel.
    pub benchmark: Benchmark,
    /// What would be taken for a change.
    pub change: Change,
    /// The margin that it is held against.
    pub margin: f64,
}

impl Noise {
    /// Whether nothing could be judged with that: changes beyond the margin cannot be told from none.
    fn is_too_much(&self) -> bool {
        let Interval { low, high } = self.change.interval;
        low < -self.margin || high > self.margin
    }
}

impl Check<'_> {
    /// Measures and judges.
    ///
    /// # Errors
    /// [`threadcount::Error::Failed`] if a worker dies, or a kernel differs from its twin.
    pub fn run(&self, progress: &Progress) -> Result<Report> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut workers = Workers::start(self.base, self.head)?;
        let (known, new): (Vec<_>, Vec<_>) =
            self.benchmarks.iter().partition(|benchmark| workers.base.knows(benchmark));
        let mut report = Report {
            new: new.into_iter().cloned().collect(),
            noise: self.noise(progress, &mut rng)?,
            ..Report::default()
        };
        if report.is_too_noisy() {
            return Ok(report);
        }

        progress.begin("first pass", known.len());
        let mut rows = Vec::new();
        for benchmark in known {
            progress.at(benchmark);
            let margin = margin(benchmark, self.margins);
            let (pairs, change) = first_pass(&mut workers, benchmark, margin, &mut rng)?;
            rows.push(Row::new(benchmark, &pairs, change, change.verdict(margin), margin));
        }
        drop(workers);
        self.confirm(&mut rows, progress, &mut rng)?;
        report.rows = rows;
        Ok(report)
    }

    /// Measures suspects again, and puts what comes out in their rows. What the first pass only leaned to is
    /// a suspect too, and counts if two further passes find it.
    fn confirm(&self, rows: &mut [Row], progress: &Progress, rng: &mut ChaCha8Rng) -> Result<()> {
        let tests = rows.len();
        let mut suspects: Vec<&mut Row> = rows.iter_mut().filter(|row| row.is_suspect()).collect();
        while !suspects.is_empty() {
            let pairs = self.again(&suspects, progress, rng)?;
            let measured: Vec<_> = suspects
                .iter()
                .zip(&pairs)
                .map(|(row, pairs)| (row.verdict, log_ratios(pairs), row.margin))
                .collect();
            let judged = confirm(&measured, tests);
            let mut found_once = Vec::new();
            for ((row, pairs), (change, verdict)) in suspects.into_iter().zip(&pairs).zip(judged) {
                let leaned = row.verdict == Verdict::Inconclusive;
                *row = Row::new(&row.benchmark, pairs, change, verdict, row.margin);
                if leaned && verdict.is_change() {
                    found_once.push(row);
                }
            }
            suspects = found_once;
        }
        Ok(())
    }

    /// Pairs of suspects, in processes of their own.
    fn again(
        &self,
        suspects: &[&mut Row],
        progress: &Progress,
        rng: &mut ChaCha8Rng,
    ) -> Result<Vec<Vec<Pair>>> {
        let (processes, pairs_each) = AGAIN;
        let mut all: Vec<Vec<Pair>> = vec![Vec::new(); suspects.len()];
        progress.begin("suspects again", processes * suspects.len());
        for _ in 0..processes {
            let mut workers = Workers::start(self.base, self.head)?;
            for (row, pairs) in suspects.iter().zip(&mut all) {
                progress.at(&row.benchmark);
                let size = workers.prepare(&row.benchmark)?;
                pairs.extend(workers.pairs(size, pairs_each, rng)?);
            }
        }
        Ok(all)
    }

    /// The base against itself, on sentinels: what this machine would take for a change today.
    fn noise(&self, progress: &Progress, rng: &mut ChaCha8Rng) -> Result<Vec<Noise>> {
        let mut conditions: Vec<(String, usize)> = Vec::new();
        for Benchmark { isa, threads, .. } in self.benchmarks {
            if !conditions.contains(&(isa.clone(), *threads)) {
                conditions.push((isa.clone(), *threads));
            }
        }
        let sentinels: Vec<Benchmark> = conditions
            .iter()
            .flat_map(|(isa, threads)| {
                SENTINELS.map(|name| Benchmark {
                    name: name.into(),
                    isa: isa.clone(),
                    threads: *threads,
                })
            })
            .collect();
        let mut noise = Vec::new();
        for _ in 0..NOISE_ATTEMPTS {
            noise.clear();
            let base = Program { slowdown: None, ..self.base.clone() };
            let mut workers = Workers::start(&base, &base)?;
            progress.begin("noise of the day", sentinels.len());
            for sentinel in &sentinels {
                if !workers.base.knows(sentinel) {
                    continue;
                }
                progress.at(sentinel);
                let margin = margin(sentinel, self.margins);
                let (_, change) = first_pass(&mut workers, sentinel, margin, rng)?;
                noise.push(Noise { benchmark: sentinel.clone(), change, margin });
            }
            if !too_noisy(&noise) {
                break;
            }
        }
        Ok(noise)
    }
}

/// Pairs of a benchmark, more of them where it takes more to tell.
fn first_pass(
    workers: &mut Workers,
    benchmark: &Benchmark,
    margin: f64,
    rng: &mut ChaCha8Rng,
) -> Result<(Vec<Pair>, Change)> {
    let size = workers.prepare(benchmark)?;
    let mut pairs = Vec::new();
    loop {
        pairs.extend(workers.pairs(size, PAIRS, rng)?);
        let change = Change::of(&log_ratios(&pairs), ERROR);
        let is_clear = change.verdict(margin) != Verdict::Inconclusive;
        if is_clear || pairs.len() >= MOST_ROUNDS * PAIRS {
            return Ok((pairs, change));
        }
    }
}

/// Whether most of the sentinels of some number of threads are beyond their margins.
pub fn too_noisy(noise: &[Noise]) -> bool {
    noise.iter().any(|one| {
        let alike = |other: &&Noise| {
            (&other.benchmark.isa, other.benchmark.threads)
                == (&one.benchmark.isa, one.benchmark.threads)
        };
        let group: Vec<_> = noise.iter().filter(alike).collect();
        2 * group.iter().filter(|noise| noise.is_too_much()).count() > group.len()
    })
}

/// A seed that nobody has chosen: the clock's.
pub fn any_seed() -> u64 {
    UNIX_EPOCH.elapsed().map_or(0, |time| time.as_nanos() as u64)
}
