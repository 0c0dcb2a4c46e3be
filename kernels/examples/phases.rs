//! What a phase costs on this machine, for teams of 1 to 64 threads:
//! `cargo run --release -p threadcount-kernels --example phases`.
//!
//! The columns: the time of a phase of one empty task for each thread, and of a phase of 256 tasks of
//! 4 us, both in microseconds and medians; and how many times as long the second phase takes as its
//! tasks would take if they were spread evenly over the cores. Printed before them: the cost of a cache line
//! that two threads write in turn. Measure on a quiet machine: beside other programs the leader does
//! phases alone.

use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicUsize, Ordering::*};
use std::thread;
use std::time::Instant;
use threadcount_kernels::{Isa, Pool, machine};

/// Nanoseconds for a cache line to get from one thread to another: the mean of a hundred round trips. Of
/// 400 such means, the 5 % quantile counts, as other programs only add time.
fn line() -> f64 {
    const TURNS: usize = 100;
    let word = AtomicUsize::new(0);
    let play = |parity: usize| {
        for turn in (parity..2 * TURNS).step_by(2) {
            let mut spins = 0;
            while word.load(Acquire) != turn {
                spins += 1;
                // The other thread may have no core: without a yield it would wait for a time slice.
                if spins % 1_000 == 0 { thread::yield_now() } else { spin_loop() }
            }
            word.store(turn + 1, Release);
        }
    };
    quantile(400, 0.05, || {
        word.store(0, Relaxed);
        thread::scope(|scope| {
            let other = scope.spawn(|| play(1));
            // So that the start of the other thread is not measured.
            thread::sleep(std::time::Duration::from_micros(200));
            let start = Instant::now();
            play(0);
            let nanoseconds = start.elapsed().as_secs_f64() * 1e9 / (2 * TURNS) as f64;
            other.join().expect("it only counts");
            nanoseconds
        })
    })
}

fn quantile(samples: usize, part: f64, measure: impl FnMut() -> f64) -> f64 {
    let mut seen: Vec<f64> = std::iter::repeat_with(measure).take(samples).collect();
    *seen.select_nth_unstable_by((samples as f64 * part) as usize, f64::total_cmp).1
}

fn median(samples: usize, measure: impl FnMut() -> f64) -> f64 {
    quantile(samples, 0.5, measure)
}

/// A dependent chain: as long on every ISA.
fn work(steps: usize) {
    let mut x = black_box(1.0_f32);
    for _ in 0..steps {
        x = x * 0.999 + 1e-3;
    }
    black_box(x);
}

fn main() {
    println!("one line from thread to thread: {:.0} ns", line());
    let cores = machine::machine().available_threads;
    let micros = |run: &mut dyn FnMut()| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64() * 1e6
    };
    let task = median(1_000, || micros(&mut || work(2_000)));
    println!("{cores} cores, a task of {task:.1} us\n");
    println!("threads    empty    256 tasks    times the tasks alone");
    for threads in [1, 2, 4, 8, 16, 32, 64] {
        let pool = Pool::new(Isa::Portable, threads).expect("threads");
        let (empty, full) = pool.enter(|team| {
            let empty = || micros(&mut || team.run(threads, |_, _| ()));
            let full = || micros(&mut || team.run(256, |_, _| work(2_000)));
            (median(500, empty), median(100, full))
        });
        let ideal = task * 256.0 / cores.min(threads) as f64;
        println!("{threads:7} {empty:8.2} {full:12.0} {:24.2}", full / ideal);
    }
}
