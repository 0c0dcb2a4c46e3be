//! Column sums against their twin.

use crate::common::{assert_close, noise, run_everywhere, untouched};
use threadcount_kernels::{Mat, naive, sums};

const COLS: [usize; 11] = [0, 1, 2, 7, 10, 15, 16, 17, 33, 64, 131];

fn check(a: Mat, scale: f32) {
    let mut expected = untouched(a.cols());
    naive::sums::columns(a, &mut expected);
    let results = run_everywhere(|team| {
        let mut out = untouched(a.cols());
        sums::columns(team, a, &mut out);
        vec![out]
    });
    for (isa, out) in results {
        let name = format!("{isa} {} x {}", a.rows(), a.cols());
        // Terms are below `scale`: what 300 additions in a row round away, at worst.
        assert_close(&out[0], &expected, 300.0 * 6e-8, scale * a.rows() as f32 * 1e-6, &name);
    }
}

#[test]
fn columns() {
    for cols in COLS {
        // Edges of sums (256 rows), blocks and tasks (32,768 elements).
        for rows in [0, 1, 2, 63, 255, 256, 257, 511, 1009, 4097] {
            let data = noise(3, rows * cols);
            check(Mat::new(&data, rows, cols), 1.0);
        }
        // A mean far from 0 shows that every row is counted once.
        let data: Vec<f32> = noise(4, 2053 * cols).iter().map(|x| x + 100.0).collect();
        check(Mat::new(&data, 2053, cols), 100.0);
    }
}

#[test]
fn one_long_column() {
    let data: Vec<f32> = noise(5, 1_000_003).iter().map(|x| x + 10.0).collect();
    check(Mat::new(&data, data.len(), 1), 0.0);
}

#[test]
fn strided() {
    let data = noise(6, 40_000);
    check(Mat::strided(&data, 1000, 17, 40, 1), 1.0);
    check(Mat::strided(&data, 17, 1000, 40, 1).t(), 1.0);
    check(Mat::strided(&data, 1000, 1, 40, 7), 1.0);
    check(Mat::new(&data, 100, 400).t(), 1.0);
}
