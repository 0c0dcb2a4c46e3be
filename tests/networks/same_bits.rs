//! The same bits whatever the number of threads, however an epoch is cut into batches (as far as
//! dropout is concerned), and after going on from saved tensors.

use std::ops::Range;

use rand::RngExt;
use threadcount::nn::*;
use threadcount::random::{Key, Purpose};
use threadcount_kernels::{Isa, Pool, Team};

const RELU: Activation = Activation::Relu;
const LINEAR: Activation = Activation::Linear;
const SOFTMAX: Loss = Loss::SoftmaxCrossEntropy;

fn uniform(stream: u64, len: usize) -> Vec<f32> {
    let mut rng = Key::new(5, Purpose::Synthetic).with(stream).rng();
    (0..len).map(|_| rng.random()).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Parameters, moving statistics, losses and predictions after five steps, as bits.
fn trained(pool: &Pool, input: Shape, layers: &[Layer], optimizer: Optimizer) -> [Vec<u32>; 4] {
    const N: usize = 48;
    let mut network = Network::build(input, layers, SOFTMAX, optimizer, N, 9).unwrap();
    let width = network.plan().output().len();
    let x = uniform(0, N * input.len());
    let labels: Vec<u8> = (0..N).map(|i| (i * 3 % width) as u8).collect();
    let mut predictions = vec![0.0; N * width];
    let mut losses = Vec::new();
    pool.enter(|team| {
        for step in 0..5 {
            // The last batch of an epoch is shorter.
            let n = if step == 4 { 17 } else { N };
            let key = BatchKey { epoch: 1, first_sample: step * N as u64 };
            // A session may leave steps to the leader.
            let crew = if step == 2 { team.alone() } else { team };
            let result =
                network.train_batch(crew, &x[..n * input.len()], &labels[..n], key).unwrap();
            losses.push(result.loss_sum as f32);
        }
        losses.push(network.evaluate_batch(team, &x, &labels).unwrap().loss_sum as f32);
        network.predict(team, &x, &mut predictions).unwrap();
    });
    assert!(losses.iter().all(|loss| loss.is_finite()), "{losses:?}");
    [network.params(), network.state(), &losses, &predictions].map(bits)
}

fn same_at_any_thread_count(input: Shape, layers: &[Layer], optimizer: Optimizer) {
    for isa in Isa::detected() {
        let one = trained(&Pool::new(isa, 1).unwrap(), input, layers, optimizer);
        for threads in [2, 3, 4, 8] {
            let many = trained(&Pool::new(isa, threads).unwrap(), input, layers, optimizer);
            for (index, what) in
                ["parameters", "statistics", "losses", "predictions"].iter().enumerate()
            {
                let differ = one[index].iter().zip(&many[index]).filter(|(a, b)| a != b).count();
                let all = one[index].len();
                assert_eq!(differ, 0, "{what}: of {all} on {isa} at {threads} threads");
            }
        }
    }
}

#[test]
fn mlp() {
    let layers = [dense(150, RELU), dense(40, Activation::Sigmoid), dense(10, LINEAR)];
    same_at_any_thread_count(Shape::Flat(784), &layers, Optimizer::adam());
}

#[test]
fn softmax_regression() {
    let optimizer = Optimizer::sgd().with_momentum(0.9);
    same_at_any_thread_count(Shape::Flat(784), &[dense(10, LINEAR)], optimizer);
}

#[test]
fn convolutions_with_norm_and_dropout() {
    let conv = |filters| conv2d(filters, 3, Padding::Valid, LINEAR);
    let layers = [
        conv(32),
        leaky_relu(0.1),
        batch_norm(),
        max_pool(2),
        conv(64),
        leaky_relu(0.1),
        batch_norm(),
        max_pool(2),
        conv(64),
        leaky_relu(0.1),
        batch_norm(),
        flatten(),
        dense(64, Activation::LeakyRelu { slope: 0.1 }),
        dropout(0.3),
        dense(10, LINEAR),
    ];
    same_at_any_thread_count(Shape::Image([28, 28, 1]), &layers, Optimizer::adam());
}

#[test]
fn padded_convolutions_and_average_pooling() {
    let layers = [
        conv2d(20, 3, Padding::Same, RELU),
        dropout(0.2),
        average_pool(2),
        conv2d(9, 3, Padding::Same, RELU),
        max_pool(2),
        flatten(),
        dense(10, LINEAR),
    ];
    let optimizer = Optimizer::rmsprop().with_momentum(0.9);
    same_at_any_thread_count(Shape::Image([28, 28, 1]), &layers, optimizer);
}

#[test]
fn recurrent_with_dropout() {
    let rows = Shape::Rows([28, 28]);
    let layers = [lstm(64), dropout(0.25), dense(10, LINEAR)];
    same_at_any_thread_count(rows, &layers, Optimizer::adam());
    let layers = [simple_rnn(50), dropout(0.25), dense(10, LINEAR)];
    same_at_any_thread_count(rows, &layers, Optimizer::rmsprop());
}

/// A mask belongs to the sample's place in the epoch, so the halves of a batch, each under its own
/// key, see the masks that the whole batch sees. Nothing else couples the samples of this network,
/// so the gradients of the halves add up to twice that of the whole.
#[test]
fn dropout_does_not_see_batch_boundaries() {
    let team = Team::solo(Isa::best());
    let layers = [dense(32, Activation::Tanh), dropout(0.5), dense(4, LINEAR)];
    let input = Shape::Flat(8);
    let (x, labels) = (uniform(1, 12 * 8), [0, 1, 2, 3, 1, 2, 3, 0, 2, 3, 0, 1]);
    let mut network = Network::build(input, &layers, SOFTMAX, Optimizer::sgd(), 12, 1).unwrap();
    let mut gradient = |range: Range<usize>| {
        let key = BatchKey { epoch: 2, first_sample: 100 + range.start as u64 };
        let (x, labels) = (&x[range.start * 8..range.end * 8], &labels[range]);
        network.gradients(&team, x, labels, key).unwrap();
        network.grads().to_vec()
    };
    let (whole, first, second) = (gradient(0..12), gradient(0..6), gradient(6..12));
    for ((whole, first), second) in whole.iter().zip(&first).zip(&second) {
        // Three sums of at most twelve terms below 1, rounded to f32.
        assert!((2.0 * whole - first - second).abs() < 4e-6, "{whole} {first} {second}");
    }
}

#[test]
fn epochs_seeds_and_layers_have_masks_of_their_own() {
    let team = Team::solo(Isa::best());
    let layers = [flatten(), dense(64, RELU), dropout(0.5), dense(4, LINEAR)];
    let (x, labels) = (uniform(2, 4 * 8), [0, 1, 2, 3]);
    let loss = |layers, seed, epoch| {
        let optimizer = Optimizer::sgd();
        let mut network =
            Network::build(Shape::Flat(8), layers, SOFTMAX, optimizer, 4, seed).unwrap();
        // The same weights, so that only the masks differ.
        network.params_mut().copy_from_slice(&uniform(3, 8 * 64 + 64 + 64 * 4 + 4));
        let key = BatchKey { epoch, first_sample: 0 };
        network.gradients(&team, &x, &labels, key).unwrap().loss_sum
    };
    assert_eq!(loss(&layers, 1, 1), loss(&layers, 1, 1));
    assert_ne!(loss(&layers, 1, 1), loss(&layers, 1, 2));
    assert_ne!(loss(&layers, 1, 1), loss(&layers, 2, 1));
    // Without the flatten, which does nothing here, the dropout is another layer of the network.
    assert_ne!(loss(&layers, 1, 1), loss(&layers[1..], 1, 1));
}

/// A network that goes on from saved tensors ends with the same bits as one that never stopped.
#[test]
fn resumed_from_tensors() {
    let team = Team::solo(Isa::best());
    let layers = [dense(20, RELU), batch_norm(), dropout(0.3), dense(4, LINEAR)];
    let (x, labels) = (uniform(4, 16 * 8), [0, 1, 2, 3].repeat(4));
    let optimizers = [
        Optimizer::sgd().with_momentum(0.9),
        Optimizer::rmsprop().with_momentum(0.5),
        Optimizer::adam(),
    ];
    for optimizer in optimizers {
        let build = || Network::build(Shape::Flat(8), &layers, SOFTMAX, optimizer, 16, 7).unwrap();
        let step = |network: &mut Network, epoch| {
            network.train_batch(&team, &x, &labels, BatchKey { epoch, first_sample: 0 }).unwrap();
        };
        let mut straight = build();
        (0..3).for_each(|epoch| step(&mut straight, epoch));

        let mut resumed = build();
        for saved in [Saved::Model, Saved::Optimizer] {
            let tensors = straight.tensors(saved);
            assert!(!tensors.is_empty());
            for (from, to) in tensors.iter().zip(resumed.tensors_mut(saved)) {
                assert_eq!((&from.name, from.shape), (&to.name, to.shape));
                to.data.copy_from_slice(from.data);
            }
        }
        resumed.set_optimizer_steps(straight.optimizer_steps());
        for epoch in 3..6 {
            step(&mut straight, epoch);
            step(&mut resumed, epoch);
        }
        assert_eq!(bits(straight.params()), bits(resumed.params()), "{optimizer}");
        assert_eq!(bits(straight.state()), bits(resumed.state()), "{optimizer}");
    }
}
