//! `report.html`: a page with everything that a run tells, to be opened in a browser. It is one file without
//! scripts, and nothing in it is fetched from anywhere.
//!
//! - `run`: the page of a run; `judged`: its part about predictions, `views`: its other parts
//! - `comparison`: the page of `reproduce`
//! - `sessions`: the file that keeps each epoch's time, and the machine
//! - `rerun`: the command that trains a run again
//! - `picture`: samples and drawings inside a page
//!
//! The templates are in `templates/report/`.

mod comparison;
mod judged;
mod picture;
mod rerun;
mod run;
mod sessions;
mod views;

use super::run_data::{Other, of_run};
use super::settings::{ComputeFlags, DataFlag, Settings};
use crate::data::Samples;
use crate::files::write_atomically;
use crate::train::RunFolder;
use crate::{Error, Result, console};
use askama::Template;
use std::path::{Path, PathBuf};
use threadcount_kernels::Pool;

pub(super) use comparison::{Comparison, Folder};
pub(super) use sessions::{SessionLog, revisions};

/// The name of the page in a folder.
pub(super) const FILE: &str = "report.html";

#[derive(clap::Args)]
pub(super) struct Args {
    /// Folder of the run, finished or not
    run: PathBuf,
    /// File for the page [default: report.html in the run's folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    data: DataFlag,
    #[command(flatten)]
    compute: ComputeFlags,
}

/// `threadcount report`
pub(super) fn run(args: &Args) -> Result<()> {
    let settings = Settings::load()?;
    let pool = settings.pool(&args.compute)?;
    if !args.run.is_dir() {
        return Err(Error::data(&args.run, "no folder of a run"));
    }
    let samples = match RunFolder::open(&args.run) {
        Ok((_, record)) if record.result.is_some() => {
            match of_run(&record, &args.data, &settings, Other::Refused) {
                // A folder that was named has to have the run's data; others may have been moved.
                Err(error) if args.data.data.is_some() => return Err(error),
                found => found.map(|data| data.split.test),
            }
        }
        // The page says what is wrong with the folder, and needs no samples.
        Ok(_) | Err(_) => Err(Error::Failed("the run is not finished".to_owned())),
    };
    let out = args.out.clone().unwrap_or_else(|| args.run.join(FILE));
    for fault in write(&args.run, &out, samples, pool)? {
        console::warn(&fault);
    }
    console::print(&format!("{}\n", out.display()))
}

/// Writes the page of the run in this folder, and returns what could not be shown. `samples` are the run's test
/// samples.
///
/// # Errors
/// [`Error::Data`] if nothing of a run is there; [`Error::Io`].
pub(super) fn write(
    folder: &Path,
    out: &Path,
    samples: Result<Samples>,
    pool: Pool,
) -> Result<Vec<String>> {
    let page = run::Page::of(folder, samples, pool)?;
    write_atomically(out, rendered(&page)?.as_bytes())?;
    Ok(page.missing)
}

fn rendered(page: &impl Template) -> Result<String> {
    page.render().map_err(|error| Error::Failed(format!("cannot write the report: {error}")))
}
