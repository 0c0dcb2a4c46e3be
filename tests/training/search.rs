//! A search comes to the same trials and results at any number of threads, wherever it was stopped and taken
//! up again; and test samples choose nothing. No program is started here: a process that begins has a copy
//! of the locks that others hold for a moment.

use crate::common::desk::Desk;
use crate::common::searches::{AXES, SEED, dataset, definition, resources, searched};
use std::collections::HashSet;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use threadcount::data::{Samples, Split};
use threadcount::reports;
use threadcount::train::search::{Metric, Row, Search, Step, halving};
use threadcount::train::{Ended, Session, Task};
use threadcount_kernels::{Isa, Pool};

/// What a task scores in one go, after so many of its epochs.
fn trained(task: &Task, split: &Split, epochs: usize) -> Vec<(u64, u64)> {
    let mut session = Session::new(task, split, SEED).unwrap();
    let pool = Pool::new(Isa::best(), 1).unwrap();
    pool.enter(|team| session.train(team, &mut |_, _| Ok(ControlFlow::Continue(()))).unwrap());
    let epochs = &session.progress().history.epochs[..epochs];
    epochs.iter().map(|e| (e.val_loss.to_bits(), e.val_accuracy.to_bits())).collect()
}

/// Every row of a search, by trials that are trained in one go, and the rule of halving by hand.
#[test]
fn a_trial_of_a_rung_has_the_bits_of_one_that_was_never_paused() {
    let desk = Desk::new();
    let (definition, split) = definition(&AXES, None, Some(3));
    let search = searched(&desk.path("search"), &definition, &split, 2);
    assert_eq!(definition.rungs(), [1, 3, 9]);
    let rows = |rung| -> Vec<Row> {
        search.rows().iter().filter(|row| row.rung == rung).copied().collect()
    };
    // Six, a third of them, a third of these.
    assert_eq!([1, 2, 3].map(|rung| rows(rung).len()), [6, 2, 1]);
    for row in search.rows() {
        assert_eq!(row.epochs, [1, 3, 9][row.rung - 1]);
        let task = search.task(row.trial);
        assert_eq!(task.epochs, 9);
        let history = trained(task, &split, row.epochs);
        // The task keeps the epoch with the lowest loss.
        let kept =
            history.iter().min_by(|a, b| f64::from_bits(a.0).total_cmp(&f64::from_bits(b.0)));
        let scores = row.scores.unwrap();
        let bits = (scores.val_loss.to_bits(), scores.val_accuracy.to_bits());
        assert_eq!(Some(&bits), kept, "{row:?}");
    }
    for rung in [1, 2] {
        let loss = |row: &Row| row.scores.unwrap().val_loss;
        let mut by_loss = rows(rung);
        by_loss.sort_by(|a, b| loss(a).total_cmp(&loss(b)));
        let mut expected: Vec<_> =
            by_loss[..rows(rung + 1).len()].iter().map(|row| row.trial).collect();
        expected.sort_unstable();
        let next: Vec<_> = rows(rung + 1).iter().map(|row| row.trial).collect();
        assert_eq!(next, expected);
    }
    assert_eq!(search.best().unwrap().trial, rows(3)[0].trial);
    assert_eq!(search.standings().len(), 6);
    // And nobody trained for longer than that.
    for standing in search.standings() {
        let history = search.trial_path(standing.trial).join("history.csv");
        assert_eq!(fs::read_to_string(history).unwrap().lines().count(), 1 + standing.epochs);
    }
    assert_eq!(halving::ranked(search.rows(), Metric::ValLoss).len(), 6);
}

/// What `search.toml` says in the end, and every checkpoint.
fn ended(path: &Path) -> Vec<Vec<u8>> {
    let mut files = vec![fs::read(path.join("search.toml")).unwrap()];
    for trial in 1..=6 {
        files.push(fs::read(path.join(format!("trial-{trial:02}/history.csv"))).unwrap());
    }
    files
}

