//! The judge on scripted workers where there is an anchor.

use super::document::Names;
use super::judge::Check;
use super::margin::Margins;
use super::report::{Outcome, Report};
use super::scripted::{Script, Scripted, selection};
use super::verdict::Verdict;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Base, head and anchor, each with the benchmarks that it has.
pub fn compared(base: &Scripted, head: &Scripted, anchor: &Scripted) -> Report {
    let (selection, margins) = (selection(), Margins::default());
    let check = Check {
        base,
        head,
        anchor: Some(anchor),
        benchmarks: &selection.among(&head.names).unwrap(),
        sentinels: &[],
        selection: &selection,
        may_go: &[],
        margins: &margins,
        seed: 3,
    };
    check.run().unwrap()
}

/// One benchmark, of which base, head and anchor take so long.
fn judged(base: Script, head: Script, anchor: Script) -> Report {
    let side = |role, script: Script| Scripted::new(role, &["a"], script);
    compared(&side("base", base), &side("head", head), &side("anchor", anchor))
}

fn names() -> Names {
    Names { base: "x".into(), head: "y".into(), anchor: Some("the anchor (z)".into()) }
}

#[test]
fn a_small_step_decays_with_those_before() {
    let report = judged(|_, _| 1.09e-3, |_, _| 1.1e-3, |_, _| 1e-3);
    let row = &report.rows[0];
    let since = row.since_anchor.as_ref().unwrap();
    assert_eq!((row.since_base.verdict, since.verdict), (Verdict::Unchanged, Verdict::Regressed));
    // Only what was suspected was judged again.
    assert_eq!((row.since_base.pairs, since.pairs), (16, 64));
    assert_eq!(report.outcome(), Outcome::Decayed);
    let [found, expected] = [report.outcome().exit_code(), ExitCode::FAILURE];
    assert_eq!(format!("{found:?}"), format!("{expected:?}"));
    let text = report.text(&names());
    let said = "SLOWER SINCE THE ANCHOR: a on 1 thread of portable: +10.0 % (+10.0 to +10.0 %), margin 4.0 %.";
    assert!(text.contains(said) && text.contains("DECAYED since the anchor"), "{text}");
    assert!(text.starts_with("x -> y, since the anchor (z) too\n"), "{text}");
    let document: Value = serde_json::from_str(&report.json(&names()).unwrap()).unwrap();
    assert_eq!(
        (&document["outcome"], &document["anchor"]),
        (&json!("decayed"), &json!("the anchor (z)"))
    );
    let found = &document["benchmarks"][0];
    assert_eq!((&found["verdict"], &found["pairs"]), (&json!("unchanged"), &json!(16)));
    let since = &found["since_anchor"];
    assert_eq!(since["anchor_seconds"], json!(1e-3));
    assert_eq!(since["change_percent"].as_f64().unwrap().round(), 10.0);
    assert_eq!((&since["margin_percent"], &since["pairs"]), (&json!(4.0), &json!(64)));
    assert_eq!(since["verdict"], "regressed");
}

#[test]
fn what_has_regressed_since_the_base_is_told_first() {
    let report = judged(|_, _| 1e-3, |_, _| 1.1e-3, |_, _| 1e-3);
    assert_eq!(report.outcome(), Outcome::Regressed);
    assert_eq!(report.decayed().count(), 1);
}

/// It does not wait for what was gained long ago, check after check.
#[test]
fn what_is_faster_since_the_anchor_passes_at_once() {
    let report = judged(|_, _| 1e-3, |_, _| 1e-3, |_, _| 1.5e-3);
    let row = &report.rows[0];
    assert_eq!((row.since_base.pairs, row.since_anchor.as_ref().unwrap().pairs), (8, 8));
    assert_eq!(report.outcome(), Outcome::Passed);
    let since = row.since_anchor.as_ref().unwrap();
    assert!((since.change.median + 1.0 / 3.0).abs() < 1e-12);
}

/// The anchor's own margin is wider than the base's, and it is not the wider of both that counts for the base.
#[test]
fn each_has_its_own_margin() {
    let report = judged(|_, _| 1e-3, |_, _| 1.03e-3, |_, _| 1e-3);
    let row = &report.rows[0];
    assert_eq!(row.since_base.verdict, Verdict::Regressed);
    assert_eq!(row.since_anchor.as_ref().unwrap().verdict, Verdict::Unchanged);
}

