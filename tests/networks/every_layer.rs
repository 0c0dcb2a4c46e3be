//! What every layer must keep, asked of every kind in [`KINDS`]: its gradients are those of its
//! output, it computes what its twin computes, a sample does not depend on the others, threads change
//! no bit, and its tensors have names of their own. (That its steps allocate nothing is asked in
//! `no_allocation.rs`, which counts for a whole process.)

use crate::common::slopes::{Case, Kinked, Smooth, case, check_all};
use std::collections::HashSet;
use threadcount::bench::noise;
use threadcount::nn::*;
use threadcount::oracle::{Batches, NaiveNetwork};
use threadcount_kernels::{Isa, Pool, Team};

const SOFTMAX: Loss = Loss::SoftmaxCrossEntropy;
const KEY: BatchKey = BatchKey { epoch: 2, first_sample: 7 };
const BATCH: usize = 9;

/// Every example of every kind, by name.
fn examples() -> Vec<(String, Example)> {
    let of = |kind: &Kind| {
        let name = kind.name;
        let examples = (kind.examples)().into_iter().enumerate();
        examples.map(move |(i, example)| (format!("{name} {i}"), example)).collect::<Vec<_>>()
    };
    KINDS.iter().flat_map(of).collect()
}

/// A network around the layer, so that it has to hand a gradient on to parameters below it, and gets
/// one that depends on everything that it gives.
fn around(example: &Example) -> Vec<Layer> {
    let Example { input, layer } = example.clone();
    let tanh = Activation::Tanh;
    let below = match input {
        Shape::Flat(n) => dense(n, tanh),
        Shape::Image([.., channels]) => conv2d(channels, 1, Padding::Same, tanh),
        Shape::Rows(_) => batch_norm(),
    };
    vec![below, layer, flatten(), dense(3, Activation::Linear)]
}

fn network(input: Shape, layers: &[Layer], optimizer: Optimizer) -> Network {
    Network::build(input, layers, SOFTMAX, optimizer, BATCH, 4).unwrap()
}

