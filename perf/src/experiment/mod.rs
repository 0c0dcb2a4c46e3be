//! What a check finds, and what it wrongly finds: the program against itself, with a slowdown of a
//! known size in one benchmark, or with nothing.
//!
//! - [`decay`]: with a slowdown that grows step by step
//! - [`why`]: with a slowdown of one kernel, whose phase is to be named; [`planted`]: how it is slowed down
//! - [`unused`]: with functions that nothing calls
//! - [`who`]: a project with a slowdown in one of its commits

mod decay;
#[cfg_attr(not(test), expect(dead_code, reason = "a program that is made of other sources has it"))]
mod planted;
mod unused;
mod who;
mod why;

use crate::check::judge::{Check, any_seed};
use crate::check::margin::Margins;
use crate::check::report::Outcome;
use crate::check::verdict::Verdict;
use crate::program::{Program, Slowdown, data};
use crate::suite::{QUICK, Selection, sentinels};
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::env;
use std::fmt;
use std::hint::black_box;
use std::process::{Child, Command as Process, ExitCode};
use std::thread;
use std::time::{Duration, Instant};
use threadcount::cli::DataFlag;
use threadcount::{Error, Result, console};
use threadcount_kernels::machine::machine;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Slow some benchmarks of the quick suite down, and see whether they are found: by 5 % and, with a margin of 1 %,
    /// by 2 % on one thread, by 10 % on all
    Power(PowerArgs),
    /// Compare the program with itself, round by round, and count what is found
    FalseAlarms(FalseAlarmsArgs),
    /// Slow a benchmark down step by step, and see at which step the anchor raises an alarm
    Decay(decay::Args),
    /// Slow kernels of training steps down, one by one, and see whether a check names the phase that they are in
    Why(why::Args),
    /// Hide a slowdown in one of 32 commits of a small project, again and again, and see whether `bisect` finds it
    Who(who::Args),
}

/// Benchmarks that are slowed down in one check; six or seven are not.
const SLOWED: usize = 5;

/// The share of checks that may find this machine too noisy to judge, beside a load or without.
const MOST_NOISY: f64 = 0.05;

/// Never slowed down: 20 of its steps, of which one is repeated, take 0.2 s, and their checks minutes.
const TOO_LONG: &str = "step comp475-cnn";

#[derive(clap::Args)]
pub struct PowerArgs {
    /// Slowdowns of each size, five in a check
    #[arg(long, default_value_t = 20)]
    slowdowns: usize,
    #[command(flatten)]
    data: DataFlag,
}

#[derive(clap::Args)]
pub struct FalseAlarmsArgs {
    /// Checks of the quick suite
    #[arg(long, default_value_t = 60)]
    rounds: usize,
    /// Meanwhile another process loads half of the cores in bursts
    #[arg(long)]
    load: bool,
    /// The second of the two programs also has functions that nothing calls
    #[arg(long)]
    unused: bool,
    #[command(flatten)]
    data: DataFlag,
}

#[derive(clap::Args)]
pub struct LoadArgs {
    /// Threads that compute
    threads: usize,
}

pub fn run(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Power(args) => power(args),
        Command::FalseAlarms(args) => false_alarms(args),
        Command::Decay(args) => decay::run(args),
        Command::Why(args) => why::run(args),
        Command::Who(args) => who::run(args),
    }
}

/// How many of what was hidden have been found.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    found: usize,
    of: usize,
}

impl Tally {
    fn add(&mut self, is_found: bool) {
        self.found += usize::from(is_found);
        self.of += 1;
    }

    /// Success if it is at least this share.
    fn exit_code(self, least: f64) -> ExitCode {
        let is_enough = self.found as f64 >= least * self.of as f64;
        if is_enough { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.found, self.of)
    }
}

/// The benchmarks that can be slowed down.
fn candidates() -> Vec<&'static str> {
    QUICK.into_iter().filter(|name| *name != TOO_LONG).collect()
}

/// Slowdowns of one size.
struct Power {
    threads: usize,
    /// The share of the runs that is repeated.
    share: f64,
    /// A margin in place of the usual.
    margin: Option<&'static str>,
    /// The share of the slowdowns that is to be found at least.
    least: f64,
}

