//! What is printed, and what is foretold.

use super::*;
use crate::bench::ranks::{LinkCost, Script, SharedStep};
use crate::nn::Part;

/// Each figure stands under its own heading.
#[test]
fn figures_stand_in_their_columns() {
    let row = Row {
        recipe: "mine".to_owned(),
        ranks: 2,
        threads: 3,
        shards: 4,
        batch_size: 5,
        images_per_second: 600.0,
        ms_per_step: 70.0,
        percent_waiting: 8.0,
        exchange_ms: 9.0,
        percent_overlapped: 10.0,
        bytes_per_step: 11e6,
        messages_per_step: 12.0,
        model: None,
    };
    let text = measured(&[row]).text(1000);
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let mut lines = text.lines();
    let (header, row) = (cells(lines.next().unwrap()), cells(lines.nth(1).unwrap()));
    for (name, value) in [
        ("recipe", "mine"),
        ("ranks", "2"),
        ("threads", "3"),
        ("shards", "4"),
        ("batch", "5"),
        ("images/s", "600"),
        ("ms/step", "70.00"),
        ("waiting %", "8.0"),
        ("exchange ms", "9.00"),
        ("overlap %", "10.0"),
        ("MB/step", "11.00"),
        ("messages", "12"),
    ] {
        let place = header.iter().position(|found| found == name).unwrap();
        assert_eq!(row[place], value, "{name}: {text}");
    }
}

/// Without messages to speak of: a batch that is shared out takes its part of the time, and one that grows with the
/// ranks as long as on one.
#[test]
fn batches_are_shared_out_or_grow_with_the_ranks() {
    let part = SharedStep { part: Part::Forward(0), seconds: [0.0, 1.0], sums: Vec::new() };
    let link = LinkCost { latency: 1e-9, per_byte: 1e-12 };
    let costs = Costs { script: Script { parts: vec![part] }, link, foretold: 0.5 };
    let rate = SharedRate {
        ranks: 2,
        threads: 1,
        batch_size: 64,
        shards: 2,
        images_per_second: 1.0,
        step: 1.0,
        waiting: 0.0,
        exchange: 0.0,
        bytes: 0.0,
        messages: 0.0,
    };
    let model = foretell(&rate, &costs).unwrap();
    assert!((model.latency_us - 1e-3).abs() < 1e-9);
    assert!((model.gbytes_per_second.unwrap() - 1e3).abs() < 1e-6);
    assert_eq!(model.ms_per_step_here, 500.0);
    let networks = FABRICS.len();
    assert_eq!(model.foretold.len(), networks * (7 + RANKS.len()));
    for row in &model.foretold {
        let seconds = match row.batch {
            "scaled" => 64.0,
            _ => (64 / row.ranks) as f64,
        };
        assert!((row.ms_per_step / 1e3 / seconds - 1.0).abs() < 0.01, "{}", row.ranks);
        let images = if row.batch == "scaled" { 64 * row.ranks } else { 64 };
        assert_eq!(row.batch_size, images);
        assert!((row.percent_efficiency - 100.0).abs() < 1.0, "{}", row.percent_efficiency);
    }
}
