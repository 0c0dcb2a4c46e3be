//! Batch normalisation over the last axis of `x [rows, c]` (for images, rows are pixels).
//!
//! Statistics take one pass: sums of `x - k` and `(x - k)^2`, where `k` is the mean of a few rows
//! spread over the batch. Shifted like that, the textbook formula for the variance loses nothing
//! that counts, also where the mean is 10,000 times the deviation.

use crate::columns::{Cell, Input, Sum, map, reduce};
use crate::simd::{Simd, flush};
use crate::team::Team;

/// Rows whose mean is the shift. The shift then misses the mean of all rows by about an eighth of the
/// deviation.
const SAMPLE: usize = 64;

/// Checks that `x` is rows of `c`, and returns their number.
#[track_caller]
fn rows(x: &[f32], c: usize) -> usize {
    let rows = x.len().checked_div(c).unwrap_or(0);
    assert_eq!(x.len(), rows * c, "x is no matrix of {c} columns");
    rows
}

/// Checks the length of each per-column array.
#[track_caller]
fn check(c: usize, arrays: &[&[f32]]) {
    for array in arrays {
        assert_eq!(array.len(), c, "one element for each of {c} columns");
    }
}

/// `(x - mean) / sqrt(variance + epsilon) * gamma + beta` with the mean and the biased variance of
/// the batch, which it writes too (zeros for no rows). `x` and `y` are `[rows, c]`, the others
/// `[c]`. It is [`moments`] and then [`eval_forward`].
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
#[expect(clippy::too_many_arguments, reason = "the arguments of one formula")]
pub fn train_forward(
    team: &Team,
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    epsilon: f32,
    y: &mut [f32],
    mean: &mut [f32],
    variance: &mut [f32],
) {
    moments(team, x, mean, variance);
    eval_forward(team, x, gamma, beta, mean, variance, epsilon, y);
}

/// The mean and the biased variance of each column of `x` (`[rows, c]`): both `[c]`, and zeros for no rows.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
pub fn moments(team: &Team, x: &[f32], mean: &mut [f32], variance: &mut [f32]) {
    let c = mean.len();
    let rows = rows(x, c);
    check(c, &[variance]);
    if rows == 0 {
        mean.fill(0.0);
        return variance.fill(0.0);
    }
    let input = Input::dense(c, [x]);
    let mut scratch = team.phase_scratch();
    let floats = scratch.floats(2 * c + input.workspace(2));
    let (shift, floats) = floats.split_at_mut(c);
    let (first, workspace) = floats.split_at_mut(c);

    let step = rows.div_ceil(SAMPLE);
    let sample = Input { rows: rows.div_ceil(step), rs: step * c, ..input };
    reduce(team, Sum, [], sample, workspace, [&mut *shift]);
    for shift in &mut *shift {
        *shift /= sample.rows as f32;
    }
    reduce(team, Moments, [shift], input, workspace, [&mut *first, &mut *variance]);
    for j in 0..c {
        let (offset, square) = (first[j] / rows as f32, variance[j] / rows as f32);
        mean[j] = flush(shift[j] + offset);
        // For a constant column, rounding may make it slightly negative; NaN stays.
        let v = square - offset * offset;
        variance[j] = if v < 0.0 { 0.0 } else { flush(v) };
    }
}

/// What [`moments`] has found in some rows.
#[derive(Clone, Copy, Debug)]
pub struct RowMoments<'a> {
    /// How many rows there were.
    pub rows: usize,
    /// `[c]`
    pub mean: &'a [f32],
    /// `[c]`
    pub variance: &'a [f32],
}

