//! A network that begins with another's weights, some of them frozen: as a session, and as the program.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use crate::common::desk::{DATA, Desk};
use predicates::prelude::*;
use predicates::str::contains;
use safetensors::SafeTensors;
use threadcount::data::{
    Cache, Classes, Dataset, Partition, Scaling, Selection, Split, Validation,
};
use threadcount::nn::*;
use threadcount::train::{InitialWeights, Input, Keep, Session, Setup, Task};
use threadcount_kernels::{Isa, Pool};

/// Everything that has a state.
fn task(classes: Classes, freeze: &str) -> Task {
    Task {
        selection: Selection { classes, partition: Partition::AsFiled(Validation::Test) },
        scaling: Scaling::Standardise,
        input: Input::Image,
        layers: vec![
            conv2d(4, 3, Padding::Valid, Activation::Relu),
            batch_norm(),
            max_pool(2),
            flatten(),
            dense(8, Activation::Tanh),
            dropout(0.3),
            class_outputs(),
        ],
        freeze: freeze.parse().unwrap(),
        epochs: 2,
        keep: Keep::BestLoss,
        ..Task::default()
    }
}

const PAIR: Classes = Classes::Pair { zero: 8, one: 9 };

fn split(task: &Task) -> Split {
    let cache = tempfile::TempDir::new().unwrap();
    let dataset = Dataset::open_folder(DATA.path(), &Cache::at(cache.path().to_owned())).unwrap();
    task.selection.apply(&dataset, 7).unwrap()
}

/// The tensors of a file: name and bytes.
fn tensors(path: &Path) -> Vec<(String, Vec<u8>)> {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut all: Vec<_> =
        file.iter().map(|(name, t)| (name.to_owned(), t.data().to_vec())).collect();
    all.sort();
    all
}

fn tensor(path: &Path, name: &str) -> Vec<u8> {
    let all = tensors(path).into_iter();
    all.into_iter().find(|(own, _)| own == name).unwrap_or_else(|| panic!("{name}")).1
}

/// Whatever trains, on however many threads, stopped and taken up again without the file: what is frozen
/// keeps the bits of the file, and everything has the bits of a run that was never stopped.
#[test]
fn what_is_frozen_keeps_the_bits_of_the_file_through_a_stop() {
    let folder = tempfile::TempDir::new().unwrap();
    let [base, checkpoint] = ["base", "checkpoint"].map(|name| folder.path().join(name));
    let first = task(Classes::All, "0");
    let setup = Setup { threads: Some(2), ..Setup::default() };
    let trained = first.fit(&split(&first), &setup, |_, _| ControlFlow::Continue(())).unwrap();
    trained.save(&base).unwrap();
    let kept = tensors(&base);
    let sgd = Optimizer::sgd().with_momentum(0.9);
    let plain = [Optimizer::adam(), Optimizer::sgd(), sgd, Optimizer::rmsprop()].map(|o| (o, None));
    for (optimizer, weight_average) in plain.into_iter().chain([(Optimizer::adamw(), Some(0.9))]) {
        for freeze in ["2", "dense"] {
            let task = Task { optimizer, weight_average, ..task(PAIR, freeze) };
            let split = split(&task);
            let weights = InitialWeights::read(&base).unwrap();
            let weights = weights.with_new_layers(vec!["dense_1".to_owned()]);
            let begin = || {
                let mut session = Session::new(&task, &split, 7).unwrap();
                session.init(&weights).unwrap();
                session
            };
            let pool = |threads| Pool::new(Isa::best(), threads).unwrap();
            let mut whole = begin();
            pool(2).enter(|team| {
                whole.train(team, &mut |_, _| Ok(ControlFlow::Continue(()))).unwrap();
            });
            let mut stopped = begin();
            let mut left = 2;
            pool(1).enter(|team| {
                let mut watch = |_: &Session<'_>, _| {
                    left -= 1;
                    Ok(if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
                };
                stopped.train(team, &mut watch).unwrap();
            });
            fs::write(&checkpoint, stopped.checkpoint().unwrap()).unwrap();
            let mut resumed = Session::new(&task, &split, 7).unwrap();
            assert_ne!(resumed.scale(), whole.scale());
            resumed.resume(&checkpoint).unwrap();
            pool(3).enter(|team| {
                resumed.train(team, &mut |_, _| Ok(ControlFlow::Continue(()))).unwrap();
            });
            assert_eq!(resumed.scale(), whole.scale(), "{optimizer}");
            let bits = |session: &Session<'_>| {
                let all = session.network().tensors(Saved::Model).into_iter();
                let of = |t: TensorRef<'_>| (t.name, bytemuck::cast_slice(t.data).to_vec());
                all.map(of).collect::<Vec<(String, Vec<u8>)>>()
            };
            assert_eq!(bits(&resumed), bits(&whole), "{optimizer}, {freeze}");
            for (name, bytes) in bits(&whole) {
                let layer = name.split('/').next().unwrap();
                let is_frozen = match freeze {
                    "2" => ["conv2d", "batch_normalization"].contains(&layer),
                    _ => layer == freeze,
                };
                let was = &kept.iter().find(|(own, _)| *own == name).unwrap().1;
                assert_eq!(*was == bytes, is_frozen, "{optimizer}, {freeze}: {name}");
            }
        }
    }
}

