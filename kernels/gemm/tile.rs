//! The micro-kernel: a strip of C, tile by tile in registers, one rank-1 update for every step of
//! K, and the store with scaling, accumulation and epilogue. A step is a word of each operand: a float, or a
//! pair of bf16 numbers (see [`Micro`]).
//!
//! A is read where it lies, element by element, by broadcasts: element `i, p` of a panel stands at
//! `rows[i] + steps[p]`. That covers a matrix by row or by column, a packed panel, and the pixels
//! under the window of a convolution, without a copy (`super::rows`). B is read by vectors, row by row.

pub(crate) use super::pack::MAX_MR;
use super::rows::{Contiguous, Pairs, RowSpacing, Rows, Scattered};
use super::store::{StripEpilogue, StripOutput, load_vector, store_tile};
use crate::micro::Micro;
use crate::simd::{Kernel, SUM_LANES, Simd, Tuning};
use std::marker::PhantomData;
use std::ops::Range;

/// Rows of tiles that there are kernels for: the arms of [`by_height`].
const HEIGHTS: [usize; 8] = [1, 2, 4, 6, 8, 10, 12, 14];

/// Vectors of a wide tile.
const WIDE_NV: usize = 3;

/// Vectors of a tile of one or two rows.
const THIN_NV: usize = 4;

/// Rows of B between the row that is multiplied and the row that is prefetched: 8 x 28 multiply-adds are
/// 100 to 200 cycles, the latency of a third-level cache. With a larger distance, prefetched lines would
/// push each other out of the cache where rows lie a power of two apart.
const AHEAD: usize = 8;

/// The operands of one strip: a panel of A, and the tiles of B that it is multiplied with.
pub(crate) struct StripInput<'a> {
    /// Where the rows of A begin; those beyond the strip's height repeat the last.
    pub(crate) rows: [*const f32; MAX_MR],
    /// How far from there each step of K is, in elements.
    pub(crate) steps: &'a [u32],
    /// Whether row `i` is `rows[0] + i`, for as many rows as the tile has.
    pub(crate) rows_are_contiguous: bool,
    /// The first row of B, at column zero.
    pub(crate) b: *const f32,
    /// Elements from one row of B to the next.
    pub(crate) b_rs: usize,
}

/// The shape of an instruction set's largest tile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct TileShape {
    /// Rows.
    pub(crate) mr: usize,
    /// Columns.
    pub(crate) nr: usize,
    /// The tuning of its instruction set.
    pub(crate) tuning: &'static Tuning,
}

impl TileShape {
    /// The shape for the widest vectors, on any machine.
    pub(crate) const WIDEST: Self =
        Self { mr: Tuning::WIDEST.mr(), nr: 2 * SUM_LANES, tuning: &Tuning::WIDEST };

    /// The shape on a tile unit (`on_tiles`).
    pub(crate) const SQUARE: Self = Self { mr: 32, nr: 32, tuning: &Tuning::TILES };

    /// The shape for an instruction set, whose tuning must fit the kernels.
    pub(crate) const fn of<S: Simd>() -> Self {
        const { assert_fits::<S>() };
        Self { mr: S::TUNING.mr(), nr: 2 * S::LANES, tuning: S::TUNING }
    }

    /// The height of the micro-kernel that serves `rows` rows: the least that is not smaller.
    pub(crate) const fn height(self, rows: usize) -> usize {
        self.tuning.height(rows)
    }

    /// `0..rows` cut into panels of nearly equal heights that micro-kernels have: 32 rows are
    /// 12 + 12 + 8, not 14 + 14 + 4. The height of all but the last.
    pub(crate) const fn even_height(self, rows: usize) -> usize {
        let panels = rows.div_ceil(self.mr);
        if panels == 0 { 1 } else { self.height(rows.div_ceil(panels)) }
    }
}

