//! The pages for a browser: their figures are those of the files and of the library, their pictures those of the
//! test samples, and whatever was done to a run's folder, a page says so.

use crate::common::desk::{Desk, copy};
use crate::common::html::{Element, parse};
use crate::common::sets::{NAMES, Scratch, idx};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;
use std::fs;
use std::path::Path;
use threadcount::data::{Cache, Dataset, Row, Split};
use threadcount::nn::Flops;
use threadcount::train::{History, Record, RunFolder};
use threadcount_kernels::{Isa, Pool};

/// The size that a page of ten classes keeps below, in bytes.
const LARGEST: usize = 1_500_000;

/// A page, after checking what holds of every page.
#[track_caller]
fn page(path: &Path) -> Element {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.len() < LARGEST, "{} bytes", text.len());
    let page = parse(&text);
    // Nothing is fetched, and nothing is run.
    assert!(!text.contains("http:") && !text.contains("https:") && !text.contains("url("));
    page.walk(&mut |element| {
        assert!(!["script", "link", "iframe", "object"].contains(&element.name.as_str()));
        for (name, value) in element.attributes() {
            assert!(!name.starts_with("on"), "{name}");
            if ["src", "href"].contains(&name) {
                assert!(value.starts_with("data:image/png;base64,") || value.starts_with('#'));
            }
            if let Some(id) = value.strip_prefix('#').filter(|_| name == "href") {
                page.id(id);
            }
        }
        match element.name.as_str() {
            "img" => assert!(!element.attribute("alt").unwrap().is_empty()),
            "svg" => {
                assert_eq!(element.attribute("role"), Some("img"));
                assert!(!element.attribute("aria-label").unwrap().is_empty());
            }
            _ => (),
        }
    });
    page
}

/// The pixels of a picture.
fn pixels(image: &Element) -> Vec<u8> {
    let source = image.attribute("src").unwrap();
    let encoded = source.strip_prefix("data:image/png;base64,").unwrap();
    let bytes = STANDARD.decode(encoded).unwrap();
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    pixels
}

/// What the library says about a finished run.
struct Known {
    record: Record,
    split: Split,
    history: History,
    predictions: Vec<Option<u8>>,
    /// `[n, outputs]`
    probabilities: Vec<f32>,
    flops: f64,
}

impl Known {
    fn of(run: &Path) -> Self {
        let (folder, record) = RunFolder::open(run).unwrap();
        let dataset = Dataset::open_folder(&record.data.origin, &Cache::at(run.join("cache")));
        let dataset = dataset.unwrap();
        let split = record.task.selection.apply(&dataset, record.seed).unwrap();
        let pool = Pool::new(Isa::active().unwrap(), 1).unwrap();
        let mut trained = folder.trained(&record, pool).unwrap();
        Self {
            predictions: trained.classes(&split.test).unwrap(),
            probabilities: trained.predict(&split.test).unwrap(),
            history: History::read_csv(&run.join("history.csv")).unwrap(),
            flops: trained.model().plan().flops().iter().map(Flops::total).sum(),
            split,
            record,
        }
    }

    fn outputs(&self) -> usize {
        self.probabilities.len() / self.split.test.len()
    }

    /// The probability that sample `i` is of `class`.
    fn chance(&self, i: usize, class: usize) -> f32 {
        match (self.outputs(), class) {
            (1, 0) => 1.0 - self.probabilities[i],
            (1, _) => self.probabilities[i],
            (outputs, class) => self.probabilities[i * outputs + class],
        }
    }

    fn confidence(&self, i: usize) -> f32 {
        self.chance(i, self.predictions[i].unwrap().into())
    }

    /// Wrong samples, the most certain first, by selection.
    fn mistakes(&self) -> Vec<usize> {
        let labels = self.split.test.labels();
        let mut wrong: Vec<usize> =
            (0..labels.len()).filter(|&i| self.predictions[i] != Some(labels[i])).collect();
        let mut sorted = Vec::new();
        while !wrong.is_empty() {
            let mut best = 0;
            for at in 1..wrong.len() {
                if self.confidence(wrong[at]) > self.confidence(wrong[best]) {
                    best = at;
                }
            }
            sorted.push(wrong.remove(best));
        }
        sorted
    }