const BASE: &str = r#"
scaling = "standardise"
input = "image"
epochs = 1
layers = [
    { kind = "conv2d", filters = 3, kernel = 3, activation = "relu" },
    { kind = "pool2d", pooling = "max" },
    { kind = "batch-norm" },
    { kind = "flatten" },
    { kind = "dense", units = 8, activation = "relu" },
    { kind = "dense", units = "classes" },
]
"#;

/// From ten classes to two of them, in one command.
#[test]
fn a_run_begins_with_the_weights_of_another() {
    let desk = Desk::new();
    let put = |name: &str, text: &str| fs::write(desk.path(name), text).unwrap();
    let pair = format!("selection = {{ classes = {{ pair = {{ zero = 8, one = 9 }} }} }}\n{BASE}");
    put("base.toml", BASE);
    put("pair.toml", &pair);
    desk.run("train base.toml --out base").assert().success();
    // The last layer is of other classes, and nobody said that it is to be new.
    desk.refuses(
        "train pair.toml --init base --out x",
        3,
        "'dense_1/kernel' has the shape [8, 10], where [8, 2]",
    );
    assert!(!desk.path("x").exists());
    let begin = "train pair.toml --init base --new-layers dense_1 --freeze conv2d,batch*";
    let said = contains(
        "weights of base/model.safetensors (threadcount): conv2d, batch_normalization, dense; ",
    )
    .and(contains("drawn anew: dense_1; inputs are scaled as they were for these weights"));
    desk.run(&format!("{begin} --out fine")).assert().success().stderr(said);
    desk.run(&format!("{begin} --epochs 2 --out longer")).assert().success();
    let model = |run: &str| desk.path(&format!("{run}/model.safetensors"));
    for (name, stays) in [
        ("conv2d/kernel", true),
        ("conv2d/bias", true),
        ("batch_normalization/gamma", true),
        ("batch_normalization/moving_mean", true),
        ("batch_normalization/moving_variance", true),
        ("input/factors", true),
        ("input/offsets", true),
        ("dense/kernel", false),
        ("dense/bias", false),
    ] {
        assert_eq!(tensor(&model("base"), name) == tensor(&model("fine"), name), stays, "{name}");
    }
    let record = desk.read("fine/run.toml");
    for line in [
        "[init]",
        "format = \"threadcount\"",
        "new-layers = [\"dense_1\"]",
        "freeze = [\"conv2d\", \"batch*\"]",
    ] {
        assert!(record.contains(line), "{line}: {record}");
    }
    assert!(record.contains(&format!("file = \"{}\"", model("base").display())), "{record}");
    // The file is needed no more.
    fs::remove_dir_all(desk.path("base")).unwrap();
    desk.run("eval fine").assert().success();
    desk.run("train --resume fine --epochs 2").assert().success();
    assert_eq!(fs::read(model("fine")).unwrap(), fs::read(model("longer")).unwrap());
    desk.refuses("train --resume fine --freeze conv2d", 2, "--freeze: a resumed run keeps");
    desk.refuses(
        "train pair.toml --epochs 2 --resume fine",
        2,
        "pair.toml: freeze is not there, and was [",
    );
    desk.refuses("train --resume fine --init longer", 2, "cannot be used with");
    // What cannot be continued is not begun anew.
    fs::remove_file(desk.path("fine/checkpoint.safetensors")).unwrap();
    desk.refuses("train --resume fine --epochs 3", 3, "missing, though this run was saved");
}

#[test]
fn a_run_that_was_stopped_before_its_first_epoch_has_its_weights() {
    let desk = Desk::new();
    fs::write(desk.path("base.toml"), BASE).unwrap();
    desk.run("train base.toml --out base").assert().success();
    desk.run("train base.toml --init base --out whole --epochs 2").assert().success();
    // As it is when it has just begun.
    desk.run("train base.toml --init base --out begun --epochs 2").assert().success();
    for file in ["model.safetensors", "history.csv", "curves.svg", "checkpoint.safetensors"] {
        fs::remove_file(desk.path("begun").join(file)).unwrap();
    }
    let record = desk.read("begun/run.toml");
    let (before, _) = record.split_once("[result]").unwrap();
    let (_, task) = record.split_once("\n[task]").unwrap();
    let record = format!("{before}\n[task]{task}");
    let record: String =
        record.lines().filter(|l| !l.starts_with("checksum")).map(|l| format!("{l}\n")).collect();
    fs::write(desk.path("begun/run.toml"), record).unwrap();
    desk.refuses("train --resume begun", 3, "checkpoint.safetensors: missing");
}

