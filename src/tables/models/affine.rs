//! An intercept and a weight for each encoded column.

use threadcount_kernels::Team;

use super::{check_width, solve};
use crate::tables::encoding::{Cells, Design, NO_CATEGORY};
use crate::tables::gram::{Gram, dot};
use crate::{Error, Result};

/// Rows that a thread predicts at a time.
const ROWS: usize = 4_096;
/// Weights that a thread changes at a time.
const WEIGHTS: usize = 64;

/// `intercept + weights . x`, with x the encoded columns of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Affine {
    /// Prediction for a row of means and of no categories.
    pub intercept: f64,
    /// `[width]`
    pub weights: Vec<f64>,
}

/// Gradient descent.
///
/// The report gives its 1,000 epochs of all rows and no rate. With this one it stops about as far from the optimum
/// as the report's figure says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Descent {
    /// Steps, each with the gradient of all rows.
    pub epochs: usize,
    /// The step for a gradient of the mean of half the squares.
    pub rate: f64,
}

impl Default for Descent {
    fn default() -> Self {
        Self { epochs: 1_000, rate: 0.001 }
    }
}

impl Affine {
    /// The mean of the targets.
    pub fn mean(targets: &[f64], width: usize) -> Self {
        let intercept = targets.iter().sum::<f64>() / targets.len().max(1) as f64;
        Self { intercept, weights: vec![0.0; width] }
    }

    /// The least squares; where several weights have them, those with the smallest norm.
    ///
    /// # Errors
    /// [`Error::Failed`] if numbers overflow.
    pub fn least_squares(gram: &Gram) -> Result<Self> {
        solve::smallest(gram).map(|weights| Self::with_intercept(gram, weights))
    }

    /// Least squares plus `alpha` times the squares of the weights. The intercept is not penalised.
    ///
    /// # Errors
    /// As [`Self::least_squares`].
    pub fn ridge(gram: &Gram, alpha: f64) -> Result<Self> {
        solve::damped(gram, alpha).map(|weights| Self::with_intercept(gram, weights))
    }

    /// Full-batch gradient descent on the mean of half the squares, all encoded columns standardised, from zero.
    ///
    /// A step needs of the rows only their sums of products: the gradient is (X'X w - X'y) / n. So a step costs
    /// the square of the width instead of all rows, and comes to the same weights.
    ///
    /// # Errors
    /// [`Error::Failed`] if it diverges.
    pub fn descended(team: &Team, gram: &Gram, descent: &Descent) -> Result<Self> {
        let (width, n) = (gram.width(), gram.rows as f64);
        let deviations: Vec<f64> =
            (0..width).map(|i| (gram.products[i * width + i] / n).max(0.0).sqrt()).collect();
        // A column that never varies stays 0.
        let inverse = |i: usize| if deviations[i] > 0.0 { 1.0 / deviations[i] } else { 0.0 };
        let mut products = gram.products.clone();
        for (i, row) in products.chunks_exact_mut(width).enumerate() {
            row.iter_mut().enumerate().for_each(|(j, x)| *x *= inverse(i) * inverse(j) / n);
        }
        let target: Vec<f64> = (0..width).map(|i| gram.with_target[i] * inverse(i) / n).collect();

        let (mut intercept, mut weights, mut last) = (0.0, vec![0.0; width], vec![0.0; width]);
        for _ in 0..descent.epochs {
            // Standardised columns have mean 0: the intercept goes its own way.
            intercept -= descent.rate * (intercept - gram.target_mean);
            std::mem::swap(&mut weights, &mut last);
            team.run_on_chunks(&mut weights, WEIGHTS, |first, weights| {
                for (i, weight) in (first..).zip(weights) {
                    let gradient = dot(&products[i * width..][..width], &last) - target[i];
                    *weight = last[i] - descent.rate * gradient;
                }
            });
        }
        if !weights.iter().all(|weight| weight.is_finite()) {
            return Err(Error::Failed(format!(
                "gradient descent diverged at rate {}: columns repeat each other; leave some out",
                descent.rate
            )));
        }
        for (i, weight) in weights.iter_mut().enumerate() {
            *weight *= inverse(i);
        }
        Ok(Self { intercept: intercept - dot(&gram.means, &weights), weights })
    }

    fn with_intercept(gram: &Gram, weights: Vec<f64>) -> Self {
        Self { intercept: gram.target_mean - dot(&gram.means, &weights), weights }
    }

    /// Predictions, `[rows]`.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if the design has another width.
    pub fn predict(&self, team: &Team, design: &Design) -> Result<Vec<f64>> {
        check_width(design, self.weights.len())?;
        let mut predictions = vec![self.intercept; design.rows()];
        team.run_on_chunks(&mut predictions, ROWS, |first, predictions| {
            let rows = first..first + predictions.len();
            for column in design.columns() {
                let weights = &self.weights[column.start..][..column.width];
                match &column.cells {
                    Cells::Numbers(numbers) => {
                        let numbers = &numbers[rows.clone()];
                        predictions.iter_mut().zip(numbers).for_each(|(y, x)| *y += weights[0] * x);
                    }
                    Cells::Codes(codes) => {
                        for (y, &code) in predictions.iter_mut().zip(&codes[rows.clone()]) {
                            if code != NO_CATEGORY {
                                *y += weights[code as usize];
                            }
                        }
                    }
                }
            }
        });
        Ok(predictions)
    }
}

