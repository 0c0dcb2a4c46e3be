//! Matrix products of the reports' dense layers: the naive twin, matrixmultiply, and ours on every
//! instruction set of this CPU, on one thread. Each row's result is checked before it is timed.

mod common;

use common::{assert_close, group, noise};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use threadcount_kernels::gemm::{Epilogue, Write, gemm};
use threadcount_kernels::{Isa, Mat, MatMut, Team, naive};

/// `C = A B` for a layer of `inputs x outputs`: one of the three products of a training step.
#[derive(Clone, Copy)]
struct Product {
    name: &'static str,
    m: usize,
    n: usize,
    k: usize,
}

impl Product {
    fn of_layer(batch: usize, inputs: usize, outputs: usize) -> [Self; 3] {
        [
            Self { name: "forward", m: batch, n: outputs, k: inputs },
            Self { name: "dW", m: inputs, n: outputs, k: batch },
            Self { name: "dX", m: batch, n: inputs, k: outputs },
        ]
    }

    fn a<'a>(&self, data: &'a [f32]) -> Mat<'a> {
        let Self { m, k, .. } = *self;
        if self.name == "dW" { Mat::new(data, k, m).t() } else { Mat::new(data, m, k) }
    }

    fn b<'a>(&self, data: &'a [f32]) -> Mat<'a> {
        let Self { n, k, .. } = *self;
        if self.name == "dX" { Mat::new(data, n, k).t() } else { Mat::new(data, k, n) }
    }
}

fn products(criterion: &mut Criterion) {
    let square = Product { name: "square", m: 512, n: 512, k: 512 };
    let layers = [(256, 784, 512), (64, 1568, 256), (32, 784, 40), (64, 512, 10)];
    let products = layers.into_iter().flat_map(|(b, i, o)| Product::of_layer(b, i, o));
    for product in std::iter::once(square).chain(products) {
        let Product { name, m, n, k } = product;
        let mut group = group(criterion, &format!("gemm/{name} {m}x{n}x{k}"));
        group.throughput(Throughput::Elements(2 * (m * n * k) as u64));
        let (a, b) = (noise(1, m * k), noise(2, k * n));
        let (a, b) = (product.a(&a), product.b(&b));
        let mut expected = vec![0.0; m * n];
        naive::gemm::gemm(1.0, a, b, Write::Set, MatMut::new(&mut expected, m, n), Epilogue::None);

        let mut row = |name: &str, run: &mut dyn FnMut(&mut [f32])| {
            let mut c = vec![f32::NAN; m * n];
            run(&mut c);
            assert_close(name, &c, &expected);
            group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                bencher.iter(|| run(black_box(&mut c)));
            });
        };
        row("naive", &mut |c| {
            naive::gemm::gemm(1.0, a, b, Write::Set, MatMut::new(c, m, n), Epilogue::None);
        });
        row("matrixmultiply", &mut |c| matrixmultiply_gemm(a, b, c));
        for isa in Isa::detected() {
            let team = Team::solo(isa);
            row(isa.name(), &mut |c| {
                gemm(&team, 1.0, a, b, Write::Set, MatMut::new(c, m, n), Epilogue::None);
            });
        }
        group.finish();
    }
}

fn matrixmultiply_gemm(a: Mat, b: Mat, c: &mut [f32]) {
    let (m, n, k) = (a.rows(), b.cols(), a.cols());
    let strides = |m: &Mat| (m.rs() as isize, m.cs() as isize);
    let ((rsa, csa), (rsb, csb)) = (strides(&a), strides(&b));
    assert!(c.len() == m * n);
    // SAFETY: both views were checked against their slices when they were made, and C has m x n
    // elements by row.
    unsafe {
        let (a, b, rsc) = (a.as_ptr(), b.as_ptr(), n as isize);
        matrixmultiply::sgemm(m, k, n, 1.0, a, rsa, csa, b, rsb, csb, 0.0, c.as_mut_ptr(), rsc, 1);
    }
}

criterion_group!(benches, products);
criterion_main!(benches);
