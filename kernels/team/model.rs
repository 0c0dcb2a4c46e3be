//! The protocol of a phase under loom, which tries every schedule up to a number of preemptions, and
//! every value that the memory model lets a load return: x86 hides an ordering that is too weak, this
//! does not. Run it with `kernels/sanitize loom`.

use super::*;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// What a task reads and writes: loom ends the model where two threads reach it without an order
/// between them.
struct Memory(Vec<UnsafeCell<usize>>);

// SAFETY: loom watches each access and panics at a race.
unsafe impl Sync for Memory {}

impl Memory {
    fn new(len: usize) -> Self {
        Self((0..len).map(|_| UnsafeCell::new(0)).collect())
    }

    fn get(&self, index: usize) -> usize {
        // SAFETY: loom watches.
        self.0[index].with(|value| unsafe { *value })
    }

    fn set(&self, index: usize, value: usize) {
        // SAFETY: loom watches.
        self.0[index].with_mut(|old| unsafe { *old = value });
    }
}

/// Runs `lead` in every schedule of a team of so many threads, of which loom takes a core away at most
/// `preemptions` times.
fn model(threads: usize, preemptions: usize, lead: impl Fn(&Team) + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(move || {
        let shared = Arc::new(Shared::new(threads));
        let workers: Vec<_> = (1..threads)
            .map(|index| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.serve(index))
            })
            .collect();
        let dismiss = Dismiss(&shared);
        let (blocking, cost) = (*Blocking::of_machine(), OnceLock::new());
        lead(&Team::new(Isa::Portable, Arithmetic::F32, blocking, threads, Some((&shared, &cost))));
        drop(dismiss);
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
}

/// Phases of those numbers of tasks, each of which reads what the leader wrote before the phase and what
/// all tasks of the last one wrote, and writes a word of its own.
fn phases(team: &Team, tasks: &[usize]) {
    let given = Memory::new(1);
    let made: Vec<_> = tasks.iter().map(|&tasks| Memory::new(tasks)).collect();
    // All bodies live to the end and know their phase, so a body that is run in another phase is noticed.
    let bodies: Vec<_> = (0..tasks.len())
        .map(|phase| {
            let (given, made) = (&given, &made);
            move |task: usize, _: &mut Scratch| {
                assert_eq!(given.get(0), phase + 1, "a task of phase {phase} ran in another");
                if let Some(last) = phase.checked_sub(1) {
                    (0..made[last].0.len()).for_each(|task| assert_eq!(made[last].get(task), 1));
                }
                made[phase].set(task, made[phase].get(task) + 1);
            }
        })
        .collect();
    for (phase, body) in bodies.iter().enumerate() {
        given.set(0, phase + 1);
        team.run(tasks[phase], body);
        (0..tasks[phase]).for_each(|task| assert_eq!(made[phase].get(task), 1, "task {task}"));
    }
}

#[test]
fn every_task_is_done_once_and_seen_by_all() {
    model(2, 2, |team| phases(team, &[2, 3]));
}

#[test]
fn late_workers_take_no_task_of_the_next_phase() {
    model(2, 1, |team| phases(team, &[2, 2, 2]));
}

#[test]
fn three_threads() {
    model(3, 1, |team| phases(team, &[2]));
}

#[test]
fn a_team_that_has_no_phase_goes_home() {
    model(3, 3, |_| {});
}

#[test]
fn a_panic_in_a_task_comes_out_and_the_next_phase_is_right() {
    model(2, 2, |team| {
        let first = catch_unwind(AssertUnwindSafe(|| {
            // Without the hook, which would print a line for each schedule.
            team.run(2, |task, _| {
                if task == 1 {
                    resume_unwind(Box::new("task 1"))
                }
            });
        }));
        assert_eq!(first.unwrap_err().downcast_ref(), Some(&"task 1"));
        phases(team, &[2]);
    });
}
