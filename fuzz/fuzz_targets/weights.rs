//! Weights to begin with, of each format, with checksums that are right: what is taken fills the network, and
//! comes back the same from the file that it is saved in.

#![no_main]

use std::ops::ControlFlow;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use threadcount::train::{InitialWeights, Setup, Task};
use threadcount_fuzz::{Folder, checksums, small_split, small_task, taken};

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::new);
static TASK: LazyLock<Task> = LazyLock::new(|| Task { epochs: 0, ..small_task() });

fuzz_target!(|bytes: &[u8]| {
    let is_archive = bytes.starts_with(b"PK");
    let bytes = if is_archive { checksums::zip(bytes) } else { checksums::tensors(bytes) };
    FOLDER.put("weights", &bytes);
    let path = FOLDER.path("weights");
    let Some(weights) = taken(InitialWeights::read(&path)) else { return };
    let setup = Setup { threads: Some(1), ..Setup::default() };
    let split = small_split();
    for new in [vec![], vec!["dense_1".to_owned()]] {
        let weights = weights.clone().with_new_layers(new);
        // No epoch: the network is as it begins.
        let begin = |weights| {
            TASK.fit_from(weights, &split, &setup, |_, _| ControlFlow::Continue(()))
        };
        let Some(begun) = taken(begin(&weights)) else { continue };
        let saved = FOLDER.path("saved");
        begun.save(&saved).expect("saved");
        let again = InitialWeights::read(&saved).expect("what was saved");
        let again = begin(&again).expect("what was saved");
        assert_eq!(again.model().tensors(), begun.model().tensors());
    }
});
