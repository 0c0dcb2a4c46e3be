//! A session beside its parts: small runs written out by hand (`common/by_hand.rs`) give the same bits,
//! in memory and in the files of a run's folder. A comparison of two sessions would not see a fault that
//! both have.

use crate::common::by_hand::{self, Part, Parts, Run, Weights, bits};
use safetensors::SafeTensors;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use tempfile::TempDir;
use threadcount::data::{
    Augment, Cache, Classes, Dataset, Partition, Row, Samples, Scale, Scaling, Selection, Split,
    Validation,
};
use threadcount::nn::*;
use threadcount::random::{Key, Purpose};
use threadcount::train::{
    DataRecord, EarlyStopping, Ended, Input, Keep, Moment, Order, Record, RunFolder, Schedule,
    Session, Setup, Task, Trained,
};
use threadcount_kernels::{Isa, Pool, Team};

const SEED: u64 = 11;
const SIZE: [usize; 2] = [6, 5];
const CLASSES: u8 = 4;
/// Samples in the two files. None of the counts below is whole batches, of training or evaluation.
const FILED: [usize; 2] = [250, 140];
/// Held out at the end of the training file: 150 of its 250.
const TAIL: Partition = Partition::AsFiled(Validation::Tail(0.6));
/// Of all 390: 156 to test, 133 to validate, and 101 to train on.
const SHUFFLED: Partition = Partition::Shuffled { test: 0.4, validation: 0.34 };

/// A set on disk, and the samples of a partition of it as this file picks them.
struct Set {
    folder: TempDir,
    dataset: Arc<Dataset>,
    parts: Parts,
}

/// A number that looks drawn, for each number.
fn noise(i: usize) -> usize {
    let x = (i as u64 ^ 0x5DEE_CE66).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (x >> 40) as usize
}

/// An image of a class: noise, and its own quarter of the rows and columns brighter.
fn image(class: u8, number: usize) -> Vec<u8> {
    let pixel = |i: usize| {
        let (row, column) = (i / SIZE[1], i % SIZE[1]);
        let lit = (row < 3) == (class < 2) && (column < 2) == class.is_multiple_of(2);
        let base = if lit { 90 } else { 30 };
        // The last pixel never varies: standardised, it is 0.
        if i + 1 == SIZE[0] * SIZE[1] { 77 } else { (base + noise(number * 64 + i) % 100) as u8 }
    };
    (0..SIZE[0] * SIZE[1]).map(pixel).collect()
}

impl Set {
    /// Of training samples every label is right; of validation samples three in ten are wrong, and one
    /// in ten of the test samples. So the validation loss first falls and then grows, the more
    /// certain a network is of what it has learnt; and its accuracy comes to rest.
    fn new(partition: Partition, classes: u8) -> Self {
        let [filed_train, filed_test] = FILED;
        let (train, validation, test): (Vec<usize>, Vec<usize>, Vec<usize>) = match partition {
            TAIL => ((0..100).collect(), (100..250).collect(), (250..390).collect()),
            SHUFFLED => {
                let order = Key::new(SEED, Purpose::Split).shuffled(filed_train + filed_test);
                let order: Vec<usize> = order.into_iter().map(|i| i as usize).collect();
                (order[..101].to_vec(), order[101..234].to_vec(), order[234..].to_vec())
            }
            _ => unreachable!("no test has that"),
        };
        let mut all = Part::default();
        for number in 0..filed_train + filed_test {
            let class = (noise(number + 7_000_000) % usize::from(classes)) as u8;
            let wrong_of_ten = match () {
                () if validation.contains(&number) => 3,
                () if test.contains(&number) => 1,
                () => 0,
            };
            let is_wrong = noise(number + 9_000_000) % 10 < wrong_of_ten;
            all.images.push(image(class, number));
            all.labels.push((class + u8::from(is_wrong)) % classes);
        }
        let folder = TempDir::new().unwrap();
        all.picked(0..filed_train).write(folder.path(), 0, SIZE);
        all.picked(filed_train..filed_train + filed_test).write(folder.path(), 2, SIZE);
        let cache = Cache::at(folder.path().join("cache"));
        let dataset = Dataset::open_folder(folder.path(), &cache).unwrap();
        let parts = Parts {
            train: all.picked(train),
            validation: all.picked(validation),
            test: all.picked(test),
        };
        Self { folder, dataset, parts }
    }
}

