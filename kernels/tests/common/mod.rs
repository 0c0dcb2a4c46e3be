//! What the kernel tests share: inputs from a formula, teams of every kind, comparisons.
#![allow(dead_code, reason = "each test binary uses its share")]

use threadcount_kernels::{Isa, Pool, Team};

/// `len` floats in `-1 .. 1`, a function of `seed` alone.
pub fn noise(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// Runs `test` with a team of one thread on every instruction set that this CPU has.
pub fn on_every_isa(test: impl Fn(&Team)) {
    for isa in Isa::detected() {
        test(&Team::solo(isa));
    }
}

/// Asserts that `compute` gives the same bits with 1, 2, 3 and 4 threads, on every instruction set.
pub fn same_bits_at_any_thread_count(compute: impl Fn(&Team) -> Vec<f32> + Sync) {
    for isa in Isa::detected() {
        let expected = bits(&compute(&Team::solo(isa)));
        for threads in 1..=4 {
            let pool = Pool::new(isa, threads).unwrap();
            let actual = bits(&pool.enter(|team| compute(team)));
            assert!(actual == expected, "{isa}: other bits with {threads} threads than alone");
        }
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
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
