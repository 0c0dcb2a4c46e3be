//! NumPy's arrays: all four in one archive, with checksums that are right.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use threadcount_fuzz::checksums;
use threadcount_fuzz::set::Set;

static SET: LazyLock<Set> = LazyLock::new(Set::new);

fuzz_target!(|input: &[u8]| {
    SET.try_files(input, &[("set.npz", &checksums::zip(input))]);
});
