//! Normalisation of each row of `x [rows, c]` by its own mean and deviation, then scaled and moved by
//! column (Ba, Kiros & Hinton 2016).
//!
//! Statistics take two passes over a row, which is in the first-level cache by then. The second pass also
//! corrects the mean: what the first sum lost to rounding, in a row far from zero, is the mean of the
//! differences `x - mean`.

use crate::matrix::Mat;
use crate::simd::{Kernel, LaneSums, Simd};
use crate::sums;
use crate::team::{Parts, Team};

/// Elements of a task at least: some 2 us of work.
const TASK: usize = 4_096;

/// Checks that `x` is rows of `c`, and returns their number.
#[track_caller]
fn rows(x: &[f32], c: usize) -> usize {
    let rows = x.len().checked_div(c).unwrap_or(0);
    assert_eq!(x.len(), rows * c, "x is no matrix of {c} columns");
    rows
}

/// `normal = (x - mean) / sqrt(variance + epsilon)` with the mean and the biased variance of each row,
/// and `y = gamma normal + beta`. [`backward`] reads `normal`, and of each row
/// `inverse = 1 / sqrt(variance + epsilon)`. `x`, `y` and `normal` are `[rows, c]`, `gamma` and `beta`
/// `[c]`, `inverse` is `[rows]`.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
#[expect(clippy::too_many_arguments, reason = "the arguments of one formula")]
pub fn forward(
    team: &Team,
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    epsilon: f32,
    y: &mut [f32],
    normal: &mut [f32],
    inverse: &mut [f32],
) {
    let c = gamma.len();
    let rows = rows(x, c);
    assert_eq!(beta.len(), c, "one element for each of {c} columns");
    assert_eq!([y.len(), normal.len()], [x.len(); 2], "x, y and normal differ in length");
    assert_eq!(inverse.len(), rows, "one element for each of {rows} rows");
    let (y, normal, inverse) = (Parts::new(y), Parts::new(normal), Parts::new(inverse));
    let isa = team.isa();
    team.run_chunks(rows, (TASK / c.max(1)).max(1), |rows, _| {
        let elements = rows.start * c..rows.end * c;
        // SAFETY: tasks have disjoint rows.
        let (y, normal, inverse) = unsafe {
            (y.part(elements.clone()), normal.part(elements.clone()), inverse.part(rows))
        };
        isa.run(Rows { x: &x[elements], gamma, beta, epsilon, y, normal, inverse });
    });
}

/// Gradients of [`forward`], through the statistics too. With `g = gamma dy` and means over the row:
/// `dx = inverse (g - mean(g) - normal mean(g normal))`, and over all rows `dgamma = sum dy normal`,
/// `dbeta = sum dy`. `normal`, `dy` and `dx` are `[rows, c]`, `inverse` is `[rows]`, the others `[c]`;
/// the last three are overwritten, and so is `normal`, with `dy normal`.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
#[expect(clippy::too_many_arguments, reason = "the arguments of one formula")]
pub fn backward(
    team: &Team,
    dy: &[f32],
    gamma: &[f32],
    normal: &mut [f32],
    inverse: &[f32],
    dx: &mut [f32],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
) {
    let c = gamma.len();
    let rows = rows(dy, c);
    assert_eq!([dgamma.len(), dbeta.len()], [c; 2], "one element for each of {c} columns");
    assert_eq!([dx.len(), normal.len()], [dy.len(); 2], "dy, dx and normal differ in length");
    assert_eq!(inverse.len(), rows, "one element for each of {rows} rows");
    let (dx, products) = (Parts::new(dx), Parts::new(&mut *normal));
    let isa = team.isa();
    team.run_chunks(rows, (TASK / c.max(1)).max(1), |rows, _| {
        let elements = rows.start * c..rows.end * c;
        // SAFETY: tasks have disjoint rows.
        let (dx, normal) = unsafe { (dx.part(elements.clone()), products.part(elements.clone())) };
        isa.run(RowsBack { dy: &dy[elements], gamma, normal, inverse: &inverse[rows], dx });
    });
    sums::columns(team, Mat::new(normal, rows, c), dgamma);
    sums::columns(team, Mat::new(dy, rows, c), dbeta);
}

