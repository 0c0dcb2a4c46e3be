//! Convolutions fused with what follows them in their networks, and for comparison the same by the
//! best kernels that there are for each step, one after the other. Both count the work of the
//! convolution alone, so their rates compare.

use super::case::{Case, Combine, Pieces, Work, noise, quarters, untouched};
use super::elementwise::EPSILON;
use super::shapes::{Convolution, Next};
use crate::nn::Buffer;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use threadcount_kernels::conv::{self, Winners};
use threadcount_kernels::dropout::{self, Dropout};
use threadcount_kernels::{
    Activation, Geometry, Isa, Padding, Team, activation, naive, norm, pool,
};

/// What is fused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fusion {
    /// Convolution, bias, ReLU and max-pool. A network with dropout is evaluated so.
    PoolForward,
    /// The same with dropout before the pool.
    DropoutPoolForward,
    /// The gradients by weights and bias from that by the pooled output.
    PoolBackwardWeights,
    /// Convolution, bias, ReLU and the statistics of batch normalisation; then its elements, which
    /// nothing can be fused with.
    MomentsForward,
}

/// How it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Execution {
    /// By the fused kernel.
    Fused,
    /// By one kernel after the other, through maps in memory.
    Apart,
}

impl Execution {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Fused, Self::Apart];
}

impl Fusion {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::PoolForward,
        Self::DropoutPoolForward,
        Self::PoolBackwardWeights,
        Self::MomentsForward,
    ];

    /// The kernel's name in tables.
    pub fn kernel(self, execution: Execution) -> &'static str {
        match (self, execution) {
            (Self::PoolForward, Execution::Fused) => "conv-pool-forward",
            (Self::PoolForward, Execution::Apart) => "conv-pool-forward-apart",
            (Self::DropoutPoolForward, Execution::Fused) => "conv-dropout-pool-forward",
            (Self::DropoutPoolForward, Execution::Apart) => "conv-dropout-pool-forward-apart",
            (Self::PoolBackwardWeights, Execution::Fused) => "conv-pool-backward-weights",
            (Self::PoolBackwardWeights, Execution::Apart) => "conv-pool-backward-weights-apart",
            (Self::MomentsForward, Execution::Fused) => "conv-moments-forward",
            (Self::MomentsForward, Execution::Apart) => "conv-moments-forward-apart",
        }
    }

    /// Whether a convolution that this follows can be fused so.
    pub fn applies_to(self, next: Next) -> bool {
        match next {
            Next::MaxPool => matches!(self, Self::PoolForward | Self::PoolBackwardWeights),
            Next::DropoutMaxPool(_) => self != Self::MomentsForward,
            Next::BatchNorm => self == Self::MomentsForward,
            Next::Other => false,
        }
    }
}

impl Convolution {
    /// It with what follows, as a case.
    pub fn fused_case(&self, fusion: Fusion, execution: Execution) -> Box<dyn Case> {
        let inputs = Inputs::new(self);
        match fusion {
            Fusion::PoolForward => Box::new(PoolForward::new(inputs, None, execution)),
            Fusion::DropoutPoolForward => {
                let rate = Some(self.next.dropout_rate());
                Box::new(PoolForward::new(inputs, rate, execution))
            }
            Fusion::PoolBackwardWeights => Box::new(PoolBackwardWeights::new(inputs, execution)),
            Fusion::MomentsForward => Box::new(MomentsForward {
                gamma: noise(4, self.filters),
                beta: noise(5, self.filters),
                map: Mutex::new(untouched(inputs.batch() * inputs.map_len())),
                inputs,
                execution,
            }),
        }
    }
}

/// The inputs of a convolution.
struct Inputs {
    convolution: Convolution,
    x: Buffer,
    w: Buffer,
    bias: Buffer,
}

