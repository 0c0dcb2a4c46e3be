//! A layer's tensors in other frameworks. Each layer describes them itself
//! ([`LayerKind::exchange`](super::LayerKind::exchange)): the lines of Python that make the layer there,
//! and for each of its tensors there, in that framework's order, which of our tensors it is and how their
//! layouts differ.
//!
//! One description serves both reading and writing: a [`View`] says where each element of the other tensor
//! lies in ours.
//!
//! # Layouts
//! | layer | here, and Keras's `get_weights()` | PyTorch's `state_dict` |
//! |---|---|---|
//! | `conv2d` | `kernel` `[height, width, in, out]`, `bias` | `weight` `[out, in, height, width]`, `bias` |
//! | `dense` | `kernel` `[in, out]`, `bias` | `weight` `[out, in]`, `bias` |
//! | `batch-norm` | `gamma`, `beta`, `moving_mean`, `moving_variance` | `weight`, `bias`, `running_mean`, `running_var`, `num_batches_tracked` |
//! | `layer-norm` | `gamma`, `beta` | `weight`, `bias` |
//! | `lstm`, `simple-rnn` | `kernel` `[in, gates units]`, `recurrent_kernel`, `bias`; gates i, f, g (Keras: c), o | `weight_ih_l0` `[gates units, in]`, `weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0`; the same gates |
//!
//! - **After a flattened image** PyTorch has the elements channel by channel, Keras and this crate pixel by
//!   pixel. The columns of the next PyTorch `weight`, and the tensors of a normalisation in between, are
//!   reordered.
//! - **Two biases** of PyTorch's recurrent layers are one here, their sum. It is written as `bias_ih_l0`,
//!   with zeros for `bias_hh_l0`.
//! - **A bias that is missing** (`bias=False`) is zero. Keras's arrays have no names, so none of them may
//!   be missing.
//! - **`num_batches_tracked`** is ignored, and written as 0.
//! - **Epsilon and momentum** are settings of a layer, not tensors. The default epsilon of a normalisation
//!   is 1e-5 in PyTorch, 1e-3 in Keras and here. Give a layer the epsilon that its weights were trained
//!   with: `{ kind = "batch-norm", epsilon = 1e-5 }`.

use threadcount_kernels::Activation;

use crate::data::{Shape, elements};

/// Another framework.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framework {
    /// PyTorch: a `state_dict` in a safetensors file; images are `[channels, height, width]`.
    PyTorch,
    /// Keras: the arrays of `get_weights()` in an `.npz` file; images are `[height, width, channels]`, as
    /// here.
    Keras,
}

impl Framework {
    /// `pytorch` or `keras`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PyTorch => "pytorch",
            Self::Keras => "keras",
        }
    }
}

/// Where a layer stands in a network, as far as its layouts depend on that.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Shape of one input sample.
    pub input: Shape,
    /// The image whose elements the input vector holds, `[height, width, channels]`, if the vector comes
    /// from a flatten with no dense layer in between. PyTorch has its elements channel by channel.
    pub image: Option<[usize; 3]>,
}

/// A layer in both other frameworks.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// In PyTorch.
    pub pytorch: Foreign,
    /// In Keras.
    pub keras: Foreign,
    /// As [`Place::image`], for the layer's output.
    pub image: Option<[usize; 3]>,
}

/// A layer in one other framework.
#[derive(Clone, Debug, Default)]
pub struct Foreign {
    /// The expressions that make it, in Python: one or more modules of `torch.nn` (as `nn`), or layers of
    /// `keras.layers` (as `layers`). The tensors belong to the first of them.
    pub code: Vec<String>,
    /// The Python class that the expressions need besides. Empty if there is none.
    pub helper: &'static str,
    /// Its tensors, in the framework's order.
    pub tensors: Vec<ForeignTensor>,
}

/// A tensor of another framework.
#[derive(Clone, Debug)]
pub struct ForeignTensor {
    /// Its name in the module: `weight`. Keras's arrays have no names in files; theirs are used in messages
    /// only.
    pub name: &'static str,
    /// What it holds.
    pub holds: Holds,
}

/// What a tensor of another framework holds.
#[derive(Clone, Debug)]
pub enum Holds {
    /// Our tensor of this name.
    All(&'static str, View),
    /// A bias, which may be missing: our tensor of this name is then zero.
    Bias(&'static str, View),
    /// The second of two biases, which is added to our tensor of this name. It is written as zeros, since
    /// ours is the sum.
    Added(&'static str, View),
    /// A whole number of shape `[]` that no prediction depends on. It is written as 0.
    Counter,
}

impl Holds {
    /// The shape of the other framework's tensor, as its file has it.
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::All(_, view) | Self::Bias(_, view) | Self::Added(_, view) => &view.shape,
            Self::Counter => &[],
        }
    }
}

/// Where the elements of another framework's tensor lie in ours: the element at `[i, j, ...]` of `axes` is
/// element `i * stride + j * stride + ...` of ours, each axis with its own stride.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Sizes of the other tensor's axes, as its file has them.
    pub shape: Vec<usize>,
    /// Sizes, and strides in our tensor, outermost first: `shape`, with an axis split where the order of
    /// its elements differs.
    axes: Vec<(usize, usize)>,
}

impl View {
    /// A view with the same layout in both.
    pub fn same(shape: &[usize]) -> Self {
        let mut stride = elements(shape);
        let axis = |&size: &usize| {
            stride /= size.max(1);
            (size, stride)
        };
        Self { shape: shape.to_vec(), axes: shape.iter().map(axis).collect() }
    }

