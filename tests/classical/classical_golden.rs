//! The classical models and the scores against scikit-learn's, on the small cases of `golden/classical.json`.

use serde::Deserialize;
use std::ops::ControlFlow::Continue;
use threadcount::classical::{Ended, Logistic, LogisticSettings, Neighbours, most_probable};
use threadcount::data::{Samples, Shape};
use threadcount::evaluate::{ClassificationReport, Confusion, log_loss};
use threadcount::kernels::{Isa, Team};

#[derive(Deserialize)]
struct Cases {
    scores: Vec<Score>,
    logistic: Vec<OfLogistic>,
    neighbours: Vec<OfNeighbours>,
}

#[derive(Deserialize)]
struct Score {
    classes: usize,
    #[serde(rename = "type")]
    dtype: String,
    labels: Vec<u8>,
    probabilities: Vec<f64>,
    predicted: Vec<u8>,
    accuracy: f64,
    macro_f1: f64,
    log_loss: f64,
}

#[derive(Deserialize)]
struct OfLogistic {
    classes: usize,
    c: f64,
    labels: Vec<u8>,
    x: Vec<Vec<u8>>,
    coefficients: Vec<Vec<f64>>,
    probabilities: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct OfNeighbours {
    classes: usize,
    k: usize,
    labels: Vec<u8>,
    x: Vec<Vec<u8>>,
    queries: Vec<Vec<u8>>,
    probabilities: Vec<Vec<f64>>,
    predicted: Vec<u8>,
}

fn cases() -> Cases {
    serde_json::from_str(include_str!("../golden/classical.json")).unwrap()
}

fn samples(rows: &[Vec<u8>], labels: &[u8]) -> Samples {
    Samples::new(Shape::Flat(rows[0].len()), rows.concat(), labels).unwrap()
}

fn team() -> Team<'static> {
    Team::solo(Isa::best())
}

#[test]
fn scores_to_four_decimals() {
    for case in cases().scores {
        let epsilon = match case.dtype.as_str() {
            "float32" => f32::EPSILON.into(),
            _ => f64::EPSILON,
        };
        let loss = log_loss(&case.labels, &case.probabilities, case.classes, epsilon);
        assert!((loss - case.log_loss).abs() < 1e-5, "{}: {loss} {}", case.dtype, case.log_loss);
        assert_eq!(most_probable(&case.probabilities, case.classes), case.predicted);
        let mut confusion = Confusion::new((0..case.classes).map(|class| class.to_string()));
        let predicted: Vec<_> = case.predicted.iter().copied().map(Some).collect();
        confusion.add(&case.labels, &predicted);
        let report = ClassificationReport::new(&confusion);
        assert!((report.accuracy - case.accuracy).abs() < 1e-9);
        assert!((report.macro_avg.f1 - case.macro_f1).abs() < 1e-9);
        // As both print them.
        let printed = |figure: f64| format!("{figure:.4}");
        for (name, ours, theirs) in [
            ("accuracy", report.accuracy, case.accuracy),
            ("macro F1", report.macro_avg.f1, case.macro_f1),
            ("log loss", loss, case.log_loss),
        ] {
            assert_eq!(printed(ours), printed(theirs), "{name}, {}", case.dtype);
        }
    }
}

#[test]
fn logistic_regression_has_the_same_optimum() {
    for case in cases().logistic {
        let settings = LogisticSettings { c: case.c, tolerance: 1e-7, iterations: 10_000 };
        let samples = samples(&case.x, &case.labels);
        let (model, done) = Logistic::fit(&team(), &samples, &settings, |_| Continue(())).unwrap();
        assert!(matches!(done.ended, Ended::Converged | Ended::AtRounding), "{done:?}");
        let ours = model.probabilities(&team(), &samples).unwrap();
        for (ours, theirs) in ours.iter().zip(case.probabilities.concat()) {
            assert!((ours - theirs).abs() < 1e-4, "C = {}: {ours} {theirs}", case.c);
        }
        let column = |class: usize| model.weights().iter().skip(class).step_by(case.classes);
        let difference = || column(1).zip(column(0)).map(|(a, b)| f64::from(a - b)).collect();
        for (class, theirs) in case.coefficients.iter().enumerate() {
            // With two classes scikit-learn has the weights of their difference alone.
            let ours: Vec<f64> = match case.classes {
                2 => difference(),
                _ => column(class).map(|&w| f64::from(w)).collect(),
            };
            for (ours, theirs) in ours.iter().zip(theirs) {
                assert!((ours - theirs).abs() < 1e-3, "C = {}: {ours} {theirs}", case.c);
            }
        }
    }
}

#[test]
fn neighbours_vote_the_same() {
    for case in cases().neighbours {
        let train = samples(&case.x, &case.labels);
        let queries = samples(&case.queries, &vec![0; case.queries.len()]);
        let shares =
            Neighbours::fit(&train, case.k).unwrap().probabilities(&team(), &queries).unwrap();
        let theirs = case.probabilities.concat();
        assert!(shares.iter().zip(&theirs).all(|(a, b)| (a - b).abs() < 1e-9), "{}", case.k);
        assert_eq!(most_probable(&shares, case.classes), case.predicted);
    }
}
