//! The classical classifiers against their twins, and what all of them must do: every kind, every instruction set, any
//! number of threads, saved and loaded, and samples at the edge of what can be fitted.

use std::fs;
use std::ops::ControlFlow;
use std::ops::ControlFlow::{Break, Continue};
use std::sync::atomic::{AtomicUsize, Ordering};
use threadcount::Error;
use threadcount::classical::forest::{ColumnKind, Columns, Forest, ForestSettings, Target, Tried};
use threadcount::classical::{
    Classifier, Ended, GoOn, Kind, LogisticSettings, Neighbours, SampleForest, Settings,
    most_probable, naive,
};
use threadcount::data::{Samples, Shape};
use threadcount::kernels::{Isa, Pool, Team};

/// Whole numbers without a pattern.
fn noise(i: usize) -> usize {
    let x = (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((x ^ (x >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 33) as usize
}

/// Bytes about a value of their class and input; a third of the inputs has only 0 and 1.
fn bytes(n: usize, inputs: usize, classes: usize) -> Samples {
    let labels: Vec<u8> = (0..n).map(|i| (noise(i * 3 + 1) % classes) as u8).collect();
    let byte = |i: usize| {
        let (input, class) = (i % inputs, usize::from(labels[i / inputs]));
        match input % 3 {
            0 => noise(i).is_multiple_of(class + 2) as u8,
            _ => (noise(input * 19 + class * 7) % 160 + noise(i + 5) % 96) as u8,
        }
    };
    let x: Vec<u8> = (0..n * inputs).map(byte).collect();
    Samples::new(Shape::Flat(inputs), x, &labels).unwrap()
}

/// The same as floats that are not whole.
fn floats(n: usize, inputs: usize, classes: usize) -> Samples {
    let like = bytes(n, inputs, classes);
    let mut x = Vec::new();
    for i in 0..n {
        let threadcount::data::Row::Bytes(row) = like.row(i) else { unreachable!() };
        x.extend(
            row.iter().enumerate().map(|(j, &b)| f32::from(b) / 7.0 + (noise(i + j) % 9) as f32),
        );
    }
    Samples::new(Shape::Flat(inputs), x, like.labels()).unwrap()
}

fn columns_of(samples: &Samples) -> Columns {
    let width = samples.shape().len();
    let row = |i: usize| match samples.row(i) {
        threadcount::data::Row::Bytes(row) => row,
        threadcount::data::Row::Floats(_) => unreachable!(),
    };
    let kinds = vec![ColumnKind::Ordered; width];
    Columns::of_rows(&solo(), kinds, samples.len(), row).unwrap()
}

fn solo() -> Team<'static> {
    Team::solo(Isa::best())
}

const TO_THE_END: &GoOn<'static> = &|| Continue(());

fn small() -> Settings {
    let forest = ForestSettings { trees: 7, ..ForestSettings::classification(3) };
    let logistic = LogisticSettings { tolerance: 1e-4, iterations: 200, ..Default::default() };
    Settings { k: 3, forest, logistic }
}

#[test]
fn neighbours_are_those_of_the_twin() {
    for (train, queries, inputs, k) in
        [(1, 1, 1, 1), (5, 3, 2, 5), (300, 20, 3, 7), (2050, 517, 9, 5), (60, 17, 1031, 2)]
    {
        for make in [bytes, floats] {
            let (train, queries) = (make(train, inputs, 4), make(queries, inputs, 3));
            let model = Neighbours::fit(&train, k).unwrap();
            let found = model.nearest(&solo(), &queries).unwrap();
            for (query, found) in found.chunks(k).enumerate() {
                let twin = naive::neighbours::nearest(&train, &queries, query, k);
                let found: Vec<_> = found.iter().map(|n| (n.distance, n.sample)).collect();
                assert_eq!(found, twin, "{} {inputs} {k} {query}", train.len());
            }
            let shares = model.probabilities(&solo(), &queries).unwrap();
            let twin = naive::neighbours::probabilities(&train, &queries, k);
            assert!(shares.iter().zip(&twin).all(|(a, b)| (a - b).abs() < 1e-12));
        }
    }
}

/// Bright images that differ by 1 in some pixels: float32 rounds their products by more than the distances differ.
#[test]
fn neighbours_of_large_sums_are_exact() {
    let (n, inputs, k) = (600, 3000, 40);
    let base: Vec<u8> = (0..inputs).map(|i| 215 + (noise(i) % 20) as u8).collect();
    let mut x = Vec::new();
    for i in 0..n {
        let mut row = base.clone();
        (0..100 + noise(i) % 40).for_each(|j| row[noise(i * 150 + j) % inputs] += 1);
        x.extend(row);
    }
    let labels: Vec<u8> = (0..n).map(|i| (i % 7) as u8).collect();
    let train = Samples::new(Shape::Flat(inputs), x, &labels).unwrap();
    let queries = Samples::new(Shape::Flat(inputs), base, &[0]).unwrap();
    let model = Neighbours::fit(&train, k).unwrap();
    let twin = naive::neighbours::nearest(&train, &queries, 0, k);
    for isa in Isa::detected() {
        let found = model.nearest(&Team::solo(isa), &queries).unwrap();
        assert!(found.iter().map(|n| (n.distance, n.sample)).eq(twin.iter().copied()), "{isa}");
    }
}

/// Equally near samples: the lower number. Equally many votes: the lower class.
#[test]
fn ties_are_broken_as_scikit_learn_breaks_them() {
    let train = Samples::new(Shape::Flat(1), vec![5_u8, 3, 5, 3, 9], &[2, 3, 1, 0, 2]).unwrap();
    let query = Samples::new(Shape::Flat(1), vec![4_u8], &[0]).unwrap();
    let nearest = |k| -> Vec<u32> {
        let found = Neighbours::fit(&train, k).unwrap().nearest(&solo(), &query).unwrap();
        found.iter().map(|n| n.sample).collect()
    };
    assert_eq!(nearest(3), [0, 1, 2]);
    assert_eq!(nearest(5), [0, 1, 2, 3, 4]);
    let shares = Neighbours::fit(&train, 4).unwrap().probabilities(&solo(), &query).unwrap();
    assert_eq!(shares, [0.25; 4]);
    assert_eq!(most_probable(&shares, 4), [0]);
    let shares = Neighbours::fit(&train, 5).unwrap().probabilities(&solo(), &query).unwrap();
    assert_eq!(most_probable(&shares, 4), [2]);
}

/// Trees are the twin's, split by split: the same predictions to the bit, on samples that were not trained on.
#[test]
fn forests_of_classes_are_those_of_the_twin() {
    for (n, inputs, classes) in
        [(1, 1, 1), (2, 1, 2), (3, 2, 2), (40, 4, 3), (150, 10, 5), (700, 17, 10)]
    {
        let samples = bytes(n, inputs, classes);
        let (columns, queries) = (columns_of(&samples), columns_of(&bytes(300, inputs, classes)));
        let target = Target::Classes { labels: samples.labels(), classes };
        for (bootstrap, smallest_split) in [(true, 2), (false, 2), (true, 9)] {
            let settings = ForestSettings {
                trees: 5,
                bootstrap,
                smallest_split,
                ..ForestSettings::classification(n as u64)
            };
            let forest = Forest::fit(&solo(), &columns, target, &settings).unwrap();
            let twin = naive::forest::predictions(&columns, target, &settings, &queries);
            let ours = forest.predict(&solo(), &queries).unwrap();
            assert_eq!(ours, twin, "{n} {inputs} {bootstrap} {smallest_split}");
        }
    }
}

/// Columns of numbers and of categories, some of which are "none of them".
fn table(rows: usize) -> (Columns, Vec<f64>) {
    let kinds = vec![
        ColumnKind::Ordered,
        ColumnKind::Categories { count: 5 },
        ColumnKind::Ordered,
        ColumnKind::Categories { count: 2 },
    ];
    let limits = [200, 7, 3, 3];
    let bin = |column: usize, row: usize| (noise(row * 4 + column) % limits[column]) as u8;
    let bins = (0..4).flat_map(|column| (0..rows).map(move |row| bin(column, row))).collect();
    let columns = Columns::new(rows, kinds, bins).unwrap();
    // Whole numbers: their sums are exact in any order.
    let value = |row: usize| {
        let [a, b, c, d] = [0, 1, 2, 3].map(|column| f64::from(columns.column(column)[row]));
        (a / 9.0).floor() * if d == 1.0 { 3.0 } else { 1.0 } + if b == 2.0 { 40.0 } else { c }
    };
    let values = (0..rows).map(|row| value(row) + (noise(row) % 3) as f64).collect();
    (columns, values)
}

#[test]
fn forests_of_values_are_those_of_the_twin() {
    for rows in [1, 2, 30, 90, 600] {
        let (columns, values) = table(rows);
        let (queries, _) = table(250);
        for tried in [Tried::All, Tried::SquareRoot] {
            let settings = ForestSettings { trees: 4, tried, ..ForestSettings::regression(9) };
            let target = Target::Values(&values);
            let forest = Forest::fit(&solo(), &columns, target, &settings).unwrap();
            let twin = naive::forest::predictions(&columns, target, &settings, &queries);
            assert_eq!(forest.predict(&solo(), &queries).unwrap(), twin, "{rows} {tried:?}");
        }
    }
}

/// Without a bootstrap sample, a tree of all columns knows every sample that differs from all others.
#[test]
fn a_tree_without_bootstrap_knows_its_samples() {
    let (columns, values) = table(500);
    let settings = ForestSettings { trees: 1, bootstrap: false, ..ForestSettings::regression(0) };
    let forest = Forest::fit(&solo(), &columns, Target::Values(&values), &settings).unwrap();
    let predicted = forest.predict(&solo(), &columns).unwrap();
    let row = |row: usize| [0, 1, 2, 3].map(|column| columns.column(column)[row]);
    // Categories that are none of them look alike.
    let looks = |i: usize| {
        let [a, b, c, d] = row(i);
        [a, b.min(5), c, d.min(2)]
    };
    let mut known = 0;
    for i in 0..500 {
        if (0..500).filter(|&other| looks(other) == looks(i)).count() == 1 {
            assert_eq!(predicted[i], f64::from(values[i] as f32), "{i}");
            known += 1;
        }
    }
    assert!(known > 300, "{known}");
    let bootstrap = ForestSettings { bootstrap: true, ..settings };
    let other = Forest::fit(&solo(), &columns, Target::Values(&values), &bootstrap).unwrap();
    assert_ne!(other.predict(&solo(), &columns).unwrap(), predicted);
}

#[test]
fn what_no_forest_can_grow_on_is_refused() {
    let columns = Columns::new(2, vec![ColumnKind::Ordered], vec![0, 1]).unwrap();
    let settings = ForestSettings::classification(0);
    let fit = |target, settings: &ForestSettings| Forest::fit(&solo(), &columns, target, settings);
    let good = Target::Classes { labels: &[0, 1], classes: 2 };
    for target in [
        Target::Classes { labels: &[0], classes: 2 },
        Target::Classes { labels: &[0, 2], classes: 2 },
        Target::Values(&[0.0]),
        Target::Values(&[0.0, f64::NAN]),
        Target::Values(&[0.0, f64::INFINITY]),
    ] {
        assert!(matches!(fit(target, &settings), Err(Error::Mismatch(_))), "{target:?}");
    }
    for settings in [
        ForestSettings { trees: 0, ..settings },
        ForestSettings { trees: usize::MAX, ..settings },
        ForestSettings { smallest_split: 1, ..settings },
    ] {
        assert!(matches!(fit(good, &settings), Err(Error::Setting { .. })), "{settings:?}");
    }
    let empty = Columns::new(0, vec![ColumnKind::Ordered], vec![]).unwrap();
    let none = Target::Classes { labels: &[], classes: 2 };
    assert!(matches!(Forest::fit(&solo(), &empty, none, &settings), Err(Error::Mismatch(_))));
    let forest = fit(good, &settings).unwrap();
    let other = Columns::new(1, vec![ColumnKind::Ordered; 2], vec![0, 1]).unwrap();
    assert!(matches!(forest.predict(&solo(), &other), Err(Error::Mismatch(_))));
    assert!(forest.predict(&solo(), &empty).unwrap().is_empty());
}

/// The bits of what is predicted do not depend on the number of threads, nor on the instruction set where both
/// fuse multiply-adds.
#[test]
fn the_same_bits_at_any_number_of_threads() {
    for make in [bytes, floats] {
        let (train, test) = (make(2100, 13, 5), make(530, 13, 5));
        for kind in Kind::ALL {
            let mut of_set: Vec<(bool, Vec<u64>)> = Vec::new();
            for isa in Isa::detected() {
                for threads in 1..=3 {
                    let pool = Pool::new(isa, threads).unwrap();
                    let probabilities = pool.enter(|team| {
                        let model =
                            Classifier::fit(kind, team, &train, &small(), TO_THE_END).unwrap();
                        model.probabilities(team, &test).unwrap()
                    });
                    let bits = probabilities.iter().map(|p| p.to_bits()).collect();
                    of_set.push((isa.fuses_multiply_add() || kind != Kind::Logistic, bits));
                }
            }
            for (fused, bits) in &of_set {
                let same = of_set.iter().find(|(other, _)| other == fused).unwrap();
                assert!(bits == &same.1, "{kind}");
            }
        }
    }
}

#[test]
fn every_kind_learns_and_comes_back_from_its_file() {
    let folder = tempfile::tempdir().unwrap();
    for make in [bytes, floats] {
        let (train, test) = (make(600, 12, 4), make(200, 12, 4));
        for kind in Kind::ALL {
            let model = Classifier::fit(kind, &solo(), &train, &small(), TO_THE_END).unwrap();
            let model = model.of_set("made-up", 3);
            let probabilities = model.probabilities(&solo(), &test).unwrap();
            for row in probabilities.chunks(4) {
                assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-6, "{kind}: {row:?}");
            }
            let predicted = most_probable(&probabilities, 4);
            let right = predicted.iter().zip(test.labels()).filter(|(a, b)| a == b).count();
            assert!(right > 120, "{kind}: {right} of 200");
            let path = folder.path().join("model.safetensors");
            model.save(&path).unwrap();
            let loaded = Classifier::load(&path).unwrap();
            assert_eq!((loaded.kind(), loaded.facts()), (kind, model.facts()));
            assert_eq!(loaded.bytes(), model.bytes());
            assert_eq!(loaded.facts().first_label, 3);
            assert_eq!(loaded.probabilities(&solo(), &test).unwrap(), probabilities, "{kind}");
        }
    }
}

/// Every cut, and a change of every byte, is an error: none is a panic, and none another model.
#[test]
fn damaged_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let train = bytes(12, 3, 2);
    for kind in Kind::ALL {
        let model = Classifier::fit(kind, &solo(), &train, &small(), TO_THE_END).unwrap();
        model.save(&path).unwrap();
        let good = fs::read(&path).unwrap();
        let refused = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            matches!(Classifier::load(&path), Err(Error::Data { .. }))
        };
        for end in (0..good.len()).step_by(7).chain([good.len() - 1]) {
            assert!(refused(&good[..end]), "{kind}: cut at {end}");
        }
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 1 << (place % 8);
            assert!(refused(&bad) || is_same(&path, &model, &train), "{kind}: byte {place}");
        }
        fs::remove_file(&path).unwrap();
        assert!(matches!(Classifier::load(&path), Err(Error::Io { .. })));
    }
}

