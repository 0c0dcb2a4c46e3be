//! `threadcount bench [RECIPE ...]`: whole training steps.

use super::{Args, Conditions, again, cut, figure, milliseconds, profile};
use crate::Result;
use crate::bench::{
    Baseline, Detail, Extent, Facts, TrainingRate, endless, measure_training, warm_up,
};
use crate::cli::data;
use crate::cli::settings::Settings;
use crate::cli::table::Table;
use crate::cli::{Steps, table};
use crate::data::Dataset;
use crate::reports::{self, Recipe};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use threadcount_kernels::Pool;

/// One recipe with one number of threads; the fields are those of the JSON document.
#[derive(Serialize, Deserialize)]
struct Row {
    recipe: String,
    threads: usize,
    isa: String,
    precision: String,
    images_per_second: f64,
    ms_per_step: f64,
    gflops: f64,
    percent_of_peak: f64,
    naive_ratio: Option<f64>,
    early_ratio: Option<f64>,
    peak_rss_mib: Option<f64>,
    /// Only where it was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    profile: Vec<profile::Row>,
}

#[derive(Serialize)]
struct Document<'a> {
    machine: &'a Facts,
    recipes: &'a [Row],
}

/// The part that is read of another process's document for one recipe and number of threads.
#[derive(Deserialize)]
struct Part {
    recipes: Vec<Row>,
}

pub(super) fn run(args: &Args, settings: &Settings, conditions: &Conditions) -> Result<()> {
    let mut recipes = reports::select(&args.names)?;
    settings.in_precision(&args.precision, recipes.iter_mut().map(|recipe| &mut recipe.task))?;
    recipes.iter_mut().try_for_each(|recipe| cut(args, settings, recipe))?;
    args.json.check()?;
    let dataset = data::open(settings.data(&args.data)?.as_deref())?;
    let pool = conditions.pool_for(&recipes)?;
    let rows = match (&recipes[..], &conditions.threads[..]) {
        ([recipe], [_]) => {
            vec![measure_here(args, &pool, recipe, &dataset)?]
        }
        _ => measure_elsewhere(args, conditions, &recipes, &dataset.origin)?,
    };
    let facts = Facts::of(&pool);
    let json = table::json(&Document { machine: &facts, recipes: &rows })?;
    args.json.put(&json, &report(args, &facts, &rows))
}

/// Measures each recipe with each number of threads in a process of its own.
fn measure_elsewhere(
    args: &Args,
    conditions: &Conditions,
    recipes: &[Recipe],
    data: &Path,
) -> Result<Vec<Row>> {
    let count = recipes.len() * conditions.threads.len();
    let progress =
        Steps::announced(count, &format!("measuring {}", table::count(count, "training speed")));
    let mut rows = Vec::new();
    for recipe in recipes {
        for &threads in &conditions.threads {
            let what = format!("{} with {}", recipe.id, table::threads(threads));
            progress.begin(&what);
            let mut command = again::bench(conditions, threads)?;
            command.arg(recipe.argument()).arg("--data").arg(data);
            match args.baseline {
                None => {}
                Some(Baseline::Naive) => _ = command.args(["--baseline", "naive"]),
                Some(Baseline::Early) => _ = command.args(["--baseline", "early"]),
            }
            if let Some(shards) = args.shards {
                command.args(["--shards", &shards.to_string()]);
            }
            if let Some(over) = &args.batch_norm_over {
                command.args(["--batch-norm-over", over]);
            }
            if args.profile {
                command.arg("--profile");
            }
            // It would announce the same data each time.
            command.stderr(Stdio::piped());
            let part: Part = again::document(command, &what)?;
            rows.extend(part.recipes);
        }
    }
    Ok(rows)
}