/// The moments of these `rows` and of `more` together (Chan, Golub & LeVeque 1979), in f64: the mean and the
/// variance become those of all of them.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn add_moments(rows: usize, mean: &mut [f32], variance: &mut [f32], more: RowMoments<'_>) {
    check(mean.len(), &[variance, more.mean, more.variance]);
    let all = rows + more.rows;
    if all == 0 {
        return;
    }
    let share = more.rows as f64 / all as f64;
    for j in 0..mean.len() {
        let apart = f64::from(more.mean[j]) - f64::from(mean[j]);
        let (own, other) = (f64::from(variance[j]), f64::from(more.variance[j]));
        mean[j] = flush((f64::from(mean[j]) + apart * share) as f32);
        let between = apart * apart * share * (1.0 - share);
        variance[j] = flush((own * (1.0 - share) + other * share + between) as f32);
    }
}

/// `(x - mean) / sqrt(variance + epsilon) * gamma + beta`. `x` and `y` are `[rows, c]`, the others
/// `[c]`.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
#[expect(clippy::too_many_arguments, reason = "the arguments of one formula")]
pub fn eval_forward(
    team: &Team,
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    mean: &[f32],
    variance: &[f32],
    epsilon: f32,
    y: &mut [f32],
) {
    let c = gamma.len();
    rows(x, c);
    check(c, &[beta, mean, variance]);
    assert_eq!(x.len(), y.len(), "x and y differ in length");
    let mut scratch = team.phase_scratch();
    let scale = scratch.floats(c);
    scales(gamma, variance, epsilon, scale);
    map(team, Normalise, [mean, scale, beta], [x], c, y);
}

/// Gradients of [`train_forward`], through the statistics too. With `h` the normalised `x`:
/// `dgamma = sum dy h`, `dbeta = sum dy`,
/// `dx = gamma / sqrt(variance + epsilon) (dy - dbeta / rows - h dgamma / rows)`.
/// `x`, `dy`, `dx` are `[rows, c]`, the others `[c]`; the last three are overwritten. It is
/// [`gradient_sums`] and then [`backward_of_sums`].
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
#[expect(clippy::too_many_arguments, reason = "the arguments of one formula")]
pub fn backward(
    team: &Team,
    x: &[f32],
    dy: &[f32],
    gamma: &[f32],
    mean: &[f32],
    variance: &[f32],
    epsilon: f32,
    dx: &mut [f32],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
) {
    gradient_sums(team, x, dy, mean, dgamma, dbeta);
    let rows = rows(x, gamma.len());
    backward_of_sums(team, x, dy, gamma, mean, variance, epsilon, rows, dx, dgamma, dbeta);
}

/// The first half of [`backward`]: `products = sum dy (x - mean)` and `sums = sum dy` over the rows, both
/// `[c]`. Those of several groups of rows may be added up.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
pub fn gradient_sums(
    team: &Team,
    x: &[f32],
    dy: &[f32],
    mean: &[f32],
    products: &mut [f32],
    sums: &mut [f32],
) {
    let c = mean.len();
    rows(x, c);
    check(c, &[products, sums]);
    assert_eq!(x.len(), dy.len(), "x and dy differ in length");
    let input = Input::dense(c, [x, dy]);
    let mut scratch = team.phase_scratch();
    let workspace = scratch.floats(input.workspace(2));
    reduce(team, Gradients, [mean], input, workspace, [products, sums]);
}

