//! IDX: four raw files. What is taken has a label for each image and nothing beyond its files.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use threadcount_fuzz::files;
use threadcount_fuzz::set::Set;

static SET: LazyLock<Set> = LazyLock::new(Set::new);

fuzz_target!(|input: &[u8]| {
    let [x_train, y_train, x_test, y_test] = files(input);
    SET.try_files(
        input,
        &[
            ("train-images-idx3-ubyte", x_train),
            ("train-labels-idx1-ubyte", y_train),
            ("t10k-images-idx3-ubyte", x_test),
            ("t10k-labels-idx1-ubyte", y_test),
        ],
    );
});
