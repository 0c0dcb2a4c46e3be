//! Tasks as TOML: what is written reads back the same, every setting is written, and whatever a person may
//! mistype is refused with its line and the nearest name.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::ops::Range;

use threadcount::data::{Augment, Classes, Partition, Scaling, Selection, Validation};
use threadcount::nn::*;
use threadcount::reports::{self, Recipe};
use threadcount::train::{EarlyStopping, Input, Keep, Order, Schedule, Task};
use toml::de::{DeTable, DeValue};

/// As `Debug` has it: every field, floats to the last digit.
fn shown(task: &Task) -> String {
    format!("{task:?}")
}

fn read(text: &str) -> Task {
    Task::from_toml(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn refusal(text: &str) -> String {
    match Task::from_toml(text) {
        Ok(task) => panic!("was taken as {task:?}:\n{text}"),
        Err(error) => error.to_string(),
    }
}

/// Every task whose text the tests take apart: the recipes, and what no recipe has.
fn tasks() -> Vec<Task> {
    let mut tasks: Vec<_> = reports::recipes().into_iter().map(|recipe| recipe.task).collect();
    tasks.extend(variants());
    tasks
}

/// The default and, for each setting, each other kind of value that it may have.
fn variants() -> Vec<Task> {
    let plain = || Task { layers: vec![class_outputs()], ..Task::default() };
    let selection =
        |classes, partition| Task { selection: Selection { classes, partition }, ..plain() };
    let optimizer = |optimizer| Task { optimizer, ..plain() };
    let schedule = |schedule| Task { schedule, ..plain() };
    let augment = |augment| Task { augment, ..plain() };
    let all = Classes::All;
    let mut tasks = vec![
        plain(),
        selection(Classes::Pair { zero: 3, one: 7 }, Partition::AsFiled(Validation::Test)),
        selection(Classes::Pair { zero: 7, one: 3 }, Partition::AsFiled(Validation::Test)),
        selection(all, Partition::AsFiled(Validation::Tail(0.25))),
        selection(all, Partition::Shuffled { test: 0.25, validation: 0.125 }),
        selection(all, Partition::Shuffled { test: 0.125, validation: 0.25 }),
        Task { scaling: Scaling::Standardise, ..plain() },
        Task { input: Input::Pixels, ..plain() },
        Task { input: Input::Image, ..plain() },
        Task { input: Input::Rows, ..plain() },
        Task { loss: Loss::BinaryCrossEntropy, ..plain() },
        Task { loss: Loss::MeanSquaredError, ..plain() },
        optimizer(Optimizer::Sgd { learning_rate: 0.3, momentum: 0.7 }),
        optimizer(Optimizer::Sgd { learning_rate: 0.7, momentum: 0.3 }),
        optimizer(Optimizer::RmsProp {
            learning_rate: 0.3,
            rho: 0.8,
            momentum: 0.7,
            epsilon: 1e-6,
        }),
        optimizer(Optimizer::Adam { learning_rate: 0.3, beta1: 0.8, beta2: 0.7, epsilon: 1e-6 }),
        optimizer(Optimizer::AdamW {
            learning_rate: 0.3,
            beta1: 0.8,
            beta2: 0.7,
            epsilon: 1e-6,
            weight_decay: 0.25,
        }),
        Task { label_smoothing: 0.125, ..plain() },
        Task { l2: 0.0625, ..plain() },
        Task { clip_norm: Some(2.5), ..plain() },
        Task { weight_average: Some(0.875), ..plain() },
        schedule(Schedule::Steps { at: vec![3, 7], factor: 0.3 }),
        schedule(Schedule::Cosine { last: 0.25 }),
        schedule(Schedule::OneCycle { rise: 0.3, first: 0.2, last: 0.1 }),
        schedule(Schedule::Plateau { factor: 0.3, patience: 7, min_delta: 0.25 }),
        Task { warm_up: 1.5, ..plain() },
        augment(Augment { rotate: 12.5, ..Augment::default() }),
        augment(Augment { scale: 0.25, ..Augment::default() }),
        augment(Augment { shift: 3, ..Augment::default() }),
        augment(Augment { flip: true, ..Augment::default() }),
        augment(Augment { erase: 0.25, ..Augment::default() }),
        augment(Augment { rotate: 0.25, scale: 0.125, shift: 1, flip: true, erase: 0.5 }),
        Task { input: Input::Image, test_augment: TestAugment::Flip, ..plain() },
        Task { freeze: Freeze::First(1), ..plain() },
        Task { freeze: Freeze::Layers(vec!["dense".into(), "conv*".into()]), ..plain() },
        Task { epochs: 77, ..plain() },
        Task { batch_size: 77, ..plain() },
        Task { shards: 5, ..plain() },
        Task { batch_norm_over: BatchNormOver::Shard, ..plain() },
        Task { order: Order::AsSplit, ..plain() },
        Task { early_stopping: Some(EarlyStopping { patience: 0 }), ..plain() },
        Task { early_stopping: Some(EarlyStopping { patience: 9 }), ..plain() },
        Task { keep: Keep::BestAccuracy, ..plain() },
        Task { keep: Keep::BestLoss, ..plain() },
    ];
    let examples = KINDS.iter().flat_map(|kind| (kind.examples)());
    tasks.extend(examples.map(|example| Task { layers: vec![example.layer], ..Task::default() }));
    tasks
}

#[test]
fn what_is_written_reads_back_the_same() {
    for task in tasks() {
        let text = task.to_toml().unwrap();
        let again = read(&text);
        assert_eq!(shown(&again), shown(&task), "{text}");
        assert_eq!(again.to_toml().unwrap(), text);
    }
}

#[test]
fn tasks_that_differ_have_texts_that_differ() {
    let mut seen: HashMap<String, String> = HashMap::new();
    for task in variants() {
        let text = task.to_toml().unwrap();
        if let Some(other) = seen.insert(text, shown(&task)) {
            assert_eq!(other, shown(&task), "one text for two tasks");
        }
    }
    assert!(seen.len() >= 40, "{} texts", seen.len());
}

#[test]
fn numbers_keep_all_their_bits() {
    // Rates of every size, with mantissas as random as a multiplication makes them.
    let mut mantissa = 0x9E37_79B9_u32;
    for exponent in 1..127_u32 {
        for _ in 0..100 {
            mantissa = mantissa.wrapping_mul(0x85EB_CA6B).wrapping_add(1);
            let learning_rate = f32::from_bits(exponent << 23 | mantissa >> 9);
            let optimizer = Optimizer::Sgd { learning_rate, momentum: 0.0 };
            let task = Task { optimizer, layers: vec![class_outputs()], ..Task::default() };
            let Optimizer::Sgd { learning_rate: again, .. } =
                read(&task.to_toml().unwrap()).optimizer
            else {
                panic!("another optimizer")
            };
            assert_eq!(again.to_bits(), learning_rate.to_bits(), "{learning_rate}");
        }
    }
}

#[test]
fn what_a_file_leaves_out_has_its_default() {
    let least = read("layers = [{ kind = \"dense\", units = \"classes\" }]");
    let written = Task { layers: vec![class_outputs()], ..Task::default() };
    assert_eq!(shown(&least), shown(&written));
    // The tables' other form, and Keras's constants behind a name alone.
    let task = read(
        "optimizer = \"rmsprop\"\n[[layers]]\nkind = \"flatten\"\n[[layers]]\nkind = \"dense\"\nunits = 3\n",
    );
    assert_eq!(shown(&task).matches("Dense").count(), 1);
    let Optimizer::RmsProp { learning_rate, rho, momentum, epsilon } = task.optimizer else {
        panic!("{:?}", task.optimizer)
    };
    assert_eq!([learning_rate, rho, momentum, epsilon], [0.001, 0.9, 0.0, 1e-7]);
    let task =
        read("optimizer = { name = \"sgd\", momentum = 0.5 }\nlayers = [{ kind = \"flatten\" }]");
    let Optimizer::Sgd { learning_rate, momentum } = task.optimizer else {
        panic!("{:?}", task.optimizer)
    };
    assert_eq!([learning_rate, momentum], [0.01, 0.5]);
}

/// A place in a text: a key with its value, or a value of a list.
#[derive(Clone, Debug)]
struct Place {
    key: Option<(String, Range<usize>)>,
    value: Range<usize>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Name,
    Number,
    Table,
    List,
}

/// Every value of a text, however deep.
fn places(text: &str) -> Vec<Place> {
    fn of_value(
        key: Option<(String, Range<usize>)>,
        value: &toml::Spanned<DeValue<'_>>,
        places: &mut Vec<Place>,
    ) {
        let kind = match value.get_ref() {
            DeValue::String(_) => Kind::Name,
            DeValue::Table(table) => {
                of_table(table, places);
                Kind::Table
            }
            DeValue::Array(elements) => {
                elements.iter().for_each(|element| of_value(None, element, places));
                Kind::List
            }
            _ => Kind::Number,
        };
        places.push(Place { key, value: value.span(), kind });
    }
    fn of_table(table: &DeTable<'_>, places: &mut Vec<Place>) {
        for (key, value) in table {
            of_value(Some((key.get_ref().to_string(), key.span())), value, places);
        }
    }
    let mut found = Vec::new();
    of_table(DeTable::parse(text).unwrap().get_ref(), &mut found);
    found
}

fn with(text: &str, place: &Range<usize>, instead: &str) -> String {
    format!("{}{instead}{}", &text[..place.start], &text[place.end..])
}

fn line_of(text: &str, place: &Range<usize>) -> String {
    format!("line {}: ", text[..place.start].matches('\n').count() + 1)
}

/// A name with its last letter twice.
fn mistyped(name: &str) -> String {
    format!("{name}{}", name.chars().last().unwrap())
}

/// Walks every value of every task's text.
fn every_place(mut look: impl FnMut(&str, &Place)) {
    let mut count = 0;
    for task in tasks() {
        let text = task.to_toml().unwrap();
        for place in places(&text) {
            look(&text, &place);
            count += 1;
        }
    }
    assert!(count > 500, "{count} places");
}

#[test]
fn every_key_that_is_mistyped_is_named_with_its_line_and_the_right_one() {
    every_place(|text, place| {
        let Some((key, span)) = &place.key else { return };
        let message = refusal(&with(text, span, &mistyped(key)));
        assert!(message.starts_with(&line_of(text, span)) || key == "layers", "{message}\n{text}");
        let is_named = message.contains(&format!("did you mean '{key}'?"));
        // Without these there is nothing to know the others by.
        let is_missed = ["kind", "name", "layers"].contains(&key.as_str())
            && message.contains(&format!("'{key}' is missing"));
        assert!(is_named || is_missed, "{key}: {message}\n{text}");
    });
}

/// Where the key `freeze` stands; the end if nowhere.
fn freeze_in(text: &str) -> std::ops::Range<usize> {
    let at = text.find("freeze = ").unwrap_or(text.len());
    at..at
}

#[test]
fn every_name_that_is_mistyped_is_named_with_its_line_and_the_right_one() {
    every_place(|text, place| {
        if place.kind != Kind::Name {
            return;
        }
        // Names of layers are known with the network.
        if line_of(text, &place.value) == line_of(text, &freeze_in(text)) {
            return;
        }
        let name = text[place.value.clone()].trim_matches('"');
        let message = refusal(&with(text, &place.value, &format!("\"{}\"", mistyped(name))));
        assert!(message.starts_with(&line_of(text, &place.value)), "{message}\n{text}");
        let is_named = message.contains(&format!("did you mean '{name}'?"));
        assert!(is_named || message.contains(&format!("or \"{name}\" belongs here")), "{message}");
    });
}

#[test]
fn every_value_of_another_kind_is_refused_with_its_line_and_key() {
    every_place(|text, place| {
        for (kind, wrong) in [
            (Kind::Name, "\"seventeen\""),
            (Kind::Number, "2.5e3"),
            (Kind::Number, "-17"),
            (Kind::Table, "{ surplus = 1 }"),
            (Kind::List, "[[], []]"),
        ] {
            if kind == place.kind && kind != Kind::Table {
                continue;
            }
            let wrong_text = with(text, &place.value, wrong);
            let key = place.key.as_ref().map(|(key, _)| key.as_str());
            // An optimizer may be its name alone; a share or a rate is any number.
            let is_fine = Task::from_toml(&wrong_text).is_ok();
            assert!(!is_fine, "{key:?} {wrong}: taken\n{text}");
            let message = refusal(&wrong_text);
            let line = line_of(text, &place.value);
            assert!(message.starts_with(&line), "{wrong}: not {line}{message}\n{text}");
            for foreign in ["usize", "f32", "f64", "u8", "variant", "sequence", "serde", " map"] {
                assert!(!message.contains(foreign), "{message}");
            }
        }
    });
}

/// Other values for one place, of which some are no task.
fn others(text: &str, place: &Place, names: &BTreeSet<String>) -> Vec<String> {
    let value = &text[place.value.clone()];
    match place.kind {
        Kind::Name => names.iter().filter(|name| *name != value).cloned().collect(),
        Kind::Number => match value.parse::<u64>() {
            Ok(n) => vec![(n + 1).to_string(), (n + 2).to_string()],
            Err(_) => vec!["0.0625".to_owned(), "0.1875".to_owned()],
        },
        Kind::Table | Kind::List => Vec::new(),
    }
}

#[test]
fn every_value_that_differs_is_a_difference_with_its_key() {
    let mut names = BTreeSet::new();
    every_place(|text, place| {
        if place.kind == Kind::Name {
            names.insert(text[place.value.clone()].to_owned());
        }
    });
    let mut keys = BTreeSet::new();
    every_place(|text, place| {
        let task = read(text);
        assert_eq!(task.difference(&task).unwrap(), None, "{text}");
        for other in others(text, place, &names) {
            let Ok(changed) = Task::from_toml(&with(text, &place.value, &other)) else { continue };
            // Two spellings of one task: a size of 2 or [2, 2].
            if shown(&changed) == shown(&task) {
                continue;
            }
            let found = changed.difference(&task).unwrap();
            let found = found.unwrap_or_else(|| panic!("{other} is no difference\n{text}"));
            let back = task.difference(&changed).unwrap().unwrap();
            assert_eq!((&back.key, &back.one, &back.other), (&found.key, &found.other, &found.one));
            let Some((key, _)) = &place.key else { continue };
            let last = found.key.rsplit(['.', ' ']).next();
            assert_eq!(last, Some(key.as_str()), "{found}\n{text}");
            let values = [&found.one, &found.other].map(|value| value.as_deref().unwrap());
            let number = |text: &str| text.parse::<f64>().ok();
            for (found, written) in values.into_iter().zip([&*other, &text[place.value.clone()]]) {
                let is_it = found == written || number(found) == number(written);
                assert!(is_it, "{key}: {found} for {written}");
            }
            keys.insert(key.clone());
        }
    });
    for key in [
        "activation",
        "batch-size",
        "beta1",
        "clip-norm",
        "epochs",
        "epsilon",
        "erase",
        "factor",
        "filters",
        "input",
        "freeze",
        "keep",
        "kernel",
        "l2",
        "label-smoothing",
        "last",
        "learning-rate",
        "loss",
        "momentum",
        "one",
        "order",
        "patience",
        "rate",
        "rho",
        "rotate",
        "scale",
        "scaling",
        "shards",
        "shift",
        "tail",
        "test",
        "units",
        "validation",
        "warm-up",
        "weight-average",
        "weight-decay",
        "zero",
    ] {
        assert!(keys.contains(key), "{key}: {keys:?}");
    }
}

#[test]
fn tasks_with_different_texts_have_a_difference() {
    let tasks = tasks();
    for one in &tasks {
        for other in &tasks {
            let is_same = one.to_toml().unwrap() == other.to_toml().unwrap();
            assert_eq!(one.difference(other).unwrap().is_none(), is_same);
        }
    }
}

#[test]
fn a_surplus_key_is_refused_in_every_table() {
    every_place(|text, place| {
        if place.kind == Kind::Table {
            let inside = place.value.start + 1..place.value.start + 1;
            let comma = if text[inside.end..].trim_start().starts_with('}') { "" } else { "," };
            let message = refusal(&with(text, &inside, &format!(" surplus = 1{comma}")));
            assert!(message.starts_with(&line_of(text, &inside)), "{message}\n{text}");
        }
    });
    let message = refusal("surplus = 1\nlayers = []");
    assert!(message.starts_with("line 1: unknown key 'surplus' (there are "), "{message}");
}

#[test]
fn numbers_out_of_range_are_refused_with_what_belongs_there() {
    let with_layers = |line: &str| refusal(&format!("{line}\nlayers = [{{ kind = \"flatten\" }}]"));
    for (line, wanted) in [
        ("epochs = 0", "line 1: epochs: a whole number from 1 up belongs here, not 0"),
        ("batch-size = 0", "line 1: batch-size: a whole number from 1 up belongs here, not 0"),
        ("batch-size = -3", "line 1: batch-size: a whole number from 1 up belongs here, not -3"),
        ("epochs = 1.5", "line 1: epochs: a whole number from 1 up belongs here, not 1.5"),
        ("epochs = \"x\"", "line 1: epochs: a whole number from 1 up belongs here, not \"x\""),
        ("epochs = []", "line 1: epochs: a whole number from 1 up belongs here, not a list"),
        (
            "early-stopping = { patience = -1 }",
            "line 1: patience: a whole number from 0 up belongs here, not -1",
        ),
        (
            "optimizer = { name = \"sgd\", learning-rate = 0 }",
            "line 1: sgd: the learning rate must be positive, not 0",
        ),
        (
            "optimizer = { name = \"sgd\", learning-rate = nan }",
            "line 1: sgd: the learning rate must be positive, not NaN",
        ),
        (
            "optimizer = { name = \"sgd\", momentum = \"x\" }",
            "line 1: momentum: a number belongs here, not \"x\"",
        ),
        (
            "selection = { partition = { as-filed = { tail = 1.0 } } }",
            "line 1: selection: shares of [1.0] leave nothing to train on; use shares that sum to less than 1",
        ),
        (
            "selection = { partition = { shuffled = { test = 0.5, validation = 0.5 } } }",
            "line 1: selection: shares of [0.5, 0.5] leave nothing to train on; use shares that sum to less than 1",
        ),
        (
            "selection = { classes = { pair = { zero = 3, one = 3 } } }",
            "line 1: selection: classes 3 and 3 are no pair; name two different labels",
        ),
        (
            "augment = { rotate = 181 }",
            "line 1: augment: rotate is in degrees, from 0 to 180, not 181",
        ),
        (
            "augment = { flip = true, scale = 1 }",
            "line 1: augment: scale is a share of the size, from 0 to below 1, not 1",
        ),
        (
            "augment = { erase = 1.5 }",
            "line 1: augment: erase is a probability, from 0 to 1, not 1.5",
        ),
        (
            "augment = { rotate = nan }",
            "line 1: augment: rotate is in degrees, from 0 to 180, not NaN",
        ),
        (
            "augment = { shift = -1 }",
            "line 1: augment: shift: a whole number from 0 up belongs here, not -1",
        ),
        (
            "augment = { shift = 1.5 }",
            "line 1: augment: shift: a whole number from 0 up belongs here, not 1.5",
        ),
        ("augment = { flip = 1 }", "line 1: augment: flip: true or false belongs here, not 1"),
    ] {
        assert_eq!(with_layers(line), wanted);
    }
    for (layer, wanted) in [
        (
            "{ kind = \"dense\", units = 1.5 }",
            "line 1: dense: units: a whole number from 1 up or \"classes\" belongs here, not 1.5",
        ),
        ("{ kind = \"dense\" }", "line 1: dense: 'units' is missing"),
        (
            "{ kind = \"dense\", units = 2, activation = \"leaky-relu\" }",
            "line 1: dense: activation: this name needs a value, as { NAME = 0.1 }",
        ),
        ("{ units = 2 }", "line 1: a layer's 'kind' is missing"),
        ("7", "line 1: a layer: a table belongs here"),
    ] {
        assert_eq!(refusal(&format!("layers = [{layer}]")), wanted);
    }
    assert_eq!(refusal("epochs = 1\nepochs = 2"), "line 2: duplicate key");
    assert!(refusal("layers = [").starts_with("line 1: unclosed array"));
    assert!(refusal("").starts_with("line 1: 'layers' is missing: a list such as"));
}

#[test]
fn characters_of_several_bytes_stand_anywhere() {
    for text in [
        "\u{70d}==",
        "\u{da78d}y = [",
        "ä = \"",
        "epochs\u{a0}= 1",
        "loss = \"ü\"",
        "ö = 1\nlayers = []",
    ] {
        assert!(refusal(text).starts_with("line 1: "), "{text}");
    }
}

#[test]
fn a_message_repeats_little_of_the_file() {
    let long = "x".repeat(100_000);
    for text in [
        format!("{long} = 1\nlayers = []"),
        format!("loss = \"{long}\"\nlayers = []"),
        format!("epochs = \"{long}\"\nlayers = []"),
        format!("optimizer = \"{long}\"\nlayers = []"),
        format!("optimizer = {{ name = \"sgd\", {long} = 1 }}\nlayers = []"),
        format!("layers = [{{ kind = \"{long}\" }}]"),
        format!("layers = [{{ kind = \"dense\", units = \"{long}\" }}]"),
        format!("layers = [{{ kind = \"dense\", {long} = 1 }}]"),
        long.clone(),
        format!("epochs = 1{long}"),
        format!("epochs = \"{long}"),
    ] {
        let message = refusal(&text);
        assert!(message.len() < 500, "{} bytes", message.len());
    }
}

/// Found by fuzzing: a message that repeats a line break is no longer one line, and what else is between the
/// letters of a file may steer a terminal.
#[test]
fn a_message_repeats_no_control_characters() {
    let odd = r"a\nb\r\u001b[2J";
    for (text, is_repeated) in [
        (format!("\"{odd}\" = 1\nlayers = []"), true),
        (format!("loss = \"{odd}\"\nlayers = []"), true),
        (format!("epochs = \"{odd}\"\nlayers = []"), false),
        (format!("optimizer = \"{odd}\"\nlayers = []"), true),
        (format!("optimizer = {{ name = \"sgd\", \"{odd}\" = 1 }}\nlayers = []"), true),
        (format!("layers = [{{ kind = \"{odd}\" }}]"), true),
        (format!("layers = [{{ kind = \"dense\", units = \"{odd}\" }}]"), false),
        (format!("layers = [{{ kind = \"dense\", \"{odd}\" = 1 }}]"), true),
        ("a\nb = \u{1b}[2J".to_owned(), false),
        ("a\u{7f}b = 1".to_owned(), false),
    ] {
        let message = refusal(&text);
        assert!(!message.contains(char::is_control), "{message:?}");
        assert!(!is_repeated || message.contains(r"'a\nb\r\u{1b}[2J'"), "{message}");
    }
}

#[test]
fn a_file_is_named_with_what_is_wrong_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let dense = "{ kind = \"dense\", units = 2 }";
    for (name, text, wanted) in [
        (
            "line.toml",
            "epochs = 3\nloss = \"hinge\"\nlayers = []".to_owned(),
            "line 2: unknown name 'hinge'",
        ),
        ("none.toml", "layers = []".to_owned(), "a network needs a layer with parameters"),
        (
            "image.toml",
            format!("layers = [{dense}]"),
            "layer 1, dense takes a vector (add flatten before it), not samples of shape (None, 28, 28, 1)",
        ),
        (
            "window.toml",
            "layers = [{ kind = \"conv2d\", filters = 2, kernel = 29 }]".to_owned(),
            "layer 1, conv2d: a window of 29x29 does not fit an image of 28x28",
        ),
        (
            "rate.toml",
            format!("input = \"pixels\"\nlayers = [{{ kind = \"dropout\", rate = 1.0 }}, {dense}]"),
            "layer 1, dropout: the rate must be in [0, 1), not 1",
        ),
        (
            "rows.toml",
            format!("input = \"pixels\"\nlayers = [{dense}, {{ kind = \"lstm\", units = 3 }}]"),
            "layer 2, lstm takes",
        ),
    ] {
        let path = at(name, text.as_bytes());
        let planned = Recipe::from_file(&path).and_then(|recipe| recipe.plan());
        let message = planned.unwrap_err().to_string();
        let wanted = format!("{}: {wanted}", path.display());
        assert!(message.starts_with(&wanted), "{message}\n{wanted}");
    }
    let binary = at("binary.toml", &[0xFF, 0xFE, 0]);
    assert!(
        Recipe::from_file(&binary).unwrap_err().to_string().ends_with("not text: name a TOML file")
    );
    let large = at("large.toml", &vec![b'\n'; 2 << 20]);
    let message = Recipe::from_file(&large).unwrap_err().to_string();
    assert!(message.ends_with("more than a MiB: name a TOML file"), "{message}");
    for missing in ["missing.toml", "."] {
        let path = folder.path().join(missing);
        let message = Recipe::from_file(&path).unwrap_err().to_string();
        assert!(message.starts_with(&path.display().to_string()), "{message}");
    }
}

#[test]
fn whole_numbers_and_single_settings_augment() {
    let task = read(
        "augment = { rotate = 10, scale = 0.1, shift = 2, flip = true, erase = 1 }\nlayers = []",
    );
    let all = Augment { rotate: 10.0, scale: 0.1, shift: 2, flip: true, erase: 1.0 };
    assert_eq!(task.augment, all);
    let flip = Augment { flip: true, ..Augment::default() };
    assert_eq!(read("augment = { flip = true }\nlayers = []").augment, flip);
    // Nothing is what is left out.
    let text = read("augment = {}\nlayers = []").to_toml().unwrap();
    assert!(!text.contains("augment"), "{text}");
}

#[test]
fn the_example_of_the_guide_is_a_network() {
    let chapter = include_str!("../../src/guide/networks.md");
    let example = chapter.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let task = read(example);
    assert_eq!(task.layers_for(26).len(), 4);
    assert_eq!(task.early_stopping, Some(EarlyStopping { patience: 3 }));
    assert_eq!(task.selection.partition, Partition::AsFiled(Validation::Tail(0.2)));
}
