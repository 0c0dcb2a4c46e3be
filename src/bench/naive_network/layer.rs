//! One layer of a [`NaiveNetwork`](super::NaiveNetwork), forward and backward.

use crate::bench::shapes::{Place, window};
use crate::nn::{Layer, PlannedLayer, Pooling};
use threadcount_kernels::conv::Convolution;
use threadcount_kernels::dropout::Dropout;
use threadcount_kernels::gemm::{Epilogue, Write};
use threadcount_kernels::recurrent::{self, LstmTape, RnnTape, Weights};
use threadcount_kernels::{Geometry, Mat, MatMut, Padding, naive};

/// A layer in a training step.
pub(super) struct Pass<'a> {
    pub(super) layer: &'a PlannedLayer,
    pub(super) place: Place,
    /// The key of its dropout masks.
    pub(super) key: u64,
    /// Position in the epoch of the batch's first sample.
    pub(super) first_sample: u64,
    pub(super) params: &'a [f32],
}

/// What goes into a backward pass and what comes out of it.
pub(super) struct Gradients<'a> {
    /// `[n, output]`: the gradient by the layer's output.
    pub(super) dy: Vec<f32>,
    /// That by its parameters.
    pub(super) params: &'a mut [f32],
    /// `[n, input]`: that by its input; empty for the first layer with parameters.
    pub(super) dx: &'a mut [f32],
}

/// What a layer keeps from forward to backward, beside its input and output.
pub(super) enum Tape {
    Nothing,
    /// The places of max-pooling's winners.
    Winners(Vec<u8>),
    /// Mean and variance of the batch.
    Moments(Vec<f32>, Vec<f32>),
    /// A recurrent layer's: see [`LstmTape`]. A simple one has neither gates nor cells.
    Sequence {
        x: Vec<f32>,
        gates: Vec<f32>,
        cell: Vec<f32>,
        hidden: Vec<f32>,
    },
}

