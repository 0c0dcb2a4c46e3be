//! A convolution with the max-pool that follows it: forward, with or without dropout in between, and
//! backward from the pool's winners to the weights.

use super::{Execution, Inputs};
use crate::bench::case::{Case, Combine, Pieces, Work, lock, mask, noise, untouched};
use crate::nn::{Buffer, Next};
use std::ops::Range;
use std::sync::Mutex;
use threadcount_kernels::conv::{self, Winners};
use threadcount_kernels::dropout::{self, Dropout};
use threadcount_kernels::{Activation, Geometry, Isa, Padding, Team, activation, naive, pool};

impl Inputs {
    /// Elements of one image's pooled output.
    fn pooled_len(&self) -> usize {
        self.pooling().out_pixels() * self.convolution.filters
    }

    /// The pool that follows.
    fn pooling(&self) -> Geometry {
        let g = self.geometry();
        Geometry::new([g.out_h(), g.out_w(), self.convolution.filters], [2; 2], 2, Padding::Valid)
            .expect("a map with room for the pool that its recipe has")
    }
}

/// The outputs are, for each image, the pooled output and after it, for the comparison, the positions of
/// the winners.
pub(super) struct PoolForward {
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
    pub(super) fn new(inputs: Inputs, dropout_rate: Option<f32>, execution: Execution) -> Self {
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

    fn inputs(&self) -> usize {
        self.inputs.len()
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

/// Reduces fused winners to what a separate pool gives: their positions, without whether they were dropped.
/// (After ReLU that is not needed: the output is zero, and so is the gradient.)
fn unmark_dropped(argmax: &mut [u8]) {
    argmax.iter_mut().for_each(|winner| *winner %= 4);
}

/// From the gradient of the pooled output to `dw`, and `db` after it.
pub(super) struct PoolBackwardWeights {
    inputs: Inputs,
    execution: Execution,
    dy: Buffer,
    /// The pooled output.
    y: Buffer,
    argmax: Vec<u8>,
    /// The output of the ReLU, if it went through memory.
    map: Buffer,
    /// The gradient at full resolution, if it goes through memory.
    dz: Mutex<Buffer>,
}

impl PoolBackwardWeights {
    pub(super) fn new(inputs: Inputs, execution: Execution) -> Self {
        let batch = inputs.batch();
        let (map_len, pooled_len) = (batch * inputs.map_len(), batch * inputs.pooled_len());
        let (mut map, mut y) = (untouched(0), untouched(pooled_len));
        let mut argmax = vec![u8::MAX; pooled_len];
        // The results of a forward pass. They are inputs here, so the fastest kernels may compute them.
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

    /// The winners of some images.
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

    /// Images, and of each pooled output the gradient and the output itself.
    fn inputs(&self) -> usize {
        self.inputs.x.len() + 2 * self.dy.len()
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
                if conv::is_one_channel(g) {
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
