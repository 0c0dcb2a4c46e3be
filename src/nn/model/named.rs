//! Named tensors: how a network's buffers are written to files and filled from them.

use super::plan::{Plan, Tensor};

/// Which of a network's tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// What predicting needs: parameters and moving statistics.
    Model,
    /// What resuming training needs besides the model: the optimizer's buffers. The model, these buffers
    /// and [`optimizer_steps`](crate::nn::Network::optimizer_steps) are the whole state.
    Optimizer,
}

/// A named tensor to be written to a file.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorRef<'a> {
    /// `conv2d_1/kernel`, `batch_normalization/moving_mean`; for an optimizer `adam/m/dense/bias`.
    pub name: String,
    /// Sizes of its axes, row-major.
    pub shape: &'a [usize],
    /// Its elements.
    pub data: &'a [f32],
}

/// A named tensor to be filled from a file.
#[derive(Debug, PartialEq)]
pub struct TensorMut<'a> {
    /// As in [`TensorRef`].
    pub name: String,
    /// Sizes of its axes, row-major.
    pub shape: &'a [usize],
    /// Its elements.
    pub data: &'a mut [f32],
}

/// The slices of a flat buffer under their names.
pub(crate) fn named<'a>(
    prefix: &str,
    tensors: &'a [Tensor],
    data: &'a [f32],
) -> Vec<TensorRef<'a>> {
    let one = |tensor: &'a Tensor| TensorRef {
        name: format!("{prefix}{}", tensor.name),
        shape: &tensor.shape,
        data: &data[tensor.range.clone()],
    };
    tensors.iter().map(one).collect()
}

impl Plan {
    /// All parameters and moving statistics of a model, which need not be the one that is being trained.
    pub(crate) fn tensors<'a>(&'a self, params: &'a [f32], state: &'a [f32]) -> Vec<TensorRef<'a>> {
        let mut tensors = named("", self.params(), params);
        tensors.extend(named("", self.state(), state));
        tensors
    }
}

/// Named slices, mutable. The tensors are adjacent, without gaps.
pub(crate) fn named_mut<'a>(
    prefix: &str,
    tensors: &'a [Tensor],
    mut rest: &'a mut [f32],
) -> Vec<TensorMut<'a>> {
    let mut all = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let (data, behind) = rest.split_at_mut(tensor.range.len());
        rest = behind;
        let name = format!("{prefix}{}", tensor.name);
        all.push(TensorMut { name, shape: &tensor.shape, data });
    }
    all
}