/// The second half of [`backward`], from the sums over all `rows` of a batch, of which `x` and `dy` may be
/// some: `dgamma` holds the products, and becomes the gradient of gamma.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
#[expect(clippy::too_many_arguments, reason = "the arguments of one formula")]
pub fn backward_of_sums(
    team: &Team,
    x: &[f32],
    dy: &[f32],
    gamma: &[f32],
    mean: &[f32],
    variance: &[f32],
    epsilon: f32,
    rows: usize,
    dx: &mut [f32],
    dgamma: &mut [f32],
    dbeta: &[f32],
) {
    let c = gamma.len();
    check(c, &[mean, variance, dgamma, dbeta]);
    assert_eq!(x.len(), dy.len(), "x and dy differ in length");
    assert_eq!(x.len(), dx.len(), "x and dx differ in length");
    let mut scratch = team.phase_scratch();
    let floats = scratch.floats(3 * c);
    let (scale, floats) = floats.split_at_mut(c);
    let (slope, offset) = floats.split_at_mut(c);
    for j in 0..c {
        let inverse = 1.0 / (variance[j] + epsilon).sqrt();
        dgamma[j] = flush(dgamma[j] * inverse);
        // dx = scale dy + slope (x - mean) + offset
        // (None of them subnormal: each is an operand of every row.)
        scale[j] = flush(gamma[j] * inverse);
        slope[j] = flush(-scale[j] * inverse * dgamma[j] / rows as f32);
        offset[j] = flush(-scale[j] * dbeta[j] / rows as f32);
    }
    map(team, Chain, [mean, scale, slope, offset], [x, dy], c, dx);
}

/// `moving = momentum moving + (1 - momentum) batch`.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn update_moving(momentum: f32, batch: &[f32], moving: &mut [f32]) {
    assert_eq!(batch.len(), moving.len(), "batch and moving statistics differ in length");
    for (moving, &batch) in moving.iter_mut().zip(batch) {
        *moving = flush(momentum * *moving + (1.0 - momentum) * batch);
    }
}

/// `gamma / sqrt(variance + epsilon)`.
fn scales(gamma: &[f32], variance: &[f32], epsilon: f32, scale: &mut [f32]) {
    for ((scale, &gamma), &variance) in scale.iter_mut().zip(gamma).zip(variance) {
        *scale = flush(gamma / (variance + epsilon).sqrt());
    }
}

/// Sums of `x - shift` and its square.
#[derive(Clone, Copy)]
struct Moments;

impl Cell<1, 1, 2, 0> for Moments {
    #[inline(always)]
    fn cell<S: Simd>(
        self,
        simd: S,
        [shift]: [S::V; 1],
        [x]: [S::V; 1],
        [first, second]: [S::V; 2],
    ) -> ([S::V; 2], [S::V; 0]) {
        let d = simd.sub(x, shift);
        ([simd.add(first, d), simd.mul_add(d, d, second)], [])
    }
}

/// `y`. The mean is subtracted first: folded into one product and sum it would cost the digits that
/// it has in common with `x`.
#[derive(Clone, Copy)]
struct Normalise;

impl Cell<3, 1, 0, 1> for Normalise {
    #[inline(always)]
    fn cell<S: Simd>(
        self,
        simd: S,
        [mean, scale, beta]: [S::V; 3],
        [x]: [S::V; 1],
        _: [S::V; 0],
    ) -> ([S::V; 0], [S::V; 1]) {
        ([], [simd.mul_add(simd.sub(x, mean), scale, beta)])
    }
}

/// Sums of `dy (x - mean)` and `dy`.
#[derive(Clone, Copy)]
struct Gradients;

impl Cell<1, 2, 2, 0> for Gradients {
    #[inline(always)]
    fn cell<S: Simd>(
        self,
        simd: S,
        [mean]: [S::V; 1],
        [x, dy]: [S::V; 2],
        [product, sum]: [S::V; 2],
    ) -> ([S::V; 2], [S::V; 0]) {
        ([simd.mul_add(dy, simd.sub(x, mean), product), simd.add(sum, dy)], [])
    }
}

/// `dx`.
#[derive(Clone, Copy)]
struct Chain;

impl Cell<4, 2, 0, 1> for Chain {
    #[inline(always)]
    fn cell<S: Simd>(
        self,
        simd: S,
        [mean, scale, slope, offset]: [S::V; 4],
        [x, dy]: [S::V; 2],
        _: [S::V; 0],
    ) -> ([S::V; 0], [S::V; 1]) {
        let normal = simd.mul_add(simd.sub(x, mean), slope, offset);
        ([], [simd.mul_add(dy, scale, normal)])
    }
}
