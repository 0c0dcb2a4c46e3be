//! `cargo perf`: finds kernels that have become slower, on machines that are shared and noisy.
//!
//! - [`statistics`]: what pairs of timings say
//! - [`suite`]: what is timed
//! - [`worker`], [`program`], [`rounds`]: the processes that time, and how they are asked; both of
//!   [`threadcount_perf_suite`], which other projects have too
//! - [`code`], [`symbols`]: the functions of programs
//! - [`builds`]: programs from revisions
//! - [`mod@check`], [`anchor`]: base and anchor against head
//! - [`bisect`]: the commit that it came with
//! - [`record`], [`history`], [`noise`], [`change_points`]: how it went over time, and how noisy that is
//! - [`roofline`]: how it stands to what the machine can do
//! - [`experiment`]: what all of this finds, and what it wrongly finds

mod anchor;
mod bisect;
mod builds;
mod change_points;
mod check;
mod code;
mod experiment;
mod history;
mod noise;
mod picture;
mod program;
mod record;
mod roofline;
mod rounds;
mod statistics;
mod suite;
mod symbols;
mod worker;

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use suite::Selection;
use threadcount::{Result, console};
use threadcount_perf_suite::protocol;

/// Times kernels and training steps: base against head, over time, against the machine's limits.
#[derive(Parser)]
#[command(name = "cargo perf", version, max_term_width = 100, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Settings: --data beats THREADCOUNT_DATA, which beats the key data in ./threadcount.toml; likewise
--threads and --isa.
Exit codes: 0 ok, 1 something became slower or failed, 2 usage, 3 data missing or bad, 4 the machine is
too noisy to judge.";

#[derive(Subcommand)]
enum Command {
    /// Compare the working tree with an earlier revision; exit 1 if something became slower
    Check(check::Args),
    /// Find the commit that has made a benchmark slower, or faster
    Bisect(bisect::Args),
    /// Show or move the revision that checks compare with besides their base
    Anchor(anchor::Args),
    /// Time the working tree's build and append what comes out to the history
    Record(record::Args),
    /// Print the trend of what was recorded, and draw it
    History(history::Args),
    /// Draw every kernel and step below the machine's measured roofs
    Roofline(roofline::Args),
    /// List the benchmarks
    List(Selection),
    /// Find out what a check finds, and what it wrongly finds
    #[command(subcommand)]
    Experiment(experiment::Command),
    #[command(hide = true)]
    Worker(worker::Args),
    #[command(hide = true)]
    Load(experiment::LoadArgs),
}

fn main() -> ExitCode {
    if let Some(code) = builds::stand_in() {
        return code;
    }
    let result = match Cli::try_parse() {
        Ok(cli) => cli.command.run(),
        Err(error) => error.exit(),
    };
    result.unwrap_or_else(|error| {
        console::note(&format!("cargo perf: error: {}", error.to_string().replace('\n', " ")));
        ExitCode::from(error.exit_code())
    })
}

impl Command {
    fn run(self) -> Result<ExitCode> {
        match self {
            Self::Check(args) => return check::run(&args),
            Self::Bisect(args) => return bisect::run(&args),
            Self::Anchor(args) => anchor::run(&args)?,
            Self::Record(args) => record::run(&args)?,
            Self::History(args) => history::run(&args)?,
            Self::Roofline(args) => roofline::run(&args)?,
            Self::List(selection) => list(&selection)?,
            Self::Experiment(command) => return experiment::run(&command),
            Self::Worker(args) => worker::run(&args)?,
            Self::Load(args) => experiment::load(&args),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn list(selection: &Selection) -> Result<()> {
    let lines = selection.benchmarks()?.iter().map(|benchmark| format!("{benchmark}\n")).collect();
    let text: Vec<String> = lines;
    console::print(&text.concat())
}
