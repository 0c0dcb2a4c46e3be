//! Optimizer sweeps: one pass over parameters, gradients and the optimizer's own arrays, alone or
//! (in `product`) right behind the matrix product that is the gradient. Formulas and the place of
//! epsilon are those of Keras 3.
//!
//! # Dying gradients
//! What is stored is never subnormal (the numeric contract), so means and velocities of inputs that
//! are always zero end at zero, after hundreds of steps in which they fall by a tenth each. A mean square
//! counts as 2^-100 where it is less, which no epsilon in use can tell from zero: so it
//! never falls to where numbers are subnormal, and no square is too small to be subtracted from it.
//! Formulas are arranged so that no intermediate result is subnormal either, except in the last step of a
//! mean or velocity: products are added in fused multiply-adds, which round only the sum. Rules with a
//! mean square take a subnormal gradient for zero, because a product may hand them one (`product`):
//! beside a division that costs nothing.
//!
//! # Exploding gradients
//! No gradient that is not a number ends as a finite step. NaN makes NaN of its parameter with every
//! rule. Infinity does in RMSprop and Adam, and so does a gradient whose square overflows (1.8e19):
//! divided by an infinite root, all steps would be zero from then on. In gradient descent, which is
//! a sum of products, an infinity remains one.

mod decay;
mod product;

pub use decay::Decay;
pub(crate) use product::INPUT_SHARES;
pub use product::step_by_product;

use crate::simd::Simd;
use crate::sweep::{Executor, Step, sweep_by};
use crate::team::Team;

/// Whether momentum looks ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nesterov {
    /// `w += v`
    No,
    /// `w += momentum v - learning_rate g`
    Yes,
}

/// Stochastic gradient descent: `v = momentum v - learning_rate g`, `w += v`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Step size.
    pub learning_rate: f32,
    /// Share of the last step that goes on; 0 needs no velocity.
    pub momentum: f32,
    /// Whether momentum looks ahead.
    pub nesterov: Nesterov,
}

/// RMSprop: `s = rho s + (1 - rho) g^2`, `v = momentum v + learning_rate g / sqrt(s + epsilon)`,
/// `w -= v`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmsProp {
    /// Step size.
    pub learning_rate: f32,
    /// Decay of the mean square.
    pub rho: f32,
    /// Share of the last step that goes on; 0 needs no velocity.
    pub momentum: f32,
    /// Added to the mean square, under the root.
    pub epsilon: f32,
}

/// Adam: `m += (1 - beta1)(g - m)`, `v += (1 - beta2)(g^2 - v)`,
/// `w -= learning_rate sqrt(1 - beta2^step) / (1 - beta1^step) m / (sqrt(v) + epsilon)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Step size.
    pub learning_rate: f32,
    /// Decay of the mean gradient.
    pub beta1: f32,
    /// Decay of the mean squared gradient.
    pub beta2: f32,
    /// Added to the root.
    pub epsilon: f32,
    /// Number of this step, from 1.
    pub step: u64,
}

#[derive(Clone, Copy)]
struct Plain(Sgd);

impl Step<1, 1> for Plain {
    #[inline(always)]
    fn step<S: Simd>(self, simd: S, [g]: [S::V; 1], [w]: [S::V; 1]) -> [S::V; 1] {
        [simd.mul_add(g, simd.splat(-self.0.learning_rate), w)]
    }
}

#[derive(Clone, Copy)]
struct Momentum(Sgd);

impl Step<1, 2> for Momentum {
    #[inline(always)]
    fn step<S: Simd>(self, simd: S, [g]: [S::V; 1], [w, v]: [S::V; 2]) -> [S::V; 2] {
        let (momentum, rate) = (simd.splat(self.0.momentum), simd.splat(-self.0.learning_rate));
        let v = simd.mul_add(g, rate, simd.mul(momentum, v));
        let change = match self.0.nesterov {
            Nesterov::No => v,
            Nesterov::Yes => simd.mul_add(g, rate, simd.mul(momentum, v)),
        };
        [simd.add(w, change), v]
    }
}

/// One step of gradient descent. `velocity` may be empty if momentum is 0; it is then not touched.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn sgd(team: &Team, sgd: &Sgd, params: &mut [f32], grads: &[f32], velocity: &mut [f32]) {
    let memory = [velocity, &mut [][..]];
    Moving { rule: Rule::Sgd(*sgd), decay: Decay::NONE, params, memory }.step(team, grads);
}

