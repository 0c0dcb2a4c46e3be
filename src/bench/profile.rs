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
use threadcount_kernels::Pool;
use threadcount_kernels::machine::machine;
use threadcount_kernels::peak::Level;

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

/// The phases of a session's steps.
///
/// # Errors
/// [`crate::Error::Failed`] if training diverges.
pub(super) fn phases(
    pool: &Pool,
    training: &mut Training<'_>,
    samples: usize,
) -> Result<Vec<Phase>> {
    training.session.time_laps();
    let parts: Vec<Part> = laps(training.session.network()).map(|(part, _)| part).collect();
    let mut times: Vec<Times> = vec![Vec::new(); parts.len()];
    let (mut steps, mut peaks) = (Times::new(), Vec::new());
    pool.enter(|team| -> Result<()> {
        for _ in 0..samples {
            peaks.push(fma_peak(team));
            let mut last = None;
            training.watch(team, |session, stretch| {
                let step = last.map_or(stretch, |last| stretch.since(last));
                last = Some(stretch);
                // No step precedes the call at the end of an epoch.
                if step.images > 0 {
                    let images = step.images as f64;
                    steps.push(step.seconds / images);
                    for (times, (_, seconds)) in times.iter_mut().zip(laps(session.network())) {
                        times.push(seconds / images);
                    }
                }
                stretch.seconds >= SAMPLE.as_secs_f64()
            })?;
        }
        Ok(())
    })?;

    let batch = training.session.task().batch_size as f64;
    let step = median(steps) * batch;
    let mut phases: Vec<Phase> = Vec::new();
    pool.enter(|team| {
        let (fma, mut reads) = (median(peaks), ReadRates::default());
        let done = parts.iter().zip(times).map(|(part, times)| (*part, median(times) * batch));
        let done: Vec<_> = done.filter(|(_, seconds)| *seconds > 0.0).collect();
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
        name: "rest".to_owned(),
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
