//! One training step of every recipe at its own batch size: each instruction set on one thread, and
//! the best on all. The first step's loss is compared among the rows before anything is timed; that
//! the networks compute the right thing is the golden traces' matter (`tests/golden`).

mod common;

use common::group;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::time::Instant;
use threadcount::bench::noise;
use threadcount::nn::{BatchKey, Network};
use threadcount::reports::{self, SIDE};
use threadcount_kernels::machine::machine;
use threadcount_kernels::{Isa, Pool};

const KEY: BatchKey = BatchKey { epoch: 0, first_sample: 0 };

fn recipes(criterion: &mut Criterion) {
    for recipe in reports::select(&[]).expect("all recipes") {
        let task = &recipe.task;
        let shape = task.input.shape(SIDE, SIDE);
        let (n, optimizer) = (task.batch_size, task.optimizer);
        let x: Vec<f32> = noise(1, n * SIDE * SIDE).iter().map(|x| x.abs()).collect();
        let labels: Vec<u8> = (0..n).map(|i| (i % 2) as u8).collect();
        let build = || {
            Network::build(shape, &task.layers, task.loss, optimizer, n, 0).expect("a sound recipe")
        };

        let mut group = group(criterion, &format!("train_step/{}", recipe.id));
        group.throughput(Throughput::Elements(n as u64));
        let all = machine().physical_cores;
        let solo = Isa::detected().map(|isa| (isa, 1));
        let mut first_loss = None;
        for (isa, threads) in solo.chain((all > 1).then_some((Isa::best(), all))) {
            let pool = Pool::new(isa, threads).expect("threads");
            let mut network = build();
            let step = |network: &mut Network, times: u64| {
                pool.enter(|team| {
                    let start = Instant::now();
                    let mut loss = 0.0;
                    for _ in 0..times {
                        let result = network.train_batch(team, &x, &labels, KEY);
                        loss = result.expect("a batch that fits").loss_sum;
                    }
                    (loss, start.elapsed())
                })
            };
            let (loss, _) = step(&mut network, 1);
            let expected: f64 = *first_loss.get_or_insert(loss);
            let fits = (loss - expected).abs() <= 1e-4 * expected.abs().max(1.0);
            assert!(fits, "{}: {isa} begins with loss {loss}, not {expected}", recipe.id);
            group.bench_function(BenchmarkId::new(isa.name(), threads), |bencher| {
                bencher.iter_custom(|times| step(&mut network, times).1);
            });
        }
        group.finish();
    }
}

criterion_group!(benches, recipes);
criterion_main!(benches);
