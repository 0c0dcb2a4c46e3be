//! A layer's tensors as other frameworks have them. A layer says it itself
//! ([`LayerKind::exchange`](super::LayerKind::exchange)): the lines of Python that make the layer there,
//! and for each of its tensors there, in that framework's order, which of ours it is and how the two lie.
//!
//! One description serves both ways: a [`View`] says where each element of the other tensor lies in ours,
//! so reading and writing are the same walk.
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
//! - **Behind a flattened image** PyTorch has the elements channel by channel, everybody else pixel by
//!   pixel: the columns of the next `weight` there, and whatever of a normalisation lies in between, are sorted.
//! - **Two biases** of PyTorch's recurrent layers are one here, their sum. It goes back as `bias_ih_l0`, with
//!   zeros for `bias_hh_l0`.
//! - **A bias that is missing** (`bias=False`) is zero. Of Keras's arrays, which have no names, none may be missing.
//! - **`num_batches_tracked`** counts for nothing, and goes back as 0.
//! - **Epsilon and momentum** are settings of a layer, not tensors: PyTorch's epsilon of a normalisation is 1e-5
//!   unless its code says otherwise, Keras's and ours 1e-3. Give a layer the one that its weights were learnt with:
//!   `{ kind = "batch-norm", epsilon = 1e-5 }`.

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

/// A layer in its place, as far as its layouts depend on it.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Shape of one sample that comes in.
    pub input: Shape,
    /// The image whose elements the incoming vector holds, `[height, width, channels]`, where a flatten
    /// above has made it of one and no dense layer has mixed it since. PyTorch has its elements channel by
    /// channel.
    pub image: Option<[usize; 3]>,
}

/// A layer in both other frameworks.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// In PyTorch.
    pub pytorch: Foreign,
    /// In Keras.
    pub keras: Foreign,
    /// As [`Place::image`], of what goes out.
    pub image: Option<[usize; 3]>,
}

/// A layer in one other framework.
#[derive(Clone, Debug, Default)]
pub struct Foreign {
    /// The expressions that make it, in Python: one or more modules of `torch.nn` (as `nn`), or layers of
    /// `keras.layers` (as `layers`). Tensors are of the first of them.
    pub code: Vec<String>,
    /// What the expressions need besides: a class, in Python. Empty for nothing.
    pub helper: &'static str,
    /// Its tensors, in the framework's order.
    pub tensors: Vec<ForeignTensor>,
}

/// A tensor of another framework.
#[derive(Clone, Debug)]
pub struct ForeignTensor {
    /// Its name in the module: `weight`. Keras's arrays have none in files; here it is for messages.
    pub name: &'static str,
    /// What it holds.
    pub holds: Holds,
}

/// What a tensor of another framework holds.
#[derive(Clone, Debug)]
pub enum Holds {
    /// The tensor of this name of ours.
    All(&'static str, View),
    /// The same; where there is none, ours is zero: a bias that a layer need not have.
    Bias(&'static str, View),
    /// What is added to the tensor of this name of ours: the second of two biases. It goes out as zeros,
    /// since ours is the sum.
    Added(&'static str, View),
    /// A whole number of shape `[]` that no prediction depends on. It goes out as 0.
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

/// Where the elements of another framework's tensor lie in ours: the one at `[i, j, ...]` of `axes` is
/// ours at `i * stride + j * stride + ...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Sizes of the other tensor's axes, as its file has them.
    pub shape: Vec<usize>,
    /// Sizes and strides in ours, outermost first; `shape` with axes split where the order within one
    /// differs.
    axes: Vec<(usize, usize)>,
}

impl View {
    /// The same layout.
    pub fn same(shape: &[usize]) -> Self {
        let mut stride = elements(shape);
        let axis = |&size: &usize| {
            stride /= size.max(1);
            (size, stride)
        };
        Self { shape: shape.to_vec(), axes: shape.iter().map(axis).collect() }
    }

    /// The axes of this one in another order: `axes[0]` of this one is the other's first.
    #[must_use]
    pub fn permuted(&self, axes: &[usize]) -> Self {
        Self {
            shape: axes.iter().map(|&axis| self.shape[axis]).collect(),
            axes: axes.iter().map(|&axis| self.axes[axis]).collect(),
        }
    }

    /// This one with the elements of an image, which its axis number `axis` is over, channel by channel.
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

    /// For each element of the other tensor, in its order, the number of ours.
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
    /// A layer without tensors, elementwise or over whole images, made by these expressions.
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
    /// Expressions and tensors.
    pub fn new(code: Vec<String>, tensors: Vec<ForeignTensor>) -> Self {
        Self { code, helper: "", tensors }
    }
}

/// A tensor that holds one of ours.
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

/// A module of PyTorch, and the activation behind it where it has one.
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

    /// By hand: the rows of a kernel `[4, 2]` behind an image of 1 x 2 pixels with two channels.
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
