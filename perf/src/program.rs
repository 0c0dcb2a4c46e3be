//! The programs that are compared, and their workers: processes that are kept alive, time what
//! they are asked to, and wait meanwhile.

use crate::builds::Built;
use crate::code::Code;
use crate::protocol::{
    self, Benchmark, Explained, Listed, PROTOCOL, Prepared, Reply, Request, Sampled, Size, Spots,
    Timed, Twin,
};
use crate::suite::STEP;
use crate::symbols::Symbols;
use std::env;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;
use threadcount::cli::{DataFlag, Settings, open_data};
use threadcount::{Error, Result};
use threadcount_perf_suite::Fault;
pub use threadcount_perf_suite::Slowdown;

/// How long a worker may take for a sample, unless the user says otherwise. Samples take milliseconds, those of
/// the longest steps on slow machines seconds.
pub const SAMPLE_LIMIT: Duration = Duration::from_secs(60);

/// Getting ready may take so many times as long: data are read, and naive twins computed.
const READY: u32 = 10;

/// What workers can be started of.
pub trait Side {
    /// Starts a worker of the program with its functions in this order: 0 is its own, up to
    /// [`orders`](Self::orders) are others.
    ///
    /// # Errors
    /// [`Error::Failed`] if it does not start, or has another version of the protocol.
    fn start(&self, order: usize) -> Result<Worker>;

    /// How many orders there are besides its own.
    fn orders(&self) -> usize;

    /// What each function of the program in this order takes of a run.
    ///
    /// # Errors
    /// [`Error::Failed`] if its symbols cannot be read.
    fn functions(&self, order: usize, spots: &Spots) -> Result<Vec<Timed>>;

    /// The code of its functions, if that is known.
    fn code(&self) -> Option<Code>;
}

/// The order whose turn it is: one of the others, where there are any.
pub fn shuffled(side: &dyn Side, turn: usize) -> usize {
    match side.orders() {
        0 => 0,
        orders => 1 + turn % orders,
    }
}

/// A line to whatever times: a process, or what stands for one in a test.
pub trait Link {
    /// Asks.
    ///
    /// # Errors
    /// [`Error::Failed`] if nobody is there.
    fn say(&mut self, request: &Request) -> Result<()>;

    /// The next answer, which may take so long.
    ///
    /// # Errors
    /// [`Error::Failed`] if none comes.
    fn hear(&mut self, within: Duration) -> Result<Reply>;
}

/// A build of this crate, whose workers are to be timed.
#[derive(Clone, Debug)]
pub struct Program {
    /// What it is in messages: `base`, `head`.
    pub role: &'static str,
    /// The executables.
    pub built: Built,
    /// The data that steps train on, if they were named.
    pub data: Option<PathBuf>,
    /// A regression to be found.
    pub slowdown: Option<Slowdown>,
    /// How long a sample may take.
    pub limit: Duration,
}

/// What times for one side of a comparison.
pub struct Worker {
    role: &'static str,
    link: Box<dyn Link>,
    limit: Duration,
    /// What it has been asked to prepare.
    benchmark: Option<Benchmark>,
    /// The names of what it can time.
    pub names: Vec<String>,
    /// Each with its conditions, if it is a suite that this program does not know.
    pub listed: Option<Listed>,
    explains: bool,
}

/// A process of a [`Program`].
struct Process {
    role: &'static str,
    child: Child,
    stdin: ChildStdin,
    /// The lines that it writes, read by a thread of their own, so that waiting for one can end.
    lines: Receiver<String>,
    /// Its warnings, and the message that it ends with.
    stderr: File,
}

/// What a worker's crate fails with, as an error of this one.
pub fn failed(fault: Fault) -> Error {
    Error::Failed(fault.to_string())
}

/// The folder of the data that steps train on, if one is named. If there are steps among the benchmarks, it is
/// opened: what is wrong with it is told at once, and not when the first step is due.
///
/// # Errors
/// [`Error::Usage`] for a setting that cannot be read, [`Error::Data`] for bad data.
pub fn data(flag: &DataFlag, benchmarks: &[Benchmark]) -> Result<Option<PathBuf>> {
    let named = Settings::load()?.data(flag)?;
    if named.is_some() && benchmarks.iter().any(|benchmark| benchmark.name.starts_with(STEP)) {
        open_data(named.as_deref())?;
    }
    Ok(named)
}

