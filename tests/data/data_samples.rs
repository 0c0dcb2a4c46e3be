//! Splits, scaling, batches and pictures, against plain twins written here.

use std::collections::HashSet;
use std::fs;
use std::sync::Arc;

use crate::common::sets::{NAMES, Scratch, idx, pixel};
use threadcount::Error;
use threadcount::data::{
    Classes, Dataset, Half, Partition, Picks, Row, Samples, Scale, Scaling, Selection, Shape,
    Split, TargetBuffer, Targets, Validation, gather, show, synthetic,
};
use threadcount::random::{Key, Purpose};
use threadcount_kernels::gather::Cut;
use threadcount_kernels::{Isa, Team, naive};

const TEST: Partition = Partition::AsFiled(Validation::Test);

fn open(scratch: &Scratch) -> Arc<Dataset> {
    Dataset::open_folder(&scratch.folder, &scratch.cache).unwrap()
}

/// 200 training images with labels i % 10, 100 test images the same.
fn set() -> (Scratch, Arc<Dataset>) {
    let labels: Vec<u8> = (0..200).map(|i| (i % 10) as u8).collect();
    let scratch = Scratch::with_labels(&labels, &labels[..100]);
    let dataset = open(&scratch);
    (scratch, dataset)
}

fn apply(
    dataset: &Arc<Dataset>,
    classes: Classes,
    partition: Partition,
    seed: u64,
) -> threadcount::Result<Split> {
    Selection { classes, partition }.apply(dataset, seed)
}

/// Image `n` of the hand-written sets, 3x4.
fn image(n: usize) -> Vec<u8> {
    (0..12).map(|i| pixel(n, i)).collect()
}

/// The bytes of a sample.
fn bytes(samples: &Samples, i: usize) -> &[u8] {
    match samples.row(i) {
        Row::Bytes(bytes) => bytes,
        Row::Floats(_) => panic!("samples of files are bytes"),
    }
}

/// Where a sample comes from, by the address of its pixels: no copy has any.
fn addresses(samples: &Samples) -> Vec<usize> {
    (0..samples.len()).map(|i| bytes(samples, i).as_ptr() as usize).collect()
}

#[test]
fn parts_as_filed() {
    let (_scratch, dataset) = set();
    let split = apply(&dataset, Classes::All, TEST, 1).unwrap();
    assert_eq!([split.train.len(), split.validation.len(), split.test.len()], [200, 100, 100]);
    for (samples, count) in [(&split.train, 200), (&split.test, 100), (&split.validation, 100)] {
        for i in 0..count {
            assert_eq!((bytes(samples, i), samples.labels()[i]), (&image(i)[..], (i % 10) as u8));
        }
    }
    assert_eq!(
        bytes(&split.train, 5).as_ptr(),
        dataset.train.images.image(5).as_ptr(),
        "was copied"
    );
    assert_eq!((split.train.classes(), split.train.class_names()[3].as_str()), (10, "3"));
    assert!(!split.train.is_empty());
}

#[test]
fn a_tail_is_held_out_in_file_order() {
    let (_scratch, dataset) = set();
    let split =
        apply(&dataset, Classes::All, Partition::AsFiled(Validation::Tail(0.2)), 1).unwrap();
    assert_eq!([split.train.len(), split.validation.len(), split.test.len()], [160, 40, 100]);
    for i in 0..160 {
        assert_eq!(bytes(&split.train, i), image(i));
    }
    for i in 0..40 {
        assert_eq!(
            (bytes(&split.validation, i), split.validation.labels()[i]),
            (&image(160 + i)[..], (i % 10) as u8)
        );
    }
}

#[test]
fn pairs_are_renumbered() {
    let (_scratch, dataset) = set();
    for (zero, one) in [(0, 1), (9, 3)] {
        let split = apply(&dataset, Classes::Pair { zero, one }, TEST, 1).unwrap();
        assert_eq!([split.train.len(), split.test.len(), split.train.classes()], [40, 20, 2]);
        let expected: Vec<usize> =
            (0..200).filter(|i| [zero, one].contains(&((i % 10) as u8))).collect();
        for (i, &n) in expected.iter().enumerate() {
            assert_eq!(bytes(&split.train, i), image(n));
            assert_eq!(split.train.labels()[i], u8::from(n % 10 == usize::from(one)));
        }
        assert_eq!(split.test.class_names(), [zero.to_string(), one.to_string()]);
    }
}

