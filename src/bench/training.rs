//! Whole training steps of a recipe, as a session runs them: picking the batch in shuffled order,
//! forward, loss, backward, update.

use super::flops::Flops;
use super::measure::{TWIN_SAMPLE, TWIN_SAMPLES, median, runs_for, seconds};
use super::naive_network::{NaiveNetwork, same_loss};
use super::profile::{self, Phase};
use super::system::peak_memory;
use super::traffic::Traffic;
use crate::data::{Samples, Scale, Split};
use crate::nn::{BatchKey, BatchResult};
use crate::train::{Flow, Session, Task};
use crate::{Error, Result};
use std::time::Duration;
use threadcount_kernels::{Pool, Team, naive, peak};

/// What one sample runs for, at least, in training steps: three of the slowest recipe on one thread.
pub(super) const SAMPLE: Duration = Duration::from_millis(60);
/// The same before anything counts, until all memory has been touched.
const WARM_UP: Duration = Duration::from_millis(150);
/// Measurements of the peak before each sample, of which the median counts: two milliseconds.
const PEAKS: usize = 5;
/// How far a step may end from that of the twin; [`NaiveNetwork::agrees_with`] says what chance makes.
const TOLERANCE: f64 = 0.25;
/// Steps without a gradient after which what is remembered of one is below the normal floats: 0.9^1000
/// is 1e-46.
const AGE: u32 = 1_000;
/// Of the weights and of everything random.
const SEED: u64 = 0;
/// Of the twin's steps, for dropout.
const KEY: BatchKey = BatchKey { epoch: 0, first_sample: 0 };

/// Training without an end, measured from outside: what happens in it is what happens in any session.
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

/// What came out; medians.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingRate {
    /// Samples trained on, per second.
    pub images_per_second: f64,
    /// Operations of the products, as [`Flops`] counts them, per second.
    pub flops_per_second: f64,
    /// Their share of the FMA peak on as many threads.
    pub share_of_peak: f64,
    /// Times as fast as the naive twin on one thread, where that was asked for.
    pub naive_ratio: Option<f64>,
    /// The rate as a share of that of a session whose optimizer has not been aged, the two in turn, where
    /// that was asked for.
    pub early_ratio: Option<f64>,
    /// The phases of a step, in order, where they were asked for.
    pub phases: Vec<Phase>,
    /// The most memory that the process has had until now, twin excluded; in bytes.
    pub peak_memory: Option<u64>,
}

/// What is measured of a recipe beside its rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Samples of everything.
    pub samples: usize,
    /// What it is compared with, if anything.
    pub baseline: Option<Baseline>,
    /// How far a step is taken apart.
    pub detail: Detail,
}

/// What a recipe is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Baseline {
    /// The same network on the kernels' plain-loop twins, one thread
    Naive,
    /// The same network in its first second, before its optimizer remembers dead weights
    Early,
}

/// How far a step is taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Steps as a whole.
    Steps,
    /// Each of their phases too, in steps of their own: looking at the clock takes time.
    Phases,
}

/// A task that goes on past its last epoch: a benchmark ends by the clock.
pub fn endless(task: &Task) -> Task {
    Task { epochs: usize::MAX, early_stopping: None, ..task.clone() }
}

impl<'a> Training<'a> {
    /// Before the first step of an [`endless`] task.
    ///
    /// # Errors
    /// [`Error::Usage`] if the network does not fit the images.
    pub fn new(task: &'a Task, split: &'a Split) -> Result<Self> {
        Ok(Self { session: Session::new(task, split, SEED)? })
    }

    /// Samples of one step, or of as many as the network does at once.
    pub fn samples_at_once(&self) -> usize {
        let batch_size = self.session.task().batch_size;
        batch_size * self.session.network().steps_at_once(batch_size)
    }

    /// Operations of the products for one sample, as [`Flops`] counts them.
    pub fn flops_per_sample(&self) -> f64 {
        Flops::of_step(self.session.network().plan())
    }

    /// Bytes that the steps of [`Self::samples_at_once`] read and write if each layer does so once
    /// on each way, and each parameter and its companions are read and written once a step.
    pub fn bytes_at_once(&self) -> f64 {
        let network = self.session.network();
        let steps = self.samples_at_once() / self.session.task().batch_size;
        Traffic::step(network, self.session.task().batch_size).bytes * steps as f64
    }

    /// Makes the same step with a copy of the network and with its naive twin.
    ///
    /// # Errors
    /// [`Error::Failed`] if they end apart.
    pub fn check(&self, pool: &Pool) -> Result<()> {
        self.checked_twin(pool).map(drop)
    }