/// Everything that has a state, on standardised images; the tail of the training file is validated on.
fn convolutional() -> Task {
    let leaky = Activation::LeakyRelu { slope: 0.1 };
    Task {
        selection: Selection { classes: Classes::All, partition: TAIL },
        scaling: Scaling::Standardise,
        input: Input::Image,
        layers: vec![
            conv2d(5, 3, Padding::Same, leaky),
            BatchNorm { momentum: 0.8, epsilon: 1e-3 }.into(),
            max_pool(2),
            flatten(),
            dense(16, leaky),
            dropout(0.2),
            dense(usize::from(CLASSES), Activation::Linear),
        ],
        loss: Loss::SoftmaxCrossEntropy,
        optimizer: Optimizer::adam().with_learning_rate(0.004),
        epochs: 14,
        batch_size: 16,
        order: Order::Shuffled,
        early_stopping: Some(EarlyStopping { patience: 3 }),
        keep: Keep::BestLoss,
        ..Task::default()
    }
}

/// The order of the split, the accuracy as the measure, nothing that ends the run early.
fn dense_in_order() -> Task {
    Task {
        selection: Selection { classes: Classes::All, partition: SHUFFLED },
        scaling: Scaling::Unit,
        input: Input::Pixels,
        layers: vec![
            dense(12, Activation::Tanh),
            BatchNorm { momentum: 0.7, epsilon: 1e-3 }.into(),
            dropout(0.3),
            dense(usize::from(CLASSES), Activation::Linear),
        ],
        optimizer: Optimizer::sgd().with_learning_rate(0.01).with_momentum(0.5),
        epochs: 12,
        batch_size: 15,
        order: Order::AsSplit,
        early_stopping: None,
        keep: Keep::BestAccuracy,
        ..convolutional()
    }
}

/// One sample at a time, which a kernel does in blocks.
fn one_by_one(order: Order) -> Task {
    Task {
        selection: Selection { classes: Classes::Pair { zero: 1, one: 0 }, partition: TAIL },
        scaling: Scaling::Unit,
        input: Input::Pixels,
        layers: vec![dense(6, Activation::Sigmoid), dense(1, Activation::Linear)],
        loss: Loss::BinaryCrossEntropy,
        optimizer: Optimizer::sgd().with_learning_rate(0.3),
        epochs: 4,
        batch_size: 1,
        order,
        early_stopping: None,
        keep: Keep::Last,
        ..Task::default()
    }
}

fn part(samples: &Samples) -> Part {
    Part {
        images: (0..samples.len())
            .map(|i| match samples.row(i) {
                Row::Bytes(bytes) => bytes.to_vec(),
                Row::Floats(_) => panic!("samples of files are bytes"),
            })
            .collect(),
        labels: samples.labels().to_vec(),
    }
}

