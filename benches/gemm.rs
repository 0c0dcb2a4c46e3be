//! Matrix products of every class, in FLOP/s: ours beside the naive twin, matrixmultiply, the crate
//! gemm, and with the feature `openblas` OpenBLAS. (The recipes' own layers are measured by
//! `threadcount bench --kernels`.)
//!
//! matrixmultiply reads its number of threads once in a process: its row has all cores (four at
//! most), or what `MATMUL_NUM_THREADS` says.

mod common;

use common::{Peer, rows, thread_counts};
use criterion::{Criterion, criterion_group, criterion_main};
use threadcount::bench::matrixmultiply;
use threadcount::bench::shapes::{CLASSES, Class};
use threadcount_kernels::Mat;
use threadcount_kernels::machine::machine;

fn products(criterion: &mut Criterion) {
    let mut peers = vec![Peer {
        name: "matrixmultiply",
        threads: matrixmultiply_threads(),
        run: Box::new(matrixmultiply::sgemm),
    }];
    for threads in thread_counts() {
        let run = Box::new(move |a: Mat, b: Mat, c: &mut [f32]| gemm_sgemm(threads, a, b, c));
        peers.push(Peer { name: "gemm", threads, run });
        #[cfg(feature = "openblas")]
        {
            let run = Box::new(move |a: Mat, b: Mat, c: &mut [f32]| {
                openblas::sgemm(threads, a, b, c);
            });
            peers.push(Peer { name: "openblas", threads, run });
        }
    }
    for product in CLASSES.iter().flat_map(Class::products) {
        let name = format!("gemm/{} {}", product.kernel(), product.shape());
        rows(criterion, &name, &*product.case(), &peers);
    }
}

fn matrixmultiply_threads() -> usize {
    let variable = std::env::var(matrixmultiply::THREADS_VARIABLE).ok();
    let set = variable.and_then(|value| value.parse().ok());
    set.unwrap_or(machine().physical_cores).min(matrixmultiply::MOST_THREADS)
}

/// The crate gemm, on rayon's threads.
fn gemm_sgemm(threads: usize, a: Mat, b: Mat, c: &mut [f32]) {
    let (m, n, k) = (a.rows(), b.cols(), a.cols());
    assert_eq!((k, c.len()), (b.rows(), m * n), "shapes that fit together");
    let parallelism = match threads {
        1 => gemm::Parallelism::None,
        _ => gemm::Parallelism::Rayon(threads),
    };
    let strides = |m: &Mat| (m.cs() as isize, m.rs() as isize);
    let ((csa, rsa), (csb, rsb)) = (strides(&a), strides(&b));
    let (a, b, c, rsc) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr(), n as isize);
    // SAFETY: both views were checked against their slices when they were made, and C has m x n
    // elements by row.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c,
            1,
            rsc,
            false,
            a,
            csa,
            rsa,
            b,
            csb,
            rsb,
            0.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// OpenBLAS of the system; on Debian the package libopenblas-dev.
#[cfg(feature = "openblas")]
mod openblas {
    use std::ffi::c_int;
    use threadcount_kernels::Mat;

    // Of cblas.h.
    const ROW_MAJOR: c_int = 101;
    const NO_TRANSPOSE: c_int = 111;
    const TRANSPOSE: c_int = 112;

    #[link(name = "openblas")]
    unsafe extern "C" {
        fn openblas_set_num_threads(threads: c_int);
        fn cblas_sgemm(
            order: c_int,
            trans_a: c_int,
            trans_b: c_int,
            m: c_int,
            n: c_int,
            k: c_int,
            alpha: f32,
            a: *const f32,
            lda: c_int,
            b: *const f32,
            ldb: c_int,
            beta: f32,
            c: *mut f32,
            ldc: c_int,
        );
    }

    /// `C = A B` for operands that lie by row, or are the transposes of such.
    pub fn sgemm(threads: usize, a: Mat, b: Mat, c: &mut [f32]) {
        let (m, n, k) = (a.rows(), b.cols(), a.cols());
        assert_eq!((k, c.len()), (b.rows(), m * n), "shapes that fit together");
        let layout = |m: &Mat| match (m.rs(), m.cs()) {
            (rs, 1) => (NO_TRANSPOSE, rs as c_int),
            (1, cs) => (TRANSPOSE, cs as c_int),
            strides => panic!("BLAS knows no matrix with strides {strides:?}"),
        };
        let ((trans_a, lda), (trans_b, ldb)) = (layout(&a), layout(&b));
        let (a, b, c) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
        let [m, n, k, threads] = [m, n, k, threads].map(|n| n as c_int);
        // SAFETY: both views were checked against their slices when they were made, C has m x n
        // elements by row, and the signatures are those of cblas.h.
        unsafe {
            openblas_set_num_threads(threads);
            cblas_sgemm(ROW_MAJOR, trans_a, trans_b, m, n, k, 1.0, a, lda, b, ldb, 0.0, c, n);
        }
    }
}

criterion_group!(benches, products);
criterion_main!(benches);
