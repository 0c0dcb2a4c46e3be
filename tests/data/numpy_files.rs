//! Sets in NumPy's arrays: taken as they are shipped, and refused with what to do about it.

use crate::common::sets::{self, NAMES, Scratch, idx};
use assert_cmd::Command;
use assert_cmd::assert::Assert;
use predicates::prelude::*;
use predicates::str::contains;
use std::fs;
use std::io::{Cursor, Write};
use threadcount::Error;
use threadcount::data::{Cache, Classes, Dataset, FORMATS, Half, Selection, verify};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// A `.npy` file as NumPy writes it: the dictionary is padded to a multiple of 64 bytes.
fn npy(descr: &str, shape: &[usize], elements: &[u8]) -> Vec<u8> {
    npy_in_order(descr, "False", shape, elements)
}

fn npy_in_order(descr: &str, fortran: &str, shape: &[usize], elements: &[u8]) -> Vec<u8> {
    let sizes: String = shape.iter().map(|n| format!("{n}, ")).collect();
    let mut text =
        format!("{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': ({sizes}), }}");
    text.push_str(&" ".repeat(63 - (10 + text.len()) % 64));
    text.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.extend(elements);
    bytes
}

fn npz(arrays: &[(&str, Vec<u8>)], method: CompressionMethod) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in arrays {
        let options = SimpleFileOptions::default().compression_method(method);
        archive.start_file(format!("{name}.npy"), options).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// The set that all of these files hold: 30 training images, 10 test images, `[height, width, channels]`,
/// labels 2 to 6.
#[derive(Clone, Copy)]
struct Made {
    sizes: [usize; 3],
}

const GREY: Made = Made { sizes: [4, 3, 1] };
const COLOUR: Made = Made { sizes: [3, 2, 3] };

impl Made {
    const COUNTS: [usize; 2] = [30, 10];

    fn pixels(self, half: usize) -> Vec<u8> {
        let n = Self::COUNTS[half] * self.sizes.iter().product::<usize>();
        (0..n).map(|i| (i * 7 + i / 5 + 100 * half) as u8).collect()
    }

    fn labels(half: usize) -> Vec<u8> {
        (0..Self::COUNTS[half]).map(|i| (i * 3 % 5 + 2) as u8).collect()
    }

    fn shape(self, half: usize) -> Vec<usize> {
        let [height, width, channels] = self.sizes;
        let mut shape = vec![Self::COUNTS[half], height, width];
        if channels > 1 {
            shape.push(channels);
        }
        shape
    }

    /// x_train, y_train, x_test, y_test.
    fn arrays(self) -> [Vec<u8>; 4] {
        let x = |half| npy("'|u1'", &self.shape(half), &self.pixels(half));
        let y = |half| npy("'|u1'", &[Self::COUNTS[half]], &Self::labels(half));
        [x(0), y(0), x(1), y(1)]
    }

    fn named(self, names: [&str; 4]) -> Vec<(&str, Vec<u8>)> {
        names.into_iter().zip(self.arrays()).collect()
    }

    #[track_caller]
    fn check(self, set: &Dataset) {
        for (half, of) in [(Half::Train, 0), (Half::Test, 1)] {
            let part = set.part(half);
            let labels = Self::labels(of).iter().map(|label| label - 2).collect::<Vec<_>>();
            assert_eq!(part.images.as_slice(), self.pixels(of));
            assert_eq!(part.labels.as_slice(), labels);
            let sizes = [part.images.height(), part.images.width(), part.images.channels()];
            assert_eq!(sizes, self.sizes);
        }
        assert_eq!((set.first_label(), set.class_names().len()), (2, 5));
    }
}

const KERAS: [&str; 4] = ["x_train", "y_train", "x_test", "y_test"];
const MEDMNIST: [&str; 4] = ["train_images", "train_labels", "test_images", "test_labels"];
const METHODS: [CompressionMethod; 2] = [CompressionMethod::Stored, CompressionMethod::Deflated];

fn run(scratch: &Scratch, args: &str) -> Assert {
    let mut command = Command::cargo_bin("threadcount").unwrap();
    for name in ["DATA", "THREADS", "ISA", "SEED", "RUNS", "SHARDS"] {
        command.env_remove(format!("THREADCOUNT_{name}"));
    }
    command.env("THREADCOUNT_CACHE", scratch.cache.root().unwrap());
    command.current_dir(scratch.path()).args(args.split_whitespace()).assert()
}

#[test]
fn files_of_one_array_are_mapped_where_they_lie() {
    for made in [GREY, COLOUR] {
        for names in [
            ["x_train.npy", "y_train.npy", "x_test.npy", "y_test.npy"],
            ["train_images.npy", "train_labels.npy", "test_images.npy", "test_labels.npy"],
            ["own-Xtrain.npy", "own-ytrain.npy", "own-Xtest.npy", "own-ytest.npy"],
        ] {
            let scratch = Scratch::empty();
            made.named(names).iter().for_each(|(name, bytes)| drop(scratch.put(name, bytes)));
            let set = scratch.open().unwrap();
            made.check(&set);
            assert_eq!(set.train.images.path(), scratch.folder.join(names[0]));
            assert_eq!(scratch.unpacked(), []);
            // Without one of them the others are no set.
            for name in names {
                let path = scratch.folder.join(name);
                let bytes = fs::read(&path).unwrap();
                fs::remove_file(&path).unwrap();
                let line = scratch.open().unwrap_err().to_string();
                assert!(line.contains("not found; put it there"), "{line}");
                fs::write(path, bytes).unwrap();
            }
        }
    }
}

#[test]
fn archives_are_unpacked_once() {
    for (made, method) in [GREY, COLOUR].into_iter().zip(METHODS) {
        for names in [KERAS, MEDMNIST] {
            let scratch = Scratch::empty();
            let path = scratch.put("some.npz", &npz(&made.named(names), method));
            made.check(&scratch.open().unwrap());
            let mut unpacked = scratch.unpacked();
            unpacked.sort();
            assert!(unpacked[0].0.starts_with("some.npz-test-images."), "{unpacked:?}");
            assert!(unpacked[1].0.starts_with("some.npz-train-images."), "{unpacked:?}");
            assert_eq!(unpacked.len(), 2);
            // By name, too, and as what it is called.
            for place in [path.clone(), scratch.folder.join("some")] {
                made.check(&Dataset::open_folder(&place, &scratch.cache).unwrap());
            }
            assert_eq!(scratch.unpacked().len(), 2);
            // Other contents under the same name are unpacked anew.
            let mut other = made.named(names);
            *other[0].1.last_mut().unwrap() ^= 1;
            scratch.put("some.npz", &npz(&other, method));
            let set = scratch.open().unwrap();
            assert_ne!(set.train.images.as_slice(), made.pixels(0));
            assert_eq!(set.test.images.as_slice(), made.pixels(1));
        }
    }
}

/// KMNIST has an archive for each array, in which it is called `arr_0`.
#[test]
fn an_archive_may_hold_one_array() {
    let scratch = Scratch::empty();
    let names = ["train-imgs", "train-labels", "test-imgs", "test-labels"];
    for (name, array) in names.into_iter().zip(GREY.arrays()) {
        scratch.put(&format!("kmnist-{name}.npz"), &npz(&[("arr_0", array)], METHODS[1]));
    }
    GREY.check(&scratch.open().unwrap());
    let report = verify(&scratch.folder, &scratch.cache).unwrap().to_string();
    assert!(report.contains("(NumPy)\n  kmnist-train-imgs.npz    30x4x3"), "{report}");
    let several = npz(&[("arr_0", vec![]), ("arr_1", vec![])], METHODS[0]);
    let path = scratch.put("kmnist-test-labels.npz", &several);
    assert!(scratch.refusal(&path).contains("holds arr_0, arr_1; put an archive of one"));
    scratch.put("kmnist-test-labels.npz", &npz(&[("readme", vec![])], METHODS[0]));
    let path = scratch.put("kmnist-test-labels.npz", &npz(&[], METHODS[0]));
    assert!(scratch.refusal(&path).contains("holds no arrays; put an archive of one"));
}

/// `tests/golden/numpy.npz` was written by NumPy 2.4.6: images counted up from 0 and from 100.
#[test]
fn what_numpy_writes_is_read() {
    let scratch = Scratch::empty();
    scratch.put("set.npz", include_bytes!("../golden/numpy.npz"));
    let set = scratch.open().unwrap();
    assert_eq!(set.train.images.as_slice(), (0..30).collect::<Vec<u8>>());
    assert_eq!(set.test.images.as_slice(), (100..112).collect::<Vec<u8>>());
    assert_eq!(set.train.labels.as_slice(), [0, 1, 2, 1, 0]);
    assert_eq!(set.test.labels.as_slice(), [2, 0]);
    assert_eq!((set.first_label(), set.train.images.measures()), (3, "2x3".to_owned()));
}

/// Found by fuzzing: over two dozen brackets in a header the parser sat for longer than anybody waited.
#[test]
fn nested_brackets_in_a_header_are_refused_at_once() {
    let scratch = Scratch::empty();
    let path = scratch.put("x_train.npy", b"");
    for name in ["y_train.npy", "x_test.npy", "y_test.npy"] {
        scratch.put(name, &npy("'|u1'", &[1], &[0]));
    }
    let started = std::time::Instant::now();
    for brackets in ["{", "(", "[", "{(", "([", "(2,", "[2,", "{2:", "{2,", "(2,{", "[(2,"] {
        for count in [1, 2, 3, 5, 6, 7, 8, 24, 31, 1000] {
            scratch.put("x_train.npy", &npy(&brackets.repeat(count), &[1, 2, 2], &[0; 4]));
            assert!(!scratch.refusal(&path).is_empty(), "{count} of {brackets}");
        }
    }
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
}

/// No arithmetic of labels goes beyond the last one that there is.
#[test]
fn the_largest_label_is_one() {
    let scratch = Scratch::empty();
    for half in ["train", "test"] {
        scratch.put(&format!("x_{half}.npy"), &npy("'|u1'", &[2, 1, 1], &[3, 4]));
        scratch.put(&format!("y_{half}.npy"), &npy("'<u4'", &[2], &[255; 8]));
    }
    let set = scratch.open().unwrap();
    assert_eq!((set.first_label(), set.class_list.last()), (u32::MAX, u32::MAX));
    let pair = Selection { classes: Classes::Pair { zero: 0, one: 1 }, ..Selection::default() };
    let fault = pair.apply(&set, 0).unwrap_err().to_string();
    assert!(fault.contains("has the labels 4294967295 to 4294967295"), "{fault}");
    assert_eq!(set.numbered_as(u32::MAX - 9, 10).unwrap().train.labels.as_slice(), [9, 9]);
    for (first, classes) in [(u32::MAX, 2), (0, 0), (0, 257), (0, usize::MAX)] {
        let refused = set.numbered_as(first, classes);
        assert!(matches!(refused, Err(Error::Usage(_))), "{classes} classes from {first}");
    }
}

/// Whole numbers of every type are labels, and images if they are 0 to 255.
#[test]
fn every_type_of_whole_numbers_is_read() {
    for (descr, size, is_big) in [
        ("'|u1'", 1, false),
        ("'|i1'", 1, false),
        ("'<u2'", 2, false),
        ("'>i2'", 2, true),
        ("'<i4'", 4, false),
        ("'>u4'", 4, true),
        ("'<i8'", 8, false),
        ("'>u8'", 8, true),
    ] {
        let wide = |bytes: &[u8]| -> Vec<u8> {
            let element = |&byte: &u8| {
                let mut element = vec![0; size];
                element[if is_big { size - 1 } else { 0 }] = byte;
                element
            };
            bytes.iter().flat_map(element).collect()
        };
        let scratch = Scratch::empty();
        for (half, [x, y]) in [["x_train", "y_train"], ["x_test", "y_test"]].into_iter().enumerate()
        {
            // A signed byte has no more than 127.
            let pixels: Vec<u8> = GREY.pixels(half).iter().map(|pixel| pixel / 2).collect();
            scratch.put(&format!("{x}.npy"), &npy(descr, &GREY.shape(half), &wide(&pixels)));
            let labels = wide(&Made::labels(half));
            scratch.put(&format!("{y}.npy"), &npy(descr, &[Made::COUNTS[half], 1], &labels));
        }
        let set = scratch.open().unwrap_or_else(|error| panic!("{descr}: {error}"));
        let halved: Vec<u8> = GREY.pixels(0).iter().map(|pixel| pixel / 2).collect();
        assert_eq!(set.train.images.as_slice(), halved, "{descr}");
        assert_eq!(set.train.labels.as_slice()[..3], [0, 3, 1], "{descr}");
        assert_eq!(set.first_label(), 2, "{descr}");
        assert_eq!(scratch.unpacked().len(), if descr == "'|u1'" { 0 } else { 2 }, "{descr}");
    }
}

/// Every array that is something else says what, and how to mend it in NumPy.
#[test]
fn other_arrays_are_refused_with_their_mend() {
    let x = |descr: &str, shape: &[usize], bytes: usize| npy(descr, shape, &vec![0; bytes]);
    let good = GREY.arrays();
    let cut = good[0][..good[0].len() - 1].to_vec();
    let long = [&good[0][..], &[0]].concat();
    let shade: Vec<u8> = (0..360_i64).flat_map(|i| (i - 1).to_le_bytes()).collect();
    let text = b"\x93NUMPY\x01\x00\x08\x00nonsense".to_vec();
    for (file, bytes, fault) in [
        ("x_train", x("'<f4'", &[30, 4, 3], 1440), "floats (<f4); save bytes: numpy.rint(255 * x)"),
        ("x_train", x("'|b1'", &[30, 4, 3], 360), "truth values (|b1); save bytes: 255 * x"),
        ("x_train", x("'<c8'", &[30, 4, 3], 2880), "no whole numbers (<c8); save bytes"),
        ("x_train", x("[('a', '|u1')]", &[30, 4, 3], 360), "holds records"),
        ("x_train", x("'|u1'", &[30, 12], 360), "holds a row of 12 numbers for each image"),
        ("x_train", x("'|u1'", &[30, 12], 360), "x.reshape(-1, height, width)"),
        ("x_train", x("'|u1'", &[30, 3, 4, 5], 1800), "numpy.moveaxis(x, 1, -1)"),
        ("x_train", x("'|u1'", &[30, 4, 3, 4], 1440), "have 4 channels"),
        ("x_train", x("'|u1'", &[30], 30), "holds labels"),
        ("x_train", x("'|u1'", &[0, 4, 3], 0), "holds no images"),
        ("x_train", x("'|u1'", &[30, 0, 3], 0), "images measure 0x3 numbers"),
        ("x_train", npy_in_order("'|u1'", "True", &[30, 4, 3], &[0; 360]), "ascontiguousarray"),
        ("x_train", npy("'<i8'", &[30, 4, 3], &shade), "number 0 is -1, and shades are 0 to 255"),
        ("x_train", npy("'<i8'", &[29, 4, 3], &shade[96..]), "number 245 is 256, and shades"),
        ("x_train", cut, "truncated: the header promises 488 bytes ([30, 4, 3]), there are 487"),
        ("x_train", long, "has trailing bytes: the header promises 488 bytes"),
        ("x_train", vec![], "not a NumPy array; put one in its place"),
        ("x_train", text, "its header cannot be read"),
        ("x_train", sets::gzip(&good[0]), "not a NumPy array but gzip data"),
        ("x_train", idx(&[30, 4, 3], &[0; 360]), "not a NumPy array"),
        ("y_train", x("'<f8'", &[30], 240), "floats (<f8); save whole numbers: y.astype('int64')"),
        (
            "y_train",
            x("'<f8'", &[30, 5], 1200),
            "holds 5 numbers for each label ([30, 5]), perhaps one",
        ),
        ("y_train", x("'<U9'", &[30], 1080), "texts (<U9); save the number of each class"),
        ("y_train", x("'|O'", &[30], 60), "Python objects (|O); save the number of each class"),
        ("y_train", npy("'|i1'", &[2], &[1, 255]), "label 1 is -1; number the classes from 0 up"),
        ("y_train", npy("'<u8'", &[1], &[255; 8]), "label 0 is 18446744073709551615; number"),
        ("y_train", x("'|u1'", &[29], 29), "holds 29 labels for 30 images"),
        ("y_train", x("'|u1'", &[30, 4, 3], 360), "holds images"),
    ] {
        // The same in a file and in an archive, which names the array.
        let scratch = Scratch::empty();
        for (name, good) in GREY.named(KERAS) {
            scratch.put(&format!("{name}.npy"), if name == file { &bytes } else { &good });
        }
        let line = scratch.refusal(&scratch.folder.join(format!("{file}.npy")));
        assert!(line.contains(fault), "{line}\n{fault}");
        let mut arrays = GREY.named(KERAS);
        arrays[usize::from(file == "y_train")].1 = bytes;
        let scratch = Scratch::empty();
        let path = scratch.put("set.npz", &npz(&arrays, METHODS[1]));
        let line = scratch.refusal(&path);
        assert!(line.contains(fault), "{line}\n{fault}");
        let counts = fault.contains("for 30 images");
        assert!(counts || line.starts_with(&format!("array {file}: ")), "{line}");
        // Nothing of a bad array is left.
        let is_of_it = |(name, _): &&(String, u64)| name.contains("train-images");
        let left = scratch.unpacked().iter().filter(is_of_it).count();
        assert_eq!(left, usize::from(file == "y_train"), "{fault}");
    }
}

#[test]
fn bad_archives_are_refused() {
    let scratch = Scratch::empty();
    let good = npz(&GREY.named(KERAS), METHODS[1]);
    let path = scratch.put("set.npz", &good[..good.len() / 2]);
    assert!(scratch.refusal(&path).starts_with("not a whole .npz archive ("));
    scratch.put("set.npz", b"no archive at all");
    assert!(scratch.refusal(&path).starts_with("not a whole .npz archive ("));
    let lost = GREY.named(["x_train", "y_train", "x_test", "answers\n"]);
    scratch.put("set.npz", &npz(&lost, METHODS[1]));
    let line = scratch.refusal(&path);
    assert_eq!(
        line,
        "has no array y_test (it holds answers\\n, x_test, x_train, y_train); name the arrays x_train, \
         y_train, x_test, y_test"
    );
    let many: Vec<_> = (0..99).map(|i| format!("array{i:02}")).collect();
    let many: Vec<_> = many.iter().map(|name| (&**name, Vec::new())).collect();
    scratch.put("set.npz", &npz(&many, METHODS[0]));
    assert!(scratch.refusal(&path).contains("array07 and 91 more)"));
    // A flipped bit in the pixels: only the checksum knows.
    let mut bytes = npz(&GREY.named(KERAS), METHODS[0]);
    let pixels = GREY.pixels(0);
    let at = bytes.windows(pixels.len()).position(|window| window == pixels).unwrap();
    bytes[at + 5] ^= 1;
    scratch.put("set.npz", &bytes);
    let line = scratch.refusal(&path);
    assert!(line.starts_with("array x_train: cannot be read (Invalid checksum"), "{line}");
    assert_eq!(scratch.unpacked(), []);
    // Sizes that no archive of this length can hold are not unpacked to be found out.
    let huge = |name: &str| {
        let mut bytes = npz(&GREY.named(KERAS), METHODS[0]);
        let at = (0..bytes.len()).rfind(|&i| bytes[i..].starts_with(name.as_bytes())).unwrap();
        // The size unpacked stands 22 bytes in front of the name in the table at the end.
        bytes[at - 22..at - 18].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
        bytes
    };
    scratch.put("set.npz", &huge("x_train.npy"));
    let line = scratch.refusal(&path);
    assert!(
        line.contains("is said to have 2147483647 bytes, more than 488 packed bytes"),
        "{line}"
    );
}

#[test]
fn an_archive_beside_a_set_counts_only_if_it_is_one() {
    let scratch = Scratch::good();
    let path = scratch.put("results.npz", &npz(&[("loss", vec![])], METHODS[0]));
    assert_eq!(scratch.open().unwrap().train.images.count(), 20);
    scratch.put("results.npz", &npz(&GREY.named(KERAS), METHODS[0]));
    let line = scratch.refusal(&scratch.folder);
    assert!(line.contains("holds 2 sets (train-images-idx3-ubyte, results); name "), "{line}");
    assert!(line.ends_with("set/results, or leave one of them in it"), "{line}");
    GREY.check(&Dataset::open_folder(&path, &scratch.cache).unwrap());
    // A file that is no set.
    let line = Dataset::open_folder(&scratch.folder.join(NAMES[0]), &scratch.cache).unwrap_err();
    assert!(line.to_string().contains("not a folder; name the folder"), "{line}");
}

#[test]
fn a_cache_that_takes_nothing_is_done_without() {
    let scratch = Scratch::empty();
    scratch.put("set.npz", &npz(&COLOUR.named(KERAS), METHODS[1]));
    let file = scratch.path().join("a file");
    fs::write(&file, "where a folder is needed").unwrap();
    let set = Dataset::open_folder(&scratch.folder, &Cache::at(&file)).unwrap();
    COLOUR.check(&set);
    let remarks = set.remarks();
    assert!(remarks[0].contains("unpacked into memory, as the cache folder"), "{remarks:?}");
    assert_eq!(remarks.len(), 1);
}

#[test]
fn what_is_not_used_is_told() {
    let scratch = Scratch::empty();
    let mut arrays = COLOUR.named(MEDMNIST);
    arrays.push(("val_images", vec![]));
    arrays.push(("val_labels", vec![]));
    scratch.put("med.npz", &npz(&arrays, METHODS[1]));
    COLOUR.check(&scratch.open().unwrap());
    run(&scratch, "data verify --data set")
        .success()
        .stdout(contains("  med.npz  30x3x2x3\n    sha256 "));
    run(&scratch, "data verify --data set/med.npz")
        .success()
        .stdout(contains("not used of the archive: val_images, val_labels").count(1));
    scratch.put("classes.txt", b"a\nb\nc\nd\ne\n");
    run(&scratch, "data verify --data set").success().stdout(contains("      2  a  "));
}

/// A run knows its archive again.
#[test]
fn an_archive_is_trained_on_and_found_again() {
    let scratch = Scratch::empty();
    scratch.put("own.npz", &npz(&COLOUR.named(KERAS), METHODS[1]));
    let printed = run(&scratch, "recipe nlp-softmax").success().get_output().stdout.clone();
    let text = String::from_utf8(printed).unwrap();
    let text = text.replace("units = 10", "units = \"classes\"");
    fs::write(scratch.path().join("own.toml"), text).unwrap();
    run(&scratch, "train own.toml --epochs 2 --data set/own.npz --out r").success();
    run(&scratch, "eval r").success().stderr(contains("warning: the model").not());
    run(&scratch, "train --resume r --epochs 3").success();
    fs::remove_file(scratch.folder.join("own.npz")).unwrap();
    run(&scratch, "eval r").code(3).stderr(contains("name their folder with --data"));
}

/// The message that no set is there names every format.
#[test]
fn every_format_is_named_where_no_set_is_found() {
    let scratch = Scratch::empty();
    let line = scratch.refusal(&scratch.folder);
    let names: Vec<_> = FORMATS.iter().map(|format| format.name()).collect();
    assert_eq!(names, ["IDX", "NumPy", "CIFAR"]);
    for format in FORMATS {
        assert!(line.contains(&format!("{} ({})", format.name(), format.files())), "{line}");
    }
}
