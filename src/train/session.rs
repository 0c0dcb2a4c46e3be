//! One run: a network, its samples, and how far it has come.

use super::history::Epoch;
use super::joined::own_picks;
use super::needs::{checked, largest_batch, memory};
use super::progress::Progress;
use super::schedule::Place;
use super::score::{Batch, Predicted, Score, shared_predictions, validate};
use super::stopping::improves;
use super::task::{Order, Task};
use super::thread_choice::{ThreadChoice, Threads};
use super::weights::Weights;
use crate::data::{Draws, Picks, Scale, Split};
use crate::distributed::{Share, Traffic, World};
use crate::nn::io::weights::{InitialWeights, Initialised};
use crate::nn::{BatchKey, Model, Network, Stepping};
use crate::random::{Key, Purpose};
use crate::{Error, Result};
use std::ops::ControlFlow;
use std::time::Instant;
use threadcount_kernels::Team;

/// A run of a task, from its first batch to its last, that can be saved after any batch.
pub struct Session<'a> {
    task: &'a Task,
    split: &'a Split,
    seed: u64,
    pub(super) scale: Scale,
    /// Whether the scale came with weights, and was not fitted to the samples.
    pub(super) has_own_scale: bool,
    pub(super) network: Network,
    pub(super) progress: Progress,
    /// In the validation of the last epoch.
    predicted: Predicted,
    /// The moving average of the weights, if the task asks for one.
    pub(super) average: Option<Weights>,
    /// The weights of `progress.best`, unless the task keeps the last ones.
    pub(super) best: Option<Weights>,
    /// The weights of the last step, once the run has finished and the network has the best ones.
    pub(super) last: Option<Weights>,
    batch: Batch,
    thread_choice: ThreadChoice,
    pub(super) world: World,
    traffic: Traffic,
}

/// What has just been finished when a session asks whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A training batch, or as many as the network trains at once.
    Batch,
    /// An epoch with its validation; it is in the history already.
    Epoch,
}

/// Called after every [`Moment`] to ask whether to go on; may save the session. After a break the session can
/// be saved and resumed later.
pub type Watch<'a> = dyn FnMut(&Session<'_>, Moment) -> Result<ControlFlow<()>> + Send + 'a;

/// How [`Session::train`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All epochs are trained, or early stopping has ended them.
    Finished,
    /// The watcher said [`ControlFlow::Break`].
    Interrupted,
}

impl<'a> Session<'a> {
    /// A run before its first batch: initial weights are drawn from `seed`, and the scale of inputs is fitted
    /// to the training samples.
    ///
    /// # Errors
    /// [`Error::Usage`] if the network or the augmentation does not fit the images, or the schedule does not
    /// fit the epochs; as [`Task::check_classes`].
    pub fn new(task: &'a Task, split: &'a Split, seed: u64) -> Result<Self> {
        let plan = checked(task, split)?;
        let samples = &split.train;
        let largest = largest_batch(task, samples);
        let model = Model::of(plan, seed)?;
        let mut network = Network::of(model, task.objective(), task.optimizer, largest)?;
        network.clip_gradients(task.clip_norm)?;
        if task.weight_average.is_some() {
            network.step_one_by_one();
        }
        if task.shards > 1 {
            network.cut_batches(Share::new(task.shards, 1, 0)?, task.batch_norm_over)?;
        }
        Ok(Self {
            task,
            split,
            seed,
            scale: Scale::fit(task.scaling, samples),
            average: task.weight_average.map(|_| Weights::of(&network)),
            has_own_scale: false,
            network,
            progress: Progress::default(),
            predicted: Predicted::default(),
            best: None,
            last: None,
            batch: Batch::new(samples, largest)?,
            thread_choice: ThreadChoice::default(),
            world: World::one(),
            traffic: Traffic::default(),
        })
    }

    /// Checks that such a run is possible, without taking its memory or drawing weights; returns the bytes
    /// that it takes, as [`Self::memory`].
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn check(task: &Task, split: &Split) -> Result<u64> {
        checked(task, split).map(|plan| memory(task, &plan, &split.train))
    }

    /// Replaces the initial weights that were drawn by these, before anything is trained. Inputs are scaled
    /// as they were when these weights were trained, if their file says how; else as the task says.
    ///
    /// # Errors
    /// [`Error::Data`] if the file does not fit the network: names the tensor and both shapes;
    /// [`Error::Setting`] if a layer that is to be new does not exist; [`Error::Usage`] for layers that the
    /// file's framework does not have. The session is then not fit for use.
    pub fn init(&mut self, weights: &InitialWeights) -> Result<Initialised> {
        let inputs = self.split.train.shape().len();
        let begun = weights.fill(self.network.model_mut(), inputs)?;
        // An average begins where the weights do.
        if self.average.is_some() {
            self.average = Some(Weights::of(&self.network));
        }
        if let Some(scale) = &begun.scale {
            self.scale = scale.clone();
            self.has_own_scale = true;
        }
        Ok(begun)
    }