/// Stops the build where an instruction set's data does not fit the kernels.
const fn assert_fits<S: Simd>() {
    let Tuning { heights, wide_rows, dot_cols, filter_vectors, .. } = *S::TUNING;
    assert!(heights.len() >= 2 && heights[0] == 1, "heights begin with 1");
    let mut i = 0;
    while i < heights.len() {
        assert!(i == 0 || heights[i] > heights[i - 1], "heights ascend");
        let mut known = 0;
        while known < HEIGHTS.len() && HEIGHTS[known] != heights[i] {
            known += 1;
        }
        assert!(known < HEIGHTS.len(), "no micro-kernel has this height: give `by_height` an arm");
        i += 1;
    }
    assert!(wide_rows == 0 || wide_rows == 8, "`by_wide_tiles` has arms up to 8 rows");
    assert!(S::TUNING.has_height(2), "products of two rows have a kernel of their own");
    assert!(S::TUNING.mr() <= MAX_MR, "raise MAX_MR");
    assert!(1 <= dot_cols && dot_cols <= 5, "dot products have 1 to 5 columns at once");
    assert!(1 <= filter_vectors && filter_vectors <= 2, "one or two vectors of filters");
    assert!(S::LANES.is_power_of_two() && 4 <= S::LANES && S::LANES <= 16, "4 to 16 lanes");
    let half = S::HALF_LANES;
    assert!(half == 0 || (half == S::LANES / 2 && half == S::Half::LANES), "half a vector");
}

/// The tile of an instruction set, and whether half a vector costs half there.
pub(crate) struct TileFacts;

impl Kernel for TileFacts {
    type Output = (TileShape, bool);

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> (TileShape, bool) {
        (TileShape::of::<S>(), S::HALF_LANES > 0)
    }
}

/// Computes and stores a strip: a panel of A of `output.height` rows times some columns of B, which give
/// the same columns of C. Whole tiles are two vectors wide; the columns left over take one vector or half
/// of one, masked, or the last three vectors take a wide tile.
///
/// # Safety
/// Every row of A is readable at every step, and if they are contiguous, `TileShape::height` of
/// them. Rows of B are readable for the columns. C, bias and y have `height x cols` elements.
#[inline(always)]
pub(crate) unsafe fn strip<S: Simd, M: Micro>(
    simd: S,
    micro: M,
    input: &StripInput,
    output: &StripOutput,
    cols: Range<usize>,
) {
    let mr = TileShape::of::<S>().height(output.height);
    let spacing = RowSpacing::of(input, output.height, mr);
    let mut end = cols.end;
    let whole = |from: usize, width: usize| from..from + (cols.end - from) / width * width;
    let mut col = cols.start;
    if output.height <= 2 {
        // Two vectors of one or two rows would be only two or four chains of additions, half of them
        // waiting.
        let cols = whole(col, THIN_NV * S::LANES);
        col = cols.end;
        if !cols.is_empty() {
            let part = Part { micro, input, spacing, output, cols };
            match output.height {
                1 => by_rows::<S, M, 1, THIN_NV>(simd, part),
                _ => by_rows::<S, M, 2, THIN_NV>(simd, part),
            }
        }
    }
    let mut cols = whole(col, 2 * S::LANES);
    if const { S::TUNING.wide_rows > 0 } && gains_by_wide_tiles::<S>(input, output, &cols, end) {
        cols.end -= 2 * S::LANES;
        by_wide_tiles(simd, Part { micro, input, spacing, output, cols: cols.end..end });
        end = cols.end;
    }
    col = cols.end;
    if !cols.is_empty() {
        by_height::<S, M, 2>(simd, Part { micro, input, spacing, output, cols });
    }
    while col < end {
        let cols = col..end.min(col + S::LANES);
        col = cols.end;
        by_height::<S, M, 1>(simd, Part { micro, input, spacing, output, cols });
    }
}

/// Whether the vector or less that whole tiles of two vectors (`whole`) leave over is better computed
/// together with the last of them, in tiles of three vectors and fewer rows. By itself it takes a load of A
/// for each multiply-add, and one of the row's pointer: products of 40 and 80 columns reached 59 and 77 %
/// of the peak (Xeon with two 512-bit multiply-adds a cycle, batch 32), with wide tiles 69 and 84 %. Rows
/// without pointers lose more by the number of tiles than they gain (5 %, with K = 32).
fn gains_by_wide_tiles<S: Simd>(
    input: &StripInput,
    output: &StripOutput,
    whole: &Range<usize>,
    end: usize,
) -> bool {
    let rest = end - whole.end;
    !input.rows_are_contiguous
        && output.height > 2
        && !whole.is_empty()
        && 0 < rest
        && rest <= S::LANES
}

