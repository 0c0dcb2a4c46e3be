//! IDX packed by gzip, with checksums that are right: images and labels to train on; those to test on are raw
//! and sound.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use threadcount_fuzz::set::Set;
use threadcount_fuzz::{checksums, files, idx};

static SET: LazyLock<Set> = LazyLock::new(|| {
    let set = Set::new();
    set.put("t10k-images-idx3-ubyte", &idx(&[1, 2, 2], &[1, 2, 3, 4]));
    set.put("t10k-labels-idx1-ubyte", &idx(&[1], &[1]));
    set
});

fuzz_target!(|input: &[u8]| {
    let [images, labels] = files(input).map(checksums::gzip);
    let files: [(&str, &[u8]); 2] =
        [("train-images-idx3-ubyte.gz", &images), ("train-labels-idx1-ubyte.gz", &labels)];
    SET.try_files(input, &files);
});
