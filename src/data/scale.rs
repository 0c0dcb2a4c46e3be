//! Scaling of samples to a network's inputs: each input becomes `input * factor + offset`.

use serde::{Deserialize, Serialize};

use super::samples::{Row, Samples};

/// How pixels are scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scaling {
    /// Bytes divided by 255: 0 to 1. Floats as they are.
    Unit,
    /// Each input to zero mean and unit (population) variance over the training samples.
    /// Inputs that never vary there become 0.
    Standardise,
}

/// A scaling with its numbers, fitted on training samples only; two flat vectors, so that a model
/// can be saved with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    factors: Vec<f32>,
    offsets: Vec<f32>,
}

impl Scale {
    /// Fits a scaling to the training samples.
    pub fn fit(scaling: Scaling, train: &Samples) -> Self {
        let inputs = train.shape().len();
        let is_bytes = !train.is_empty() && matches!(train.row(0), Row::Bytes(_));
        match scaling {
            Scaling::Unit => {
                let factor = if is_bytes { 1.0 / 255.0 } else { 1.0 };
                Self { factors: vec![factor; inputs], offsets: vec![0.0; inputs] }
            }
            Scaling::Standardise if !is_bytes => Self::standardise_floats(train),
            Scaling::Standardise => {
                let (sums, squares) = moments(train);
                let count = train.len() as f64;
                let (factors, offsets) = sums
                    .into_iter()
                    .zip(squares)
                    .map(|(sum, square)| {
                        let mean = sum as f64 / count;
                        // n * sum(x^2) - sum(x)^2 in integers: exact, so never negative by
                        // rounding.
                        let spread =
                            train.len() as u128 * u128::from(square) - u128::from(sum).pow(2);
                        if spread == 0 {
                            return (0.0, 0.0);
                        }
                        let factor = count / (spread as f64).sqrt();
                        (factor as f32, (-mean * factor) as f32)
                    })
                    .unzip();
                Self { factors, offsets }
            }
        }
    }

    /// Standardises floats, in two passes of f64.
    fn standardise_floats(train: &Samples) -> Self {
        let inputs = train.shape().len();
        let count = train.len() as f64;
        let mut means = vec![0.0_f64; inputs];
        let mut squares = vec![0.0_f64; inputs];
        let rows = || (0..train.len()).map(|i| train.floats(i));
        for row in rows() {
            means.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        means.iter_mut().for_each(|sum| *sum /= count);
        for row in rows() {
            for ((square, &x), mean) in squares.iter_mut().zip(row).zip(&means) {
                *square += (f64::from(x) - mean).powi(2);
            }
        }
        let (factors, offsets) = squares
            .into_iter()
            .zip(means)
            .map(|(square, mean)| {
                let factor = if square > 0.0 { 1.0 / (square / count).sqrt() } else { 0.0 };
                (factor as f32, (-mean * factor) as f32)
            })
            .unzip();
        Self { factors, offsets }
    }

    /// A scale from saved numbers, one factor and one offset per input; `None` if the lengths differ.
    pub fn from_parts(factors: Vec<f32>, offsets: Vec<f32>) -> Option<Self> {
        (factors.len() == offsets.len()).then_some(Self { factors, offsets })
    }

    /// The number of inputs of a sample.
    pub fn inputs(&self) -> usize {
        self.factors.len()
    }

    /// What each input is multiplied by, `[inputs]`.
    pub fn factors(&self) -> &[f32] {
        &self.factors
    }

    /// What is added to each product, `[inputs]`.
    pub fn offsets(&self) -> &[f32] {
        &self.offsets
    }
}

/// Sum and sum of squares of every pixel position, exact.
fn moments(samples: &Samples) -> (Vec<u64>, Vec<u64>) {
    // Summed in u32 first, of which a vector holds twice as many: 65,536 * 255^2 is still below 2^32.
    const BLOCK: usize = 65_536;
    let pixels = samples.shape().len();
    let (mut sums, mut squares) = (vec![0_u64; pixels], vec![0_u64; pixels]);
    for first in (0..samples.len()).step_by(BLOCK) {
        let (mut block_sums, mut block_squares) = (vec![0_u32; pixels], vec![0_u32; pixels]);
        for i in first..samples.len().min(first + BLOCK) {
            for ((&byte, sum), square) in
                samples.bytes(i).iter().zip(&mut block_sums).zip(&mut block_squares)
            {
                let value = u32::from(byte);
                *sum += value;
                *square += value * value;
            }
        }
        for (sums, block) in [(&mut sums, &block_sums), (&mut squares, &block_squares)] {
            for (sum, &block) in sums.iter_mut().zip(block) {
                *sum += u64::from(block);
            }
        }
    }
    (sums, squares)
}
