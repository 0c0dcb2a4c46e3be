//! Batches that are cut into shards: the same bits however many ranks share them, on however many threads, and
//! wherever a run is taken up; and the same training as without shards, but for rounding.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use tempfile::TempDir;
use threadcount::data::{
    Augment, Cache, Classes, Dataset, Partition, Samples, Scaling, Selection, Shape, Split,
    Validation, synthetic,
};
use threadcount::distributed::{Limits, Share, Thread, World, threads};
use threadcount::nn::{
    Activation, BatchKey, BatchNormOver, Loss, Network, Optimizer, Padding, Part, StepSum, When,
    batch_norm, conv2d, dense, dropout, flatten, layer_norm, max_pool,
};
use threadcount::oracle::NaiveNetwork;
use threadcount::reports;
use threadcount::train::{EarlyStopping, Ended, Input, Keep, Moment, Order, Score, Session, Task};
use threadcount::{Error, Result};
use threadcount_kernels::{Isa, Pool};

const SEED: u64 = 7;

fn data(folder: &Path, training: usize, test: usize) -> Arc<Dataset> {
    let images = folder.join("data");
    std::fs::create_dir(&images).unwrap();
    synthetic::generate(&images, 1, training, test).unwrap();
    Dataset::open_folder(&images, &Cache::at(folder.join("cache"))).unwrap()
}

fn selection() -> Selection {
    Selection { classes: Classes::All, partition: Partition::AsFiled(Validation::Test) }
}

/// A recipe on few samples. The last batch has two, so that some shards have none.
fn recipe(name: &str) -> Task {
    let task = reports::recipe(name).unwrap().task;
    Task { selection: selection(), batch_size: 32, shards: 4, epochs: 2, ..task }
}

/// Samples of [`recipe`]: three batches of 32, and one of 2.
const TRAINING: usize = 98;
/// Two batches of evaluation, the second one smaller.
const TEST: usize = 150;

/// Everything that a task can ask for, with shards whose tree has groups that lie across ranks.
fn small() -> Task {
    let relu = Activation::Relu;
    Task {
        selection: selection(),
        scaling: Scaling::Standardise,
        input: Input::Image,
        augment: Augment { shift: 2, flip: true, ..Augment::default() },
        layers: vec![
            conv2d(4, 3, Padding::Valid, relu),
            batch_norm(),
            max_pool(2),
            conv2d(4, 3, Padding::Same, relu),
            dropout(0.2),
            max_pool(2),
            batch_norm(),
            flatten(),
            layer_norm(),
            dense(16, relu),
            dropout(0.3),
            dense(10, Activation::Linear),
        ],
        freeze: "batch_normalization_1".parse().unwrap(),
        label_smoothing: 0.1,
        l2: 1e-4,
        clip_norm: Some(1.0),
        optimizer: Optimizer::adamw(),
        epochs: 2,
        batch_size: 40,
        shards: 6,
        early_stopping: Some(EarlyStopping { patience: 1 }),
        keep: Keep::BestLoss,
        weight_average: Some(0.9),
        ..Task::default()
    }
}

/// Everything that a run ends with, floats as bits.
#[derive(Clone, Debug, PartialEq)]
struct Outcome {
    weights: Vec<u32>,
    history: Vec<[u64; 4]>,
    /// Loss and accuracy on the test samples, and the class of each; none before the end.
    tested: Option<([u64; 2], Vec<Option<u8>>)>,
}

fn outcome(session: &Session<'_>, tested: Option<(Score, Vec<Option<u8>>)>) -> Outcome {
    let network = session.network();
    let weights = network.params().iter().chain(network.state());
    let epochs = session.progress().history.epochs.iter();
    Outcome {
        weights: weights.map(|weight| weight.to_bits()).collect(),
        history: epochs
            .map(|e| [e.loss, e.accuracy, e.val_loss, e.val_accuracy].map(f64::to_bits))
            .collect(),
        tested: tested
            .map(|(score, classes)| ([score.loss, score.accuracy].map(f64::to_bits), classes)),
    }
}

/// Where a run is taken up, and where it stops.
#[derive(Clone, Copy, Default)]
struct Way<'a> {
    from: Option<&'a Path>,
    /// A number of batches of this process, and where rank 0 then saves.
    until: Option<(usize, &'a Path)>,
}

