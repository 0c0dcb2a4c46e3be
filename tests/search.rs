//! A search comes to the same trials, table and winner at any number of threads, wherever it was killed and
//! taken up again; its winner is what `train` makes of the same task; and test samples choose nothing.

#[path = "common/desk.rs"]
mod desk;
#[cfg(unix)]
#[path = "common/process.rs"]
mod process;

use desk::{DATA, Desk};
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;
use std::collections::HashSet;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use threadcount::Error;
use threadcount::data::{Cache, Dataset, Samples, Split};
use threadcount::reports;
use threadcount::train::search::{
    Axis, Definition, Metric, Resources, Row, Search, Space, Step, halving,
};
use threadcount::train::{DataRecord, Ended, Session, Task};
use threadcount_kernels::{Isa, Pool};

const SEED: u64 = 5;

/// Everything that has a state, rates that are planned for all epochs, weights that are not the last ones.
const TASK: &str = r#"
epochs = 9
batch-size = 50
optimizer = { name = "adam", learning-rate = 0.01 }
schedule = { cosine = { last = 0.0 } }
keep = "best-loss"
layers = [
    { kind = "flatten" },
    { kind = "dense", units = 12, activation = "relu" },
    { kind = "batch-norm" },
    { kind = "dropout", rate = 0.2 },
    { kind = "dense", units = "classes" },
]
"#;

const AXES: [&str; 2] = ["learning-rate=0.003,0.03,0.3", "batch-size=25,100"];

fn desk() -> Desk {
    let desk = Desk::new();
    fs::write(desk.path("my.toml"), TASK).unwrap();
    desk
}

fn dataset() -> Arc<Dataset> {
    Dataset::open_folder(DATA.path(), &Cache::at(DATA.path().join("cache"))).unwrap()
}

fn definition(axes: &[&str], draws: Option<usize>, halving: Option<usize>) -> (Definition, Split) {
    let dataset = dataset();
    let mut task = Task::from_toml(TASK).unwrap();
    task.selection = task.selection.with_own_validation(0.1);
    let split = task.selection.apply(&dataset, SEED).unwrap();
    let axes = axes.iter().map(|text| Axis::parse(text).unwrap()).collect();
    let definition = Definition {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        recipe: "my".to_owned(),
        seed: SEED,
        isa: Isa::best().name().to_owned(),
        metric: Metric::ValLoss,
        halving,
        space: Space::new(axes, draws).unwrap(),
        task,
        data: DataRecord::of(&dataset, &split),
    };
    (definition, split)
}

fn resources(threads: usize) -> Resources {
    Resources { isa: Isa::best(), threads, memory: None }
}

