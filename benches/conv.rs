//! The convolutions of the reports, each forward, backward-data and backward-weights, in FLOP/s.

mod common;

use common::rows;
use criterion::{Criterion, criterion_group, criterion_main};
use threadcount::bench::convolution::Pass;
use threadcount::bench::shapes::Shapes;

fn convolutions(criterion: &mut Criterion) {
    let shapes = Shapes::of_reports().expect("sound recipes");
    for convolution in shapes.largest_convolutions() {
        for pass in Pass::ALL {
            let name = format!("conv/{} {}", pass.kernel(), convolution.shape(pass));
            rows(criterion, &name, &*convolution.case(pass), &[]);
        }
    }
}

criterion_group!(benches, convolutions);
criterion_main!(benches);
