//! The program as a person meets it: what it prints and where, its exit codes, its files. On a
//! small drawn set, in folders of its own: the user's cache and runs are never touched.

use crate::common::desk::{DATA, Desk};
#[cfg(unix)]
use crate::common::process;
use predicates::prelude::*;
use predicates::str::{contains, starts_with};
use std::fs;
use threadcount::data::synthetic;

fn json(text: &[u8]) -> serde_json::Value {
    serde_json::from_slice(text).unwrap()
}

#[test]
fn help_and_version_are_results() {
    let desk = Desk::new();
    desk.bare("--version").assert().success().stdout(starts_with("threadcount 0.")).stderr("");
    for command in ["", "reproduce", "train", "summary", "eval", "list", "info", "bench", "data"] {
        let help = desk.bare(&format!("{command} --help"));
        { help }.assert().success().stdout(contains("Usage: threadcount")).stderr("");
    }
}

#[test]
fn usage_errors_are_one_line_and_exit_2() {
    let desk = Desk::new();
    desk.refuses("train cse574-mpl", 2, "did you mean 'cse574-mlp'?");
    desk.refuses("summary comp475", 2, "is a report; its recipes are comp475-cnn");
    desk.refuses("reproduce nlp2025", 2, "did you mean 'nlp2024'?");
    desk.refuses("trian biu-base", 2, "'train'");
    desk.refuses("train biu-base --epoch 3", 2, "'--epochs'");
    desk.refuses("train biu-base --epochs 0", 2, "--epochs: at least 1, not 0");
    desk.refuses("train biu-base --epochs three", 2, "invalid value 'three'");
    desk.refuses("train biu-base --batch-size 0", 2, "--batch-size: at least 1, not 0");
    desk.refuses("train biu-base --learning-rate 0", 2, "learning rate");
    desk.refuses("train biu-base --learning-rate nan", 2, "learning rate");
    desk.refuses("train biu-base --optimizer adamax", 2, "adamw");
    desk.refuses("train nlp-cnn --momentum 0.9", 2, "Adam has its own");
    desk.refuses("train biu-base --momentum 1", 2, "momentum");
    desk.refuses("train biu-base --dropout 0.5", 2, "no dropout layer");
    desk.refuses("train nlp-cnn --dropout 1", 2, "from 0 to below 1");
    desk.refuses("train nlp-softmax --activation relu", 2, "no hidden activation");
    desk.refuses("train biu-base --activation step", 2, "no activation is called 'step'");
    desk.refuses("train biu-base --threads 0", 2, "at least 1");
    desk.refuses("train biu-base --isa sse9", 2, "sse9");
    desk.refuses("train", 2, "<RECIPE>");
    desk.refuses("reproduce biu-base --repeats 0", 2, "--repeats 0");
    desk.refuses("data show 400", 2, "400");
    assert!(!desk.path("runs").exists(), "a refused run leaves no folder");
}

#[test]
fn bad_data_exits_3_and_names_the_folder() {
    let desk = Desk::new();
    desk.refuses("train biu-base --data nowhere", 3, "nowhere");
    desk.refuses("reproduce biu-base --data nowhere", 3, "nowhere");
    desk.refuses("data path --data nowhere", 3, "nowhere");
    fs::create_dir(desk.path("empty")).unwrap();
    desk.refuses("train biu-base --data empty", 3, "empty");
    assert!(!desk.path("runs").exists());
}

#[test]
fn list_names_every_recipe() {
    let all = contains("biu-scratch").and(contains("colman-scratch")).and(contains("nlp-rnn"));
    let all = all.and(contains("comp475-cnn")).and(contains("cse574-cnn"));
    Desk::new().bare("list").assert().success().stdout(all).stderr("");
}

#[test]
fn summaries_count_what_the_reports_count() {
    let desk = Desk::new();
    desk.bare("summary cse574-mlp").assert().success().stdout(contains("567,434")).stderr("");
    desk.bare("summary cse574-cnn").assert().success().stdout(contains("423,338"));
}

