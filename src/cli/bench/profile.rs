//! What `--profile` adds: the phases of a step.

use super::{figure, milliseconds};
use crate::bench::{Phase, Work};
use crate::cli::table::Table;
use serde::{Deserialize, Serialize};

/// The note below the tables.
pub(super) const NOTE: &str = "
Phases: medians, of steps that look at the clock between them. The limit of a product is the FMA peak; that of any \
other phase the measured rate of reading from the nearest level of memory that holds what it reads and writes. What is \
fused counts as its products by the plain algorithm, so a kernel that leaves some of them out may come above 100 %.
";

/// One phase; the fields are those of the JSON document.
#[derive(Serialize, Deserialize)]
pub(super) struct Row {
    phase: String,
    ms: f64,
    percent_of_step: f64,
    gflops: Option<f64>,
    gbytes_per_second: Option<f64>,
    /// `fma`, or the level of memory: `l1`, `l2`, `l3`, `dram`.
    limit: Option<String>,
    percent_of_limit: Option<f64>,
}

impl Row {
    pub(super) fn of(phase: &Phase) -> Self {
        let rate = |work: f64| work / phase.seconds / 1e9;
        let (gflops, gbytes_per_second) = match phase.bound.map(|bound| bound.work) {
            Some(Work::Flops(flops)) => (Some(rate(flops)), None),
            Some(Work::Bytes(bytes)) => (None, Some(rate(bytes))),
            None => (None, None),
        };
        let share_of_limit = phase.bound.and_then(|bound| bound.share_of_limit);
        Self {
            phase: phase.name.clone(),
            ms: phase.seconds * 1e3,
            percent_of_step: phase.share * 100.0,
            gflops,
            gbytes_per_second,
            limit: phase.bound.map(|bound| bound.limit.name().to_lowercase()),
            percent_of_limit: share_of_limit.map(|share| share * 100.0),
        }
    }
}

/// A recipe's table under its title.
pub(super) fn section(title: &str, rows: &[Row]) -> String {
    let header = ["phase", "ms", "% of step", "GFLOP/s", "GB/s", "limit", "% of limit"];
    let mut table = Table::new(&header, &["phase"]);
    for row in rows {
        table.add_row([
            row.phase.clone(),
            milliseconds(row.ms),
            figure(Some(row.percent_of_step)),
            figure(row.gflops),
            figure(row.gbytes_per_second),
            row.limit.as_ref().map_or("-".to_owned(), |limit| limit.to_uppercase()),
            figure(row.percent_of_limit),
        ]);
    }
    format!("\n{title}\n\n{table}\n")
}
