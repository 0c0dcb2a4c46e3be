//! `cargo perf record`: what one build does today, as lines that are kept with the sources. It runs against itself, so
//! each benchmark's own noise is measured too.

use crate::builds::{TargetFlag, Workshop};
use crate::check::foreign;
use crate::check::judge::any_seed;
use crate::check::verdict::{ERROR, log_ratios};
use crate::noise;
use crate::program::{Program, Side, data, failed, shuffled};
use crate::protocol::{self, Benchmark, Limit, Prepared, Sampled, Twin};
use crate::rounds::{Earlier, Pair, Workers, pairs};
use crate::statistics::{Interval, medians};
use crate::suite::Selection;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use threadcount::bench::Fingerprint;
use threadcount::cli::{DataFlag, Steps};
use threadcount::files::write_new;
use threadcount::{Error, Result, console};

/// Sweeps of the program against itself, each in fresh processes with other orders of functions.
const SWEEPS: usize = 4;

/// Pairs of a benchmark in each of them.
const PAIRS: usize = 4;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: TargetFlag,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    data: DataFlag,
    #[command(flatten)]
    folder: FolderFlag,
}

/// Where the history is.
#[derive(clap::Args, Clone, Debug, Default)]
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
    /// How far sweeps of the program against itself were from no change. Older runs have not measured it.
    #[serde(default)]
    pub noise_percent: Option<f64>,
}

pub fn run(args: &Args) -> Result<()> {
    let own = match args.target.is_foreign() {
        true => None,
        false => Some(args.selection.benchmarks()?),
    };
    let data = data(&args.data, own.as_deref().unwrap_or(&[]))?;
    let workshop = Workshop::open()?;
    let (source, revision) = (workshop.working_tree()?, workshop.commit()?);
    let modified = source.tree != workshop.revision(&revision)?.tree;
    let program = Program::new("head", workshop.build(&source, &args.target.target())?, data);
    let benchmarks = match own {
        Some(own) => own,
        None => foreign(&program, &args.selection)?.0,
    };
    let toolchain = workshop.toolchain()?;
    let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let machine = Fingerprint::of_machine();

    let measured = against_itself(&program, &benchmarks)?;
    let mut text = String::new();
    for (benchmark, Measured { prepared, sweeps }) in benchmarks.iter().zip(&measured) {
        let pairs = sweeps.concat();
        let samples: Vec<Sampled> =
            pairs.iter().flat_map(|pair| [pair.earlier, pair.head]).collect();
        let ratios: Vec<Vec<f64>> = sweeps.iter().map(|sweep| log_ratios(sweep)).collect();
        let line = Line {
            time: time.clone(),
            revision: revision.clone(),
            modified,
            toolchain: toolchain.clone(),
            machine: machine.clone(),
            noise_percent: Some(100.0 * noise::of_sweeps(&ratios)),
            ..Line::of(benchmark, prepared, &samples)
        };
        text += &protocol::line(&line).map_err(failed)?;
    }

    let folder = history_of_machine(&args.folder.path(workshop.root()));
    fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
    let file = format!("{}-{}.jsonl", time.replace(':', ""), &revision[..9]);
    let path: PathBuf = folder.join(file);
    // A file of its own for each run: branches that record do not conflict.
    write_new(&path, text.as_bytes())?;
    let count = benchmarks.len();
    console::print(&format!("{}: {count} benchmarks, one on each line\n", path.display()))
}

/// What was measured of a benchmark.
struct Measured {
    prepared: Prepared,
    sweeps: Vec<Vec<Pair>>,
}

/// A program against itself. Its two processes have their functions in different orders, where there are several.
fn against_itself(program: &dyn Side, benchmarks: &[Benchmark]) -> Result<Vec<Measured>> {
    let progress = Steps::new(SWEEPS * benchmarks.len());
    let mut rng = ChaCha8Rng::seed_from_u64(any_seed());
    let mut all: Vec<Measured> = Vec::new();
    for sweep in 0..SWEEPS {
        let orders = [shuffled(program, sweep), shuffled(program, sweep + 1)];
        let mut workers = Workers::start((program, orders[0]), (program, orders[1]), None)?;
        for (index, benchmark) in benchmarks.iter().enumerate() {
            progress.begin(&benchmark.to_string());
            let twin = if sweep == 0 { Twin::Compared } else { Twin::Trusted };
            let prepared = workers.prepare(benchmark, twin)?;
            let rounds = workers.rounds(prepared.size, PAIRS, &mut rng)?;
            if sweep == 0 {
                all.push(Measured { prepared, sweeps: Vec::new() });
            }
            all[index].sweeps.push(pairs(&rounds, Earlier::Base));
        }
    }
    Ok(all)
}

impl Line {
    /// What was measured; the rest is to be filled in.
    pub fn of(benchmark: &Benchmark, prepared: &Prepared, samples: &[Sampled]) -> Self {
        let Sampled { seconds, share_of_limit } = medians(samples);
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
            noise_percent: None,
        }
    }
}

/// Where a history has what was recorded on this machine.
pub fn history_of_machine(history: &Path) -> PathBuf {
    history.join(machine_name(&Fingerprint::of_machine()))
}

/// A folder's name for a machine: words for people, and a number that changes with anything that
/// figures depend on. Memory is not among it, because systems report some pages more or less.
fn machine_name(machine: &Fingerprint) -> String {
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
    use crate::check::scripted::Scripted;
    use crate::protocol::{Size, Work};

    impl Line {
        /// One that says which share of the peak a benchmark has reached.
        pub fn example(benchmark: &Benchmark, percent: f64) -> Self {
            let work = Work { flops: 1e3, bytes: 1e3, limit: Limit::Fma };
            let prepared = Prepared { size: Size { timings: 1, runs: 1 }, work, images: None };
            let sample = Sampled { seconds: 1.0, share_of_limit: Some(percent / 100.0) };
            Self::of(benchmark, &prepared, &[sample; 9])
        }
    }

    /// Of four orders the third takes 4 % longer: it is in two sweeps of four, once on each side.
    #[test]
    fn a_program_beside_itself_shows_its_noise() {
        let mut program = Scripted::new("head", &["a", "b"], |_, _| 1e-3);
        program.orders = (4, |order| if order == 3 { 1.04 } else { 1.0 });
        let on = |name: &str| Benchmark { name: name.into(), isa: "avx2".into(), threads: 1 };
        let measured = against_itself(&program, &[on("a"), on("b")]).unwrap();
        for Measured { sweeps, .. } in &measured {
            let ratios: Vec<Vec<f64>> = sweeps.iter().map(|sweep| log_ratios(sweep)).collect();
            let far = 1.04_f64.ln();
            let expected =
                [vec![0.0; PAIRS], vec![far; PAIRS], vec![-far; PAIRS], vec![0.0; PAIRS]];
            for (found, expected) in ratios.concat().iter().zip(expected.concat()) {
                assert!((found - expected).abs() < 1e-12, "{ratios:?}");
            }
            assert_eq!(ratios.len(), SWEEPS);
        }
        assert_eq!(measured.len(), 2);
    }

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
