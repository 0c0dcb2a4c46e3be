//! `threadcount search`: the same table, files and winner at any number of threads and after every kill; what it
//! refuses; and its winner is what `train` makes of the same task.

#[cfg(unix)]
use crate::common::process;

use crate::common::desk::Desk;
use crate::common::searches::{AXES, TASK, definition};
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::Duration;
use threadcount::Error;
use threadcount::train::search::Search;
use threadcount::train::{Changes, Task};

fn desk() -> Desk {
    let desk = Desk::new();
    fs::write(desk.path("my.toml"), TASK).unwrap();
    desk
}

/// A search that this process held until now. Another test may just be starting a program, which has a copy
/// of the lock until it runs.
fn opened(path: &Path) -> Search {
    for _ in 0..1_000 {
        match Search::open(path) {
            Err(Error::RunBusy { .. }) => std::thread::sleep(Duration::from_millis(5)),
            other => return other.unwrap(),
        }
    }
    panic!("{}: busy", path.display())
}

const SEARCH: &str = "search my.toml --grid learning-rate=0.003,0.03,0.3 --grid batch-size=25,100 \
                      --halving --metric val_loss --seed 5";

#[test]
fn the_program_comes_to_the_same_table_at_any_number_of_threads() {
    let desk = desk();
    let mut found = Vec::new();
    for threads in [1, 2, 3] {
        let args = format!("{SEARCH} --threads {threads} --out s{threads} --json s{threads}.json");
        let output = desk.run(&args).assert().success();
        let printed = String::from_utf8(output.get_output().stdout.clone()).unwrap();
        let said = String::from_utf8(output.get_output().stderr.clone()).unwrap();
        assert!(said.contains("my validates on its test samples"), "{said}");
        assert!(
            said.contains(&format!("threadcount train s{threads}/best.toml --seed 5")),
            "{said}"
        );
        let json = desk.read(&format!("s{threads}.json")).replace(&format!("s{threads}/"), "s/");
        let files = ["search.toml", "best.toml", "search.svg"];
        found.push((printed, json, files.map(|file| desk.read(&format!("s{threads}/{file}")))));
    }
    assert!(found[0] == found[1] && found[0] == found[2]);
    let (printed, json, _) = &found[0];
    assert!(printed.lines().all(|line| line.len() <= 80), "{printed}");

    // The search that was asked for, and its figures in their places.
    let (definition, _) = definition(&AXES, None, Some(3));
    let search = opened(&desk.path("s1"));
    let found = search.definition();
    assert!(found.task.difference(&definition.task).unwrap().is_none());
    assert_eq!((found.seed, found.metric), (definition.seed, definition.metric));
    assert_eq!((&found.space, found.halving), (&definition.space, definition.halving));
    assert_eq!((search.rows().len(), search.standings().len()), (6 + 2 + 1, 6));
    let json: Value = serde_json::from_str(json).unwrap();
    assert_eq!((json["metric"].as_str(), json["seed"].as_u64()), (Some("val_loss"), Some(5)));
    assert_eq!((json["halving"].as_u64(), json["epochs"].as_u64()), (Some(3), Some(9)));
    assert!(json["random"].is_null());
    let counts = ["training_samples", "validation_samples", "test_samples"];
    assert_eq!(counts.map(|name| json[name].as_u64().unwrap()), [360, 40, 100]);
    assert_eq!(json["axes"], serde_json::json!(AXES));
    let trials = json["trials"].as_array().unwrap();
    assert_eq!(trials.len(), 6);
    for (trial, standing) in trials.iter().zip(search.standings()) {
        assert_eq!(trial["trial"].as_u64(), Some(standing.trial as u64));
        assert_eq!(trial["rank"].as_u64(), standing.rank.map(|rank| rank as u64));
        assert_eq!(trial["epochs"].as_u64(), Some(standing.epochs as u64));
        let scores = standing.scores.unwrap();
        assert_eq!(trial["val_loss"].as_f64(), Some(scores.val_loss));
        assert_eq!(trial["val_accuracy"].as_f64(), Some(scores.val_accuracy));
        assert_eq!(trial["finished"].as_bool(), Some(standing.epochs == 9));
        assert_eq!(trial["diverged"].as_bool(), Some(false));
        let task = search.task(standing.trial);
        assert_eq!(trial["settings"]["batch-size"].as_u64(), Some(task.batch_size as u64));
        let rate = trial["settings"]["learning-rate"].as_f64().unwrap();
        assert_eq!(rate as f32, task.optimizer.learning_rate());
        let row = format!(
            " {:.4} | {:>12.4} | {:>4} |",
            scores.val_loss,
            scores.val_accuracy,
            standing.rank.unwrap()
        );
        assert!(printed.contains(&row), "{row} in {printed}");
    }
    assert_eq!(json["best"]["trial"], trials[0]["trial"]);

    // Only the winner was tested, and it is what `train` makes of it.
    let best = search.best().unwrap().trial;
    for trial in 1..=6 {
        let record = desk.read(&format!("s1/trial-{trial:02}/run.toml"));
        assert_eq!(record.contains("[result]"), trial == best, "{trial}");
        let model = desk.path(&format!("s1/trial-{trial:02}/model.safetensors"));
        assert_eq!(model.exists(), trial == best);
    }
    desk.run("train s1/best.toml --seed 5 --out again").assert().success();
    let model = |folder: &str| fs::read(desk.path(folder).join("model.safetensors")).unwrap();
    assert!(model("again") == model(&format!("s1/trial-{best:02}")));
    let output = desk.run(&format!("eval s1/trial-{best:02} --json")).assert().success();
    let evaluated: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!(evaluated["test_accuracy"], json["best"]["test_accuracy"]);
    let loss = |value: &Value| value["test_loss"].as_f64().unwrap();
    assert!((loss(&evaluated) - loss(&json["best"])).abs() < 1e-9);
    // Another trial can be trained on as any run.
    let other = if best == 1 { 2 } else { 1 };
    desk.run(&format!("train --resume s1/trial-{other:02}")).assert().success();
}

