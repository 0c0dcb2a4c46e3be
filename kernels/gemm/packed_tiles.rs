//! Operands of a product packed into tiles of bf16 numbers (`crate::tiles`), for all of K at once.
//!
//! An operand is cut into panels of 16 lines: rows of A, or columns of B. A panel is one tile after the other along K,
//! each 1 KB that lies together: a tile of A is 16 rows of 16 pairs, one of B 16 pairs of 16 columns. K is cut into
//! units of 32 elements. Its blocks are whole units, so one tile holds numbers of one block; the tiles of a block are
//! those of its first part, then of its second, and so on (`words`). Behind the last element of K stand zeros; lines
//! behind the last of an operand hold any numbers, because nothing of them is stored.
//!
//! The first number of a pair is the upper half of its word, as in all words. The manual's order is the other. That
//! exchanges the two sums that the unit adds to each other at the end, and no bit.

use super::pack::pack_b;
use super::parts::{Across, Along, Part, Terms};
use super::product::Product;
use super::words::{PackOperand, TASK, Words, pack};
use crate::simd::{Kernel, Simd};
use crate::team::{Parts, Scratch};
use crate::tiles::{DEPTH, SIDE, WORDS};
use crate::{Isa, Mat, Team};
use std::ops::Range;

/// Which operand it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Lines are rows.
    A,
    /// Lines are columns.
    B,
}

/// An operand to be packed, and where to.
#[derive(Clone, Copy)]
pub(crate) struct Operand<'a> {
    pub(crate) from: Mat<'a>,
    pub(crate) side: Side,
    pub(crate) parts: &'static [Part],
    pub(crate) words: Words,
    pub(crate) to: &'a Parts<'a, f32>,
    /// Where the operand begins there.
    pub(crate) at: usize,
}

/// Panels of so many lines.
pub(crate) fn panels(lines: usize) -> usize {
    lines.div_ceil(SIDE)
}

/// The tile of a part of a unit of K, in a panel.
fn tile_of(words: &Words, unit: usize, part: usize) -> usize {
    let (units, per_block) = (words.k.div_ceil(DEPTH), words.kc / DEPTH);
    let first = unit / per_block * per_block;
    first * words.parts + part * per_block.min(units - first) + (unit - first)
}

/// Elements of a unit of K.
pub(crate) fn elements_of(words: &Words, unit: usize) -> Range<usize> {
    unit * DEPTH..words.k.min((unit + 1) * DEPTH)
}

impl Operand<'_> {
    fn lines(&self) -> usize {
        if self.side == Side::A { self.from.rows() } else { self.from.cols() }
    }

    /// What tasks are cut from: panels of A, so that rows are read along K, and units of K of B, so that its rows are
    /// read along.
    fn pieces(&self) -> usize {
        match self.side {
            Side::A => panels(self.lines()),
            Side::B => self.words.k.div_ceil(DEPTH),
        }
    }

    /// Pieces of a task.
    fn at_once(&self) -> usize {
        let piece = match self.side {
            Side::A => SIDE * self.words.k,
            Side::B => DEPTH * self.lines(),
        };
        (TASK / piece.max(1)).max(1)
    }

    /// Some words of a tile.
    ///
    /// # Safety
    /// No other task has them.
    #[inline(always)]
    #[allow(clippy::mut_from_ref, reason = "as `Parts::part`")]
    unsafe fn words(&self, panel: usize, tile: usize, words: Range<usize>) -> &mut [u32] {
        let first = self.at + panel * self.words.count() * SIDE + tile * WORDS;
        // SAFETY: by the caller's promise.
        bytemuck::cast_slice_mut(unsafe { self.to.part(first + words.start..first + words.end) })
    }

    /// Packs some panels of A, the first of whose rows is the first of `rows`.
    #[inline(always)]
    fn pack_rows(&self, rows: Mat, first_panel: usize) {
        let words = &self.words;
        for i in 0..rows.rows() {
            // SAFETY: a row of the matrix, whose elements follow each other.
            let row = unsafe {
                std::slice::from_raw_parts(rows.as_ptr().add(i * rows.rs()), rows.cols())
            };
            for unit in 0..words.k.div_ceil(DEPTH) {
                // SAFETY: this panel is this task's.
                unsafe {
                    self.pack_line(first_panel * SIDE + i, unit, &row[elements_of(words, unit)])
                };
            }
        }
    }

    /// Packs a unit of K of a row of A.
    ///
    /// # Safety
    /// No other task has it.
    #[inline(always)]
    pub(crate) unsafe fn pack_line(&self, row: usize, unit: usize, from: &[f32]) {
        let (panel, line) = (row / SIDE, row % SIDE);
        for (part, kind) in self.parts.iter().enumerate() {
            let tile = tile_of(&self.words, unit, part);
            // SAFETY: by the caller's promise.
            let to = unsafe { self.words(panel, tile, line * SIDE..(line + 1) * SIDE) };
            kind.on(Along { from, to, unit: self.words.unit });
        }
    }

    /// Packs a unit of K of B, whose elements are `rows`.
    #[inline(always)]
    fn pack_unit(&self, rows: Mat, unit: usize) {
        let Self { words, parts, .. } = self;
        for pair in 0..SIDE {
            for panel in 0..panels(rows.cols()) {
                let cols = panel * SIDE..rows.cols().min((panel + 1) * SIDE);
                let row = |p: usize| {
                    let first = rows.as_ptr().wrapping_add(p * rows.rs() + cols.start);
                    // SAFETY: columns of a row of the matrix, which follow each other.
                    (p < rows.rows())
                        .then(|| unsafe { std::slice::from_raw_parts(first, cols.len()) })
                };
                for (part, kind) in parts.iter().enumerate() {
                    let tile = tile_of(words, unit, part);
                    let place = pair * SIDE..pair * SIDE + cols.len();
                    // SAFETY: this unit of K is this task's.
                    let to = unsafe { self.words(panel, tile, place) };
                    match row(2 * pair) {
                        None => to.fill(0),
                        Some(first) => {
                            let (second, to) = (row(2 * pair + 1), [to, &mut [][..]]);
                            kind.on(Across { first, second, to, unit: words.unit });
                        }
                    }
                }
            }
        }
    }
}

