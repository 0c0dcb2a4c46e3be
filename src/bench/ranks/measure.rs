//! What ranks reach together, and what that is made of.

use std::time::{Duration, Instant};

use threadcount_kernels::{Pool, Team};

use super::script::{Parts, Script};
use super::simulate::{LinkCost, simulate};
use crate::bench::measure::median;
use crate::bench::profile;
use crate::bench::training::{SAMPLE, Training};
use crate::data::Split;
use crate::distributed::{Traffic, World};
use crate::train::Task;
use crate::{Error, Result};

/// The minimum time of training before anything is measured.
const WARM_UP: Duration = Duration::from_millis(150);
/// Exchanges, and round trips, of a sample.
const EXCHANGES: u32 = 5;
const ROUND_TRIPS: u32 = 50;
/// The tags of the messages here.
const FIGURES: u32 = 0x7200_0000;
const PING: u32 = 0x7200_0001;
const START: u32 = 0x7200_0002;

/// The steps of several ranks; medians.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SharedRate {
    /// How many ranks.
    pub ranks: usize,
    /// The threads of each.
    pub threads: usize,
    /// Samples of a batch of all ranks together.
    pub batch_size: usize,
    /// The parts of a batch.
    pub shards: usize,
    /// Samples trained on, per second.
    pub images_per_second: f64,
    /// The seconds of a step.
    pub step: f64,
    /// The seconds of it that a rank stands still because a message has not come yet; the mean of the ranks.
    pub waiting: f64,
    /// The seconds that the messages of a step take if nothing is computed.
    pub exchange: f64,
    /// The bytes that all ranks send in a step.
    pub bytes: f64,
    /// How many messages these are.
    pub messages: f64,
}

/// What a step is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Costs {
    /// What a rank does.
    pub script: Script,
    /// A message here: fitted to the time of the messages of a step.
    pub link: LinkCost,
    /// The seconds of a step here as they follow from both.
    pub foretold: f64,
}

impl SharedRate {
    /// The share of a step that a rank stands still.
    pub fn waiting_share(&self) -> f64 {
        self.waiting / self.step
    }

    /// The share of the time of the messages in which something is computed.
    pub fn overlap(&self) -> f64 {
        if self.exchange > 0.0 { (1.0 - self.waiting / self.exchange).max(0.0) } else { 0.0 }
    }
}

/// Measures the steps of an [`endless`](crate::bench::endless) task on the ranks of `world`, which all call this. What
/// rank 0 gets is of all of them.
///
/// # Errors
/// As [`Training::new`] and [`Session::join`](crate::train::Session::join); [`Error::Failed`] if training diverges, or a
/// rank has failed.
pub fn measure_shared(
    pool: &Pool,
    world: &World,
    task: &Task,
    split: &Split,
    samples: usize,
) -> Result<SharedRate> {
    pool.enter(|team| steps(team, world, task, split, samples)).map(|(rate, _)| rate)
}

/// As [`measure_shared`], and what a step is made of.
///
/// # Errors
/// As [`measure_shared`].
pub fn measure_shared_with_costs(
    pool: &Pool,
    world: &World,
    task: &Task,
    split: &Split,
    samples: usize,
) -> Result<(SharedRate, Costs)> {
    pool.enter(|team| {
        let (rate, training) = steps(team, world, task, split, samples)?;
        let latency = latency(world, samples)?;
        // A rank's share here, and another one, to see what a sample costs and what any number does.
        let own = task.batch_size.div_ceil(world.size());
        let other = if own >= 8 { own / 4 } else { own * 4 };
        let mut parts = Vec::new();
        for size in [own, other] {
            let task = Task { batch_size: size, shards: 1, ..task.clone() };
            parts.push(parts_of_rank(team, world, &task, split, samples)?);
        }
        let script = Script::new(training.session.network(), [own, other], [&parts[0], &parts[1]]);
        let link = fitted(&script, world.size(), latency, rate.exchange)?;
        let items = script.items(own as f64);
        let foretold = simulate(world.size(), &items, &script.sums(), link)?.seconds;
        Ok((rate, Costs { script, link, foretold }))
    })
}

