//! The log of runs, and `threadcount runs`: every run is found again, whatever became of it and however many
//! processes write at once.

use crate::common::desk::{DATA, Desk, copy};
#[cfg(unix)]
use crate::common::process;
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;
use std::fs;

/// What `runs` tells of each run, by its name.
fn runs(desk: &Desk, args: &str) -> Vec<Value> {
    let output = desk.run(&format!("runs --json {args}")).assert().success();
    serde_json::from_slice(&output.get_output().stdout).unwrap()
}

fn names(runs: &[Value]) -> Vec<&str> {
    runs.iter().map(|run| run["run"].as_str().unwrap()).collect()
}

#[test]
fn a_run_is_logged_with_what_came_of_it_and_where_it_is() {
    let desk = Desk::new();
    let said = contains("no runs in runs yet").and(contains("threadcount train biu-relu"));
    desk.run("runs").assert().success().stdout("").stderr(said);
    assert_eq!(runs(&desk, ""), [] as [Value; 0]);
    desk.run("train biu-relu --epochs 2 --seed 5 --batch-size 20").assert().success();
    desk.run("train biu-base --epochs 1 --out elsewhere/here").assert().success();
    let logged = desk.read("runs/index.jsonl");
    assert_eq!(logged.lines().count(), 4, "each began and ended: {logged}");
    let listed = runs(&desk, "--sort run");
    assert_eq!(names(&listed), ["biu-relu", "elsewhere/here"]);
    let record: toml::Table = desk.read("runs/biu-relu/run.toml").parse().unwrap();
    let result = &record["result"];
    let run = &listed[0];
    for (key, value) in [
        ("test_accuracy", &result["test_accuracy"]),
        ("test_loss", &result["test_loss"]),
        ("train_seconds", &result["train_seconds"]),
        ("images_per_second", &result["images_per_second"]),
    ] {
        assert_eq!(run[key].as_f64(), value.as_float(), "{key}");
    }
    let history = desk.read("runs/biu-relu/history.csv");
    let last: Vec<f64> =
        history.lines().last().unwrap().split(',').map(|field| field.parse().unwrap()).collect();
    let names = ["epochs", "accuracy", "loss", "val_accuracy", "val_loss"];
    for (key, value) in names.into_iter().zip(last) {
        assert_eq!(run[key].as_f64(), Some(value), "{key}");
    }
    assert_eq!((&run["seed"], &run["settings"]["batch-size"]), (&5.into(), &20.into()));
    assert_eq!((&run["state"], &run["recipe"]), (&"done".into(), &"biu-relu".into()));
    assert_eq!(run["id"].as_str(), record["id"].as_str());

    // In a table, sorted and filtered.
    let table = contains("| biu-relu       |").and(contains("| elsewhere/here |"));
    let output =
        desk.run("runs --sort test_accuracy").env("COLUMNS", "80").assert().success().stdout(table);
    let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let one = contains("biu-relu").and(contains("elsewhere").not());
    desk.run("runs --filter recipe=biu-relu").assert().success().stdout(one);
    desk.run("runs --filter recipe=nothing")
        .assert()
        .success()
        .stderr(contains("none of the 2 runs"));
    desk.refuses("runs --sort speed", 2, "no run has a 'speed'");
    desk.refuses("runs --filter recipe", 2, "as recipe=nlp-cnn");

    // One of them, by its name, its folder, and the folder elsewhere.
    let shown = || {
        contains("recipe                  biu-relu")
            .and(contains("epochs                  2 of 2"))
            .and(contains("batch-size                             20"))
            .and(contains("| epoch |"))
    };
    desk.run("runs show biu-relu").assert().success().stdout(shown());
    desk.run("runs show runs/biu-relu").assert().success().stdout(shown());
    desk.run("runs show elsewhere/here").assert().success().stdout(contains("biu-base"));
    let output = desk.run("runs show biu-relu --json").assert().success();
    let document: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!(document["history"].as_array().unwrap().len(), 2);
    desk.refuses("runs show nothing", 3, "no run here, nor in runs");
}