impl Inputs {
    /// Sums that are exact: the winners of pooling are the same whichever kernel sums up.
    fn new(convolution: &Convolution) -> Self {
        let Convolution { geometry: g, filters, batch, .. } = *convolution;
        Self {
            convolution: *convolution,
            x: quarters(1, batch * g.in_len()),
            w: quarters(2, g.window_len() * filters),
            bias: quarters(3, filters),
        }
    }

    fn geometry(&self) -> &Geometry {
        &self.convolution.geometry
    }

    fn batch(&self) -> usize {
        self.convolution.batch
    }

    /// Elements of one image's output at full resolution.
    fn map_len(&self) -> usize {
        self.geometry().out_pixels() * self.convolution.filters
    }

    /// Elements of one image's pooled output.
    fn pooled_len(&self) -> usize {
        self.pooling().out_pixels() * self.convolution.filters
    }

    /// The pool that follows.
    fn pooling(&self) -> Geometry {
        let g = self.geometry();
        Geometry::new([g.out_h, g.out_w, self.convolution.filters], [2; 2], 2, Padding::Valid)
            .expect("a map with room for the pool that its recipe has")
    }

    fn images(&self, images: Range<usize>) -> &[f32] {
        let len = self.geometry().in_len();
        &self.x[images.start * len..images.end * len]
    }

    /// The forward pass of these images, with ReLU.
    fn forward(&self, images: Range<usize>) -> conv::Convolution<'_> {
        conv::Convolution {
            geometry: self.geometry(),
            x: self.images(images),
            w: &self.w,
            bias: &self.bias,
            activation: Activation::Relu,
        }
    }

    /// That of all images.
    fn whole_forward(&self) -> conv::Convolution<'_> {
        self.forward(0..self.batch())
    }
}

/// The masks of images from `first` on.
fn mask(rate: f32, first: usize) -> Dropout {
    Dropout { rate, key: 1, first_sample: first as u64 }
}

/// What a run writes that is no output. Only one run is under way at a time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Of each image the pooled output, and behind it for the comparison the places of the winners.
struct PoolForward {
    inputs: Inputs,
    dropout_rate: Option<f32>,
    execution: Execution,
    buffers: Mutex<PoolBuffers>,
}

struct PoolBuffers {
    argmax: Vec<u8>,
    /// The map at full resolution, where it goes through memory.
    map: Buffer,
    /// The same after dropout.
    dropped: Buffer,
}

impl PoolForward {
    fn new(inputs: Inputs, dropout_rate: Option<f32>, execution: Execution) -> Self {
        let map_len = match execution {
            Execution::Fused => 0,
            Execution::Apart => inputs.batch() * inputs.map_len(),
        };
        let buffers = Mutex::new(PoolBuffers {
            argmax: vec![u8::MAX; inputs.batch() * inputs.pooled_len()],
            map: untouched(map_len),
            dropped: untouched(if dropout_rate.is_some() { map_len } else { 0 }),
        });
        Self { inputs, dropout_rate, execution, buffers }
    }

    fn mask(&self, first: usize) -> Option<Dropout> {
        self.dropout_rate.map(|rate| mask(rate, first))
    }

    /// Lays out the outputs of some images.
    fn lay_out(&self, y: &[f32], argmax: &[u8], out: &mut [f32]) {
        let len = self.inputs.pooled_len();
        let images = y.chunks_exact(len).zip(argmax.chunks_exact(len));
        for (out, (y, argmax)) in out.chunks_exact_mut(2 * len).zip(images) {
            let (out_y, places) = out.split_at_mut(len);
            out_y.copy_from_slice(y);
            for (place, &winner) in places.iter_mut().zip(argmax) {
                *place = f32::from(winner);
            }
        }
    }
}

impl Case for PoolForward {
    fn work(&self) -> Work {
        self.inputs.convolution.work()
    }

    fn outputs(&self) -> usize {
        2 * self.inputs.batch() * self.inputs.pooled_len()
    }

