//! Runs keep their word: what is in a run's folder decides, nothing is begun anew or written over
//! without a word, and a file that is missing, empty or of another run is named.

#[cfg(unix)]
use crate::common::process;
use crate::common::sets;

use crate::common::desk::{Desk, copy};
use predicates::prelude::*;
use predicates::str::contains;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use threadcount::data::synthetic;
use threadcount_kernels::Isa;

/// The files of a folder by their names; the lock is nobody's data.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let named = entries.map(|path| {
        (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap())
    });
    named.filter(|(name, _)| name != ".lock").collect()
}

/// Exit code, stdout, stderr.
fn run(desk: &Desk, args: &str) -> (Option<i32>, String, String) {
    let output = desk.run(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Every file of a run, missing and empty: what reads it names it and leaves the folder as it is; what
/// does not need it goes on as if it were there.
#[test]
fn a_file_that_is_missing_or_empty_is_named_or_not_needed() {
    let desk = Desk::new();
    desk.run("train biu-relu --epochs 2 --out whole").assert().success();
    copy(&desk.path("whole"), &desk.path("longer"));
    desk.run("train --resume longer --epochs 3").assert().success();
    let (whole, longer) = (files(&desk.path("whole")), files(&desk.path("longer")));
    let names: Vec<&str> = whole.keys().map(String::as_str).collect();
    let expected = [
        "checkpoint.safetensors",
        "curves.svg",
        "history.csv",
        "model.safetensors",
        "report.html",
        "run.toml",
        "sessions.json",
    ];
    assert_eq!(names, expected);
    let evaluated = run(&desk, "eval whole --json");
    assert_eq!(evaluated.0, Some(0));
    for name in names {
        for is_there in [false, true] {
            let damaged = |folder: &str| {
                copy(&desk.path("whole"), &desk.path(folder));
                match is_there {
                    true => fs::write(desk.path(&format!("{folder}/{name}")), "").unwrap(),
                    false => fs::remove_file(desk.path(&format!("{folder}/{name}"))).unwrap(),
                }
                files(&desk.path(folder))
            };
            let before = damaged("here");
            let (code, printed, said) = run(&desk, "eval here --json");
            if ["model.safetensors", "run.toml"].contains(&name) {
                assert_eq!((code, &*printed), (Some(3), ""), "{name}: {said}");
                assert!(said.contains(name), "{said}");
            } else {
                assert_eq!((code, printed), (Some(0), evaluated.1.clone()), "{name}: {said}");
            }
            assert_eq!(files(&desk.path("here")), before, "eval writes nothing");

            let (code, _, said) = run(&desk, "train --resume here --epochs 3");
            let now = files(&desk.path("here"));
            if ["checkpoint.safetensors", "run.toml"].contains(&name) {
                assert_eq!(code, Some(3), "{name}: {said}");
                assert!(said.contains(name), "{said}");
                assert!(now == before, "{name}");
            } else {
                assert_eq!(code, Some(0), "{name}: {said}");
                for name in ["model.safetensors", "history.csv", "curves.svg"] {
                    assert!(now[name] == longer[name], "{name}");
                }
            }
            // A finished run writes again what is not there.
            damaged("finished");
            let (code, ..) = run(&desk, "train --resume finished");
            if code == Some(0) {
                let now = files(&desk.path("finished"));
                for name in ["model.safetensors", "history.csv", "curves.svg"] {
                    assert!(now[name] == whole[name], "{name}");
                }
            }
            for folder in ["here", "finished"] {
                fs::remove_dir_all(desk.path(folder)).unwrap();
            }
        }
    }
}

#[test]
fn only_a_run_that_never_saved_begins_anew() {
    let desk = Desk::new();
    desk.run("train biu-relu --epochs 1 --out straight").assert().success();
    // As a run leaves it that was killed in its first epoch.
    let record = desk.read("straight/run.toml");
    let unfinished = unfinished(&record);
    fs::create_dir(desk.path("here")).unwrap();
    fs::write(desk.path("here/run.toml"), &unfinished).unwrap();
    let (code, printed, said) = run(&desk, "eval here");
    assert_eq!((code, &*printed), (Some(1), ""), "{said}");
    assert!(said.contains("has no trained model yet"), "{said}");
    let (code, _, said) = run(&desk, "train --resume here");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("nothing was saved of this run yet"), "{said}");
    let model = |folder| fs::read(desk.path(folder).join("model.safetensors")).unwrap();
    assert!(model("here") == model("straight"));
    // Whatever says that it was saved forbids it.
    for name in ["history.csv", "model.safetensors", "curves.svg"] {
        fs::create_dir(desk.path("there")).unwrap();
        fs::write(desk.path("there/run.toml"), &unfinished).unwrap();
        fs::copy(desk.path("straight").join(name), desk.path("there").join(name)).unwrap();
        desk.refuses("train --resume there", 3, "checkpoint.safetensors: missing");
        fs::remove_dir_all(desk.path("there")).unwrap();
    }
    // So does a result in the record, if nothing else is left.
    fs::create_dir(desk.path("there")).unwrap();
    fs::write(desk.path("there/run.toml"), &record).unwrap();
    desk.refuses("train --resume there", 3, "checkpoint.safetensors: missing");
}

/// The record without its result, and without the checksum that would tell.
fn unfinished(record: &str) -> String {
    let lines = record.lines().filter(|line| !line.starts_with("checksum"));
    let text = lines.collect::<Vec<_>>().join("\n");
    let (before, rest) = text.split_once("[result]").unwrap();
    let (_, task) = rest.split_once("[task]").unwrap();
    format!("{before}[task]{task}\n")
}

/// A network that early stopping soon ends.
const STOPS_EARLY: &str = "epochs = 60
optimizer = { name = 'sgd', learning-rate = 2.0 }
input = 'pixels'
early-stopping = { patience = 1 }
layers = [{ kind = 'dense', units = 12, activation = 'tanh' }, { kind = 'dense', units = 'classes' }]
";

#[test]
fn epochs_that_cannot_be_had_are_not_recorded() {
    let desk = Desk::new();
    fs::write(desk.path("early.toml"), STOPS_EARLY).unwrap();
    desk.run("train early.toml --out early").assert().success().stderr(contains("stopped early"));
    desk.run("train biu-relu --epochs 3 --out three").assert().success();
    for (args, words) in [
        ("early --epochs 100", "--epochs 100: early stopping ended the run in early after "),
        ("early --epochs 1", "--epochs 1: early stopping ended"),
        ("three --epochs 2", "--epochs 2: the run in three has 3 epochs already"),
        ("three --learning-rate 0.5", "--learning-rate: a resumed run keeps"),
    ] {
        let folder = args.split_once(' ').unwrap().0;
        let before = files(&desk.path(folder));
        desk.refuses_last(&format!("train --resume {args}"), 2, words);
        assert!(files(&desk.path(folder)) == before, "{args}");
    }
    // Without the wish there is nothing to refuse.
    let said = contains("early stopping ended it after");
    desk.run("train --resume early").assert().success().stderr(said);
    let said = contains("three is complete after 3 epochs; a larger --epochs would train on");
    desk.run("train --resume three --epochs 3").assert().success().stderr(said);
}

/// The record's data, from wherever it is asked; the same data elsewhere; never others.
#[test]
fn the_records_data_beat_every_default() {
    let desk = Desk::new();
    fs::create_dir(desk.path("own")).unwrap();
    synthetic::generate(&desk.path("own"), 5, 300, 90).unwrap();
    desk.bare("train biu-relu --epochs 1 --data own --out here").assert().success();
    let expected = run(&desk, "eval here --json --data own").1;
    assert!(expected.starts_with('{'));
    fs::create_dir(desk.path("elsewhere")).unwrap();
    // `run` names another set in the environment.
    let from = |folder: &str, args: &str| {
        let output = desk.run(args).current_dir(desk.path(folder)).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), said)
    };
    let (code, printed, said) = from("elsewhere", "eval ../here --json");
    assert_eq!((code, &printed), (Some(0), &expected), "{said}");
    desk.bare("eval here --json").assert().success().stdout(expected.clone());
    desk.run("train --resume here --epochs 2").assert().success();
    let expected = run(&desk, "eval here --json --data own").1;

    // Moved: the same data are found where others are looked for.
    fs::rename(desk.path("own"), desk.path("moved")).unwrap();
    let mut moved = desk.bare("eval here --json");
    moved.env("THREADCOUNT_DATA", desk.path("moved"));
    moved.assert().success().stdout(expected.clone());
    for args in ["eval here --json", "train --resume here --epochs 3"] {
        desk.refuses(args, 3, "the data of this run (synthetic) were here, and cannot be found");
    }
    // Others in their place.
    fs::create_dir(desk.path("own")).unwrap();
    synthetic::generate(&desk.path("own"), 6, 300, 90).unwrap();
    for args in ["eval here --json", "train --resume here --epochs 3"] {
        desk.refuses(args, 3, "own: the data of this run");
    }
    // What is wrong with their own place is what is told, not what is wrong with others.
    let mut own_first = desk.bare("eval here");
    own_first.env("THREADCOUNT_DATA", desk.path("nowhere"));
    let told = contains("cannot be found (other data are there now); name their folder");
    own_first.assert().code(3).stderr(told);
    // Tried on others only if they are named.
    let warned = contains("the model was trained on other data");
    desk.run("eval here --data own").assert().success().stderr(warned);
}

