//! Matrix multiplication, in the manner of BLIS: five loops around a micro-kernel that keeps a tile
//! of C in registers.
//!
//! - `tile`: the micro-kernel; `rows`: where it finds the rows of A; `store`: how its tile is stored (scaling, accumulation, epilogue)
//! - `pack`: operands as the micro-kernel reads them, in place or copied
//! - `parts`, `words`: operands as bf16 numbers, rounded or split, and how they are packed along K
//! - `packed_tiles`: the same as tiles; `on_tiles`: a block of C on a unit that multiplies them
//! - `grid`: what a product costs, and how C is cut into tasks; the sizes of blocks, which each team
//!   carries, are the crate's [`Blocking`]
//! - `product`: operands, where C lies, and what is done to it
//! - `plan`: by which kernels, as given or transposed; `loops`: a product as tasks; `block`: one
//!   task; `dot`: products with few columns
//! - `sgemm`: a product in one line, on a pool of the process
//!
//! **The sum.** A sum over K is three sums: at most 256 products in registers, at most 16 of those
//! blocks in order, and the slices of 4,096 in order. The complete sum is multiplied with alpha once,
//! then `beta C` is added by one fused multiply-add, then comes the epilogue. Where sums are cut depends
//! on K alone, and whether they are dot products on shapes, strides and epilogue alone: neither
//! threads, nor their costs, nor caches, nor tile shapes change the bits.
//!
//! **Accuracy.** A product takes part in at most
//! `R = min(K, 256) + min(ceil(K / 256), 16) - 1 + ceil(K / 4096) - 1 + 2` roundings: its block's
//! multiply-adds (fused: one each; else the product's own, and an addition each but the first), the
//! additions of blocks, those of slices, alpha, and `beta C`. (Dot products: 256 to a lane, and up to
//! 4 for adding up the lanes.) Each multiplies it with `1 + d`, `|d| <= eps / 2`, so for all data
//! that neither overflows nor underflows
//!
//! `|C - ref| <= R eps / 2 / (1 - R eps / 2) (|alpha| |A||B| + |beta| |C|)`
//!
//! (Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 3.1): 8 eps at K = 14, 129 at
//! 256, 144 at 65,536. Data that reaches this bound has its largest product first, and then small
//! products that are all rounded the same way. Where roundings are as good as random they cancel: 8 eps
//! at every K up to 65,536. Shorter runs in registers cost more time than they are worth. Measured with a
//! 6 x 2 tile at K = 128 and 256 on Zen 3, against one run: sums that are added to f32 in the first-level
//! cache after every 128 steps cost 3 %, after 64 steps 7 % (for 50 eps), after 32 steps 11 to 15 %,
//! after 16 steps 14 to 29 % (for 31 eps). For 8 eps with all data at every K, sums would have to be
//! added to f64 after every 14 steps, at 52 to 59 %, or be compensated, at 83 %.
//!
//! **Other precisions.** Operands are packed into words of bf16 numbers (`words`), for all of K, in a phase of their
//! own; the product of the words is an ordinary product by strips, with the same stores and epilogues.
//! - `bf16`: a word is a float that was rounded, or a pair of them. Blocks have at most 256 elements, an even
//!   number. R is as above, and each product is off by `2 u + u^2` more, `u = 2^-8`, because both factors were
//!   rounded.
//! - `f32-split`: `a = a1 + a2 + a3` exactly, `|a2| <= 2^-8 |a|`, `|a3| <= 2^-17 |a|` (`parts`). The products
//!   `a2 b3 + a3 b2 + a3 b3`, at most `(2^-24 + 2^-34) |a b|` or 0.5 eps, are left out. A block has at most 42
//!   elements: its 252 products are added up in the order 2 2, 3 1, 1 3, 2 1, 1 2, 1 1, each kind for all of the
//!   block. The first five kinds are at most `2^-7 |a b|`, so their 210 roundings count as 1.7; products of two
//!   bf16 numbers are exact, so the last kind rounds as often as there are elements. Slices are as long as those
//!   of f32, 96 blocks. So `R = min(K, 42) + min(ceil(K / 42), 96) - 1 + ceil(K / 4032) - 1 + 2 + 2.8`. Blocks are
//!   as even as those of f32 (43 elements are 22 + 21), so this is below R of f32 for every K from 43 up to
//!   300,000. Products of fewer elements stay f32.
//! - On tiles a block of `bf16` has at most 512 elements, and one of `f32-split` 64, whole tiles of 32 except the last.
//!   A product takes part in at most 16 roundings of one of a tile's two sums, one where they are added to each other,
//!   and one for each tile of its block. So `R = min(ceil(K / 2), 16) + 1 + ceil(min(K, 512) / 32)`, and what follows
//!   for blocks and slices as above; for `f32-split` with 64, 96 blocks to a slice, and 1.8 for the smaller parts and
//!   what is left out. Both are below R of f32 for every K from 16, and from 43, up to 300,000.

