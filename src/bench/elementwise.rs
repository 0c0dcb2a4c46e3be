//! The work between the products: elementwise layers of any kind, and optimizers.

use super::case::{Case, Combine, Pieces, Work, lock, noise};
use super::shapes::{Direction, Sweep};
use crate::data::elements;
use crate::nn::{
    Backward, Buffer, Buffers, Forward, Gradient, InputGradient, Layer, LayerPlan, Mode, Optimizer,
    Params, Shape, Traffic, Twin, UnitLaps,
};
use std::ops::Range;
use std::sync::Mutex;
use threadcount_kernels::update::{Decay, Moving};
use threadcount_kernels::{Activation, Isa, Team, naive};

impl Sweep {
    /// The sweep as a case.
    ///
    /// # Panics
    /// If its layer does not take such samples, or has no twin.
    pub fn case(&self, direction: Direction) -> Box<dyn Case> {
        match self {
            Self::Update { optimizer, parameters } => Box::new(UpdateCase {
                optimizer: *optimizer,
                params: noise(1, *parameters),
                grads: noise(2, *parameters),
            }),
            Self::Layer { layer, input, batch } => {
                Box::new(LayerCase::new(layer, *input, *batch, direction))
            }
        }
    }
}

/// A layer with its inputs. Forward writes `y`; backward `dx`, and after it the gradients of the
/// parameters.
struct LayerCase {
    layer: Layer,
    plan: LayerPlan,
    input: Shape,
    batch: usize,
    direction: Direction,
    params: Buffer,
    x: Buffer,
    dy: Buffer,
    /// The results of the twin's forward pass, for backward.
    y: Buffer,
    kept: Buffer,
    winners: Vec<u8>,
    /// What runs write beside their outputs.
    beside: Mutex<Beside>,
}

/// Of all samples. A layer may overwrite `dy` and `kept` in its backward pass.
struct Beside {
    dy: Buffer,
    state: Buffer,
    kept: Buffer,
    winners: Vec<u8>,
}

impl LayerCase {
    fn new(layer: &Layer, input: Shape, batch: usize, direction: Direction) -> Self {
        let plan = layer.plan(input).expect("a layer of a plan");
        let len = |tensors: &[crate::nn::TensorPlan]| -> usize {
            tensors.iter().map(|tensor| elements(&tensor.shape)).sum()
        };
        let (outputs, kept) = (batch * plan.output.len(), plan.kept.floats(batch));
        let winners = vec![0; batch * plan.kept.winners];
        let beside = Beside {
            dy: noise(2, outputs),
            state: noise(4, len(&plan.state)),
            kept: noise(5, kept),
            winners: winners.clone(),
        };
        let mut case = Self {
            layer: layer.clone(),
            input,
            batch,
            direction,
            params: noise(3, len(&plan.params)),
            x: noise(1, batch * input.len()),
            dy: noise(2, outputs),
            y: noise(5, outputs),
            kept: noise(5, kept),
            winners,
            beside: Mutex::new(beside),
            plan,
        };
        let Self { params, x, y, kept, winners, beside, .. } = &mut case;
        layer.twin().expect("a twin to compare with").naive_forward(Forward {
            team: &Team::solo(Isa::Portable),
            mode: mode(0),
            input,
            params,
            state: &mut lock(beside).state,
            x,
            y,
            kept,
            winners,
        });
        case
    }

    fn is_in_place(&self) -> bool {
        self.plan.buffers == Buffers::GradientInPlace
    }

    fn twin_of_layer(&self) -> &dyn Twin {
        self.layer.twin().expect("a twin to compare with")
    }

    /// The backward pass of these samples, from `dy` and `kept`, which may be overwritten, into `dx` and
    /// `grads`.
    fn backward<'a>(
        &'a self,
        team: &'a Team<'a>,
        samples: Range<usize>,
        (dy, kept): (&'a mut [f32], &'a mut [f32]),
        (dx, grads): (Option<&'a mut [f32]>, &'a mut [f32]),
    ) -> Backward<'a> {
        let of = |len: usize| samples.start * len..samples.end * len;
        Backward {
            team,
            mode: mode(samples.start),
            input: self.input,
            params: Params::Fixed(&self.params),
            grads,
            x: &self.x[of(self.input.len())],
            y: &self.y[of(self.plan.output.len())],
            kept,
            winners: &self.winners[of(self.plan.kept.winners)],
            dy,
            dy_is: Gradient::OfOutput,
            dx,
            below: Activation::Linear,
            laps: UnitLaps::NONE,
        }
    }
}

/// Training mode, from this sample on.
fn mode(first: usize) -> Mode {
    Mode::Train { key: 1, first_sample: first as u64 }
}

impl Case for LayerCase {
    /// The copy of `dy` that is made for a kernel that works in place counts.
    fn work(&self) -> Work {
        let (input, output) = (self.input, self.plan.output);
        let traffic = match self.direction {
            Direction::Forward => self.layer.forward_traffic(input, output),
            Direction::Backward if self.is_in_place() => {
                let copy = Traffic::floats(2 * input.len(), 0);
                self.layer.backward_traffic(input, output) + copy
            }
            Direction::Backward => self.layer.backward_traffic(input, output),
        };
        Work::Bytes((traffic * self.batch as f64).bytes)
    }

