//! Base and anchor against head: the noise of the day first, then a pass over the suite, then the suspects again.

use super::margin::Margins;
use super::report::{Report, too_noisy};
use super::row::{Compared, Row};
use super::verdict::{Again, Sweep, Verdict, confirm, log_ratios};
use super::why::explain;
use crate::program::{Side, Worker, shuffled};
use crate::protocol::{Benchmark, Twin};
use crate::rounds::{Earlier, Round, Workers, pairs};
use crate::suite::Selection;
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

/// Of so many that have become slower it is asked why: each takes three seconds.
const EXPLAINED: usize = 8;

/// Measurements of the noise before the machine counts as too noisy: bursts pass.
const NOISE_ATTEMPTS: usize = 3;

/// What is compared, and how.
pub struct Check<'a> {
    /// The program before the change.
    pub base: &'a dyn Side,
    /// The program after the change.
    pub head: &'a dyn Side,
    /// The program that the repository has pinned, if it is another one: many small changes are seen beside it.
    pub anchor: Option<&'a dyn Side>,
    /// What is timed, of what both have.
    pub benchmarks: &'a [Benchmark],
    /// By which the noise of the day is measured, of what the base has.
    pub sentinels: &'a [Benchmark],
    /// Where these come from: what only one of them has is named if it is meant.
    pub selection: &'a Selection,
    /// Globs of benchmarks that may have gone.
    pub may_go: &'a [Pattern],
    /// Their margins.
    pub margins: &'a Margins,
    /// The seed of the random order within pairs.
    pub seed: u64,
}

/// What was measured of one benchmark.
struct Series<'a> {
    benchmark: &'a Benchmark,
    /// The rounds of each sweep, with the orders of functions that base, head and anchor were linked in.
    sweeps: Vec<([usize; 3], Vec<Round>)>,
}

impl<'a> Series<'a> {
    fn new(benchmark: &'a Benchmark) -> Self {
        Self { benchmark, sweeps: Vec::new() }
    }

    fn row(&self, margins: &Margins) -> Row {
        let rounds: Vec<Round> =
            self.sweeps.iter().flat_map(|(_, rounds)| rounds.clone()).collect();
        Row::new(self.benchmark, &rounds, margins)
    }

    /// What was measured again of a suspect.
    fn again(&self, suspect: &Compared) -> Again {
        let sweep = |([base, head, anchor], rounds): &([usize; 3], Vec<Round>)| Sweep {
            orders: match suspect.earlier {
                Earlier::Base => [*base, *head],
                Earlier::Anchor => [*anchor, *head],
            },
            log_ratios: log_ratios(&pairs(rounds, suspect.earlier)),
        };
        let sweeps = self.sweeps.iter().map(sweep).collect();
        Again { suspected: suspect.verdict, sweeps, margin: suspect.margin }
    }
}

/// A benchmark that has changed, it seems, since these earlier programs.
struct Suspect<'a> {
    row: &'a mut Row,
    since: Vec<Earlier>,
}

impl<'a> Suspect<'a> {
    fn of(row: &'a mut Row) -> Option<Self> {
        let suspects = row.compared().filter(|compared| compared.is_suspect());
        let since: Vec<Earlier> = suspects.map(|compared| compared.earlier).collect();
        (!since.is_empty()).then_some(Self { row, since })
    }

    fn compared(&self) -> impl Iterator<Item = &Compared> {
        self.since.iter().filter_map(move |&earlier| self.row.beside(earlier))
    }
}

/// The programs of a sweep, each with its functions in one order.
#[derive(Clone, Copy)]
struct Programs<'a> {
    base: &'a dyn Side,
    head: &'a dyn Side,
    anchor: Option<&'a dyn Side>,
    orders: [usize; 3],
}