#[test]
fn a_run_goes_on_with_its_own_instruction_set() {
    let desk = Desk::new();
    desk.run("train biu-relu --epochs 1 --isa portable --out here").assert().success();
    let own = contains(", portable\n").and(contains("goes on on").not());
    desk.run("train --resume here --epochs 2").assert().success().stderr(own);
    // One that is asked for is taken, and said.
    let record = desk.read("here/run.toml");
    assert!(record.contains("isa = \"portable\"\n"), "{record}");
    let best = Isa::best();
    if best.name() != "portable" {
        let said = contains(format!("the run was started on portable and goes on on {best}: its"));
        let args = format!("train --resume here --epochs 3 --isa {}", best.name());
        desk.run(&args).assert().success().stderr(said);
    }
}

#[test]
fn images_of_another_size_are_not_the_models_fault() {
    let desk = Desk::new();
    desk.run("train biu-relu --epochs 1 --out here").assert().success();
    let folder = desk.path("side-32");
    fs::create_dir(&folder).unwrap();
    let count = |part: usize| [40, 20][part];
    for part in 0..2 {
        let labels: Vec<u8> = (0..count(part)).map(|i| i as u8 % 10).collect();
        fs::write(folder.join(sets::NAMES[2 * part]), sets::images(count(part), 32, 32)).unwrap();
        let labels = sets::idx(&[count(part) as u32], &labels);
        fs::write(folder.join(sets::NAMES[2 * part + 1]), labels).unwrap();
    }
    let words = "its images measure 32x32, the model was trained on 28x28";
    desk.refuses("eval here --data side-32", 3, words);
    desk.refuses("train --resume here --epochs 2 --data side-32", 3, words);
}

