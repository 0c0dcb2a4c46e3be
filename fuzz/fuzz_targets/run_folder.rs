//! A run's folder, with checksums that are right, as `eval` and `train --resume` read it: `run.toml`, the model,
//! the checkpoint; `history.csv`, of which it counts only whether it is there.

#![no_main]

use std::ops::ControlFlow;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use threadcount::data::{Samples, Split};
use threadcount::kernels::{Isa, Pool, Team};
use threadcount::train::{RunFolder, Session};
use threadcount_fuzz::{Folder, checksums, files, is_small, small_split, taken};

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::new);
static SPLIT: LazyLock<Split> = LazyLock::new(small_split);

fn put(name: &str, bytes: &[u8]) {
    match bytes {
        [] => FOLDER.remove(name),
        _ => FOLDER.put(name, bytes),
    }
}

fuzz_target!(|input: &[u8]| {
    let [record, model, checkpoint, history] = files(input);
    put("run.toml", &checksums::record(record));
    put("model.safetensors", &checksums::tensors(model));
    put("checkpoint.safetensors", &checksums::tensors(checkpoint));
    put("history.csv", history);
    let Some((folder, record)) = taken(RunFolder::open(FOLDER.root())) else { return };
    let shape = record.data.shape().expect("a record that was read has a shape");
    let classes = record.task.selection.classes.count(record.data.classes);
    if !is_small(&record.task, shape, classes) || !is_small(&record.task, SPLIT.train.shape(), 2) {
        return;
    }
    let pool = Pool::new(Isa::best(), 1).expect("a thread");
    if let Some(mut trained) = taken(folder.trained(&record, pool)) {
        let samples = Samples::new(shape, vec![0.5_f32; shape.len()], &[0_u8]).expect("samples");
        taken(trained.predict(&samples));
        taken(trained.evaluate(&samples));
    }
    if record.task.batch_size > 1_000 {
        return;
    }
    let (folder, record) = RunFolder::open_to_train(FOLDER.root()).expect("what was just opened");
    let Some(mut session) = taken(Session::new(&record.task, &SPLIT, record.seed)) else { return };
    if taken(folder.resume(&mut session, &record)).is_some() {
        let one_batch = &mut |_: &Session<'_>, _| Ok(ControlFlow::Break(()));
        taken(session.train(&Team::solo(Isa::best()), one_batch));
        session.checkpoint().expect("a checkpoint");
    }
});
