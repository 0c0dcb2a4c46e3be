//! `threadcount bench`: the speed of whole training steps, of the kernels alone, or of whole runs.
//!
//! Peak memory and matrixmultiply's number of threads belong to a whole process, so one measurement can spoil
//! the next. Every such figure is therefore measured in a process of its own: this program again ([`again`]),
//! with less to do. The first process combines the JSON documents of the others.

mod accuracy;
mod again;
mod kernels;
mod profile;
mod ranks;
mod recipes;

use super::json::JsonFlag;
use super::settings::{self, DataFlag, IsaFlag, PrecisionFlag, Settings};
use crate::bench::Baseline;
use crate::reports::Recipe;
use crate::{Error, Result};
use clap::builder::PossibleValue;
use threadcount_kernels::{Isa, Pool, Precision};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Reports, recipes or TOML files; with --kernels, parts of kernels' names or shapes [default: all of
    /// them]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Measure the kernels instead, at the recipes' sizes
    #[arg(long, conflicts_with_all = ["to_accuracy", "baseline", "profile", "data"])]
    kernels: bool,
    /// Measure instead how long the recipes train until they reach the accuracy that their reports claim
    #[arg(long, conflicts_with_all = ["baseline", "profile", "samples"])]
    to_accuracy: bool,
    /// Number of seeds of --to-accuracy, from 0 on; the median counts
    #[arg(long, value_name = "N", default_value_t = 5, requires = "to_accuracy")]
    seeds: usize,
    /// Numbers of threads to measure with [default: 1 and the physical cores; with --to-accuracy, the
    /// physical cores]
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    threads: Vec<usize>,
    #[command(flatten)]
    isa: IsaFlag,
    #[command(flatten)]
    precision: PrecisionFlag,
    /// Also measure what the recipes are compared with
    #[arg(long, value_name = "WHAT")]
    baseline: Option<Baseline>,
    /// Measure each phase of a step: its time, its GFLOP/s or GB/s, and the share of its limit
    #[arg(long)]
    profile: bool,
    /// Samples of each recipe or kernel, alternating with as many of the peak
    #[arg(long, value_name = "N", default_value_t = 15)]
    samples: usize,
    /// Measure the ranks that mpirun has started, or ranks in this process, and foretell the rate of 1 to 1,024 of
    /// them over three networks
    #[arg(long, conflicts_with_all = ["kernels", "to_accuracy", "baseline", "profile"])]
    ranks: bool,
    /// Parts of a batch that are summed apart, as for 'train' [default: the recipe's; with several ranks, as many]
    #[arg(long, value_name = "N", conflicts_with_all = ["kernels", "to_accuracy"])]
    shards: Option<usize>,
    /// What batch normalisation takes its statistics over, if there are several shards: batch or shard [default: the
    /// recipe's]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["kernels", "to_accuracy"])]
    batch_norm_over: Option<String>,
    #[command(flatten)]
    json: JsonFlag,
    #[command(flatten)]
    data: DataFlag,
}

impl clap::ValueEnum for Baseline {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Naive, Self::Early]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Naive => PossibleValue::new("naive")
                .help("The same network on the kernels' plain-loop twins, one thread"),
            Self::Early => PossibleValue::new("early").help(
                "The same network in its first second, before its optimizer remembers dead weights",
            ),
        })
    }
}

/// What the options ask for beside the names, checked.
struct Conditions {
    isa: Isa,
    /// The precision that is asked for; else recipes have their own.
    precision: Option<Precision>,
    /// Numbers of threads, each once.
    threads: Vec<usize>,
    samples: usize,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let settings = Settings::load()?;
    if args.samples == 0 {
        return Err(Error::Usage("--samples 0: at least 1".into()));
    }
    let is_alone = args.kernels || args.to_accuracy || args.profile || args.baseline.is_some();
    if is_alone {
        super::ranks::refuse("this kind of bench")?;
    } else if args.ranks || super::ranks::Launched::of_environment().is_some() {
        return ranks::run(args, &settings);
    }
    let conditions = Conditions {
        isa: settings.isa(&args.isa)?.unwrap_or_else(Isa::best),
        precision: settings.precision(&args.precision)?,
        threads: settings.thread_counts(&args.threads)?,
        samples: args.samples,
    };
    match args {
        Args { kernels: true, .. } => kernels::run(args, &conditions),
        Args { to_accuracy: true, .. } => accuracy::run(args, &settings, &conditions),
        _ => recipes::run(args, &settings, &conditions),
    }
}

/// A recipe with its batches cut as the options ask for.
fn cut(args: &Args, settings: &Settings, recipe: &mut Recipe) -> Result<()> {
    if let Some(shards) = settings.shards(args.shards)? {
        recipe.task.shards = shards;
    }
    if let Some(over) = settings.batch_norm_over(args.batch_norm_over.clone())? {
        recipe.task.batch_norm_over = over.parse()?;
    }
    Ok(())
}

impl Conditions {
    /// The pool of the most threads, in the precision of the recipes if they have one in common; else in f32.
    fn pool_for(&self, recipes: &[Recipe]) -> Result<Pool> {
        let mut precisions = recipes.iter().map(|recipe| recipe.task.precision);
        let first = precisions.next().unwrap_or_default();
        let precision = if precisions.all(|other| other == first) { first } else { Precision::F32 };
        let pool = settings::pool(self.isa, self.most_threads())?.with_precision(precision)?;
        settings::note_slow(pool.arithmetic());
        Ok(pool)
    }

    /// The most threads of any measurement.
    fn most_threads(&self) -> usize {
        self.threads.iter().copied().max().unwrap_or(1)
    }
}

/// One digit after the point; a dash for what does not apply.
fn figure(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.1}"))
}

/// Three figures, from microseconds to seconds.
fn milliseconds(ms: f64) -> String {
    match ms {
        ..1.0 => format!("{ms:.4}"),
        ..100.0 => format!("{ms:.2}"),
        _ => format!("{ms:.0}"),
    }
}
