//! Sums of products of all encoded columns: what least squares, ridge and gradient descent need of the rows.
//!
//! With X the encoded training rows and y the target, both minus their means, these are X'X and X'y, in `f64`. X
//! itself is never made: two text columns need one pass that counts pairs of codes, whatever their categories.
//! 240,000 rows of 1,650 encoded columns would be 3.2 GB, and their products 650 billion multiply-adds; in eleven
//! columns they are 66 passes.

use threadcount_kernels::Team;

use super::encoding::{Cells, Design, DesignColumn, NO_CATEGORY};

/// Lanes of a sum of products: what the compiler can keep in vectors, and part of the bits.
const LANES: usize = 8;

/// Sums over rows, of columns minus their means.
#[derive(Clone, Debug, PartialEq)]
pub struct Gram {
    /// How many rows were summed.
    pub rows: usize,
    /// X'X, `[width, width]`, symmetric.
    pub products: Vec<f64>,
    /// X'y, `[width]`.
    pub with_target: Vec<f64>,
    /// The mean of each encoded column, `[width]`.
    pub means: Vec<f64>,
    /// The mean of the target.
    pub target_mean: f64,
}

impl Gram {
    /// The sums of a design with the targets of its rows. Tasks are pairs of columns, each summed in the order of
    /// the rows: the same bits at any thread count.
    ///
    /// # Panics
    /// If there is not one target for each row, or no row.
    pub fn new(team: &Team, design: &Design, targets: &[f64]) -> Self {
        let (rows, width) = (design.rows(), design.width());
        assert!(rows > 0 && targets.len() == rows, "{rows} rows, {} targets", targets.len());
        let n = rows as f64;
        let target_mean = targets.iter().sum::<f64>() / n;
        let centred: Vec<f64> = targets.iter().map(|y| y - target_mean).collect();
        let columns = design.columns();

        let count = columns.len();
        let pairs: Vec<_> = (0..count).flat_map(|a| (a..count).map(move |b| (a, b))).collect();
        let mut blocks: Vec<Vec<f64>> = vec![Vec::new(); pairs.len()];
        team.run_on_chunks(&mut blocks, 1, |pair, block| {
            let (a, b) = pairs[pair];
            block[0] = products(&columns[a], &columns[b]);
        });
        let mut sums: Vec<[Vec<f64>; 2]> = vec![Default::default(); count];
        team.run_on_chunks(&mut sums, 1, |column, sums| {
            sums[0] = [with(&columns[column], |_| 1.0), with(&columns[column], |row| centred[row])];
        });

        let means: Vec<f64> =
            sums.iter().flat_map(|[sums, _]| sums.iter().map(|s| s / n)).collect();
        let with_target = sums.into_iter().flat_map(|[_, sums]| sums).collect();
        let mut all = vec![0.0; width * width];
        for ((a, b), block) in pairs.into_iter().zip(blocks) {
            let (a, b) = (&columns[a], &columns[b]);
            for (i, row) in (a.start..).zip(block.chunks_exact(b.width)) {
                for (j, product) in (b.start..).zip(row) {
                    let centred = product - n * means[i] * means[j];
                    (all[i * width + j], all[j * width + i]) = (centred, centred);
                }
            }
        }
        Self { rows, products: all, with_target, means, target_mean }
    }

    /// The number of encoded columns.
    pub fn width(&self) -> usize {
        self.means.len()
    }
}

/// Sums of products of the encoded columns of two columns, `[a.width, b.width]`.
fn products(a: &DesignColumn, b: &DesignColumn) -> Vec<f64> {
    match (&a.cells, &b.cells) {
        (Cells::Numbers(x), Cells::Numbers(y)) => vec![dot(x, y)],
        (Cells::Numbers(x), Cells::Codes(_)) => with(b, |row| x[row]),
        (Cells::Codes(_), Cells::Numbers(y)) => with(a, |row| y[row]),
        (Cells::Codes(x), Cells::Codes(y)) => {
            let mut counts = vec![0_u32; a.width * b.width];
            for (&x, &y) in x.iter().zip(y) {
                if x != NO_CATEGORY && y != NO_CATEGORY {
                    counts[x as usize * b.width + y as usize] += 1;
                }
            }
            counts.into_iter().map(f64::from).collect()
        }
    }
}