/// The document of a search, and the files it wrote.
fn told(desk: &Desk, folder: &str) -> [String; 2] {
    ["search.toml", "best.toml"].map(|file| desk.read(&format!("{folder}/{file}")))
}

#[cfg(unix)]
#[test]
fn a_killed_search_is_resumed_to_the_same_end() {
    let desk = desk();
    let whole = desk.run(&format!("{SEARCH} --threads 2 --out whole")).assert().success();
    let whole = whole.get_output().stdout.clone();
    // While nothing is in, in the first rung, and in a later one.
    for (number, wanted) in
        ["trial-01", "trial-02/history.csv", "rung = 1", "rung = 2"].into_iter().enumerate()
    {
        for signal in ["KILL", "INT"] {
            let folder = format!("here-{number}-{signal}");
            let args = format!("{SEARCH} --threads 2 --out {folder}");
            let mut running = process::Running::start(
                process::program(&desk, &args).stderr(std::process::Stdio::null()),
            );
            let path = desk.path(&folder);
            process::wait_until(wanted, || match wanted.starts_with("rung") {
                true => fs::read_to_string(path.join("search.toml"))
                    .is_ok_and(|text| text.contains(wanted)),
                false => path.join(wanted).exists(),
            });
            // It may have ended, on a fast machine: that is no fault.
            running.send(signal);
            let status = running.end();
            if signal == "INT" {
                assert!([Some(130), Some(0)].contains(&status.code()), "{status}");
            }
            let resumed = desk.run(&format!("search --resume {folder} --threads 1"));
            let resumed = { resumed }.assert().success();
            assert!(resumed.get_output().stdout == whole, "{wanted} {signal}");
            assert!(told(&desk, &folder) == told(&desk, "whole"), "{wanted} {signal}");
        }
    }
}

