//! A block of C on a tile unit: squares of 32 x 32 sums in four tiles, from operands that are packed into tiles
//! (`packed_tiles`). Sums go to C by way of memory, because tiles have no other way out.

use super::block::{BlockOfC, ByBlock};
use super::pack::MAX_MR;
use super::product::Target;
use super::store::{StripEpilogue, StripOutput, store_sums};
use super::tile::TileShape;
use crate::simd::Simd;
use crate::tiles::{SIDE, TileUnit, Tiles, WORDS};
use std::array;
use std::ops::Range;

/// Rows and columns of a square.
const SQUARE: usize = 2 * SIDE;

/// Rows of sums in memory: those of a square, and as many as a vector has lanes at most, which are read where it is
/// transposed.
const ROWS: usize = SQUARE + SIDE;

/// Parts of a square's rows that are stored one after the other.
const STRIPS: usize = SQUARE.div_ceil(MAX_MR);

const _: () = assert!((STRIPS - 1) * MAX_MR + SIDE <= ROWS);

/// Products on tiles.
#[derive(Clone, Copy)]
pub(super) struct OnTiles<T>(pub(super) T);

impl<T: TileUnit> ByBlock for OnTiles<T> {
    #[inline(always)]
    fn compute<S: Simd>(self, simd: S, block: BlockOfC) {
        let BlockOfC { job, target, rows: task_rows, cols, blocks, scratch } = block;
        let (k, kc) = (job.work.k, job.work.kc);
        let (a, b) = (job.product.a, job.product.b);
        assert_eq!(job.work.tile, TileShape::SQUARE, "tasks of whole squares");
        let nc = job.blocking.nc.min(cols.len()).next_multiple_of(SQUARE);
        // Rows of partial sums.
        let sums_apart = blocks.len() > 1 && target.keeps_sums_apart();
        let apart = if sums_apart { nc * task_rows.len() } else { 0 };
        let (sums, apart) = scratch.floats(ROWS * SQUARE + apart).split_at_mut(ROWS * SQUARE);
        let (sums, apart) = (sums.as_mut_ptr(), apart.as_mut_ptr());
        let mut tiles = self.0.configure();
        for col in cols.clone().step_by(nc) {
            let cols = col..cols.end.min(col + nc);
            for block in blocks.clone() {
                let of_k = block * kc / SIDE..k.min((block + 1) * kc) / SIDE;
                let (is_first, is_last) = (block == blocks.start, block + 1 == blocks.end);
                for row in task_rows.clone().step_by(SQUARE) {
                    let rows = row..task_rows.end.min(row + SQUARE);
                    let strips = Strips { target: &target, rows: rows.clone(), cols: cols.clone() };
                    let epilogues = strips.epilogues(is_last);
                    let outputs = strips.outputs(&epilogues, is_first, |output, at| {
                        if !sums_apart {
                            return output;
                        }
                        let first = apart.wrapping_add(nc * (row - task_rows.start + at));
                        let rows =
                            array::from_fn(|i| first.wrapping_add(i.min(output.height - 1) * nc));
                        output.with_sums_apart(rows, is_first, is_last, target.beta)
                    });
                    for first in cols.clone().step_by(SQUARE) {
                        let live = SQUARE.min(cols.end - first);
                        // A panel is a row.
                        let panel_of =
                            |rs: usize, line: usize| line / SIDE * rs + of_k.start * WORDS;
                        let square = Square {
                            a: a.as_ptr().wrapping_add(panel_of(a.rs(), row)).cast(),
                            b: b.as_ptr().wrapping_add(panel_of(b.rs(), first)).cast(),
                            of_panel: [a.rs(), b.rs()],
                            depth: of_k.len(),
                        };
                        // SAFETY: operands have these panels of whole tiles; sums have room for a square. The
                        // strips are inside C, bias and y, and sums have a vector of rows from each strip on.
                        unsafe {
                            match (rows.len() > SIDE, live > SIDE) {
                                (false, false) => square.sum::<T, 1, 1>(&mut tiles, sums),
                                (false, true) => square.sum::<T, 1, 2>(&mut tiles, sums),
                                (true, false) => square.sum::<T, 2, 1>(&mut tiles, sums),
                                (true, true) => square.sum::<T, 2, 2>(&mut tiles, sums),
                            }
                            for (i, output) in outputs.iter().flatten().enumerate() {
                                let sums = sums.add(i * MAX_MR * SQUARE);
                                store_sums(simd, sums, SQUARE, output, first - cols.start, live);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The rows of a square, in strips that can be stored at once.
struct Strips<'a> {
    target: &'a Target<'a>,
    rows: Range<usize>,
    cols: Range<usize>,
}

impl Strips<'_> {
    /// What happens to each when its sums are complete.
    fn epilogues(&self, is_last: bool) -> [StripEpilogue; STRIPS] {
        array::from_fn(|i| match is_last {
            true => self.target.epilogue(self.rows.start + i * MAX_MR, self.cols.start),
            false => StripEpilogue::None,
        })
    }

    /// Where each goes, changed by a function of it and its first row; `None` behind the last row.
    fn outputs<'e>(
        &self,
        epilogues: &'e [StripEpilogue; STRIPS],
        is_first: bool,
        change: impl Fn(StripOutput<'e>, usize) -> StripOutput<'e>,
    ) -> [Option<StripOutput<'e>>; STRIPS] {
        array::from_fn(|i| {
            let at = i * MAX_MR;
            let height = MAX_MR.min(self.rows.len().checked_sub(at).filter(|rest| *rest > 0)?);
            // No row beyond the height is written.
            let nowhere = std::ptr::null_mut();
            let row = (self.rows.start + at, height);
            Some(change(self.target.strip(row, &self.cols, is_first, &epilogues[i], nowhere), at))
        })
    }
}

/// The operands of a square.
struct Square {
    a: *const u32,
    b: *const u32,
    /// Words from one panel to the next, of A and B.
    of_panel: [usize; 2],
    /// Tiles along K.
    depth: usize,
}

impl Square {
    /// Sums up `ROWS x COLS` tiles and stores them, row by row, [`SQUARE`] floats apart.
    ///
    /// # Safety
    /// So many panels of A and B have `depth` tiles, and `sums` room for as many tiles.
    #[inline(always)]
    unsafe fn sum<T: TileUnit, const ROWS: usize, const COLS: usize>(
        &self,
        tiles: &mut T::Tiles,
        sums: *mut f32,
    ) {
        let Self { a, b, of_panel: [next_a, next_b], depth } = *self;
        tiles.zero::<0>();
        tiles.zero::<1>();
        tiles.zero::<2>();
        tiles.zero::<3>();
        for tile in 0..depth {
            let at = tile * WORDS;
            // SAFETY: inside by the caller's promise.
            unsafe {
                tiles.load::<4>(a.add(at), SIDE);
                tiles.load::<6>(b.add(at), SIDE);
                tiles.multiply::<0, 4, 6>();
                if COLS == 2 {
                    tiles.load::<7>(b.add(next_b + at), SIDE);
                    tiles.multiply::<1, 4, 7>();
                }
                if ROWS == 2 {
                    tiles.load::<5>(a.add(next_a + at), SIDE);
                    tiles.multiply::<2, 5, 6>();
                }
                if ROWS == 2 && COLS == 2 {
                    tiles.multiply::<3, 5, 7>();
                }
            }
        }
        // SAFETY: as above.
        unsafe {
            tiles.store::<0>(sums, SQUARE);
            if COLS == 2 {
                tiles.store::<1>(sums.add(SIDE), SQUARE);
            }
            if ROWS == 2 {
                tiles.store::<2>(sums.add(SIDE * SQUARE), SQUARE);
            }
            if ROWS == 2 && COLS == 2 {
                tiles.store::<3>(sums.add(SIDE * SQUARE + SIDE), SQUARE);
            }
        }
    }
}
