//! `cargo perf check`: base against head.
//!
//! - [`judge`]: what is measured, in which order
//! - [`verdict`]: what the pairs of a benchmark say
//! - [`report`]: what is told

pub mod judge;
pub mod report;
#[cfg(test)]
pub mod scripted;
pub mod verdict;

use crate::builds::{PERF, Workshop};
use crate::program::{Program, SAMPLE_LIMIT, data};
use crate::suite::{self, Selection};
use judge::Check;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use threadcount::cli::{DataFlag, JsonFlag};
use threadcount::files::write_atomically;
use threadcount::{Result, console};
use verdict::Margin;

#[derive(clap::Args)]
pub struct Args {
    /// A git revision [default: where this branch left main, or the branch that it follows]
    base: Option<String>,
    #[command(flatten)]
    selection: Selection,
    /// Another margin, in per cent, for the benchmarks that a glob matches [default: 2 on one thread,
    /// 5 on several; 0.1 us of a run at least]
    #[arg(long, value_name = "GLOB=PERCENT")]
    margin: Vec<Margin>,
    /// Benchmarks that may be in the base only; any other that is gone fails the check
    #[arg(long, value_name = "GLOB")]
    gone: Vec<String>,
    /// How long a sample may take, which is milliseconds on most machines; getting ready may take ten times as
    /// long. A worker that takes longer is ended [default: 60]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    sample_limit: Option<u32>,
    #[command(flatten)]
    data: DataFlag,
    #[command(flatten)]
    json: JsonFlag,
    /// Also write the table as Markdown, for a pull request
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    // Everything that can be wrong, before the builds.
    let benchmarks = args.selection.benchmarks()?;
    let may_go = args.gone.iter().map(|text| suite::pattern(text)).collect::<Result<Vec<_>>>()?;
    args.json.check()?;
    let data = data(&args.data, &benchmarks)?;
    let workshop = Workshop::open()?;
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
    let (built_base, built_head) = (workshop.build(&base, PERF)?, workshop.build(&head, PERF)?);
    let limit = args.sample_limit.map_or(SAMPLE_LIMIT, |limit| Duration::from_secs(limit.into()));
    let side = |role, built| Program { limit, ..Program::new(role, built, data.clone()) };
    let check = Check {
        base: &side("base", built_base),
        head: &side("head", built_head),
        benchmarks: &benchmarks,
        selection: &args.selection,
        may_go: &may_go,
        margins: &args.margin,
        seed: judge::any_seed(),
    };
    let report = check.run()?;
    let text = report.text(&format!("{} -> {}", base.name, head.name));
    if let Some(path) = &args.markdown {
        write_atomically(path, text.as_bytes())?;
    }
    args.json.put(&report.json(&base.name, &head.name)?, &text)?;
    Ok(report.outcome().exit_code())
}