/// Runs both and compares everything that a session ends with. Returns the one by hand.
fn compare(isa: Isa, task: &Task, set: &Set) -> Run {
    let split = task.selection.apply(&set.dataset, SEED).unwrap();
    assert_eq!(part(&split.train), set.parts.train);
    assert_eq!(part(&split.validation), set.parts.validation);
    assert_eq!(part(&split.test), set.parts.test);
    let scale = Scale::fit(task.scaling, &split.train);
    let solo = Team::solo(isa);
    let mut run = by_hand::train(&solo, task, &set.parts, &scale, SIZE, SEED);

    let mut session = Session::new(task, &split, SEED).unwrap();
    assert_eq!(session.scale(), &scale);
    let start = by_hand::network(task, SIZE, SEED);
    assert_eq!(bits(session.network().params()), bits(start.params()), "initial weights");
    // One run a folder.
    let taken = std::fs::read_dir(set.folder.path()).unwrap().count();
    let folder_path = set.folder.path().join(format!("run-{taken}"));
    let folder = RunFolder::start(&folder_path, &record(task, set, &split)).unwrap();
    let pool = Pool::new(isa, 2).unwrap();
    let mut predicted = Vec::new();
    let ended = pool.enter(|team| {
        let mut watch = |session: &Session<'_>, moment| {
            if moment == Moment::Epoch {
                predicted.push(*session.predicted());
                folder.save(session)?;
            }
            Ok(ControlFlow::Continue(()))
        };
        session.train(team, &mut watch).unwrap()
    });
    assert_eq!(ended, Ended::Finished);

    // The history, and in what it ended.
    let progress = session.progress().clone();
    let epochs = &progress.history.epochs;
    assert_eq!(epochs.len(), run.epochs.len(), "epochs on {isa}");
    for (number, (session, by_hand)) in (1..).zip(epochs.iter().zip(&run.epochs)) {
        assert_eq!(session.epoch, number);
        assert_eq!(session.loss, by_hand.training.loss, "loss of epoch {number} on {isa}");
        assert_eq!(session.accuracy, by_hand.training.accuracy, "accuracy of epoch {number}");
        assert_eq!(session.val_loss, by_hand.validation.loss, "val_loss of epoch {number}");
        assert_eq!(session.val_accuracy, by_hand.validation.accuracy, "epoch {number}");
    }
    assert_eq!(predicted.len(), run.predicted.len());
    for (session, by_hand) in predicted.iter().zip(&run.predicted) {
        for class in 0..=u8::MAX {
            assert_eq!(session.has(class), by_hand.contains(&Some(class)), "class {class}");
        }
    }
    assert_eq!(progress.stopped_early, run.stopped);
    assert_eq!(progress.best.map(|best| best.epoch), run.best);
    let trained = (run.epochs.len() * set.parts.train.len()) as u64;
    assert_eq!(progress.trained_samples, trained);

    // The weights that are kept, and what they make of the test samples.
    let (network, by_hand) = (session.network(), &run.network);
    assert_eq!(bits(network.params()), bits(by_hand.params()), "weights on {isa}");
    assert_eq!(bits(network.state()), bits(by_hand.state()), "moving statistics on {isa}");
    folder.write_model(&session).unwrap();
    let (score, predictions) =
        pool.enter(|team| (session.test(team).unwrap(), session.test_predictions(team).unwrap()));
    let expected = set.parts.test.score(&mut run.network, &solo, &scale);
    assert_eq!((score.loss, score.accuracy), (expected.loss, expected.accuracy), "test score");
    let expected = set.parts.test.predictions(&mut run.network, &solo, &scale);
    assert_eq!(predictions, expected, "test predictions");

    compare_files(&folder, &run, &scale);
    let setup = Setup { isa: Some(isa), threads: Some(2), seed: SEED };
    let mut loaded = Trained::load(&folder.model_path(), task, split.test.shape(), &setup).unwrap();
    assert_eq!(loaded.evaluate(&split.test).unwrap(), score, "test score of the saved model");
    run
}

fn record(task: &Task, set: &Set, split: &Split) -> Record {
    Record {
        version: "0".to_owned(),
        recipe: "none".to_owned(),
        seed: SEED,
        threads: 2,
        isa: String::new(),
        bf16_kernel: None,
        task: task.clone(),
        data: DataRecord::of(&set.dataset, split),
        init: None,
        result: None,
    }
}

