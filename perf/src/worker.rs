//! The process that times: it builds one benchmark at a time, compares it with its naive twin, and times
//! as many runs of it as it is asked for. `threadcount-perf worker`, started by a runner.

use crate::protocol::{
    self, Benchmark, Limit, PROTOCOL, Prepared, Reply, Request, Sampled, Size, Twin, Work,
};
use crate::suite::{self, STEP};
use std::io::{self, BufRead};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use threadcount::bench::{self, Case, ReadRates, Training, kernels, untouched};
use threadcount::cli::open_data;
use threadcount::data::Dataset;
use threadcount::nn::Buffer;
use threadcount::{Error, Result, cli, console, reports};
use threadcount_kernels::machine::machine;
use threadcount_kernels::peak::{self, Level};
use threadcount_kernels::{Isa, Pool, Team};

/// What one sample runs for: short enough for hundreds of benchmarks in minutes.
const SAMPLE: Duration = Duration::from_millis(6);
/// What one of its timings runs for, at least: shorter than the time between most interruptions.
const TIMING: Duration = Duration::from_millis(1);
/// Timings of a sample; the least for long runs. With the mean of eight timings the ratios of pairs
/// spread by 1 to 3 %, with the lower quartile by 0.3 to 1.3 (a shared virtual machine).
const TIMINGS: RangeInclusive<u32> = 3..=6;

/// Runs before a step is timed: all memory is touched, and caches know the weights. Then the
/// optimizer is aged: what is timed is a step late in a training.
const WARM_UP: Duration = Duration::from_millis(20);

#[derive(clap::Args)]
pub struct Args {
    /// Folder of the data that steps train on
    #[arg(long)]
    data: Option<PathBuf>,
    /// Repeat this share of each sample's runs: a regression to be found
    #[arg(long, default_value_t = 0.0)]
    slowdown: f64,
    /// Of this benchmark
    #[arg(long, value_name = "NAME")]
    slowed: Vec<String>,
}

/// Answers until nobody asks any more.
pub fn run(args: &Args) -> Result<()> {
    let mut worker = Worker {
        slowdown: args.slowdown,
        slowed: args.slowed.clone(),
        data: args.data.clone(),
        dataset: None,
        pools: Vec::new(),
        reads: ReadRates::default(),
        kernels: kernels::all()?,
    };
    say(&Reply::Ready { protocol: PROTOCOL, names: suite::names()? })?;
    let mut request = hear()?;
    while let Some(asked) = request {
        let answer = match asked {
            Request::Prepare { benchmark, twin } => worker.serve(&benchmark, twin),
            Request::Sample { .. } => Err(Error::Failed("a sample of nothing".into())),
        };
        request = match answer {
            Ok(next) => next,
            Err(error) => {
                say(&Reply::Failed { fault: error.to_string() })?;
                hear()?
            }
        };
    }
    Ok(())
}

struct Worker {
    slowdown: f64,
    slowed: Vec<String>,
    data: Option<PathBuf>,
    /// Opened when the first step is asked for.
    dataset: Option<Arc<Dataset>>,
    pools: Vec<Arc<Pool>>,
    reads: ReadRates,
    kernels: Vec<kernels::Entry>,
}

/// What can be timed.
trait Subject: Send {
    /// Makes it ready, and compares it with its twin.
    fn prepare(&mut self, pool: &Pool, twin: Twin) -> Result<()>;

    /// Does so many runs; returns the seconds of one run.
    fn run(&mut self, team: &Team, runs: u32) -> Result<f64>;
}

