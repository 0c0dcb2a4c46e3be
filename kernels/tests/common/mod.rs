//! What the tests of all kernels share: every instruction set, every thread count, sizes, numbers.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::sync::OnceLock;
use threadcount_kernels::{Isa, Pool, Team};

/// Sizes around every edge: empty, one, each vector width and one beside it, primes, task edges.
pub const SIZES: [usize; 20] =
    [0, 1, 2, 3, 4, 5, 7, 8, 9, 13, 15, 16, 17, 31, 33, 97, 1009, 16_384, 32_769, 65_537];

/// Outputs start as this, so that an element nobody wrote, or a sum that read it, shows.
pub const UNTOUCHED: f32 = f32::NAN;

/// A buffer nobody has written.
pub fn untouched(len: usize) -> Vec<f32> {
    vec![UNTOUCHED; len]
}

/// Numbers in -1..1, the same for the same seed (an LCG's upper bits).
pub fn random(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Labels below `classes`.
pub fn labels(seed: u64, len: usize, classes: usize) -> Vec<u8> {
    let label = |x: f32| ((x + 1.0) / 2.0 * classes as f32) as usize % classes;
    random(seed, len).into_iter().map(|x| label(x) as u8).collect()
}

/// Runs a kernel on every instruction set of this machine, alone and in teams of 2, 3 and 4 (and of
/// 1, through a pool), demands the same bits from all teams, and returns what each set gave.
pub fn run_everywhere(
    run: impl Fn(&Team) -> Vec<Vec<f32>> + Sync,
) -> impl Iterator<Item = (Isa, Vec<Vec<f32>>)> {
    let bits = |outputs: &[Vec<f32>]| -> Vec<Vec<u32>> {
        outputs.iter().map(|output| output.iter().map(|x| x.to_bits()).collect()).collect()
    };
    pools().iter().map(move |(isa, pools)| {
        let alone = run(&Team::solo(*isa));
        for pool in pools {
            let together = pool.enter(|team| run(team));
            assert!(bits(&alone) == bits(&together), "{isa}: {} threads", pool.threads());
        }
        (*isa, alone)
    })
}

fn pools() -> &'static [(Isa, Vec<Pool>)] {
    static POOLS: OnceLock<Vec<(Isa, Vec<Pool>)>> = OnceLock::new();
    POOLS.get_or_init(|| {
        let pools = |isa| (1..=4).map(|threads| Pool::new(isa, threads).expect("threads")).collect();
        Isa::detected().map(|isa| (isa, pools(isa))).collect()
    })
}

/// Demands that `actual` is within `relative * |expected| + absolute` of `expected`, element by
/// element; NaN only where NaN is expected.
#[track_caller]
pub fn assert_close(what: &str, actual: &[f32], expected: &[f32], relative: f32, absolute: f32) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    for (i, (&a, &e)) in actual.iter().zip(expected).enumerate() {
        let close = a == e
            || (a.is_nan() && e.is_nan())
            || (a - e).abs() <= relative * e.abs() + absolute;
        assert!(close, "{what}: element {i} of {} is {a} instead of {e}", actual.len());
    }
}
