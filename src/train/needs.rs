//! What a run needs, before there is one: a network that fits its samples, and memory.

use super::score::EVALUATION_BATCH;
use super::task::{Keep, Task};
use crate::Result;
use crate::data::{Samples, Split};
use crate::nn::{Network, Plan, bytes, check_shards};

/// Checks that a run is possible, and plans its network.
pub(super) fn checked(task: &Task, split: &Split) -> Result<Plan> {
    task.check()?;
    let samples = &split.train;
    task.augment.check_shape(samples.shape())?;
    let plan = task.plan(task.input.of(samples.shape())?, samples.classes())?;
    check_shards(task.shards, task.batch_norm_over, task.batch_size, &plan)?;
    crate::memory::check(memory(task, &plan, samples))?;
    task.loss.check(&plan)?;
    task.optimizer.check()?;
    task.check_classes(samples, plan.output().len())?;
    Ok(plan)
}

/// The most samples of a batch, in training and evaluation.
pub(super) fn largest_batch(task: &Task, samples: &Samples) -> usize {
    task.batch_size.min(samples.len()).max(EVALUATION_BATCH)
}

/// [`Session::memory`](super::Session::memory) before there is a session.
pub(super) fn memory(task: &Task, plan: &Plan, samples: &Samples) -> u64 {
    let largest = largest_batch(task, samples);
    let network = Network::memory(plan, task.objective(), task.optimizer, largest);
    let shards = Network::shard_memory(plan, task.shards, task.batch_norm_over);
    let best = if task.keep == Keep::Last { 0 } else { network.model };
    let average = if task.weight_average.is_none() { 0 } else { network.model };
    let checkpoint = [network.model, network.optimizer, best, average];
    let batch = bytes(largest.saturating_mul(samples.shape().len()));
    let all = [network.total(), shards, best, average, batch].into_iter().chain(checkpoint);
    all.fold(0, u64::saturating_add)
}
