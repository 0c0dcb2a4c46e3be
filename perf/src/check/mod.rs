//! `cargo perf check`: base and anchor against head.
//!
//! - [`judge`]: what is measured, in which order
//! - [`verdict`]: what the pairs of a benchmark say
//! - [`margin`]: which changes count
//! - [`row`]: what was measured of one benchmark
//! - [`why`]: where its time has grown
//! - [`report`], [`document`]: what is told, to people and to programs

#[cfg(test)]
mod decay;
pub mod document;
#[cfg(test)]
mod explained;
pub mod judge;
pub mod margin;
pub mod report;
pub mod row;
#[cfg(test)]
pub mod scripted;
pub mod verdict;
pub mod why;

use crate::anchor;
use crate::builds::{Source, TargetFlag, Workshop};
use crate::program::{Program, SAMPLE_LIMIT, Side, data};
use crate::protocol::Benchmark;
use crate::suite::{self, Selection};
use document::Names;
use judge::Check;
use margin::{Margin, Margins};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use threadcount::cli::{DataFlag, JsonFlag};
use threadcount::files::write_atomically;
use threadcount::{Error, Result, console};

#[derive(clap::Args)]
pub struct Args {
    /// A git revision [default: where this branch left main, or the branch that it follows]
    base: Option<String>,
    #[command(flatten)]
    target: TargetFlag,
    #[command(flatten)]
    selection: Selection,
    /// Another margin, in per cent, for the benchmarks that a glob matches [default: 2 on one thread,
    /// 5 on several; 0.1 us of a run at least, and each one's own noise, where `record` has measured it]
    #[arg(long, value_name = "GLOB=PERCENT")]
    margin: Vec<Margin>,
    /// The same for changes since the anchor [default: 4 on one thread, 7 on several]
    #[arg(long, value_name = "GLOB=PERCENT")]
    anchor_margin: Vec<Margin>,
    /// Do not compare with the anchor, `perf/anchor`
    #[arg(long)]
    without_anchor: bool,
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
    let own = match args.target.is_foreign() {
        true => None,
        false => Some(args.selection.benchmarks()?),
    };
    let may_go = args.gone.iter().map(|text| suite::pattern(text)).collect::<Result<Vec<_>>>()?;
    args.json.check()?;
    let data = data(&args.data, own.as_deref().unwrap_or(&[]))?;
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
    let pinned = if args.without_anchor { None } else { anchor::source(&workshop)? };
    // What is the base is compared already, with a narrower margin.
    let pinned = pinned.filter(|pinned| pinned.tree != base.tree && pinned.tree != head.tree);
    let margins = Margins::on_this_machine(workshop.root(), &args.margin, &args.anchor_margin)?;
    let target = args.target.target();
    let build = |source: &Source| workshop.build(source, &target);
    let (built_base, built_head) = (build(&base)?, build(&head)?);
    let built_anchor = pinned.as_ref().map(build).transpose()?;
    let limit = args.sample_limit.map_or(SAMPLE_LIMIT, |limit| Duration::from_secs(limit.into()));
    let side = |role, built| Program { limit, ..Program::new(role, built, data.clone()) };
    let (anchor, head_side) =
        (built_anchor.map(|built| side("anchor", built)), side("head", built_head));
    let (benchmarks, sentinels) = match own {
        Some(own) => (own, suite::sentinels(&args.selection.conditions()?)),
        None => foreign(&head_side, &args.selection)?,
    };
    let check = Check {
        base: &side("base", built_base),
        head: &head_side,
        anchor: anchor.as_ref().map(|anchor| anchor as &dyn Side),
        benchmarks: &benchmarks,
        sentinels: &sentinels,
        selection: &args.selection,
        may_go: &may_go,
        margins: &margins,
        seed: judge::any_seed(),
    };
    let report = check.run()?;
    let names =
        Names { base: base.name, head: head.name, anchor: pinned.map(|pinned| pinned.name) };
    let text = report.text(&names);
    if let Some(path) = &args.markdown {
        write_atomically(path, text.as_bytes())?;
    }
    args.json.put(&report.json(&names)?, &text)?;
    Ok(report.outcome().exit_code())
}

/// What is meant of the suite of another package, and its sentinels.
///
/// # Errors
/// [`threadcount::Error::Usage`] if its worker does not say what it has, or what is asked for is not among that.
pub fn foreign(head: &dyn Side, selection: &Selection) -> Result<(Vec<Benchmark>, Vec<Benchmark>)> {
    let listed = head.start(0)?.listed.ok_or_else(|| {
        Error::Usage("--package: this is threadcount's own suite, which needs no --package".into())
    })?;
    let is_sentinel = |one: &&Benchmark| listed.sentinels.contains(&one.name);
    let sentinels = listed.benchmarks.iter().filter(is_sentinel).cloned().collect();
    Ok((selection.of_listed(&listed)?, sentinels))
}