/// What one rank does of a run.
fn work(task: &Task, split: &Split, team: usize, way: Way<'_>, world: &World) -> Result<Outcome> {
    let pool = Pool::new(Isa::best(), team).unwrap();
    let mut session = Session::new(task, split, SEED)?;
    // The others get it from rank 0.
    if let Some(from) = way.from.filter(|_| world.is_first()) {
        session.resume(from)?;
    }
    session.join(world.clone())?;
    let mut batches = 0;
    let ended = pool.enter(|team| {
        session.train(team, &mut |_, moment| {
            batches += usize::from(moment == Moment::Batch);
            let is_over = world.is_first() && way.until.is_some_and(|(until, _)| batches == until);
            Ok(if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
    })?;
    assert_eq!(ended == Ended::Interrupted, way.until.is_some());
    if let Some((_, path)) = way.until.filter(|_| world.is_first()) {
        std::fs::write(path, session.checkpoint()?).unwrap();
    }
    let tested = match ended {
        Ended::Interrupted => None,
        Ended::Finished => Some(pool.enter(|team| {
            Ok::<_, Error>((session.test(team)?, session.test_predictions(team)?))
        })?),
    };
    Ok(outcome(&session, tested))
}

/// A run on so many ranks, each with so many threads; all ranks end with the same.
fn run(task: &Task, split: &Split, ranks: usize, team: usize, way: Way<'_>) -> Outcome {
    let run = |mut link: Thread| {
        World::run(
            &mut link,
            Limits::default(),
            |_| {},
            |world| work(task, split, team, way, world),
        )
    };
    let run = &run;
    let outcomes: Vec<Outcome> = thread::scope(|scope| {
        let all: Vec<_> =
            threads(ranks).into_iter().map(|link| scope.spawn(move || run(link))).collect();
        all.into_iter().map(|rank| rank.join().unwrap().0.unwrap()).collect()
    });
    assert!(outcomes.windows(2).all(|pair| pair[0] == pair[1]), "ranks differ");
    outcomes.into_iter().next().unwrap()
}

/// Any number of ranks and threads, and any stop on the way.
#[track_caller]
fn check(task: &Task, [training, test]: [usize; 2], ranks: &[usize], stop: usize) {
    let folder = TempDir::new().unwrap();
    let dataset = data(folder.path(), training, test);
    let split = task.selection.apply(&dataset, SEED).unwrap();
    let alone = work(task, &split, 1, Way::default(), &World::one()).unwrap();
    assert_eq!(alone.history.len(), task.epochs);
    for &ranks in ranks {
        for team in [1, 2] {
            let shared = run(task, &split, ranks, team, Way::default());
            assert!(shared == alone, "{ranks} ranks of {team} threads differ from one process");
        }
    }
    let path = folder.path().join("checkpoint.safetensors");
    let (first, last) = (ranks[0], ranks[ranks.len() - 1]);
    for (before, after) in [(first, last), (last, first), (last, 1), (1, last)] {
        run(task, &split, before, 1, Way { until: Some((stop, &path)), from: None });
        let resumed = run(task, &split, after, 1, Way { from: Some(&path), until: None });
        assert!(resumed == alone, "from {before} ranks to {after}");
    }
}

#[test]
fn an_mlp_has_the_same_bits_on_any_number_of_ranks() {
    check(&recipe("cse574-mlp"), [TRAINING, TEST], &[2, 4], 3);
}

#[test]
fn a_recurrent_network_has_the_same_bits_on_any_number_of_ranks() {
    check(&recipe("nlp-rnn"), [TRAINING, TEST], &[2, 4], 5);
}

#[test]
fn a_cnn_has_the_same_bits_on_any_number_of_ranks() {
    check(&recipe("nlp-cnn"), [TRAINING, TEST], &[2, 4], 3);
}

#[test]
fn everything_else_has_the_same_bits_on_any_number_of_ranks() {
    // Five batches of evaluation: some ranks have two, one has none.
    check(&small(), [123, 600], &[2, 3, 6], 2);
}

/// Batch normalisation over each shard: no rank knows the statistics of another one in forward.
#[test]
fn shards_that_are_normalised_apart_have_the_same_bits_on_any_number_of_ranks() {
    let apart = |task: Task| Task { batch_norm_over: BatchNormOver::Shard, ..task };
    check(&apart(small()), [123, 600], &[2, 3, 6], 2);
    check(&apart(recipe("nlp-cnn")), [TRAINING, TEST], &[2, 4], 3);
}

/// One step in shards that are normalised apart, beside the plain twin's steps on each shard alone: gradients and moving
/// statistics are their means by samples.
#[test]
fn shards_that_are_normalised_apart_are_batches_of_their_own() {
    let layers = [
        dense(12, Activation::Relu),
        batch_norm(),
        dense(9, Activation::Tanh),
        batch_norm(),
        dense(3, Activation::Linear),
    ];
    let optimizer = Optimizer::sgd().with_learning_rate(0.5);
    let objective = Loss::SoftmaxCrossEntropy;
    const INPUTS: usize = 7;
    for (n, shards) in [(13, 3), (8, 2), (9, 4), (3, 4)] {
        let x: Vec<f32> = (0..n * INPUTS).map(|i| (i as f32 * 1.37).sin()).collect();
        let labels: Vec<u8> = (0..n).map(|i| (i * i % 3) as u8).collect();
        let mut network =
            Network::build(Shape::Flat(INPUTS), &layers, objective, optimizer, n.max(4), 3)
                .unwrap();
        let key = BatchKey { epoch: 0, first_sample: 0 };
        let (mut params, mut state) =
            (vec![0.0; network.params().len()], vec![0.0; network.state().len()]);
        let mut loss = 0.0;
        for shard in 0..shards {
            let part = shard * n / shards..(shard + 1) * n / shards;
            if part.is_empty() {
                continue;
            }
            let weight = part.len() as f64 / n as f64;
            let mut twin = NaiveNetwork::of(&network, 3).unwrap();
            let x = &x[part.start * INPUTS..part.end * INPUTS];
            loss += twin.train_batch(x, &labels[part], key).loss_sum;
            let add = |sums: &mut [f64], of: &[f32]| {
                sums.iter_mut().zip(of).for_each(|(sum, &value)| *sum += weight * f64::from(value));
            };
            add(&mut params, twin.params());
            add(&mut state, twin.state());
        }
        let before = network.params().to_vec();
        network.cut_batches(Share::new(shards, 1, 0).unwrap(), BatchNormOver::Shard).unwrap();
        let pool = Pool::new(Isa::best(), 2).unwrap();
        let result = pool
            .enter(|team| network.train_shards(team, &World::one(), n, &x, &labels, key))
            .unwrap();
        let far = |found: &[f32], expected: &[f64]| {
            let apart = found.iter().zip(expected).map(|(a, b)| (f64::from(*a) - b).abs());
            apart.fold(0.0, f64::max)
        };
        let moved = before.iter().zip(network.params()).any(|(a, b)| (a - b).abs() > 1e-2);
        assert!(moved, "{n} in {shards}");
        assert!(far(network.params(), &params) < 1e-5, "{n} in {shards}");
        assert!(far(network.state(), &state) < 1e-5, "{n} in {shards}");
        assert!((result.loss_sum - loss).abs() < 1e-4, "{n} in {shards}");
    }
}

/// Nothing of one shard reaches another one in forward: no message is waited for before the losses are known.
#[test]
fn shards_that_are_normalised_apart_say_nothing_in_forward() {
    let folder = TempDir::new().unwrap();
    let dataset = data(folder.path(), TRAINING, TEST);
    let sums = |over| {
        let task = Task { batch_norm_over: over, ..recipe("nlp-cnn") };
        let split = task.selection.apply(&dataset, SEED).unwrap();
        let session = Session::new(&task, &split, SEED).unwrap();
        session.network().step_sums()
    };
    let at_once = |sums: &[StepSum]| sums.iter().filter(|sum| sum.when == When::AtOnce).count();
    let [batch, shard] = [BatchNormOver::Batch, BatchNormOver::Shard].map(sums);
    assert!(at_once(&batch) > 0 && at_once(&batch).is_multiple_of(2), "{batch:?}");
    assert_eq!(at_once(&shard), 0, "{shard:?}");
    // Moving statistics travel with the results, and the layers' own parameters as all others do.
    let floats = |sums: &[StepSum], part| -> usize {
        sums.iter().filter(|sum| sum.part == part).map(|sum| sum.floats).sum()
    };
    assert!(floats(&shard, Part::Loss) > floats(&batch, Part::Loss));
}

/// One step of plain gradient descent, without shards and with them: the weights move by the same, but for
/// rounding. Dropout and augmentation draw by the sample's place in the epoch, so another place would show.
#[test]
fn shards_change_nothing_but_rounding() {
    let folder = TempDir::new().unwrap();
    let dataset = data(folder.path(), TRAINING, TEST);
    let linear = Activation::Linear;
    let recurrent = Task { input: Input::Rows, ..recipe("nlp-rnn") };
    let mean_squared = Task {
        loss: Loss::MeanSquaredError,
        layers: vec![dense(12, Activation::Sigmoid), dense(10, linear)],
        input: Input::Pixels,
        ..small()
    };
    let mean_squared = Task { label_smoothing: 0.0, freeze: Default::default(), ..mean_squared };
    for task in [small(), mean_squared, recipe("nlp-cnn"), recurrent, recipe("cse574-mlp")] {
        let optimizer = Optimizer::sgd().with_learning_rate(1.0);
        let task = Task {
            optimizer,
            epochs: 1,
            order: Order::Shuffled,
            weight_average: None,
            keep: Keep::Last,
            early_stopping: None,
            ..task
        };
        let split = task.selection.apply(&dataset, SEED).unwrap();
        let moved = |shards: usize| {
            let task = Task { shards, ..task.clone() };
            let mut session = Session::new(&task, &split, SEED).unwrap();
            let before = session.network().params().to_vec();
            let pool = Pool::new(Isa::best(), 1).unwrap();
            let mut watch = |_: &Session<'_>, _| Ok(ControlFlow::Break(()));
            pool.enter(|team| session.train(team, &mut watch)).unwrap();
            let after = session.network().params().iter().zip(before);
            let score = session.running_score().unwrap();
            let steps: Vec<f64> = after.map(|(a, b)| f64::from(*a) - f64::from(b)).collect();
            (steps, session.network().state().to_vec(), score)
        };
        let (steps, state, score) = moved(1);
        let length = |steps: &[f64]| steps.iter().map(|x| x * x).sum::<f64>().sqrt();
        assert!(length(&steps) > 0.01, "{task:?}");
        for shards in [2, 3, 4, 7] {
            let (cut, cut_state, cut_score) = moved(shards);
            let apart: Vec<f64> = cut.iter().zip(&steps).map(|(a, b)| a - b).collect();
            let share = length(&apart) / length(&steps);
            assert!(share < 1e-4, "{shards} shards: {share}\n{task:?}");
            assert!((cut_score.loss - score.loss).abs() < 1e-5 * score.loss, "{cut_score:?}");
            assert_eq!(cut_score.accuracy, score.accuracy);
            for (a, b) in cut_state.iter().zip(&state) {
                assert!((a - b).abs() < 1e-5 * b.abs().max(1e-2), "{a}, {b}");
            }
        }
    }
}

#[test]
fn what_cannot_be_cut_is_refused_with_the_reason() {
    let x: Vec<f32> = (0..40).map(|i| i as f32 / 40.0).collect();
    let samples = Samples::new(Shape::Flat(2), x, &[0, 1].repeat(10)).unwrap();
    let split = Split::new(samples.clone(), samples);
    let task = |batch_size, shards| Task {
        layers: vec![dense(2, Activation::Linear)],
        batch_size,
        shards,
        ..Task::default()
    };
    for (batch_size, shards, words) in [
        (1, 4, "a batch of one sample cannot be cut"),
        (8, 9, "a batch of 8 samples cannot be cut into 9"),
        (8, 0, "at least 1"),
    ] {
        let task = task(batch_size, shards);
        for error in [
            Session::new(&task, &split, 0).map(drop).unwrap_err(),
            Session::check(&task, &split).map(drop).unwrap_err(),
        ] {
            assert!(matches!(error, Error::Setting { name: "shards", .. }), "{error}");
            assert!(error.to_string().contains(words), "{error}");
        }
    }
    assert!(Session::new(&task(8, 8), &split, 0).is_ok());
    assert!(Session::new(&task(1, 1), &split, 0).is_ok());
}

/// Ranks of different weights do not train together, and ranks that cannot have equal shares do not begin.
#[test]
fn ranks_that_do_not_fit_each_other_are_refused() {
    let folder = TempDir::new().unwrap();
    let dataset = data(folder.path(), TRAINING, TEST);
    let joined = |ranks: usize, task: &(dyn Fn(usize) -> Task + Sync)| -> Vec<Error> {
        let errors = Mutex::new(Vec::new());
        let run = |mut link: Thread| {
            let (result, _) = World::run(
                &mut link,
                Limits::default(),
                |_| {},
                |world| {
                    let task = task(world.rank());
                    let split = task.selection.apply(&dataset, SEED)?;
                    Session::new(&task, &split, SEED)?.join(world.clone())
                },
            );
            errors.lock().unwrap().extend(result.err());
        };
        let run = &run;
        thread::scope(|scope| {
            threads(ranks).into_iter().for_each(|link| drop(scope.spawn(move || run(link))));
        });
        errors.into_inner().unwrap()
    };
    let errors = joined(3, &|_| recipe("nlp-softmax"));
    assert_eq!(errors.len(), 3);
    for error in errors {
        assert!(error.to_string().contains("3 ranks cannot have equal parts of 4"), "{error}");
    }
    // Of another width: what rank 0 sends does not fit.
    let errors = joined(2, &|rank| Task {
        layers: vec![dense(3 + rank, Activation::Relu), dense(10, Activation::Linear)],
        input: Input::Pixels,
        ..recipe("nlp-softmax")
    });
    assert_eq!(errors.len(), 2);
    assert!(errors.iter().all(|error| error.to_string().contains("rank 0")), "{errors:?}");
    assert!(joined(2, &|_| recipe("nlp-softmax")).is_empty());
}
