//! The phases of a training step: how long each takes, and how near that is to what the machine can do at
//! most.

use super::case::Work;
use super::limits::ReadRates;
use super::measure::median;
use super::traffic;
use super::training::{SAMPLE, Training, fma_peak};
use crate::Result;
use crate::nn::{Flops, Network, Part, PlannedLayer, Traffic};
use crate::train::Session;
use std::time::Duration;
use threadcount_kernels::machine::machine;
use threadcount_kernels::peak::Level;
use threadcount_kernels::{Pool, Team};

/// A phase of a step; figures are medians, of a step with a full batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    /// What is done, and by which layers.
    pub name: String,
    /// Wall time.
    pub seconds: f64,
    /// Its share of the step.
    pub share: f64,
    /// What it is bound by; `None` for the rest of a step, whose work cannot be counted.
    pub bound: Option<Bound>,
}

/// The work of a phase, and how near its rate is to the machine's limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// The work in one step.
    pub work: Work,
    /// The limit.
    pub limit: Limit,
    /// The share of the limit that is reached, if the limit could be measured.
    pub share_of_limit: Option<f64>,
}

/// What bounds a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Multiply-adds on registers.
    Fma,
    /// Reads from the nearest level of memory that holds what the phase reads and writes.
    Read(Level),
}

impl Limit {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fma => "FMA",
            Self::Read(level) => level.name(),
        }
    }
}

/// Times of one part, per sample of the batch.
type Times = Vec<f64>;

/// How long steps and their parts take.
struct Measured {
    steps: Times,
    parts: Vec<(Part, Times)>,
}

impl Measured {
    /// Nothing yet.
    fn of(training: &mut Training<'_>) -> Self {
        training.session.time_laps();
        let parts = laps(training.session.network()).map(|(part, _)| (part, Times::new()));
        Self { steps: Times::new(), parts: parts.collect() }
    }

    /// Adds the steps of about that time.
    fn sample(&mut self, team: &Team, training: &mut Training<'_>, time: Duration) -> Result<()> {
        let Self { steps, parts } = self;
        let mut last = None;
        training.watch(team, |session, stretch| {
            let step = last.map_or(stretch, |last| stretch.since(last));
            last = Some(stretch);
            // No step precedes the call at the end of an epoch.
            if step.images > 0 {
                let images = step.images as f64;
                steps.push(step.seconds / images);
                for ((_, times), (_, seconds)) in parts.iter_mut().zip(laps(session.network())) {
                    times.push(seconds / images);
                }
            }
            stretch.seconds >= time.as_secs_f64()
        })?;
        Ok(())
    }

    /// The seconds of a step with a full batch, and of each of its parts that occur.
    fn medians(self, batch: f64) -> (f64, Vec<(Part, f64)>) {
        let parts = self.parts.into_iter().map(|(part, times)| (part, median(times) * batch));
        (median(self.steps) * batch, parts.filter(|(_, seconds)| *seconds > 0.0).collect())
    }
}

/// The name of what a step does besides its parts.
const REST: &str = "rest";

/// The phases of a step by name, with the seconds of each in a step with a full batch; steps of about that time.
///
/// # Errors
/// [`crate::Error::Failed`] if training diverges.
pub(super) fn seconds(
    team: &Team,
    training: &mut Training<'_>,
    time: Duration,
) -> Result<Vec<(String, f64)>> {
    let (step, done) = parts(team, training, time)?;
    let apart = |part| done.iter().any(|(other, _)| *other == part);
    let name = |part| describe(&training.session, part, apart).0;
    let mut phases: Vec<(String, f64)> =
        done.iter().map(|&(part, seconds)| (name(part), seconds)).collect();
    let rest = step - done.iter().map(|(_, seconds)| seconds).sum::<f64>();
    phases.push((REST.to_owned(), rest.max(0.0)));
    Ok(phases)
}

/// The seconds of a step with a full batch, and of each of its parts, in their order; steps of about that time.
///
/// # Errors
/// [`crate::Error::Failed`] if training diverges.
pub(super) fn parts(
    team: &Team,
    training: &mut Training<'_>,
    time: Duration,
) -> Result<(f64, Vec<(Part, f64)>)> {
    let mut measured = Measured::of(training);
    measured.sample(team, training, time)?;
    Ok(measured.medians(training.session.task().batch_size as f64))
}