    /// The samples that it trains and evaluates on.
    pub fn split(&self) -> &'a Split {
        self.split
    }

    /// The network as it is now; once training has finished, with the weights that the task keeps.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// From the next step on, the network measures how long each part of a step takes.
    pub fn time_laps(&mut self) {
        self.network.time_laps();
    }

    /// The trained model, and how its inputs are scaled.
    pub fn into_model(self) -> (Model, Scale) {
        (self.network.into_model(), self.scale)
    }

    /// How far the run has come.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// What this rank has said to the others in all steps here, and how long it has waited for them.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// The classes that were predicted for any validation sample after the last epoch; none of them before this
    /// process has ended an epoch.
    pub fn predicted(&self) -> &Predicted {
        &self.predicted
    }

    /// The bytes of memory that it takes, with what a checkpoint takes while it is written; those of
    /// the samples do not count.
    pub fn memory(&self) -> u64 {
        memory(self.task, self.network.plan(), &self.split.train)
    }

    /// Mean loss and accuracy over the batches of the epoch under way, while the weights change; `None` before
    /// its first batch.
    pub fn running_score(&self) -> Option<Score> {
        let Progress { batches, loss_sum, correct, .. } = self.progress;
        let samples = (batches.saturating_mul(self.task.batch_size)).min(self.split.train.len());
        let count = samples as f64;
        (samples > 0).then(|| Score { loss: loss_sum / count, accuracy: correct as f64 / count })
    }

    /// Floating-point operations of the products for one training sample, as [`Plan::flops`](crate::nn::Plan::flops) counts them.
    pub fn flops_per_sample(&self) -> f64 {
        self.network.plan().flops_per_sample()
    }

    /// How pixels become inputs.
    pub fn scale(&self) -> &Scale {
        &self.scale
    }

    /// What the run trains.
    pub fn task(&self) -> &Task {
        self.task
    }

    /// Batches in one epoch; the last one may be smaller than the others.
    pub fn batches_per_epoch(&self) -> usize {
        self.split.train.len().div_ceil(self.task.batch_size)
    }

    /// The learning rate of the next step. Steps that are done together all use that of the first.
    pub fn learning_rate(&self) -> f32 {
        let place = Place {
            epochs_done: self.progress.history.epochs.len(),
            steps_done: self.progress.batches,
            steps_per_epoch: self.batches_per_epoch(),
        };
        self.task.learning_rate(place, self.progress.plateaus)
    }

    /// Whether there is nothing left to train.
    pub fn is_finished(&self) -> bool {
        self.progress.stopped_early || self.progress.history.epochs.len() >= self.task.epochs
    }

    /// Trains until the task is finished or `watch` returns `Break`. `watch` is called after every batch and
    /// after every epoch's validation, and may save the session. A finished session's network has the weights
    /// that the task keeps.
    ///
    /// # Errors
    /// [`Error::Diverged`] if the loss stops being a finite number; whatever `watch` fails with.
    pub fn train(&mut self, team: &Team, watch: &mut Watch<'_>) -> Result<Ended> {
        while !self.is_finished() {
            if self.train_epoch(team, watch)?.is_break() {
                return Ok(Ended::Interrupted);
            }
            self.end_epoch(team)?;
            self.agree_on_weights()?;
            let flow = watch(self, Moment::Epoch)?;
            if self.agreed(flow)?.is_break() && !self.is_finished() {
                return Ok(Ended::Interrupted);
            }
        }
        if let (Some(kept), None) = (self.best.as_ref().or(self.average.as_ref()), &self.last) {
            self.last = Some(Weights::of(&self.network));
            kept.copy_to(&mut self.network);
        }
        Ok(Ended::Finished)
    }

    /// Trains the remaining batches of the current epoch.
    fn train_epoch(&mut self, team: &Team, watch: &mut Watch<'_>) -> Result<ControlFlow<()>> {
        let samples = &self.split.train;
        let epoch = self.progress.history.epochs.len() as u64;
        let order = match self.task.order {
            Order::Shuffled => {
                Key::new(self.seed, Purpose::Shuffle).with(epoch).shuffled(samples.len())
            }
            Order::AsSplit => (0..samples.len() as u32).collect(),
        };
        let augment = self.task.augment;
        let draws = (!augment.is_none()).then(|| Draws::new(augment, self.seed, epoch));
        let size = self.task.batch_size;
        // Batches that are trained together are counted from the epoch's first batch, so a resumed run trains
        // the same ones together.
        let share = self.network.share();
        let shards = share.map_or(1, |share| share.shards);
        let Stepping { team, at_once, cut } = self.network.stepping(team, size.div_ceil(shards));
        let may_choose = team.threads() > 1;
        while self.progress.batches < self.batches_per_epoch() {
            let team = match self.thread_choice.next() {
                Threads::LeaderAlone if may_choose => team.alone(),
                _ => team,
            };
            let started = Instant::now();
            let traffic = self.world.traffic();
            self.network.begin_laps();
            let first = self.progress.batches;
            let next = (first - first % at_once + at_once).min(self.batches_per_epoch());
            let (now, behind) =
                order[first * size..].split_at(samples.len().min(next * size) - first * size);
            let picks = Picks { now, next: behind, cut, draws };
            let picks = share.map_or(picks, |share| own_picks(picks, share, size));
            self.network.set_learning_rate(self.learning_rate())?;
            let (x, targets) = self.batch.gather(team, samples, &self.scale, picks);
            let key = BatchKey { epoch, first_sample: (first * size) as u64 };
            let result = match share {
                None => self.network.train_steps(team, x, targets, size, key)?,
                Some(_) => {
                    let world = &self.world;
                    self.network.train_shards(team, world, now.len(), x, targets, key)?
                }
            };
            self.take_average(team);
            if !result.loss_sum.is_finite() {
                return Err(self.diverged());
            }
            let progress = &mut self.progress;
            progress.loss_sum += result.loss_sum;
            // A checkpoint may hold any numbers.
            progress.correct = progress.correct.saturating_add(result.correct);
            progress.batches = next;
            progress.trained_samples = progress.trained_samples.saturating_add(now.len() as u64);
            let seconds = started.elapsed().as_secs_f64();
            progress.step_seconds += seconds;
            progress.train_seconds += seconds;
            if may_choose && now.len() == at_once * size {
                self.thread_choice.took(seconds);
            }
            let flow = watch(self, Moment::Batch)?;
            let started = Instant::now();
            let flow = self.agreed(flow)?;
            self.traffic += self.world.traffic() - traffic;
            if self.world.size() > 1 {
                let seconds = started.elapsed().as_secs_f64();
                self.progress.step_seconds += seconds;
                self.progress.train_seconds += seconds;
            }
            if flow.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Validates, and adds the epoch to the history.
    fn end_epoch(&mut self, team: &Team) -> Result<()> {
        let started = Instant::now();
        // The network has the average's weights while it is validated and the best weights are copied.
        self.swap_average();
        let validated = {
            let (network, samples) = (&mut self.network, &self.split.validation);
            validate(network, team, samples, &self.scale, &self.world)
        };
        let ended = validated.and_then(|(score, predicted)| {
            self.predicted = predicted;
            self.take_in(score)
        });
        self.swap_average();
        self.progress.train_seconds += started.elapsed().as_secs_f64();
        ended
    }

    /// Adds the epoch to the history, and copies the weights if they are the best so far.
    fn take_in(&mut self, score: Score) -> Result<()> {
        let Score { loss: val_loss, accuracy: val_accuracy } = score;
        if !val_loss.is_finite() {
            return Err(self.diverged());
        }
        let progress = &mut self.progress;
        let samples = self.split.train.len() as f64;
        let epoch = Epoch {
            epoch: progress.history.epochs.len() + 1,
            accuracy: progress.correct as f64 / samples,
            loss: progress.loss_sum / samples,
            val_accuracy,
            val_loss,
        };
        if let Some(rule) = self.task.early_stopping {
            progress.stopped_early = progress.patience.is_over(rule.patience, 0.0, &epoch);
        }
        if improves(self.task.keep, progress.best.as_ref(), &epoch) {
            progress.best = Some(epoch);
            let best = self.best.get_or_insert_with(|| Weights::of(&self.network));
            best.copy_from(&self.network);
        }
        progress.plateaus.take_in(&self.task.schedule, &epoch);
        progress.history.epochs.push(epoch);
        (progress.batches, progress.loss_sum, progress.correct) = (0, 0.0, 0);
        Ok(())
    }

    /// Updates the average after a step of the optimizer.
    fn take_average(&mut self, team: &Team) {
        if let (Some(decay), Some(average)) = (self.task.weight_average, &mut self.average) {
            average.approach(team, &self.network, decay);
        }
    }

    /// Exchanges the network's weights and the average's, if there is one.
    fn swap_average(&mut self) {
        if let Some(average) = &mut self.average {
            average.exchange(&mut self.network);
        }
    }

    fn diverged(&self) -> Error {
        Error::Diverged {
            epoch: self.progress.history.epochs.len() + 1,
            learning_rate: self.network.optimizer().learning_rate(),
        }
    }

    /// [`Network::age_optimizer`] of the session's network.
    pub fn age_optimizer(&mut self, team: &Team, steps: u32) {
        self.network.age_optimizer(team, steps);
    }

    /// [`Network::kill_units`] of the session's network.
    pub fn kill_units(&mut self) {
        self.network.kill_units();
    }

    /// Loss and accuracy on the test samples; ranks that train together share them out, and all call this.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if a label is not a class of the network.
    pub fn test(&mut self, team: &Team) -> Result<Score> {
        let (network, samples) = (&mut self.network, &self.split.test);
        validate(network, team, samples, &self.scale, &self.world).map(|(score, _)| score)
    }

    /// The class that the network predicts for every test sample; `None` for a sample whose outputs are NaN
    /// or belong to no class.
    ///
    /// # Errors
    /// As [`Session::test`].
    pub fn test_predictions(&mut self, team: &Team) -> Result<Vec<Option<u8>>> {
        let (network, samples) = (&mut self.network, &self.split.test);
        shared_predictions(network, team, samples, &self.scale, &self.world)
    }
}
