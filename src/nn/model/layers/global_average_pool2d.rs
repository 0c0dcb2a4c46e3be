//! The mean of each feature map.

use serde::{Deserialize, Serialize};
use threadcount_kernels::{Geometry, Padding, naive, pool};

use super::*;
use crate::error::Result;

/// The mean of each channel over the whole image: `[height, width, channels]` to `[channels]` (Lin,
/// Chen & Yan 2013).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlobalAveragePool2d {}

/// The mean of each channel over the whole image.
pub fn global_average_pool2d() -> Layer {
    GlobalAveragePool2d {}.into()
}

/// One window, as large as the image.
fn geometry(input: Shape) -> Option<Geometry> {
    let Shape::Image(dims @ [height, width, _]) = input else { return None };
    Geometry::new(dims, [height, width], height.max(width), Padding::Valid)
}

impl LayerKind for GlobalAveragePool2d {
    fn names(&self) -> (&'static str, &'static str) {
        ("GlobalAveragePooling2D", "global_average_pooling2d")
    }

    fn plan(&self, input: Shape) -> Result<LayerPlan> {
        match geometry(input) {
            Some(_) => Ok(LayerPlan::new(Shape::Flat(input.last()), Buffers::Apart)),
            None => wrong_input("global average pooling", "an image", input),
        }
    }

    fn forward(&self, pass: Forward<'_>) {
        let Some(g) = geometry(pass.input) else { return };
        pool::average_forward(pass.team, &g, pass.x, pass.y);
    }

    fn backward(&self, pass: Backward<'_>) {
        let (Some(g), Some(dx)) = (geometry(pass.input), pass.dx) else { return };
        pool::average_backward(pass.team, &g, pass.dy, dx);
    }

    fn exchange(&self, _: &Place) -> Option<Exchange> {
        let pytorch = vec!["nn.AdaptiveAvgPool2d(1)".to_owned(), "nn.Flatten()".to_owned()];
        let keras = vec!["layers.GlobalAveragePooling2D()".to_owned()];
        Some(Exchange {
            pytorch: Foreign::new(pytorch, Vec::new()),
            keras: Foreign::new(keras, Vec::new()),
            image: None,
        })
    }

    fn twin(&self) -> Option<&dyn Twin> {
        Some(self)
    }

    fn kernel_name(&self) -> &'static str {
        "global-average-pool"
    }

    fn kernels(&self, _: &Site, _: &[Layer]) -> Vec<KernelCall> {
        vec![KernelCall::Layer]
    }

    /// As forward: `dy` to `dx`.
    fn backward_traffic(&self, input: Shape, output: Shape) -> Traffic {
        self.forward_traffic(input, output)
    }
}

impl Twin for GlobalAveragePool2d {
    fn naive_forward(&self, pass: Forward<'_>) {
        let Some(g) = geometry(pass.input) else { return };
        naive::pool::average_forward(&g, pass.x, pass.y);
    }

    fn naive_backward(&self, pass: Backward<'_>) {
        let (Some(g), Some(dx)) = (geometry(pass.input), pass.dx) else { return };
        naive::pool::average_backward(&g, pass.dy, dx);
    }
}

pub(super) fn examples() -> Vec<Example> {
    [[4, 3, 5], [1, 7, 17]]
        .map(|dims| Example::new(Shape::Image(dims), global_average_pool2d()))
        .into()
}