/// Whatever cannot be written at an epoch's end or at the run's is what is named.
#[test]
fn the_first_file_that_cannot_be_written_is_named() {
    let desk = Desk::new();
    let train = "train biu-relu --epochs 2 --out";
    for name in ["checkpoint.safetensors", "history.csv", "model.safetensors", "curves.svg"] {
        // Nothing can be renamed to where a folder lies that is not empty.
        fs::create_dir_all(desk.path(name).join(name).join("x")).unwrap();
        let (code, printed, said) = run(&desk, &format!("{train} {name}"));
        assert_eq!(code, Some(1), "{said}");
        let last = said.lines().last().unwrap();
        assert!(last.starts_with("threadcount: error: ") && last.contains(name), "{said}");
        // With two at once, the first: the others come later, or not at all.
        let both = format!("{name}-too");
        fs::create_dir_all(desk.path(&both).join(name).join("x")).unwrap();
        fs::create_dir_all(desk.path(&both).join("curves.svg/x")).unwrap();
        let (code, _, said) = run(&desk, &format!("{train} {both}"));
        assert_eq!(code, Some(1), "{said}");
        let last = said.lines().last().unwrap();
        assert!(last.contains(&format!("/{name}: ")), "{said}");
        // Curves are no reason to lose the result.
        let is_done = fs::read_to_string(desk.path(name).join("run.toml")).unwrap();
        assert_eq!(is_done.contains("[result]"), name == "curves.svg", "{name}");
        assert_eq!(printed.contains("test accuracy"), name == "curves.svg", "{name}");
    }
}

