//! Whole training steps of a recipe, as a session runs them: picking the batch in shuffled order,
//! forward, loss, backward, update.

use super::measure::median;
use super::profile;
use super::traffic;
use crate::Result;
use crate::data::{Samples, Scale, Split, Targets, naive_gather};
use crate::nn::{BatchKey, BatchResult, Network};
use crate::oracle::{Batches, NaiveNetwork};
use crate::train::{Session, Task};
use std::ops::ControlFlow;
use std::time::Duration;
use threadcount_kernels::precision::Arithmetic;
use threadcount_kernels::{Pool, Team, peak};

/// The minimum time of one sample: three training steps of the slowest recipe on one thread.
pub(super) const SAMPLE: Duration = Duration::from_millis(60);
/// Measurements of the peak before each sample, of which the median counts: two milliseconds.
const PEAKS: usize = 5;
/// How far a gradient may be from that of the twin, as a share of its size. On Fashion-MNIST, no recipe's
/// gradient is further than 1e-3, on any instruction set. On other data chance can change 1 to 6 % of it
/// (in two steps of 336); [`NaiveNetwork::agrees_with`] says how.
const TOLERANCE: f64 = 0.1;
/// Steps without a gradient after which an optimizer's memory of one is below the normal floats: 0.9^1000
/// is 1e-46.
const AGE: u32 = 1_000;
/// The seed of the weights and of everything random.
const SEED: u64 = 0;
/// The key of the twin's steps, for dropout.
const KEY: BatchKey = BatchKey { epoch: 0, first_sample: 0 };

/// Training without an end, measured from outside: it runs as any session does.
pub struct Training<'a> {
    pub(super) session: Session<'a>,
}

/// A stretch of training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stretch {
    /// Samples trained on.
    pub images: u64,
    /// Wall time of the steps, picking the batches included. Shuffling and validation are not.
    pub seconds: f64,
}

/// A task that goes on past its last epoch: a benchmark ends by the clock.
pub fn endless(task: &Task) -> Task {
    Task { epochs: usize::MAX, early_stopping: None, ..task.clone() }
}

impl<'a> Training<'a> {
    /// The training of an [`endless`] task, before its first step.
    ///
    /// # Errors
    /// [`Error::Usage`](crate::Error::Usage) if the network does not fit the images.
    pub fn new(task: &'a Task, split: &'a Split) -> Result<Self> {
        Ok(Self { session: Session::new(task, split, SEED)? })
    }

    /// The network, in the state that its next step finds it in.
    pub fn network(&self) -> &Network {
        self.session.network()
    }

    /// Samples of one step, or of as many steps as the network makes at once.
    pub fn samples_at_once(&self) -> usize {
        let batch_size = self.session.task().batch_size;
        batch_size * self.session.network().steps_at_once(batch_size)
    }

    /// Operations of the products for one sample, as [`Plan::flops`](crate::nn::Plan::flops) counts them.
    pub fn flops_per_sample(&self) -> f64 {
        self.session.flops_per_sample()
    }

    /// Bytes that the steps of [`Self::samples_at_once`] read and write if each layer does so once in each
    /// pass, and each parameter and its optimizer's buffers are read and written once a step.
    pub fn bytes_at_once(&self) -> f64 {
        let network = self.session.network();
        let steps = self.samples_at_once() / self.session.task().batch_size;
        traffic::step(network, self.session.task().batch_size).bytes * steps as f64
    }

    /// Makes the same step with a copy of the network and with its naive twin, in f32: the kernels' own tests hold
    /// other precisions to a twin of theirs.
    ///
    /// # Errors
    /// [`Error::Failed`](crate::Error::Failed) if their results differ.
    pub fn check(&self, pool: &Pool) -> Result<()> {
        self.checked_twin(pool).map(drop)
    }