#[test]
fn shuffled_parts_are_disjoint_and_cover_the_set() {
    let (_scratch, dataset) = set();
    let partition = Partition::Shuffled { test: 0.1, validation: 0.09 };
    let split = apply(&dataset, Classes::All, partition, 1).unwrap();
    assert_eq!([split.train.len(), split.validation.len(), split.test.len()], [243, 27, 30]);
    let parts = [&split.train, &split.validation, &split.test];
    let all: HashSet<usize> = parts.iter().flat_map(|part| addresses(part)).collect();
    assert_eq!(all.len(), 300);
    for part in parts {
        for i in 0..part.len() {
            // Every label still belongs to its image.
            let n = (0..200)
                .find(|&n| bytes(part, i) == image(n) && n % 10 == usize::from(part.labels()[i]));
            assert!(n.is_some(), "sample {i}");
        }
    }
    // The seed decides, alone.
    let same = apply(&dataset, Classes::All, partition, 1).unwrap();
    let other = apply(&dataset, Classes::All, partition, 2).unwrap();
    assert_eq!(addresses(&split.train), addresses(&same.train));
    assert_ne!(addresses(&split.train), addresses(&other.train));
    // Without a validation share the test samples serve; the pair is cut 12,000 : 2,000.
    let share = 2.0 / 14.0;
    let partition = Partition::Shuffled { test: share, validation: 0.0 };
    let split = apply(&dataset, Classes::Pair { zero: 9, one: 3 }, partition, 1).unwrap();
    assert_eq!([split.train.len(), split.validation.len(), split.test.len()], [51, 9, 9]);
    assert_eq!(addresses(&split.validation), addresses(&split.test));
    for (share, total, count) in [
        (0.15, 70_000, 10_500),
        (0.1, 70_000, 7_000),
        (0.09, 70_000, 6_300),
        (share, 14_000, 2_000),
    ] {
        assert_eq!((share * f64::from(total)).round() as u32, count);
    }
}

#[test]
fn selections_that_cannot_be() {
    let (_scratch, dataset) = set();
    let usage = |classes, partition| {
        let error = apply(&dataset, classes, partition, 1).unwrap_err();
        assert!(matches!(error, Error::Usage(_)), "{error}");
    };
    for share in [-0.1, 1.0, 2.0, f64::NAN, f64::INFINITY] {
        usage(Classes::All, Partition::AsFiled(Validation::Tail(share)));
        usage(Classes::All, Partition::Shuffled { test: share, validation: 0.0 });
        usage(Classes::All, Partition::Shuffled { test: 0.1, validation: share });
    }
    usage(Classes::All, Partition::Shuffled { test: 0.5, validation: 0.5 });
    usage(Classes::Pair { zero: 3, one: 3 }, TEST);
    let data = |dataset: &Arc<Dataset>, classes, partition, says: &str| {
        let error = apply(dataset, classes, partition, 1).unwrap_err();
        assert!(matches!(error, Error::Data { .. }) && error.to_string().contains(says), "{error}");
    };
    for (zero, one, absent) in [(0, 10, 10), (255, 1, 255)] {
        let says = format!("has the labels 0 to 9, and label {absent} is asked for");
        data(&dataset, Classes::Pair { zero, one }, TEST, &says);
    }
    let pair = Classes::Pair { zero: 0, one: 1 };
    let shuffled = |test, validation| Partition::Shuffled { test, validation };
    let scratch = Scratch::with_labels(&[0, 0, 1], &[0]);
    let small = open(&scratch);
    data(&small, pair, TEST, "no validation samples of class \"1\"");
    let gap = open(&Scratch::with_labels(&[0, 0, 1, 6], &[0]));
    let absent = Classes::Pair { zero: 4, one: 5 };
    data(&gap, absent, TEST, "no training samples of class \"4\"");
    data(&gap, absent, shuffled(0.5, 0.0), "too few");
    data(&small, Classes::All, shuffled(0.1, 0.0), "too few");
    data(&small, Classes::All, shuffled(0.9, 0.0), "too few");
    data(&small, Classes::All, shuffled(0.4, 0.45), "too few");
    data(&small, Classes::All, Partition::AsFiled(Validation::Tail(0.1)), "too few");
    let lone = Scratch::with_labels(&[0], &[1]);
    data(&open(&lone), Classes::All, Partition::AsFiled(Validation::Tail(0.5)), "too few");
    // Ten classes of which some are missing are fine.
    apply(&small, Classes::All, TEST, 1).unwrap();

    let train = apply(&dataset, Classes::All, TEST, 1).unwrap().train;
    assert_eq!(train.shape(), Shape::Image([3, 4, 1]));
}

/// One image, scaled.
fn scaled(scale: &Scale, image: &[u8], out: &mut [f32]) {
    naive::gather::scaled(|_| image, scale.factors(), scale.offsets(), out);
}

#[test]
fn unit_scaling_divides_by_255() {
    let (_scratch, dataset) = set();
    let train = apply(&dataset, Classes::All, TEST, 1).unwrap().train;
    let scale = Scale::fit(Scaling::Unit, &train);
    let mut row = [0.0; 12];
    for n in 0..200 {
        scaled(&scale, bytes(&train, n), &mut row);
        for (i, value) in row.into_iter().enumerate() {
            // One rounding of 1/255 and one of the product.
            assert!((value - f32::from(pixel(n, i)) / 255.0).abs() <= f32::EPSILON);
        }
    }
}

