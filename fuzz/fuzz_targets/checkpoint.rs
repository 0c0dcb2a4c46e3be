//! A checkpoint, with a checksum that is right: what is taken can be trained on, saved and taken up again.

#![no_main]

use std::ops::ControlFlow;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use threadcount::data::Split;
use threadcount::kernels::{Isa, Team};
use threadcount::train::{Session, Task};
use threadcount_fuzz::{Folder, checksums, small_split, small_task, taken};

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::new);
static TASK: LazyLock<Task> = LazyLock::new(small_task);
static SPLIT: LazyLock<Split> = LazyLock::new(small_split);

fuzz_target!(|bytes: &[u8]| {
    FOLDER.put("checkpoint.safetensors", &checksums::tensors(bytes));
    let mut session = Session::new(&TASK, &SPLIT, 0).expect("a session");
    if taken(session.resume(&FOLDER.path("checkpoint.safetensors"))).is_none() {
        return;
    }
    let saved = session.checkpoint().expect("a checkpoint");
    FOLDER.put("again", &saved);
    let mut again = Session::new(&TASK, &SPLIT, 0).expect("a session");
    again.resume(&FOLDER.path("again")).expect("its own checkpoint");
    let same = again.checkpoint().expect("a checkpoint");
    assert!(same == saved, "saved otherwise than it was read");
    let go_on = &mut |_: &Session<'_>, _| Ok(ControlFlow::Continue(()));
    if taken(session.train(&Team::solo(Isa::best()), go_on)).is_some() {
        session.checkpoint().expect("a checkpoint");
        taken(session.test(&Team::solo(Isa::best())));
    }
});
