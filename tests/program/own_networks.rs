//! The program with files of one's own: printed recipes train to the bits of the built-in ones, and a run
//! of a file is continued, evaluated, measured and shown like any other.

use std::fs;
use std::path::PathBuf;

use crate::common::sets::{NAMES, Scratch, idx, images};
use assert_cmd::Command;
use threadcount::reports;

/// A folder with a small set of 28x28 images, in which the program is started.
struct Desk(Scratch);

impl Desk {
    fn new() -> Self {
        let scratch = Scratch::empty();
        for (count, [images_name, labels_name]) in
            [(300, [NAMES[0], NAMES[1]]), (100, [NAMES[2], NAMES[3]])]
        {
            let labels: Vec<u8> = (0..count).map(|i| (i * 7 % 10) as u8).collect();
            scratch.put(images_name, &images(count, 28, 28));
            scratch.put(labels_name, &idx(&[count as u32], &labels));
        }
        Self(scratch)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn run(&self, args: &str) -> Command {
        let mut command = Command::cargo_bin("threadcount").unwrap();
        for name in ["THREADS", "SEED", "RUNS"] {
            command.env_remove(format!("THREADCOUNT_{name}"));
        }
        command.current_dir(self.0.path()).env("THREADCOUNT_CACHE", self.path("cache"));
        command.env("THREADCOUNT_DATA", &self.0.folder).args(args.split_whitespace());
        command
    }

    fn output(&self, args: &str) -> String {
        let output = self.run(args).assert().success().get_output().stdout.clone();
        String::from_utf8(output).unwrap()
    }

    fn refusal(&self, args: &str, code: i32) -> String {
        let output = self.run(args).assert().code(code).get_output().stderr.clone();
        String::from_utf8(output).unwrap()
    }
}

/// The file without what depends on the clock.
fn bytes(desk: &Desk, name: &str) -> Vec<u8> {
    fs::read(desk.path(name)).unwrap()
}

#[test]
fn a_printed_recipe_trains_to_the_same_bits() {
    let desk = Desk::new();
    for recipe in reports::recipes() {
        let id = &recipe.id;
        desk.put(&format!("my-{id}.toml"), &desk.output(&format!("recipe {id}")));
        let epochs = if recipe.task.batch_size == 1 { 1 } else { 2 };
        let train = |what: &str, out: &str| {
            desk.output(&format!("train {what} --epochs {epochs} --seed 3 --threads 1 --out {out}"))
        };
        let built_in = train(id, &format!("run-{id}"));
        let own = train(&format!("my-{id}.toml"), &format!("own-{id}"));
        assert_eq!(own, built_in, "{id}: the evaluations");
        let [own, built_in] =
            ["own", "run"].map(|name| bytes(&desk, &format!("{name}-{id}/model.safetensors")));
        assert!(own == built_in, "{id}: the models");
        let task = |run: &str| {
            let text = fs::read_to_string(desk.path(&format!("{run}-{id}/run.toml"))).unwrap();
            text.split_once("[task]").unwrap().1.to_owned()
        };
        assert_eq!(task("own"), task("run"), "{id}: the tasks of run.toml");
    }
}

/// Batch norm, dropout, another optimizer, a held-out part: nothing that any one recipe has.
const OWN: &str = r#"
selection = { partition = { as-filed = { tail = 0.2 } } }
input = "image"
optimizer = { name = "rmsprop", learning-rate = 0.002, momentum = 0.5 }
epochs = 3
batch-size = 32
keep = "best-loss"

[[layers]]
kind = "conv2d"
filters = 6
kernel = 5
activation = { leaky-relu = 0.2 }

[[layers]]
kind = "batch-norm"

[[layers]]
kind = "global-average-pool2d"

[[layers]]
kind = "dropout"
rate = 0.1

[[layers]]
kind = "dense"
units = "classes"
"#;

#[test]
fn a_run_of_a_file_is_continued_evaluated_and_shown_without_the_file() {
    let desk = Desk::new();
    desk.put("mine.toml", OWN);
    let summary = desk.output("summary mine.toml");
    assert!(summary.contains("Conv2D - BatchNormalization - GlobalAveragePooling2D"), "{summary}");
    // 6 (5 5 + 1) weights, 4 numbers a channel of the batch norm, 10 (6 + 1) of the outputs.
    assert!(summary.contains("250"), "{summary}");

    desk.output("train mine.toml --seed 4 --out whole");
    desk.output("train mine.toml --seed 4 --epochs 1 --out parts");
    fs::remove_file(desk.path("mine.toml")).unwrap();
    desk.output("train --resume parts --epochs 3");
    assert!(bytes(&desk, "whole/model.safetensors") == bytes(&desk, "parts/model.safetensors"));

    let [whole, parts] = ["whole", "parts"].map(|run| desk.output(&format!("eval {run} --json")));
    let [whole, parts] =
        [whole, parts].map(|json| serde_json::from_str::<serde_json::Value>(&json).unwrap());
    assert_eq!(whole["test_loss"], parts["test_loss"]);
    assert!(whole["test_loss"].as_f64().unwrap().is_finite());

    // Of the record a person may make a recipe again.
    let record = fs::read_to_string(desk.path("whole/run.toml")).unwrap();
    desk.put("again.toml", record.split_once("[task]\n").unwrap().1);
    desk.output("train again.toml --seed 4 --out again");
    assert!(bytes(&desk, "whole/model.safetensors") == bytes(&desk, "again/model.safetensors"));
}

/// A file beside `--resume` has to be what the run was started with: the run goes on with its own task.
#[test]
fn a_run_is_not_continued_with_a_file_that_has_changed() {
    let desk = Desk::new();
    let printed = desk.output("recipe nlp-mlp80").replace("epochs = 30", "epochs = 2");
    assert!(printed.contains("\nepochs = 2\n"), "{printed}");
    desk.put("mine.toml", &printed);
    desk.output("train mine.toml --epochs 1 --out run");
    let record = fs::read_to_string(desk.path("run/run.toml")).unwrap();
    let refused = |from: &str, to: &str, wanted: &str| {
        assert!(printed.contains(from), "{printed}");
        desk.put("mine.toml", &printed.replacen(from, to, 1));
        let message = desk.refusal("train --resume run mine.toml --epochs 2", 2);
        assert!(message.contains(&format!("mine.toml: {wanted}, and was ")), "{message}");
        assert!(message.contains("when run was started; leave the file out to go on"), "{message}");
        assert_eq!(fs::read_to_string(desk.path("run/run.toml")).unwrap(), record);
    };
    // Every line of the file that holds one setting, and a few inside of the others.
    for (from, to, wanted) in [
        ("units = 80", "units = 81", "layer 1: units is 81"),
        ("activation = \"relu\"", "activation = \"tanh\"", "layer 1: activation is \"tanh\""),
        ("batch-size = 32", "batch-size = 31", "batch-size is 31"),
        ("order = \"shuffled\"", "order = \"as-split\"", "order is \"as-split\""),
        ("keep = \"best-loss\"", "keep = \"last\"", "keep is \"last\""),
        ("patience = 3", "patience = 4", "early-stopping.patience is 4"),
        ("test = 0.15", "test = 0.25", "selection.partition.shuffled.test is 0.25"),
        ("learning-rate = 0.001", "learning-rate = 0.002", "optimizer.learning-rate is 0.002"),
    ] {
        refused(from, to, wanted);
    }
    // Other epochs are what --epochs is for.
    desk.put("mine.toml", &printed);
    let message = desk.refusal("train --resume run mine.toml", 2);
    let wanted = "epochs is 2, and was 1 when run was started; give --epochs 2 to train as many";
    assert!(message.contains(wanted), "{message}");
    desk.output("train --resume run mine.toml --epochs 2");
    desk.put("mine.toml", &format!("# with a comment\n{printed}\n"));
    desk.output("train --resume run mine.toml");
}

/// Options count with the file or the recipe beside them, as they did when the run was started.
#[test]
fn a_run_is_continued_with_what_it_was_started_with() {
    let desk = Desk::new();
    let printed = desk.output("recipe nlp-softmax");
    desk.put("nlp-softmax.toml", &printed);
    desk.put("other.toml", &printed);
    let options = "--batch-size 50 --learning-rate 0.25";
    desk.output(&format!("train nlp-softmax.toml {options} --epochs 1 --out run"));
    let record = fs::read_to_string(desk.path("run/run.toml")).unwrap();
    let refused = |args: &str, code, wanted: &str| {
        let message = desk.refusal(&format!("train --resume run {args}"), code);
        assert!(message.contains(wanted), "{message}");
        assert_eq!(fs::read_to_string(desk.path("run/run.toml")).unwrap(), record);
    };
    for (what, noun) in [("nlp-softmax.toml", "file"), ("nlp-softmax", "recipe")] {
        let wanted = format!("{what}: optimizer.learning-rate is ");
        refused(&format!("{what} --epochs 2 --batch-size 50"), 2, &wanted);
        let wanted = format!(", and was 0.25 when run was started; leave the {noun} out to go on");
        refused(&format!("{what} --epochs 2 --batch-size 50"), 2, &wanted);
        let wanted = format!("{what}: batch-size is ");
        refused(&format!("{what} --epochs 2 --learning-rate 0.25"), 2, &wanted);
        refused(&format!("{what} --batch-size 51"), 2, "--batch-size: a resumed run keeps");
    }
    // The name is the run's too.
    refused(&format!("other.toml {options}"), 1, "holds a run of nlp-softmax, not of other");
    // Options that the file's own optimizer does not have, but the run's.
    desk.output("train nlp-softmax.toml --optimizer sgd --momentum 0.5 --epochs 1 --out sgd");
    desk.put("nlp-softmax.toml", &with_adam(&printed));
    let message = desk.refusal("train --resume sgd nlp-softmax.toml --momentum 0.5 --epochs 2", 2);
    assert!(message.contains("nlp-softmax.toml: optimizer."), "{message}");
    desk.put("nlp-softmax.toml", &printed);
    // A recipe's own epochs are not asked for.
    desk.output(&format!("train --resume run nlp-softmax {options}"));
    desk.output(&format!("train --resume run nlp-softmax.toml {options} --epochs 2"));
    desk.output(&format!("train --resume run nlp-softmax {options} --epochs 3"));
    desk.output("train --resume run --epochs 4");
}

/// The text of a task with Adam for its optimizer.
fn with_adam(text: &str) -> String {
    let line = |line: &str| match line.starts_with("optimizer = ") {
        true => "optimizer = \"adam\"\n".to_owned(),
        false => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn a_schedule_is_an_option_and_a_key() {
    let desk = Desk::new();
    let printed = desk.output("recipe nlp-softmax");
    assert!(printed.contains("schedule = \"constant\"\nwarm-up = 0.0\n"), "{printed}");
    let cosine = printed
        .replace("schedule = \"constant\"", "schedule = { cosine = { last = 0.0 } }")
        .replace("warm-up = 0.0", "warm-up = 0.5");
    desk.put("nlp-softmax.toml", &cosine);
    desk.output("train nlp-softmax.toml --epochs 2 --out file");
    desk.output("train nlp-softmax --epochs 2 --schedule cosine --warm-up 0.5 --out options");
    desk.output("train nlp-softmax --epochs 2 --out plain");
    let model = |run: &str| bytes(&desk, &format!("{run}/model.safetensors"));
    assert!(model("file") == model("options") && model("file") != model("plain"));
    let summary = desk.output("summary nlp-softmax.toml");
    assert!(summary.contains(", cosine to 0 of the rate, 0.5 epochs of warm-up,"), "{summary}");
    // A schedule that is planned for some epochs is of no more; another one is.
    let message = desk.refusal("train --resume file --epochs 3", 2);
    let wanted = "the learning rates of the run in file are planned for 2 epochs (cosine to 0 of";
    assert!(message.contains(wanted), "{message}");
    desk.output("train nlp-softmax --epochs 1 --schedule steps=1 --out steps");
    desk.output("train --resume steps --epochs 2");
    let message = desk.refusal("train --resume steps --schedule cosine", 2);
    assert!(message.contains("--schedule: a resumed run keeps"), "{message}");
    for (change, wanted) in [
        ("--schedule cosin", "there is no \"cosin\"; there are constant, steps, cosine"),
        ("--warm-up -1", "warm-up is a number of epochs, 0 or more, not -1"),
        ("--warm-up 9 --epochs 9", "warm-up: 9 epochs of 9"),
        ("--schedule one-cycle --warm-up 1", "one-cycle begins with a rise of its own"),
    ] {
        let message = desk.refusal(&format!("train nlp-softmax {change}"), 2);
        assert!(message.contains(wanted), "{message}");
    }
    desk.put("bad.toml", &cosine.replace("last = 0.0", "last = 2.0"));
    let message = desk.refusal("train bad.toml", 2);
    assert!(message.contains("bad.toml: line 9: schedule: last is a share"), "{message}");
    desk.put("bad.toml", &cosine.replace("warm-up = 0.5", "warm-up = 99"));
    let message = desk.refusal("train bad.toml", 2);
    assert!(message.contains("bad.toml: line 10: warm-up: 99 epochs of"), "{message}");
}

#[test]
fn what_regularises_is_an_option_and_a_key() {
    let desk = Desk::new();
    let printed = desk.output("recipe nlp-softmax");
    assert!(printed.contains("label-smoothing = 0.0\nl2 = 0.0\noptimizer = "), "{printed}");
    assert!(!printed.contains("clip-norm") && !printed.contains("weight-average"), "{printed}");
    let changed = printed
        .replace("label-smoothing = 0.0", "label-smoothing = 0.1")
        .replace("l2 = 0.0", "l2 = 0.001\nclip-norm = 0.5\nweight-average = 0.9");
    let lines = changed.lines().map(|line| match line.starts_with("optimizer = ") {
        true => "optimizer = { name = \"adamw\", weight-decay = 0.3 }\n".to_owned(),
        false => format!("{line}\n"),
    });
    let changed: String = lines.collect();
    desk.put("mine.toml", &changed);
    let all = [
        ("optimizer", "adamw"),
        ("weight-decay", "0.3"),
        ("label-smoothing", "0.1"),
        ("l2", "0.001"),
        ("clip-norm", "0.5"),
        ("weight-average", "0.9"),
    ];
    let model = |run: &str| bytes(&desk, &format!("{run}/model.safetensors"));
    let train = |run: &str, without: &str| {
        let mut options = String::new();
        for (name, value) in all.iter().filter(|(name, _)| *name != without) {
            options += &format!(" --{name} {value}");
        }
        desk.output(&format!("train nlp-softmax --epochs 1 --out {run}{options}"));
        model(run)
    };
    desk.output("train mine.toml --epochs 1 --out file");
    assert!(model("file") == train("options", ""));
    for (number, (name, _)) in all.iter().enumerate().skip(1) {
        assert!(model("file") != train(&format!("without-{number}"), name), "{name}");
        let message = desk.refusal(&format!("train --resume file --{name} 0.7"), 2);
        assert!(message.contains(&format!("--{name}: a resumed run keeps")), "{message}");
    }
    // The loss that is told includes the penalty and the smoothed labels, wherever it is told.
    let toml: toml::Table =
        String::from_utf8(bytes(&desk, "file/run.toml")).unwrap().parse().unwrap();
    let trained = toml["result"]["test_loss"].as_float().unwrap();
    let json: serde_json::Value = serde_json::from_str(&desk.output("eval file --json")).unwrap();
    let evaluated = json["test_loss"].as_f64().unwrap();
    assert!((trained - evaluated).abs() < 1e-6, "{trained}, {evaluated}");

    for (change, wanted) in [
        (
            "--label-smoothing 1",
            "label-smoothing: a share of the label is from 0 to below 1, not 1",
        ),
        ("--label-smoothing -0.1", "label-smoothing: a share"),
        ("--l2 -1", "l2: a factor of 0 or more, not -1"),
        ("--l2 NaN", "l2: a factor"),
        ("--clip-norm 0", "clip-norm: a norm is a positive number, not 0"),
        ("--weight-average 1", "weight-average: a decay is from 0 to below 1, not 1"),
        ("--weight-decay 0.1", "weight-decay: adam has none; use it with adamw"),
        ("--optimizer adamw --weight-decay -1", "adamw: the weight decay must not be negative"),
        ("--optimizer adamw --momentum 0.5", "momentum: Adam has its own"),
    ] {
        let message = desk.refusal(&format!("train nlp-softmax {change}"), 2);
        assert!(message.contains(wanted), "{message}");
        assert!(!desk.path("runs/nlp-softmax").exists(), "{change} left a folder");
    }
    for (key, wanted) in [
        ("label-smoothing = 0.1", "line 6: label-smoothing: a share"),
        ("l2 = 0.001", "line 7: l2: a factor"),
        ("clip-norm = 0.5", "line 8: clip-norm: a norm"),
        ("weight-average = 0.9", "line 9: weight-average: a decay"),
    ] {
        let (name, _) = key.split_once(" = ").unwrap();
        desk.put("bad.toml", &changed.replace(key, &format!("{name} = -3.0")));
        let message = desk.refusal("train bad.toml", 2);
        assert!(message.contains(wanted), "{message}");
    }
    desk.put("bad.toml", &changed.replace("softmax-cross-entropy", "mean-squared-error"));
    let message = desk.refusal("train bad.toml", 2);
    assert!(
        message.contains("line 6: label-smoothing: squared errors have no labels"),
        "{message}"
    );
}

#[test]
fn augmentation_is_an_option_and_a_key() {
    let desk = Desk::new();
    let printed = desk.output("recipe nlp-softmax");
    assert!(!printed.contains("augment"), "{printed}");
    let all = "augment = { rotate = 10.0, scale = 0.1, shift = 2, flip = true, erase = 0.2 }";
    desk.put("nlp-softmax.toml", &format!("{all}\n{printed}"));
    let options = "--augment rotate=10,scale=0.1,shift=2,flip,erase=0.2";
    desk.output("train nlp-softmax.toml --epochs 1 --out file");
    desk.output(&format!("train nlp-softmax --epochs 1 {options} --threads 2 --out options"));
    desk.output("train nlp-softmax --epochs 1 --out plain");
    desk.output("train nlp-softmax.toml --epochs 1 --augment none --out none");
    let model = |run: &str| bytes(&desk, &format!("{run}/model.safetensors"));
    // Behind the header, which has the run's id.
    let weights = |run: &str| {
        let mut model = model(run);
        let header = u64::from_le_bytes(model[..8].try_into().unwrap());
        model.split_off(8 + header as usize)
    };
    assert!(model("file") == model("options") && weights("file") != weights("plain"));
    assert!(model("none") == model("plain"));
    let record = fs::read_to_string(desk.path("options/run.toml")).unwrap();
    assert!(record.contains(all), "{record}");
    let summary = desk.output("summary nlp-softmax.toml");
    let wanted = ", images augmented by rotate=10,scale=0.1,shift=2,flip,erase=0.2,";
    assert!(summary.contains(wanted), "{summary}");
    // A run goes on with its own.
    let message = desk.refusal("train --resume plain --epochs 2 --augment flip", 2);
    assert!(message.contains("--augment: a resumed run keeps"), "{message}");
    let message = desk.refusal("train --resume plain --epochs 2 nlp-softmax.toml", 2);
    assert!(message.contains("nlp-softmax.toml: augment is "), "{message}");
    desk.output(&format!("train --resume options --epochs 2 {options}"));
    desk.output("train --resume file --epochs 2");
    assert!(model("file") == model("options"));
    for (change, wanted) in [
        (
            "turn=3",
            "--augment: there is no \"turn=3\"; there are rotate, scale, shift, flip, erase",
        ),
        ("rotate=200", "--augment: rotate is in degrees, from 0 to 180, not 200"),
        ("scale=-0.1", "--augment: scale is a share of the size, from 0 to below 1, not -0.1"),
        ("erase=2", "--augment: erase is a probability, from 0 to 1, not 2"),
        ("shift=-1", "--augment: shift: \"-1\" is no number of pixels"),
        ("rotate=x", "--augment: rotate: \"x\" is no number"),
        ("shift=28", "augment: a shift of 28 leaves nothing of some images, which are 28x28"),
        ("flip=1", "--augment: flip has no value"),
        ("scale", "--augment: scale has no value"),
        ("flip,flip", "--augment: flip is there twice"),
    ] {
        let message = desk.refusal(&format!("train nlp-softmax --augment {change} --out no"), 2);
        assert!(message.contains(wanted), "{message}");
        assert!(!desk.path("no").exists());
    }
    desk.put("bad.toml", &format!("epochs = 1\n{all}\nlayers = []").replace("0.1", "1.0"));
    let message = desk.refusal("train bad.toml", 2);
    assert!(message.contains("bad.toml: line 2: augment: scale is a share"), "{message}");
}

#[test]
fn a_file_is_measured_like_a_recipe() {
    let desk = Desk::new();
    desk.put("mine.toml", OWN);
    let json = desk.output("bench mine.toml --json - --threads 1 --samples 1");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["recipes"][0]["recipe"], "mine", "{json:#}");
    assert!(
        json["recipes"][0]["images_per_second"].as_f64().is_some_and(|rate| rate > 0.0),
        "{json:#}"
    );
}

#[test]
fn what_does_not_fit_is_refused_before_a_folder_is_made() {
    let desk = Desk::new();
    for (text, wanted) in [
        (
            "layers = [{ kind = \"danse\" }]",
            "mine.toml: line 1: unknown kind of layer 'danse'; did you mean 'dense'?",
        ),
        ("layers = [{ kind = \"dense\", units = 10 }]", "mine.toml: layer 1, dense takes a vector"),
        (
            "input = \"pixels\"\nloss = \"binary-cross-entropy\"\nlayers = [{ kind = \"dense\", units = 10 }]",
            "mine.toml: ",
        ),
    ] {
        desk.put("mine.toml", text);
        for command in ["train mine.toml", "train mine.toml --out mine"] {
            let message = desk.refusal(command, 2);
            assert!(message.contains(wanted), "{message}");
        }
    }
    assert!(!desk.path("runs").exists() && !desk.path("mine").exists());
    let message = desk.refusal("train mine.tml", 2);
    assert!(message.contains("a file of your own ends in .toml"), "{message}");
}

#[test]
fn a_record_of_another_version_is_refused_with_the_reason() {
    let desk = Desk::new();
    desk.output("train nlp-softmax --epochs 1 --out run");
    let record = fs::read_to_string(desk.path("run/run.toml")).unwrap();
    let lines = || record.lines().map(str::to_owned).collect::<Vec<_>>();
    let without_format: Vec<_> =
        lines().into_iter().filter(|line| !line.starts_with("format")).collect();
    for (text, wanted) in [
        (
            record.replace("format = 2", "format = 3"),
            "the record has format 3, where this version of threadcount reads 2",
        ),
        (
            record.replace("format = 2", "format = 1"),
            "the record has format 1, where this version of threadcount reads 2",
        ),
        (without_format.join("\n"), "did not record its network: train it anew"),
    ] {
        desk.put("run/run.toml", &text);
        for command in ["eval run", "train --resume run"] {
            let output = desk.run(command).assert().failure().get_output().stderr.clone();
            let message = String::from_utf8(output).unwrap();
            assert!(message.contains("run.toml: ") && message.contains(wanted), "{message}");
        }
    }
    desk.put("run/run.toml", &record);
    desk.output("eval run");
}

#[test]
fn outputs_that_follow_a_selection_of_classes_are_evaluated_as_they_were_trained() {
    let desk = Desk::new();
    let pair = "selection = { classes = { pair = { zero = 3, one = 7 } } }\ninput = \"pixels\"\n\
                epochs = 1\nlayers = [{ kind = \"dense\", units = \"classes\" }]\n";
    desk.put("pair.toml", pair);
    let trained = desk.output("train pair.toml --out pair");
    let json: serde_json::Value = serde_json::from_str(&desk.output("eval pair --json")).unwrap();
    assert_eq!(json["classes"], serde_json::json!(["3", "7"]));
    let accuracy = format!("test accuracy  {:.4}", json["test_accuracy"].as_f64().unwrap());
    assert!(trained.contains(&accuracy), "{trained}\n{json:#}");
}
