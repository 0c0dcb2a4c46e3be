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
use threadcount::distributed::{World, in_world};
use threadcount::reports;
use threadcount::train::search::{Definition, Metric, Row, Search, Step, halving, train_for_first};
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
                if search.run(&split, &needed, &resources(threads), &World::one(), &watch).unwrap()
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

/// One process of a search that several ranks train, which rank 0 stops after so many epochs and rungs that it sees.
fn shared(
    path: &Path,
    (definition, split): (&Definition, &Split),
    ranks: usize,
    stop: Option<usize>,
) -> Ended {
    let needed = definition.check(split).unwrap();
    let seen = AtomicUsize::new(0);
    let elsewhere = AtomicUsize::new(0);
    let watch = |step: Step<'_>| match step {
        Step::Batch => ControlFlow::Continue(()),
        Step::Epoch { .. } | Step::Rung(_) => {
            match Some(seen.fetch_add(1, Ordering::Relaxed) + 1) == stop {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        }
    };
    let ended = in_world(ranks, |world| {
        if !world.is_first() {
            train_for_first(world, definition, path, split, &resources(1))?;
            elsewhere.fetch_add(1, Ordering::Relaxed);
            return Ok(None);
        }
        let mut search = Search::open(path)?;
        search.run(split, &needed, &resources(2), world, &watch).map(Some)
    });
    let ended: Vec<_> = ended.into_iter().map(|ended| ended.unwrap()).collect();
    assert_eq!(elsewhere.into_inner(), ranks - 1);
    ended[0].unwrap()
}

/// On two and on three ranks, and taken up with another number of them after a stop at any place.
#[test]
fn a_search_comes_to_the_same_end_on_any_number_of_ranks() {
    let desk = Desk::new();
    let (definition, split) = definition(&AXES, None, Some(3));
    drop(searched(&desk.path("whole"), &definition, &split, 2));
    let whole = ended(&desk.path("whole"));
    let of = (&definition, &split);
    for ranks in [2, 3] {
        let path = desk.path(&format!("r{ranks}"));
        drop(Search::start(&path, &definition).unwrap());
        assert_eq!(shared(&path, of, ranks, None), Ended::Finished);
        assert!(ended(&path) == whole, "{ranks} ranks");
    }
    for stop in [1, 2, 4, 7] {
        let path = desk.path(&format!("s{stop}"));
        drop(Search::start(&path, &definition).unwrap());
        let mut rounds = 0;
        while shared(&path, of, [2, 3, 1][rounds % 3], Some(stop)) == Ended::Interrupted {
            rounds += 1;
            assert!(rounds < 100, "it comes no further");
        }
        assert!(rounds > 0 && ended(&path) == whole, "stopped after {stop}");
    }
}

/// Whatever ends a trial of one rank ends the search of all.
#[test]
fn a_fault_of_a_trial_ends_all_ranks() {
    let desk = Desk::new();
    let (definition, split) = definition(&AXES, None, Some(3));
    let needed = definition.check(&split).unwrap();
    let path = desk.path("search");
    drop(Search::start(&path, &definition).unwrap());
    // No trial can be saved.
    for trial in 1..=6 {
        fs::write(path.join(format!("trial-{trial:02}")), "").unwrap();
    }
    let ended = in_world(3, |world| match world.is_first() {
        true => Search::open(&path)?
            .run(&split, &needed, &resources(1), world, &|_| ControlFlow::Continue(()))
            .map(drop),
        false => train_for_first(world, &definition, &path, &split, &resources(1)),
    });
    assert!(ended.iter().all(Result::is_err), "{ended:?}");
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
    let ended = search.run(&split, &needed, &resources(1), &World::one(), &nothing).unwrap();
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
