//! The judge on scripted workers: what it concludes from given timings, to the exit code and the JSON document.

use super::document::Names;
use super::judge::Check;
use super::margin::Margins;
use super::report::{Outcome, Report};
use super::row::Row;
use super::verdict::Verdict;
use crate::code::Code;
use crate::program::{Link, SAMPLE_LIMIT, Side, Worker};
use crate::protocol::{
    Benchmark, Explained, Limit, PROTOCOL, Prepared, Reply, Request, Sampled, Size, Spots, Timed,
    Work,
};
use crate::suite::{Selection, sentinels};
use glob::Pattern;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::HashMap;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;
use threadcount::{Error, Result};

/// Seconds of the n-th sample of a benchmark, whichever process takes it.
pub type Script = fn(&str, usize) -> f64;

/// A side whose workers answer from a script.
#[derive(Clone)]
pub struct Scripted {
    role: &'static str,
    pub names: Vec<String>,
    script: Script,
    /// How many orders of functions there are besides its own, and how many times as long each takes.
    pub orders: (usize, fn(usize) -> f64),
    /// Where the time of a benchmark goes, if its workers tell.
    pub explained: Option<fn(&str) -> Explained>,
    /// The code of its functions.
    pub code: Option<Code>,
    taken: Rc<RefCell<HashMap<String, usize>>>,
}

struct Answers {
    side: Scripted,
    order: usize,
    asked: Option<Request>,
    name: String,
}

impl Scripted {
    pub fn new(role: &'static str, names: &[&str], script: Script) -> Self {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        let (orders, explained, code) = ((0, (|_| 1.0) as fn(usize) -> f64), None, None);
        Self { role, names, script, orders, explained, code, taken: Rc::default() }
    }
}

impl Side for Scripted {
    fn start(&self, order: usize) -> Result<Worker> {
        let link = Answers { side: self.clone(), order, asked: None, name: String::new() };
        Worker::new(self.role, Box::new(link), SAMPLE_LIMIT)
    }

    fn orders(&self) -> usize {
        self.orders.0
    }

    /// Addresses are names.
    fn functions(&self, _order: usize, spots: &Spots) -> Result<Vec<Timed>> {
        let all: u32 = spots.met.iter().map(|(_, count)| count).sum();
        let each = spots.seconds / f64::from(all.max(1));
        let timed = |&(at, count): &(u64, u32)| Timed {
            name: format!("f{at}"),
            seconds: each * f64::from(count),
        };
        Ok(spots.met.iter().map(timed).collect())
    }

    fn code(&self) -> Option<Code> {
        self.code.clone()
    }
}

impl Link for Answers {
    fn say(&mut self, request: &Request) -> Result<()> {
        self.asked = Some(request.clone());
        Ok(())
    }

    fn hear(&mut self, _within: Duration) -> Result<Reply> {
        Ok(match self.asked.take() {
            None => Reply::Ready {
                protocol: PROTOCOL,
                names: self.side.names.clone(),
                listed: None,
                explains: self.side.explained.is_some(),
            },
            Some(Request::Prepare { benchmark, .. })
                if !self.side.names.contains(&benchmark.name) =>
            {
                Reply::Failed { fault: "no such benchmark".into() }
            }
            Some(Request::Prepare { benchmark, .. }) => {
                self.name = benchmark.name;
                let size = Size { timings: 1, runs: 1 };
                let work = Work { flops: 1.0, bytes: 1.0, limit: Limit::Fma };
                Reply::Prepared(Prepared { size, work, images: None })
            }
            Some(Request::Explain { .. }) => {
                let explained = self.side.explained.expect("asked only if it can");
                Reply::Explained(explained(&self.name))
            }
            Some(Request::Sample { .. }) => {
                let mut taken = self.side.taken.borrow_mut();
                let n = taken.entry(self.name.clone()).or_default();
                let longer = (self.side.orders.1)(self.order);
                let seconds = (self.side.script)(&self.name, *n) * longer;
                *n += 1;
                // A share of a half at a millisecond.
                Reply::Sampled(Sampled { seconds, share_of_limit: Some(0.5e-3 / seconds) })
            }
        })
    }
}

fn steady(_: &str, _: usize) -> f64 {
    1e-3
}

/// One thread of the instruction set that every machine has.
pub fn selection() -> Selection {
    Selection { threads: vec![1], isa: vec!["portable".into()], ..Selection::default() }
}

/// What comes out for benchmarks that both have, of which the base takes a millisecond each.
fn judged(names: &[&str], head: Script) -> Report {
    let (base, head) = (Scripted::new("base", names, steady), Scripted::new("head", names, head));
    compare(&base, &head, &[]).unwrap()
}

