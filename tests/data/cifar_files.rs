//! Sets in CIFAR's binary form: taken as they are shipped, and refused with what to do about it.

use std::fs;

use crate::common::sets::Scratch;
use threadcount::data::{Half, verify};

/// Labels and pixels of a record, whose channels lie one behind the other.
fn records(count: usize, labels: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    let record = |i: usize| {
        let pixels = (0..3072).map(move |j| (i * 11 + j / 1024 * 80 + j % 77) as u8);
        labels(i).into_iter().chain(pixels)
    };
    (0..count).flat_map(record).collect()
}

const CIFAR: [&str; 6] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
    "test_batch.bin",
];

fn cifar() -> Scratch {
    let scratch = Scratch::empty();
    let names = "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n";
    for (i, name) in CIFAR.into_iter().enumerate() {
        scratch.put(name, &records(3 + i, |record| vec![((i + record) % 10) as u8]));
    }
    scratch.put("batches.meta.txt", names.as_bytes());
    scratch.put("readme.html", b"<a>");
    scratch
}

#[test]
fn cifar_is_transcoded_once() {
    let scratch = cifar();
    let set = scratch.open().unwrap();
    assert_eq!((set.train.images.count(), set.test.images.count()), (25, 8));
    assert_eq!(set.train.images.measures(), "32x32x3");
    // In the order of the files, and of the records in them.
    assert_eq!(set.train.labels.as_slice()[..8], [0, 1, 2, 1, 2, 3, 4, 2]);
    assert_eq!(set.test.labels.as_slice(), [5, 6, 7, 8, 9, 0, 1, 2]);
    // Record 1 of the second file, whose pixels are 11 more than the first record's.
    let image = set.train.images.image(4);
    let want = (0..1024).flat_map(|pixel| {
        (0..3).map(move |channel| (11 + channel * 80 + (channel * 1024 + pixel) % 77) as u8)
    });
    assert_eq!(image, want.collect::<Vec<_>>());
    let unpacked = scratch.unpacked();
    assert_eq!(unpacked.len(), 2, "{unpacked:?}");
    assert_eq!(scratch.open().unwrap().train.images.as_slice(), set.train.images.as_slice());
    assert_eq!(scratch.unpacked().len(), 2);
    // Whichever of its files has changed.
    for (i, name) in CIFAR.into_iter().enumerate() {
        let scratch = cifar();
        scratch.open().unwrap();
        let mut bytes = fs::read(scratch.folder.join(name)).unwrap();
        *bytes.last_mut().unwrap() ^= 255;
        scratch.put(name, &bytes);
        let changed = scratch.open().unwrap();
        let is_changed =
            |half| changed.part(half).images.as_slice() != set.part(half).images.as_slice();
        assert_eq!([is_changed(Half::Train), is_changed(Half::Test)], [i < 5, i == 5], "{name}");
    }
}

#[test]
fn cifar_has_its_class_names() {
    let scratch = cifar();
    let report = verify(&scratch.folder, &scratch.cache).unwrap().to_string();
    assert!(report.contains("(CIFAR)\n  data_batch_1.bin  3x32x32x3\n    sha256 "), "{report}");
    assert_eq!(scratch.open().unwrap().class_name(9), "truck");
    let path = scratch.put("batches.meta.txt", b"airplane\nautomobile\n");
    let line = scratch.refusal(&path);
    assert!(line.contains("names 2 classes, but the labels of the set are 0 to 9"), "{line}");
}

#[test]
fn cifar_100_is_read_by_its_fine_labels() {
    let scratch = Scratch::empty();
    scratch.put("train.bin", &records(100, |i| vec![(i % 20) as u8, i as u8]));
    scratch.put("test.bin", &records(7, |i| vec![3, (i * 9) as u8]));
    let line = scratch.open().unwrap_err().to_string();
    assert!(line.contains("no set is in it"), "{line}");
    let names: String = (0..100).map(|i| format!("fine{i}\n")).collect();
    scratch.put("fine_label_names.txt", names.as_bytes());
    let set = scratch.open().unwrap();
    assert_eq!(set.train.labels.as_slice(), (0..100).collect::<Vec<u8>>());
    assert_eq!(set.test.labels.as_slice(), [0, 9, 18, 27, 36, 45, 54]);
    assert_eq!(set.class_name(27), "fine27");
    let want = (0..3).map(|channel| (22 + channel * 80 + (channel * 1024 + 5) % 77) as u8);
    assert_eq!(set.train.images.image(2)[15..18], want.collect::<Vec<_>>());
}

#[test]
fn bad_batches_are_refused() {
    let whole = |name: &str| fs::read(cifar().folder.join(name)).unwrap();
    for name in CIFAR {
        let scratch = cifar();
        let path = scratch.put(name, &whole(name)[1..]);
        assert!(
            scratch.refusal(&path).contains("are not whole records of 3073 bytes, as CIFAR-10")
        );
        let mut bytes = whole(name);
        bytes[2 * 3073] = 10;
        scratch.put(name, &bytes);
        let line = scratch.refusal(&path);
        assert!(line.contains("record 2 has the label 10, those of CIFAR-10 are 0 to 9"), "{line}");
        scratch.put(name, b"");
        assert!(scratch.refusal(&path).contains("the file is empty"));
        fs::remove_file(&path).unwrap();
        let line = scratch.refusal(&path);
        assert!(
            line.contains("not found; put the files of cifar-10-binary.tar.gz there"),
            "{line}"
        );
        let stem = name.strip_suffix(".bin").unwrap();
        scratch.put(stem, b"\x80\x04");
        let line = scratch.refusal(&path);
        let fault = format!("{stem} is a file of the version for Python");
        assert!(line.contains(&fault), "{line}");
        let unpacked = usize::from(name == CIFAR[5]);
        assert_eq!(scratch.unpacked().len(), unpacked, "the training images are sound");
    }
    let scratch = Scratch::empty();
    scratch.put("cifar-10-binary.tar.gz", b"\x1f\x8b");
    let line = scratch.refusal(&scratch.folder);
    assert!(line.ends_with("if cifar-10-binary.tar.gz holds one, unpack it there"), "{line}");
}
