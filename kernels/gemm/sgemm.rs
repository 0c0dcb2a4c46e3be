//! A product in one line, for programs that have no pool of their own.

use super::{Epilogue, Write, gemm};
use crate::machine::machine;
use crate::{Isa, Mat, MatMut, Pool, Team};
use std::sync::OnceLock;

/// Products of fewer multiply-adds stay on the calling thread. A thread does 2^22 of them in about
/// 0.1 ms at 80 GFLOP/s; waking the others takes 18 to 60 us (see [`crate::team`]).
const SHARED_FROM: usize = 1 << 22;

/// `C = A B` for A of `m x k`, B of `k x n`, C of `m x n`, in one line: for programs that have no
/// [`Pool`] of their own. The old C is not read. With `k = 0`, C becomes zero.
///
/// ```
/// use threadcount_kernels::{Mat, MatMut, sgemm};
///
/// let a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
/// let b = [1.0, 0.0, 0.0, 1.0, 1.0, 1.0];
/// let mut c = [0.0; 4];
/// sgemm(Mat::new(&a, 2, 3), Mat::new(&b, 3, 2), MatMut::new(&mut c, 2, 2));
/// assert_eq!(c, [4.0, 5.0, 10.0, 11.0]);
/// ```
///
/// # Threads
/// The first large product starts a pool of one thread for each physical core, with the best
/// instruction set of the CPU. It lives as long as the process. `sgemm` never waits for another
/// caller, and may be called from anywhere. It computes on the calling thread alone
/// - if the product is small (fewer than 2^22 multiply-adds),
/// - inside [`Pool::enter`] of any pool, and inside a task: the cores are taken,
/// - while another thread's `sgemm` has the pool,
/// - in the child of a `fork` that came after the start of the pool,
/// - if the operating system refuses the threads.
///
/// The bits of C are the same in all these cases. Each call wakes the pool: a program with many
/// products enters a [`Pool`] once and calls [`gemm`] inside.
///
/// # Coming from matrixmultiply
/// `matrixmultiply::sgemm(m, k, n, alpha, a, rsa, csa, b, rsb, csb, beta, c, rsc, csc)` takes pointers
/// and is unsafe. Here a view carries shape and strides, and is checked when it is made.
///
/// | matrixmultiply, cblas | here |
/// |---|---|
/// | `m, k, a, rsa, csa` | `Mat::strided(a, m, k, rsa, csa)` |
/// | `k, n, b, rsb, csb` | `Mat::strided(b, k, n, rsb, csb)` |
/// | `m, n, c, rsc, csc` | `MatMut::strided(c, m, n, rsc, csc)` |
/// | row-major, `rsa = k, csa = 1` | `Mat::new(a, m, k)` |
/// | column-major, `rsa = 1, csa = m` | `Mat::new(a, k, m).t()` |
/// | `CblasTrans` of a row-major `k x m` | `Mat::new(a, k, m).t()` |
/// | `lda` of a row-major matrix | `Mat::strided(a, m, k, lda, 1)` |
/// | `alpha = 1, beta = 0` | `sgemm(a, b, c)` |
/// | any `alpha`, `beta` | `gemm(team, alpha, a, b, Write::Add { beta }, c, Epilogue::None)` |
/// | negative strides | none: strides are `usize` |
///
/// Both products below are of matrices that lie inside larger ones, with arbitrary strides. The second
/// is `C = 0.5 A B + 2 C`:
///
/// ```
/// use threadcount_kernels::gemm::{Epilogue, Write, gemm};
/// use threadcount_kernels::{Isa, Mat, MatMut, Team, sgemm};
///
/// // Every second column of a 2 x 6 matrix: row stride 6, column stride 2.
/// let wide = [1.0, 9.0, 2.0, 9.0, 3.0, 9.0, 4.0, 9.0, 5.0, 9.0, 6.0, 9.0];
/// let a = Mat::strided(&wide, 2, 3, 6, 2);
/// // A column-major 3 x 2 matrix.
/// let b = Mat::strided(&[1.0, 0.0, 1.0, 0.0, 1.0, 1.0], 3, 2, 1, 3);
/// // The left part of a 2 x 3 matrix.
/// let mut c = [7.0; 6];
/// sgemm(a, b, MatMut::strided(&mut c, 2, 2, 3, 1));
/// assert_eq!(c, [4.0, 5.0, 7.0, 10.0, 11.0, 7.0]);
///
/// let (team, write) = (Team::solo(Isa::best()), Write::Add { beta: 2.0 });
/// gemm(&team, 0.5, a, b, write, MatMut::strided(&mut c, 2, 2, 3, 1), Epilogue::None);
/// assert_eq!(c, [10.0, 12.5, 7.0, 25.0, 27.5, 7.0]);
/// ```
///
/// # Panics
/// If the shapes do not fit together, or m n k is 2^60 or more. (Views panic when they are made, if an
/// element would lie outside the slice.)
pub fn sgemm(a: Mat, b: Mat, c: MatMut) {
    static POOL: OnceLock<Option<Pool>> = OnceLock::new();
    let product = |team: &Team| gemm(team, 1.0, a, b, Write::Set, c, Epilogue::None);
    let steps = a.rows().saturating_mul(a.cols()).saturating_mul(b.cols());
    let start = || Pool::new(Isa::best(), machine().physical_cores).ok();
    let pool = if steps < SHARED_FROM { None } else { POOL.get_or_init(start).as_ref() };
    match pool {
        Some(pool) => pool.enter_if_free(product),
        None => product(&Team::solo(Isa::best())),
    }
}
