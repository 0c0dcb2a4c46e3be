//! Operands of a product packed into words of bf16 numbers, for all of K at once: which word stands for what, and
//! the packing, as one phase.
//!
//! K is cut into blocks of an even number of elements. A block of an operand's words is one of its parts after the
//! other (`parts`), each padded to an even number of elements with zeros. So the product of the words is an
//! ordinary product, whose K is longer, or half as long where a word is a pair.

use super::pack::pack_b;
use super::parts::{Across, Along, Part, Terms};
use super::product::Product;
use crate::blocking::{Blocking, Cut};
use crate::precision::Bf16Kernel;
use crate::simd::{Kernel, Simd};
use crate::team::{Parts, Scratch};
use crate::tiles::DEPTH;
use crate::{Isa, Mat, Team};
use std::ops::Range;

/// Elements of an operand that a task packs: 64 KB.
pub(crate) const TASK: usize = 1 << 14;

/// Columns that are turned at once, where an operand lies along K but is packed across it.
const TURNED_COLS: usize = 512;

/// How K is packed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Words {
    /// Elements.
    pub(crate) k: usize,
    /// Elements in a block, an even number; the last block may have fewer.
    pub(crate) kc: usize,
    /// Parts of an element.
    pub(crate) parts: usize,
    /// Elements of a word.
    pub(crate) unit: usize,
    /// What a part's elements in a block are filled up to a multiple of: pairs, or the depth of a tile.
    pub(crate) pad: usize,
}

impl Words {
    /// The words of K cut so.
    fn new(k: usize, cut: Cut, parts: usize, unit: usize) -> Self {
        assert!(cut.kc.is_multiple_of(2), "blocks of whole pairs");
        Self { k, kc: cut.kc, parts, unit, pad: 2 }
    }

    /// Those of K cut for tiles: pairs.
    fn in_tiles(k: usize, cut: Cut, parts: usize) -> Self {
        assert!(cut.kc.is_multiple_of(DEPTH), "blocks of whole tiles");
        Self { k, kc: cut.kc, parts, unit: 2, pad: DEPTH }
    }

    /// Those of K for products by that kernel, and how K is cut.
    #[inline]
    pub(crate) fn of(
        blocking: &Blocking,
        k: usize,
        terms: Terms,
        kernel: Bf16Kernel,
    ) -> (Self, Cut) {
        let parts = terms.count();
        if kernel.is_on_tiles() {
            let cut = blocking.cut_of_tiles(k, parts);
            return (Self::in_tiles(k, cut, parts), cut);
        }
        let cut = blocking.cut_of_parts(k, parts);
        (Self::new(k, cut, parts, kernel.unit()), cut)
    }

    /// Words of a part of so many elements.
    pub(crate) fn of_part(&self, elements: usize) -> usize {
        elements.next_multiple_of(self.pad) / self.unit
    }

    /// Words of a whole block.
    pub(crate) fn per_block(&self) -> usize {
        self.parts * self.of_part(self.kc)
    }

    /// All words.
    pub(crate) fn count(&self) -> usize {
        self.k / self.kc * self.per_block() + self.parts * self.of_part(self.k % self.kc)
    }

    /// The elements of each block, with the number of its first word.
    pub(crate) fn blocks(self) -> impl Iterator<Item = (Range<usize>, usize)> {
        (0..self.k).step_by(self.kc).map(move |first| {
            (first..self.k.min(first + self.kc), first / self.kc * self.per_block())
        })
    }
}

/// An operand to be packed, and where to.
#[derive(Clone, Copy)]
pub(crate) struct Operand<'a> {
    /// Lines along K: `lines x k` if they are packed along K, else `k x lines`.
    pub(crate) from: Mat<'a>,
    /// Whether words of one line follow each other: `[lines, words]`. Else `[words, lines]`.
    pub(crate) is_along: bool,
    pub(crate) parts: &'static [Part],
    pub(crate) words: Words,
    pub(crate) to: &'a Parts<'a, f32>,
    /// Where the operand begins there.
    pub(crate) at: usize,
}

impl Operand<'_> {
    fn lines(&self) -> usize {
        if self.is_along { self.from.rows() } else { self.from.cols() }
    }

    /// Lines that a task packs, or pairs of K.
    fn at_once(&self) -> usize {
        let other = if self.is_along { self.words.k } else { 2 * self.lines() };
        (TASK / other.max(1)).max(1)
    }

    /// The view of what is packed, `lines x words` or `words x lines`.
    fn shape(&self) -> (usize, usize) {
        let (lines, words) = (self.lines(), self.words.count());
        if self.is_along { (lines, words) } else { (words, lines) }
    }
}