#[test]
fn info_prints_the_machine_and_as_json() {
    let desk = Desk::new();
    desk.bare("info --isa portable").assert().success().stdout(contains("portable"));
    let output = desk.bare("info --json --isa portable --threads 1").output().unwrap();
    let info = json(&output.stdout);
    assert_eq!(info["isa"], "portable");
    assert_eq!(info["threads"], 1);
    assert!(info["isas"].as_array().unwrap().contains(&"portable".into()));
    assert!(info["available_threads"].as_u64().unwrap() >= 1);
}

#[test]
fn the_measured_peak_is_asked_for() {
    let desk = Desk::new();
    let output = desk.bare("info --json").output().unwrap();
    assert!(json(&output.stdout).get("peak").is_none());
    let output = desk.bare("info --json --peak").output().unwrap();
    let info = json(&output.stdout);
    for (team, threads) in [("one_thread", &1.into()), ("all_threads", &info["threads"])] {
        let rates = &info["peak"][team];
        assert_eq!(rates["threads"], *threads);
        assert!(rates["fma_gflops"].as_f64().unwrap() > 0.0);
        for level in ["l1", "l2", "l3", "dram"] {
            let rate = &rates[format!("{level}_gbytes_per_second")];
            let cache = if level == "l1" { "l1d" } else { level };
            // Where the system does not tell the size of a cache, its rate is null.
            let unknown = level != "dram" && info[cache].is_null();
            assert_eq!(rate.is_null(), unknown, "{level}: {rate}");
            assert!(unknown || rate.as_f64().unwrap() > 0.0, "{level}: {rate}");
        }
    }
    let table = contains("measured peak").and(contains("GFLOP/s")).and(contains("read from DRAM"));
    desk.bare("info --peak --threads 1").assert().success().stdout(table).stderr("");
}

#[test]
fn more_threads_than_there_are_is_a_warning_and_done() {
    let desk = Desk::new();
    let warned = starts_with("threadcount: warning: 3000 threads asked for");
    let info = desk.bare("info --threads 3000 --json").assert().success().stderr(warned);
    assert_eq!(json(&info.get_output().stdout)["threads"], 3000);
    desk.refuses("info --threads 100000", 2, "at most 4096, not 100000");
    // The promise of the same bits can be tried.
    for threads in [1, 7] {
        let train = format!("train biu-relu --epochs 1 --threads {threads} --out {threads}");
        desk.run(&train).assert().success().stderr(contains(format!("{threads} thread")));
    }
    let model = |folder| fs::read(desk.path(folder).join("model.safetensors")).unwrap();
    assert!(model("1") == model("7"));
}

/// Whatever a setting may be on the command line, it may be in the environment and in the file, to
/// the last bit; what is refused there is refused here too, with its name.
#[test]
fn a_setting_has_one_range() {
    let desk = Desk::new();
    let file = desk.path("threadcount.toml");
    let cases = [
        ("seed", "18446744073709551615", true),
        ("seed", "9223372036854775808", true),
        ("seed", "18446744073709551616", false),
        ("seed", "-1", false),
        ("seed", "340282366920938463463374607431768211456000", false),
        ("threads", "2", true),
        ("threads", "0", false),
        ("threads", "-1", false),
        ("threads", "18446744073709551615", false),
        ("threads", "18446744073709551616", false),
    ];
    for (number, (key, value, is_good)) in cases.into_iter().enumerate() {
        let train = format!("train biu-base --epochs 1 --out {number}");
        let variable = format!("THREADCOUNT_{}", key.to_uppercase());
        let as_flag = desk.run(&format!("{train}-flag --{key} {value}")).assert();
        let in_environment = desk.run(&format!("{train}-variable")).env(&variable, value).assert();
        fs::write(&file, format!("{key} = {value}\n")).unwrap();
        let in_file = desk.run(&format!("{train}-file")).assert();
        fs::write(&file, format!("{key} = '{value}'\n")).unwrap();
        let as_text = desk.run(&format!("{train}-text")).assert();
        fs::remove_file(&file).unwrap();
        for (way, run) in
            [("flag", as_flag), ("variable", in_environment), ("file", in_file), ("text", as_text)]
        {
            let output = run.get_output();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(if is_good { 0 } else { 2 }), "{way}: {said}");
            if is_good {
                let text = desk.read(&format!("{number}-{way}/run.toml"));
                let record = toml::de::DeTable::parse(&text).unwrap().into_inner();
                let found = record[key].get_ref().as_integer().unwrap().as_str().to_owned();
                assert_eq!(found, value, "{way}");
            } else {
                assert!(said.contains(key) || said.contains(&variable), "{way}: {said}");
                assert!(!desk.path(&format!("{number}-{way}")).exists());
            }
        }
    }
}