pub(crate) mod block;
mod dot;
pub(crate) mod grid;
pub(crate) mod loops;
pub(crate) mod on_tiles;
pub(crate) mod pack;
pub(crate) mod packed_tiles;
pub(crate) mod parts;
mod plan;
mod product;
mod rows;
mod sgemm;
pub(crate) mod store;
pub(crate) mod tile;
pub(crate) mod words;

pub use crate::blocking::{Blocking, ThreadCosts};
use crate::team::Scratch;
use crate::{Isa, Mat, MatMut, Team};
use grid::{share, thread_costs};
use product::Product;
pub(crate) use product::Subnormals;
pub use product::{Epilogue, Write};
pub use sgemm::sgemm;
use std::ops::Range;
use tile::TileFacts;

/// `C = epilogue(alpha A B + beta C)` for A of `m x k`, B of `k x n`, C of `m x n`.
///
/// Transposes are strides ([`Mat::t`]). As in BLAS, a factor of zero means that what it multiplies is
/// not read: with `alpha = 0` (or `k = 0`, whatever alpha) the product is zero, though A or B hold
/// NaN, and with `beta = 0` the old C is overwritten. Bias and epilogue still apply.
///
/// # Panics
/// If the shapes do not fit together, or m n k is 2^60 or more.
pub fn gemm(team: &Team, alpha: f32, a: Mat, b: Mat, write: Write, c: MatMut, epilogue: Epilogue) {
    gemm_with(team, team.blocking(), alpha, a, b, write, c, epilogue);
}

/// Whether threads gain by sharing the work of a layer with a product of `m x k` and `k x n`, and the
/// batch that goes into it. With few columns there is as much to move between their caches as to
/// compute (784 x 10 at batch 32: two threads took 20 % longer than one).
pub fn is_worth_sharing(team: &Team, m: usize, n: usize, k: usize) -> bool {
    let (tile, _) = team.isa().run(TileFacts);
    let vectors = n.div_ceil(tile.nr / 2);
    let phase = thread_costs(team, team.blocking()).phase;
    // In floats, because the caller may ask for a batch of any size.
    n > dot::MAX_COLS && m as f64 * k as f64 * vectors as f64 > phase
}

/// [`gemm`] with the block sizes as an argument, so that tests reach every edge with small
/// matrices.
#[doc(hidden)]
#[allow(clippy::too_many_arguments, reason = "gemm's own seven, and the blocking")]
pub fn gemm_with(
    team: &Team,
    blocking: &Blocking,
    alpha: f32,
    a: Mat,
    b: Mat,
    write: Write,
    mut c: MatMut,
    epilogue: Epilogue,
) {
    let (m, n) = (a.rows(), b.cols());
    assert_eq!(a.cols(), b.rows(), "the columns of A and the rows of B");
    assert_eq!((c.rows(), c.cols()), (m, n), "the shape of C");
    // Strides of zero make matrices of any size from one element; beyond this, sizes of buffers would
    // overflow.
    let k = a.cols();
    let steps = m.checked_mul(n).and_then(|steps| steps.checked_mul(k));
    assert!(
        steps.is_some_and(|steps| steps < 1 << 60),
        "{m} x {n} x {k} multiply-adds are too many"
    );
    match epilogue {
        Epilogue::None => {}
        Epilogue::Bias { bias, .. } => assert_eq!(bias.len(), n, "one bias for each column"),
        Epilogue::Derivative { y, .. } => {
            assert_eq!((y.rows(), y.cols()), (m, n), "the shape of y");
        }
    }
    let product = Product::new(alpha, a, b, write, &mut c, epilogue, Subnormals::AreZero);
    loops::multiply(team, blocking, product);
}

/// `C = A B (+ beta C)` on the calling thread, inside a task. K is at most 4,096: one slice.
#[expect(clippy::too_many_arguments, reason = "a product, and who computes it")]
pub(crate) fn product_in_task(
    isa: Isa,
    blocking: &Blocking,
    a: Mat,
    b: Mat,
    write: Write,
    mut c: MatMut,
    subnormals: Subnormals,
    scratch: &mut Scratch,
) {
    assert_eq!(a.cols(), b.rows(), "the columns of A and the rows of B");
    assert_eq!((c.rows(), c.cols()), (a.rows(), b.cols()), "the shape of C");
    let product = Product::new(1.0, a, b, write, &mut c, Epilogue::None, subnormals);
    loops::multiply_in_task(isa, blocking, product, scratch);
}

/// The rows of C of one of so many tasks: nearly equal shares of whole tiles.
pub(crate) fn rows_of_task(isa: Isa, rows: usize, task: usize, tasks: usize) -> Range<usize> {
    let (tile, _) = isa.run(TileFacts);
    share(rows, tile.mr, task, tasks)
}
