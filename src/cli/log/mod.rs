//! `threadcount runs`: every run again, and what `train` writes into the log of runs.

mod compare;
mod fields;
mod list;
mod remove;
mod show;

use super::settings::Settings;
use super::table;
use crate::console;
use crate::train::{Event, History, Listed, Listing, RunFolder, RunLog, State};
use crate::{Error, Result};
use std::path::Path;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: list::ListArgs,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Show all that is known of a run: its settings, results and epochs
    Show(show::Args),
    /// Show where runs differ, in settings and results, and draw their curves into one picture
    Compare(compare::Args),
    /// Remove runs: their folders and their entries in the log
    Rm(remove::Args),
}

pub(super) fn run(args: &Args) -> Result<()> {
    let log = RunLog::new(Settings::load()?.runs()?);
    match &args.command {
        None => list::run(&args.list, &log),
        Some(Command::Show(args)) => show::run(args, &log),
        Some(Command::Compare(args)) => compare::run(args, &log),
        Some(Command::Rm(args)) => remove::run(args, &log),
    }
}

/// Writes into the log what has become of a run. If that fails there is a warning, and training goes on: `runs`
/// reads from the folder what the log does not say.
pub(super) fn note(log: &RunLog, event: Event, folder: &Path) {
    if let Err(error) = log.append(event, folder) {
        console::warn(&format!("the log of runs has no line about this run: {error}"));
    }
}

/// All runs, with a warning about lines that cannot be read.
fn all(log: &RunLog) -> Result<Listing> {
    let listing = log.list()?;
    if let Some(first) = listing.faults.first() {
        console::warn(&format!(
            "{}: {} skipped, which cannot be read ({first})",
            log.path().display(),
            table::count(listing.faults.len(), "line")
        ));
    }
    Ok(listing)
}

/// The epochs of a run; none if its folder cannot be read.
///
/// # Errors
/// [`Error::Data`] if the folder's history is none; [`Error::Io`].
fn history(run: &Listed) -> Result<History> {
    match run.state {
        State::Gone | State::Damaged(_) => Ok(History::default()),
        _ => RunFolder::open(&run.path)?.0.read_history(),
    }
}

/// The name of a run as it is shown, and as it can be given again.
fn shown(run: &Listed) -> String {
    // Most are relative to the folder of all runs: no need to ask where we are.
    if Path::new(&run.name).is_relative() {
        return run.name.clone();
    }
    let here = std::env::current_dir().and_then(|here| here.canonicalize());
    match here
        .ok()
        .and_then(|here| Path::new(&run.name).strip_prefix(here).ok().map(Path::to_owned))
    {
        Some(inside) if !inside.as_os_str().is_empty() => inside.display().to_string(),
        _ => run.name.clone(),
    }
}

/// What a run lacks that cannot be read.
fn damaged(run: &Listed) -> Error {
    match &run.state {
        State::Damaged(fault) => Error::data(&run.path, format!("a damaged run: {fault}")),
        _ => Error::data(&run.path, "no run here"),
    }
}