impl Pass<'_> {
    /// Computes `y` from `x`, and moves the moving statistics.
    pub(super) fn forward(&self, x: &[f32], state: &mut [f32], y: &mut [f32]) -> Tape {
        let (input, params) = (self.layer.input, self.params);
        match self.layer.layer {
            Layer::Dense(dense) => {
                let (w, bias) = params.split_at(params.len() - dense.units);
                let w = Mat::new(w, input.len(), dense.units);
                let epilogue = Epilogue::Bias { bias, activation: dense.activation };
                let y = MatMut::new(y, x.len() / input.len(), dense.units);
                let x = Mat::new(x, x.len() / input.len(), input.len());
                naive::gemm::gemm(1.0, x, w, Write::Set, y, epilogue);
            }
            Layer::Conv2d(conv) => {
                let (w, bias) = params.split_at(params.len() - conv.filters);
                let geometry = &self.window(conv.kernel, 1, conv.padding);
                let activation = conv.activation;
                naive::conv::forward(&Convolution { geometry, x, w, bias, activation }, y);
            }
            Layer::Pool2d(pool) => {
                let g = self.window(pool.size, pool.size, Padding::Valid);
                match pool.pooling {
                    Pooling::Max => {
                        let mut winners = vec![0; y.len()];
                        naive::pool::max_forward(&g, x, y, &mut winners);
                        return Tape::Winners(winners);
                    }
                    Pooling::Average => naive::pool::average_forward(&g, x, y),
                }
            }
            Layer::Activation(activation) => naive::activation::forward(activation, x, y),
            Layer::BatchNorm(norm) => {
                let channels = input.last();
                let (gamma, beta) = params.split_at(channels);
                let (mut mean, mut variance) = (vec![0.0; channels], vec![0.0; channels]);
                let epsilon = norm.epsilon;
                naive::norm::train_forward(x, gamma, beta, epsilon, y, &mut mean, &mut variance);
                let (moving_mean, moving_variance) = state.split_at_mut(channels);
                naive::norm::update_moving(norm.momentum, &mean, moving_mean);
                naive::norm::update_moving(norm.momentum, &variance, moving_variance);
                return Tape::Moments(mean, variance);
            }
            Layer::Dropout(dropout) => {
                naive::dropout::forward(&self.mask(dropout.rate), input.len(), x, y);
            }
            Layer::Flatten => y.copy_from_slice(x),
            Layer::SimpleRnn(rnn) => {
                let shape = self.sequence(rnn.units);
                let mut hidden = vec![0.0; y.len() * shape.steps];
                let mut time_major = vec![0.0; x.len()];
                let mut tape = RnnTape { x: &mut time_major, hidden: &mut hidden };
                naive::recurrent::rnn_forward(&shape, x, &self.weights(&shape), &mut tape);
                y.copy_from_slice(&hidden[hidden.len() - y.len()..]);
                return Tape::Sequence { x: time_major, gates: vec![], cell: vec![], hidden };
            }
            Layer::Lstm(lstm) => {
                let shape = self.sequence(lstm.units);
                let states = y.len() * shape.steps;
                let mut time_major = vec![0.0; x.len()];
                let (mut gates, mut cell) = (vec![0.0; 4 * states], vec![0.0; states]);
                let mut hidden = vec![0.0; states];
                let mut tape = LstmTape {
                    x: &mut time_major,
                    gates: &mut gates,
                    cell: &mut cell,
                    hidden: &mut hidden,
                };
                naive::recurrent::lstm_forward(&shape, x, &self.weights(&shape), &mut tape);
                y.copy_from_slice(&hidden[states - y.len()..]);
                return Tape::Sequence { x: time_major, gates, cell, hidden };
            }
        }
        Tape::Nothing
    }

    /// Computes the gradients by the parameters and, unless it is empty, by `x`.
    pub(super) fn backward(&self, x: &[f32], y: &[f32], tape: &mut Tape, gradients: Gradients) {
        let (input, params) = (self.layer.input, self.params);
        let Gradients { mut dy, params: grads, dx } = gradients;
        match (self.layer.layer, tape) {
            (Layer::Dense(dense), _) => {
                naive::activation::backward(dense.activation, y, &mut dy);
                let (inputs, units) = (input.len(), dense.units);
                let n = x.len() / inputs;
                let (x, dz) = (Mat::new(x, n, inputs), Mat::new(&dy, n, units));
                let (dw, db) = grads.split_at_mut(inputs * units);
                let dw = MatMut::new(dw, inputs, units);
                naive::gemm::gemm(1.0, x.t(), dz, Write::Set, dw, Epilogue::None);
                naive::sums::columns(dz, db);
                if !dx.is_empty() {
                    let w = Mat::new(&params[..inputs * units], inputs, units);
                    let dx = MatMut::new(dx, n, inputs);
                    naive::gemm::gemm(1.0, dz, w.t(), Write::Set, dx, Epilogue::None);
                }
            }
            (Layer::Conv2d(conv), _) => {
                naive::activation::backward(conv.activation, y, &mut dy);
                let g = self.window(conv.kernel, 1, conv.padding);
                let (dw, db) = grads.split_at_mut(params.len() - conv.filters);
                naive::conv::backward_weights(&g, x, &dy, dw, db);
                if !dx.is_empty() {
                    naive::conv::backward_data(&g, &dy, &params[..dw.len()], dx);
                }
            }
            (Layer::Pool2d(pool), tape) if !dx.is_empty() => {
                let g = self.window(pool.size, pool.size, Padding::Valid);
                match tape {
                    Tape::Winners(winners) => naive::pool::max_backward(&g, winners, &dy, dx),
                    _ => naive::pool::average_backward(&g, &dy, dx),
                }
            }
            (Layer::Activation(activation), _) => {
                naive::activation::backward(activation, y, &mut dy);
                dx.copy_from_slice(&dy[..dx.len()]);
            }
            (Layer::BatchNorm(norm), Tape::Moments(mean, variance)) => {
                let (gamma, _) = params.split_at(mean.len());
                let (dgamma, dbeta) = grads.split_at_mut(mean.len());
                // The formula gives all three at once.
                let mut dx_anyway = vec![0.0; x.len()];
                let epsilon = norm.epsilon;
                naive::norm::backward(
                    x,
                    &dy,
                    gamma,
                    mean,
                    variance,
                    epsilon,
                    &mut dx_anyway,
                    dgamma,
                    dbeta,
                );
                dx.copy_from_slice(&dx_anyway[..dx.len()]);
            }
            (Layer::Dropout(dropout), _) => {
                naive::dropout::backward(&self.mask(dropout.rate), input.len(), &mut dy);
                dx.copy_from_slice(&dy[..dx.len()]);
            }
            (Layer::SimpleRnn(rnn), Tape::Sequence { x, hidden, .. }) => {
                let shape = self.sequence(rnn.units);
                let (weights, mut dz) = (self.weights(&shape), vec![0.0; hidden.len()]);
                let tape = RnnTape { x, hidden };
                let mut out = recurrent_gradients(grads, dx, &shape);
                naive::recurrent::rnn_backward(&shape, &weights, &tape, &dy, &mut dz, &mut out);
            }
            (Layer::Lstm(lstm), Tape::Sequence { x, gates, cell, hidden }) => {
                let shape = self.sequence(lstm.units);
                let (weights, mut carry) = (self.weights(&shape), vec![0.0; 2 * dy.len()]);
                let mut tape = LstmTape { x, gates, cell, hidden };
                let mut out = recurrent_gradients(grads, dx, &shape);
                let carry = &mut carry;
                naive::recurrent::lstm_backward(&shape, &weights, &mut tape, &dy, carry, &mut out);
            }
            _ => dx.copy_from_slice(&dy[..dx.len()]),
        }
    }

    /// How a window slides over the layer's input.
    fn window(&self, size: usize, stride: usize, padding: Padding) -> Geometry {
        window(self.layer.input, size, stride, padding).expect("the plan has seen that it fits")
    }

    fn mask(&self, rate: f32) -> Dropout {
        Dropout { rate, key: self.key, first_sample: self.first_sample }
    }

    /// The sizes of a recurrent layer.
    fn sequence(&self, units: usize) -> recurrent::Shape {
        let input = self.layer.input;
        recurrent::Shape { steps: input.len() / input.last(), inputs: input.last(), units }
    }

    /// Its parameters: kernel, recurrent kernel, bias.
    fn weights(&self, shape: &recurrent::Shape) -> Weights<'_> {
        let width = self.params.len() / (shape.inputs + shape.units + 1);
        let (wx, rest) = self.params.split_at(shape.inputs * width);
        let (wh, b) = rest.split_at(shape.units * width);
        Weights { wx, wh, b }
    }
}

/// The gradients by the same, and by the input unless that is empty.
fn recurrent_gradients<'a>(
    grads: &'a mut [f32],
    dx: &'a mut [f32],
    shape: &recurrent::Shape,
) -> recurrent::Gradients<'a> {
    let width = grads.len() / (shape.inputs + shape.units + 1);
    let (dwx, rest) = grads.split_at_mut(shape.inputs * width);
    let (dwh, db) = rest.split_at_mut(shape.units * width);
    recurrent::Gradients { dwx, dwh, db, dx: (!dx.is_empty()).then_some(dx) }
}
