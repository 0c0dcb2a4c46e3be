//! The micro-kernel: a tile of C in registers, one rank-1 update for every step of K, and the store
//! with scaling, accumulation and epilogue.

use super::pack::{PanelLayout, ROW_STRIDE};
use crate::activation::Activation;
use crate::simd::{Kernel, Simd};

/// What is done to a tile's elements when their sum is complete. Pointers are those of the tile's
/// first element.
#[derive(Clone, Copy)]
pub(crate) enum TileEpilogue {
    None,
    Bias { bias: *const f32, activation: Activation },
    Derivative { y: *const f32, rs: usize, cs: usize, activation: Activation },
}

/// Where a tile goes and what becomes of the old C there.
#[derive(Clone, Copy)]
pub(crate) struct TileOutput {
    /// The tile's first element.
    pub(crate) c: *mut f32,
    /// Elements from one row of C to the next.
    pub(crate) rs: usize,
    /// Elements from one column of C to the next.
    pub(crate) cs: usize,
    /// Rows to store.
    pub(crate) rows: usize,
    /// Columns to store.
    pub(crate) cols: usize,
    /// Factor of the sum.
    pub(crate) alpha: f32,
    /// Factor of the old C, or `None` if it is not read.
    pub(crate) beta: Option<f32>,
    pub(crate) epilogue: TileEpilogue,
}

/// The operands of one tile: packed A, and B row by row, `b_rs` elements apart.
#[derive(Clone, Copy)]
pub(crate) struct TileInput {
    pub(crate) depth: usize,
    pub(crate) a: *const f32,
    pub(crate) layout: PanelLayout,
    pub(crate) b: *const f32,
    pub(crate) b_rs: usize,
}

/// The shape of an instruction set's largest tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TileShape {
    /// Rows.
    pub(crate) mr: usize,
    /// Columns.
    pub(crate) nr: usize,
}

impl TileShape {
    /// With 32 registers 14 x 2 vectors of accumulators, two vectors of B and a broadcast of A;
    /// with 16 registers, 6 x 2.
    pub(crate) const fn of<S: Simd>() -> Self {
        Self { mr: if S::REGISTERS == 32 { 14 } else { 6 }, nr: 2 * S::LANES }
    }

    /// The height of the micro-kernel that serves `rows` rows: the least that is not smaller.
    pub(crate) const fn panel_rows(self, rows: usize) -> usize {
        match rows {
            0 | 1 => 1,
            2 => 2,
            3 | 4 => 4,
            5..=8 if self.mr == 14 => 8,
            _ => self.mr,
        }
    }

    /// The width of packed B that serves `cols` columns: one vector or two.
    pub(crate) const fn panel_cols(self, cols: usize) -> usize {
        if cols <= self.nr / 2 { self.nr / 2 } else { self.nr }
    }
}

/// A kernel that tells the [`TileShape`] of the instruction set it runs on.
pub(crate) struct TileShapeOf;

impl Kernel for TileShapeOf {
    type Output = TileShape;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> TileShape {
        TileShape::of::<S>()
    }
}

/// Computes and stores one tile of at most [`TileShape`].
///
/// # Safety
/// A has `panel_rows(output.rows) x depth` packed elements. Rows of B are readable for
/// `panel_cols(output.cols)`. C, bias and y have `rows x cols` elements at their strides.
#[inline(always)]
pub(crate) unsafe fn sgemm_tile<S: Simd>(simd: S, input: &TileInput, output: &TileOutput) {
    if output.cols > S::LANES {
        by_height::<S, 2>(simd, input, output);
    } else {
        by_height::<S, 1>(simd, input, output);
    }
}

#[inline(always)]
fn by_height<S: Simd, const NV: usize>(simd: S, input: &TileInput, output: &TileOutput) {
    match TileShape::of::<S>().panel_rows(output.rows) {
        1 => by_layout::<S, 1, NV>(simd, input, output),
        2 => by_layout::<S, 2, NV>(simd, input, output),
        4 => by_layout::<S, 4, NV>(simd, input, output),
        6 if S::REGISTERS < 32 => by_layout::<S, 6, NV>(simd, input, output),
        8 if S::REGISTERS == 32 => by_layout::<S, 8, NV>(simd, input, output),
        14 if S::REGISTERS == 32 => by_layout::<S, 14, NV>(simd, input, output),
        rows => unreachable!("no tile has {rows} rows"),
    }
}

