//! Twin of [`crate::gemm`]: three loops.

use super::activation;
use crate::gemm::{Epilogue, Write};
use crate::simd::flush;
use crate::{Mat, MatMut};

/// `C = epilogue(alpha A B + beta C)`, one sum after the other.
pub fn gemm(alpha: f32, a: Mat, b: Mat, write: Write, mut c: MatMut, epilogue: Epilogue) {
    for i in 0..a.rows() {
        for j in 0..b.cols() {
            let mut sum = 0.0;
            for p in 0..a.cols() {
                sum += a.at(i, p) * b.at(p, j);
            }
            let mut x = [alpha * sum];
            if let Write::Add { beta } = write {
                x[0] += beta * c.as_ref().at(i, j);
            }
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
    }
}
