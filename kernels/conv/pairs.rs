//! The operands of the gradient of the weights as words of bf16 numbers. K runs over windows there, and a pair of K is
//! a window of an image and the same window of the next. So pairs lie as windows of one image do: two images that are
//! interleaved are an image of pairs, and what is under a pair of windows is read by the offsets of its words. An odd
//! last image has zeros beside it.

use super::images::{Framed, Grid};
use super::windows::{kept, place_of};
use crate::gemm::pack::pack_b;
use crate::gemm::packed_tiles::{self, elements_of};
use crate::gemm::parts::{Across, Part, Terms};
use crate::gemm::words::{Operand, PackOperand, TASK, Words};
use crate::simd::{Kernel, Simd};
use crate::team::{Parts, Scratch};
use crate::tiles::DEPTH;
use crate::{Isa, Mat};
use std::ops::Range;

/// How windows are packed in pairs.
#[derive(Clone, Copy)]
pub(super) struct Pairs {
    pub(super) terms: Terms,
    /// The words of K.
    pub(super) words: Words,
    /// Words of one part of an image in its frame.
    pub(super) plane: usize,
}

impl Pairs {
    /// Words of a pair: one, or one for each half.
    fn of_pair(&self) -> usize {
        2 / self.words.unit
    }

    /// Words of two images in their frames: a plane for each part that is kept, or one for each half of it.
    pub(super) fn of_images(&self) -> usize {
        kept(self.terms).len() * self.of_pair() * self.plane
    }

    /// The pairs of a block of K.
    fn of_block(&self, block: usize) -> Range<usize> {
        let Words { k, kc, .. } = self.words;
        block * kc / 2..k.min((block + 1) * kc) / 2
    }

    /// Words of a part in a block of K, those that fill tiles among them.
    pub(super) fn of_part(&self, block: usize) -> usize {
        self.words.of_part(2 * self.of_block(block).len())
    }

    /// Words of a part in a block of K that are there to fill tiles.
    pub(super) fn padding(&self, block: usize) -> usize {
        self.of_part(block) - self.of_block(block).len() * self.of_pair()
    }

    /// The place of the first pair of a block of windows, and then for each word of the block its number, and how far
    /// it is from there. Words that only fill a tile are left out.
    pub(super) fn words_of_block(
        self,
        windows: Grid,
        block: usize,
    ) -> (usize, impl Iterator<Item = (usize, usize)>) {
        let (pairs, len, of_pair) = (self.of_block(block), self.of_part(block), self.of_pair());
        let start = windows.walk(pairs.start).next();
        let of_part = move |(i, &part): (usize, &Part)| {
            let plane = place_of(part, kept(self.terms)) * of_pair;
            let mut walk = windows.walk(pairs.start);
            pairs.clone().enumerate().flat_map(move |(pair, _)| {
                let step = walk.next() - start;
                (0..of_pair).map(move |half| {
                    (i * len + pair * of_pair + half, step + (plane + half) * self.plane)
                })
            })
        };
        (start, self.terms.a.iter().enumerate().flat_map(of_part))
    }
}

/// Images, to be packed into pairs in their frames.
pub(super) struct PairsOfImages<'a> {
    pub(super) x: &'a [f32],
    pub(super) images: Framed,
    pub(super) pairs: Pairs,
    /// From the first float on.
    pub(super) to: &'a Parts<'a, f32>,
}

impl PackOperand for PairsOfImages<'_> {
    fn tasks(&self) -> usize {
        (self.x.len() / self.images.len()).div_ceil(2)
    }

    fn elements(&self) -> usize {
        self.x.len()
    }

    fn pack(&self, isa: Isa, task: usize, _: &mut Scratch) {
        let len = self.images.len();
        let two = &self.x[2 * task * len..self.x.len().min(2 * (task + 1) * len)];
        let of_images = self.pairs.of_images();
        // SAFETY: each pair of images is one task's.
        let to = unsafe { self.to.part(task * of_images..(task + 1) * of_images) };
        isa.run(TwoImages {
            operand: self,
            two: two.split_at(len),
            to: bytemuck::cast_slice_mut(to),
        });
    }
}

/// Two images, the second of which may have no elements.
struct TwoImages<'a> {
    operand: &'a PairsOfImages<'a>,
    two: (&'a [f32], &'a [f32]),
    to: &'a mut [u32],
}

impl Kernel for TwoImages<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { operand: PairsOfImages { images, pairs, .. }, two: (one, other), to } = self;
        let (line, line_len) = (images.width * images.channels, images.line_len());
        let left = images.frame.left * images.channels;
        let unit = pairs.words.unit;
        to.fill(0);
        let planes = to.chunks_exact_mut(pairs.of_pair() * pairs.plane);
        for (part, planes) in kept(pairs.terms).iter().zip(planes) {
            let (plane, second_plane) = planes.split_at_mut(pairs.plane);
            for (i, first) in one.chunks_exact(line).enumerate() {
                let second = other.get(i * line..(i + 1) * line);
                let place = (images.frame.top + i) * line_len + left;
                let to_second =
                    if unit == 1 { &mut second_plane[place..place + line] } else { &mut [] };
                let to = [&mut plane[place..place + line], to_second];
                part.on(Across { first, second, to, unit });
            }
        }
    }
}

