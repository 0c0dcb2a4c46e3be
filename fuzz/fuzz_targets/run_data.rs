//! A record, with a checksum that is right, and the task in it, on a set: what `eval` and `train --resume` do
//! between reading `run.toml` and the session. The classes are numbered as the record says, samples selected and
//! cut as the task says, and some batches trained. What is taken is written and read back the same.

#![no_main]

use std::hint::black_box;
use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use threadcount::data::{Cache, Dataset};
use threadcount::kernels::{Isa, Team};
use threadcount::nn::Plan;
use threadcount::train::{DataRecord, RunFolder, Session};
use threadcount_fuzz::{Folder, checksums, is_small, put_small_set, taken};

static RUN: LazyLock<Folder> = LazyLock::new(Folder::new);
static FILES: LazyLock<Folder> = LazyLock::new(Folder::new);
static SET: LazyLock<Arc<Dataset>> = LazyLock::new(|| {
    put_small_set(&FILES);
    Dataset::open_folder(FILES.root(), &Cache::at("/dev/null/cache")).expect("a set")
});

/// Batches and epochs that are trained before the run is broken off.
const MOMENTS: usize = 6;

fuzz_target!(|text: &[u8]| {
    RUN.put("run.toml", &checksums::record(text));
    let Some((folder, record)) = taken(RunFolder::open(RUN.root())) else { return };
    let task = &record.task;
    // Of the sample that the record tells of, however large, no more than the plan.
    let shape = record.data.shape().expect("a record that was read has a shape");
    let classes = task.selection.classes.count(record.data.classes);
    taken(task.input.of(shape).and_then(|input| Plan::new(input, &task.layers_for(classes))));

    let Some(set) = taken(record.data.number(Arc::clone(&SET))) else { return };
    assert_eq!(set.class_list.names.len(), record.data.classes);
    let Some(split) = taken(task.selection.apply(&set, record.seed)) else { return };
    let all = SET.train.images.count() + SET.test.images.count();
    let parts = [&split.train, &split.validation, &split.test];
    assert!(parts.iter().all(|part| (1..=all).contains(&part.len())));
    black_box((split.missing(), DataRecord::of(&set, &split)));

    if !is_small(task, split.train.shape(), split.train.classes()) {
        return;
    }
    let Some(mut session) = taken(Session::new(task, &split, record.seed)) else { return };
    let (team, mut moments) = (Team::solo(Isa::best()), 0);
    let watch = &mut |_: &Session<'_>, _| {
        moments += 1;
        Ok(if moments < MOMENTS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    };
    if taken(session.train(&team, watch)).is_some() {
        taken(session.test(&team));
        taken(session.test_predictions(&team));
        session.checkpoint().expect("a checkpoint");
    }

    if taken(folder.write_record(&record)).is_some() {
        let written = RUN.take("run.toml");
        let (folder, again) = RunFolder::open(RUN.root()).expect("its own record");
        folder.write_record(&again).expect("written again");
        assert!(RUN.take("run.toml") == written, "written otherwise than it was read");
    }
});
