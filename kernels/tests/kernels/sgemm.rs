//! [`sgemm`] against its twin, and the same bits wherever it is called from: alone, inside a team,
//! inside a task, from several threads at once.

use crate::common::{assert_close, bits, noise, untouched};
use std::thread;
use threadcount_kernels::gemm::{Epilogue, Write};
use threadcount_kernels::{Isa, Mat, MatMut, Pool, naive, sgemm};

/// Large enough for the pool: 2^22 multiply-adds and more. The first two products wake it whatever that
/// costs.
const LARGE: [usize; 3] = [190, 170, 150];

fn product([m, n, k]: [usize; 3]) -> Vec<f32> {
    let (a, b, mut c) = (noise(1, m * k), noise(2, k * n), untouched(m * n));
    sgemm(Mat::new(&a, m, k), Mat::new(&b, k, n), MatMut::new(&mut c, m, n));
    c
}

fn twin([m, n, k]: [usize; 3]) -> Vec<f32> {
    let (a, b, mut c) = (noise(1, m * k), noise(2, k * n), untouched(m * n));
    let (a, b, c_view) = (Mat::new(&a, m, k), Mat::new(&b, k, n), MatMut::new(&mut c, m, n));
    naive::gemm::gemm(1.0, a, b, Write::Set, c_view, Epilogue::None);
    c
}

#[test]
fn is_its_twin() {
    let shapes = [0, 1, 2, 17].into_iter().flat_map(|m| {
        [0, 1, 3, 33].into_iter().flat_map(move |n| [0, 1, 5, 300].map(|k| [m, n, k]))
    });
    for shape in shapes.chain([LARGE, [1 << 11, 1, 1 << 11]]) {
        let sum = shape[2] as f32;
        // Both round: the contract's 8 eps for each, at the size that a sum of random products has at
        // most, and the twin's one running sum.
        let bound = f32::EPSILON * (8.0 * sum + sum * sum.sqrt());
        assert_close(&product(shape), &twin(shape), 0.0, bound, &format!("{shape:?}"));
    }
}

#[test]
fn strided_and_transposed_operands_give_the_same_bits() {
    for [m, n, k] in [[5, 7, 9], LARGE] {
        let (a, b) = (noise(1, m * k), noise(2, k * n));
        let mut a_by_column = vec![0.0; m * k];
        // Rows of B stand 3 elements apart, and its columns 2.
        let (rs, mut b_strided) = (2 * n + 3, vec![f32::NAN; k * (2 * n + 3)]);
        (0..m * k).for_each(|at| a_by_column[at % k * m + at / k] = a[at]);
        (0..k * n).for_each(|at| b_strided[at / n * rs + at % n * 2] = b[at]);
        let mut c = untouched(m * n);
        let (a, b) = (Mat::new(&a_by_column, k, m).t(), Mat::strided(&b_strided, k, n, rs, 2));
        sgemm(a, b, MatMut::new(&mut c, n, m).t());
        let mut by_row = untouched(m * n);
        (0..m * n).for_each(|at| by_row[at] = c[at % n * m + at / n]);
        assert_close(&by_row, &product([m, n, k]), 0.0, 1e-4, "strides");
    }
}

#[test]
fn same_bits_inside_a_team_inside_a_task_and_from_many_threads() {
    let expected = bits(&product(LARGE));
    let pool = Pool::new(Isa::best(), 2).unwrap();
    let check = || assert_eq!(bits(&product(LARGE)), expected);
    pool.enter(|team| {
        check();
        team.run(8, |_, _| check());
    });
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..10).for_each(|_| check()));
        }
    });
    let outer = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    outer.scope(|scope| (0..20).for_each(|_| scope.spawn(|_| check())));
}

#[test]
#[should_panic(expected = "the columns of A and the rows of B")]
fn refuses_operands_that_do_not_fit() {
    sgemm(Mat::new(&[0.0; 6], 2, 3), Mat::new(&[0.0; 4], 2, 2), MatMut::new(&mut [0.0; 4], 2, 2));
}

#[test]
#[should_panic(expected = "the shape of C")]
fn refuses_a_c_of_another_shape() {
    sgemm(Mat::new(&[0.0; 6], 2, 3), Mat::new(&[0.0; 6], 3, 2), MatMut::new(&mut [0.0; 6], 2, 3));
}
