//! Sets that people bring: other names, sizes, colours, labels and classes than Fashion-MNIST's, from the
//! files as they are shipped to a trained and evaluated network.

use crate::common::sets::{NAMES, Scratch, gzip, idx};
use assert_cmd::Command;
use assert_cmd::assert::Assert;
use predicates::prelude::*;
use predicates::str::{contains, is_empty};
use std::fs;
use std::path::Path;
use threadcount::Error;
use threadcount::data::{
    Classes, Dataset, Half, Identity, Inputs, MOST_CLASSES, Missing, Partition, Samples, Selection,
    Shape, Split, Targets, Validation, show, verify,
};
use threadcount::nn::{Activation, Loss, dense};
use threadcount::train::{DataRecord, Session, Task};

/// How the files of a set are spelt, from [`NAMES`] (`false`: raw, `true`: packed).
type Spelling = (fn(&str) -> String, bool);

/// The names under which sets are shipped, or found after unpacking.
const SPELLINGS: [Spelling; 11] = [
    (|name| name.to_owned(), false),
    (|name| format!("{name}.gz"), true),
    (|name| name.replace("-idx", ".idx"), false),
    (|name| format!("{}.gz", name.replace("-idx", ".idx")), true),
    (|name| format!("{name}.idx"), false),
    (|name| format!("{}.idx", name.split("-idx").next().unwrap()), false),
    (|name| name.to_uppercase(), false),
    (|name| name.replace('-', "_").replace("t10k", "test"), false),
    (|name| name.replace("t10k", "test"), false),
    (|name| format!("emnist-letters-{}.gz", name.replace("t10k", "test")), true),
    (|name| format!("qmnist-{}.gz", name.replace("t10k", "test")), true),
];

/// Images `[n, height, width, channels]` of which each pixel says which label it is of.
fn pictures(labels: &[u32], sizes: &[u32]) -> Vec<u8> {
    let bytes: u32 = sizes.iter().product();
    let pixel = |label: u32, i: u32| ((label * 37 + i * label * 11) % 256) as u8;
    let all = labels.iter().flat_map(|&label| (0..bytes).map(move |i| pixel(label, i)));
    idx(&[&[labels.len() as u32], sizes].concat(), &all.collect::<Vec<_>>())
}

/// A set of so many images each, whose labels go round.
struct Made {
    scratch: Scratch,
}

impl Made {
    fn new(labels: std::ops::Range<u32>, sizes: &[u32]) -> Self {
        Self::spelt(SPELLINGS[0], labels, sizes)
    }

    fn spelt((spell, packed): Spelling, labels: std::ops::Range<u32>, sizes: &[u32]) -> Self {
        let scratch = Scratch::empty();
        for (names, rounds) in [([NAMES[0], NAMES[1]], 4), ([NAMES[2], NAMES[3]], 2)] {
            let all: Vec<u32> = (0..rounds).flat_map(|_| labels.clone()).collect();
            let bytes: Vec<u8> = all.iter().map(|&label| label as u8).collect();
            let files = [pictures(&all, sizes), idx(&[all.len() as u32], &bytes)];
            for (name, file) in names.into_iter().zip(files) {
                scratch.put(&spell(name), &if packed { gzip(&file) } else { file });
            }
        }
        Self { scratch }
    }

    fn open(&self) -> Result<std::sync::Arc<Dataset>, Error> {
        Dataset::open_folder(&self.scratch.folder, &self.scratch.cache)
    }

    /// The program with this set as `data`, in a folder of its own.
    fn run(&self, args: &str) -> Assert {
        let mut command = Command::cargo_bin("threadcount").unwrap();
        for name in ["DATA", "THREADS", "ISA", "SEED", "RUNS", "SHARDS"] {
            command.env_remove(format!("THREADCOUNT_{name}"));
        }
        command.env("THREADCOUNT_CACHE", self.scratch.cache.root().unwrap());
        command.current_dir(self.scratch.path());
        command.args(args.split_whitespace()).assert()
    }

    /// `own.toml` beside the folder: what the program prints for a recipe, changed.
    fn recipe(&self, name: &str, changes: &[(&str, &str)]) {
        let printed = self.run(&format!("recipe {name}")).success().get_output().stdout.clone();
        let mut text = String::from_utf8(printed).unwrap();
        for (from, to) in changes {
            assert!(text.contains(from), "{text}");
            text = text.replace(from, to);
        }
        fs::write(self.scratch.path().join("own.toml"), text).unwrap();
    }
}

