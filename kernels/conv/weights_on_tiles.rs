//! The gradient of the weights on a tile unit, transposed: a row for each filter, and a column for each element under a
//! window. So the rows of a tile of B are runs of an image, which are copied as they lie. (A tile of A would take its
//! columns from there.)

use super::panel::copy_run;
use super::weights::{Task, WeightGradient};
use crate::gemm::on_tiles::{SQUARE, SUMS, Square, store_square, strips};
use crate::gemm::store::StripOutput;
use crate::simd::{Kernel, Simd};
use crate::tiles::{SIDE, TileUnit, WORDS};
use std::array;
use std::ops::Range;

/// A task on a tile unit.
pub(super) struct OnTiles<'a, T> {
    pub(super) unit: T,
    pub(super) task: Task<'a>,
}

impl<T: TileUnit> Kernel for OnTiles<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { unit, task: Task { job, rows, blocks, dw, scratch } } = self;
        let WeightGradient { dz, filters, .. } = *job;
        let pairs = job.pairs.expect("operands in pairs");
        let (per_block, elements) = (pairs.words.per_block(), rows.len());
        let words_of_panel = per_block * SIDE;
        // Two panels of a block of B, the sums of earlier blocks, and how far words are from the first.
        let panels_len = 2 * words_of_panel;
        let floats = scratch.floats(SUMS + panels_len + filters * elements + per_block);
        let (sums, rest) = floats.split_at_mut(SUMS);
        let (operand, rest) = rest.split_at_mut(panels_len);
        let (apart, steps) = rest.split_at_mut(filters * elements);
        let steps: &mut [u32] = bytemuck::cast_slice_mut(steps);
        let (sums, apart, dw) = (sums.as_mut_ptr(), apart.as_mut_ptr(), dw.as_mut_ptr());
        let mut tiles = unit.configure();
        for block in blocks.clone() {
            let (is_first, is_last) = (block == blocks.start, block + 1 == blocks.end);
            let (start, depth) = job.write_steps(block, steps);
            let (first_word, steps) = (block * words_of_panel, &steps[..depth]);
            let of_part = (pairs.of_part(block), pairs.padding(block));
            for first in rows.clone().step_by(SQUARE) {
                let square = first..rows.end.min(first + SQUARE);
                for (i, panel) in operand.chunks_exact_mut(words_of_panel).enumerate() {
                    let elements = first + i * SIDE..square.end.min(first + (i + 1) * SIDE);
                    let from = job.x.as_ptr().wrapping_add(start);
                    job.pack_panel(simd, from, steps, of_part, elements, panel);
                }
                for filter in (0..filters).step_by(SQUARE) {
                    let height = SQUARE.min(filters - filter);
                    let outputs = strips(height, |at, height| {
                        let filter = filter + at;
                        let column = |i: usize| dw.wrapping_add(filter + i.min(height - 1));
                        let (cs, by_column) = (filters, true);
                        let plain = StripOutput::plain(array::from_fn(column));
                        let output = StripOutput { cs, by_column, height, ..plain };
                        let row =
                            |i: usize| apart.wrapping_add((filter + i.min(height - 1)) * elements);
                        output.with_sums_apart(array::from_fn(row), is_first, is_last, None)
                    });
                    let panel = filter / SIDE * dz.rs() + first_word;
                    let work = Square {
                        a: dz.as_ptr().wrapping_add(panel).cast(),
                        b: operand.as_ptr().cast(),
                        of_panel: [dz.rs(), words_of_panel],
                        depth: depth / SIDE,
                        sides: [height, square.len()],
                    };
                    // SAFETY: operands have these panels of whole tiles, and sums room for a square; dw and the sums
                    // apart have these filters and elements.
                    unsafe {
                        work.sum::<T>(&mut tiles, sums);
                        let col = first - rows.start;
                        store_square(simd, sums, &outputs, col, square.len());
                    }
                }
            }
        }
    }
}

impl WeightGradient<'_> {
    /// Copies what is under a block of windows into a panel of B, of at most 16 elements. `from` is the first word of
    /// the first window. The words of each part are so many, of which the last fill a tile.
    #[inline(always)]
    fn pack_panel<S: Simd>(
        &self,
        simd: S,
        from: *const f32,
        steps: &[u32],
        (of_part, padding): (usize, usize),
        elements: Range<usize>,
        panel: &mut [f32],
    ) {
        let run = self.kernel_w * self.images.channels;
        let row_of = |word: usize| word / SIDE * WORDS + word % SIDE * SIDE;
        for part in (0..steps.len()).step_by(of_part) {
            let (words, padding) =
                (part..part + of_part - padding, part + of_part - padding..part + of_part);
            let mut element = elements.start;
            while element < elements.end {
                // Elements that follow each other in the image.
                let len = (run - element % run).min(elements.end - element);
                let from = from.wrapping_add(self.offset(element));
                let to = panel.as_mut_ptr().wrapping_add(element - elements.start);
                for word in words.clone() {
                    // SAFETY: under a window, inside its image's frame; and inside the row of the tile.
                    unsafe {
                        copy_run(simd, from.add(steps[word] as usize), to.add(row_of(word)), len);
                    }
                }
                element += len;
            }
            for word in padding {
                panel[row_of(word)..][..SIDE].fill(0.0);
            }
        }
    }
}
