//! A run written out with the parts that a session is made of: picks, batches, the mean of an epoch,
//! validation, the best epoch, patience. Nothing here knows `Session`; what the two have in common is
//! the network and the random keys, and these have tests of their own.

// Each test file uses its own share of this.
#![allow(dead_code)]

use std::path::Path;
use threadcount::data::{Draws, Scale};
use threadcount::nn::{BatchKey, Model, Network, Objective, Plan};
use threadcount::random::{Key, Purpose};
use threadcount::train::{Keep, Order, Schedule, Task};
use threadcount_kernels::{Team, naive};

use super::sets::{NAMES, idx};

/// Samples that are evaluated at once. Losses of a batch are summed on their own first, so the last bit
/// of a mean depends on it.
const EVALUATION_BATCH: usize = 128;

/// Images and their labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Part {
    pub(crate) images: Vec<Vec<u8>>,
    pub(crate) labels: Vec<u8>,
}

/// The samples of a run.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) train: Part,
    pub(crate) validation: Part,
    pub(crate) test: Part,
}

/// What a network scores on some samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Score {
    pub(crate) loss: f64,
    pub(crate) accuracy: f64,
}

/// One epoch: of the training, and of the validation after it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Epoch {
    pub(crate) training: Score,
    pub(crate) validation: Score,
}

/// Parameters and moving statistics.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Weights {
    pub(crate) params: Vec<f32>,
    pub(crate) state: Vec<f32>,
}

/// What a run ends with.
pub(crate) struct Run {
    /// With the weights that the task keeps.
    pub(crate) network: Network,
    pub(crate) epochs: Vec<Epoch>,
    /// The classes of the validation samples after each epoch.
    pub(crate) predicted: Vec<Vec<Option<u8>>>,
    /// Whether patience ended it.
    pub(crate) stopped: bool,
    /// The epoch whose weights are kept, counted from 1; none if that is always the last.
    pub(crate) best: Option<usize>,
    /// The weights of the last epoch.
    pub(crate) last: Weights,
}

impl Part {
    /// How many samples there are.
    pub(crate) fn len(&self) -> usize {
        self.labels.len()
    }

    /// Writes the two files of a part: `NAMES[first]` and the next one.
    pub(crate) fn write(&self, folder: &Path, first: usize, [height, width]: [usize; 2]) {
        let shape = [self.len(), height, width].map(|n| n as u32);
        std::fs::write(folder.join(NAMES[first]), idx(&shape, &self.images.concat())).unwrap();
        std::fs::write(folder.join(NAMES[first + 1]), idx(&shape[..1], &self.labels)).unwrap();
    }

    /// The samples of these numbers, in this order.
    pub(crate) fn picked(&self, numbers: impl IntoIterator<Item = usize>) -> Self {
        let mut picked = Self::default();
        for number in numbers {
            picked.images.push(self.images[number].clone());
            picked.labels.push(self.labels[number]);
        }
        picked
    }

    /// The samples of both.
    pub(crate) fn and(&self, other: &Self) -> Self {
        Self {
            images: [&self.images[..], &other.images].concat(),
            labels: [&self.labels[..], &other.labels].concat(),
        }
    }

    /// How many samples each of so many classes has.
    pub(crate) fn counts(&self, classes: usize) -> Vec<u64> {
        (0..classes)
            .map(|class| self.labels.iter().filter(|&&l| usize::from(l) == class).count() as u64)
            .collect()
    }

    /// A network's inputs, and labels.
    fn batch(&self, picks: &[usize], scale: &Scale) -> (Vec<f32>, Vec<u8>) {
        let mut x = Vec::new();
        for &pick in picks {
            for (j, &byte) in self.images[pick].iter().enumerate() {
                x.push(f32::from(byte) * scale.factors()[j] + scale.offsets()[j]);
            }
        }
        (x, picks.iter().map(|&pick| self.labels[pick]).collect())
    }

    /// The same of training samples, as they are augmented in an epoch, counted from 0.
    fn training_batch(
        &self,
        picks: &[usize],
        scale: &Scale,
        [height, width]: [usize; 2],
        draws: &Draws,
    ) -> (Vec<f32>, Vec<u8>) {
        let (shape, mut x) = ([height, width, 1], Vec::new());
        for &pick in picks {
            let mut row = vec![0.0; height * width];
            let warp = |_| draws.warp(pick as u32, shape);
            let (factors, offsets) = (scale.factors(), scale.offsets());
            let image = |_| &self.images[pick][..];
            naive::augment::scaled(shape, image, warp, factors, offsets, &mut row);
            x.extend(row);
        }
        (x, picks.iter().map(|&pick| self.labels[pick]).collect())
    }

