//! One training step of every recipe as a session runs it, at its own batch size: each instruction set on
//! one thread, and the best on all. `tests/networks/naive_network.rs` and the golden traces (`tests/golden`) check
//! that the networks compute the right thing.

mod common;

use common::group;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::env;
use std::path::PathBuf;
use std::time::Duration;
use threadcount::bench::{Training, endless};
use threadcount::data::Dataset;
use threadcount::reports;
use threadcount_kernels::machine::machine;
use threadcount_kernels::{Isa, Pool};

fn recipes(criterion: &mut Criterion) {
    let named = env::var_os("THREADCOUNT_DATA").filter(|name| !name.is_empty());
    let folder = named.map(PathBuf::from);
    let dataset = Dataset::open(folder.as_deref()).expect("a data set");
    for recipe in reports::select(&[]).expect("all recipes") {
        let task = endless(&recipe.task);
        let split = task.selection.apply(&dataset, 0).expect("samples");
        let batch = task.batch_size as u64;

        let mut group = group(criterion, &format!("train_step/{}", recipe.id));
        group.throughput(Throughput::Elements(batch));
        let all = machine().physical_cores;
        let solo = Isa::detected().map(|isa| (isa, 1));
        for (isa, threads) in solo.chain((all > 1).then_some((Isa::best(), all))) {
            let pool = Pool::new(isa, threads).expect("threads");
            let mut training = Training::new(&task, &split).expect("a sound recipe");
            group.bench_function(BenchmarkId::new(isa.name(), threads), |bencher| {
                bencher.iter_custom(|times| {
                    let images = times * batch;
                    let stretch = pool
                        .enter(|team| training.run_until(team, |done| done.images >= images))
                        .expect("training that does not diverge");
                    // An epoch's last batch may be smaller, so it takes a step more at times.
                    let share = images as f64 / stretch.images as f64;
                    Duration::from_secs_f64(stretch.seconds * share)
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, recipes);
criterion_main!(benches);
