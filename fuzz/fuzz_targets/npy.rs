//! NumPy's arrays: a `.npy` file for images and for labels of each part.

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
            ("x_train.npy", x_train),
            ("y_train.npy", y_train),
            ("x_test.npy", x_test),
            ("y_test.npy", y_test),
        ],
    );
});
