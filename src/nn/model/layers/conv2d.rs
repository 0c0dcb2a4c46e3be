//! The convolutional layer.

use serde::{Deserialize, Serialize};
use threadcount_kernels::conv::{self, Convolution};
use threadcount_kernels::{Activation, Geometry, Padding, naive};

use super::activation::sweep_of;
use super::conv_pool::{ConvPool, next};
use super::text;
use super::*;
use crate::data::elements;
use crate::error::Result;
use crate::nn::model::Initializer;

/// A convolution with stride 1 over `[height, width, channels]`: kernel
/// `[size, size, channels, filters]`, Glorot uniform, zero bias, then the activation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conv2d {
    /// Output channels.
    pub filters: usize,
    /// Height and width of the window.
    pub kernel: usize,
    /// What happens at the border.
    #[serde(with = "text::PaddingText", default = "text::valid")]
    pub padding: Padding,
    /// Applied to every output.
    #[serde(with = "text::ActivationText", default = "text::linear")]
    pub activation: Activation,
}

/// A convolution with a square window of `kernel` by `kernel`.
pub fn conv2d(filters: usize, kernel: usize, padding: Padding, activation: Activation) -> Layer {
    Conv2d { filters, kernel, padding, activation }.into()
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

    /// Elements of the kernel, which comes first in the parameters.
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

impl LayerKind for Conv2d {
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
            ..LayerPlan::new(Shape::Image([g.out_h(), g.out_w(), self.filters]), Buffers::Apart)
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
        if let Some(dx) = pass.dx {
            conv::backward_data(pass.team, &g, pass.dy, &pass.params[..weights], dx);
            pass.laps.input_done();
        }
        if let Params::Frozen(_) = pass.params {
            return;
        }
        let (dw, db) = pass.grads.split_at_mut(weights);
        conv::backward_weights(pass.team, &g, pass.x, pass.dy, dw, db);
    }

    /// PyTorch: `weight` `[filters, channels, height, width]`.
    fn exchange(&self, place: &Place) -> Option<Exchange> {
        let Self { filters, kernel: size, .. } = *self;
        let (kernel, vector) = (View::same(&self.weights(place.input)), View::same(&[filters]));
        let weight = kernel.permuted(&[3, 2, 0, 1]);
        let padding = match self.padding {
            Padding::Valid => "valid",
            Padding::Same => "same",
        };
        let channels = place.input.last();
        let module = format!("nn.Conv2d({channels}, {filters}, {size}, padding=\"{padding}\")");
        let activation = exchange::keras_activation(self.activation);
        let keras = format!(
            "layers.Conv2D({filters}, {size}, padding=\"{padding}\", activation={activation})"
        );
        Some(Exchange {
            pytorch: Foreign::new(
                exchange::with_activation(module, self.activation),
                vec![all("weight", "kernel", weight), bias("bias", vector.clone())],
            ),
            keras: Foreign::new(
                vec![keras],
                vec![all("kernel", "kernel", kernel), all("bias", "bias", vector)],
            ),
            image: None,
        })
    }

    fn twin(&self) -> Option<&dyn Twin> {
        Some(self)
    }

    fn fuse(&self, behind: &[Layer], position: Position) -> Option<Fused> {
        ConvPool::of(*self, behind, position)
    }

    fn is_worth_sharing(&self, _: &Team, _rows: usize, _: Shape) -> bool {
        true
    }

    fn with_option(&self, option: LayerOption) -> Option<Layer> {
        match option {
            LayerOption::HiddenActivation(activation) if self.activation != Activation::Linear => {
                Some(Self { activation, ..*self }.into())
            }
            _ => None,
        }
    }

    fn kernels(&self, site: &Site, behind: &[Layer]) -> Vec<KernelCall> {
        let Some(geometry) = self.geometry(site.input) else { return Vec::new() };
        let Self { filters, padding, .. } = *self;
        let (batch, position, next) = (site.batch, site.position, next(behind));
        let convolution = ConvolutionSize { geometry, padding, filters, batch, position, next };
        let mut kernels = vec![KernelCall::Convolution(convolution)];
        kernels.extend(sweep_of(self.activation));
        kernels
    }
}

impl Twin for Conv2d {
    fn naive_forward(&self, pass: Forward<'_>) {
        let Some(g) = self.geometry(pass.input) else { return };
        naive::conv::forward(&self.convolution(&g, pass.x, pass.params), pass.y);
    }

    fn naive_backward(&self, pass: Backward<'_>) {
        let Some(g) = self.geometry(pass.input) else { return };
        naive::activation::backward(self.activation, pass.y, pass.dy);
        let weights = self.kernel_len(pass.input);
        let (dw, db) = pass.grads.split_at_mut(weights);
        naive::conv::backward_weights(&g, pass.x, pass.dy, dw, db);
        if let Some(dx) = pass.dx {
            naive::conv::backward_data(&g, pass.dy, &pass.params[..weights], dx);
        }
    }
}

pub(super) fn examples() -> Vec<Example> {
    let (valid, same) = (Padding::Valid, Padding::Same);
    vec![
        Example::new(Shape::Image([7, 6, 3]), conv2d(5, 3, same, Activation::Tanh)),
        Example::new(Shape::Image([4, 5, 1]), conv2d(2, 3, valid, Activation::Relu)),
        Example::new(Shape::Image([5, 5, 2]), conv2d(3, 5, valid, Activation::Linear)),
    ]
}
