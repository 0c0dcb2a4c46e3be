//! A model's file, with a checksum that is right: what is taken predicts, and is saved and read the same.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use threadcount::data::Shape;
use threadcount::train::{Setup, Task, Trained};
use threadcount_fuzz::{Folder, checksums, small_split, small_task, taken};

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::new);
static TASK: LazyLock<Task> = LazyLock::new(small_task);

fuzz_target!(|bytes: &[u8]| {
    FOLDER.put("model.safetensors", &checksums::tensors(bytes));
    let setup = Setup { threads: Some(1), ..Setup::default() };
    let path = FOLDER.path("model.safetensors");
    if let Some(mut trained) = taken(Trained::load(&path, &TASK, Shape::Flat(2), &setup)) {
        let samples = small_split().test;
        assert_eq!(trained.predict(&samples).expect("a prediction").len(), 2 * samples.len());
        assert_eq!(trained.classes(&samples).expect("classes").len(), samples.len());
        trained.evaluate(&samples).expect("a score");
    }
});
