//! Frozen layers: not a bit of them moves, whatever trains; what learns above and below them gets the
//! gradients of the naive twin; and what is below the lowest layer that learns does no work.

use threadcount::bench::noise;
use threadcount::nn::*;
use threadcount::oracle::{Batches, NaiveNetwork};
use threadcount::{Error, Result};
use threadcount_kernels::{Isa, Pool, Team};

const KEY: BatchKey = BatchKey { epoch: 2, first_sample: 7 };
const BATCH: usize = 9;
const IMAGE: Shape = Shape::Image([10, 9, 1]);

/// Every kind of layer with parameters that stands before a dense one, a fused pool among them.
fn layers() -> Vec<Layer> {
    let relu = Activation::Relu;
    vec![
        conv2d(4, 3, Padding::Same, relu),
        dropout(0.2),
        max_pool(2),
        batch_norm(),
        conv2d(3, 3, Padding::Valid, Activation::Tanh),
        layer_norm(),
        flatten(),
        dense(6, relu),
        batch_norm(),
        dense(3, Activation::Linear),
    ]
}

const NAMES: [&str; 7] = [
    "conv2d",
    "batch_normalization",
    "conv2d_1",
    "layer_normalization",
    "dense",
    "batch_normalization_1",
    "dense_1",
];

fn optimizers() -> [Optimizer; 5] {
    let momentum = Optimizer::sgd().with_momentum(0.5);
    [Optimizer::sgd(), momentum, Optimizer::rmsprop(), Optimizer::adam(), Optimizer::adamw()]
}

fn named(names: &[&str]) -> Freeze {
    Freeze::Layers(names.iter().map(|&name| name.to_owned()).collect())
}

fn plan(input: Shape, layers: &[Layer], freeze: &Freeze) -> Result<Plan> {
    let mut plan = Plan::new(input, layers)?;
    plan.freeze(freeze)?;
    Ok(plan)
}

fn network(freeze: &Freeze, optimizer: Optimizer) -> Network {
    let model = Model::of(plan(IMAGE, &layers(), freeze).unwrap(), 4).unwrap();
    Network::of(model, Loss::SoftmaxCrossEntropy, optimizer, BATCH).unwrap()
}

/// One whose weights are pulled towards zero and whose gradients are clipped.
fn pulled(freeze: &Freeze, optimizer: Optimizer) -> Network {
    let model = Model::of(plan(IMAGE, &layers(), freeze).unwrap(), 4).unwrap();
    let objective = Objective { loss: Loss::SoftmaxCrossEntropy, label_smoothing: 0.1, l2: 0.01 };
    let mut network = Network::of(model, objective, optimizer, BATCH).unwrap();
    network.clip_gradients(Some(0.1)).unwrap();
    network
}

fn batch() -> (Vec<f32>, Vec<u8>) {
    (noise(3, BATCH * IMAGE.len()).to_vec(), (0..BATCH).map(|i| (i * 5 % 3) as u8).collect())
}

/// The bits of every tensor, by the name of its layer.
fn tensors(network: &Network) -> Vec<(String, Vec<u32>)> {
    let of = |tensor: TensorRef<'_>| {
        let layer = tensor.name.split('/').next().unwrap().to_owned();
        (layer, tensor.data.iter().map(|x| x.to_bits()).collect())
    };
    network.tensors(Saved::Model).into_iter().map(of).collect()
}

/// Each layer alone, and sets of them: what is frozen keeps all of its bits, all other tensors move,
/// in whichever way steps are made.
#[test]
fn what_is_frozen_stays_and_everything_else_moves() {
    let (x, labels) = batch();
    let mut sets: Vec<Vec<&str>> = NAMES.iter().map(|&name| vec![name]).collect();
    sets.push(NAMES[..4].to_vec());
    sets.push(NAMES[..6].to_vec());
    sets.push(vec![NAMES[0], NAMES[3], NAMES[5]]);
    for set in &sets {
        for optimizer in optimizers() {
            for (in_two_calls, is_pulled) in
                [(false, false), (true, false), (false, true), (true, true)]
            {
                let make = if is_pulled { pulled } else { network };
                let mut network = make(&named(set), optimizer);
                let before = tensors(&network);
                Pool::new(Isa::best(), 2).unwrap().enter(|team| {
                    for _ in 0..3 {
                        if in_two_calls {
                            network.gradients(team, &x, &labels, KEY).unwrap();
                            network.apply_gradients(team);
                        } else {
                            network.train_batch(team, &x, &labels, KEY).unwrap();
                        }
                    }
                });
                for ((layer, was), (_, is)) in before.iter().zip(tensors(&network)) {
                    let stays = set.contains(&layer.as_str());
                    assert_eq!(*was == is, stays, "{set:?}, {optimizer}: {layer}");
                }
                if in_two_calls {
                    let plan = network.plan();
                    for tensor in plan.params() {
                        let layer = tensor.name.split('/').next().unwrap();
                        let zero = network.grads()[tensor.range.clone()].iter().all(|&g| g == 0.0);
                        assert_eq!(zero, set.contains(&layer), "{set:?}: gradient of {layer}");
                    }
                }
            }
        }
    }
}

