//! The times that a session takes of itself, beside a clock around it. Nothing here depends on how fast
//! anything is: the session's stretches lie inside those that its watcher sees, and fill them.

use crate::common::sets::Scratch;
use std::ops::ControlFlow;
use std::time::Instant;
use threadcount::data::{Classes, Dataset, Partition, Scaling, Selection, Validation};
use threadcount::nn::{Activation, Loss, Optimizer, dense};
use threadcount::train::{Input, Keep, Moment, Order, Progress, Session, Task};
use threadcount_kernels::{Isa, Team};

const TRAINING: usize = 640;
const VALIDATION: usize = 320;
const EPOCHS: usize = 3;

/// Dense layers wide enough for steps of some hundred microseconds, beside which nothing else counts.
fn task() -> Task {
    let wide = || dense(512, Activation::Relu);
    Task {
        selection: Selection {
            classes: Classes::All,
            partition: Partition::AsFiled(Validation::Tail(1.0 / 3.0)),
        },
        scaling: Scaling::Unit,
        input: Input::Pixels,
        layers: vec![wide(), wide(), dense(10, Activation::Linear)],
        loss: Loss::SoftmaxCrossEntropy,
        optimizer: Optimizer::sgd(),
        epochs: EPOCHS,
        batch_size: 64,
        order: Order::Shuffled,
        early_stopping: None,
        keep: Keep::Last,
        ..Task::default()
    }
}

/// What the watcher sees between two of its calls, and what the session says of the same.
struct Stretch {
    until: Moment,
    seconds: f64,
    steps: f64,
    training: f64,
    samples: u64,
}

/// The median share of the watcher's stretches that the session counts.
fn median_share(stretches: &[&Stretch], counted: fn(&Stretch) -> f64) -> f64 {
    let mut shares: Vec<f64> =
        stretches.iter().map(|stretch| counted(stretch) / stretch.seconds).collect();
    shares.sort_unstable_by(f64::total_cmp);
    shares[shares.len() / 2]
}

#[test]
fn the_seconds_of_a_session_are_those_of_a_clock_beside_it() {
    let labels: Vec<u8> = (0..TRAINING + VALIDATION).map(|i| (i % 10) as u8).collect();
    let scratch = Scratch::with_labels(&labels, &labels[..10]);
    let dataset = Dataset::open_folder(&scratch.folder, &scratch.cache).unwrap();
    let task = task();
    let split = task.selection.apply(&dataset, 0).unwrap();
    assert_eq!(split.train.len(), TRAINING);
    let mut session = Session::new(&task, &split, 0).unwrap();

    let mut stretches: Vec<Stretch> = Vec::new();
    let mut before = Progress::default();
    let began = Instant::now();
    let mut last = began;
    let mut watch = |session: &Session<'_>, until| {
        let seconds = last.elapsed().as_secs_f64();
        let now = session.progress().clone();
        stretches.push(Stretch {
            until,
            seconds,
            steps: now.step_seconds - before.step_seconds,
            training: now.train_seconds - before.train_seconds,
            samples: now.trained_samples - before.trained_samples,
        });
        before = now;
        last = Instant::now();
        Ok(ControlFlow::Continue(()))
    };
    session.train(&Team::solo(Isa::best()), &mut watch).unwrap();
    let wall = began.elapsed().as_secs_f64();

    // Sums of floats are off by less than this, in seconds.
    let rounding = 1e-9;
    let (steps, validations): (Vec<&Stretch>, Vec<&Stretch>) =
        stretches.iter().partition(|stretch| stretch.until == Moment::Batch);
    assert_eq!((steps.len(), validations.len()), (EPOCHS * TRAINING / 64, EPOCHS));
    for step in &steps {
        assert_eq!(step.samples, 64);
        assert!(step.steps > 0.0 && step.steps <= step.seconds + rounding);
        assert!((step.training - step.steps).abs() <= rounding, "a step is part of the training");
    }
    for validation in &validations {
        assert_eq!(validation.samples, 0);
        assert_eq!(validation.steps, 0.0, "validation is no step");
        assert!(validation.training > 0.0 && validation.training <= validation.seconds + rounding);
    }
    // Between two calls of the watcher there is hardly anything else. An interruption there is rare, and
    // the median does not see it.
    let share = median_share(&steps, |step| step.steps);
    assert!(share > 0.8, "steps are {share:.3} of the time between the watcher's calls");
    let share = median_share(&validations, |validation| validation.training);
    assert!(share > 0.8, "validations are {share:.3} of that time");

    let progress = session.progress();
    assert!(progress.step_seconds < progress.train_seconds && progress.train_seconds <= wall);
    assert_eq!(progress.trained_samples, (EPOCHS * TRAINING) as u64);
    let rate = progress.trained_samples as f64 / progress.step_seconds;
    assert_eq!(progress.images_per_second(), rate);
}

#[test]
fn no_step_is_no_rate() {
    assert_eq!(Progress::default().images_per_second(), 0.0);
    let mut progress = Progress::default();
    progress.trained_samples = 300;
    progress.step_seconds = 1.5;
    assert_eq!(progress.images_per_second(), 200.0);
}

#[test]
fn what_is_not_a_step_is_validation() {
    let mut progress = Progress::default();
    assert_eq!(progress.validation_share(), 0.0);
    progress.step_seconds = 1.5;
    progress.train_seconds = 2.0;
    assert_eq!(progress.validation_share(), 0.25);
}

/// The score of the epoch under way is a mean over the samples so far, of a last batch that is smaller too; after
/// it, it is what the history says.
#[test]
fn the_score_under_way_becomes_that_of_the_epoch() {
    let labels: Vec<u8> = (0..150).map(|i| (i % 10) as u8).collect();
    let scratch = Scratch::with_labels(&labels, &labels[..10]);
    let dataset = Dataset::open_folder(&scratch.folder, &scratch.cache).unwrap();
    let task = Task { layers: vec![dense(10, Activation::Linear)], ..task() };
    let split = task.selection.apply(&dataset, 0).unwrap();
    assert_eq!(split.train.len(), 100, "a batch of 64 and one of 36");
    let mut session = Session::new(&task, &split, 0).unwrap();
    assert_eq!(session.running_score(), None);
    let mut scores = Vec::new();
    let mut watch = |session: &Session<'_>, moment| {
        match moment {
            Moment::Batch => {
                let score = session.running_score().unwrap();
                let samples = (session.progress().batches * 64).min(100) as f64;
                let correct = score.accuracy * samples;
                assert!((correct - correct.round()).abs() < 1e-9, "{correct} of {samples}");
                scores.push(score);
            }
            Moment::Epoch => {
                let (epoch, score) =
                    (session.progress().history.epochs.last().unwrap(), scores.last().unwrap());
                assert_eq!((epoch.loss, epoch.accuracy), (score.loss, score.accuracy));
                assert_eq!(session.running_score(), None);
            }
        }
        Ok(ControlFlow::Continue(()))
    };
    session.train(&Team::solo(Isa::best()), &mut watch).unwrap();
    // A mean over the batches so far, not their sum: of a first epoch it stays near that of chance.
    assert!(scores.len() >= EPOCHS && scores.iter().take(2).all(|score| score.loss < 10.0));
}
