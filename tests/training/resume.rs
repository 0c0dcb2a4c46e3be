//! A run that was stopped, saved and taken up again ends with the bits of one that never stopped,
//! wherever it stopped and on however many threads it goes on.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use threadcount::data::{
    Augment, Cache, Classes, Dataset, Partition, Samples, Scaling, Selection, Split, Validation,
    synthetic,
};
use threadcount::files::write_atomically;
use threadcount::nn::{
    Activation, Loss, Optimizer, Padding, Shape, batch_norm, conv2d, dense, dropout, flatten,
    max_pool,
};
use threadcount::train::{
    EarlyStopping, Ended, Input, Keep, Moment, Order, Schedule, Session, Task,
};
use threadcount_kernels::{Isa, Pool};

const SEED: u64 = 7;

fn data(folder: &Path) -> Arc<Dataset> {
    let images = folder.join("data");
    std::fs::create_dir(&images).unwrap();
    synthetic::generate(&images, 1, 120, 40).unwrap();
    Dataset::open_folder(&images, &Cache::at(folder.join("cache"))).unwrap()
}

/// A small relative of nlp-cnn: everything that has a state is in it.
fn task(optimizer: Optimizer) -> Task {
    let leaky = Activation::LeakyRelu { slope: 0.1 };
    Task {
        selection: Selection {
            classes: Classes::All,
            partition: Partition::AsFiled(Validation::Test),
        },
        scaling: Scaling::Standardise,
        input: Input::Image,
        layers: vec![
            conv2d(4, 3, Padding::Valid, leaky),
            batch_norm(),
            max_pool(2),
            flatten(),
            dense(16, leaky),
            dropout(0.3),
            dense(10, Activation::Linear),
        ],
        loss: Loss::SoftmaxCrossEntropy,
        optimizer,
        epochs: 3,
        // 120 = 3 * 32 + 24: four batches, the last one smaller.
        batch_size: 32,
        order: Order::Shuffled,
        early_stopping: Some(EarlyStopping { patience: 2 }),
        keep: Keep::BestLoss,
        ..Task::default()
    }
}

/// Everything that a run ends with, floats as bits.
#[derive(Debug, PartialEq)]
struct Outcome {
    params: Vec<u32>,
    state: Vec<u32>,
    history: Vec<[u64; 4]>,
    best: Option<usize>,
}

fn outcome(session: &Session<'_>) -> Outcome {
    let bits = |floats: &[f32]| floats.iter().map(|f| f.to_bits()).collect();
    let epochs = &session.progress().history.epochs;
    Outcome {
        params: bits(session.network().params()),
        state: bits(session.network().state()),
        history: epochs
            .iter()
            .map(|e| [e.loss, e.accuracy, e.val_loss, e.val_accuracy].map(f64::to_bits))
            .collect(),
        best: session.progress().best.map(|epoch| epoch.epoch),
    }
}

fn pool(threads: usize) -> Pool {
    Pool::new(Isa::best(), threads).unwrap()
}

fn uninterrupted(task: &Task, split: &Split) -> Outcome {
    let mut session = Session::new(task, split, SEED).unwrap();
    let ended = pool(1)
        .enter(|team| session.train(team, &mut |_, _| Ok(ControlFlow::Continue(()))).unwrap());
    assert_eq!(ended, Ended::Finished);
    outcome(&session)
}

/// Trains until the batch number `stop`, counted over all epochs, and saves.
fn stopped_after(stop: usize, task: &Task, split: &Split, checkpoint: &Path) {
    let mut session = Session::new(task, split, SEED).unwrap();
    let mut batches = 0;
    let ended = pool(1).enter(|team| {
        let mut watch = |_: &Session<'_>, moment| {
            batches += usize::from(moment == Moment::Batch);
            Ok(if batches == stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        };
        session.train(team, &mut watch).unwrap()
    });
    assert_eq!(ended, Ended::Interrupted);
    write_atomically(checkpoint, &session.checkpoint().unwrap()).unwrap();
}