#[test]
fn a_model_or_checkpoint_of_another_run_is_refused() {
    let desk = Desk::new();
    desk.run("train biu-relu --epochs 1 --out one").assert().success();
    // The same layers, other weights.
    desk.run("train biu-relu --epochs 1 --seed 1 --out two").assert().success();
    let swap = |name: &str| {
        fs::copy(desk.path("two").join(name), desk.path("one").join(name)).unwrap();
    };
    swap("model.safetensors");
    desk.refuses("eval one", 3, "model.safetensors: of another run than run.toml");
    swap("checkpoint.safetensors");
    desk.refuses(
        "train --resume one --epochs 2",
        3,
        "checkpoint.safetensors: it is of another run",
    );
    // The same run, longer; its model says so.
    let said = contains("the model of epoch 1 of 1 that were trained");
    desk.run("eval two").assert().success().stderr(said);
    fs::copy(desk.path("two/model.safetensors"), desk.path("short")).unwrap();
    desk.run("train --resume two --epochs 2").assert().success();
    fs::copy(desk.path("short"), desk.path("two/model.safetensors")).unwrap();
    desk.refuses("eval two", 3, "of a run of 1 epochs, where run.toml tells of 2");
}

#[test]
fn a_record_that_was_changed_is_refused() {
    let desk = Desk::new();
    desk.run("train biu-relu --epochs 1 --out here").assert().success();
    let text = desk.read("here/run.toml");
    for (from, to) in [("seed = 0", "seed = 1"), ("epochs = 1", "epochs = 2")] {
        assert!(text.contains(from));
        fs::write(desk.path("here/run.toml"), text.replace(from, to)).unwrap();
        for args in ["eval here", "train --resume here"] {
            desk.refuses(args, 3, "run.toml: changed since threadcount wrote it");
        }
    }
    // Ends of lines are no change.
    fs::write(desk.path("here/run.toml"), text.replace('\n', "\r\n")).unwrap();
    desk.run("eval here").assert().success();
}

/// Found on the way to fuzzing what comes behind the record: numbers that no run has panicked, or took
/// all memory for the names of billions of classes.
#[test]
fn a_record_of_impossible_data_is_refused() {
    let desk = Desk::new();
    let task = "epochs = 1\ninput = 'rows'\nlayers = [{ kind = 'flatten' }, { kind = 'dense', units = 10 }]\n";
    fs::write(desk.path("task.toml"), task).unwrap();
    desk.run("train task.toml --out here").assert().success();
    let text = desk.read("here/run.toml");
    let lines = text.lines().filter(|line| !line.starts_with("checksum"));
    let record = lines.collect::<Vec<_>>().join("\n");
    let (classes, first) = ("classes = 10\n", "first_label = 0\n");
    for (from, to, fault) in [
        (classes, "classes = 0\n", "data.classes: 1 to 256, not 0"),
        (classes, "classes = 257\n", "data.classes: 1 to 256, not 257"),
        (classes, "classes = 4000000000\n", "data.classes: 1 to 256, not 4000000000"),
        (
            first,
            "first_label = 4294967287\n",
            "data.first_label: 4294967286 at most with 10 classes",
        ),
        (
            first,
            "first_label = 4294967286\n",
            "but the network was trained on the labels 4294967286 to 4294967295",
        ),
    ] {
        assert!(record.contains(from));
        fs::write(desk.path("here/run.toml"), record.replace(from, to)).unwrap();
        for args in ["eval here", "train --resume here"] {
            desk.refuses(args, 3, fault);
        }
    }
    let sample = "sample = [28, 28, 1]";
    assert!(record.contains(sample));
    let vast = record.replace(sample, "sample = [1, 9223372036854775807, 3]");
    fs::write(desk.path("here/run.toml"), vast).unwrap();
    desk.refuses("eval here", 2, "memory has addresses");
    fs::write(desk.path("here/run.toml"), record).unwrap();
    desk.run("eval here").assert().success();
}

