//! Threadcount's own suite, as a worker serves it: it builds one benchmark at a time, compares it with its naive twin,
//! and times as many runs of it as it is asked for. `threadcount-perf worker`, started by a judge.

use crate::program::failed;
use crate::protocol::{Benchmark, Limit, Timed, Twin, Work};
use crate::suite::{self, STEP, State};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use threadcount::bench::{self, Case, ReadRates, Training, kernels, untouched};
use threadcount::cli::open_data;
use threadcount::data::Dataset;
use threadcount::nn::Buffer;
use threadcount::{Result, cli, reports};
use threadcount_kernels::machine::machine;
use threadcount_kernels::peak::{self, Level};
use threadcount_kernels::{Isa, Pool, Precision, Team};
use threadcount_perf_suite::{Fault, Runs, Slowdown, Subject, Suite, serve};

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
    let mut own = Own {
        data: args.data.clone(),
        dataset: None,
        pools: Vec::new(),
        reads: ReadRates::default(),
        kernels: kernels::all()?,
    };
    let slowdown = Slowdown { names: args.slowed.clone(), share: args.slowdown };
    serve(&mut own, &slowdown).map_err(failed)
}

/// The kernels, and the recipes' steps.
struct Own {
    data: Option<PathBuf>,
    /// Opened when the first step is asked for.
    dataset: Option<Arc<Dataset>>,
    pools: Vec<Arc<Pool>>,
    reads: ReadRates,
    kernels: Vec<kernels::Entry>,
}

/// What a subject is called with when it is ready.
type Ready<'a> = &'a mut dyn FnMut(&mut dyn Subject) -> threadcount_perf_suite::Result<()>;

impl Suite for Own {
    fn names(&self) -> threadcount_perf_suite::Result<Vec<String>> {
        suite::names().map_err(Fault::new)
    }

    fn prepare(
        &mut self,
        benchmark: &Benchmark,
        twin: Twin,
        ready: Ready,
    ) -> threadcount_perf_suite::Result<()> {
        let (name, precision) = suite::in_precision(&benchmark.name);
        let pool = self.pool(benchmark, precision).map_err(Fault::new)?;
        match name.strip_prefix(STEP) {
            Some(step) => self.step(step, &pool, twin, &mut |step| ready(step)),
            None => self.kernel(name, &pool, twin, ready),
        }
    }
}

impl Own {
    fn step(
        &mut self,
        step: &str,
        pool: &Pool,
        twin: Twin,
        ready: &mut dyn FnMut(&mut Step) -> threadcount_perf_suite::Result<()>,
    ) -> threadcount_perf_suite::Result<()> {
        let (recipe, state) = State::of(step);
        let recipe = reports::recipe(recipe).map_err(Fault::new)?;
        let dataset = match &self.dataset {
            Some(dataset) => Arc::clone(dataset),
            None => {
                let opened = open_data(self.data.as_deref()).map_err(Fault::new)?;
                Arc::clone(self.dataset.insert(opened))
            }
        };
        let task = bench::endless(&recipe.task);
        let split = task.selection.apply(&dataset, 0).map_err(Fault::new)?;
        let mut training = Training::new(&task, &split).map_err(Fault::new)?;
        if state == State::Worn {
            training.kill_units();
        }
        if twin == Twin::Compared {
            training.check(pool).map_err(Fault::new)?;
        }
        pool.enter(|team| training.warm_up(team, WARM_UP)).map_err(Fault::new)?;
        let steps = training.samples_at_once() as f64 / task.batch_size as f64;
        ready(&mut Step { training, pool, steps })
    }

    fn kernel(
        &mut self,
        name: &str,
        pool: &Pool,
        twin: Twin,
        ready: Ready,
    ) -> threadcount_perf_suite::Result<()> {
        let entry = self.kernels.iter().find(|entry| entry.name() == name);
        let entry = entry.ok_or_else(|| Fault::new(format!("no benchmark is named '{name}'")))?;
        let case = entry.case();
        let (read, written) = (case.inputs(), case.outputs());
        let operands = ((read + written) * size_of::<f32>()) as f64;
        let mut out = untouched(written);
        if twin == Twin::Compared {
            bench::check(pool, &*case, &mut out).map_err(Fault::new)?;
        }
        case.prepare(&mut out);
        let (work, most) = match case.work() {
            bench::Work::Flops(flops) => (Work { flops, bytes: operands, limit: Limit::Fma }, None),
            bench::Work::Bytes(bytes) => {
                let level = Level::holding(operands as usize, machine(), pool.threads());
                let most = pool.enter(|team| self.reads.of(team, level));
                let limit = Limit::Read(level.name().to_owned());
                (Work { flops: written as f64, bytes, limit }, most)
            }
        };
        ready(&mut Kernel { case: &*case, out, pool, work, most })
    }

