//! What fits a screen: the progress of all long commands, and all tables, on terminals of some widths and in pipes.

#[cfg(target_os = "linux")]
use crate::common::desk::{self, DATA, Desk};
use crate::common::sets::{NAMES, gzip};
#[cfg(target_os = "linux")]
use crate::common::terminal::on_terminal;
use std::fs;
use std::path::Path;

/// The drawn set without the file that says that it is one: nothing is said about it.
fn other_data(desk: &Desk, name: &str) {
    desk::copy(DATA.path(), &desk.path(name));
    fs::remove_file(desk.path(name).join("NOT-FASHION-MNIST.txt")).unwrap();
}

/// Commands that may take long, with little to do; each may be given again. Each in its own folders, so that the
/// runs are new.
fn long_commands(desk: &Desk) -> Vec<String> {
    other_data(desk, "data");
    // Packed, and large enough that a bar is seen.
    fs::create_dir(desk.path("packed")).unwrap();
    for name in NAMES {
        let bytes = fs::read(desk.path("data").join(name)).unwrap();
        fs::write(desk.path("packed").join(format!("{name}.gz")), gzip(&bytes)).unwrap();
    }
    desk.run("data flights --rows 300 --out flights.csv").assert().success();
    for (class, shade) in [("a", 20), ("b", 200)] {
        let folder = desk.path("pictures").join(class);
        fs::create_dir_all(&folder).unwrap();
        for i in 0..4 {
            let picture = image::GrayImage::from_pixel(28, 28, image::Luma([shade + i]));
            picture.save(folder.join(format!("{i}.png"))).unwrap();
        }
    }
    [
        "train nlp-mlp80 --epochs 20 --batch-size 2",
        "reproduce biu-base biu-relu",
        "search biu-relu --grid learning-rate=0.1,0.05 --epochs 1",
        "compare logistic knn --iterations 5",
        "regress flights.csv --target price --models linear,forest",
        "bench biu-base biu-relu --threads 1 --samples 1",
        "bench --kernels 784x10 --threads 1 --samples 1",
        "data flights --rows 20000 --out drawn.csv",
        "data import pictures OUT",
        "data verify --data packed",
    ]
    .map(str::to_owned)
    .into()
}

/// In a pipe there are plain lines; on a terminal none is wider than it, and with `-q` there is nothing at all.
#[cfg(target_os = "linux")]
#[test]
fn long_commands_show_progress_that_fits() {
    let desk = Desk::new();
    let data = desk.path("data").display().to_string();
    for (number, command) in long_commands(&desk).into_iter().enumerate() {
        let of = |way: &str| command.replace("OUT", &format!("imported-{way}"));
        let forget = || drop(fs::remove_dir_all(desk.path("cache")));

        forget();
        let piped = desk.run(&of("pipe")).env("THREADCOUNT_DATA", &data).assert().success();
        let said = String::from_utf8_lossy(&piped.get_output().stderr).into_owned();
        assert!(said.chars().all(|c| c == '\n' || !c.is_control()), "{command}: {said:?}");

        forget();
        let Some(quiet) = on_terminal(&desk, &format!("-q {}", of("quiet")), &data, 80) else {
            return;
        };
        assert!(
            quiet.raw.is_empty() || quiet.raw.starts_with("threadcount: warning:"),
            "{command}: {:?}",
            quiet.raw
        );
        assert!(
            !quiet.raw.contains('\x1b') && !quiet.raw.contains('['),
            "{command}: {:?}",
            quiet.raw
        );

        forget();
        let width = [80, 60][number % 2];
        let shown = on_terminal(&desk, &of("shown"), &data, width).unwrap();
        assert!(shown.raw.contains("\x1b["), "nothing is redrawn by {command}: {:?}", shown.raw);
        for line in &shown.lines {
            assert!(fits(line, width), "{command}, {width}: {line}");
        }
    }
}

/// Names of files are never broken: one that is too long has a line of its own.
#[cfg(target_os = "linux")]
fn fits(line: &str, width: usize) -> bool {
    line.chars().count() <= width || !line.trim().contains(' ')
}

#[cfg(target_os = "linux")]
#[test]
fn a_training_run_fits_every_terminal() {
    let desk = Desk::new();
    let data = DATA.path().display().to_string();
    for width in [60, 80, 100, 200] {
        let command = "train nlp-cnn --epochs 2 --batch-size 2";
        let Some(shown) = on_terminal(&desk, command, &data, width) else { return };
        let text = shown.raw;
        assert!(text.contains("epoch 1/2") && text.contains('['), "{text}");
        assert!(text.contains("=>") && text.contains(" left"), "{width}: {text}");
        for line in &shown.lines {
            assert!(fits(line, width), "{width}: {line}");
        }
    }
}

/// The synthetic set is drawn where there are no data: with a bar, and in a pipe with a line.
#[cfg(target_os = "linux")]
#[test]
fn drawing_the_synthetic_set_is_shown() {
    let desk = Desk::new();
    let Some(shown) = on_terminal(&desk, "data show 0", "", 80) else { return };
    assert!(
        shown.lines.iter().any(|line| line.starts_with("drawing the synthetic set  [=")),
        "{}",
        shown.raw
    );
    assert!(shown.lines.iter().any(|line| line.contains("/70,000")), "{}", shown.raw);
    for line in &shown.lines {
        assert!(fits(line, 80), "{line}");
    }
}

