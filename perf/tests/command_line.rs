//! The program from outside: its commands, and a worker as a runner sees it.

use assert_cmd::Command;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::{contains, is_empty, starts_with};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use tempfile::TempDir;

const KERNEL: &str = "dense-forward 784x40, batch 64";

fn perf(args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("threadcount-perf").unwrap();
    command.args(args).env_remove("THREADCOUNT_DATA");
    command
}

/// A worker, asked line by line.
struct Worker {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Worker {
    fn start(args: &[&str]) -> Self {
        let program = assert_cmd::cargo::cargo_bin!("threadcount-perf");
        let mut command = std::process::Command::new(program);
        command.arg("worker").args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut worker = Self { child, stdin, stdout: BufReader::new(stdout) };
        let ready = worker.hear();
        assert_eq!(ready["Ready"]["protocol"], 1);
        let names = ready["Ready"]["names"].as_array().unwrap();
        assert!(names.contains(&json!(KERNEL)) && names.contains(&json!("step nlp-rnn")));
        worker
    }

    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"))
    }

    fn ask(&mut self, request: &Value) -> Value {
        writeln!(self.stdin, "{request}").unwrap();
        self.hear()
    }

    fn prepare(&mut self, name: &str, isa: &str) -> Value {
        let benchmark = json!({"name": name, "isa": isa, "threads": 1});
        self.ask(&json!({"Prepare": {"benchmark": benchmark, "twin": "Compared"}}))
    }

