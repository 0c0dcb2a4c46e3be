//! Three kernels on a team of threads, each beside its twin in plain loops:
//! `cargo run --release -p threadcount-kernels --example kernels`.

use threadcount_kernels::gemm::Write;
use threadcount_kernels::{
    Activation, Geometry, Isa, Mat, MatMut, Padding, Pool, activation, conv, gemm, machine, naive,
};

fn main() {
    let cores = machine::machine().physical_cores;
    let pool = Pool::new(Isa::best(), cores).expect("the system starts the threads");
    println!("{} on {cores} threads; largest difference from the twin:", pool.isa());

    // A product: C = 0.5 A B, A of 100 x 200 and B of 200 x 50.
    let (a, b) = (waves(100 * 200, 0.1), waves(200 * 50, 0.2));
    let (a, b) = (Mat::new(&a, 100, 200), Mat::new(&b, 200, 50));
    let (mut c, mut expected) = (vec![0.0; 100 * 50], vec![0.0; 100 * 50]);
    let none = gemm::Epilogue::None;
    let c_view = MatMut::new(&mut c, 100, 50);
    pool.enter(|team| gemm::gemm(team, 0.5, a, b, Write::Set, c_view, none));
    naive::gemm::gemm(0.5, a, b, Write::Set, MatMut::new(&mut expected, 100, 50), none);
    report("product", &c, &expected, 1e-3);

    // A convolution: 8 images of 14 x 14 pixels and 3 channels, 16 filters of 3 x 3, then ReLU.
    let geometry = Geometry::new([14, 14, 3], [3, 3], 1, Padding::Same).expect("the filter fits");
    let (x, w, bias) = (waves(8 * geometry.in_len(), 0.3), waves(27 * 16, 0.7), waves(16, 1.1));
    let convolution = conv::Convolution {
        geometry: &geometry,
        x: &x,
        w: &w,
        bias: &bias,
        activation: Activation::Relu,
    };
    let len = 8 * geometry.out_pixels() * 16;
    let (mut y, mut expected) = (vec![0.0; len], vec![0.0; len]);
    pool.enter(|team| conv::forward(team, &convolution, &mut y));
    naive::conv::forward(&convolution, &mut expected);
    report("convolution", &y, &expected, 1e-3);

    // An elementwise kernel: the logistic function, in place.
    let (mut y, mut expected) = (waves(100_000, 0.01), waves(100_000, 0.01));
    pool.enter(|team| activation::forward_in_place(team, Activation::Sigmoid, &mut y));
    naive::activation::forward_in_place(Activation::Sigmoid, &mut expected);
    report("logistic function", &y, &expected, 1e-6);
}

/// `len` floats in -1 ..= 1.
fn waves(len: usize, step: f32) -> Vec<f32> {
    (0..len).map(|i| (i as f32 * step).sin()).collect()
}

/// Prints the first elements and the largest difference.
///
/// # Panics
/// If the difference is above the bound.
fn report(what: &str, actual: &[f32], expected: &[f32], bound: f32) {
    let difference = actual.iter().zip(expected).map(|(a, e)| (a - e).abs()).fold(0.0, f32::max);
    println!("{what:18} {difference:8.1e}    {:?} ...", &actual[..3]);
    assert!(difference <= bound, "{what}: {difference} is above {bound}");
}
