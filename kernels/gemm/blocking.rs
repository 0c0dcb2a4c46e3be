//! Block sizes, and how C is cut into tasks.

use super::pack::KC;
use super::tile::TileShape;
use std::ops::Range;

/// The sizes that the loops step by, in elements.
#[derive(Clone, Copy, Debug)]
pub struct Blocking {
    /// Rows of A packed at once: with `kc` columns they fill a quarter of a 1 MiB second-level
    /// cache.
    pub mc: usize,
    /// Steps of K in one block; at most 256.
    pub kc: usize,
    /// Blocks of K summed one by one in C before a new partial sum is begun: so many that chains of
    /// blocks stay as short as the accuracy contract needs at K = 65,536.
    pub slice_blocks: usize,
    /// Floats of packed B and of partial sums held at once: 16 Mi, 64 MiB.
    pub buffer: usize,
    /// Floating-point operations below which one thread does it all. A phase costs about a
    /// microsecond, in which a core does a quarter of a million operations.
    pub solo_flops: f64,
}

impl Blocking {
    /// What [`super::gemm`] uses.
    pub const DEFAULT: Self =
        Self { mc: 252, kc: KC, slice_blocks: 16, buffer: 1 << 24, solo_flops: 1e6 };

    /// `0..k` cut into equal blocks of at most `kc`: 784 is 4 x 196, not 3 x 256 + 16.
    pub(crate) fn even_kc(&self, k: usize) -> usize {
        let blocks = k.div_ceil(self.kc).max(1);
        k.div_ceil(blocks).max(1)
    }
}

/// How C is cut: `row_groups x col_groups` tasks of whole tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    pub(crate) row_groups: usize,
    pub(crate) col_groups: usize,
}

impl Grid {
    /// Picks the cut with the shortest makespan: rounds of tasks over the threads, each task
    /// costing its tiles, and its packing of A, which is repeated for every group of columns.
    pub(crate) fn choose(
        m: usize,
        n: usize,
        slices: usize,
        tile: TileShape,
        threads: usize,
    ) -> Self {
        let (row_tiles, col_tiles) = (m.div_ceil(tile.mr), n.div_ceil(tile.nr));
        let mut best = Self { row_groups: 1, col_groups: 1 };
        let mut best_cost = usize::MAX;
        for col_groups in 1..=col_tiles.min(threads) {
            for share in 1..=4 {
                let row_groups = (share * threads).div_ceil(col_groups * slices).min(row_tiles);
                let rows = row_tiles.div_ceil(row_groups);
                let cols = col_tiles.div_ceil(col_groups);
                let rounds = (row_groups * col_groups * slices).div_ceil(threads);
                // A tile costs as much as packing its rows of A about eight times over; a task as
                // much as a tenth of a tile.
                let cost = rounds * (80 * rows * cols + 10 * rows + 8);
                if cost < best_cost {
                    (best, best_cost) = (Self { row_groups, col_groups }, cost);
                }
            }
        }
        best
    }

    /// The rows and columns of one task, as ranges of elements.
    pub(crate) fn block(
        &self,
        task: usize,
        m: usize,
        n: usize,
        tile: TileShape,
    ) -> (Range<usize>, Range<usize>) {
        let (row_group, col_group) = (task / self.col_groups, task % self.col_groups);
        (
            share(m, tile.mr, row_group, self.row_groups),
            share(n, tile.nr, col_group, self.col_groups),
        )
    }
}

/// Group `index` of `groups` nearly equal shares of `0..len`, cut at multiples of `unit`.
pub(crate) fn share(len: usize, unit: usize, index: usize, groups: usize) -> Range<usize> {
    let units = len.div_ceil(unit);
    let at = |index: usize| (units * index / groups * unit).min(len);
    at(index)..at(index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_cover_every_element_once() {
        let tile = TileShape { mr: 14, nr: 32 };
        for (m, n) in [(1, 1), (13, 32), (784, 512), (9, 64), (50_000, 10), (97, 1001)] {
            for threads in 1..=6 {
                let grid = Grid::choose(m, n, 1, tile, threads);
                let covered: usize = (0..grid.row_groups * grid.col_groups)
                    .map(|task| {
                        let (rows, cols) = grid.block(task, m, n, tile);
                        rows.len() * cols.len()
                    })
                    .sum();
                assert_eq!(covered, m * n);
            }
        }
    }

    #[test]
    fn blocks_of_k_are_even() {
        assert_eq!(Blocking::DEFAULT.even_kc(784), 196);
        assert_eq!(Blocking::DEFAULT.even_kc(256), 256);
        assert_eq!(Blocking::DEFAULT.even_kc(257), 129);
        assert_eq!(Blocking::DEFAULT.even_kc(0), 1);
    }
}
