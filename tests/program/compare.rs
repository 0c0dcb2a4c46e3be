//! `threadcount compare`, and `eval` of what it saves, as a person starts them.

use crate::common::desk::Desk;
use predicates::str::contains;
use serde_json::Value;
use std::fs;

/// Standard output of a command that succeeds.
fn output(desk: &Desk, args: &str) -> String {
    let done = desk.run(args).assert().success();
    String::from_utf8(done.get_output().stdout.clone()).unwrap()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn models_and_networks_stand_side_by_side() {
    let desk = Desk::new();
    let args = "compare logistic knn forest nlp-softmax colman-scratch --trees 10 --seed 1 --threads 2 \
                --json out.json --plot out.svg --save models";
    let text = output(&desk, args);
    for words in ["| neighbours", "% of the FMA peak", "macro F1", "NOT FASHION-MNIST", "after"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let document = json(&desk.read("out.json"));
    let results = document["results"].as_array().unwrap();
    let names: Vec<_> = results.iter().map(|one| one["model"].as_str().unwrap()).collect();
    assert_eq!(names, ["logistic", "neighbours", "forest", "nlp-softmax", "colman-scratch"]);
    for one in results {
        let number = |key: &str| one[key].as_f64().unwrap();
        assert!((0.3..=1.0).contains(&number("test_accuracy")), "{one}");
        assert!((0.3..=1.0).contains(&number("macro_f1")), "{one}");
        assert!(number("bytes") > 0.0 && number("predict_seconds") > 0.0, "{one}");
        assert!(one["log_loss"].as_f64().is_some_and(|loss| loss > 0.0), "{one}");
    }
    // The speed of the neighbours' products, of 784 pixels, beside the peak that the program measures elsewhere.
    for one in results {
        assert_eq!(one["gflops"].is_null(), one["model"] != "neighbours", "{one}");
    }
    let number = |key: &str| results[1][key].as_f64().unwrap();
    let operations = 2.0 * 784.0 * number("train_images") * number("test_images");
    let computed = number("gflops") * 1e9 * number("predict_seconds");
    assert!((computed / operations - 1.0).abs() < 1e-9, "{computed} of {operations}");
    assert_eq!(number("share_of_peak"), number("gflops") / number("fma_gflops"));
    let info = json(&output(&desk, "info --json --peak --threads 2"));
    let all = info["peak"]["all_threads"]["fma_gflops"].as_f64().unwrap();
    let peaks = number("fma_gflops") / all;
    assert!((0.1..=10.0).contains(&peaks), "another unit? {peaks} times {all}");
    let svg = desk.read("out.svg");
    for words in ["neighbours", "nlp-softmax", "log loss", "training, s"] {
        assert!(svg.contains(words), "{words}");
    }
    // What was saved says the same again.
    for one in &results[..3] {
        let file = format!("models/{}.safetensors", one["model"].as_str().unwrap());
        let again = json(&output(&desk, &format!("eval {file} --json")));
        assert_eq!(again["test_accuracy"], one["test_accuracy"], "{file}");
        assert_eq!(again["report"]["macro_avg"]["f1"], one["macro_f1"], "{file}");
        assert_eq!(again["test_loss"], one["log_loss"], "{file}");
        assert_eq!(again["confusion"].as_array().unwrap().len(), 10);
    }
    assert!(output(&desk, "eval models/forest.safetensors").contains("precision"));
    // Nothing is overwritten, and that is said before anything is trained.
    let before = fs::read(desk.path("models/forest.safetensors")).unwrap();
    desk.refuses("compare forest --save models", 2, "is there already");
    assert_eq!(fs::read(desk.path("models/forest.safetensors")).unwrap(), before);
}

#[test]
fn the_same_figures_at_any_number_of_threads_and_others_for_another_seed() {
    let desk = Desk::new();
    let figures = |args: &str| {
        let document = json(&output(&desk, &format!("compare forest --trees 5 --json - {args}")));
        document["results"][0]["log_loss"].clone()
    };
    let one = figures("--threads 1");
    assert_eq!(figures("--threads 2"), one);
    assert_ne!(figures("--seed 7"), one);
}

#[test]
fn options_reach_the_models() {
    let desk = Desk::new();
    let loss = |args: &str| {
        let document = json(&output(&desk, &format!("compare --json - {args}")));
        document["results"][0]["log_loss"].as_f64().unwrap()
    };
    assert_ne!(loss("forest --trees 3"), loss("forest --trees 4"));
    assert_ne!(loss("knn --k 3"), loss("knn --k 4"));
    // A weak penalty fits the training images better than the classes.
    assert_ne!(loss("logistic --c 0.01"), loss("logistic --c 1"));
    let stopped = json(&output(&desk, "compare logistic --iterations 3 --json -"));
    let note = stopped["results"][0]["note"].as_str().unwrap();
    assert!(note.contains("not converged (--iterations) after 3 iterations"), "{note}");
}

#[test]
fn mistakes_are_refused_before_anything_is_trained() {
    let desk = Desk::new();
    desk.refuses("compare forrest", 2, "the classical models are logistic, neighbours, forest");
    desk.refuses("compare nlp-cn", 2, "did you mean 'nlp-cnn'?");
    desk.refuses("compare --trees 0", 2, "--trees: 0 trees");
    desk.refuses("compare --k 0", 2, "--k: 0 neighbours");
    desk.refuses("compare --k 401", 2, "--k: 401 neighbours of 400 training samples");
    desk.refuses("compare --c 0", 2, "--c: 0; use a number");
    desk.refuses("compare --c nan", 2, "--c: NaN; use a number");
    desk.refuses("compare --plot .", 2, "--plot .: a folder, not a file");
    desk.refuses("compare --plot nowhere/x.svg", 1, "nowhere/x.svg");
    desk.refuses("compare forest --data nowhere", 3, "nowhere");
}

#[test]
fn files_that_are_no_models_are_refused() {
    let desk = Desk::new();
    fs::write(desk.path("text"), "no model").unwrap();
    desk.refuses("eval text", 3, "not a complete safetensors file");
    output(&desk, "train nlp-softmax --epochs 1 --out run");
    desk.refuses("eval run/model.safetensors", 3, "not a model of `threadcount compare --save`");
    output(&desk, "compare logistic --save models");
    let mut bytes = fs::read(desk.path("models/logistic.safetensors")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(desk.path("damaged"), bytes).unwrap();
    desk.refuses("eval damaged", 3, "the checksum does not fit");
    // Of other images than the set has.
    let narrow = desk.path("narrow");
    fs::create_dir(&narrow).unwrap();
    let idx = |sizes: &[u32], bytes: Vec<u8>| {
        let mut file = vec![0, 0, 8, sizes.len() as u8];
        sizes.iter().for_each(|size| file.extend(size.to_be_bytes()));
        [file, bytes].concat()
    };
    for part in ["train", "t10k"] {
        let images = idx(&[10, 5, 5], vec![7; 250]);
        fs::write(narrow.join(format!("{part}-images-idx3-ubyte")), images).unwrap();
        let labels = idx(&[10], (0..10).collect());
        fs::write(narrow.join(format!("{part}-labels-idx1-ubyte")), labels).unwrap();
    }
    let asked = "eval models/logistic.safetensors --data narrow";
    desk.run(asked).assert().code(3).stderr(contains("its images measure 5x5"));
}
