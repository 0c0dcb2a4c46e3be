//! The settings that do not belong to one command: flag > environment variable > key of
//! `./threadcount.toml` > default.

use super::json::JsonFlag;
use super::ranks;
use crate::console;
use crate::names::shortened;
use crate::toml_file::{Fault, Table, read_text, unknown};
use crate::train::Task;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use threadcount_kernels::machine::machine;
use threadcount_kernels::precision::{Arithmetic, Bf16Kernel};
use threadcount_kernels::{Isa, Pool, Precision};

/// The file in the current folder.
const FILE: &str = "threadcount.toml";
/// Its keys. The environment variable of `seed` is `THREADCOUNT_SEED`, and so on.
pub(super) const KEYS: [&str; 8] =
    ["data", "threads", "isa", "precision", "seed", "runs", "shards", "batch-norm-over"];

/// Where the data are.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct DataFlag {
    /// Folder of a data set, or its .npz file [default: data/fashion-mnist, else the cache folder, else a
    /// synthetic set]
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
}

/// What computes.
#[derive(clap::Args, Clone, Debug, Default)]
pub(super) struct ComputeFlags {
    /// Threads; they do not change the result [default: physical cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    #[command(flatten)]
    pub(super) isa: IsaFlag,
}

/// What it computes with.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct IsaFlag {
    /// Instruction set: avx512, avx2 or portable [default: the best this CPU has]
    #[arg(long, value_name = "ISA")]
    isa: Option<String>,
}

/// In what precision products are computed.
#[derive(clap::Args, Clone, Debug, Default)]
pub(super) struct PrecisionFlag {
    /// Precision of products: f32, f32-split or bf16 [default: the recipe's, which is f32 unless its file says
    /// otherwise]
    #[arg(long, value_name = "NAME")]
    precision: Option<String>,
}

impl PrecisionFlag {
    /// Whether the flag itself asks for a precision.
    pub(super) fn is_given(&self) -> bool {
        self.precision.is_some()
    }
}

/// Where the random numbers start.
#[derive(clap::Args, Clone, Debug, Default)]
pub(super) struct SeedFlag {
    /// Seed of weights, splits, shuffling, dropout and augmentation [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// What commands take that train on a data set, and whose results are figures.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct MeasureFlags {
    #[command(flatten)]
    pub(super) json: JsonFlag,
    #[command(flatten)]
    pub(super) seed: SeedFlag,
    #[command(flatten)]
    pub(super) compute: ComputeFlags,
    #[command(flatten)]
    pub(super) precision: PrecisionFlag,
    #[command(flatten)]
    pub(super) data: DataFlag,
}

impl SeedFlag {
    /// The seed on the command line itself.
    pub(super) fn given(&self) -> Option<u64> {
        self.seed
    }
}

/// The environment and the file, below the flags.
pub struct Settings {
    /// The value of each key of the file.
    file: BTreeMap<String, String>,
}

/// A value from the environment or the file.
struct Found {
    value: OsString,
    origin: String,
}

