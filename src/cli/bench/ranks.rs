//! `threadcount bench` under `mpirun`: what the ranks reach together. `threadcount bench --ranks`: that, and what more
//! ranks would reach over other networks.

use super::{Args, cut, figure, milliseconds};
use crate::bench::ranks::{
    Costs, FABRICS, RANKS, SharedRate, measure_shared, measure_shared_with_costs, simulate,
};
use crate::bench::{Facts, endless, warm_up};
use crate::cli::ranks::{self, Launched};
use crate::cli::settings::{self, Settings};
use crate::cli::table::Table;
use crate::cli::{Steps, data, table};
use crate::data::Dataset;
use crate::distributed::{World, in_world};
use crate::reports::{self, Recipe};
use crate::{Error, Result};
use serde::Serialize;
use std::sync::Arc;
use threadcount_kernels::machine::machine;
use threadcount_kernels::{Isa, Pool};

/// What the ranks reach with one recipe; the fields are those of the JSON document.
#[derive(Serialize)]
struct Row {
    recipe: String,
    ranks: usize,
    threads: usize,
    shards: usize,
    batch_size: usize,
    images_per_second: f64,
    ms_per_step: f64,
    percent_waiting: f64,
    exchange_ms: f64,
    percent_overlapped: f64,
    bytes_per_step: f64,
    messages_per_step: f64,
    /// Only where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<Model>,
}

/// What follows from the measurement.
#[derive(Serialize)]
struct Model {
    /// The cost of a message here, fitted.
    latency_us: f64,
    /// None if the latency alone takes as long as was measured.
    gbytes_per_second: Option<f64>,
    /// The measured step, as it follows from its parts.
    ms_per_step_here: f64,
    foretold: Vec<Foretold>,
}

/// The rate on more ranks.
#[derive(Serialize)]
struct Foretold {
    /// `recipe`: the recipe's batch is shared out; `scaled`: each rank has as many samples as the recipe's batch.
    batch: &'static str,
    network: &'static str,
    ranks: usize,
    batch_size: usize,
    images_per_second: f64,
    ms_per_step: f64,
    percent_efficiency: f64,
}

/// The two ways to use more ranks.
const BATCHES: [&str; 2] = ["recipe", "scaled"];

#[derive(Serialize)]
struct Document<'a> {
    machine: &'a Facts,
    recipes: &'a [Row],
}

pub(super) fn run(args: &Args, settings: &Settings) -> Result<()> {
    if Launched::of_environment().is_some() {
        return ranks::with_world(|world| {
            let dataset = open(args, settings)?;
            let (facts, rows) = measure(args, settings, world, &dataset)?;
            if world.is_first() { put(args, &facts, &rows) } else { Ok(()) }
        });
    }
    let dataset = open(args, settings)?;
    let threads = threads(args, settings)?;
    let count = (machine().physical_cores / threads).max(2);
    let all = in_world(count, |world| measure(args, settings, world, &dataset));
    // Rank 0 comes first; a fault of any other is one of all.
    let all = all.into_iter().collect::<Result<Vec<_>>>()?;
    all.first().map_or(Ok(()), |(facts, rows)| put(args, facts, rows))
}

fn open(args: &Args, settings: &Settings) -> Result<Arc<Dataset>> {
    args.json.check()?;
    data::open(settings.data(&args.data)?.as_deref())
}

/// The threads of each rank.
fn threads(args: &Args, settings: &Settings) -> Result<usize> {
    match args.threads[..] {
        [] => settings.rank_threads(None),
        [threads] => settings.rank_threads(Some(threads)),
        _ => Err(Error::Usage("--threads: one number with several ranks".into())),
    }
}

fn pool(args: &Args, settings: &Settings) -> Result<Pool> {
    let isa = settings.isa(&args.isa)?.unwrap_or_else(Isa::best);
    let precision = settings.precision(&args.precision)?.unwrap_or_default();
    Ok(settings::pool(isa, threads(args, settings)?)?.with_precision(precision)?)
}