/// Some rows, forward.
struct Rows<'a> {
    x: &'a [f32],
    gamma: &'a [f32],
    beta: &'a [f32],
    epsilon: f32,
    y: &'a mut [f32],
    normal: &'a mut [f32],
    inverse: &'a mut [f32],
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { x, gamma, beta, epsilon, y, normal, inverse } = self;
        let c = gamma.len();
        let count = simd.splat(c as f32);
        let of_row = |total: f32| simd.div(simd.splat(total), count);
        for row in 0..inverse.len() {
            let at = row * c;
            // SAFETY: all loads and stores are of min(n, LANES) elements from column j on of this
            // row, or of the columns' own arrays.
            unsafe {
                let mut sums = LaneSums::zero(simd);
                for (vector, j) in (0..c).step_by(S::LANES).enumerate() {
                    let x = simd.load_first(x.as_ptr().add(at + j), c - j);
                    let sum = sums.of_vector(vector);
                    *sum = simd.add(*sum, x);
                }
                let mean = of_row(sums.total(simd));
                let (mut sums, mut squares) = (LaneSums::zero(simd), LaneSums::zero(simd));
                for (vector, j) in (0..c).step_by(S::LANES).enumerate() {
                    let x = simd.load_first(x.as_ptr().add(at + j), c - j);
                    // Behind the last column there is no rest.
                    let rest = simd.sub(x, mean);
                    let rest = simd.select(simd.mask_first(c - j), rest, simd.splat(0.0));
                    let (sum, square) = (sums.of_vector(vector), squares.of_vector(vector));
                    *sum = simd.add(*sum, rest);
                    *square = simd.mul_add(rest, rest, *square);
                }
                let missing = of_row(sums.total(simd));
                let square = of_row(squares.total(simd));
                // For equal elements, rounding may make it slightly negative; NaN stays, as the second operand.
                let variance = simd.sub(square, simd.mul(missing, missing));
                let variance = simd.max(simd.splat(0.0), variance);
                let deviation = simd.sqrt(simd.add(variance, simd.splat(epsilon)));
                let scale = simd.flush(simd.div(simd.splat(1.0), deviation));
                simd.store_first(inverse.as_mut_ptr().add(row), scale, 1);
                for j in (0..c).step_by(S::LANES) {
                    let n = c - j;
                    let x = simd.load_first(x.as_ptr().add(at + j), n);
                    let value = simd.flush(simd.mul(simd.sub(simd.sub(x, mean), missing), scale));
                    simd.store_first(normal.as_mut_ptr().add(at + j), value, n);
                    let gamma = simd.load_first(gamma.as_ptr().add(j), n);
                    let beta = simd.load_first(beta.as_ptr().add(j), n);
                    let y = y.as_mut_ptr().add(at + j);
                    simd.store_first(y, simd.flush(simd.mul_add(value, gamma, beta)), n);
                }
            }
        }
    }
}

/// Some rows, backward.
struct RowsBack<'a> {
    dy: &'a [f32],
    gamma: &'a [f32],
    normal: &'a mut [f32],
    inverse: &'a [f32],
    dx: &'a mut [f32],
}

impl Kernel for RowsBack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { dy, gamma, normal, inverse, dx } = self;
        let c = gamma.len();
        let count = simd.splat(c as f32);
        for (row, &inverse) in inverse.iter().enumerate() {
            let at = row * c;
            let (mut sums, mut products) = (LaneSums::zero(simd), LaneSums::zero(simd));
            // SAFETY: as in `Rows`.
            unsafe {
                for (vector, j) in (0..c).step_by(S::LANES).enumerate() {
                    let dy = simd.load_first(dy.as_ptr().add(at + j), c - j);
                    let g = simd.mul(dy, simd.load_first(gamma.as_ptr().add(j), c - j));
                    let value = simd.load_first(normal.as_ptr().add(at + j), c - j);
                    let sum = sums.of_vector(vector);
                    *sum = simd.add(*sum, g);
                    let product = products.of_vector(vector);
                    *product = simd.mul_add(g, value, *product);
                }
                let mean = simd.div(simd.splat(sums.total(simd)), count);
                let slope = simd.div(simd.splat(products.total(simd)), count);
                for j in (0..c).step_by(S::LANES) {
                    let n = c - j;
                    let dy = simd.load_first(dy.as_ptr().add(at + j), n);
                    let g = simd.mul(dy, simd.load_first(gamma.as_ptr().add(j), n));
                    let normal = normal.as_mut_ptr().add(at + j);
                    let value = simd.load_first(normal, n);
                    let rest = simd.sub(simd.sub(g, mean), simd.mul(value, slope));
                    let dx = dx.as_mut_ptr().add(at + j);
                    simd.store_first(dx, simd.flush(simd.mul(rest, simd.splat(inverse))), n);
                    simd.store_first(normal, simd.flush(simd.mul(dy, value)), n);
                }
            }
        }
    }
}
