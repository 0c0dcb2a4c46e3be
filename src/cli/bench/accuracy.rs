//! `threadcount bench --to-accuracy`: seconds until the reports' claimed accuracies.

use super::{Args, Conditions};
use crate::bench::{Attempt, Facts, Outcome, to_accuracy};
use crate::cli::data;
use crate::cli::progress::Progress;
use crate::cli::settings::{self, Settings, note_slow};
use crate::cli::table::Table;
use crate::cli::{interrupt, table};
use crate::data::{Dataset, Identity};
use crate::reports::{self, Claim, Recipe, Span};
use crate::train::Session;
use crate::{Error, Result};
use serde::Serialize;
use std::sync::Arc;
use threadcount_kernels::Pool;

/// One recipe with one number of threads; the fields are those of the JSON document.
#[derive(Serialize)]
struct Row {
    recipe: String,
    threads: usize,
    isa: &'static str,
    precision: &'static str,
    claimed_accuracy: f64,
    claimed_seconds: Option<f64>,
    /// Time of the median seed, if that one reached the accuracy.
    seconds: Option<f64>,
    epochs: Option<usize>,
    seeds: usize,
    /// Seeds that reached it.
    reached: usize,
    best_accuracy: f64,
}

#[derive(Serialize)]
struct Document<'a> {
    machine: &'a Facts,
    recipes: &'a [Row],
}

pub(super) fn run(args: &Args, settings: &Settings, conditions: &Conditions) -> Result<()> {
    if args.seeds == 0 {
        return Err(Error::Usage("--seeds 0: at least 1".into()));
    }
    let mut selected = reports::select(&args.names)?;
    settings.in_precision(&args.precision, selected.iter_mut().map(|recipe| &mut recipe.task))?;
    let (recipes, silent): (Vec<Recipe>, Vec<Recipe>) =
        selected.into_iter().partition(|recipe| recipe.claim.accuracy.is_some());
    let silent = silent.iter().map(|recipe| &*recipe.id).collect::<Vec<_>>().join(", ");
    if recipes.is_empty() {
        return Err(Error::Usage(format!("no accuracy is claimed of {silent}")));
    }
    args.json.check()?;
    let dataset = data::open(settings.data(&args.data)?.as_deref())?;
    if dataset.identity != Identity::FashionMnist {
        return Err(Error::data(
            &dataset.origin,
            "not Fashion-MNIST, which the reports' claims are about; `threadcount data fetch` gets it",
        ));
    }
    // Each number of threads takes minutes: only those that are asked for.
    let threads = match args.threads.is_empty() {
        true => vec![conditions.most_threads()],
        false => conditions.threads.clone(),
    };
    let pools: Result<Vec<Pool>> =
        threads.iter().map(|&threads| settings::pool(conditions.isa, threads)).collect();
    interrupt::listen("stopping after this batch; the finished results are printed");

    let mut rows = Vec::new();
    let ended = measure_all(&pools?, &recipes, &dataset, args.seeds, &mut rows);
    // Whatever ended the runs, what they measured until then is not lost.
    if !rows.is_empty() {
        let facts = Facts::of(&conditions.pool_for(&recipes)?);
        let json = table::json(&Document { machine: &facts, recipes: &rows })?;
        args.json.put(&json, &report(&facts, &recipes, &rows, &silent))?;
    }
    ended
}

