//! The convolutions of the reports, in FLOP/s: each forward, backward-data and backward-weights; and
//! fused with what follows, beside the same work done by one kernel after the other.

mod common;

use common::rows;
use criterion::{Criterion, criterion_group, criterion_main};
use threadcount::bench::convolution::Pass;
use threadcount::bench::fused::{Execution, Fusion};
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

fn fused(criterion: &mut Criterion) {
    let shapes = Shapes::of_reports().expect("sound recipes");
    for fusion in Fusion::ALL {
        for convolution in shapes.largest_fused(fusion) {
            for execution in Execution::ALL {
                let name = format!("conv/{} {}", fusion.kernel(execution), convolution.size());
                rows(criterion, &name, &*convolution.fused_case(fusion, execution), &[]);
            }
        }
    }
}

criterion_group!(benches, convolutions, fused);
criterion_main!(benches);
