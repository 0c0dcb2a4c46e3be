//! Writes the inputs that fuzzing begins with: `cargo run --bin seeds -- FOLDER` makes a folder for each target.

use std::error::Error;
use std::fs;
use std::io::{Cursor, Write};
use std::ops::ControlFlow;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use threadcount::data::scale::Scaling;
use threadcount::data::{Augment, Classes, Partition, Selection, Validation};
use threadcount::kernels::{Isa, Team};
use threadcount::nn::exchange::Framework;
use threadcount::nn::{
    Activation, Padding, average_pool, batch_norm, class_outputs, conv2d, dense, dropout, flatten,
    global_average_pool2d, layer_norm, leaky_relu, lstm, max_pool,
};
use threadcount::reports;
use threadcount::train::{
    DataRecord, EarlyStopping, Input, Record, ResultRecord, RunFolder, Session, Setup, Task,
};
use threadcount_fuzz::{Folder, checksums, idx, joined, small_split, small_task};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let root = std::env::args_os().nth(1).ok_or("name a folder")?;
    let put = |target: &str, name: &str, bytes: &[u8]| {
        let folder = Path::new(&root).join(target);
        fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join(name), bytes))
    };
    for recipe in reports::select(&[])? {
        put("task_toml", &recipe.id, recipe.task.to_toml()?.as_bytes())?;
    }
    put("task_toml", "regularised", small_task().to_toml()?.as_bytes())?;

    let (x, y) = (idx(&[2, 2, 2], &[1, 2, 3, 4, 5, 6, 7, 8]), idx(&[2], &[1, 0]));
    put("idx", "gray", &joined(&[&x, &y, &x, &y]))?;
    let (colour, wide) = (idx(&[1, 1, 2, 3], &[1, 2, 3, 4, 5, 6]), integers(&[1, 2], &[7, 0]));
    put("idx", "colour", &joined(&[&colour, &wide, &colour, &idx(&[1], &[3])]))?;

    let (packed, labels) = (gzip(&x, Compression::best())?, gzip(&y, Compression::none())?);
    put("gzip", "one", &joined(&[&packed, &labels]))?;
    let (front, back) = x.split_at(9);
    let members = [gzip(front, Compression::best())?, gzip(back, Compression::fast())?, vec![0; 8]];
    put("gzip", "members", &joined(&[&members.concat(), &labels]))?;

    let x = npy("|u1", false, "(2, 2, 2)", &[1, 2, 3, 4, 5, 6, 7, 8]);
    let y = npy("<i8", false, "(2,)", &[[1, 0, 0, 0, 0, 0, 0, 0], [0; 8]].concat());
    put("npy", "bytes", &joined(&[&x, &y, &x, &y]))?;
    let wide = npy(">i2", false, "(1, 1, 2, 3)", &[0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6]);
    let column = npy("|u1", true, "(1, 1)", &[4]);
    put("npy", "integers", &joined(&[&wide, &column, &wide, &column]))?;
    for (name, method) in
        [("stored", CompressionMethod::Stored), ("deflated", CompressionMethod::Deflated)]
    {
        put("npz", name, &npz(method, &[&x, &y, &x, &y])?)?;
    }

    put("cifar", "ten", &[b"\0", &*joined(&[&[0, 0, 1, 9], &[0, 0, 3], &[0, 0, 5]])].concat())?;
    let hundred = joined(&[&[0, 0, 1, 2], &[0, 0, 0, 1], b"apple\nfish\nbaby\n"]);
    put("cifar", "hundred", &[b"\x01", &*hundred].concat())?;

    put("class_names", "lines", b"\0cat\ndog\nowl\n")?;
    put("class_names", "characters", b"\x050 48\n1 65 97\n2 66 98\n")?;

    let folder = run()?;
    let files = ["run.toml", "model.safetensors", "checkpoint.safetensors", "history.csv"];
    let files = files.map(|name| fs::read(folder.path(name)).expect("a file of the run"));
    let [record, model, checkpoint, _] = &files;
    // The targets' own checksums are those of the library.
    assert!(checksums::record(record) == *record && checksums::tensors(model) == *model);
    assert!(checksums::tensors(checkpoint) == *checkpoint);
    put("safetensors", "model", model)?;
    put("weights", "own", model)?;
    for (framework, name) in [(Framework::PyTorch, "pytorch"), (Framework::Keras, "keras")] {
        let trained = small_task().fit(&small_split(), &Setup::default(), |_, _| ControlFlow::Continue(()))?;
        trained.export(framework, &folder.path("weights"))?;
        put("weights", name, &folder.take("weights"))?;
    }
    put("checkpoint", "finished", checkpoint)?;
    put("run_folder", "finished", &joined(&files.each_ref().map(Vec::as_slice)))?;
    put("run_folder", "begun", record)?;
    for (name, record) in records() {
        let folder = Folder::new();
        RunFolder::start(folder.root(), &record)?;
        put("run_data", name, &folder.take("run.toml"))?;
    }
    Ok(())
}

