//! Activation functions, forward and backward. Each derivative is written in the function's own
//! output, so that a layer keeps its output and forgets its pre-activation.

/// An elementwise activation function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// `y = x`
    Linear,
    /// `y = max(x, 0)`; the derivative at 0 is 0.
    Relu,
    /// `y = x` where `x > 0`, else `slope x`; the derivative at 0 is `slope`.
    LeakyRelu {
        /// The slope of the negative side; positive, so that the output keeps the input's sign.
        slope: f32,
    },
    /// `y = 1 / (1 + e^-x)`; `dy/dx = y (1 - y)`.
    Sigmoid,
    /// `y = tanh x`; `dy/dx = 1 - y^2`.
    Tanh,
}
