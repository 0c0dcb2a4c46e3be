//! What a shell and a terminal get: helps and small outputs as they are kept in `tests/cmd` (`TRYCMD=overwrite
//! cargo test --test program shell` writes them anew), completions, pages of the manual, and what is said of a run.

use crate::common::desk::Desk;
use crate::common::sets::{NAMES, Scratch, idx};
use predicates::prelude::*;
use predicates::str::contains;
use std::fs;
use std::process::Command;
use threadcount_kernels::machine::machine;

#[test]
fn outputs_are_those_that_are_kept() {
    let cases = trycmd::TestCases::new();
    for name in ["DATA", "THREADS", "ISA", "SEED", "RUNS", "SHARDS"] {
        // An empty setting is none.
        cases.env(format!("THREADCOUNT_{name}"), "");
    }
    cases.env("COLUMNS", "80").env("NO_COLOR", "1");
    cases.case("tests/cmd/*.trycmd");
    // The option is there only with its feature. What is said last of a file holds.
    if cfg!(feature = "tensorboard") {
        cases.skip("tests/cmd/help.trycmd");
    }
}

/// Every line of every help fits 80 columns, and says what its command can be tried with.
#[test]
fn helps_fit_and_teach_by_example() {
    let kept = fs::read_to_string("tests/cmd/help.trycmd").unwrap();
    assert!(kept.matches("Examples:").count() >= 26);
    for line in kept.lines().filter(|line| !line.trim_start().starts_with("threadcount ")) {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn completions_and_pages_know_the_commands() {
    let desk = Desk::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let all = contains("summary").and(contains("learning-rate")).and(contains("compare"));
        desk.bare(&format!("completions {shell}")).assert().success().stdout(all).stderr("");
    }
    desk.bare("man").assert().success().stdout(contains(".TH threadcount 1")).stderr("");
    desk.bare("man pages/man1").assert().success().stdout("").stderr(contains("pages/man1"));
    for name in
        ["threadcount", "threadcount-train", "threadcount-runs-compare", "threadcount-data-show"]
    {
        let page = desk.read(&format!("pages/man1/{name}.1"));
        assert!(page.starts_with(".ie"), "{name}");
        assert_eq!(page.contains("Examples"), name != "threadcount", "{name}");
    }
}

/// A script of bash that is the whole completion: bash itself has to find it sound.
#[cfg(unix)]
#[test]
fn bash_completes_with_its_script() {
    let desk = Desk::new();
    let script = desk.bare("completions bash").output().unwrap().stdout;
    fs::write(desk.path("script"), script).unwrap();
    let ask = "source ./script; COMP_WORDS=(threadcount ru); COMP_CWORD=1; \
               _threadcount threadcount ru threadcount; echo \"${COMPREPLY[*]}\"";
    // Where there is no bash, there is nothing to complete.
    let Ok(output) = Command::new("bash").args(["-c", ask]).current_dir(desk.folder()).output()
    else {
        return;
    };
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "runs");
}

