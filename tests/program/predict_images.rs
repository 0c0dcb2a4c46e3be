//! `threadcount predict` of images, as a person starts it: pictures and arrays, for networks and classical models.

use crate::common::desk::{DATA, Desk};
use crate::common::sets::{gzip, idx};
use image::{GrayImage, ImageFormat};
use predicates::prelude::*;
use predicates::str::{contains, is_empty};
use serde_json::Value;
use std::fs;
use std::io::Cursor;
use threadcount::data::{CLASS_NAMES, Samples, Shape};
use threadcount::kernels::{Isa, Pool};
use threadcount::train::RunFolder;

/// The test images of the drawn set, row by row, and their labels.
fn test_part() -> (Vec<Vec<u8>>, Vec<u8>) {
    let images = fs::read(DATA.path().join("t10k-images-idx3-ubyte")).unwrap();
    let labels = fs::read(DATA.path().join("t10k-labels-idx1-ubyte")).unwrap();
    (images[16..].chunks(784).map(<[u8]>::to_vec).collect(), labels[8..].to_vec())
}

/// Standard output of a command that succeeds.
fn output(desk: &Desk, args: &str) -> String {
    let done = desk.run(args).assert().success();
    String::from_utf8(done.get_output().stdout.clone()).unwrap()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The predictions of files, as JSON.
fn predicted(desk: &Desk, args: &str) -> Vec<Value> {
    let document = json(&output(desk, &format!("predict {args} --format json")));
    document["predictions"].as_array().unwrap().clone()
}

/// Trained and saved: `models/forest.safetensors` and the like, and `models/own`.
fn with_models() -> Desk {
    let desk = Desk::new();
    let task = "epochs = 5\nlayers = [{ kind = \"flatten\" }, { kind = \"dense\", units = \"classes\" }]\n";
    fs::write(desk.path("own.toml"), task).unwrap();
    let models = "logistic knn forest own.toml biu-scratch colman-scratch";
    output(
        &desk,
        &format!("compare {models} --trees 10 --iterations 30 --save models --json all.json"),
    );
    desk
}

fn encoded(picture: &GrayImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// An image as a PNG picture, each pixel so many times as high and wide.
fn png(image: &[u8], times: [u32; 2]) -> Vec<u8> {
    let at = |x: u32, y: u32| [image[(y / times[0] * 28 + x / times[1]) as usize]].into();
    encoded(&GrayImage::from_fn(28 * times[1], 28 * times[0], at), ImageFormat::Png)
}

const MODELS: [&str; 4] =
    ["logistic.safetensors", "neighbours.safetensors", "forest.safetensors", "own"];

#[test]
fn predictions_are_those_that_eval_counts() {
    let desk = with_models();
    let (images, labels) = test_part();
    let set = DATA.path().join("t10k-images-idx3-ubyte");
    for model in MODELS {
        let rows = predicted(&desk, &format!("models/{model} {}", set.display()));
        assert_eq!(rows.len(), images.len());
        let mut confusion = vec![vec![0_u64; 10]; 10];
        for (number, (row, &label)) in rows.iter().zip(&labels).enumerate() {
            assert_eq!(row["image"], number);
            let class = row["label"].as_u64().unwrap() as usize;
            confusion[usize::from(label)][class] += 1;
            assert_eq!(row["class"], CLASS_NAMES[class]);
            let shares: Vec<f64> = row["probabilities"]
                .as_array()
                .unwrap()
                .iter()
                .map(|share| share.as_f64().unwrap())
                .collect();
            assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{row}");
            assert_eq!(row["probability"].as_f64().unwrap(), shares[class]);
            assert!(shares.iter().all(|&share| share <= shares[class]), "{row}");
        }
        let evaluated = json(&output(&desk, &format!("eval models/{model} --json")));
        assert_eq!(evaluated["confusion"], serde_json::json!(confusion), "{model}");
    }
    // Networks that were saved measure what the comparison measured.
    let compared = json(&desk.read("all.json"));
    for result in &compared["results"].as_array().unwrap()[3..] {
        let name = result["model"].as_str().unwrap();
        let evaluated = json(&output(&desk, &format!("eval models/{name} --json")));
        assert_eq!(evaluated["test_accuracy"], result["test_accuracy"], "{name}");
        assert_eq!(evaluated["report"]["macro_avg"]["f1"], result["macro_f1"], "{name}");
    }
    desk.refuses("compare own.toml --save models", 2, "is there already");
    desk.refuses_last("train --resume models/own --epochs 20", 3, "checkpoint.safetensors");
}

/// A network for two classes says which of the two, and how probable both are.
#[test]
fn a_network_of_two_classes_names_them() {
    let desk = with_models();
    let (images, _) = test_part();
    let set = DATA.path().join("t10k-images-idx3-ubyte");
    for name in ["biu-scratch", "colman-scratch"] {
        let (folder, record) = RunFolder::open(&desk.path(&format!("models/{name}"))).unwrap();
        let mut trained = folder.trained(&record, Pool::new(Isa::best(), 1).unwrap()).unwrap();
        let none = vec![0_u8; images.len()];
        let samples = Samples::new(Shape::Image([28, 28, 1]), images.concat(), &none).unwrap();
        let classes = trained.classes(&samples).unwrap();
        let names = &record.data.class_names;
        assert_eq!(names.len(), 2);
        let rows = predicted(&desk, &format!("models/{name} {}", set.display()));
        let mut seen = [false; 2];
        for (row, class) in rows.iter().zip(classes) {
            let class = usize::from(class.unwrap());
            seen[class] = true;
            assert_eq!(row["class"], names[class], "{name}: {row}");
            let label = CLASS_NAMES.iter().position(|known| *known == names[class]).unwrap();
            assert_eq!(row["label"], label, "{name}: {row}");
            if let Some(shares) = row["probabilities"].as_array() {
                let sum: f64 = shares.iter().map(|share| share.as_f64().unwrap()).sum();
                assert_eq!((shares.len(), (sum - 1.0).abs() < 1e-6), (2, true), "{name}: {row}");
                assert!(shares[class].as_f64().unwrap() >= 0.5, "{name}: {row}");
            }
        }
        assert_eq!(seen, [true; 2], "{name}");
    }
}

/// Whatever form the same image has, its class and probabilities are the same.
#[test]
fn every_form_of_an_image_is_the_same_image() {
    let desk = with_models();
    let (images, labels) = test_part();
    let model = "models/logistic.safetensors";
    let all =
        predicted(&desk, &format!("{model} {}/t10k-images-idx3-ubyte", DATA.path().display()));
    // One that the model knows. (Alone it is multiplied in another order than among others.)
    let at = (0..images.len()).find(|&i| all[i]["label"] == labels[i]).unwrap();
    let (image, expected) = (&images[at], &all[at]);
    let mut alone = Value::Null;
    let one = idx(&[1, 28, 28], image);
    let with_channels = idx(&[1, 28, 28, 1], image);
    let mut npy = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    npy.extend(
        format!("{:117}\n", "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 28, 28), }")
            .bytes(),
    );
    npy.extend(image);
    let light: Vec<u8> = image.iter().map(|x| 255 - x).collect();
    let forms: [(&str, Vec<u8>, &str); 8] = [
        ("one-images-idx3-ubyte", one.clone(), ""),
        ("packed.gz", gzip(&one), ""),
        ("packed-without-ending", gzip(&with_channels), ""),
        ("one.npy", npy, ""),
        ("same.png", png(image, [1, 1]), "as it is"),
        ("large.png", png(image, [3, 2]), "scaled from 84x56"),
        ("light.png", png(&light, [1, 1]), "inverted"),
        ("light-large.png", png(&light, [2, 2]), "scaled from 56x56, inverted"),
    ];
    for (name, bytes, treatment) in &forms {
        fs::write(desk.path(name), bytes).unwrap();
        let rows = predicted(&desk, &format!("{model} {name}"));
        assert_eq!(rows.len(), 1);
        let row = &rows[0];
        assert_eq!(row["file"], *name);
        assert_eq!(
            (&row["class"], &row["label"]),
            (&expected["class"], &expected["label"]),
            "{name}"
        );
        assert_eq!(row["treatment"].as_str().unwrap_or_default(), *treatment, "{name}");
        if alone.is_null() {
            alone = row["probabilities"].clone();
            let off = |i: usize| {
                let of = |shares: &Value| shares[i].as_f64().unwrap();
                (of(&alone) - of(&expected["probabilities"])).abs()
            };
            assert!((0..10).all(|i| off(i) < 1e-5), "{alone} {expected}");
        }
        if !treatment.contains("scaled") {
            assert_eq!(row["probabilities"], alone, "{name}");
        }
    }
    // Several at once, in their order; and said.
    let done = desk.run(&format!("predict {model} light.png one.npy large.png")).assert().success();
    let text = String::from_utf8(done.get_output().stdout.clone()).unwrap();
    let lines: Vec<_> = text.lines().filter(|line| line.contains(" % ")).collect();
    let [light, array, large] = lines[..] else { panic!("{text}") };
    let class = expected["class"].as_str().unwrap();
    for (line, file) in [(light, "light.png"), (array, "one.npy #0"), (large, "large.png")] {
        assert!(line.contains(file) && line.contains(class), "{line}");
    }
    done.stderr(contains("light.png: inverted, since it is light"))
        .stderr(contains("large.png: scaled from 84x56"));
    // A JPEG is not the same to the bit, but of the same class.
    let picture = GrayImage::from_raw(28, 28, image.clone()).unwrap();
    fs::write(desk.path("one.jpg"), encoded(&picture, ImageFormat::Jpeg)).unwrap();
    assert_eq!(predicted(&desk, &format!("{model} one.jpg"))[0]["class"], expected["class"]);
}

#[test]
fn tones_are_those_that_are_asked_for() {
    let desk = with_models();
    let (images, _) = test_part();
    let light: Vec<u8> = images[0].iter().map(|x| 255 - x).collect();
    fs::write(desk.path("dark.png"), png(&images[0], [1, 1])).unwrap();
    fs::write(desk.path("light.png"), png(&light, [1, 1])).unwrap();
    let model = "models/own";
    let of = |args: &str| predicted(&desk, &format!("{model} {args}"))[0]["probabilities"].clone();
    let dark = of("dark.png");
    assert_eq!(of("light.png"), dark);
    assert_eq!(of("light.png --tones inverted"), dark);
    assert_eq!(of("light.png --tones dark"), dark);
    assert_eq!(of("dark.png --tones kept"), dark);
    let kept = of("light.png --tones kept");
    assert_ne!(kept, dark);
    assert_eq!(of("dark.png --tones inverted"), kept);
}

#[test]
fn standard_input_is_a_file_too() {
    let desk = with_models();
    let (images, labels) = test_part();
    let set = fs::read(DATA.path().join("t10k-images-idx3-ubyte")).unwrap();
    let model = "models/forest.safetensors";
    for (bytes, count) in [(set.clone(), 100), (gzip(&set), 100), (png(&images[7], [2, 2]), 1)] {
        let mut run = desk.run(&format!("predict {model} - --format json"));
        let done = run.write_stdin(bytes).assert().success();
        let document: Value = serde_json::from_slice(&done.get_output().stdout).unwrap();
        let rows = document["predictions"].as_array().unwrap();
        assert_eq!(rows.len(), count);
        assert!(rows.iter().all(|row| row["file"] == "standard input"));
        if count == 100 {
            let right = rows.iter().zip(&labels).filter(|(row, label)| row["label"] == **label);
            assert!(right.count() > 50);
        }
    }
    for bytes in [&b""[..], b"no image", &set[..1000], &gzip(&set)[..500]] {
        desk.run(&format!("predict {model} -"))
            .write_stdin(bytes.to_vec())
            .assert()
            .code(3)
            .stdout(is_empty())
            .stderr(contains("standard input: "));
    }
    desk.refuses(&format!("predict {model} - -"), 2, "which can be read once");
    // Tables come that way too.
    fs::write(desk.path("t.csv"), "a,y\n1,2\n2,3\n4,9\n5,7\n").unwrap();
    output(&desk, "regress t.csv --target y --models linear --out tables");
    let of_file = output(&desk, "predict tables t.csv");
    let mut run = desk.run("predict tables -");
    run.write_stdin(fs::read(desk.path("t.csv")).unwrap()).assert().success().stdout(of_file);
    let mut run = desk.run("predict tables -");
    run.write_stdin("a,y\n1,2\nx,3\n").assert().code(3).stderr(contains("standard input: line 3"));
}

#[test]
fn csv_has_a_column_for_each_class() {
    let desk = with_models();
    let (images, _) = test_part();
    fs::write(desk.path("a,b.png"), png(&images[0], [1, 1])).unwrap();
    fs::write(desk.path("two"), idx(&[2, 28, 28], &images[..2].concat())).unwrap();
    let mut run = desk.run("predict models/own --format csv --out out.csv");
    run.arg("a,b.png").arg("two").assert().success().stdout(is_empty());
    let mut reader = csv::Reader::from_path(desk.path("out.csv")).unwrap();
    let header: Vec<_> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    assert_eq!(header[..5], ["file", "image", "label", "class", "probability"]);
    assert_eq!(header[5..], CLASS_NAMES);
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 3);
    assert_eq!((&rows[0][0], &rows[0][1]), ("a,b.png", ""));
    assert_eq!((&rows[2][0], &rows[2][1]), ("two", "1"));
    for row in &rows {
        let label: usize = row[2].parse().unwrap();
        assert_eq!((&row[3], &row[4]), (CLASS_NAMES[label], &row[5 + label]));
    }
    assert_eq!(rows[0][5], rows[1][5]);
}

/// A set of one's own: its names are the run's, and nothing is guessed about its tones.
#[test]
fn classes_of_ones_own_are_named() {
    let desk = Desk::new();
    let folder = desk.path("set");
    fs::create_dir(&folder).unwrap();
    // Dark squares and light ones, labels 3 and 4.
    let image = |i: usize| vec![if i.is_multiple_of(2) { 20_u8 } else { 230 }; 36];
    for (part, n) in [("train", 40), ("t10k", 10)] {
        let bytes: Vec<u8> = (0..n).flat_map(image).collect();
        fs::write(folder.join(format!("{part}-images-idx3-ubyte")), idx(&[n as u32, 6, 6], &bytes))
            .unwrap();
        let labels: Vec<u8> = (0..n).map(|i| 3 + (i % 2) as u8).collect();
        fs::write(folder.join(format!("{part}-labels-idx1-ubyte")), idx(&[n as u32], &labels))
            .unwrap();
    }
    fs::write(folder.join("classes.txt"), "dusk\nnoon\n").unwrap();
    fs::write(
        desk.path("own.toml"),
        "epochs = 40\noptimizer = { name = \"adam\", learning-rate = 0.02 }\nlayers = [{ kind = \"flatten\" }, { kind = \"dense\", units = \"classes\" }]\n",
    )
    .unwrap();
    output(&desk, "train own.toml --data set --out run");
    output(&desk, "compare forest --data set --save models");
    let picture = GrayImage::from_pixel(9, 9, [250].into());
    fs::write(desk.path("light.png"), encoded(&picture, ImageFormat::Png)).unwrap();
    // The run knows its classes' names without the set.
    fs::remove_dir_all(&folder).unwrap();
    for model in ["run", "models/forest.safetensors"] {
        let row = &predicted(&desk, &format!("{model} light.png"))[0];
        assert_eq!((&row["class"], &row["label"]), (&"noon".into(), &4.into()), "{model}");
        assert_eq!(row["treatment"], "scaled from 9x9");
        let row = &predicted(&desk, &format!("{model} light.png --tones inverted"))[0];
        assert_eq!(row["class"], "dusk", "{model}");
        let said = desk.run(&format!("predict {model} light.png")).assert().success();
        said.stderr(contains("tones are kept; --tones inverted"));
    }
    // More images than are predicted at once.
    let many: Vec<u8> = (0..5_000).flat_map(image).collect();
    fs::write(desk.path("many"), idx(&[5_000, 6, 6], &many)).unwrap();
    let rows = predicted(&desk, "models/forest.safetensors many");
    assert_eq!(rows.len(), 5_000);
    for (number, row) in rows.iter().enumerate() {
        let expected = (number, ["dusk", "noon"][number % 2], 3 + number % 2);
        assert_eq!(
            (&row["image"], &row["class"], &row["label"]),
            (&expected.0.into(), &expected.1.into(), &expected.2.into())
        );
    }
    // Arrays have to have the size.
    fs::write(desk.path("large"), idx(&[1, 9, 9], &[250; 81])).unwrap();
    desk.refuses("predict run large", 3, "large: its images measure 9x9, where 6x6 is expected");
    // A record of an older version has no names.
    let record = desk.read("run/run.toml");
    assert!(record.contains("class_names = [\"dusk\", \"noon\"]"), "{record}");
}

#[test]
fn what_is_no_image_is_refused_by_its_name() {
    let desk = with_models();
    let (images, _) = test_part();
    let put = |name: &str, bytes: &[u8]| fs::write(desk.path(name), bytes).unwrap();
    let picture = png(&images[0], [4, 4]);
    put("cut.png", &picture[..picture.len() / 2]);
    let jpeg = encoded(&GrayImage::from_pixel(40, 40, [90].into()), ImageFormat::Jpeg);
    put("cut.jpg", &jpeg[..jpeg.len() - 20]);
    put("other", &idx(&[2, 32, 32], &[1; 2048]));
    put("colour", &idx(&[1, 28, 28, 3], &[1; 2352]));
    put("labels", &idx(&[3], &[1, 2, 3]));
    put("short", &idx(&[3, 28, 28], &[1; 784]));
    put("none", &idx(&[0, 28, 28], &[]));
    put("empty", b"");
    put("text", b"some text");
    put("page.png", b"<!doctype html>");
    put("good.png", &picture);
    for model in ["models/own", "models/logistic.safetensors"] {
        for (file, words) in [
            ("cut.png", "cut.png: cannot be decoded"),
            ("cut.jpg", "cut.jpg: cut short"),
            ("other", "other: its images measure 32x32, where 28x28 is expected"),
            ("colour", "colour: its images measure 28x28x3, where 28x28 is expected"),
            ("labels", "labels: holds labels"),
            ("short", "short: truncated"),
            ("none", "none: holds no images"),
            ("empty", "empty: the file is empty"),
            ("text", "text: neither a picture (PNG, JPEG) nor an array of images"),
            ("page.png", "page.png: no image but a web page"),
            ("missing.png", "missing.png: file not found"),
            ("models", "models: "),
        ] {
            // A good one before it does not help.
            desk.refuses_last(&format!("predict {model} good.png {file}"), 3, words);
        }
        desk.refuses(&format!("predict {model}"), 2, "<FILE>...");
        desk.refuses(&format!("predict {model} good.png --format xml"), 2, "unknown format 'xml'");
        desk.refuses(&format!("predict {model} good.png --tones grey"), 2, "unknown treatment of");
        desk.refuses(&format!("predict {model} good.png --missing empty"), 2, "are for tables");
        desk.refuses(&format!("predict {model} good.png --decimal comma"), 2, "are for tables");
    }
    desk.refuses("predict models good.png", 3, "models: no models here");
    desk.refuses("predict text good.png", 3, "text: ");
    fs::write(desk.path("t.csv"), "a,y\n1,2\n2,3\n4,9\n5,7\n").unwrap();
    output(&desk, "regress t.csv --target y --models linear --out tables");
    desk.refuses("predict tables t.csv --format csv", 2, "are for images");
    desk.refuses("predict tables t.csv t.csv", 2, "2 tables: give one");
    let damaged = predicate::function(|text: &str| text.contains("checksum"));
    let mut bytes = fs::read(desk.path("models/forest.safetensors")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    put("damaged", &bytes);
    desk.run("predict damaged good.png").assert().code(3).stderr(damaged);
}