    fn batches(&self) -> Vec<Vec<usize>> {
        (0..self.len())
            .collect::<Vec<_>>()
            .chunks(EVALUATION_BATCH)
            .map(<[usize]>::to_vec)
            .collect()
    }

    /// What a network scores on them.
    pub(crate) fn score(&self, network: &mut Network, team: &Team, scale: &Scale) -> Score {
        let (mut loss, mut correct) = (0.0, 0);
        for picks in self.batches() {
            let (x, labels) = self.batch(&picks, scale);
            let result = network.evaluate_batch(team, &x, &labels).unwrap();
            loss += result.loss_sum;
            correct += result.correct;
        }
        let count = self.len() as f64;
        Score { loss: loss / count, accuracy: correct as f64 / count }
    }

    /// The class that a network finds most probable, the first of equals.
    pub(crate) fn predictions(
        &self,
        network: &mut Network,
        team: &Team,
        scale: &Scale,
    ) -> Vec<Option<u8>> {
        let width = network.plan().output().len();
        let mut classes = Vec::new();
        for picks in self.batches() {
            let (x, _) = self.batch(&picks, scale);
            let mut probabilities = vec![0.0; picks.len() * width];
            network.predict(team, &x, &mut probabilities).unwrap();
            for row in probabilities.chunks(width) {
                let class = match row {
                    [of_class_1] => usize::from(*of_class_1 > 0.5),
                    _ => {
                        let most = row.iter().copied().fold(f32::MIN, f32::max);
                        row.iter().position(|&p| p == most).unwrap()
                    }
                };
                classes.push(Some(class as u8));
            }
        }
        classes
    }
}

/// The network of a task on images of this size, before its first step.
pub(crate) fn network(task: &Task, [height, width]: [usize; 2], seed: u64) -> Network {
    let shape = task.input.shape(height, width);
    let most = EVALUATION_BATCH.max(task.batch_size);
    let Task { loss, label_smoothing, l2, .. } = *task;
    let objective = Objective { loss, label_smoothing, l2 };
    let mut plan = Plan::new(shape, &task.layers).unwrap();
    plan.augment_tests(task.test_augment).unwrap();
    let model = Model::of(plan, seed).unwrap();
    let mut network = Network::of(model, objective, task.optimizer, most).unwrap();
    network.clip_gradients(task.clip_norm).unwrap();
    if task.weight_average.is_some() {
        network.step_one_by_one();
    }
    network
}

/// The order of the samples in an epoch, counted from 0.
pub(crate) fn order(task: &Task, samples: usize, epoch: u64, seed: u64) -> Vec<usize> {
    match task.order {
        Order::AsSplit => (0..samples).collect(),
        Order::Shuffled => {
            let order = Key::new(seed, Purpose::Shuffle).with(epoch).shuffled(samples);
            order.into_iter().map(|i| i as usize).collect()
        }
    }
}

/// The rate of a step of the epoch after these, counted from 0: each schedule's formula in its own words.
fn rate(task: &Task, epochs: &[Epoch], step: usize, samples: usize) -> f32 {
    let steps = samples.div_ceil(task.batch_size) as f64;
    // Epochs, with the part of this one.
    let now = epochs.len() as f64 + step as f64 / steps;
    let half_wave = |from: f64, to: f64, begin: f64, end: f64| {
        let angle = std::f64::consts::PI * (now - begin) / (end - begin);
        (from + to) / 2.0 + (from - to) / 2.0 * angle.cos()
    };
    let all = task.epochs as f64;
    let share = match &task.schedule {
        _ if now < task.warm_up => (now * steps + 1.0) / (task.warm_up * steps + 1.0),
        Schedule::Constant => 1.0,
        Schedule::Steps { at, factor } => {
            factor.powi(at.iter().filter(|&&epoch| epochs.len() >= epoch).count() as i32)
        }
        Schedule::Cosine { last } => half_wave(1.0, *last, task.warm_up, all),
        Schedule::OneCycle { rise, first, .. } if now < rise * all => {
            half_wave(*first, 1.0, 0.0, rise * all)
        }
        Schedule::OneCycle { rise, last, .. } => half_wave(1.0, *last, rise * all, all),
        Schedule::Plateau { factor, .. } => factor.powi(reductions(task, epochs) as i32),
    };
    (f64::from(task.optimizer.learning_rate()) * share) as f32
}

/// How often a plateau of these epochs has lowered the rate.
pub(crate) fn reductions(task: &Task, epochs: &[Epoch]) -> usize {
    let Schedule::Plateau { patience, min_delta, .. } = task.schedule else { return 0 };
    let (mut lowest, mut idle, mut count) = (f64::INFINITY, 0, 0);
    for loss in epochs.iter().map(|epoch| epoch.validation.loss) {
        if loss < lowest - min_delta {
            (lowest, idle) = (loss, 0);
        } else if idle + 1 == patience {
            (idle, count) = (0, count + 1);
        } else {
            idle += 1;
        }
    }
    count
}