/// The gradients of windows, a row for each.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) dz: Mat<'a>,
    /// Windows of an image.
    pub(super) per_image: usize,
}

impl<'a> Rows<'a> {
    /// Elements of K: the windows of an even number of images.
    pub(super) fn k(&self) -> usize {
        (self.dz.rows() / self.per_image).next_multiple_of(2) * self.per_image
    }

    /// The row of an element of K; `None` beside the last image.
    #[inline(always)]
    fn row(&self, p: usize) -> Option<&'a [f32]> {
        let Self { dz, per_image } = *self;
        let row = (p / 2 / per_image * 2 + p % 2) * per_image + p / 2 % per_image;
        let first = dz.as_ptr().wrapping_add(row * dz.rs());
        // SAFETY: a row of the matrix, whose elements follow each other.
        (row < dz.rows()).then(|| unsafe { std::slice::from_raw_parts(first, dz.cols()) })
    }
}

/// The gradients, to be packed as rows of words.
pub(super) struct PairsInRows<'a> {
    pub(super) rows: Rows<'a>,
    pub(super) to: Operand<'a>,
}

impl PairsInRows<'_> {
    /// Pairs that a task packs.
    fn at_once(&self) -> usize {
        (TASK / 2 / self.rows.dz.cols()).max(1)
    }
}

impl PackOperand for PairsInRows<'_> {
    fn tasks(&self) -> usize {
        (self.rows.k() / 2).div_ceil(self.at_once())
    }

    fn elements(&self) -> usize {
        self.rows.k() * self.rows.dz.cols()
    }

    fn pack(&self, isa: Isa, task: usize, _: &mut Scratch) {
        let (at_once, all) = (self.at_once(), self.rows.k() / 2);
        isa.run(SomeRows { operand: self, pairs: task * at_once..all.min((task + 1) * at_once) });
    }
}

/// Some pairs.
struct SomeRows<'a> {
    operand: &'a PairsInRows<'a>,
    pairs: Range<usize>,
}

impl Kernel for SomeRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let PairsInRows { rows, to } = self.operand;
        for p in self.pairs.map(|pair| 2 * pair) {
            let first = rows.row(p).expect("the last image is the first of its pair");
            // SAFETY: these pairs are this task's.
            unsafe { to.pack_pair(p, 0, first, rows.row(p + 1)) };
        }
    }
}

/// The gradients, to be packed as tiles of A: a line for each filter.
pub(super) struct PairsInTiles<'a> {
    pub(super) rows: Rows<'a>,
    pub(super) to: packed_tiles::Operand<'a>,
}

impl PairsInTiles<'_> {
    /// Units of K that a task packs.
    fn at_once(&self) -> usize {
        (TASK / DEPTH / self.rows.dz.cols()).max(1)
    }

    /// All of them.
    fn units(&self) -> usize {
        self.rows.k().div_ceil(DEPTH)
    }
}

impl PackOperand for PairsInTiles<'_> {
    fn tasks(&self) -> usize {
        self.units().div_ceil(self.at_once())
    }

    fn elements(&self) -> usize {
        self.rows.k() * self.rows.dz.cols()
    }

    fn pack(&self, isa: Isa, task: usize, scratch: &mut Scratch) {
        let at_once = self.at_once();
        let units = task * at_once..self.units().min((task + 1) * at_once);
        isa.run(SomeUnits { operand: self, units, scratch });
    }
}

/// Some units of K.
struct SomeUnits<'a> {
    operand: &'a PairsInTiles<'a>,
    units: Range<usize>,
    scratch: &'a mut Scratch,
}

impl Kernel for SomeUnits<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { operand: PairsInTiles { rows, to }, units, scratch } = self;
        let filters = rows.dz.cols();
        let (lines, turned) = scratch.floats(2 * DEPTH * filters).split_at_mut(DEPTH * filters);
        for unit in units {
            let elements = elements_of(&to.words, unit);
            let depth = elements.len();
            for (p, line) in elements.zip(lines.chunks_exact_mut(filters)) {
                match rows.row(p) {
                    Some(row) => line.copy_from_slice(row),
                    None => line.fill(0.0),
                }
            }
            pack_b(simd, Mat::new(lines, depth, filters).t(), turned, DEPTH);
            for (filter, line) in turned.chunks_exact(DEPTH).enumerate() {
                // SAFETY: this unit of K is this task's.
                unsafe { to.pack_line(filter, unit, &line[..depth]) };
            }
        }
    }
}