#[inline(always)]
fn by_layout<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    input: &TileInput,
    output: &TileOutput,
) {
    match input.layout {
        PanelLayout::ByRow => simd.call(Tile::<MR, NV, ROW_STRIDE, 1> { input, output }),
        PanelLayout::ByDepth => simd.call(Tile::<MR, NV, 1, MR> { input, output }),
    }
}

/// One tile of MR rows by NV vectors, of A with the strides RS and CS. A function of its own for
/// each combination; see [`sgemm_tile`] for what it needs.
struct Tile<'a, const MR: usize, const NV: usize, const RS: usize, const CS: usize> {
    input: &'a TileInput,
    output: &'a TileOutput,
}

impl<const MR: usize, const NV: usize, const RS: usize, const CS: usize> Kernel
    for Tile<'_, MR, NV, RS, CS>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { input, output } = self;
        // C is asked for while the sums are made: at the end its misses would not overlap with work.
        for i in 0..MR {
            simd.prefetch(output.c.wrapping_add(i * output.rs));
            simd.prefetch(output.c.wrapping_add(i * output.rs + (NV - 1) * S::LANES));
        }
        // MR x NV independent chains of fused multiply-adds: with 28 of them, their latency of 4
        // cycles at two a cycle is hidden. A's strides are constants, so one register addresses the
        // whole panel.
        let mut tile = [[simd.splat(0.0); NV]; MR];
        let (mut a, mut b) = (input.a, input.b);
        for _ in 0..input.depth {
            // SAFETY: `a` and `b` are at a step of K that the caller of `sgemm_tile` promised.
            unsafe {
                let mut row_of_b = [simd.splat(0.0); NV];
                for v in 0..NV {
                    row_of_b[v] = simd.load(b.add(v * S::LANES));
                }
                for i in 0..MR {
                    let broadcast = simd.splat(*a.add(i * RS));
                    for v in 0..NV {
                        tile[i][v] = simd.mul_add(broadcast, row_of_b[v], tile[i][v]);
                    }
                }
                a = a.add(CS);
                b = b.wrapping_add(input.b_rs);
            }
        }
        let is_whole = output.cs == 1
            && output.rows == MR
            && output.cols == NV * S::LANES
            && matches!(output.beta, None | Some(1.0));
        // SAFETY: if the tile is whole, all of its vectors and those of the bias are there.
        if is_whole && unsafe { store_whole::<S, MR, NV>(simd, &tile, output) } {
            return;
        }
        let mut copy = [[[0.0_f32; 16]; NV]; MR];
        for i in 0..MR {
            for v in 0..NV {
                // SAFETY: no vector is longer than 16 floats.
                unsafe { simd.store(copy[i][v].as_mut_ptr(), tile[i][v]) };
            }
        }
        let sums = copy.as_ptr().cast();
        simd.call(Finish { sums, rs: NV * 16, vector_stride: 16, output });
    }
}

/// Stores a whole tile straight from the registers, `C = alpha tile` or `C += alpha tile`, with the
/// epilogues that are a few instructions. False, and nothing done, if it has another.
#[inline(always)]
unsafe fn store_whole<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    tile: &[[S::V; NV]; MR],
    output: &TileOutput,
) -> bool {
    let zero = simd.splat(0.0);
    let mut biases = [zero; NV];
    if let TileEpilogue::Bias { bias, .. } = output.epilogue {
        for v in 0..NV {
            // SAFETY: one bias for each column.
            biases[v] = unsafe { simd.load(bias.add(v * S::LANES)) };
        }
    }
    // SAFETY: inside C by the caller's promise.
    unsafe {
        match output.epilogue {
            TileEpilogue::None => {
                store(
                    simd,
                    tile,
                    output,
                    #[inline(always)]
                    |x, _| x,
                );
            }
            TileEpilogue::Bias { activation: Activation::Linear, .. } => {
                store(
                    simd,
                    tile,
                    output,
                    #[inline(always)]
                    |x, v| simd.add(x, biases[v]),
                );
            }
            TileEpilogue::Bias { activation: Activation::Relu, .. } => {
                store(
                    simd,
                    tile,
                    output,
                    #[inline(always)]
                    |x, v| Activation::Relu.apply(simd, simd.add(x, biases[v])),
                );
            }
            TileEpilogue::Bias { activation: Activation::LeakyRelu { slope }, .. } => {
                store(
                    simd,
                    tile,
                    output,
                    #[inline(always)]
                    |x, v| Activation::LeakyRelu { slope }.apply(simd, simd.add(x, biases[v])),
                );
            }
            _ => return false,
        }
    }
    true
}