fn classes_of(set: &Dataset) -> (u32, usize, &[String]) {
    (set.first_label(), set.class_names().len(), &set.class_list.names)
}

#[test]
fn every_spelling_of_the_names_is_the_same_set() {
    for spelling in SPELLINGS {
        let made = Made::spelt(spelling, 0..7, &[3, 5]);
        let spelt = spelling.0(NAMES[0]);
        let set = made.open().unwrap_or_else(|error| panic!("{spelt}: {error}"));
        let plain = Made::new(0..7, &[3, 5]).open().unwrap();
        for half in [Half::Train, Half::Test] {
            let (part, want) = (set.part(half), plain.part(half));
            assert_eq!(part.images.as_slice(), want.images.as_slice(), "{spelt}");
            assert_eq!(part.labels.as_slice(), want.labels.as_slice(), "{spelt}");
        }
        let report = verify(&made.scratch.folder, &made.scratch.cache).unwrap();
        assert!(report.to_string().contains(&format!("  {spelt}  28x3x5")), "{report}");
        // Without one of the files the error names it; the set is never "no data".
        for name in NAMES {
            let path = made.scratch.folder.join(spelling.0(name));
            let bytes = fs::read(&path).unwrap();
            fs::remove_file(&path).unwrap();
            let error = made.open().unwrap_err();
            let line = error.to_string();
            assert_eq!(error.exit_code(), 3);
            let [kind, part] = [name.contains("images"), name.contains("train")];
            assert!(
                line.contains(if kind { "images-idx3-ubyte" } else { "labels-idx1" }),
                "{line}"
            );
            assert!(line.contains(if part { "train-" } else { "t10k-" }), "{line}");
            assert!(line.contains("not found"), "{line}");
            fs::write(path, bytes).unwrap();
        }
    }
}

#[test]
fn a_folder_with_look_alikes_is_told_of() {
    let made = Made::new(0..3, &[2, 2]);
    let folder = &made.scratch.folder;
    fs::rename(folder.join(NAMES[0]), folder.join("train-images-idx3-ubyte (1)")).unwrap();
    let line = made.open().unwrap_err().to_string();
    let path = folder.join(NAMES[0]);
    assert!(line.starts_with(&path.display().to_string()), "{line}");
    assert!(line.contains("if \"train-images-idx3-ubyte (1)\" is it, give it this name"), "{line}");
    // A folder in the folder, as archives unpack.
    let parent = made.scratch.path();
    fs::rename(folder.join("train-images-idx3-ubyte (1)"), path).unwrap();
    let line = Dataset::open_folder(parent, &made.scratch.cache).unwrap_err().to_string();
    assert!(line.contains(&format!("{} does; name that", folder.display())), "{line}");
    // Files that nobody can read, and none at all.
    let other = Scratch::empty();
    let line = Dataset::open_folder(&other.folder, &other.cache).unwrap_err().to_string();
    assert!(line.contains("it is empty") && line.contains("train-images-idx3-ubyte"), "{line}");
    other.put("train.csv", b"label,pixel1");
    let line = Dataset::open_folder(&other.folder, &other.cache).unwrap_err().to_string();
    assert!(line.contains("it holds train.csv"), "{line}");
}

/// The working folder's set is used or refused, but not passed over for the drawn one.
#[test]
fn data_in_the_working_folder_is_never_passed_over() {
    let made = Made::new(0..10, &[28, 28]);
    let local = made.scratch.path().join("data/fashion-mnist");
    fs::create_dir_all(local.parent().unwrap()).unwrap();
    fs::rename(&made.scratch.folder, &local).unwrap();
    for name in NAMES {
        fs::rename(local.join(name), local.join(name.replace("-idx", ".idx"))).unwrap();
    }
    made.run("train nlp-softmax --epochs 1")
        .success()
        .stderr(contains("samples (other)").and(contains("NOT FASHION-MNIST").not()));
    for name in NAMES {
        fs::rename(local.join(name.replace("-idx", ".idx")), local.join(format!("{name}.zip")))
            .unwrap();
    }
    made.run("train nlp-softmax --epochs 1").code(3).stdout(is_empty()).stderr(contains(
        "data/fashion-mnist: no set is in it: it holds t10k-images-idx3-ubyte.zip",
    ));
    // Notes are no data.
    fs::remove_dir_all(&local).unwrap();
    fs::create_dir(&local).unwrap();
    fs::write(local.join("README.md"), "put the files here").unwrap();
    made.run("data path").success().stderr(contains("no data found"));
}

