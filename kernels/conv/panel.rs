//! Some windows at once times the weights: the step that the forward pass, the pooled one and the scattered gradient
//! share. In registers a panel is as high as a tile of the instruction set, and windows are read where they lie. On a
//! tile unit it is a square's 32 rows; what is under its windows is copied into tiles, a run of memory at a time.

use super::windows::Windows;
use crate::Mat;
use crate::gemm::block::InRegisters;
use crate::gemm::on_tiles::{OnTiles, SQUARE, SUMS, Square, store_square, strips};
use crate::gemm::packed_tiles::panels;
use crate::gemm::store::{StripEpilogue, StripOutput};
use crate::gemm::tile::{MAX_MR, StripInput, TileShape, strip};
use crate::gemm::words::Words;
use crate::micro::Micro;
use crate::simd::Simd;
use crate::tiles::{SIDE, TileUnit, WORDS};
use std::{array, ptr};

/// Windows that any way of multiplying takes at once, at most; and twice as many as registers do.
pub(super) const MOST: usize = SQUARE;

const _: () = assert!(2 * MAX_MR <= MOST);

/// What becomes of the sums of a panel.
#[derive(Clone, Copy)]
pub(super) struct Store<'a> {
    /// Whether they are added to what is there.
    pub(super) adds: bool,
    pub(super) epilogue: &'a StripEpilogue,
}

impl<'a> Store<'a> {
    /// The factor of what is there, for a block of K.
    fn beta(&self, is_first: bool) -> Option<f32> {
        (self.adds || !is_first).then_some(1.0)
    }

    /// What is done after a block of K.
    fn epilogue(&self, is_last: bool) -> &'a StripEpilogue {
        if is_last { self.epilogue } else { &StripEpilogue::None }
    }
}

/// A way of multiplying windows with weights.
pub(super) trait ByPanel: Copy + Send + Sync {
    /// Some windows.
    type Panel<'a>: Panel;

    /// The height of all panels but the last of so many windows.
    fn height<S: Simd>(self, windows: usize) -> usize;

    /// Windows that are pooled at once, in whole fours.
    fn pooled_height<S: Simd>(self) -> usize;

    /// Floats that a panel needs. `spare` is how many floats behind the place of an output may be written where there
    /// is no window.
    fn scratch_len(self, windows: &Windows, spare: usize) -> usize;

    /// A panel without windows; `scratch` has [`Self::scratch_len`].
    fn panel<'a>(
        self,
        windows: &Windows<'a>,
        store: Store<'a>,
        scratch: &'a mut [f32],
    ) -> Self::Panel<'a>;
}

/// Some windows.
pub(super) trait Panel {
    /// Where the windows begin.
    fn windows(&mut self) -> &mut [*const f32];

    /// Where their outputs go.
    fn outputs(&mut self) -> &mut [*mut f32];

    /// Reads the first `height` windows.
    ///
    /// # Safety
    /// The windows are inside their images or frames.
    unsafe fn load<S: Simd>(&mut self, simd: S, height: usize);

    /// Multiplies them with the weights of one of the products, and stores the result from element `at` of each output
    /// on.
    ///
    /// # Safety
    /// Windows that are readable were loaded, and their outputs have as many elements from there on as there are
    /// filters. Bias and `y` of the epilogue have them.
    unsafe fn multiply<S: Simd>(&mut self, simd: S, product: usize, at: usize);
}

impl<M: Micro> ByPanel for InRegisters<M> {
    type Panel<'a> = InTile<'a, M>;

    #[inline(always)]
    fn height<S: Simd>(self, windows: usize) -> usize {
        TileShape::of::<S>().even_height(windows)
    }

    /// Two tiles: 28 or 12 rows, 7 KB for 64 filters.
    #[inline(always)]
    fn pooled_height<S: Simd>(self) -> usize {
        2 * TileShape::of::<S>().mr
    }

    fn scratch_len(self, windows: &Windows, spare: usize) -> usize {
        windows.depth() + spare
    }