/// Records of runs on the set of `put_small_set`: each kind of layer, of classes and of partition.
fn records() -> [(&'static str, Record); 4] {
    let (relu, linear) = (Activation::Relu, Activation::Linear);
    let selection = |classes, partition| Selection { classes, partition };
    let pair = Classes::Pair { zero: 1, one: 3 };
    let shuffled = Partition::Shuffled { test: 0.25, validation: 0.25 };
    let dense_layers = Task {
        layers: vec![dense(3, relu), layer_norm(), dropout(0.25), dense(2, linear)],
        input: Input::Pixels,
        selection: selection(pair, shuffled),
        scaling: Scaling::Standardise,
        early_stopping: Some(EarlyStopping { patience: 1 }),
        ..small_task()
    };
    let convolutions = Task {
        layers: vec![
            conv2d(2, 3, Padding::Same, relu),
            batch_norm(),
            max_pool(2),
            flatten(),
            class_outputs(),
        ],
        selection: selection(Classes::All, Partition::AsFiled(Validation::Tail(0.25))),
        ..small_task()
    };
    let averaged = Task {
        layers: vec![
            conv2d(4, 3, Padding::Valid, linear),
            leaky_relu(0.1),
            average_pool(2),
            global_average_pool2d(),
            class_outputs(),
        ],
        augment: Augment { rotate: 10.0, scale: 0.125, shift: 1, flip: true, erase: 0.5 },
        ..small_task()
    };
    let recurrent = Task {
        layers: vec![lstm(2), class_outputs()],
        input: Input::Rows,
        selection: selection(Classes::All, shuffled),
        ..small_task()
    };
    [
        ("dense", dense_layers),
        ("convolutions", convolutions),
        ("averaged", averaged),
        ("recurrent", recurrent),
    ]
    .map(|(name, task)| (name, Record { task, ..small_record() }))
}

/// The record of a run on the set of `put_small_set`.
fn small_record() -> Record {
    Record {
        version: "0.1.0".to_owned(),
        recipe: "own".to_owned(),
        seed: 1,
        threads: 1,
        isa: "scalar".to_owned(),
        task: small_task(),
        data: DataRecord {
            identity: "other".to_owned(),
            origin: "/data".into(),
            sha256: "0".repeat(64),
            sample: vec![4, 4, 1],
            first_label: 1,
            classes: 4,
            training: 12,
            validation: 8,
            test: 8,
        },
        init: None,
        result: None,
    }
}

/// The folder of a run that has finished.
fn run() -> Result<Folder> {
    let (task, split, folder) = (small_task(), small_split(), Folder::new());
    let data = DataRecord {
        identity: "other".to_owned(),
        origin: "/data".into(),
        sha256: "0".repeat(64),
        sample: split.train.shape().dims().to_vec(),
        first_label: 0,
        classes: 2,
        training: 3,
        validation: 3,
        test: 3,
    };
    let mut record = Record {
        version: "0.1.0".to_owned(),
        recipe: "own".to_owned(),
        seed: 1,
        threads: 1,
        isa: "scalar".to_owned(),
        task,
        data,
        init: None,
        result: None,
    };
    let run = RunFolder::start(folder.root(), &record)?;
    let task = record.task.clone();
    let mut session = Session::new(&task, &split, record.seed)?;
    let team = Team::solo(Isa::best());
    session.train(&team, &mut |_, _| Ok(ControlFlow::Continue(())))?;
    run.save(&session)?;
    run.write_model(&session)?;
    let score = session.test(&team)?;
    record.result = Some(ResultRecord {
        epochs: session.progress().history.epochs.len(),
        test_loss: score.loss,
        test_accuracy: score.accuracy,
        train_seconds: 0.5,
        images_per_second: 100.0,
    });
    run.write_record(&record)?;
    Ok(folder)
}

/// An IDX file of 32-bit integers.
fn integers(shape: &[u32], elements: &[u32]) -> Vec<u8> {
    let mut bytes = idx(shape, &[]);
    bytes[2] = 0x0c;
    elements.iter().for_each(|element| bytes.extend(element.to_be_bytes()));
    bytes
}

fn gzip(bytes: &[u8], level: Compression) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), level);
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

/// A NumPy array as NumPy writes it.
fn npy(descr: &str, fortran: bool, shape: &str, elements: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
    let length = (header.len() + 11).next_multiple_of(64) - 10;
    let mut bytes = b"\x93NUMPY\x01\0".to_vec();
    bytes.extend((length as u16).to_le_bytes());
    bytes.extend(format!("{header:<0$}\n", length - 1).as_bytes());
    bytes.extend(elements);
    bytes
}

/// The four arrays of a set in one archive.
fn npz(method: CompressionMethod, arrays: &[&[u8]; 4]) -> Result<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    for (name, array) in ["x_train", "y_train", "x_test", "y_test"].into_iter().zip(arrays) {
        archive.start_file(format!("{name}.npy"), options)?;
        archive.write_all(array)?;
    }
    Ok(archive.finish()?.into_inner())
}
