//! The convolutional layer.

use threadcount_kernels::conv::{self, Convolution};
use threadcount_kernels::{Activation, Geometry, Padding};

use super::{
    Backward, Flow, Forward, Layer, LayerOps, LayerPlan, TensorPlan, check_activation, refuse,
    wrong_input,
};
use crate::error::Result;
use crate::nn::init::Initializer;
use crate::nn::shape::{Shape, elements};

/// A convolution with stride 1 over `[height, width, channels]`: kernel
/// `[size, size, channels, filters]`, Glorot uniform, zero bias, then the activation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conv2d {
    /// Output channels.
    pub filters: usize,
    /// Height and width of the window.
    pub kernel: usize,
    /// What happens at the border.
    pub padding: Padding,
    /// Applied to every output.
    pub activation: Activation,
}

/// A convolution with a square window of `kernel` by `kernel`.
pub const fn conv2d(
    filters: usize,
    kernel: usize,
    padding: Padding,
    activation: Activation,
) -> Layer {
    Layer::Conv2d(Conv2d { filters, kernel, padding, activation })
}

impl Conv2d {
    /// How the window slides; `None` if it does not fit.
    pub(super) fn geometry(&self, input: Shape) -> Option<Geometry> {
        let Shape::Image(dims) = input else { return None };
        Geometry::new(dims, [self.kernel; 2], 1, self.padding)
    }

    fn weights(&self, input: Shape) -> [usize; 4] {
        [self.kernel, self.kernel, input.last(), self.filters]
    }

    /// Elements of the kernel: the first of the parameters.
    pub(super) fn kernel_len(&self, input: Shape) -> usize {
        elements(&self.weights(input))
    }

    /// The forward pass.
    pub(super) fn convolution<'a>(
        &self,
        geometry: &'a Geometry,
        x: &'a [f32],
        params: &'a [f32],
    ) -> Convolution<'a> {
        let (w, bias) = params.split_at(params.len() - self.filters);
        Convolution { geometry, x, w, bias, activation: self.activation }
    }
}

impl LayerOps for Conv2d {
    fn names(&self) -> (&'static str, &'static str) {
        ("Conv2D", "conv2d")
    }

    fn plan(&self, input: Shape) -> Result<LayerPlan> {
        let Shape::Image([height, width, channels]) = input else {
            return wrong_input("conv2d", "an image", input);
        };
        if self.filters == 0 || self.kernel == 0 {
            return refuse("conv2d needs at least one filter and a window of at least 1x1");
        }
        let Some(g) = self.geometry(input) else {
            return refuse(format!(
                "conv2d: a window of {0}x{0} does not fit an image of {height}x{width}: choose a smaller window, padding same, or less pooling before it",
                self.kernel
            ));
        };
        let area = self.kernel.saturating_mul(self.kernel);
        check_activation(self.activation)?;
        let glorot = Initializer::GlorotUniform {
            fan_in: area.saturating_mul(channels),
            fan_out: area.saturating_mul(self.filters),
        };
        Ok(LayerPlan {
            params: vec![
                TensorPlan::new("kernel", &self.weights(input), glorot),
                TensorPlan::new("bias", &[self.filters], Initializer::Zeros),
            ],
            ..LayerPlan::new(Shape::Image([g.out_h(), g.out_w(), self.filters]), Flow::Buffered)
        })
    }

    fn activation(&self) -> Activation {
        self.activation
    }

    fn forward(&self, pass: Forward<'_>) {
        let Some(g) = self.geometry(pass.input) else { return };
        conv::forward(pass.team, &self.convolution(&g, pass.x, pass.params), pass.y);
    }

    fn backward(&self, mut pass: Backward<'_>) {
        let Some(g) = self.geometry(pass.input) else { return };
        pass.dz(self.activation);
        let weights = self.kernel_len(pass.input);
        let (dw, db) = pass.grads.split_at_mut(weights);
        if let Some(dx) = pass.dx {
            conv::backward_data(pass.team, &g, pass.dy, &pass.params[..weights], dx);
            pass.laps.input_done();
        }
        conv::backward_weights(pass.team, &g, pass.x, pass.dy, dw, db);
    }
}