#[test]
fn a_resumed_run_ends_with_the_bits_of_one_that_never_stopped() {
    let folder = TempDir::new().unwrap();
    let dataset = data(folder.path());
    let checkpoint = folder.path().join("checkpoint.safetensors");
    let optimizers = [
        Optimizer::adam(),
        Optimizer::sgd().with_momentum(0.9),
        Optimizer::rmsprop().with_momentum(0.9),
    ];
    let schedules = [
        (Schedule::Plateau { factor: 0.5, patience: 1, min_delta: 0.5 }, 0.0),
        (Schedule::Cosine { last: 0.0 }, 1.5),
        (Schedule::OneCycle { rise: 0.3, first: 0.04, last: 0.0 }, 0.0),
    ];
    let scheduled = optimizers.into_iter().zip(schedules);
    let scheduled = scheduled.map(|(optimizer, (schedule, warm_up))| Task {
        schedule,
        warm_up,
        ..task(optimizer)
    });
    let regularised = [Keep::Last, Keep::BestLoss].map(|keep| Task {
        label_smoothing: 0.1,
        l2: 0.001,
        clip_norm: Some(0.5),
        weight_average: Some(0.8),
        keep,
        ..task(Optimizer::adamw())
    });
    for task in scheduled.chain(regularised) {
        let split = task.selection.apply(&dataset, SEED).unwrap();
        let expected = uninterrupted(&task, &split);
        // In the first epoch, after its last batch (before its validation), in the second and
        // within the last one; each time on another number of threads.
        for (stop, threads) in [(1, 2), (4, 1), (6, 3), (11, 4)] {
            stopped_after(stop, &task, &split, &checkpoint);
            let mut session = Session::new(&task, &split, SEED).unwrap();
            session.resume(&checkpoint).unwrap();
            let ended = pool(threads).enter(|team| {
                session.train(team, &mut |_, _| Ok(ControlFlow::Continue(()))).unwrap()
            });
            assert_eq!(ended, Ended::Finished);
            let found = outcome(&session);
            assert!(found == expected, "{task:?}, stopped after batch {stop}");
        }
    }
}

/// What is drawn for an image is that of its sample and epoch: stopped after any batch, and with any number
/// of threads.
#[test]
fn an_augmented_run_can_be_stopped_after_any_batch() {
    let folder = TempDir::new().unwrap();
    let dataset = data(folder.path());
    let checkpoint = folder.path().join("checkpoint.safetensors");
    let augment = "rotate=15,scale=0.2,shift=2,flip,erase=0.3".parse().unwrap();
    let task = Task { augment, epochs: 2, early_stopping: None, ..task(Optimizer::adam()) };
    let split = task.selection.apply(&dataset, SEED).unwrap();
    let expected = uninterrupted(&task, &split);
    let plain = Task { augment: Augment::default(), ..task.clone() };
    assert!(uninterrupted(&plain, &split) != expected);
    for stop in 1..8 {
        stopped_after(stop, &task, &split, &checkpoint);
        let mut session = Session::new(&task, &split, SEED).unwrap();
        session.resume(&checkpoint).unwrap();
        let ended = pool(1 + stop % 3)
            .enter(|team| session.train(team, &mut |_, _| Ok(ControlFlow::Continue(()))).unwrap());
        assert_eq!(ended, Ended::Finished);
        assert!(outcome(&session) == expected, "stopped after batch {stop}");
    }
}

#[test]
fn the_best_epochs_weights_survive_a_checkpoint() {
    let folder = TempDir::new().unwrap();
    let dataset = data(folder.path());
    let checkpoint = folder.path().join("checkpoint.safetensors");
    // So fast that the loss soon grows: the best epoch is not the last.
    let task = Task {
        epochs: 6,
        early_stopping: None,
        ..task(Optimizer::adam().with_learning_rate(0.05))
    };
    let split = task.selection.apply(&dataset, SEED).unwrap();
    let expected = uninterrupted(&task, &split);
    let best = expected.best.unwrap();
    assert!(best < 6, "the test needs a run whose best epoch is not the last");
    // In the epoch after the best one.
    stopped_after(4 * best + 2, &task, &split, &checkpoint);
    let mut session = Session::new(&task, &split, SEED).unwrap();
    session.resume(&checkpoint).unwrap();
    pool(1).enter(|team| session.train(team, &mut |_, _| Ok(ControlFlow::Continue(()))).unwrap());
    assert!(outcome(&session) == expected);
}

