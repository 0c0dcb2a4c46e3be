//! What is done to flat arrays as vectors, against the twins.

use crate::common::{SIZES, assert_close, noise, run_everywhere};
use threadcount_kernels::{naive, vectors};

#[test]
fn sums_of_squares() {
    for len in SIZES.into_iter().chain([4096, 4097, 262_144, 262_145, 1_000_003]) {
        // Far from 0, so that an element that is left out, or counted twice, shows.
        let x: Vec<f32> = noise(1, len).iter().map(|x| x + 3.0).collect();
        let expected = naive::vectors::sum_of_squares(&x);
        let results = run_everywhere(|team| {
            let sum = vectors::sum_of_squares(team, &x);
            assert!((sum - expected).abs() <= 1e-12 * expected, "{len}: {sum}, not {expected}");
            // All bits, as two floats.
            let bits = sum.to_bits();
            vec![vec![f32::from_bits((bits >> 32) as u32), f32::from_bits(bits as u32)]]
        });
        results.for_each(drop);
    }
    let by_hand = [3.0, -4.0, 1e30, f32::MIN_POSITIVE];
    assert_eq!(naive::vectors::sum_of_squares(&by_hand[..2]), 25.0);
    // No square overflows or vanishes.
    assert!(naive::vectors::sum_of_squares(&by_hand[2..3]).is_finite());
    assert!(naive::vectors::sum_of_squares(&by_hand[3..]) > 0.0);
}

#[test]
fn multiples_and_averages() {
    for len in SIZES {
        let (x, y) = (noise(1, len), noise(2, len));
        let factor = 0.3;
        let mut scaled = x.clone();
        naive::vectors::scale(factor, &mut scaled);
        let (mut sum, mut average) = (y.clone(), y.clone());
        naive::vectors::add_multiple(factor, &x, &mut sum);
        naive::vectors::approach(factor, &x, &mut average);
        let results = run_everywhere(|team| {
            let (mut scaled, mut sum, mut average) = (x.clone(), y.clone(), y.clone());
            vectors::scale(team, factor, &mut scaled);
            vectors::add_multiple(team, factor, &x, &mut sum);
            vectors::approach(team, factor, &x, &mut average);
            vec![scaled, sum, average]
        });
        for (isa, outputs) in results {
            for (actual, expected) in outputs.iter().zip([&scaled, &sum, &average]) {
                assert_close(actual, expected, 1e-6, 1e-7, &format!("{isa} {len}"));
            }
        }
    }
}

#[test]
fn known_values() {
    let mut x = [1.0, -2.0];
    naive::vectors::scale(0.5, &mut x);
    assert_eq!(x, [0.5, -1.0]);
    let mut y = [1.0, 10.0];
    naive::vectors::add_multiple(4.0, &x, &mut y);
    assert_eq!(y, [3.0, 6.0]);
    naive::vectors::approach(0.25, &[7.0, 6.0], &mut y);
    assert_eq!(y, [4.0, 6.0]);
}