#[test]
fn negative_numbers_are_numbers() {
    let desk = Desk::new();
    for apart in ["--learning-rate -0.1", "--learning-rate -1e-3", "--momentum -.5"] {
        let together = apart.replace(' ', "=");
        let said = |args: &str| {
            let run = desk.run(&format!("train biu-base {args}")).assert().code(2).stdout("");
            String::from_utf8_lossy(&run.get_output().stderr).into_owned()
        };
        assert_eq!(said(apart), said(&together));
        assert!(!said(apart).contains("unexpected argument"), "{}", said(apart));
    }
    desk.refuses("train biu-base --learning-rate -0.1", 2, "must be positive, not -0.1");
    desk.refuses("train biu-base --seed -1", 2, "invalid value '-1' for '--seed <N>'");
    desk.refuses("data show -1", 2, "invalid value '-1' for '<NUMBER>'");
}

#[test]
fn training_fills_a_run_folder_that_eval_reads() {
    let desk = Desk::new();
    let trained = desk.run("train nlp-cnn --epochs 2 --batch-size 50 --seed 5 --out here").assert();
    let printed = contains("test accuracy").and(contains("T-shirt")).and(contains("precision"));
    let lines = contains("epoch 1/2  loss ").and(contains("epoch 2/2")).and(contains("\x1b").not());
    let trained = trained.success().stdout(printed.and(contains("\x1b").not())).stderr(lines);

    let history = desk.read("here/history.csv");
    let mut lines = history.lines();
    assert_eq!(lines.next(), Some("epoch,accuracy,loss,val_accuracy,val_loss"));
    assert_eq!(lines.map(|line| line.split(',').next().unwrap()).collect::<Vec<_>>(), ["1", "2"]);
    assert!(desk.read("here/curves.svg").starts_with("<svg"));
    let record: toml::Table = desk.read("here/run.toml").parse().unwrap();
    assert_eq!(record["recipe"].as_str(), Some("nlp-cnn"));
    assert_eq!(record["seed"].as_integer(), Some(5));
    assert_eq!(record["task"]["batch-size"].as_integer(), Some(50));
    assert_eq!(record["task"]["optimizer"]["name"].as_str(), Some("adam"));
    assert_eq!(record["data"]["identity"].as_str(), Some("synthetic"));
    assert_eq!(record["data"]["training"].as_integer(), Some(425));
    assert_eq!(record["result"]["epochs"].as_integer(), Some(2));

    // The same evaluation, from the model alone.
    let evaluated = desk.run("eval here").assert().success();
    let text = |output: &std::process::Output| String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(text(evaluated.get_output()), text(trained.get_output()));
    let output = desk.run("eval here --json").output().unwrap();
    let document = json(&output.stdout);
    assert_eq!(document["test_accuracy"], record["result"]["test_accuracy"].as_float().unwrap());
    assert_eq!(document["confusion"].as_array().unwrap().len(), 10);

    // Nothing is written over.
    desk.refuses("train nlp-cnn --out here", 1, "--resume here");
    assert_eq!(desk.read("here/history.csv"), history);
    // Nor does a new run without --out meet an old one.
    for folder in ["runs/biu-base", "runs/biu-base-2"] {
        desk.run("train biu-base --epochs 1").assert().success();
        assert!(desk.path(folder).join("model.safetensors").exists());
    }
}

