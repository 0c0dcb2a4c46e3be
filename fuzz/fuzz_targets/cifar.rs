//! CIFAR's binary form. An input is far shorter than a record: its first byte chooses the set, and in each file
//! stand the bytes behind the first two for the beginnings of records; those two are bytes too many, or few.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use threadcount_fuzz::files;
use threadcount_fuzz::set::Set;

static TEN: LazyLock<Set> = LazyLock::new(Set::new);
static HUNDRED: LazyLock<Set> = LazyLock::new(Set::new);

const PIXELS: usize = 32 * 32 * 3;
/// More make it slow, and nothing new.
const RECORDS: usize = 4;

fn file(labels: usize, bytes: &[u8]) -> Vec<u8> {
    let [few, many, beginnings @ ..] = bytes else { return bytes.to_vec() };
    let mut file = Vec::with_capacity((PIXELS + labels) * RECORDS + usize::from(*many));
    for beginning in beginnings.chunks(labels).take(RECORDS) {
        file.extend(beginning);
        file.resize(file.len().next_multiple_of(labels + PIXELS), *many);
    }
    file.truncate(file.len().saturating_sub(usize::from(*few)));
    file.resize(file.len() + usize::from(*many), *few);
    file
}

fuzz_target!(|input: &[u8]| {
    let Some((&first, rest)) = input.split_first() else { return };
    if first % 2 == 0 {
        let files = files::<3>(rest);
        let [one, other, test] = files.map(|bytes| file(1, bytes));
        let files: [(&str, &[u8]); 6] = [
            ("data_batch_1.bin", &one),
            ("data_batch_2.bin", &other),
            ("data_batch_3.bin", &one),
            ("data_batch_4.bin", &one),
            ("data_batch_5.bin", &one),
            ("test_batch.bin", &test),
        ];
        TEN.try_files(input, &files);
    } else {
        let [train, test, names] = files(rest);
        let (train, test) = (file(2, train), file(2, test));
        let files: [(&str, &[u8]); 3] =
            [("train.bin", &train), ("test.bin", &test), ("fine_label_names.txt", names)];
        HUNDRED.try_files(input, &files);
    }
});