fn measure_all(
    pools: &[Pool],
    recipes: &[Recipe],
    dataset: &Arc<Dataset>,
    seeds: usize,
    rows: &mut Vec<Row>,
) -> Result<()> {
    for recipe in recipes {
        let Some(claimed) = recipe.claim.accuracy else { continue };
        for pool in pools {
            let mut attempts = Vec::new();
            for seed in 0..seeds as u64 {
                attempts.push(attempt(pool, recipe, dataset, seed, claimed.middle())?);
            }
            let middle = Attempt::median(&attempts);
            let reached = |attempt: &&Attempt| attempt.outcome == Outcome::Reached;
            rows.push(Row {
                recipe: recipe.id.to_string(),
                threads: pool.threads(),
                isa: pool.isa().name(),
                precision: recipe.task.precision.name(),
                claimed_accuracy: claimed.middle(),
                claimed_seconds: recipe.claim.seconds.map(Span::middle),
                seconds: middle.map(|attempt| attempt.seconds),
                epochs: middle.map(|attempt| attempt.epochs),
                seeds,
                reached: attempts.iter().filter(reached).count(),
                best_accuracy: attempts.iter().fold(0.0, |best, run| run.best_accuracy.max(best)),
            });
        }
    }
    Ok(())
}

/// Trains one seed, with its line of progress.
fn attempt(
    pool: &Pool,
    recipe: &Recipe,
    dataset: &Arc<Dataset>,
    seed: u64,
    accuracy: f64,
) -> Result<Attempt> {
    let split = data::split(&recipe.task.selection, dataset, seed)?;
    let name = format!("{:<17} {} seed {seed}", recipe.id, table::threads(pool.threads()));
    let mut progress = Progress::new();
    let arithmetic = recipe.task.arithmetic(pool.isa())?;
    note_slow(arithmetic);
    let attempt = pool.enter_with(arithmetic, |team| {
        let mut watch = |session: &Session<'_>, moment| Ok(progress.watch(&name, session, moment));
        to_accuracy(team, &recipe.task, &split, seed, accuracy, &mut watch)
    });
    progress.finish();
    let attempt = attempt?;
    let Attempt { epochs, seconds, best_accuracy, .. } = attempt;
    let outcome = match attempt.outcome {
        Outcome::Reached => "reached",
        Outcome::Missed => "missed",
        Outcome::Interrupted => return Err(Error::Interrupted(format!(" in {name}"))),
    };
    progress.line(&format!(
        "{name}  {outcome} {} %  best {} %  {}  {} s",
        table::percent(accuracy),
        table::percent(best_accuracy),
        table::count(epochs, "epoch"),
        table::seconds(seconds)
    ));
    Ok(attempt)
}

/// The table, with what it was measured on above it and what its columns mean below it.
fn report(facts: &Facts, recipes: &[Recipe], rows: &[Row], silent: &str) -> String {
    let header =
        ["recipe", "threads", "claimed", "seeds", "best", "epochs", "time", "claimed time"];
    let mut table = Table::new(&header, &["recipe", "threads"]).with_keys(2);
    let mut notes = String::new();
    for recipe in recipes {
        let Claim { accuracy, seconds, note } = recipe.claim;
        for row in rows.iter().filter(|row| row.recipe == recipe.id) {
            table.add_row([
                row.recipe.to_owned(),
                row.threads.to_string(),
                table::span(accuracy, table::percent, ""),
                format!("{} of {}", row.reached, row.seeds),
                table::percent(row.best_accuracy),
                row.epochs.map_or("-".to_owned(), |epochs| epochs.to_string()),
                row.seconds
                    .map_or("not reached".to_owned(), |s| format!("{} s", table::seconds(s))),
                table::span(seconds, |s| format!("{s:.0}"), " s"),
            ]);
        }
        if let Some(note) = note.filter(|_| rows.iter().any(|row| row.recipe == recipe.id)) {
            notes += &format!("{}: {note}.\n", recipe.id);
        }
    }
    notes += "Until the accuracy that the report claims (of a range, its middle) is reached on the test \
             images, looked at after every epoch. Time and epochs: of the median seed, a miss counting \
             as endless; training and the recipe's own validation, without these looks. Seeds: how \
             many reached it within the recipe's epochs. Best: after any epoch of any seed, in %. \
             Claimed time: of the report's whole training, on its own machine.\n";
    if !silent.is_empty() {
        notes += &format!("No accuracy is claimed of {silent}.\n");
    }
    format!("{}\n{table}\n\n{}", table::bench_heading(facts), table::prose(&notes))
}