#[test]
fn every_change_to_a_recipe_is_recorded() {
    let desk = Desk::new();
    let changes = "--epochs 1 --optimizer rmsprop --learning-rate 0.001 --momentum 0.9 \
                   --dropout 0.2 --activation relu";
    desk.run(&format!("train nlp-cnn {changes} --out here")).assert().success();
    let record: toml::Table = desk.read("here/run.toml").parse().unwrap();
    let optimizer = &record["task"]["optimizer"];
    assert_eq!(optimizer["name"].as_str(), Some("rmsprop"));
    assert_eq!(optimizer["rho"].as_float().map(|rho| rho as f32), Some(0.9));
    assert_eq!(optimizer["momentum"].as_float().map(|m| m as f32), Some(0.9));
    let layers = record["task"]["layers"].to_string();
    assert!(layers.contains("\"relu\"") && !layers.contains("leaky-relu"), "{layers}");
    assert!(layers.contains("kind = \"dropout\", rate = 0.2"), "{layers}");
}

#[test]
fn resuming_needs_the_same_run() {
    let desk = Desk::new();
    desk.run("train biu-relu --epochs 1 --out here").assert().success();
    desk.refuses("train biu-base --resume here", 1, "holds a run of biu-relu, not of biu-base");
    desk.refuses("train --resume here --learning-rate 0.5", 2, "--learning-rate");
    desk.refuses("train --resume here --seed 9", 2, "seed 0");
    desk.refuses("train --resume nowhere", 3, "no run here");
    desk.refuses("train --resume here --out there", 2, "--out");
    desk.refuses("eval nowhere", 3, "no run here");
    // Other data.
    fs::create_dir(desk.path("other")).unwrap();
    synthetic::generate(&desk.path("other"), 2, 400, 100).unwrap();
    desk.refuses("train --resume here --data other", 3, "other data");
    // A longer run is the one that was longer from the start.
    desk.run("train --resume here --epochs 3").assert().success();
    desk.run("train biu-relu --epochs 3 --out at-once").assert().success();
    let model = |folder| fs::read(desk.path(folder).join("model.safetensors")).unwrap();
    assert!(model("here") == model("at-once"));
    assert_eq!(desk.read("here/history.csv"), desk.read("at-once/history.csv"));
    // Damage.
    fs::write(desk.path("here/checkpoint.safetensors"), b"short").unwrap();
    desk.refuses("train --resume here --epochs 4", 3, "checkpoint.safetensors");
    fs::write(desk.path("here/model.safetensors"), b"short").unwrap();
    desk.refuses("eval here", 3, "model.safetensors");
    fs::write(desk.path("here/run.toml"), b"recipe = ").unwrap();
    desk.refuses("eval here", 3, "run.toml");
}

#[test]
fn divergence_ends_with_the_epoch_and_a_mend() {
    let desk = Desk::new();
    let said = contains("threadcount: error: training diverged: the loss of epoch 1")
        .and(contains("try a --learning-rate below"));
    desk.run("train biu-relu --learning-rate 1e30").assert().code(1).stdout("").stderr(said);
}

