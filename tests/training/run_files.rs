//! Every file of a run's folder, with bits flipped and pieces cut out: what comes of it is what came of
//! the whole file, or a refusal that names it. Seeded, in the library, which the program only asks.

use crate::common::sets::Scratch;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use threadcount::Result;
use threadcount::data::{Dataset, Samples, Shape, Split};
use threadcount::nn::{
    Activation, Optimizer, batch_norm, class_outputs, dense, dropout, leaky_relu,
};
use threadcount::train::{
    Beginning, DataRecord, Input, Keep, Moment, Origin, Record, ResultRecord, RunFolder, Session,
    Setup, Task, Trained,
};
use threadcount_kernels::{Isa, Pool};

const SEED: u64 = 3;
/// Flips and cuts of each file.
const MUTATIONS: usize = 300;

fn pool() -> Pool {
    Pool::new(Isa::best(), 1).unwrap()
}

/// Two runs of one task, saved after two of three epochs, and finished.
struct Desk {
    scratch: Scratch,
    split: Split,
}

/// What both commands make of a folder, floats as bits.
#[derive(Clone, Debug, PartialEq)]
struct Outcome {
    loss: u64,
    predictions: Vec<Option<u8>>,
    origin: Option<Origin>,
}

impl Desk {
    fn new() -> Self {
        let labels: Vec<u8> = (0..40_u32).map(|i| (i * 7 % 10) as u8).collect();
        let scratch = Scratch::with_labels(&labels, &labels[..20]);
        let dataset = Dataset::open_folder(&scratch.folder, &scratch.cache).unwrap();
        let task = task();
        let split = task.selection.apply(&dataset, SEED).unwrap();
        let desk = Self { scratch, split };
        for (name, stop) in [("finished", None), ("stopped", Some(2))] {
            let mut record = Record {
                version: "0".into(),
                recipe: "small".into(),
                seed: SEED,
                threads: 1,
                isa: Isa::best().name().into(),
                bf16_kernel: None,
                task: task.clone(),
                data: DataRecord::of(&dataset, &desk.split),
                init: None,
                result: None,
            };
            let folder = RunFolder::start(&desk.path(name), &record).unwrap();
            let mut session = Session::new(&task, &desk.split, SEED).unwrap();
            let (folder_of, session_of) = (&folder, &mut session);
            pool().enter(|team| {
                let mut watch = |session: &Session<'_>, moment| {
                    folder_of.save(session)?;
                    let done = session.progress().history.epochs.len();
                    let is_over = moment == Moment::Epoch && Some(done) == stop;
                    Ok(if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
                };
                session_of.train(team, &mut watch).unwrap()
            });
            folder.write_curves("<svg/>").unwrap();
            if stop.is_none() {
                folder.write_model(&session).unwrap();
                record.result = Some(ResultRecord {
                    epochs: 3,
                    test_loss: 1.0,
                    test_accuracy: 0.5,
                    train_seconds: 1.0,
                    images_per_second: 1.0,
                });
                folder.write_record(&record).unwrap();
            }
        }
        desk
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.scratch.path().join(name)
    }

    /// As `eval` does it.
    fn evaluate(&self, folder: &Path) -> Result<Outcome> {
        let (folder, record) = RunFolder::open(folder)?;
        self.of(folder.trained(&record, pool())?)
    }

    /// As `train --resume` does it, to the end.
    fn resume(&self, folder: &Path) -> Result<Outcome> {
        let (folder, record) = RunFolder::open_to_train(folder)?;
        let mut session = Session::new(&record.task, &self.split, record.seed)?;
        assert_eq!(folder.resume(&mut session, &record)?, Beginning::Checkpoint);
        let session_of = &mut session;
        pool().enter(|team| {
            session_of.train(team, &mut |_, _| Ok(ControlFlow::Continue(()))).map(drop)
        })?;
        folder.write_model(&session)?;
        let epochs = session.progress().history.epochs.len();
        let (test_loss, test_accuracy) = (1.0, 0.5);
        let result = ResultRecord {
            epochs,
            test_loss,
            test_accuracy,
            train_seconds: 1.0,
            images_per_second: 1.0,
        };
        let record = Record { result: Some(result), ..record };
        self.of(folder.trained(&record, pool())?)
    }

    fn of(&self, mut trained: Trained) -> Result<Outcome> {
        Ok(Outcome {
            loss: trained.evaluate(&self.split.test)?.loss.to_bits(),
            predictions: trained.classes(&self.split.test)?,
            origin: trained.origin().cloned(),
        })
    }
}

fn task() -> Task {
    Task {
        input: Input::Pixels,
        layers: vec![dense(6, Activation::Tanh), batch_norm(), dropout(0.2), class_outputs()],
        epochs: 3,
        batch_size: 16,
        keep: Keep::BestLoss,
        ..Task::default()
    }
}

/// The file with a bit or several flipped, a piece cut out or put in.
fn mutated(whole: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    let at = rng.random_range(0..bytes.len());
    match rng.random_range(0..5) {
        0 | 1 => bytes[at] ^= 1 << rng.random_range(0..8),
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..bytes.len().min(at + rng.random_range(1..40)))),
        _ => {
            for _ in 0..rng.random_range(2..6) {
                let at = rng.random_range(0..bytes.len());
                bytes[at] = rng.random();
            }
        }
    }
    bytes
}

