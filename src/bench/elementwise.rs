//! What stands between the products: activations, dropout, pooling, normalisation, optimizers.

use super::case::{Case, Combine, Pieces, Work, lock, mask, noise};
use super::shapes::{Operation, Sweep};
use crate::nn::{Buffer, Optimizer, Pooling};
use std::ops::Range;
use std::sync::Mutex;
use threadcount_kernels::update::Moving;
use threadcount_kernels::{Geometry, Team, activation, dropout, naive, norm, pool};

/// Batch normalisation's, as Keras has it.
pub(super) const EPSILON: f32 = 1e-3;

/// `y`, the mean and the variance in batch normalisation's outputs, or `dx`, `dgamma`, `dbeta`.
pub(super) fn split_norm(channels: usize, out: &mut [f32]) -> (&mut [f32], &mut [f32], &mut [f32]) {
    let (y, rest) = out.split_at_mut(out.len() - 2 * channels);
    let (mean, variance) = rest.split_at_mut(channels);
    (y, mean, variance)
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
    /// The directions that there are.
    pub fn directions(&self) -> &'static [Direction] {
        match self.operation {
            Operation::Update(_) => &[Direction::Forward],
            _ => &[Direction::Forward, Direction::Backward],
        }
    }

    /// The kernel's name in tables.
    pub fn kernel(&self, direction: Direction) -> String {
        let name = self.operation.name();
        match (direction, self.operation) {
            (Direction::Forward, Operation::Update(_)) => name.to_owned(),
            (Direction::Forward, _) => format!("{name}-forward"),
            (Direction::Backward, _) => format!("{name}-backward"),
        }
    }

    /// Its size in tables.
    pub fn shape(&self) -> String {
        match self.operation {
            Operation::Update(_) => format!("{} parameters", self.elements),
            _ => format!("{} x {}", self.batch, self.elements),
        }
    }

    /// It as a case.
    pub fn case(&self, direction: Direction) -> Box<dyn Case> {
        let len = self.batch * self.elements;
        let (x, outputs) = (noise(1, len), self.outputs());
        let mut winners = vec![0; if self.is_max_pool() { outputs } else { 0 }];
        if let Operation::Pool(Pooling::Max, g) = self.operation {
            naive::pool::max_forward(&g, &x, &mut vec![0.0; outputs], &mut winners);
        }
        Box::new(SweepCase {
            sweep: *self,
            direction,
            dy: noise(2, outputs),
            x,
            fresh_winners: Mutex::new(winners.clone()),
            winners,
        })
    }

    fn is_max_pool(&self) -> bool {
        matches!(self.operation, Operation::Pool(Pooling::Max, _))
    }

    /// Elements of the whole batch on the output's side.
    fn outputs(&self) -> usize {
        match self.operation {
            Operation::Pool(_, g) => self.batch * g.out_pixels() * g.channels(),
            _ => self.batch * self.elements,
        }
    }
}

/// A sweep with its inputs.
struct SweepCase {
    sweep: Sweep,
    direction: Direction,
    /// What goes in; of an optimizer, the parameters; of an activation's backward pass, `y`.
    x: Buffer,
    /// What comes back; of an optimizer, the gradients.
    dy: Buffer,
    /// The places of max-pooling's winners, which its backward pass reads.
    winners: Vec<u8>,
    /// Those that its forward pass writes.
    fresh_winners: Mutex<Vec<u8>>,
}

impl SweepCase {
    /// The buffers that an optimizer keeps beside the parameters.
    fn buffers(&self) -> usize {
        match self.sweep.operation {
            Operation::Update(Optimizer::Sgd { momentum: 0.0, .. }) => 0,
            Operation::Update(Optimizer::Sgd { .. }) => 1,
            Operation::Update(Optimizer::RmsProp { momentum: 0.0, .. }) => 1,
            Operation::Update(_) => 2,
            _ => 0,
        }
    }

    /// Gamma, and something of its size.
    fn of_channels(&self, channels: usize) -> (&[f32], &[f32]) {
        (&self.dy[..channels], &self.x[..channels])
    }
}

impl Case for SweepCase {
    /// The copy of `dy` before a kernel that works in place counts.
    fn work(&self) -> Work {
        let (x, y, winners) = (self.x.len(), self.sweep.outputs(), self.winners.len());
        let floats = match (self.sweep.operation, self.direction) {
            (Operation::Activation(_) | Operation::Dropout(_), Direction::Forward) => 2 * x,
            (Operation::Activation(_), Direction::Backward) => 2 * x + 3 * x,
            (Operation::Dropout(_), Direction::Backward) => 2 * x + 2 * x,
            (Operation::Pool(..), _) => x + y,
            // Statistics first, then the elements: the inputs are read twice.
            (Operation::BatchNorm(_), Direction::Forward) => 3 * x,
            (Operation::BatchNorm(_), Direction::Backward) => 5 * x,
            (Operation::Update(_), _) => (3 + 2 * self.buffers()) * x,
        };
        Work::Bytes((4 * floats + winners) as f64)
    }

    fn inputs(&self) -> usize {
        match (self.sweep.operation, self.direction) {
            (Operation::Update(_), _) => (2 + self.buffers()) * self.x.len(),
            (Operation::Activation(_) | Operation::BatchNorm(_), Direction::Backward) => {
                self.x.len() + self.dy.len()
            }
            (_, Direction::Forward) => self.x.len(),
            (_, Direction::Backward) => self.dy.len(),
        }
    }

    fn outputs(&self) -> usize {
        match (self.sweep.operation, self.direction) {
            (Operation::BatchNorm(channels), _) => self.x.len() + 2 * channels,
            (Operation::Update(_), _) => (1 + self.buffers()) * self.x.len(),
            (_, Direction::Forward) => self.sweep.outputs(),
            (_, Direction::Backward) => self.x.len(),
        }
    }

