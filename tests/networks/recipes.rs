//! What each recipe trains, field by field, beside a record of it that was compared with the reports by a
//! person. Whoever changes a recipe changes `golden/recipes.txt` too, and sees there what else is changed.
//!
//! `cargo test --test networks recipes -- --ignored` writes the record anew.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write};
use threadcount::reports::{self, Recipe};
use threadcount::train::Task;
use threadcount_kernels::Precision;

/// A heading `[recipe]` for each recipe, and `field: value` below it, as `Debug` writes values.
const RECORDED: &str = include_str!("../golden/recipes.txt");

/// The fields of a recipe. Every field is named, so that one that is added is not left out.
fn fields(recipe: &Recipe) -> Vec<(String, String)> {
    let Recipe { id: _, about, task, claim, file: None } = recipe else { panic!("from a file") };
    let Task {
        selection,
        scaling,
        augment,
        test_augment,
        input,
        layers,
        freeze,
        loss,
        label_smoothing,
        l2,
        clip_norm,
        optimizer,
        schedule,
        warm_up,
        epochs,
        batch_size,
        shards,
        batch_norm_over,
        order,
        early_stopping,
        keep,
        weight_average,
        precision,
    } = task;
    let reports::Claim { accuracy, seconds, note } = claim;
    let mut fields = Vec::new();
    let mut put = |name: &str, value: &dyn Debug| {
        fields.push((name.to_owned(), format!("{value:?}")));
    };
    put("about", about);
    put("classes", &selection.classes);
    put("partition", &selection.partition);
    put("scaling", scaling);
    put("input", input);
    for (number, layer) in (1..).zip(layers) {
        put(&format!("layer {number}"), layer);
    }
    if !augment.is_none() {
        put("augment", augment);
    }
    if !test_augment.is_none() {
        put("test augment", test_augment);
    }
    put("layers", &layers.len());
    if !freeze.is_none() {
        put("freeze", freeze);
    }
    put("loss", loss);
    put("label smoothing", label_smoothing);
    put("l2", l2);
    put("clip norm", clip_norm);
    put("optimizer", optimizer);
    put("schedule", schedule);
    put("warm-up", warm_up);
    put("epochs", epochs);
    put("batch size", batch_size);
    if *shards != 1 {
        put("shards", shards);
        put("batch norm over", batch_norm_over);
    }
    put("order", order);
    put("early stopping", early_stopping);
    put("keep", keep);
    put("weight average", weight_average);
    // None of the reports had another.
    if *precision != Precision::F32 {
        put("precision", precision);
    }
    put("claimed accuracy", accuracy);
    put("claimed seconds", seconds);
    put("claim's note", note);
    fields
}

/// All recipes as the record has them.
fn written() -> String {
    let mut text = String::new();
    for recipe in reports::recipes() {
        writeln!(text, "[{}]", recipe.id).unwrap();
        for (name, value) in fields(&recipe) {
            writeln!(text, "{name}: {value}").unwrap();
        }
        text.push('\n');
    }
    text
}

/// The values by recipe and field.
fn read(text: &str) -> BTreeMap<(String, String), String> {
    let mut values = BTreeMap::new();
    let mut recipe = "";
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            recipe = name;
            continue;
        }
        let (field, value) = line.split_once(": ").expect("a field and its value");
        let before = values.insert((recipe.to_owned(), field.to_owned()), value.to_owned());
        assert_eq!(before, None, "{recipe}, {field} stands there twice");
    }
    values
}

#[test]
fn every_field_of_every_recipe_is_as_recorded() {
    let (now, recorded) = (read(&written()), read(RECORDED));
    let mut faults = String::new();
    for (key, value) in &now {
        let (recipe, field) = key;
        let recorded = recorded.get(key).map_or("nothing", String::as_str);
        if value != recorded {
            writeln!(faults, "{recipe}, {field}: {value}, recorded is {recorded}").unwrap();
        }
    }
    for ((recipe, field), value) in recorded.iter().filter(|(key, _)| !now.contains_key(*key)) {
        writeln!(faults, "{recipe}, {field}: nothing, recorded is {value}").unwrap();
    }
    assert!(faults.is_empty(), "\n{faults}");
    // The order of the recipes, too.
    assert_eq!(written(), RECORDED);
}

#[test]
#[ignore = "writes the record anew; look at what git says of it"]
fn write_the_record() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/recipes.txt");
    std::fs::write(path, written()).unwrap();
}