/// Found by fuzzing: an id with a quotation mark was read, and written into a record that could not be.
#[test]
fn an_id_that_is_none_is_refused() {
    let desk = Desk::new();
    desk.run("train biu-relu --epochs 1 --out here").assert().success();
    let text = desk.read("here/run.toml");
    let is_kept = |line: &&str| !line.starts_with("checksum") && !line.starts_with("id = ");
    let record = text.lines().filter(is_kept).collect::<Vec<_>>().join("\n");
    let (x, a) = ("x".repeat(64), "a".repeat(63));
    for id in
        ["''", "'a\"b'", r#""a\nb""#, &format!("'{x}'"), &format!("'{a}'"), &format!("'{a}\"'")]
    {
        let text = record.replace("format = 2\n", &format!("format = 2\nid = {id}\n"));
        fs::write(desk.path("here/run.toml"), &text).unwrap();
        for args in ["eval here", "train --resume here --epochs 2"] {
            desk.refuses(args, 3, "id: 64 hexadecimal digits");
        }
        assert_eq!(desk.read("here/run.toml"), text);
    }
}

/// What the last version wrote is refused with the reason.
#[test]
fn records_of_an_older_format_are_refused() {
    let desk = Desk::new();
    fs::create_dir(desk.path("old")).unwrap();
    for (text, words) in [
        ("format = 1\nversion = '0.1.0'\n", "the record has format 1, where this version"),
        ("format = 3\n", "the record has format 3, where this version"),
        ("version = '0.1.0'\n[task]\nepochs = 1\n", "did not record its network: train it anew"),
        ("seed = 1\n", "'format' is missing"),
        ("", "'format' is missing"),
    ] {
        fs::write(desk.path("old/run.toml"), text).unwrap();
        for args in ["eval old", "train --resume old"] {
            desk.refuses(args, 3, words);
        }
    }
}

/// Shapes and bytes by names.
type Parts = BTreeMap<String, (Vec<usize>, Vec<u8>)>;

/// The tensors of a file, anew, by another program: without a word about themselves.
struct Tensors(Parts);

impl Tensors {
    fn of(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let all = file.iter();
        let owned = all.map(|(n, t)| (n.to_owned(), (t.shape().to_vec(), t.data().to_vec())));
        Self(owned.collect())
    }

    fn write(&self, path: &Path) {
        let views = self.0.iter().map(|(name, (shape, data))| {
            (name, TensorView::new(Dtype::F32, shape.clone(), data).unwrap())
        });
        fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
    }
}

#[test]
fn models_of_other_programs_load_if_they_fit() {
    let desk = Desk::new();
    desk.run("train biu-relu --epochs 1 --out here").assert().success();
    let path = desk.path("here/model.safetensors");
    let expected = run(&desk, "eval here").1;
    let whole = Tensors::of(&path).0;
    let kernel = "dense/kernel".to_owned();
    let changed = |change: &dyn Fn(&mut Parts)| {
        let mut tensors = whole.clone();
        change(&mut tensors);
        Tensors(tensors).write(&path);
    };
    changed(&|_| ());
    let warned = contains("it was not written by threadcount");
    desk.run("eval here").assert().success().stdout(expected).stderr(warned);

    changed(&|tensors| tensors.get_mut(&kernel).unwrap().0.reverse());
    desk.refuses("eval here", 3, "belongs: transpose it");
    changed(&|tensors| tensors.get_mut(&kernel).unwrap().0.insert(0, 1));
    desk.refuses("eval here", 3, "'dense/kernel' is F32 of shape [1, ");
    changed(&|tensors| tensors.insert("surplus".into(), (vec![1], vec![0; 4])).map_or((), drop));
    desk.refuses("eval here", 3, "it has a tensor 'surplus', which this network has not");
    changed(&|tensors| tensors.remove(&kernel).map_or((), drop));
    desk.refuses("eval here", 3, "it has no tensor 'dense/kernel'");
    for number in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for name in whole.keys() {
            let last = whole[name].1.len() - 4;
            changed(&|tensors| {
                tensors.get_mut(name).unwrap().1[last..].copy_from_slice(&number.to_le_bytes());
            });
            desk.refuses("eval here", 3, &format!("'{name}' holds what is not a finite number"));
        }
    }
    // Finite, and yet nothing to compute with.
    changed(&|tensors| {
        for number in tensors.get_mut(&kernel).unwrap().1.chunks_exact_mut(4) {
            number.copy_from_slice(&3e38_f32.to_le_bytes());
        }
    });
    let (code, printed, said) = run(&desk, "eval here --json");
    assert!(code == Some(1) && printed.is_empty(), "{printed}{said}");
    assert!(said.contains("is not a finite number"), "{said}");
}