/// The least value that a mean square counts as: its root is 9e-16. (The alternative is to set to zero
/// subnormal mean squares and gradients whose squares would be subnormal. That took five instructions
/// where this takes one, and Adam 1.6 times as long on Zen 4; with a root by Newton's method from a guess
/// on bits, 1.9 times.)
pub(crate) const LEAST_SQUARE: f32 = 1.0 / (1_u128 << 100) as f32;

/// The new mean square: `old + share (g^2 - old)`.
#[inline(always)]
fn mean_square<S: Simd>(simd: S, g: S::V, old: S::V, share: f32) -> S::V {
    // A NaN of the old one passes, being the second operand.
    let old = simd.max(simd.splat(LEAST_SQUARE), old);
    simd.mul_add(simd.mul_sub(g, g, old), simd.splat(share), old)
}

/// `a / root`; NaN also where the root is infinite, since a square has overflowed then.
#[inline(always)]
fn over_root<S: Simd>(simd: S, a: S::V, root: S::V) -> S::V {
    simd.mul_add(root, simd.splat(0.0), simd.div(a, root))
}

impl RmsProp {
    /// The new mean square, and `g / sqrt(s + epsilon)`.
    #[inline(always)]
    fn scaled<S: Simd>(self, simd: S, g: S::V, s: S::V) -> (S::V, S::V) {
        let g = simd.flush(g);
        let s = mean_square(simd, g, s, 1.0 - self.rho);
        let root = simd.sqrt(simd.add(s, simd.splat(self.epsilon)));
        (s, over_root(simd, g, root))
    }
}

impl Step<1, 2> for RmsProp {
    #[inline(always)]
    fn step<S: Simd>(self, simd: S, [g]: [S::V; 1], [w, s]: [S::V; 2]) -> [S::V; 2] {
        let (s, scaled) = self.scaled(simd, g, s);
        [simd.mul_add(scaled, simd.splat(-self.learning_rate), w), s]
    }
}

impl Step<1, 3> for RmsProp {
    #[inline(always)]
    fn step<S: Simd>(self, simd: S, [g]: [S::V; 1], [w, s, v]: [S::V; 3]) -> [S::V; 3] {
        let (s, scaled) = self.scaled(simd, g, s);
        let rest = simd.mul(v, simd.splat(self.momentum));
        let v = simd.mul_add(scaled, simd.splat(self.learning_rate), rest);
        [simd.sub(w, v), s, v]
    }
}

/// One step of RMSprop. `velocity` may be empty if momentum is 0; it is then not touched.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn rmsprop(
    team: &Team,
    rmsprop: &RmsProp,
    params: &mut [f32],
    grads: &[f32],
    mean_square: &mut [f32],
    velocity: &mut [f32],
) {
    let (rule, memory) = (Rule::RmsProp(*rmsprop), [mean_square, velocity]);
    Moving { rule, decay: Decay::NONE, params, memory }.step(team, grads);
}

/// [`Adam`] with its corrections worked out for one step.
#[derive(Clone, Copy)]
struct Corrected {
    adam: Adam,
    rate: f32,
}

impl Step<1, 3> for Corrected {
    /// The mean square never is subnormal.
    const IS_FLUSHED: bool = true;

    #[inline(always)]
    fn step<S: Simd>(self, simd: S, [g]: [S::V; 1], [w, m, v]: [S::V; 3]) -> [S::V; 3] {
        let g = simd.flush(g);
        let m = simd.mul_add(simd.sub(g, m), simd.splat(1.0 - self.adam.beta1), m);
        let v = mean_square(simd, g, v, 1.0 - self.adam.beta2);
        let root = simd.add(simd.sqrt(v), simd.splat(self.adam.epsilon));
        // The quotient comes first and is then multiplied with the rate: a fused multiply-add does not
        // round that product, which would be subnormal for means that are nearly zero.
        let scaled = over_root(simd, m, root);
        let w = simd.mul_add(scaled, simd.splat(-self.rate), w);
        [simd.flush(w), simd.flush(m), v]
    }
}

/// One step of Adam.
///
/// # Panics
/// If the lengths differ, or the step is 0.
#[track_caller]
pub fn adam(
    team: &Team,
    adam: &Adam,
    params: &mut [f32],
    grads: &[f32],
    m: &mut [f32],
    v: &mut [f32],
) {
    Moving { rule: Rule::Adam(*adam), decay: Decay::NONE, params, memory: [m, v] }
        .step(team, grads);
}

/// One of the rules above, for one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Gradient descent; remembers a velocity if it has momentum.
    Sgd(Sgd),
    /// RMSprop; remembers mean squares, and a velocity if it has momentum.
    RmsProp(RmsProp),
    /// Adam; remembers means and mean squares.
    Adam(Adam),
}

