//! What is done to every element between the products.

use crate::nn::{Layer, Optimizer, Shape};

/// What is done to every element between the products.
#[derive(Clone, Debug)]
pub enum Sweep {
    /// A layer that is elementwise or nearly so, or the activation at the end of another.
    Layer {
        /// The layer.
        layer: Layer,
        /// Shape of one input sample.
        input: Shape,
        /// Samples of a batch.
        batch: usize,
    },
    /// An optimizer's step over all parameters.
    Update {
        /// The rule.
        optimizer: Optimizer,
        /// How many parameters there are.
        parameters: usize,
    },
}

/// The direction of an elementwise kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From `x` to `y`. An optimizer's step counts as forward.
    Forward,
    /// From `dy` to `dx`.
    Backward,
}

impl Sweep {
    /// The name of the operation.
    pub fn operation(&self) -> &'static str {
        match self {
            Self::Layer { layer, .. } => layer.kernel_name(),
            Self::Update { optimizer, .. } => optimizer.name(),
        }
    }

    /// Input elements.
    pub fn elements(&self) -> usize {
        match self {
            Self::Layer { input, batch, .. } => batch * input.len(),
            Self::Update { parameters, .. } => *parameters,
        }
    }

    /// The directions that there are.
    pub fn directions(&self) -> &'static [Direction] {
        match self {
            Self::Layer { .. } => &[Direction::Forward, Direction::Backward],
            Self::Update { .. } => &[Direction::Forward],
        }
    }

    /// The kernel's name in tables.
    pub fn kernel(&self, direction: Direction) -> String {
        match (self, direction) {
            (Self::Update { optimizer, .. }, _) => optimizer.name().to_owned(),
            (Self::Layer { layer, .. }, Direction::Forward) => {
                format!("{}-forward", layer.kernel_name())
            }
            (Self::Layer { layer, .. }, Direction::Backward) => {
                format!("{}-backward", layer.kernel_name())
            }
        }
    }

    /// Its size in tables.
    pub fn shape(&self) -> String {
        match self {
            Self::Layer { input, batch, .. } => format!("{batch} x {}", input.len()),
            Self::Update { parameters, .. } => format!("{parameters} parameters"),
        }
    }

    /// Operation and size.
    pub fn name(&self) -> String {
        format!("{} {}", self.operation(), self.shape())
    }
}