    fn prepare(&self, out: &mut [f32]) {
        out.fill(f32::NAN);
        if let Operation::Update(_) = self.sweep.operation {
            let (params, buffers) = out.split_at_mut(self.x.len());
            params.copy_from_slice(&self.x);
            buffers.fill(0.0);
        }
    }

    fn run(&self, team: &Team, out: &mut [f32]) {
        let (x, dy) = (&self.x[..], &self.dy[..]);
        match (self.sweep.operation, self.direction) {
            (Operation::Activation(act), Direction::Forward) => {
                activation::forward(team, act, x, out);
            }
            (Operation::Activation(act), Direction::Backward) => {
                out.copy_from_slice(dy);
                activation::backward(team, act, x, out);
            }
            (Operation::Dropout(rate), direction) => {
                let (mask, elements) = (mask(rate, 0), self.sweep.elements);
                if direction == Direction::Forward {
                    return dropout::forward(team, &mask, elements, x, out);
                }
                out.copy_from_slice(dy);
                dropout::backward(team, &mask, elements, out);
            }
            (Operation::Pool(Pooling::Max, g), Direction::Forward) => {
                pool::max_forward(team, &g, x, out, &mut lock(&self.fresh_winners));
            }
            (Operation::Pool(Pooling::Max, g), Direction::Backward) => {
                pool::max_backward(team, &g, &self.winners, dy, out);
            }
            (Operation::Pool(Pooling::Average, g), Direction::Forward) => {
                pool::average_forward(team, &g, x, out);
            }
            (Operation::Pool(Pooling::Average, g), Direction::Backward) => {
                pool::average_backward(team, &g, dy, out);
            }
            (Operation::BatchNorm(channels), direction) => {
                let (gamma, other) = self.of_channels(channels);
                let (y, mean, variance) = split_norm(channels, out);
                if direction == Direction::Forward {
                    return norm::train_forward(team, x, gamma, other, EPSILON, y, mean, variance);
                }
                let (dx, dgamma, dbeta) = (y, mean, variance);
                // Any numbers do for the statistics; a variance is positive.
                norm::backward(team, x, dy, gamma, other, gamma, 2.0, dx, dgamma, dbeta);
            }
            (Operation::Update(optimizer), _) => {
                let (params, memory) = self.split_update(out);
                Moving { rule: optimizer.kernel(1), params, memory }.step(team, dy);
            }
        }
    }

    fn pieces(&self) -> Pieces {
        match self.sweep.operation {
            Operation::Activation(_) | Operation::Dropout(_) | Operation::Pool(..) => {
                Pieces { count: self.sweep.batch, combine: Combine::Beside }
            }
            Operation::BatchNorm(_) | Operation::Update(_) => Pieces::WHOLE,
        }
    }

    fn twin(&self, samples: Range<usize>, out: &mut [f32]) {
        let part = |data: &[f32]| {
            let len = data.len() / self.pieces().count;
            samples.start * len..samples.end * len
        };
        let (x, dy) = (&self.x[part(&self.x)], &self.dy[part(&self.dy)]);
        match (self.sweep.operation, self.direction) {
            (Operation::Activation(act), Direction::Forward) => {
                naive::activation::forward(act, x, out);
            }
            (Operation::Activation(act), Direction::Backward) => {
                out.copy_from_slice(dy);
                naive::activation::backward(act, x, out);
            }
            (Operation::Dropout(rate), direction) => {
                let mask = mask(rate, samples.start);
                out.copy_from_slice(if direction == Direction::Forward { x } else { dy });
                naive::dropout::backward(&mask, self.sweep.elements, out);
            }
            (Operation::Pool(pooling, g), Direction::Forward) => {
                naive_pool(pooling, &g, x, out);
            }
            (Operation::Pool(Pooling::Max, g), Direction::Backward) => {
                let winners = &self.winners[part(&self.dy)];
                naive::pool::max_backward(&g, winners, dy, out);
            }
            (Operation::Pool(Pooling::Average, g), Direction::Backward) => {
                naive::pool::average_backward(&g, dy, out);
            }
            (Operation::BatchNorm(channels), direction) => {
                let (gamma, other) = self.of_channels(channels);
                let (y, mean, variance) = split_norm(channels, out);
                if direction == Direction::Forward {
                    return naive::norm::train_forward(x, gamma, other, EPSILON, y, mean, variance);
                }
                let (dx, dgamma, dbeta) = (y, mean, variance);
                naive::norm::backward(x, dy, gamma, other, gamma, 2.0, dx, dgamma, dbeta);
            }
            (Operation::Update(optimizer), _) => {
                let (params, memory) = self.split_update(out);
                naive::update::step(Moving { rule: optimizer.kernel(1), params, memory }, dy);
            }
        }
    }
}

impl SweepCase {
    /// Parameters, and up to two buffers; those that the rule lacks are empty.
    fn split_update<'a>(&self, out: &'a mut [f32]) -> (&'a mut [f32], [&'a mut [f32]; 2]) {
        let (params, rest) = out.split_at_mut(self.x.len());
        let (first, second) = rest.split_at_mut(rest.len().min(self.x.len()));
        (params, [first, second])
    }
}

/// Pooling forward; the winners are thrown away.
fn naive_pool(pooling: Pooling, g: &Geometry, x: &[f32], y: &mut [f32]) {
    match pooling {
        Pooling::Max => naive::pool::max_forward(g, x, y, &mut vec![0; y.len()]),
        Pooling::Average => naive::pool::average_forward(g, x, y),
    }
}