#[test]
fn reproduce_prints_a_table_and_writes_json() {
    let desk = Desk::new();
    // Neither the columns nor the figures of claims: biu-base's is 96.85, nlp-softmax's 89.44.
    let table = contains("NOT FASHION-MNIST")
        .and(contains("| biu-base "))
        .and(contains("The reports' claims are left out"))
        .and(contains("| claimed").not().and(contains("claimed |").not()))
        .and(contains("96.85").not().and(contains("89.44").not()));
    desk.run("reproduce biu-base nlp-softmax --repeats 2 --seed 3 --threads 1 --json out.json")
        .assert()
        .success()
        .stdout(table)
        .stderr(contains("[4/4] nlp-softmax"));
    let document = json(desk.read("out.json").as_bytes());
    assert!(document["machine"]["cpu"].is_string());
    let results = document["results"].as_array().unwrap();
    let seeds: Vec<_> = results.iter().map(|r| r["seed"].as_u64().unwrap()).collect();
    assert_eq!(seeds, [3, 4, 3, 4]);
    let keys: Vec<_> = results[0].as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = [
        "recipe",
        "claimed_accuracy",
        "test_accuracy",
        "test_loss",
        "claimed_seconds",
        "train_seconds",
        "images_per_second",
        "fma_gflops",
        "epochs",
        "parameters",
        "seed",
        "threads",
        "isa",
        "precision",
        "data",
    ];
    expected.sort_unstable();
    assert_eq!(keys, expected);
    // A drawn set is compared with no claim.
    assert!(results.iter().all(|r| r["claimed_accuracy"].is_null() && r["data"] == "synthetic"));
    assert_eq!(results[0]["parameters"], 31_482);
}

#[test]
fn json_on_stdout_is_all_there_is_on_stdout() {
    let output = Desk::new().run("reproduce biu-base --json -").output().unwrap();
    assert!(output.status.success());
    assert_eq!(json(&output.stdout)["results"].as_array().unwrap().len(), 1);
}

#[test]
fn an_unwritable_json_file_is_found_out_before_training() {
    let desk = Desk::new();
    desk.refuses("reproduce biu-base --json no/such/folder/x.json", 1, "no/such/folder");
}

#[test]
fn flags_beat_the_environment_beats_the_file() {
    let desk = Desk::new();
    let seed_of = |name: &str, flags: &str, variable: Option<&str>| {
        let mut command = desk.run(&format!("train biu-base --epochs 1 --out {name} {flags}"));
        if let Some(value) = variable {
            command.env("THREADCOUNT_SEED", value);
        }
        command.assert().success();
        let record: toml::Table = desk.read(&format!("{name}/run.toml")).parse().unwrap();
        record["seed"].as_integer().unwrap()
    };
    assert_eq!(seed_of("a", "", None), 0);
    fs::write(desk.path("threadcount.toml"), "seed = 1\n").unwrap();
    assert_eq!(seed_of("b", "", None), 1);
    assert_eq!(seed_of("c", "", Some("2")), 2);
    assert_eq!(seed_of("d", "--seed 3", Some("2")), 3);
    // Set and empty counts as unset.
    assert_eq!(seed_of("e", "", Some("")), 1);
    desk.run("info")
        .env("THREADCOUNT_THREADS", "many")
        .assert()
        .code(2)
        .stderr(contains("THREADCOUNT_THREADS: 'many' is not a number of threads"));
}

#[test]
fn the_file_is_checked_key_by_key() {
    let desk = Desk::new();
    let file = desk.path("threadcount.toml");
    fs::write(&file, "thread = 2\n").unwrap();
    desk.refuses(
        "info",
        2,
        "threadcount.toml: line 1: unknown key 'thread'; did you mean 'threads'?",
    );
    fs::write(&file, "threads = [2]\n").unwrap();
    desk.refuses("info", 2, "threadcount.toml: line 1: threads is array");
    fs::write(&file, "threads = \n").unwrap();
    desk.refuses("info", 2, "threadcount.toml: ");
    fs::write(&file, "threads = 'two'\n").unwrap();
    desk.refuses("info", 2, "threadcount.toml: threads: 'two' is not a number of threads");
    fs::write(&file, "isa = 'portable'\nruns = 'elsewhere'\n").unwrap();
    desk.run("train biu-base --epochs 1").assert().success().stderr(contains("portable"));
    assert!(desk.path("elsewhere/biu-base/run.toml").exists());
}