#[test]
fn a_damaged_file_is_refused_or_makes_no_difference() {
    let desk = Desk::new();
    let whole = desk.evaluate(&desk.path("finished")).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    type Read = fn(&Desk, &Path) -> Result<Outcome>;
    let [evaluate, resume]: [Read; 2] = [Desk::evaluate, Desk::resume];
    for (name, do_it, reads) in [
        ("finished", evaluate, "model.safetensors"),
        ("finished", resume, "checkpoint.safetensors"),
        ("stopped", resume, "checkpoint.safetensors"),
    ] {
        let source = desk.path(name);
        let names: Vec<_> =
            fs::read_dir(&source).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(names.len() >= 5, "{names:?}");
        let here = desk.path("here");
        for damaged in names.iter().filter(|name| *name != ".lock") {
            let is_read = ["run.toml", reads].contains(&damaged.to_str().unwrap());
            let mutations = if is_read { MUTATIONS } else { 20 };
            let bytes = fs::read(source.join(damaged)).unwrap();
            let mut refusals = 0;
            for _ in 0..mutations {
                let mutated = mutated(&bytes, &mut rng);
                if mutated == bytes {
                    continue;
                }
                fs::create_dir_all(&here).unwrap();
                for name in &names {
                    fs::copy(source.join(name), here.join(name)).unwrap();
                }
                fs::write(here.join(damaged), &mutated).unwrap();
                match do_it(&desk, &here) {
                    Ok(mut found) => {
                        // The name of what the file says of itself was hit; the numbers were not.
                        found.origin = found.origin.or_else(|| whole.origin.clone());
                        assert_eq!(
                            found,
                            whole,
                            "{damaged:?}: {:?}",
                            first_difference(&bytes, &mutated)
                        );
                    }
                    Err(error) => {
                        refusals += 1;
                        let message = error.to_string();
                        assert_eq!(error.exit_code(), 3, "{damaged:?}: {message}");
                        assert!(message.len() < 1_000, "{} bytes: {message}", message.len());
                        assert!(message.contains(damaged.to_str().unwrap()), "{message}");
                    }
                }
            }
            // Premise: what is read of the files is looked at.
            match is_read {
                true => assert!(refusals > MUTATIONS / 2, "{damaged:?}: {refusals}"),
                false => assert_eq!(refusals, 0, "{damaged:?}"),
            }
        }
    }
}

fn first_difference(a: &[u8], b: &[u8]) -> Option<usize> {
    a.iter().zip(b).position(|(a, b)| a != b)
}

/// The same bytes under other shapes are another file to the checksum.
#[test]
fn the_checksums_are_over_shapes_too() {
    let desk = Desk::new();
    for (folder, name, do_it) in [
        ("finished", "model.safetensors", Desk::evaluate as fn(&Desk, &Path) -> Result<Outcome>),
        ("stopped", "checkpoint.safetensors", Desk::resume),
    ] {
        let path = desk.path(folder).join(name);
        let bytes = fs::read(&path).unwrap();
        let (from, to) = (&b"\"shape\":[12,6]"[..], &b"\"shape\":[6,12]"[..]);
        let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
        let mut transposed = bytes.clone();
        transposed[at..at + to.len()].copy_from_slice(to);
        fs::write(&path, transposed).unwrap();
        let message = do_it(&desk, &desk.path(folder)).unwrap_err().to_string();
        assert!(message.contains("the checksum does not fit"), "{message}");
    }
}

/// A dense layer with a unit for each class: the file tells how many there are.
#[test]
fn a_network_with_an_output_for_each_class_can_be_loaded() {
    let x: Vec<f32> = (0..120).map(|i| (i as f32 * 0.618_034).fract()).collect();
    for classes in [2, 3, 7] {
        let labels: Vec<u8> = (0..60).map(|i| (i % classes) as u8).collect();
        let samples = Samples::new(Shape::Flat(2), x.clone(), &labels).unwrap();
        for layers in [
            vec![class_outputs()],
            vec![dense(4, Activation::Tanh), batch_norm(), class_outputs()],
            vec![class_outputs(), leaky_relu(0.1), class_outputs()],
        ] {
            let task = Task { layers, epochs: 1, ..Task::default() };
            let split = Split::new(samples.clone(), samples.clone());
            let watch = |_: &Session<'_>, _| ControlFlow::Continue(());
            let mut trained = task.fit(&split, &Setup::default(), watch).unwrap();
            let file = tempfile::NamedTempFile::new().unwrap();
            trained.save(file.path()).unwrap();
            let loaded = Trained::load(file.path(), &task, Shape::Flat(2), &Setup::default());
            let mut loaded = loaded.unwrap();
            let probabilities = loaded.predict(&samples).unwrap();
            assert_eq!(probabilities.len(), 60 * classes);
            assert_eq!(probabilities, trained.predict(&samples).unwrap());
            assert_eq!(loaded.origin(), trained.origin());
        }
    }
}

/// The loss tells of weights that are no numbers only with the next batch: before that nothing is saved of
/// them, and no folder is left behind where none can be started.
#[test]
fn what_cannot_be_had_leaves_nothing_behind() {
    let desk = Desk::new();
    let (_, record) = RunFolder::open(&desk.path("stopped")).unwrap();
    let optimizer = Optimizer::rmsprop().with_learning_rate(f32::MAX);
    let record = Record { task: Task { optimizer, keep: Keep::Last, ..task() }, ..record };
    let mut session = Session::new(&record.task, &desk.split, SEED).unwrap();
    let session_of = &mut session;
    let first = |_: &Session<'_>, _| Ok(ControlFlow::Break(()));
    pool().enter(|team| session_of.train(team, &mut { first }).unwrap());
    let folder = RunFolder::start(&desk.path("diverged"), &record).unwrap();
    let error = folder.write_model(&session).unwrap_err().to_string();
    assert!(error.contains("training diverged") && error.contains("no model is saved"), "{error}");
    assert!(!folder.model_path().exists());

    // The first of these folders can be made, the second cannot: its name is too long.
    let path = desk.path("new").join("x".repeat(1000));
    RunFolder::start(&path, &record).unwrap_err();
    assert!(!desk.path("new").exists());
}
