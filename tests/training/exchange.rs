//! Weights of PyTorch and Keras: files that these wrote give their predictions here, come back as they came,
//! and what does not fit is named. `tests/golden/make_exchange.py` wrote the files of `tests/golden/exchange`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use tempfile::TempDir;
use threadcount::Error;
use threadcount::data::{Samples, Scaling, Split};
use threadcount::nn::exchange::{Exchange, Foreign, Framework, Holds, Place};
use threadcount::nn::*;
use threadcount::train::{InitialWeights, Session, Setup, Task, Trained};

const TO: [Framework; 2] = [Framework::PyTorch, Framework::Keras];

fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/exchange").join(file)
}

/// The arrays of an archive of 32-bit floats in C's order, by name.
fn arrays(path: &Path) -> BTreeMap<String, (String, Vec<f32>)> {
    let mut archive = zip::ZipArchive::new(File::open(path).unwrap()).unwrap();
    let mut all = BTreeMap::new();
    for i in 0..archive.len() {
        let mut entry = archive.by_index(i).unwrap();
        let name = entry.name().unwrap().trim_end_matches(".npy").to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]])) + 10;
        let text = String::from_utf8(bytes[10..header].to_vec()).unwrap();
        let shape = text.split_once('(').unwrap().1.split_once(')').unwrap().0.to_owned();
        let floats = bytes[header..].chunks_exact(4);
        let floats = floats.map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        all.insert(name, (shape, floats));
    }
    all
}

/// The tensors of a safetensors file: shapes and bytes, by name.
fn tensors(path: &Path) -> BTreeMap<String, (Vec<usize>, Vec<u8>)> {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let of = |(name, t): (&str, TensorView<'_>)| {
        (name.to_owned(), (t.shape().to_vec(), t.data().to_vec()))
    };
    file.iter().map(of).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

/// A network of the golden files: its file, the shape of its samples, its layers.
struct Network {
    file: &'static str,
    input: Shape,
    layers: Vec<Layer>,
}

fn convolutional(epsilon: f32) -> Vec<Layer> {
    let norm = || Layer::from(BatchNorm { momentum: 0.9, epsilon });
    vec![
        conv2d(3, 3, Padding::Same, Activation::Relu),
        norm(),
        max_pool(2),
        conv2d(4, 2, Padding::Valid, Activation::LeakyRelu { slope: 0.1 }),
        flatten(),
        norm(),
        dropout(0.5),
        dense(6, Activation::Tanh),
        dense(3, Activation::Linear),
    ]
}

fn networks() -> Vec<Network> {
    let (image, rows) = (Shape::Image([8, 6, 2]), Shape::Rows([4, 3]));
    let out = || dense(3, Activation::Linear);
    let named = vec![
        conv2d(2, 3, Padding::Valid, Activation::Linear),
        batch_norm(),
        activation(Activation::Relu),
        flatten(),
        dense(5, Activation::Tanh),
        out(),
    ];
    // PyTorch's epsilon is 1e-5, Keras's 1e-3.
    let norm = LayerNorm { epsilon: 1e-5 };
    [
        ("torch_conv.safetensors", image, convolutional(1e-5)),
        ("torch_named.safetensors", Shape::Image([5, 4, 1]), named),
        ("torch_lstm.safetensors", rows, vec![lstm(5), out()]),
        ("torch_rnn.safetensors", rows, vec![simple_rnn(5), norm.into(), out()]),
        ("keras_conv.npz", image, convolutional(1e-3)),
        ("keras_lstm.npz", rows, vec![lstm(5), out()]),
        ("keras_rnn.npz", rows, vec![simple_rnn(5), layer_norm(), out()]),
    ]
    .into_iter()
    .map(|(file, input, layers)| Network { file, input, layers })
    .collect()
}

/// A network that begins with weights and is not trained.
fn begun(
    weights: &InitialWeights,
    layers: Vec<Layer>,
    samples: &Samples,
) -> threadcount::Result<Trained> {
    let task = Task { layers, epochs: 0, ..Task::default() };
    let split = Split::new(samples.clone(), samples.clone());
    let setup = Setup { threads: Some(1), ..Setup::default() };
    task.fit_from(weights, &split, &setup, |_, _| ControlFlow::Continue(()))
}

/// Some samples of that shape, of three classes.
fn samples(input: Shape, x: Vec<f32>) -> Samples {
    let n = x.len() / input.len();
    Samples::new(input, x, &(0..n).map(|i| (i % 3) as u8).collect::<Vec<u8>>()).unwrap()
}

fn noise(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i as f32 * 0.618_034).fract() - 0.5).collect()
}

