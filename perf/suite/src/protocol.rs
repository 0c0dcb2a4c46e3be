//! What a judge and its workers say to each other: a JSON document on a line, one line of the worker
//! for each of the judge's. The two may be of different revisions. What a worker may lack has a default in
//! [`Reply::Ready`], which the judge asks first; any other change is a change of [`PROTOCOL`].

use crate::{Fault, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The version of this protocol.
pub const PROTOCOL: u32 = 1;

/// One thing to be timed, on so many threads of an instruction set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Benchmark {
    /// A kernel at a size, or `step` and a recipe.
    pub name: String,
    /// The instruction set.
    pub isa: String,
    /// The threads.
    pub threads: usize,
}

impl fmt::Display for Benchmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, isa, threads } = self;
        let plural = if *threads == 1 { "" } else { "s" };
        write!(f, "{name} on {threads} thread{plural} of {isa}")
    }
}

/// What a judge asks for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Build this benchmark and find out how long it takes.
    Prepare {
        /// Which.
        benchmark: Benchmark,
        /// Whether its result is compared with that of its twin.
        twin: Twin,
    },
    /// Time it.
    Sample {
        /// How long.
        size: Size,
        /// A benchmark on one thread runs on the CPU of this number, modulo the number of CPUs that
        /// the worker may use.
        place: u32,
    },
    /// Say where its time goes. Only of a worker that explains.
    Explain {
        /// How long to look at it, in seconds; phases and code one after the other.
        seconds: f64,
        /// As of a sample.
        place: u32,
    },
}

/// Whether a benchmark's result is compared with that of its naive twin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Twin {
    /// Before anything is timed.
    Compared,
    /// It has been, in another process of the same program.
    Trusted,
}

/// What a worker answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Reply {
    /// Unasked, when it has started.
    Ready {
        /// The version of its protocol.
        protocol: u32,
        /// The names of what it can time.
        names: Vec<String>,
        /// Each with its conditions, if it is another suite than the judge's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        listed: Option<Listed>,
        /// Whether it answers [`Request::Explain`].
        #[serde(default)]
        explains: bool,
    },
    /// To [`Request::Prepare`].
    Prepared(Prepared),
    /// To [`Request::Sample`].
    Sampled(Sampled),
    /// To [`Request::Explain`].
    Explained(Explained),
    /// To anything.
    Failed {
        /// What is wrong.
        fault: String,
    },
}

/// How long a sample is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Timings, one after the other, of which the lower quartile counts: what else happens on a
    /// machine only adds.
    pub timings: u32,
    /// Runs of each of them.
    pub runs: u32,
}

/// A benchmark that is ready to be timed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prepared {
    /// The size of a sample of the usual length.
    pub size: Size,
    /// What one run does.
    pub work: Work,
    /// Samples of a data set that one run trains on, if it is a training step.
    pub images: Option<f64>,
}

/// What one run of a benchmark does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// Floating-point operations; of an elementwise kernel one for each number that it writes.
    pub flops: f64,
    /// Bytes that it reads and writes, each operand once.
    pub bytes: f64,
    /// What bounds it.
    pub limit: Limit,
}

impl Work {
    /// So many floating-point operations, of which nobody knows the limit.
    pub fn operations(flops: f64) -> Self {
        Self { flops, bytes: 0.0, limit: Limit::Fma }
    }

    /// What is counted against the limit.
    pub fn bounded(&self) -> f64 {
        match self.limit {
            Limit::Fma => self.flops,
            Limit::Read(_) => self.bytes,
        }
    }
}

/// What bounds a benchmark, and which part of its work is counted against that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Limit {
    /// Operations, against multiply-adds on registers.
    Fma,
    /// Bytes, against reads from this level of memory.
    Read(String),
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fma => write!(f, "FMA"),
            Self::Read(level) => write!(f, "{level}"),
        }
    }
}

/// One sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampled {
    /// Wall time of one run.
    pub seconds: f64,
    /// The share of the benchmark's limit that was reached, if that could be measured.
    pub share_of_limit: Option<f64>,
}

/// Where the time of a benchmark goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    /// The phases of a run, if it has such.
    pub phases: Vec<Timed>,
    /// Addresses of code where it was met, relative to where the program was loaded.
    pub spots: Spots,
}

/// A part of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timed {
    /// What it is.
    pub name: String,
    /// What it takes of a run.
    pub seconds: f64,
}

/// Where a thread was met, at equal distances of time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spots {
    /// Seconds of one run meanwhile.
    pub seconds: f64,
    /// Addresses relative to the program's first, and how often it was met there; ascending.
    pub met: Vec<(u64, u32)>,
    /// How often it was met elsewhere: in the system's libraries.
    pub elsewhere: u32,
}

/// A suite that its judge does not know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    /// What can be timed.
    pub benchmarks: Vec<Benchmark>,
    /// The names of those that stand for the others.
    pub quick: Vec<String>,
    /// The names of those by which the noise of the day is measured.
    pub sentinels: Vec<String>,
}

/// A JSON document on a line.
///
/// # Errors
/// [`Fault`] if it cannot be written, which nothing here is known to cause.
pub fn line(document: &impl Serialize) -> Result<String> {
    serde_json::to_string(document)
        .map(|text| text + "\n")
        .map_err(|error| Fault::new(format!("cannot write JSON: {error}")))
}