#[test]
fn data_commands() {
    let desk = Desk::new();
    let folder = DATA.path().display().to_string();
    desk.run("data path").assert().success().stdout(format!("{folder}\n"));
    desk.run("data show 3").assert().success().stdout(starts_with("training image 3: label "));
    desk.run("data show 3 --test").assert().success().stdout(starts_with("test image 3: label "));
    desk.run("data verify")
        .assert()
        .success()
        .stdout(contains("not official").and(contains("This is")));
}

#[cfg(unix)]
mod signals {
    use super::*;
    use process::{Running, command, program, wait_for, wait_until};
    use std::io::Read;
    use std::process::Stdio;

    fn start(desk: &Desk, args: &str) -> Running {
        Running::start(program(desk, args).stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    #[test]
    fn ctrl_c_saves_and_the_resumed_run_is_the_one_that_never_stopped() {
        let desk = Desk::new();
        let mut child = start(&desk, "train nlp-cnn --epochs 100000 --batch-size 7 --out here");
        wait_for(&desk.path("here/history.csv"));
        child.send("INT");
        let status = child.end();
        let mut said = String::new();
        child.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(status.code(), Some(130), "{said}");
        assert!(said.contains("continue with 'threadcount train --resume here'"), "{said}");

        let epochs = desk.read("here/history.csv").lines().count() + 1;
        desk.run(&format!("train --resume here --epochs {epochs}")).assert().success();
        let straight = format!("train nlp-cnn --epochs {epochs} --batch-size 7 --out straight");
        desk.run(&straight).assert().success();
        let model = |folder| fs::read(desk.path(folder).join("model.safetensors")).unwrap();
        assert!(model("here") == model("straight"));
        assert_eq!(desk.read("here/history.csv"), desk.read("straight/history.csv"));
    }

    /// A signal that is ignored when the program starts stays ignored, each by itself, and the others
    /// end the run as ever.
    #[test]
    fn an_ignored_signal_stays_ignored() {
        let signals = ["INT", "TERM", "HUP"];
        for ignored in signals {
            let desk = Desk::new();
            let program = assert_cmd::cargo::cargo_bin!("threadcount").display().to_string();
            let args = "train biu-base --epochs 1000000 --threads 1 --out here";
            let mut shell = command(&desk, "sh");
            shell.args(["-c", &format!("trap '' {ignored}; exec {program} {args}")]);
            let mut child = Running::start(shell.stdout(Stdio::null()).stderr(Stdio::null()));
            let history = desk.path("here/history.csv");
            wait_for(&history);
            child.send(ignored);
            // It goes on: after some more epochs than one may have been under way.
            let epochs = || fs::read_to_string(&history).unwrap().lines().count();
            let before = epochs();
            wait_until(&format!("epochs after {ignored}"), || epochs() >= before + 3);
            let other = signals.into_iter().find(|&signal| signal != ignored).unwrap();
            child.send(other);
            assert_eq!(child.end().code(), Some(130), "{other}, not {ignored}");
        }
    }

    #[test]
    fn a_reader_that_goes_away_is_no_failure() {
        let desk = Desk::new();
        for args in ["list", "summary cse574-cnn", "info", "train biu-base --epochs 1"] {
            let mut child = start(&desk, args);
            drop(child.0.stdout.take());
            let mut said = String::new();
            child.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            assert!(child.end().success(), "{args}: {said}");
            assert!(!said.contains("error") && !said.contains("panicked"), "{args}: {said}");
        }
        // Nor is one of stderr.
        let mut child = start(&desk, "train biu-base --epochs 1");
        drop(child.0.stderr.take());
        assert!(child.end().success());
    }
}
