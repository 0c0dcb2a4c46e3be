//! What stands between the matrix products, in bytes read and written per second: each operation of the
//! recipes, at the largest size that it has in any of them.

mod common;

use common::rows;
use criterion::{Criterion, criterion_group, criterion_main};
use threadcount::bench::gather::{self, GatherCase, Moving};
use threadcount::bench::shapes::Shapes;

fn sweeps(criterion: &mut Criterion) {
    let shapes = Shapes::of_reports().expect("sound recipes");
    for sweep in shapes.largest_sweeps() {
        for &direction in sweep.directions() {
            let name = format!("elementwise/{} {}", sweep.kernel(direction), sweep.shape());
            rows(criterion, &name, &*sweep.case(direction), &[]);
        }
    }
}

fn batches(criterion: &mut Criterion) {
    for moving in Moving::ALL {
        let name = format!("elementwise/{} {}", moving.kernel(), gather::shape());
        rows(criterion, &name, &GatherCase::new(moving), &[]);
    }
}

criterion_group!(benches, sweeps, batches);
criterion_main!(benches);
