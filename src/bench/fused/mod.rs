//! Convolutions fused with what follows them in their networks, and for comparison the same by the best
//! separate kernels, one after the other. Both count the work of the whole convolution and nothing else, so
//! their rates can be compared. (A fused kernel that leaves out what no pool needs can therefore exceed the
//! peak.)

mod moments;
mod pooled;

use super::case::{Case, quarters};
use crate::nn::{Buffer, ConvolutionSize, Next};
use moments::MomentsForward;
use pooled::{PoolBackwardWeights, PoolForward};
use std::ops::Range;
use threadcount_kernels::{Activation, Geometry, conv};

/// What is fused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fusion {
    /// Convolution, bias, ReLU and max-pool. Networks with dropout are evaluated in this way.
    PoolForward,
    /// The same with dropout before the pool.
    DropoutPoolForward,
    /// The gradients of the weights and the bias from the gradient of the pooled output.
    PoolBackwardWeights,
    /// Convolution, bias, ReLU and the statistics of batch normalisation; then the normalisation, which
    /// cannot be fused with them.
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

    /// Whether a convolution that this follows can be fused in this way.
    pub fn applies_to(self, next: Next) -> bool {
        match next {
            Next::MaxPool => matches!(self, Self::PoolForward | Self::PoolBackwardWeights),
            Next::DropoutMaxPool(_) => self != Self::MomentsForward,
            Next::BatchNorm => self == Self::MomentsForward,
            Next::Other => false,
        }
    }
}

impl ConvolutionSize {
    /// The convolution with what follows it, as a case.
    pub fn fused_case(&self, fusion: Fusion, execution: Execution) -> Box<dyn Case> {
        let inputs = Inputs::new(self);
        match fusion {
            Fusion::PoolForward => Box::new(PoolForward::new(inputs, None, execution)),
            Fusion::DropoutPoolForward => {
                let rate = Some(self.next.dropout_rate());
                Box::new(PoolForward::new(inputs, rate, execution))
            }
            Fusion::PoolBackwardWeights => Box::new(PoolBackwardWeights::new(inputs, execution)),
            Fusion::MomentsForward => Box::new(MomentsForward::new(inputs, execution)),
        }
    }
}

/// The inputs of a convolution.
struct Inputs {
    convolution: ConvolutionSize,
    x: Buffer,
    w: Buffer,
    bias: Buffer,
}

impl Inputs {
    /// Inputs whose sums are exact, so that pooling has the same winners whichever kernel sums up.
    fn new(convolution: &ConvolutionSize) -> Self {
        let ConvolutionSize { geometry: g, filters, batch, .. } = *convolution;
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

    /// Floats of all of them.
    fn len(&self) -> usize {
        self.x.len() + self.w.len() + self.bias.len()
    }

    /// Elements of one image's output at full resolution.
    fn map_len(&self) -> usize {
        self.geometry().out_pixels() * self.convolution.filters
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

    /// The forward pass of all images.
    fn whole_forward(&self) -> conv::Convolution<'_> {
        self.forward(0..self.batch())
    }
}

#[cfg(test)]
mod tests {
    use super::super::case::{agree, twin_on_all_cores, untouched};
    use super::*;
    use crate::nn::Position;
    use threadcount_kernels::{Isa, Padding, Pool};

    /// Small convolutions, with a map of an odd number of lines.
    fn convolutions(next: Next) -> [ConvolutionSize; 2] {
        [1, 5].map(|channels| {
            let padding = Padding::Same;
            let geometry = Geometry::new([7, 6, channels], [3, 3], 1, padding).unwrap();
            let position = Position::Inner;
            ConvolutionSize { geometry, padding, filters: 10, batch: 9, position, next }
        })
    }

    /// Every case, with the outputs of a run on each instruction set.
    fn every_case(mut visit: impl FnMut(&str, &dyn Case, &[f32])) {
        for next in [Next::MaxPool, Next::DropoutMaxPool(0.2), Next::BatchNorm, Next::Other] {
            for fusion in Fusion::ALL.into_iter().filter(|fusion| fusion.applies_to(next)) {
                for convolution in convolutions(next) {
                    for execution in Execution::ALL {
                        let case = convolution.fused_case(fusion, execution);
                        let mut out = untouched(case.outputs());
                        for isa in Isa::detected() {
                            case.prepare(&mut out);
                            let pool = Pool::new(isa, 2).unwrap();
                            // The second run finds what the first one left.
                            pool.enter(|team| case.run(team, &mut out));
                            pool.enter(|team| case.run(team, &mut out));
                            case.gather(&mut out);
                            let name = fusion.kernel(execution);
                            let name = format!("{isa} {name} {next:?} {}", convolution.size());
                            visit(&name, &*case, &out);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn both_executions_agree_with_the_twin() {
        every_case(|name, case, out| {
            let mut expected = untouched(case.outputs());
            twin_on_all_cores(case, &mut expected);
            assert_eq!(agree(out, &expected), Ok(()), "{name}");
            case.twin(0..case.pieces().count, &mut expected);
            assert_eq!(agree(out, &expected), Ok(()), "{name}, the twin whole");
        });
    }

    #[test]
    fn a_wrong_winner_is_found() {
        every_case(|name, _, out| {
            if !name.contains("pool-forward") {
                return;
            }
            // The position of a winner is the last output.
            let mut wrong = out.to_vec();
            *wrong.last_mut().unwrap() += 1.0;
            assert!(agree(&wrong, out).is_err(), "{name}");
        });
    }
}