    fn run(&self, team: &Team, out: &mut [f32]) {
        let job = self.inputs.whole_forward();
        let y = &mut out[..self.inputs.batch() * self.inputs.pooled_len()];
        let PoolBuffers { argmax, map, dropped } = &mut *lock(&self.buffers);
        let mask = self.mask(0);
        if self.execution == Execution::Fused {
            return conv::forward_pooled(team, &job, mask.as_ref(), y, argmax);
        }
        conv::forward(team, &job, map);
        let map = match mask {
            Some(mask) => {
                dropout::forward(team, &mask, self.inputs.map_len(), map, dropped);
                dropped
            }
            None => map,
        };
        pool::max_forward(team, &self.inputs.pooling(), map, y, argmax);
    }

    fn gather(&self, out: &mut [f32]) {
        let y = out[..out.len() / 2].to_vec();
        let mut buffers = lock(&self.buffers);
        self.lay_out(&y, &buffers.argmax, out);
        // So that what the next run does not write shows.
        buffers.argmax.fill(u8::MAX);
    }

    fn pieces(&self) -> Pieces {
        Pieces { count: self.inputs.batch(), combine: Combine::Beside }
    }

    fn twin(&self, images: Range<usize>, out: &mut [f32]) {
        let mut y = vec![f32::NAN; out.len() / 2];
        let mut argmax = vec![u8::MAX; y.len()];
        let mask = self.mask(images.start);
        let job = self.inputs.forward(images);
        naive::conv::forward_pooled(&job, mask.as_ref(), &mut y, &mut argmax);
        if self.execution == Execution::Apart {
            unmark_dropped(&mut argmax);
        }
        self.lay_out(&y, &argmax, out);
    }
}

/// Leaves of fused winners what a pool of its own tells: the places, not which had been dropped.
/// (Behind ReLU nobody needs to know: the output is zero, and so is the gradient.)
fn unmark_dropped(argmax: &mut [u8]) {
    argmax.iter_mut().for_each(|winner| *winner %= 4);
}

/// From the gradient by the pooled output to `dw`, and `db` behind it.
struct PoolBackwardWeights {
    inputs: Inputs,
    execution: Execution,
    dy: Buffer,
    /// The pooled output.
    y: Buffer,
    argmax: Vec<u8>,
    /// The output of the ReLU, where it went through memory.
    map: Buffer,
    /// The gradient at full resolution, where it does.
    dz: Mutex<Buffer>,
}

impl PoolBackwardWeights {
    fn new(inputs: Inputs, execution: Execution) -> Self {
        let batch = inputs.batch();
        let (map_len, pooled_len) = (batch * inputs.map_len(), batch * inputs.pooled_len());
        let (mut map, mut y) = (untouched(0), untouched(pooled_len));
        let mut argmax = vec![u8::MAX; pooled_len];
        // What a forward pass gives. That is no output here, so the fastest kernels may do it.
        let (team, job) = (Team::solo(Isa::best()), inputs.whole_forward());
        let mask = mask(inputs.convolution.next.dropout_rate(), 0);
        conv::forward_pooled(&team, &job, Some(&mask), &mut y, &mut argmax);
        if execution == Execution::Apart {
            map = untouched(map_len);
            conv::forward(&team, &job, &mut map);
            unmark_dropped(&mut argmax);
        }
        let (dy, dz) = (noise(4, pooled_len), Mutex::new(untouched(map_len)));
        Self { inputs, execution, dy, y, argmax, map, dz }
    }

    /// Those of some images.
    fn winners(&self, images: Range<usize>) -> Winners<'_> {
        let len = self.inputs.pooled_len();
        let part = images.start * len..images.end * len;
        Winners {
            dy: &self.dy[part.clone()],
            y: &self.y[part.clone()],
            argmax: &self.argmax[part],
            activation: Activation::Relu,
            dropout_rate: self.inputs.convolution.next.dropout_rate(),
        }
    }
}

impl Case for PoolBackwardWeights {
    fn work(&self) -> Work {
        self.inputs.convolution.work()
    }

