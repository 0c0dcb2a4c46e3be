//! The vector operations that kernels are written on. A kernel is one generic body over [`Simd`];
//! [`crate::Isa::run`] instantiates it for an instruction set, inside a function that has that
//! set's target features enabled, so the body's operations become single instructions.
//!
//! Two rules keep it that way: `Kernel::run` and every helper that it calls with a `Simd` are
//! `#[inline(always)]`, and hot loops are plain loops (a closure or iterator adapter that the
//! compiler does not inline is compiled without the target features).

/// A computation that can run on any instruction set.
pub trait Kernel {
    /// What it returns.
    type Output;

    /// The body. Mark it `#[inline(always)]`.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// `x`, or `+0` where `|x|` is below [`f32::MIN_POSITIVE`]: what a kernel stores of it. NaN stays.
/// [`Simd::flush`] is the same on vectors.
#[inline(always)]
pub fn flush(x: f32) -> f32 {
    if x.abs() < f32::MIN_POSITIVE { 0.0 } else { x }
}

/// What kernels know of an instruction set beside its operations: how they divide its registers, and
/// costs in vector multiply-adds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tuning {
    /// Rows that tiles of the GEMM micro-kernel can have, ascending from 1; even from 2 on, and among
    /// those for which there is a kernel (`gemm::tile`). The largest tile is the last by two vectors:
    /// with 32 registers 14 x 2 sums, two vectors of B and a broadcast of A; with 16, 6 x 2.
    pub heights: &'static [usize],
    /// Rows of the largest tile of three vectors, 8, or 0 where there are too few registers for such: 8 x 3
    /// sums, three vectors of B and a broadcast of A are 28 of 32.
    pub wide_rows: usize,
    /// Columns that are multiplied with four rows at once in products of few columns, 1 to 5: 4 x 5 sums,
    /// 4 vectors of A and one of B are 25 of 32 registers; 4 x 2 sums are 13 of 16.
    pub dot_cols: usize,
    /// Vectors of filters, 1 or 2, whose nine weights stay in registers in convolutions of one channel.
    pub filter_vectors: usize,
    /// Transposing an element of B, by column.
    pub turn_b: f64,
    /// Storing a vector of a transposed tile, by column. Each row of C gets a few columns at a time: with
    /// 64 rows of C a vector costs twice as much as this, with 256, where C is larger than the
    /// second-level cache, a quarter of it.
    pub store_by_column: f64,
    /// Multiplying a step of K with a vector of a tile and adding it: 1, or on a tile unit a sixteenth (16 cycles for a
    /// tile of 16 vectors and 16 steps: Intel's optimization manual).
    pub multiply: f64,
}

impl Tuning {
    /// The tuning for sixteen lanes and 32 registers. On every machine it also decides where dot products
    /// are used, whose bits differ from those of tiles. So a new measurement of it changes results.
    pub(crate) const WIDEST: Self = Self {
        heights: &[1, 2, 4, 8, 10, 12, 14],
        wide_rows: 8,
        dot_cols: 5,
        filter_vectors: 2,
        turn_b: 0.45,
        store_by_column: 10.0,
        multiply: 1.0,
    };

    /// What there is of a tuning for a tile unit: one or two tiles of rows, and the store.
    pub(crate) const TILES: Self = Self {
        heights: &[16, 32],
        wide_rows: 0,
        dot_cols: 1,
        filter_vectors: 1,
        turn_b: 0.0,
        store_by_column: 10.0,
        multiply: 1.0 / 16.0,
    };

    /// Rows of the largest tile.
    pub(crate) const fn mr(&self) -> usize {
        self.heights[self.heights.len() - 1]
    }

    /// Whether tiles can have so many rows.
    pub(crate) const fn has_height(&self, rows: usize) -> bool {
        self.height(rows) == rows
    }

    /// The least of the heights that is not smaller than `rows`; the largest, if all are.
    pub(crate) const fn height(&self, rows: usize) -> usize {
        let mut i = 0;
        while i + 1 < self.heights.len() && self.heights[i] < rows {
            i += 1;
        }
        self.heights[i]
    }
}