fn compare(base: &Scripted, head: &Scripted, may_go: &[Pattern]) -> Result<Report> {
    let (selection, margins) = (selection(), Margins::default());
    let benchmarks = selection.among(&head.names)?;
    let check = Check {
        base,
        head,
        anchor: None,
        benchmarks: &benchmarks,
        sentinels: &sentinels(&selection.conditions()?),
        selection: &selection,
        may_go,
        margins: &margins,
        seed: 1,
    };
    check.run()
}

fn names() -> Names {
    Names { base: "x (1)".into(), head: "y".into(), anchor: None }
}

/// The verdict beside the base, and from how many pairs.
fn judgement(row: &Row) -> (Verdict, usize) {
    (row.since_base.verdict, row.since_base.pairs)
}

fn assert_outcome(report: &Report, outcome: Outcome, code: u8) {
    assert_eq!(report.outcome(), outcome);
    let [found, expected] = [report.outcome().exit_code(), ExitCode::from(code)];
    assert_eq!(format!("{found:?}"), format!("{expected:?}"));
}

#[test]
fn slower_fails_and_faster_passes() {
    let report = judged(&["a", "b"], |name, _| if name == "b" { 1.1e-3 } else { 1e-3 });
    assert_outcome(&report, Outcome::Regressed, 1);
    let verdicts: Vec<Verdict> = report.rows.iter().map(|row| row.since_base.verdict).collect();
    assert_eq!(verdicts, [Verdict::Unchanged, Verdict::Regressed]);
    assert!(report.text(&names()).ends_with("REGRESSED\n"));

    let report = judged(&["a", "b"], |name, _| if name == "b" { 0.9e-3 } else { 1e-3 });
    assert_outcome(&report, Outcome::Passed, 0);
    assert_eq!(report.rows[1].since_base.verdict, Verdict::Improved);
    assert!(report.rows[1].since_base.change.median < 0.0);
}

/// Numbers are compared to nine digits.
fn assert_near(found: &Value, expected: &Value) {
    match (found, expected) {
        (Value::Array(found), Value::Array(expected)) if found.len() == expected.len() => {
            found.iter().zip(expected).for_each(|(found, expected)| assert_near(found, expected));
        }
        (Value::Object(found), Value::Object(expected)) => {
            assert!(found.keys().eq(expected.keys()), "{found:?}, {expected:?}");
            found.iter().for_each(|(key, found)| assert_near(found, &expected[key]));
        }
        (Value::Number(found), Value::Number(expected)) => {
            let [found, expected] = [found, expected].map(|number| number.as_f64().unwrap());
            assert!((found - expected).abs() < 1e-9, "{found}, {expected}");
        }
        _ => assert_eq!(found, expected),
    }
}

#[test]
fn the_document_holds_it_all() {
    let base = Scripted::new("base", &["a", "old", "meant"], steady);
    let head = Scripted::new("head", &["a", "young"], |_, n| {
        [1.09e-3, 1.09e-3, 1.1e-3, 1.11e-3, 1.11e-3][n % 5]
    });
    let report = compare(&base, &head, &[Pattern::new("mea*").unwrap()]).unwrap();
    let mut document: Value = serde_json::from_str(&report.json(&names()).unwrap()).unwrap();
    let machine = document.as_object_mut().unwrap().remove("machine").unwrap();
    assert!(machine["cpu"].is_string());
    let named = |name: &str| json!({"name": name, "isa": "portable", "threads": 1});
    let expected = json!({
        "base": "x (1)", "head": "y", "anchor": null, "outcome": "regressed", "noise": [],
        "benchmarks": [{
            "name": "a", "isa": "portable", "threads": 1,
            "base_seconds": 1e-3, "head_seconds": 1.1e-3,
            "change_percent": 10.0, "low_percent": 9.0, "high_percent": 11.0, "margin_percent": 2.0,
            "verdict": "regressed", "pairs": 64,
            "base_percent_of_limit": 50.0, "head_percent_of_limit": 50.0 / 1.1,
            "since_anchor": null, "why": null,
        }],
        "new": [named("young")], "gone": [named("old")], "gone_as_meant": [named("meant")],
    });
    assert_near(&document, &expected);
}

/// Of the second pass 20 pairs in 64 find nothing: a probability of 0.4 %, too much for one test in a hundred.
fn doubtful(name: &str, n: usize) -> f64 {
    let again = n.checked_sub(16);
    let finds_nothing = again.is_some_and(|again| again % 3 == 0 && again < 60);
    if name == "b0" && !finds_nothing { 1.05e-3 } else { 1e-3 }
}