#[test]
fn of_several_sets_in_one_folder_one_is_named() {
    let made = Made::spelt(SPELLINGS[9], 1..4, &[2, 3]);
    for name in NAMES {
        let name = SPELLINGS[9].0(name);
        let bytes = fs::read(made.scratch.folder.join(&name)).unwrap();
        made.scratch.put(&name.replace("letters", "balanced"), &bytes);
    }
    let line = made.open().unwrap_err().to_string();
    assert!(line.contains("holds 2 sets (emnist-balanced, emnist-letters); name one"), "{line}");
    made.run("data verify --data set/emnist-letters")
        .success()
        .stdout(contains("emnist-letters-test-labels-idx1-ubyte.gz   6 "));
    made.run("data path --data set/emnist-digits").code(3);
    // An incomplete one beside a whole one does not count.
    let one = made.scratch.folder.join(SPELLINGS[9].0(NAMES[2]).replace("letters", "balanced"));
    fs::remove_file(one).unwrap();
    assert_eq!(made.open().unwrap().first_label(), 1);
}

#[test]
fn any_size_and_one_or_three_channels() {
    for sizes in [[1, 1, 1], [7, 3, 1], [3, 40, 3], [32, 32, 3], [64, 1, 1]] {
        let sizes_of_file = if sizes[2] == 1 { &sizes[..2] } else { &sizes };
        let set = Made::new(0..4, sizes_of_file).open().unwrap();
        let shape = Shape::Image(sizes.map(|size| size as usize));
        let split = Selection::default().apply(&set, 0).unwrap();
        assert_eq!(split.train.shape(), shape);
        // Row-major with the channels of a pixel side by side, as they are filed.
        let bytes: u32 = sizes.iter().product();
        let image: Vec<u8> = (0..bytes).map(|i| ((2 * 37 + i * 22) % 256) as u8).collect();
        assert_eq!(set.test.images.image(2), image);
        // The same samples in memory.
        let all = [set.train.images.as_slice(), set.test.images.as_slice()].concat();
        let labels = [set.train.labels.as_slice(), set.test.labels.as_slice()].concat();
        let held = Samples::new(shape, all, &labels).unwrap();
        let filed = Samples::new(shape, Inputs::Files(set), &labels).unwrap();
        assert_eq!((filed.len(), filed.targets()), (24, Targets::Classes(&labels)));
        assert!((0..24).all(|i| filed.row(i) == held.row(i)), "{sizes:?}");
    }
    // Channels of one are as good as none.
    let set = Made::new(0..4, &[4, 3, 1]).open().unwrap();
    assert_eq!((set.train.images.channels(), set.train.images.measures()), (1, "4x3".into()));
}

#[test]
fn colours_are_shown_by_their_lightness() {
    let scratch = Scratch::with_labels(&[0], &[0]);
    let pixels = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]];
    for name in [NAMES[0], NAMES[2]] {
        scratch.put(name, &idx(&[1, 1, 4, 3], pixels.as_flattened()));
    }
    let set = Dataset::open_folder(&scratch.folder, &scratch.cache).unwrap();
    let text = show(&set, Half::Train, 0).unwrap().to_string();
    // 0.299, 0.587 and 0.114 of four shades.
    assert_eq!(text, "training image 0: label 0, 1x4x3\n░░▒▒  ██\n");
}

/// Whatever a run could be trained on otherwise has another checksum.
#[test]
fn a_checksum_is_of_pixels_labels_and_their_first_number() {
    let facts = |images: u8, train: &[u8], test: &[u8]| {
        let scratch = Scratch::with_labels(train, test);
        for name in [NAMES[0], NAMES[2]] {
            let mut bytes = fs::read(scratch.folder.join(name)).unwrap();
            bytes[20] ^= images;
            scratch.put(name, &bytes);
        }
        let set = Dataset::open_folder(&scratch.folder, &scratch.cache).unwrap();
        let selection =
            Selection { classes: Classes::All, partition: Partition::AsFiled(Validation::Test) };
        let split = selection.apply(&set, 0).unwrap();
        DataRecord::of(&set, &split).sha256
    };
    let all = [
        facts(0, &[0, 1, 2], &[0, 1]),
        facts(1, &[0, 1, 2], &[0, 1]),
        facts(0, &[0, 2, 1], &[0, 1]),
        facts(0, &[0, 1, 2], &[1, 0]),
        facts(0, &[1, 2, 3], &[1, 2]),
    ];
    let different: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(different.len(), all.len(), "{all:#?}");
    assert_eq!(facts(0, &[0, 1, 2], &[0, 1]), all[0]);
}