/// A name of 60 characters, as of a file.
const LONG: &str = "a-network-of-mine_with-a-name-of-exactly-60-characters.in.it";

/// Commands whose results are tables, with long names in all of them; and words that have to be there at any width.
fn tables(desk: &Desk) -> Vec<(String, Vec<&'static str>)> {
    assert_eq!(LONG.chars().count(), 60);
    other_data(desk, "data");
    let names: Vec<String> =
        (0..10).map(|i| format!("a class of {i} with thirty letters")[..30].to_owned()).collect();
    fs::write(desk.path("data/classes.txt"), names.join("\n")).unwrap();
    let recipe = desk.output("recipe nlp-softmax");
    fs::write(desk.path(&format!("{LONG}.toml")), recipe).unwrap();
    desk.run("data flights --rows 300 --out flights.csv").assert().success();
    let data = desk.path("data").display().to_string();
    let run = |args: &str| drop(desk.run(args).env("THREADCOUNT_DATA", &data).assert().success());
    run(&format!("train {LONG}.toml --epochs 1 --out runs/{LONG}"));
    run(&format!("train {LONG}.toml --epochs 2 --batch-size 16"));
    run("train biu-relu --epochs 1");
    fs::copy(desk.path("data").join(NAMES[2]), desk.path(&format!("{LONG}.idx"))).unwrap();
    let mut tables = Vec::new();
    let mut add = |command: &str, words: &[&'static str]| {
        tables.push((command.replace("LONG", LONG), words.to_vec()));
    };
    add(
        "reproduce biu-base LONG.toml --repeats 2",
        &["images/s", "parameters", "epochs", "(", "biu-base"],
    );
    add("record 92 --repeats 2", &["reached", "parameters", "GFLOP/s", "±", "114,058"]);
    add("compare logistic knn LONG.toml --iterations 5", &["macro", "images/s", "size", "KiB"]);
    add("regress flights.csv --target price --models mean,linear", &["RMSE", "root", "memory"]);
    add(
        "search LONG.toml --grid learning-rate=0.1,0.05 --grid schedule=constant;cosine;one-cycle --epochs 1 --out found",
        &["val_accuracy", "rank", "one-cycle"],
    );
    add(
        "bench LONG.toml --threads 1 --samples 1 --profile --baseline early",
        &["ms/step", "GFLOP/s", "efficiency", "MiB", "limit", "early", "phase"],
    );
    add("bench --kernels 784x10 --threads 1 --samples 1", &["shape", "GB/s", "naive", "784x10"]);
    add("info --peak", &["FMA", "L1", "memory"]);
    add("runs", &["test", "epochs", "biu-relu"]);
    add("runs show LONG", &["val_accuracy", "optimizer.name", "layer 1: kind"]);
    add("runs compare LONG biu-relu LONG-2", &["batch-size", "val_loss", "differs", "results"]);
    add("eval runs/LONG", &["precision", "f1-score", "weighted avg", "predicted"]);
    add("predict runs/LONG LONG.idx", &["probability", "others", "#99"]);
    add("list", &["cse574-cnn", "records"]);
    add("summary LONG.toml", &["Param #", "Total params"]);
    add("data show 3", &["training image 3"]);
    add("data verify", &["thirty", "sha256", "training"]);
    tables
}

/// In 80 columns, and with all columns side by side in 200; nothing is lost between the two.
#[test]
fn every_table_fits_80_columns() {
    let desk = Desk::new();
    let data = desk.path("data").display().to_string();
    for (command, words) in tables(&desk) {
        let of = |width: &str| {
            if command.starts_with("search") {
                drop(fs::remove_dir_all(desk.path("found")));
            }
            let mut run = desk.run(&command);
            let run = run.env("COLUMNS", width).env("THREADCOUNT_DATA", &data).assert().success();
            String::from_utf8(run.get_output().stdout.clone()).unwrap()
        };
        let (narrow, wide) = (of("80"), of("200"));
        for line in narrow.lines() {
            assert!(line.chars().count() <= 80, "{command}: {line}\n{narrow}");
        }
        for line in wide.lines() {
            assert!(line.chars().count() <= 200, "{command}: {line}\n{wide}");
        }
        for word in words {
            assert!(
                narrow.contains(word) && wide.contains(word),
                "{command}, {word}:\n{narrow}\n{wide}"
            );
        }
        // The same figures, where they do not depend on the clock.
        if ["runs", "eval", "predict", "list", "summary", "data"]
            .contains(&command.split(' ').next().unwrap())
        {
            let figures = |text: &str| -> Vec<String> {
                let words = text.split([' ', '|', '\n', '(', ')', ',']).map(str::to_owned);
                let mut found: Vec<String> = words
                    .filter(|word| word.contains('.') && word.parse::<f64>().is_ok())
                    .collect();
                found.sort();
                found.dedup();
                found
            };
            let (narrow, wide) = (figures(&narrow), figures(&wide));
            // A list of runs leaves columns out, in an order that is told.
            let is_list = command == "runs";
            assert!(
                wide.iter().all(|figure| is_list || narrow.contains(figure)),
                "{command}: {narrow:?} {wide:?}"
            );
        }
        if let Ok(folder) = std::env::var("SCREENS") {
            let name = command.replace([' ', '/'], "_");
            let folder = Path::new(&folder);
            fs::write(
                folder.join(format!("{:.60}", name)),
                format!("{command}\n\n{narrow}\n\n{wide}"),
            )
            .unwrap();
        }
    }
}
