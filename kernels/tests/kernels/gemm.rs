//! GEMM against its accuracy contract for random data, on every instruction set: `|C - ref| <= 8 eps
//! (|alpha| |A||B| + |beta||C|)`, the reference summed in f64. Outputs start as NaN where they must not
//! be read. (Other data: `products`.)

use crate::common::{assert_close, noise, on_every_isa, same_bits_at_any_thread_count};
use threadcount_kernels::gemm::{Blocking, Epilogue, ThreadCosts, Write, gemm, gemm_with};
use threadcount_kernels::{Activation, Mat, MatMut, Team, naive};

/// Small blocks, so that small matrices reach every edge of every loop.
const TINY: Blocking = Blocking {
    kc: 5,
    slice_blocks: 2,
    // Less than a panel of A takes, so that it is copied.
    l1: 1 << 10,
    l2: 1 << 16,
    nc: 64,
    copy_b_rows: 20,
    buffer: 500,
    thread_costs: Some(ThreadCosts::NONE),
};

/// One product to check.
#[derive(Clone, Copy, Debug)]
struct Case {
    m: usize,
    n: usize,
    k: usize,
    alpha: f32,
    write: Write,
    a_transposed: bool,
    b_transposed: bool,
    c_transposed: bool,
}

impl Case {
    fn plain(m: usize, n: usize, k: usize) -> Self {
        let (alpha, write) = (1.0, Write::Set);
        let (a_transposed, b_transposed, c_transposed) = (false, false, false);
        Self { m, n, k, alpha, write, a_transposed, b_transposed, c_transposed }
    }
}

/// A `rows x cols` view of data that lies by row, or by column if transposed.
fn view(data: &[f32], rows: usize, cols: usize, transposed: bool) -> Mat<'_> {
    if transposed { Mat::new(data, cols, rows).t() } else { Mat::new(data, rows, cols) }
}

/// The product in f64 and the contract's bound, element by element.
fn reference(case: Case, a: Mat, b: Mat, old_c: Mat) -> Vec<(f64, f64)> {
    let alpha = f64::from(case.alpha);
    let beta = match case.write {
        Write::Set => 0.0,
        Write::Add { beta } => f64::from(beta),
    };
    let mut expected = Vec::with_capacity(case.m * case.n);
    for i in 0..case.m {
        for j in 0..case.n {
            let (mut sum, mut size) = (0.0, 0.0);
            for p in 0..case.k {
                let product = f64::from(a.at(i, p)) * f64::from(b.at(p, j));
                sum += product;
                size += product.abs();
            }
            let old = if beta == 0.0 { 0.0 } else { beta * f64::from(old_c.at(i, j)) };
            let eps = f64::from(f32::EPSILON);
            expected.push((alpha * sum + old, 8.0 * eps * (alpha.abs() * size + old.abs())));
        }
    }
    expected
}

/// Checks one product on every instruction set.
fn check(blocking: &Blocking, case: Case, fill: impl Fn(u64, usize) -> Vec<f32>) {
    let Case { m, n, k, alpha, write, .. } = case;
    let (a, b) = (fill(1, m * k), fill(2, k * n));
    let old_c = match write {
        Write::Set => vec![f32::NAN; m * n],
        Write::Add { .. } => fill(3, m * n),
    };
    let (a, b) = (view(&a, m, k, case.a_transposed), view(&b, k, n, case.b_transposed));
    let expected = reference(case, a, b, view(&old_c, m, n, case.c_transposed));
    on_every_isa(|team| {
        let mut c = old_c.clone();
        let target = if case.c_transposed {
            MatMut::new(&mut c, n, m).t()
        } else {
            MatMut::new(&mut c, m, n)
        };
        gemm_with(team, blocking, alpha, a, b, write, target, Epilogue::None);
        let c = view(&c, m, n, case.c_transposed);
        for (index, &(value, bound)) in expected.iter().enumerate() {
            let (i, j) = (index / n, index % n);
            let error = (f64::from(c.at(i, j)) - value).abs();
            assert!(error <= bound, "{}: {case:?} at {i}, {j}: {error:e} > {bound:e}", team.isa());
        }
    });
}