impl Program {
    /// A build, whose steps train on `data`.
    pub fn new(role: &'static str, built: Built, data: Option<PathBuf>) -> Self {
        Self { role, built, data, slowdown: None, limit: SAMPLE_LIMIT }
    }

    /// This program.
    ///
    /// # Errors
    /// [`Error::Io`] if the system does not say where it is.
    pub fn this(role: &'static str, data: Option<PathBuf>) -> Result<Self> {
        let program = env::current_exe().map_err(Error::io("this program"))?;
        Ok(Self::new(role, Built { program, orders: Vec::new(), functions: None }, data))
    }

    fn path(&self, order: usize) -> &Path {
        let Built { program, orders, .. } = &self.built;
        order.checked_sub(1).map_or(program, |order| &orders[order])
    }

    fn process(&self, order: usize) -> Result<Process> {
        let path = self.path(order);
        let failed = |error: io::Error| Error::Failed(format!("{}: {error}", path.display()));
        let stderr = tempfile::tempfile().map_err(failed)?;
        let mut command = Command::new(path);
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
        let (sender, lines) = channel();
        // Ends with the process, whose end of the pipe is the only one.
        thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(io::Result::ok);
            for line in lines {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Process { role: self.role, child, stdin, lines, stderr })
    }
}

impl Side for Program {
    fn start(&self, order: usize) -> Result<Worker> {
        Worker::new(self.role, Box::new(self.process(order)?), self.limit)
    }

    fn orders(&self) -> usize {
        self.built.orders.len()
    }

    fn functions(&self, order: usize, spots: &Spots) -> Result<Vec<Timed>> {
        Ok(Symbols::read(self.path(order))?.timed(spots))
    }

    fn code(&self) -> Option<Code> {
        Code::read(self.built.functions.as_ref()?)
    }
}

impl Link for Process {
    fn say(&mut self, request: &Request) -> Result<()> {
        let line = protocol::line(request).map_err(failed)?;
        let said = self.stdin.write_all(line.as_bytes()).and_then(|()| self.stdin.flush());
        said.map_err(|_| self.died())
    }

    fn hear(&mut self, within: Duration) -> Result<Reply> {
        match self.lines.recv_timeout(within) {
            Ok(line) => serde_json::from_str(&line)
                .map_err(|_| Error::Failed(format!("the {}'s worker says '{line}'", self.role))),
            Err(RecvTimeoutError::Disconnected) => Err(self.died()),
            Err(RecvTimeoutError::Timeout) => {
                // Now, not when this is dropped: whoever reads the message may rely on it.
                let _ = self.child.kill();
                Err(Error::Failed(format!(
                    "the {}'s worker has not answered for {} s and was ended",
                    self.role,
                    within.as_secs_f64()
                )))
            }
        }
    }
}