#[test]
fn wide_images_are_shown_smaller() {
    let show = |height: usize, width: usize, pixel: fn(usize, usize) -> u8| {
        let scratch = Scratch::with_labels(&[0], &[0]);
        let at = |i: usize| pixel(i / width, i % width);
        let pixels: Vec<u8> = (0..height * width).map(at).collect();
        for name in [NAMES[0], NAMES[2]] {
            scratch.put(name, &idx(&[1, height as u32, width as u32], &pixels));
        }
        let set = Dataset::open_folder(&scratch.folder, &scratch.cache).unwrap();
        let text = show(&set, Half::Train, 0).unwrap().to_string();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let lines = show(2, 40, |_, _| 255);
    assert_eq!(lines, ["training image 0: label 0, 2x40", &"█".repeat(80), &"█".repeat(80)]);
    // Blocks of 2 x 2, the last ones narrower and lower: black, a quarter, a half, white.
    let lines = show(3, 41, |row, column| match (row, column) {
        (_, 40) => 255,
        (0, 0) | (0 | 1, 3) => 255,
        _ => 0,
    });
    assert_eq!(lines[0], "training image 0: label 0, 3x41, shown at 1/2");
    assert_eq!(lines[1], format!("░░▒▒{}██", " ".repeat(36)));
    assert_eq!(lines[2], format!("{}██", " ".repeat(40)));
    assert_eq!(lines.len(), 3);
    // 300 x 300 in blocks of 8 x 8.
    let lines = show(300, 300, |row, _| if row < 296 { 0 } else { 255 });
    assert_eq!((lines.len(), &lines[38]), (39, &"█".repeat(76)));
    assert!(lines[1..38].iter().all(String::is_empty));
}

#[test]
fn labels_begin_anywhere_and_their_range_is_of_both_parts() {
    let set = Made::new(1..27, &[2, 2]).open().unwrap();
    assert_eq!((set.first_label(), set.class_names().len()), (1, 26));
    assert_eq!((set.train.labels.as_slice()[0], set.class_name(0)), (0, "1".to_owned()));
    assert_eq!(set.class_name(25), "26");
    // 256 classes are the most, wherever they begin.
    assert_eq!(Made::new(0..256, &[1, 1]).open().unwrap().class_names().len(), MOST_CLASSES);
    let of = |train: &[u8], test: &[u8]| {
        let scratch = Scratch::with_labels(train, test);
        let set = Dataset::open_folder(&scratch.folder, &scratch.cache).unwrap();
        let labels = [&set.train, &set.test].map(|part| part.labels.as_slice().to_vec());
        (set.first_label(), set.class_names().len(), labels)
    };
    // The smallest label is in one part, the largest in the other; 4 is nobody's, and a class.
    assert_eq!(of(&[6, 5, 6], &[3, 5]), (3, 4, [vec![3, 2, 3], vec![0, 2]]));
    assert_eq!(of(&[250, 251], &[255]), (250, 6, [vec![0, 1], vec![5]]));
}

/// 32-bit integers, with further columns as QMNIST has them.
#[test]
fn labels_of_integers_are_read_by_their_first_column() {
    let integers = |sizes: &[u32], values: &[i32]| {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_be_bytes()).collect();
        let mut file = idx(sizes, &bytes);
        file[2] = 0x0c;
        file
    };
    let rows: Vec<i32> =
        (0..20).flat_map(|n| [n % 10 + 300, 1, 2000, 7, -1, n, 70_000, 0]).collect();
    let scratch = Scratch::good();
    fs::remove_file(scratch.folder.join(NAMES[1])).unwrap();
    fs::remove_file(scratch.folder.join(NAMES[3])).unwrap();
    let path = scratch.put("train-labels-idx2-int", &integers(&[20, 8], &rows));
    let column: Vec<i32> = (0..10).map(|n| n + 300).collect();
    scratch.put("t10k-labels-idx2-int.gz", &gzip(&integers(&[10], &column)));
    let set = Dataset::open_folder(&scratch.folder, &scratch.cache).unwrap();
    let expected: Vec<u8> = (0..20).map(|n| n % 10).collect();
    assert_eq!((set.first_label(), set.train.labels.as_slice()), (300, &expected[..]));
    assert_eq!(set.test.labels.as_slice(), &expected[..10]);
    let refused = |values: &[i32], says: &str| {
        let path = scratch.put("t10k-labels-idx2-int.gz", &gzip(&integers(&[10], values)));
        let error = Dataset::open_folder(&scratch.folder, &scratch.cache).unwrap_err();
        assert!(matches!(&error, Error::Data { .. }), "{error}");
        assert!(error.to_string().contains(says), "{error} {}", path.display());
    };
    refused(&[300, 301, -1, 0, 0, 0, 0, 0, 0, 0], "label 2 is -1; number the classes from 0 up");
    refused(&[300, 301, 600, 300, 0, 0, 0, 0, 0, 0], "labels are 0 to 600, 601 classes");
    refused(&[i32::MAX; 10], "256 at most");
    assert!(path.exists());
}

