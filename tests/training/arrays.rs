//! Samples in memory, and what a program does with them: fit, predict, evaluate, save and load.

use std::ops::ControlFlow;
use threadcount::Error;
use threadcount::data::{Row, Samples, Scale, Scaling, Shape, Split, Targets};
use threadcount::nn::*;
use threadcount::train::{EarlyStopping, Keep, Moment, Session, Setup, Task, Trained};
use threadcount_kernels::{Isa, Team};

const LINEAR: Activation = Activation::Linear;

/// Points of the plane and whether they lie above the diagonal.
fn points(n: usize) -> (Vec<f32>, Vec<u8>) {
    let x: Vec<f32> = (0..2 * n).map(|i| (i as f32 * 0.618_034).fract() * 2.0 - 1.0).collect();
    let labels = x.chunks(2).map(|p| u8::from(p[1] > p[0])).collect();
    (x, labels)
}

fn go_on(_: &Session<'_>, _: Moment) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn classifier() -> Task {
    Task {
        layers: vec![dense(8, Activation::Tanh), dense(2, LINEAR)],
        epochs: 40,
        batch_size: 16,
        ..Task::default()
    }
}

#[test]
fn arrays_that_do_not_fit_are_refused() {
    let flat = Shape::Flat(3);
    let refused = |samples: threadcount::Result<Samples>, word: &str| match samples {
        Err(Error::Mismatch(text)) => assert!(text.contains(word), "{text}"),
        other => panic!("{word}: {other:?}"),
    };
    refused(Samples::new(flat, vec![0.0_f32; 7], &[0_u8, 1]), "7 numbers");
    refused(Samples::new(flat, vec![0.0_f32; 0], &[0_u8; 0]), "0 numbers");
    refused(Samples::new(Shape::Flat(0), vec![0.0_f32; 3], &[0_u8; 3]), "3 numbers");
    refused(Samples::new(flat, vec![0_u8; 6], &[0_u8, 1, 1]), "3 labels");
    refused(Samples::new(flat, vec![0_u8; 6], &[0.5_f32, 1.0, 1.0]), "3 target values");
    refused(Samples::new(flat, vec![0_u8; 6], &[0.0_f32; 0]), "0 target values");
    let good = Samples::new(flat, vec![0_u8; 6], &[0_u8, 4]).unwrap();
    assert_eq!(good.class_names()[4], "class 4");
    refused(good.with_class_names(&["a", "b"]), "2 names for 5 classes");
}

#[test]
fn parts_are_the_samples_that_they_name() {
    let x: Vec<f32> = (0..20).map(|i| i as f32).collect();
    let values: Vec<f32> = (0..30).map(|i| -(i as f32)).collect();
    let samples = Samples::new(Shape::Flat(2), x, &values).unwrap();
    let (first, last) = samples.split_tail(0.3).unwrap();
    assert_eq!((first.len(), last.len()), (7, 3));
    assert_eq!(last.row(1), Row::Floats(&[16.0, 17.0]));
    assert_eq!(last.targets(), Targets::Values(&values[21..]));
    assert_eq!((last.target_width(), last.classes()), (3, 0));
    assert!(last.labels().is_empty());
    for share in [0.0, 0.04, 0.96, 1.0, -1.0, f64::NAN] {
        assert!(matches!(samples.split_tail(share), Err(Error::Usage(_))), "{share}");
    }
}

#[test]
fn floats_are_scaled_as_they_are_asked_to_be() {
    // A constant, and 1 to 4 far from zero.
    let x = vec![5.0_f32, 1001.0, 5.0, 1002.0, 5.0, 1003.0, 5.0, 1004.0];
    let samples = Samples::new(Shape::Flat(2), x, &[0_u8; 4]).unwrap();
    let unit = Scale::fit(Scaling::Unit, &samples);
    assert_eq!((unit.factors(), unit.offsets()), (&[1.0, 1.0][..], &[0.0, 0.0][..]));
    let scale = Scale::fit(Scaling::Standardise, &samples);
    let factor = 1.0 / 1.25_f64.sqrt();
    assert_eq!(scale.factors(), [0.0, factor as f32]);
    assert_eq!(scale.offsets(), [0.0, (-1002.5 * factor) as f32]);
    let bytes = Samples::new(Shape::Flat(2), vec![7_u8; 8], &[0_u8; 4]).unwrap();
    assert_eq!(Scale::fit(Scaling::Unit, &bytes).factors(), [1.0 / 255.0; 2]);
}

