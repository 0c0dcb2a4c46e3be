//! Tests of teams on real threads.

use super::*;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};
use std::time::Duration;

#[test]
fn every_task_runs_once_at_any_thread_count() {
    for threads in 1..=5 {
        let pool = Pool::new(Isa::Portable, threads).unwrap();
        pool.enter(|team| {
            for tasks in [0, 1, 2, 3, 7, 64, 1000] {
                let mut counts = vec![0_u32; tasks];
                let parts = Parts::new(&mut counts);
                // SAFETY: each task reaches its own element.
                team.run(tasks, |task, _| unsafe { parts.part(task..task + 1)[0] += 1 });
                assert!(counts.iter().all(|&count| count == 1));
            }
        });
    }
}

/// Phases of changing size, one right after the other: a worker that is late for one must not
/// take a task of the next under the old number.
#[test]
fn phases_follow_each_other() {
    for threads in [2, 4, 7] {
        let pool = Pool::new(Isa::Portable, threads).unwrap();
        pool.enter(|team| {
            let mut random = 1_u32;
            for phase in 0..30_000 {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let tasks = 2 + (random >> 28) as usize;
                let counts: [AtomicUsize; 18] = Default::default();
                team.run(tasks, |task, _| {
                    counts[task].fetch_add(1, Relaxed);
                });
                for (task, count) in counts.iter().enumerate() {
                    let expected = usize::from(task < tasks);
                    assert_eq!(count.load(Relaxed), expected, "phase {phase}, task {task}");
                }
            }
        });
    }
}

#[test]
fn sleepers_wake_up_again() {
    let pool = Pool::new(Isa::Portable, 3).unwrap();
    pool.enter(|team| {
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(60));
            let sum = AtomicUsize::new(0);
            team.run(100, |task, _| {
                sum.fetch_add(task, Relaxed);
            });
            assert_eq!(sum.into_inner(), 4950);
        }
    });
}

#[test]
#[cfg_attr(miri, ignore = "what it waits for is real time")]
fn a_leader_whose_worker_was_late_goes_on_alone_for_a_while() {
    let pool = Pool::new(Isa::Portable, 2).unwrap();
    pool.enter(|team| {
        let leader = std::thread::current().id();
        let shared = |mine: Duration, theirs: Duration| {
            let helped = AtomicUsize::new(0);
            team.run(2, |_, _| {
                if std::thread::current().id() != leader {
                    helped.fetch_add(1, Relaxed);
                    std::thread::sleep(theirs);
                } else {
                    std::thread::sleep(mine);
                }
            });
            helped.into_inner() > 0
        };
        // Until it has come, and the leader has seen it be late often enough. (Beside other programs
        // the leader may be the late one.)
        let (soon, late) = (Duration::from_millis(1), Duration::from_millis(20));
        let crowded = (0..1_000).any(|_| {
            shared(soon, late);
            !team.late_workers.get().lets_share()
        });
        assert!(crowded, "the worker never came, or was never late");
        // Less than a second in all.
        for phase in 0..128 {
            assert!(!shared(Duration::ZERO, late), "phase {phase} after the late one");
        }
        let back = (0..1_000).any(|_| shared(soon, Duration::ZERO));
        assert!(back, "the worker never came again");
    });
}

#[test]
fn a_panic_in_a_task_comes_out_and_the_pool_lives_on() {
    let pool = Pool::new(Isa::Portable, 3).unwrap();
    for _ in 0..20 {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            pool.enter(|team| team.run(50, |task, _| assert!(task != 33, "task 33")));
        }));
        assert!(outcome.is_err());
    }
    assert_eq!(pool.enter(|team| team.threads()), 3);
}

/// A leader that catches the panic finds the team as it was: no task is missing or left over.
#[test]
fn phases_after_a_panic_in_a_task_are_right() {
    let pool = Pool::new(Isa::Portable, 3).unwrap();
    pool.enter(|team| {
        for phase in 0..200 {
            let panics = phase % 3 == 0;
            let counts: [AtomicUsize; 20] = Default::default();
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                team.run(counts.len(), |task, _| {
                    counts[task].fetch_add(1, Relaxed);
                    if panics && task % 7 == 3 {
                        resume_unwind(Box::new(task));
                    }
                });
            }));
            assert_eq!(outcome.is_err(), panics, "phase {phase}");
            if let Err(payload) = outcome {
                assert_eq!(payload.downcast_ref::<usize>().unwrap() % 7, 3);
            }
            assert!(counts.iter().all(|count| count.load(Relaxed) == 1), "phase {phase}");
        }
    });
}

