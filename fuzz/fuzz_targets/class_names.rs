//! Files that name classes, beside a sound set. The first byte chooses which, and the labels of the set.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use threadcount_fuzz::idx;
use threadcount_fuzz::set::Set;

static SET: LazyLock<Set> = LazyLock::new(|| {
    let set = Set::new();
    for half in ["train", "t10k"] {
        set.put(&format!("{half}-images-idx3-ubyte"), &idx(&[2, 1, 1], &[1, 2]));
    }
    set.put("t10k-labels-idx1-ubyte", &idx(&[2], &[2, 2]));
    set
});

const NAMES: [&str; 4] = ["classes.txt", "mapping.txt", "batches.meta.txt", "letters-mapping.txt"];

fuzz_target!(|input: &[u8]| {
    let Some((&first, names)) = input.split_first() else { return };
    let chosen = NAMES[usize::from(first) % NAMES.len()];
    NAMES.iter().filter(|&&name| name != chosen).for_each(|name| SET.remove(name));
    // Classes from 0, from 1, from 2, of which there is one, and to 255.
    let label = [0, 1, 2, 255][usize::from(first) / NAMES.len() % 4];
    let labels = idx(&[2], &[2, label]);
    SET.try_files(input, &[("train-labels-idx1-ubyte", &labels), (chosen, names)]);
});
