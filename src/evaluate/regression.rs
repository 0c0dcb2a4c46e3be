//! How far predicted quantities are from the true ones.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The four usual measures of a regression, summed in `f64`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Regression {
    /// Mean squared error, in the square of the target's unit.
    pub mse: f64,
    /// Root of the mean squared error, in the target's unit.
    pub rmse: f64,
    /// Mean absolute error, in the target's unit.
    pub mae: f64,
    /// Coefficient of determination: 1 - residual sum of squares / total sum of squares about the
    /// targets' mean. 1 is perfect, 0 as good as always answering the mean, negative worse. Of fewer than two samples
    /// it is undefined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r2: Option<f64>,
}

impl Regression {
    /// Measures `predictions[i]` against `targets[i]`. Without samples every error is 0.
    ///
    /// Where all targets are equal R² divides by zero; as in scikit-learn it is then 1 if every
    /// prediction is exact and 0 otherwise.
    ///
    /// # Panics
    /// If the two lengths differ.
    pub fn measure<T: Copy + Into<f64>>(targets: &[T], predictions: &[T]) -> Self {
        assert_eq!(targets.len(), predictions.len(), "one prediction per target");
        // `max` only guards the empty set, whose sums are all zero.
        let n = targets.len().max(1) as f64;
        let mean = targets.iter().map(|&t| t.into()).sum::<f64>() / n;
        // Two passes: the sum of squares about the mean would cancel if taken from raw squares.
        let (mut squared, mut absolute, mut total) = (0.0, 0.0, 0.0);
        for (&target, &prediction) in targets.iter().zip(predictions) {
            let (target, prediction): (f64, f64) = (target.into(), prediction.into());
            let error = prediction - target;
            squared += error * error;
            absolute += error.abs();
            total += (target - mean) * (target - mean);
        }
        let r2 = match (targets.len(), squared == 0.0, total == 0.0) {
            (0 | 1, ..) => None,
            (_, true, true) => Some(1.0),
            (_, false, true) => Some(0.0),
            (_, _, false) => Some(1.0 - squared / total),
        };
        Self { mse: squared / n, rmse: (squared / n).sqrt(), mae: absolute / n, r2 }
    }
}

impl Regression {
    /// The coefficient of determination with four decimals, or that there is none.
    pub fn r2_text(&self) -> String {
        self.r2.map_or("undefined".to_owned(), |r2| format!("{r2:.4}"))
    }
}

impl fmt::Display for Regression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mse, rmse, mae, .. } = self;
        write!(f, "MSE {mse:.4}, RMSE {rmse:.4}, MAE {mae:.4}, R2 {}", self.r2_text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_points_by_hand() {
        // Errors -0.5, 0.5, 0, 1: squares sum to 1.5, magnitudes to 2; mean target 2.875, squares
        // about it 0.125² + 3.375² + 0.875² + 4.125² = 29.1875.
        let measured = Regression::measure(&[3.0, -0.5, 2.0, 7.0], &[2.5, 0.0, 2.0, 8.0]);
        assert_eq!(measured.mse, 0.375);
        assert_eq!(measured.rmse, 0.375_f64.sqrt());
        assert_eq!(measured.mae, 0.5);
        assert_eq!(measured.r2, Some(1.0 - 1.5 / 29.1875));
        assert_eq!(measured.to_string(), "MSE 0.3750, RMSE 0.6124, MAE 0.5000, R2 0.9486");
    }

    #[test]
    fn the_mean_model_has_r2_zero() {
        let measured = Regression::measure(&[1.0, 2.0, 3.0, 6.0], &[3.0; 4]);
        assert_eq!((measured.mse, measured.mae, measured.r2), (3.5, 1.5, Some(0.0)));
    }

    #[test]
    fn equal_targets_do_not_divide_by_zero() {
        assert_eq!(Regression::measure(&[5.0, 5.0], &[5.0, 5.0]).r2, Some(1.0));
        assert_eq!(Regression::measure(&[5.0, 5.0], &[5.0, 6.0]).r2, Some(0.0));
    }

    #[test]
    fn large_targets_keep_their_variance() {
        // 16,777,216 = 2^24 is where f32 stops counting by ones; sums in f32 would lose all.
        let base = 16_777_216.0_f32;
        let measured = Regression::measure(&[base, base + 2.0], &[base, base + 4.0]);
        assert_eq!((measured.mse, measured.mae, measured.r2), (2.0, 1.0, Some(-1.0)));
    }

    #[test]
    fn no_samples() {
        let measured = Regression::measure::<f64>(&[], &[]);
        assert_eq!((measured.mse, measured.rmse, measured.mae), (0.0, 0.0, 0.0));
        assert_eq!(measured.r2, None);
    }

    /// scikit-learn gives nan and warns.
    #[test]
    fn one_sample_has_no_r2() {
        let measured = Regression::measure(&[5.0], &[3.0]);
        assert_eq!((measured.mse, measured.rmse, measured.mae, measured.r2), (4.0, 2.0, 2.0, None));
        assert!(measured.to_string().ends_with("MAE 2.0000, R2 undefined"), "{measured}");
        assert_eq!(Regression::measure(&[5.0], &[5.0]).r2, None);
        // What is saved is read back.
        let text = toml::to_string(&measured).unwrap();
        assert_eq!(toml::from_str::<Regression>(&text).unwrap(), measured);
    }
}