/// A finished run that gets more epochs ends with the bits of a run that had them from the start,
/// whichever weights its network has been left with.
#[test]
fn a_finished_run_can_be_made_longer() {
    let folder = TempDir::new().unwrap();
    let dataset = data(folder.path());
    let checkpoint = folder.path().join("checkpoint.safetensors");
    let go_on = &mut |_: &Session<'_>, _| Ok(ControlFlow::Continue(()));
    // So fast that the best epoch of the first four is not the last.
    let fast = Task { epochs: 4, early_stopping: None, ..task(Optimizer::adam()) };
    let fast = Task { optimizer: fast.optimizer.with_learning_rate(0.05), ..fast };
    for keep in [Keep::Last, Keep::BestLoss, Keep::BestAccuracy] {
        for order in [Order::Shuffled, Order::AsSplit] {
            let short = Task { keep, order, ..fast.clone() };
            let long = Task { epochs: 7, ..short.clone() };
            let split = short.selection.apply(&dataset, SEED).unwrap();
            let expected = uninterrupted(&long, &split);

            let mut session = Session::new(&short, &split, SEED).unwrap();
            pool(2).enter(|team| {
                assert_eq!(session.train(team, go_on).unwrap(), Ended::Finished);
                let kept = outcome(&session);
                assert_ne!(kept.best, Some(4), "{keep:?}: the premise");
                // There is nothing left to do, twice.
                assert_eq!(session.train(team, go_on).unwrap(), Ended::Finished);
                assert!(outcome(&session) == kept);
            });
            write_atomically(&checkpoint, &session.checkpoint().unwrap()).unwrap();

            let resume = |task| {
                let mut session = Session::new(task, &split, SEED).unwrap();
                session.resume(&checkpoint).unwrap();
                let mut epochs = 0;
                let mut watch = |_: &Session<'_>, moment| {
                    epochs += usize::from(moment == Moment::Epoch);
                    Ok(ControlFlow::Continue(()))
                };
                let ended = pool(1).enter(|team| session.train(team, &mut watch).unwrap());
                assert_eq!(ended, Ended::Finished);
                (epochs, outcome(&session))
            };
            // With no more epochs it ends as it was, with more as the long one.
            assert!(resume(&short) == (0, outcome(&session)), "{keep:?}, {order:?}");
            assert!(resume(&long) == (3, expected), "{keep:?}, {order:?}");
        }
    }
}

/// What patience has ended stays ended.
#[test]
fn a_run_that_patience_ended_does_not_go_on() {
    let folder = TempDir::new().unwrap();
    let dataset = data(folder.path());
    let checkpoint = folder.path().join("checkpoint.safetensors");
    let go_on = &mut |_: &Session<'_>, _| Ok(ControlFlow::Continue(()));
    let fast = Optimizer::adam().with_learning_rate(0.05);
    let short =
        Task { epochs: 30, early_stopping: Some(EarlyStopping { patience: 1 }), ..task(fast) };
    let split = short.selection.apply(&dataset, SEED).unwrap();
    let mut session = Session::new(&short, &split, SEED).unwrap();
    pool(1).enter(|team| session.train(team, go_on).unwrap());
    assert!(session.progress().stopped_early && session.progress().history.epochs.len() < 30);
    write_atomically(&checkpoint, &session.checkpoint().unwrap()).unwrap();

    let long = Task { epochs: 60, ..short.clone() };
    let mut longer = Session::new(&long, &split, SEED).unwrap();
    longer.resume(&checkpoint).unwrap();
    assert!(longer.is_finished());
    pool(1).enter(|team| longer.train(team, go_on).unwrap());
    assert!(outcome(&longer) == outcome(&session));
}

#[test]
fn damaged_checkpoints_are_refused() {
    let folder = TempDir::new().unwrap();
    let dataset = data(folder.path());
    let checkpoint = folder.path().join("checkpoint.safetensors");
    let task = task(Optimizer::adam());
    let split = task.selection.apply(&dataset, SEED).unwrap();
    stopped_after(6, &task, &split, &checkpoint);
    let whole = std::fs::read(&checkpoint).unwrap();

    let refused = |bytes: &[u8]| {
        std::fs::write(&checkpoint, bytes).unwrap();
        let mut session = Session::new(&task, &split, SEED).unwrap();
        let message = session.resume(&checkpoint).unwrap_err().to_string();
        assert!(message.contains("checkpoint.safetensors: "), "{message}");
        message
    };
    refused(&[]);
    refused(&whole[..7]);
    refused(&whole[..whole.len() / 2]);
    refused(&whole[..whole.len() - 1]);
    refused(b"not a safetensors file at all");
    // One bit of a weight.
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert!(refused(&flipped).contains("checksum"));
    // One digit of the progress, in the text.
    let mut flipped = whole.clone();
    let name = b"train_seconds";
    let at = whole.windows(name.len()).position(|window| window == name).unwrap();
    let digit = flipped[at..].iter_mut().find(|byte| byte.is_ascii_digit()).unwrap();
    *digit = if *digit == b'9' { b'1' } else { *digit + 1 };
    assert!(refused(&flipped).contains("checksum"));

    // Of another network.
    std::fs::write(&checkpoint, &whole).unwrap();
    let mut other = task.clone();
    other.layers.insert(3, batch_norm());
    let mut session = Session::new(&other, &split, SEED).unwrap();
    let message = session.resume(&checkpoint).unwrap_err().to_string();
    assert!(message.contains("tensor"), "{message}");
}

