//! Writes the inputs that fuzzing begins with: `cargo run --bin seeds -- FOLDER` makes a folder for each target.

use std::error::Error;
use std::fs;
use std::io::{Cursor, Write};
use std::ops::ControlFlow;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use threadcount::classical::forest::ForestSettings;
use threadcount::classical::{Classifier, Kind, Settings};
use threadcount::data::scale::Scaling;
use threadcount::data::{
    Augment, Classes, Inputs, Partition, Samples, Selection, Shape, Validation,
};
use threadcount::evaluate::Regression;
use threadcount::kernels::precision::Arithmetic;
use threadcount::kernels::{Isa, Pool, Team};
use threadcount::nn::exchange::Framework;
use threadcount::nn::{
    Activation, Padding, average_pool, batch_norm, class_outputs, conv2d, dense, dropout, flatten,
    global_average_pool2d, layer_norm, leaky_relu, lstm, max_pool,
};
use threadcount::reports;
use threadcount::tables::models::{FitSettings, Kind as Kinds, Regressor, Training, Watching};
use threadcount::tables::{Column, Design, Encoding, Folder as Models, Table, Values};
use threadcount::train::search::{Axis, Definition, Metric, Resources, Search, Space};
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
        let trained = small_task()
            .fit(&small_split(), &Setup::default(), |_, _| ControlFlow::Continue(()))?;
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
    for (name, choice, text) in TABLES {
        put("table", name, &[&[choice], text.as_bytes()].concat())?;
    }
    for kind in Kind::ALL {
        for (name, inputs) in [
            ("bytes", Inputs::from(vec![1_u8, 9, 3, 200, 7, 7, 250, 0])),
            ("floats", Inputs::from(vec![0.5_f32, -1.0, 3.0, 2.5, 0.0, 8.0, 1e-3, 4.0])),
        ] {
            let samples = Samples::new(Shape::Flat(2), inputs, &[0_u8, 1, 1, 2])?;
            let forest = ForestSettings { trees: 2, ..ForestSettings::classification(1) };
            let settings = Settings { k: 2, forest, ..Settings::default() };
            let model =
                Classifier::fit(kind, &Team::solo(Isa::best()), &samples, &settings, &|| {
                    ControlFlow::Continue(())
                })?;
            let folder = Folder::new();
            model.save(&folder.path("model"))?;
            let bytes = fs::read(folder.path("model"))?;
            assert!(checksums::tensors(&bytes) == bytes);
            put("classical", &format!("{kind}-{name}"), &bytes)?;
        }
    }
    put("table_models", "three", &table_models()?)?;
    for (name, file) in searches()? {
        put("search_toml", name, &file)?;
    }
    Ok(())
}

/// Tables, and how each is read.
const TABLES: [(&str, u8, &str); 4] = [
    ("plain", 0, "id,a,word,y\n0,1.5,red,3\n1,2,blue,4\n2,-3e2,red,6.25\n3,4,green,1\n"),
    ("german", 0, "a;word;y\r\n1.234,5;\"x;y\";3\r\n2,5;z;4\r\n3,25;z;-1.000.000,5\r\n"),
    ("dropped", 0x40, "a,y\n1,2\n,3\n2,NA\n4,9\n5,7\n"),
    ("tabs", 0x47, "\u{feff}a\ty\n1.234\t1\n2.345\t2\n"),
];

/// A folder of models of a small table: its text, a line and a forest. (A network is larger than an input.)
fn table_models() -> Result<Vec<u8>> {
    let columns = vec![
        Column { name: "a".to_owned(), values: Values::Numbers(vec![1.0, 2.0, 4.0]) },
        Column { name: "word".to_owned(), values: Values::text(["x", "y", "x"]) },
    ];
    let table = Table::new(columns, "y", vec![1.0, 3.0, 2.0])?;
    let rows = [0, 1, 2];
    let encoding = Encoding::fit(&table, &rows)?;
    let design = Design::new(&encoding, &table, &rows)?;
    let training = Training { encoding: &encoding, design: &design, targets: &table.values };
    let pool = Pool::new(Isa::best(), 1)?;
    let test = Regression::measure(&[1.0, 2.0], &[1.0, 2.5]);
    let fit = |kind| {
        let watching = Watching {
            network: &mut |_, _| ControlFlow::Continue(()),
            go_on: &|| ControlFlow::Continue(()),
        };
        Regressor::fit(kind, &training, &FitSettings::default(), &pool, watching)
    };
    let (linear, forest) = (fit(Kinds::Linear)?, fit(Kinds::Forest)?);
    let folder = Folder::new();
    let models = [(Kinds::Linear, &linear, test), (Kinds::Forest, &forest, test)];
    Models::write(folder.root(), &encoding, &models)?;
    let files = ["table.toml", "linear.safetensors", "forest.safetensors"];
    let files = files.map(|name| fs::read(folder.path(name)).expect("a file of the folder"));
    Ok(joined(&files.each_ref().map(Vec::as_slice)))
}

/// The files of a search that has just begun, and of one that has finished.
fn searches() -> Result<[(&'static str, Vec<u8>); 2]> {
    let split = small_split();
    let axis = |text| Axis::parse(text);
    let grid = vec![axis("learning-rate=0.01,0.02")?, axis("schedule=constant;steps=1,2")?];
    let ranges =
        vec![axis("l2=1e-5..1e-3")?, axis("batch-size=1..3:linear")?, axis("optimizer=sgd,adam")?];
    let begun = Definition {
        version: "0.1.0".to_owned(),
        recipe: "own".to_owned(),
        seed: 1,
        isa: Isa::best().name().to_owned(),
        bf16_kernel: None,
        metric: Metric::ValAccuracy,
        halving: None,
        space: Space::new(grid, None)?,
        task: small_task(),
        data: small_data(),
    };
    let finished = Definition {
        metric: Metric::ValLoss,
        halving: Some(3),
        space: Space::new(ranges, Some(6))?,
        ..begun.clone()
    };
    let (first, last) = (Folder::new(), Folder::new());
    Search::start(first.root(), &begun)?;
    let resources =
        Resources { isa: Isa::best(), arithmetic: Arithmetic::F32, threads: 1, memory: None };
    let needed = finished.check(&split)?;
    Search::start(last.root(), &finished)?
        .run(&split, &needed, &resources, &|_| ControlFlow::Continue(()))?;
    Ok([("begun", first.take("search.toml")), ("finished", last.take("search.toml"))])
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
            class_names: ["1", "2", "3", "4"].map(str::to_owned).into(),
            training: 12,
            validation: 8,
            test: 8,
        },
        init: None,
        result: None,
    }
}

/// What a record says of the samples of `small_split`.
fn small_data() -> DataRecord {
    DataRecord {
        identity: "other".to_owned(),
        origin: "/data".into(),
        sha256: "0".repeat(64),
        sample: small_split().train.shape().dims().to_vec(),
        first_label: 0,
        classes: 2,
        class_names: Vec::new(),
        training: 3,
        validation: 3,
        test: 3,
    }
}

/// The folder of a run that has finished.
fn run() -> Result<Folder> {
    let (task, split, folder) = (small_task(), small_split(), Folder::new());
    let data = small_data();
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
