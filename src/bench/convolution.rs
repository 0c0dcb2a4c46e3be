//! Convolutions.

use super::case::{Case, Combine, Pieces, Work, noise};
use crate::nn::{Buffer, ConvolutionSize, Position};
use std::ops::Range;
use threadcount_kernels::{Activation, Padding, Team, conv, naive};

/// One of the three kernels of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// The output, with bias and ReLU.
    Forward,
    /// The input gradient.
    BackwardData,
    /// The gradients of the weights and the bias.
    BackwardWeights,
}

impl Pass {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Forward, Self::BackwardData, Self::BackwardWeights];

    /// The kernel's name in tables.
    pub fn kernel(self) -> &'static str {
        match self {
            Self::Forward => "conv-forward",
            Self::BackwardData => "conv-backward-data",
            Self::BackwardWeights => "conv-backward-weights",
        }
    }
}

impl ConvolutionSize {
    /// Its size in tables: the input, the filters, the batch.
    pub fn size(&self) -> String {
        let g = &self.geometry;
        let padding = match self.padding {
            Padding::Valid => "valid",
            Padding::Same => "same",
        };
        format!(
            "{}x{}x{} -> {} {padding}, batch {}",
            g.in_h(),
            g.in_w(),
            g.channels(),
            self.filters,
            self.batch
        )
    }

    /// A pass's size in tables. Backward-data of a network's first layer is marked: no training
    /// step asks for it.
    pub fn shape(&self, pass: Pass) -> String {
        let mark = match (pass, self.position) {
            (Pass::BackwardData, Position::First) => " (unused)",
            _ => "",
        };
        self.size() + mark
    }

    /// A pass's work. Every tap counts, in the padding too.
    pub fn work(&self) -> Work {
        Work::Flops(2.0 * self.multiply_adds() as f64)
    }

    /// One of its passes as a case.
    pub fn case(&self, pass: Pass) -> Box<dyn Case> {
        let Self { geometry: g, filters, batch, .. } = *self;
        Box::new(ConvolutionCase {
            convolution: *self,
            pass,
            x: noise(1, batch * g.in_len()),
            w: noise(2, g.window_len() * filters),
            bias: noise(3, filters),
            dz: noise(4, batch * g.out_pixels() * filters),
        })
    }
}

struct ConvolutionCase {
    convolution: ConvolutionSize,
    pass: Pass,
    x: Buffer,
    w: Buffer,
    bias: Buffer,
    dz: Buffer,
}

impl ConvolutionCase {
    /// The forward pass of these images, with ReLU.
    fn forward<'a>(&'a self, x: &'a [f32]) -> conv::Convolution<'a> {
        let geometry = &self.convolution.geometry;
        let activation = Activation::Relu;
        conv::Convolution { geometry, x, w: &self.w, bias: &self.bias, activation }
    }
}

impl Case for ConvolutionCase {
    fn work(&self) -> Work {
        self.convolution.work()
    }

    fn inputs(&self) -> usize {
        let Self { x, w, bias, dz, .. } = self;
        match self.pass {
            Pass::Forward => x.len() + w.len() + bias.len(),
            Pass::BackwardData => dz.len() + w.len(),
            Pass::BackwardWeights => x.len() + dz.len(),
        }
    }

    fn outputs(&self) -> usize {
        match self.pass {
            Pass::Forward => self.dz.len(),
            Pass::BackwardData => self.x.len(),
            Pass::BackwardWeights => self.w.len() + self.bias.len(),
        }
    }

    fn run(&self, team: &Team, out: &mut [f32]) {
        let Self { pass, x, w, dz, .. } = self;
        let g = &self.convolution.geometry;
        match pass {
            Pass::Forward => conv::forward(team, &self.forward(x), out),
            Pass::BackwardData => conv::backward_data(team, g, dz, w, out),
            Pass::BackwardWeights => {
                let (dw, db) = out.split_at_mut(w.len());
                conv::backward_weights(team, g, x, dz, dw, db);
            }
        }
    }

    fn pieces(&self) -> Pieces {
        let combine = match self.pass {
            Pass::Forward | Pass::BackwardData => Combine::Beside,
            Pass::BackwardWeights => Combine::Added,
        };
        Pieces { count: self.convolution.batch, combine }
    }

    fn twin(&self, images: Range<usize>, out: &mut [f32]) {
        let Self { pass, w, .. } = self;
        let ConvolutionSize { geometry: g, filters, .. } = &self.convolution;
        let of = |len: usize| images.start * len..images.end * len;
        let x = &self.x[of(g.in_len())];
        let dz = &self.dz[of(g.out_pixels() * filters)];
        match pass {
            Pass::Forward => naive::conv::forward(&self.forward(x), out),
            Pass::BackwardData => naive::conv::backward_data(g, dz, w, out),
            Pass::BackwardWeights => {
                let (dw, db) = out.split_at_mut(w.len());
                naive::conv::backward_weights(g, x, dz, dw, db);
            }
        }
    }
}
