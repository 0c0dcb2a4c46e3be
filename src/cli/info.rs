//! `threadcount info`

use super::facts::Facts;
use super::settings::{ComputeFlags, Settings};
use super::table;
use crate::Result;
use crate::console;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    compute: ComputeFlags,
    /// Print one JSON document instead
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let facts = Facts::of(&Settings::load()?.pool(&args.compute)?);
    if args.json {
        return console::print(&table::json(&facts)?);
    }
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
    let lines = rows.iter().map(|(name, value)| format!("{name:<16}  {value}\n"));
    console::print(&lines.collect::<String>())
}
