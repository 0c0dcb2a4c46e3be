//! What the benches share: the rows of a case, each checked against the twin before it is timed.
#![allow(dead_code, reason = "each bench uses its share")]

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use std::hint::black_box;
use std::time::{Duration, Instant};
use threadcount::bench::{Case, Combine, Pieces, Work, agree, twin_on_all_cores, untouched};
use threadcount_kernels::machine::machine;
use threadcount_kernels::{Isa, Mat, Pool};

/// Work of the naive row: the twin of some rows or images, where all of them would take seconds.
const NAIVE_WORK: f64 = 2e7;

/// Another library's matrix product.
pub struct Peer {
    /// Its name.
    pub name: &'static str,
    /// The threads that `run` uses.
    pub threads: usize,
    /// How it is called.
    pub run: Box<Sgemm>,
}

/// `C = A B`, with C by row.
pub type Sgemm = dyn Fn(Mat, Mat, &mut [f32]);

/// One thread, and all of the physical cores.
pub fn thread_counts() -> Vec<usize> {
    let mut counts = vec![1, machine().physical_cores];
    counts.dedup();
    counts
}

/// A group that is short enough to be run while one waits.
pub fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(20);
    group.warm_up_time(Duration::from_millis(100));
    group.measurement_time(Duration::from_millis(500));
    group
}

/// All rows of a case, in work per second: the naive twin on one thread, the twin spread over all
/// by rayon, ours on every instruction set with one thread and with all, and the peers.
pub fn rows(criterion: &mut Criterion, name: &str, case: &dyn Case, peers: &[Peer]) {
    let mut group = group(criterion, name);
    let mut expected = untouched(case.outputs());
    twin_on_all_cores(case, &mut expected);

    let Pieces { count, combine } = case.pieces();
    let share = (NAIVE_WORK / case.work().amount()).min(1.0);
    let pieces = ((share * count as f64) as usize).max(1);
    let mut out = untouched(case.outputs());
    case.prepare(&mut out);
    let len = match combine {
        Combine::Beside => out.len() / count * pieces,
        Combine::Added => out.len(),
    };
    group.throughput(throughput(case, pieces));
    group.bench_function("naive", |bencher| {
        bencher.iter(|| case.twin(0..pieces, black_box(&mut out[..len])));
    });
    group.throughput(throughput(case, count));
    if count > 1 {
        group.bench_function("naive on rayon", |bencher| {
            bencher.iter(|| twin_on_all_cores(case, black_box(&mut out)));
        });
    }
    for isa in Isa::detected() {
        for threads in thread_counts() {
            let pool = Pool::new(isa, threads).expect("threads");
            case.prepare(&mut out);
            pool.enter(|team| case.run(team, &mut out));
            case.gather(&mut out);
            check(isa.name(), &out, &expected);
            group.bench_function(BenchmarkId::new(isa.name(), threads), |bencher| {
                bencher.iter_custom(|times| {
                    pool.enter(|team| {
                        let start = Instant::now();
                        for _ in 0..times {
                            case.run(team, black_box(&mut out));
                        }
                        start.elapsed()
                    })
                });
            });
        }
    }
    let Some((a, b)) = case.product() else { return group.finish() };
    for peer in peers {
        out.fill(f32::NAN);
        (peer.run)(a, b, &mut out);
        check(peer.name, &out, &expected);
        group.bench_function(BenchmarkId::new(peer.name, peer.threads), |bencher| {
            bencher.iter(|| (peer.run)(a, b, black_box(&mut out)));
        });
    }
    group.finish();
}

fn throughput(case: &dyn Case, pieces: usize) -> Throughput {
    let share = pieces as f64 / case.pieces().count as f64;
    match case.work() {
        Work::Flops(flops) => Throughput::Elements((flops * share) as u64),
        Work::Bytes(bytes) => Throughput::Bytes((bytes * share) as u64),
    }
}

fn check(row: &str, actual: &[f32], expected: &[f32]) {
    if let Err(fault) = agree(actual, expected) {
        panic!("{row}: {fault}");
    }
}
