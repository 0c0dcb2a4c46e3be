//! Convolution: windows over images times weights, on the micro-kernel of [`crate::gemm`], which reads
//! every operand in place. The matrix of im2col (a row for each output pixel, a column for each element
//! under its window) is never built, not even panel by panel: the offset of its element `i, p` is the sum
//! of an offset for row i and an offset for column p.
//!
//! - `forward`: windows times weights
//! - `moments`: the same with each filter's mean and variance, for batch normalisation
//! - `one_channel`: the forward pass where windows have nine elements
//! - `pooled`: the same with activation, dropout and max-pooling, and no map in memory
//! - `winners`: the backward pass of `pooled`, from the pooled gradient
//! - `scatter`: the gradient of the input, tap by tap, where windows cover it unevenly
//! - `weights`: the gradient of the weights; `weights_on_tiles`: the same on a tile unit; `pairs`: what it
//!   multiplies, as words of bf16 numbers
//! - `panel`: some windows at once times the weights, in registers or on tiles
//! - `images`: walking pixels, and frames of zeros for padding
//! - `windows`: what is under a window, as floats or as words of bf16 numbers
//!
//! Images are `[n, h, w, channels]`, weights `[kernel_h, kernel_w, channels, filters]`, as in
//! Keras.

mod forward;
mod images;
mod moments;
mod one_channel;
mod pairs;
mod panel;
mod pooled;
mod scatter;
mod weights;
mod weights_on_tiles;
mod windows;
mod winners;

use crate::gemm::pack::pack_b;
use crate::simd::{Kernel, Simd};
use crate::team::Parts;
use crate::{Activation, Geometry, Mat, Team, sums};
use forward::Correlation;
use images::Framed;
pub use moments::forward_with_moments;
use one_channel::OneChannel;
pub use one_channel::is_one_channel;
pub use pooled::forward_pooled;
use scatter::Scatter;
use windows::Windows;
pub use winners::{Winners, backward_weights_pooled, expand_winners};

/// The forward pass of a convolution: `activation(conv(x, w) + bias)`.
#[derive(Clone, Copy, Debug)]
pub struct Convolution<'a> {
    /// How windows slide.
    pub geometry: &'a Geometry,
    /// `[n, in_h, in_w, channels]`
    pub x: &'a [f32],
    /// `[kernel_h, kernel_w, channels, filters]`
    pub w: &'a [f32],
    /// `[filters]`
    pub bias: &'a [f32],
    /// What is applied to the sums.
    pub activation: Activation,
}

impl<'a> Convolution<'a> {
    /// Checks all lengths, with `y` at full resolution; the batch size.
    #[track_caller]
    fn check(&self, y: usize) -> usize {
        check(self.geometry, self.x.len(), self.w.len(), self.bias.len(), y)
    }

    /// A row for each element under a window.
    fn weights(&self) -> Mat<'a> {
        Mat::new(self.w, self.geometry.window_len(), self.bias.len())
    }

    fn one_channel(&self) -> Option<OneChannel<'a>> {
        OneChannel::of(self.geometry, self.weights(), self.bias, self.activation)
    }

    fn windows(&self) -> Windows<'a> {
        let g = self.geometry;
        let kernel = (g.kernel_w, g.kernel_h * g.kernel_w);
        Windows::new(self.x, Framed::input(g), kernel, self.weights())
    }

    fn correlation(&self) -> Correlation<'a> {
        let g = self.geometry;
        Correlation {
            windows: self.windows(),
            out: (g.out_h, g.out_w),
            stride: g.stride,
            bias: Some((self.bias, self.activation)),
            one_channel: self.one_channel(),
        }
    }
}

/// `y = activation(conv(x, w) + bias)`, `[n, out_h, out_w, filters]`.
///
/// # Panics
/// If the lengths do not fit together.
#[track_caller]
pub fn forward(team: &Team, convolution: &Convolution, y: &mut [f32]) {
    convolution.check(y.len());
    convolution.correlation().run(team, y, None);
}

