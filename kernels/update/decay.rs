//! What pulls parameters towards zero beside their gradients: a penalty in the loss, and decay apart from it.

use crate::simd::Simd;
use crate::sweep::Step;

/// A pull towards zero. The default is none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Decay {
    /// `g + l2 w` takes the place of the gradient `g`: a penalty of `l2 / 2 w^2` in the loss.
    pub l2: f32,
    /// `w` becomes `(1 - share) w` before the rule moves it, whatever its gradient (decoupled weight decay,
    /// Loshchilov & Hutter 2017).
    pub share: f32,
    /// How many of the parameters it is for: the first ones, those of weights; biases come behind them.
    pub len: usize,
}

impl Decay {
    /// None.
    pub const NONE: Self = Self { l2: 0.0, share: 0.0, len: 0 };

    /// Whether it changes nothing.
    pub const fn is_none(&self) -> bool {
        self.len == 0 || (self.l2 == 0.0 && self.share == 0.0)
    }

    /// The same for parameters `from..from + len` of those that it is for.
    #[must_use]
    pub fn part(self, from: usize, len: usize) -> Self {
        Self { len: self.len.saturating_sub(from).min(len), ..self }
    }

    /// A rule's step under it.
    pub(super) fn of<T>(self, rule: T) -> Decaying<T> {
        Decaying { rule, l2: self.l2, kept: 1.0 - self.share }
    }
}

/// A step of a rule whose parameters decay, every one of them.
#[derive(Clone, Copy)]
pub(super) struct Decaying<T> {
    rule: T,
    l2: f32,
    kept: f32,
}

impl<T: Step<1, W>, const W: usize> Step<1, W> for Decaying<T> {
    const IS_FLUSHED: bool = T::IS_FLUSHED;

    #[inline(always)]
    fn step<S: Simd>(self, simd: S, [g]: [S::V; 1], mut write: [S::V; W]) -> [S::V; W] {
        let w = write[0];
        let g = simd.flush(simd.mul_add(w, simd.splat(self.l2), g));
        write[0] = simd.flush(simd.mul(w, simd.splat(self.kept)));
        self.rule.step(simd, [g], write)
    }
}