/// The same samples as bytes and as the floats that these are scaled to train the same network.
#[test]
fn bytes_and_floats_are_the_same_samples() {
    let bytes: Vec<u8> = (0..40 * 6).map(|i| (i * 89 % 256) as u8).collect();
    let floats: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte) * (1.0 / 255.0)).collect();
    let labels: Vec<u8> = (0..40).map(|i| (i * 7 % 3) as u8).collect();
    let image = Shape::Image([3, 2, 1]);
    let task = Task { layers: vec![flatten(), dense(3, LINEAR)], epochs: 3, ..Task::default() };
    let trained = |samples: threadcount::Result<Samples>| {
        let samples = samples.unwrap();
        let split = Split::new(samples.clone(), samples);
        task.fit(&split, &Setup::default(), go_on).unwrap().model().params().to_vec()
    };
    assert_eq!(
        trained(Samples::new(image, bytes, &labels)),
        trained(Samples::new(image, floats, &labels))
    );
}

/// A sample with a NaN has no class, in predictions of a model and of a session, and its accuracy is of the
/// same rule.
#[test]
fn a_sample_that_is_no_number_has_no_class() {
    let (x, labels) = points(100);
    let train = Samples::new(Shape::Flat(2), x.clone(), &labels).unwrap();
    let mut broken = x;
    broken[2 * 37] = f32::NAN;
    let test = Samples::new(Shape::Flat(2), broken, &labels).unwrap();
    let task = Task { epochs: 3, ..classifier() };
    let mut trained =
        task.fit(&Split::new(train.clone(), train.clone()), &Setup::default(), go_on).unwrap();
    let classes = trained.classes(&test).unwrap();
    let without: Vec<usize> = (0..100).filter(|&i| classes[i].is_none()).collect();
    assert_eq!(without, [37]);
    let hits = classes.iter().zip(&labels).filter(|&(class, label)| *class == Some(*label)).count();
    let score = trained.evaluate(&test).unwrap();
    assert_eq!(score.accuracy, hits as f64 / 100.0);
    assert!(score.loss.is_nan());

    let split = Split { test, ..Split::new(train.clone(), train) };
    let mut session = Session::new(&task, &split, Setup::default().seed).unwrap();
    let team = Team::solo(Isa::best());
    session.train(&team, &mut |_, _| Ok(ControlFlow::Continue(()))).unwrap();
    assert_eq!(session.test_predictions(&team).unwrap(), classes);
    assert_eq!(session.test(&team).unwrap().accuracy, score.accuracy);
}

