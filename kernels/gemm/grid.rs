//! How C is cut into tasks, and what a product costs.

use super::tile::TileShape;
use crate::Team;
use crate::blocking::{Blocking, ThreadCosts};
use crate::peak::phase_cost;
use std::ops::Range;

/// What it costs a team to compute on several threads. Products gain from several threads only if they
/// take sixteen times as long as an empty phase or more, because the next kernel then has half of its
/// input in the other core's cache and reads it line by line (at eight times, a product of 80 x 80 gained
/// 1.6 us, and the kernel after it lost 6). A phase alone says too little where phases are cheap but lines
/// are not: on a Xeon with phases of 0.09 us, or 500 multiply-adds, and 60 ns for a line, a cost of 4,000 put
/// an 80 x 80 layer on two threads (`nlp-mlp80` 265,000 to 284,000 images/s), 8,000 does not (325,000 to
/// 340,000).
pub(super) fn thread_costs(team: &Team, blocking: &Blocking) -> ThreadCosts {
    if team.threads() == 1 {
        return ThreadCosts::NONE;
    }
    blocking.thread_costs.unwrap_or_else(|| {
        let phase = team.phase_cost(phase_cost);
        let apart = if phase < 1_500.0 { ThreadCosts::NEAR } else { ThreadCosts::FAR };
        ThreadCosts { phase: (16.0 * phase).clamp(8e3, 6e4), ..apart }
    })
}

/// How C is cut: `row_groups x col_groups` tasks of whole tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    pub(crate) row_groups: usize,
    pub(crate) col_groups: usize,
}

/// How tiles are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// Row by row, from registers.
    ByRow,
    /// Transposed, column by column.
    ByColumn,
    /// Element by element.
    Scattered,
}

/// What the cost of a product depends on. Costs are in vector multiply-adds: cycles of a core that
/// does one a cycle. The constants were measured on Zen 4.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    /// Steps of K in a block; the last may have fewer.
    pub(crate) kc: usize,
    /// Blocks of K.
    pub(crate) blocks: usize,
    /// Slices of K, each a task of its own.
    pub(crate) slices: usize,
    pub(crate) tile: TileShape,
    /// Whether half a vector of columns costs half.
    pub(crate) has_half: bool,
    /// Whether B does not lie by row, so that its copy must be transposed.
    pub(crate) turns_b: bool,
    /// How C lies.
    pub(crate) store: Store,
    /// Rows of a task from which on B is copied.
    pub(crate) copy_b_rows: usize,
}

impl Work {
    /// What one task of `rows x cols` costs.
    pub(crate) fn task_cost(&self, rows: usize, cols: usize) -> f64 {
        let TileShape { mr, nr, tuning } = self.tile;
        let height = self.tile.even_height(rows);
        let panels = rows.div_ceil(height);
        let rows_done = (panels - 1) * height + self.tile.height(rows - (panels - 1) * height);
        let lanes = nr / 2;
        let rest = cols % lanes;
        let tail = match rest {
            0 => 0.0,
            _ if self.has_half && rest <= lanes / 2 => 0.5,
            _ => 1.0,
        };
        let vectors = (cols / lanes) as f64 + tail;
        let k = self.k as f64 / self.slices as f64;
        let multiply = rows_done as f64 * vectors * k * tuning.multiply;
        let copy_b = match (self.turns_b, rows >= self.copy_b_rows) {
            (true, _) => tuning.turn_b,
            (false, true) => 0.12,
            (false, false) => 0.02,
        };
        let copies = (copy_b * cols as f64 + 0.1 * rows as f64) * k;
        let store = match self.store {
            Store::ByRow => 1.5,
            Store::ByColumn => tuning.store_by_column,
            Store::Scattered => 40.0,
        };
        let tiles = panels as f64 * vectors * mr as f64;
        let stores = store * tiles * (self.blocks as f64 / self.slices as f64);
        multiply + copies + stores + 500.0
    }

    /// Floats that one thread wrote and another thread reads, if each thread has a share of K of both
    /// operands in its caches. This is so for batches and weights: a training step writes them that way.
    fn remote_floats(&self, row_groups: usize, col_groups: usize) -> f64 {
        let Self { m, n, k, slices, .. } = *self;
        if slices == self.blocks && slices > 1 {
            // Only the sums, which the leader adds up.
            return (m * n * slices / 2) as f64;
        }
        let of_a = if row_groups > 1 { 0 } else { m * k };
        let of_b = if col_groups > 1 { k * n / col_groups } else { k * n };
        (of_a + of_b) as f64 / 2.0
    }