impl PackOperand for Operand<'_> {
    fn tasks(&self) -> usize {
        self.pieces().div_ceil(self.at_once())
    }

    fn elements(&self) -> usize {
        self.lines() * self.words.k
    }

    fn pack(&self, isa: Isa, task: usize, scratch: &mut Scratch) {
        let at_once = self.at_once();
        let pieces = task * at_once..self.pieces().min((task + 1) * at_once);
        isa.run(Pieces { operand: self, pieces, scratch });
    }
}

/// Some pieces of an operand.
struct Pieces<'a> {
    operand: &'a Operand<'a>,
    pieces: Range<usize>,
    scratch: &'a mut Scratch,
}

impl Kernel for Pieces<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { operand, pieces, scratch } = self;
        let Operand { from, words, side, .. } = *operand;
        // Elements that do not follow each other are turned first.
        let mut by_row = |part: Mat, work: &mut dyn FnMut(Mat)| {
            if part.cs() == 1 {
                return work(part);
            }
            let (rows, cols) = (part.rows(), part.cols());
            let turned = scratch.floats(rows * cols);
            pack_b(simd, part, turned, cols);
            work(Mat::new(turned, rows, cols));
        };
        match side {
            Side::A => {
                let lines = pieces.start * SIDE..from.rows().min(pieces.end * SIDE);
                by_row(from.block(lines, 0..words.k), &mut |rows| {
                    operand.pack_rows(rows, pieces.start)
                });
            }
            Side::B => {
                for unit in pieces {
                    let rows = from.block(elements_of(&words, unit), 0..from.cols());
                    by_row(rows, &mut |rows| operand.pack_unit(rows, unit));
                }
            }
        }
    }
}

/// Packs both operands of a product into `buffer`, which has [`packed_len`]. Each is then a matrix with a row for each
/// panel.
pub(super) fn packed<'a>(
    team: &Team,
    product: &Product<'a>,
    words: Words,
    terms: Terms,
    buffer: &'a mut [f32],
) -> Product<'a> {
    let Product { a, b, target } = *product;
    let of_panel = words.count() * SIDE;
    let [panels_of_a, panels_of_b] = [a.rows(), b.cols()].map(panels);
    let to = Parts::new(&mut *buffer);
    let pack_a = Operand { from: a, side: Side::A, parts: terms.a, words, to: &to, at: 0 };
    let at = panels_of_a * of_panel;
    let pack_b = Operand { from: b, side: Side::B, parts: terms.b, words, to: &to, at };
    pack(team, &[&pack_a, &pack_b]);
    let (tiles_of_a, tiles_of_b) = buffer.split_at(at);
    let a = Mat::new(tiles_of_a, panels_of_a, of_panel);
    Product { a, b: Mat::new(tiles_of_b, panels_of_b, of_panel), target }
}

/// Words of both operands.
pub(super) fn packed_len(product: &Product, words: Words) -> usize {
    (panels(product.a.rows()) + panels(product.b.cols())) * words.count() * SIDE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocking::Blocking;
    use crate::precision::{Bf16Kernel, Precision};

    #[test]
    fn every_part_of_every_unit_has_a_tile_and_blocks_lie_together() {
        let blocking = Blocking::of_machine();
        for terms in [Precision::Bf16, Precision::F32Split].map(|p| Terms::of(p).unwrap()) {
            let parts = terms.count();
            for k in [1, 31, 32, 33, 64, 65, 511, 512, 513, 784, 4097] {
                let (words, cut) = Words::of(blocking, k, terms, Bf16Kernel::AmxTwin);
                let units = k.div_ceil(DEPTH);
                let mut taken = vec![false; words.count() / SIDE];
                for unit in 0..units {
                    let block = elements_of(&words, unit).start / cut.kc;
                    for part in 0..parts {
                        let tile = tile_of(&words, unit, part);
                        assert!(!std::mem::replace(&mut taken[tile], true), "{k}: {tile} twice");
                        assert_eq!(tile * SIDE / words.per_block(), block, "{k}: tile {tile}");
                    }
                }
                assert!(taken.iter().all(|taken| *taken), "{k}: tiles of nothing");
            }
        }
    }
}
