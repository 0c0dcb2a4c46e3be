//! The judge on scripted workers that can say where their time goes.

use super::decay::compared;
use super::document::Names;
use super::report::Report;
use super::scripted::{Script, Scripted};
use crate::code::Code;
use crate::protocol::{Explained, Spots, Timed};
use serde_json::{Value, json};

fn explained(dx: f64, spots: &[(u64, u32)]) -> Explained {
    let timed = |name: &str, seconds| Timed { name: name.into(), seconds };
    let phases = vec![timed("dense dx", dx), timed("dense dw", 5e-4)];
    let all: u32 = spots.iter().map(|(_, count)| count).sum();
    let seconds = 1e-5 * f64::from(all);
    Explained { phases, spots: Spots { seconds, met: spots.to_vec(), elsewhere: 0 } }
}

/// Function 1 takes 50 of 100, and in the head 60; function 2 the rest.
fn side(role: &'static str, script: Script, functions: &str) -> Scripted {
    let told: fn(&str) -> Explained = match role {
        "head" => |_| explained(6e-4, &[(1, 60), (2, 50)]),
        _ => |_| explained(5e-4, &[(1, 50), (2, 50)]),
    };
    let mut side = Scripted::new(role, &["a", "b"], script);
    (side.explained, side.code) = (Some(told), Some(Code::parse(functions)));
    side
}

fn slow_a(name: &str, _: usize) -> f64 {
    if name == "a" { 1.1e-3 } else { 1e-3 }
}

fn steady(_: &str, _: usize) -> f64 {
    1e-3
}

fn told(report: &Report) -> (String, Value) {
    let names = Names { base: "x".into(), head: "y".into(), anchor: None };
    (report.text(&names), serde_json::from_str(&report.json(&names).unwrap()).unwrap())
}

#[test]
fn a_regression_names_its_phase_and_its_functions() {
    let base = side("base", steady, "01 f1\n02 f2\n");
    let head = side("head", slow_a, "99 f1\n02 f2\n");
    let (text, document) = told(&compared(&base, &head, &side("anchor", steady, "")));
    let why = "Why a on 1 thread of portable:\n\
               - phase dense dx: 500.0 -> 600.0 us\n\
               - function f1: 500.0 -> 600.0 us, OTHER CODE\n\
               - some of the code that it spends its time in is another\n";
    assert!(text.contains(why), "{text}");
    // Only what has become slower is asked.
    assert_eq!(text.matches("Why ").count(), 1, "{text}");
    let near = |value: &Value, expected: f64| {
        assert!((value.as_f64().unwrap() - expected).abs() < 1e-12, "{value}");
    };
    let why = &document["benchmarks"][0]["why"];
    for (part, name) in [(&why["phases"][0], "dense dx"), (&why["functions"][0], "f1")] {
        assert_eq!(part["name"], name);
        near(&part["earlier_seconds"], 5e-4);
        near(&part["head_seconds"], 6e-4);
    }
    assert_eq!(
        (&why["has_other_code"], &why["functions"][0]["code"]),
        (&json!(true), &json!("changed"))
    );
    assert_eq!(why["phases"].as_array().unwrap().len(), 1);
    assert_eq!(document["benchmarks"][1]["why"], json!(null));
}

#[test]
fn what_only_lies_elsewhere_is_told() {
    let base = side("base", steady, "01 f1\n02 f2\n");
    let head = side("head", slow_a, "01 f1\n02 f2\n03 f3\n");
    let (text, document) = told(&compared(&base, &head, &side("anchor", steady, "")));
    assert!(text.contains("f1: 500.0 -> 600.0 us, the same code\n"), "{text}");
    assert!(text.contains("only its place"), "{text}");
    assert_eq!(document["benchmarks"][0]["why"]["has_other_code"], false);
}

/// The anchor's code is what a decayed benchmark is compared with, and not the base's, which is the head's.
#[test]
fn what_has_decayed_is_compared_with_the_anchor() {
    let base = side("base", slow_a, "99 f1\n02 f2\n");
    let head = side("head", slow_a, "99 f1\n02 f2\n");
    let anchor = side("anchor", steady, "01 f1\n02 f2\n");
    let (_, document) = told(&compared(&base, &head, &anchor));
    assert_eq!(document["outcome"], "decayed");
    assert_eq!(document["benchmarks"][0]["why"]["has_other_code"], true);
}

#[test]
fn a_base_that_cannot_tell_is_not_asked() {
    let base = Scripted::new("base", &["a", "b"], steady);
    let head = side("head", slow_a, "");
    let (text, document) = told(&compared(&base, &head, &side("anchor", steady, "")));
    assert_eq!(
        (&document["outcome"], &document["benchmarks"][0]["why"]),
        (&json!("regressed"), &json!(null))
    );
    assert!(!text.contains("Why "), "{text}");
}