/// The operations of one instruction set on vectors of `LANES` floats. A value of the implementing
/// type proves that the CPU has the instructions.
///
/// NaN: `add`, `mul` and the like follow IEEE 754; `max(a, b)` and `min(a, b)` give `b` where
/// either is NaN; comparisons with NaN are false.
///
/// # Safety
/// Kernels reach as far as these say, and read and write vectors as floats:
/// - `V` is `LANES` floats in order, of any bits, without padding: a power of two, from 4 to 16.
/// - `HALF_LANES` is zero, or `LANES / 2` and the `LANES` of `Half`; `Half` is the type itself, or its
///   `HALF_LANES` is zero.
/// - Loads and stores touch no memory but that of their lanes; masks from [`Simd::mask_first`] choose
///   the first `n` lanes.
/// - A value of the type exists only where the CPU has the instructions.
pub unsafe trait Simd: Copy + Send + Sync + 'static {
    /// A vector of `LANES` floats.
    type V: Copy;
    /// A choice of lanes.
    type M: Copy;
    /// Floats in a vector.
    const LANES: usize;
    /// How kernels use its registers, and what things cost on it.
    const TUNING: &'static Tuning;

    /// The same instruction set on half as many lanes, for a last few columns; the set itself if
    /// [`Simd::HALF_LANES`] is zero.
    type Half: Simd;
    /// Lanes of half a vector, where that costs less than a whole one; else zero.
    const HALF_LANES: usize;
    /// Operations on half vectors.
    fn half(self) -> Self::Half;

    /// Runs a kernel on this instruction set as a function of its own. A body that is used in many
    /// places, or is many bodies in one place, is called instead of inlined.
    fn call<K: Kernel>(self, kernel: K) -> K::Output;

    /// All lanes `x`.
    fn splat(self, x: f32) -> Self::V;
    /// Loads `LANES` floats; no alignment needed.
    ///
    /// # Safety
    /// `p` is valid for reads of `LANES` floats.
    unsafe fn load(self, p: *const f32) -> Self::V;
    /// Stores `LANES` floats; no alignment needed.
    ///
    /// # Safety
    /// `p` is valid for writes of `LANES` floats.
    unsafe fn store(self, p: *mut f32, v: Self::V);
    /// The first `n` lanes; all of them if `n >= LANES`.
    fn mask_first(self, n: usize) -> Self::M;
    /// Loads the chosen lanes, zero in the others. Memory of the others is not touched.
    ///
    /// # Safety
    /// `p` is valid for reads of the chosen lanes.
    unsafe fn load_masked(self, p: *const f32, m: Self::M) -> Self::V;
    /// Stores the chosen lanes. Memory of the others is not touched.
    ///
    /// # Safety
    /// `p` is valid for writes of the chosen lanes.
    unsafe fn store_masked(self, p: *mut f32, v: Self::V, m: Self::M);
    /// Loads the first `n` floats (all `LANES` if `n >= LANES`), zero in the other lanes.
    ///
    /// # Safety
    /// `p` is valid for reads of `min(n, LANES)` floats.
    #[inline(always)]
    unsafe fn load_first(self, p: *const f32, n: usize) -> Self::V {
        // SAFETY: by this function's contract.
        unsafe {
            if n >= Self::LANES { self.load(p) } else { self.load_masked(p, self.mask_first(n)) }
        }
    }
    /// Stores the first `n` lanes, all of them if `n >= LANES`.
    ///
    /// # Safety
    /// `p` is valid for writes of `min(n, LANES)` floats.
    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, v: Self::V, n: usize) {
        // SAFETY: by this function's contract.
        unsafe {
            if n >= Self::LANES {
                self.store(p, v);
            } else {
                self.store_masked(p, v, self.mask_first(n));
            }
        }
    }
    /// The first `n` bytes as floats (all `LANES` if `n >= LANES`), zero in the other lanes.
    ///
    /// # Safety
    /// `p` is valid for reads of `min(n, LANES)` bytes.
    unsafe fn load_u8(self, p: *const u8, n: usize) -> Self::V;
    /// Stores the first `n` lanes (all if `n >= LANES`), integral and in `0..=255`, as bytes.
    ///
    /// # Safety
    /// `p` is valid for writes of `min(n, LANES)` bytes.
    unsafe fn store_u8(self, p: *mut u8, v: Self::V, n: usize);

    /// `x`, which the compiler takes for a result of `v`: what is computed from it is computed after `v`. There is
    /// no instruction for it.
    #[inline(always)]
    fn after(self, v: Self::V, x: usize) -> usize {
        let _ = v;
        x
    }
    /// Asks for the cache line at `p`, which need not be a valid address.
    fn prefetch(self, p: *const f32);
    /// Four columns of `LANES` rows, transposed: vector j holds element j of each row. Rows are
    /// `stride` elements apart, the four elements contiguous.
    ///
    /// # Safety
    /// `p` is valid for reads of four floats in each of `LANES` rows.
    unsafe fn transpose4(self, p: *const f32, stride: usize) -> [Self::V; 4];

    /// Element `index` of the four floats at `p`, by lane; any of them if `index` is not 0, 1, 2
    /// or 3.
    ///
    /// # Safety
    /// `p` is valid for reads of four floats.
    unsafe fn pick4(self, p: *const f32, index: Self::V) -> Self::V;

    /// `a + b`
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b`
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once where the instruction set has FMA.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `a * b - c`, rounded once where the instruction set has FMA.
    fn mul_sub(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `a > b ? a : b`
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a < b ? a : b`
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// Square root, correctly rounded.
    fn sqrt(self, a: Self::V) -> Self::V;
    /// Absolute value.
    fn abs(self, a: Self::V) -> Self::V;
    /// `+0` where `|a|` is below [`f32::MIN_POSITIVE`] (so for `-0` too), else `a`; NaN stays. What a
    /// kernel stores passes through it: see "the numeric contract" of this crate.
    fn flush(self, a: Self::V) -> Self::V;
    /// `a` with the sign of `b`; `a` is not negative.
    fn with_sign(self, a: Self::V, b: Self::V) -> Self::V;
    /// Nearest integer, ties to even; for `|a| <= 2^22`.
    fn round(self, a: Self::V) -> Self::V;
    /// `2^n` for integral `n` in `-126..=127`.
    fn pow2(self, n: Self::V) -> Self::V;
    /// `floor(log2 a)`; for positive normal numbers.
    fn exponent(self, a: Self::V) -> Self::V;
    /// `a > b` by lane.
    fn gt(self, a: Self::V, b: Self::V) -> Self::M;
    /// `a >= b` by lane.
    fn ge(self, a: Self::V, b: Self::V) -> Self::M;
    /// `m ? a : b` by lane.
    fn select(self, m: Self::M, a: Self::V, b: Self::V) -> Self::V;
    /// The sum of the lanes: the upper half of them is added to the lower until one is left.
    fn reduce_add(self, a: Self::V) -> f32;
    /// The sums of the lanes of four vectors, each as [`Simd::reduce_add`] has it.
    #[inline(always)]
    fn reduce_add4(self, v: [Self::V; 4]) -> [f32; 4] {
        let [a, b, c, d] = v;
        [self.reduce_add(a), self.reduce_add(b), self.reduce_add(c), self.reduce_add(d)]
    }
    /// The largest lane; unspecified if a lane is NaN.
    fn reduce_max(self, a: Self::V) -> f32;
}