/// The history's columns by name, and the model's tensors.
fn compare_files(folder: &RunFolder, run: &Run, scale: &Scale) {
    let mut history = csv::Reader::from_path(folder.path().join("history.csv")).unwrap();
    let rows: Vec<BTreeMap<String, f64>> = history.deserialize().map(Result::unwrap).collect();
    assert_eq!(rows.len(), run.epochs.len());
    for (number, (row, epoch)) in rows.iter().zip(&run.epochs).enumerate() {
        let expected = BTreeMap::from([
            ("epoch".to_owned(), (number + 1) as f64),
            ("loss".to_owned(), epoch.training.loss),
            ("accuracy".to_owned(), epoch.training.accuracy),
            ("val_loss".to_owned(), epoch.validation.loss),
            ("val_accuracy".to_owned(), epoch.validation.accuracy),
        ]);
        assert_eq!(row, &expected, "row {number} of history.csv");
    }

    let bytes = std::fs::read(folder.model_path()).unwrap();
    let model = SafeTensors::deserialize(&bytes).unwrap();
    let plan = run.network.plan();
    let mut expected: BTreeMap<&str, (Vec<usize>, &[f32])> = BTreeMap::new();
    for (tensors, all) in
        [(plan.params(), run.network.params()), (plan.state(), run.network.state())]
    {
        for tensor in tensors {
            expected.insert(&tensor.name, (tensor.shape.clone(), &all[tensor.range.clone()]));
        }
    }
    for (name, numbers) in [("factors", scale.factors()), ("offsets", scale.offsets())] {
        let name = if name == "factors" { "input/factors" } else { "input/offsets" };
        expected.insert(name, (vec![numbers.len()], numbers));
    }
    let mut names: Vec<&str> = model.names();
    names.sort_unstable();
    assert_eq!(names, expected.keys().copied().collect::<Vec<_>>());
    for (name, (shape, numbers)) in expected {
        let tensor = model.tensor(name).unwrap();
        assert_eq!(tensor.shape(), shape, "{name}");
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        assert_eq!(tensor.data(), bytes, "{name}");
    }
}

#[test]
fn the_epoch_with_the_lowest_loss_is_kept_and_patience_ends_the_run() {
    let (task, set) = (convolutional(), Set::new(TAIL, CLASSES));
    for isa in Isa::detected() {
        let run = compare(isa, &task, &set);
        // Premises: all of this has happened.
        let best = run.best.unwrap();
        assert!(1 < best, "the first epoch of all is the best: {:?}", run.epochs);
        assert!(run.stopped && run.epochs.len() == best + 3, "best {best}: {:?}", run.epochs);
        assert!(run.epochs.len() < task.epochs);
        let kept = Weights::of(&run.network);
        assert!(kept.params != run.last.params && kept.state != run.last.state);
    }
}

#[test]
fn the_first_epoch_with_the_highest_accuracy_is_kept() {
    let (task, set) = (dense_in_order(), Set::new(SHUFFLED, CLASSES));
    for isa in Isa::detected() {
        let run = compare(isa, &task, &set);
        // Premises: the best epoch is neither the first nor the last, has its equal later, and other
        // epochs have a lower loss.
        let best = run.best.unwrap();
        assert!(1 < best && best < task.epochs, "best {best}: {:?}", run.epochs);
        assert!(!run.stopped && run.epochs.len() == task.epochs);
        let (kept, later) = (run.epochs[best - 1].validation, &run.epochs[best..]);
        assert!(later.iter().any(|epoch| epoch.validation.accuracy == kept.accuracy));
        assert!(run.epochs.iter().any(|epoch| epoch.validation.loss < kept.loss));
        assert!(Weights::of(&run.network).state != run.last.state);
    }
}

