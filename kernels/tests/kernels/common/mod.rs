//! What the kernel tests share: inputs from a formula, teams of every kind, comparisons.
#![allow(dead_code, reason = "some are for one operating system only")]

#[cfg(target_os = "linux")]
mod guard;
pub mod product;

use std::sync::OnceLock;
use threadcount_kernels::gemm::{Blocking, ThreadCosts};
use threadcount_kernels::machine::{Machine, machine};
use threadcount_kernels::{Isa, Pool, Team};

/// The blockings of machines that are not this one: second-level caches of 256 KiB to 8 MiB, threads that
/// cost nothing, near and far ones, and costs that are measured.
pub fn made_up_machines() -> Vec<Blocking> {
    let costs = [Some(ThreadCosts::NONE), Some(ThreadCosts::NEAR), Some(ThreadCosts::FAR), None];
    let l2 = [256 << 10, 512 << 10, 1 << 20, 2 << 20, 8 << 20];
    // Each cache with each cost; neighbours differ in both.
    let made_up = |i: usize| {
        let machine = Machine { l2: Some(l2[i % 5]), ..machine().clone() };
        Blocking::for_machine(&machine, costs[i % 4])
    };
    (0..20).map(made_up).collect()
}

/// Random choices, from a seed that is not zero (xorshift).
pub struct Dice(pub u64);

impl Dice {
    /// 53 random bits.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.next() as usize % n
    }

    /// One of some choices.
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// How many random cases an environment variable asks for; `usual` if it is not set.
pub fn count_of(variable: &str, usual: usize) -> usize {
    std::env::var(variable).map_or(usual, |count| count.parse().unwrap())
}

/// `len` floats in `-1 .. 1`, a function of `seed` alone.
pub fn noise(seed: u64, len: usize) -> Vec<f32> {
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03);
    (0..len).map(|_| (dice.next() >> 29) as f32 / (1 << 23) as f32 - 1.0).collect()
}

/// Sizes around every edge: empty, one, each vector width and one beside it, primes, task edges.
pub const SIZES: [usize; 20] =
    [0, 1, 2, 3, 4, 5, 7, 8, 9, 13, 15, 16, 17, 31, 33, 97, 1009, 16_384, 32_769, 65_537];

/// An output nobody has written: NaN, so that an element that is left out, or a sum that read it,
/// shows.
pub fn untouched(len: usize) -> Vec<f32> {
    vec![f32::NAN; len]
}

/// Labels below `classes`.
pub fn labels(seed: u64, len: usize, classes: usize) -> Vec<u8> {
    let label = |x: f32| ((x + 1.0) / 2.0 * classes as f32) as usize % classes;
    noise(seed, len).into_iter().map(|x| label(x) as u8).collect()
}

/// Runs `compute` on every instruction set: alone on this machine, and in teams of 1, 2, 3 and 4 threads,
/// each on a made-up machine. Asserts that all teams give the same bits, and so do all sets that fuse
/// multiply-adds. Returns what each set gave.
pub fn run_everywhere(
    compute: impl Fn(&Team) -> Vec<Vec<f32>> + Sync,
) -> impl Iterator<Item = (Isa, Vec<Vec<f32>>)> {
    // Pools are kept: starting threads for every size would take longer than the kernels.
    static POOLS: OnceLock<Vec<Pool>> = OnceLock::new();
    let pools = POOLS.get_or_init(|| {
        let machines = made_up_machines();
        let pool = |isa, threads| {
            Pool::new(isa, threads).unwrap().with_blocking(machines[[0, 7, 14, 16][threads - 1]])
        };
        Isa::detected().flat_map(|isa| (1..=4).map(move |threads| pool(isa, threads))).collect()
    });
    let mut fused: Option<(Isa, Vec<Vec<f32>>)> = None;
    Isa::detected().map(move |isa| {
        let alone = compute(&Team::solo(isa));
        for pool in pools.iter().filter(|pool| pool.isa() == isa) {
            let together = pool.enter(|team| compute(team));
            for (alone, together) in alone.iter().zip(&together) {
                let same = bits(alone) == bits(together);
                assert!(same, "{isa}: other bits with {} threads than alone", pool.threads());
            }
        }
        if isa.fuses_multiply_add() {
            let (other, of_other) = fused.get_or_insert_with(|| (isa, alone.clone()));
            for (one, other_one) in alone.iter().zip(of_other) {
                assert_same_bits(one, other_one, format_args!("{isa} and {other}"));
            }
        }
        (isa, alone)
    })
}

/// Runs `test` with a team of one thread on every instruction set that this CPU has.
pub fn on_every_isa(test: impl Fn(&Team)) {
    for isa in Isa::detected() {
        test(&Team::solo(isa));
    }
}

/// Asserts that `compute` gives the same bits with 1, 2, 3 and 4 threads, on every instruction set.
pub fn same_bits_at_any_thread_count(compute: impl Fn(&Team) -> Vec<f32> + Sync) {
    run_everywhere(|team| vec![compute(team)]).for_each(drop);
}

#[track_caller]
fn assert_same_bits(one: &[f32], other: &[f32], what: std::fmt::Arguments) {
    assert_eq!(one.len(), other.len(), "{what}: lengths");
    for (i, (a, b)) in one.iter().zip(other).enumerate() {
        let same = a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
        assert!(same, "{what}: element {i} is {a:e} or {b:e}");
    }
}

/// Asserts that `compute` gives the same bits on every made-up machine, with 1 to 4 threads, on every
/// instruction set.
pub fn same_bits_on_any_machine(compute: impl Fn(&Team) -> Vec<f32> + Sync) {
    for isa in Isa::detected() {
        let alone = compute(&Team::solo(isa));
        for (i, machine) in made_up_machines().into_iter().enumerate() {
            let threads = [1, 2, 3, 4, 2, 3][i % 6];
            let pool = Pool::new(isa, threads).unwrap().with_blocking(machine);
            let other = pool.enter(|team| compute(team));
            let same = bits(&alone) == bits(&other);
            assert!(same, "{isa}: other bits with {threads} threads on {machine:?}");
        }
    }
}

/// The bits of floats.
pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Asserts `|actual - expected| <= relative |expected| + absolute` elementwise; NaN never passes.
#[track_caller]
pub fn assert_close(actual: &[f32], expected: &[f32], relative: f32, absolute: f32, what: &str) {
    assert_eq!(actual.len(), expected.len(), "{what}: lengths");
    for (i, (&a, &e)) in actual.iter().zip(expected).enumerate() {
        let bound = relative * e.abs() + absolute;
        assert!((a - e).abs() <= bound, "{what}: element {i} is {a}, expected {e} within {bound}");
    }
}
