//! `threadcount runs rm`

use super::shown;
use crate::console;
use crate::train::{Listed, Removed, RunLog, State, remove_run};
use crate::{Error, Result};
use std::io::{self, BufRead, IsTerminal};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Names of the runs, as 'threadcount runs' lists them, or their folders
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<String>,
    /// Do not ask first
    #[arg(short, long)]
    yes: bool,
}

pub(super) fn run(args: &Args, log: &RunLog) -> Result<()> {
    // All are found before any is removed.
    let runs = args.runs.iter().map(|name| log.find(name)).collect::<Result<Vec<_>>>()?;
    if !args.yes && !agreed(&runs)? {
        return Err(Error::Failed("nothing was removed".to_owned()));
    }
    for run in runs {
        remove(log, &run)?;
    }
    Ok(())
}

/// Asks, if there is somebody to ask.
fn agreed(runs: &[Listed]) -> Result<bool> {
    let names = runs.iter().map(shown).collect::<Vec<_>>().join(", ");
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Error::Usage(format!("to remove {names} without being asked, add --yes")));
    }
    console::say(&format!("remove {names}, with models and checkpoints? [y/N]"));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(Error::io("stdin"))?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

fn remove(log: &RunLog, run: &Listed) -> Result<()> {
    let name = shown(run);
    let line = match run.state {
        State::Gone => format!("{name}: its folder was gone already; the entry is removed"),
        _ => match remove_run(&run.path)? {
            Removed::Folder => format!("{name} is removed"),
            Removed::Files(left) => format!(
                "{name} is removed; {} of no run stay in {}",
                super::table::count(left, "file"),
                run.path.display()
            ),
        },
    };
    log.append_removal(&run.name)?;
    console::note(&line);
    Ok(())
}
