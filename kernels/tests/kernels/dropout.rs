//! Dropout against its twin, and the statistics of its masks.

use crate::common::{SIZES, assert_close, noise, run_everywhere, untouched};
use threadcount_kernels::dropout::{self, Dropout};
use threadcount_kernels::{Isa, Team, naive};

#[test]
fn forward_and_backward_have_the_twins_mask() {
    for rate in [0.0, 1e-9, 0.2, 0.25, 0.5, 0.99] {
        let dropout = Dropout { rate, key: 0xDEAD_BEEF_0123_4567, first_sample: u64::MAX - 1 };
        for per_sample in SIZES {
            for n in [0, 1, 3] {
                let x = noise(1, n * per_sample);
                let mut expected = untouched(x.len());
                naive::dropout::forward(&dropout, per_sample, &x, &mut expected);
                let results = run_everywhere(|team| {
                    let (mut y, mut in_place) = (untouched(x.len()), x.clone());
                    dropout::forward(team, &dropout, per_sample, &x, &mut y);
                    dropout::backward(team, &dropout, per_sample, &mut in_place);
                    vec![y, in_place]
                });
                for (isa, outputs) in results {
                    for y in outputs {
                        assert_close(&y, &expected, 0.0, 0.0, &format!("{isa} {n} x {per_sample}"));
                    }
                }
            }
        }
    }
}

/// Ones where elements survive.
fn mask(rate: f32, key: u64, first_sample: u64, n: usize, per_sample: usize) -> Vec<bool> {
    let mut y = vec![1.0; n * per_sample];
    let dropout = Dropout { rate, key, first_sample };
    dropout::backward(&Team::solo(Isa::best()), &dropout, per_sample, &mut y);
    let kept = 1.0 / (1.0 - rate);
    assert!(y.iter().all(|&y| y == 0.0 || y == kept));
    y.into_iter().map(|y| y != 0.0).collect()
}

/// Share of equal elements; half of them if two masks at rate 0.5 are independent.
fn agreement(a: &[bool], b: &[bool]) -> f64 {
    a.iter().zip(b).filter(|(a, b)| a == b).count() as f64 / a.len() as f64
}

#[test]
fn masks_are_random() {
    const LEN: usize = 1 << 20;
    for rate in [0.1_f32, 0.25, 0.5, 0.9] {
        // Few long samples, many short ones, consecutive keys.
        for (n, per_sample, key) in [(1, LEN, 1), (1024, 1024, 2), (LEN / 16, 16, 3)] {
            let dead = mask(rate, key, 0, n, per_sample).iter().filter(|&&kept| !kept).count();
            let (p, share) = (f64::from(rate), dead as f64 / LEN as f64);
            let deviation = (p * (1.0 - p) / LEN as f64).sqrt();
            assert!((share - p).abs() < 4.0 * deviation, "{share} dead at rate {rate}");
        }
    }
    // Neighbours, samples, batches and keys are unrelated: five deviations are 0.0025.
    let base = mask(0.5, 7, 0, 1024, 1024);
    for distance in [1, 2, 3, 4, 8, 16, 64, 1023, 1024, 1025, 2048, 65_536] {
        let related = agreement(&base[..LEN - distance], &base[distance..]);
        assert!((related - 0.5).abs() < 0.0026, "distance {distance}: {related}");
    }
    for other in [mask(0.5, 8, 0, 1024, 1024), mask(0.5, 7, 5000, 1024, 1024)] {
        let related = agreement(&base, &other);
        assert!((related - 0.5).abs() < 0.0025, "{related}");
    }
    // Every element of a sample lives about as often as any other: 1024 draws, 5 deviations.
    for element in 0..1024 {
        let alive = (0..1024).filter(|sample| base[sample * 1024 + element]).count();
        assert!((512 - 80..512 + 80).contains(&alive), "element {element} lives {alive} times");
    }
}

/// Samples keep their masks however an epoch is cut into batches.
#[test]
fn masks_do_not_depend_on_the_batch() {
    let whole = mask(0.3, 9, 100, 10, 77);
    let mut parts = mask(0.3, 9, 100, 4, 77);
    parts.extend(mask(0.3, 9, 104, 6, 77));
    assert_eq!(whole, parts);
}
