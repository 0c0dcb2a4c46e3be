//! What becomes of a tile when its sums are complete: scaling, the old C, the epilogue, the store.
//! Subnormal values are stored as zero, between blocks of K too: a check for the last block would cost as
//! much as that, and whoever reads the sums again would compute with subnormal numbers.

use super::pack::MAX_MR;
use crate::activation::Activation;
use crate::simd::{Kernel, Simd};
use std::mem::MaybeUninit;
use std::ops::Range;

/// The sums of a tile in memory, and room for as many more rows as a vector has lanes.
#[repr(C)]
struct Sums<T, R> {
    tile: T,
    spare: R,
}

/// What is done to a strip's elements when their sums are complete. Pointers are those of the
/// strip's first element.
#[derive(Clone, Copy)]
pub(crate) enum StripEpilogue {
    None,
    /// Nothing. Subnormal values are kept too: the reader takes them for zero.
    Raw,
    Bias {
        bias: *const f32,
        activation: Activation,
    },
    Derivative {
        y: *const f32,
        rs: usize,
        cs: usize,
        activation: Activation,
    },
}

/// Where a strip goes and what becomes of the old C there.
#[derive(Clone, Copy)]
pub(crate) struct StripOutput<'a> {
    /// Where the rows of C begin. Rows beyond `height` are written as well, so these point to memory that
    /// nobody needs.
    pub(crate) rows: [*mut f32; MAX_MR],
    /// Where the sums of earlier blocks of K stand, if not in C: its rows, for as many columns.
    pub(crate) partial: Option<[*mut f32; MAX_MR]>,
    /// Elements from one column of C to the next.
    pub(crate) cs: usize,
    /// Whether row `i` begins at `rows[0] + i`. Then the tile is transposed and stored column by
    /// column, and the epilogue is that of the transposed strip: a bias for each row.
    pub(crate) by_column: bool,
    /// Rows to store.
    pub(crate) height: usize,
    /// Factor of the sum.
    pub(crate) alpha: f32,
    /// Factor of the old C, or `None` if it is not read.
    pub(crate) beta: Option<f32>,
    pub(crate) epilogue: &'a StripEpilogue,
}

impl<'a> StripOutput<'a> {
    /// Rows of sums that are stored as they are, none of them yet.
    pub(crate) fn plain(rows: [*mut f32; MAX_MR]) -> Self {
        let epilogue = &StripEpilogue::None;
        let (partial, cs, by_column, height, alpha, beta) = (None, 1, false, 0, 1.0, None);
        Self { rows, partial, cs, by_column, height, alpha, beta, epilogue }
    }

    /// The epilogue of the strip's rows from `row` on.
    pub(super) fn epilogue_from(&self, row: usize) -> StripEpilogue {
        match *self.epilogue {
            StripEpilogue::Bias { bias, activation } if self.by_column => {
                StripEpilogue::Bias { bias: bias.wrapping_add(row), activation }
            }
            StripEpilogue::Derivative { y, rs, cs, activation } => {
                let along_rows = if self.by_column { cs } else { rs };
                StripEpilogue::Derivative {
                    y: y.wrapping_add(row * along_rows),
                    rs,
                    cs,
                    activation,
                }
            }
            other => other,
        }
    }

    /// Some rows of the strip, those beyond its height included, with their epilogue.
    pub(super) fn some_rows<'e>(
        &self,
        rows: Range<usize>,
        epilogue: &'e StripEpilogue,
    ) -> StripOutput<'e> {
        let some = |of: &[*mut f32; MAX_MR]| {
            let mut some = [of[MAX_MR - 1]; MAX_MR];
            some[..rows.len()].copy_from_slice(&of[rows.clone()]);
            some
        };
        StripOutput {
            rows: some(&self.rows),
            partial: self.partial.as_ref().map(some),
            height: rows.len().min(self.height - rows.start),
            epilogue,
            ..*self
        }
    }

    /// The same, but these rows, and not C, hold the sums of all blocks of K before the last. The old
    /// values of C are added to the complete sum only.
    pub(crate) fn with_sums_apart(
        self,
        rows: [*mut f32; MAX_MR],
        is_first: bool,
        is_last: bool,
        beta: Option<f32>,
    ) -> Self {
        if is_last {
            let partial = (!is_first).then_some(rows);
            return Self { partial, beta, ..self };
        }
        let (beta, epilogue) = ((!is_first).then_some(1.0), &StripEpilogue::None);
        Self { rows, cs: 1, by_column: false, alpha: 1.0, beta, epilogue, ..self }
    }
}