    /// The twin, after the step of [`Self::check`].
    pub(super) fn checked_twin(&self, pool: &Pool) -> Result<Twin<'a>> {
        let mut network = self.session.network().clone();
        let mut twin = Twin::new(&self.session)?;
        twin.step();
        let Twin { x, samples, n, batch_size, .. } = &twin;
        let batches = Batches { x, targets: targets(samples, *n), size: *batch_size, key: KEY };
        pool.enter_with(Arithmetic::F32, |team| {
            twin.network.check_step(team, &mut network, batches, TOLERANCE)
        })?;
        Ok(twin)
    }

    /// Brings the network into the state of a long training: every second unit is dead, see
    /// [`Network::kill_units`](crate::nn::Network::kill_units). To be called before the first step.
    pub fn kill_units(&mut self) {
        self.session.kill_units();
    }

    /// Trains until all memory has been touched, and brings the optimizer into the state of a long
    /// training: steps must not become slower when momenta decay.
    ///
    /// # Errors
    /// [`Error::Failed`](crate::Error::Failed) if the loss stops being a finite number.
    pub fn warm_up(&mut self, team: &Team, time: Duration) -> Result<()> {
        self.rate(team, time)?;
        self.session.age_optimizer(team, AGE);
        Ok(())
    }

    /// Trains until `enough` returns true; at least one step.
    ///
    /// # Errors
    /// [`Error::Failed`](crate::Error::Failed) if the loss stops being a finite number.
    pub fn run_until(
        &mut self,
        team: &Team,
        mut enough: impl FnMut(Stretch) -> bool + Send,
    ) -> Result<Stretch> {
        self.watch(team, |_, stretch| enough(stretch))
    }

    /// The phases of a step by name, as `threadcount bench --profile` calls them, with the seconds of each in a step
    /// with a full batch: medians over steps of about that time. From then on every step is timed phase by phase.
    ///
    /// # Errors
    /// [`Error::Failed`](crate::Error::Failed) if the loss stops being a finite number.
    pub fn phases(&mut self, team: &Team, time: Duration) -> Result<Vec<(String, f64)>> {
        profile::seconds(team, self, time)
    }

    /// As [`Self::run_until`]; `enough` also gets the session as it is after every step.
    pub(super) fn watch(
        &mut self,
        team: &Team,
        mut enough: impl FnMut(&Session<'_>, Stretch) -> bool + Send,
    ) -> Result<Stretch> {
        let start = Stretch::until(&self.session);
        self.session.train(team, &mut |session, _| {
            let stretch = Stretch::until(session).since(start);
            Ok(if enough(session, stretch) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        })?;
        Ok(Stretch::until(&self.session).since(start))
    }

    /// Samples per second over a stretch of that time.
    pub(super) fn rate(&mut self, team: &Team, time: Duration) -> Result<f64> {
        let Stretch { images, seconds } =
            self.run_until(team, |stretch| stretch.seconds >= time.as_secs_f64())?;
        Ok(images as f64 / seconds)
    }
}

impl Stretch {
    /// From the first step to now.
    fn until(session: &Session<'_>) -> Self {
        let progress = session.progress();
        Self { images: progress.trained_samples, seconds: progress.step_seconds }
    }

    /// The part of this stretch that came after an earlier one.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self { images: self.images - earlier.images, seconds: self.seconds - earlier.seconds }
    }
}

/// Operations per second of multiply-adds on registers, as they are now.
pub(super) fn fma_peak(team: &Team) -> f64 {
    median((0..PEAKS).map(|_| peak::fma_rate(team)).collect())
}

/// The targets of the first samples.
fn targets(samples: &Samples, n: usize) -> Targets<'_> {
    samples.targets().of(0..n, samples.target_width())
}

/// The twin of a session's network, with as many samples as that trains on at once.
pub(super) struct Twin<'a> {
    network: NaiveNetwork,
    batch_size: usize,
    samples: &'a Samples,
    scale: Scale,
    x: Vec<f32>,
    pub(super) n: usize,
}

impl<'a> Twin<'a> {
    fn new(session: &Session<'a>) -> Result<Self> {
        let samples = &session.split().train;
        let batch_size = session.task().batch_size;
        let n = batch_size * session.network().steps_at_once(batch_size);
        let n = n.min(samples.len());
        Ok(Self {
            network: NaiveNetwork::of(session.network(), SEED)?,
            batch_size,
            samples,
            scale: session.scale().clone(),
            x: vec![0.0; n * samples.shape().len()],
            n,
        })
    }

    /// Gathers the samples and trains on them.
    pub(super) fn step(&mut self) -> BatchResult {
        naive_gather(self.samples, &self.scale, &mut self.x);
        let targets = targets(self.samples, self.n);
        self.network.train_steps(&self.x, targets, self.batch_size, KEY)
    }
}