/// Computes more than two and at most three vectors of columns, in tiles of some of the strip's rows.
#[inline(always)]
fn by_wide_tiles<S: Simd, M: Micro>(simd: S, part: Part<M>) {
    let Part { micro, input, spacing, output, cols } = part;
    let rows = TileShape::of::<S>().height(output.height);
    let mut row = 0;
    while row < output.height {
        // 14 rows are 8 + 6, 12 are 6 + 6, 10 are 6 + 4.
        let left = rows - row;
        let height = left.div_ceil(left.div_ceil(S::TUNING.wide_rows)).next_multiple_of(2);
        let mut some_rows = [input.rows[0]; MAX_MR];
        some_rows[..height].copy_from_slice(&input.rows[row..row + height]);
        let input = &StripInput { rows: some_rows, ..*input };
        let epilogue = output.epilogue_from(row);
        let output = &output.some_rows(row..row + height, &epilogue);
        let part = Part { micro, input, spacing, output, cols: cols.clone() };
        match height {
            4 => by_rows::<S, M, 4, WIDE_NV>(simd, part),
            6 => by_rows::<S, M, 6, WIDE_NV>(simd, part),
            8 => by_rows::<S, M, 8, WIDE_NV>(simd, part),
            rows => unreachable!("no wide tile has {rows} rows"),
        }
        row += height;
    }
}

/// Some columns of a strip.
struct Part<'a, M> {
    micro: M,
    input: &'a StripInput<'a>,
    spacing: RowSpacing,
    output: &'a StripOutput<'a>,
    cols: Range<usize>,
}

#[inline(always)]
fn by_height<S: Simd, M: Micro, const NV: usize>(simd: S, part: Part<M>) {
    // Kernels are made only for the heights that the instruction set has.
    match TileShape::of::<S>().height(part.output.height) {
        1 => by_rows::<S, M, 1, NV>(simd, part),
        2 => by_rows::<S, M, 2, NV>(simd, part),
        4 if const { S::TUNING.has_height(4) } => by_rows::<S, M, 4, NV>(simd, part),
        6 if const { S::TUNING.has_height(6) } => by_rows::<S, M, 6, NV>(simd, part),
        8 if const { S::TUNING.has_height(8) } => by_rows::<S, M, 8, NV>(simd, part),
        10 if const { S::TUNING.has_height(10) } => by_rows::<S, M, 10, NV>(simd, part),
        12 if const { S::TUNING.has_height(12) } => by_rows::<S, M, 12, NV>(simd, part),
        14 if const { S::TUNING.has_height(14) } => by_rows::<S, M, 14, NV>(simd, part),
        rows => unreachable!("no tile has {rows} rows"),
    }
}

#[inline(always)]
fn by_rows<S: Simd, M: Micro, const MR: usize, const NV: usize>(simd: S, part: Part<M>) {
    let is_half = NV == 1 && part.cols.len() <= S::HALF_LANES;
    match part.spacing {
        RowSpacing::Contiguous => by_spacing::<S, M, Contiguous, MR, NV>(simd, part, is_half),
        RowSpacing::InPairs if const { Pairs::gain(MR) } => {
            by_spacing::<S, M, Pairs, MR, NV>(simd, part, is_half)
        }
        _ => by_spacing::<S, M, Scattered, MR, NV>(simd, part, is_half),
    }
}

#[inline(always)]
fn by_spacing<S: Simd, M: Micro, R: Rows, const MR: usize, const NV: usize>(
    simd: S,
    part: Part<M>,
    is_half: bool,
) {
    let micro = part.micro;
    if const { NV == 1 && S::HALF_LANES > 0 } && is_half {
        micro.call(simd, HalfStrip::<M, R, MR>(part, PhantomData))
    } else {
        micro.call(simd, Strip::<M, R, MR, NV>(part, PhantomData))
    }
}

/// Tiles of MR rows by NV vectors. A function of its own for each combination; see [`strip`] for
/// what it needs.
struct Strip<'a, M, R, const MR: usize, const NV: usize>(Part<'a, M>, PhantomData<R>);

