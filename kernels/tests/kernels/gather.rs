//! Rows of bytes or floats as scaled floats, against the twin.

use crate::common::{noise, run_everywhere, untouched};
use threadcount_kernels::gather::{self, Batch, Cut, Element};
use threadcount_kernels::naive;

/// Every length around a vector and a cache line, and picks that repeat, of bytes and of floats.
#[test]
fn scaled() {
    for cols in [1, 3, 7, 8, 15, 16, 17, 31, 63, 64, 65, 784] {
        let bytes: Vec<u8> = (0..50 * cols).map(|i| (i * 7919 % 256) as u8).collect();
        same_as_the_twin(cols, &bytes);
        same_as_the_twin(cols, &noise(3, 50 * cols));
    }
}

/// `all` are 50 rows.
fn same_as_the_twin<T: Element + Into<f32>>(cols: usize, all: &[T]) {
    let (factors, offsets) = (noise(1, cols), noise(2, cols));
    for rows in [0, 1, 3, 4, 5, 15, 16, 17, 40] {
        let row = |i: usize| &all[i * i % 50 * cols..][..cols];
        // Rows of the next batch, fewer than there are here.
        let ahead = |i: usize| if i < rows + rows / 2 { row(i) } else { &[] };
        let mut expected = untouched(rows * cols);
        naive::gather::scaled(row, &factors, &offsets, &mut expected);
        let results = run_everywhere(|team| {
            [Cut::Rows, Cut::Columns]
                .map(|cut| {
                    let mut out = untouched(rows * cols);
                    let batch = Batch { factors: &factors, offsets: &offsets, cut };
                    gather::scaled(team, ahead, batch, &mut out);
                    out
                })
                .to_vec()
        });
        for (isa, outs) in results {
            for out in outs {
                assert!(out == expected, "{isa}: {rows} x {cols}");
            }
        }
    }
}

#[test]
#[should_panic(expected = "row 1 has another length")]
fn rows_of_another_length_are_refused() {
    let (bytes, ones) = ([0_u8; 8], [1.0; 4]);
    let team = threadcount_kernels::Team::solo(threadcount_kernels::Isa::best());
    let batch = Batch { factors: &ones, offsets: &ones, cut: Cut::Rows };
    gather::scaled(&team, |i| &bytes[..4 - i], batch, &mut [0.0; 8]);
}