/// By the watch: after every epoch, and in the middle of some.
#[test]
fn a_search_that_was_stopped_anywhere_comes_to_the_same_end() {
    let desk = Desk::new();
    let (definition, split) = definition(&AXES, None, Some(3));
    let needed = definition.check(&split).unwrap();
    drop(searched(&desk.path("whole"), &definition, &split, 1));
    let whole = ended(&desk.path("whole"));
    for stride in [1, 2, 5] {
        for threads in [1, 2, 3] {
            let path = desk.path(&format!("s{stride}-{threads}"));
            drop(Search::start(&path, &definition).unwrap());
            let mut rounds = 0;
            loop {
                // Another process.
                let mut search = Search::open(&path).unwrap();
                let epochs = AtomicUsize::new(0);
                let batches = AtomicUsize::new(0);
                let in_epoch = rounds % 3 == 2;
                let search_path = &path;
                let watch = |step: Step<'_>| {
                    let count = match step {
                        Step::Epoch { trial, epochs: done } => {
                            // It is saved already, should the process end now.
                            let history = search_path.join(format!("trial-{trial:02}/history.csv"));
                            let history = fs::read_to_string(history).unwrap();
                            assert_eq!(history.lines().count(), 1 + done);
                            epochs.fetch_add(1, Ordering::Relaxed) + 1
                        }
                        // Every third time in the middle of an epoch.
                        Step::Batch if in_epoch => batches.fetch_add(1, Ordering::Relaxed) / 6,
                        _ => 0,
                    };
                    match count >= stride {
                        true => ControlFlow::Break(()),
                        false => ControlFlow::Continue(()),
                    }
                };
                rounds += 1;
                if search.run(&split, &needed, &resources(threads), &watch).unwrap()
                    == Ended::Finished
                {
                    break;
                }
                assert!(rounds < 100, "it comes no further");
            }
            assert!(rounds > 2, "{rounds}");
            assert!(ended(&path) == whole, "after {stride} epochs on {threads} threads");
        }
    }
}

/// A trial that diverges has no scores, is behind all others, and ends nothing but itself.
#[test]
fn what_diverges_is_a_result() {
    let desk = Desk::new();
    let (mut definition, split) = definition(&["learning-rate=0.03,1e38,0.01"], None, None);
    definition.task = Task {
        optimizer: threadcount::nn::Optimizer::sgd(),
        schedule: threadcount::train::Schedule::Constant,
        epochs: 2,
        ..definition.task
    };
    let mut search = searched(&desk.path("search"), &definition, &split, 2);
    let standings = search.standings();
    assert_eq!(standings.len(), 3);
    let last = standings[2];
    assert_eq!((last.trial, last.rank, last.scores, last.is_finished), (2, None, None, false));
    assert_eq!(standings[0].rank, Some(1));
    assert!(standings[..2].iter().all(|s| s.is_finished && s.epochs == 2 && s.scores.is_some()));
    // It is not tried again.
    let needed = definition.check(&split).unwrap();
    let nothing = |step: Step<'_>| panic!("{step:?}");
    let ended = search.run(&split, &needed, &resources(1), &nothing).unwrap();
    assert_eq!(ended, Ended::Finished);
}

/// What a sample is, so that it is known again.
fn rows(samples: &Samples) -> HashSet<String> {
    (0..samples.len()).map(|i| format!("{:?}", samples.row(i))).collect()
}

#[test]
fn no_recipe_validates_on_what_it_tests() {
    let dataset = dataset();
    let mut changed = 0;
    for recipe in reports::recipes() {
        let own = recipe.task.selection;
        let searched = own.with_own_validation(0.1);
        assert!(!searched.validates_on_test(), "{}", recipe.id);
        let split = searched.apply(&dataset, SEED).unwrap();
        let was = own.apply(&dataset, SEED).unwrap();
        assert_eq!(own.validates_on_test(), rows(&was.validation) == rows(&was.test));
        let [train, validation, test] = [&split.train, &split.validation, &split.test].map(rows);
        assert!(test == rows(&was.test), "{}: other test samples", recipe.id);
        assert!(validation.is_disjoint(&test), "{}", recipe.id);
        assert!(train.is_disjoint(&test) && train.is_disjoint(&validation), "{}", recipe.id);
        assert!(train.is_subset(&rows(&was.train)), "{}", recipe.id);
        if own.validates_on_test() {
            changed += 1;
            let (held_out, of) = (split.validation.len(), was.train.len());
            assert!((held_out as f64 - 0.1 * of as f64).abs() <= 0.5, "{}", recipe.id);
            assert_eq!(held_out + split.train.len(), of, "{}", recipe.id);
        } else {
            assert_eq!(searched, own, "{}", recipe.id);
        }
    }
    assert!(changed >= 8, "{changed}");
}