#[test]
fn what_the_anchor_does_not_have_is_compared_with_the_base_alone() {
    let steady: Script = |_, _| 1e-3;
    let both = |role| Scripted::new(role, &["a", "new"], steady);
    let anchor = Scripted::new("anchor", &["a", "old"], steady);
    let report = compared(&both("base"), &both("head"), &anchor);
    let has: Vec<bool> = report.rows.iter().map(|row| row.since_anchor.is_some()).collect();
    assert_eq!((has, report.outcome()), (vec![true, false], Outcome::Passed));
    // What has gone since the anchor has gone with a base of its time.
    assert!(report.gone.is_empty());
}

/// In one of the anchor's orders it takes as long as the head: then that is the order's doing.
#[test]
fn the_anchors_orders_count() {
    let side = |role, script: Script, longer: fn(usize) -> f64| {
        let mut side = Scripted::new(role, &["a"], script);
        side.orders = (4, longer);
        side
    };
    let judged = |longer: fn(usize) -> f64| {
        let slow: Script = |_, _| 1.1e-3;
        let (base, head) = (side("base", slow, |_| 1.0), side("head", slow, |_| 1.0));
        compared(&base, &head, &side("anchor", |_, _| 1e-3, longer)).outcome()
    };
    assert_eq!(judged(|_| 1.0), Outcome::Decayed);
    assert_eq!(judged(|order| if order == 3 { 1.1 } else { 1.0 }), Outcome::Passed);
}

/// Of 64 pairs 20 or 21 find nothing: probabilities of 0.4 and 0.9 %. With two comparisons each is held against 0.5.
#[test]
fn all_comparisons_are_corrected_together() {
    let verdict = |head: Script| {
        let report = judged(|_, _| 1.09e-3, head, |_, _| 1e-3);
        report.rows[0].since_anchor.as_ref().unwrap().verdict
    };
    assert_eq!(
        verdict(|_, n| if n >= 16 && (n - 16) % 3 == 0 && n < 76 { 1e-3 } else { 1.1e-3 }),
        Verdict::Regressed
    );
    assert_eq!(
        verdict(|_, n| if n >= 16 && (n - 16) % 3 == 0 && n < 79 { 1e-3 } else { 1.1e-3 }),
        Verdict::Inconclusive
    );
}

/// So long, times the noise of a sample: a per cent up or down, the same for the same number of the same benchmark.
fn noisy(seconds: f64, role: u64, name: &str, n: usize) -> f64 {
    let seed = name.bytes().fold(role, |seed, byte| 257 * seed + u64::from(byte));
    let mut rng = ChaCha8Rng::seed_from_u64(100_003 * seed + n as u64);
    seconds * (0.02 * (rng.random::<f64>() - 0.5)).exp()
}

/// The name is the number of steps of one per cent since the anchor.
fn after(steps: &str) -> f64 {
    1e-3 * 1.01_f64.powi(steps.parse().unwrap())
}

#[test]
fn ten_steps_of_one_per_cent_raise_an_alarm() {
    let outcome = |step: usize| {
        let name = step.to_string();
        let side = |role, script: Script| Scripted::new(role, &[&name], script);
        let base = side("base", |name, n| noisy(after(name) / 1.01, 1, name, n));
        let head = side("head", |name, n| noisy(after(name), 2, name, n));
        compared(&base, &head, &side("anchor", |name, n| noisy(1e-3, 3, name, n))).outcome()
    };
    let outcomes: Vec<Outcome> = (1..=10).map(outcome).collect();
    // One by one they pass; from the fifth on they are too many.
    assert_eq!(outcomes[..3], [Outcome::Passed; 3], "{outcomes:?}");
    assert_eq!(outcomes[5..], [Outcome::Decayed; 5], "{outcomes:?}");
}

#[test]
fn without_steps_there_is_no_alarm() {
    let names: Vec<String> = (0..60).map(|series| series.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let side = |role, script: Script| Scripted::new(role, &names, script);
    let base = side("base", |name, n| noisy(1e-3, 1, name, n));
    let head = side("head", |name, n| noisy(1e-3, 2, name, n));
    let report = compared(&base, &head, &side("anchor", |name, n| noisy(1e-3, 3, name, n)));
    assert_eq!((report.outcome(), report.rows.len()), (Outcome::Passed, 60));
}