/// Sums of products of the encoded columns of a column with a value of each row, `[width]`.
fn with(column: &DesignColumn, value: impl Fn(usize) -> f64) -> Vec<f64> {
    let mut sums = vec![0.0; column.width];
    match &column.cells {
        Cells::Numbers(numbers) => {
            sums[0] = numbers.iter().enumerate().map(|(row, x)| x * value(row)).sum();
        }
        Cells::Codes(codes) => {
            for (row, &code) in codes.iter().enumerate() {
                if code != NO_CATEGORY {
                    sums[code as usize] += value(row);
                }
            }
        }
    }
    sums
}

/// The sum of the products of two lists, in lanes.
pub(super) fn dot(x: &[f64], y: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    let (x_lanes, y_lanes) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    let rest = x_lanes.remainder().iter().zip(y_lanes.remainder());
    let rest: f64 = rest.map(|(x, y)| x * y).sum();
    for (x, y) in x_lanes.zip(y_lanes) {
        for ((lane, x), y) in lanes.iter_mut().zip(x).zip(y) {
            *lane += x * y;
        }
    }
    lanes.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::models::examples::{mixed, team};
    use crate::tables::{Encoding, Parts};
    use threadcount_kernels::{Isa, Pool};

    /// The twin: products of the centred one-hot matrix.
    #[test]
    fn sums_are_those_of_the_dense_matrix() {
        for rows in [2, 3, 7, 8, 9, 61, 200] {
            let table = mixed(rows, 3);
            let all: Vec<u32> = (0..rows as u32).collect();
            let encoding = Encoding::fit(&table, &all).unwrap();
            let design = Design::new(&encoding, &table, &all).unwrap();
            let gram = Gram::new(&team(), &design, &table.values);
            let (width, n) = (design.width(), rows as f64);
            let dense: Vec<f64> = design.dense(0..rows).into_iter().map(f64::from).collect();
            let mean = |j: usize| (0..rows).map(|i| dense[i * width + j]).sum::<f64>() / n;
            let target_mean = table.values.iter().sum::<f64>() / n;
            for j in 0..width {
                let x = |i: usize, j: usize| dense[i * width + j] - mean(j);
                assert!((gram.means[j] - mean(j)).abs() < 1e-6);
                let sum: f64 = (0..rows).map(|i| x(i, j) * (table.values[i] - target_mean)).sum();
                assert!((gram.with_target[j] - sum).abs() < 1e-4 * (1.0 + sum.abs()), "{rows} {j}");
                for k in 0..width {
                    let sum: f64 = (0..rows).map(|i| x(i, j) * x(i, k)).sum();
                    let product = gram.products[j * width + k];
                    // The dense matrix is in f32.
                    assert!((product - sum).abs() < 1e-5 * n, "{rows} {j} {k}: {product} {sum}");
                }
            }
        }
    }

    #[test]
    fn unseen_categories_count_nowhere() {
        let table = mixed(60, 3);
        let encoding = Encoding::fit(&table, &[0, 1, 2, 3]).unwrap();
        let rows: Vec<u32> = (0..60).collect();
        let design = Design::new(&encoding, &table, &rows).unwrap();
        assert!(design.unseen().iter().any(|&n| n > 0));
        let gram = Gram::new(&team(), &design, &table.values);
        for column in design.columns().iter().filter(|c| matches!(c.cells, Cells::Codes(_))) {
            let seen: f64 = gram.means[column.start..][..column.width].iter().sum();
            assert!(seen <= 1.0 + 1e-12);
        }
    }

    #[test]
    fn the_same_bits_at_any_thread_count() {
        let table = mixed(1000, 3);
        let parts = Parts::new(&table, 0.3, 1).unwrap();
        let encoding = Encoding::fit(&table, &parts.train).unwrap();
        let design = Design::new(&encoding, &table, &parts.train).unwrap();
        let targets: Vec<f64> = parts.train.iter().map(|&i| table.values[i as usize]).collect();
        let of = |threads| {
            let pool = Pool::new(Isa::best(), threads).unwrap();
            pool.enter(|team| Gram::new(team, &design, &targets))
        };
        assert!(of(1) == of(2) && of(1) == of(3));
    }
}
