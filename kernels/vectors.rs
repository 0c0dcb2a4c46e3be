//! Flat arrays as vectors: their norm, sums and multiples of them, running averages. What is done to all
//! gradients, or to all parameters, at once.

use crate::simd::{Kernel, Simd};
use crate::sweep::{Step, sweep};
use crate::team::{Parts, Team};

/// The most tasks that sum squares: so many partial sums lie on the stack.
const SUMS: usize = 64;

/// Elements of the smallest task.
const TASK: usize = 4_096;

/// Sums of a task that go on side by side: of whatever width a machine's vectors are, every element
/// belongs to the same one.
const LANES: usize = 16;

/// The sum of squares, in f64. It is cut by the length alone, so its bits are the same everywhere.
pub fn sum_of_squares(team: &Team, x: &[f32]) -> f64 {
    let chunk = x.len().div_ceil(SUMS).next_multiple_of(LANES).max(TASK);
    let mut sums = [0.0; SUMS];
    let (isa, parts) = (team.isa(), Parts::new(&mut sums));
    team.run_chunks(x.len(), chunk, |range, _| {
        let task = range.start / chunk;
        // SAFETY: each task has a sum of its own.
        let sum = unsafe { parts.part(task..task + 1) };
        sum[0] = isa.run(Squares(&x[range]));
    });
    sums.iter().sum()
}

struct Squares<'a>(&'a [f32]);

impl Kernel for Squares<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> f64 {
        // A product of two floats is exact in f64, so it does not matter whether it is fused.
        let mut sums = [0.0_f64; LANES];
        let mut i = 0;
        while i + LANES <= self.0.len() {
            for lane in 0..LANES {
                let x = f64::from(self.0[i + lane]);
                sums[lane] += x * x;
            }
            i += LANES;
        }
        let mut lane = 0;
        while i < self.0.len() {
            let x = f64::from(self.0[i]);
            sums[lane] += x * x;
            lane += 1;
            i += 1;
        }
        let mut sum = 0.0;
        for lane in sums {
            sum += lane;
        }
        sum
    }
}

#[derive(Clone, Copy)]
struct Scale(f32);

impl Step<0, 1> for Scale {
    #[inline(always)]
    fn step<S: Simd>(self, simd: S, _: [S::V; 0], [x]: [S::V; 1]) -> [S::V; 1] {
        [simd.mul(x, simd.splat(self.0))]
    }
}

/// `x = factor x`.
pub fn scale(team: &Team, factor: f32, x: &mut [f32]) {
    sweep(team, Scale(factor), [], [x]);
}

#[derive(Clone, Copy)]
struct AddMultiple(f32);

impl Step<1, 1> for AddMultiple {
    #[inline(always)]
    fn step<S: Simd>(self, simd: S, [x]: [S::V; 1], [y]: [S::V; 1]) -> [S::V; 1] {
        [simd.mul_add(x, simd.splat(self.0), y)]
    }
}

/// `y = factor x + y`, rounded once.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn add_multiple(team: &Team, factor: f32, x: &[f32], y: &mut [f32]) {
    sweep(team, AddMultiple(factor), [x], [y]);
}

#[derive(Clone, Copy)]
struct Approach(f32);

impl Step<1, 1> for Approach {
    #[inline(always)]
    fn step<S: Simd>(self, simd: S, [x]: [S::V; 1], [average]: [S::V; 1]) -> [S::V; 1] {
        [simd.mul_add(simd.sub(x, average), simd.splat(self.0), average)]
    }
}

/// `average = average + share (x - average)`: a step of an exponential moving average.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn approach(team: &Team, share: f32, x: &[f32], average: &mut [f32]) {
    sweep(team, Approach(share), [x], [average]);
}