#[test]
fn a_network_is_fitted_saved_and_loaded() {
    let (x, labels) = points(400);
    let samples = Samples::new(Shape::Flat(2), x, &labels).unwrap();
    let (train, test) = samples.split_tail(0.25).unwrap();
    let task = classifier();
    let mut epochs = 0;
    let mut trained = task
        .fit(&Split::new(train, test.clone()), &Setup::default(), |_, moment| {
            epochs += usize::from(moment == Moment::Epoch);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!((epochs, trained.history().epochs.len()), (40, 40));
    let score = trained.evaluate(&test).unwrap();
    let last = trained.history().epochs[39];
    assert_eq!((score.loss, score.accuracy), (last.val_loss, last.val_accuracy));
    assert!(score.accuracy > 0.9, "{score:?}");

    // Predictions, classes and score are of one network.
    let probabilities = trained.predict(&test).unwrap();
    assert_eq!(probabilities.len(), 200);
    assert!(probabilities.chunks(2).all(|p| (p[0] + p[1] - 1.0).abs() < 1e-6));
    let classes = trained.classes(&test).unwrap();
    let hits =
        classes.iter().zip(test.labels()).filter(|&(class, label)| *class == Some(*label)).count();
    assert_eq!(hits as f64 / 100.0, score.accuracy);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("points.safetensors");
    trained.save(&path).unwrap();
    let setup = Setup { seed: 99, threads: Some(1), ..Setup::default() };
    let mut loaded = Trained::load(&path, &task, Shape::Flat(2), &setup).unwrap();
    assert_eq!(loaded.predict(&test).unwrap(), probabilities);
    assert!(loaded.history().epochs.is_empty());
    let other = Task { layers: vec![dense(9, LINEAR), dense(2, LINEAR)], ..task.clone() };
    assert!(matches!(
        Trained::load(&path, &other, Shape::Flat(2), &setup),
        Err(Error::Data { fault, .. }) if fault.contains("dense/kernel")
    ));
    let missing = Trained::load(&folder.path().join("none"), &task, Shape::Flat(2), &setup);
    assert!(matches!(missing, Err(Error::Io { .. })));
    let wide = Samples::new(Shape::Flat(3), vec![0.0_f32; 3], &[0_u8]).unwrap();
    assert!(matches!(loaded.predict(&wide), Err(Error::Mismatch(_))));
}

/// `y = 3 x0 - 2 x1 + 1` and its negative, learnt from values.
#[test]
fn values_are_regressed() {
    let (x, _) = points(300);
    let values: Vec<f32> = x
        .chunks(2)
        .flat_map(|p| {
            let y = 3.0 * p[0] - 2.0 * p[1] + 1.0;
            [y, -y]
        })
        .collect();
    let samples = Samples::new(Shape::Flat(2), x, &values).unwrap();
    let (train, test) = samples.split_tail(0.2).unwrap();
    let task = Task {
        layers: vec![dense(2, LINEAR)],
        loss: Loss::MeanSquaredError,
        optimizer: Optimizer::sgd().with_learning_rate(0.1),
        epochs: 60,
        batch_size: 8,
        ..Task::default()
    };
    let split = Split::new(train, test.clone());
    let mut trained = task.fit(&split, &Setup::default(), go_on).unwrap();
    let score = trained.evaluate(&test).unwrap();
    assert!(score.loss < 1e-6, "{score:?}");
    assert_eq!(score.accuracy, 0.0);
    let predictions = trained.predict(&test).unwrap();
    let Targets::Values(expected) = test.targets() else { panic!("values") };
    let worst = predictions.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 5e-3, "{worst}");
    // The mean over all outputs, worked out here.
    let squares = predictions.iter().zip(expected).map(|(a, b)| f64::from(a - b).powi(2));
    let mean = squares.sum::<f64>() / predictions.len() as f64;
    assert!((mean - score.loss).abs() <= 1e-5 * mean, "{mean} {}", score.loss);
    // A loss of classes has no use for values.
    let task = Task { loss: Loss::SoftmaxCrossEntropy, ..task };
    assert!(matches!(task.fit(&split, &Setup::default(), go_on), Err(Error::Mismatch(_))));
}

#[test]
fn early_stopping_and_breaking_off_end_a_fit() {
    let (x, labels) = points(120);
    let train = Samples::new(Shape::Flat(2), x.clone(), &labels).unwrap();
    // Labels turned round: what is learnt is wrong for these from the first step on.
    let wrong: Vec<u8> = labels.iter().map(|label| 1 - label).collect();
    let validation = Samples::new(Shape::Flat(2), x, &wrong).unwrap();
    let split = Split::new(train, validation);
    let task = Task {
        early_stopping: Some(EarlyStopping { patience: 3 }),
        keep: Keep::BestLoss,
        ..classifier()
    };
    let mut trained = task.fit(&split, &Setup::default(), go_on).unwrap();
    let losses: Vec<f64> = trained.history().epochs.iter().map(|epoch| epoch.val_loss).collect();
    let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(losses.len() < 40, "{losses:?}");
    assert_eq!(losses[losses.len() - 4], best);
    // The weights of that epoch are kept.
    assert_eq!(trained.evaluate(&split.validation).unwrap().loss, best);

    let mut batches = 0;
    let stopped = task.fit(&split, &Setup::default(), |_, _| {
        batches += 1;
        if batches == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!((batches, stopped.unwrap().history().epochs.len()), (5, 0));
}

#[test]
fn a_rate_that_is_too_high_is_named() {
    let (x, labels) = points(64);
    let samples = Samples::new(Shape::Flat(2), x, &labels).unwrap();
    let optimizer = Optimizer::sgd().with_learning_rate(1e30);
    // Without a bound on its outputs, as tanh would be.
    let layers = vec![dense(8, Activation::Relu), dense(2, LINEAR)];
    let task = Task { layers, optimizer, ..classifier() };
    match task.fit(&Split::new(samples.clone(), samples), &Setup::default(), go_on) {
        Err(Error::Diverged { epoch: 1, learning_rate }) => assert_eq!(learning_rate, 1e30),
        other => panic!("{other:?}"),
    }
}

/// Whoever wants the whole set in one batch may write down any number that is large enough.
#[test]
fn a_batch_may_be_larger_than_any_set() {
    let (x, labels) = points(50);
    let samples = Samples::new(Shape::Flat(2), x, &labels).unwrap();
    let split = Split::new(samples.clone(), samples);
    let setup = Setup { threads: Some(2), ..Setup::default() };
    let layers = vec![dense(40, Activation::Tanh), dense(40, Activation::Relu), dense(2, LINEAR)];
    let fit = |batch_size| {
        let task = Task { layers: layers.clone(), epochs: 3, batch_size, ..Task::default() };
        task.fit(&split, &setup, go_on).unwrap().history().clone()
    };
    let whole = fit(50);
    assert!(whole.epochs.len() == 3 && fit(usize::MAX) == whole && fit(1 << 60) == whole);
}
