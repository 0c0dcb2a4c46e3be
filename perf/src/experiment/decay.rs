//! `cargo perf experiment decay`: the program with itself, slowed down a little more at each step, with the first as
//! the anchor and each one's predecessor as the base.

use super::candidates;
use crate::check::judge::{Check, any_seed};
use crate::check::margin::Margins;
use crate::check::report::{Outcome, Report};
use crate::program::{Program, Slowdown, data};
use crate::suite::Selection;
use glob::Pattern;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::path::PathBuf;
use std::process::ExitCode;
use threadcount::cli::DataFlag;
use threadcount::{Result, console};

/// Steps of a series.
const STEPS: usize = 10;

#[derive(clap::Args)]
pub struct Args {
    /// Series, each of a benchmark of the quick suite on one thread
    #[arg(long, default_value_t = 5)]
    series: usize,
    /// What each of the ten steps adds, in per cent; with 0 any alarm is false
    #[arg(long, default_value_t = 1.0, value_name = "PERCENT")]
    step: f64,
    #[command(flatten)]
    data: DataFlag,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let mut rng = ChaCha8Rng::seed_from_u64(any_seed());
    let data = data(&args.data, &Selection { quick: true, ..Selection::default() }.benchmarks()?)?;
    let mut alarms = 0;
    for series in 1..=args.series {
        let Some(name) = candidates().choose(&mut rng).copied() else { continue };
        let alarm = first_alarm(name, args.step / 100.0, data.as_ref())?;
        alarms += usize::from(alarm.is_some());
        let words = alarm.map_or("no alarm".to_owned(), |step| format!("an alarm at step {step}"));
        console::print(&format!("{series:>2}  {name}: {words}\n"))?;
    }
    console::print(&format!(
        "{alarms} of {} series of {STEPS} steps of {} % have raised an alarm\n",
        args.series, args.step
    ))?;
    let expected = if args.step > 0.0 { args.series } else { 0 };
    Ok(if alarms == expected { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The step at which a check first fails.
fn first_alarm(name: &str, share: f64, data: Option<&PathBuf>) -> Result<Option<usize>> {
    for step in 1..=STEPS {
        let report = after(name, share, step, data)?;
        let outcome = report.outcome();
        if matches!(outcome, Outcome::Regressed | Outcome::Decayed) {
            return Ok(Some(step));
        }
        if outcome == Outcome::TooNoisy {
            console::print(&format!("    step {step}: too noisy to judge\n"))?;
        }
    }
    Ok(None)
}

/// What a check finds after so many steps.
fn after(name: &str, share: f64, step: usize, data: Option<&PathBuf>) -> Result<Report> {
    let side = |role, steps: usize| -> Result<Program> {
        let share = (1.0 + share).powi(steps as i32) - 1.0;
        let slowdown = (steps > 0).then(|| Slowdown { names: vec![name.to_owned()], share });
        Ok(Program { slowdown, ..Program::this(role, data.cloned())? })
    };
    let selection =
        Selection { only: vec![Pattern::escape(name)], threads: vec![1], ..Selection::default() };
    Check {
        base: &side("base", step - 1)?,
        head: &side("head", step)?,
        anchor: Some(&side("anchor", 0)?),
        benchmarks: &selection.benchmarks()?,
        // With one benchmark, its own inconclusive verdict tells of noise.
        sentinels: &[],
        selection: &selection,
        may_go: &[],
        margins: &Margins::default(),
        seed: any_seed(),
    }
    .run()
}
