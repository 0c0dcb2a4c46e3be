//! Twin of [`crate::gemm`]: three loops.

use super::activation;
use crate::gemm::{Epilogue, Write};
use crate::simd::flush;
use crate::{Mat, MatMut};

/// `C = epilogue(alpha A B + beta C)`, one sum after the other. With alpha = 0 neither A nor B is
/// read, with beta = 0 C is not.
pub fn gemm(alpha: f32, a: Mat, b: Mat, write: Write, mut c: MatMut, epilogue: Epilogue) {
    for i in 0..a.rows() {
        for j in 0..b.cols() {
            let mut x = 0.0;
            if alpha != 0.0 && a.cols() > 0 {
                x = alpha * (0..a.cols()).map(|p| a.at(i, p) * b.at(p, j)).sum::<f32>();
            }
            if let Write::Add { beta } = write
                && beta != 0.0
            {
                x += beta * c.as_ref().at(i, j);
            }
            store(&mut c, [i, j], x, epilogue);
        }
    }
}

/// Stores element `i, j` of C, whose sum is complete: the epilogue of [`gemm`] in every precision.
pub(super) fn store(c: &mut MatMut, [i, j]: [usize; 2], sum: f32, epilogue: Epilogue) {
    let mut x = [sum];
    match epilogue {
        Epilogue::None => {}
        Epilogue::Bias { bias, activation } => {
            x[0] += bias[j];
            activation::forward_in_place(activation, &mut x);
        }
        Epilogue::Derivative { y, activation } => {
            activation::backward(activation, &[y.at(i, j)], &mut x);
        }
    }
    c.set(i, j, flush(x[0]));
}