#[test]
fn names_come_from_a_file_beside_the_data() {
    let made = Made::spelt(SPELLINGS[9], 1..4, &[2, 2]);
    let put = |name: &str, text: &str| {
        made.scratch.put(name, text.as_bytes());
        made.open().map(|set| {
            let (first, count, names) = classes_of(&set);
            (first, count, names.join("|"))
        })
    };
    let fault = |name: &str, text: &str| {
        let error = put(name, text).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        let line = error.to_string();
        let path = made.scratch.folder.join(name);
        assert!(line.starts_with(&path.display().to_string()), "{line}");
        line
    };
    let labels = (1, 3, "1|2|3".to_owned());
    assert_eq!(put("notes.txt", "nothing").unwrap(), labels);
    // EMNIST's mapping: a label, and the codes of its characters. Labels that no image has count.
    let letters = "emnist-letters-mapping.txt";
    assert_eq!(put(letters, "1 65 97\n2 66 98\n3 67 99\n").unwrap(), (1, 3, "Aa|Bb|Cc".into()));
    assert_eq!(put(letters, "0 48\n1 49\r\n\n3 51\n4 228").unwrap(), (0, 5, "0|1|2|3|ä".into()));
    assert!(
        fault(letters, "1 65\n2 66\n").contains("labels 1 to 2, but those of the set are 1 to 3")
    );
    assert!(fault(letters, "1 65\ntwo 66\n").contains("line 2 is not a label and codes"));
    assert!(fault(letters, "1 65\n2\n3 67").contains("line 2 is not a label and codes"));
    assert!(fault(letters, "1 55296").contains("line 1 is not a label and codes"));
    assert!(fault(letters, "0 65\n300 66").contains("more than 256 labels"));
    // A list of names comes first: line 1 names the first label.
    assert_eq!(
        put("classes.txt", "cat\n dog \r\nugly duck\n\n").unwrap(),
        (1, 3, "cat|dog|ugly duck".into())
    );
    assert!(
        fault("classes.txt", "cat\ndog\n")
            .contains("names 2 classes, but the labels of the set are 1 to 3")
    );
    assert!(fault("classes.txt", "a\nb\nc\nd\n").contains("write 3 lines, the first for label 1"));
    assert!(fault("classes.txt", "a\n\nc\n").contains("line 2 is empty"));
    made.scratch.put("classes.txt", &[0xff, 0xfe, 0x41]);
    assert!(made.open().unwrap_err().to_string().contains("in UTF-8"));
    made.scratch.put("classes.txt", &vec![b'\n'; 2 << 20]);
    assert!(made.open().unwrap_err().to_string().contains("too long"));
    // A mapping of another prefix counts if it is the only one, and the set has no prefix.
    let bare = Made::new(1..4, &[2, 2]);
    bare.scratch.put("emnist-letters-mapping.txt", b"1 65 97\n2 66 98\n3 67 99\n");
    assert_eq!(bare.open().unwrap().class_name(2), "Cc");
    bare.scratch.put("emnist-digits-mapping.txt", b"1 65\n2 66\n3 67\n");
    assert_eq!(bare.open().unwrap().class_name(2), "3");
    // Beside files with a prefix only a name with the same one counts, or with none: the own one first.
    let own = Made::spelt(SPELLINGS[9], 1..4, &[2, 2]);
    own.scratch.put("emnist-digits-mapping.txt", b"1 68\n2 68\n3 68\n");
    assert_eq!(own.open().unwrap().class_name(2), "3");
    own.scratch.put("mapping.txt", b"1 69\n2 69\n3 69\n");
    assert_eq!(own.open().unwrap().class_name(2), "E");
    own.scratch.put(letters, b"1 70\n2 70\n3 70\n");
    assert_eq!(own.open().unwrap().class_name(2), "F");
    // Where labels begin at 0, names behind the last one are of classes that this part lacks.
    let part = Made::new(0..3, &[2, 2]);
    part.scratch.put("classes.txt", b"a\nb\nc\nd\n");
    assert_eq!(classes_of(&part.open().unwrap()).1, 4);
    // Ten classes do not make a set Fashion-MNIST.
    let set = Made::new(0..10, &[28, 28]).open().unwrap();
    assert_eq!((set.identity, set.class_name(9)), (Identity::Other, "9".to_owned()));
}

