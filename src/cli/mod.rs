//! The command line: one file per subcommand, and what they share: settings, progress, the Ctrl-C
//! flag, how figures are written.

mod bench;
mod change_flags;
mod choices;
mod compare;
mod compare_report;
mod completions;
pub(crate) mod data;
mod eval;
mod evaluation;
mod examples;
mod export;
mod import;
mod info;
mod interrupt;
mod json;
mod list;
mod log;
mod network_table;
mod png;
mod predict;
mod predict_images;
mod progress;
mod progress_line;
mod ranks;
mod recipe;
mod record;
mod regress;
mod regress_report;
mod report;
mod reproduce;
mod resumed;
mod run_data;
mod run_task;
mod runs;
mod search;
mod search_progress;
mod search_report;
mod settings;
mod show;
mod start;
mod summary;
mod table;
mod train;

pub use data::{open as open_data, open_places};
pub use json::JsonFlag;
pub use progress::Steps;
pub use settings::{DataFlag, IsaFlag, Settings, pool};
pub use table::{json, markdown, threads};

use crate::names::shortened_middle;
use crate::{Error, Result, console};
use clap::builder::ValueParser;
use clap::error::ErrorKind;
use clap::{Arg, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::any::TypeId;
use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

/// Trains the networks of five published Fashion-MNIST reports on the CPU.
#[derive(Parser)]
#[command(name = "threadcount", version = VERSION, max_term_width = 100, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Print results, warnings and errors only
    #[arg(short, long, global = true)]
    quiet: bool,
}

/// The version, with the revision that the program was built from, if that is known.
const VERSION: &str = env!("THREADCOUNT_VERSION");

/// The short hash of the commit that the program was built from, with `-dirty` where the source was changed after it.
const REVISION: Option<&str> = option_env!("THREADCOUNT_REVISION");

const AFTER_HELP: &str = "\
Settings: a flag beats its environment variable (THREADCOUNT_DATA, THREADCOUNT_THREADS, THREADCOUNT_ISA, \
THREADCOUNT_PRECISION, THREADCOUNT_SEED, THREADCOUNT_RUNS, THREADCOUNT_SHARDS, THREADCOUNT_BATCH_NORM_OVER), which \
beats the key of that name (data, threads, isa, precision, seed, runs, shards, batch-norm-over) in \
./threadcount.toml.
Exit codes: 0 ok, 1 failed, 2 usage, 3 data missing or bad, 130 interrupted after saving.";

#[derive(Subcommand)]
enum Command {
    /// Train the reports' networks and print their claims next to what is measured
    Reproduce(reproduce::Args),
    #[command(about = choices::of_records())]
    Record(record::Args),
    /// Compare logistic regression, nearest neighbours and a random forest with networks
    Compare(compare::Args),
    /// Train one recipe into a run folder, and evaluate it
    Train(Box<train::Args>),
    /// Try other settings of a recipe, trial by trial, and print which is best on validation samples
    Search(Box<search::Args>),
    /// List the runs that were trained, show and compare them, remove them
    Runs(log::Args),
    /// Print a recipe's network, layer by layer
    Summary(summary::Args),
    /// Print a recipe as a TOML file, to change it and train that
    Recipe(recipe::Args),
    /// Evaluate the trained model of a run folder, or one that compare saved, again
    Eval(eval::Args),
    /// Write the report of a run, a page for a browser, again
    Report(report::Args),
    /// Train six models that predict a column of a table from the others, and compare them
    Regress(Box<regress::Args>),
    /// Predict the classes of images with a run or a model of compare, or a table with a model of regress
    Predict(predict::Args),
    /// Write the weights of a run for PyTorch or Keras, and print the model in Python
    Export(export::Args),
    /// List the reports and their recipes
    List,
    /// Show the CPU, its instruction sets, threads, caches and memory; measure its limits
    Info(info::Args),
    /// Measure training steps, or the kernels alone, compared with the FMA peak and plain loops
    Bench(bench::Args),
    /// Print a script that completes commands and options in a shell
    Completions(completions::Args),
    /// Print the manual's page, or write the pages of all commands into a folder
    Man(completions::ManArgs),
    /// Fetch, check and look at the data
    #[command(subcommand)]
    Data(data::Command),
}

/// The longest line of an error, in characters: two paths, and what is wrong with them.
const LONGEST: usize = 900;

/// Runs the command line `args` (the program's name first) and returns its exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    ranks::silence_others();
    let result = match parse(args) {
        Ok(Cli { command, quiet }) => {
            if quiet {
                console::be_quiet();
            }
            command.map_or_else(start::run, Command::run)
        }
        Err(error) => parse_failed(&error),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output has gone (`threadcount list | head -1`).
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            console::say(&line_of(&error));
            ExitCode::from(error.exit_code())
        }
    }
}

/// An error as the program tells it.
fn line_of(error: &Error) -> String {
    // What a user typed or wrote into a file may be of any length.
    let line = shortened_middle(&in_flags(error), LONGEST);
    match error {
        Error::Interrupted(_) => format!("threadcount: {line}"),
        _ => format!("threadcount: error: {line}"),
    }
}

fn parse(args: impl IntoIterator<Item = OsString>) -> std::result::Result<Cli, clap::Error> {
    Cli::from_arg_matches(&definition().try_get_matches_from(args)?)
}

