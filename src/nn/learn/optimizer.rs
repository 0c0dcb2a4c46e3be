//! Optimizers: the rule, its constants, and the buffers that it keeps beside the parameters. A step sweeps
//! over the flat parameter and gradient buffers. Some layers make their part of it in their backward pass,
//! while their gradients are still in the caches.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use threadcount_kernels::update::{self, Decay, Moving, Nesterov, Rule};
use threadcount_kernels::{Team, vectors};

use crate::error::{Error, Result};
use crate::names::shortened;
use crate::nn::buffer::Buffer;
use crate::nn::model::{Plan, joined};
use crate::nn::objective::Objective;

/// An update rule and its constants, with Keras's formulas and names.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "name",
    rename_all = "lowercase",
    rename_all_fields = "kebab-case",
    deny_unknown_fields
)]
pub enum Optimizer {
    /// Stochastic gradient descent: `v = momentum v - rate g; w += v`.
    Sgd {
        /// Step size.
        learning_rate: f32,
        /// Share of the last step that is repeated, 0 for none.
        momentum: f32,
    },
    /// RMSprop (Hinton 2012): the gradient over the root of its running mean square.
    RmsProp {
        /// Step size.
        learning_rate: f32,
        /// Decay of the running mean square.
        rho: f32,
        /// Share of the last step that is repeated, 0 for none.
        momentum: f32,
        /// Keeps the quotient finite.
        epsilon: f32,
    },
    /// Adam (Kingma & Ba 2014) in Keras's form: the bias corrections go into the rate, epsilon
    /// stays outside the root.
    Adam {
        /// Step size.
        learning_rate: f32,
        /// Decay of the running mean.
        beta1: f32,
        /// Decay of the running mean square.
        beta2: f32,
        /// Keeps the quotient finite.
        epsilon: f32,
    },
    /// Adam with decoupled weight decay (Loshchilov & Hutter 2017): before each step, the weights for which
    /// [`Tensor::decays`](crate::nn::Tensor::decays) is true are multiplied by `1 - rate decay`. Biases and
    /// the parameters of a normalisation are not.
    AdamW {
        /// Step size.
        learning_rate: f32,
        /// Decay of the running mean.
        beta1: f32,
        /// Decay of the running mean square.
        beta2: f32,
        /// Keeps the quotient finite.
        epsilon: f32,
        /// Share of a weight that a step at rate 1 removes.
        weight_decay: f32,
    },
}

impl Optimizer {
    /// The names that [`FromStr`] and serde understand.
    pub const NAMES: [&str; 4] = ["sgd", "rmsprop", "adam", "adamw"];

    /// Plain gradient descent at rate 0.01.
    pub const fn sgd() -> Self {
        Self::Sgd { learning_rate: 0.01, momentum: 0.0 }
    }

    /// RMSprop at rate 0.001, rho 0.9, no momentum, epsilon 1e-7.
    pub const fn rmsprop() -> Self {
        Self::RmsProp { learning_rate: 1e-3, rho: 0.9, momentum: 0.0, epsilon: 1e-7 }
    }

    /// Adam at rate 0.001, betas 0.9 and 0.999, epsilon 1e-7.
    pub const fn adam() -> Self {
        Self::Adam { learning_rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-7 }
    }

    /// Adam as above with a weight decay of 0.004.
    pub const fn adamw() -> Self {
        Self::AdamW {
            learning_rate: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-7,
            weight_decay: 0.004,
        }
    }

    /// The same rule at another rate.
    #[must_use]
    pub const fn with_learning_rate(mut self, rate: f32) -> Self {
        match &mut self {
            Self::Sgd { learning_rate, .. }
            | Self::RmsProp { learning_rate, .. }
            | Self::Adam { learning_rate, .. }
            | Self::AdamW { learning_rate, .. } => *learning_rate = rate,
        }
        self
    }

    /// The same rule with momentum; Adam has its own and stays as it is.
    #[must_use]
    pub const fn with_momentum(mut self, share: f32) -> Self {
        match &mut self {
            Self::Sgd { momentum, .. } | Self::RmsProp { momentum, .. } => *momentum = share,
            Self::Adam { .. } | Self::AdamW { .. } => {}
        }
        self
    }