fn measure(
    args: &Args,
    settings: &Settings,
    world: &World,
    dataset: &Arc<Dataset>,
) -> Result<(Facts, Vec<Row>)> {
    let mut recipes = reports::select(&args.names)?;
    settings.in_precision(&args.precision, recipes.iter_mut().map(|recipe| &mut recipe.task))?;
    let pool = pool(args, settings)?;
    let progress = world.is_first().then(|| {
        ranks::announce(pool.threads());
        let speeds = table::count(recipes.len(), "training speed");
        Steps::announced(recipes.len(), &format!("measuring {speeds} on {} ranks", world.size()))
    });
    warm_up(&pool);
    let mut rows = Vec::new();
    for recipe in &mut recipes {
        if let Some(progress) = &progress {
            progress.begin(&recipe.id);
        }
        // One shard cannot be shared out: without another number, each rank has one.
        if recipe.task.shards == 1 {
            recipe.task.shards = world.size();
        }
        cut(args, settings, recipe)?;
        rows.push(measure_one(args, &pool, world, recipe, dataset)?);
    }
    Ok((Facts::of(&pool), rows))
}

fn measure_one(
    args: &Args,
    pool: &Pool,
    world: &World,
    recipe: &Recipe,
    dataset: &Arc<Dataset>,
) -> Result<Row> {
    let task = endless(&recipe.task);
    let split = data::split(&task.selection, dataset, 0)?;
    let (rate, model) = match args.ranks {
        false => (measure_shared(pool, world, &task, &split, args.samples)?, None),
        true => {
            let all = measure_shared_with_costs(pool, world, &task, &split, args.samples)?;
            let model = world.is_first().then(|| foretell(&all.0, &all.1)).transpose()?;
            (all.0, model)
        }
    };
    Ok(Row {
        recipe: recipe.id.to_string(),
        ranks: rate.ranks,
        threads: rate.threads,
        shards: rate.shards,
        batch_size: rate.batch_size,
        images_per_second: rate.images_per_second,
        ms_per_step: rate.step * 1e3,
        percent_waiting: rate.waiting_share() * 100.0,
        exchange_ms: rate.exchange * 1e3,
        percent_overlapped: rate.overlap() * 100.0,
        bytes_per_step: rate.bytes,
        messages_per_step: rate.messages,
        model,
    })
}

/// The rates on all numbers of ranks and networks.
fn foretell(rate: &SharedRate, costs: &Costs) -> Result<Model> {
    let Costs { script, link, foretold } = costs;
    let sums = script.sums();
    let mut rows = Vec::new();
    for batch in BATCHES {
        for fabric in FABRICS {
            let mut one = None;
            for ranks in RANKS {
                let (own, batch_size) = match batch {
                    "scaled" => (rate.batch_size, rate.batch_size * ranks),
                    _ => (rate.batch_size.div_ceil(ranks), rate.batch_size),
                };
                // A batch cannot be cut into more shards than it has samples.
                if ranks > batch_size {
                    continue;
                }
                let items = script.items(own as f64);
                let seconds = simulate(ranks, &items, &sums, *link + fabric.link)?.seconds;
                let images_per_second = batch_size as f64 / seconds;
                let of_one = *one.get_or_insert(images_per_second);
                rows.push(Foretold {
                    batch,
                    network: fabric.name,
                    ranks,
                    batch_size,
                    images_per_second,
                    ms_per_step: seconds * 1e3,
                    percent_efficiency: images_per_second / (ranks as f64 * of_one) * 100.0,
                });
            }
        }
    }
    Ok(Model {
        latency_us: link.latency * 1e6,
        gbytes_per_second: (link.per_byte > 0.0).then(|| 1e-9 / link.per_byte),
        ms_per_step_here: foretold * 1e3,
        foretold: rows,
    })
}

fn put(args: &Args, facts: &Facts, rows: &[Row]) -> Result<()> {
    let json = table::json(&Document { machine: facts, recipes: rows })?;
    args.json.put(&json, &report(args, facts, rows))
}

