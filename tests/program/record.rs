//! `threadcount record`: its figures are those of the same recipes trained by hand, and it says what they are of.

use crate::common::desk::Desk;
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;
use threadcount::data::{Scaling, Shape};
use threadcount::reports;
use threadcount::train::{Order, Schedule};

#[test]
fn its_runs_are_those_of_its_recipes() {
    let desk = Desk::new();
    let table = contains("NOT FASHION-MNIST: these are drawn, synthetic images, from ")
        .and(contains("| record-92 |"))
        .and(contains("| record-93 |").not())
        .and(contains("seeds 4-5"))
        .and(contains("2 runs in"));
    desk.run("record 92 --repeats 2 --seed 4 --threads 1 --json out.json")
        .assert()
        .success()
        .stdout(table)
        .stderr(contains("[2/2] record-92"));
    let document: Value = serde_json::from_str(&desk.read("out.json")).unwrap();
    let results = document["results"].as_array().unwrap();
    assert_eq!(results.iter().map(|run| run["seed"].as_u64().unwrap()).collect::<Vec<_>>(), [4, 5]);

    // The same runs by `train`.
    let accuracies: Vec<f64> = [4, 5]
        .map(|seed| {
            desk.run(&format!("train record-92 --seed {seed} --threads 2 --out run-{seed}"))
                .assert()
                .success();
            let record: toml::Table = desk.read(&format!("run-{seed}/run.toml")).parse().unwrap();
            assert_eq!(record["result"]["epochs"].as_integer(), Some(3));
            record["result"]["test_accuracy"].as_float().unwrap()
        })
        .into();
    let recorded: Vec<f64> =
        results.iter().map(|run| run["test_accuracy"].as_f64().unwrap()).collect();
    assert_eq!(recorded, accuracies);
    assert_ne!(recorded[0], recorded[1], "the seeds do not tell");

    let summary = &document["records"][0];
    assert_eq!(
        (summary["recipe"].as_str(), summary["target"].as_f64()),
        (Some("record-92"), Some(0.92))
    );
    assert!(summary["reached"].is_null(), "the set is drawn: {summary}");
    let accuracy = &summary["test_accuracy"];
    assert_eq!(accuracy["mean"].as_f64(), Some((recorded[0] + recorded[1]) / 2.0));
    assert_eq!(accuracy["lowest"].as_f64(), Some(recorded[0].min(recorded[1])));
    assert_eq!(accuracy["highest"].as_f64(), Some(recorded[0].max(recorded[1])));
    let seconds: f64 = results.iter().map(|run| run["train_seconds"].as_f64().unwrap()).sum();
    assert!((summary["train_seconds"]["mean"].as_f64().unwrap() - seconds / 2.0).abs() < 1e-9);
    assert_eq!(summary["runs"].as_u64(), Some(2));
}

#[test]
fn what_it_cannot_do_is_said_before_anything_is_trained() {
    let desk = Desk::new();
    desk.refuses("record 95", 2, "there is no record for '95'; there are 92, 93, 94");
    desk.refuses("record 92 --repeats 0", 2, "--repeats 0");
    desk.refuses("record 92 --data nowhere", 3, "nowhere");
    desk.refuses("record 92 --json no/such/folder/x.json", 1, "no/such/folder");
    desk.refuses("train record-95", 2, "did you mean 'record-9");
}

/// Which rules a record keeps, so that its figures mean something.
#[test]
fn the_records_are_small_and_choose_nothing_by_the_test_images() {
    let records = reports::records();
    assert_eq!(records.iter().map(|r| r.target).collect::<Vec<_>>(), [0.92, 0.93, 0.94]);
    for record in records {
        let recipe = &record.recipe;
        let task = &recipe.task;
        let plan = recipe.plan_for(Shape::Image([28, 28, 1]), 10).unwrap();
        assert!(plan.parameter_count() <= 500_000, "{}", recipe.id);
        assert!(!task.selection.validates_on_test(), "{}", recipe.id);
        assert_eq!(recipe.id, format!("record-{:.0}", 100.0 * record.target));
        // What the docs and the programs beside it say of all three.
        assert_eq!(
            (task.batch_size, task.order, task.scaling),
            (128, Order::Shuffled, Scaling::Unit)
        );
        assert!(matches!(task.schedule, Schedule::OneCycle { .. }), "{}", recipe.id);
        assert!(recipe.claim.accuracy.is_none() && recipe.claim.seconds.is_none());
    }
}