    /// The same rule with another weight decay; only AdamW has one.
    #[must_use]
    pub const fn with_weight_decay(mut self, decay: f32) -> Self {
        if let Self::AdamW { weight_decay, .. } = &mut self {
            *weight_decay = decay;
        }
        self
    }

    /// The share of every weight that a step removes.
    pub(crate) const fn decay_share(&self) -> f32 {
        match *self {
            Self::AdamW { learning_rate, weight_decay, .. } => learning_rate * weight_decay,
            Self::Sgd { .. } | Self::RmsProp { .. } | Self::Adam { .. } => 0.0,
        }
    }

    /// Step size.
    pub const fn learning_rate(&self) -> f32 {
        match *self {
            Self::Sgd { learning_rate, .. }
            | Self::RmsProp { learning_rate, .. }
            | Self::Adam { learning_rate, .. }
            | Self::AdamW { learning_rate, .. } => learning_rate,
        }
    }

    /// Its constants under their names in files.
    pub(crate) fn constants_mut(&mut self) -> Vec<(&'static str, &mut f32)> {
        match self {
            Self::Sgd { learning_rate, momentum } => {
                vec![("learning-rate", learning_rate), ("momentum", momentum)]
            }
            Self::RmsProp { learning_rate, rho, momentum, epsilon } => vec![
                ("learning-rate", learning_rate),
                ("rho", rho),
                ("momentum", momentum),
                ("epsilon", epsilon),
            ],
            Self::Adam { learning_rate, beta1, beta2, epsilon } => vec![
                ("learning-rate", learning_rate),
                ("beta1", beta1),
                ("beta2", beta2),
                ("epsilon", epsilon),
            ],
            Self::AdamW { learning_rate, beta1, beta2, epsilon, weight_decay } => vec![
                ("learning-rate", learning_rate),
                ("beta1", beta1),
                ("beta2", beta2),
                ("epsilon", epsilon),
                ("weight-decay", weight_decay),
            ],
        }
    }

    /// Its name in [`Self::NAMES`].
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Sgd { .. } => Self::NAMES[0],
            Self::RmsProp { .. } => Self::NAMES[1],
            Self::Adam { .. } => Self::NAMES[2],
            Self::AdamW { .. } => Self::NAMES[3],
        }
    }

    /// The names of the buffers that it keeps beside the parameters, each as long as the parameters.
    pub fn buffers(&self) -> &'static [&'static str] {
        match self {
            Self::Sgd { momentum: 0.0, .. } => &[],
            Self::Sgd { .. } => &["velocity"],
            Self::RmsProp { momentum: 0.0, .. } => &["mean_square"],
            Self::RmsProp { .. } => &["mean_square", "velocity"],
            Self::Adam { .. } | Self::AdamW { .. } => &["m", "v"],
        }
    }

    /// The kernels' rule for step number `step`, from 1.
    pub(crate) const fn kernel(&self, step: u64) -> Rule {
        match *self {
            Self::Sgd { learning_rate, momentum } => {
                Rule::Sgd(update::Sgd { learning_rate, momentum, nesterov: Nesterov::No })
            }
            Self::RmsProp { learning_rate, rho, momentum, epsilon } => {
                Rule::RmsProp(update::RmsProp { learning_rate, rho, momentum, epsilon })
            }
            Self::Adam { learning_rate, beta1, beta2, epsilon }
            | Self::AdamW { learning_rate, beta1, beta2, epsilon, .. } => {
                Rule::Adam(update::Adam { learning_rate, beta1, beta2, epsilon, step })
            }
        }
    }

    /// Refuses constants with which the rule cannot work.
    ///
    /// # Errors
    /// [`Error::Usage`]: a rate that is not a positive number, a decay or momentum outside `[0, 1)`, an
    /// epsilon or a weight decay that is negative or not a number, or a weight decay that leaves nothing of
    /// a weight after one step.
    pub fn check(&self) -> Result<()> {
        let (decays, epsilon): (&[(&str, f32)], f32) = match *self {
            Self::Sgd { momentum, .. } => (&[("momentum", momentum)], 0.0),
            Self::RmsProp { rho, momentum, epsilon, .. } => {
                (&[("rho", rho), ("momentum", momentum)], epsilon)
            }
            Self::Adam { beta1, beta2, epsilon, .. }
            | Self::AdamW { beta1, beta2, epsilon, .. } => {
                (&[("beta1", beta1), ("beta2", beta2)], epsilon)
            }
        };
        let name = self.name();
        let rate = self.learning_rate();
        if !(rate > 0.0 && rate.is_finite()) {
            return Err(Error::Usage(format!(
                "{name}: the learning rate must be positive, not {rate}"
            )));
        }
        for &(what, value) in decays {
            if !(0.0..1.0).contains(&value) {
                return Err(Error::Usage(format!("{name}: {what} must be in [0, 1), not {value}")));
            }
        }
        if !(epsilon >= 0.0 && epsilon.is_finite()) {
            return Err(Error::Usage(format!("{name}: epsilon must not be negative: {epsilon}")));
        }
        if let Self::AdamW { weight_decay, .. } = *self {
            let share = self.decay_share();
            if !(weight_decay >= 0.0 && (0.0..1.0).contains(&share)) {
                return Err(Error::Usage(format!(
                    "{name}: the weight decay must not be negative, and times the learning rate below 1, not \
                     {weight_decay}"
                )));
            }
        }
        Ok(())
    }
}