/// White space in the header may change without harm.
fn is_same(path: &std::path::Path, model: &Classifier, samples: &Samples) -> bool {
    let Ok(loaded) = Classifier::load(path) else { return false };
    let of = |model: &Classifier| model.probabilities(&solo(), samples).unwrap();
    of(&loaded) == of(model)
}

#[test]
fn few_samples_and_classes() {
    let one = Samples::new(Shape::Flat(2), vec![7_u8, 9], &[0]).unwrap();
    let same =
        Samples::new(Shape::Flat(2), vec![3_u8; 20], &[1, 0, 1, 1, 2, 1, 0, 1, 1, 1]).unwrap();
    let single = Samples::new(Shape::Flat(1), vec![1_u8, 200, 30, 4], &[3; 4]).unwrap();
    let settings = Settings { k: 1, ..small() };
    for kind in Kind::ALL {
        // A single sample of a single class.
        let model = Classifier::fit(kind, &solo(), &one, &settings, TO_THE_END).unwrap();
        assert_eq!(model.probabilities(&solo(), &one).unwrap(), [1.0], "{kind}");
        // One of four classes.
        let model = Classifier::fit(kind, &solo(), &single, &settings, TO_THE_END).unwrap();
        let probabilities = model.probabilities(&solo(), &single).unwrap();
        assert_eq!(probabilities, [0.0, 0.0, 0.0, 1.0].repeat(4), "{kind}");
        // No samples to predict.
        assert!(model.probabilities(&solo(), &single.range(0..0)).unwrap().is_empty(), "{kind}");
        // Pixels that are all equal: the classes' shares, and of neighbours the first ones.
        let settings = Settings { k: 10, ..small() };
        let model = Classifier::fit(kind, &solo(), &same, &settings, TO_THE_END).unwrap();
        let row = model.probabilities(&solo(), &same.range(0..1)).unwrap();
        let near = if kind == Kind::Forest { 0.2 } else { 1e-3 };
        for (p, share) in row.iter().zip([0.2, 0.7, 0.1]) {
            assert!((p - share).abs() < near, "{kind}: {row:?}");
        }
    }
}

