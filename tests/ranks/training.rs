//! The same model on any number of ranks.

use std::fs;

use crate::common::desk::Desk;
use crate::common::process::program;
use crate::mpirun::{model, mpirun, one_error, success};

/// One process, two and four ranks, one and two threads; and taken up with another number.
#[test]
fn the_model_has_the_same_bits_on_any_number_of_ranks() {
    let desk = Desk::new();
    for recipe in ["cse574-mlp", "nlp-rnn", "nlp-cnn"] {
        let train = format!("train {recipe} --epochs 2 --batch-size 32 --shards 4");
        let one = format!("{train} --threads 1 --out {recipe}-1");
        let expected_table = success(program(&desk, &one)).stdout;
        let expected = model(&desk, &format!("{recipe}-1"));
        for (ranks, threads) in [(2, 1), (2, 2), (4, 1), (4, 2)] {
            let run = format!("{recipe}-{ranks}-{threads}");
            let args = format!("{train} --threads {threads} --out {run}");
            let output = success(mpirun(&desk, ranks, &args));
            assert!(model(&desk, &run) == expected, "{run}");
            // Rank 0 alone prints.
            let said = String::from_utf8(output.stderr).unwrap();
            let lines = said.lines().filter(|line| line.contains("the run's folder is")).count();
            assert_eq!(lines, 1, "{said}");
            assert!(said.contains(&format!("{ranks} ranks of {threads} thread")), "{said}");
            // All evaluate: the results on the test samples are those of one process, to the last bit.
            assert!(output.stdout == expected_table, "{run}");
            let tested = |run: &str| -> toml::Value {
                let record: toml::Table = desk.read(&format!("{run}/run.toml")).parse().unwrap();
                let result = record["result"].as_table().unwrap();
                let keys = ["epochs", "test_loss", "test_accuracy"];
                keys.map(|key| result[key].clone()).to_vec().into()
            };
            assert_eq!(tested(&run), tested(&format!("{recipe}-1")), "{run}");
        }
        // An epoch on two ranks, the other one on four.
        let run = format!("{recipe}-resumed");
        let first = format!("{train} --threads 1 --out {run}").replace("--epochs 2", "--epochs 1");
        success(mpirun(&desk, 2, &first));
        let rest = format!("train --resume {run} --epochs 2 --threads 1");
        success(mpirun(&desk, 4, &rest));
        assert!(model(&desk, &run) == expected, "{run}");
        // A run that is complete is evaluated again, by all.
        let again = success(mpirun(&desk, 2, &format!("train --resume {run} --threads 1")));
        assert!(again.stdout == expected_table && model(&desk, &run) == expected, "{run}");
    }
}

/// Batch normalisation over each shard: another model, and the same one on any number of ranks.
#[test]
fn shards_that_are_normalised_apart_have_the_same_bits_on_any_number_of_ranks() {
    let desk = Desk::new();
    let train = "train nlp-cnn --epochs 1 --batch-size 32 --shards 4 --threads 1";
    success(program(&desk, &format!("{train} --out batch")));
    let apart = format!("{train} --batch-norm-over shard");
    success(program(&desk, &format!("{apart} --out one")));
    // A model's file names its run.
    assert!(desk.read("one/history.csv") != desk.read("batch/history.csv"));
    for ranks in [2, 4] {
        success(mpirun(&desk, ranks, &format!("{apart} --out ranks-{ranks}")));
        assert!(model(&desk, &format!("ranks-{ranks}")) == model(&desk, "one"), "{ranks} ranks");
    }
}

#[test]
fn ranks_that_cannot_have_equal_parts_are_refused_in_one_line() {
    let desk = Desk::new();
    let output = mpirun(&desk, 3, "train nlp-softmax --shards 4").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(one_error(&said).contains("3 ranks cannot have equal parts of 4"), "{said}");
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(!fs::exists(desk.path("runs")).unwrap());
}
