//! Networks compute what their plain-loop twins compute, layer by layer: every recipe, at its own
//! batch size, on every instruction set, on one thread and on several.

use threadcount::bench::noise;
use threadcount::nn::*;
use threadcount::oracle::{NaiveNetwork, same_loss};
use threadcount::reports::{self, Recipe, SIDE};
use threadcount::train::EVALUATION_BATCH;
use threadcount_kernels::{Isa, Pool, Team};

/// Chance could fail a comparison once in thirty ([`NaiveNetwork::agrees_with`] says how). It does not with
/// this seed, on any instruction set: all of them have recorded bits.
const SEED: u64 = 2;
/// Of the way that each tensor goes. The most that any does is 8e-4, and nearly all stay below 3e-5.
const TOLERANCE: f64 = 2e-3;

/// What a network trains on: a batch of a recipe, or of something that no recipe has.
struct Case {
    name: String,
    input: Shape,
    layers: Vec<Layer>,
    loss: Loss,
    optimizer: Optimizer,
    batch: usize,
}

impl Case {
    fn of(recipe: &Recipe) -> Self {
        let task = recipe.task.clone();
        Self {
            name: recipe.id.to_string(),
            input: task.input.shape(SIDE, SIDE),
            layers: task.layers,
            loss: task.loss,
            optimizer: task.optimizer,
            batch: task.batch_size,
        }
    }

    fn build(&self, seed: u64) -> Network {
        let Self { input, layers, loss, optimizer, batch, .. } = self;
        let largest = EVALUATION_BATCH.max(*batch);
        Network::build(*input, layers, *loss, *optimizer, largest, seed).unwrap()
    }

    /// `n` images and labels: like those of Fashion-MNIST, half of an image is black.
    fn samples(&self, step: usize, n: usize) -> (Vec<f32>, Vec<u8>) {
        let pixels = noise(step as u32 + 1, n * self.input.len());
        let classes = match self.loss {
            Loss::BinaryCrossEntropy => 2,
            _ => self.build(0).plan().output().len(),
        };
        let labels = (0..n).map(|i| ((i * 7 + step) % classes) as u8).collect();
        (pixels.iter().map(|x| x.max(0.0)).collect(), labels)
    }

    fn check(&self) {
        if let Err(fault) = self.compare(SEED) {
            panic!("{}, {fault}", self.name);
        }
    }

    /// Trains both for some steps, the network on every team.
    fn compare(&self, seed: u64) -> Result<(), String> {
        let start = self.build(seed);
        let mut twin = NaiveNetwork::of(&start, seed).unwrap();
        // As many as a session trains on at once. The last ones are fewer, as those of an epoch are.
        let most = self.batch * start.steps_at_once(self.batch);
        let calls = [most, most, most.div_ceil(2)];
        let (mut batches, mut first_sample) = (Vec::new(), 0);
        for (step, n) in calls.into_iter().enumerate() {
            let (x, labels) = self.samples(step, n);
            let key = BatchKey { epoch: 1, first_sample };
            first_sample += n as u64;
            let expected = twin.train_steps(&x, &labels, self.batch, key);
            batches.push((x, labels, key, expected));
        }
        let check = |team: &Team| {
            let mut network = start.clone();
            for (step, (x, labels, key, expected)) in batches.iter().enumerate() {
                let result = network.train_steps(team, x, labels, self.batch, *key).unwrap();
                same_loss(result, *expected).map_err(|fault| format!("step {step}: {fault}"))?;
            }
            twin.agrees_with(&network, TOLERANCE)
        };
        for isa in Isa::detected() {
            check(&Team::solo(isa)).map_err(|fault| format!("{isa}: {fault}"))?;
        }
        Pool::new(Isa::best(), 3).unwrap().enter(check)
    }
}

#[test]
fn every_recipe_is_its_twin() {
    for recipe in reports::select(&[]).unwrap() {
        Case::of(&recipe).check();
    }
}

/// Layers, losses and rules that no recipe has at the moment.
#[test]
fn so_is_what_no_recipe_uses() {
    let linear = |units| dense(units, Activation::Linear);
    let conv = conv2d(5, 3, Padding::Same, Activation::Tanh);
    let image = Shape::Image([9, 7, 2]);
    let momentum = Optimizer::sgd().with_momentum(0.9);
    let rmsprop = Optimizer::rmsprop().with_momentum(0.5);
    let cases: [(Shape, Vec<Layer>, Loss, Optimizer); 4] = [
        (
            image,
            vec![conv, average_pool(2), dropout(0.3), flatten(), linear(3)],
            Loss::SoftmaxCrossEntropy,
            momentum,
        ),
        (
            image,
            vec![max_pool(2), batch_norm(), leaky_relu(0.2), flatten(), linear(1)],
            Loss::BinaryCrossEntropy,
            rmsprop,
        ),
        (
            Shape::Rows([6, 5]),
            vec![simple_rnn(8), linear(4)],
            Loss::MeanSquaredError,
            Optimizer::rmsprop(),
        ),
        (Shape::Flat(11), vec![batch_norm(), linear(2)], Loss::MeanSquaredError, momentum),
    ];
    for (number, (input, layers, loss, optimizer)) in cases.into_iter().enumerate() {
        let name = format!("case {number}");
        Case { name, input, layers, loss, optimizer, batch: 13 }.check();
    }
}

#[test]
fn a_difference_shows() {
    let recipe = reports::recipe("biu-base").unwrap();
    let case = Case { batch: 8, ..Case::of(&recipe) };
    let (mut network, team) = (case.build(SEED), Team::solo(Isa::best()));
    let mut twin = NaiveNetwork::of(&network, SEED).unwrap();
    let (x, labels) = case.samples(0, 8);
    let key = BatchKey { epoch: 0, first_sample: 0 };
    let expected = twin.train_batch(&x, &labels, key);
    let result = network.train_batch(&team, &x, &labels, key).unwrap();
    assert_eq!(same_loss(result, expected), Ok(()));
    assert_eq!(twin.agrees_with(&network, TOLERANCE), Ok(()));

    let last = network.params().len() - 1;
    let before = network.params()[last];
    network.params_mut()[last] *= 1.1;
    assert!(twin.agrees_with(&network, TOLERANCE).unwrap_err().starts_with("dense_1/bias ended "));
    network.params_mut()[last] = f32::NAN;
    assert!(twin.agrees_with(&network, TOLERANCE).is_err());
    network.params_mut()[last] = before;
    let wrong = BatchResult { loss_sum: result.loss_sum * 1.01, ..result };
    assert!(same_loss(wrong, expected).is_err());
}