/// Stores the sums of the `live` columns from `col` on.
///
/// The sums are in registers, and stay there only while every loop over them is unrolled early: so
/// the loops are small, do one thing each, and have no branches.
///
/// # Safety
/// C, bias and y have these elements.
#[inline(always)]
pub(super) unsafe fn store_tile<S: Simd, W: Simd, const MR: usize, const NV: usize>(
    simd: S,
    whole: W,
    mut tile: [[S::V; NV]; MR],
    output: &StripOutput,
    col: usize,
    live: usize,
) {
    // By far the most products have no scale: a multiplication of each vector would be 1.5 % at
    // K = 64.
    let adds_plainly = output.beta == Some(1.0) && output.partial.is_none();
    let is_plain = output.cs == 1 && output.alpha == 1.0 && (output.beta.is_none() || adds_plainly);
    let old = match &output.partial {
        None if is_plain && output.beta.is_some() => Some(&output.rows),
        partial => partial.as_ref(),
    };
    // The last of an odd number of vectors may be incomplete.
    let last = NV - 1;
    let mask = simd.mask_first(live - last * S::LANES);
    let is_masked = NV % 2 == 1 && live < NV * S::LANES;
    // SAFETY: inside C by the caller's promise.
    unsafe {
        if let Some(rows) = old {
            if is_masked {
                for i in 0..MR {
                    for v in 0..last {
                        let old = simd.load(rows[i].add(col + v * S::LANES));
                        tile[i][v] = simd.add(tile[i][v], old);
                    }
                    let old = simd.load_masked(rows[i].add(col + last * S::LANES), mask);
                    tile[i][last] = simd.add(tile[i][last], old);
                }
            } else {
                for i in 0..MR {
                    for v in 0..NV {
                        let old = simd.load(rows[i].add(col + v * S::LANES));
                        tile[i][v] = simd.add(tile[i][v], old);
                    }
                }
            }
        }
        if is_plain && apply_plain::<S, MR, NV>(simd, &mut tile, output, col, mask) {
            if is_masked {
                for i in 0..MR {
                    for v in 0..last {
                        simd.store(output.rows[i].add(col + v * S::LANES), tile[i][v]);
                    }
                    let place = output.rows[i].add(col + last * S::LANES);
                    simd.store_masked(place, tile[i][last], mask);
                }
            } else {
                for i in 0..MR {
                    for v in 0..NV {
                        simd.store(output.rows[i].add(col + v * S::LANES), tile[i][v]);
                    }
                }
            }
            return;
        }
    }
    // What has been added is not added again.
    let output = &StripOutput { beta: if is_plain { None } else { output.beta }, ..*output };
    let mut copy = Sums { tile, spare: MaybeUninit::<[[S::V; NV]; 15]>::uninit() };
    if output.by_column {
        // Spare rows, up to a whole vector of rows: they are transposed with the others.
        let spare = copy.spare.as_mut_ptr().cast::<[S::V; NV]>();
        for i in 0..MR.next_multiple_of(W::LANES) - MR {
            // SAFETY: no vector has more than 16 lanes, so there are at most 15 rows.
            unsafe { spare.add(i).write([simd.splat(0.0); NV]) };
        }
    }
    let sums = (&raw mut copy).cast::<f32>();
    whole.call(FinishTile { sums, rs: NV * S::LANES, output, col, live });
}

/// The same of sums in memory, row by row, `rs` floats apart.
///
/// # Safety
/// As [`store_tile`]; and there are `live` sums in each of the strip's rows, rounded up to four, and in as many rows
/// from its first as a vector has lanes.
#[inline(always)]
pub(super) unsafe fn store_sums<S: Simd>(
    simd: S,
    sums: *mut f32,
    rs: usize,
    output: &StripOutput,
    col: usize,
    live: usize,
) {
    if let Some(rows) = &output.partial {
        for (i, row) in rows[..output.height].iter().enumerate() {
            for first in (0..live).step_by(S::LANES) {
                let n = S::LANES.min(live - first);
                // SAFETY: by the caller's promise.
                unsafe {
                    let (sums, old) = (sums.add(i * rs + first), row.add(col + first));
                    let sum = simd.add(simd.load_first(sums, n), simd.load_first(old, n));
                    simd.store_first(sums, sum, n);
                }
            }
        }
    }
    simd.call(FinishTile { sums, rs, output, col, live });
}