    /// The calibration error in 15 bins.
    fn calibration_error(&self) -> f64 {
        let labels = self.split.test.labels();
        let mut error = 0.0;
        for bin in 0..15 {
            let is_in = |i: &usize| {
                let scaled = f64::from(self.confidence(*i)) * 15.0;
                f64::from(bin) < scaled && scaled <= f64::from(bin + 1)
            };
            let inside: Vec<usize> = (0..labels.len()).filter(is_in).collect();
            let right = inside.iter().filter(|&&i| self.predictions[i] == Some(labels[i])).count();
            let sure: f64 = inside.iter().map(|&i| f64::from(self.confidence(i))).sum();
            error += (right as f64 - sure).abs();
        }
        error / labels.len() as f64
    }
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Digits without the commas between groups.
fn plain(text: &str) -> f64 {
    text.replace(',', "").parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

/// The lines of stderr, without the one that says that the set is a drawn one.
fn warnings(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    text.lines().filter(|line| !line.contains("THIS IS NOT FASHION-MNIST")).collect()
}

/// Whether a figure is another one rounded to about three digits.
#[track_caller]
fn near(text: &str, value: f64) {
    assert!((plain(text) - value).abs() <= (0.006 * value).max(0.0051), "{text}, {value}");
}

#[test]
fn the_figures_are_those_of_the_files() {
    let desk = Desk::new();
    desk.run("train nlp-mlp80 --epochs 2 --out run").assert().success();
    // The second process trains the third epoch only.
    desk.run("train --resume run --epochs 3")
        .assert()
        .success()
        .stderr(contains("the run's report is run/report.html"));
    let run = desk.path("run");
    let page = page(&run.join("report.html"));
    let known = Known::of(&run);
    let result = known.record.result.clone().unwrap();

    let sessions = json(&run.join("sessions.json"));
    let sessions = sessions["sessions"].as_array().unwrap();
    let clocks: Vec<(&Value, &Value)> = sessions
        .iter()
        .flat_map(|sitting| {
            sitting["epochs"]
                .as_array()
                .unwrap()
                .iter()
                .map(|clock| (clock, &sitting["fma_gflops"]))
        })
        .collect();
    assert_eq!((sessions.len(), clocks.len()), (2, 3));
    let rows = page.id("epochs").all("tr");
    assert_eq!(rows.len(), 1 + 3);
    for (i, (epoch, row)) in known.history.epochs.iter().zip(&rows[1..]).enumerate() {
        let mut cells = Vec::new();
        row.walk(&mut |cell| cells.push(cell.text()));
        let figures = [epoch.loss, epoch.accuracy, epoch.val_loss, epoch.val_accuracy];
        assert_eq!(cells[0], epoch.epoch.to_string());
        assert_eq!(cells[1..5], figures.map(|figure| format!("{figure:.4}")));
        let total = |key: &str| {
            let before = i.checked_sub(1).map_or(0.0, |i| clocks[i].0[key].as_f64().unwrap());
            clocks[i].0[key].as_f64().unwrap() - before
        };
        let rate = total("images") / total("step_seconds");
        assert_eq!(total("images") as usize, known.split.train.len());
        assert!((plain(&cells[5]) - total("train_seconds")).abs() < 0.006);
        near(&cells[6], rate);
        assert!((plain(&cells[7]) - rate * known.flops / 1e9).abs() < 0.051);
        let peak = clocks[i].1.as_f64().unwrap();
        assert!((plain(&cells[8]) - rate * known.flops / 1e7 / peak).abs() < 0.051);
    }

    let evaluated = desk.run("eval run --json").output().unwrap().stdout;
    let evaluated: Value = serde_json::from_slice(&evaluated).unwrap();
    let names: Vec<&str> = evaluated["classes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    let matrix = page.id("confusion").table();
    assert_eq!(matrix[0][1..], names);
    for (label, row) in matrix[1..].iter().enumerate() {
        assert_eq!(row[0], names[label]);
        let counts: Vec<u64> = row[1..].iter().map(|count| count.parse().unwrap()).collect();
        assert_eq!(serde_json::json!(counts), evaluated["confusion"][label]);
    }
    for (label, row) in page.id("confusion").all("tr")[1..].iter().enumerate() {
        let support = evaluated["report"]["classes"][label]["support"].as_f64().unwrap();
        for (class, cell) in row.all("td").iter().enumerate() {
            let share = plain(&cell.text()) / support;
            let share = if class == label { share } else { share.sqrt() };
            let heat = cell.attribute("style").unwrap().strip_prefix("--heat:").unwrap();
            assert!((plain(heat) - 100.0 * share).abs() < 0.51, "{label} {class}");
        }
    }
    let report = &evaluated["report"];
    let rows = page.id("classes").table();
    assert_eq!(rows[0], ["class", "precision", "recall", "F1", "support"]);
    assert_eq!(rows.len(), 1 + names.len() + 3);
    let averages = [&report["macro_avg"], &report["weighted_avg"]];
    let classes = report["classes"].as_array().unwrap();
    let shown = rows[1..].iter().filter(|row| row[0] != "accuracy");
    for (row, scores) in shown.zip(classes.iter().chain(averages)) {
        let score = |name: &str| format!("{:.4}", scores[name].as_f64().unwrap());
        let expected = [
            scores["name"].as_str().unwrap().to_owned(),
            score("precision"),
            score("recall"),
            score("f1"),
            scores["support"].to_string(),
        ];
        assert_eq!(row[..], expected);
    }
    let accuracy = rows.iter().find(|row| row[0] == "accuracy").unwrap();
    let expected = format!("{:.4}", report["accuracy"].as_f64().unwrap());
    assert_eq!(accuracy[1..4], [String::new(), String::new(), expected]);

    let tiles = page.tiles();
    let tile = |name: &str| &tiles.iter().find(|(term, _)| term == name).unwrap().1;
    assert_eq!(*tile("test accuracy"), format!("{:.2} %", 100.0 * result.test_accuracy));
    assert_eq!(*tile("test loss"), format!("{:.4}", result.test_loss));
    let error = known.calibration_error();
    assert!(tile("calibration error").starts_with(&format!("{error:.4}")), "{tiles:?}");
    assert!(page.id("calibration").text().contains(&format!("calibration error {error:.4}")));
    let rate = tile("images/s").split_once(|c: char| !c.is_ascii_digit() && c != ',');
    assert!(rate.is_none_or(|(digits, _)| !digits.is_empty()), "{tiles:?}");
    // 784 x 80 + 80, 80 x 80 + 80, 80 x 10 + 10.
    assert_eq!(*tile("parameters"), "70,090");

    let bins = page.id("calibration").table();
    let inside: f64 = bins[1..].iter().map(|row| plain(&row[1])).sum();
    assert_eq!(inside as usize, known.split.test.len());

    let pairs = page.id("pairs").table();
    let count = |a: &str, b: &str| {
        let at = |name: &str| names.iter().position(|other| *other == name).unwrap();
        evaluated["confusion"][at(a)][at(b)].as_u64().unwrap().to_string()
    };
    assert!(pairs.len() > 2);
    for row in &pairs[1..] {
        assert_eq!(row[2..4], [count(&row[0], &row[1]), count(&row[1], &row[0])]);
        assert_eq!(plain(&row[4]), plain(&row[2]) + plain(&row[3]));
    }
    assert!(pairs[1..].windows(2).all(|two| plain(&two[0][4]) >= plain(&two[1][4])));

    assert!(page.all("p")[1].text().starts_with("NOT FASHION-MNIST"));
    let facts = page.id("settings").table();
    let fact = |name: &str| &facts.iter().find(|row| row[0] == name).unwrap()[1];
    assert_eq!(*fact("seed"), known.record.seed.to_string());
    assert_eq!(*fact("training samples"), known.split.train.len().to_string());
    assert_eq!(*fact("test samples"), known.split.test.len().to_string());
    assert_eq!(*fact("SHA-256 of the data"), known.record.data.sha256);
    let task = page.id("settings").all("pre")[0].text();
    assert_eq!(task, known.record.task.to_toml().unwrap());
    let machines = page.id("machine").all("table");
    assert_eq!(machines.len(), 2);
    let cpu = sessions[0]["machine"]["cpu"].as_str().unwrap();
    assert!(machines.iter().all(|machine| machine.text().contains(cpu)));
    assert!(page.id("machine").text().contains("1 to 2"));
    assert_eq!(page.id("model").table().len(), 1 + known.record.task.layers.len());
    let command = page.id("again").all("pre")[0].text();
    assert!(command.starts_with("threadcount train nlp-mlp80 --epochs 3 --seed 0 "), "{command}");
    // It does what it says.
    let again = command.strip_prefix("threadcount ").unwrap();
    desk.bare(&format!("{again} --out again")).assert().success();
    let model = |run: &str| fs::read(desk.path(run).join("model.safetensors")).unwrap();
    assert!(model("again") == model("run"));

    // The command writes the same page again.
    let before = fs::read_to_string(run.join("report.html")).unwrap();
    let written = desk.run("report run --out other.html").assert().success();
    assert_eq!(warnings(&written.get_output().stderr), "");
    written.stdout("other.html\n");
    assert!(desk.read("other.html") == before);
    fs::remove_file(run.join("report.html")).unwrap();
    desk.run("report run").assert().success();
    assert!(desk.read("run/report.html") == before);
}

/// The mistakes of a run and the look-alikes of its most confused pair, with their pictures.
fn check_pictures(run: &Path) {
    let page = page(&run.join("report.html"));
    let known = Known::of(run);
    let (test, names) = (&known.split.test, known.split.test.class_names());
    let name = |class: u8| &names[usize::from(class)];
    let mistakes = known.mistakes();
    assert!(mistakes.len() >= 8, "{}", mistakes.len());
    let shown = page.id("mistakes").all("li");
    assert_eq!(shown.len(), mistakes.len().min(36));
    for (item, &i) in shown.iter().zip(&mistakes) {
        let expected = format!(
            "no. {i}\ntrue: {}\npredicted: {}\nprobability {:.4}",
            name(test.labels()[i]),
            name(known.predictions[i].unwrap()),
            known.confidence(i)
        );
        assert_eq!(item.text(), expected);
        assert_eq!(Row::Bytes(&pixels(item.all("img")[0])), test.row(i), "sample {i}");
    }
    let told = page.id("mistakes").text();
    assert!(told.contains(&format!("{} test samples are classified wrongly", mistakes.len())));
    let left_out = mistakes.len().saturating_sub(36);
    assert_eq!(told.contains("are left out"), left_out > 0);
    assert!(left_out == 0 || told.contains(&format!(" {left_out} are left out")), "{told}");

    let pairs = page.id("pairs");
    let first = &pairs.table()[1];
    let class = |name: &str| names.iter().position(|other| other == name).unwrap();
    let [a, b] = [class(&first[0]), class(&first[1])];
    for (list, (of, other)) in pairs.all("ol").iter().zip([(a, b), (b, a)]) {
        let mut alike: Vec<usize> =
            (0..test.len()).filter(|&i| usize::from(test.labels()[i]) == of).collect();
        // Sorting keeps equal ones in their order.
        alike.sort_by(|&i, &j| known.chance(j, other).total_cmp(&known.chance(i, other)));
        alike.truncate(6);
        let items = list.all("li");
        assert_eq!(items.len(), alike.len());
        for (item, i) in items.iter().zip(alike) {
            assert_eq!(item.text(), format!("{:.4}", known.chance(i, other)));
            assert_eq!(Row::Bytes(&pixels(item.all("img")[0])), test.row(i), "sample {i}");
        }
    }
}

#[test]
fn the_pictures_are_those_of_the_test_samples() {
    let desk = Desk::new();
    // Shuffled parts: the number of a sample is not that of an image in a file.
    desk.run("train nlp-softmax --epochs 1 --out many").assert().success();
    check_pictures(&desk.path("many"));
    // One output, whose probability is that of class 1.
    let slow = "train biu-scratch --epochs 1 --learning-rate 0.00001 --out binary";
    desk.run(slow).assert().success();
    check_pictures(&desk.path("binary"));
}

/// A set of small images with these labels and names.
fn set(train: &[u8], test: &[u8], names: &[String]) -> Scratch {
    let scratch = Scratch::with_labels(train, test);
    scratch.put("classes.txt", names.join("\n").as_bytes());
    scratch
}

/// The options that name its folder.
fn data(scratch: &Scratch) -> String {
    format!("--data {}", scratch.folder.display())
}

const TINY: &str =
    "epochs = 1\ninput = 'pixels'\nlayers = [{ kind = 'dense', units = 'classes' }]\n";

#[test]
fn names_are_text() {
    let names =
        ["<b>bold</b>", "a & b", "\"quoted\"", "it's", "</style><script>x"].map(String::from);
    let labels: Vec<u8> = (0..60).map(|i| i % 5).collect();
    let scratch = set(&labels, &labels[..50], &names);
    let desk = Desk::new();
    fs::write(desk.path("a&b.toml"), TINY).unwrap();
    desk.bare(&format!("train a&b.toml {} --out run", data(&scratch))).assert().success();
    let page = page(&desk.path("run/report.html"));
    assert_eq!(page.all("h1")[0].text(), "a&b");
    assert!(!page.text().contains("NOT FASHION-MNIST"), "that is for the drawn set");
    let matrix = page.id("confusion").table();
    assert_eq!(matrix[0][1..], names);
    let first: Vec<&str> = matrix[1..].iter().map(|row| row[0].as_str()).collect();
    assert_eq!(first, names);
    let alts: Vec<&str> = page
        .id("mistakes")
        .all("img")
        .iter()
        .map(|image| image.attribute("alt").unwrap())
        .collect();
    assert!(!alts.is_empty());
    assert!(alts.iter().all(|alt| names.iter().any(|name| alt.ends_with(&format!(": {name}")))));
    let command = page.id("again").text();
    assert!(command.contains("'a&b.toml'") && command.contains("Save the task above as a&b.toml"));
}

#[test]
fn many_classes_stay_small_and_what_is_cut_is_said() {
    let names: Vec<String> = (0..200).map(|i| format!("{i} {}", "long<&".repeat(40))).collect();
    // Classes of 3 to 9 samples.
    let size = |class: usize| 3 + class % 7;
    let of_class = |class: usize| std::iter::repeat_n(class as u8, size(class));
    let labels: Vec<u8> = (0..200).flat_map(of_class).collect();
    let scratch = set(&labels, &labels, &names);
    let desk = Desk::new();
    fs::write(desk.path("tiny.toml"), TINY).unwrap();
    desk.bare(&format!("train tiny.toml {} --out run", data(&scratch))).assert().success();
    let page = page(&desk.path("run/report.html"));
    let known = Known::of(&desk.path("run"));
    let matrix = page.id("confusion").all("img")[0];
    let heat = pixels(matrix);
    assert_eq!(heat.len(), 200 * 200);
    let mut counts = vec![0_usize; 200 * 200];
    for (&label, prediction) in known.split.test.labels().iter().zip(&known.predictions) {
        counts[usize::from(label) * 200 + usize::from(prediction.unwrap())] += 1;
    }
    for (cell, (&heat, &count)) in heat.iter().zip(&counts).enumerate() {
        let share = count as f64 / size(cell / 200) as f64;
        let share = if cell / 200 == cell % 200 { share } else { share.sqrt() };
        assert!((f64::from(255 - heat) - 255.0 * share).abs() < 0.51, "{cell}");
    }
    assert!(page.id("confusion").text().contains("are left out"));
    let rows = page.id("classes").table();
    assert_eq!(rows.len(), 1 + 200 + 3);
    // Of a long name the beginning.
    assert!(rows[8][0].starts_with("7 long<&long<&") && rows[8][0].len() < 70, "{}", rows[8][0]);
    assert_eq!(page.id("pairs").table().len(), 1 + 20);
    assert!(page.id("pairs").text().contains("pairs with fewer mistakes are left out"));
}

/// Noise does not compress, and large images are reduced.
#[test]
fn large_pictures_stay_small() {
    let scratch = Scratch::empty();
    let labels: Vec<u8> = (0..120).map(|i| i % 10).collect();
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    for (images, labels_name) in [(NAMES[0], NAMES[1]), (NAMES[2], NAMES[3])] {
        let pixels: Vec<u8> = (0..120 * 96 * 96).map(|_| noise()).collect();
        scratch.put(images, &idx(&[120, 96, 96], &pixels));
        scratch.put(labels_name, &idx(&[120], &labels));
    }
    let desk = Desk::new();
    fs::write(desk.path("tiny.toml"), TINY).unwrap();
    desk.bare(&format!("train tiny.toml {} --out run", data(&scratch))).assert().success();
    let page = page(&desk.path("run/report.html"));
    assert_eq!(page.id("mistakes").all("li").len(), 36);
    assert_eq!(pixels(page.id("mistakes").all("img")[0]).len(), 48 * 48);
}

#[test]
fn one_class_and_outputs_that_are_no_probabilities() {
    let desk = Desk::new();
    let scratch = set(&[0; 40], &[0; 10], &["only".to_owned()]);
    let two = TINY.replace("'classes'", "2");
    fs::write(desk.path("one.toml"), &two).unwrap();
    desk.bare(&format!("train one.toml {} --out one", data(&scratch))).assert().success();
    let first = page(&desk.path("one/report.html"));
    assert_eq!(first.id("confusion").table()[1][0], "only");
    assert_eq!(first.id("classes").table()[1][4], "10");

    let squared = format!("loss = 'mean-squared-error'\n{TINY}");
    fs::write(desk.path("squared.toml"), squared).unwrap();
    desk.run("train squared.toml --out squared").assert().success();
    let second = page(&desk.path("squared/report.html"));
    assert!(second.id("calibration").text().contains("they cannot be calibrated"));
    assert!(second.id("calibration").all("svg").is_empty());
    let mistakes = second.id("mistakes");
    assert!(mistakes.text().contains("in the order of the samples"));
    assert!(!mistakes.text().contains("probability "));
    let numbers: Vec<f64> = mistakes
        .all("li")
        .iter()
        .map(|item| plain(item.text().lines().next().unwrap().strip_prefix("no. ").unwrap()))
        .collect();
    assert!(numbers.len() > 10 && numbers.is_sorted(), "{numbers:?}");
}

/// Every file of a run, missing, empty, and of bytes that are no text: there is a page, which names the file if it
/// needs it, and the folder stays as it is.
#[test]
fn a_damaged_folder_is_shown_as_such() {
    let desk = Desk::new();
    desk.run("train biu-relu --epochs 2 --out whole").assert().success();
    let whole = desk.read("whole/report.html");
    let files = [
        ("run.toml", "curves"),
        ("history.csv", "confusion"),
        ("sessions.json", "confusion"),
        ("model.safetensors", "curves"),
        ("checkpoint.safetensors", ""),
        ("curves.svg", ""),
        ("report.html", ""),
    ];
    assert_eq!(fs::read_dir(desk.path("whole")).unwrap().count(), files.len() + 1);
    for (name, rest) in files {
        for bytes in [None, Some(&b""[..]), Some(&b"\xff\xfe = [\n1,2"[..])] {
            copy(&desk.path("whole"), &desk.path("here"));
            let path = desk.path("here").join(name);
            match bytes {
                Some(bytes) => fs::write(&path, bytes).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            let done = desk.run("report here").assert().success();
            let said = warnings(&done.get_output().stderr);
            let text = desk.read("here/report.html");
            let page = page(&desk.path("here/report.html"));
            if rest.is_empty() {
                assert!(text == whole && said.is_empty(), "{name}: {said}");
            } else {
                let missing = page.id("missing").text();
                assert!(missing.contains(name), "{name}: {missing}");
                assert!(said.contains(name) && said.contains("warning"), "{said}");
                page.id(rest);
            }
            fs::remove_dir_all(desk.path("here")).unwrap();
        }
    }
    // Nothing of a run.
    fs::create_dir(desk.path("empty")).unwrap();
    desk.refuses("report empty", 3, "no run here");
    desk.refuses("report nowhere", 3, "nowhere: no folder of a run");
    assert_eq!(fs::read_dir(desk.path("empty")).unwrap().count(), 0);

    // As a version left it that did not record the network.
    copy(&desk.path("whole"), &desk.path("old"));
    fs::write(desk.path("old/run.toml"), "recipe = 'biu-relu'\n[task]\nepochs = 2\n").unwrap();
    fs::remove_file(desk.path("old/sessions.json")).unwrap();
    desk.run("report old").assert().success().stderr(contains("train it anew"));
    let old = page(&desk.path("old/report.html"));
    assert!(old.id("missing").text().contains("did not record its network"));
    assert_eq!(old.id("epochs").all("tr").len(), 1 + 2);
    assert!(old.find("confusion").is_none() && old.find("again").is_none());

    // Losses that are no numbers.
    copy(&desk.path("whole"), &desk.path("nan"));
    let csv = "epoch,accuracy,loss,val_accuracy,val_loss\n1,0.5,NaN,0.5,inf\n2,0.5,NaN,0.5,NaN\n";
    fs::write(desk.path("nan/history.csv"), csv).unwrap();
    desk.run("report nan").assert().success();
    let nan = page(&desk.path("nan/report.html"));
    assert!(nan.id("epochs").text().contains("NaN"));
    assert!(nan.id("curves").text().contains("Loss: no finite value"));
}

#[test]
fn a_run_without_its_data_shows_the_rest() {
    let labels: Vec<u8> = (0..60).map(|i| i % 5).collect();
    let names: Vec<String> = (0..5).map(|i| format!("name {i}")).collect();
    let scratch = set(&labels, &labels, &names);
    let desk = Desk::new();
    fs::write(desk.path("tiny.toml"), TINY).unwrap();
    desk.bare(&format!("train tiny.toml {} --out run", data(&scratch))).assert().success();
    let moved = scratch.path().join("moved");
    fs::rename(&scratch.folder, &moved).unwrap();
    desk.bare("report run").assert().success().stderr(contains("cannot be found"));
    let without = page(&desk.path("run/report.html"));
    assert!(without.id("missing").text().contains("cannot be found"));
    assert!(without.find("confusion").is_none());
    without.id("model");
    let named = format!("report run --data {}", moved.display());
    desk.bare(&named).assert().success().stderr("");
    page(&desk.path("run/report.html")).id("confusion");
    // Other data than the run's are no data for its report.
    desk.refuses("report run --data nowhere", 3, "nowhere");
}

#[test]
fn a_run_that_did_not_finish_says_why() {
    let desk = Desk::new();
    let diverged = "train biu-relu --learning-rate 1e30 --out diverged";
    let said = contains("training diverged").and(contains("report is diverged/report.html"));
    desk.run(diverged).assert().code(1).stderr(said);
    let first = page(&desk.path("diverged/report.html"));
    let status = first.all("p")[0];
    assert_eq!(status.attribute("class"), Some("status bad"));
    assert!(status.text().starts_with("not finished: 0 of 10 epochs; training diverged: the loss"));
    assert!(first.find("confusion").is_none());
    first.id("settings");
    assert!(first.id("machine").text().contains("training diverged"));

    // Killed after its second epoch: no result, and nobody could say why.
    desk.run("train biu-relu --epochs 2 --out killed").assert().success();
    let record = desk.read("killed/run.toml");
    let lines = record.lines().filter(|line| !line.starts_with("checksum"));
    let text = lines.collect::<Vec<_>>().join("\n").replace("epochs = 2", "epochs = 5");
    let (before, rest) = text.split_once("[result]").unwrap();
    let (_, task) = rest.split_once("[task]").unwrap();
    fs::write(desk.path("killed/run.toml"), format!("{before}[task]{task}\n")).unwrap();
    let sessions = desk.read("killed/sessions.json");
    fs::write(desk.path("killed/sessions.json"), sessions.replace("\"finished\"", "null")).unwrap();
    desk.run("report killed").assert().success().stderr("");
    let second = page(&desk.path("killed/report.html"));
    let status = second.all("p")[0].text();
    assert_eq!(status, "not finished: 2 of 5 epochs; it was stopped, or is still training");
    assert_eq!(second.id("epochs").all("tr").len(), 1 + 2);
    assert!(second.find("missing").is_none() && second.find("confusion").is_none());
    let tiles = second.tiles();
    assert!(tiles.iter().any(|(name, _)| name == "validation accuracy"), "{tiles:?}");
}

#[test]
fn long_histories_are_thinned() {
    let desk = Desk::new();
    desk.run("train biu-base --epochs 1 --out run").assert().success();
    let mut text = String::from("epoch,accuracy,loss,val_accuracy,val_loss\n");
    (1..=9_999).for_each(|e| text += &format!("{e},0.5,{},0.5,0.25\n", 1.0 / f64::from(e)));
    fs::write(desk.path("run/history.csv"), text).unwrap();
    desk.run("report run").assert().success();
    let page = page(&desk.path("run/report.html"));
    let rows = page.id("epochs").all("tr");
    let epoch = |row: &&Element| row.all("th")[0].text();
    let listed: Vec<String> = rows[1..].iter().map(epoch).collect();
    assert!(listed.len() <= 201, "{}", listed.len());
    assert_eq!((&*listed[0], &*listed[1], listed.last().unwrap().as_str()), ("50", "100", "9999"));
    assert!(page.id("curves").text().contains("Of 9999 epochs, every 50th and the last"));
}

#[test]
fn reproduce_writes_a_page_of_its_table() {
    let desk = Desk::new();
    let run = "reproduce biu-base nlp-softmax --repeats 2 --seed 3 --threads 1 --json out.json";
    desk.run(run).assert().success().stderr(contains("the report is runs/reproduce/report.html"));
    let results = json(&desk.path("out.json"));
    assert_eq!(json(&desk.path("runs/reproduce/results.json")), results);
    let first = page(&desk.path("runs/reproduce/report.html"));
    let results = results["results"].as_array().unwrap();
    let rows = first.id("runs").table();
    assert_eq!(rows.len(), 1 + 4);
    for (row, result) in rows[1..].iter().zip(results) {
        let number = |key: &str| result[key].as_f64().unwrap();
        assert_eq!(row[0], result["recipe"].as_str().unwrap());
        assert_eq!(row[1], result["seed"].to_string());
        assert_eq!(row[2], format!("{:.2}", 100.0 * number("test_accuracy")));
        assert_eq!(row[3], format!("{:.4}", number("test_loss")));
        near(row[4].strip_suffix(" s").unwrap(), number("train_seconds"));
        near(&row[5], number("images_per_second"));
        near(row[6].strip_suffix(" GFLOP/s").unwrap(), number("fma_gflops"));
        assert_eq!(row[7], result["epochs"].to_string());
    }
    let table = first.id("table").table();
    // A drawn set is compared with no claim.
    let header = ["recipe", "accuracy", "loss", "time", "images/s", "parameters", "epochs"]
        .map(String::from);
    assert_eq!(table[0], header);
    assert!(first.all("p")[1].text().contains("NOT FASHION-MNIST"));
    let means = |key: &str| -> Vec<f64> {
        let figures: Vec<f64> = results.iter().map(|r| r[key].as_f64().unwrap()).collect();
        figures.chunks(2).map(|two| f64::midpoint(two[0], two[1])).collect()
    };
    for (row, (accuracy, loss)) in
        table[1..].iter().zip(means("test_accuracy").iter().zip(means("test_loss")))
    {
        assert!(row[1].starts_with(&format!("{:.2} (", 100.0 * accuracy)), "{row:?}");
        assert!(row[2].starts_with(&format!("{loss:.4} (")), "{row:?}");
    }
    let charts = first.id("charts").all("svg");
    assert_eq!(charts.len(), 3);
    for (chart, key) in charts.iter().zip(["test_accuracy", "test_loss", "train_seconds"]) {
        let scale = if key == "test_accuracy" { 100.0 } else { 1.0 };
        let text = chart.attribute("aria-label").unwrap();
        for (recipe, mean) in ["biu-base", "nlp-softmax"].iter().zip(means(key)) {
            assert!(text.contains(&format!("{recipe} {:.4}", scale * mean)), "{text}");
        }
    }
    let command = first.id("again").text();
    let expected =
        "threadcount reproduce biu-base nlp-softmax --repeats 2 --seed 3 --threads 1 --isa ";
    assert!(command.contains(expected), "{command}");

    // Another one does not write over it; a folder that is named, neither.
    desk.run("reproduce biu-base --json -").assert().success();
    page(&desk.path("runs/reproduce-2/report.html"));
    desk.run("reproduce biu-base --out here").assert().success();
    page(&desk.path("here/report.html"));
    desk.refuses("reproduce biu-base --out here", 2, "there is a report already");
    // What ends before anything was measured leaves no folder.
    fs::write(
        desk.path("bad.toml"),
        format!("label-smoothing = 0.1\n{TINY}").replace("'classes'", "3"),
    )
    .unwrap();
    desk.run("reproduce bad.toml").assert().failure().stderr(contains("error").and(contains("3")));
    assert!(!desk.path("runs/reproduce-3").exists());
}