fn steps<'a>(
    team: &Team,
    world: &World,
    task: &'a Task,
    split: &'a Split,
    samples: usize,
) -> Result<(SharedRate, Training<'a>)> {
    let mut training = Training::new(task, split)?;
    training.session.join(world.clone())?;
    training.warm_up(team, WARM_UP)?;
    let mut found = Samples::default();
    for _ in 0..samples {
        let (before, traffic) = (counted(&training), training.session.traffic());
        let stretch = training.run_until(team, |at| at.seconds >= SAMPLE.as_secs_f64())?;
        let steps = (counted(&training) - before) as f64;
        let Traffic { messages, bytes, waited } = training.session.traffic() - traffic;
        found.rates.push(stretch.images as f64 / stretch.seconds);
        found.steps.push(stretch.seconds / steps);
        // Of its own time: on a busy machine, ranks are stopped elsewhere than in their steps.
        found.waiting.push(waited.as_secs_f64() / stretch.seconds);
        found.bytes.push(bytes as f64 / steps);
        found.messages.push(messages as f64 / steps);
    }
    let mut exchanges = Vec::new();
    for _ in 0..samples {
        training.session.exchange(team)?;
        let began = Instant::now();
        for _ in 0..EXCHANGES {
            training.session.exchange(team)?;
        }
        exchanges.push(began.elapsed().as_secs_f64() / f64::from(EXCHANGES));
    }
    let [waiting, bytes, messages] = [found.waiting, found.bytes, found.messages].map(median);
    let all = gathered(world, [waiting, bytes, messages])?;
    let sum = |i: usize| all.iter().map(|figures| figures[i]).sum::<f64>();
    let step = median(found.steps);
    let rate = SharedRate {
        ranks: world.size(),
        threads: team.threads(),
        batch_size: task.batch_size,
        shards: task.shards,
        images_per_second: median(found.rates),
        step,
        waiting: step * sum(0) / all.len() as f64,
        exchange: median(exchanges),
        bytes: sum(1),
        messages: sum(2),
    };
    Ok((rate, training))
}

/// Of each figure as many as there are samples.
#[derive(Default)]
struct Samples {
    rates: Vec<f64>,
    steps: Vec<f64>,
    waiting: Vec<f64>,
    bytes: Vec<f64>,
    messages: Vec<f64>,
}

fn counted(training: &Training<'_>) -> u64 {
    training.session.network().optimizer_steps()
}

/// On rank 0 the figures of all ranks, in their order; on others their own.
fn gathered(world: &World, own: [f64; 3]) -> Result<Vec<[f64; 3]>> {
    if !world.is_first() {
        world.send_bytes(0, FIGURES, bytemuck::cast_slice(&own))?;
        return Ok(vec![own]);
    }
    let of = |rank| {
        let bytes = world.receive_bytes(rank, FIGURES)?;
        let read = bytemuck::try_pod_read_unaligned::<[f64; 3]>(&bytes);
        read.map_err(|_| Error::Failed(format!("rank {rank} sent no figures")))
    };
    std::iter::once(Ok(own)).chain(world.others().map(of)).collect()
}

/// The seconds of the shortest message from one rank to the next; 0 if there is one rank.
fn latency(world: &World, samples: usize) -> Result<f64> {
    let mut times = Vec::new();
    let mut word = [0.0];
    world.spread(START, &mut word)?;
    for _ in 0..samples {
        let began = Instant::now();
        for _ in 0..ROUND_TRIPS {
            match (world.rank(), world.size()) {
                (_, 1) => {}
                (0, _) => {
                    world.send(1, PING, &word)?;
                    world.receive(1, PING, &mut word)?;
                }
                (1, _) => {
                    world.receive(0, PING, &mut word)?;
                    world.send(0, PING, &word)?;
                }
                _ => {}
            }
        }
        times.push(began.elapsed().as_secs_f64() / f64::from(2 * ROUND_TRIPS));
    }
    let latency = if world.size() == 1 { 0.0 } else { median(times) };
    Ok(latency)
}

/// The parts of the steps that this rank makes alone while all others do so too, with batches that are one shard.
fn parts_of_rank(
    team: &Team,
    world: &World,
    task: &Task,
    split: &Split,
    samples: usize,
) -> Result<Parts> {
    let mut training = Training::new(task, split)?;
    training.session.cut_in_one()?;
    training.warm_up(team, WARM_UP)?;
    world.spread(START, &mut [0.0])?;
    let (step, parts) = profile::parts(team, &mut training, SAMPLE * samples as u32)?;
    let rest = (step - parts.iter().map(|(_, seconds)| seconds).sum::<f64>()).max(0.0);
    let laps = training.session.network().laps();
    let order = laps.into_iter().flat_map(|laps| laps.parts()).map(|&(part, _)| part).collect();
    Ok(Parts { order, parts, rest })
}

/// The link with this latency on which the messages of a step take so long.
fn fitted(script: &Script, ranks: usize, latency: f64, seconds: f64) -> Result<LinkCost> {
    let (items, sums) = (script.exchange(), script.sums());
    let at = |per_byte| simulate(ranks, &items, &sums, LinkCost { latency, per_byte });
    // From no time to a microsecond for each byte.
    let (mut low, mut high) = (0.0, 1e-6);
    for _ in 0..HALVINGS {
        let middle = (low + high) / 2.0;
        if at(middle)?.seconds < seconds { low = middle } else { high = middle }
    }
    Ok(LinkCost { latency, per_byte: low })
}