#[test]
fn a_log_that_cannot_be_written_is_a_warning() {
    let desk = Desk::new();
    fs::write(desk.path("runs"), "a file").unwrap();
    let said = contains("threadcount: warning: the log of runs has no line about this run");
    desk.run("train biu-base --epochs 1 --out here").assert().success().stderr(said);
    // And one that cannot be read, a warning for the lines that are not.
    fs::remove_file(desk.path("runs")).unwrap();
    desk.run("train biu-base --epochs 1").assert().success();
    let whole = desk.read("runs/index.jsonl");
    fs::write(desk.path("runs/index.jsonl"), whole.clone() + "{\"format\":9}\n" + &whole[..90])
        .unwrap();
    let said =
        contains("runs/index.jsonl: 2 lines skipped, which cannot be read (line 3: format 9");
    desk.run("runs").assert().success().stdout(contains("biu-base")).stderr(said);
}

#[test]
fn runs_that_fail_or_are_older_than_the_log_are_found() {
    let desk = Desk::new();
    desk.run("train biu-relu --learning-rate 1e30").assert().code(1);
    let listed = runs(&desk, "");
    assert_eq!((&listed[0]["state"], &listed[0]["epochs"]), (&"unfinished".into(), &0.into()));
    desk.run("train biu-base --epochs 1").assert().success();
    fs::remove_file(desk.path("runs/index.jsonl")).unwrap();
    copy(&desk.path("runs/biu-base"), &desk.path("runs/copied"));
    fs::create_dir(desk.path("runs/old")).unwrap();
    fs::write(desk.path("runs/old/run.toml"), "recipe = 'x'\n[task]\n").unwrap();
    let listed = runs(&desk, "--sort run");
    assert_eq!(names(&listed), ["biu-base", "biu-relu", "copied", "old"]);
    let states: Vec<_> = listed.iter().map(|run| run["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["done", "unfinished", "done", "damaged"]);
    desk.run("runs").assert().success().stderr(contains("says what is wrong with a damaged run"));
    desk.refuses("runs show old", 3, "train it anew");
    desk.refuses("runs compare biu-base old", 3, "a damaged run");
}

#[test]
fn runs_are_compared_in_a_table_and_a_picture() {
    let desk = Desk::new();
    desk.run("train biu-relu --epochs 2 --out a").assert().success();
    desk.run("train biu-relu --epochs 3 --out b --seed 1 --batch-size 20").assert().success();
    let table = contains("| differs").and(contains("| batch-size")).and(contains("| seed"));
    let table = table.and(contains("| test_accuracy")).and(contains("learning-rate").not());
    let said = contains("their curves are in runs/compare.svg");
    desk.run("runs compare a b").assert().success().stdout(table).stderr(said);
    let svg = desk.read("runs/compare.svg");
    // Two curves in two panels for each epoch.
    assert_eq!(svg.matches("<circle").count(), 4 * (2 + 3));
    desk.run("runs compare a b --plot other.svg --json").assert().success();
    assert_eq!(desk.read("other.svg"), svg);
    let output = desk.run("runs compare a b --json").assert().success();
    let document: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!(document["differences"]["epochs"], serde_json::json!(["2", "3"]));
    assert_eq!(document["runs"][1]["seed"], 1);
    desk.refuses("runs compare a", 2, "2 values required");
    desk.refuses("runs compare a b --plot nowhere/x.svg", 1, "nowhere");
}

#[test]
fn what_is_removed_was_asked_for_and_is_a_run() {
    let desk = Desk::new();
    desk.run("train biu-relu --epochs 1").assert().success();
    desk.run("train biu-relu --epochs 1").assert().success();
    fs::create_dir_all(desk.path("runs/mine")).unwrap();
    fs::write(desk.path("runs/mine/notes.txt"), "").unwrap();
    desk.refuses("runs rm biu-relu", 2, "add --yes");
    desk.refuses("runs rm mine --yes", 3, "no run here");
    desk.refuses("runs rm . --yes", 3, "no run here");
    // All are found before any is removed.
    desk.refuses("runs rm biu-relu nothing --yes", 3, "nothing: no run here");
    assert!(desk.path("runs/biu-relu/model.safetensors").exists());
    assert!(desk.path("runs/mine/notes.txt").exists());
    let said = contains("biu-relu is removed");
    desk.run("runs rm biu-relu --yes").assert().success().stdout("").stderr(said);
    assert!(!desk.path("runs/biu-relu").exists());
    assert_eq!(names(&runs(&desk, "")), ["biu-relu-2"]);
    // Removed by hand, its figures stay until they are removed, too.
    fs::remove_dir_all(desk.path("runs/biu-relu-2")).unwrap();
    assert_eq!(runs(&desk, "")[0]["state"], "gone");
    desk.run("runs show biu-relu-2").assert().success().stdout(contains("gone"));
    desk.run("runs rm biu-relu-2 -y").assert().success().stderr(contains("gone already"));
    assert!(runs(&desk, "").is_empty());
}

/// Twenty processes that end together: every one of their runs is there.
#[test]
fn processes_at_once_lose_no_line() {
    let desk = Desk::new();
    let processes: Vec<_> = (0..20)
        .map(|seed| {
            let args = format!("train biu-base --epochs 1 --threads 1 --seed {seed} --out {seed}");
            let mut command =
                std::process::Command::new(assert_cmd::cargo::cargo_bin!("threadcount"));
            desk.clean(|name| {
                command.env_remove(name);
            });
            command.current_dir(desk.folder()).args(args.split_whitespace());
            command
                .env("THREADCOUNT_CACHE", desk.path("cache"))
                .env("THREADCOUNT_DATA", DATA.path());
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
            command.spawn().unwrap()
        })
        .collect();
    for mut process in processes {
        assert!(process.wait().unwrap().success());
    }
    let logged = desk.read("runs/index.jsonl");
    assert_eq!(logged.lines().count(), 40);
    assert!(logged.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    let listed = runs(&desk, "--sort seed");
    let seeds: Vec<_> = listed.iter().map(|run| run["seed"].as_u64().unwrap()).collect();
    assert_eq!(seeds, (0..20).collect::<Vec<_>>());
    assert!(listed.iter().all(|run| run["state"] == "done"));
}

/// A run that was killed is not taken for one that runs; a run under way is told so and cannot be removed.
#[cfg(unix)]
#[test]
fn a_killed_run_is_unfinished_and_goes_on() {
    let desk = Desk::new();
    let args = "train nlp-cnn --epochs 100000 --batch-size 8";
    let mut running = process::Running::start(&mut process::program(&desk, args));
    process::wait_for(&desk.path("runs/nlp-cnn/history.csv"));
    assert_eq!(runs(&desk, "")[0]["state"], "running");
    desk.refuses("runs rm nlp-cnn --yes", 1, "another process is training this run");
    running.0.kill().unwrap();
    running.0.wait().unwrap();
    let listed = runs(&desk, "");
    assert_eq!(listed[0]["state"], "unfinished");
    assert!(listed[0]["epochs"].as_u64().unwrap() >= 1);
    assert!(listed[0]["test_accuracy"].is_null());
    let before = listed[0]["started"].clone();
    let done = listed[0]["epochs"].as_u64().unwrap() + 1;
    desk.run(&format!("train --resume runs/nlp-cnn --epochs {done}")).assert().success();
    let listed = runs(&desk, "");
    assert_eq!((&listed[0]["state"], &listed[0]["started"]), (&"done".into(), &before));
    assert_eq!(listed[0]["epochs"].as_u64(), Some(done));
}