#[test]
fn a_finished_search_says_the_same_again() {
    let desk = desk();
    let args = "search my.toml --random 3 --range learning-rate=1e-3..1e-1 --grid batch-size=50,100 \
                --epochs 2 --out here";
    let first = desk.run(args).assert().success().get_output().stdout.clone();
    let before = told(&desk, "here");
    let again = desk.run("search my.toml --epochs 2 --resume here --random 3").assert().success();
    assert!(again.get_output().stdout == first);
    assert!(told(&desk, "here") == before);
    // The test samples are not asked again: a result that was changed by hand is what is told.
    let best = opened(&desk.path("here")).best().unwrap().trial;
    let record = format!("here/trial-{best:02}/run.toml");
    let was = desk.read(&record);
    let lines = was.lines().filter(|line| !line.starts_with("checksum")).map(|line| {
        let is_it = line.starts_with("test_accuracy");
        if is_it { "test_accuracy = 0.4321".to_owned() } else { line.to_owned() }
    });
    fs::write(desk.path(&record), lines.collect::<Vec<_>>().join("\n")).unwrap();
    desk.run("search --resume here").assert().success().stdout(contains("accuracy 0.4321"));
    fs::write(desk.path(&record), was).unwrap();
    let json = desk.run("search --resume here --json -").assert().success();
    let json: Value = serde_json::from_slice(&json.get_output().stdout).unwrap();
    assert_eq!(json["random"].as_u64(), Some(3));
    assert_eq!(json["trials"].as_array().unwrap().len(), 3);
    assert_eq!(json["metric"].as_str(), Some("val_accuracy"));

    let refused = |args: &str, words: &str| {
        desk.refuses(&format!("search --resume here {args}"), 2, words);
    };
    refused("--random 4", "--random 4: here was started with 3");
    refused("--halving", "--halving 3: here was started with none");
    refused("--metric val_loss", "--metric val_loss: here was started with val_accuracy");
    refused("--seed 1", "--seed 1: here was started with 0");
    refused("--epochs 3", "--epochs 3: here was started with 2");
    refused("--dropout 0.5", "--dropout: a resumed search keeps");
    refused(
        "--grid batch-size=50",
        "--grid batch-size=50: here was started with batch-size=50,100",
    );
    let ranged = "--grid batch-size=50,100 --range learning-rate=1e-3..1";
    refused(ranged, "learning-rate=0.001..0.1:log");
    // What says the same is fine.
    desk.run("search --resume here --grid batch-size=50,100 --range learning-rate=0.001..1e-1:log")
        .assert()
        .success();
    desk.refuses("search nlp-mlp80 --resume here", 1, "a search over my, not over nlp-mlp80");
    fs::write(desk.path("my.toml"), TASK.replace("units = 12", "units = 13")).unwrap();
    desk.refuses("search my.toml --epochs 2 --resume here", 2, "layer 2: units is 13, and was 12");
    desk.refuses("search --resume nowhere", 3, "no search here");
    fs::write(desk.path("here/search.toml"), before[0].replace("seed = 0", "seed = 1")).unwrap();
    desk.refuses("search --resume here", 3, "changed since threadcount wrote it");
}

#[test]
fn what_cannot_be_searched_is_refused_before_anything_is_trained() {
    let desk = desk();
    let refused = |args: &str, words: &str| {
        desk.refuses(&format!("search {args}"), 2, words);
        assert!(!desk.path("runs").exists(), "{args}");
    };
    refused("my.toml", "nothing to search");
    refused("my.tml --grid batch-size=1", "no recipe is called");
    refused("my.toml --grid batchsize=1,2", "did you mean 'batch-size'?");
    refused("my.toml --grid batch-size=1..2", "--range and --random");
    refused("my.toml --grid batch-size=0,8", "--batch-size: at least 1");
    refused("my.toml --range learning-rate=1e-4..1e-2", "say how often");
    refused("my.toml --range learning-rate=-1..1:linear --random 5", "must be positive");
    refused("my.toml --grid activation=relu,rely", "no activation is called 'rely'");
    refused("my.toml --grid dropout=0.1,1.5", "trial 2 (dropout 1.5)");
    refused("my.toml --grid epochs=1,2 --halving", "without halving");
    refused("my.toml --grid batch-size=8,9 --halving=1", "2 trials or more");
    refused("my.toml --grid batch-size=8,9 --metric accuracy", "did you mean 'val_accuracy'?");
    refused("my.toml --grid batch-size=8,9 --batch-size 8", "--batch-size: it is searched");
    refused("my.toml --grid batch-size=8,9 --epochs 0", "--epochs: at least 1");
    refused("my.toml --grid warm-up=0,20", "trial 2 (warm-up 20)");
    refused("my.toml --grid batch-size=8,9 --random 3", "no more than 2 different settings");
    fs::write(desk.path("bad.toml"), TASK.replace("\"flatten\"", "\"max\"")).unwrap();
    refused("bad.toml --grid batch-size=8,9", "bad.toml: line");
}