#[test]
fn samples_that_do_not_fit_are_refused() {
    let train = bytes(30, 4, 3);
    let values = Samples::new(Shape::Flat(1), vec![1_u8, 2], &[0.5_f32, 1.5]).unwrap();
    let nan = Samples::new(Shape::Flat(1), vec![1.0, f32::NAN], &[0, 1]).unwrap();
    let large = Samples::new(Shape::Flat(1), vec![1.0, 1e13], &[0, 1]).unwrap();
    for kind in Kind::ALL {
        let fit = |samples: &Samples| Classifier::fit(kind, &solo(), samples, &small(), TO_THE_END);
        for samples in [&values, &nan, &large, &train.range(0..0)] {
            assert!(matches!(fit(samples), Err(Error::Mismatch(_))), "{kind}");
        }
        let model = fit(&train).unwrap();
        let asked = model.probabilities(&solo(), &bytes(3, 5, 3));
        assert!(matches!(asked, Err(Error::Mismatch(_))), "{kind}");
        if kind != Kind::Logistic {
            let asked = model.probabilities(&solo(), &floats(3, 4, 3));
            assert!(matches!(asked, Err(Error::Mismatch(_))), "{kind}");
        }
    }
    for k in [0, 31] {
        let fit = Neighbours::fit(&train, k);
        assert!(matches!(fit, Err(Error::Setting { name: "k", .. })), "{k}");
    }
}