impl Settings {
    /// Reads `./threadcount.toml`, if there is one.
    ///
    /// # Errors
    /// [`Error::Usage`] for a file that is not TOML or has a key that nothing reads.
    pub fn load() -> Result<Self> {
        let file = match read_text(Path::new(FILE)) {
            Ok(text) => entries(&text).map_err(|f| Error::Usage(format!("{FILE}: {f}")))?,
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                BTreeMap::new()
            }
            Err(error) => return Err(error),
        };
        Ok(Self { file })
    }

    /// The data folder, if one is named anywhere.
    ///
    /// # Errors
    /// [`Error::Usage`] for a setting that cannot be the name of a folder.
    pub fn data(&self, flag: &DataFlag) -> Result<Option<PathBuf>> {
        match &flag.data {
            Some(path) => Ok(Some(path.clone())),
            None => Ok(self.find("data")?.map(|found| found.value.into())),
        }
    }

    /// The folder for the run folders of runs without `--out`.
    pub(super) fn runs(&self) -> Result<PathBuf> {
        Ok(self.find("runs")?.map_or("runs".into(), |found| found.value.into()))
    }

    /// The seed.
    pub(super) fn seed(&self, flag: &SeedFlag) -> Result<u64> {
        Ok(self.parsed("seed", flag.seed, "a whole number from 0 up")?.unwrap_or(0))
    }

    /// The parts of a batch, if they are given anywhere but in the task.
    pub(super) fn shards(&self, flag: Option<usize>) -> Result<Option<usize>> {
        self.parsed("shards", flag, "a number of shards")
    }

    /// What batch normalisation takes its statistics over, if that is given anywhere but in the task.
    pub(super) fn batch_norm_over(&self, flag: Option<String>) -> Result<Option<String>> {
        self.parsed("batch-norm-over", flag, "a name")
    }

    /// The threads: as many as were asked for, else as there are physical cores.
    pub(super) fn threads(&self, flags: &ComputeFlags) -> Result<usize> {
        self.threads_or(flags.threads, machine().physical_cores)
    }

    /// The threads of each rank of a measurement: as many as were asked for; else those that the launcher has left it,
    /// or one if the ranks are of this process.
    pub(super) fn rank_threads(&self, flag: Option<usize>) -> Result<usize> {
        self.threads_or(flag, 1)
    }

    /// As many threads as were asked for; else those that a launcher has left this rank, or `alone` without one.
    fn threads_or(&self, flag: Option<usize>, alone: usize) -> Result<usize> {
        match self.parsed("threads", flag, "a number of threads")? {
            None => {
                let physical = machine().physical_cores;
                let launched = ranks::Launched::of_environment();
                Ok(launched.map_or(alone, |own| own.threads(physical, ranks::is_bound())))
            }
            Some(asked) => possible(asked),
        }
    }

    /// The numbers of threads of a comparison, each once: those of the flag, else the one in the environment
    /// or the file, else one and all physical cores.
    ///
    /// # Errors
    /// [`Error::Usage`] for no threads, or a setting that is not a number.
    pub fn thread_counts(&self, flag: &[usize]) -> Result<Vec<usize>> {
        let mut counts = flag.to_vec();
        if counts.is_empty() {
            counts = match self.parsed("threads", None, "a number of threads")? {
                None => vec![1, machine().physical_cores],
                Some(asked) => vec![asked],
            };
        }
        let mut possible_counts = Vec::new();
        for asked in counts {
            let count = possible(asked)?;
            if !possible_counts.contains(&count) {
                possible_counts.push(count);
            }
        }
        Ok(possible_counts)
    }

    /// The instruction set that a flag, the environment or the file asks for.
    ///
    /// # Errors
    /// [`Error::Usage`] for one that does not exist, or that this CPU does not have.
    pub fn isa(&self, flag: &IsaFlag) -> Result<Option<Isa>> {
        let named = match &flag.isa {
            Some(name) => Some(name.clone()),
            None => self.parsed::<String>("isa", None, "a name")?,
        };
        named.map(|name| Ok(Isa::from_name(&name)?)).transpose()
    }

    /// The instruction set that a resumed run or search, `what`, goes on with: its own unless another one was
    /// asked for. Then there is a warning, since another one rounds differently.
    ///
    /// # Errors
    /// As [`Self::isa`].
    pub(super) fn resumed_isa(&self, flag: &IsaFlag, what: &str, started_on: &str) -> Result<Isa> {
        let own = Isa::from_name(started_on).ok();
        let isa = self.isa(flag)?.or(own).unwrap_or_else(Isa::best);
        if own != Some(isa) {
            console::warn(&format!(
                "the {what} was started on {started_on} and goes on on {isa}: its result may differ in the last bits"
            ));
        }
        Ok(isa)
    }

    /// The precision that a flag, the environment or the file asks for.
    ///
    /// # Errors
    /// [`Error::Usage`] for one that does not exist.
    pub(super) fn precision(&self, flag: &PrecisionFlag) -> Result<Option<Precision>> {
        let named = match &flag.precision {
            Some(name) => Some(name.clone()),
            None => self.parsed::<String>("precision", None, "a name")?,
        };
        named.map(|name| Ok(Precision::from_name(&name)?)).transpose()
    }

    /// The precision that a resumed run goes on with: its own, unless the flag itself asks for
    /// another one. Then there is a warning, since the result is another one.
    ///
    /// # Errors
    /// [`Error::Usage`] as [`Self::precision`], or if the environment or the file asks for another one: they were
    /// not written for this run.
    pub(super) fn resumed_precision(
        &self,
        flag: &PrecisionFlag,
        own: Precision,
    ) -> Result<Precision> {
        let Some(asked) = self.precision(flag)?.filter(|&asked| asked != own) else {
            return Ok(own);
        };
        if !flag.is_given() {
            let origin = self.find("precision")?.map_or_else(String::new, |found| found.origin);
            return Err(Error::Usage(format!(
                "{origin} asks for {asked}, and the run was started in {own}: go on with --precision {own}, \
                 or change its precision with --precision {asked}"
            )));
        }
        console::warn(&format!(
            "the run was started in {own} and goes on in {asked}: its result is another one"
        ));
        Ok(asked)
    }

    /// Recipes in the precision that is asked for, if one is.
    ///
    /// # Errors
    /// As [`Self::precision`].
    pub(super) fn in_precision<'a>(
        &self,
        flag: &PrecisionFlag,
        tasks: impl IntoIterator<Item = &'a mut Task>,
    ) -> Result<()> {
        if let Some(precision) = self.precision(flag)? {
            tasks.into_iter().for_each(|task| task.precision = precision);
        }
        Ok(())
    }

    /// The threads and the instruction set, as a pool.
    pub(super) fn pool(&self, flags: &ComputeFlags) -> Result<Pool> {
        let isa = self.isa(&flags.isa)?.unwrap_or_else(Isa::best);
        pool(isa, self.threads(flags)?)
    }

    /// The same in the precision that is asked for.
    pub(super) fn pool_in(&self, flags: &ComputeFlags, precision: &PrecisionFlag) -> Result<Pool> {
        let precision = self.precision(precision)?.unwrap_or_default();
        Ok(self.pool(flags)?.with_precision(precision)?)
    }

    /// The value of a flag, else of the environment or the file.
    fn parsed<T: FromStr>(&self, key: &str, flag: Option<T>, what: &str) -> Result<Option<T>> {
        let (None, Some(found)) = (&flag, self.find(key)?) else {
            return Ok(flag);
        };
        let text = found.value.to_string_lossy();
        match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => {
                Err(Error::Usage(format!("{}: '{}' is not {what}", found.origin, shortened(&text))))
            }
        }
    }

    /// The environment variable of `key` (an empty one counts as unset), or the file's key.
    fn find(&self, key: &str) -> Result<Option<Found>> {
        let variable = format!("THREADCOUNT_{}", key.to_uppercase().replace('-', "_"));
        if let Some(value) = env::var_os(&variable).filter(|value| !value.is_empty()) {
            return Ok(Some(Found { value, origin: variable }));
        }
        let origin = format!("{FILE}: {key}");
        Ok(self.file.get(key).map(|text| Found { value: text.into(), origin }))
    }
}

