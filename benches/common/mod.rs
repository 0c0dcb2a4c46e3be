//! What the benches share: inputs from a formula, the check against the twin, short groups.
#![allow(dead_code, reason = "each bench uses its share")]

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use std::time::Duration;

/// `len` floats in `-1 .. 1`, a function of `seed` alone.
pub fn noise(seed: u32, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// Panics unless both are equal within the rounding of sums of a few thousand products below one.
pub fn assert_close(row: &str, actual: &[f32], expected: &[f32]) {
    for (i, (&a, &e)) in actual.iter().zip(expected).enumerate() {
        let fits = (a - e).abs() <= 1e-3 * e.abs().max(1.0);
        assert!(fits, "{row} differs from its twin: element {i} is {a}, expected {e}");
    }
}

/// A group that is short enough to be run while one waits.
pub fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(20);
    group.warm_up_time(Duration::from_millis(200));
    group.measurement_time(Duration::from_secs(1));
    group
}
