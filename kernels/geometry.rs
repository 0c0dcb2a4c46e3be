//! How a window slides over an image: the one place where the sizes of convolutions and poolings
//! are worked out. Layout is NHWC throughout.

/// What happens at an image's border.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// The window stays inside: `out = floor((in - kernel) / stride) + 1`.
    Valid,
    /// Zeros are added so that `out = ceil(in / stride)`; where their number is odd, the one more
    /// goes to the end (TensorFlow's and Keras's rule).
    Same,
}

/// A window of `kernel_h x kernel_w` sliding in steps of `stride` over images of
/// `in_h x in_w x channels`. Sizes are in pixels. Kernels walk images by these sizes without looking
/// at them again: only [`Geometry::new`] makes one, of sizes that fit each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Height of the input.
    pub(crate) in_h: usize,
    /// Width of the input.
    pub(crate) in_w: usize,
    /// Channels of the input.
    pub(crate) channels: usize,
    /// Height of the window.
    pub(crate) kernel_h: usize,
    /// Width of the window.
    pub(crate) kernel_w: usize,
    /// Step of the window, both ways.
    pub(crate) stride: usize,
    /// Zeros above the image.
    pub(crate) pad_top: usize,
    /// Zeros left of the image.
    pub(crate) pad_left: usize,
    /// Height of the output.
    pub(crate) out_h: usize,
    /// Width of the output.
    pub(crate) out_w: usize,
}

impl Geometry {
    /// Works the output's size out. `input` is height, width, channels; `kernel` height, width.
    /// `None` if a size is zero, no memory could hold the image, the window or a step of it, or a
    /// valid window is larger than the image.
    pub fn new(
        input: [usize; 3],
        kernel: [usize; 2],
        stride: usize,
        padding: Padding,
    ) -> Option<Self> {
        let [in_h, in_w, channels] = input;
        let [kernel_h, kernel_w] = kernel;
        if [in_h, in_w, channels, kernel_h, kernel_w, stride].contains(&0) {
            return None;
        }
        let (out_h, pad_top) = slide(in_h, kernel_h, stride, padding)?;
        let (out_w, pad_left) = slide(in_w, kernel_w, stride, padding)?;
        // The image with the zeros around it, and a step of two windows (pools take two) down it: no
        // offset that kernels work out is beyond these.
        let height = in_h.checked_add(kernel_h)?;
        let line = in_w.checked_add(kernel_w)?.checked_mul(channels)?;
        let largest = height.checked_mul(line)?.max(stride.checked_mul(2)?.checked_mul(line)?);
        if largest > isize::MAX as usize / size_of::<f32>() {
            return None;
        }
        Some(Self {
            in_h,
            in_w,
            channels,
            kernel_h,
            kernel_w,
            stride,
            pad_top,
            pad_left,
            out_h,
            out_w,
        })
    }

    /// Height of the input.
    pub fn in_h(&self) -> usize {
        self.in_h
    }

    /// Width of the input.
    pub fn in_w(&self) -> usize {
        self.in_w
    }

    /// Channels of the input.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Height of the window.
    pub fn kernel_h(&self) -> usize {
        self.kernel_h
    }

    /// Width of the window.
    pub fn kernel_w(&self) -> usize {
        self.kernel_w
    }

    /// Step of the window, both ways.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Zeros above the image.
    pub fn pad_top(&self) -> usize {
        self.pad_top
    }

    /// Zeros left of the image.
    pub fn pad_left(&self) -> usize {
        self.pad_left
    }

    /// Height of the output.
    pub fn out_h(&self) -> usize {
        self.out_h
    }

    /// Width of the output.
    pub fn out_w(&self) -> usize {
        self.out_w
    }

    /// Elements of one input image.
    pub fn in_len(&self) -> usize {
        self.in_h * self.in_w * self.channels
    }

    /// Pixels of one output image.
    pub fn out_pixels(&self) -> usize {
        self.out_h * self.out_w
    }

    /// Elements under the window: the rows of im2col's product, `kernel_h * kernel_w * channels`.
    pub fn window_len(&self) -> usize {
        self.kernel_h * self.kernel_w * self.channels
    }
}

/// Output length and leading padding of one dimension.
fn slide(input: usize, kernel: usize, stride: usize, padding: Padding) -> Option<(usize, usize)> {
    match padding {
        Padding::Valid => Some((input.checked_sub(kernel)? / stride + 1, 0)),
        Padding::Same => {
            let output = input.div_ceil(stride);
            let covered = (output - 1).checked_mul(stride)?.checked_add(kernel)?;
            Some((output, covered.saturating_sub(input) / 2))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_the_reports() {
        let out = |input, kernel, stride, padding| {
            let g = Geometry::new(input, kernel, stride, padding).unwrap();
            (g.out_h, g.out_w, g.pad_top, g.pad_left)
        };
        assert_eq!(out([28, 28, 1], [3, 3], 1, Padding::Valid), (26, 26, 0, 0));
        assert_eq!(out([28, 28, 1], [3, 3], 1, Padding::Same), (28, 28, 1, 1));
        assert_eq!(out([11, 11, 64], [2, 2], 2, Padding::Valid), (5, 5, 0, 0));
        // TensorFlow: 28 at stride 2 with kernel 3 pads 0 before and 1 after.
        assert_eq!(out([28, 28, 1], [3, 3], 2, Padding::Same), (14, 14, 0, 0));
        assert_eq!(out([5, 7, 2], [2, 4], 1, Padding::Same), (5, 7, 0, 1));
        assert_eq!(out([3, 3, 1], [1, 1], 5, Padding::Same), (1, 1, 0, 0));
    }

    #[test]
    fn refuses_what_has_no_output() {
        assert_eq!(Geometry::new([2, 2, 1], [3, 3], 1, Padding::Valid), None);
        assert_eq!(Geometry::new([2, 2, 0], [1, 1], 1, Padding::Valid), None);
        assert_eq!(Geometry::new([2, 2, 1], [1, 1], 0, Padding::Same), None);
        for padding in [Padding::Valid, Padding::Same] {
            for huge in [1 << 61, 1 << 62, 1 << 63, usize::MAX] {
                let new = |input, kernel, stride| Geometry::new(input, kernel, stride, padding);
                assert_eq!(new([huge, 2, 1], [1, 1], 1), None);
                assert_eq!(new([2, huge, 1], [1, 1], 1), None);
                assert_eq!(new([2, 2, huge], [1, 1], 1), None);
                assert_eq!(new([2, 2, 1], [huge, 1], 1), None);
                assert_eq!(new([2, 2, 1], [1, huge], 1), None);
                assert_eq!(new([2, 2, 1], [1, 1], huge), None);
            }
        }
        // Each fits, their product does not.
        assert_eq!(Geometry::new([1 << 31, 1 << 31, 1], [1, 1], 1, Padding::Valid), None);
        assert_eq!(Geometry::new([2, 2, 1], [1 << 31, 1 << 31], 1, Padding::Same), None);
    }
}