fn batch(input: Shape, n: usize) -> (Vec<f32>, Vec<u8>) {
    (noise(3, n * input.len()).to_vec(), (0..n).map(|i| (i * 5 % 3) as u8).collect())
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn every_kind_has_a_name_and_examples() {
    let names: HashSet<_> = KINDS.iter().map(|kind| kind.name).collect();
    assert_eq!(names.len(), KINDS.len());
    assert!(KINDS.is_sorted_by_key(|kind| kind.name));
    for kind in KINDS {
        assert!(!(kind.examples)().is_empty(), "{}", kind.name);
    }
}

#[test]
fn gradients_are_slopes_of_the_loss() {
    let cases: Vec<Case> = examples()
        .iter()
        .map(|(name, example)| {
            // A kink of the layer itself, or of its activation.
            let is_kinked = matches!(
                example.layer.activation(),
                Activation::Relu | Activation::LeakyRelu { .. }
            ) || example.layer.get()
                == Some(&Pool2d { pooling: Pooling::Max, size: 2 });
            let (surface, n) = if is_kinked { (Kinked, 2) } else { (Smooth, 5) };
            Case { n, ..case(name.clone(), example.input, &around(example), surface) }
        })
        .collect();
    check_all(&cases);
}

/// Inside a network and as its first layer, on every instruction set, alone and on three threads.
#[test]
fn a_layer_computes_what_its_twin_computes() {
    for (name, example) in examples() {
        let inside = around(&example);
        let (x, labels) = batch(example.input, BATCH);
        for layers in [&inside[..], &inside[1..]] {
            let start = network(example.input, layers, Optimizer::sgd().with_momentum(0.5));
            let batches = Batches { x: &x, targets: labels[..].into(), size: BATCH, key: KEY };
            let mut twin = NaiveNetwork::of(&start, 4).unwrap();
            let twins = [(); 3].map(|()| {
                twin.train_batch(&x, &labels, KEY);
                twin.clone()
            });
            let check = |team: &Team| {
                let mut network = start.clone();
                for twin in &twins {
                    twin.check_step(team, &mut network, batches, 2e-4)
                        .unwrap_or_else(|fault| panic!("{name}: {fault}"));
                }
            };
            Isa::detected().for_each(|isa| check(&Team::solo(isa)));
            Pool::new(Isa::best(), 3).unwrap().enter(check);
        }
    }
}

/// Evaluated one by one, samples give what they give together.
#[test]
fn a_sample_does_not_depend_on_the_others() {
    let team = Team::solo(Isa::best());
    for (name, example) in examples() {
        let mut network = network(example.input, &around(&example), Optimizer::sgd());
        let (x, labels) = batch(example.input, BATCH);
        // So that moving statistics are something else than 0 and 1.
        network.train_batch(&team, &x, &labels, KEY).unwrap();
        let mut together = vec![0.0; BATCH * 3];
        network.predict(&team, &x, &mut together).unwrap();
        for (x, together) in x.chunks(example.input.len()).zip(together.chunks(3)) {
            let mut alone = [0.0; 3];
            network.predict(&team, x, &mut alone).unwrap();
            for (alone, together) in alone.iter().zip(together) {
                assert!((alone - together).abs() < 1e-6, "{name}: {alone} alone, {together}");
            }
        }
    }
}

#[test]
fn threads_change_no_bit() {
    for (name, example) in examples() {
        let (x, labels) = batch(example.input, BATCH);
        let trained = |threads| {
            let mut network = network(example.input, &around(&example), Optimizer::adam());
            Pool::new(Isa::best(), threads).unwrap().enter(|team| {
                for _ in 0..3 {
                    network.train_batch(team, &x, &labels, KEY).unwrap();
                }
            });
            (bits(network.params()), bits(network.state()))
        };
        let one = trained(1);
        for threads in [2, 5] {
            assert!(trained(threads) == one, "{name} at {threads} threads");
        }
    }
}

/// A gradient that is stored and applied is the training step, so that it may go through other hands
/// in between.
#[test]
fn gradients_applied_are_the_step() {
    let team = Team::solo(Isa::best());
    for (name, example) in examples() {
        for optimizer in
            [Optimizer::sgd().with_momentum(0.9), Optimizer::rmsprop(), Optimizer::adam()]
        {
            let mut at_once = network(example.input, &around(&example), optimizer);
            let mut apart = at_once.clone();
            let (x, labels) = batch(example.input, BATCH);
            for _ in 0..3 {
                at_once.train_batch(&team, &x, &labels, KEY).unwrap();
                apart.gradients(&team, &x, &labels, KEY).unwrap();
                apart.apply_gradients(&team);
            }
            assert_eq!(bits(at_once.params()), bits(apart.params()), "{name}, {optimizer}");
            assert_eq!(at_once.optimizer_steps(), apart.optimizer_steps());
        }
    }
}

/// What is saved under its names and filled into a network of another seed makes it the same network.
#[test]
fn saved_and_filled_in_it_is_the_same() {
    let team = Team::solo(Isa::best());
    for (name, example) in examples() {
        let layers = around(&example);
        let mut old = network(example.input, &layers, Optimizer::adam());
        let (x, labels) = batch(example.input, BATCH);
        old.train_batch(&team, &x, &labels, KEY).unwrap();
        let mut new =
            Network::build(example.input, &layers, SOFTMAX, Optimizer::adam(), BATCH, 99).unwrap();
        assert_ne!(bits(old.params()), bits(new.params()), "{name}");
        for saved in [Saved::Model, Saved::Optimizer] {
            let tensors = old.tensors(saved);
            let names: HashSet<_> = tensors.iter().map(|tensor| &tensor.name).collect();
            assert_eq!(names.len(), tensors.len(), "{name}: names of their own");
            for tensor in new.tensors_mut(saved) {
                let from = tensors.iter().find(|from| from.name == tensor.name).unwrap();
                assert_eq!(from.shape, tensor.shape, "{name}: {}", tensor.name);
                tensor.data.copy_from_slice(from.data);
            }
        }
        new.set_optimizer_steps(old.optimizer_steps());
        assert_eq!(bits(old.params()), bits(new.params()), "{name}");
        assert_eq!(bits(old.state()), bits(new.state()), "{name}");
        // Dropout masks depend on the seed, so the layer with them is compared evaluating.
        let predictions = [&mut old, &mut new].map(|network| {
            let mut predictions = vec![0.0; BATCH * 3];
            network.predict(&team, &x, &mut predictions).unwrap();
            bits(&predictions)
        });
        assert_eq!(predictions[0], predictions[1], "{name}");
        let mut predictor = Predictor::new(new.into_model(), SOFTMAX, BATCH).unwrap();
        let mut alone = vec![0.0; BATCH * 3];
        predictor.predict(&team, &x, &mut alone).unwrap();
        assert_eq!(predictions[0], bits(&alone), "{name}: a predictor is the network");
    }
}
