//! `threadcount record`: how long training takes to reach an accuracy, over several seeds.

use super::data;
use super::runs::{Measured, RepeatsFlag, Runs, Spread, seeds};
use super::settings::{MeasureFlags, Settings};
use super::table::Table;
use super::{choices, interrupt, table};
use crate::bench::Facts;
use crate::data::Identity;
use crate::names::shortened;
use crate::reports::{Recipe, Record, records};
use crate::{Error, Result};
use serde::Serialize;
use std::time::Instant;

#[derive(clap::Args)]
pub(super) struct Args {
    #[arg(value_name = "PERCENT", help = choices::record_targets())]
    targets: Vec<String>,
    #[command(flatten)]
    repeats: RepeatsFlag,
    #[command(flatten)]
    flags: MeasureFlags,
}

/// The JSON document.
#[derive(Serialize)]
struct Document<'a> {
    machine: &'a Facts,
    records: Vec<Summary>,
    results: &'a [Measured],
}

/// What the runs of a record amount to.
#[derive(Serialize)]
struct Summary {
    recipe: String,
    target: f64,
    /// Whether the mean accuracy is at least the target. Of other images than Fashion-MNIST, nothing is said.
    reached: Option<bool>,
    test_accuracy: Spread,
    train_seconds: Spread,
    images_per_second: Spread,
    fma_gflops: Spread,
    parameters: usize,
    epochs: usize,
    runs: usize,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let settings = Settings::load()?;
    let repeats = args.repeats.checked()?;
    let mut chosen = select(&args.targets)?;
    let tasks = chosen.iter_mut().map(|record| &mut record.recipe.task);
    settings.in_precision(&args.flags.precision, tasks)?;
    let seed = settings.seed(&args.flags.seed)?;
    let pool = settings.pool_in(&args.flags.compute, &args.flags.precision)?;
    args.flags.json.check()?;
    let dataset = data::open(settings.data(&args.flags.data)?.as_deref())?;
    let facts = Facts::of(&pool);
    let runs = Runs { pool, dataset };
    interrupt::listen("stopping after this batch; the finished results are printed");

    let began = Instant::now();
    let mut results = Vec::new();
    let recipes: Vec<Recipe> = chosen.iter().map(|record| record.recipe.clone()).collect();
    let ended = runs.measure_all(&recipes, repeats, seed, &mut results);
    if !results.is_empty() {
        let identity = runs.dataset.identity;
        let records: Vec<Summary> =
            chosen.iter().filter_map(|record| summary(record, identity, &results)).collect();
        let mut text = table::heading(&facts, &seeds(&results));
        if identity != Identity::FashionMnist {
            text += &table::prose(&data::other_images(&runs.dataset));
            text += "The targets do not apply to them.\n";
        }
        text += &format!(
            "\n{}\n\n{}{} in {}.\n",
            table(&records),
            table::prose(NOTES),
            table::count(results.len(), "run"),
            table::duration(began.elapsed().as_secs_f64())
        );
        let json = table::json(&Document { machine: &facts, records, results: &results })?;
        args.flags.json.put(&json, &text)?;
    }
    ended
}

/// The records of these targets, each once, in the order named; all of them for an empty list.
fn select(targets: &[String]) -> Result<Vec<Record>> {
    let all = records();
    if targets.is_empty() {
        return Ok(all);
    }
    let mut chosen: Vec<Record> = Vec::new();
    for target in targets {
        let percent = target.strip_suffix('%').unwrap_or(target).parse::<f64>();
        let named = |record: &&Record| {
            *target == record.recipe.id
                || percent.as_ref().is_ok_and(|p| (p / 100.0 - record.target).abs() < 1e-9)
        };
        let Some(record) = all.iter().find(named) else {
            let known: Vec<_> = all.iter().map(|r| format!("{:.0}", r.target * 100.0)).collect();
            return Err(Error::Usage(format!(
                "there is no record for '{}'; there are {}",
                shortened(target),
                known.join(", ")
            )));
        };
        if chosen.iter().all(|other| other.recipe.id != record.recipe.id) {
            chosen.push(record.clone());
        }
    }
    Ok(chosen)
}

/// Sums up the runs of a record; none if it has not been run.
fn summary(record: &Record, identity: Identity, results: &[Measured]) -> Option<Summary> {
    let runs: Vec<&Measured> =
        results.iter().filter(|run| run.recipe == record.recipe.id).collect();
    let first = runs.first()?;
    let test_accuracy = Spread::of(&runs, |run| run.test_accuracy);
    Some(Summary {
        recipe: record.recipe.id.to_string(),
        target: record.target,
        reached: (identity == Identity::FashionMnist)
            .then_some(test_accuracy.mean >= record.target),
        train_seconds: Spread::of(&runs, |run| run.train_seconds),
        images_per_second: Spread::of(&runs, |run| run.images_per_second),
        fma_gflops: Spread::of(&runs, |run| run.fma_gflops),
        parameters: first.parameters,
        epochs: first.epochs,
        runs: runs.len(),
        test_accuracy,
    })
}

