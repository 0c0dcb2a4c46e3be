//! The two programs that are compared, and their workers: processes that are kept alive, time what
//! they are asked to, and wait meanwhile.

use crate::protocol::{self, Benchmark, PROTOCOL, Prepared, Reply, Request, Sampled, Size, Twin};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::env;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use threadcount::cli::{DataFlag, Settings};
use threadcount::{Error, Result};

/// A build of this crate, whose workers are to be timed.
#[derive(Clone, Debug)]
pub struct Program {
    /// What it is in messages: `base`, `head`.
    pub role: &'static str,
    /// The executable.
    pub path: PathBuf,
    /// The data that steps train on, if they were named.
    pub data: Option<PathBuf>,
    /// A regression to be found.
    pub slowdown: Option<Slowdown>,
}

/// A regression that is put in on purpose, to see whether it is found.
#[derive(Clone, Debug)]
pub struct Slowdown {
    /// The benchmarks that have it.
    pub names: Vec<String>,
    /// The share of its runs that is repeated.
    pub share: f64,
}

/// A process of a [`Program`].
pub struct Worker {
    role: &'static str,
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    /// Its warnings, and the message that it ends with.
    stderr: File,
    /// The names of what it can time.
    pub names: Vec<String>,
}

/// A sample of each program, taken one right after the other.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// The base's.
    pub base: Sampled,
    /// The head's.
    pub head: Sampled,
}

impl Pair {
    /// The logarithm of how many times as long the head took.
    pub fn log_ratio(&self) -> f64 {
        (self.head.seconds / self.base.seconds).ln()
    }
}

impl Program {
    /// A build.
    ///
    /// # Errors
    /// [`Error::Usage`] if the settings name the data wrongly.
    pub fn new(role: &'static str, path: PathBuf, data: &DataFlag) -> Result<Self> {
        Ok(Self { role, path, data: Settings::load()?.data(data)?, slowdown: None })
    }

    /// This program.
    ///
    /// # Errors
    /// [`Error::Io`] if the system does not say where it is; as [`Self::new`].
    pub fn this(role: &'static str, data: &DataFlag) -> Result<Self> {
        Self::new(role, env::current_exe().map_err(Error::io("this program"))?, data)
    }

    /// Starts a worker.
    ///
    /// # Errors
    /// [`Error::Failed`] if it does not start, or has another version of the protocol.
    pub fn start(&self) -> Result<Worker> {
        let failed = |error: io::Error| Error::Failed(format!("{}: {error}", self.path.display()));
        let stderr = tempfile::tempfile().map_err(failed)?;
        let mut command = Command::new(&self.path);
        command.arg("worker");
        if let Some(data) = &self.data {
            command.arg("--data").arg(data);
        }
        if let Some(Slowdown { names, share }) = &self.slowdown {
            command.args(["--slowdown", &share.to_string()]);
            for name in names {
                command.args(["--slowed", name]);
            }
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(stderr.try_clone().map_err(failed)?);
        let mut child = command.spawn().map_err(failed)?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::Failed("a worker without pipes".into()));
        };
        let stdout = BufReader::new(stdout);
        let role = self.role;
        let mut worker = Worker { role, child, stdin, stdout, stderr, names: Vec::new() };
        match worker.hear()? {
            Reply::Ready { protocol: PROTOCOL, names } => worker.names = names,
            other => return Err(worker.unexpected(&other)),
        }
        Ok(worker)
    }
}

