//! The crate matrixmultiply, which our matrix products are compared with.

use threadcount_kernels::Mat;

/// The environment variable that it reads its number of threads from, once, before its first product in a
/// process.
pub const THREADS_VARIABLE: &str = "MATMUL_NUM_THREADS";
/// The most threads that it uses; it supports 1, 2 and 4.
pub const MOST_THREADS: usize = 4;

/// `C = A B`, with C row-major.
///
/// # Panics
/// If the shapes do not fit together.
pub fn sgemm(a: Mat, b: Mat, c: &mut [f32]) {
    let (m, n, k) = (a.rows(), b.cols(), a.cols());
    assert_eq!(k, b.rows(), "the columns of A and the rows of B");
    assert_eq!(c.len(), m * n, "the elements of C");
    let strides = |m: &Mat| (m.rs() as isize, m.cs() as isize);
    let ((rsa, csa), (rsb, csb)) = (strides(&a), strides(&b));
    // SAFETY: both views were checked against their slices when they were made, C has m x n elements, and
    // all strides are those of the views and of C.
    unsafe {
        let (a, b, rsc) = (a.as_ptr(), b.as_ptr(), n as isize);
        matrixmultiply::sgemm(m, k, n, 1.0, a, rsa, csa, b, rsb, csb, 0.0, c.as_mut_ptr(), rsc, 1);
    }
}