    #[inline(always)]
    fn panel<'a>(
        self,
        windows: &Windows<'a>,
        store: Store<'a>,
        scratch: &'a mut [f32],
    ) -> InTile<'a, M> {
        let (steps, spare) = scratch.split_at_mut(windows.depth());
        let steps: &mut [u32] = bytemuck::cast_slice_mut(steps);
        windows.write_steps(steps);
        let Windows { x, w, filters, .. } = *windows;
        let (kc, spare) = (windows.kc(), spare.as_mut_ptr());
        let input = StripInput {
            rows: [x.as_ptr(); MAX_MR],
            steps,
            rows_are_contiguous: false,
            b: w.as_ptr(),
            b_rs: w.rs(),
        };
        let output = StripOutput::plain([spare; MAX_MR]);
        InTile { micro: self.0, input, output, steps, kc, w, filters, store, spare }
    }
}

/// Windows for a tile of the micro-kernel.
pub(super) struct InTile<'a, M> {
    micro: M,
    input: StripInput<'a>,
    output: StripOutput<'a>,
    /// How far each word under a window is from its first.
    steps: &'a [u32],
    /// Words of K in a block.
    kc: usize,
    /// For each product, a row for each word under a window.
    w: Mat<'a>,
    filters: usize,
    store: Store<'a>,
    /// Where the tile's rows beyond those of the panel are written.
    spare: *mut f32,
}

impl<M: Micro> Panel for InTile<'_, M> {
    #[inline(always)]
    fn windows(&mut self) -> &mut [*const f32] {
        &mut self.input.rows
    }

    #[inline(always)]
    fn outputs(&mut self) -> &mut [*mut f32] {
        &mut self.output.rows
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(&mut self, _: S, height: usize) {
        let Self { input, output, spare, .. } = self;
        output.height = height;
        for i in height..MAX_MR {
            (input.rows[i], output.rows[i]) = (input.rows[height - 1], *spare);
        }
    }

    #[inline(always)]
    unsafe fn multiply<S: Simd>(&mut self, simd: S, product: usize, at: usize) {
        let Self { micro, input, output, steps, kc, w, filters, store, .. } = self;
        let (kc, first_row) = (*kc, product * steps.len());
        for (block, block_steps) in steps.chunks(kc).enumerate() {
            let is_last = (block + 1) * kc >= steps.len();
            input.steps = block_steps;
            let row = first_row + block * kc;
            input.b = w.as_ptr().wrapping_add(row * w.rs()).wrapping_sub(at);
            (output.beta, output.epilogue) = (store.beta(block == 0), store.epilogue(is_last));
            // SAFETY: by the caller's promise; blocks of w are inside it, and `spare` has room for the rows beyond.
            unsafe { strip(simd, *micro, input, output, at..at + *filters) };
        }
    }
}

impl<T: TileUnit> ByPanel for OnTiles<T> {
    type Panel<'a> = InSquare<'a, T>;

    #[inline(always)]
    fn height<S: Simd>(self, _: usize) -> usize {
        SQUARE
    }

    #[inline(always)]
    fn pooled_height<S: Simd>(self) -> usize {
        SQUARE
    }

    fn scratch_len(self, windows: &Windows, _: usize) -> usize {
        // Sums, the tiles of two panels, and no more runs than words.
        SUMS + (SQUARE + size_of::<Run>() / size_of::<f32>()) * windows.depth()
    }

    #[inline(always)]
    fn panel<'a>(
        self,
        windows: &Windows<'a>,
        store: Store<'a>,
        scratch: &'a mut [f32],
    ) -> InSquare<'a, T> {
        let (depth, Windows { x, w, filters, .. }) = (windows.depth(), *windows);
        let (sums, rest) = scratch.split_at_mut(SUMS);
        let (operand, runs) = rest.split_at_mut(SQUARE * depth);
        // Behind the last word under a window stand zeros in its tiles.
        operand.fill(0.0);
        let runs = runs_of(windows.words_under_window(), bytemuck::cast_slice_mut(runs));
        let (rows, outputs) = ([x.as_ptr(); SQUARE], [ptr::null_mut(); SQUARE]);
        let (words, tiles) = (windows.words(), self.0.configure());
        InSquare { tiles, rows, outputs, height: 0, runs, words, operand, sums, w, filters, store }
    }
}

/// Words that follow each other under a window and in the row of a tile: how far the first is from the first word of
/// the window, how far its place is from that of the first word of the row, and how many.
type Run = [u32; 3];

