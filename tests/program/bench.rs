//! `threadcount bench`: what it prints and writes. Nothing here depends on how fast anything is.

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::{contains, is_empty, starts_with};
use serde_json::Value;
use std::fs;
use std::sync::LazyLock;
use tempfile::TempDir;
use threadcount::data::{Cache, Dataset, Identity, synthetic};
use threadcount_kernels::machine::machine;

/// The drawn set that all tests share.
static DATA: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = TempDir::new().unwrap();
    synthetic::generate(folder.path(), 1, 400, 100).unwrap();
    folder
});

/// The program in that folder, with the drawn set and without any other settings from outside.
fn bench(folder: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("threadcount").unwrap();
    for name in ["THREADCOUNT_THREADS", "THREADCOUNT_ISA", "MATMUL_NUM_THREADS"] {
        command.env_remove(name);
    }
    command.current_dir(folder.path()).arg("bench").args(args);
    // Tables are whole, and no text is broken.
    command.env("THREADCOUNT_DATA", DATA.path()).env("COLUMNS", "1000");
    command
}

/// A file in that folder.
fn read(folder: &TempDir, name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(folder.path().join(name)).unwrap()).unwrap()
}

#[test]
fn one_row_for_each_recipe_and_number_of_threads() {
    let folder = TempDir::new().unwrap();
    let args = ["biu-base", "cse574-cnn", "--samples", "1", "--json", "out.json"];
    let table = starts_with("threadcount 0.").and(contains("| cse574-cnn"));
    let table = table.and(contains("images/s")).and(contains("x naive").not());
    // The set is announced once, however many processes open it.
    let announced = contains("NOT FASHION-MNIST").count(1).and(contains("measuring ").count(1));
    let announced = announced.and(predicate::function(|text: &str| text.lines().count() == 2));
    bench(&folder, &args).assert().success().stdout(table).stderr(announced);

    let document = read(&folder, "out.json");
    assert_eq!(document["machine"]["physical_cores"], machine().physical_cores);
    let rows = document["recipes"].as_array().unwrap();
    let mut counts = vec![1, machine().physical_cores];
    counts.dedup();
    let expected: Vec<_> = ["biu-base", "cse574-cnn"]
        .into_iter()
        .flat_map(|recipe| counts.iter().map(move |&threads| (recipe, threads)))
        .collect();
    assert_eq!(rows.len(), expected.len());
    for (row, (recipe, threads)) in rows.iter().zip(expected) {
        assert_eq!(row["recipe"], recipe);
        assert_eq!(row["threads"], threads);
        assert_eq!(row["isa"], document["machine"]["isa"]);
        assert_eq!(row["precision"], "f32");
        for field in ["images_per_second", "ms_per_step", "gflops", "percent_of_peak"] {
            assert!(row[field].as_f64().unwrap() > 0.0, "{recipe}: {field}");
        }
        let batch = if recipe == "biu-base" { 32.0 } else { 64.0 };
        let step = row["ms_per_step"].as_f64().unwrap() / 1e3;
        let images = row["images_per_second"].as_f64().unwrap() * step;
        assert!((images - batch).abs() < 1e-6, "{recipe}: {images} images in a step");
        assert!(row["naive_ratio"].is_null() && row["early_ratio"].is_null());
        if cfg!(target_os = "linux") {
            assert!(row["peak_rss_mib"].as_f64().unwrap() > 1.0);
        }
        assert_eq!(row.as_object().unwrap().len(), 11);
    }
}

#[test]
fn the_beginning_is_a_baseline() {
    let folder = TempDir::new().unwrap();
    let args = "biu-adam nlp-softmax --threads 1 --samples 1 --baseline early --json out.json";
    let table = contains("| x early").and(contains("first second of training"));
    bench(&folder, &args.split(' ').collect::<Vec<_>>()).assert().success().stdout(table);
    let document = read(&folder, "out.json");
    let rows = document["recipes"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert!(row["early_ratio"].as_f64().unwrap() > 0.0 && row["naive_ratio"].is_null());
    }
}