/// Inputs and predictions of the other framework.
fn theirs(network: &Network) -> (Samples, Vec<f32>) {
    let stem = network.file.split_once('.').unwrap().0;
    let mut arrays = arrays(&golden(&format!("{stem}.samples.npz")));
    let [x, y] = ["arr_0", "arr_1"].map(|name| arrays.remove(name).unwrap().1);
    (samples(network.input, x), y)
}

fn furthest(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn predictions_are_theirs() {
    for network in networks() {
        let weights = InitialWeights::read(&golden(network.file)).unwrap();
        assert_eq!(
            weights.format(),
            if network.file.starts_with('t') { "pytorch" } else { "keras" }
        );
        let (samples, expected) = theirs(&network);
        // Probabilities that are all alike would say little.
        let [a, b, c] = [0, 3, 6].map(|at| &expected[at..at + 3]);
        assert!(furthest(a, b).max(furthest(a, c)) > 0.02, "{}: {expected:?}", network.file);
        let mut trained = begun(&weights, network.layers.clone(), &samples).unwrap();
        let away = furthest(&trained.predict(&samples).unwrap(), &expected);
        assert!(away < 1e-5, "{}: {away}", network.file);
    }
}

/// From there to here and back: the same tensors, but for two biases that become their sum; in modules
/// that are numbered as their layers and activations are.
#[test]
fn their_files_come_back_as_they_came() {
    let folder = TempDir::new().unwrap();
    for network in networks() {
        let path = golden(network.file);
        let (samples, _) = theirs(&network);
        let weights = InitialWeights::read(&path).unwrap();
        let trained = begun(&weights, network.layers.clone(), &samples).unwrap();
        let back = folder.path().join(network.file);
        if network.file.ends_with(".npz") {
            trained.export(Framework::Keras, &back).unwrap();
            let (sent, came) = (arrays(&path), arrays(&back));
            let is_fortran = |name: &str| network.file == "keras_rnn.npz" && name == "arr_1";
            assert_eq!(sent.len(), came.len());
            for (name, (shape, values)) in &sent {
                let (other, mut again) = came[name].clone();
                assert_eq!(other.trim_end_matches(','), shape.trim_end_matches(','), "{name}");
                if is_fortran(name) {
                    // Keras's own file has it with the first index fastest.
                    let turned = (0..25).map(|i| again[i % 5 * 5 + i / 5]).collect();
                    again = turned;
                }
                assert_eq!(&again, values, "{}: {name}", network.file);
            }
            continue;
        }
        trained.export(Framework::PyTorch, &back).unwrap();
        let (sent, came) = (tensors(&path), tensors(&back));
        let names = |all: &BTreeMap<String, _>| all.keys().cloned().collect::<Vec<_>>();
        // One with a Sequential of the same modules has the same names.
        if network.file == "torch_conv.safetensors" {
            assert_eq!(names(&sent), names(&came));
            assert_eq!(sent, came);
        }
        let renamed: BTreeMap<&str, &str> = match network.file {
            "torch_named.safetensors" => {
                [("conv", "0"), ("norm", "1"), ("fc1", "4"), ("fc2", "6")].into()
            }
            "torch_lstm.safetensors" => [("0.cell", "0"), ("1", "1")].into(),
            "torch_rnn.safetensors" => [("0.cell", "0"), ("1", "1"), ("2", "2")].into(),
            _ => continue,
        };
        for (name, (shape, bytes)) in &sent {
            let (module, tensor) = name.rsplit_once('.').unwrap();
            let (other, again) = &came[&format!("{}.{tensor}", renamed[module])];
            assert_eq!(other, shape, "{name}");
            let twin = match tensor {
                "bias_ih_l0" => "bias_hh_l0",
                "bias_hh_l0" => {
                    assert!(floats(again).iter().all(|b| *b == 0.0), "{name}");
                    continue;
                }
                _ => {
                    assert_eq!(again, bytes, "{}: {name}", network.file);
                    continue;
                }
            };
            let second = floats(&sent[&format!("{module}.{twin}")].1);
            let sums = floats(bytes).iter().zip(&second).map(|(a, b)| a + b).collect::<Vec<_>>();
            assert_eq!(floats(again), sums, "{name}");
        }
        // A convolution that came without a bias has one of zeros.
        if network.file == "torch_named.safetensors" {
            assert!(floats(&came["0.bias"].1).iter().all(|b| *b == 0.0));
        }
    }
}

/// Every kind says what it is elsewhere: its tensors there are those that it has here, each of them once, and
/// as large.
#[test]
fn every_kind_of_layer_says_its_layouts() {
    for kind in KINDS {
        for (i, example) in (kind.examples)().into_iter().enumerate() {
            let name = format!("{} {i}", kind.name);
            let place = Place { input: example.input, image: None };
            let Some(Exchange { pytorch, keras, .. }) = example.layer.exchange(&place) else {
                panic!("{name} does not say it; see LayerKind::exchange");
            };
            let plan = example.layer.plan(example.input).unwrap();
            let own: Vec<&TensorPlan> = plan.params.iter().chain(&plan.state).collect();
            for Foreign { code, tensors, .. } in [&pytorch, &keras] {
                assert!(!code.is_empty(), "{name}");
                let mut taken = Vec::new();
                for tensor in tensors {
                    let (ours, view, is_second) = match &tensor.holds {
                        Holds::All(ours, view) | Holds::Bias(ours, view) => (ours, view, false),
                        Holds::Added(ours, view) => (ours, view, true),
                        Holds::Counter => continue,
                    };
                    let own = own.iter().find(|own| own.name == *ours).unwrap();
                    let len: usize = own.shape.iter().product();
                    let mut indices: Vec<_> = view.indices().collect();
                    assert_eq!(
                        view.shape.iter().product::<usize>(),
                        len,
                        "{name}: {}",
                        tensor.name
                    );
                    indices.sort_unstable();
                    assert!(indices.into_iter().eq(0..len), "{name}: {}", tensor.name);
                    if !is_second {
                        taken.push(*ours);
                    }
                }
                let all: Vec<&str> = own.iter().map(|own| own.name).collect();
                assert_eq!(taken, all, "{name}");
            }
        }
    }
}

/// Around every kind of layer, weights that go out and come in again are the same to the bit, and so are
/// the predictions.
#[test]
fn what_goes_out_comes_in_with_the_same_bits() {
    let folder = TempDir::new().unwrap();
    for kind in KINDS {
        for (i, example) in (kind.examples)().into_iter().enumerate() {
            for framework in TO {
                let input = example.input;
                let mut layers = vec![example.layer.clone(), flatten()];
                layers.extend([
                    batch_norm(),
                    dense(4, Activation::Relu),
                    dense(3, Activation::Linear),
                ]);
                let samples = samples(input, noise(6 * input.len()));
                let task = Task { layers: layers.clone(), epochs: 2, ..Task::default() };
                let split = Split::new(samples.clone(), samples.clone());
                let setup = Setup { threads: Some(1), ..Setup::default() };
                let mut trained =
                    task.fit(&split, &setup, |_, _| ControlFlow::Continue(())).unwrap();
                let path = folder.path().join("weights");
                let program = trained.export(framework, &path).unwrap();
                let weights = InitialWeights::read(&path).unwrap();
                assert_eq!(weights.format(), framework.name());
                let mut again = begun(&weights, layers, &samples).unwrap();
                let shown = format!("{} {i} for {}", kind.name, framework.name());
                assert_eq!(again.model().tensors(), trained.model().tensors(), "{shown}");
                let [first, second] =
                    [&mut trained, &mut again].map(|t| t.predict(&samples).unwrap());
                assert_eq!(first, second, "{shown}");
                assert!(program.contains("def predict(samples)"), "{program}");
            }
        }
    }
}

/// A dense layer of two outputs in front of three, and a file for it with this change.
fn changed(change: impl FnOnce(&mut Vec<(String, Vec<usize>, Vec<f32>)>)) -> (TempDir, PathBuf) {
    let mut tensors = vec![
        ("0.weight".to_owned(), vec![2, 4], noise(8)),
        ("0.bias".to_owned(), vec![2], noise(2)),
        ("2.weight".to_owned(), vec![3, 2], noise(6)),
        ("2.bias".to_owned(), vec![3], noise(3)),
    ];
    change(&mut tensors);
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("weights.safetensors");
    let bytes = |floats: &[f32]| floats.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>();
    let data: Vec<_> = tensors.iter().map(|(_, _, floats)| bytes(floats)).collect();
    let views = tensors.iter().zip(&data).map(|((name, shape, _), data)| {
        (name.clone(), TensorView::new(Dtype::F32, shape.clone(), data).unwrap())
    });
    std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    (folder, path)
}

fn two_layers() -> Vec<Layer> {
    vec![dense(2, Activation::Relu), dense(3, Activation::Linear)]
}

fn fault(path: &Path, layers: Vec<Layer>, new: &[&str]) -> String {
    let samples = samples(Shape::Flat(4), noise(12));
    let new = new.iter().map(|name| (*name).to_owned()).collect();
    let begun = InitialWeights::read(path)
        .and_then(|weights| begun(&weights.with_new_layers(new), layers, &samples));
    match begun {
        Err(Error::Data { path: named, fault }) => {
            assert_eq!(named, path);
            fault
        }
        Err(Error::Setting { name, fault }) => format!("{name}: {fault}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_does_not_fit_is_named_with_both_shapes() {
    let (_folder, path) = changed(|_| {});
    let five = || vec![dense(2, Activation::Relu), dense(5, Activation::Linear)];
    let said = fault(&path, five(), &[]);
    assert!(said.contains("'2.weight' has the shape [3, 2], where [5, 2] belongs"), "{said}");
    assert!(said.contains("make dense_1 one of the new-layers"), "{said}");
    let said = fault(&path, vec![dense(3, Activation::Linear)], &[]);
    assert!(said.contains("2 modules with tensors (0, 2), the network 1 layers"), "{said}");
    let said = fault(&path, five(), &["dense_2"]);
    assert!(said.starts_with("new-layers: no layer is called 'dense_2'; did you mean"), "{said}");
    let (_folder, nan) = changed(|tensors| tensors[1].2[0] = f32::NAN);
    assert!(fault(&nan, two_layers(), &[]).contains("'0.bias' holds what is not a finite number"));
    let (_folder, other) = changed(|tensors| tensors[1].0 = "0.scale".to_owned());
    assert!(
        fault(&other, two_layers(), &[]).contains("no module of it stands where layer dense does")
    );
    // Two layers of the same shape, in no order.
    let (_folder, vague) = changed(|tensors| {
        for (tensor, name) in
            tensors.iter_mut().zip(["up.weight", "up.bias", "down.weight", "down.bias"])
        {
            tensor.0 = name.to_owned();
        }
        (tensors[0].1, tensors[0].2) = (vec![4, 4], noise(16));
        (tensors[1].1, tensors[1].2) = (vec![4], noise(4));
        (tensors[2].1, tensors[2].2) = (vec![4, 4], noise(16));
        (tensors[3].1, tensors[3].2) = (vec![4], noise(4));
    });
    let square = || vec![dense(4, Activation::Relu), dense(4, Activation::Linear)];
    let said = fault(&vague, square(), &[]);
    assert!(said.contains("in more than one way: rename them as 0, 1, 2"), "{said}");
}

/// Numbers in names are numbers: 10 is behind 9.
#[test]
fn modules_stand_in_the_order_of_their_numbers() {
    let (_folder, path) = changed(|tensors| {
        for (tensor, name) in
            tensors.iter_mut().zip(["net.9.weight", "net.9.bias", "net.10.weight", "net.10.bias"])
        {
            tensor.0 = name.to_owned();
        }
        (tensors[0].1, tensors[0].2) = (vec![4, 4], noise(16));
        (tensors[1].1, tensors[1].2) = (vec![4], vec![1.0; 4]);
        (tensors[2].1, tensors[2].2) = (vec![4, 4], noise(16));
        (tensors[3].1, tensors[3].2) = (vec![4], vec![2.0; 4]);
    });
    let layers = vec![dense(4, Activation::Relu), dense(4, Activation::Linear)];
    let weights = InitialWeights::read(&path).unwrap();
    let trained = begun(&weights, layers, &samples(Shape::Flat(4), noise(12))).unwrap();
    let bias = |name: &str| {
        trained.model().tensors().into_iter().find(|t| t.name == name).unwrap().data[0]
    };
    assert_eq!((bias("dense/bias"), bias("dense_1/bias")), (1.0, 2.0));
}

/// The last layer of other outputs is drawn, all others come from the file: of each of the three formats.
#[test]
fn a_new_layer_is_drawn_and_the_others_are_loaded() {
    let folder = TempDir::new().unwrap();
    let eight = vec![dense(6, Activation::Tanh), batch_norm(), dense(8, Activation::Linear)];
    let two = vec![dense(6, Activation::Tanh), batch_norm(), dense(2, Activation::Linear)];
    let x = noise(40 * 4);
    let labels: Vec<u8> = (0..40).map(|i| i % 8).collect();
    let old = Samples::new(Shape::Flat(4), x.clone(), &labels).unwrap();
    let task = Task { layers: eight, epochs: 2, scaling: Scaling::Standardise, ..Task::default() };
    let setup = Setup { threads: Some(1), ..Setup::default() };
    let split = Split::new(old.clone(), old);
    let trained = task.fit(&split, &setup, |_, _| ControlFlow::Continue(())).unwrap();
    let paths =
        ["own.safetensors", "torch.safetensors", "keras.npz"].map(|f| folder.path().join(f));
    trained.save(&paths[0]).unwrap();
    trained.export(Framework::PyTorch, &paths[1]).unwrap();
    trained.export(Framework::Keras, &paths[2]).unwrap();
    // Samples of two classes that are larger throughout: their own scale would be another.
    let x: Vec<f32> = x.iter().map(|x| 10.0 * x + 3.0).collect();
    let labels: Vec<u8> = (0..40).map(|i| i % 2).collect();
    let new = Samples::new(Shape::Flat(4), x, &labels).unwrap();
    let split = Split::new(new.clone(), new.clone());
    let task = Task { layers: two, epochs: 0, scaling: Scaling::Standardise, ..Task::default() };
    let fresh = task.fit(&split, &setup, |_, _| ControlFlow::Continue(())).unwrap();
    for path in &paths {
        let weights = InitialWeights::read(path).unwrap();
        let shown = path.display();
        match task.fit_from(&weights, &split, &setup, |_, _| ControlFlow::Continue(())) {
            Err(Error::Data { fault, .. }) => {
                let shapes = match weights.format() {
                    "pytorch" => ["[8, 6]", "[2, 6]"],
                    _ => ["[6, 8]", "[6, 2]"],
                };
                assert!(shapes.iter().all(|shape| fault.contains(shape)), "{shown}: {fault}");
            }
            other => panic!("{shown}: {other:?}"),
        }
        let weights = weights.with_new_layers(vec!["dense_1".to_owned()]);
        let begun =
            task.fit_from(&weights, &split, &setup, |_, _| ControlFlow::Continue(())).unwrap();
        let all = begun.model().tensors();
        for (tensor, drawn) in all.iter().zip(fresh.model().tensors()) {
            let loaded = trained.model().tensors().into_iter().find(|t| t.name == tensor.name);
            let expected = match tensor.name.starts_with("dense_1/") {
                true => drawn.data.to_vec(),
                false => loaded.unwrap().data.to_vec(),
            };
            assert_eq!(tensor.data, expected, "{shown}: {}", tensor.name);
        }
        // Our own file has the scale that the weights were learnt with; the others have none.
        let saved = folder.path().join("begun.safetensors");
        begun.save(&saved).unwrap();
        let [of_begun, of_old, of_fresh] = [&begun, &trained, &fresh].map(|trained| {
            trained.save(&saved).unwrap();
            tensors(&saved)["input/factors"].clone()
        });
        assert_ne!(of_old, of_fresh);
        assert_eq!(of_begun, if weights.format() == "threadcount" { of_old } else { of_fresh });
    }
}

/// A file with a longer end than the network's: what is behind the layers that are loaded is left out, and
/// named; without new layers it is refused.
#[test]
fn what_a_file_has_behind_new_layers_is_left_out() {
    let folder = TempDir::new().unwrap();
    let relu = Activation::Relu;
    let long = vec![dense(6, relu), dense(6, relu), dense(5, relu), dense(3, Activation::Linear)];
    let short = vec![dense(6, relu), dense(6, relu), dense(2, Activation::Linear)];
    let x = samples(Shape::Flat(6), noise(60));
    let task = Task { layers: long, epochs: 1, ..Task::default() };
    let setup = Setup { threads: Some(1), ..Setup::default() };
    let split = Split::new(x.clone(), x.clone());
    let trained = task.fit(&split, &setup, |_, _| ControlFlow::Continue(())).unwrap();
    let paths =
        ["own.safetensors", "torch.safetensors", "keras.npz"].map(|f| folder.path().join(f));
    trained.save(&paths[0]).unwrap();
    trained.export(Framework::PyTorch, &paths[1]).unwrap();
    trained.export(Framework::Keras, &paths[2]).unwrap();
    let of_two: Vec<u8> = (0..10).map(|i| i % 2).collect();
    let two = Samples::new(Shape::Flat(6), noise(60), &of_two).unwrap();
    let split = Split::new(two.clone(), two);
    let task = Task { layers: short, epochs: 1, ..Task::default() };
    for (path, behind) in paths.iter().zip([
        &["dense_3/bias", "dense_3/kernel"][..],
        &["4", "6"],
        &["arr_4", "arr_5", "arr_6", "arr_7"],
    ]) {
        let weights = InitialWeights::read(path).unwrap();
        assert!(Session::new(&task, &split, 0).unwrap().init(&weights).is_err(), "{path:?}");
        // A new layer in the middle leaves open where those behind it are.
        if weights.format() == "keras" {
            let middle = weights.clone().with_new_layers(vec!["dense_1".to_owned()]);
            assert!(Session::new(&task, &split, 0).unwrap().init(&middle).is_err());
        }
        let weights = weights.with_new_layers(vec!["dense_2".to_owned()]);
        let mut session = Session::new(&task, &split, 0).unwrap();
        let begun = session.init(&weights).unwrap();
        assert_eq!(
            (&begun.loaded[..], &begun.new[..]),
            (&["dense".to_owned(), "dense_1".to_owned()][..], &["dense_2".to_owned()][..])
        );
        assert_eq!(begun.left_out, behind, "{path:?}");
        assert_eq!(begun.has_scale(), weights.format() == "threadcount");
        let all = session.network().model().tensors();
        let loaded = all.iter().zip(trained.model().tensors()).take(4);
        assert!(loaded.clone().all(|(a, b)| a.data == b.data), "{path:?}");
    }
}

#[test]
fn files_of_other_kinds_are_told_apart() {
    let folder = TempDir::new().unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        match InitialWeights::read(&path) {
            Err(Error::Data { fault, .. }) => fault,
            other => panic!("{name}: {other:?}"),
        }
    };
    assert!(put("weights.h5", b"\x89HDF\r\n\x1a\n....").contains("numpy.savez"));
    assert!(put("weights.pt", b"PK\x03\x04....").contains("save_file(model.state_dict()"));
    assert!(put("weights.npz", b"PK\x03\x04....").contains("not a whole .npz archive"));
    assert!(put("weights.safetensors", b"nonsense").contains("not a complete safetensors file"));
    assert!(matches!(InitialWeights::read(Path::new("/nowhere")), Err(Error::Io { .. })));
    // Arrays with names of their own have no order.
    let mut archive = zip::ZipWriter::new(File::create(folder.path().join("named.npz")).unwrap());
    archive.start_file("kernel.npy", zip::write::SimpleFileOptions::default()).unwrap();
    let first = std::fs::read(golden("keras_lstm.npz")).unwrap();
    let mut golden = zip::ZipArchive::new(std::io::Cursor::new(first)).unwrap();
    std::io::copy(&mut golden.by_index(0).unwrap(), &mut archive).unwrap();
    archive.finish().unwrap();
    match InitialWeights::read(&folder.path().join("named.npz")) {
        Err(Error::Data { fault, .. }) => {
            assert!(fault.contains("'kernel' has no number"), "{fault}");
        }
        other => panic!("{other:?}"),
    }
}

/// For `tests/golden/check_exchange.py`: every kind of layer and every golden network, trained a little, with its
/// weights, program, samples and predictions, in the folder `THREADCOUNT_EXCHANGE`.
#[test]
#[ignore = "writes files for a check by the frameworks themselves"]
fn write_for_the_frameworks() {
    let folder = PathBuf::from(std::env::var("THREADCOUNT_EXCHANGE").unwrap());
    let mut all: Vec<(String, Shape, Vec<Layer>)> = networks()
        .into_iter()
        .map(|n| (n.file.split_once('.').unwrap().0.to_owned(), n.input, n.layers))
        .collect();
    for kind in KINDS {
        for (i, example) in (kind.examples)().into_iter().enumerate() {
            let layers = vec![
                example.layer,
                flatten(),
                batch_norm(),
                dropout(0.2),
                dense(4, Activation::LeakyRelu { slope: 0.1 }),
                dense(3, Activation::Linear),
            ];
            all.push((format!("{}_{i}", kind.name), example.input, layers));
        }
    }
    let bytes = |floats: &[f32]| floats.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>();
    for (name, input, layers) in all {
        for (framework, scaling) in TO.into_iter().zip([Scaling::Standardise, Scaling::Unit]) {
            let samples = samples(input, noise(30 * input.len()));
            let split = Split::new(samples.clone(), samples.clone());
            let test_augment = match input {
                Shape::Image(_) => TestAugment::Flip,
                _ => TestAugment::None,
            };
            let task = Task {
                layers: layers.clone(),
                epochs: 20,
                scaling,
                test_augment,
                ..Task::default()
            };
            let setup = Setup { threads: Some(1), ..Setup::default() };
            let mut trained = task.fit(&split, &setup, |_, _| ControlFlow::Continue(())).unwrap();
            let path = |ending: &str| folder.join(format!("{name}.{}.{ending}", framework.name()));
            let program = trained.export(framework, &path("weights")).unwrap();
            std::fs::write(path("py"), program).unwrap();
            std::fs::write(path("samples"), bytes(&noise(30 * input.len()))).unwrap();
            std::fs::write(path("predictions"), bytes(&trained.predict(&samples).unwrap()))
                .unwrap();
        }
    }
}

/// The programs by their lines: modules in order, the scale of the inputs, and what the loss makes of outputs.
#[test]
fn a_program_does_what_is_done_here() {
    let folder = TempDir::new().unwrap();
    // The first input has the mean 2 and the deviation 1, the second never varies.
    let samples = Samples::new(Shape::Flat(2), vec![1.0, 3.0, 3.0, 3.0], &[0, 1]).unwrap();
    let split = Split::new(samples.clone(), samples);
    let setup = Setup { threads: Some(1), ..Setup::default() };
    for (loss, outputs, torch, keras) in [
        (Loss::SoftmaxCrossEntropy, 2, "torch.softmax(model(x), 1)", "keras.ops.softmax("),
        (Loss::BinaryCrossEntropy, 1, "torch.sigmoid(model(x))", "keras.ops.sigmoid("),
        (Loss::MeanSquaredError, 1, "return model(x).numpy()", "convert_to_numpy(model("),
    ] {
        let layers = vec![dense(3, Activation::Relu), dense(outputs, Activation::Linear)];
        let scaling = Scaling::Standardise;
        let task = Task { layers, loss, scaling, epochs: 0, ..Task::default() };
        let trained = task.fit(&split, &setup, |_, _| ControlFlow::Continue(())).unwrap();
        for framework in TO {
            let path = folder.path().join("it's \"mine\"");
            let program = trained.export(framework, &path).unwrap();
            let last = format!("nn.Linear(3, {outputs}),  # 2: dense_1");
            let lines = match framework {
                Framework::PyTorch => {
                    ["nn.Linear(2, 3),  # 0: dense", "nn.ReLU(),  # 1: dense", &last, torch]
                }
                Framework::Keras => [
                    "keras.Input((2,)),",
                    "layers.Dense(3, activation=\"relu\"),  # dense",
                    "activation=\"linear\"),  # dense_1",
                    keras,
                ],
            };
            for line in lines.into_iter().chain([
                "factors = np.array([1, 0], np.float32)\noffsets = np.array([-2, -0], np.float32)\n",
                "reshape(-1, 2) * factors + offsets",
                "    x = prepare(samples)\n",
                "it\\'s \\\"mine\\\"\"",
            ]) {
                assert!(program.contains(line), "{line} in\n{program}");
            }
        }
    }
}

/// A network that predicts from mirror images does so in the other frameworks too. (`write_for_the_frameworks` lets
/// them compute it.)
#[test]
fn a_program_mirrors_images() {
    let folder = TempDir::new().unwrap();
    let samples = samples(Shape::Image([3, 4, 1]), noise(6 * 12));
    let split = Split::new(samples.clone(), samples);
    let setup = Setup { threads: Some(1), ..Setup::default() };
    let layers = vec![flatten(), dense(3, Activation::Linear)];
    let task = Task { layers, test_augment: TestAugment::Flip, epochs: 0, ..Task::default() };
    let trained = task.fit(&split, &setup, |_, _| ControlFlow::Continue(())).unwrap();
    for (framework, mean) in TO.into_iter().zip([
        "torch.softmax((0.5 * (model(x) + model(x.flip(3)))), 1)",
        "softmax((0.5 * (model(x, training=False) + model(x[:, :, ::-1], training=False))))",
    ]) {
        let program = trained.export(framework, &folder.path().join("weights")).unwrap();
        assert!(program.contains(mean), "{program}");
    }
}
