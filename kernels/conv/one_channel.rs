//! The forward pass of convolutions of one channel with 3 x 3 windows one pixel apart. A tile of the
//! micro-kernel would do only 252 multiply-adds here, and its setup would take half as many cycles again.
//! Instead, the nine weights of two vectors of filters stay in registers, and pixels are computed four at
//! a time.

use crate::simd::{Kernel, Simd};
use crate::{Activation, Geometry, Mat};

/// Pixels of one step: 18 weights of two vectors, 8 sums, 2 biases and a broadcast are 29 registers;
/// where there are 16, with one vector, 15.
pub(super) const PIXELS: usize = 4;

/// Whether a convolution is of this kind, which has [`super::backward_weights_pooled`] too.
pub fn is_one_channel(geometry: &Geometry) -> bool {
    let g = geometry;
    (g.channels, g.kernel_h, g.kernel_w, g.stride) == (1, 3, 3, 1)
}

/// The weights of such a convolution.
#[derive(Clone, Copy)]
pub(super) struct OneChannel<'a> {
    /// `9 x filters`
    w: Mat<'a>,
    bias: &'a [f32],
    activation: Activation,
}

impl<'a> OneChannel<'a> {
    /// `None` if the convolution is of another kind, or if the activation takes more than a few
    /// instructions, which would push the weights out of their registers.
    pub(super) fn of(
        g: &Geometry,
        w: Mat<'a>,
        bias: &'a [f32],
        activation: Activation,
    ) -> Option<Self> {
        let is_short = matches!(
            activation,
            Activation::Linear | Activation::Relu | Activation::LeakyRelu { .. }
        );
        assert_eq!((w.rows(), w.cols(), w.cs()), (g.window_len(), bias.len(), 1));
        (is_one_channel(g) && is_short).then_some(Self { w, bias, activation })
    }

    /// Filters.
    pub(super) fn filters(&self) -> usize {
        self.bias.len()
    }
}

/// What is done to vectors of filters that stay in registers.
pub(super) trait OnFilters {
    /// Does it to NV vectors from number `first` on. A single one may be incomplete. Mark it
    /// `#[inline(always)]`.
    fn run<S: Simd, const NV: usize>(&mut self, simd: S, first: usize);
}

/// Does it to all filters, two vectors at a time where there are registers for them.
#[inline(always)]
pub(super) fn on_filters<S: Simd>(simd: S, filters: usize, work: &mut impl OnFilters) {
    let mut first = 0;
    while S::TUNING.filter_vectors == 2 && first + 2 * S::LANES <= filters {
        simd.call(Vectors::<_, 2> { work: &mut *work, first });
        first += 2 * S::LANES;
    }
    while first < filters {
        simd.call(Vectors::<_, 1> { work: &mut *work, first });
        first += S::LANES;
    }
}

/// NV vectors, as a function of its own.
struct Vectors<'a, T, const NV: usize> {
    work: &'a mut T,
    first: usize,
}

impl<T: OnFilters, const NV: usize> Kernel for Vectors<'_, T, NV> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.work.run::<S, NV>(simd, self.first);
    }
}

/// NV vectors of filters in registers. A single one may be incomplete.
#[derive(Clone, Copy)]
pub(super) struct Filters<V, const NV: usize> {
    taps: [[V; NV]; 9],
    bias: [V; NV],
    activation: Activation,
}

impl<V: Copy, const NV: usize> Filters<V, NV> {
    /// The vectors of filters from filter number `first` on.
    #[inline(always)]
    pub(super) fn load<S: Simd<V = V>>(simd: S, job: &OneChannel, first: usize) -> Self {
        let OneChannel { w, bias: biases, activation } = *job;
        assert!(first < biases.len());
        let mut taps = [[simd.splat(0.0); NV]; 9];
        let mut bias = [simd.splat(0.0); NV];
        for v in 0..NV {
            let first = first + v * S::LANES;
            let left = biases.len().saturating_sub(first);
            // SAFETY: filters from `first` on, of the bias and of nine rows of w.
            unsafe {
                bias[v] = simd.load_first(biases.as_ptr().wrapping_add(first), left);
                for tap in 0..9 {
                    taps[tap][v] =
                        simd.load_first(w.as_ptr().wrapping_add(tap * w.rs() + first), left);
                }
            }
        }
        Self { taps, bias, activation }
    }