fn table(records: &[Summary]) -> Table {
    let header = [
        "recipe",
        "target",
        "accuracy",
        "reached",
        "runs",
        "epochs",
        "time",
        "images/s",
        "peak GFLOP/s",
        "parameters",
    ];
    let mut table = Table::new(&header, &["recipe", "reached"]);
    for record in records {
        let reached = record.reached.map_or("-", |reached| if reached { "yes" } else { "no" });
        table.add_row([
            record.recipe.clone(),
            format!("{:.0} %", record.target * 100.0),
            record.test_accuracy.with_deviation(table::percent),
            reached.to_owned(),
            record.runs.to_string(),
            record.epochs.to_string(),
            format!("{} s", record.train_seconds.with_deviation(table::seconds)),
            table::rate(record.images_per_second.mean),
            format!("{:.0}", record.fma_gflops.mean),
            table::grouped(record.parameters as u64),
        ]);
    }
    table
}

const NOTES: &str = "\
Accuracy in % on the test images; with several seeds mean ± standard deviation (lowest-highest).
Reached: the mean is at least the target. Time: from the first batch to the end of the last epoch, with picking, \
augmenting and validation. Peak: what FMA on the registers of these threads reaches, measured before each run; the mean.
";

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(recipe: &str, accuracy: f64, seconds: f64) -> Measured {
        Measured {
            recipe: recipe.into(),
            claimed_accuracy: None,
            test_accuracy: accuracy,
            test_loss: 0.25,
            claimed_seconds: None,
            train_seconds: seconds,
            images_per_second: 1000.0 * seconds,
            fma_gflops: 30.0 * seconds,
            epochs: 3,
            parameters: 99_000,
            seed: 0,
            threads: 2,
            isa: "portable",
            precision: "f32",
            data: "fashion-mnist",
        }
    }

    #[test]
    fn a_target_is_named_by_its_percentage_or_its_recipe() {
        let ids = |targets: &[&str]| {
            let targets: Vec<String> = targets.iter().map(|&t| t.to_owned()).collect();
            select(&targets)
                .map(|records| records.iter().map(|r| r.recipe.id.to_string()).collect::<Vec<_>>())
        };
        assert_eq!(ids(&[]).unwrap(), ["record-92", "record-93", "record-94"]);
        assert_eq!(ids(&["93", "92%", "record-93", "92.0"]).unwrap(), ["record-93", "record-92"]);
        for unknown in ["91", "0.92", "nine", "", "93.5", "nan"] {
            let message = ids(&[unknown]).unwrap_err().to_string();
            assert!(message.contains("there are 92, 93, 94"), "{message}");
        }
    }

    #[test]
    fn a_record_is_reached_by_the_mean_of_its_own_runs() {
        let record = &records()[0];
        let mine = |accuracy, seconds| measured("record-92", accuracy, seconds);
        let other = measured("record-93", 0.5, 99.0);
        let of = |results: &[Measured]| summary(record, Identity::FashionMnist, results);
        assert!(of(&[other]).is_none());
        let results = [mine(0.915, 10.0), measured("record-93", 0.5, 99.0), mine(0.926, 13.0)];
        let summed = of(&results).unwrap();
        assert_eq!(summed.reached, Some(true));
        assert_eq!((summed.runs, summed.epochs, summed.parameters), (2, 3, 99_000));
        assert!((summed.test_accuracy.mean - 0.9205).abs() < 1e-12);
        assert_eq!((summed.test_accuracy.lowest, summed.test_accuracy.highest), (0.915, 0.926));
        assert!((summed.train_seconds.mean - 11.5).abs() < 1e-12);
        assert!((summed.images_per_second.mean - 11_500.0).abs() < 1e-9);
        let deviation = summed.train_seconds.deviation.unwrap();
        assert!((deviation - 4.5_f64.sqrt()).abs() < 1e-12, "{deviation}");

        assert_eq!(of(&[mine(0.92, 1.0)]).unwrap().reached, Some(true));
        assert_eq!(of(&[mine(0.9199, 1.0)]).unwrap().reached, Some(false));
        let elsewhere = summary(record, Identity::Synthetic, &[mine(0.99, 1.0)]).unwrap();
        assert_eq!(elsewhere.reached, None);
    }

    #[test]
    fn the_table_gives_mean_deviation_and_range() {
        let results = [measured("record-92", 0.915, 10.0), measured("record-92", 0.926, 13.0)];
        let summed = summary(&records()[0], Identity::FashionMnist, &results).unwrap();
        let text = table(&[summed]).text(200);
        let cells = |begin: &str| {
            let row = text.lines().find(|line| line.starts_with(begin)).unwrap();
            row.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>()
        };
        let expected = [
            ("recipe", "record-92"),
            ("target", "92 %"),
            ("accuracy", "92.05 ± 0.78 (91.50-92.60)"),
            ("reached", "yes"),
            ("runs", "2"),
            ("epochs", "3"),
            ("time", "11.5 ± 2.12 (10.0-13.0) s"),
            ("images/s", "11,500"),
            ("peak GFLOP/s", "345"),
            ("parameters", "99,000"),
        ];
        assert_eq!(cells("| recipe"), expected.map(|(heading, _)| heading));
        assert_eq!(cells("| record-92"), expected.map(|(_, cell)| cell));
    }
}