/// Each step with the rate that its schedule, written out by hand, gives it.
#[test]
fn every_step_has_the_rate_of_its_schedule() {
    let set = Set::new(SHUFFLED, CLASSES);
    let plateau = Schedule::Plateau { factor: 0.5, patience: 1, min_delta: 0.02 };
    for (schedule, warm_up) in [
        (Schedule::Steps { at: vec![2, 5], factor: 0.25 }, 0.0),
        (Schedule::Cosine { last: 0.1 }, 0.0),
        (Schedule::Cosine { last: 0.0 }, 1.5),
        (Schedule::OneCycle { rise: 0.25, first: 0.125, last: 0.0 }, 0.0),
        (plateau, 0.5),
    ] {
        let task = Task { schedule, warm_up, epochs: 6, ..dense_in_order() };
        let plain = Task { schedule: Schedule::Constant, warm_up: 0.0, ..task.clone() };
        let (run, plain) = (compare(Isa::best(), &task, &set), compare(Isa::best(), &plain, &set));
        assert!(run.last.params != plain.last.params, "{:?} changes nothing", task.schedule);
        let lowered = by_hand::reductions(&task, &run.epochs);
        assert!(!matches!(task.schedule, Schedule::Plateau { .. }) || lowered > 0);
    }
}

/// All that regularises, at once and each alone, changes the run and does so as written out by hand.
#[test]
fn what_regularises_is_part_of_every_step() {
    let set = Set::new(TAIL, CLASSES);
    let plain = Task { epochs: 4, early_stopping: None, ..convolutional() };
    let decaying = Optimizer::adamw().with_learning_rate(0.004).with_weight_decay(0.5);
    let all = Task {
        label_smoothing: 0.1,
        l2: 0.01,
        clip_norm: Some(0.5),
        optimizer: decaying,
        weight_average: Some(0.9),
        ..plain.clone()
    };
    let tasks = [
        Task { label_smoothing: 0.1, ..plain.clone() },
        Task { l2: 0.01, ..plain.clone() },
        Task { clip_norm: Some(0.5), ..plain.clone() },
        Task { optimizer: decaying, ..plain.clone() },
        Task { weight_average: Some(0.9), ..plain.clone() },
        Task { weight_average: Some(0.9), keep: Keep::Last, ..plain.clone() },
        Task { batch_size: 1, epochs: 2, input: Input::Pixels, ..all.clone() },
        all,
    ];
    let of = |task: &Task| compare(Isa::best(), task, &set);
    let start = of(&plain);
    for task in tasks {
        let task = match task.batch_size {
            1 => Task {
                layers: vec![dense(6, Activation::Tanh), dense(4, Activation::Linear)],
                ..task
            },
            _ => task,
        };
        let run = of(&task);
        let kept = Weights::of(&run.network);
        assert!(kept != Weights::of(&start.network), "{task:?} changes nothing");
        // The average is kept, and not what it is of.
        let is_last = task.keep == Keep::Last && task.weight_average.is_none();
        assert_eq!(
            kept == run.last,
            is_last || run.best == Some(run.epochs.len()) && task.weight_average.is_none()
        );
    }
}

/// Mirror images change what is validated and tested, and with it the epoch that is kept, but no step.
#[test]
fn mirror_images_are_validated_and_tested_on() {
    let set = Set::new(TAIL, CLASSES);
    let plain = Task { epochs: 4, early_stopping: None, ..convolutional() };
    let flipped = Task { test_augment: TestAugment::Flip, ..plain.clone() };
    let [plain, flipped] = [&plain, &flipped].map(|task| compare(Isa::best(), task, &set));
    assert_eq!(plain.last.params, flipped.last.params);
    for (plain, flipped) in plain.epochs.iter().zip(&flipped.epochs) {
        assert_eq!(plain.training, flipped.training);
        assert_ne!(plain.validation.loss, flipped.validation.loss);
    }
}