    fn seconds(&mut self, size: &Value) -> f64 {
        let sampled = self.ask(&json!({"Sample": {"size": size, "place": 1}}));
        assert!(sampled["Sampled"]["share_of_limit"].as_f64().unwrap() > 0.0, "{sampled}");
        sampled["Sampled"]["seconds"].as_f64().unwrap()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_worker_times_what_it_is_asked_for() {
    let mut worker = Worker::start(&[]);
    for isa in threadcount_kernels::Isa::detected() {
        for name in [KERNEL, "relu-forward 64 x 50176", "step colman-scratch"] {
            let prepared = worker.prepare(name, isa.name());
            let prepared = &prepared["Prepared"];
            assert!(prepared["work"]["flops"].as_f64().unwrap() > 0.0, "{name}: {prepared}");
            assert_eq!(prepared["images"].is_number(), name.starts_with("step "));
            assert!(worker.seconds(&prepared["size"]) > 0.0);
        }
    }
}

#[test]
fn a_worker_says_what_is_wrong_and_lives_on() {
    let mut worker = Worker::start(&[]);
    let fault = |reply: &Value| reply["Failed"]["fault"].as_str().unwrap_or_default().to_owned();
    let sample = json!({"Sample": {"size": {"timings": 1, "runs": 1}, "place": 0}});
    assert!(fault(&worker.ask(&sample)).contains("nothing"));
    assert!(fault(&worker.prepare("gemm 0x0", "portable")).contains("'gemm 0x0'"));
    assert!(fault(&worker.prepare(KERNEL, "mmx")).contains("mmx"));
    assert!(fault(&worker.prepare("step biu-bas", "portable")).contains("biu-base"));
    assert!(worker.prepare(KERNEL, "portable")["Prepared"].is_object());
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn a_worker_says_where_its_time_goes() {
    let mut worker = Worker::start(&[]);
    let isa = threadcount_kernels::Isa::best().name();
    let explain = json!({"Explain": {"seconds": 0.1, "place": 0}});
    for (name, has_phases) in [("step colman-scratch", true), (KERNEL, false)] {
        assert!(worker.prepare(name, isa)["Prepared"].is_object());
        let explained = worker.ask(&explain)["Explained"].clone();
        let phases: Vec<&str> = explained["phases"]
            .as_array()
            .unwrap()
            .iter()
            .map(|phase| phase["name"].as_str().unwrap())
            .collect();
        assert_eq!(phases.last() == Some(&"rest"), has_phases, "{phases:?}");
        assert_eq!(phases.iter().any(|name| name.contains("forward")), has_phases, "{phases:?}");
        assert!(!explained["spots"]["met"].as_array().unwrap().is_empty(), "{explained}");
        assert!(explained["spots"]["seconds"].as_f64().unwrap() > 0.0);
        // It goes on as before.
        let run = worker.seconds(&json!({"timings": 1, "runs": 100}));
        // A run of the step is many steps of one sample, and phases are those of a run.
        let timed = explained["phases"].as_array().unwrap().iter();
        let sum: f64 = timed.map(|phase| phase["seconds"].as_f64().unwrap()).sum();
        assert!(!has_phases || (0.1..10.0).contains(&(sum / run)), "{run}: {explained}");
    }
}

/// Half of the units are dead, and the step is still that of its twin.
#[test]
fn a_worn_network_is_timed() {
    let mut worker = Worker::start(&[]);
    let isa = threadcount_kernels::Isa::best().name();
    for name in ["step biu-base, worn", "step cse574-one-hidden, worn"] {
        let prepared = worker.prepare(name, isa);
        assert!(prepared["Prepared"].is_object(), "{prepared}");
        assert!(worker.seconds(&json!({"timings": 1, "runs": 1})) > 0.0);
    }
    assert!(worker.prepare("step nlp-rnn, worn", isa)["Prepared"].is_object());
    assert!(worker.prepare("step biu-base, torn", isa)["Failed"].is_object());
}

/// A share of 1 repeats all runs.
#[test]
fn a_slowdown_is_one() {
    let mut plain = Worker::start(&[]);
    let mut slowed = Worker::start(&["--slowed", KERNEL, "--slowdown", "1"]);
    let isa = threadcount_kernels::Isa::best().name();
    let size = plain.prepare(KERNEL, isa)["Prepared"]["size"].clone();
    slowed.prepare(KERNEL, isa);
    let mut ratios: Vec<f64> =
        (0..9).map(|_| slowed.seconds(&size) / plain.seconds(&size)).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    assert!((1.5..2.7).contains(&ratios[4]), "{ratios:?}");
}

#[test]
fn the_list_is_what_globs_pick() {
    let names = ["256x256x256", "512x512x512", "512x512x512, f32-split", "512x512x512, bf16"];
    let lines = names.map(|name| format!("gemm {name} on 1 thread of portable\n")).concat();
    let args = ["list", "--only", "gemm 256*", "--only", "gemm 5*", "--threads", "1"];
    perf(&args).args(["--isa", "portable"]).assert().success().stdout(lines).stderr(is_empty());
    perf(&["list", "--only", "nothing"]).assert().code(2).stderr(contains("cargo perf list"));
    perf(&["list", "--threads", "0"]).assert().code(2);
    perf(&["check", "--margin", "x"]).assert().code(2).stderr(contains("is no margin"));
    perf(&["check", "--only", "nothing"]).assert().code(2);
    perf(&["frobnicate"]).assert().code(2);
}

#[test]
fn the_roofline_is_a_picture() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("roof.svg");
    let args = ["roofline", "--only", "gemm 256*", "--only", "step colman*", "--threads", "1"];
    let table = starts_with("| benchmark").and(contains("| step colman-scratch"));
    perf(&args).arg("--out").arg(&file).assert().success().stdout(table);
    let svg = std::fs::read_to_string(file).unwrap();
    assert!(svg.contains("colman-scratch") && svg.contains("GB/s") && svg.contains("</svg>"));
}

#[test]
fn a_check_needs_revisions() {
    let folder = TempDir::new().unwrap();
    let outside = |args: &[&str]| perf(args).current_dir(&folder).assert();
    outside(&["check"]).code(1).stderr(contains("needs a git repository"));
    outside(&["history", "--folder", "here"]).code(1).stderr(contains("cargo perf record"));
}