#[cfg(test)]
mod tests {
    use super::super::examples::{Example, team};
    use super::*;

    /// Sums of squares of the residuals, and the gradient along every weight and the intercept.
    fn residuals(example: &Example, model: &Affine) -> Vec<f64> {
        let predictions = model.predict(&team(), &example.train).unwrap();
        example.targets.iter().zip(predictions).map(|(y, p)| y - p).collect()
    }

    #[test]
    fn predictions_are_those_of_the_dense_columns() {
        let example = Example::new(97, 1);
        let width = example.train.width();
        let weights: Vec<f64> = (0..width).map(|i| (i as f64 - 2.5) / 3.0).collect();
        let model = Affine { intercept: 0.75, weights };
        for design in [&example.train, &example.test] {
            let predictions = model.predict(&team(), design).unwrap();
            let dense = design.dense(0..design.rows());
            for (row, prediction) in dense.chunks(width).zip(predictions) {
                let sum: f64 = row.iter().zip(&model.weights).map(|(&x, w)| f64::from(x) * w).sum();
                assert!((prediction - 0.75 - sum).abs() < 1e-5);
            }
        }
    }

    /// At the optimum residuals are orthogonal to every column and to 1; of ridge, by the penalty's share.
    #[test]
    fn optima_have_no_gradient() {
        for rows in [5, 40, 300] {
            let example = Example::new(rows, 2);
            let gram = example.gram();
            let width = gram.width();
            let dense = example.train.dense(0..example.train.rows());
            for (model, alpha) in [
                (Affine::least_squares(&gram).unwrap(), 0.0),
                (Affine::ridge(&gram, 1.0).unwrap(), 1.0),
                (Affine::ridge(&gram, 7.5).unwrap(), 7.5),
            ] {
                let residuals = residuals(&example, &model);
                let scale: f64 = example.targets.iter().map(|y| y.abs()).sum();
                assert!(residuals.iter().sum::<f64>().abs() < 1e-9 * scale);
                for j in 0..width {
                    let along: f64 = residuals
                        .iter()
                        .enumerate()
                        .map(|(i, r)| r * f64::from(dense[i * width + j]))
                        .sum();
                    let gradient = along - alpha * model.weights[j];
                    assert!(gradient.abs() < 1e-6 * scale, "{rows} {alpha} {j}: {gradient}");
                }
            }
        }
    }

    /// The weights of the categories of a text column add up to 0 in the smallest solution: adding a number to all
    /// of them and taking it from the intercept would change no prediction.
    #[test]
    fn the_smallest_solution_is_taken() {
        let example = Example::new(300, 3);
        let model = Affine::least_squares(&example.gram()).unwrap();
        let size = dot(&model.weights, &model.weights).sqrt();
        for column in example.train.columns() {
            if matches!(column.cells, Cells::Codes(_)) {
                let sum: f64 = model.weights[column.start..][..column.width].iter().sum();
                assert!(sum.abs() < 1e-6 * size, "{sum}");
            }
        }
    }

    /// The twin: gradients of all rows, on the dense standardised matrix.
    #[test]
    fn descent_on_sums_is_descent_on_rows() {
        let example = Example::new(50, 4);
        // Far from the optimum, where every step counts.
        let descent = Descent { epochs: 20, rate: 0.05 };
        let model = Affine::descended(&team(), &example.gram(), &descent).unwrap();
        let (rows, width) = (example.train.rows(), example.train.width());
        let n = rows as f64;
        let mut x: Vec<f64> = example.train.dense(0..rows).into_iter().map(f64::from).collect();
        for j in 0..width {
            let mean = (0..rows).map(|i| x[i * width + j]).sum::<f64>() / n;
            let square = (0..rows).map(|i| (x[i * width + j] - mean).powi(2)).sum::<f64>() / n;
            (0..rows).for_each(|i| x[i * width + j] = (x[i * width + j] - mean) / square.sqrt());
        }
        let (mut intercept, mut weights) = (0.0, vec![0.0; width]);
        let predict = |intercept: f64, weights: &[f64], i: usize| {
            intercept + dot(&x[i * width..][..width], weights)
        };
        for _ in 0..descent.epochs {
            let errors: Vec<f64> =
                (0..rows).map(|i| predict(intercept, &weights, i) - example.targets[i]).collect();
            intercept -= descent.rate * errors.iter().sum::<f64>() / n;
            for j in 0..width {
                let along: f64 = (0..rows).map(|i| errors[i] * x[i * width + j]).sum();
                weights[j] -= descent.rate * along / n;
            }
        }
        let predictions = model.predict(&team(), &example.train).unwrap();
        for (i, prediction) in predictions.into_iter().enumerate() {
            let expected = predict(intercept, &weights, i);
            assert!((prediction - expected).abs() < 1e-5 * (1.0 + expected.abs()), "{i}");
        }
    }

    #[test]
    fn a_descent_that_diverges_says_so() {
        let example = Example::new(50, 4);
        let descent = Descent { epochs: 5_000, rate: 5.0 };
        let fault = Affine::descended(&team(), &example.gram(), &descent).unwrap_err();
        assert!(fault.to_string().contains("diverged"), "{fault}");
    }
}
