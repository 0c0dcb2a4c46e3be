//! What this machine can do at most: floating-point operations, the limit that every figure of a
//! kernel is a share of, and (in `bandwidth`) reads from each level of memory. Both are measured, in
//! the same process as the kernel, because clocks move.

mod bandwidth;

pub use bandwidth::{Level, read_rate};

use crate::Team;
use crate::micro::{Chains, Floats, Micro, OfRound, WithKernel, WithMicro};
use crate::precision::{Arithmetic, Precision};
use crate::simd::Kernel;
use crate::team::Scratch;
use crate::tiles::{Squares, TileUnit};
use std::hint::black_box;
use std::time::Instant;

/// Rounds of one measurement: with 28 or 12 multiply-adds in each, about half a millisecond.
const ROUNDS: usize = 100_000;

/// Measured floating-point operations per second of fused multiply-adds on registers, all of the
/// team's threads together, each addition and multiplication counted. This is one run: take the median of
/// several, in turn with runs of what it is compared with.
pub fn fma_rate(team: &Team) -> f64 {
    rate(team, Floats)
}

/// The same of a precision's products: of a multiplication and an addition of `f32`, or in its stead of one
/// product of bf16 numbers, or of six where operands are split.
pub fn product_rate(team: &Team, arithmetic: Arithmetic) -> f64 {
    let of_bf16 = || arithmetic.kernel.run(RateOf(team));
    match arithmetic.precision {
        Precision::F32 => fma_rate(team),
        Precision::F32Split => of_bf16() / 6.0,
        Precision::Bf16 => of_bf16(),
    }
}

/// The rate of a way of multiplying, on that team.
struct RateOf<'a>(&'a Team<'a>);

impl WithMicro for RateOf<'_> {
    type Output = f64;

    fn run<M: Micro>(self, micro: M) -> f64 {
        rate(self.0, micro)
    }
}

impl WithKernel for RateOf<'_> {
    fn on_tiles<T: TileUnit>(self, unit: T) -> f64 {
        // A round is as many multiply-adds as fifty of those on registers, and takes two or three times as long.
        let rounds = ROUNDS / 4 / 8;
        rate_of(self.0, Squares::<T>::OF_ROUND * rounds, || Squares { unit, rounds })
    }
}

fn rate<M: Micro>(team: &Team, micro: M) -> f64 {
    let (_, multiply_adds) = team.isa().run(OfRound);
    let rounds = ROUNDS / 4;
    rate_of(team, M::UNIT * multiply_adds * rounds, || Chains { micro, rounds })
}

/// The rate of a kernel that does so many multiply-adds.
fn rate_of<K: Kernel>(team: &Team, multiply_adds: usize, kernel: impl Fn() -> K + Sync) -> f64 {
    let isa = team.isa();
    team.call_back();
    let start = Instant::now();
    // Four tasks a thread, so that one held up by another program does not hold up all.
    let tasks = 4 * team.threads();
    team.run(tasks, |_, _| {
        black_box(isa.run(kernel()));
    });
    let flops = 2.0 * (multiply_adds * tasks) as f64;
    flops / start.elapsed().as_secs_f64()
}

/// What starting a phase of all the team's threads costs, beside the work of the longest task, in
/// vector multiply-adds. From a tenth of a microsecond to several: it depends on how far apart the
/// threads' cores are, and an operating system moves them.
pub(crate) fn phase_cost(team: &Team) -> f64 {
    // A worker that has not arrived yet does no task at all, and then a phase seems to cost a whole task.
    const ATTEMPTS: usize = 20;
    let task = PHASE_TASK as f64;
    let mut least = f64::INFINITY;
    for _ in 0..ATTEMPTS {
        team.call_back();
        least = least.min(phase_share(team));
        if least < 0.5 {
            break;
        }
    }
    let (multiply_adds, _) = team.isa().run(OfRound);
    least * task * multiply_adds as f64
}

/// Rounds of a task that phases are measured with, which takes 4 us. If it were shorter, another thread
/// would do the task of a thread that is late.
const PHASE_TASK: usize = 500;

/// What starting a phase costs, as a share of such a task.
fn phase_share(team: &Team) -> f64 {
    const SAMPLES: usize = 25;
    let isa = team.isa();
    let task = |_: usize, _: &mut Scratch| {
        black_box(isa.run(Chains { micro: Floats, rounds: PHASE_TASK }));
    };
    let (mut alone, mut together) = ([0.0; SAMPLES], [0.0; SAMPLES]);
    for sample in 0..SAMPLES {
        for (tasks, times) in [(1, &mut alone), (team.threads(), &mut together)] {
            let start = Instant::now();
            team.run(tasks, task);
            times[sample] = start.elapsed().as_secs_f64();
        }
    }
    // Not the median: other programs only add.
    let lower_quartile =
        |times: &mut [f64; SAMPLES]| *times.select_nth_unstable_by(SAMPLES / 4, f64::total_cmp).1;
    let (alone, together) = (lower_quartile(&mut alone), lower_quartile(&mut together));
    (together / alone - 1.0).max(0.0)
}