/// A forest on floats parts its samples as one on bytes of the same order does. (What lies between two of a node's
/// numbers may go another way: without bootstrap samples nothing does.)
#[test]
fn floats_of_the_same_order_have_the_same_trees() {
    let train = bytes(300, 6, 3);
    let mut x = Vec::new();
    for i in 0..300 {
        let threadcount::data::Row::Bytes(row) = train.row(i) else { unreachable!() };
        x.extend(row.iter().map(|&b| f32::from(b) / 3.0 - 20.0));
    }
    let like = Samples::new(Shape::Flat(6), x, train.labels()).unwrap();
    let settings = ForestSettings { bootstrap: false, ..small().forest };
    let of_bytes = SampleForest::fit(&solo(), &train, &settings).unwrap();
    let of_floats = SampleForest::fit(&solo(), &like, &settings).unwrap();
    assert_eq!(of_bytes.forest().nodes(), of_floats.forest().nodes());
    let of_bytes = of_bytes.probabilities(&solo(), &train).unwrap();
    assert_eq!(of_floats.probabilities(&solo(), &like).unwrap(), of_bytes);
}

/// Counts how often it is asked, and says stop from one question on.
fn stopping_after(most: usize, asked: &AtomicUsize) -> impl Fn() -> ControlFlow<()> + Sync + '_ {
    move || match asked.fetch_add(1, Ordering::Relaxed) < most {
        true => Continue(()),
        false => Break(()),
    }
}

