//! `cargo perf record`: what one build does today, as lines that are kept with the sources.

use crate::builds::{PERF, Workshop};
use crate::check::verdict::ERROR;
use crate::program::{Program, Side, data};
use crate::protocol::{self, Benchmark, Limit, Prepared, Sampled};
use crate::statistics::Interval;
use crate::suite::Selection;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use threadcount::bench::Fingerprint;
use threadcount::cli::{DataFlag, Steps};
use threadcount::files::write_new;
use threadcount::{Error, Result, console};

/// Samples of each benchmark.
pub const SAMPLES: usize = 15;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    data: DataFlag,
    #[command(flatten)]
    folder: FolderFlag,
}

/// Where the history is.
#[derive(clap::Args, Clone, Debug)]
pub struct FolderFlag {
    /// Folder of the history [default: perf/history in the repository]
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
}

impl FolderFlag {
    /// The folder that was named, or else the one in the repository.
    pub fn path(&self, root: &Path) -> PathBuf {
        self.folder.clone().unwrap_or_else(|| root.join("perf/history"))
    }
}

/// One benchmark of one run; a line of a file of the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// When the run began: RFC 3339.
    pub time: String,
    /// The revision of the sources, as git names it.
    pub revision: String,
    /// Whether they had changes that were not committed.
    pub modified: bool,
    /// The compiler.
    pub toolchain: String,
    /// What it ran on.
    pub machine: Fingerprint,
    /// What was timed.
    #[serde(flatten)]
    pub benchmark: Benchmark,
    /// Seconds of one run, the median.
    pub seconds: f64,
    /// Its work per second, in units of 10^9: operations, or bytes where it is bound by reads.
    pub rate: f64,
    /// Training steps: samples of the data set per second.
    pub images_per_second: Option<f64>,
    /// What bounds it.
    pub limit: Limit,
    /// The share of that limit, as measured beside it; the median.
    pub percent_of_limit: Option<f64>,
    /// The interval that holds the median with 99 %.
    pub percent_range: Option<[f64; 2]>,
}

pub fn run(args: &Args) -> Result<()> {
    let benchmarks = args.selection.benchmarks()?;
    let data = data(&args.data, &benchmarks)?;
    let workshop = Workshop::open()?;
    let (source, revision) = (workshop.working_tree()?, workshop.commit()?);
    let modified = source.tree != workshop.revision(&revision)?.tree;
    let program = Program::new("head", workshop.build(&source, PERF)?, data);
    let toolchain = workshop.toolchain()?;
    let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let machine = Fingerprint::of_machine();

    let progress = Steps::new(benchmarks.len());
    let mut worker = program.start(0)?;
    let mut text = String::new();
    for benchmark in &benchmarks {
        progress.begin(&benchmark.to_string());
        let (prepared, samples) = worker.samples(benchmark, SAMPLES)?;
        let line = Line {
            time: time.clone(),
            revision: revision.clone(),
            modified,
            toolchain: toolchain.clone(),
            machine: machine.clone(),
            ..Line::of(benchmark, &prepared, &samples)
        };
        text += &protocol::line(&line)?;
    }
    drop(progress);

    let folder = args.folder.path(workshop.root()).join(machine_name(&machine));
    fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
    let file = format!("{}-{}.jsonl", time.replace(':', ""), &revision[..9]);
    let path: PathBuf = folder.join(file);
    // A file of its own for each run: branches that record do not conflict.
    write_new(&path, text.as_bytes())?;
    let count = benchmarks.len();
    console::print(&format!("{}: {count} benchmarks, one on each line\n", path.display()))
}

impl Line {
    /// What was measured; the rest is to be filled in.
    pub fn of(benchmark: &Benchmark, prepared: &Prepared, samples: &[Sampled]) -> Self {
        let Sampled { seconds, share_of_limit } = Sampled::medians(samples);
        let shares: Vec<f64> =
            samples.iter().filter_map(|sample| Some(100.0 * sample.share_of_limit?)).collect();
        let Interval { low, high } = Interval::of_median(&shares, ERROR);
        Self {
            time: String::new(),
            revision: String::new(),
            modified: false,
            toolchain: String::new(),
            machine: Fingerprint::of_machine(),
            benchmark: benchmark.clone(),
            seconds,
            rate: prepared.work.bounded() / seconds / 1e9,
            images_per_second: prepared.images.map(|images| images / seconds),
            limit: prepared.work.limit.clone(),
            percent_of_limit: share_of_limit.map(|share| 100.0 * share),
            percent_range: (low.is_finite() && high.is_finite()).then_some([low, high]),
        }
    }
}

/// A folder's name for a machine: words for people, and a number that changes with anything that
/// figures depend on. Memory is not among it, because systems report some pages more or less.
pub fn machine_name(machine: &Fingerprint) -> String {
    let Fingerprint { cpu, physical_cores, .. } = machine;
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { ' ' };
    let words: String = cpu.chars().map(plain).collect();
    let words: Vec<&str> = words.split_whitespace().collect();
    let facts = Fingerprint { memory: None, ..machine.clone() };
    let hash = Sha256::digest(format!("{facts:?}"));
    let number: String = hash[..3].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{physical_cores}-cores-{number}", words.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Size, Work};

    #[test]
    fn a_line_says_what_was_measured() {
        let benchmark = Benchmark { name: "step x".into(), isa: "avx2".into(), threads: 2 };
        let work = Work { flops: 4e9, bytes: 1e9, limit: Limit::Fma };
        let prepared = Prepared { size: Size { timings: 1, runs: 3 }, work, images: Some(64.0) };
        let sample = |seconds| Sampled { seconds, share_of_limit: Some(0.1 / seconds) };
        let samples: Vec<_> = (0..9).map(|i| sample(0.16 + 0.01 * f64::from(i))).collect();
        let line = Line::of(&benchmark, &prepared, &samples);
        assert_eq!(line.seconds, 0.2);
        assert_eq!((line.rate, line.images_per_second), (20.0, Some(320.0)));
        assert_eq!(line.percent_of_limit, Some(50.0));
        let [low, high] = line.percent_range.unwrap();
        assert!(low < 50.0 && 50.0 < high);
        let text = serde_json::to_string(&line).unwrap();
        assert!(text.contains(r#""name":"step x""#) && !text.contains('\n'), "{text}");
        assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), line);
    }

    #[test]
    fn a_machine_has_a_name() {
        let machine = Fingerprint { cpu: "AMD EPYC (9th)".into(), ..Fingerprint::of_machine() };
        let name = machine_name(&machine);
        assert!(name.starts_with("amd-epyc-9th-"), "{name}");
        assert_eq!(name, machine_name(&Fingerprint { memory: Some(1), ..machine.clone() }));
        assert_ne!(name, machine_name(&Fingerprint { l2: Some(1), ..machine }));
    }
}