/// Runs that patience ends: what is learnt is wrong for the validation samples, whose labels are turned
/// round, so their loss grows from some epoch on. Stopped at every moment that a watcher is asked, of
/// batches and of epochs, and taken up again, they end after the same epoch with the same bits.
#[test]
fn a_run_that_stops_early_can_be_stopped_anywhere() {
    let folder = TempDir::new().unwrap();
    let checkpoint = folder.path().join("checkpoint.safetensors");
    let n = 150;
    let x: Vec<f32> = (0..3 * n).map(|i| (i as f32 * 0.618_034).fract() * 2.0 - 1.0).collect();
    let labels: Vec<u8> = x.chunks(3).map(|p| u8::from(p[0] > p[1])).collect();
    let wrong: Vec<u8> = labels.iter().map(|label| 1 - label).collect();
    let samples = |labels| Samples::new(Shape::Flat(3), x.clone(), labels).unwrap();
    let split = Split::new(samples(&labels), samples(&wrong));
    let batches = Task {
        layers: vec![dense(6, Activation::Tanh), batch_norm(), dense(2, Activation::Linear)],
        epochs: 30,
        batch_size: 16,
        early_stopping: Some(EarlyStopping { patience: 3 }),
        keep: Keep::BestLoss,
        ..Task::default()
    };
    // One sample a step: a kernel does sixteen of them at once, and the last block is smaller.
    let one_by_one = Task {
        layers: vec![dense(4, Activation::Sigmoid), dense(1, Activation::Linear)],
        loss: Loss::BinaryCrossEntropy,
        optimizer: Optimizer::sgd().with_learning_rate(0.2),
        batch_size: 1,
        ..batches.clone()
    };
    for task in [batches, one_by_one] {
        let mut moments = 0;
        let mut session = Session::new(&task, &split, SEED).unwrap();
        pool(1).enter(|team| {
            let mut watch = |_: &Session<'_>, _| {
                moments += 1;
                Ok(ControlFlow::Continue(()))
            };
            session.train(team, &mut watch).unwrap()
        });
        let expected = outcome(&session);
        let epochs = expected.history.len();
        assert!(session.progress().stopped_early && epochs < task.epochs, "{epochs} epochs");
        assert_eq!(expected.best, Some(epochs - 3), "the best epoch is not the last");
        assert!(moments > 2 * epochs, "several batches an epoch");
        // The last moment is the end of the last epoch: there is nothing left to break off.
        for stop in 1..moments {
            let mut session = Session::new(&task, &split, SEED).unwrap();
            let mut asked = 0;
            let ended = pool(1).enter(|team| {
                let mut watch = |_: &Session<'_>, _| {
                    asked += 1;
                    let is_over = asked == stop;
                    Ok(if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
                };
                session.train(team, &mut watch).unwrap()
            });
            assert_eq!(ended, Ended::Interrupted, "at moment {stop} of {moments}");
            write_atomically(&checkpoint, &session.checkpoint().unwrap()).unwrap();

            let mut session = Session::new(&task, &split, SEED).unwrap();
            session.resume(&checkpoint).unwrap();
            let mut left = 0;
            pool(1).enter(|team| {
                let mut watch = |_: &Session<'_>, _| {
                    left += 1;
                    Ok(ControlFlow::Continue(()))
                };
                session.train(team, &mut watch).unwrap()
            });
            assert!(outcome(&session) == expected, "stopped at moment {stop}");
            assert_eq!(left, moments - stop, "no batch twice, none left out");
            assert!(session.progress().stopped_early);
        }
    }
}