#[test]
fn one_process_searches_in_a_folder_and_one_search_is_in_it() {
    let desk = desk();
    let args = "search my.toml --grid batch-size=50,100 --epochs 1";
    desk.run(&format!("{args} --out here")).assert().success();
    desk.refuses_last(&format!("{args} --out here"), 1, "already holds a search or a run");
    let held = opened(&desk.path("here"));
    desk.refuses("search --resume here", 1, "another process");
    drop(held);
    drop(opened(&desk.path("here")));
    desk.run("search --resume here").assert().success();
    desk.run("train my.toml --epochs 1 --out run").assert().success();
    desk.refuses_last(&format!("{args} --out run"), 1, "already holds a search or a run");
    // Without --out they are numbered.
    desk.run(args).assert().success();
    desk.run(args).assert().success();
    assert!(desk.path("runs/search-my/best.toml").exists());
    assert!(desk.path("runs/search-my-2/best.toml").exists());
}

/// Any option that `train` has is an axis, and means there what it means to `train`.
#[test]
fn an_axis_is_the_option_of_train() {
    let desk = desk();
    let groups: [&[(&str, &str)]; 2] = [
        &[
            ("optimizer", "sgd"),
            ("momentum", "0.5"),
            ("l2", "0.001"),
            ("label-smoothing", "0.1"),
            ("clip-norm", "1.5"),
            ("weight-average", "0.9"),
            ("schedule", "steps=1;"),
            ("warm-up", "0.5"),
            ("augment", "shift=1,flip;"),
            ("test-augment", "flip"),
            ("dropout", "0.4"),
            ("activation", "tanh"),
            ("freeze", "1;"),
            ("shards", "4"),
            ("batch-norm-over", "shard"),
            ("epochs", "2"),
            ("batch-size", "40"),
            ("learning-rate", "0.02"),
        ],
        &[("optimizer", "adamw"), ("weight-decay", "0.01"), ("epochs", "1")],
    ];
    let named: Vec<_> =
        groups.iter().flat_map(|group| group.iter().map(|(name, _)| *name)).collect();
    for option in Changes::OPTIONS {
        assert!(named.contains(&option.name), "{option:?}");
    }
    for (number, axes) in groups.into_iter().enumerate() {
        let mut search = format!("search my.toml --out s{number}");
        let mut train = format!("train best.toml --out t{number}");
        for (name, value) in axes {
            search += &format!(" --grid {name}={value}");
            train += &format!(" --{name} {}", value.trim_end_matches(';'));
        }
        let table = desk.run(&search).assert().success().get_output().stdout.clone();
        let table = String::from_utf8(table).unwrap();
        for (name, value) in axes {
            assert!(table.contains(name) && table.contains(value.trim_end_matches(';')), "{name}");
        }
        let best = Task::from_toml(&desk.read(&format!("s{number}/best.toml"))).unwrap();
        // From the task as it was, with the search's validation samples.
        let own = Task::from_toml(TASK).unwrap();
        let own = Task { selection: best.selection, ..own };
        fs::write(desk.path("best.toml"), own.to_toml().unwrap()).unwrap();
        desk.run(&train).assert().success();
        let model =
            |folder: String| fs::read(desk.path(&folder).join("model.safetensors")).unwrap();
        assert!(model(format!("t{number}")) == model(format!("s{number}/trial-01")), "{axes:?}");
    }
}

#[test]
fn the_winners_model_is_of_the_epoch_that_its_task_keeps() {
    let desk = desk();
    let args = "search my.toml --schedule constant --grid learning-rate=0.2 --out s";
    desk.run(args).assert().success();
    let eval = desk.run("eval s/trial-01").assert().success();
    let said = String::from_utf8(eval.get_output().stderr.clone()).unwrap();
    assert!(!said.contains("epoch 9 of 9"), "the premise: {said}");
    desk.run("train s/best.toml --out t").assert().success();
    let model = |folder: &str| fs::read(desk.path(folder).join("model.safetensors")).unwrap();
    assert!(model("t") == model("s/trial-01"));
}

#[test]
fn where_all_diverge_there_is_no_best() {
    let desk = desk();
    let args =
        "search my.toml --optimizer sgd --grid learning-rate=1e37,1e38 --epochs 2 --out here";
    let failed = desk.run(args).assert().code(1);
    failed
        .stdout(contains("diverged").and(contains("best").not()))
        .stderr(contains("threadcount: error: every trial diverged"));
    assert!(desk.path("here/search.svg").exists());
    assert!(!desk.path("here/best.toml").exists());
}