/// The definition of the command line for the parser.
fn definition() -> clap::Command {
    examples::with_examples(with_negative_numbers(Cli::command()))
}

/// Takes the text after a numeric option as its value, even if it begins with a hyphen: the message is then
/// that it is out of range, not that there is no option `-0`.
fn with_negative_numbers(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|arg| match takes_number(&arg) {
        true if arg.is_positional() => arg.allow_negative_numbers(true),
        // `-1e-3` and `-inf` are numbers to Rust, but not to clap.
        true => arg.allow_hyphen_values(true),
        false => arg,
    });
    command.mut_subcommands(with_negative_numbers)
}

/// Whether an argument's value is a number.
fn takes_number(arg: &Arg) -> bool {
    fn of<T: 'static>(parser: &ValueParser) -> bool {
        parser.type_id() == TypeId::of::<T>()
    }
    let numbers =
        [of::<usize>, of::<u64>, of::<u32>, of::<u16>, of::<i64>, of::<i32>, of::<f32>, of::<f64>];
    arg.get_action().takes_values() && numbers.iter().any(|is| is(arg.get_value_parser()))
}

impl Command {
    fn run(self) -> Result<()> {
        // These would do the same work on every rank.
        match &self {
            Self::Reproduce(_) => ranks::refuse("reproduce")?,
            Self::Record(_) => ranks::refuse("record")?,
            Self::Compare(_) => ranks::refuse("compare")?,
            Self::Regress(_) => ranks::refuse("regress")?,
            _ => {}
        }
        match self {
            Self::Record(args) => record::run(&args),
            Self::Reproduce(args) => reproduce::run(&args),
            Self::Compare(args) => compare::run(&args),
            Self::Train(args) => train::run(&args),
            Self::Search(args) => search::run(&args),
            Self::Runs(args) => log::run(&args),
            Self::Summary(args) => summary::run(&args),
            Self::Recipe(args) => recipe::run(&args),
            Self::Eval(args) => eval::run(&args),
            Self::Report(args) => report::run(&args),
            Self::Regress(args) => regress::run(&args),
            Self::Predict(args) => predict::run(&args),
            Self::Export(args) => export::run(&args),
            Self::List => list::run(),
            Self::Info(args) => info::run(&args),
            Self::Bench(args) => bench::run(&args),
            Self::Completions(args) => completions::run(&args),
            Self::Man(args) => completions::man(&args),
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
            console::say(error.to_string().trim_end());
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

    fn parsed<'a>(args: impl IntoIterator<Item = &'a str>) -> std::result::Result<(), clap::Error> {
        parse(args.into_iter().map(OsString::from)).map(drop)
    }

    #[test]
    fn the_definitions_are_sound() {
        definition().debug_assert();
    }

    /// Every subcommand with the words that lead to it.
    fn walk(
        command: &clap::Command,
        path: &[String],
        visit: &mut impl FnMut(&clap::Command, &[String]),
    ) {
        let path = [path, &[command.get_name().to_owned()]].concat();
        visit(command, &path);
        command.get_subcommands().for_each(|sub| walk(sub, &path, visit));
    }

    /// For every numeric option: `--option -1` gives the same message as `--option=-1`, in whatever form the
    /// number is, and another option in place of the number is an error too.
    #[test]
    fn a_negative_number_is_a_number() {
        let (mut options, mut positionals) = (0, 0);
        walk(&definition(), &[], &mut |command, path| {
            let is_number = |arg: &&Arg| {
                let names = arg.get_value_names().unwrap_or_default();
                names.iter().any(|name| ["N", "N,N", "RATE", "SHARE", "NUMBER"].contains(&&**name))
            };
            for arg in command.get_arguments().filter(is_number) {
                let words = || path.iter().map(String::as_str);
                let Some(long) = arg.get_long() else {
                    positionals += 1;
                    let error = parsed(words().chain(["-1"])).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::ValueValidation, "{path:?}: {error}");
                    continue;
                };
                options += 1;
                for number in ["-1", "-0.1", "-.5", "-1e-3", "-inf", "-nan", "-0", "-1,4", "--json"]
                {
                    let together = format!("--{long}={number}");
                    let apart = parsed(words().chain([&*format!("--{long}"), number]));
                    let together = parsed(words().chain([&*together]));
                    let [apart, together] = [apart, together]
                        .map(|result| result.map_err(|error| one_line(&error.to_string())));
                    assert_eq!(apart, together, "{path:?} --{long} {number}");
                    let said = apart.err().unwrap_or_default();
                    assert!(!said.contains("unexpected argument"), "{said}");
                }
            }
        });
        // Fewer would mean that the walk does not see them.
        assert!(options >= 15 && positionals >= 1, "{options}, {positionals}");
    }

    #[test]
    fn claps_errors_become_one_line() {
        let error = parsed(["threadcount", "train", "x", "--epoch", "3"]).unwrap_err();
        let line = one_line(&error.to_string());
        assert!(line.starts_with("unexpected argument '--epoch' found"), "{line}");
        assert!(line.contains("'--epochs'"), "{line}");
        assert!(!line.contains('\n') && !line.contains("Usage"), "{line}");
    }
}