    fn outputs(&self) -> usize {
        self.inputs.w.len() + self.inputs.bias.len()
    }

    fn run(&self, team: &Team, out: &mut [f32]) {
        let Inputs { convolution, x, w, bias } = &self.inputs;
        let (g, filters) = (self.inputs.geometry(), bias.len());
        let (dw, db) = out.split_at_mut(w.len());
        let dz = &mut **lock(&self.dz);
        match self.execution {
            Execution::Fused => {
                let winners = self.winners(0..convolution.batch);
                // The only ones that have a kernel without a map.
                if (g.channels, g.kernel_h, g.kernel_w, g.stride) == (1, 3, 3, 1) {
                    return conv::backward_weights_pooled(team, g, x, &winners, dw, db);
                }
                conv::expand_winners(team, g, filters, &winners, dz);
            }
            Execution::Apart => {
                pool::max_backward(team, &self.inputs.pooling(), &self.argmax, &self.dy, dz);
                if let Next::DropoutMaxPool(rate) = convolution.next {
                    dropout::backward(team, &mask(rate, 0), self.inputs.map_len(), dz);
                }
                activation::backward(team, Activation::Relu, &self.map, dz);
            }
        }
        conv::backward_weights(team, g, x, dz, dw, db);
    }

    fn pieces(&self) -> Pieces {
        Pieces { count: self.inputs.batch(), combine: Combine::Added }
    }

    fn twin(&self, images: Range<usize>, out: &mut [f32]) {
        let (dw, db) = out.split_at_mut(self.inputs.w.len());
        let (g, x) = (self.inputs.geometry(), self.inputs.images(images.clone()));
        naive::conv::backward_weights_pooled(g, x, &self.winners(images), dw, db);
    }
}

/// To the normalised map, and the means and variances behind it. No kernel takes the statistics of
/// a finished map without normalising it too, so both executions do that.
struct MomentsForward {
    inputs: Inputs,
    execution: Execution,
    gamma: Buffer,
    beta: Buffer,
    /// The convolution's output, which the backward pass needs too.
    map: Mutex<Buffer>,
}

impl MomentsForward {
    /// The normalised map, the means, the variances.
    fn split<'a>(&self, out: &'a mut [f32]) -> (&'a mut [f32], &'a mut [f32], &'a mut [f32]) {
        let filters = self.gamma.len();
        let (normal, moments) = out.split_at_mut(out.len() - 2 * filters);
        let (mean, variance) = moments.split_at_mut(filters);
        (normal, mean, variance)
    }
}

impl Case for MomentsForward {
    fn work(&self) -> Work {
        self.inputs.convolution.work()
    }

    fn outputs(&self) -> usize {
        self.inputs.batch() * self.inputs.map_len() + 2 * self.gamma.len()
    }

    fn run(&self, team: &Team, out: &mut [f32]) {
        let Self { gamma, beta, .. } = self;
        let (normal, mean, variance) = self.split(out);
        let (map, job) = (&mut **lock(&self.map), self.inputs.whole_forward());
        match self.execution {
            Execution::Fused => {
                conv::forward_with_moments(team, &job, map, mean, variance);
                norm::eval_forward(team, map, gamma, beta, mean, variance, EPSILON, normal);
            }
            Execution::Apart => {
                conv::forward(team, &job, map);
                norm::train_forward(team, map, gamma, beta, EPSILON, normal, mean, variance);
            }
        }
    }

    /// Statistics are those of all images.
    fn pieces(&self) -> Pieces {
        Pieces::WHOLE
    }

    fn twin(&self, _whole: Range<usize>, out: &mut [f32]) {
        let Self { gamma, beta, .. } = self;
        let (normal, mean, variance) = self.split(out);
        let mut map = vec![f32::NAN; normal.len()];
        naive::conv::forward_with_moments(&self.inputs.whole_forward(), &mut map, mean, variance);
        naive::norm::eval_forward(&map, gamma, beta, mean, variance, EPSILON, normal);
    }
}
