//! `threadcount reproduce`: what the reports claimed next to what is measured here.

use super::data;
use super::report::{Comparison, Folder};
use super::runs::{Measured, RepeatsFlag, Runs, Spread, seeds};
use super::settings::{MeasureFlags, Settings};
use super::table::Table;
use super::{interrupt, table};
use crate::bench::Facts;
use crate::data::Identity;
use crate::reports::{self, Claim, Recipe};
use crate::{Result, console};
use serde::Serialize;
use std::path::{PathBuf, absolute};
use std::time::Instant;
use threadcount_kernels::Precision;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Reports or recipes ('threadcount list' shows them) [default: all of them]
    #[arg(value_name = "REPORT|RECIPE")]
    names: Vec<String>,
    #[command(flatten)]
    repeats: RepeatsFlag,
    /// Folder for the report, a page for a browser [default: a new one, runs/reproduce]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    flags: MeasureFlags,
}

#[derive(Serialize)]
struct Document<'a> {
    machine: &'a Facts,
    results: &'a [Measured],
}

/// Everything that the runs have in common.
struct Bench {
    runs: Runs,
    /// Claims are about Fashion-MNIST and compared with nothing else.
    claims: Claims,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Claims {
    Compared,
    LeftOut,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let settings = Settings::load()?;
    let repeats = args.repeats.checked()?;
    let mut recipes = reports::select(&args.names)?;
    settings.in_precision(&args.flags.precision, recipes.iter_mut().map(|r| &mut r.task))?;
    let seed = settings.seed(&args.flags.seed)?;
    let pool = settings.pool_in(&args.flags.compute, &args.flags.precision)?;
    args.flags.json.check()?;
    let dataset = data::open(settings.data(&args.flags.data)?.as_deref())?;
    let claims = match dataset.identity {
        Identity::FashionMnist => Claims::Compared,
        Identity::Synthetic | Identity::Other => Claims::LeftOut,
    };
    let bench = Bench { runs: Runs { pool, dataset }, claims };
    let recipes: Vec<Recipe> = recipes.into_iter().map(|recipe| bench.compared(recipe)).collect();
    let folder = Folder::make(args.out.as_deref(), &settings.runs()?)?;
    interrupt::listen("stopping after this batch; the finished results are printed");

    let began = Instant::now();
    let mut results = Vec::new();
    let ended = bench.runs.measure_all(&recipes, repeats, seed, &mut results);
    // Whatever ended the runs, what they measured until then is not lost.
    let facts = Facts::of(&bench.runs.pool);
    if results.is_empty() {
        folder.give_up();
    } else {
        let text = bench.report(&facts, &recipes, &results, began.elapsed().as_secs_f64());
        let json = table::json(&Document { machine: &facts, results: &results })?;
        args.flags.json.put(&json, &text)?;
        let page = folder.write(
            &Comparison {
                facts: &facts,
                recipes: &recipes,
                results: &results,
                other_data: bench.other_data(),
                words: args.words(repeats, seed, &bench),
                ended: ended.as_ref().err().map(ToString::to_string),
            },
            &json,
        )?;
        console::note(&format!("\nthe report is {}", page.display()));
    }
    ended
}

impl Args {
    /// The words of the command that measures the same again, wherever it is given.
    fn words(&self, repeats: usize, seed: u64, bench: &Bench) -> Vec<String> {
        let Runs { pool, dataset } = &bench.runs;
        let data = absolute(&dataset.origin).unwrap_or_else(|_| dataset.origin.clone());
        let precision = pool.arithmetic().precision;
        let options = [
            ("--repeats", repeats.to_string()),
            ("--seed", seed.to_string()),
            ("--threads", pool.threads().to_string()),
            ("--isa", pool.isa().name().to_owned()),
            ("--data", data.display().to_string()),
        ];
        let mut words = vec!["threadcount".to_owned(), "reproduce".to_owned()];
        words.extend(self.names.iter().cloned());
        if precision != Precision::F32 {
            words.extend(["--precision".to_owned(), precision.name().to_owned()]);
        }
        words.extend(options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]));
        words
    }
}

impl Bench {
    /// The recipe, without its claim if these data may not be compared with it.
    fn compared(&self, recipe: Recipe) -> Recipe {
        match self.claims {
            Claims::Compared => recipe,
            Claims::LeftOut => Recipe { claim: Claim::default(), ..recipe },
        }
    }

    /// What the data are, if no claim is about them.
    fn other_data(&self) -> Option<String> {
        let text = data::other_images(&self.runs.dataset);
        let left_out =
            "The reports' claims are left out: nothing below may be compared with them.\n";
        (self.claims == Claims::LeftOut).then(|| text + left_out)
    }

    /// The table, with what it was measured on above it and the notes below it.
    fn report(
        &self,
        facts: &Facts,
        recipes: &[Recipe],
        results: &[Measured],
        seconds: f64,
    ) -> String {
        let mut text = table::heading(facts, &seeds(results));
        text += &table::prose(&self.other_data().unwrap_or_default());
        text += &format!("\n{}\n\n", self.table(recipes, results));
        for recipe in recipes.iter().filter(|r| results.iter().any(|m| m.recipe == r.id)) {
            if let Some(note) = recipe.claim.note {
                text += &table::prose(&format!("{}: {note}.\n", recipe.id));
            }
        }
        text += &table::prose(&format!(
            "Accuracy in % on the test samples{}. Time: training and validation, all epochs. \
             Images/s: training steps only.\n{} in {}.\n",
            if results.len() > recipes.len() {
                ", mean (lowest-highest) over the seeds"
            } else {
                ""
            },
            table::count(results.len(), "run"),
            table::duration(seconds)
        ));
        text
    }

    fn table(&self, recipes: &[Recipe], results: &[Measured]) -> Table {
        let claims = self.claims == Claims::Compared;
        let claimed: &[&str] = if claims { &["claimed"] } else { &[] };
        let claimed_time: &[&str] = if claims { &["claimed time"] } else { &[] };
        let header = [
            &["recipe"],
            claimed,
            &["accuracy"],
            claimed_time,
            &["time", "images/s", "parameters", "epochs"],
        ]
        .concat();
        let mut table = Table::new(&header, &["recipe"]);
        for recipe in recipes {
            let runs: Vec<&Measured> = results.iter().filter(|m| m.recipe == recipe.id).collect();
            let Some(first) = runs.first() else { continue };
            let mut row = vec![recipe.id.to_string()];
            if claims {
                row.push(table::span(recipe.claim.accuracy, table::percent, ""));
            }
            row.push(Spread::of(&runs, |m| m.test_accuracy).text(table::percent));
            if claims {
                row.push(table::span(recipe.claim.seconds, |s| format!("{s:.0}"), " s"));
            }
            let mean = |of: fn(&Measured) -> f64| Spread::of(&runs, of).mean;
            row.push(format!("{} s", table::seconds(mean(|m| m.train_seconds))));
            row.push(table::rate(mean(|m| m.images_per_second)));
            row.push(table::grouped(first.parameters as u64));
            row.push(whole_spread(&runs));
            table.add_row(row);
        }
        table
    }
}

/// The epochs, which early stopping makes differ between repeats.
fn whole_spread(runs: &[&Measured]) -> String {
    let low = runs.iter().map(|m| m.epochs).min().unwrap_or(0);
    let high = runs.iter().map(|m| m.epochs).max().unwrap_or(0);
    if low == high { low.to_string() } else { format!("{low}-{high}") }
}
