//! `threadcount reproduce`: what the reports claimed next to what is measured here.

use super::data;
use super::json::JsonFlag;
use super::progress::Progress;
use super::settings::{ComputeFlags, DataFlag, SeedFlag, Settings};
use super::{interrupt, table};
use crate::bench::Facts;
use crate::data::{Dataset, Identity};
use crate::reports::{self, Claim, Recipe, Span};
use crate::train::{Ended, Session};
use crate::{Error, Result};
use comfy_table::Table;
use serde::Serialize;
use std::sync::Arc;
use std::time::Instant;
use threadcount_kernels::Pool;

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

/// One training run; the fields are those of the JSON document.
#[derive(Serialize)]
struct Measured {
    recipe: String,
    claimed_accuracy: Option<f64>,
    test_accuracy: f64,
    test_loss: f64,
    claimed_seconds: Option<f64>,
    train_seconds: f64,
    images_per_second: f64,
    epochs: usize,
    parameters: usize,
    seed: u64,
    threads: usize,
    isa: &'static str,
    data: &'static str,
}

#[derive(Serialize)]
struct Document<'a> {
    machine: &'a Facts,
    results: &'a [Measured],
}

/// Everything that the runs have in common.
struct Bench {
    pool: Pool,
    dataset: Arc<Dataset>,
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
    let bench = Bench { pool, dataset, claims };
    interrupt::listen("stopping after this batch; the finished results are printed");

    let began = Instant::now();
    let mut results = Vec::new();
    let ended = bench.measure_all(&recipes, args.repeats, seed, &mut results);
    // Whatever ended the runs, what they measured until then is not lost.
    let facts = Facts::of(&bench.pool);
    if !results.is_empty() {
        let text = bench.report(&facts, &recipes, &results, began.elapsed().as_secs_f64());
        let json = table::json(&Document { machine: &facts, results: &results })?;
        args.json.put(&json, &text)?;
    }
    ended
}

impl Bench {
    fn measure_all(
        &self,
        recipes: &[Recipe],
        repeats: usize,
        seed: u64,
        results: &mut Vec<Measured>,
    ) -> Result<()> {
        let runs = recipes.len() * repeats;
        for recipe in recipes {
            for repeat in 0..repeats as u64 {
                let number = results.len() + 1;
                let measured = self.measure(recipe, seed.wrapping_add(repeat), number, runs)?;
                results.push(measured);
            }
        }
        Ok(())
    }

    fn measure(&self, recipe: &Recipe, seed: u64, number: usize, runs: usize) -> Result<Measured> {
        let task = &recipe.task;
        let split = data::split(&task.selection, &self.dataset, seed)?;
        let mut session = Session::new(task, &split, seed)?;
        let digits = runs.to_string().len();
        let name = format!("[{number:>digits$}/{runs}] {:<17} seed {seed}", recipe.id);
        let mut progress = Progress::new();
        progress.begin(&format!("{name}  training ..."));
        let (ended, score) = self.pool.enter(|team| -> Result<_> {
            let mut watch =
                |session: &Session<'_>, moment| Ok(progress.watch(&name, session, moment));
            let ended = session.train(team, &mut watch)?;
            Ok((ended, session.test(team)?))
        })?;
        progress.finish();
        if ended == Ended::Interrupted {
            return Err(Error::Interrupted(format!(" in run {number} of {runs} ({})", recipe.id)));
        }
        let done = session.progress().clone();
        progress.line(&format!(
            "{name}  accuracy {} %  {} s",
            table::percent(score.accuracy),
            table::seconds(done.train_seconds)
        ));
        let claim = self.claim(recipe);
        Ok(Measured {
            recipe: recipe.id.to_string(),
            claimed_accuracy: claim.accuracy.map(Span::middle),
            test_accuracy: score.accuracy,
            test_loss: score.loss,
            claimed_seconds: claim.seconds.map(Span::middle),
            train_seconds: done.train_seconds,
            images_per_second: done.images_per_second(),
            epochs: done.history.epochs.len(),
            parameters: session.network().plan().parameter_count(),
            seed,
            threads: self.pool.threads(),
            isa: self.pool.isa().name(),
            data: self.dataset.identity.name(),
        })
    }

    /// The recipe's claim, as far as these data may be compared with it.
    fn claim(&self, recipe: &Recipe) -> Claim {
        match self.claims {
            Claims::Compared => recipe.claim,
            Claims::LeftOut => Claim::default(),
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
                match self.dataset.identity {
                    Identity::Synthetic => "drawn, synthetic images",
                    _ => "other images",
                },
                self.dataset.origin.display()
            );
        }
        text += &format!("\n{}\n\n", self.table(recipes, results));
        for recipe in recipes.iter().filter(|r| results.iter().any(|m| m.recipe == r.id)) {
            if let Some(note) = self.claim(recipe).note {
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
            row.push(spread(&runs, |m| m.test_accuracy, table::percent));
            if claims {
                row.push(table::span(recipe.claim.seconds, |s| format!("{s:.0}"), " s"));
            }
            let mean = |of: fn(&Measured) -> f64| {
                runs.iter().map(|m| of(m)).sum::<f64>() / runs.len() as f64
            };
            row.push(format!("{} s", table::seconds(mean(|m| m.train_seconds))));
            row.push(table::rate(mean(|m| m.images_per_second)));
            row.push(table::grouped(first.parameters as u64));
            row.push(whole_spread(&runs));
            table.add_row(row);
        }
        table
    }
}

/// The mean over the repeats, with the lowest and the highest.
fn spread(runs: &[&Measured], of: fn(&Measured) -> f64, write: fn(f64) -> String) -> String {
    let values = || runs.iter().map(|m| of(m));
    let mean = write(values().sum::<f64>() / runs.len() as f64);
    if runs.len() == 1 {
        return mean;
    }
    let low = values().fold(f64::INFINITY, f64::min);
    let high = values().fold(f64::NEG_INFINITY, f64::max);
    format!("{mean} ({}-{})", write(low), write(high))
}

/// The epochs, which early stopping makes differ between repeats.
fn whole_spread(runs: &[&Measured]) -> String {
    let low = runs.iter().map(|m| m.epochs).min().unwrap_or(0);
    let high = runs.iter().map(|m| m.epochs).max().unwrap_or(0);
    if low == high { low.to_string() } else { format!("{low}-{high}") }
}