/// The table of what was measured.
fn measured(rows: &[Row]) -> Table {
    let header = [
        "recipe",
        "ranks",
        "threads",
        "images/s",
        "ms/step",
        "waiting %",
        "overlap %",
        "MB/step",
        "exchange ms",
        "messages",
        "shards",
        "batch",
    ];
    let mut table = Table::new(&header, &["recipe"]).with_keys(3);
    for row in rows {
        table.add_row([
            row.recipe.clone(),
            row.ranks.to_string(),
            row.threads.to_string(),
            table::rate(row.images_per_second),
            milliseconds(row.ms_per_step),
            figure(Some(row.percent_waiting)),
            figure(Some(row.percent_overlapped)),
            format!("{:.2}", row.bytes_per_step * 1e-6),
            milliseconds(row.exchange_ms),
            format!("{:.0}", row.messages_per_step),
            row.shards.to_string(),
            row.batch_size.to_string(),
        ]);
    }
    table
}

/// The tables, with what they were measured on above them and what their columns mean below.
fn report(args: &Args, facts: &Facts, rows: &[Row]) -> String {
    let heading = table::bench_heading(facts);
    let mut text = format!("{heading}\n{}\n\n", measured(rows));
    text += &table::prose(&format!(
        "Measured: whole training steps of all ranks together, threads of each; medians of {}. Waiting: the share of a \
         step in which a rank stands still because a message has not come yet, the mean of the ranks. Exchange: the time \
         of the messages of a step if nothing is computed; overlap: the share of it that is not waited for, because \
         something is computed meanwhile. MB/step, messages: what all ranks send.\n",
        table::count(args.samples, "sample"),
    ));
    for (row, model) in rows.iter().filter_map(|row| Some((row, row.model.as_ref()?))) {
        for batch in BATCHES {
            text += &modelled(row, model, batch);
        }
    }
    if args.ranks {
        let networks: Vec<_> = FABRICS
            .iter()
            .map(|fabric| {
                let (us, rate) = (fabric.link.latency * 1e6, 1e-9 / fabric.link.per_byte);
                format!("{} {us} us and {rate:.2} GB/s", fabric.name)
            })
            .collect();
        text += &table::prose(&format!(
            "\nModelled, not measured: every message is simulated along the path that it takes in the program, with one \
             rank of as many threads as here on each machine and one shard a rank. A rank computes as long as was measured \
             here for so many samples, and a message costs what was measured here, and the network besides: its latency and \
             its bytes ({}). Efficiency: the rate as a share of that of one rank, times the ranks. No network is shared \
             with others, no rank is late, and validation is left out.\n",
            networks.join("; ")
        ));
    }
    text
}

/// A recipe's rates on more ranks.
fn modelled(row: &Row, model: &Model, batch: &str) -> String {
    let title = match batch {
        "scaled" => format!(
            "{}, modelled: {} samples for each rank (weak scaling)",
            row.recipe, row.batch_size
        ),
        _ => format!(
            "{}, modelled: the recipe's batch of {} samples shared out (strong scaling)",
            row.recipe, row.batch_size
        ),
    };
    let names = FABRICS.map(|fabric| [format!("{} images/s", fabric.name), "eff. %".to_owned()]);
    let mut header = vec!["ranks"];
    header.extend(names.iter().flatten().map(String::as_str));
    let mut table = Table::new(&header, &[]).with_keys(header.len());
    for ranks in RANKS {
        let of = |name| {
            let mut all = model.foretold.iter();
            all.find(|one| one.batch == batch && one.network == name && one.ranks == ranks)
        };
        let found: Option<Vec<&Foretold>> = FABRICS.iter().map(|fabric| of(fabric.name)).collect();
        let Some(found) = found else { continue };
        let mut cells = vec![ranks.to_string()];
        for one in found {
            cells.push(table::rate(one.images_per_second));
            cells.push(figure(Some(one.percent_efficiency)));
        }
        table.add_row(cells);
    }
    let fit = format!(
        "Fitted: a message here costs {:.0} us{}; a step on {} ranks is then foretold to take {} ms, where {} were \
         measured.\n",
        model.latency_us,
        model
            .gbytes_per_second
            .map_or(String::new(), |rate| format!(" and goes at {rate:.2} GB/s")),
        row.ranks,
        milliseconds(model.ms_per_step_here),
        milliseconds(row.ms_per_step)
    );
    let fit = if batch == BATCHES[0] { table::prose(&fit) } else { String::new() };
    format!("\n{title}\n{fit}\n{table}\n")
}

#[cfg(test)]
mod tests;