impl Check<'_> {
    /// Measures and judges.
    ///
    /// # Errors
    /// [`threadcount::Error::Failed`] if a worker dies, or a kernel differs from its twin.
    pub fn run(&self) -> Result<Report> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let Worker { names, listed, .. } = self.base.start(0)?;
        let in_head = self.head.start(0)?.names;
        let (known, new): (Vec<&Benchmark>, Vec<&Benchmark>) = self
            .benchmarks
            .iter()
            .filter(|benchmark| in_head.contains(&benchmark.name))
            .partition(|benchmark| names.contains(&benchmark.name));
        let lost: Vec<String> =
            names.iter().filter(|name| !in_head.contains(name)).cloned().collect();
        let lost: Vec<Benchmark> = match listed {
            None => self.selection.among(&lost)?,
            Some(listed) => {
                let meant = self.selection.meant_of(&listed)?.into_iter();
                meant.filter(|one| lost.contains(&one.name)).collect()
            }
        };
        let (gone, gone_as_meant) = lost
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
        let programs =
            Programs { base: self.base, head: self.head, anchor: self.anchor, orders: [0; 3] };
        report.rows = self.first_pass(programs, known, "", &mut rng)?;
        self.confirm(&mut report.rows, &mut rng)?;
        self.explain(&mut report.rows, &mut rng)?;
        Ok(report)
    }

    /// Measures all benchmarks; those that are still unclear with more pairs.
    fn first_pass<'a>(
        &self,
        programs: Programs,
        benchmarks: impl IntoIterator<Item = &'a Benchmark>,
        what: &str,
        rng: &mut ChaCha8Rng,
    ) -> Result<Vec<Row>> {
        let row = |series: &Series| series.row(self.margins);
        let mut all: Vec<Series> = benchmarks.into_iter().map(Series::new).collect();
        for pass in 0..MOST_SWEEPS {
            let is_due = |series: &&mut Series| {
                pass == 0 || row(series).compared().any(|compared| compared.is_unclear(pass))
            };
            let mut due: Vec<&mut Series> = all.iter_mut().filter(is_due).collect();
            let twin = if pass == 0 { Twin::Compared } else { Twin::Trusted };
            sweep(programs, &mut due, twin, what, rng)?;
        }
        Ok(all.iter().map(row).collect())
    }

    /// Measures suspects again, with the functions of all programs in several orders, and writes the results to
    /// their rows. A change that the first pass only leaned to is a suspect too, and counts if two further passes
    /// find it. All comparisons of the suite are corrected together, with the base and with the anchor.
    fn confirm(&self, rows: &mut [Row], rng: &mut ChaCha8Rng) -> Result<()> {
        let tests: usize = rows.iter().map(|row| row.compared().count()).sum();
        let mut suspects: Vec<Suspect> = rows.iter_mut().filter_map(Suspect::of).collect();
        while !suspects.is_empty() {
            let benchmarks: Vec<Benchmark> =
                suspects.iter().map(|suspect| suspect.row.benchmark.clone()).collect();
            let mut all: Vec<Series> = benchmarks.iter().map(Series::new).collect();
            for turn in 0..SWEEPS_AGAIN {
                let mut due: Vec<&mut Series> = all.iter_mut().collect();
                sweep(self.shuffled(turn), &mut due, Twin::Trusted, "again: ", rng)?;
            }
            let measured: Vec<Again> = suspects
                .iter()
                .zip(&all)
                .flat_map(|(suspect, series)| suspect.compared().map(move |one| series.again(one)))
                .collect();
            let mut judged = confirm(&measured, tests).into_iter();
            let mut found_once = Vec::new();
            for (Suspect { row, since }, series) in suspects.into_iter().zip(&all) {
                let new = series.row(self.margins);
                let mut once = Vec::new();
                for (earlier, (change, verdict)) in since.into_iter().zip(&mut judged) {
                    let (Some(old), Some(new)) = (row.beside(earlier), new.beside(earlier)) else {
                        continue;
                    };
                    if old.verdict == Verdict::Inconclusive && verdict.is_change() {
                        once.push(earlier);
                    }
                    let margin = old.margin;
                    row.replace(Compared { change, verdict, margin, ..new.clone() });
                }
                if !once.is_empty() {
                    found_once.push(Suspect { row, since: once });
                }
            }
            suspects = found_once;
        }
        Ok(())
    }

    /// Asks why, of what has become slower; of the worst, if there are many.
    fn explain(&self, rows: &mut [Row], rng: &mut ChaCha8Rng) -> Result<()> {
        let slower = |row: &Row| row.regressed().map_or(0.0, |compared| compared.change.median);
        let mut worst: Vec<&mut Row> = rows.iter_mut().filter(|row| slower(row) > 0.0).collect();
        worst.sort_by(|a, b| slower(b).total_cmp(&slower(a)));
        worst.truncate(EXPLAINED);
        let progress = Steps::new(worst.len());
        for row in worst {
            progress.begin(&format!("why: {}", row.benchmark));
            let earlier = row.regressed().map(|compared| compared.earlier);
            let earlier = match (earlier, self.anchor) {
                (Some(Earlier::Anchor), Some(anchor)) => anchor,
                _ => self.base,
            };
            row.why = explain(&row.benchmark, earlier, self.head, rng)?;
        }
        Ok(())
    }

    /// The programs whose turn it is. With four orders of each, eight turns bring each of them twice, once with
    /// the same order of another program and once with another.
    fn shuffled(&self, turn: usize) -> Programs<'_> {
        let Self { base, head, anchor, .. } = *self;
        let round = turn / base.orders().max(1);
        let orders = [
            shuffled(base, turn),
            shuffled(head, turn + round),
            anchor.map_or(0, |anchor| shuffled(anchor, turn + 2 * round)),
        ];
        Programs { base, head, anchor, orders }
    }

    /// The base against itself, on the sentinels among these names: what this machine would take for a
    /// change today.
    fn noise(&self, names: &[String], rng: &mut ChaCha8Rng) -> Result<Vec<Row>> {
        let known = |one: &&Benchmark| names.contains(&one.name);
        let sentinels: Vec<&Benchmark> = self.sentinels.iter().filter(known).collect();
        let itself = Programs { base: self.base, head: self.base, anchor: None, orders: [0; 3] };
        let mut noise = Vec::new();
        for _ in 0..NOISE_ATTEMPTS {
            noise = self.first_pass(itself, sentinels.iter().copied(), "noise: ", rng)?;
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
    let Programs { base, head, anchor, orders } = programs;
    let anchor = anchor.map(|anchor| (anchor, orders[2]));
    let mut workers = Workers::start((base, orders[0]), (head, orders[1]), anchor)?;
    for Series { benchmark, sweeps } in series.iter_mut().map(|series| &mut **series) {
        progress.begin(&format!("{what}{benchmark}"));
        let prepared = workers.prepare(benchmark, twin)?;
        sweeps.push((orders, workers.rounds(prepared.size, PAIRS, rng)?));
    }
    Ok(())
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
        let (base, head, anchor) = (side("base"), side("head"), side("anchor"));
        let (selection, margins) = (Selection::default(), Margins::default());
        let check = Check {
            base: &base,
            head: &head,
            anchor: Some(&anchor),
            benchmarks: &[],
            sentinels: &[],
            selection: &selection,
            may_go: &[],
            margins: &margins,
            seed: 1,
        };
        let orders: Vec<[usize; 3]> =
            (0..SWEEPS_AGAIN).map(|turn| check.shuffled(turn).orders).collect();
        for side in [0, 1, 2] {
            for order in 1..=4 {
                assert_eq!(orders.iter().filter(|orders| orders[side] == order).count(), 2);
            }
        }
        for earlier in [0, 2] {
            let mut beside: Vec<[usize; 2]> =
                orders.iter().map(|orders| [orders[earlier], orders[1]]).collect();
            beside.sort_unstable();
            beside.dedup();
            assert_eq!(beside.len(), SWEEPS_AGAIN);
        }
    }
}