#[test]
fn weights_go_to_other_frameworks_and_come_back() {
    let desk = Desk::new();
    fs::write(desk.path("base.toml"), BASE).unwrap();
    desk.run("train base.toml --out base").assert().success();
    let own = tensors(&desk.path("base/model.safetensors"));
    for (to, file, line) in [
        ("pytorch", "base/pytorch.safetensors", "nn.Linear(507, 8),  # 5: dense"),
        ("keras", "base/keras.npz", "layers.Dense(8, activation=\"relu\"),  # dense"),
    ] {
        let program = desk.run(&format!("export base --to {to}")).assert().success();
        let program = String::from_utf8(program.get_output().stdout.clone()).unwrap();
        assert!(program.contains(line), "{program}");
        assert!(program.contains(&format!("\"{file}\"")), "{program}");
        // Everything but one layer frozen, and that one drawn anew.
        let begin =
            format!("train base.toml --init {file} --freeze conv2d,batch*,dense --out back-{to}");
        desk.run(&begin).assert().success().stderr(contains(format!("({to}): conv2d, ")));
        let back = tensors(&desk.path(&format!("back-{to}/model.safetensors")));
        for ((name, bytes), (other, again)) in own.iter().zip(&back) {
            assert_eq!(name, other);
            assert_eq!(bytes == again, !name.starts_with("dense_1/"), "{to}: {name}");
        }
    }
    desk.run("export base --to keras named.npz").assert().success();
    assert!(desk.path("named.npz").exists());
    desk.refuses("export base --to jax", 2, "pytorch, keras");
    desk.refuses("export nowhere --to keras", 3, "nowhere");
}

#[test]
fn freezing_is_an_option_and_a_key() {
    let desk = Desk::new();
    let put = |name: &str, text: &str| fs::write(desk.path(name), text).unwrap();
    put("base.toml", BASE);
    put("first.toml", &format!("freeze = 1\n{BASE}"));
    put("named.toml", &format!("freeze = [\"conv2d\"]\n{BASE}"));
    desk.run("train base.toml --freeze 1 --out option").assert().success();
    desk.run("train first.toml --out first").assert().success();
    desk.run("train named.toml --out named").assert().success();
    desk.run("train base.toml --out plain").assert().success();
    let model = |run: &str| tensors(&desk.path(&format!("{run}/model.safetensors")));
    assert!(model("option") == model("first") && model("first") == model("named"));
    assert_ne!(model("first"), model("plain"));
    let summary = desk.run("summary first.toml").assert().success();
    let summary = String::from_utf8(summary.get_output().stdout.clone()).unwrap();
    // A kernel of 3x3, 3 biases, and the moving statistics of 3 channels.
    assert!(summary.contains("Non-trainable params: 36"), "{summary}");
    desk.refuses(
        "train base.toml --freeze conv2",
        2,
        "--freeze: no layer is called 'conv2'; did you mean 'conv2d'?",
    );
    desk.refuses("train base.toml --freeze 4", 2, "--freeze: no layer is left that learns");
    desk.refuses("train base.toml --freeze 9", 2, "4 layers with parameters, fewer than 9");
    desk.refuses("train base.toml --new-layers dense", 2, "--init");
    for (text, said) in [
        (
            "freeze = [\"conv2\"]",
            "bad.toml: freeze: no layer is called 'conv2'; did you mean 'conv2d'?",
        ),
        ("freeze = -1", "bad.toml: line 1: freeze"),
        ("freeze = \"conv2d\"", "a number of layers or a list of their names"),
        ("freeze = [1]", "bad.toml: line 1: a string belongs here"),
    ] {
        put("bad.toml", &format!("{text}\n{BASE}"));
        desk.refuses("train bad.toml", 2, said);
    }
    // The other setting that is checked with the network.
    let pixels = "input = \"pixels\"\nlayers = [{ kind = \"dense\", units = \"classes\" }]\n";
    put("bad.toml", &format!("test-augment = \"flip\"\n{pixels}"));
    let said = "bad.toml: test-augment: the network's inputs of shape (None, 784) are no images";
    desk.refuses("train bad.toml", 2, said);
    put("good.toml", pixels);
    let said = "--test-augment: the network's inputs of shape (None, 784) are no images";
    desk.refuses("train good.toml --test-augment flip", 2, said);
}