/// The classes that validation predicts are those of the last epoch alone.
#[test]
fn predicted_classes_are_those_of_the_last_epoch() {
    let set = Set::new(SHUFFLED, CLASSES);
    let epochs: Vec<_> = [0.01, 0.3, 3.0]
        .into_iter()
        .flat_map(|rate| {
            let task = Task {
                layers: vec![dense(usize::from(CLASSES), Activation::Linear)],
                optimizer: Optimizer::sgd().with_learning_rate(rate),
                ..dense_in_order()
            };
            compare(Isa::best(), &task, &set).predicted
        })
        .collect();
    // Premises: some epochs predict all classes, and some miss one that the epoch before predicted.
    let has = |epoch: &[Option<u8>], class| epoch.contains(&Some(class));
    assert!(epochs.iter().any(|epoch| (0..CLASSES).all(|class| has(epoch, class))));
    let misses =
        |pair: &[Vec<_>]| (0..CLASSES).any(|class| has(&pair[0], class) && !has(&pair[1], class));
    assert!(epochs.chunks_exact(12).any(|run| run.windows(2).any(misses)));
}

/// The average is a copy of all numbers, and another one in the checkpoint while that is written.
#[test]
fn memory_counts_the_average() {
    let (task, set) = (convolutional(), Set::new(TAIL, CLASSES));
    let split = task.selection.apply(&set.dataset, SEED).unwrap();
    let averaged = Task { weight_average: Some(0.9), ..task.clone() };
    let [plain, averaged] = [&task, &averaged].map(|task| {
        let session = Session::new(task, &split, SEED).unwrap();
        assert_eq!(Session::check(task, &split).unwrap(), session.memory());
        session.memory()
    });
    let numbers = by_hand::network(&task, SIZE, SEED).plan().parameter_count() as u64;
    assert_eq!(averaged - plain, 2 * 4 * numbers);
}

/// Single samples of a network that a kernel trains in blocks are trained one by one if something is done
/// between two steps.
#[test]
fn single_samples_one_by_one() {
    let set = Set::new(TAIL, 2);
    let mut renumbered = Set { parts: set.parts.clone(), ..set };
    let Parts { train, validation, test } = &mut renumbered.parts;
    for part in [train, validation, test] {
        part.labels.iter_mut().for_each(|label| *label = 1 - *label);
    }
    let plain = || one_by_one(Order::Shuffled);
    let tasks = [
        Task { l2: 0.01, ..plain() },
        Task { label_smoothing: 0.1, ..plain() },
        Task { clip_norm: Some(0.1), ..plain() },
        Task { weight_average: Some(0.99), ..plain() },
    ];
    let start = compare(Isa::best(), &plain(), &renumbered);
    for task in tasks {
        assert_eq!(by_hand::network(&task, SIZE, SEED).steps_at_once(1), 1);
        let run = compare(Isa::best(), &task, &renumbered);
        assert!(Weights::of(&run.network) != Weights::of(&start.network), "{task:?}");
    }
}

/// Training images are augmented by the number of their sample and the epoch, in batches and in blocks of
/// single samples; those of validation and test are not.
#[test]
fn training_images_alone_are_augmented() {
    let augment = Augment { rotate: 20.0, scale: 0.2, shift: 1, flip: true, erase: 0.5 };
    let copied = Augment { rotate: 0.0, scale: 0.0, ..augment };
    let [shuffled, tail, pair] = [(SHUFFLED, CLASSES), (TAIL, CLASSES), (TAIL, 2)]
        .map(|(partition, classes)| Set::new(partition, classes));
    let swapped = Task {
        selection: Selection { classes: Classes::Pair { zero: 0, one: 1 }, partition: TAIL },
        ..one_by_one(Order::Shuffled)
    };
    for (task, set) in [(dense_in_order(), &shuffled), (convolutional(), &tail), (swapped, &pair)] {
        let plain = Task { epochs: 3, early_stopping: None, ..task };
        let unchanged = compare(Isa::best(), &plain, set).last.params;
        for augment in [augment, copied] {
            let task = Task { augment, ..plain.clone() };
            for isa in Isa::detected() {
                assert!(compare(isa, &task, set).last.params != unchanged, "{augment}: nothing");
            }
        }
    }
}