#[test]
fn the_naive_network_is_the_baseline() {
    let folder = TempDir::new().unwrap();
    let args = "colman2023 --threads 1 --isa portable --samples 1 --baseline naive --json -";
    let output = bench(&folder, &args.split(' ').collect::<Vec<_>>()).output().unwrap();
    assert!(output.status.success());
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let [row] = &document["recipes"].as_array().unwrap()[..] else { panic!("one recipe") };
    assert_eq!(row["recipe"], "colman-scratch");
    assert_eq!(row["isa"], "portable");
    assert!(row["naive_ratio"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_step_is_taken_apart() {
    let folder = TempDir::new().unwrap();
    let args = "nlp-cnn biu-scratch --threads 1 --samples 1 --profile --json out.json";
    let table = contains("\nnlp-cnn, 1 thread\n").and(contains("| % of limit |"));
    bench(&folder, &args.split(' ').collect::<Vec<_>>()).assert().success().stdout(table);
    let document = read(&folder, "out.json");
    let names = |row: &Value| -> Vec<String> {
        let phases = row["profile"].as_array().unwrap().iter();
        phases.map(|phase| phase["phase"].as_str().unwrap().to_owned()).collect()
    };
    let [cnn, scratch] = &document["recipes"].as_array().unwrap()[..] else { panic!("two") };
    let phases = names(cnn);
    for name in
        ["conv2d_1 forward", "loss", "conv2d_1 dw", "conv2d_1 dx", "conv2d backward", "adam"]
    {
        assert_eq!(phases.iter().filter(|phase| *phase == name).count(), 1, "{name}: {phases:?}");
    }
    assert_eq!((&phases[0][..], &phases[phases.len() - 1][..]), ("gather", "rest"));
    assert_eq!(names(scratch), ["gather", "forward to update", "rest"]);
    for row in [cnn, scratch] {
        let phases = row["profile"].as_array().unwrap();
        let number = |phase: &Value, field| phase[field].as_f64().unwrap_or(0.0);
        let whole: f64 = phases.iter().map(|phase| number(phase, "percent_of_step")).sum();
        assert!(whole > 99.9, "{whole} % of {}", row["recipe"]);
        let (rest, phases) = phases.split_last().unwrap();
        assert!(rest["limit"].is_null() && rest["gflops"].is_null());
        for phase in phases {
            let by = if phase["limit"] == "fma" { "gflops" } else { "gbytes_per_second" };
            assert!(number(phase, "ms") > 0.0 && number(phase, by) > 0.0, "{phase}");
            assert_ne!(phase["gflops"].is_null(), phase["gbytes_per_second"].is_null());
            assert_eq!(phase.as_object().unwrap().len(), 7);
        }
    }
}

/// On the real set alone, wherever the tests are told it is.
#[test]
fn time_to_accuracy() {
    let folder = TempDir::new().unwrap();
    let real = std::env::var_os("THREADCOUNT_DATA").unwrap_or_default();
    let cache = Cache::at(folder.path().join("cache"));
    let known = Dataset::open_folder(real.as_ref(), &cache);
    if !known.is_ok_and(|set| set.identity == Identity::FashionMnist) {
        eprintln!("skipped: THREADCOUNT_DATA does not name Fashion-MNIST");
        return;
    }
    // The second one claims nothing.
    let args = "biu-base nlp-mlp80 --to-accuracy --seeds 2 --threads 1 --json out.json";
    let table = contains("| biu-base").and(contains("2 of 2")).and(contains("of nlp-mlp80.\n"));
    bench(&folder, &args.split(' ').collect::<Vec<_>>())
        .env("THREADCOUNT_DATA", real)
        .assert()
        .success()
        .stdout(table);
    let document = read(&folder, "out.json");
    let [row] = &document["recipes"].as_array().unwrap()[..] else { panic!("one recipe") };
    assert_eq!(row["recipe"], "biu-base");
    assert_eq!((&row["seeds"], &row["reached"]), (&Value::from(2), &Value::from(2)));
    assert!(row["best_accuracy"].as_f64() >= row["claimed_accuracy"].as_f64());
    assert!((1..=10).contains(&row["epochs"].as_u64().unwrap()));
    assert!(row["seconds"].as_f64().unwrap() > 0.0 && row["claimed_seconds"].is_null());
    assert_eq!(row["precision"], "f32");
    assert_eq!(row.as_object().unwrap().len(), 11);
}

#[test]
fn one_row_for_each_kernel_and_number_of_threads() {
    let folder = TempDir::new().unwrap();
    let args = ["--kernels", "--samples", "1", "--json", "out.json", "256x10", "5x5x64"];
    let table = starts_with("threadcount 0.").and(contains("| dense-dw"));
    let table = table.and(contains("% of peak")).and(contains("\x1b").not());
    bench(&folder, &args)
        .assert()
        .success()
        .stdout(table)
        .stderr(starts_with("measuring 8 kernels with 1 thread\n"));

    let document = read(&folder, "out.json");
    assert_eq!(document["machine"]["physical_cores"], machine().physical_cores);
    let isa = &document["machine"]["isa"];
    let rows = document["kernels"].as_array().unwrap();
    let counts = if machine().physical_cores > 1 { 2 } else { 1 };
    // One matrix, and a convolution that batch normalisation follows: fused and apart.
    assert_eq!(rows.len(), (3 + 3 + 2) * counts);
    for row in rows {
        let (kernel, shape) = (row["kernel"].as_str().unwrap(), row["shape"].as_str().unwrap());
        assert_eq!(row["isa"], *isa);
        assert_eq!(row["precision"], "f32");
        assert!([1, machine().physical_cores].map(Value::from).contains(&row["threads"]));
        for field in ["gflops", "percent_of_peak", "naive_ratio"] {
            assert!(row[field].as_f64().unwrap() > 0.0, "{kernel} {shape}: {field}");
        }
        // It knows matrix products only.
        let ratio = &row["matrixmultiply_ratio"];
        match kernel.starts_with("conv-") {
            true => assert!(shape.contains("5x5x64") && ratio.is_null(), "{kernel} {shape}"),
            false => assert!(shape.contains("256x10") && ratio.as_f64().unwrap() > 0.0),
        }
        assert!(row["gbytes_per_second"].is_null(), "{kernel} {shape}");
        assert_eq!(row.as_object().unwrap().len(), 10);
    }
}

#[test]
fn what_does_no_products_has_bytes() {
    let folder = TempDir::new().unwrap();
    let args = ["--kernels", "--samples", "1", "--threads", "1", "--json", "-", "sgd", "relu-"];
    let output = bench(&folder, &args).output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = document["kernels"].as_array().unwrap();
    // Leaky ReLU's name holds the other's.
    assert_eq!(rows.len(), 5);
    for row in rows {
        assert!(row["gbytes_per_second"].as_f64().unwrap() > 0.0, "{row}");
        assert!(row["gflops"].is_null() && row["percent_of_peak"].is_null(), "{row}");
    }
}

#[test]
fn threads_and_instruction_set_are_those_asked_for() {
    let folder = TempDir::new().unwrap();
    let args = "--kernels --samples 1 --threads 1 --isa portable --json - dense-dx";
    let mut args: Vec<&str> = args.split(' ').collect();
    args.extend(["--", "GEMM 256X256"]);
    let output = bench(&folder, &args).output().unwrap();
    assert!(output.status.success());
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = document["kernels"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["threads"] == 1 && row["isa"] == "portable"));
    let of = |kernel| rows.iter().filter(|row| row["kernel"] == kernel).count();
    assert_eq!(of("gemm"), 1);
    assert!(of("dense-dx") > 11, "those of all the classes, and the recipes' own");
    assert_eq!(of("gemm") + of("dense-dx"), rows.len());
}

/// What is fused stands above the same by separate kernels, at the same size.
#[test]
fn fused_kernels_stand_beside_separate_ones() {
    let folder = TempDir::new().unwrap();
    let args = "--kernels --samples 1 --threads 1 --json out.json conv-pool-forward conv-dropout";
    let args: Vec<&str> = args.split(' ').collect();
    bench(&folder, &args).assert().success().stdout(contains("\nApart: "));
    let document = read(&folder, "out.json");
    let rows = document["kernels"].as_array().unwrap();
    let of = |kernel| rows.iter().filter(|row| row["kernel"] == kernel).count();
    assert!(of("conv-pool-forward") > 0 && of("conv-dropout-pool-forward") > 0);
    for pair in rows.chunks(2) {
        let [fused, apart] = pair else { panic!("a row without its like") };
        assert_eq!(format!("{}-apart", fused["kernel"].as_str().unwrap()), apart["kernel"]);
        assert_eq!(fused["shape"], apart["shape"]);
    }
}

#[test]
fn usage_errors_say_what_there_is() {
    let folder = TempDir::new().unwrap();
    let refuses = |args: &[&str], words: &str| {
        let line = starts_with("threadcount: error: ").and(contains(words));
        bench(&folder, args).assert().code(2).stdout(is_empty()).stderr(line);
    };
    refuses(&["cse574-mpl"], "did you mean 'cse574-mlp'?");
    refuses(&["256x10"], "no report or recipe is called '256x10'");
    refuses(&["biu-base", "--samples", "0"], "--samples 0: at least 1");
    refuses(&["biu-base", "--baseline", "fast"], "'fast'");
    refuses(&["--kernels", "--baseline", "naive"], "'--baseline <WHAT>'");
    refuses(&["--kernels", "--profile"], "'--profile'");
    refuses(&["--kernels", "--to-accuracy"], "'--to-accuracy'");
    refuses(&["--to-accuracy", "--samples", "3"], "'--samples <N>'");
    refuses(&["--to-accuracy", "--seeds", "0"], "--seeds 0: at least 1");
    refuses(&["biu-base", "--seeds", "3"], "--to-accuracy");
    refuses(&["--to-accuracy", "nlp-mlp80", "nlp-rnn"], "claimed of nlp-mlp80, nlp-rnn");
    refuses(&["--kernels", "--data", "there"], "'--data <DIR>'");
    for kernel in [
        "gemm",
        "dense-forward",
        "dense-dw",
        "dense-dx",
        "conv-backward-weights",
        "conv-pool-forward",
    ] {
        refuses(&["--kernels", "dense", "quux"], kernel);
    }
    refuses(&["--kernels", "quux"], "'quux'");
    refuses(&["--kernels", "--samples", "0"], "--samples 0: at least 1");
    refuses(&["--kernels", "--threads", "1,0"], "threads: at least 1");
    refuses(&["--kernels", "--threads", "1,x"], "'x'");
    refuses(&["--kernels", "--isa", "sse9"], "sse9");
    refuses(&["--kernels", "--json", "."], "a folder");
    refuses(&["biu-base", "--json", "."], "a folder");
    let missing = starts_with("threadcount: error: nowhere");
    let args = ["biu-base", "--data", "nowhere"];
    bench(&folder, &args).assert().code(3).stdout(is_empty()).stderr(missing);
    // The drawn set says nothing about claims.
    let other = contains("threadcount: error: ").and(contains("not Fashion-MNIST, which"));
    bench(&folder, &["--to-accuracy"]).assert().code(3).stdout(is_empty()).stderr(other);
}