/// An operand that is packed by tasks.
pub(crate) trait PackOperand: Sync {
    /// Tasks it takes.
    fn tasks(&self) -> usize;

    /// Elements it has.
    fn elements(&self) -> usize;

    /// Does a task.
    fn pack(&self, isa: Isa, task: usize, scratch: &mut Scratch);
}

/// So many operands that are alike, each by its number.
pub(crate) struct Several<F>(pub(crate) usize, pub(crate) F);

impl<O: PackOperand, F: Fn(usize) -> O + Sync> PackOperand for Several<F> {
    fn tasks(&self) -> usize {
        self.0 * (self.1)(0).tasks()
    }

    fn elements(&self) -> usize {
        self.0 * (self.1)(0).elements()
    }

    fn pack(&self, isa: Isa, task: usize, scratch: &mut Scratch) {
        let of_one = (self.1)(0).tasks();
        (self.1)(task / of_one).pack(isa, task % of_one, scratch);
    }
}

/// Packs operands, all at once.
pub(crate) fn pack(team: &Team, operands: &[&dyn PackOperand]) {
    let isa = team.isa();
    let tasks: usize = operands.iter().map(|operand| operand.tasks()).sum();
    let elements: usize = operands.iter().map(|operand| operand.elements()).sum();
    let body = |task: usize, scratch: &mut Scratch| {
        let mut task = task;
        for operand in operands {
            if task < operand.tasks() {
                return operand.pack(isa, task, scratch);
            }
            task -= operand.tasks();
        }
    };
    // Small operands take less time than a phase.
    let team = if elements < TASK { team.alone() } else { team };
    team.run(tasks, body);
}

impl PackOperand for Operand<'_> {
    fn tasks(&self) -> usize {
        let all = if self.is_along { self.lines() } else { self.words.k.div_ceil(2) };
        all.div_ceil(self.at_once())
    }

    fn elements(&self) -> usize {
        self.lines() * self.words.k
    }

    fn pack(&self, isa: Isa, task: usize, scratch: &mut Scratch) {
        let at_once = self.at_once();
        let range = |all: usize| task * at_once..all.min((task + 1) * at_once);
        if self.is_along {
            isa.run(LinesAlong { operand: self, lines: range(self.lines()) });
        } else {
            let pairs = range(self.words.k.div_ceil(2));
            isa.run(PairsAcross { operand: self, pairs, scratch });
        }
    }
}

impl Operand<'_> {
    /// Words in memory.
    ///
    /// # Safety
    /// No other task has them.
    #[inline(always)]
    #[allow(clippy::mut_from_ref, reason = "as `Parts::part`")]
    unsafe fn words(&self, range: Range<usize>) -> &mut [u32] {
        // SAFETY: by the caller's promise.
        bytemuck::cast_slice_mut(unsafe {
            self.to.part(self.at + range.start..self.at + range.end)
        })
    }
}

/// Some lines, each packed along K.
struct LinesAlong<'a> {
    operand: &'a Operand<'a>,
    lines: Range<usize>,
}

impl Kernel for LinesAlong<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { operand, lines } = self;
        let (Operand { from, parts, words, .. }, count) = (operand, operand.words.count());
        assert!(from.cs() == 1 || words.k <= 1, "lines along K are contiguous");
        for line in lines {
            // SAFETY: a line of the matrix, and this task's line of words.
            let (from, to) = unsafe {
                let first = from.as_ptr().add(line * from.rs());
                let to = operand.words(line * count..(line + 1) * count);
                (std::slice::from_raw_parts(first, words.k), to)
            };
            for (elements, first) in words.blocks() {
                let len = words.of_part(elements.len());
                let from = &from[elements];
                for (part, to) in parts.iter().zip(to[first..].chunks_exact_mut(len)) {
                    part.on(Along { from, to, unit: words.unit });
                }
            }
        }
    }
}

/// Some pairs of K, of all lines.
struct PairsAcross<'a> {
    operand: &'a Operand<'a>,
    pairs: Range<usize>,
    scratch: &'a mut Scratch,
}