impl fmt::Display for Optimizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (learning rate {})", self.name(), self.learning_rate())
    }
}

/// The optimizer of that name with its default constants.
impl FromStr for Optimizer {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "sgd" => Ok(Self::sgd()),
            "rmsprop" => Ok(Self::rmsprop()),
            "adam" => Ok(Self::adam()),
            "adamw" => Ok(Self::adamw()),
            _ => Err(Error::Usage(format!(
                "there is no optimizer {:?}; there are {}",
                shortened(name),
                Self::NAMES.join(", ")
            ))),
        }
    }
}

/// A rule together with what it remembers from step to step.
#[derive(Clone, Debug)]
pub(crate) struct OptimizerState {
    pub(crate) rule: Optimizer,
    /// Updates so far, including the current one: Adam's bias corrections depend on it.
    pub(crate) steps: u64,
    /// Named buffers, each as long as the parameters.
    pub(crate) buffers: Vec<(&'static str, Buffer)>,
    /// Twice the objective's `l2`: the gradient of the penalty with respect to a weight, as a share of the
    /// weight.
    l2: f32,
    /// The parameters that decay, in rising order; adjacent ranges are joined.
    decaying: Vec<Range<usize>>,
    /// The norm to which all gradients together, the penalty's included, are clipped.
    pub(crate) clip_norm: Option<f32>,
}

impl OptimizerState {
    /// A rule before its first step, for the parameters of `plan`.
    pub(crate) fn new(rule: Optimizer, objective: Objective, plan: &Plan) -> Result<Self> {
        rule.check()?;
        let len = plan.trainable_count();
        let names = rule.buffers();
        let mut buffers = Vec::with_capacity(names.len());
        for &name in names {
            buffers.push((name, Buffer::zeroed(len)?));
        }
        let decaying = plan.params().iter().filter(|tensor| tensor.decays());
        let decaying = joined(decaying.map(|tensor| tensor.range.clone()));
        let l2 = 2.0 * objective.l2;
        Ok(Self { rule, steps: 0, buffers, l2, decaying, clip_norm: None })
    }

    /// Counts steps. The count stays at 2^64 - 1, which only a file can hold: the bias corrections are 1
    /// long before.
    pub(crate) fn count(&mut self, steps: u64) {
        self.steps = self.steps.saturating_add(steps);
    }

    /// Whether any parameter is pulled towards zero.
    pub(crate) fn decays(&self) -> bool {
        self.l2 != 0.0 || self.rule.decay_share() != 0.0
    }

    /// Cuts a range of parameters into pieces, in each of which those that decay come first. One piece if
    /// nothing decays.
    pub(crate) fn pieces(&self, range: Range<usize>) -> Vec<Range<usize>> {
        let starts = self.decaying.iter().map(|decaying| decaying.start);
        let inside = starts.filter(|start| self.decays() && range.contains(start));
        let mut cuts: Vec<usize> = inside.chain([range.start, range.end]).collect();
        cuts.sort_unstable();
        cuts.dedup();
        cuts.windows(2).map(|cut| cut[0]..cut[1]).collect()
    }