fn refusal<R>(enter: impl FnOnce() -> R) -> String {
    match catch_unwind(AssertUnwindSafe(enter)) {
        Ok(_) => panic!("was let in"),
        Err(payload) => payload.downcast_ref::<&str>().unwrap().to_string(),
    }
}

/// From the leader, from every task on every thread, and by way of another pool.
#[test]
fn a_team_may_not_enter_its_own_pool() {
    for threads in [1, 2, 3] {
        let pool = Pool::new(Isa::Portable, threads).unwrap();
        let other = Pool::new(Isa::Portable, 2).unwrap();
        let check = || {
            let why = refusal(|| pool.enter(|_| ()));
            assert!(why.contains("pass the team on"), "{why}");
        };
        pool.enter(|team| {
            check();
            // A task for each thread, which takes no other before all have come.
            let all = Barrier::new(threads);
            team.run(threads, |_, _| {
                all.wait();
                check();
            });
            other.enter(|team| {
                check();
                let both = Barrier::new(2);
                team.run(2, |_, _| {
                    both.wait();
                    check();
                });
            });
            check();
        });
        assert_eq!(pool.enter(|team| team.threads()), threads, "it can be entered again");
        assert_eq!(other.enter(|team| team.threads()), 2);
    }
}

#[test]
fn a_leader_and_a_task_may_enter_another_pool() {
    let pools = [1, 2, 3].map(|threads| Pool::new(Isa::Portable, threads).unwrap());
    let sum = |pool: &Pool| {
        pool.enter(|team| {
            let sum = AtomicUsize::new(0);
            team.run(100, |task, _| {
                sum.fetch_add(task, Relaxed);
            });
            sum.into_inner()
        })
    };
    for outer in 0..3 {
        for inner in (0..3).filter(|&inner| inner != outer) {
            let both = pools[outer].enter(|team| {
                let from_leader = sum(&pools[inner]);
                // Several tasks at once: they take turns.
                team.run(4, |_, _| assert_eq!(sum(&pools[inner]), 4950));
                from_leader
            });
            assert_eq!(both, 4950);
        }
    }
}

#[test]
fn a_pool_that_is_entered_while_it_panics_is_left() {
    for threads in [1, 2] {
        let pool = Pool::new(Isa::Portable, threads).unwrap();
        for _ in 0..3 {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                pool.enter(|_| resume_unwind(Box::new("the leader")))
            }));
            assert_eq!(outcome.unwrap_err().downcast_ref(), Some(&"the leader"));
        }
        assert_eq!(pool.enter(|team| team.threads()), threads);
    }
}

#[test]
fn threads_of_the_program_take_turns() {
    let pool = Pool::new(Isa::Portable, 3).unwrap();
    let inside = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    pool.enter(|team| {
                        assert!(!inside.swap(true, SeqCst), "two teams of one pool at once");
                        let count = AtomicUsize::new(0);
                        team.run(64, |_, _| {
                            count.fetch_add(1, Relaxed);
                        });
                        assert_eq!(count.into_inner(), 64);
                        inside.store(false, SeqCst);
                    });
                }
            });
        }
    });
}

#[test]
fn what_a_phase_costs_is_measured_once_for_each_pool() {
    let pools = [1, 2, 3].map(|threads| Pool::new(Isa::Portable, threads).unwrap());
    for pool in &pools {
        let measured = AtomicUsize::new(0);
        for _ in 0..3 {
            let cost = pool.enter(|team| {
                let measure = |_: &Team| 7.0 + measured.fetch_add(1, Relaxed) as f64;
                (team.phase_cost(measure), team.phase_cost(measure))
            });
            assert_eq!(cost, if pool.threads() == 1 { (0.0, 0.0) } else { (7.0, 7.0) });
        }
        assert_eq!(measured.into_inner(), usize::from(pool.threads() > 1));
    }
}
