//! The rate of a recipe's training steps, measured in turn with the FMA peak and with a baseline.

use super::measure::{TWIN_SAMPLE, TWIN_SAMPLES, median, runs_for, seconds};
use super::profile::{self, Phase};
use super::system::peak_memory;
use super::training::{SAMPLE, Training, fma_peak};
use crate::Result;
use crate::data::Split;
use crate::train::Task;
use std::time::Duration;
use threadcount_kernels::Pool;

/// The minimum time of training before anything is measured, in which all memory is touched.
const WARM_UP: Duration = Duration::from_millis(150);

/// The results; medians.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingRate {
    /// Samples trained on, per second.
    pub images_per_second: f64,
    /// Operations of the products, as [`Plan::flops`](crate::nn::Plan::flops) counts them, per second.
    pub flops_per_second: f64,
    /// Their share of the FMA peak on as many threads.
    pub share_of_peak: f64,
    /// Times as fast as the naive twin on one thread, where that was asked for.
    pub naive_ratio: Option<f64>,
    /// The rate as a share of the rate of a session whose optimizer has not been aged, measured in turn,
    /// where that was asked for.
    pub early_ratio: Option<f64>,
    /// The phases of a step, in order, where they were asked for.
    pub phases: Vec<Phase>,
    /// The peak memory of the process until now, without the twin; in bytes.
    pub peak_memory: Option<u64>,
}

/// What is measured of a recipe, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Samples of each figure.
    pub samples: usize,
    /// What it is compared with, if anything.
    pub baseline: Option<Baseline>,
    /// In how much detail a step is measured.
    pub detail: Detail,
}

/// What a recipe is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Baseline {
    /// The same network on the kernels' plain-loop twins, one thread.
    Naive,
    /// The same network in its first second, before the optimizer's buffers of dead weights have decayed.
    Early,
}

/// In how much detail a step is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Steps as a whole.
    Steps,
    /// Each of their phases too, in separate steps: reading the clock takes time.
    Phases,
}

/// Measures the steps of an [`endless`](super::endless) task on all of the pool's threads, in the state
/// that a long training leads to ([`Training::warm_up`]).
///
/// # Errors
/// [`Error::Usage`](crate::Error::Usage) if the network does not fit the images;
/// [`Error::Failed`](crate::Error::Failed) if training diverges, or does not do what its twin does.
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

/// The rate of a session as a share of the rate of a new one, measured in turn.
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

/// How many times as fast a session is as the twin of its network, measured in turn. Before that, both make
/// the same steps and are compared.
fn naive_ratio(pool: &Pool, training: &mut Training<'_>) -> Result<f64> {
    let mut twin = training.checked_twin(pool)?;
    let n = twin.n as f64;
    let runs = runs_for(TWIN_SAMPLE, &mut || _ = twin.step());
    let mut ratios = Vec::new();
    for _ in 0..TWIN_SAMPLES {
        // The pool is left after each sample: waiting workers would take the twin's core.
        let rate = pool.enter(|team| training.rate(team, SAMPLE))?;
        ratios.push(rate * seconds(runs, || _ = twin.step()) / n);
    }
    Ok(median(ratios))
}