fn go_on(_: Step<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Searches to the end.
fn searched(path: &Path, definition: &Definition, split: &Split, threads: usize) -> Search {
    let needed = definition.check(split).unwrap();
    let mut search = Search::start(path, definition).unwrap();
    assert_eq!(search.run(split, &needed, &resources(threads), &go_on).unwrap(), Ended::Finished);
    search
}

/// What a task scores in one go, after so many of its epochs.
fn trained(task: &Task, split: &Split, epochs: usize) -> Vec<(u64, u64)> {
    let mut session = Session::new(task, split, SEED).unwrap();
    let pool = Pool::new(Isa::best(), 1).unwrap();
    pool.enter(|team| session.train(team, &mut |_, _| Ok(ControlFlow::Continue(()))).unwrap());
    let epochs = &session.progress().history.epochs[..epochs];
    epochs.iter().map(|e| (e.val_loss.to_bits(), e.val_accuracy.to_bits())).collect()
}

/// Every row of a search, by trials that are trained in one go, and the rule of halving by hand.
#[test]
fn a_trial_of_a_rung_has_the_bits_of_one_that_was_never_paused() {
    let desk = Desk::new();
    let (definition, split) = definition(&AXES, None, Some(3));
    let search = searched(&desk.path("search"), &definition, &split, 2);
    assert_eq!(definition.rungs(), [1, 3, 9]);
    let rows = |rung| -> Vec<Row> {
        search.rows().iter().filter(|row| row.rung == rung).copied().collect()
    };
    // Six, a third of them, a third of these.
    assert_eq!([1, 2, 3].map(|rung| rows(rung).len()), [6, 2, 1]);
    for row in search.rows() {
        assert_eq!(row.epochs, [1, 3, 9][row.rung - 1]);
        let task = search.task(row.trial);
        assert_eq!(task.epochs, 9);
        let history = trained(task, &split, row.epochs);
        // The task keeps the epoch with the lowest loss.
        let kept =
            history.iter().min_by(|a, b| f64::from_bits(a.0).total_cmp(&f64::from_bits(b.0)));
        let scores = row.scores.unwrap();
        let bits = (scores.val_loss.to_bits(), scores.val_accuracy.to_bits());
        assert_eq!(Some(&bits), kept, "{row:?}");
    }
    for rung in [1, 2] {
        let loss = |row: &Row| row.scores.unwrap().val_loss;
        let mut by_loss = rows(rung);
        by_loss.sort_by(|a, b| loss(a).total_cmp(&loss(b)));
        let mut expected: Vec<_> =
            by_loss[..rows(rung + 1).len()].iter().map(|row| row.trial).collect();
        expected.sort_unstable();
        let next: Vec<_> = rows(rung + 1).iter().map(|row| row.trial).collect();
        assert_eq!(next, expected);
    }
    assert_eq!(search.best().unwrap().trial, rows(3)[0].trial);
    assert_eq!(search.standings().len(), 6);
    assert_eq!(halving::ranked(search.rows(), Metric::ValLoss).len(), 6);
}

/// What `search.toml` says in the end, and every checkpoint.
fn ended(path: &Path) -> Vec<Vec<u8>> {
    let mut files = vec![fs::read(path.join("search.toml")).unwrap()];
    for trial in 1..=6 {
        files.push(fs::read(path.join(format!("trial-{trial:02}/history.csv"))).unwrap());
    }
    files
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

/// By the watch: after every epoch, and in the middle of some.
#[test]
fn a_search_that_was_stopped_anywhere_comes_to_the_same_end() {
    let desk = Desk::new();
    let (definition, split) = definition(&AXES, None, Some(3));
    let needed = definition.check(&split).unwrap();
    drop(searched(&desk.path("whole"), &definition, &split, 1));
    let whole = ended(&desk.path("whole"));
    for stride in [1, 2, 5] {
        for threads in [1, 2, 3] {
            let path = desk.path(&format!("s{stride}-{threads}"));
            drop(Search::start(&path, &definition).unwrap());
            let mut rounds = 0;
            loop {
                // Another process.
                let mut search = opened(&path);
                let epochs = AtomicUsize::new(0);
                let batches = AtomicUsize::new(0);
                let in_epoch = rounds % 3 == 2;
                let watch = |step: Step<'_>| {
                    let count = match step {
                        Step::Epoch { .. } => epochs.fetch_add(1, Ordering::Relaxed) + 1,
                        // Every third time in the middle of an epoch.
                        Step::Batch if in_epoch => batches.fetch_add(1, Ordering::Relaxed) / 6,
                        _ => 0,
                    };
                    match count >= stride {
                        true => ControlFlow::Break(()),
                        false => ControlFlow::Continue(()),
                    }
                };
                rounds += 1;
                if search.run(&split, &needed, &resources(threads), &watch).unwrap()
                    == Ended::Finished
                {
                    break;
                }
                assert!(rounds < 100, "it comes no further");
            }
            assert!(rounds > 2, "{rounds}");
            assert!(ended(&path) == whole, "after {stride} epochs on {threads} threads");
        }
    }
}

/// A trial that diverges has no scores, is behind all others, and ends nothing but itself.
#[test]
fn what_diverges_is_a_result() {
    let desk = Desk::new();
    let (mut definition, split) = definition(&["learning-rate=0.03,1e38,0.01"], None, None);
    definition.task = Task {
        optimizer: threadcount::nn::Optimizer::sgd(),
        schedule: threadcount::train::Schedule::Constant,
        epochs: 2,
        ..definition.task
    };
    let mut search = searched(&desk.path("search"), &definition, &split, 2);
    let standings = search.standings();
    assert_eq!(standings.len(), 3);
    let last = standings[2];
    assert_eq!((last.trial, last.rank, last.scores, last.is_finished), (2, None, None, false));
    assert_eq!(standings[0].rank, Some(1));
    assert!(standings[..2].iter().all(|s| s.is_finished && s.epochs == 2 && s.scores.is_some()));
    // It is not tried again.
    let needed = definition.check(&split).unwrap();
    let nothing = |step: Step<'_>| panic!("{step:?}");
    let ended = search.run(&split, &needed, &resources(1), &nothing).unwrap();
    assert_eq!(ended, Ended::Finished);
}

/// What a sample is, so that it is known again.
fn rows(samples: &Samples) -> HashSet<String> {
    (0..samples.len()).map(|i| format!("{:?}", samples.row(i))).collect()
}

#[test]
fn no_recipe_validates_on_what_it_tests() {
    let dataset = dataset();
    let mut changed = 0;
    for report in reports::ALL {
        for recipe in (report.recipes)() {
            let own = recipe.task.selection;
            let searched = own.with_own_validation(0.1);
            assert!(!searched.validates_on_test(), "{}", recipe.id);
            let split = searched.apply(&dataset, SEED).unwrap();
            let was = own.apply(&dataset, SEED).unwrap();
            assert_eq!(own.validates_on_test(), rows(&was.validation) == rows(&was.test));
            let [train, validation, test] =
                [&split.train, &split.validation, &split.test].map(rows);
            assert!(test == rows(&was.test), "{}: other test samples", recipe.id);
            assert!(validation.is_disjoint(&test), "{}", recipe.id);
            assert!(train.is_disjoint(&test) && train.is_disjoint(&validation), "{}", recipe.id);
            assert!(train.is_subset(&rows(&was.train)), "{}", recipe.id);
            if own.validates_on_test() {
                changed += 1;
                let share = split.validation.len() as f64 / was.train.len() as f64;
                assert!((share - 0.1).abs() < 0.02, "{}: {share}", recipe.id);
            } else {
                assert_eq!(searched, own, "{}", recipe.id);
            }
        }
    }
    assert!(changed >= 8, "{changed}");
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

    // The library's figures, in their places.
    let (definition, split) = definition(&AXES, None, Some(3));
    let search = searched(&desk.path("library"), &definition, &split, 1);
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
        let row = format!("{:.4} | ", scores.val_loss);
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
    // The test samples are not asked again: a changed result is read, not found anew.
    let again = desk.run("search my.toml --epochs 2 --resume here --random 3").assert().success();
    assert!(again.get_output().stdout == first);
    assert!(told(&desk, "here") == before);
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
    let axes = [
        ("optimizer", "sgd"),
        ("momentum", "0.5"),
        ("schedule", "steps=1;"),
        ("warm-up", "0.5"),
        ("dropout", "0.4"),
        ("activation", "tanh"),
        ("epochs", "2"),
        ("batch-size", "40"),
        ("learning-rate", "0.02"),
    ];
    let mut search = "search my.toml --out s".to_owned();
    let mut train = "train s/best.toml --out t".to_owned();
    for (name, value) in axes {
        search += &format!(" --grid {name}={value}");
        train += &format!(" --{name} {}", value.trim_end_matches(';'));
    }
    let table = desk.run(&search).assert().success().get_output().stdout.clone();
    let best = desk.read("s/best.toml");
    desk.run(&train).assert().success();
    let model = |folder: &str| fs::read(desk.path(folder).join("model.safetensors")).unwrap();
    assert!(model("t") == model("s/trial-01"));
    let task = Task::from_toml(&best).unwrap();
    assert_eq!((task.epochs, task.batch_size, task.warm_up), (2, 40, 0.5));
    assert_eq!(task.optimizer.learning_rate(), 0.02);
    assert!(format!("{:?}", task.schedule).starts_with("Steps { at: [1],"), "{best}");
    let table = String::from_utf8(table).unwrap();
    for (name, value) in axes {
        assert!(table.contains(name) && table.contains(value.trim_end_matches(';')), "{name}");
    }
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