/// Stores `finish(alpha tile [+ C], vector of the row)`.
#[inline(always)]
unsafe fn store<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    tile: &[[S::V; NV]; MR],
    output: &TileOutput,
    finish: impl Fn(S::V, usize) -> S::V,
) {
    let alpha = simd.splat(output.alpha);
    for i in 0..MR {
        for v in 0..NV {
            // SAFETY: inside C by the caller's promise.
            unsafe {
                let c = output.c.add(i * output.rs + v * S::LANES);
                let x = match output.beta {
                    None => simd.mul(tile[i][v], alpha),
                    Some(_) => simd.mul_add(tile[i][v], alpha, simd.load(c)),
                };
                simd.store(c, finish(x, v));
            }
        }
    }
}

/// Scales, accumulates, applies the epilogue and stores: everything but the plain store of a whole
/// tile. It runs once per element of C, so it is a loop over vectors in memory and one function for
/// all tile shapes.
pub(crate) struct Finish<'a> {
    /// The sums: row i, vector v at `i * rs + v * vector_stride`.
    pub(crate) sums: *const f32,
    pub(crate) rs: usize,
    pub(crate) vector_stride: usize,
    pub(crate) output: &'a TileOutput,
}

impl Kernel for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let output = self.output;
        let (alpha, beta) = (simd.splat(output.alpha), simd.splat(output.beta.unwrap_or(0.0)));
        for i in 0..output.rows {
            for v in 0..output.cols.div_ceil(S::LANES) {
                let col = v * S::LANES;
                let n = (output.cols - col).min(S::LANES);
                // SAFETY: row i and the n columns from col on are inside the sums, C, bias and y by
                // the promise of `sgemm_tile`'s caller; sums are readable for whole vectors.
                unsafe {
                    let sum = simd.load(self.sums.add(i * self.rs + v * self.vector_stride));
                    let mut x = simd.mul(sum, alpha);
                    let c = output.c.add(i * output.rs + col * output.cs);
                    if output.beta.is_some() {
                        x = simd.mul_add(gather(simd, c, output.cs, n), beta, x);
                    }
                    match output.epilogue {
                        TileEpilogue::None => {}
                        TileEpilogue::Bias { bias, activation } => {
                            let bias = gather(simd, bias.add(col), 1, n);
                            x = activation.apply(simd, simd.add(x, bias));
                        }
                        TileEpilogue::Derivative { y, rs, cs, activation } => {
                            let y = gather(simd, y.add(i * rs + col * cs), cs, n);
                            x = activation.chain(simd, y, x);
                        }
                    }
                    scatter(simd, x, c, output.cs, n);
                }
            }
        }
    }
}

/// The first `n <= LANES` elements, `stride` apart; zeros behind them.
#[inline(always)]
unsafe fn gather<S: Simd>(simd: S, p: *const f32, stride: usize, n: usize) -> S::V {
    // SAFETY: the caller promises n elements; no vector is longer than 16 floats.
    unsafe {
        if stride == 1 {
            return if n == S::LANES {
                simd.load(p)
            } else {
                simd.load_masked(p, simd.mask_first(n))
            };
        }
        let mut lanes = [0.0_f32; 16];
        for j in 0..n {
            lanes[j] = *p.add(j * stride);
        }
        simd.load(lanes.as_ptr())
    }
}

/// Stores the first `n <= LANES` lanes, `stride` apart.
#[inline(always)]
unsafe fn scatter<S: Simd>(simd: S, x: S::V, p: *mut f32, stride: usize, n: usize) {
    // SAFETY: the caller promises n elements; no vector is longer than 16 floats.
    unsafe {
        if stride == 1 {
            if n == S::LANES {
                simd.store(p, x);
            } else {
                simd.store_masked(p, x, simd.mask_first(n));
            }
            return;
        }
        let mut lanes = [0.0_f32; 16];
        simd.store(lanes.as_mut_ptr(), x);
        for j in 0..n {
            *p.add(j * stride) = lanes[j];
        }
    }
}