/// Vector `v` of a row of a tile, which begins at `row`. The last of an odd number of vectors is the one that may be
/// incomplete: `mask` chooses its lanes.
///
/// # Safety
/// The vector's elements are readable, of a last one of an odd number those that are chosen.
#[inline(always)]
pub(super) unsafe fn load_vector<S: Simd, const NV: usize>(
    simd: S,
    row: *const f32,
    v: usize,
    mask: S::M,
) -> S::V {
    // SAFETY: by the caller's promise.
    unsafe {
        let vector = row.add(v * S::LANES);
        if NV % 2 == 1 && v == NV - 1 { simd.load_masked(vector, mask) } else { simd.load(vector) }
    }
}

/// Applies the epilogue if it takes only a few instructions, and flushes. If it is another one, does
/// nothing and returns false. `mask` is that of [`load_vector`].
#[inline(always)]
unsafe fn apply_plain<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    tile: &mut [[S::V; NV]; MR],
    output: &StripOutput,
    col: usize,
    mask: S::M,
) -> bool {
    let (bias, activation) = match *output.epilogue {
        StripEpilogue::None => {
            for i in 0..MR {
                for v in 0..NV {
                    tile[i][v] = simd.flush(tile[i][v]);
                }
            }
            return true;
        }
        StripEpilogue::Raw => return true,
        StripEpilogue::Bias { bias, activation } => (bias, activation),
        // Through memory, row by row, this took 28 % of a product with K = 256 (Xeon of family 6, model 85).
        StripEpilogue::Derivative { y, rs, cs: 1, activation: Activation::Relu }
            if output.height == MR =>
        {
            for i in 0..MR {
                for v in 0..NV {
                    // SAFETY: y has the strip's rows, which are as many as the tile's, and its columns.
                    let y = unsafe { load_vector::<S, NV>(simd, y.add(i * rs + col), v, mask) };
                    tile[i][v] = simd.flush(Activation::Relu.chain(simd, y, tile[i][v]));
                }
            }
            return true;
        }
        StripEpilogue::Derivative { .. } => return false,
    };
    if !matches!(activation, Activation::Linear | Activation::Relu | Activation::LeakyRelu { .. }) {
        return false;
    }
    let mut biases = [simd.splat(0.0); NV];
    for v in 0..NV {
        // SAFETY: one bias for each column.
        biases[v] = unsafe { load_vector::<S, NV>(simd, bias.add(col), v, mask) };
    }
    for i in 0..MR {
        for v in 0..NV {
            tile[i][v] = simd.add(tile[i][v], biases[v]);
        }
    }
    match activation {
        Activation::Relu => {
            for i in 0..MR {
                for v in 0..NV {
                    tile[i][v] = Activation::Relu.apply_flushed(simd, tile[i][v]);
                }
            }
        }
        Activation::LeakyRelu { slope } => {
            for i in 0..MR {
                for v in 0..NV {
                    tile[i][v] = Activation::LeakyRelu { slope }.apply_flushed(simd, tile[i][v]);
                }
            }
        }
        _ => {
            for i in 0..MR {
                for v in 0..NV {
                    tile[i][v] = simd.flush(tile[i][v]);
                }
            }
        }
    }
    true
}

/// Scales, accumulates, applies the epilogue and stores the columns from `col` on of a tile in
/// memory: everything but the plain store. One function for all tile shapes.
struct FinishTile<'a> {
    /// Row by row.
    sums: *mut f32,
    rs: usize,
    output: &'a StripOutput<'a>,
    col: usize,
    live: usize,
}

