//! `threadcount reproduce`: what the reports claimed next to what is measured here.

use super::data;
use super::json::JsonFlag;
use super::runs::{Measured, Runs, Spread};
use super::settings::{ComputeFlags, DataFlag, SeedFlag, Settings};
use super::{interrupt, table};
use crate::bench::Facts;
use crate::data::Identity;
use crate::reports::{self, Claim, Recipe};
use crate::{Error, Result};
use comfy_table::Table;
use serde::Serialize;
use std::time::Instant;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Reports or recipes ('threadcount list' shows them) [default: all of them]
    #[arg(value_name = "REPORT|RECIPE")]
    names: Vec<String>,
    /// Train each recipe this many times, with consecutive seeds
    #[arg(long, value_name = "N", default_value_t = 1)]
    repeats: usize,
    #[command(flatten)]
    json: JsonFlag,
    #[command(flatten)]
    seed: SeedFlag,
    #[command(flatten)]
    compute: ComputeFlags,
    #[command(flatten)]
    data: DataFlag,
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
    if args.repeats == 0 {
        return Err(Error::Usage("--repeats 0: at least 1".into()));
    }
    let recipes = reports::select(&args.names)?;
    let seed = settings.seed(&args.seed)?;
    let pool = settings.pool(&args.compute)?;
    args.json.check()?;
    let dataset = data::open(settings.data(&args.data)?.as_deref())?;
    let claims = match dataset.identity {
        Identity::FashionMnist => Claims::Compared,
        Identity::Synthetic | Identity::Other => Claims::LeftOut,
    };
    let bench = Bench { runs: Runs { pool, dataset }, claims };
    let recipes: Vec<Recipe> = recipes.into_iter().map(|recipe| bench.compared(recipe)).collect();
    interrupt::listen("stopping after this batch; the finished results are printed");

    let began = Instant::now();
    let mut results = Vec::new();
    let ended = bench.runs.measure_all(&recipes, args.repeats, seed, &mut results);
    // Whatever ended the runs, what they measured until then is not lost.
    let facts = Facts::of(&bench.runs.pool);
    if !results.is_empty() {
        let text = bench.report(&facts, &recipes, &results, began.elapsed().as_secs_f64());
        let json = table::json(&Document { machine: &facts, results: &results })?;
        args.json.put(&json, &text)?;
    }
    ended
}

impl Bench {
    /// The recipe, without its claim if these data may not be compared with it.
    fn compared(&self, recipe: Recipe) -> Recipe {
        match self.claims {
            Claims::Compared => recipe,
            Claims::LeftOut => Recipe { claim: Claim::default(), ..recipe },
        }
    }

    /// The table, with what it was measured on above it and the notes below it.
    fn report(
        &self,
        facts: &Facts,
        recipes: &[Recipe],
        results: &[Measured],
        seconds: f64,
    ) -> String {
        let first = results.iter().map(|r| r.seed).min().unwrap_or(0);
        let last = results.iter().map(|r| r.seed).max().unwrap_or(0);
        let seeds =
            if first == last { format!("seed {first}") } else { format!("seeds {first}-{last}") };
        let mut text = format!(
            "threadcount {}: {}, {}, {}, {seeds}\n",
            facts.version,
            facts.machine.cpu,
            table::threads(facts.threads),
            facts.isa
        );
        if self.claims == Claims::LeftOut {
            text += &format!(
                "NOT FASHION-MNIST: these are {}, from {}.\n\
                 The reports' claims are left out: nothing below may be compared with them.\n",
                match self.runs.dataset.identity {
                    Identity::Synthetic => "drawn, synthetic images",
                    _ => "other images",
                },
                self.runs.dataset.origin.display()
            );
        }
        text += &format!("\n{}\n\n", self.table(recipes, results));
        for recipe in recipes.iter().filter(|r| results.iter().any(|m| m.recipe == r.id)) {
            if let Some(note) = recipe.claim.note {
                text += &format!("{}: {note}.\n", recipe.id);
            }
        }
        text += &format!(
            "Accuracy in % on the test samples{}. Time: training and validation, all epochs. \
             Images/s: training steps only.\n{} in {}.\n",
            if results.len() > recipes.len() {
                ", mean (lowest-highest) over the seeds"
            } else {
                ""
            },
            table::count(results.len(), "run"),
            table::duration(seconds)
        );
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
        let mut table = table::markdown(&header, &["recipe"]);
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
