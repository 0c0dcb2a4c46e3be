//! The command line: one file per subcommand, and what they share: settings, progress, the Ctrl-C
//! flag, how figures are written.

mod bench;
pub(crate) mod data;
mod eval;
mod evaluation;
mod info;
mod interrupt;
mod json;
mod list;
mod network_table;
mod progress;
mod recipe;
mod reproduce;
mod settings;
mod summary;
mod table;
mod train;

pub use data::{open as open_data, open_places};
pub use json::JsonFlag;
pub use progress::Steps;
pub use settings::{DataFlag, IsaFlag, Settings, pool};
pub use table::{json, markdown, threads};

use crate::{Error, Result, console};
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

/// Trains the networks of five published Fashion-MNIST reports on the CPU.
#[derive(Parser)]
#[command(name = "threadcount", version, max_term_width = 100, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Settings: a flag beats its environment variable (THREADCOUNT_DATA, THREADCOUNT_THREADS,
THREADCOUNT_ISA, THREADCOUNT_SEED, THREADCOUNT_RUNS), which beats the key of that name (data,
threads, isa, seed, runs) in ./threadcount.toml.
Exit codes: 0 ok, 1 failed, 2 usage, 3 data missing or bad, 130 interrupted after saving.";

#[derive(Subcommand)]
enum Command {
    /// Train the reports' networks and print what was claimed beside what is measured
    Reproduce(reproduce::Args),
    /// Train one recipe into a run folder, and evaluate it
    Train(train::Args),
    /// Print a recipe's network, layer by layer
    Summary(summary::Args),
    /// Print a recipe as a TOML file: change it, and train that
    Recipe(recipe::Args),
    /// Evaluate the trained model of a run folder again
    Eval(eval::Args),
    /// List the reports and their recipes
    List,
    /// Show the CPU, its instruction sets, threads, caches and memory; measure its limits
    Info(info::Args),
    /// Measure training steps, or the kernels alone, beside the FMA peak and plain loops
    Bench(bench::Args),
    /// Fetch, check and look at the data
    #[command(subcommand)]
    Data(data::Command),
}

/// Runs the command line `args` (the program's name first) and returns its exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let result = match Cli::try_parse_from(args) {
        Ok(cli) => cli.command.run(),
        Err(error) => parse_failed(&error),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has seen enough (`threadcount list | head -1`).
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            let line = in_flags(&error).replace(['\n', '\r'], " ");
            match error {
                Error::Interrupted(_) => console::note(&format!("threadcount: {line}")),
                _ => console::note(&format!("threadcount: error: {line}")),
            }
            ExitCode::from(error.exit_code())
        }
    }
}

impl Command {
    fn run(self) -> Result<()> {
        match self {
            Self::Reproduce(args) => reproduce::run(&args),
            Self::Train(args) => train::run(&args),
            Self::Summary(args) => summary::run(&args),
            Self::Recipe(args) => recipe::run(&args),
            Self::Eval(args) => eval::run(&args),
            Self::List => list::run(),
            Self::Info(args) => info::run(&args),
            Self::Bench(args) => bench::run(&args),
            Self::Data(command) => command.run(),
        }
    }
}

/// An error of the library in the words of the command line.
fn in_flags(error: &Error) -> String {
    match error {
        Error::Setting { .. } => format!("--{error}"),
        Error::Diverged { .. } => error.to_string().replace("a learning rate", "a --learning-rate"),
        Error::RunExists { path } => {
            format!("{error} (choose another --out, or --resume {})", path.display())
        }
        _ => error.to_string(),
    }
}

/// Help and version are results; everything else is a usage error in one line.
fn parse_failed(error: &clap::Error) -> Result<()> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            error.print().map_err(Error::io("stdout"))
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            console::note(error.to_string().trim_end());
            Err(Error::Usage("no command given; choose one of those above".into()))
        }
        _ => Err(Error::Usage(one_line(&error.to_string()))),
    }
}

/// Clap's message without its usage lines: `error: what (tip)`.
fn one_line(message: &str) -> String {
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let mut line = String::new();
    for part in message.lines().map(str::trim) {
        if part.is_empty() {
            continue;
        }
        if part.starts_with("Usage:") || part.starts_with("For more information") {
            break;
        }
        match part.strip_prefix("tip: ") {
            Some(tip) => line += &format!(" ({tip})"),
            None if line.is_empty() => line += part,
            None => line += &format!(" {part}"),
        }
    }
    line + "; --help shows what there is"
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn claps_errors_become_one_line() {
        let Err(error) = Cli::try_parse_from(["threadcount", "train", "x", "--epoch", "3"]) else {
            panic!("accepted");
        };
        let line = one_line(&error.to_string());
        assert!(line.starts_with("unexpected argument '--epoch' found"), "{line}");
        assert!(line.contains("'--epochs'"), "{line}");
        assert!(!line.contains('\n') && !line.contains("Usage"), "{line}");
    }
}