/// From the shipped files to an evaluation, as a person would do it.
#[test]
fn letters_are_trained_by_a_recipe_that_follows_the_classes() {
    let made = Made::spelt(SPELLINGS[9], 1..27, &[28, 28]);
    let mapping: String = (1..27).map(|i| format!("{i} {} {}\n", 64 + i, 96 + i)).collect();
    made.scratch.put("emnist-letters-mapping.txt", mapping.as_bytes());
    made.run("data verify --data set").success().stdout(
        contains("Images of 28x28; 26 classes, labels 1 to 26:")
            .and(contains("     1  Aa        4 training       2 test\n"))
            .and(contains("    26  Zz        4 training       2 test\n"))
            .and(contains("This is another set")),
    );
    made.run("data show 2 --data set")
        .success()
        .stdout(predicates::str::starts_with("training image 2: label 3, Cc, 28x28\n"));
    // A network of ten outputs: refused before anything is trained, with both numbers.
    let fault = contains(
        "set: the set has 26 classes, the network 10 outputs: give its last layer units = \"classes\"",
    );
    for command in ["train nlp-softmax", "summary nlp-softmax", "reproduce nlp-softmax"] {
        made.run(&format!("{command} --data set")).code(3).stdout(is_empty()).stderr(fault.clone());
    }
    assert!(!made.scratch.path().join("runs").exists());
    made.recipe(
        "nlp-softmax",
        &[
            ("units = 10", "units = \"classes\""),
            ("{ shuffled = { test = 0.15, validation = 0.0 } }", "{ as-filed = \"test\" }"),
        ],
    );
    made.run("summary own.toml --data set").success().stdout(contains("(None, 26)"));
    made.run("train own.toml --data set --out run --epochs 40")
        .success()
        .stdout(contains("accuracy").and(contains("Zz")));
    let record = fs::read_to_string(made.scratch.path().join("run/run.toml")).unwrap();
    assert!(record.contains("first_label = 1\nclasses = 26\n"), "{record}");
    made.run("eval run --data set").success().stdout(contains("Mm"));

    // A part of the same set, whose labels are 2 to 5: evaluated as what the network knows them.
    let part = Made::new(2..6, &[28, 28]);
    let run = made.scratch.path().join("run");
    let data = part.scratch.folder.display();
    let output = part.run(&format!("eval {} --data {data} --json", run.display())).success();
    let document: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!(document["classes"].as_array().unwrap().len(), 26);
    // Label 2 is class 1 of the network; the pictures of a label are all alike.
    let row = document["confusion"][1].as_array().unwrap();
    assert_eq!(row.iter().map(|count| count.as_u64().unwrap()).sum::<u64>(), 2);
    assert!(document["confusion"][0].as_array().unwrap().iter().all(|count| count == 0));
    let whole = made.run("eval run --data set --json").success().get_output().stdout.clone();
    let whole: serde_json::Value = serde_json::from_slice(&whole).unwrap();
    for label in 1..5 {
        assert_eq!(document["confusion"][label], whole["confusion"][label], "class {label}");
    }
    // Names of the set are kept, and classes that it lacks have their labels for names.
    part.scratch.put("classes.txt", b"two\nthree\nfour\nfive\n");
    let numbered = part.open().unwrap().numbered_as(1, 6).unwrap();
    assert_eq!(classes_of(&numbered).2, ["1", "two", "three", "four", "five", "6"]);
    // Classes that it does not know.
    let other = Made::new(25..29, &[28, 28]);
    other
        .run(&format!("eval {} --data {}", run.display(), other.scratch.folder.display()))
        .code(3)
        .stderr(contains("has the label 27, but the network was trained on the labels 1 to 26"));
}