    fn inputs(&self) -> usize {
        match self.direction {
            Direction::Forward => self.x.len(),
            Direction::Backward => self.x.len() + self.dy.len(),
        }
    }

    fn outputs(&self) -> usize {
        match self.direction {
            Direction::Forward => self.dy.len(),
            Direction::Backward => self.x.len() + self.params.len(),
        }
    }

    fn prepare(&self, out: &mut [f32]) {
        out.fill(f32::NAN);
        let beside = &mut *lock(&self.beside);
        beside.dy.copy_from_slice(&self.dy);
        beside.kept.copy_from_slice(&self.kept);
    }

    fn run(&self, team: &Team, out: &mut [f32]) {
        let beside = &mut *lock(&self.beside);
        if self.direction == Direction::Forward {
            return self.layer.forward(Forward {
                team,
                mode: mode(0),
                input: self.input,
                params: &self.params,
                state: &mut beside.state,
                x: &self.x,
                y: out,
                kept: &mut beside.kept,
                winners: &mut beside.winners,
            });
        }
        let (dx, grads) = out.split_at_mut(self.x.len());
        let samples = 0..self.batch;
        if self.is_in_place() {
            dx.copy_from_slice(&self.dy);
            let pass = self.backward(team, samples, (dx, &mut beside.kept), (None, grads));
            return self.layer.backward(pass);
        }
        let Beside { dy, kept, .. } = beside;
        let pass = self.backward(team, samples, (dy, kept), (Some(dx), grads));
        self.layer.backward(pass);
    }

    /// Samples, unless sums go over the whole batch.
    fn pieces(&self) -> Pieces {
        let is_apart = self.plan.params.is_empty()
            && self.plan.kept.per_batch == 0
            && self.plan.input_gradient != InputGradient::Always;
        match is_apart {
            true => Pieces { count: self.batch, combine: Combine::Beside },
            false => Pieces::WHOLE,
        }
    }

    fn twin(&self, pieces: Range<usize>, out: &mut [f32]) {
        let samples = if self.pieces() == Pieces::WHOLE { 0..self.batch } else { pieces };
        let of = |len: usize| samples.start * len..samples.end * len;
        let kept = &self.kept[samples.start * self.plan.kept.per_sample..];
        let mut kept = kept[..self.plan.kept.floats(samples.len())].to_vec();
        let team = &Team::solo(Isa::Portable);
        if self.direction == Direction::Forward {
            let mut winners = vec![0; samples.len() * self.plan.kept.winners];
            return self.twin_of_layer().naive_forward(Forward {
                team,
                mode: mode(samples.start),
                input: self.input,
                params: &self.params,
                state: &mut lock(&self.beside).state.clone(),
                x: &self.x[of(self.input.len())],
                y: out,
                kept: &mut kept,
                winners: &mut winners,
            });
        }
        let (dx, grads) = out.split_at_mut(samples.len() * self.input.len());
        let dy = &self.dy[of(self.plan.output.len())];
        if self.is_in_place() {
            dx.copy_from_slice(dy);
            let pass = self.backward(team, samples, (dx, &mut kept), (None, grads));
            return self.twin_of_layer().naive_backward(pass);
        }
        let dy = &mut dy.to_vec()[..];
        let pass = self.backward(team, samples, (dy, &mut kept), (Some(dx), grads));
        self.twin_of_layer().naive_backward(pass);
    }
}

/// An optimizer's step over parameters. The outputs are the parameters and the optimizer's buffers.
struct UpdateCase {
    optimizer: Optimizer,
    params: Buffer,
    grads: Buffer,
}

impl UpdateCase {
    /// The buffers that the optimizer keeps beside the parameters.
    fn buffers(&self) -> usize {
        self.optimizer.buffers().len()
    }

    /// Parameters, and up to two buffers; those that the rule lacks are empty.
    fn moving<'a>(&self, out: &'a mut [f32]) -> Moving<'a> {
        let len = self.params.len();
        let (params, rest) = out.split_at_mut(len);
        let (first, second) = rest.split_at_mut(rest.len().min(len));
        let (rule, memory) = (self.optimizer.kernel(1), [first, second]);
        Moving { rule, decay: Decay::NONE, params, memory }
    }
}

impl Case for UpdateCase {
    fn work(&self) -> Work {
        Work::Bytes(Traffic::FLOAT * ((3 + 2 * self.buffers()) * self.params.len()) as f64)
    }

    fn inputs(&self) -> usize {
        (2 + self.buffers()) * self.params.len()
    }

    fn outputs(&self) -> usize {
        (1 + self.buffers()) * self.params.len()
    }

    fn prepare(&self, out: &mut [f32]) {
        let (params, buffers) = out.split_at_mut(self.params.len());
        params.copy_from_slice(&self.params);
        buffers.fill(0.0);
    }

    fn run(&self, team: &Team, out: &mut [f32]) {
        self.moving(out).step(team, &self.grads);
    }

    fn pieces(&self) -> Pieces {
        Pieces::WHOLE
    }

    fn twin(&self, _: Range<usize>, out: &mut [f32]) {
        naive::update::step(self.moving(out), &self.grads);
    }
}
