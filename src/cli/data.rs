//! `threadcount data`

use super::settings::{DataFlag, Settings};
use crate::Result;
use crate::console;
use crate::data::{Cache, Fetch, Half, Places, Source, show};
use std::path::PathBuf;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Download Fashion-MNIST (30 MB) into the cache folder, or into --into
    Fetch {
        /// Folder to put the files into
        #[arg(long, value_name = "DIR")]
        into: Option<PathBuf>,
    },
    /// Check the files: form, sizes, checksums
    Verify(DataFlag),
    /// Print the folder that is used
    Path(DataFlag),
    /// Print an image as text
    Show {
        /// Its number, from 0
        number: usize,
        /// Count in the test part
        #[arg(long)]
        test: bool,
        #[command(flatten)]
        data: DataFlag,
    },
}

impl Command {
    pub(super) fn run(&self) -> Result<()> {
        match self {
            Self::Fetch { into } => fetch(into.clone()),
            Self::Verify(data) => {
                let found = places(data)?.verify()?;
                console::print(&found.to_string())?;
                found.into_result()
            }
            Self::Path(data) => path(data),
            Self::Show { number, test, data } => {
                let half = if *test { Half::Test } else { Half::Train };
                console::print(&show(&*places(data)?.open()?, half, *number)?)
            }
        }
    }
}

fn places(data: &DataFlag) -> Result<Places> {
    Ok(Places::user(Settings::load()?.data(data)?.as_deref()))
}

fn fetch(into: Option<PathBuf>) -> Result<()> {
    let into = match into {
        Some(folder) => folder,
        None => Cache::user().fashion_mnist()?,
    };
    let fetched = Fetch::official(into.clone()).run()?;
    console::print(&format!(
        "Fashion-MNIST is in {}: {} files downloaded, {} there already\n",
        into.display(),
        fetched.downloaded,
        fetched.kept
    ))
}

fn path(data: &DataFlag) -> Result<()> {
    let location = places(data)?.locate()?;
    console::note(match location.source {
        Source::Explicit => "the folder that was named",
        Source::Local => "the folder below this one",
        Source::Cached => "the cache, filled by 'threadcount data fetch'",
        Source::Synthetic => "no data found: the synthetic set, drawn when it is first used",
    });
    console::print(&format!("{}\n", location.folder.display()))
}