#[test]
fn standardisation_is_fitted_on_the_training_samples_only() {
    let scratch = Scratch::good();
    // 30 images of 2x2: a constant pixel, a nearly constant one, and two that vary.
    let pixels = |n: usize| [200, u8::from(n == 3), (n * 8) as u8, (n * n % 251) as u8];
    let all: Vec<u8> = (0..30).flat_map(pixels).collect();
    scratch.put(NAMES[0], &idx(&[30, 2, 2], &all));
    scratch.put(NAMES[1], &idx(&[30], &[1; 30]));
    scratch.put(NAMES[2], &idx(&[10, 2, 2], &[255; 40]));
    let split =
        apply(&open(&scratch), Classes::All, Partition::AsFiled(Validation::Tail(0.2)), 1).unwrap();
    let scale = Scale::fit(Scaling::Standardise, &split.train);
    assert_eq!(split.train.len(), 24);
    for i in 0..4 {
        // The twin: two passes in f64, on pixels already divided by 255.
        let values: Vec<f64> = (0..24).map(|n| f64::from(pixels(n)[i]) / 255.0).collect();
        let mean = values.iter().sum::<f64>() / 24.0;
        let deviation =
            (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 24.0).sqrt();
        for samples in [&split.train, &split.validation, &split.test] {
            for n in 0..samples.len() {
                let mut row = [f32::NAN; 4];
                scaled(&scale, bytes(samples, n), &mut row);
                let value = f64::from(bytes(samples, n)[i]) / 255.0;
                let expected = if i == 0 { 0.0 } else { (value - mean) / deviation };
                let tolerance = 1e-6 * (1.0 + value / deviation.max(1e-9));
                assert!(
                    (f64::from(row[i]) - expected).abs() <= tolerance.max(1e-5),
                    "{} {expected}",
                    row[i]
                );
            }
        }
    }
    // It survives being saved.
    let copy = Scale::from_parts(scale.factors().to_vec(), scale.offsets().to_vec());
    assert_eq!(copy, Some(scale.clone()));
    assert_eq!(
        serde_json::from_str::<Scale>(&serde_json::to_string(&scale).unwrap()).unwrap(),
        scale
    );
    assert_eq!(Scale::from_parts(vec![1.0], vec![]), None);
}

#[test]
fn a_batch_is_what_its_picks_say() {
    let (_scratch, dataset) = set();
    let partition = Partition::Shuffled { test: 0.1, validation: 0.1 };
    let train = apply(&dataset, Classes::All, partition, 5).unwrap().train;
    let order = Key::new(5, Purpose::Shuffle).with(0).shuffled(train.len());
    let team = Team::solo(Isa::Portable);
    for scaling in [Scaling::Unit, Scaling::Standardise] {
        let scale = Scale::fit(scaling, &train);
        // 240 picks in batches of 64: the last has 48.
        for (batch, now) in order.chunks(64).enumerate() {
            let (mut out, mut labels) =
                (vec![f32::NAN; now.len() * 12], TargetBuffer::new(&train, 64));
            let next = &order[order.len().min(64 * (batch + 1))..];
            let picks = Picks { now, next, cut: Cut::Rows, draws: None };
            gather(&team, &train, &scale, picks, &mut out, &mut labels);
            let Targets::Classes(labels) = labels.first(now.len()) else { panic!("classes") };
            for (row, &pick) in now.iter().enumerate() {
                assert_eq!(labels[row], train.labels()[pick as usize]);
                for i in 0..12 {
                    let byte = f32::from(bytes(&train, pick as usize)[i]);
                    assert_eq!(out[row * 12 + i], byte * scale.factors()[i] + scale.offsets()[i]);
                }
            }
        }
    }
}

#[test]
fn an_image_is_shown_as_text() {
    let scratch = Scratch::good();
    scratch.put(
        NAMES[2],
        &idx(&[10, 3, 4], &[[0; 8], [0, 255, 64, 128, 0, 0, 0, 0]].as_flattened().repeat(8)[..120]),
    );
    let dataset = open(&scratch);
    let text = show(&dataset, Half::Test, 0).unwrap().to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "test image 0: label 0, 3x4");
    assert_eq!(lines[1..], ["", "", "  ██░░▒▒"]);
    assert!(
        matches!(show(&dataset, Half::Test, 10), Err(Error::Usage(line)) if line.contains("no test image 10"))
    );
    assert!(
        show(&dataset, Half::Train, 19).is_ok() && show(&dataset, Half::Train, usize::MAX).is_err()
    );
    // A drawn garment has the name of its class, and is 28 rows high.
    let folder = scratch.path().join("drawn");
    fs::create_dir(&folder).unwrap();
    synthetic::generate(&folder, 0, 10, 10).unwrap();
    let drawn = Dataset::open_folder(&folder, &scratch.cache).unwrap();
    let trouser = drawn.train.labels.as_slice().iter().position(|&label| label == 1).unwrap();
    let text = show(&drawn, Half::Train, trouser).unwrap().to_string();
    assert!(
        text.contains("label 1, Trouser") && text.lines().count() == 29 && text.contains('▓'),
        "{text}"
    );
}
