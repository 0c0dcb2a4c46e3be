//! The memory that a network takes, known before it is allocated.

use super::Network;
use crate::nn::buffer::bytes;
use crate::nn::learn::optimizer::Optimizer;
use crate::nn::learn::per_sample::PerSample;
use crate::nn::model::{Plan, program};
use crate::nn::objective::Objective;
use crate::nn::run::{Flipped, Layout};

/// Bytes of memory of a network that learns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Parameters and moving statistics.
    pub model: u64,
    /// What the optimizer keeps beside the parameters.
    pub optimizer: u64,
    /// Gradients, and the memory of a batch in both passes.
    pub working: u64,
}

impl Memory {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.model.saturating_add(self.optimizer).saturating_add(self.working)
    }
}

impl Network {
    /// The memory that [`Network::build`] will allocate. Sums saturate.
    pub fn memory(
        plan: &Plan,
        objective: impl Into<Objective>,
        optimizer: Optimizer,
        max_batch: usize,
    ) -> Memory {
        let objective = objective.into();
        let params = plan.trainable_count();
        let layout = Layout::new(&program(plan), max_batch);
        let outputs = plan.output().len().saturating_mul(max_batch);
        let [x_flipped, outputs_flipped] = Flipped::floats(plan, max_batch);
        let working = [
            x_flipped,
            outputs_flipped,
            params,
            layout.arena,
            layout.kept,
            layout.gradient,
            layout.gradient,
            max_batch,
            if objective.loss.needs_targets() { outputs } else { 0 },
            PerSample::floats(plan, objective, optimizer, max_batch),
        ];
        let working = working.into_iter().map(bytes).fold(0, u64::saturating_add);
        Memory {
            model: bytes(params).saturating_add(bytes(plan.non_trainable_count())),
            optimizer: bytes(params).saturating_mul(optimizer.buffers().len() as u64),
            working: working.saturating_add(layout.winners as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::BackwardMemory;
    use super::*;
    use crate::nn::*;

    impl PerSample {
        fn taken(&self) -> u64 {
            self.buffers().map(|buffer| bytes(buffer.len())).iter().sum()
        }
    }

    impl Network {
        /// The memory that it has allocated.
        fn taken(&self) -> Memory {
            let Self { model, workspace, gradients, optimizer, per_sample, .. } = self;
            let of = |buffer: &Buffer| bytes(buffer.len());
            let BackwardMemory { params, dy, dx, losses, targets } = gradients;
            let working = [params, dy, dx, losses, targets, &workspace.arena, &workspace.kept];
            let flipped = workspace.flipped.iter().flat_map(|f| [&f.x, &f.outputs]);
            let per_sample = per_sample.iter().map(|p| p.taken()).sum::<u64>();
            Memory {
                model: of(&model.params) + of(&model.state),
                optimizer: optimizer.buffers.iter().map(|(_, buffer)| of(buffer)).sum(),
                working: working.into_iter().chain(flipped).map(of).sum::<u64>()
                    + workspace.winners.len() as u64
                    + per_sample,
            }
        }
    }

    #[test]
    fn it_takes_what_it_says() {
        let relu = Activation::Relu;
        let image = Shape::Image([12, 12, 1]);
        let convolutional = [
            conv2d(4, 3, Padding::Same, relu),
            batch_norm(),
            max_pool(2),
            dropout(0.2),
            flatten(),
            dense(7, relu),
            dense(10, Activation::Linear),
        ];
        let one_by_one = [dense(5, Activation::Sigmoid), dense(1, Activation::Linear)];
        let smooth = Objective { label_smoothing: 0.1, ..Loss::BinaryCrossEntropy.into() };
        let cases: [(Shape, &[Layer], Objective); 5] = [
            (image, &convolutional, Loss::SoftmaxCrossEntropy.into()),
            (Shape::Flat(9), &one_by_one, Loss::BinaryCrossEntropy.into()),
            (Shape::Flat(9), &one_by_one, smooth),
            (Shape::Flat(9), &one_by_one, Loss::MeanSquaredError.into()),
            (Shape::Rows([6, 3]), &[lstm(5), dense(2, relu)], Loss::MeanSquaredError.into()),
        ];
        let optimizers =
            [Optimizer::sgd(), Optimizer::rmsprop().with_momentum(0.5), Optimizer::adam()];
        for (shape, layers, objective) in cases {
            for optimizer in optimizers {
                for batch in [1, 33] {
                    let network =
                        Network::build(shape, layers, objective, optimizer, batch, 0).unwrap();
                    let said = Network::memory(network.plan(), objective, optimizer, batch);
                    assert_eq!(said, network.taken(), "{layers:?}, {optimizer}, {batch}");
                    assert!(said.total() > 0);
                }
            }
        }
        let mut plan = Plan::new(image, &convolutional).unwrap();
        plan.augment_tests(TestAugment::Flip).unwrap();
        let (loss, adam) = (Loss::SoftmaxCrossEntropy, Optimizer::adam());
        let said = Network::memory(&plan, loss, adam, 33);
        let network = Network::of(Model::of(plan, 0).unwrap(), loss, adam, 33).unwrap();
        assert_eq!(said, network.taken());
    }
}