#[test]
fn a_network_beyond_the_machine_is_refused_with_both_numbers() {
    let desk = Desk::new();
    let task = |units: &str, layers: usize| {
        let hidden = format!("{{ kind = 'dense', units = {units} }}, ").repeat(layers);
        let text = format!(
            "input = 'pixels'\nlayers = [{hidden}{{ kind = 'dense', units = 'classes' }}]\n"
        );
        fs::write(desk.path("large.toml"), text).unwrap();
    };
    for (units, layers) in [("1000000000000", 1), ("1000000000", 2), ("100000", 400)] {
        task(units, layers);
        for args in ["train large.toml", "reproduce large.toml"] {
            let (code, printed, said) = run(&desk, args);
            assert_eq!((code, &*printed), (Some(1), ""), "{units}: {said}");
            let last = said.lines().last().unwrap();
            assert!(last.contains("iB of memory, and this machine has "), "{units}: {said}");
        }
    }
    task("4611686018427387904", 1);
    desk.refuses("train large.toml", 2, "memory has addresses");
    assert!(!desk.path("runs").exists());
    // What is taken is said.
    let said = contains("parameters, ").and(contains("iB of memory; "));
    desk.run("train biu-base --epochs 1 --out here").assert().success().stderr(said);
}

/// Somebody may paste a whole file where a name belongs.
#[test]
fn no_message_repeats_a_long_text() {
    let desk = Desk::new();
    let long = "x".repeat(100_000);
    desk.run("train biu-relu --epochs 1 --out here").assert().success();
    let record = desk.read("here/run.toml");
    fs::create_dir(desk.path("there")).unwrap();
    let is_short = |what: &str, args: &[&str]| {
        let output = desk.run("").args(args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let code = output.status.code().unwrap();
        assert!([1, 2, 3].contains(&code), "{what}: {code}, {}", said.len());
        assert!(said.len() < 1_200, "{what}: {} bytes", said.len());
        assert!(said.contains("threadcount: error: ") && output.stdout.is_empty(), "{what}");
    };
    for option in
        ["--optimizer", "--activation", "--isa", "--epochs", "--seed", "--wrong", "--data"]
    {
        is_short(option, &["train", "biu-relu", option, &long]);
    }
    for args in [["train", &long], ["eval", &long], ["summary", &long], ["reproduce", &long]] {
        is_short(args[0], &args);
    }
    is_short("command", &[&long]);
    for key in ["version", "recipe", "isa", "id", "seed", "format"] {
        let line = record.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap();
        for value in [format!("'{long}"), format!("['{long}']"), format!("{long} = '{long}'")] {
            let text = record.replace(line, &format!("{key} = {value}"));
            fs::write(desk.path("there/run.toml"), text).unwrap();
            is_short(key, &["eval", "there"]);
        }
        let text = record.replace(line, &format!("{line}\n{long} = 1"));
        fs::write(desk.path("there/run.toml"), text).unwrap();
        is_short(key, &["eval", "there"]);
    }
    for text in [format!("seed = '{long}'"), format!("{long} = 1"), format!("seed = {long}")] {
        fs::write(desk.path("threadcount.toml"), text).unwrap();
        is_short("threadcount.toml", &["train", "biu-relu"]);
    }
}

#[cfg(unix)]
mod names_and_processes {
    use super::*;
    use process::{Running, program, wait_for, wait_until};
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::process::Stdio;

    fn foreign(desk: &Desk) -> PathBuf {
        desk.folder().join(OsStr::from_bytes(b"caf\xe9"))
    }

    #[test]
    fn data_whose_folder_the_record_cannot_name_are_refused_before_anything_is_made() {
        let desk = Desk::new();
        let folder = foreign(&desk);
        fs::create_dir(&folder).unwrap();
        synthetic::generate(&folder, 1, 60, 20).unwrap();
        for out in [&[][..], &["--out", "deep/below"]] {
            let mut train = desk.bare("train biu-relu --epochs 1 --data");
            let words = contains("run.toml cannot name this folder");
            train.arg(&folder).args(out).assert().code(2).stdout("").stderr(words);
            for made in ["runs", "deep"] {
                assert!(!desk.path(made).exists(), "{made}");
            }
        }
    }

    #[test]
    fn the_runs_own_folder_may_have_any_name() {
        let desk = Desk::new();
        let folder = foreign(&desk);
        for args in ["train biu-relu --epochs 1 --out", "eval", "train --epochs 2 --resume", "eval"]
        {
            desk.run(args).arg(&folder).assert().success();
        }
        let mut train = desk.run("train biu-relu --epochs 1");
        train.env("THREADCOUNT_RUNS", folder.join("runs")).assert().success();
        assert!(folder.join("runs/biu-relu/model.safetensors").exists());
    }

    fn start(desk: &Desk, args: &str) -> Running {
        Running::start(program(desk, args).stdout(Stdio::null()).stderr(Stdio::null()))
    }

    /// One process at a time; a lock does not outlive its process, however that ended.
    #[test]
    fn a_run_is_trained_by_one_process() {
        let desk = Desk::new();
        let mut child = start(&desk, "train biu-relu --epochs 1000000 --threads 1 --out here");
        wait_for(&desk.path("here/history.csv"));
        desk.refuses("train --resume here", 1, "here: another process is training this run");
        desk.refuses("train biu-relu --out here", 1, "already holds a run");
        child.send("KILL");
        child.end();
        let epochs = desk.read("here/history.csv").lines().count() + 2;
        let mut resumed = desk.run(&format!("train --resume here --epochs {epochs}"));
        resumed.assert().success();

        // Made longer, and interrupted: the model is of the earlier end, and is not passed off as more.
        let evaluated = run(&desk, "eval here").0;
        assert_eq!(evaluated, Some(0));
        let mut child = start(&desk, "train --resume here --epochs 1000000 --threads 1");
        wait_until("more epochs", || desk.read("here/history.csv").lines().count() >= epochs + 3);
        desk.refuses("eval here", 1, "its model is of an earlier end, before it was made longer");
        child.send("INT");
        assert_eq!(child.end().code(), Some(130));
        desk.refuses("eval here", 1, "finish it with 'threadcount train --resume here'");
        // Fewer epochs than it has, or the number of the one that it is in.
        let before = files(&desk.path("here"));
        desk.refuses_last("train --resume here --epochs 2", 2, "epochs already");
        assert!(files(&desk.path("here")) == before);
    }

    /// An interruption is one, whatever else fails.
    #[test]
    fn curves_that_cannot_be_written_hide_no_interruption() {
        let desk = Desk::new();
        fs::create_dir_all(desk.path("here/curves.svg/x")).unwrap();
        let mut child = start(&desk, "train biu-relu --epochs 1000000 --threads 1 --out here");
        wait_for(&desk.path("here/history.csv"));
        child.send("INT");
        assert_eq!(child.end().code(), Some(130));
    }
}
