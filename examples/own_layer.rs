//! A layer that the library does not have: squares. Its gradients are checked against differences of
//! the loss, as every layer's should be.
//!
//! ```sh
//! cargo run --release --no-default-features --example own_layer
//! ```

use threadcount::Result;
use threadcount::kernels::{Isa, Team};
use threadcount::nn::{
    Activation, Backward, BatchKey, Buffers, Forward, Initializer, InputGradient, Layer, LayerKind,
    LayerPlan, Loss, Network, Optimizer, Shape, TensorPlan, dense,
};

/// `y = scale x^2`, with a scale for each feature that is learnt.
#[derive(Clone, Copy, Debug)]
struct Square;

impl LayerKind for Square {
    fn names(&self) -> (&'static str, &'static str) {
        ("Square", "square")
    }

    fn plan(&self, input: Shape) -> Result<LayerPlan> {
        let scale = TensorPlan::new("scale", &[input.len()], Initializer::Ones);
        Ok(LayerPlan {
            params: vec![scale],
            input_gradient: InputGradient::Optional,
            ..LayerPlan::new(input, Buffers::Apart)
        })
    }

    fn forward(&self, pass: Forward<'_>) {
        let features = pass.input.len();
        for (x, y) in pass.x.chunks_exact(features).zip(pass.y.chunks_exact_mut(features)) {
            for ((y, x), scale) in y.iter_mut().zip(x).zip(pass.params) {
                *y = scale * x * x;
            }
        }
    }

    fn backward(&self, pass: Backward<'_>) {
        let features = pass.input.len();
        let samples = || pass.x.chunks_exact(features).zip(pass.dy.chunks_exact(features));
        pass.grads.fill(0.0);
        for (x, dy) in samples() {
            for ((sum, x), dy) in pass.grads.iter_mut().zip(x).zip(dy) {
                *sum += dy * x * x;
            }
        }
        let Some(dx) = pass.dx else { return };
        for (dx, (x, dy)) in dx.chunks_exact_mut(features).zip(samples()) {
            for (((dx, x), dy), scale) in dx.iter_mut().zip(x).zip(dy).zip(&*pass.params) {
                *dx = dy * scale * 2.0 * x;
            }
        }
    }
}

fn main() -> Result<()> {
    let layers = [dense(8, Activation::Tanh), Layer::new(Square), dense(2, Activation::Linear)];
    let (shape, loss) = (Shape::Flat(3), Loss::SoftmaxCrossEntropy);
    let mut network = Network::build(shape, &layers, loss, Optimizer::adam(), 4, 1)?;
    let team = Team::solo(Isa::best());
    let x = [0.3, -0.2, 0.9, 0.1, 0.5, -0.7, -0.4, 0.8, 0.2, 0.6, -0.9, 0.0];
    let (labels, key) = ([0_u8, 1, 1, 0], BatchKey { epoch: 0, first_sample: 0 });

    network.gradients(&team, &x, &labels, key)?;
    let gradients = network.grads().to_vec();
    let mut worst: f64 = 0.0;
    for (i, gradient) in gradients.iter().enumerate() {
        let mut loss_at = |step: f32| -> Result<f64> {
            let before = network.params()[i];
            network.params_mut()[i] = before + step;
            let loss = network.evaluate_batch(&team, &x, &labels)?.loss();
            network.params_mut()[i] = before;
            Ok(loss)
        };
        let slope = (loss_at(0.01)? - loss_at(-0.01)?) / 0.02;
        worst = worst.max((slope - f64::from(*gradient)).abs());
    }
    println!("{} gradients, at most {worst:.1e} from the slope of the loss", gradients.len());
    assert!(worst < 1e-4);
    Ok(())
}
