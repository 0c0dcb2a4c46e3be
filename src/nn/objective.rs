//! What training minimises: a loss of the outputs, and a penalty on the weights.

use threadcount_kernels::{Team, vectors};

use crate::error::{Error, Result};
use crate::nn::loss::Loss;
use crate::nn::model::Model;

/// A loss with its regularisation. Every reported loss (of training, validation and test) includes both, as
/// in Keras.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    /// How far outputs are from their targets.
    pub loss: Loss,
    /// The share of a label that is spread evenly over all classes, in `[0, 1)` (Szegedy et al. 2015,
    /// Keras's `label_smoothing`). With binary cross-entropy, each of the two classes gets half of it.
    pub label_smoothing: f32,
    /// The penalty is this factor times the sum of the squares of all weights for which
    /// [`Tensor::decays`](crate::nn::Tensor::decays) is true. Keras adds the same to the loss with
    /// `kernel_regularizer=l2(...)` on every layer (and `recurrent_regularizer` on recurrent layers). The
    /// gradient of the penalty is `2 l2 w`; PyTorch's `weight_decay` of SGD and Adam adds half of that.
    pub l2: f32,
}

/// The loss without regularisation.
impl From<Loss> for Objective {
    fn from(loss: Loss) -> Self {
        Self { loss, label_smoothing: 0.0, l2: 0.0 }
    }
}

impl Objective {
    /// Whether there is no regularisation.
    pub(crate) fn is_plain(self) -> bool {
        self == self.loss.into()
    }

    /// Refuses settings with which nothing can be trained.
    ///
    /// # Errors
    /// [`Error::Setting`]: a smoothing outside `[0, 1)`, or with a loss that has no labels; an `l2` that is
    /// negative or not a number.
    pub fn check(&self) -> Result<()> {
        let Self { loss, label_smoothing, l2 } = *self;
        let setting = |name, fault| Err(Error::Setting { name, fault });
        if !(0.0..1.0).contains(&label_smoothing) {
            return setting(
                "label-smoothing",
                format!("a share of the label is from 0 to below 1, not {label_smoothing}"),
            );
        }
        if label_smoothing > 0.0 && loss == Loss::MeanSquaredError {
            return setting(
                "label-smoothing",
                "squared errors have no labels to smooth; use it with a cross-entropy".into(),
            );
        }
        if !(l2 >= 0.0 && l2.is_finite()) {
            return setting("l2", format!("a factor of 0 or more, not {l2}"));
        }
        Ok(())
    }

    /// The penalty on the weights, which is added to the loss of each sample.
    pub(crate) fn penalty(self, team: &Team, model: &Model) -> f64 {
        if self.l2 == 0.0 {
            return 0.0;
        }
        let weights = model.plan().params().iter().filter(|tensor| tensor.decays());
        let squares = weights
            .map(|tensor| vectors::sum_of_squares(team, &model.params()[tensor.range.clone()]));
        f64::from(self.l2) * squares.sum::<f64>()
    }
}