    /// This view with its axes in another order: its axis `axes[0]` becomes the first.
    #[must_use]
    pub fn permuted(&self, axes: &[usize]) -> Self {
        Self {
            shape: axes.iter().map(|&axis| self.shape[axis]).collect(),
            axes: axes.iter().map(|&axis| self.axes[axis]).collect(),
        }
    }

    /// This view with the elements of axis `axis`, which are those of an image, channel by channel.
    #[must_use]
    pub fn channels_first(mut self, axis: usize, image: Option<[usize; 3]>) -> Self {
        if let Some([height, width, channels]) = image {
            let stride = self.axes[axis].1;
            let split = [
                (channels, stride),
                (height, width * channels * stride),
                (width, channels * stride),
            ];
            self.axes.splice(axis..=axis, split);
        }
        self
    }

    /// For each element of the other tensor, in its order, the index of that element in ours.
    pub fn indices(&self) -> impl Iterator<Item = usize> {
        let mut at = vec![0; self.axes.len()];
        (0..elements(&self.shape)).map(move |_| {
            let index = at.iter().zip(&self.axes).map(|(i, (_, stride))| i * stride).sum();
            for (i, (size, _)) in at.iter_mut().zip(&self.axes).rev() {
                *i += 1;
                if *i < *size {
                    break;
                }
                *i = 0;
            }
            index
        })
    }
}

impl Exchange {
    /// A layer without tensors (elementwise, or over whole images), made by these expressions.
    pub fn without_tensors(
        place: &Place,
        pytorch: impl Into<String>,
        keras: impl Into<String>,
    ) -> Self {
        Self {
            pytorch: Foreign::new(vec![pytorch.into()], Vec::new()),
            keras: Foreign::new(vec![keras.into()], Vec::new()),
            image: place.image,
        }
    }
}

impl Foreign {
    /// A layer with these expressions and tensors, without a helper.
    pub fn new(code: Vec<String>, tensors: Vec<ForeignTensor>) -> Self {
        Self { code, helper: "", tensors }
    }
}

/// A tensor that holds our tensor `ours`.
pub fn all(name: &'static str, ours: &'static str, view: View) -> ForeignTensor {
    ForeignTensor { name, holds: Holds::All(ours, view) }
}

/// A bias that may be missing.
pub fn bias(name: &'static str, view: View) -> ForeignTensor {
    ForeignTensor { name, holds: Holds::Bias("bias", view) }
}

/// The name of an activation in Keras.
pub fn keras_activation(activation: Activation) -> String {
    match activation {
        Activation::Linear => "\"linear\"".to_owned(),
        Activation::Relu => "\"relu\"".to_owned(),
        Activation::Sigmoid => "\"sigmoid\"".to_owned(),
        Activation::Tanh => "\"tanh\"".to_owned(),
        Activation::LeakyRelu { slope } => format!("layers.LeakyReLU(negative_slope={slope})"),
    }
}

/// The module of an activation in PyTorch.
pub fn pytorch_activation(activation: Activation) -> String {
    match activation {
        Activation::Linear => "nn.Identity()".to_owned(),
        Activation::Relu => "nn.ReLU()".to_owned(),
        Activation::Sigmoid => "nn.Sigmoid()".to_owned(),
        Activation::Tanh => "nn.Tanh()".to_owned(),
        Activation::LeakyRelu { slope } => format!("nn.LeakyReLU({slope})"),
    }
}

/// A module of PyTorch, and after it the activation unless it is linear.
pub fn with_activation(module: String, activation: Activation) -> Vec<String> {
    match activation {
        Activation::Linear => vec![module],
        activation => vec![module, pytorch_activation(activation)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indices(view: &View) -> Vec<usize> {
        view.indices().collect()
    }

    /// By hand: the rows of a kernel `[4, 2]` after an image of 1 x 2 pixels with two channels.
    #[test]
    fn a_kernel_behind_a_flattened_image_is_turned_and_sorted() {
        let view = View::same(&[4, 2]).permuted(&[1, 0]).channels_first(1, Some([1, 2, 2]));
        assert_eq!((&view.shape[..], indices(&view)), (&[2, 4][..], vec![0, 4, 2, 6, 1, 5, 3, 7]));
    }

    #[test]
    fn axes_change_places() {
        let same = View::same(&[2, 3]);
        assert_eq!(indices(&same), [0, 1, 2, 3, 4, 5]);
        let transposed = same.permuted(&[1, 0]);
        assert_eq!(
            (&transposed.shape[..], indices(&transposed)),
            (&[3, 2][..], vec![0, 3, 1, 4, 2, 5])
        );
        // Height 1, width 2, two channels, three filters.
        let oihw = View::same(&[1, 2, 2, 3]).permuted(&[3, 2, 0, 1]);
        assert_eq!(oihw.shape, [3, 2, 1, 2]);
        assert_eq!(indices(&oihw), [0, 6, 3, 9, 1, 7, 4, 10, 2, 8, 5, 11]);
    }

    /// By hand: an image of 1 x 3 pixels with two channels, in front of two outputs.
    #[test]
    fn a_flattened_image_is_channel_by_channel() {
        let rows = View::same(&[6]).channels_first(0, Some([1, 3, 2]));
        assert_eq!((&rows.shape[..], indices(&rows)), (&[6][..], vec![0, 2, 4, 1, 3, 5]));
        let tall = View::same(&[6]).channels_first(0, Some([3, 1, 2]));
        assert_eq!(indices(&tall), [0, 2, 4, 1, 3, 5]);
        let image = View::same(&[12]).channels_first(0, Some([2, 3, 2]));
        assert_eq!(indices(&image), [0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11]);
        assert_eq!(indices(&View::same(&[2]).channels_first(0, None)), [0, 1]);
    }
}
