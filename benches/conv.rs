//! The five convolutions of the reports, each forward, backward-data and backward-weights: the
//! naive twin on one image, and ours on every instruction set on a batch of 64, one thread.

mod common;

use common::{assert_close, group, noise};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use threadcount_kernels::{Activation, Geometry, Isa, Padding, Team, conv, naive};

const BATCH: usize = 64;

fn convolutions(criterion: &mut Criterion) {
    for (input, filters, padding) in [
        ([28, 28, 1], 32, Padding::Valid),
        ([13, 13, 32], 64, Padding::Valid),
        ([5, 5, 64], 64, Padding::Valid),
        ([28, 28, 1], 64, Padding::Same),
        ([14, 14, 64], 32, Padding::Same),
    ] {
        let g = Geometry::new(input, [3, 3], 1, padding).expect("a window inside the image");
        let x = noise(1, BATCH * g.in_len());
        let w = noise(2, g.window_len() * filters);
        let bias = noise(3, filters);
        let dz = noise(4, BATCH * g.out_pixels() * filters);
        // One image of the twin is enough to check the first of ours; it takes a while.
        let (x1, dz1) = (&x[..g.in_len()], &dz[..g.out_pixels() * filters]);
        let act = Activation::Relu;
        let passes: [(&str, &Twin, &Fast); 3] = [
            (
                "forward",
                &|out| naive::conv::forward(&g, x1, &w, &bias, act, out),
                &|team, n, out| {
                    conv::forward(team, &g, &x[..n * g.in_len()], &w, &bias, act, out);
                },
            ),
            (
                "backward-data",
                &|out| naive::conv::backward_data(&g, dz1, &w, out),
                &|team, n, out| {
                    conv::backward_data(team, &g, &dz[..n * g.out_pixels() * filters], &w, out);
                },
            ),
            (
                "backward-weights",
                &|out| {
                    let (dw, db) = out.split_at_mut(w.len());
                    naive::conv::backward_weights(&g, x1, dz1, dw, db);
                },
                &|team, n, out| {
                    let (dw, db) = out.split_at_mut(w.len());
                    let (x, dz) = (&x[..n * g.in_len()], &dz[..n * g.out_pixels() * filters]);
                    conv::backward_weights(team, &g, x, dz, dw, db);
                },
            ),
        ];
        for (pass, twin, fast) in passes {
            let out_len = |n: usize| match pass {
                "forward" => n * dz1.len(),
                "backward-data" => n * x1.len(),
                _ => w.len() + filters,
            };
            let [h, width, channels] = input;
            let name = format!("conv/{pass} {channels}->{filters} on {h}x{width}");
            let mut group = group(criterion, &name);
            let flops = 2 * g.out_pixels() * g.window_len() * filters;
            let mut expected = vec![f32::NAN; out_len(1)];
            twin(&mut expected);
            group.throughput(Throughput::Elements(flops as u64));
            group
                .bench_function("naive", |bencher| bencher.iter(|| twin(black_box(&mut expected))));
            group.throughput(Throughput::Elements((flops * BATCH) as u64));
            for isa in Isa::detected() {
                let team = Team::solo(isa);
                let mut first = vec![f32::NAN; out_len(1)];
                fast(&team, 1, &mut first);
                assert_close(isa.name(), &first, &expected);
                let mut out = vec![f32::NAN; out_len(BATCH)];
                group.bench_function(BenchmarkId::from_parameter(isa), |bencher| {
                    bencher.iter(|| fast(&team, BATCH, black_box(&mut out)));
                });
            }
            group.finish();
        }
    }
}

/// Runs the twin on one image.
type Twin<'a> = dyn Fn(&mut [f32]) + 'a;
/// Runs the kernel on that many images.
type Fast<'a> = dyn Fn(&Team, usize, &mut [f32]) + 'a;

criterion_group!(benches, convolutions);
criterion_main!(benches);