/// The values of the file in the form in which they would follow their flags: a whole number of any size
/// becomes its digits.
fn entries(text: &str) -> std::result::Result<BTreeMap<String, String>, Fault> {
    let mut entries = BTreeMap::new();
    for (key, value) in Table::parse(text)?.entries() {
        let Some(key) = KEYS.into_iter().find(|&known| known == key) else {
            return Err(value.fault(unknown("key", &key, &KEYS)));
        };
        let Some(written) = value.as_text() else {
            return Err(value.fault(format!(
                "{key} is {}; a string or a number belongs there",
                value.type_name()
            )));
        };
        entries.insert(key.to_owned(), written);
    }
    Ok(entries)
}

/// The most threads that can be asked for: each has a stack, and a system has only so many.
const MOST_THREADS: usize = 4_096;

/// Checks a number of threads, and warns if there are not as many cores.
fn possible(asked: usize) -> Result<usize> {
    let available = machine().available_threads;
    let most = MOST_THREADS.max(available);
    if !(1..=most).contains(&asked) {
        return Err(Error::Usage(format!("threads: at least 1 and at most {most}, not {asked}")));
    }
    if asked > available {
        console::warn(&format!(
            "{asked} threads asked for, {available} available: they take turns (the result is the same)"
        ));
    }
    Ok(asked)
}

/// How products are computed, as one reads it beside the instruction set: nothing of f32.
pub(super) fn told(arithmetic: Arithmetic) -> String {
    let Arithmetic { precision, kernel } = arithmetic;
    match precision {
        Precision::F32 => String::new(),
        _ => format!(", {precision} by {kernel}"),
    }
}

/// Says, once in a process, that no instruction in use multiplies bf16 numbers faster than floats.
pub(super) fn note_slow(arithmetic: Arithmetic) {
    static SAID: std::sync::Once = std::sync::Once::new();
    let Arithmetic { precision, kernel } = arithmetic;
    let how = match kernel {
        _ if precision == Precision::F32 => return,
        Bf16Kernel::Amx | Bf16Kernel::Avx512Bf16 => return,
        Bf16Kernel::MulAdd => {
            "nothing in use multiplies bf16 faster than f32 here; it is computed with the same bits by \
             multiply-adds of f32, not faster than in f32"
        }
        Bf16Kernel::AmxTwin => {
            "products have the bits of AMX, by its twin in plain code, many times slower than f32"
        }
    };
    SAID.call_once(|| console::note(&format!("{precision}: {how}")));
}

/// A pool, or why the system gives none.
///
/// # Errors
/// [`Error::Failed`] with the system's reason.
pub fn pool(isa: Isa, threads: usize) -> Result<Pool> {
    Pool::new(isa, threads)
        .map_err(|error| Error::Failed(format!("cannot start {threads} threads: {error}")))
}