impl<M: Micro, R: Rows, const MR: usize, const NV: usize> Kernel for Strip<'_, M, R, MR, NV> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        run_strip::<S, S, M, R, MR, NV>(simd, simd, self.0);
    }
}

/// A tile of MR rows by half a vector: where half a vector costs half as much, so does its tile.
struct HalfStrip<'a, M, R, const MR: usize>(Part<'a, M>, PhantomData<R>);

impl<M: Micro, R: Rows, const MR: usize> Kernel for HalfStrip<'_, M, R, MR> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        run_strip::<S::Half, S, M, R, MR, 1>(simd.half(), simd, self.0);
    }
}

/// `whole` is the instruction set itself where `simd` is its half: activations are computed on it,
/// so that their bits do not depend on where a strip ends.
#[inline(always)]
fn run_strip<S: Simd, W: Simd, M: Micro, R: Rows, const MR: usize, const NV: usize>(
    simd: S,
    whole: W,
    part: Part<M>,
) {
    let Part { micro, input, output, cols, .. } = part;
    let rows = R::new(input, output.height);
    let width = NV * S::LANES;
    let mut col = cols.start;
    while col < cols.end {
        let live = width.min(cols.end - col);
        prefetch_output::<S, MR, NV>(simd, output, col);
        let b = input.b.wrapping_add(col);
        // SAFETY: by the promise of `strip`'s caller.
        unsafe {
            let sums = sums::<S, M, R, MR, NV>(simd, micro, rows, input, b, live);
            store_tile::<S, W, MR, NV>(simd, whole, sums, output, col, live);
        }
        col += width;
    }
}

/// Prefetches what the store of a tile will read, while the sums are computed: at the end, its cache misses would not
/// overlap with work. (`y` of a derivative: 3 % of a product of 256 x 784 with K = 512; Xeon of family 6,
/// model 85.)
#[inline(always)]
fn prefetch_output<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    output: &StripOutput,
    col: usize,
) {
    let last = (NV - 1) * S::LANES;
    if output.cs == 1 && output.beta.is_some() {
        for i in 0..MR {
            simd.prefetch(output.rows[i].wrapping_add(col));
            simd.prefetch(output.rows[i].wrapping_add(col + last));
        }
    }
    if let StripEpilogue::Derivative { y, rs, cs: 1, .. } = *output.epilogue {
        for i in 0..MR {
            simd.prefetch(y.wrapping_add(i * rs + col));
            simd.prefetch(y.wrapping_add(i * rs + col + last));
        }
    }
}

/// The sums of one tile.
///
/// MR x NV independent chains of fused multiply-adds: with 28 of them, their latency of 4 cycles at
/// two a cycle is hidden.
#[inline(always)]
unsafe fn sums<S: Simd, M: Micro, R: Rows, const MR: usize, const NV: usize>(
    simd: S,
    micro: M,
    rows: R,
    input: &StripInput,
    b: *const f32,
    cols: usize,
) -> [[S::V; NV]; MR] {
    let mut tile = [[simd.splat(0.0); NV]; MR];
    let mask = simd.mask_first(cols - (NV - 1) * S::LANES);
    let mut b = b;
    for &step in input.steps {
        let mut step = rows.step(step as usize);
        // SAFETY: rows of A are readable at every step, rows of B for the columns.
        unsafe {
            let mut row_of_b = [simd.splat(0.0); NV];
            for v in 0..NV {
                row_of_b[v] = load_vector::<S, NV>(simd, b, v, mask);
                // Once for each cache line.
                if v * S::LANES % 16 == 0 {
                    simd.prefetch(b.wrapping_add(AHEAD * input.b_rs + v * S::LANES));
                }
            }
            for pair in 0..MR.div_ceil(2) {
                for half in 0..const { if MR == 1 { 1 } else { 2 } } {
                    let i = 2 * pair + half;
                    let broadcast = simd.splat(*rows.at(input, pair, half, step));
                    for v in 0..NV {
                        tile[i][v] = micro.multiply_add(simd, broadcast, row_of_b[v], tile[i][v]);
                        step = rows.after(simd, step, half, tile[i][v]);
                    }
                }
            }
            b = b.wrapping_add(input.b_rs);
        }
    }
    tile
}