    /// The twin, after that.
    fn checked_twin(&self, pool: &Pool) -> Result<Twin<'a>> {
        let mut network = self.session.network().clone();
        let mut twin = Twin::new(&self.session);
        let expected = twin.step();
        let Twin { x, labels, batch_size, .. } = &twin;
        let result = pool.enter(|team| network.train_steps(team, x, labels, *batch_size, KEY))?;
        same_loss(result, expected)
            .and_then(|()| twin.network.agrees_with(&network, TOLERANCE))
            .map_err(Error::Failed)?;
        Ok(twin)
    }

    /// Trains until all memory has been touched, and brings the optimizer into the state of a long
    /// training: steps must not become slower when momenta die.
    ///
    /// # Errors
    /// [`Error::Failed`] if the loss stops being a finite number.
    pub fn warm_up(&mut self, team: &Team, time: Duration) -> Result<()> {
        self.rate(team, time)?;
        self.session.age_optimizer(team, AGE);
        Ok(())
    }

    /// Goes on until that is enough; at least one step.
    ///
    /// # Errors
    /// [`Error::Failed`] if the loss stops being a finite number.
    pub fn run_until(
        &mut self,
        team: &Team,
        mut enough: impl FnMut(Stretch) -> bool + Send,
    ) -> Result<Stretch> {
        self.watch(team, |_, stretch| enough(stretch))
    }

    /// The same; `enough` sees the session as it is after every step, too.
    pub(super) fn watch(
        &mut self,
        team: &Team,
        mut enough: impl FnMut(&Session<'_>, Stretch) -> bool + Send,
    ) -> Result<Stretch> {
        let start = Stretch::until(&self.session);
        self.session.train(team, &mut |session, _| {
            let stretch = Stretch::until(session).since(start);
            Ok(if enough(session, stretch) { Flow::Stop } else { Flow::GoOn })
        })?;
        Ok(Stretch::until(&self.session).since(start))
    }

    /// Samples per second over a stretch of that time.
    fn rate(&mut self, team: &Team, time: Duration) -> Result<f64> {
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

    /// What of it came after an earlier one.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self { images: self.images - earlier.images, seconds: self.seconds - earlier.seconds }
    }
}

/// Operations per second of multiply-adds on registers, as they are now.
pub(super) fn fma_peak(team: &Team) -> f64 {
    median((0..PEAKS).map(|_| peak::fma_rate(team)).collect())
}

/// Measures the steps of an [`endless`] task on all of the pool's threads, as late in a training as
/// [`Training::warm_up`] makes it.
///
/// # Errors
/// [`Error::Usage`] if the network does not fit the images; [`Error::Failed`] if training diverges, or
/// does not do what its twin does.
pub fn measure_training(
    pool: &Pool,
    task: &Task,
    split: &Split,
    extent: Extent,
) -> Result<TrainingRate> {
    let mut training = Training::new(task, split)?;
    let flops = training.flops_per_sample();
    let (mut rates, mut shares) = (Vec::new(), Vec::new());
    pool.enter(|team| -> Result<()> {
        training.warm_up(team, WARM_UP)?;
        for _ in 0..extent.samples {
            let peak = fma_peak(team);
            let rate = training.rate(team, SAMPLE)?;
            rates.push(rate);
            shares.push(rate * flops / peak);
        }
        Ok(())
    })?;
    let peak_memory = peak_memory();
    let (mut naive, mut early) = (None, None);
    match extent.baseline {
        None => {}
        Some(Baseline::Naive) => naive = Some(naive_ratio(pool, &mut training)?),
        Some(Baseline::Early) => {
            early = Some(early_ratio(pool, &mut training, task, split, extent.samples)?);
        }
    }
    let phases = match extent.detail {
        Detail::Steps => Vec::new(),
        Detail::Phases => profile::phases(pool, &mut training, extent.samples)?,
    };
    let images_per_second = median(rates);
    Ok(TrainingRate {
        images_per_second,
        flops_per_second: images_per_second * flops,
        share_of_peak: median(shares),
        naive_ratio: naive,
        early_ratio: early,
        phases,
        peak_memory,
    })
}

/// The rate of a session as a share of that of a young one, the two in turn.
fn early_ratio(
    pool: &Pool,
    training: &mut Training<'_>,
    task: &Task,
    split: &Split,
    samples: usize,
) -> Result<f64> {
    let mut young = Training::new(task, split)?;
    pool.enter(|team| {
        young.rate(team, WARM_UP)?;
        let mut ratios = Vec::new();
        for _ in 0..samples {
            ratios.push(training.rate(team, SAMPLE)? / young.rate(team, SAMPLE)?);
        }
        Ok(median(ratios))
    })
}

/// How many times as fast a session is as the twin of its network, the two in turn. Before that, both
/// make the same steps.
fn naive_ratio(pool: &Pool, training: &mut Training<'_>) -> Result<f64> {
    let mut twin = training.checked_twin(pool)?;
    let n = twin.labels.len() as f64;
    let runs = runs_for(TWIN_SAMPLE, &mut || _ = twin.step());
    let mut ratios = Vec::new();
    for _ in 0..TWIN_SAMPLES {
        // The pool is left after each sample: waiting workers would take the twin's core.
        let rate = pool.enter(|team| training.rate(team, SAMPLE))?;
        ratios.push(rate * seconds(runs, || _ = twin.step()) / n);
    }
    Ok(median(ratios))
}

/// The twin of a session's network, with as many samples as that trains on at once.
struct Twin<'a> {
    network: NaiveNetwork,
    batch_size: usize,
    samples: &'a Samples,
    scale: Scale,
    x: Vec<f32>,
    labels: Vec<u8>,
}

impl<'a> Twin<'a> {
    fn new(session: &Session<'a>) -> Self {
        let samples = &session.split().train;
        let batch_size = session.task().batch_size;
        let n = batch_size * session.network().steps_at_once(batch_size);
        let n = n.min(samples.len());
        Self {
            network: NaiveNetwork::of(session.network(), SEED),
            batch_size,
            samples,
            scale: session.scale().clone(),
            x: vec![0.0; n * samples.pixels()],
            labels: (0..n).map(|i| samples.label(i)).collect(),
        }
    }

    /// The samples picked, and trained on.
    fn step(&mut self) -> BatchResult {
        let Self { network, samples, scale, x, labels, batch_size } = self;
        naive::gather::scaled(|i| samples.image(i), scale.factors(), scale.offsets(), x);
        network.train_steps(x, labels, *batch_size, KEY)
    }
}
