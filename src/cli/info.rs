//! `threadcount info`

use super::facts::Facts;
use super::settings::{ComputeFlags, Settings};
use super::{settings, table};
use crate::Result;
use crate::console;
use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;
use threadcount_kernels::machine::machine;
use threadcount_kernels::peak::{self, Level};
use threadcount_kernels::{Pool, Team};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    compute: ComputeFlags,
    /// Also measure what the CPU can do at most: FMA rate, and read rates of caches and memory
    #[arg(long)]
    peak: bool,
    /// Print one JSON document instead
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    facts: &'a Facts,
    #[serde(skip_serializing_if = "Option::is_none")]
    peak: Option<&'a Peak>,
}

/// The measured limits of one core, and of all that are used.
#[derive(Serialize)]
struct Peak {
    one_thread: Rates,
    all_threads: Rates,
}

/// Rates in units of 10^9. `None` where the size of the cache is unknown.
#[derive(Clone, Copy, Serialize)]
struct Rates {
    threads: usize,
    fma_gflops: f64,
    l1_gbytes_per_second: Option<f64>,
    l2_gbytes_per_second: Option<f64>,
    l3_gbytes_per_second: Option<f64>,
    dram_gbytes_per_second: Option<f64>,
}

/// Measurements of the FMA rate, half a millisecond each: the first of them find cores that are
/// still clocking up, and threads that are not yet spread over them.
const FMA_SAMPLES: usize = 401;

pub(super) fn run(args: &Args) -> Result<()> {
    let pool = Settings::load()?.pool(&args.compute)?;
    let facts = Facts::of(&pool);
    let peak = if args.peak { Some(Peak::measure(&pool)?) } else { None };
    if args.json {
        return console::print(&table::json(&Document { facts: &facts, peak: peak.as_ref() })?);
    }
    console::print(&text(&facts))?;
    peak.map_or(Ok(()), |peak| console::print(&peak.text()))
}

fn text(facts: &Facts) -> String {
    let size = |bytes: Option<u64>| bytes.map_or("unknown".into(), table::bytes);
    let cache = |bytes: Option<usize>| size(bytes.map(|n| n as u64));
    let rows = [
        ("threadcount", facts.version.to_owned()),
        ("CPU", facts.cpu.to_owned()),
        ("platform", facts.platform.to_owned()),
        (
            "cores",
            format!(
                "{} physical, {} threads available",
                facts.physical_cores, facts.available_threads
            ),
        ),
        ("threads in use", facts.threads.to_string()),
        ("instruction sets", facts.isas.join(", ")),
        ("in use", facts.isa.to_owned()),
        ("L1 data cache", format!("{} per core", cache(facts.l1d))),
        ("L2 cache", cache(facts.l2)),
        ("L3 cache", cache(facts.l3)),
        ("memory", size(facts.memory)),
    ];
    rows.iter().map(|(name, value)| format!("{name:<16}  {value}\n")).collect()
}

impl Peak {
    fn measure(pool: &Pool) -> Result<Self> {
        let one_thread = settings::pool(pool.isa(), 1)?.enter(Rates::measure);
        let all_threads = match pool.threads() {
            1 => one_thread,
            _ => pool.enter(Rates::measure),
        };
        Ok(Self { one_thread, all_threads })
    }

    /// A column for one thread and one for all, and what is missing.
    fn text(&self) -> String {
        let mut columns = vec![&self.one_thread];
        if self.all_threads.threads > 1 {
            columns.push(&self.all_threads);
        }
        let mut table = Table::new();
        table.load_style(ASCII_MARKDOWN);
        let header = columns.iter().map(|rates| table::threads(rates.threads));
        table.set_header(std::iter::once("measured peak".to_owned()).chain(header));
        let fma = columns.iter().map(|rates| format!("{} GFLOP/s", figure(rates.fma_gflops)));
        table.add_row(std::iter::once("FMA, registers only".to_owned()).chain(fma));
        let mut missing = Vec::new();
        for level in Level::ALL {
            let rates: Option<Vec<f64>> = columns.iter().map(|rates| rates.read(level)).collect();
            let Some(rates) = rates else {
                missing.push(level.name());
                continue;
            };
            let rates = rates.iter().map(|rate| format!("{} GB/s", figure(*rate)));
            table.add_row(std::iter::once(format!("read from {}", level.name())).chain(rates));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let mut text = format!("\n{table}\n");
        if !missing.is_empty() {
            let levels = missing.join(", ");
            text += &format!("Not measured, because the cache's size is unknown: {levels}.\n");
        }
        text
    }
}

impl Rates {
    fn measure(team: &Team) -> Self {
        let mut fma = [0.0; FMA_SAMPLES];
        fma.fill_with(|| peak::fma_rate(team) / 1e9);
        fma.sort_unstable_by(f64::total_cmp);
        let threads = team.threads();
        let read = |level: Level| {
            let bytes = level.bytes_per_thread(machine(), threads)?;
            Some(peak::read_rate(team, bytes) / 1e9)
        };
        Self {
            threads,
            fma_gflops: fma[FMA_SAMPLES / 2],
            l1_gbytes_per_second: read(Level::L1),
            l2_gbytes_per_second: read(Level::L2),
            l3_gbytes_per_second: read(Level::L3),
            dram_gbytes_per_second: read(Level::Dram),
        }
    }

    fn read(&self, level: Level) -> Option<f64> {
        match level {
            Level::L1 => self.l1_gbytes_per_second,
            Level::L2 => self.l2_gbytes_per_second,
            Level::L3 => self.l3_gbytes_per_second,
            Level::Dram => self.dram_gbytes_per_second,
        }
    }
}

/// Three figures, or the whole number where that has more.
fn figure(rate: f64) -> String {
    if rate < 100.0 { format!("{rate:.1}") } else { table::rate(rate) }
}