/// The phases of a session's steps.
///
/// # Errors
/// [`crate::Error::Failed`] if training diverges.
pub(super) fn phases(
    pool: &Pool,
    training: &mut Training<'_>,
    samples: usize,
) -> Result<Vec<Phase>> {
    let mut measured = Measured::of(training);
    let mut peaks = Vec::new();
    pool.enter(|team| -> Result<()> {
        for _ in 0..samples {
            peaks.push(fma_peak(team));
            measured.sample(team, training, SAMPLE)?;
        }
        Ok(())
    })?;

    let (step, done) = measured.medians(training.session.task().batch_size as f64);
    let mut phases: Vec<Phase> = Vec::new();
    pool.enter(|team| {
        let (fma, mut reads) = (median(peaks), ReadRates::default());
        for &(part, seconds) in &done {
            let apart = |part| done.iter().any(|(other, _)| *other == part);
            let (name, what) = describe(&training.session, part, apart);
            let (work, limit) = match what {
                What::Flops(flops) => (Work::Flops(flops), Limit::Fma),
                What::Traffic(Traffic { bytes, buffers }) => {
                    let level = Level::holding(buffers as usize, machine(), team.threads());
                    (Work::Bytes(bytes), Limit::Read(level))
                }
            };
            let most = match limit {
                Limit::Fma => Some(fma),
                Limit::Read(level) => reads.of(team, level),
            };
            let share_of_limit = most.map(|most| work.amount() / seconds / most);
            let bound = Some(Bound { work, limit, share_of_limit });
            phases.push(Phase { name, seconds, share: seconds / step, bound });
        }
    });
    let rest = step - phases.iter().map(|phase| phase.seconds).sum::<f64>();
    phases.push(Phase {
        name: REST.to_owned(),
        seconds: rest.max(0.0),
        share: rest.max(0.0) / step,
        bound: None,
    });
    Ok(phases)
}

/// The times of the last step's parts.
fn laps(network: &Network) -> impl Iterator<Item = (Part, f64)> {
    network.laps().into_iter().flat_map(|laps| laps.parts().iter().copied())
}

/// What a phase does.
enum What {
    Flops(f64),
    Traffic(Traffic),
}

/// A phase's name, and what it does to a batch. `apart` says whether a part is a phase of its own.
fn describe(session: &Session<'_>, part: Part, apart: impl Fn(Part) -> bool) -> (String, What) {
    let (network, batch) = (session.network(), session.task().batch_size as f64);
    let plan = network.plan();
    let unit = |first: usize| network.unit(first).unwrap_or_default();
    let flops = |first: usize, of: fn(&Flops) -> f64| {
        let layers = &plan.flops()[first..][..unit(first).len()];
        layers.iter().map(of).sum::<f64>() * batch
    };
    let what = |first: usize, of: fn(&Flops) -> f64, traffic: fn(&PlannedLayer) -> Traffic| {
        let flops = flops(first, of);
        if flops > 0.0 {
            return What::Flops(flops);
        }
        // Layers without products are bound by memory.
        What::Traffic(unit(first).iter().map(traffic).sum::<Traffic>() * batch)
    };
    let name = |first: usize, pass: &str| {
        let layers: Vec<&str> = unit(first).iter().map(|layer| layer.name.as_str()).collect();
        format!("{} {pass}", layers.join(" + "))
    };
    match part {
        Part::Gather => {
            let samples = session.batches_per_epoch() as f64 * batch;
            let gather = traffic::gather(plan.input(), batch, samples);
            ("gather".to_owned(), What::Traffic(gather))
        }
        Part::Forward(first) => {
            (name(first, "forward"), what(first, |flops| flops.forward, traffic::forward))
        }
        Part::Loss => ("loss".to_owned(), What::Traffic(traffic::loss(plan) * batch)),
        Part::BackwardInput(first) => {
            (name(first, "dx"), what(first, |flops| flops.by_input, traffic::backward))
        }
        Part::Backward(first) => {
            let (pass, of): (_, fn(&Flops) -> f64) = match apart(Part::BackwardInput(first)) {
                true => ("dw", |flops| flops.by_weights),
                false => ("backward", |flops| flops.by_weights + flops.by_input),
            };
            let mut params = unit(first).iter().flat_map(|layer| layer.params.clone());
            let swept = |at| network.swept().iter().any(|range| range.contains(&at));
            let step = params.next().filter(|&at| !swept(at)).map_or("", |_| " and step");
            (name(first, &format!("{pass}{step}")), what(first, of, traffic::backward))
        }
        Part::Update => {
            let name = network.optimizer().name().to_owned();
            (name, What::Traffic(traffic::update(network)))
        }
        Part::PerSample => {
            let flops: f64 = plan.flops_per_sample();
            ("forward to update".to_owned(), What::Flops(flops * batch))
        }
    }
}
