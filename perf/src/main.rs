//! `cargo perf`: finds kernels that have become slower, on machines that are shared and noisy.
//!
//! - [`statistics`], [`verdict`]: what pairs of timings say
//! - [`suite`]: what is timed
//! - [`protocol`], [`worker`], [`program`]: the processes that time, and how they are asked
//! - [`builds`]: programs from revisions
//! - [`mod@check`], [`report`]: base against head
//! - [`record`], [`history`], [`change_points`]: how it went over time
//! - [`roofline`]: how it stands to what the machine can do
//! - [`experiment`]: what all of this finds, and what it wrongly finds

mod builds;
mod change_points;
mod check;
mod experiment;
mod history;
mod picture;
mod program;
mod protocol;
mod record;
mod report;
mod roofline;
mod statistics;
mod suite;
mod verdict;
mod worker;

use check::Check;
use clap::{Parser, Subcommand};
use program::Program;
use std::path::PathBuf;
use std::process::ExitCode;
use suite::Selection;
use threadcount::cli::{DataFlag, JsonFlag};
use threadcount::files::write_atomically;
use threadcount::{Result, console};
use verdict::Margin;

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
    Check(CheckArgs),
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

#[derive(clap::Args)]
struct CheckArgs {
    /// A git revision [default: where this branch left main]
    base: Option<String>,
    #[command(flatten)]
    selection: Selection,
    /// Another margin, in per cent, for the benchmarks that a glob matches [default: 2 on one thread,
    /// 5 on several; 0.1 us of a run at least]
    #[arg(long, value_name = "GLOB=PERCENT")]
    margin: Vec<Margin>,
    #[command(flatten)]
    data: DataFlag,
    #[command(flatten)]
    json: JsonFlag,
    /// Also write the table as Markdown, for a pull request
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

fn main() -> ExitCode {
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
            Self::Check(args) => return check(&args),
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

fn check(args: &CheckArgs) -> Result<ExitCode> {
    let benchmarks = args.selection.benchmarks()?;
    args.json.check()?;
    let workshop = builds::Workshop::open()?;
    let head = workshop.working_tree()?;
    let base = match &args.base {
        Some(name) => workshop.revision(name)?,
        None => workshop.merge_base()?,
    };
    if base.tree == head.tree {
        let line = format!("{} is the same as {}: nothing to compare\n", head.name, base.name);
        console::print(&line)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (base_path, head_path) = (workshop.build(&base)?, workshop.build(&head)?);
    let (base_program, head_program) = (
        Program::new("base", base_path, &args.data)?,
        Program::new("head", head_path, &args.data)?,
    );
    let check = Check {
        base: &base_program,
        head: &head_program,
        benchmarks: &benchmarks,
        margins: &args.margin,
        seed: check::any_seed(),
    };
    let report = check.run()?;
    let text = report.text(&format!("{} -> {}", base.name, head.name));
    if let Some(path) = &args.markdown {
        write_atomically(path, text.as_bytes())?;
    }
    args.json.put(&report.json(&base.name, &head.name)?, &text)?;
    Ok(report.outcome().exit_code())
}