const SIZES: [usize; 12] = [0, 1, 2, 5, 7, 13, 14, 15, 16, 17, 33, 67];

#[test]
fn every_edge_with_tiny_blocks() {
    for m in SIZES {
        for n in [0, 1, 3, 4, 8, 9, 10, 16, 31, 32, 33, 47, 48, 49, 65] {
            for k in [0, 1, 2, 4, 5, 6, 10, 11, 21, 53] {
                check(&TINY, Case::plain(m, n, k), noise);
            }
        }
    }
}

#[test]
fn every_size_with_the_real_blocks() {
    for (m, n, k) in [
        (251, 31, 255),
        (252, 32, 256),
        (253, 33, 257),
        (1, 10, 784),
        (32, 10, 784),
        (784, 10, 32),
        (97, 101, 1021),
        (9, 64, 4999),
        (505, 2, 3),
        (1, 1, 9000),
    ] {
        check(Blocking::of_machine(), Case::plain(m, n, k), noise);
    }
}

#[test]
fn transposes_scales_and_accumulation() {
    for bits in 0..8 {
        let on = |bit: usize| bits >> bit & 1 == 1;
        for (alpha, write) in [
            (1.0, Write::Set),
            (-0.75, Write::Set),
            (1.0, Write::Add { beta: 1.0 }),
            (2.5, Write::Add { beta: -0.5 }),
            (0.0, Write::Add { beta: 0.0 }),
        ] {
            for (m, n, k) in [(3, 5, 7), (29, 35, 23), (15, 64, 12), (64, 10, 41)] {
                let case = Case {
                    m,
                    n,
                    k,
                    alpha,
                    write,
                    a_transposed: on(0),
                    b_transposed: on(1),
                    c_transposed: on(2),
                };
                check(&TINY, case, noise);
                check(Blocking::of_machine(), case, noise);
            }
        }
    }
}

#[test]
fn general_strides() {
    on_every_isa(|team| {
        let (m, n, k) = (19, 37, 11);
        let (a, b) = (noise(1, m * k * 6), noise(2, k * n * 6));
        let mut c = noise(3, m * n * 6);
        let (a, b) = (Mat::strided(&a, m, k, 3 * k, 2), Mat::strided(&b, k, n, 2, 2 * k + 1));
        let old = c.clone();
        let mut expected = c.clone();
        let strided = |c| MatMut::strided(c, m, n, 2 * n + 3, 2);
        naive::gemm::gemm(1.0, a, b, Write::Set, strided(&mut expected), Epilogue::None);
        gemm(team, 1.0, a, b, Write::Set, strided(&mut c), Epilogue::None);
        assert_close(&c, &expected, 1e-5, 1e-5, "strided C");
        // What lies between the elements is untouched.
        let untouched = (0..c.len()).filter(|&at| {
            let (i, rest) = (at / (2 * n + 3), at % (2 * n + 3));
            i >= m || rest % 2 == 1 || rest / 2 >= n
        });
        untouched.for_each(|at| assert_eq!(c[at].to_bits(), old[at].to_bits()));
    });
}

#[test]
fn long_sums_of_one_sign_keep_the_contract() {
    // All products positive: the sums grow, and with them every rounding error, where random signs
    // would cancel.
    let positive =
        |seed, len| noise(seed, len).iter().map(|x| 0.5 + 0.5 * x.abs()).collect::<Vec<_>>();
    for k in [4096, 4097, 10_000, 65_536] {
        check(Blocking::of_machine(), Case::plain(14, 64, k), positive);
        check(Blocking::of_machine(), Case::plain(14, 64, k), noise);
    }
}

