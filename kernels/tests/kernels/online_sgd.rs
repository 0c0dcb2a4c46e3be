//! Gradient descent after each sample against its twin, which takes one sample after the other.

use crate::common::{assert_close, labels, noise, run_everywhere, untouched};
use threadcount_kernels::online_sgd::{self, BLOCK, TwoProducts};
use threadcount_kernels::{Activation, Mat, naive};

/// Parameters, and what comes of them: `w1`, `b1`, `w2`, `b2`, losses, logits.
struct Run {
    tensors: [Vec<f32>; 6],
    activation: Activation,
}

impl Run {
    fn new(samples: usize, inputs: usize, hidden: usize, activation: Activation) -> Self {
        let w1 = noise(1, inputs * hidden).iter().map(|w| 0.2 * w).collect();
        let [b1, w2, b2] = [(2, hidden), (3, hidden), (4, 1)].map(|(seed, len)| noise(seed, len));
        Self { tensors: [w1, b1, w2, b2, untouched(samples), untouched(samples)], activation }
    }

    fn parts(&mut self) -> (TwoProducts<'_>, [&mut [f32]; 2]) {
        let activation = self.activation;
        let [w1, b1, w2, b2, losses, logits] = &mut self.tensors;
        (TwoProducts { w1, b1, w2, b2: &mut b2[0], activation }, [losses, logits])
    }
}

#[test]
fn the_same_steps_as_one_sample_after_the_other() {
    const RATE: f32 = 0.05;
    let sizes = [0, 1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5];
    for (inputs, hidden) in [(1, 1), (17, 12), (97, 32), (784, 12), (33, 16), (50, 17), (784, 32)] {
        for activation in [Activation::Sigmoid, Activation::Tanh, Activation::Relu] {
            for n in sizes {
                let images: Vec<f32> = noise(5, n * inputs).iter().map(|x| x.max(0.0)).collect();
                let (x, labels) = (Mat::new(&images, n, inputs), labels(6, n, 2));
                let mut expected = Run::new(n, inputs, hidden, activation);
                let (params, outputs) = expected.parts();
                naive::online_sgd::descend(params, RATE, x, &labels, outputs);
                let results = run_everywhere(|team| {
                    let mut run = Run::new(n, inputs, hidden, activation);
                    let mut scratch = untouched(online_sgd::scratch_len(hidden));
                    let (params, outputs) = run.parts();
                    online_sgd::descend(team, params, RATE, x, &labels, outputs, &mut scratch);
                    run.tensors.to_vec()
                });
                for (isa, tensors) in results {
                    let name = format!("{isa}, {n} of {inputs}-{hidden}, {activation:?}");
                    for (actual, expected) in tensors.iter().zip(&expected.tensors) {
                        assert_close(actual, expected, 2e-5, 2e-5, &name);
                    }
                }
            }
        }
    }
}

/// Labels other than 0 and 1 are a fault of the caller, as they are in the loss alone.
#[test]
#[should_panic(expected = "neither 0 nor 1")]
fn other_labels_are_refused() {
    let mut run = Run::new(1, 2, 3, Activation::Sigmoid);
    let mut scratch = untouched(online_sgd::scratch_len(3));
    let (params, outputs) = run.parts();
    let team = threadcount_kernels::Team::solo(threadcount_kernels::Isa::Portable);
    let x = [0.5, 0.5];
    let x = Mat::new(&x, 1, 2);
    online_sgd::descend(&team, params, 0.1, x, &[2], outputs, &mut scratch);
}
