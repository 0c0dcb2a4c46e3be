//! A product as it was asked for: operands, where C lies, and what is done to it.

use super::pack::MAX_MR;
use super::store::{StripEpilogue, StripOutput};
use crate::activation::Activation;
use crate::{Mat, MatMut};
use std::ops::Range;

/// What happens to the old C.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Write {
    /// C is overwritten and never read.
    Set,
    /// `beta C` is added.
    Add {
        /// The factor of the old C.
        beta: f32,
    },
}

/// What is done to each element of C while it is in a register, after the sum is complete.
#[derive(Clone, Copy, Debug)]
pub enum Epilogue<'a> {
    /// Nothing.
    None,
    /// `C = activation(C + bias)`, `bias[j]` for column j.
    Bias {
        /// One for each column of C.
        bias: &'a [f32],
        /// Applied after the bias.
        activation: Activation,
    },
    /// `C = C * activation'(y)`, the derivative in terms of the activation's output `y`.
    Derivative {
        /// The activation's output, of C's shape.
        y: Mat<'a>,
        /// The activation whose derivative is taken.
        activation: Activation,
    },
}

/// What becomes of subnormal elements of C.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subnormals {
    /// Zero is stored, as every kernel does.
    AreZero,
    /// They are stored, for a reader right after the product that takes them for zero: in products with a
    /// K of 32 that saves 6 % (Zen 4).
    Stay,
}

/// `C = epilogue(alpha A B + beta C)`: the problem as it was given, or transposed.
#[derive(Clone, Copy)]
pub(crate) struct Product<'a> {
    pub(super) a: Mat<'a>,
    pub(super) b: Mat<'a>,
    pub(super) target: Target<'a>,
}

/// C from its element `0, 0` on, and what is done to it.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) c: *mut f32,
    pub(super) rs: usize,
    pub(super) cs: usize,
    pub(super) alpha: f32,
    pub(super) beta: Option<f32>,
    pub(super) epilogue: Epilogue<'a>,
    /// Whether `bias` is one for each row, not one for each column.
    pub(super) is_transposed: bool,
    pub(super) subnormals: Subnormals,
}

// SAFETY: tasks store disjoint tiles of C.
unsafe impl Sync for Target<'_> {}

impl<'a> Product<'a> {
    /// The problem as given. Shapes have been checked. As in BLAS, what is multiplied with zero is
    /// not read: with alpha = 0 the sums are those of no products, and beta = 0 sets C.
    pub(super) fn new(
        mut alpha: f32,
        mut a: Mat<'a>,
        mut b: Mat<'a>,
        write: Write,
        c: &'a mut MatMut,
        epilogue: Epilogue<'a>,
        subnormals: Subnormals,
    ) -> Self {
        if alpha == 0.0 || a.cols() == 0 {
            (a, b) = (a.block(0..a.rows(), 0..0), b.block(0..0, 0..b.cols()));
            alpha = 1.0;
        }
        let beta = match write {
            Write::Set => None,
            Write::Add { beta } => (beta != 0.0).then_some(beta),
        };
        let (rs, cs) = (c.rs(), c.cs());
        let is_transposed = false;
        let c = c.as_mut_ptr();
        let target = Target { c, rs, cs, alpha, beta, epilogue, is_transposed, subnormals };
        Self { a, b, target }
    }

    /// The same with all three matrices transposed.
    pub(super) fn transposed(&self) -> Self {
        let Target { rs, cs, epilogue, is_transposed, .. } = self.target;
        let epilogue = match epilogue {
            Epilogue::Derivative { y, activation } => Epilogue::Derivative { y: y.t(), activation },
            other => other,
        };
        let target =
            Target { rs: cs, cs: rs, epilogue, is_transposed: !is_transposed, ..self.target };
        Self { a: self.b.t(), b: self.a.t(), target }
    }
}

impl<'a> Target<'a> {
    /// Whether tiles are transposed when they are stored: for the transposed problem of a C by row.
    pub(super) fn is_by_column(&self) -> bool {
        self.is_transposed && self.cs != 1 && self.rs == 1
    }

    /// Whether the sums of several blocks of K are kept outside of C until the last block: where only the
    /// complete sum may be scaled or added to the old C; where the sums of each block would have to be
    /// transposed; or where C's rows are pages apart and share few sets of every cache (1024^3: 95 % of
    /// the peak, not 89).
    pub(super) fn keeps_sums_apart(&self) -> bool {
        self.beta.is_some()
            || self.alpha != 1.0
            || self.is_by_column()
            || self.cs == 1 && self.rs.is_multiple_of(1024)
    }

    /// The same target, with its pointer `elements` further on.
    pub(super) fn offset(&self, elements: usize) -> Self {
        Self { c: self.c.wrapping_add(elements), ..*self }
    }

    /// What happens to the strip whose first element is `row, col` when its sums are complete.
    pub(super) fn epilogue(&self, row: usize, col: usize) -> StripEpilogue {
        match self.epilogue {
            Epilogue::None => match self.subnormals {
                Subnormals::AreZero => StripEpilogue::None,
                Subnormals::Stay => StripEpilogue::Raw,
            },
            Epilogue::Bias { bias, activation } => {
                let at = if self.is_transposed { row } else { col };
                StripEpilogue::Bias { bias: bias.as_ptr().wrapping_add(at), activation }
            }
            Epilogue::Derivative { y, activation } => {
                let (rs, cs) =
                    if self.is_by_column() { (y.cs(), y.rs()) } else { (y.rs(), y.cs()) };
                let y = y.as_ptr().wrapping_add(row * y.rs() + col * y.cs());
                StripEpilogue::Derivative { y, rs, cs, activation }
            }
        }
    }

    /// What becomes of a row of sums in memory.
    pub(super) fn row<'e>(&self, epilogue: &'e StripEpilogue) -> StripOutput<'e> {
        StripOutput {
            rows: [self.c; MAX_MR],
            partial: None,
            cs: self.cs,
            by_column: false,
            height: 1,
            alpha: self.alpha,
            beta: self.beta,
            epilogue,
        }
    }

    /// Where the strip goes whose first element is `row, col`. The first block of K replaces the old
    /// C, or if it is the only one adds to it; later ones add to its sums.
    pub(super) fn strip<'e>(
        &self,
        (row, height): (usize, usize),
        cols: &Range<usize>,
        is_first: bool,
        epilogue: &'e StripEpilogue,
        spare_row: *mut f32,
    ) -> StripOutput<'e> {
        let first = self.c.wrapping_add(row * self.rs + cols.start * self.cs);
        let row = |i| if i < height { first.wrapping_add(i * self.rs) } else { spare_row };
        StripOutput {
            rows: std::array::from_fn(row),
            partial: None,
            cs: self.cs,
            by_column: self.is_by_column(),
            height,
            alpha: self.alpha,
            beta: if is_first { self.beta } else { Some(1.0) },
            epilogue,
        }
    }
}