impl Worker {
    /// Times a benchmark until something else is asked for, and returns that.
    fn serve(&mut self, benchmark: &Benchmark, twin: Twin) -> Result<Option<Request>> {
        let pool = self.pool(&benchmark.isa, benchmark.threads)?;
        if let Some(id) = benchmark.name.strip_prefix(STEP) {
            let recipe = reports::recipe(id)?;
            let dataset = match &self.dataset {
                Some(dataset) => Arc::clone(dataset),
                None => Arc::clone(self.dataset.insert(open_data(self.data.as_deref())?)),
            };
            let task = bench::endless(&recipe.task);
            let split = task.selection.apply(&dataset, 0)?;
            let training = Training::new(&task, &split)?;
            let images = training.samples_at_once() as f64;
            let flops = training.flops_per_sample() * images;
            let work = Work { flops, bytes: training.bytes_at_once(), limit: Limit::Fma };
            let mut step = Step { training };
            step.prepare(&pool, twin)?;
            return self.sample(benchmark, &pool, &mut step, work, Some(images));
        }
        let entry =
            self.kernels.iter().find(|entry| entry.name() == benchmark.name).ok_or_else(|| {
                Error::Usage(format!("no benchmark is named '{}'", benchmark.name))
            })?;
        let case = entry.case();
        let (read, written) = (case.inputs(), case.outputs());
        let operands = ((read + written) * size_of::<f32>()) as f64;
        let work = match case.work() {
            bench::Work::Flops(flops) => Work { flops, bytes: operands, limit: Limit::Fma },
            bench::Work::Bytes(bytes) => {
                let level = Level::holding(operands as usize, machine(), pool.threads());
                let limit = Limit::Read(level.name().to_owned());
                Work { flops: written as f64, bytes, limit }
            }
        };
        let mut kernel = Kernel { case: &*case, out: untouched(case.outputs()) };
        kernel.prepare(&pool, twin)?;
        self.sample(benchmark, &pool, &mut kernel, work, None)
    }

    fn sample(
        &mut self,
        benchmark: &Benchmark,
        pool: &Pool,
        subject: &mut dyn Subject,
        work: Work,
        images: Option<f64>,
    ) -> Result<Option<Request>> {
        let reads = &mut self.reads;
        let most = pool.enter(|team| most(team, reads, &work.limit));
        let slowdown = if self.slowed.contains(&benchmark.name) { self.slowdown } else { 0.0 };
        let size = pool.enter(|team| size(team, subject, slowdown))?;
        say(&Reply::Prepared(Prepared { size, work: work.clone(), images }))?;
        loop {
            let (Size { timings, runs }, place) = match hear()? {
                Some(Request::Sample { size, place }) => (size, place),
                other => return Ok(other),
            };
            let repeated = (slowdown * f64::from(runs)).round() as u32;
            let _pinned = (pool.threads() == 1).then(|| Pinned::at(place));
            let sampled = pool.enter(|team| -> Result<Sampled> {
                // Meanwhile the other program has used the caches, and cores may have slept.
                subject.run(team, runs)?;
                let most = match work.limit {
                    // Clocks move, so this limit is measured beside every sample.
                    Limit::Fma => Some(peak::fma_rate(team)),
                    Limit::Read(_) => most,
                };
                let longer = f64::from(runs + repeated) / f64::from(runs);
                let mut times = (0..timings)
                    .map(|_| Ok(subject.run(team, runs + repeated)? * longer))
                    .collect::<Result<Vec<f64>>>()?;
                times.sort_unstable_by(f64::total_cmp);
                let seconds = times[(times.len() - 1) / 4];
                let share_of_limit = most.map(|most| work.bounded() / seconds / most);
                Ok(Sampled { seconds, share_of_limit })
            })?;
            say(&Reply::Sampled(sampled))?;
        }
    }

    /// The pool of that instruction set and number of threads, started when it is first asked for.
    fn pool(&mut self, isa: &str, threads: usize) -> Result<Arc<Pool>> {
        let isa = Isa::from_name(isa)?;
        let known = |pool: &&Arc<Pool>| pool.isa() == isa && pool.threads() == threads;
        if let Some(pool) = self.pools.iter().find(known) {
            return Ok(Arc::clone(pool));
        }
        let pool = cli::pool(isa, threads)?;
        bench::warm_up(&pool);
        self.pools.push(Arc::new(pool));
        Ok(Arc::clone(&self.pools[self.pools.len() - 1]))
    }
}

/// The highest read rate of a team, for benchmarks that are bound by reads.
fn most(team: &Team, reads: &mut ReadRates, limit: &Limit) -> Option<f64> {
    let Limit::Read(name) = limit else { return None };
    reads.of(team, Level::ALL.into_iter().find(|level| level.name() == name)?)
}