    /// The same product with each block of K as a task of its own, if that gives the same bits:
    /// blocks are then added up in the order in which one task adds them to C.
    pub(crate) fn by_blocks(&self) -> Option<Self> {
        let is_possible = self.slices == 1 && self.blocks > 1 && self.store == Store::ByRow;
        is_possible.then_some(Self { slices: self.blocks, ..*self })
    }

    /// What it costs to add slices up.
    fn sums_cost(&self) -> f64 {
        match self.slices {
            1 => 0.0,
            slices => 1.5 * (self.m * self.n * (slices + 1)) as f64 / (self.tile.nr / 2) as f64,
        }
    }

    /// Picks the cut with the shortest makespan for that many threads, and what it costs.
    pub(crate) fn grid(&self, threads: usize, costs: ThreadCosts) -> (Grid, f64) {
        let (row_tiles, col_tiles) = (self.m.div_ceil(self.tile.mr), self.n.div_ceil(self.tile.nr));
        let mut best = Grid { row_groups: 1, col_groups: 1 };
        let mut best_cost = self.task_cost(self.m, self.n) * self.slices as f64;
        if threads == 1 || best_cost <= costs.phase {
            return (best, best_cost);
        }
        for col_groups in 1..=col_tiles.min(4 * threads) {
            let cols = self.n.min(col_tiles.div_ceil(col_groups) * self.tile.nr);
            for share in 1..=4 {
                let row_groups =
                    (share * threads).div_ceil(col_groups * self.slices).min(row_tiles);
                let rows = self.m.min(row_tiles.div_ceil(row_groups) * self.tile.mr);
                let rounds = (row_groups * col_groups * self.slices).div_ceil(threads);
                // Rows of memory of C that several tasks write parts of.
                let shared_rows = match self.store {
                    Store::ByColumn if row_groups > 1 => cols,
                    Store::ByRow | Store::Scattered if col_groups > 1 => rows,
                    _ => 0,
                };
                let task = self.task_cost(rows, cols) + costs.shared_row * shared_rows as f64;
                let cost = rounds as f64 * task
                    + costs.remote_float * self.remote_floats(row_groups, col_groups)
                    + self.sums_cost()
                    + costs.phase;
                if cost < best_cost {
                    (best, best_cost) = (Grid { row_groups, col_groups }, cost);
                }
            }
        }
        (best, best_cost)
    }
}

impl Grid {
    /// The rows and columns of one task, as ranges of elements.
    #[inline]
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
    use crate::blocking::KC;

    fn work(m: usize, n: usize, k: usize) -> Work {
        let tile = TileShape::WIDEST;
        let (kc, blocks, slices, copy_b_rows) = (KC, k.div_ceil(KC), 1, 97);
        let (has_half, turns_b, store) = (true, false, Store::ByRow);
        Work { m, n, k, kc, blocks, slices, tile, has_half, turns_b, store, copy_b_rows }
    }

    #[test]
    fn grids_cover_every_element_once() {
        for (m, n) in [(1, 1), (13, 32), (784, 512), (9, 64), (50_000, 10), (97, 1001)] {
            let work = work(m, n, 300);
            for threads in 1..=6 {
                let (grid, _) = work.grid(threads, ThreadCosts::NONE);
                let covered: usize = (0..grid.row_groups * grid.col_groups)
                    .map(|task| {
                        let (rows, cols) = grid.block(task, m, n, work.tile);
                        assert!(!rows.is_empty() && !cols.is_empty(), "{grid:?}, task {task}");
                        rows.len() * cols.len()
                    })
                    .sum();
                assert_eq!(covered, m * n);
            }
        }
    }

    #[test]
    fn threads_are_used_where_they_pay() {
        let tasks = |work: Work| {
            let (grid, _) = work.grid(4, ThreadCosts { phase: 4e3, ..ThreadCosts::NONE });
            grid.row_groups * grid.col_groups
        };
        assert_eq!(tasks(work(32, 10, 32)), 1);
        assert!(tasks(work(256, 512, 784)) >= 4);
    }
}