    /// The pool of that instruction set, number of threads and precision, started when it is first asked for.
    fn pool(&mut self, benchmark: &Benchmark, precision: Precision) -> Result<Arc<Pool>> {
        let isa = Isa::from_name(&benchmark.isa)?;
        let conditions = (isa, benchmark.threads, precision);
        let of = |pool: &Pool| (pool.isa(), pool.threads(), pool.arithmetic().precision);
        let known = |pool: &&Arc<Pool>| of(pool) == conditions;
        if let Some(pool) = self.pools.iter().find(known) {
            return Ok(Arc::clone(pool));
        }
        let pool = cli::pool(isa, benchmark.threads)?.with_precision(precision)?;
        bench::warm_up(&pool);
        self.pools.push(Arc::new(pool));
        Ok(Arc::clone(&self.pools[self.pools.len() - 1]))
    }
}

/// A kernel at a size.
struct Kernel<'a> {
    case: &'a dyn Case,
    out: Buffer,
    pool: &'a Pool,
    work: Work,
    /// The highest rate of reads, if it is bound by those.
    most: Option<f64>,
}

impl Subject for Kernel<'_> {
    fn work(&self) -> Work {
        self.work.clone()
    }

    fn enter(&mut self, inside: &mut (dyn FnMut(&mut dyn Runs) + Send)) {
        let Self { case, out, pool, work, most } = self;
        pool.enter(|team| {
            inside(&mut KernelRuns { case: *case, out, team, limit: &work.limit, most: *most })
        });
    }
}

struct KernelRuns<'a> {
    case: &'a dyn Case,
    out: &'a mut Buffer,
    team: &'a Team<'a>,
    limit: &'a Limit,
    most: Option<f64>,
}

impl Runs for KernelRuns<'_> {
    fn run(&mut self, runs: u32) -> threadcount_perf_suite::Result<f64> {
        Ok(bench::seconds(runs, || self.case.run(self.team, self.out)))
    }

    fn most(&mut self) -> Option<f64> {
        match self.limit {
            Limit::Fma => Some(peak::product_rate(self.team, self.team.arithmetic())),
            Limit::Read(_) => self.most,
        }
    }
}

/// A recipe's training steps, as a session does them.
struct Step<'a> {
    training: Training<'a>,
    pool: &'a Pool,
    /// Steps of a run.
    steps: f64,
}

impl Subject for Step<'_> {
    fn work(&self) -> Work {
        let flops = self.training.flops_per_sample() * self.training.samples_at_once() as f64;
        Work { flops, bytes: self.training.bytes_at_once(), limit: Limit::Fma }
    }

    fn images(&self) -> Option<f64> {
        Some(self.training.samples_at_once() as f64)
    }

    fn enter(&mut self, inside: &mut (dyn FnMut(&mut dyn Runs) + Send)) {
        let Self { training, pool, .. } = self;
        pool.enter(|team| inside(&mut StepRuns { training, team }));
    }

    fn phases(&mut self, seconds: f64) -> threadcount_perf_suite::Result<Vec<Timed>> {
        let Self { training, pool, steps } = self;
        let time = Duration::from_secs_f64(seconds);
        let phases = pool.enter(|team| training.phases(team, time)).map_err(Fault::new)?;
        let timed = |(name, seconds)| Timed { name, seconds: *steps * seconds };
        Ok(phases.into_iter().map(timed).collect())
    }
}

struct StepRuns<'a, 'b> {
    training: &'a mut Training<'b>,
    team: &'a Team<'a>,
}

