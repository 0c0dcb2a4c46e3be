//! Linear models and measures of regression against scikit-learn's, on small committed tables.
//! `golden/make_tables.py` made the figures.

use serde_json::Value;
use std::path::PathBuf;
use threadcount::evaluate::Regression;
use threadcount::kernels::{Isa, Team};
use threadcount::tables::models::Affine;
use threadcount::tables::{Design, Encoding, Gram, ReadOptions, Table};

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn expected() -> Value {
    serde_json::from_str(&std::fs::read_to_string(golden("tables.json")).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

/// The largest distance, relative to the largest expected number.
fn distance(got: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let largest = expected.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
    got.iter().zip(expected).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max) / largest
}

fn figures(of: &Regression) -> [(&'static str, f64); 4] {
    let r2 = of.r2.expect("several samples");
    [("mse", of.mse), ("rmse", of.rmse), ("mae", of.mae), ("r2", r2)]
}

fn check_measures(got: &Regression, expected: &Value, tolerance: f64) {
    for (name, figure) in figures(got) {
        let expected = expected[name].as_f64().unwrap();
        let off = (figure - expected).abs();
        assert!(off <= tolerance * expected.abs().max(1.0), "{name}: {figure}, not {expected}");
    }
}

#[test]
fn measures_are_scikit_learns() {
    let cases = expected();
    let cases = cases["measures"].as_array().unwrap();
    assert!(cases.len() >= 4);
    for case in cases {
        let [targets, predictions] = ["targets", "predictions"].map(|name| numbers(&case[name]));
        let measured = Regression::measure(&targets, &predictions);
        check_measures(&measured, case, 1e-12);
        // As both print them.
        let printed = |x: f64| format!("{x:.4}");
        for (name, figure) in figures(&measured) {
            assert_eq!(printed(figure), printed(case[name].as_f64().unwrap()), "{name}");
        }
    }
}

#[test]
fn linear_models_are_scikit_learns() {
    let cases = expected();
    let cases = cases["tables"].as_object().unwrap();
    assert!(cases.len() >= 5);
    let team = Team::solo(Isa::best());
    for (name, case) in cases {
        let path = golden(&format!("tables/{name}.csv"));
        let table = Table::read(&path, "y", &ReadOptions::default()).unwrap();
        let rows: Vec<u32> = (0..table.values.len() as u32).collect();
        let encoding = Encoding::fit(&table, &rows).unwrap();
        let design = Design::new(&encoding, &table, &rows).unwrap();
        let gram = Gram::new(&team, &design, &table.values);
        let models = [
            ("linear", Affine::least_squares(&gram).unwrap()),
            ("ridge", Affine::ridge(&gram, 1.0).unwrap()),
        ];
        for (kind, model) in models {
            let case = &case[kind];
            let weights = distance(&model.weights, &numbers(&case["weights"]));
            assert!(weights < 1e-6, "{name} {kind}: weights off by {weights}");
            let intercept = case["intercept"].as_f64().unwrap();
            assert!((model.intercept / intercept - 1.0).abs() < 1e-6, "{name} {kind}");
            let predictions = model.predict(&team, &design).unwrap();
            let off = distance(&predictions, &numbers(&case["predictions"]));
            assert!(off < 1e-8, "{name} {kind}: predictions off by {off}");
            check_measures(&Regression::measure(&table.values, &predictions), case, 1e-6);
        }
    }
}