/// The twin knows nothing of what is left out: it computes all gradients, and moves what learns.
#[test]
fn what_learns_learns_what_the_twin_learns() {
    let (x, labels) = batch();
    let batches = Batches { x: &x, targets: labels[..].into(), size: BATCH, key: KEY };
    for freeze in [
        Freeze::First(1),
        Freeze::First(2),
        Freeze::First(5),
        named(&["batch_normalization*"]),
        named(&["conv2d_1", "dense"]),
        named(&["dense_1"]),
    ] {
        for make in [network, pulled] {
            let start = make(&freeze, Optimizer::sgd().with_momentum(0.5));
            // Statistics that are something else than 0 and 1.
            let mut start = start;
            start.state_mut().iter_mut().enumerate().for_each(|(i, x)| *x += 0.1 * (i % 5) as f32);
            let mut twin = NaiveNetwork::of(&start, 4).unwrap();
            twin.train_batch(&x, &labels, KEY);
            let check = |team: &Team| {
                let mut network = start.clone();
                twin.check_step(team, &mut network, batches, 2e-4)
                    .unwrap_or_else(|fault| panic!("{freeze:?}: {fault}"));
            };
            Isa::detected().for_each(|isa| check(&Team::solo(isa)));
            Pool::new(Isa::best(), 3).unwrap().enter(check);
        }
    }
}

/// A frozen layer with moving statistics gives in training what it gives in evaluation; one that learns
/// does not.
#[test]
fn frozen_statistics_are_used_in_training() {
    let team = Team::solo(Isa::best());
    let (x, labels) = batch();
    let layers = [batch_norm(), flatten(), dense(3, Activation::Linear)];
    for (freeze, is_same) in [(named(&["batch_normalization"]), true), (Freeze::default(), false)] {
        let model = Model::of(plan(IMAGE, &layers, &freeze).unwrap(), 4).unwrap();
        let loss = Loss::SoftmaxCrossEntropy;
        let mut network = Network::of(model, loss, Optimizer::sgd(), BATCH).unwrap();
        network.state_mut().copy_from_slice(&[0.25, 2.0]);
        let evaluated = network.evaluate_batch(&team, &x, &labels).unwrap();
        let trained = network.gradients(&team, &x, &labels, KEY).unwrap();
        assert_eq!(evaluated.loss_sum == trained.loss_sum, is_same, "{freeze:?}");
    }
}

/// Below the lowest layer that learns nothing is done on the way back.
#[test]
fn no_backward_work_below_the_lowest_layer_that_learns() {
    let team = Team::solo(Isa::best());
    let (x, labels) = batch();
    // Layers of the plan, by their number.
    for (freeze, lowest) in [(Freeze::default(), 0), (Freeze::First(1), 3), (Freeze::First(5), 8)] {
        let mut network = network(&freeze, Optimizer::adam());
        network.time_laps();
        network.train_batch(&team, &x, &labels, KEY).unwrap();
        let laps = network.laps().unwrap();
        let parts: Vec<Part> = laps
            .parts()
            .iter()
            .filter(|(_, seconds)| *seconds > 0.0)
            .map(|(part, _)| *part)
            .collect();
        let backward = parts.iter().filter_map(|part| match part {
            Part::Backward(layer) => Some(*layer),
            _ => None,
        });
        assert_eq!(backward.min(), Some(lowest), "{freeze:?}: {parts:?}");
    }
}

/// Batches of one sample go the plain way then.
#[test]
fn with_batches_of_one_sample_too() {
    let team = Team::solo(Isa::best());
    let layers = [dense(5, Activation::Sigmoid), dense(1, Activation::Linear)];
    let x = noise(1, 16 * 7);
    let labels: Vec<u8> = (0..16).map(|i| i % 2).collect();
    let one_by_one = |freeze: &Freeze| {
        let model = Model::of(plan(Shape::Flat(7), &layers, freeze).unwrap(), 4).unwrap();
        Network::of(model, Loss::BinaryCrossEntropy, Optimizer::sgd(), 16).unwrap()
    };
    assert!(one_by_one(&Freeze::default()).steps_at_once(1) > 1);
    for frozen in ["dense", "dense_1"] {
        let mut network = one_by_one(&named(&[frozen]));
        assert_eq!(network.steps_at_once(1), 1);
        let before = tensors(&network);
        for i in 0..16 {
            let x = &x[i * 7..][..7];
            network.train_steps(&team, x, &labels[i..=i], 1, KEY).unwrap();
        }
        for ((layer, was), (_, is)) in before.iter().zip(tensors(&network)) {
            assert_eq!(*was == is, layer == frozen, "{frozen}: {layer}");
        }
    }
}

#[test]
fn what_cannot_be_frozen_is_refused() {
    let fault = |freeze: &str| match plan(IMAGE, &layers(), &freeze.parse().unwrap()) {
        Err(Error::Setting { name: "freeze", fault }) => fault,
        other => panic!("{freeze}: {other:?}"),
    };
    assert!(fault("conv2d_2").contains("did you mean 'conv2d_1'?"), "{}", fault("conv2d_2"));
    assert!(fault("densse*").contains("did you mean 'dense'?"), "{}", fault("densse*"));
    assert!(fault("conv2d,,dense").contains("no layer is called ''"));
    assert_eq!(fault("flatten"), "'flatten' has no parameters");
    assert!(fault("8").contains("7 layers with parameters, fewer than 8"), "{}", fault("8"));
    for all in ["7", "*", "conv*,batch*,layer*,dense*"] {
        assert_eq!(fault(all), "no layer is left that learns");
    }
    let frozen = |freeze: &str| {
        let plan = plan(IMAGE, &layers(), &freeze.parse().unwrap()).unwrap();
        let frozen = plan.layers().iter().filter(|layer| layer.frozen);
        frozen.map(|layer| layer.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(frozen("0"), Vec::<String>::new());
    assert_eq!(frozen("3"), NAMES[..3]);
    assert_eq!(frozen(" conv2d*, dense "), ["conv2d", "conv2d_1", "dense"]);
    assert_eq!(frozen("dense"), ["dense"]);
}