/// The number of partial sums in a long sum across lanes, on every instruction set: element `i` is added
/// to sum `i % SUM_LANES`. So the bits are the same whatever number of lanes a vector has.
pub(crate) const SUM_LANES: usize = 16;

/// [`SUM_LANES`] running sums, as many vectors of them as that takes.
pub(crate) struct LaneSums<S: Simd>([S::V; 4]);

impl<S: Simd> LaneSums<S> {
    /// Vectors of sums.
    pub(crate) const VECTORS: usize = SUM_LANES / S::LANES;

    /// All zero.
    #[inline(always)]
    pub(crate) fn zero(simd: S) -> Self {
        const { assert!(SUM_LANES.is_multiple_of(S::LANES) && Self::VECTORS <= 4) }
        Self([simd.splat(0.0); 4])
    }

    /// The sums that vector number `vector` of the elements, counted from zero, is added to.
    #[inline(always)]
    pub(crate) fn of_vector(&mut self, vector: usize) -> &mut S::V {
        &mut self.0[vector % Self::VECTORS]
    }

    /// Their sum: halves are added until one is left.
    #[inline(always)]
    pub(crate) fn total(self, simd: S) -> f32 {
        simd.reduce_add(fold(simd, self.0))
    }
}

/// The vectors of [`LaneSums`], added up to one.
#[inline(always)]
pub(crate) fn fold<S: Simd>(simd: S, sums: [S::V; 4]) -> S::V {
    match LaneSums::<S>::VECTORS {
        1 => sums[0],
        2 => simd.add(sums[0], sums[1]),
        _ => simd.add(simd.add(sums[0], sums[2]), simd.add(sums[1], sums[3])),
    }
}
