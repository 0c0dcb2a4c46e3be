//! Max and average pooling.

use serde::{Deserialize, Serialize};
use threadcount_kernels::{Geometry, Padding, naive, pool};

use super::*;
use crate::error::Result;

/// What a window is reduced to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// The largest element; the first if several are equal.
    Max,
    /// The mean.
    Average,
}

/// Pooling of square windows that do not overlap; rows and columns that fill no window are
/// dropped (Keras's default, padding valid).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool2d {
    /// Max or average.
    pub pooling: Pooling,
    /// Height and width of the window, and its stride.
    #[serde(default = "two")]
    pub size: usize,
}

/// The largest element of each window of `size` by `size`.
pub fn max_pool(size: usize) -> Layer {
    Pool2d { pooling: Pooling::Max, size }.into()
}

/// The mean of each window of `size` by `size`.
pub fn average_pool(size: usize) -> Layer {
    Pool2d { pooling: Pooling::Average, size }.into()
}

/// Keras's default size.
fn two() -> usize {
    2
}

impl Pool2d {
    fn geometry(&self, input: Shape) -> Option<Geometry> {
        let Shape::Image(dims) = input else { return None };
        Geometry::new(dims, [self.size; 2], self.size, Padding::Valid)
    }
}

impl LayerKind for Pool2d {
    fn names(&self) -> (&'static str, &'static str) {
        match self.pooling {
            Pooling::Max => ("MaxPooling2D", "max_pooling2d"),
            Pooling::Average => ("AveragePooling2D", "average_pooling2d"),
        }
    }

    fn plan(&self, input: Shape) -> Result<LayerPlan> {
        let Shape::Image([height, width, channels]) = input else {
            return wrong_input("pooling", "an image", input);
        };
        // A winner's position in its window is stored in one byte.
        if !(1..=16).contains(&self.size) {
            return refuse(format!("pooling: the window must be 1 to 16 wide, not {}", self.size));
        }
        let Some(g) = self.geometry(input) else {
            return refuse(format!(
                "pooling: a window of {0}x{0} does not fit an image of {height}x{width}",
                self.size
            ));
        };
        let output = Shape::Image([g.out_h(), g.out_w(), channels]);
        let winners = match self.pooling {
            Pooling::Max => output.len(),
            Pooling::Average => 0,
        };
        let kept = Kept { winners, ..Kept::default() };
        Ok(LayerPlan { kept, ..LayerPlan::new(output, Buffers::Apart) })
    }

    fn forward(&self, pass: Forward<'_>) {
        let Some(g) = self.geometry(pass.input) else { return };
        match self.pooling {
            Pooling::Max => pool::max_forward(pass.team, &g, pass.x, pass.y, pass.winners),
            Pooling::Average => pool::average_forward(pass.team, &g, pass.x, pass.y),
        }
    }

    fn backward(&self, pass: Backward<'_>) {
        let (Some(g), Some(dx)) = (self.geometry(pass.input), pass.dx) else { return };
        match self.pooling {
            Pooling::Max => pool::max_backward(pass.team, &g, pass.winners, pass.dy, dx),
            Pooling::Average => pool::average_backward(pass.team, &g, pass.dy, dx),
        }
    }

    fn exchange(&self, place: &Place) -> Option<Exchange> {
        let (torch, keras) = match self.pooling {
            Pooling::Max => ("MaxPool2d", "MaxPooling2D"),
            Pooling::Average => ("AvgPool2d", "AveragePooling2D"),
        };
        let size = self.size;
        Some(Exchange::without_tensors(
            place,
            format!("nn.{torch}({size})"),
            format!("layers.{keras}({size})"),
        ))
    }

    fn twin(&self) -> Option<&dyn Twin> {
        Some(self)
    }

    fn kernel_name(&self) -> &'static str {
        match self.pooling {
            Pooling::Max => "max-pool",
            Pooling::Average => "average-pool",
        }
    }

    fn kernels(&self, _: &Site, _: &[Layer]) -> Vec<KernelCall> {
        vec![KernelCall::Layer]
    }

    fn forward_traffic(&self, input: Shape, output: Shape) -> Traffic {
        let floats = input.len() + output.len();
        Traffic::floats(floats, floats) + self.winners(output)
    }

    fn backward_traffic(&self, input: Shape, output: Shape) -> Traffic {
        self.forward_traffic(input, output)
    }
}

impl Pool2d {
    /// The positions of max-pooling's winners, a byte each.
    fn winners(&self, output: Shape) -> Traffic {
        match self.pooling {
            Pooling::Max => Traffic::bytes(output.len()),
            Pooling::Average => Traffic::default(),
        }
    }
}

impl Twin for Pool2d {
    fn naive_forward(&self, pass: Forward<'_>) {
        let Some(g) = self.geometry(pass.input) else { return };
        match self.pooling {
            Pooling::Max => naive::pool::max_forward(&g, pass.x, pass.y, pass.winners),
            Pooling::Average => naive::pool::average_forward(&g, pass.x, pass.y),
        }
    }

    fn naive_backward(&self, pass: Backward<'_>) {
        let (Some(g), Some(dx)) = (self.geometry(pass.input), pass.dx) else { return };
        match self.pooling {
            Pooling::Max => naive::pool::max_backward(&g, pass.winners, pass.dy, dx),
            Pooling::Average => naive::pool::average_backward(&g, pass.dy, dx),
        }
    }
}

pub(super) fn examples() -> Vec<Example> {
    vec![
        Example::new(Shape::Image([7, 6, 3]), max_pool(2)),
        Example::new(Shape::Image([7, 6, 3]), average_pool(3)),
        Example::new(Shape::Image([3, 4, 2]), max_pool(1)),
    ]
}