/// Trains a task from its first batch to its end.
pub(crate) fn train(
    team: &Team,
    task: &Task,
    parts: &Parts,
    scale: &Scale,
    size: [usize; 2],
    seed: u64,
) -> Run {
    let mut network = network(task, size, seed);
    let n = parts.train.len();
    // As many at once as the kernel of single samples takes.
    let at_once = task.batch_size * network.steps_at_once(task.batch_size);
    let mut epochs: Vec<Epoch> = Vec::new();
    let mut predicted = Vec::new();
    let mut kept: Option<(usize, Weights)> = None;
    let mut average = Weights::of(&network);
    let mut steps = 0_u32;
    let mut stopped = false;
    for epoch in 0..task.epochs as u64 {
        let (mut loss, mut correct) = (0.0, 0);
        for (number, picks) in order(task, n, epoch, seed).chunks(at_once).enumerate() {
            let (x, labels) = match task.augment.is_none() {
                true => parts.train.batch(picks, scale),
                false => {
                    let draws = Draws::new(task.augment, seed, epoch);
                    parts.train.training_batch(picks, scale, size, &draws)
                }
            };
            let step = number * at_once / task.batch_size;
            network.set_learning_rate(rate(task, &epochs, step, n)).unwrap();
            let key = BatchKey { epoch, first_sample: (number * at_once) as u64 };
            let result = match task.batch_size {
                1 => network.train_steps(team, &x, &labels, 1, key).unwrap(),
                _ => network.train_batch(team, &x, &labels, key).unwrap(),
            };
            loss += result.loss_sum;
            correct += result.correct;
            steps += 1;
            if let Some(decay) = task.weight_average {
                let decay = f64::from(decay).min((1 + steps) as f64 / (10 + steps) as f64);
                average.approach((1.0 - decay) as f32, &Weights::of(&network));
            }
        }
        let trained = Weights::of(&network);
        if task.weight_average.is_some() {
            average.put(&mut network);
        }
        let training = Score { loss: loss / n as f64, accuracy: correct as f64 / n as f64 };
        let validation = parts.validation.score(&mut network, team, scale);
        epochs.push(Epoch { training, validation });
        predicted.push(parts.validation.predictions(&mut network, team, scale));

        // The best of all epochs so far, the first of equals: looked up in the whole history.
        let by = |epoch: &Epoch| match task.keep {
            Keep::Last => 0.0,
            Keep::BestAccuracy => -epoch.validation.accuracy,
            Keep::BestLoss => epoch.validation.loss,
        };
        if task.keep != Keep::Last && first_lowest(&epochs, by) == epochs.len() {
            kept = Some((epochs.len(), Weights::of(&network)));
        }
        trained.put(&mut network);
        // Epochs since the one with the lowest validation loss.
        let lowest = first_lowest(&epochs, |epoch| epoch.validation.loss);
        let rule = task.early_stopping;
        if rule.is_some_and(|rule| epochs.len() - lowest == rule.patience) {
            stopped = true;
            break;
        }
    }
    let last = Weights::of(&network);
    if task.weight_average.is_some() {
        average.put(&mut network);
    }
    let best = kept.map(|(best, weights)| {
        weights.put(&mut network);
        best
    });
    Run { network, epochs, predicted, stopped, best, last }
}

/// The first epoch, counted from 1, of those where this is lowest.
fn first_lowest(epochs: &[Epoch], by: impl Fn(&Epoch) -> f64) -> usize {
    let lowest = epochs.iter().map(&by).fold(f64::INFINITY, f64::min);
    epochs.iter().position(|epoch| by(epoch) == lowest).unwrap() + 1
}

impl Weights {
    pub(crate) fn of(network: &Network) -> Self {
        Self { params: network.params().to_vec(), state: network.state().to_vec() }
    }

    fn put(&self, network: &mut Network) {
        network.params_mut().copy_from_slice(&self.params);
        network.state_mut().copy_from_slice(&self.state);
    }

    /// Goes a share of the way to others.
    fn approach(&mut self, share: f32, to: &Self) {
        let of = |average: &mut Vec<f32>, to: &[f32]| {
            for (average, to) in average.iter_mut().zip(to) {
                let new = share.mul_add(to - *average, *average);
                *average = if new.abs() < f32::MIN_POSITIVE { 0.0 } else { new };
            }
        };
        of(&mut self.params, &to.params);
        of(&mut self.state, &to.state);
    }
}

/// Floats as bits: 0 and -0 differ, and a NaN is itself.
pub(crate) fn bits(floats: &[f32]) -> Vec<u32> {
    floats.iter().map(|float| float.to_bits()).collect()
}
