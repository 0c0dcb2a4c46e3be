//! Matrix products: those of layers with a matrix of weights, and a list that does not depend on the
//! recipes.

use crate::nn::{Position, WeightMatrix};

/// Matrix products that represent their classes and do not depend on the recipes: squares, wide layers at
/// three batch sizes, narrow layers.
pub const CLASSES: [Class; 14] = [
    Class::Square(256),
    Class::Square(512),
    Class::Square(1024),
    Class::Weights(weights(784, 512, 32)),
    Class::Weights(weights(784, 512, 64)),
    Class::Weights(weights(784, 512, 256)),
    Class::Weights(weights(512, 256, 32)),
    Class::Weights(weights(512, 256, 64)),
    Class::Weights(weights(512, 256, 256)),
    Class::Weights(weights(1568, 256, 32)),
    Class::Weights(weights(1568, 256, 64)),
    Class::Weights(weights(1568, 256, 256)),
    Class::Weights(weights(784, 40, 64)),
    Class::Weights(weights(256, 10, 64)),
];

/// One row of [`CLASSES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// m = n = k.
    Square(usize),
    /// The three products of a dense layer.
    Weights(WeightMatrix),
}

/// A layer that does not belong to a recipe.
pub(super) const fn weights(inputs: usize, outputs: usize, batch: usize) -> WeightMatrix {
    WeightMatrix { inputs, outputs, batch, position: Position::Inner }
}

/// A matrix product: A of `m x k` times B of `k x n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    /// What it computes, and so which operand is read transposed.
    pub role: Role,
    /// Rows of the result.
    pub m: usize,
    /// Columns of the result.
    pub n: usize,
    /// Length of the sums.
    pub k: usize,
}

/// What a product computes for a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Nothing; a plain product.
    Plain,
    /// `y = x w`
    Forward,
    /// `dw = x^T dy`: A is transposed.
    WeightGradient,
    /// `dx = dy w^T`: B is transposed.
    InputGradient,
}

impl Class {
    /// Its products.
    pub fn products(&self) -> Vec<Product> {
        match *self {
            Self::Square(size) => vec![Product { role: Role::Plain, m: size, n: size, k: size }],
            Self::Weights(weights) => weights.products(),
        }
    }
}

impl WeightMatrix {
    /// The products of a training step: forward, the weight gradient, and the input gradient where it is
    /// needed.
    pub fn products(&self) -> Vec<Product> {
        let Self { inputs, outputs, batch, position } = *self;
        let forward = Product { role: Role::Forward, m: batch, n: outputs, k: inputs };
        let by_weights = Product { role: Role::WeightGradient, m: inputs, n: outputs, k: batch };
        let by_input = Product { role: Role::InputGradient, m: batch, n: inputs, k: outputs };
        match position {
            Position::First => vec![forward, by_weights],
            Position::Inner => vec![forward, by_weights, by_input],
        }
    }
}