/// Parameters that a rule moves, and what it remembers of each.
#[derive(Debug)]
pub struct Moving<'a> {
    /// The rule.
    pub rule: Rule,
    /// What pulls the first of them towards zero.
    pub decay: Decay,
    /// `[len]`
    pub params: &'a mut [f32],
    /// `[len]` each, in the order in which [`Rule`] names them; empty where it remembers less.
    pub memory: [&'a mut [f32]; 2],
}

impl<'a> Moving<'a> {
    /// One step. `grads` is `[len]`.
    ///
    /// # Panics
    /// If the lengths differ, or Adam's step is 0.
    #[track_caller]
    pub fn step(self, team: &Team, grads: &[f32]) {
        self.step_by(Executor::Team(team), grads);
    }

    /// The first `mid` parameters, and the others.
    ///
    /// # Panics
    /// If there are fewer.
    #[must_use]
    #[track_caller]
    pub fn split_at(self, mid: usize) -> (Self, Self) {
        let [first, second] = self.memory.map(|memory| {
            let mid = mid.min(memory.len());
            memory.split_at_mut(mid)
        });
        let (params, other_params) = self.params.split_at_mut(mid);
        let (rule, decay) = (self.rule, self.decay);
        let [decays, other_decays] =
            [decay.part(0, params.len()), decay.part(mid, other_params.len())];
        (
            Self { rule, decay: decays, params, memory: [first.0, second.0] },
            Self { rule, decay: other_decays, params: other_params, memory: [first.1, second.1] },
        )
    }

    /// Checks that a step can be made with so many gradients, before anything is moved.
    ///
    /// # Panics
    /// If the lengths differ, or Adam's step is 0.
    #[track_caller]
    fn check(&self, grads: usize) {
        let remembers = match self.rule {
            Rule::Sgd(sgd) => usize::from(sgd.momentum != 0.0),
            Rule::RmsProp(rms) => 1 + usize::from(rms.momentum != 0.0),
            Rule::Adam(adam) => {
                assert!(adam.step > 0, "Adam counts its steps from 1");
                2
            }
        };
        assert_eq!(grads, self.params.len(), "a gradient for each parameter");
        for memory in &self.memory[..remembers] {
            assert_eq!(memory.len(), self.params.len(), "a memory of each parameter");
        }
    }

    #[track_caller]
    fn step_by(self, executor: Executor, grads: &[f32]) {
        self.check(grads.len());
        let decaying = if self.decay.is_none() { 0 } else { self.decay.len };
        if decaying > 0 && decaying < grads.len() {
            let (first, rest) = self.split_at(decaying);
            let (of_first, of_rest) = grads.split_at(decaying);
            first.step_by(executor, of_first);
            return rest.step_by(executor, of_rest);
        }
        let Self { rule, decay, params, memory: [first, second] } = self;
        let decay = (decaying > 0).then_some(decay);
        match rule {
            Rule::Sgd(sgd) if sgd.momentum == 0.0 => {
                decayed(executor, Plain(sgd), decay, grads, [params]);
            }
            Rule::Sgd(sgd) => decayed(executor, Momentum(sgd), decay, grads, [params, first]),
            Rule::RmsProp(rms) if rms.momentum == 0.0 => {
                decayed(executor, rms, decay, grads, [params, first]);
            }
            Rule::RmsProp(rms) => decayed(executor, rms, decay, grads, [params, first, second]),
            Rule::Adam(adam) => {
                decayed(executor, adam.corrected(), decay, grads, [params, first, second]);
            }
        }
    }
}

/// A sweep of this rule, under a decay if there is one.
#[track_caller]
fn decayed<const W: usize>(
    executor: Executor,
    rule: impl Step<1, W>,
    decay: Option<Decay>,
    grads: &[f32],
    writes: [&mut [f32]; W],
) {
    match decay {
        None => sweep_by(executor, rule, [grads], writes),
        Some(decay) => sweep_by(executor, decay.of(rule), [grads], writes),
    }
}

impl Adam {
    fn corrected(self) -> Corrected {
        // In f64: 1 - 0.999^1 keeps three digits less in f32.
        let power = |beta: f32| f64::from(beta).powf(self.step as f64);
        let correction = (1.0 - power(self.beta2)).sqrt() / (1.0 - power(self.beta1));
        Corrected { adam: self, rate: (f64::from(self.learning_rate) * correction) as f32 }
    }
}
