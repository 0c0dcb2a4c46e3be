//! Solving the normal equations.
//!
//! The encoded columns of a text column add up to 1 in every row, so minus their means they add up to 0: X'X is
//! singular, by one direction for each text column and by more where one column follows from another (the airline
//! from the flight). Predictions do not depend on the weights along these directions; of all solutions the one
//! with the smallest norm is taken, as scikit-learn's `LinearRegression` does.
//!
//! It is found as the limit of ridge regressions that each correct the last one (the method of multipliers, or
//! iterated Tikhonov): with X'X + a I factorised once,
//!
//! ```text
//! x <- x + (X'X + a I)^-1 (X'y - X'X x)        from x = 0
//! ```
//!
//! Along an eigenvector of X'X with eigenvalue e the error shrinks by a / (a + e) each time; along the singular
//! directions x stays 0 but for rounding, which the factors amplify by 1 / a. With `a` at [`DAMPING`] of the largest
//! diagonal element, weights come out to eight digits or more, and a category of a single row among 300,000 (e = 1)
//! in a dozen corrections. Directions with e below a hundredth of `a` are not told from singular ones: they are
//! columns that are a linear function of others to four or five digits.

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};

use crate::tables::gram::{Gram, dot};
use crate::{Error, Result};

/// What is added to the diagonal, relative to its largest element.
const DAMPING: f64 = 1e-7;
/// The most corrections.
const CORRECTIONS: usize = 500;
/// A correction of this size, relative to the weights, is the last.
const SMALL: f64 = 1e-14;
/// One that is not smaller than this share of the one before is rounding.
const SHRINKING: f64 = 0.99;

/// The solution of `(X'X + alpha I) x = X'y` for `alpha` above 0.
///
/// # Errors
/// As [`factorised`].
pub(super) fn damped(gram: &Gram, alpha: f64) -> Result<Vec<f64>> {
    let mut x = DVector::from_column_slice(&gram.with_target);
    factorised(gram, alpha)?.solve_mut(&mut x);
    Ok(x.as_slice().to_vec())
}

/// The least-squares solution with the smallest norm.
///
/// # Errors
/// As [`factorised`].
pub(super) fn smallest(gram: &Gram) -> Result<Vec<f64>> {
    let width = gram.width();
    let largest = (0..width).map(|i| gram.products[i * width + i]).fold(0.0, f64::max);
    let mut x = vec![0.0; width];
    if largest == 0.0 {
        return Ok(x);
    }
    let factors = factorised(gram, DAMPING * largest)?;
    let mut last = f64::INFINITY;
    for _ in 0..CORRECTIONS {
        let rows = gram.products.chunks_exact(width).zip(&gram.with_target);
        let residual = rows.map(|(row, target)| target - dot(row, &x));
        let mut correction = DVector::from_iterator(width, residual);
        factors.solve_mut(&mut correction);
        let size = correction.norm();
        if size > SHRINKING * last {
            break;
        }
        x.iter_mut().zip(&correction).for_each(|(x, correction)| *x += correction);
        if size <= SMALL * dot(&x, &x).sqrt() {
            break;
        }
        last = size;
    }
    Ok(x)
}

/// Cholesky factors of `X'X + alpha I`.
///
/// # Errors
/// [`Error::Failed`] if it is not positive definite: products overflowed.
fn factorised(gram: &Gram, alpha: f64) -> Result<Cholesky<f64, Dyn>> {
    let width = gram.width();
    // Symmetric, so that rows may be taken for columns.
    let mut matrix = DMatrix::from_column_slice(width, width, &gram.products);
    (0..width).for_each(|i| matrix[(i, i)] += alpha);
    let failed =
        || Error::Failed("the normal equations cannot be solved: numbers overflow".to_owned());
    Cholesky::new(matrix).ok_or_else(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gram(width: usize, products: &[f64], with_target: &[f64]) -> Gram {
        Gram {
            rows: 10,
            products: products.to_vec(),
            with_target: with_target.to_vec(),
            means: vec![0.0; width],
            target_mean: 0.0,
        }
    }

    fn near(x: &[f64], expected: &[f64], tolerance: f64) {
        assert_eq!(x.len(), expected.len());
        for (x, expected) in x.iter().zip(expected) {
            assert!((x - expected).abs() <= tolerance, "{x} {expected}");
        }
    }

    #[test]
    fn regular_equations_have_their_solution() {
        // 2 a + b = 5, a + 3 b = 10.
        let gram = gram(2, &[2.0, 1.0, 1.0, 3.0], &[5.0, 10.0]);
        near(&smallest(&gram).unwrap(), &[1.0, 3.0], 1e-12);
        // 3 a + b = 5, a + 4 b = 10.
        near(&damped(&gram, 1.0).unwrap(), &[10.0 / 11.0, 25.0 / 11.0], 1e-14);
    }

    /// Two equal columns share their weight; opposite ones too.
    #[test]
    fn singular_equations_have_the_smallest_solution() {
        near(&smallest(&gram(2, &[4.0, 4.0, 4.0, 4.0], &[8.0, 8.0])).unwrap(), &[1.0, 1.0], 1e-7);
        let opposite = gram(2, &[1.0, -1.0, -1.0, 1.0], &[6.0, -6.0]);
        near(&smallest(&opposite).unwrap(), &[3.0, -3.0], 1e-7);
        assert_eq!(smallest(&gram(1, &[0.0], &[0.0])).unwrap(), [0.0]);
        // A direction of a millionth of the largest counts in full.
        let flat = gram(2, &[1e6, 0.0, 0.0, 1.0], &[2e6, 3.0]);
        near(&smallest(&flat).unwrap(), &[2.0, 3.0], 1e-9);
    }

    #[test]
    fn overflow_is_an_error() {
        assert!(damped(&gram(1, &[f64::NAN], &[1.0]), 1.0).is_err());
        assert!(damped(&gram(1, &[-2.0], &[1.0]), 1.0).is_err());
    }
}