/// The runs of words, each given by its number in the order of K and how far it is from the first of its window.
fn runs_of(words: impl Iterator<Item = (usize, u32)>, room: &mut [Run]) -> &[Run] {
    let mut count = 0;
    for (word, step) in words {
        let place = (word / SIDE * WORDS + word % SIDE) as u32;
        match room[..count].last_mut() {
            Some([from, to, len]) if *from + *len == step && *to + *len == place => *len += 1,
            _ => {
                room[count] = [step, place, 1];
                count += 1;
            }
        }
    }
    &room[..count]
}

/// Copies a run, of a tile's row at most.
///
/// # Safety
/// Both have so many words, which do not overlap.
#[inline(always)]
pub(super) unsafe fn copy_run<S: Simd>(simd: S, from: *const f32, to: *mut f32, len: usize) {
    // SAFETY: by the caller's promise.
    unsafe {
        if len == SIDE {
            to.copy_from_nonoverlapping(from, SIDE);
            return;
        }
        for first in (0..len).step_by(S::LANES) {
            let words = simd.load_first(from.add(first), len - first);
            simd.store_first(to.add(first), words, len - first);
        }
    }
}

/// Windows for a square of tiles.
pub(super) struct InSquare<'a, T: TileUnit> {
    tiles: T::Tiles,
    rows: [*const f32; SQUARE],
    outputs: [*mut f32; SQUARE],
    height: usize,
    runs: &'a [Run],
    words: Words,
    /// What is under the windows: two panels of tiles, all of K.
    operand: &'a mut [f32],
    sums: &'a mut [f32],
    /// For each product, a row for each panel of filters.
    w: Mat<'a>,
    filters: usize,
    store: Store<'a>,
}

impl<T: TileUnit> Panel for InSquare<'_, T> {
    #[inline(always)]
    fn windows(&mut self) -> &mut [*const f32] {
        &mut self.rows
    }

    #[inline(always)]
    fn outputs(&mut self) -> &mut [*mut f32] {
        &mut self.outputs
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(&mut self, simd: S, height: usize) {
        self.height = height;
        let of_panel = self.operand.len() / 2;
        for (i, window) in self.rows[..height].iter().enumerate() {
            let row = &mut self.operand[i / SIDE * of_panel + i % SIDE * SIDE..];
            for &[from, to, len] in self.runs {
                // SAFETY: under the window by the caller's promise; the place is inside the row's panel.
                unsafe {
                    let (from, to) = (window.add(from as usize), row.as_mut_ptr().add(to as usize));
                    copy_run(simd, from, to, len as usize);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn multiply<S: Simd>(&mut self, simd: S, product: usize, at: usize) {
        let Self { tiles, outputs, height, words, operand, sums, w, filters, store, .. } = self;
        let (of_panel, sums) = (operand.len() / 2, sums.as_mut_ptr());
        let first_panel = product * panels(*filters);
        for (elements, first) in words.blocks() {
            let (is_first, is_last) = (elements.start == 0, elements.end == words.k);
            let first_word = first * SIDE;
            let outputs = strips(*height, |from, height| {
                let row = |i: usize| outputs[from + i.min(height - 1)];
                let (beta, epilogue) = (store.beta(is_first), store.epilogue(is_last));
                StripOutput { height, beta, epilogue, ..StripOutput::plain(array::from_fn(row)) }
            });
            for col in (0..*filters).step_by(SQUARE) {
                let live = SQUARE.min(*filters - col);
                let panel = first_panel + col / SIDE;
                let square = Square {
                    a: operand.as_ptr().wrapping_add(first_word).cast(),
                    b: w.as_ptr().wrapping_add(panel * w.rs() + first_word).cast(),
                    of_panel: [of_panel, w.rs()],
                    depth: words.parts * words.of_part(elements.len()) / SIDE,
                    sides: [*height, live],
                };
                // SAFETY: operands have these panels of whole tiles, and sums room for a square; the rest by the
                // caller's promise.
                unsafe {
                    square.sum::<T>(tiles, sums);
                    store_square(simd, sums, &outputs, at + col, live);
                }
            }
        }
    }
}