#[test]
fn the_whole_suite_counts_and_not_the_suspects_alone() {
    let names: Vec<String> = (0..100).map(|i| format!("b{i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let report = judged(&names, doubtful);
    assert_eq!(judgement(&report.rows[0]), (Verdict::Inconclusive, 64));
    assert_outcome(&report, Outcome::Passed, 0);
    assert_outcome(&judged(&names[..1], doubtful), Outcome::Regressed, 1);
}

#[test]
fn what_only_leans_is_measured_again() {
    // 32 pairs of which 12 find nothing, and then only such that find something.
    let report = judged(&["a"], |_, n| if n < 32 && n % 8 < 3 { 1e-3 } else { 1.05e-3 });
    assert_outcome(&report, Outcome::Regressed, 1);
    assert_eq!(report.rows[0].since_base.pairs, 64);
}

#[test]
fn a_suite_that_says_little_does_not_pass() {
    let wide: Script = |name, n| match (name, n % 2) {
        ("quiet", _) => 1e-3,
        (_, 0) => 0.9e-3,
        _ => 1.1e-3,
    };
    assert_outcome(&judged(&["a", "b", "quiet"], wide), Outcome::TooNoisy, 4);
    assert_outcome(&judged(&["a", "quiet", "quiet"], wide), Outcome::Passed, 0);
}

/// What comes out where both have four orders of functions, in which the head takes so many times as long.
fn ordered(longer: fn(usize) -> f64) -> Report {
    let base = Scripted { orders: (4, |_| 1.0), ..Scripted::new("base", &["a"], steady) };
    let head = Scripted { orders: (4, longer), ..Scripted::new("head", &["a"], steady) };
    compare(&base, &head, &[]).unwrap()
}

#[test]
fn what_only_some_orders_of_functions_show_accuses_nobody() {
    assert_outcome(&ordered(|_| 1.1), Outcome::Regressed, 1);
    // As it was built, and nowhere else.
    let report = ordered(|order| if order == 0 { 1.1 } else { 1.0 });
    assert_eq!(judgement(&report.rows[0]), (Verdict::Unchanged, 64));
    let slow_but_in: [fn(usize) -> f64; 4] = [
        |order| if order == 1 { 1.0 } else { 1.1 },
        |order| if order == 2 { 1.0 } else { 1.1 },
        |order| if order == 3 { 1.0 } else { 1.1 },
        |order| if order == 4 { 1.0 } else { 1.1 },
    ];
    for longer in slow_but_in {
        assert_eq!(judgement(&ordered(longer).rows[0]).0, Verdict::Inconclusive);
    }
}

/// The base against itself, three times, and nothing else.
#[test]
fn a_noisy_machine_is_not_asked_further() {
    let name = crate::suite::SENTINELS[0];
    let noise: Script = |_, n| if n % 3 == 0 { 2e-3 } else { 1e-3 };
    let base = Scripted::new("base", &[name], noise);
    let report = compare(&base, &Scripted::new("head", &[name], steady), &[]).unwrap();
    assert_outcome(&report, Outcome::TooNoisy, 4);
    assert!(report.rows.is_empty() && report.noise.len() == 1);
}

#[test]
fn what_has_gone_does_not_pass_unless_it_is_meant() {
    let base = Scripted::new("base", &["a", "old"], steady);
    let head = Scripted::new("head", &["a"], steady);
    let report = compare(&base, &head, &[]).unwrap();
    assert_outcome(&report, Outcome::Gone, 1);
    assert!(report.text(&names()).contains("GONE, in the base only: old on 1 thread of portable."));
    let report = compare(&base, &head, &[Pattern::new("o*").unwrap()]).unwrap();
    assert_outcome(&report, Outcome::Passed, 0);
    let report = compare(&head, &base, &[]).unwrap();
    assert_eq!((report.new[0].name.as_str(), report.gone.len()), ("old", 0));
    assert_outcome(&report, Outcome::Passed, 0);
}

fn ready(protocol: u32) -> Reply {
    Reply::Ready { protocol, names: Vec::new(), listed: None, explains: false }
}

#[test]
fn an_older_protocol_is_told() {
    struct Old;
    impl Link for Old {
        fn say(&mut self, _: &Request) -> Result<()> {
            Ok(())
        }

        fn hear(&mut self, _: Duration) -> Result<Reply> {
            Ok(ready(PROTOCOL - 1))
        }
    }
    let error = Worker::new("base", Box::new(Old), SAMPLE_LIMIT).err().unwrap().to_string();
    assert!(error.contains("the base's worker") && error.contains("newer base"), "{error}");
}

#[test]
fn a_fault_names_the_benchmark() {
    struct Silent(bool);
    impl Link for Silent {
        fn say(&mut self, _: &Request) -> Result<()> {
            Ok(())
        }

        fn hear(&mut self, _: Duration) -> Result<Reply> {
            if std::mem::replace(&mut self.0, false) {
                return Ok(ready(PROTOCOL));
            }
            Err(Error::Failed("silence".into()))
        }
    }
    let mut worker = Worker::new("head", Box::new(Silent(true)), SAMPLE_LIMIT).unwrap();
    let benchmark = Benchmark { name: "a".into(), isa: "avx2".into(), threads: 2 };
    let error = worker.samples(&benchmark, 1).unwrap_err().to_string();
    assert_eq!(error, "a on 2 threads of avx2: silence");
}
