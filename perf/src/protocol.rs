//! What a runner and its workers say to each other: a JSON document on a line, one line of the worker
//! for each of the runner's. The two may be of different revisions, so a change of anything here is a
//! change of [`PROTOCOL`].

use crate::statistics::median;
use serde::{Deserialize, Serialize};
use std::fmt;
use threadcount::{Error, Result, cli};

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
        write!(f, "{name} on {} of {isa}", cli::threads(*threads))
    }
}

/// What a runner asks for.
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
    },
    /// To [`Request::Prepare`].
    Prepared(Prepared),
    /// To [`Request::Sample`].
    Sampled(Sampled),
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

impl Sampled {
    /// The medians of both.
    pub fn medians(samples: &[Self]) -> Self {
        let seconds: Vec<f64> = samples.iter().map(|sample| sample.seconds).collect();
        let shares: Vec<f64> = samples.iter().filter_map(|sample| sample.share_of_limit).collect();
        Self {
            seconds: median(&seconds),
            share_of_limit: (!shares.is_empty()).then(|| median(&shares)),
        }
    }
}

/// A JSON document on a line.
///
/// # Errors
/// [`Error::Failed`] if it cannot be written, which nothing here is known to cause.
pub fn line(document: &impl Serialize) -> Result<String> {
    serde_json::to_string(document)
        .map(|text| text + "\n")
        .map_err(|error| Error::Failed(format!("cannot write JSON: {error}")))
}