fn measure_here(args: &Args, pool: &Pool, recipe: &Recipe, dataset: &Arc<Dataset>) -> Result<Row> {
    let task = endless(&recipe.task);
    let split = data::split(&task.selection, dataset, 0)?;
    let extent = Extent {
        samples: args.samples,
        baseline: args.baseline,
        detail: if args.profile { Detail::Phases } else { Detail::Steps },
    };
    warm_up(pool);
    let measured = measure_training(pool, &task, &split, extent)?;
    let TrainingRate { images_per_second, .. } = measured;
    Ok(Row {
        recipe: recipe.id.to_string(),
        threads: pool.threads(),
        isa: pool.isa().name().to_owned(),
        precision: pool.arithmetic().precision.name().to_owned(),
        images_per_second,
        ms_per_step: 1e3 * task.batch_size as f64 / images_per_second,
        gflops: measured.flops_per_second / 1e9,
        percent_of_peak: measured.share_of_peak * 100.0,
        naive_ratio: measured.naive_ratio,
        early_ratio: measured.early_ratio,
        peak_rss_mib: measured.peak_memory.map(|bytes| bytes as f64 / f64::from(1 << 20)),
        profile: measured.phases.iter().map(profile::Row::of).collect(),
    })
}

/// The table, with what it was measured on above it and what its columns mean below it.
fn report(args: &Args, facts: &Facts, rows: &[Row]) -> String {
    let naive = args.baseline == Some(Baseline::Naive);
    let early = args.baseline == Some(Baseline::Early);
    let mut header = vec![
        "recipe",
        "threads",
        "images/s",
        "ms/step",
        "GFLOP/s",
        "% of peak",
        "efficiency %",
        "peak MiB",
    ];
    header.extend(naive.then_some("x naive"));
    header.extend(early.then_some("x early"));
    let mut table = Table::new(&header, &["recipe"]).with_keys(2);
    for row in rows {
        let mut cells = vec![
            row.recipe.clone(),
            row.threads.to_string(),
            table::rate(row.images_per_second),
            milliseconds(row.ms_per_step),
            figure(Some(row.gflops)),
            figure(Some(row.percent_of_peak)),
            figure(efficiency(row, rows).map(|share| share * 100.0)),
            row.peak_rss_mib.map_or("-".to_owned(), |mib| format!("{mib:.0}")),
        ];
        cells.extend(naive.then(|| figure(row.naive_ratio)));
        let share = |ratio: f64| format!("{ratio:.3}");
        cells.extend(early.then(|| row.early_ratio.map_or("-".to_owned(), share)));
        table.add_row(cells);
    }
    let mut text = format!("{}\n{table}\n\n", table::bench_heading(facts));
    let mut notes = format!(
        "Whole training steps late in a training, picking the batch included; medians of {}.\n\
         GFLOP/s: the products of dense, convolutional and recurrent layers by the plain algorithm, forward and backward, \
         without the gradient by the images; nothing that is done to each element once counts. The \
         peak is that of FMA on registers with the same threads, measured before each sample. \
         Efficiency: the rate as a share of that of one thread, times the threads. Peak MiB: the most \
         memory of the process, mapped images included.\n",
        table::count(args.samples, "sample"),
    );
    if naive {
        notes += "x naive: times as fast as the same network by plain loops on one thread.\n";
    }
    if early {
        notes += "x early: times as fast as in the first second of training. Measured is the state after \
                 1,000 steps in which what the optimizer remembers of dead weights has died too.\n";
    }
    text += &table::prose(&notes);
    for row in rows.iter().filter(|row| !row.profile.is_empty()) {
        let title = format!("{}, {}", row.recipe, table::threads(row.threads));
        text += &profile::section(&title, &row.profile);
    }
    if args.profile {
        text += &table::prose(profile::NOTE);
    }
    text
}

/// The rate as a share of that of one thread times the threads, if one thread was measured too.
fn efficiency(row: &Row, rows: &[Row]) -> Option<f64> {
    let one = rows.iter().find(|other| other.recipe == row.recipe && other.threads == 1)?;
    let several = row.threads > 1;
    several.then(|| row.images_per_second / (row.threads as f64 * one.images_per_second))
}