    /// The outputs of four pixels, whose windows begin at these offsets from `x`. The bits are
    /// those of the micro-kernel.
    ///
    /// # Safety
    /// The windows are readable.
    #[inline(always)]
    pub(super) unsafe fn outputs<S: Simd<V = V>>(
        &self,
        simd: S,
        x: *const f32,
        offsets: [usize; PIXELS],
        line_len: usize,
    ) -> [[V; NV]; PIXELS] {
        let mut sums = [[simd.splat(0.0); NV]; PIXELS];
        for kh in 0..3 {
            for kw in 0..3 {
                for i in 0..PIXELS {
                    // SAFETY: by the caller's promise.
                    let x = simd.splat(unsafe { *x.add(kh * line_len + kw + offsets[i]) });
                    for v in 0..NV {
                        sums[i][v] = simd.mul_add(x, self.taps[3 * kh + kw][v], sums[i][v]);
                    }
                }
            }
        }
        for i in 0..PIXELS {
            for v in 0..NV {
                sums[i][v] = simd.add(sums[i][v], self.bias[v]);
            }
        }
        match self.activation {
            Activation::Relu => {
                for i in 0..PIXELS {
                    for v in 0..NV {
                        sums[i][v] = Activation::Relu.apply_flushed(simd, sums[i][v]);
                    }
                }
            }
            Activation::LeakyRelu { slope } => {
                for i in 0..PIXELS {
                    for v in 0..NV {
                        sums[i][v] =
                            Activation::LeakyRelu { slope }.apply_flushed(simd, sums[i][v]);
                    }
                }
            }
            _ => {
                for i in 0..PIXELS {
                    for v in 0..NV {
                        sums[i][v] = simd.flush(sums[i][v]);
                    }
                }
            }
        }
        sums
    }
}

/// Some lines of one image's output.
pub(super) struct Lines<'a> {
    pub(super) weights: OneChannel<'a>,
    /// Pixels of a line of the output.
    pub(super) pixels: usize,
    /// The image in its frame, from the first line under these on.
    pub(super) x: &'a [f32],
    pub(super) line_len: usize,
    /// `[lines, out_w, filters]`
    pub(super) y: &'a mut [f32],
}

impl Lines<'_> {
    /// Computes them.
    ///
    /// # Panics
    /// If a line has fewer pixels than are computed in one step.
    #[inline(always)]
    pub(super) fn compute<S: Simd>(mut self, simd: S) {
        let (filters, pixels) = (self.weights.filters(), self.pixels);
        let lines = self.y.len() / (pixels * filters);
        assert!(pixels >= PIXELS && self.y.len() == lines * pixels * filters);
        assert!(self.x.len() >= (lines + 1) * self.line_len + pixels + 2);
        on_filters(simd, filters, &mut self);
    }
}

impl OnFilters for Lines<'_> {
    #[inline(always)]
    fn run<S: Simd, const NV: usize>(&mut self, simd: S, first: usize) {
        let Self { weights, pixels, x, line_len, y } = self;
        let (filters, pixels, line_len) = (weights.filters(), *pixels, *line_len);
        let left = filters - first;
        let weights = Filters::<S::V, NV>::load(simd, weights, first);
        for (line, y) in y.chunks_exact_mut(pixels * filters).enumerate() {
            let x = x.as_ptr().wrapping_add(line * line_len);
            for pixel in (0..pixels).step_by(PIXELS) {
                // The last step may overlap the step before: the same outputs are then computed again.
                let pixel = pixel.min(pixels - PIXELS);
                // SAFETY: `Lines::compute` checked that x has the windows of all lines; y has this
                // line's pixels, and of each a row of filters.
                unsafe {
                    let x = x.wrapping_add(pixel);
                    let outputs = weights.outputs(simd, x, [0, 1, 2, 3], line_len);
                    let y = y.as_mut_ptr().add(pixel * filters + first);
                    for i in 0..PIXELS {
                        for v in 0..NV {
                            let y = y.add(i * filters + v * S::LANES);
                            simd.store_first(y, outputs[i][v], left - v * S::LANES);
                        }
                    }
                }
            }
        }
    }
}