    /// The decay of a piece of [`Self::pieces`].
    fn decay(&self, range: &Range<usize>) -> Decay {
        if !self.decays() {
            return Decay::NONE;
        }
        let with = self.decaying.iter().find(|decaying| decaying.contains(&range.start));
        let len = with.map_or(0, |decaying| decaying.end.min(range.end) - range.start);
        // Clipped gradients include the penalty already.
        let l2 = if self.clip_norm.is_none() { self.l2 } else { 0.0 };
        Decay { l2, share: self.rule.decay_share(), len }
    }

    /// Clips the gradients, after adding the gradient of the penalty. Does nothing without a norm to clip
    /// to.
    pub(crate) fn clip(&self, team: &Team, params: &[f32], grads: &mut [f32]) {
        let Some(limit) = self.clip_norm.map(f64::from) else { return };
        if self.l2 != 0.0 {
            for range in &self.decaying {
                let (params, grads) = (&params[range.clone()], &mut grads[range.clone()]);
                vectors::add_multiple(team, self.l2, params, grads);
            }
        }
        let norm = vectors::sum_of_squares(team, grads).sqrt();
        // A NaN norm makes all gradients NaN.
        let is_short = norm <= limit;
        if !is_short {
            vectors::scale(team, (limit / norm) as f32, grads);
        }
    }

    /// Updates these pieces of the parameters by their gradients.
    pub(crate) fn sweep(
        &mut self,
        team: &Team,
        params: &mut [f32],
        grads: &[f32],
        pieces: &[Range<usize>],
    ) {
        for piece in pieces {
            self.moving(params, piece.clone()).step(team, &grads[piece.clone()]);
        }
    }

    /// One piece of the parameters, ready for step number `steps`.
    pub(crate) fn moving<'a>(
        &'a mut self,
        params: &'a mut [f32],
        range: Range<usize>,
    ) -> Moving<'a> {
        let decay = self.decay(&range);
        let mut buffers = self.buffers.iter_mut().map(|(_, buffer)| &mut buffer[range.clone()]);
        let mut next = || buffers.next().unwrap_or_default();
        let memory = [next(), next()];
        let rule = self.rule.kernel(self.steps);
        Moving { rule, decay, params: &mut params[range], memory }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in Optimizer::NAMES {
            assert_eq!(name.parse::<Optimizer>().unwrap().name(), name);
        }
        assert!(matches!("adamax".parse::<Optimizer>(), Err(Error::Usage(_))));
    }

    #[test]
    fn serde_is_tagged_by_name() {
        let optimizer = Optimizer::adam().with_learning_rate(1e-4);
        let text = toml::to_string(&optimizer).unwrap();
        assert!(text.contains("name = \"adam\""), "{text}");
        assert_eq!(toml::from_str::<Optimizer>(&text).unwrap(), optimizer);
    }

    #[test]
    fn impossible_constants_are_refused() {
        for bad in [
            Optimizer::sgd().with_learning_rate(0.0),
            Optimizer::sgd().with_learning_rate(f32::NAN),
            Optimizer::adam().with_learning_rate(f32::INFINITY),
            Optimizer::sgd().with_momentum(1.0),
            Optimizer::rmsprop().with_momentum(-0.1),
            Optimizer::Adam { learning_rate: 1e-3, beta1: 1.5, beta2: 0.9, epsilon: 0.0 },
            Optimizer::RmsProp { learning_rate: 1e-3, rho: 0.9, momentum: 0.0, epsilon: -1.0 },
            Optimizer::adamw().with_weight_decay(-0.1),
            Optimizer::adamw().with_weight_decay(f32::NAN),
            Optimizer::adamw().with_weight_decay(f32::INFINITY),
            Optimizer::adamw().with_weight_decay(1000.0),
        ] {
            assert!(matches!(bad.check(), Err(Error::Usage(_))), "{bad:?}");
        }
        assert!(Optimizer::adam().check().is_ok());
    }
}
