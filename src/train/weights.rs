//! Copies of everything that a network has learnt: the best weights so far, those of the last step, and the moving
//! average.

use crate::nn::Network;
use threadcount_kernels::{Team, vectors};

/// A copy of parameters and moving statistics.
#[derive(Clone, Debug)]
pub(super) struct Weights {
    pub(super) params: Vec<f32>,
    pub(super) state: Vec<f32>,
}

impl Weights {
    /// Of a network as it is.
    pub(super) fn of(network: &Network) -> Self {
        Self { params: network.params().to_vec(), state: network.state().to_vec() }
    }

    /// Becomes a copy of this network's.
    pub(super) fn copy_from(&mut self, network: &Network) {
        self.params.copy_from_slice(network.params());
        self.state.copy_from_slice(network.state());
    }

    /// The network's become these.
    pub(super) fn copy_to(&self, network: &mut Network) {
        network.params_mut().copy_from_slice(&self.params);
        network.state_mut().copy_from_slice(&self.state);
    }

    /// The network's become these, and these the network's.
    pub(super) fn exchange(&mut self, network: &mut Network) {
        self.params.swap_with_slice(network.params_mut());
        self.state.swap_with_slice(network.state_mut());
    }

    /// A step of an exponential moving average: keeps the share `decay` of itself. In the first steps it keeps less,
    /// `(1 + steps) / (10 + steps)`, so that the first weights are soon forgotten.
    pub(super) fn approach(&mut self, team: &Team, network: &Network, decay: f32) {
        let steps = network.optimizer_steps() as f64;
        let decay = f64::from(decay).min((1.0 + steps) / (10.0 + steps));
        let share = (1.0 - decay) as f32;
        vectors::approach(team, share, network.params(), &mut self.params);
        vectors::approach(team, share, network.state(), &mut self.state);
    }
}