#[test]
fn epilogues() {
    let activations = [
        Activation::Linear,
        Activation::Relu,
        Activation::LeakyRelu { slope: 0.1 },
        Activation::Sigmoid,
        Activation::Tanh,
    ];
    on_every_isa(|team| {
        // The last is computed transposed where B lies by column: with a bias for each row, and three
        // vectors of columns left over.
        let sizes = [(1, 1, 0), (5, 10, 3), (28, 64, 40), (33, 47, 13), (40, 300, 200)];
        for (m, n, k) in sizes {
            let (a, b) = (noise(1, m * k), noise(2, k * n));
            let (bias, y) = (noise(3, n), noise(4, m * n));
            let a = Mat::new(&a, m, k);
            for (activation, b) in activations.into_iter().flat_map(|activation| {
                [Mat::new(&b, k, n), Mat::new(&b, n, k).t()].map(|b| (activation, b))
            }) {
                for epilogue in [
                    Epilogue::Bias { bias: &bias, activation },
                    Epilogue::Derivative { y: Mat::new(&y, m, n), activation },
                ] {
                    for (alpha, blocking) in [
                        (1.0, &TINY),
                        (1.5, &TINY),
                        (1.0, Blocking::of_machine()),
                        (1.5, Blocking::of_machine()),
                    ] {
                        let (mut c, mut expected) = (vec![f32::NAN; m * n], vec![0.0; m * n]);
                        let twin = MatMut::new(&mut expected, m, n);
                        naive::gemm::gemm(alpha, a, b, Write::Set, twin, epilogue);
                        let target = MatMut::new(&mut c, m, n);
                        gemm_with(team, blocking, alpha, a, b, Write::Set, target, epilogue);
                        let absolute = 3e-6 + 1e-7 * k as f32;
                        assert_close(&c, &expected, 3e-5, absolute, &format!("{epilogue:?}"));
                    }
                }
            }
        }
    });
}

#[test]
fn a_nan_in_an_operand_reaches_c() {
    on_every_isa(|team| {
        let (m, n, k) = (15, 33, 20);
        let (mut a, b) = (noise(1, m * k), noise(2, k * n));
        a[7 * k + 3] = f32::NAN;
        let (bias, mut c) = (vec![0.0; n], vec![0.0; m * n]);
        let epilogue = Epilogue::Bias { bias: &bias, activation: Activation::Relu };
        let (a, b) = (Mat::new(&a, m, k), Mat::new(&b, k, n));
        gemm(team, 1.0, a, b, Write::Set, MatMut::new(&mut c, m, n), epilogue);
        for (i, row) in c.chunks(n).enumerate() {
            assert!(row.iter().all(|x| x.is_nan() == (i == 7)), "row {i}");
        }
    });
}

#[test]
fn same_bits_with_any_number_of_threads() {
    for (m, n, k) in [(256, 130, 784), (97, 40, 200), (9, 64, 9000), (300, 300, 5000)] {
        let (a, b, bias) = (noise(1, m * k), noise(2, k * n), noise(3, n));
        same_bits_at_any_thread_count(|team| {
            let mut c = vec![f32::NAN; m * n];
            let epilogue = Epilogue::Bias { bias: &bias, activation: Activation::Tanh };
            let (a, b) = (Mat::new(&a, m, k), Mat::new(&b, k, n));
            gemm(team, 1.0, a, b, Write::Set, MatMut::new(&mut c, m, n), epilogue);
            c
        });
    }
}

#[test]
#[should_panic(expected = "the columns of A and the rows of B")]
fn refuses_shapes_that_do_not_fit() {
    let team = Team::solo(threadcount_kernels::Isa::Portable);
    let (a, mut c) = ([0.0; 6], [0.0; 4]);
    let (a, b) = (Mat::new(&a, 2, 3), Mat::new(&a, 2, 3));
    gemm(&team, 1.0, a, b, Write::Set, MatMut::new(&mut c, 2, 2), Epilogue::None);
}
