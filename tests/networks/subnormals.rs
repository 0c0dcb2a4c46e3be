//! No training leaves subnormal numbers behind, however long its weights have been dying: a narrow
//! version of every recipe.

use threadcount::nn::*;
use threadcount::reports;
use threadcount_kernels::{Isa, Pool};

/// Steps after which a momentum of 0.9 has fallen from 1 to 1e-45, and some.
const STEPS: usize = 1_200;
/// Steps in which rare pixels are lit.
const LIT: usize = 8;
const BATCH: usize = 4;
const SIDE: usize = 12;
/// Samples per label: the network learns them until nothing is left of their gradients.
const SAMPLES: usize = 8;

/// At most four units or filters, so that a thousand steps take no time; the last layer as it is.
fn narrow(layers: &[Layer]) -> Vec<Layer> {
    let mut layers = layers.to_vec();
    let last = layers.len() - 1;
    for layer in &mut layers[..last] {
        if let Some(&Dense { units: Units::Number(units), activation }) = layer.get() {
            *layer = dense(units.min(4), activation);
        } else if let Some(&Lstm { units }) = layer.get() {
            *layer = lstm(units.min(4));
        } else if let Some(&SimpleRnn { units }) = layer.get() {
            *layer = simple_rnn(units.min(4));
        } else if let Some(&Conv2d { filters, kernel, activation, .. }) = layer.get() {
            *layer = conv2d(filters.min(4), kernel, Padding::Same, activation);
        }
    }
    layers
}

/// Images whose border is always black, whose first inner line is lit in the first steps alone, and
/// whose other lines tell the label.
fn image(sample: usize, classes: usize, is_lit: bool) -> Vec<f32> {
    let label = sample % classes;
    let mut image = vec![0.0; SIDE * SIDE];
    for row in 1..SIDE - 1 {
        for col in 1..SIDE - 1 {
            let shade = ((row * 31 + col * 17 + label * 101 + label * row * 7) % 11) as f32 / 11.0;
            image[row * SIDE + col] = if row > 1 || is_lit { shade } else { 0.0 };
        }
    }
    image
}

#[track_caller]
fn assert_none<'a>(what: &str, tensors: impl IntoIterator<Item = (String, &'a [f32])>) {
    for (name, data) in tensors {
        let count = data.iter().filter(|x| x.is_subnormal()).count();
        assert_eq!(count, 0, "{what}: {name} has {count} of {} subnormal", data.len());
        assert!(data.iter().all(|x| x.is_finite()), "{what}: {name}");
    }
}

#[test]
fn no_recipe_leaves_any() {
    let recipes = reports::recipes();
    assert!(recipes.len() >= 14);
    let pools: Vec<Pool> = Isa::detected().map(|isa| Pool::new(isa, 1).unwrap()).collect();
    for recipe in &recipes {
        let task = &recipe.task;
        let plan = recipe.plan().unwrap();
        let classes = match task.loss {
            Loss::BinaryCrossEntropy => 2,
            _ => plan.output().len(),
        };
        let optimizers = [
            task.optimizer,
            Optimizer::sgd().with_momentum(0.9),
            Optimizer::rmsprop().with_momentum(0.9),
            Optimizer::adam(),
        ];
        // The recipe's own; every other rule for recipes of one batch a step.
        let optimizers = &optimizers[..if task.batch_size == 1 { 1 } else { 4 }];
        for (pool, &optimizer) in pools.iter().flat_map(|p| optimizers.iter().map(move |o| (p, o)))
        {
            let what = format!("{} with {} on {}", recipe.id, optimizer.name(), pool.isa());
            let (input, layers) = (task.input.shape(SIDE, SIDE), narrow(&task.layers));
            let mut network =
                Network::build(input, &layers, task.loss, optimizer, BATCH, 3).unwrap();
            pool.enter(|team| {
                for step in 0..STEPS {
                    let samples = (0..BATCH).map(|i| (step * BATCH + i) % SAMPLES);
                    let labels: Vec<u8> = samples.clone().map(|i| (i % classes) as u8).collect();
                    let x: Vec<f32> = samples.flat_map(|i| image(i, classes, step < LIT)).collect();
                    let key = BatchKey { epoch: 0, first_sample: (step * BATCH) as u64 };
                    let size = task.batch_size.min(BATCH);
                    network.train_steps(team, &x, &labels, size, key).unwrap();
                    if step % 100 == 99 {
                        // Late in the decay of what the optimizer remembers, too.
                        check(&what, &network);
                    }
                }
                let x: Vec<f32> = (0..BATCH).flat_map(|i| image(i, classes, false)).collect();
                let labels: Vec<u8> = (0..BATCH).map(|i| (i % classes) as u8).collect();
                let key = BatchKey { epoch: 1, first_sample: 0 };
                network.gradients(team, &x, &labels, key).unwrap();
                assert_none(&what, [("gradients".to_owned(), network.grads())]);
            });
        }
    }
}

fn check(what: &str, network: &Network) {
    for saved in [Saved::Model, Saved::Optimizer] {
        let tensors = network.tensors(saved);
        assert_none(what, tensors.into_iter().map(|tensor| (tensor.name, tensor.data)));
    }
}

/// The number of steps is read from a checkpoint, where it can be anything.
#[test]
fn the_largest_number_of_steps_is_counted_no_further() {
    let pool = Pool::new(Isa::best(), 1).unwrap();
    let layers = [dense(2, Activation::Linear)];
    for optimizer in [Optimizer::sgd(), Optimizer::rmsprop(), Optimizer::adam()] {
        let loss = Loss::SoftmaxCrossEntropy;
        let mut network = Network::build(Shape::Flat(3), &layers, loss, optimizer, 1, 1).unwrap();
        network.set_optimizer_steps(u64::MAX - 1);
        let before = network.params().to_vec();
        pool.enter(|team| {
            for step in 0..3 {
                let key = BatchKey { epoch: 0, first_sample: step };
                network.train_batch(team, &[0.1, 0.2, 0.3], &[1], key).unwrap();
            }
        });
        assert_eq!(network.optimizer_steps(), u64::MAX);
        assert!(network.params().iter().all(|w| w.is_finite()));
        assert_ne!(network.params(), before);
    }
}
