//! What stands between the matrix products, at the sizes of `cse574-cnn` and `cse574-mlp`: the
//! naive twin and ours on every instruction set, one thread, in bytes read and written per second.

mod common;

use common::{assert_close, group, noise};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use threadcount_kernels::update::Adam;
use threadcount_kernels::{
    Activation, Geometry, Isa, Padding, Team, activation, loss, naive, norm, pool, update,
};

/// Images of 28 x 28 x 64 in the large operands: 8 of them are 1.6 MB, larger than a second-level
/// cache.
const IMAGES: usize = 8;

/// One kernel and its twin; both write all of the outputs from NaN.
struct Row<'a> {
    name: &'a str,
    /// Floats read and written.
    floats: usize,
    outputs: usize,
    naive: &'a dyn Fn(&mut [f32]),
    fast: &'a dyn Fn(&Team, &mut [f32]),
}

fn rows(criterion: &mut Criterion) {
    let g = Geometry::new([28, 28, 64], [2, 2], 2, Padding::Valid).expect("2 fits into 28");
    let len = IMAGES * g.in_len();
    let pooled = IMAGES * g.out_pixels() * g.channels;
    let (x, dy) = (noise(1, len), noise(2, len));
    let (gamma, beta) = (noise(3, 64), noise(4, 64));
    let (logits, labels) = (noise(5, 2560), vec![7_u8; 256]);
    let act = Activation::Relu;
    let adam = Adam { learning_rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-7, step: 1 };
    let parameters = 400_000;
    let (params, grads) = (noise(6, parameters), noise(7, parameters));
    let start_adam = |out: &mut [f32]| {
        out[..parameters].copy_from_slice(&params);
        out[parameters..].fill(0.0);
    };

    run(
        criterion,
        &Row {
            name: "relu backward",
            floats: 3 * len,
            outputs: len,
            naive: &|out| {
                out.copy_from_slice(&dy);
                naive::activation::backward(act, &x, out);
            },
            fast: &|team, out| {
                out.copy_from_slice(&dy);
                activation::backward(team, act, &x, out);
            },
        },
    );
    run(
        criterion,
        &Row {
            name: "tanh",
            floats: 2 * len,
            outputs: len,
            naive: &|out| naive::activation::forward(Activation::Tanh, &x, out),
            fast: &|team, out| activation::forward(team, Activation::Tanh, &x, out),
        },
    );
    run(
        criterion,
        &Row {
            name: "max-pool forward",
            floats: len + pooled,
            outputs: pooled,
            naive: &|out| naive::pool::max_forward(&g, &x, out, &mut vec![0; pooled]),
            fast: &|team, out| pool::max_forward(team, &g, &x, out, &mut vec![0; pooled]),
        },
    );
    run(
        criterion,
        &Row {
            name: "batch-norm forward",
            floats: 3 * len,
            outputs: len + 128,
            naive: &|out| {
                let (y, rest) = out.split_at_mut(len);
                let (mean, variance) = rest.split_at_mut(64);
                naive::norm::train_forward(&x, &gamma, &beta, 1e-3, y, mean, variance);
            },
            fast: &|team, out| {
                let (y, rest) = out.split_at_mut(len);
                let (mean, variance) = rest.split_at_mut(64);
                norm::train_forward(team, &x, &gamma, &beta, 1e-3, y, mean, variance);
            },
        },
    );
    run(
        criterion,
        &Row {
            name: "softmax cross-entropy",
            floats: 2 * 2560,
            outputs: 2560 + 256,
            naive: &|out| {
                let (dlogits, losses) = out.split_at_mut(2560);
                naive::loss::softmax_cross_entropy(&logits, 10, &labels, losses, dlogits);
            },
            fast: &|team, out| {
                let (dlogits, losses) = out.split_at_mut(2560);
                loss::softmax_cross_entropy(team, &logits, 10, &labels, losses, dlogits);
            },
        },
    );
    run(
        criterion,
        &Row {
            name: "adam, with the copy of its start",
            floats: 7 * parameters,
            outputs: 3 * parameters,
            naive: &|out| {
                start_adam(out);
                let (params, rest) = out.split_at_mut(parameters);
                let (m, v) = rest.split_at_mut(parameters);
                naive::update::adam(&adam, params, &grads, m, v);
            },
            fast: &|team, out| {
                start_adam(out);
                let (params, rest) = out.split_at_mut(parameters);
                let (m, v) = rest.split_at_mut(parameters);
                update::adam(team, &adam, params, &grads, m, v);
            },
        },
    );
}

fn run(criterion: &mut Criterion, row: &Row) {
    let mut group = group(criterion, &format!("elementwise/{}", row.name));
    group.throughput(Throughput::Bytes(4 * row.floats as u64));
    let mut expected = vec![f32::NAN; row.outputs];
    (row.naive)(&mut expected);
    let mut out = expected.clone();
    group.bench_function("naive", |bencher| bencher.iter(|| (row.naive)(black_box(&mut out))));
    for isa in Isa::detected() {
        let team = Team::solo(isa);
        out.fill(f32::NAN);
        (row.fast)(&team, &mut out);
        assert_close(isa.name(), &out, &expected);
        group.bench_function(BenchmarkId::from_parameter(isa), |bencher| {
            bencher.iter(|| (row.fast)(&team, black_box(&mut out)));
        });
    }
    group.finish();
}

criterion_group!(benches, rows);
criterion_main!(benches);