/// The size of a sample of the usual length. A share of the runs that is to be repeated is a whole run at
/// least.
fn size(team: &Team, subject: &mut dyn Subject, slowdown: f64) -> Result<Size> {
    let mut fault = None;
    let mut run = || {
        if let Err(error) = subject.run(team, 1) {
            fault = Some(error);
        }
    };
    let mut runs = bench::runs_for(TIMING, &mut run);
    let mut least = *TIMINGS.start();
    if slowdown > 0.0 {
        (runs, least) = (runs.max((1.0 / slowdown).ceil() as u32), 1);
    }
    let timing = bench::seconds(runs, run) * f64::from(runs);
    let timings = (SAMPLE.as_secs_f64() / timing) as u32;
    fault.map_or(Ok(Size { timings: timings.clamp(least, *TIMINGS.end()), runs }), Err)
}

/// A kernel at a size.
struct Kernel<'a> {
    case: &'a dyn Case,
    out: Buffer,
}

impl Subject for Kernel<'_> {
    fn prepare(&mut self, pool: &Pool, twin: Twin) -> Result<()> {
        if twin == Twin::Compared {
            bench::check(pool, self.case, &mut self.out).map_err(Error::Failed)?;
        }
        self.case.prepare(&mut self.out);
        Ok(())
    }

    fn run(&mut self, team: &Team, runs: u32) -> Result<f64> {
        Ok(bench::seconds(runs, || self.case.run(team, &mut self.out)))
    }
}

/// A recipe's training steps, as a session does them.
struct Step<'a> {
    training: Training<'a>,
}

impl Subject for Step<'_> {
    fn prepare(&mut self, pool: &Pool, twin: Twin) -> Result<()> {
        if twin == Twin::Compared {
            self.training.check(pool)?;
        }
        pool.enter(|team| self.training.warm_up(team, WARM_UP))
    }

    fn run(&mut self, team: &Team, runs: u32) -> Result<f64> {
        let images = self.training.samples_at_once() as u64;
        let wanted = images * u64::from(runs);
        let done = self.training.run_until(team, |done| done.images >= wanted)?;
        // An epoch's last batch may be smaller, so it takes a step more at times.
        Ok(done.seconds * images as f64 / done.images as f64)
    }
}

/// Holds this thread on one CPU until dropped. Cores of a shared machine are not equally fast at a time: with
/// a program on each, conv-forward seemed to change by 5 to 12 % in five of eight pairs of processes.
struct Pinned {
    #[cfg(target_os = "linux")]
    before: Option<rustix::thread::CpuSet>,
}

impl Pinned {
    /// The CPU of that number, of those that this thread may run on.
    #[cfg(target_os = "linux")]
    fn at(place: u32) -> Self {
        use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
        let Ok(allowed) = sched_getaffinity(None) else { return Self { before: None } };
        let count = allowed.count().max(1) as usize;
        let cpu =
            (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).nth(place as usize % count);
        let mut one = CpuSet::new();
        one.set(cpu.unwrap_or(0));
        // A system that refuses leaves it where it is.
        let before = sched_setaffinity(None, &one).is_ok().then_some(allowed);
        Self { before }
    }

    /// Elsewhere the system is trusted.
    #[cfg(not(target_os = "linux"))]
    fn at(_place: u32) -> Self {
        Self {}
    }
}

#[cfg(target_os = "linux")]
impl Drop for Pinned {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = rustix::thread::sched_setaffinity(None, before);
        }
    }
}

/// The next request; `None` when the runner has gone.
fn hear() -> Result<Option<Request>> {
    let mut line = String::new();
    let length = io::stdin().lock().read_line(&mut line).map_err(Error::io("stdin"))?;
    if length == 0 {
        return Ok(None);
    }
    let request = serde_json::from_str(&line);
    request.map(Some).map_err(|error| Error::Failed(format!("cannot read '{line}': {error}")))
}

fn say(reply: &Reply) -> Result<()> {
    console::print(&protocol::line(reply)?)
}