/// A network with more outputs than the set has classes is as good; only classes that occur count.
#[test]
fn three_classes_of_ten_outputs() {
    let made = Made::new(0..3, &[28, 28]);
    made.run("train nlp-softmax --data set --out run --epochs 60").success();
    let output = made.run("eval run --data set --json").success().get_output().stdout.clone();
    let document: serde_json::Value = serde_json::from_slice(&output).unwrap();
    assert_eq!(document["test_accuracy"], 1.0);
    for average in ["precision", "recall", "f1"] {
        assert_eq!(document["report"]["macro_avg"][average], 1.0, "{average}");
    }
    // Untrained, it answers with classes that the set has not: they are counted, and nothing breaks.
    made.run("train nlp-softmax --data set --epochs 1 --learning-rate 0.0000001").success();
}

#[test]
fn colours_are_trained_on_by_convolutions() {
    let made = Made::new(0..10, &[28, 36, 3]);
    made.run("summary comp475-cnn --data set")
        .success()
        .stdout(contains("(None, 26, 34, 32) ┆     896"));
    made.run("train comp475-cnn --data set --epochs 1").success();
}

/// Every loss knows how many classes it tells apart.
#[test]
fn networks_with_too_few_outputs_are_refused() {
    let set = Made::new(1..4, &[2, 2]).open().unwrap();
    let task = |loss, outputs| Task {
        loss,
        layers: vec![dense(outputs, Activation::Linear)],
        input: threadcount::train::Input::Pixels,
        ..Task::default()
    };
    let split = Selection::default().apply(&set, 0).unwrap();
    let labels: Vec<u8> = (0..6).map(|i| i % 3).collect();
    let held = Samples::new(Shape::Flat(4), vec![0_u8; 24], &labels).unwrap();
    let held = Split::new(held.clone(), held);
    for (loss, outputs, fits) in [
        (Loss::SoftmaxCrossEntropy, 2, false),
        (Loss::SoftmaxCrossEntropy, 3, true),
        (Loss::SoftmaxCrossEntropy, 4, true),
        (Loss::BinaryCrossEntropy, 1, false),
        (Loss::MeanSquaredError, 1, true),
        (Loss::MeanSquaredError, 2, false),
        (Loss::MeanSquaredError, 3, true),
    ] {
        let task = task(loss, outputs);
        for (split, is_data) in [(&split, true), (&held, false)] {
            let session = Session::new(&task, split, 0).map(drop);
            assert_eq!(session.is_ok(), fits, "{loss:?} {outputs}");
            let Err(error) = session else { continue };
            assert_eq!(matches!(error, Error::Data { .. }), is_data, "{error}");
            assert!(is_data || matches!(error, Error::Mismatch(_)), "{error}");
            let numbers = format!("the set has 3 classes, the network {outputs} output");
            assert!(error.to_string().contains(&numbers), "{error}");
        }
    }
    // Of a selection the classes of the selection count.
    let pair = Selection { classes: Classes::Pair { zero: 3, one: 1 }, ..Selection::default() };
    let split = pair.apply(&set, 0).unwrap();
    assert_eq!(split.train.class_names(), ["3", "1"]);
    assert_eq!(split.train.labels()[..2], [1, 0]);
    Session::new(&task(Loss::BinaryCrossEntropy, 1), &split, 0).map(drop).unwrap();
}

