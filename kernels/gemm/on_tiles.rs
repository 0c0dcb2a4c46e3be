//! A block of C on a tile unit: squares of 32 x 32 sums in four tiles, from operands that are packed into tiles
//! (`packed_tiles`). Sums go to C by way of memory, because tiles have no other way out.

use super::block::{BlockOfC, ByBlock};
use super::pack::MAX_MR;
use super::store::{StripEpilogue, StripOutput, store_sums};
use super::tile::TileShape;
use crate::simd::Simd;
use crate::tiles::{SIDE, TileUnit, Tiles, WORDS};
use std::array;

/// Rows and columns of a square.
pub(crate) const SQUARE: usize = 2 * SIDE;

/// Rows of sums in memory: those of a square, and as many as a vector has lanes at most, which are read where it is
/// transposed.
const ROWS: usize = SQUARE + SIDE;

/// Floats of a square's sums in memory.
pub(crate) const SUMS: usize = ROWS * SQUARE;

/// Parts of a square's rows that are stored one after the other.
const STRIPS: usize = SQUARE.div_ceil(MAX_MR);

const _: () = assert!((STRIPS - 1) * MAX_MR + SIDE <= ROWS);

/// Products on tiles.
#[derive(Clone, Copy)]
pub(crate) struct OnTiles<T>(pub(crate) T);

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
        let (sums, apart) = scratch.floats(SUMS + apart).split_at_mut(SUMS);
        let (sums, apart) = (sums.as_mut_ptr(), apart.as_mut_ptr());
        let mut tiles = self.0.configure();
        for col in cols.clone().step_by(nc) {
            let cols = col..cols.end.min(col + nc);
            for block in blocks.clone() {
                let of_k = block * kc / SIDE..k.min((block + 1) * kc) / SIDE;
                let (is_first, is_last) = (block == blocks.start, block + 1 == blocks.end);
                for row in task_rows.clone().step_by(SQUARE) {
                    let rows = row..task_rows.end.min(row + SQUARE);
                    let epilogues: [_; STRIPS] = array::from_fn(|i| match is_last {
                        true => target.epilogue(row + i * MAX_MR, cols.start),
                        false => StripEpilogue::None,
                    });
                    let outputs = strips(rows.len(), |at, height| {
                        // No row beyond the height is written.
                        let (place, nowhere) = ((row + at, height), std::ptr::null_mut());
                        let epilogue = &epilogues[at / MAX_MR];
                        let output = target.strip(place, &cols, is_first, epilogue, nowhere);
                        if !sums_apart {
                            return output;
                        }
                        let first = apart.wrapping_add(nc * (row - task_rows.start + at));
                        let rows = array::from_fn(|i| first.wrapping_add(i.min(height - 1) * nc));
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
                            sides: [rows.len(), live],
                        };
                        // SAFETY: operands have these panels of whole tiles; sums have room for a square. The
                        // strips are inside C, bias and y.
                        unsafe {
                            square.sum::<T>(&mut tiles, sums);
                            store_square(simd, sums, &outputs, first - cols.start, live);
                        }
                    }
                }
            }
        }
    }
}

/// The strips that so many rows of a square are stored in, each by its first row and its height; `None` behind the
/// last row.
#[inline(always)]
pub(crate) fn strips<'a>(
    rows: usize,
    strip: impl Fn(usize, usize) -> StripOutput<'a>,
) -> [Option<StripOutput<'a>>; STRIPS] {
    array::from_fn(|i| {
        let at = i * MAX_MR;
        let height = MAX_MR.min(rows.checked_sub(at).filter(|rest| *rest > 0)?);
        Some(strip(at, height))
    })
}

/// Stores `live` columns of a square's sums, from column `col` of the strips on.
///
/// # Safety
/// There are [`SUMS`] floats. C, bias and y have what the strips say.
#[inline(always)]
pub(crate) unsafe fn store_square<S: Simd>(
    simd: S,
    sums: *mut f32,
    outputs: &[Option<StripOutput>; STRIPS],
    col: usize,
    live: usize,
) {
    for (i, output) in outputs.iter().flatten().enumerate() {
        // SAFETY: by the caller's promise; sums have a vector of rows from each strip on.
        unsafe { store_sums(simd, sums.add(i * MAX_MR * SQUARE), SQUARE, output, col, live) };
    }
}

/// The operands of a square.
pub(crate) struct Square {
    pub(crate) a: *const u32,
    pub(crate) b: *const u32,
    /// Words from one panel to the next, of A and B.
    pub(crate) of_panel: [usize; 2],
    /// Tiles along K.
    pub(crate) depth: usize,
    /// Rows and columns that are needed, at most [`SQUARE`].
    pub(crate) sides: [usize; 2],
}

impl Square {
    /// Sums the tiles up that are needed, and stores them row by row, [`SQUARE`] floats apart.
    ///
    /// # Safety
    /// As many panels of A and B as have lines that are needed have `depth` tiles, and `sums` has [`SUMS`] floats.
    #[inline(always)]
    pub(crate) unsafe fn sum<T: TileUnit>(&self, tiles: &mut T::Tiles, sums: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe {
            match self.sides.map(|lines| lines > SIDE) {
                [false, false] => self.sum_of::<T, 1, 1>(tiles, sums),
                [false, true] => self.sum_of::<T, 1, 2>(tiles, sums),
                [true, false] => self.sum_of::<T, 2, 1>(tiles, sums),
                [true, true] => self.sum_of::<T, 2, 2>(tiles, sums),
            }
        }
    }

    /// Sums up `ROWS x COLS` tiles and stores them, row by row, [`SQUARE`] floats apart.
    ///
    /// # Safety
    /// So many panels of A and B have `depth` tiles, and `sums` room for as many tiles.
    #[inline(always)]
    unsafe fn sum_of<T: TileUnit, const ROWS: usize, const COLS: usize>(
        &self,
        tiles: &mut T::Tiles,
        sums: *mut f32,
    ) {
        let Self { a, b, of_panel: [next_a, next_b], depth, .. } = *self;
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
