//! `threadcount info`

use super::settings::{ComputeFlags, Settings};
use super::table::Table;
use super::{settings, table};
use crate::Result;
use crate::bench::{Facts, Limits};
use crate::console;
use serde::Serialize;
use threadcount_kernels::Pool;
use threadcount_kernels::peak::Level;
use threadcount_kernels::precision::Bf16Kernel;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    compute: ComputeFlags,
    /// Also measure what the CPU can do at most: FMA rate, the rates of products in other precisions, and read
    /// rates of caches and memory
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
    one_thread: Limits,
    all_threads: Limits,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let pool = Settings::load()?.pool(&args.compute)?;
    let facts = Facts::of(&pool);
    let peak = if args.peak { Some(Peak::measure(&pool)?) } else { None };
    if args.json {
        return console::print(&table::json(&Document { facts: &facts, peak: peak.as_ref() })?);
    }
    let kernels = Bf16Kernel::detected(pool.isa()).map(Bf16Kernel::name).collect::<Vec<_>>();
    let mut kernels = kernels.join(", ");
    if let Some(why) = Bf16Kernel::refusal_of_amx() {
        kernels = format!("{kernels} ({} is not used: {why})", Bf16Kernel::Amx);
    }
    console::print(&text(&facts, &kernels))?;
    peak.map_or(Ok(()), |peak| console::print(&peak.text()))
}

fn text(facts: &Facts, bf16_kernels: &str) -> String {
    let machine = &facts.machine;
    let size = |bytes: Option<u64>| bytes.map_or("unknown".into(), table::bytes);
    let cache = |bytes: Option<usize>| size(bytes.map(|n| n as u64));
    let rows = [
        ("threadcount", facts.version.clone()),
        ("CPU", machine.cpu.clone()),
        ("platform", machine.platform.clone()),
        ("hypervisor", machine.hypervisor.clone().unwrap_or("none".into())),
        (
            "cores",
            format!(
                "{} physical, {} threads available",
                machine.physical_cores, machine.available_threads
            ),
        ),
        ("threads in use", facts.threads.to_string()),
        ("instruction sets", machine.isas.join(", ")),
        ("in use", facts.isa.clone()),
        ("bf16 products", bf16_kernels.to_owned()),
        ("L1 data cache", format!("{} per core", cache(machine.l1d))),
        ("L2 cache", cache(machine.l2)),
        ("L3 cache", cache(machine.l3)),
        ("memory", size(machine.memory)),
    ];
    table::facts(rows, 16)
}

impl Peak {
    fn measure(pool: &Pool) -> Result<Self> {
        let one_thread = settings::pool(pool.isa(), 1)?.enter(Limits::measure)?;
        let all_threads = match pool.threads() {
            1 => one_thread,
            _ => pool.enter(Limits::measure)?,
        };
        Ok(Self { one_thread, all_threads })
    }

    /// A column for one thread and one for all, and what is missing.
    fn text(&self) -> String {
        let mut columns = vec![&self.one_thread];
        if self.all_threads.threads > 1 {
            columns.push(&self.all_threads);
        }
        let threads: Vec<String> =
            columns.iter().map(|rates| table::threads(rates.threads)).collect();
        let header: Vec<&str> =
            std::iter::once("measured peak").chain(threads.iter().map(String::as_str)).collect();
        let mut table = Table::new(&header, &["measured peak"]);
        let fma = columns.iter().map(|rates| format!("{} GFLOP/s", figure(rates.fma_gflops)));
        table.add_row(std::iter::once("FMA, registers only".to_owned()).chain(fma));
        let split = columns.iter().map(|rates| figure(rates.f32_split_gflops));
        let bf16 = columns.iter().map(|rates| figure(rates.bf16_gflops));
        let rate = |rate| format!("{rate} GFLOP/s");
        table.add_row(std::iter::once("products in f32-split".to_owned()).chain(split.map(rate)));
        table.add_row(std::iter::once("products in bf16".to_owned()).chain(bf16.map(rate)));
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
        let mut text = format!("\n{table}\n");
        if !missing.is_empty() {
            let levels = missing.join(", ");
            text += &format!("Not measured, because the cache's size is unknown: {levels}.\n");
        }
        text
    }
}

/// Three significant digits, or the whole number where that has more.
fn figure(rate: f64) -> String {
    if rate < 100.0 { format!("{rate:.1}") } else { table::rate(rate) }
}