impl Worker {
    /// One sample of what it has prepared.
    ///
    /// # Errors
    /// [`Error::Failed`] with what the worker says.
    pub fn sample(&mut self, size: Size, place: u32) -> Result<Sampled> {
        self.say(&Request::Sample { size, place })?;
        match self.hear()? {
            Reply::Sampled(sampled) => Ok(sampled),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Prepares a benchmark and takes so many samples of it.
    ///
    /// # Errors
    /// [`Error::Failed`] with what the worker says: that the kernel differs from its twin, too.
    pub fn samples(&mut self, of: &Benchmark, count: usize) -> Result<(Prepared, Vec<Sampled>)> {
        let [prepared] = prepare([self], of, Twin::Compared)?;
        let samples = (0..count as u32)
            .map(|place| self.sample(prepared.size, place))
            .collect::<Result<_>>()?;
        Ok((prepared, samples))
    }

    fn say(&mut self, request: &Request) -> Result<()> {
        let line = protocol::line(request)?;
        match self.stdin.write_all(line.as_bytes()).and_then(|()| self.stdin.flush()) {
            Ok(()) => Ok(()),
            Err(_) => Err(self.died()),
        }
    }

    fn hear(&mut self) -> Result<Reply> {
        let mut line = String::new();
        match self.stdout.read_line(&mut line) {
            Ok(1..) => serde_json::from_str(&line).map_err(|_| {
                Error::Failed(format!("the {}'s worker says '{}'", self.role, line.trim_end()))
            }),
            _ => Err(self.died()),
        }
    }

    fn unexpected(&self, reply: &Reply) -> Error {
        Error::Failed(match reply {
            Reply::Failed { fault } => format!("{}: {fault}", self.role),
            Reply::Ready { protocol, .. } => format!(
                "the {}'s worker speaks protocol {protocol}, this runner {PROTOCOL}; compare with a \
                 newer base",
                self.role
            ),
            other => format!("the {}'s worker answers with {other:?}", self.role),
        })
    }

    /// The error of a worker that has ended: its status, and the last line that it wrote.
    fn died(&mut self) -> Error {
        let status = self.child.wait().map_or("gone".to_owned(), |status| status.to_string());
        let mut words = String::new();
        // If it wrote nothing, the status alone must tell.
        let _ = self.stderr.rewind().and_then(|()| self.stderr.read_to_string(&mut words));
        let last = words.lines().last().unwrap_or("it says nothing");
        Error::Failed(format!("the {}'s worker ended ({status}): {last}", self.role))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It holds nothing that could be lost, and may be in the middle of something.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lets workers prepare the same benchmark, at the same time.
///
/// # Errors
/// [`Error::Failed`] with what a worker says.
fn prepare<const N: usize>(
    workers: [&mut Worker; N],
    of: &Benchmark,
    twin: Twin,
) -> Result<[Prepared; N]> {
    let mut workers = workers;
    for worker in &mut workers {
        worker.say(&Request::Prepare { benchmark: of.clone(), twin })?;
    }
    let mut prepared = Vec::new();
    for worker in &mut workers {
        match worker.hear()? {
            Reply::Prepared(it) => prepared.push(it),
            other => return Err(in_benchmark(worker.unexpected(&other), of)),
        }
    }
    prepared.try_into().map_err(|_| Error::Failed("a worker is missing".into()))
}

/// Two workers that are timed in turn.
pub struct Workers {
    base: Worker,
    head: Worker,
}

impl Workers {
    /// Starts one of each.
    ///
    /// # Errors
    /// As [`Program::start`].
    pub fn start(base: &Program, head: &Program) -> Result<Self> {
        Ok(Self { base: base.start()?, head: head.start()? })
    }

    /// Lets both prepare a benchmark. Samples of both are to be of the size that the faster one needs.
    ///
    /// # Errors
    /// [`Error::Failed`] with what a worker says.
    pub fn prepare(&mut self, benchmark: &Benchmark, twin: Twin) -> Result<Size> {
        let workers = [&mut self.base, &mut self.head];
        let [base, head] = prepare(workers, benchmark, twin)?.map(|prepared| prepared.size);
        Ok(Size { timings: base.timings.max(head.timings), runs: base.runs.max(head.runs) })
    }

    /// Takes so many pairs of samples of what was prepared, in random order within each, both at the same
    /// random place.
    ///
    /// # Errors
    /// [`Error::Failed`] with what a worker says.
    pub fn pairs(&mut self, size: Size, count: usize, rng: &mut ChaCha8Rng) -> Result<Vec<Pair>> {
        let Self { base, head } = self;
        let pair = |_| {
            let place = rng.random();
            let (base, head) = if rng.random() {
                let base = base.sample(size, place)?;
                (base, head.sample(size, place)?)
            } else {
                let head = head.sample(size, place)?;
                (base.sample(size, place)?, head)
            };
            Ok(Pair { base, head })
        };
        (0..count).map(pair).collect()
    }
}

fn in_benchmark(error: Error, of: &Benchmark) -> Error {
    Error::Failed(format!("{of}: {error}"))
}
