//! `threadcount bench --kernels`
//!
//! matrixmultiply reads its number of threads from the environment, once in a process. So each
//! number of threads is measured in a process of its own, with the variable set to it.

use super::{Args, Conditions, again, figure};
use crate::bench::kernels::{self, Entry};
use crate::bench::{Facts, Work, matrixmultiply, measure, warm_up};
use crate::cli::table::Table;
use crate::cli::{Steps, settings, table};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::env;
use std::process::Stdio;
use threadcount_kernels::Pool;

/// One kernel at one shape with one number of threads; the fields are those of the JSON document.
#[derive(Serialize, Deserialize)]
struct Row {
    kernel: String,
    shape: String,
    threads: usize,
    isa: String,
    precision: String,
    gflops: Option<f64>,
    gbytes_per_second: Option<f64>,
    percent_of_peak: Option<f64>,
    naive_ratio: f64,
    matrixmultiply_ratio: Option<f64>,
}

#[derive(Serialize)]
struct Document<'a> {
    machine: &'a Facts,
    kernels: &'a [Row],
}

/// The part that is read of another process's document for one number of threads.
#[derive(Deserialize)]
struct Part {
    kernels: Vec<Row>,
}

pub(super) fn run(args: &Args, conditions: &Conditions) -> Result<()> {
    let entries = kernels::select(&args.names)?;
    args.json.check()?;
    let pool = settings::pool(conditions.isa, conditions.most_threads())?
        .with_precision(conditions.precision.unwrap_or_default())?;
    settings::note_slow(pool.arithmetic());
    let rows = match conditions.threads[..] {
        [threads] if env::var(matrixmultiply::THREADS_VARIABLE) == Ok(threads.to_string()) => {
            measure_here(&pool, &entries, conditions.samples)?
        }
        _ => {
            let parts: Result<Vec<_>> =
                conditions.threads.iter().map(|n| elsewhere(args, conditions, *n)).collect();
            // Rows that differ only in the threads stand next to each other.
            let mut parts: Vec<_> = parts?.into_iter().map(Vec::into_iter).collect();
            entries
                .iter()
                .flat_map(|_| parts.iter_mut().filter_map(Iterator::next).collect::<Vec<_>>())
                .collect()
        }
    };
    let facts = Facts::of(&pool);
    let json = table::json(&Document { machine: &facts, kernels: &rows })?;
    args.json.put(&json, &report(&facts, &rows, conditions.samples))
}

/// Measures one number of threads, for matrixmultiply and for us, in another process. Its progress and its
/// errors go where ours do.
fn elsewhere(args: &Args, conditions: &Conditions, threads: usize) -> Result<Vec<Row>> {
    let mut command = again::bench(conditions, threads)?;
    command.args(["--kernels", "--"]).args(&args.names);
    command.env(matrixmultiply::THREADS_VARIABLE, threads.to_string()).stderr(Stdio::inherit());
    let part: Part = again::document(command, &format!("with {}", table::threads(threads)))?;
    Ok(part.kernels)
}

fn measure_here(pool: &Pool, entries: &[Entry], samples: usize) -> Result<Vec<Row>> {
    let what = format!(
        "measuring {} with {}",
        table::count(entries.len(), "kernel"),
        table::threads(pool.threads())
    );
    let progress = Steps::announced(entries.len(), &what);
    warm_up(pool);
    let mut rows = Vec::new();
    for entry in entries {
        let name = format!("{}, {}", entry.name(), table::threads(pool.threads()));
        progress.begin(&name);
        let case = entry.case();
        let measured = measure(pool, &*case, samples)
            .map_err(|fault| Error::Failed(format!("{name}: {fault}")))?;
        rows.push(Row {
            kernel: entry.kernel.clone(),
            shape: entry.shape.clone(),
            threads: pool.threads(),
            isa: pool.isa().name().to_owned(),
            precision: pool.arithmetic().precision.name().to_owned(),
            gflops: matches!(case.work(), Work::Flops(_)).then_some(measured.rate / 1e9),
            gbytes_per_second: matches!(case.work(), Work::Bytes(_)).then_some(measured.rate / 1e9),
            percent_of_peak: measured.share_of_peak.map(|share| share * 100.0),
            naive_ratio: measured.naive_ratio,
            matrixmultiply_ratio: measured.matrixmultiply_ratio,
        });
    }
    Ok(rows)
}

/// The table, with what it was measured on above it and what its columns mean below it.
fn report(facts: &Facts, rows: &[Row], samples: usize) -> String {
    let header = [
        "kernel",
        "shape",
        "threads",
        "GFLOP/s",
        "GB/s",
        "% of peak",
        "x naive",
        "x matrixmultiply",
    ];
    let mut table = Table::new(&header, &["kernel", "shape"]).with_keys(3);
    for row in rows {
        table.add_row([
            row.kernel.clone(),
            row.shape.clone(),
            row.threads.to_string(),
            figure(row.gflops),
            figure(row.gbytes_per_second),
            figure(row.percent_of_peak),
            figure(Some(row.naive_ratio)),
            row.matrixmultiply_ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
        ]);
    }
    let text = format!("{}\n{table}\n\n", table::bench_heading(facts));
    let mut notes = format!(
        "Medians of {samples} samples. The peak is that of FMA on registers with the same threads, \
         measured before each sample. x naive: times as fast as plain loops on one thread. \
         x matrixmultiply: as that crate with as many threads ({} at most).\n",
        matrixmultiply::MOST_THREADS
    );
    if rows.iter().any(|row| row.shape.ends_with("(unused)")) {
        notes += "Unused: the gradient by the images, which no training step asks for.\n";
    }
    if rows.iter().any(|row| row.kernel.ends_with("-apart")) {
        notes += "Apart: the outputs of the kernel above it, by one kernel after the other. Both count \
                  the work of the whole convolution, also what the fused one leaves out: a last line \
                  that no pool covers, products with the gradients of what did not win.\n";
    }
    text + &table::prose(&notes)
}