fn power(args: &PowerArgs) -> Result<ExitCode> {
    let all = machine().physical_cores;
    let candidates = candidates();
    let quick = Selection { quick: true, ..Selection::default() };
    let data = data(&args.data, &quick.benchmarks()?)?;
    let mut is_enough = true;
    for Power { threads, share, margin, least } in [
        Power { threads: 1, share: 0.05, margin: None, least: 1.0 },
        // Within the usual margin.
        Power { threads: 1, share: 0.02, margin: Some("*=1"), least: 0.9 },
        Power { threads: all, share: 0.10, margin: None, least: 0.95 },
    ] {
        let given = margin.map(str::parse).transpose()?.into_iter().collect();
        let margins = Margins { given, ..Margins::default() };
        let (mut slowed, mut found, mut elsewhere, mut noisy) = (0, 0, 0, 0);
        let selection = Selection { quick: true, threads: vec![threads], ..Selection::default() };
        let benchmarks = selection.benchmarks()?;
        while slowed < args.slowdowns && noisy <= args.slowdowns {
            let seed = any_seed();
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let count = SLOWED.min(args.slowdowns - slowed);
            let mut mixed = candidates.clone();
            let (picked, _) = mixed.partial_shuffle(&mut rng, count);
            let names: Vec<String> = picked.iter().map(|name| (*name).to_owned()).collect();
            let slowdown = Some(Slowdown { names: names.clone(), share });
            let head = Program { slowdown, ..Program::this("head", data.clone())? };
            let report = Check {
                base: &Program::this("base", data.clone())?,
                head: &head,
                anchor: None,
                benchmarks: &benchmarks,
                sentinels: &sentinels(&selection.conditions()?),
                selection: &selection,
                may_go: &[],
                margins: &margins,
                seed,
            }
            .run()?;
            if report.is_too_noisy() {
                // No verdict: a person would try again.
                noisy += 1;
                console::print("too noisy to judge; again\n")?;
                continue;
            }
            slowed += count;
            for row in &report.rows {
                let is_slowed = names.contains(&row.benchmark.name);
                let regressed = row.since_base.verdict == Verdict::Regressed;
                found += usize::from(is_slowed && regressed);
                elsewhere += usize::from(!is_slowed && regressed);
                if is_slowed || regressed {
                    let (by, change) =
                        (if is_slowed { share } else { 0.0 }, row.since_base.change.median);
                    console::print(&format!(
                        "{}, slowed by {:.0} %: {} ({:+.1} %)\n",
                        row.benchmark,
                        100.0 * by,
                        row.since_base.verdict,
                        100.0 * change
                    ))?;
                }
            }
        }
        console::print(&format!(
            "{found} of {slowed} slowdowns of {:.0} % found, threads: {threads}; {elsewhere} others wrongly \
             accused; {noisy} checks were too noisy to judge and made again\n",
            100.0 * share
        ))?;
        is_enough &= found as f64 >= least * slowed as f64 && elsewhere == 0;
    }
    Ok(if is_enough { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn false_alarms(args: &FalseAlarmsArgs) -> Result<ExitCode> {
    let selection = Selection { quick: true, ..Selection::default() };
    let benchmarks = selection.benchmarks()?;
    let data = data(&args.data, &benchmarks)?;
    let (base, head) = match args.unused {
        true => unused::programs(data)?,
        false => (Program::this("base", data.clone())?, Program::this("head", data)?),
    };
    let _load = if args.load { Some(Load::start()?) } else { None };
    let (mut alarms, mut noisy, mut inconclusive, mut rows) = (0, 0, 0, 0);
    let began = Instant::now();
    for round in 0..args.rounds {
        let check = Check {
            base: &base,
            head: &head,
            anchor: None,
            benchmarks: &benchmarks,
            sentinels: &sentinels(&selection.conditions()?),
            selection: &selection,
            may_go: &[],
            margins: &Margins::default(),
            seed: any_seed(),
        };
        let start = Instant::now();
        let report = check.run()?;
        let outcome = report.outcome();
        alarms += usize::from(outcome == Outcome::Regressed);
        noisy += usize::from(outcome == Outcome::TooNoisy);
        let count =
            |verdict| report.rows.iter().filter(|row| row.since_base.verdict == verdict).count();
        inconclusive += count(Verdict::Inconclusive);
        rows += report.rows.len();
        console::print(&format!(
            "{:>2}  {outcome:?} in {:.0} s: {} improved, {} inconclusive of {}\n",
            round + 1,
            start.elapsed().as_secs_f64(),
            count(Verdict::Improved),
            count(Verdict::Inconclusive),
            report.rows.len()
        ))?;
        if report.is_too_noisy() {
            console::print(&report.noise_text())?;
        }
        for row in report.rows.iter().filter(|row| row.since_base.verdict == Verdict::Regressed) {
            console::print(&format!("    {}\n", row.benchmark))?;
        }
    }
    console::print(&format!(
        "{alarms} of {} checks of a program with itself failed, {noisy} were too noisy to judge; of \
         {rows} verdicts {inconclusive} were inconclusive; {:.0} s a check\n",
        args.rounds,
        began.elapsed().as_secs_f64() / args.rounds.max(1) as f64
    ))?;
    let is_enough = alarms == 0 && noisy as f64 <= MOST_NOISY * args.rounds as f64;
    Ok(if is_enough { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Another process that computes in bursts, until this is dropped.
struct Load(Child);

impl Load {
    fn start() -> Result<Self> {
        let path = env::current_exe().map_err(Error::io("this program"))?;
        let threads = (machine().physical_cores / 2).max(1);
        let mut command = Process::new(&path);
        let child = command.arg("load").arg(threads.to_string()).spawn();
        child.map(Self).map_err(Error::io(path))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Computes on so many threads for a while, then sleeps for a while, of random lengths up to a second,
/// without an end.
pub fn load(args: &LoadArgs) {
    let threads: Vec<_> = (0..args.threads)
        .map(|index| {
            thread::spawn(move || {
                let mut rng = ChaCha8Rng::seed_from_u64(any_seed() + index as u64);
                loop {
                    let mut pause = || Duration::from_millis(rng.random_range(20..1_000));
                    let (busy, idle) = (pause(), pause());
                    let start = Instant::now();
                    let mut sum = 0.0_f64;
                    while start.elapsed() < busy {
                        (0..10_000).for_each(|i| sum = black_box(sum + f64::from(i)));
                    }
                    thread::sleep(idle);
                }
            })
        })
        .collect();
    for thread in threads {
        // None of them ends.
        let _ = thread.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_of_ten_are_nine_tenths() {
        let mut tally = Tally::default();
        (0..10).for_each(|turn| tally.add(turn != 3));
        assert_eq!(tally.to_string(), "9 of 10");
        // Exit codes cannot be compared.
        let code = |least| format!("{:?}", tally.exit_code(least));
        assert_eq!(code(0.9), format!("{:?}", ExitCode::SUCCESS));
        assert_eq!(code(0.95), format!("{:?}", ExitCode::FAILURE));
    }
}