impl Runs for StepRuns<'_, '_> {
    fn run(&mut self, runs: u32) -> threadcount_perf_suite::Result<f64> {
        let images = self.training.samples_at_once() as u64;
        let wanted = images * u64::from(runs);
        let done = self.training.run_until(self.team, |done| done.images >= wanted);
        let done = done.map_err(Fault::new)?;
        // An epoch's last batch may be smaller, so it takes a step more at times.
        Ok(done.seconds * images as f64 / done.images as f64)
    }

    fn most(&mut self) -> Option<f64> {
        Some(peak::product_rate(self.team, self.team.arithmetic()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use threadcount::data::{Shape, synthetic};
    use threadcount::nn::{Activation, Loss, Network, Optimizer, Saved, dense};

    fn own(data: Option<PathBuf>) -> Own {
        let kernels = kernels::all().unwrap();
        Own { data, dataset: None, pools: Vec::new(), reads: ReadRates::default(), kernels }
    }

    #[test]
    fn every_second_unit_dies_but_no_class() {
        let layers = [
            dense(5, Activation::Relu),
            dense(3, Activation::Sigmoid),
            dense(2, Activation::Linear),
        ];
        let loss = Loss::SoftmaxCrossEntropy;
        let input = Shape::Flat(4);
        let mut network = Network::build(input, &layers, loss, Optimizer::adam(), 8, 0).unwrap();
        let weights = network.params()[..20].to_vec();
        network.kill_units();
        assert_eq!(network.params()[..20], weights);
        let biases = network.plan().params().iter().filter(|tensor| tensor.name.ends_with("/bias"));
        let biases: Vec<&[f32]> =
            biases.map(|tensor| &network.params()[tensor.range.clone()]).collect();
        let expected: [&[f32]; 3] =
            [&[-90.0, 0.0, -90.0, 0.0, -90.0], &[-90.0, 0.0, -90.0], &[0.0, 0.0]];
        assert_eq!(biases, expected);
    }

    /// What is timed is late in a training: the optimizer's memory of gradients that stay away is gone, not a number
    /// below the normal floats, while its mean of squares is still there; and of a worn network half of the hidden units
    /// are dead.
    #[test]
    fn steps_are_timed_in_the_state_that_their_name_says() {
        let folder = tempfile::tempdir().unwrap();
        synthetic::generate(folder.path(), 1, 2_000, 200).unwrap();
        let mut own = own(Some(folder.path().to_owned()));
        let pool = Pool::new(Isa::best(), 1).unwrap();
        for (step, dead_share) in [("biu-adam", 0.0), ("biu-adam, worn", 0.5)] {
            let mut seen = false;
            let mut ready = |step: &mut Step| {
                let network = step.training.network();
                let (model, memory) =
                    (network.tensors(Saved::Model), network.tensors(Saved::Optimizer));
                let hidden = model.iter().filter(|tensor| tensor.name.ends_with("/bias")).take(2);
                for bias in hidden {
                    let dead = bias.data.iter().filter(|&&bias| bias < -80.0).count();
                    assert_eq!(dead as f64, dead_share * bias.data.len() as f64, "{}", bias.name);
                }
                for tensor in memory {
                    let is_zero = tensor.data.iter().all(|&value| value == 0.0);
                    assert_eq!(is_zero, tensor.name.starts_with("adam/m/"), "{}", tensor.name);
                }
                seen = true;
                Ok(())
            };
            own.step(step, &pool, Twin::Compared, &mut ready).unwrap();
            assert!(seen, "{step}");
        }
    }

    /// What is timed is computed in the precision that its name says, on a pool that is started once.
    #[test]
    fn the_name_says_the_precision() {
        let mut own = own(None);
        for name in ["gemm 512x512x512, bf16", "gemm 512x512x512", "gemm 512x512x512, bf16"] {
            let isa = Isa::best().name().to_owned();
            let benchmark = Benchmark { name: name.into(), isa, threads: 1 };
            let mut flops = 0.0;
            let mut ready = |subject: &mut dyn Subject| {
                flops = subject.work().flops;
                Ok(())
            };
            own.prepare(&benchmark, Twin::Trusted, &mut ready).unwrap();
            assert_eq!(flops, 2.0 * 512.0_f64.powi(3), "{name}");
        }
        let precisions = own.pools.iter().map(|pool| pool.arithmetic().precision);
        assert!(precisions.eq([Precision::Bf16, Precision::F32]));
    }
}
