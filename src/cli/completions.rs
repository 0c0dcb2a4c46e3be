//! `threadcount completions` and `threadcount man`: what a shell and a manual know of the command line.

use super::definition;
use crate::console;
use crate::{Error, Result};
use clap_complete::Shell;
use std::fs;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The shell
    shell: Shell,
}

/// Prints the script that completes commands and options in a shell.
pub(super) fn run(args: &Args) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut definition(), "threadcount", &mut script);
    console::print(&String::from_utf8_lossy(&script))
}

#[derive(clap::Args)]
pub(super) struct ManArgs {
    /// Folder for the pages of all commands [default: the page of the program, to stdout]
    folder: Option<PathBuf>,
}

/// Prints the manual's page of the program, or writes the pages of all commands.
pub(super) fn man(args: &ManArgs) -> Result<()> {
    let Some(folder) = &args.folder else {
        let mut page = Vec::new();
        clap_mangen::Man::new(definition()).render(&mut page).map_err(Error::io("stdout"))?;
        return console::print(&String::from_utf8_lossy(&page));
    };
    fs::create_dir_all(folder).map_err(Error::io(folder))?;
    clap_mangen::generate_to(definition().disable_help_subcommand(true), folder)
        .map_err(Error::io(folder))?;
    let shown = folder.display();
    console::note(&format!(
        "the pages are in {shown}; 'man {shown}/threadcount.1' shows the first"
    ));
    Ok(())
}
