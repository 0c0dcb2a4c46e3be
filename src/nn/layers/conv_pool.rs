//! A convolution with the max-pool behind it, and dropout in between or not: three layers of a recipe
//! that one kernel computes without a map at full resolution.

use threadcount_kernels::conv::{self, Winners};

use super::{
    Backward, Conv2d, Dropout, Flow, Forward, Kept, Layer, LayerOps, LayerPlan, Pool2d, Pooling,
};
use crate::error::Result;
use crate::nn::shape::Shape;

/// The pool that there is a kernel for.
const POOL: Pool2d = Pool2d { pooling: Pooling::Max, size: 2 };

/// Those layers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ConvPool {
    conv: Conv2d,
    dropout: Option<Dropout>,
    gradients: Gradients,
}

/// Which gradients are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gradients {
    /// Those by the weights: nothing below is trained.
    Weights,
    /// That by the input too.
    WeightsAndInput,
}

impl ConvPool {
    /// The first of these layers as one, and how many they are.
    pub(crate) fn first_of(layers: &[Layer], gradients: Gradients) -> Option<(Self, usize)> {
        match *layers {
            [Layer::Conv2d(conv), Layer::Pool2d(POOL), ..] => {
                Some((Self { conv, dropout: None, gradients }, 2))
            }
            [Layer::Conv2d(conv), Layer::Dropout(dropout), Layer::Pool2d(POOL), ..] => {
                Some((Self { conv, dropout: Some(dropout), gradients }, 3))
            }
            _ => None,
        }
    }

    /// Whether the weights' gradient needs no map either.
    fn is_direct(&self, input: Shape) -> bool {
        self.gradients == Gradients::Weights
            && self.conv.geometry(input).is_some_and(|g| conv::is_one_channel(&g))
    }

    /// Elements of a sample at full resolution.
    fn map_len(&self, input: Shape) -> usize {
        let pixels = self.conv.geometry(input).map_or(0, |g| g.out_pixels());
        pixels.saturating_mul(self.conv.filters)
    }
}

impl LayerOps for ConvPool {
    fn names(&self) -> (&'static str, &'static str) {
        self.conv.names()
    }

    fn plan(&self, input: Shape) -> Result<LayerPlan> {
        let conv = self.conv.plan(input)?;
        let pool = POOL.plan(conv.output)?;
        // The gradient at full resolution. Nothing of the kind is kept of the forward pass.
        let per_sample = if self.is_direct(input) { 0 } else { self.map_len(input) };
        let kept = Kept { winners: pool.output.len(), per_sample, ..Kept::default() };
        Ok(LayerPlan { params: conv.params, kept, ..LayerPlan::new(pool.output, Flow::Buffered) })
    }

    fn forward(&self, pass: Forward<'_>) {
        let Some(g) = self.conv.geometry(pass.input) else { return };
        let convolution = self.conv.convolution(&g, pass.x, pass.params);
        let mask = self.dropout.and_then(|dropout| dropout.mask(pass.mode));
        conv::forward_pooled(pass.team, &convolution, mask.as_ref(), pass.y, pass.winners);
    }

    fn backward(&self, mut pass: Backward<'_>) {
        let Some(g) = self.conv.geometry(pass.input) else { return };
        let w_len = self.conv.kernel_len(pass.input);
        let (dw, db) = pass.grads.split_at_mut(w_len);
        let winners = Winners {
            dy: pass.dy,
            y: pass.y,
            argmax: pass.winners,
            activation: self.conv.activation,
            dropout_rate: self.dropout.map_or(0.0, |dropout| dropout.rate),
        };
        if self.is_direct(pass.input) {
            return conv::backward_weights_pooled(pass.team, &g, pass.x, &winners, dw, db);
        }
        let n = pass.x.len() / pass.input.len();
        let dz = &mut pass.kept[..n * self.map_len(pass.input)];
        conv::expand_winners(pass.team, &g, self.conv.filters, &winners, dz);
        if let Some(dx) = pass.dx {
            conv::backward_data(pass.team, &g, dz, &pass.params[..w_len], dx);
            pass.laps.input_done();
        }
        conv::backward_weights(pass.team, &g, pass.x, dz, dw, db);
    }
}