/// The gradient of the loss by `x`, from its gradient `dz` by the convolution's output before the
/// activation. `dx` is overwritten. The transposed convolution: the window of an input pixel slides
/// over `dz`, with the weights turned around.
///
/// # Panics
/// If the lengths do not fit together.
pub fn backward_data(team: &Team, geometry: &Geometry, dz: &[f32], w: &[f32], dx: &mut [f32]) {
    let filters = w.len() / geometry.window_len();
    check(geometry, dx.len(), w.len(), filters, dz.len());
    let g = geometry;
    let is_even = is_covered_evenly(g);
    let order = if is_even { TapOrder::Reversed } else { TapOrder::AsIs };
    let mut buffer = team.phase_scratch();
    let turned = buffer.floats(w.len());
    turn_weights(team, g, filters, w, order, turned);
    let taps = g.kernel_h * g.kernel_w;
    let w = Mat::new(turned, taps * filters, g.channels);
    if !is_even {
        let pixels = Windows::of_pixels(dz, Framed::output(g, filters), taps, w);
        return Scatter { g, pixels }.run(team, dx);
    }
    let images = Framed::output_gradient(g, filters);
    let correlation = Correlation {
        windows: Windows::new(dz, images, (g.kernel_w, taps), w),
        out: (g.in_h, g.in_w),
        stride: 1,
        bias: None,
        one_channel: None,
    };
    correlation.run(team, dx, None);
}

/// Whether the gradient of the data is a transposed convolution. That also multiplies with the zeros around dz, which
/// is wasted where it has more outputs than the convolution; and it needs a stride of 1.
pub(crate) fn is_covered_evenly(g: &Geometry) -> bool {
    g.stride == 1 && 10 * g.in_h * g.in_w <= 11 * g.out_pixels()
}

/// In which order the transposed taps follow each other.
#[derive(Clone, Copy)]
enum TapOrder {
    AsIs,
    /// From last to first, as the transposed convolution needs them.
    Reversed,
}

/// Transposes each tap of the weights: `[taps, channels, filters]` to `[taps, filters, channels]`.
fn turn_weights(
    team: &Team,
    g: &Geometry,
    filters: usize,
    w: &[f32],
    order: TapOrder,
    turned: &mut [f32],
) {
    let (taps, tap_len) = (g.kernel_h * g.kernel_w, g.channels * filters);
    let (isa, parts) = (team.isa(), Parts::new(turned));
    let turn = |tap: usize| {
        // SAFETY: each tap is one task's.
        let to = unsafe { parts.part(tap * tap_len..(tap + 1) * tap_len) };
        let from = match order {
            TapOrder::AsIs => tap,
            TapOrder::Reversed => taps - 1 - tap,
        };
        let w = Mat::new(&w[from * tap_len..][..tap_len], g.channels, filters);
        isa.run(Turn { w, to });
    };
    if w.len() < 1 << 13 {
        (0..taps).for_each(turn);
    } else {
        team.run(taps, |tap, _| turn(tap));
    }
}

/// Writes the transpose of a matrix.
struct Turn<'a> {
    w: Mat<'a>,
    to: &'a mut [f32],
}

impl Kernel for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        pack_b(simd, self.w.t(), self.to, self.w.rows());
    }
}

/// The gradients of the loss by the weights and the bias, from its gradient `dz` by the
/// convolution's output before the activation. `dw` and `db` are overwritten.
///
/// # Panics
/// If the lengths do not fit together.
pub fn backward_weights(
    team: &Team,
    geometry: &Geometry,
    x: &[f32],
    dz: &[f32],
    dw: &mut [f32],
    db: &mut [f32],
) {
    let filters = db.len();
    let batch = check(geometry, x.len(), dw.len(), filters, dz.len());
    let dz = Mat::new(dz, batch * geometry.out_pixels(), filters);
    weights::gradient(team, geometry, x, dz, dw);
    sums::columns(team, dz, db);
}

/// Checks all lengths; the batch size.
#[track_caller]
fn check(g: &Geometry, x: usize, w: usize, filters: usize, y: usize) -> usize {
    let batch = x / g.in_len();
    assert_eq!(x, batch * g.in_len(), "x is not whole images of {} elements", g.in_len());
    assert_eq!(w, g.window_len() * filters, "the weights of {filters} filters");
    assert_eq!(y, batch * g.out_pixels() * filters, "y of {batch} images");
    batch
}