impl Kernel for FinishTile<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { sums, rs, output, col, live } = self;
        if output.by_column {
            for first in (0..output.height).step_by(S::LANES) {
                let n = S::LANES.min(output.height - first);
                for j in (0..live).step_by(4) {
                    // SAFETY: LANES rows and four columns are inside the sums and those that
                    // `store_tile` added; of these nothing is stored. The rest by the promise of
                    // `strip`'s caller.
                    unsafe {
                        let columns = simd.transpose4(sums.add(first * rs + j), rs);
                        for (j, sums) in (j..live).zip(columns) {
                            let c = output.rows[0].add((col + j) * output.cs + first);
                            finish(simd, sums, Place { at: col + j, first, n, c, cs: 1 }, output);
                        }
                    }
                }
            }
            return;
        }
        for i in 0..output.height {
            let c = output.rows[i].wrapping_add(col * output.cs);
            let epilogue = match *output.epilogue {
                StripEpilogue::None => StripEpilogue::None,
                StripEpilogue::Raw => StripEpilogue::Raw,
                StripEpilogue::Bias { bias, activation } => {
                    StripEpilogue::Bias { bias: bias.wrapping_add(col), activation }
                }
                StripEpilogue::Derivative { y, rs, cs, activation } => {
                    StripEpilogue::Derivative { y: y.wrapping_add(col * cs), rs, cs, activation }
                }
            };
            let output = &StripOutput { epilogue: &epilogue, ..*output };
            let row = Row { at: i, c, cs: output.cs, cols: live, output };
            // SAFETY: by the promise of `strip`'s caller.
            unsafe { finish_row(simd, sums.add(i * rs), row) };
        }
    }
}

/// A row of sums in memory on its way to C.
pub(crate) struct Row<'a> {
    /// Which row of the epilogue's `y` it is.
    pub(crate) at: usize,
    pub(crate) c: *mut f32,
    pub(crate) cs: usize,
    pub(crate) cols: usize,
    /// Scales and epilogue.
    pub(crate) output: &'a StripOutput<'a>,
}

/// `C = epilogue(alpha sums + beta C)` for one row.
///
/// # Safety
/// The row of C, bias and y has these columns, and so have the sums.
#[inline(always)]
pub(crate) unsafe fn finish_row<S: Simd>(simd: S, sums: *const f32, row: Row) {
    let Row { at, c, cs, cols, output } = row;
    let mut first = 0;
    while first < cols {
        let n = (cols - first).min(S::LANES);
        // SAFETY: n columns from `first` on are inside by the caller's promise.
        unsafe {
            let place = Place { at, first, n, c: c.add(first * cs), cs };
            finish(simd, simd.load_first(sums.add(first), n), place, output);
        }
        first += S::LANES;
    }
}

/// Where one vector of sums goes: columns `first .. first + n` of row `at` of the bias and `y`.
struct Place {
    at: usize,
    first: usize,
    n: usize,
    c: *mut f32,
    cs: usize,
}

/// `C = epilogue(alpha sums + beta C)` for one vector.
#[inline(always)]
unsafe fn finish<S: Simd>(simd: S, sums: S::V, place: Place, output: &StripOutput) {
    let Place { at, first, n, c, cs } = place;
    // SAFETY: the n elements are inside C, bias and y by the caller's promise.
    unsafe {
        let mut x = simd.mul(sums, simd.splat(output.alpha));
        if let Some(beta) = output.beta {
            x = simd.mul_add(gather(simd, c, cs, n), simd.splat(beta), x);
        }
        match *output.epilogue {
            StripEpilogue::None => x = simd.flush(x),
            StripEpilogue::Raw => {}
            StripEpilogue::Bias { bias, activation } => {
                let bias = gather(simd, bias.add(first), 1, n);
                x = activation.apply_flushed(simd, simd.add(x, bias));
            }
            StripEpilogue::Derivative { y, rs, cs, activation } => {
                let y = gather(simd, y.add(at * rs + first * cs), cs, n);
                x = simd.flush(activation.chain(simd, y, x));
            }
        }
        scatter(simd, x, c, cs, n);
    }
}

/// The first `n <= LANES` elements, `stride` apart; zeros behind them.
#[inline(always)]
unsafe fn gather<S: Simd>(simd: S, p: *const f32, stride: usize, n: usize) -> S::V {
    // SAFETY: the caller promises n elements; no vector is longer than 16 floats.
    unsafe {
        if stride == 1 {
            return simd.load_first(p, n);
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
            return simd.store_first(p, x, n);
        }
        let mut lanes = [0.0_f32; 16];
        simd.store(lanes.as_mut_ptr(), x);
        for j in 0..n {
            *p.add(j * stride) = lanes[j];
        }
    }
}
