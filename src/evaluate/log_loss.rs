//! The mean negative logarithm of the probability that was given to the true class.

/// The log loss of `probabilities`, `[n, classes]`, for classes `labels`, `[n]`, with natural logarithms: 0 without
/// samples.
///
/// As scikit-learn 1.9 does it: probabilities are clipped to `epsilon..=1 - epsilon` and not normalised. There epsilon
/// is that of the probabilities' type: [`f64::EPSILON`] for float64, [`f32::EPSILON`] for float32. So a true class
/// whose probability is 0 costs 36.04 or 15.94, not infinitely much.
///
/// ```
/// use threadcount::evaluate::log_loss;
/// let loss = log_loss(&[1, 0], &[0.25, 0.75, 0.5, 0.5], 2, f64::EPSILON);
/// assert!((loss - (0.75_f64.ln() + 0.5_f64.ln()) / -2.0).abs() < 1e-15);
/// ```
///
/// # Panics
/// If there are not `classes` probabilities for each label, or a label is no class.
pub fn log_loss(labels: &[u8], probabilities: &[f64], classes: usize, epsilon: f64) -> f64 {
    assert_eq!(probabilities.len(), labels.len() * classes, "a probability for each class");
    let mut sum = 0.0;
    for (i, &label) in labels.iter().enumerate() {
        assert!(usize::from(label) < classes, "label {label} of {classes} classes");
        let p = probabilities[i * classes + usize::from(label)];
        sum -= p.clamp(epsilon, 1.0 - epsilon).ln();
    }
    sum / labels.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_of_nothing_and_of_all_are_clipped() {
        let loss = |p, epsilon| log_loss(&[0], &[p, 1.0 - p], 2, epsilon);
        assert_eq!(loss(0.0, f64::EPSILON), -f64::EPSILON.ln());
        assert_eq!(loss(0.0, f32::EPSILON.into()), -f64::from(f32::EPSILON).ln());
        assert_eq!(loss(1.0, f64::EPSILON), -(1.0 - f64::EPSILON).ln());
        assert!(loss(f64::NAN, f64::EPSILON).is_nan());
        assert_eq!(log_loss(&[], &[], 3, f64::EPSILON), 0.0);
    }
}