/// The version, and the commit that the program was built from; a run's folder keeps it.
#[test]
fn the_program_and_its_runs_name_the_revision() {
    let desk = Desk::new();
    let revision = option_env!("THREADCOUNT_REVISION");
    let version = concat!("threadcount ", env!("CARGO_PKG_VERSION"));
    let told = match revision {
        Some(revision) => format!("{version} ({revision})\n"),
        None => format!("{version}\n"),
    };
    assert_eq!(desk.output("--version"), told);
    if let Some(revision) = revision {
        let hash = revision.strip_suffix("-dirty").unwrap_or(revision);
        assert!(hash.len() >= 7 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{revision}");
        // The commit is one of this repository, though not its last one if that came while tests were compiled.
        let known =
            Command::new("git").args(["cat-file", "-e", &format!("{hash}^{{commit}}")]).status();
        assert!(known.is_ok_and(|known| known.success()), "{revision}");
    } else {
        // Tests are in the repository only, but git need not be there.
        let git = Command::new("git").args(["rev-parse", "HEAD"]).output();
        let is_checkout = fs::exists(".git").unwrap() && git.is_ok_and(|git| git.status.success());
        assert!(!is_checkout, "a checkout without a revision");
    }

    desk.run("train biu-relu --epochs 1 -q").assert().success();
    let sessions = desk.read("runs/biu-relu/sessions.json");
    let shown = desk.output("runs show biu-relu");
    let page = desk.read("runs/biu-relu/report.html");
    match revision {
        Some(revision) => {
            assert!(sessions.contains(&format!("\"revision\": \"{revision}\"")), "{sessions}");
            assert!(shown.contains(&format!("\nrevision                {revision}\n")), "{shown}");
            assert!(page.contains(&format!("{} ({revision})", env!("CARGO_PKG_VERSION"))));
        }
        None => assert!(!sessions.contains("revision") && !shown.contains("revision")),
    }
}

#[test]
fn quiet_leaves_results_and_warnings() {
    let desk = Desk::new();
    let result = contains("test accuracy");
    let run = desk.run("train nlp-mlp80 --epochs 2 -q").assert().success().stdout(result);
    let said = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
    assert!(said.lines().all(|line| line.starts_with("threadcount: warning: ")), "{said}");
    // One more than there are: many more would take turns for a minute.
    let threads = machine().available_threads + 1;
    let warned = contains(format!("warning: {threads} threads asked for"));
    let command = format!("-q train biu-relu --epochs 1 --threads {threads}");
    desk.run(&command).assert().success().stderr(warned.and(contains("loss").not()));
    desk.run("train biu-relu --epochs 1 --out runs/biu-relu --quiet")
        .assert()
        .code(1)
        .stderr(contains("error: runs/biu-relu already holds a run"));
}

#[test]
fn an_epochs_line_in_a_pipe_is_plain_and_whole() {
    let desk = Desk::new();
    let line = |text: &str| {
        let mut lines = text.lines().filter(|line| line.starts_with("epoch ")).map(str::to_owned);
        let line = lines.next().unwrap();
        assert_eq!(lines.count(), 1, "one line for each epoch: {text}");
        line
    };
    let said = |args: &str| {
        let run = desk.run(args).env("COLUMNS", "40").assert().success();
        String::from_utf8_lossy(&run.get_output().stderr).into_owned()
    };
    let text = said("train biu-relu --epochs 2");
    let words: Vec<_> = line(&text).split_whitespace().map(str::to_owned).collect();
    assert_eq!(
        words.iter().step_by(2).collect::<Vec<_>>()[..6],
        ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", words[10].as_str()]
    );
    assert_eq!(words[11], "s");
    for part in [
        " % of it validation; ",
        "the run is in runs/biu-relu: model.safetensors, history.csv, curves.svg",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let text = said("train biu-relu --epochs 2 --verbose --learning-rate 0.0625");
    let line = line(&text);
    for part in ["images/s", "GFLOP/s", "validation ", "learning rate 0.0625"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(text.contains("Total params"), "{text}");
}

#[test]
fn a_run_that_goes_badly_says_so() {
    let desk = Desk::new();
    // It hardly moves: the loss stays, and so does what it guesses.
    let loss = contains("warning: the training loss did not fall in epoch 2");
    let chance = contains("no better than always guessing the most frequent class");
    let never = contains("warning: never predicted for any test sample: ");
    let all = loss.clone().and(chance.clone()).and(never.clone());
    desk.run("train nlp-mlp80 --epochs 3 --learning-rate 1e-12 -q").assert().success().stderr(all);
    // One that learns says nothing of the kind.
    let run = desk.run("train nlp-mlp80 --epochs 3").assert().success();
    run.stderr(loss.or(chance).or(never).not());
}

/// A rare class that looks like a frequent one is predicted in no epoch, and told once.
#[test]
fn a_class_that_is_never_predicted_is_told_once() {
    let label = |i: usize| match i % 9 {
        0..4 => 0,
        4..8 => 1,
        _ => 2,
    };
    let desk = Desk::new();
    let scratch = Scratch::empty();
    for (first, count) in [(0, 1800), (2, 90)] {
        let labels: Vec<u8> = (0..count).map(label).collect();
        let pixel = |&label: &u8| [if label == 1 { 200 } else { 20 }; 12];
        let pixels: Vec<u8> = labels.iter().flat_map(pixel).collect();
        scratch.put(NAMES[first], &idx(&[count as u32, 3, 4], &pixels));
        scratch.put(NAMES[first + 1], &idx(&[count as u32], &labels));
    }
    let told = |quiet: &str| {
        let data = scratch.folder.display();
        let mut run = desk.run(&format!(
            "train nlp-softmax --epochs 4 --learning-rate 0.05 --data {data} {quiet}"
        ));
        let line =
            contains("warning: after epoch 2 no validation sample is predicted as 2: ").count(1);
        let once = contains("no validation sample is predicted").count(1);
        let never = contains("never predicted for any test sample: 2;").count(1);
        run.assert().success().stderr(line.and(once).and(never));
    };
    told("");
    told("-q");
}