/// To a millionth of the first interval.
const HALVINGS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Samples as Data, Shape};
    use crate::distributed::in_world;
    use crate::nn::{Activation, Part, batch_norm, dense};
    use threadcount_kernels::Isa;

    fn task() -> Task {
        Task {
            layers: vec![dense(300, Activation::Relu), batch_norm(), dense(2, Activation::Linear)],
            batch_size: 16,
            shards: 2,
            epochs: usize::MAX,
            ..Task::default()
        }
    }

    fn split() -> Split {
        let x: Vec<f32> = (0..64 * 300).map(|i| (i as f32 * 0.37).sin()).collect();
        let samples = Data::new(Shape::Flat(300), x, &[0, 1].repeat(32)).unwrap();
        Split::new(samples.clone(), samples)
    }

    /// What is counted in steps is what the script says of them, and the model meets the measurement that it is
    /// fitted to.
    #[test]
    fn the_script_says_what_ranks_say() {
        let (task, split) = (task(), split());
        let found = in_world(2, |world| {
            let pool = Pool::new(Isa::best(), 1).unwrap();
            measure_shared_with_costs(&pool, world, &task, &split, 1)
        });
        let (rate, costs) = found.into_iter().next().unwrap().unwrap();
        assert_eq!((rate.ranks, rate.threads, rate.batch_size, rate.shards), (2, 1, 16, 2));
        let Costs { script, link, foretold } = &costs;
        let sums = script.sums();
        let steps = simulate(2, &script.items(8.0), &sums, *link).unwrap();
        assert_eq!(rate.messages, steps.messages);
        assert_eq!(rate.bytes, steps.bytes);
        // 300 x 300 weights are more than one piece: two of a piece each, in turn at either rank; batch
        // normalisation sums twice 300 in each pass.
        let floats: Vec<_> = sums.iter().map(|sum| (sum.floats, sum.turn)).collect();
        assert_eq!(floats, [(602, 0), (65_536, 1), (24_764, 2), (4, 0), (600, 0), (600, 0)]);
        assert!(rate.step > 0.0 && rate.exchange > 0.0, "{rate:?}");
        assert!(rate.waiting <= rate.step * 1.000_001, "{rate:?}");
        // Of one sample, with full batches.
        assert!((rate.images_per_second * rate.step - 16.0).abs() < 1e-6, "{rate:?}");
        assert!((0.0..=1.0).contains(&rate.overlap()));
        let alone = simulate(2, &script.exchange(), &sums, *link).unwrap().seconds;
        // Unless the latency alone takes longer already.
        if link.per_byte > 1e-12 {
            assert!((alone / rate.exchange - 1.0).abs() < 0.01, "{alone}, {}", rate.exchange);
        }
        assert!(*foretold >= script.computing(8.0), "{costs:?}");
    }

    #[test]
    fn shares_are_of_the_step_and_of_the_messages() {
        let rate = SharedRate {
            ranks: 2,
            threads: 1,
            batch_size: 8,
            shards: 2,
            images_per_second: 20.0,
            step: 0.4,
            waiting: 0.05,
            exchange: 0.2,
            bytes: 1.0,
            messages: 1.0,
        };
        assert_eq!([rate.waiting_share(), rate.overlap()], [0.125, 0.75]);
        // More than the messages take alone: ranks wait for the slowest of them.
        assert_eq!(SharedRate { waiting: 0.3, ..rate }.overlap(), 0.0);
    }

    /// A link that is known is found again, and so is what a part costs.
    #[test]
    fn the_fit_finds_the_link() {
        let (task, split) = (task(), split());
        let mut training = Training::new(&task, &split).unwrap();
        training.session.cut_in_one().unwrap();
        training.session.time_laps();
        let order = training.session.network().laps().unwrap().parts().iter().map(|part| part.0);
        let order: Vec<Part> = order.collect();
        let of = |n: f64| Parts {
            order: order.clone(),
            parts: vec![(Part::Gather, 0.1 * n), (Part::Loss, 5.0 + n)],
            rest: 2.0,
        };
        let script = Script::new(training.session.network(), [8, 2], [&of(8.0), &of(2.0)]);
        for (part, [base, each]) in [(Part::Gather, [2.0, 0.1]), (Part::Loss, [5.0, 1.0])] {
            let found = script.parts.iter().find(|found| found.part == part).unwrap().seconds;
            assert!((found[0] - base).abs() < 1e-9 && (found[1] - each).abs() < 1e-9, "{found:?}");
        }
        for ranks in [2, 4, 7] {
            let link = LinkCost { latency: 3e-5, per_byte: 2.5e-10 };
            let seconds =
                simulate(ranks, &script.exchange(), &script.sums(), link).unwrap().seconds;
            let found = fitted(&script, ranks, link.latency, seconds).unwrap();
            assert!((found.per_byte / link.per_byte - 1.0).abs() < 0.01, "{ranks}: {found:?}");
        }
    }
}