#[test]
fn single_samples_in_blocks() {
    let set = Set::new(TAIL, 2);
    // Class 1 becomes label 0 and class 0 label 1.
    let mut renumbered = Set { parts: set.parts.clone(), ..set };
    let Parts { train, validation, test } = &mut renumbered.parts;
    for part in [train, validation, test] {
        part.labels.iter_mut().for_each(|label| *label = 1 - *label);
    }
    for (order, warm_up) in [(Order::AsSplit, 0.0), (Order::Shuffled, 2.5)] {
        // In blocks, the rate is that of a block's first sample.
        let task = Task { warm_up, ..one_by_one(order) };
        let network = by_hand::network(&task, SIZE, SEED);
        assert!(network.steps_at_once(1) > 1 && network.steps_at_once(1) < 100);
        for isa in Isa::detected() {
            let run = compare(isa, &task, &renumbered);
            assert_eq!(run.best, None);
            assert_eq!(Weights::of(&run.network), run.last);
        }
    }
}

/// The order that a session goes through the samples in shows in nothing but the bits of its weights.
/// So what these depend on is asserted beside it.
#[test]
fn orders_and_seeds_change_the_bits() {
    let set = Set::new(TAIL, CLASSES);
    let task = Task { epochs: 1, early_stopping: None, ..convolutional() };
    let split = task.selection.apply(&set.dataset, SEED).unwrap();
    let team = Team::solo(Isa::best());
    let start = |seed| Session::new(&task, &split, seed).unwrap().network().params().to_vec();
    for seed in [0, 1, SEED] {
        assert_eq!(bits(&start(seed)), bits(by_hand::network(&task, SIZE, seed).params()));
    }
    // Every weight that is drawn differs; biases and the scales of batch normalisation do not.
    let (one, other) = (start(1), start(2));
    for tensor in by_hand::network(&task, SIZE, 1).plan().params() {
        let at = tensor.range.clone();
        let differ = one[at.clone()].iter().zip(&other[at]).all(|(a, b)| a != b);
        assert_eq!(differ, tensor.name.ends_with("kernel"), "{}", tensor.name);
    }

    let scale = Scale::fit(task.scaling, &split.train);
    let params = |task: &Task| {
        let run = by_hand::train(&team, task, &set.parts, &scale, SIZE, SEED);
        bits(run.network.params())
    };
    let in_order = Task { order: Order::AsSplit, ..task.clone() };
    assert_ne!(params(&task), params(&in_order));
    let orders = [0, 1, 2].map(|epoch| by_hand::order(&task, 100, epoch, SEED));
    assert!(orders[0] != orders[1] && orders[1] != orders[2] && orders[0] != orders[2]);
    assert_eq!(by_hand::order(&in_order, 4, 1, SEED), [0, 1, 2, 3]);
}

/// With a rate so low that no weight moves, epochs differ in their dropout masks alone.
#[test]
fn every_epoch_has_masks_of_its_own() {
    let set = Set::new(TAIL, CLASSES);
    let losses = |rate| {
        let task = Task {
            layers: vec![dense(32, Activation::Tanh), dropout(rate), dense(4, Activation::Linear)],
            input: Input::Pixels,
            optimizer: Optimizer::sgd().with_learning_rate(1e-30),
            order: Order::AsSplit,
            epochs: 3,
            early_stopping: None,
            ..convolutional()
        };
        let split = task.selection.apply(&set.dataset, SEED).unwrap();
        let mut session = Session::new(&task, &split, SEED).unwrap();
        session.train(&Team::solo(Isa::best()), &mut |_, _| Ok(ControlFlow::Continue(()))).unwrap();
        session.progress().history.epochs.iter().map(|epoch| epoch.loss).collect::<Vec<_>>()
    };
    let still = losses(0.0);
    assert_eq!(still, [still[0]; 3]);
    let masked = losses(0.4);
    assert!(masked[0] != masked[1] && masked[1] != masked[2] && masked[0] != masked[2]);
}
