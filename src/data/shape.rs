//! The shape of one sample as it passes between layers.

use std::fmt;

/// What one sample looks like, without the batch. Sizes are in elements; images are row-major with
/// the channels last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// A plain vector of features.
    Flat(usize),
    /// A sequence: `[steps, inputs]`.
    Rows([usize; 2]),
    /// An image or a stack of feature maps: `[height, width, channels]`.
    Image([usize; 3]),
}

impl Shape {
    /// The sizes of all axes.
    pub fn dims(&self) -> &[usize] {
        match self {
            Self::Flat(n) => std::slice::from_ref(n),
            Self::Rows(dims) => dims,
            Self::Image(dims) => dims,
        }
    }

    /// Elements of one sample. A product beyond `usize` gives `usize::MAX`, which no buffer can
    /// hold, so that building a network on it fails instead of wrapping.
    pub fn len(&self) -> usize {
        elements(self.dims())
    }

    /// Whether some axis has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The size of the last axis: channels of an image, inputs of a row, features of a vector.
    pub fn last(&self) -> usize {
        match *self {
            Self::Flat(n) | Self::Rows([_, n]) | Self::Image([_, _, n]) => n,
        }
    }
}

/// `600x28x28`
pub(crate) fn times(sizes: &[usize]) -> String {
    sizes.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}

/// The sizes of a sample as text: `28x28`, and with several channels `32x32x3`.
pub(crate) fn measures(sizes: &[usize]) -> String {
    match sizes {
        [height, width, 1] => times(&[*height, *width]),
        sizes => times(sizes),
    }
}

/// The product of `dims`, saturating.
pub(crate) fn elements(dims: &[usize]) -> usize {
    dims.iter().fold(1, |product: usize, &n| product.saturating_mul(n))
}

/// As in Keras, with `None` for the batch: `(None, 28, 28, 1)`.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(None")?;
        for n in self.dims() {
            write!(f, ", {n}")?;
        }
        write!(f, ")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_text() {
        let image = Shape::Image([28, 27, 3]);
        assert_eq!((image.len(), image.last()), (2268, 3));
        assert_eq!(image.to_string(), "(None, 28, 27, 3)");
        assert_eq!(Shape::Flat(784).to_string(), "(None, 784)");
        assert_eq!(Shape::Rows([28, 9]).len(), 252);
        assert!(Shape::Rows([0, 9]).is_empty());
    }

    #[test]
    fn overflow_saturates() {
        assert_eq!(Shape::Image([usize::MAX, 3, 5]).len(), usize::MAX);
    }
}
