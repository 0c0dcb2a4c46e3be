//! What a check finds, and what it wrongly finds: the program against itself, with a slowdown of a
//! known size in one benchmark, or with nothing.

use crate::DataFlag;
use crate::check::{Check, any_seed};
use crate::program::{Program, Slowdown};
use crate::report::{Outcome, Progress};
use crate::suite::{QUICK, Selection};
use crate::verdict::Verdict;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::env;
use std::hint::black_box;
use std::process::{Child, Command as Process, ExitCode};
use std::thread;
use std::time::{Duration, Instant};
use threadcount::{Error, Result, console};
use threadcount_kernels::machine::machine;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Slow one benchmark of the quick suite down in each round, and see whether it is found: by 5 % on
    /// one thread, by 10 % on all
    Power(PowerArgs),
    /// Compare the program with itself, round by round, and count what is found
    FalseAlarms(FalseAlarmsArgs),
}

/// Never slowed down: 20 of its steps, of which one is repeated, take 0.2 s, and their checks minutes.
const TOO_LONG: &str = "step comp475-cnn";

#[derive(clap::Args)]
pub struct PowerArgs {
    /// Slowdowns of each size
    #[arg(long, default_value_t = 20)]
    rounds: usize,
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
    }
}

/// This program.
fn program(role: &'static str, data: &DataFlag) -> Result<Program> {
    let path = env::current_exe().map_err(Error::io("this program"))?;
    Ok(Program { role, path, data: data.data.clone(), slowdown: None })
}

fn power(args: &PowerArgs) -> Result<ExitCode> {
    let all = machine().physical_cores;
    let candidates: Vec<&str> = QUICK.into_iter().filter(|name| *name != TOO_LONG).collect();
    // Found at least, of 20: what one sleeps well with.
    let mut is_enough = true;
    for (threads, share, least) in [(1, 0.05, 0.95), (all, 0.10, 0.90)] {
        let (mut found, mut elsewhere) = (0, 0);
        let (mut round, mut noisy) = (0, 0);
        while round < args.rounds && noisy <= args.rounds {
            let mut rng = ChaCha8Rng::seed_from_u64(any_seed());
            let name = candidates[rng.random_range(0..candidates.len())].to_owned();
            let selection =
                Selection { quick: true, threads: vec![threads], ..Selection::default() };
            let base = program("base", &args.data)?;
            let slowdown = Some(Slowdown { name: name.clone(), share });
            let head = Program { slowdown, ..program("head", &args.data)? };
            let report = Check {
                base: &base,
                head: &head,
                benchmarks: &selection.benchmarks()?,
                margins: &[],
                seed: rng.random(),
            }
            .run(&Progress::new())?;
            if report.is_too_noisy() {
                // No verdict, as a person would try again.
                noisy += 1;
                console::print("    too noisy to judge; again\n")?;
                continue;
            }
            round += 1;
            let verdict = report.rows.iter().find(|row| row.benchmark.name == name);
            let others = report.rows.iter().filter(|row| row.benchmark.name != name);
            elsewhere += others.filter(|row| row.verdict == Verdict::Regressed).count();
            found += usize::from(verdict.is_some_and(|row| row.verdict == Verdict::Regressed));
            let said = verdict.map_or("missing".to_owned(), |row| {
                format!("{} ({:+.1} %)", row.verdict, 100.0 * row.change.median)
            });
            console::print(&format!(
                "{:>2}  {threads} threads, +{:.0} %, {name}: {said}\n",
                round,
                100.0 * share
            ))?;
        }
        console::print(&format!(
            "{found} of {round} slowdowns of {:.0} % on {threads} threads found; {elsewhere} benchmarks \
             wrongly accused; {noisy} further rounds were too noisy to judge\n",
            100.0 * share
        ))?;
        is_enough &= found as f64 >= least * args.rounds as f64 && elsewhere == 0;
    }
    Ok(if is_enough { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn false_alarms(args: &FalseAlarmsArgs) -> Result<ExitCode> {
    let _load = if args.load { Some(Load::start()?) } else { None };
    let selection = Selection { quick: true, ..Selection::default() };
    let (base, head) = (program("base", &args.data)?, program("head", &args.data)?);
    let (mut alarms, mut noisy, mut inconclusive, mut rows) = (0, 0, 0, 0);
    let began = Instant::now();
    for round in 0..args.rounds {
        let check = Check {
            base: &base,
            head: &head,
            benchmarks: &selection.benchmarks()?,
            margins: &[],
            seed: any_seed(),
        };
        let start = Instant::now();
        let report = check.run(&Progress::new())?;
        let outcome = report.outcome();
        alarms += usize::from(outcome == Outcome::Regressed);
        noisy += usize::from(outcome == Outcome::TooNoisy);
        let count = |verdict| report.rows.iter().filter(|row| row.verdict == verdict).count();
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
        for row in report.rows.iter().filter(|row| row.verdict == Verdict::Regressed) {
            console::print(&format!("    {}\n", row.benchmark))?;
        }
    }
    console::print(&format!(
        "{alarms} of {} checks of a program with itself failed, {noisy} were too noisy to judge; of \
         {rows} verdicts {inconclusive} were inconclusive; {:.0} s a check\n",
        args.rounds,
        began.elapsed().as_secs_f64() / args.rounds.max(1) as f64
    ))?;
    Ok(if alarms == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