impl Kernel for PairsAcross<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { operand, pairs, scratch } = self;
        let Operand { from, words, .. } = *operand;
        let (rows, lines) = (2 * pairs.start..words.k.min(2 * pairs.end), from.cols());
        if from.cs() == 1 {
            return across(operand, from.block(rows.clone(), 0..lines), rows.start, 0);
        }
        let turned = scratch.floats(rows.len() * lines.min(TURNED_COLS));
        for start in (0..lines).step_by(TURNED_COLS) {
            let cols = start..lines.min(start + TURNED_COLS);
            let turned = &mut turned[..rows.len() * cols.len()];
            pack_b(simd, from.block(rows.clone(), cols.clone()), turned, cols.len());
            across(operand, Mat::new(turned, rows.len(), cols.len()), rows.start, start);
        }
    }
}

/// Packs some rows, which begin with an element of K of even number, and some columns, from one on. They lie by
/// row.
#[inline(always)]
fn across(operand: &Operand, rows: Mat, first: usize, col: usize) {
    // SAFETY: a row of the matrix.
    let row = |p: usize| unsafe {
        std::slice::from_raw_parts(rows.as_ptr().add(p * rows.rs()), rows.cols())
    };
    for p in (0..rows.rows()).step_by(2) {
        let second = (p + 1 < rows.rows()).then(|| row(p + 1));
        // SAFETY: these pairs are this task's.
        unsafe { operand.pack_pair(first + p, col, row(p), second) };
    }
}

impl Operand<'_> {
    /// Packs the elements `p`, an even number, and `p + 1` of K of an operand that is packed across it, of lines from
    /// `col` on.
    ///
    /// # Safety
    /// No other task has their words.
    #[inline(always)]
    pub(crate) unsafe fn pack_pair(
        &self,
        p: usize,
        col: usize,
        first: &[f32],
        second: Option<&[f32]>,
    ) {
        let Self { words, parts, .. } = *self;
        let (lines, cols) = (self.lines(), first.len());
        let (block, at) = (p / words.kc, p % words.kc);
        let len = words.of_part(words.kc.min(words.k - block * words.kc));
        for (i, part) in parts.iter().enumerate() {
            let word = block * words.per_block() + i * len + at / words.unit;
            let start = |word: usize| word * lines + col;
            // SAFETY: by the caller's promise.
            let to = unsafe {
                let second =
                    if words.unit == 1 { start(word + 1)..start(word + 1) + cols } else { 0..0 };
                [self.words(start(word)..start(word) + cols), self.words(second)]
            };
            part.on(Across { first, second, to, unit: words.unit });
        }
    }
}

/// Packs both operands of a product into `buffer`; the product of their words. `buffer` has [`packed_len`].
pub(super) fn packed<'a>(
    team: &Team,
    product: &Product<'a>,
    words: Words,
    terms: Terms,
    buffer: &'a mut [f32],
) -> Product<'a> {
    let Product { a, b, target } = *product;
    let (m, n, count) = (a.rows(), b.cols(), words.count());
    let to = Parts::new(&mut *buffer);
    // A is read along its contiguous direction. A panel of it may lie either way; B lies by row.
    let is_along = a.cs() == 1;
    let from = if is_along { a } else { a.t() };
    let pack_a = Operand { from, is_along, parts: terms.a, words, to: &to, at: 0 };
    let pack_b =
        Operand { from: b, is_along: false, parts: terms.b, words, to: &to, at: m * count };
    let (rows, cols) = pack_a.shape();
    pack(team, &[&pack_a, &pack_b]);
    let (words_of_a, words_of_b) = buffer.split_at(m * count);
    let a = Mat::new(words_of_a, rows, cols);
    Product { a: if is_along { a } else { a.t() }, b: Mat::new(words_of_b, count, n), target }
}

/// Words of both operands.
pub(super) fn packed_len(product: &Product, words: Words) -> usize {
    (product.a.rows() + product.b.cols()) * words.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_of_k_has_a_word_of_each_part() {
        for (k, most, slice_blocks) in
            [(1, 128, 16), (17, 2, 2), (257, 128, 16), (43, 21, 96), (800, 21, 96)]
        {
            let cut = Cut::in_pairs(k, most, slice_blocks);
            for (parts, unit) in [(1, 1), (1, 2), (6, 1), (6, 2)] {
                let words = Words::new(k, cut, parts, unit);
                let blocks: Vec<_> = words.blocks().collect();
                assert_eq!(blocks.len(), cut.blocks);
                let mut next = (0, 0);
                for (elements, word) in blocks {
                    assert_eq!((elements.start, word), next);
                    next = (elements.end, word + parts * words.of_part(elements.len()));
                }
                assert_eq!(next, (k, words.count()));
            }
        }
    }
}
