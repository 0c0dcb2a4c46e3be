//! `bench` on several ranks.

use crate::common::desk::Desk;
use crate::common::process::program;
use crate::mpirun::{mpirun, success};

/// Rank 0 prints a row for the recipe; all ranks say as much as the tree says.
#[test]
fn bench_measures_what_ranks_reach_together() {
    let desk = Desk::new();
    let args = "bench nlp-softmax --shards 4 --threads 1 --samples 1 --json b.json";
    let output = success(mpirun(&desk, 2, args));
    let table = String::from_utf8(output.stdout).unwrap();
    assert_eq!(table.matches("| nlp-softmax").count(), 1, "{table}");
    for word in ["waiting %", "overlap %", "MB/step"] {
        assert!(table.contains(word), "{table}");
    }
    assert!(!table.contains("odelled"), "{table}");
    let json: serde_json::Value = serde_json::from_str(&desk.read("b.json")).unwrap();
    let row = &json["recipes"][0];
    for (key, value) in [("ranks", 2), ("threads", 1), ("shards", 4), ("batch_size", 32)] {
        assert_eq!(row[key], value, "{row}");
    }
    let number = |key: &str| row[key].as_f64().unwrap();
    // The last batch of an epoch is smaller.
    let images = number("images_per_second") * number("ms_per_step") / 1e3;
    assert!((9.0..32.01).contains(&images), "{row}");
    assert!((0.0..=100.001).contains(&number("percent_waiting")), "{row}");
    assert!((0.0..=100.0).contains(&number("percent_overlapped")), "{row}");
    assert!(number("exchange_ms") > 0.0);
    // The gradients go one way and back, so do the results, and rank 0 says whether to go on: each after a tag.
    assert_eq!(number("messages_per_step"), 5.0);
    assert_eq!(number("bytes_per_step"), 4.0 * (2.0 * 7851.0 + 2.0 * 5.0 + 2.0));
    assert!(row.get("model").is_none());
}

/// With and without `mpirun`: what is measured, and what is modelled from it.
#[test]
fn bench_foretells_the_rates_of_more_ranks() {
    let desk = Desk::new();
    let args = "bench nlp-softmax --ranks --samples 1 --json b.json";
    let under_mpirun = mpirun(&desk, 2, &format!("{args} --threads 1"));
    // Without `mpirun` a rank has one thread unless more are asked for.
    for command in [program(&desk, args), under_mpirun] {
        let mut command = command;
        command.env("COLUMNS", "1000");
        let table = String::from_utf8(success(command).stdout).unwrap();
        for word in ["Measured:", "Modelled, not measured:", "weak scaling", "strong scaling"] {
            assert!(table.contains(word), "{word}: {table}");
        }
        let json: serde_json::Value = serde_json::from_str(&desk.read("b.json")).unwrap();
        let row = &json["recipes"][0];
        assert!(row["ranks"].as_u64().unwrap() >= 2);
        assert_eq!(row["threads"], 1);
        let rows = row["model"]["foretold"].as_array().unwrap();
        let of = |batch: &str, network: &str| -> Vec<&serde_json::Value> {
            let all = rows.iter();
            all.filter(|row| row["batch"] == batch && row["network"] == network).collect()
        };
        for network in ["10 Gbit/s", "100 Gbit/s", "fabric"] {
            let (strong, weak) = (of("recipe", network), of("scaled", network));
            // A batch of 32 has 32 shards at most.
            let ranks = |rows: &[&serde_json::Value]| -> Vec<u64> {
                rows.iter().map(|row| row["ranks"].as_u64().unwrap()).collect()
            };
            assert_eq!(ranks(&strong), [1, 2, 4, 8, 16, 32]);
            assert_eq!(ranks(&weak), [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]);
            for row in strong.iter().chain(&weak) {
                let number = |key: &str| row[key].as_f64().unwrap();
                let images = number("batch_size") / number("ms_per_step") * 1e3;
                assert!((images / number("images_per_second") - 1.0).abs() < 1e-9, "{row}");
                assert!(number("percent_efficiency") <= 100.0 + 1e-9, "{row}");
            }
            assert_eq!(strong[0]["percent_efficiency"], 100.0);
            assert!(strong.iter().all(|row| row["batch_size"] == 32));
            assert_eq!(weak[10]["batch_size"], 32 * 1024);
        }
        // A faster network is never slower.
        for batch in ["recipe", "scaled"] {
            let slow_to_fast =
                ["10 Gbit/s", "100 Gbit/s", "fabric"].map(|network| of(batch, network));
            for rows in slow_to_fast.windows(2) {
                for (slow, fast) in rows[0].iter().zip(&rows[1]) {
                    let ms = |row: &serde_json::Value| row["ms_per_step"].as_f64().unwrap();
                    assert!(ms(fast) <= ms(slow), "{slow} {fast}");
                }
            }
        }
    }
}
