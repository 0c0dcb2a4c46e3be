//! Histograms of the samples of a node, against their twins.

use threadcount_kernels::histogram::{BINS, ClassSample, Moments, ValueSample, classes, values};
use threadcount_kernels::naive;

/// A column of so many rows with bytes below `limit`.
fn column(rows: usize, limit: usize) -> Vec<u8> {
    (0..rows).map(|i| ((i * i * 31 + i * 7) % limit) as u8).collect()
}

#[test]
fn classes_are_counted_by_their_bins() {
    for of_classes in [1, 2, 10, 256] {
        for (rows, limit) in [(1, 256), (2, 1), (17, 3), (1000, 256)] {
            let column = column(rows, limit);
            let sample = |i: usize| ClassSample {
                row: i as u32,
                weight: 1 + (i % 3) as u16,
                class: (i * 5 % of_classes) as u8,
            };
            for step in [1, 2, rows] {
                let samples: Vec<_> = (0..rows).step_by(step).map(sample).collect();
                let (mut ours, mut twins) =
                    (vec![3; BINS * of_classes], vec![3; BINS * of_classes]);
                let mut seen = [false; BINS];
                classes(&column, &samples, of_classes, &mut ours, &mut seen);
                naive::histogram::classes(&column, &samples, of_classes, &mut twins);
                assert_eq!(ours, twins, "{of_classes} {rows} {step}");
                let occurs =
                    |bin| samples.iter().any(|s| usize::from(column[s.row as usize]) == bin);
                assert!((0..BINS).all(|bin| seen[bin] == occurs(bin)));
            }
        }
    }
    classes(&[], &[], 2, &mut [0; 2 * BINS], &mut [false; BINS]);
}

#[test]
fn values_are_summed_by_their_bins() {
    for (rows, limit) in [(0, 1), (1, 256), (17, 3), (1000, 256)] {
        let column = column(rows, limit);
        let sample = |i: usize| ValueSample {
            row: i as u32,
            weight: 1 + (i % 3) as u32,
            value: (i as f64 * 0.37).sin(),
        };
        let samples: Vec<_> = (0..rows).map(sample).collect();
        let (mut ours, mut twins) = ([Moments::default(); BINS], [Moments::default(); BINS]);
        let mut seen = [false; BINS];
        values(&column, &samples, &mut ours, &mut seen);
        naive::histogram::values(&column, &samples, &mut twins);
        assert_eq!(ours, twins, "{rows}");
        assert!((0..BINS).all(|bin| seen[bin] == (ours[bin].draws > 0.0)));
    }
}

#[test]
#[should_panic]
fn a_class_that_is_none_is_refused() {
    let sample = ClassSample { row: 0, weight: 1, class: 2 };
    classes(&[0], &[sample], 2, &mut [0; 2 * BINS], &mut [false; BINS]);
}
