//! Training against traces that JAX computed in float64 from the same weights and samples:
//! `tests/golden` holds them, the script that made them, and the tolerances, which are at least ten
//! times what float32 costs in that script itself.

use crate::common::golden::{self, Case, Traces};
use threadcount::nn::*;
use threadcount_kernels::{Isa, Pool};

fn activation(activation: golden::Activation) -> Activation {
    match activation {
        golden::Activation::Linear => Activation::Linear,
        golden::Activation::Relu => Activation::Relu,
        golden::Activation::Sigmoid => Activation::Sigmoid,
        golden::Activation::Tanh => Activation::Tanh,
    }
}

fn layer(layer: &golden::Layer) -> Layer {
    match *layer {
        golden::Layer::Dense { units, activation: act } => dense(units, activation(act)),
        golden::Layer::Conv2d { filters, kernel, padding, activation: act } => {
            let padding = match padding {
                golden::Padding::Valid => Padding::Valid,
                golden::Padding::Same => Padding::Same,
            };
            conv2d(filters, kernel, padding, activation(act))
        }
        golden::Layer::LeakyRelu { slope } => leaky_relu(slope),
        golden::Layer::BatchNorm { momentum, epsilon } => BatchNorm { momentum, epsilon }.into(),
        golden::Layer::MaxPool { size } => max_pool(size),
        golden::Layer::AveragePool { size } => average_pool(size),
        golden::Layer::Flatten => flatten(),
        golden::Layer::SimpleRnn { units } => simple_rnn(units),
        golden::Layer::Lstm { units } => lstm(units),
    }
}

fn network(case: &Case) -> Network {
    let input = match *case.input {
        [features] => Shape::Flat(features),
        [steps, inputs] => Shape::Rows([steps, inputs]),
        [height, width, channels] => Shape::Image([height, width, channels]),
        _ => panic!("{}: samples of {} axes", case.id, case.input.len()),
    };
    let layers: Vec<Layer> = case.layers.iter().map(layer).collect();
    let loss = match case.loss {
        golden::Loss::SoftmaxCrossEntropy => Loss::SoftmaxCrossEntropy,
        golden::Loss::BinaryCrossEntropy => Loss::BinaryCrossEntropy,
        golden::Loss::MeanSquaredError => Loss::MeanSquaredError,
    };
    let optimizer = match case.optimizer {
        golden::Optimizer::Sgd { learning_rate, momentum } => {
            Optimizer::Sgd { learning_rate, momentum }
        }
        golden::Optimizer::Rmsprop { learning_rate, rho, momentum, epsilon } => {
            Optimizer::RmsProp { learning_rate, rho, momentum, epsilon }
        }
        golden::Optimizer::Adam { learning_rate, beta1, beta2, epsilon } => {
            Optimizer::Adam { learning_rate, beta1, beta2, epsilon }
        }
        golden::Optimizer::Adamw { learning_rate, beta1, beta2, epsilon, weight_decay } => {
            Optimizer::AdamW { learning_rate, beta1, beta2, epsilon, weight_decay }
        }
    };
    let (l2, label_smoothing) = (case.l2, case.label_smoothing);
    let objective = Objective { loss, label_smoothing, l2 };
    let mut network = Network::build(input, &layers, objective, optimizer, case.batch, 0).unwrap();
    network.clip_gradients(case.clip_norm).unwrap();
    network
}

fn follow(case: &Case, pool: &Pool) {
    let mut network = network(case);
    for (index, tensor) in network.tensors_mut(Saved::Model).into_iter().enumerate() {
        // Moving statistics come behind the parameters and start as they are.
        if index < case.parameters.len() {
            assert_eq!(tensor.shape, case.parameters[index].shape, "{}: {}", case.id, tensor.name);
            tensor.data.copy_from_slice(&case.start(index));
        }
    }
    pool.enter(|team| {
        let mut worst: f64 = 0.0;
        for step in 0..case.steps {
            let (x, labels) = case.gather(&case.picks(step));
            let key = BatchKey { epoch: 0, first_sample: (step * case.batch) as u64 };
            let result = network.train_batch(team, &x, &labels, key).unwrap();
            worst = worst.max((result.loss() - case.losses[step]).abs());
            case.check_step(step, result.loss(), result.correct);
        }
        println!("{:21} {:9} losses off by {worst:.1e} at most", case.id, team.isa().name());
        let tensors = network.tensors(Saved::Model);
        let (parameters, states) = tensors.split_at(case.parameters.len());
        assert_eq!(states.len(), case.states.len(), "{}", case.id);
        for (index, tensor) in parameters.iter().enumerate() {
            case.check_parameter(index, tensor.data);
        }
        for (index, tensor) in states.iter().enumerate() {
            case.check_state(index, tensor.data);
        }
        let (x, labels) = case.gather(&case.picks(0));
        let loss = network.evaluate_batch(team, &x, &labels).unwrap().loss();
        let width = network.plan().output().len();
        let mut probabilities = vec![0.0; case.batch * width];
        network.predict(team, &x, &mut probabilities).unwrap();
        case.check_evaluation(loss, &probabilities[..width]);
    });
}

#[test]
fn every_trace_on_every_instruction_set() {
    let traces = Traces::load();
    for isa in Isa::detected() {
        let pool = Pool::new(isa, 2).unwrap();
        for case in &traces.cases {
            follow(case, &pool);
        }
    }
}

/// Every loss, with one output and with several where it takes both, and every optimizer in each of its
/// forms, which differ in what they remember.
/// What regularises: each alone at least once, and label smoothing of both losses that have labels.
#[test]
fn whatever_regularises_has_a_trace() {
    let cases = Traces::load().cases;
    let has = |is_that: &dyn Fn(&Case) -> bool| cases.iter().any(is_that);
    assert!(has(&|case| case.l2 > 0.0 && case.label_smoothing == 0.0 && case.clip_norm.is_none()));
    assert!(has(&|case| case.clip_norm.is_some() && case.label_smoothing == 0.0));
    for loss in [golden::Loss::SoftmaxCrossEntropy, golden::Loss::BinaryCrossEntropy] {
        assert!(has(&|case| case.label_smoothing > 0.0 && case.loss == loss), "{loss:?}");
    }
}

#[test]
fn every_loss_and_every_optimizer_has_a_trace() {
    let traces = Traces::load();
    let networks: Vec<Network> = traces.cases.iter().map(network).collect();
    for loss in Loss::ALL {
        let widths: &[bool] = match loss {
            Loss::SoftmaxCrossEntropy => &[true],
            Loss::BinaryCrossEntropy => &[false],
            Loss::MeanSquaredError => &[false, true],
        };
        for &is_wide in widths {
            let has_one = networks.iter().any(|network| {
                network.objective() == loss.into() && (network.plan().output().len() > 1) == is_wide
            });
            assert!(has_one, "no trace of {loss:?}, several outputs: {is_wide}");
        }
    }
    for name in Optimizer::NAMES {
        let plain: Optimizer = name.parse().unwrap();
        for optimizer in [plain, plain.with_momentum(0.9)] {
            let form = |optimizer: Optimizer| (optimizer.name(), optimizer.buffers());
            let has_one = networks.iter().any(|n| form(n.optimizer()) == form(optimizer));
            assert!(has_one, "no trace of {name} that keeps {:?}", optimizer.buffers());
        }
    }
}
