//! A model's file: what is taken predicts finite numbers or says that it does not.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use threadcount::data::{Samples, Shape};
use threadcount::nn::{Activation, dense};
use threadcount::train::{Setup, Task, Trained};
use threadcount_fuzz::{Folder, taken};

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::new);

fuzz_target!(|bytes: &[u8]| {
    FOLDER.put("model.safetensors", bytes);
    let layers = vec![dense(3, Activation::Relu), dense(2, Activation::Linear)];
    let task = Task { layers, ..Task::default() };
    let setup = Setup { threads: Some(1), ..Setup::default() };
    let path = FOLDER.path("model.safetensors");
    if let Some(mut trained) = taken(Trained::load(&path, &task, Shape::Flat(2), &setup)) {
        let samples = Samples::new(Shape::Flat(2), vec![0.5_f32, 0.25], &[1_u8]).expect("samples");
        assert_eq!(trained.predict(&samples).expect("a prediction").len(), 2);
    }
});