/// Of every way to cut a set, the classes that a part lost are named, and of a good cut none.
#[test]
fn classes_that_a_split_takes_away_are_named() {
    let sorted: Vec<u8> = (0..5).flat_map(|class| [class; 8]).collect();
    let mixed: Vec<u8> = (0..40).map(|i| i % 5).collect();
    let missing = |train: &[u8], test: &[u8], partition| {
        let scratch = Scratch::with_labels(train, test);
        let set = Dataset::open_folder(&scratch.folder, &scratch.cache).unwrap();
        let selection = Selection { classes: Classes::All, partition };
        let found = selection.apply(&set, 3).unwrap().missing();
        found
            .into_iter()
            .map(|Missing { parts, classes }| (parts.join("+"), classes.join("+")))
            .collect::<Vec<_>>()
    };
    let says = |all: &[(&str, &str)]| -> Vec<(String, String)> {
        all.iter().map(|&(part, classes)| (part.into(), classes.into())).collect()
    };
    let tail = |share| Partition::AsFiled(Validation::Tail(share));
    let test = Partition::AsFiled(Validation::Test);
    assert_eq!(missing(&mixed, &mixed, tail(0.4)), []);
    assert_eq!(
        missing(&sorted, &mixed, tail(0.4)),
        says(&[("training", "3+4"), ("validation", "0+1+2")])
    );
    assert_eq!(missing(&mixed, &sorted[..16], test), says(&[("validation+test", "2+3+4")]));
    assert_eq!(missing(&sorted[8..], &mixed, test), says(&[("training", "0")]));
    // A label that no image has is nobody's loss.
    assert_eq!(missing(&[0, 2, 0, 2], &[2, 0], test), []);
    // Shuffled, ten samples of forty cannot be of one class alone, but two can.
    let shuffled = Partition::Shuffled { test: 0.5, validation: 0.025 };
    let lost = missing(&sorted, &mixed, shuffled);
    assert!(lost.len() == 1 && lost[0].0 == "validation", "{lost:?}");
}

#[test]
fn the_program_warns_of_classes_that_a_split_takes_away() {
    let scratch = Scratch::empty();
    let labels: Vec<u32> = (0..10).flat_map(|class| [class; 12]).collect();
    let bytes: Vec<u8> = labels.iter().map(|&label| label as u8).collect();
    for [images, names] in [[NAMES[0], NAMES[1]], [NAMES[2], NAMES[3]]] {
        scratch.put(images, &pictures(&labels, &[28, 28]));
        scratch.put(names, &idx(&[120], &bytes));
    }
    let made = Made { scratch };
    made.run("train comp475-cnn --data set --epochs 1").success().stderr(
        contains("warning: no training sample is of 8, 9 (2 of 10 classes): the network cannot")
            .and(contains("warning: no validation sample is of 0, 1, 2, 3, 4, 5, 6, 7 (8 of 10 classes): what is measured")),
    );
    made.run("train nlp-softmax --data set --epochs 1").success().stderr(contains("is of").not());
}

#[test]
fn what_is_odd_about_reading_a_set_is_said_on_stderr() {
    let made = Made::spelt(SPELLINGS[1], 0..10, &[28, 28]);
    let cache = made.scratch.cache.root().unwrap();
    fs::write(cache, "a file where the cache would be").unwrap();
    made.run("train nlp-softmax --data set --epochs 1").success().stderr(
        contains("warning: ").and(contains("unpacked into memory, as the cache folder")).and(
            contains(format!(
                "{}.gz and 3 more: unpacked",
                Path::new("set").join(NAMES[0]).display()
            )),
        ),
    );
}

/// A class that one part lacks is said to be lacking there.
#[test]
fn verify_tells_which_part_lacks_a_class() {
    let made = Made::new(0..3, &[2, 2]);
    let put = |[images, labels]: [&str; 2], values: &[u32]| {
        made.scratch.put(images, &pictures(values, &[2, 2]));
        let bytes: Vec<_> = values.iter().map(|&label| label as u8).collect();
        made.scratch.put(labels, &idx(&[values.len() as u32], &bytes));
    };
    put([NAMES[0], NAMES[1]], &[0, 0, 0, 1]);
    put([NAMES[2], NAMES[3]], &[0, 3, 3]);
    let text = verify(&made.scratch.folder, &made.scratch.cache).unwrap().to_string();
    let rows: Vec<Vec<_>> = text
        .lines()
        .filter(|line| line.contains(" training "))
        .map(|line| line.split_whitespace().skip(2).collect())
        .collect();
    let rows: Vec<_> = rows.iter().map(|words| words.join(" ")).collect();
    let wanted = [
        "3 training 1 test",
        "1 training 0 test (none to test on)",
        "0 training 0 test (no image)",
        "0 training 2 test (none to train on)",
    ];
    assert_eq!(rows, wanted, "{text}");
}
