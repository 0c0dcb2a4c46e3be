//! What follows a convolution in its network, as far as there is a kernel that does both at once.

use crate::nn::{Dropout, Layer, Pool2d, Pooling};

/// What follows a convolution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Next {
    /// A max-pool of 2x2.
    MaxPool,
    /// Dropout at this rate, then a max-pool of 2x2.
    DropoutMaxPool(f32),
    /// Batch normalisation. A pool behind it waits for the statistics of the whole batch.
    BatchNorm,
    /// Anything else: it goes through the map in memory.
    Other,
}

impl Next {
    /// The first of the layers behind a convolution.
    pub(super) fn of(behind: &[Layer]) -> Self {
        const POOL: Pool2d = Pool2d { pooling: Pooling::Max, size: 2 };
        match *behind {
            [Layer::Pool2d(POOL), ..] => Self::MaxPool,
            [Layer::Dropout(Dropout { rate }), Layer::Pool2d(POOL), ..] => {
                Self::DropoutMaxPool(rate)
            }
            [Layer::BatchNorm(_), ..] => Self::BatchNorm,
            _ => Self::Other,
        }
    }

    /// The rate of dropout; 0 without.
    pub fn dropout_rate(self) -> f32 {
        match self {
            Self::DropoutMaxPool(rate) => rate,
            Self::MaxPool | Self::BatchNorm | Self::Other => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{average_pool, batch_norm, dropout, flatten, leaky_relu, max_pool};

    #[test]
    fn only_what_a_kernel_fuses() {
        let of = |behind: &[Layer]| Next::of(behind);
        assert_eq!(of(&[max_pool(2), dropout(0.2)]), Next::MaxPool);
        assert_eq!(of(&[dropout(0.2), max_pool(2)]), Next::DropoutMaxPool(0.2));
        assert_eq!(of(&[batch_norm(), max_pool(2)]), Next::BatchNorm);
        for other in [max_pool(3), average_pool(2), flatten(), leaky_relu(0.1), dropout(0.2)] {
            assert_eq!(of(&[other]), Next::Other, "{other:?}");
            let with_dropout = of(&[dropout(0.2), other, max_pool(2)]);
            assert_eq!(with_dropout, Next::Other, "dropout, {other:?}");
        }
        assert_eq!(of(&[]), Next::Other);
    }
}