/// What is told to stop stops soon, with an error and not with half a model.
#[test]
fn every_classifier_stops_midway() {
    let (train, queries) = (bytes(1_500, 9, 4), bytes(600, 9, 4));
    let pool = Pool::new(Isa::best(), 2).unwrap();
    for kind in Kind::ALL {
        let settings =
            Settings { forest: ForestSettings { trees: 40, ..small().forest }, ..small() };
        let work = |most: usize| {
            let asked = AtomicUsize::new(0);
            let go_on = stopping_after(most, &asked);
            let done = pool.enter(|team| {
                let model = Classifier::fit(kind, team, &train, &settings, &go_on)?;
                Ok((model.probabilities_while(team, &queries, &go_on)?, model.minimised()))
            });
            (done, asked.load(Ordering::Relaxed))
        };
        let (whole, all): (Result<_, Error>, _) = work(usize::MAX);
        let (whole, _) = whole.unwrap();
        assert!(all >= 3, "{kind}: asked {all} times");
        let (stopped, asked) = work(all / 2);
        // Each thread asks once more.
        assert!(asked <= all / 2 + 40, "{kind}: asked {asked} of {all} times");
        match (kind, stopped) {
            (Kind::Logistic, Ok((probabilities, minimised))) => {
                let done = minimised.unwrap();
                assert_eq!((done.ended, done.iterations), (Ended::Interrupted, all / 2 + 1));
                assert_ne!(probabilities, whole);
            }
            (Kind::Neighbours | Kind::Forest, Err(error)) => {
                assert!(matches!(error, Error::Interrupted(_)), "{kind}: {error}");
                assert_eq!(error.exit_code(), 130);
            }
            (_, other) => panic!("{kind}: {other:?}"),
        }
        // Asking changes nothing.
        let (again, _) = work(usize::MAX);
        assert_eq!(again.unwrap().0, whole, "{kind}");
    }
}