impl Process {
    /// The error of a worker that has ended: its status, and the last line that it wrote.
    fn died(&mut self) -> Error {
        // It may only have closed its output.
        let _ = self.child.kill();
        let status = self.child.wait().map_or("gone".to_owned(), |status| status.to_string());
        let mut words = String::new();
        // If it wrote nothing, the status alone must tell.
        let _ = self.stderr.rewind().and_then(|()| self.stderr.read_to_string(&mut words));
        let last = words.lines().last().unwrap_or("it says nothing");
        Error::Failed(format!("the {}'s worker ended ({status}): {last}", self.role))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It holds nothing that could be lost, and may be in the middle of something.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Worker {
    /// Waits until it is ready.
    ///
    /// # Errors
    /// [`Error::Failed`] if it ends, or has another version of the protocol.
    pub fn new(role: &'static str, link: Box<dyn Link>, limit: Duration) -> Result<Self> {
        let (benchmark, names, listed, explains) = (None, Vec::new(), None, false);
        let mut worker = Self { role, link, limit, benchmark, names, listed, explains };
        match worker.link.hear(READY * limit)? {
            Reply::Ready { protocol: PROTOCOL, names, listed, explains } => {
                (worker.names, worker.listed, worker.explains) = (names, listed, explains);
            }
            other => return Err(worker.unexpected(&other)),
        }
        Ok(worker)
    }

    /// One sample of what it has prepared.
    ///
    /// # Errors
    /// [`Error::Failed`] with what the worker says, and the benchmark.
    pub fn sample(&mut self, size: Size, place: u32) -> Result<Sampled> {
        let asked = self.link.say(&Request::Sample { size, place });
        match asked.and_then(|()| self.link.hear(self.limit)) {
            Ok(Reply::Sampled(sampled)) => Ok(sampled),
            Ok(other) => Err(self.in_benchmark(&self.unexpected(&other))),
            Err(error) => Err(self.in_benchmark(&error)),
        }
    }

    /// Whether it can say where its time goes.
    pub fn explains(&self) -> bool {
        self.explains
    }

    /// Where the time of what it has prepared goes; it looks for so many seconds.
    ///
    /// # Errors
    /// [`Error::Failed`] with what the worker says, and the benchmark.
    pub fn explain(&mut self, seconds: f64, place: u32) -> Result<Explained> {
        let asked = self.link.say(&Request::Explain { seconds, place });
        match asked.and_then(|()| self.link.hear(self.limit)) {
            Ok(Reply::Explained(explained)) => Ok(explained),
            Ok(other) => Err(self.in_benchmark(&self.unexpected(&other))),
            Err(error) => Err(self.in_benchmark(&error)),
        }
    }

    /// Prepares a benchmark.
    ///
    /// # Errors
    /// [`Error::Failed`] with what the worker says: that the kernel differs from its twin, too.
    pub fn prepare(&mut self, of: &Benchmark, twin: Twin) -> Result<Prepared> {
        self.ask_to_prepare(of, twin)?;
        self.prepared()
    }

    /// Prepares a benchmark and takes so many samples of it.
    ///
    /// # Errors
    /// [`Error::Failed`] with what the worker says: that the kernel differs from its twin, too.
    pub fn samples(&mut self, of: &Benchmark, count: usize) -> Result<(Prepared, Vec<Sampled>)> {
        let prepared = self.prepare(of, Twin::Compared)?;
        let samples = (0..count as u32)
            .map(|place| self.sample(prepared.size, place))
            .collect::<Result<_>>()?;
        Ok((prepared, samples))
    }

    /// Asks for it only: several can get ready at the same time.
    ///
    /// # Errors
    /// [`Error::Failed`] if nobody is there.
    pub fn ask_to_prepare(&mut self, of: &Benchmark, twin: Twin) -> Result<()> {
        self.benchmark = Some(of.clone());
        let asked = self.link.say(&Request::Prepare { benchmark: of.clone(), twin });
        asked.map_err(|error| self.in_benchmark(&error))
    }

    /// Waits for what was asked for.
    ///
    /// # Errors
    /// [`Error::Failed`] with what the worker says.
    pub fn prepared(&mut self) -> Result<Prepared> {
        match self.link.hear(READY * self.limit) {
            Ok(Reply::Prepared(prepared)) => Ok(prepared),
            Ok(other) => Err(self.in_benchmark(&self.unexpected(&other))),
            Err(error) => Err(self.in_benchmark(&error)),
        }
    }

    fn unexpected(&self, reply: &Reply) -> Error {
        Error::Failed(match reply {
            Reply::Failed { fault } => format!("{}: {fault}", self.role),
            Reply::Ready { protocol, .. } => format!(
                "the {0}'s worker speaks protocol {protocol}, this runner {PROTOCOL}; compare with a \
                 newer {0}",
                self.role
            ),
            other => format!("the {}'s worker answers with {other:?}", self.role),
        })
    }

    fn in_benchmark(&self, error: &Error) -> Error {
        Error::Failed(match &self.benchmark {
            Some(benchmark) => format!("{benchmark}: {error}"),
            None => error.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No such file: the message names the one that was to be started.
    #[test]
    fn each_order_is_a_program_of_its_own() {
        let orders = vec!["/nowhere/one".into(), "/nowhere/two".into()];
        let built = Built { program: "/nowhere/own".into(), orders, functions: None };
        let program = Program::new("base", built, None);
        for (order, name) in ["/nowhere/own", "/nowhere/one", "/nowhere/two"].iter().enumerate() {
            let error = program.start(order).err().unwrap().to_string();
            assert!(error.starts_with(name), "{order}: {error}");
        }
        assert_eq!([0, 1, 2].map(|turn| shuffled(&program, turn)), [1, 2, 1]);
    }
}
