//! A convolution with the max-pool after it, with or without dropout in between: layers of a recipe that
//! one kernel computes without a map at full resolution.

use threadcount_kernels::conv::{self, Winners};

use super::*;
use crate::error::Result;

/// The pool that a fused kernel computes.
const POOL: Pool2d = Pool2d { pooling: Pooling::Max, size: 2 };

/// The fused layers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ConvPool {
    conv: Conv2d,
    dropout: Option<Dropout>,
    position: Position,
}

/// What follows a convolution, as far as a kernel can do both at once.
pub(super) fn next(behind: &[Layer]) -> Next {
    let is_pool = |layer: Option<&Layer>| layer.and_then(Layer::get) == Some(&POOL);
    let Some(first) = behind.first() else { return Next::Other };
    match first.get::<Dropout>() {
        _ if is_pool(Some(first)) => Next::MaxPool,
        _ if first.get::<BatchNorm>().is_some() => Next::BatchNorm,
        Some(dropout) if is_pool(behind.get(1)) => Next::DropoutMaxPool(dropout.rate),
        _ => Next::Other,
    }
}

impl ConvPool {
    /// A convolution and the first of the layers after it as one, if a kernel computes them together.
    pub(super) fn of(conv: Conv2d, behind: &[Layer], position: Position) -> Option<Fused> {
        let (dropout, count) = match next(behind) {
            Next::MaxPool => (None, 2),
            Next::DropoutMaxPool(rate) => (Some(Dropout { rate }), 3),
            Next::BatchNorm | Next::Other => return None,
        };
        Some(Fused { layer: Self { conv, dropout, position }.into(), count, masked: 1 })
    }

    /// Whether the weight gradient needs no map either.
    fn is_direct(&self, input: Shape) -> bool {
        self.position == Position::First
            && self.conv.geometry(input).is_some_and(|g| conv::is_one_channel(&g))
    }

    /// Elements of a sample's map at full resolution.
    fn map_len(&self, input: Shape) -> usize {
        let pixels = self.conv.geometry(input).map_or(0, |g| g.out_pixels());
        pixels.saturating_mul(self.conv.filters)
    }
}

impl LayerKind for ConvPool {
    fn names(&self) -> (&'static str, &'static str) {
        self.conv.names()
    }

    fn plan(&self, input: Shape) -> Result<LayerPlan> {
        let conv = self.conv.plan(input)?;
        let pool = POOL.plan(conv.output)?;
        // The gradient at full resolution. The forward pass keeps no map.
        let per_sample = if self.is_direct(input) { 0 } else { self.map_len(input) };
        let kept = Kept { winners: pool.output.len(), per_sample, ..Kept::default() };
        Ok(LayerPlan { params: conv.params, kept, ..LayerPlan::new(pool.output, Buffers::Apart) })
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
        if let Params::Frozen(_) = pass.params {
            return;
        }
        conv::backward_weights(pass.team, &g, pass.x, dz, dw, db);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use threadcount_kernels::{Activation, Padding};

    #[test]
    fn only_what_a_kernel_fuses() {
        assert_eq!(next(&[max_pool(2), dropout(0.2)]), Next::MaxPool);
        assert_eq!(next(&[dropout(0.2), max_pool(2)]), Next::DropoutMaxPool(0.2));
        assert_eq!(next(&[batch_norm(), max_pool(2)]), Next::BatchNorm);
        for other in [max_pool(3), average_pool(2), flatten(), leaky_relu(0.1), dropout(0.2)] {
            assert_eq!(next(std::slice::from_ref(&other)), Next::Other, "{other:?}");
            let with_dropout = next(&[dropout(0.2), other.clone(), max_pool(2)]);
            assert_eq!(with_dropout, Next::Other, "dropout, {other:?}");
        }
        assert_eq!(next(&[]), Next::Other);
        let conv = conv2d(1, 3, Padding::Same, Activation::Relu);
        let count = |behind: &[Layer]| conv.fuse(behind, Position::First).map(|f| f.count);
        assert_eq!(count(&[max_pool(2), flatten()]), Some(2));
        assert_eq!(count(&[dropout(0.2), max_pool(2)]), Some(3));
        assert_eq!(count(&[batch_norm(), max_pool(2)]), None);
    }
}
