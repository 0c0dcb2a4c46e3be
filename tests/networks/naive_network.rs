//! Networks compute what their plain-loop twins compute, layer by layer: every recipe, at its own
//! batch size, on every instruction set, on one thread and on several.

use threadcount::bench::noise;
use threadcount::nn::*;
use threadcount::oracle::{Batches, NaiveNetwork, Step};
use threadcount::reports::{self, Recipe, SIDE};
use threadcount::train::{EVALUATION_BATCH, Schedule};
use threadcount_kernels::{Isa, Pool, Team};

const SEED: u64 = 2;
/// Of a gradient's size.
const TOLERANCE: f64 = 2e-3;

/// What a network trains on: a batch of a recipe, or of something that no recipe has.
struct Case {
    name: String,
    input: Shape,
    layers: Vec<Layer>,
    objective: Objective,
    clip_norm: Option<f32>,
    optimizer: Optimizer,
    batch: usize,
    /// Of a gradient's size.
    tolerance: f64,
}

impl Case {
    fn of(recipe: &Recipe) -> Self {
        let task = recipe.task.clone();
        Self {
            name: recipe.id.to_string(),
            input: task.input.shape(SIDE, SIDE),
            objective: task.objective(),
            layers: task.layers,
            clip_norm: task.clip_norm,
            optimizer: task.optimizer,
            batch: task.batch_size,
            tolerance: TOLERANCE,
        }
    }

    fn build(&self, seed: u64) -> Network {
        let Self { input, layers, objective, optimizer, batch, .. } = self;
        let largest = EVALUATION_BATCH.max(*batch);
        let mut network =
            Network::build(*input, layers, *objective, *optimizer, largest, seed).unwrap();
        network.clip_gradients(self.clip_norm).unwrap();
        network
    }

    /// `n` images and labels: like those of Fashion-MNIST, half of an image is black.
    fn samples(&self, step: usize, n: usize) -> (Vec<f32>, Vec<u8>) {
        let pixels = noise(step as u32 + 1, n * self.input.len());
        let classes = match self.objective.loss {
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
        let (mut steps, mut first_sample) = (Vec::new(), 0);
        for (step, n) in calls.into_iter().enumerate() {
            let (x, labels) = self.samples(step, n);
            let key = BatchKey { epoch: 1, first_sample };
            first_sample += n as u64;
            twin.train_steps(&x, &labels, self.batch, key);
            steps.push((x, labels, key, twin.clone()));
        }
        let check = |team: &Team| {
            let mut network = start.clone();
            for (step, (x, labels, key, twin)) in steps.iter().enumerate() {
                let targets = labels[..].into();
                let batches = Batches { x, targets, size: self.batch, key: *key };
                twin.check_step(team, &mut network, batches, self.tolerance)
                    .map_err(|fault| format!("step {step}: {fault}"))?;
            }
            Ok(())
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

/// With a quarter of their batches, and the rate of a cycle's last steps. Batch normalisation makes a gradient large
/// where a channel varies little: in a full batch, one of millions of ReLUs and maxima that rounding decides changes
/// a hundredth of the first layer's gradient, and at the highest rate the two networks would go their own ways.
#[test]
fn every_record_is_its_twin() {
    for reports::Record { recipe, .. } in reports::records() {
        let case = Case::of(&recipe);
        let rate = match recipe.task.schedule {
            Schedule::OneCycle { last, .. } => last as f32 * case.optimizer.learning_rate(),
            _ => case.optimizer.learning_rate(),
        };
        let optimizer = case.optimizer.with_learning_rate(rate);
        Case { optimizer, batch: case.batch / 4, tolerance: 2e-2, ..case }.check();
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
        let objective = loss.into();
        Case {
            name,
            input,
            layers,
            objective,
            clip_norm: None,
            optimizer,
            batch: 13,
            tolerance: TOLERANCE,
        }
        .check();
    }
}

/// What regularises, with every kind of layer that has weights, and with none that sweeps.
#[test]
fn so_is_what_regularises() {
    let linear = |units| dense(units, Activation::Linear);
    let image = Shape::Image([9, 7, 2]);
    let conv = conv2d(5, 3, Padding::Same, Activation::Tanh);
    let networks = [
        (image, vec![conv, batch_norm(), max_pool(2), flatten(), linear(7), linear(3)]),
        (Shape::Rows([6, 5]), vec![lstm(8), dense(6, Activation::Relu), linear(4)]),
        (Shape::Rows([6, 5]), vec![simple_rnn(8), linear(2)]),
        (Shape::Flat(11), vec![dense(9, Activation::Sigmoid), linear(1)]),
    ];
    for (number, (input, layers)) in networks.into_iter().enumerate() {
        let loss = if number == 3 { Loss::BinaryCrossEntropy } else { Loss::SoftmaxCrossEntropy };
        let smooth = Objective { label_smoothing: 0.2, ..loss.into() };
        let l2 = Objective { l2: 0.05, ..loss.into() };
        let sgd = Optimizer::sgd().with_learning_rate(0.1);
        for (objective, clip_norm, optimizer) in [
            (smooth, None, sgd),
            (l2, None, sgd),
            (l2, None, sgd.with_momentum(0.5)),
            (l2, None, Optimizer::rmsprop()),
            (loss.into(), Some(0.01), sgd),
            (loss.into(), Some(1e9), sgd),
            (l2, Some(0.01), Optimizer::adam()),
            (loss.into(), None, Optimizer::adamw().with_weight_decay(0.5)),
            (Objective { l2: 0.05, ..smooth }, Some(0.1), Optimizer::adamw()),
        ] {
            let name = format!("network {number}, {objective:?}, {clip_norm:?}, {optimizer:?}");
            let (layers, batch) = (layers.clone(), if number == 3 { 1 } else { 13 });
            Case {
                name,
                input,
                layers,
                objective,
                clip_norm,
                optimizer,
                batch,
                tolerance: TOLERANCE,
            }
            .check();
        }
    }
}

/// A step of every rule, with one fault after the other in what the network made of it.
#[test]
fn a_difference_shows() {
    let team = Team::solo(Isa::best());
    let recipe = reports::recipe("biu-base").unwrap();
    for right in [
        Optimizer::sgd(),
        Optimizer::sgd().with_momentum(0.9),
        Optimizer::rmsprop(),
        Optimizer::rmsprop().with_momentum(0.5),
        Optimizer::adam(),
        Optimizer::adamw().with_weight_decay(0.5),
    ] {
        let case = Case { batch: 8, optimizer: right, ..Case::of(&recipe) };
        let mut start = case.build(SEED);
        let (x, labels) = case.samples(0, 8);
        let targets = labels[..].into();
        let key = |step: u64| BatchKey { epoch: 0, first_sample: 8 * step };
        // The optimizer remembers something.
        start.train_batch(&team, &x, targets, key(0)).unwrap();
        let batches = Batches { x: &x, targets, size: 8, key: key(1) };
        let mut twin = NaiveNetwork::of(&start, SEED).unwrap();
        twin.train_batch(&x, targets, key(1));
        let step = Step::make(&team, start.clone(), batches).unwrap();
        assert_eq!(twin.agrees_with(&step, TOLERANCE), Ok(()), "{right:?}");

        let finds = |fault: &str, wrong: &Step, words: &str| {
            let found = twin.agrees_with(wrong, TOLERANCE).err();
            let found = found.unwrap_or_else(|| panic!("{right:?} with {fault} wrong is the same"));
            assert!(found.contains(words), "{right:?}, {fault}: {found}");
        };
        // Constants a little off, one at a time: the network learns by another rule.
        for (constant, other) in off(right) {
            let mut wrong = with_optimizer(&case, &start, other);
            wrong.set_optimizer_steps(start.optimizer_steps());
            let wrong = Step::make(&team, wrong, batches).unwrap();
            finds(constant, &wrong, " ended ");
        }
        let changed = |change: &dyn Fn(usize, f32) -> f32| {
            let mut wrong = step.clone();
            for (i, w) in wrong.end.params_mut().iter_mut().enumerate() {
                *w = change(i, *w);
            }
            wrong
        };
        let before = start.params();
        let last = before.len() - 1;
        finds("no step", &changed(&|i, _| before[i]), " ended ");
        finds("the sign", &changed(&|i, w| 2.0 * before[i] - w), " ended ");
        finds("one bias", &changed(&|i, w| if i == last { before[i] } else { w }), "bias");
        finds("no number", &changed(&|i, w| if i == last { f32::NAN } else { w }), "dense_1/bias");

        // Gradients that the step agrees with, and the twin does not.
        for (fault, factor) in [("a factor", 1.001), ("the sign", -1.0), ("nothing", 0.0)] {
            let mut wrong = step.clone();
            wrong.gradients.as_mut().unwrap().iter_mut().for_each(|g| *g *= factor);
            finds(fault, &wrong, "gradient");
        }
        let mut wrong = step.clone();
        wrong.result.loss_sum *= 1.01;
        finds("the loss", &wrong, "loss");
        let mut wrong = step.clone();
        wrong.end.set_optimizer_steps(7);
        finds("the count", &wrong, "counts 7 steps");
        for tensor in 0..step.end.tensors(Saved::Optimizer).len() {
            let mut wrong = step.clone();
            let mut tensors = wrong.end.tensors_mut(Saved::Optimizer);
            tensors[tensor].data.iter_mut().for_each(|value| *value *= 1.01);
            finds(&format!("memory {tensor}"), &wrong, " of dense");
        }
    }
}

/// Adam's rate without the corrections that the first steps need.
#[test]
fn a_correction_that_is_left_out_shows() {
    let team = Team::solo(Isa::best());
    let recipe = reports::recipe("biu-adam").unwrap();
    let case = Case { batch: 8, ..Case::of(&recipe) };
    let start = case.build(SEED);
    let (x, labels) = case.samples(0, 8);
    let (targets, key) = (labels[..].into(), BatchKey { epoch: 0, first_sample: 0 });
    let mut twin = NaiveNetwork::of(&start, SEED).unwrap();
    twin.train_batch(&x, targets, key);
    let mut late = start.clone();
    late.set_optimizer_steps(1_000_000);
    let mut wrong = Step::make(&team, late, Batches { x: &x, targets, size: 8, key }).unwrap();
    wrong.end.set_optimizer_steps(1);
    let fault = twin.agrees_with(&wrong, TOLERANCE).unwrap_err();
    assert!(fault.contains(" ended "), "{fault}");
}

/// Several steps at once have no gradient to be held to.
#[test]
fn so_it_does_in_several_steps_at_once() {
    let team = Team::solo(Isa::best());
    let recipe = reports::recipe("biu-scratch").unwrap();
    let case = Case::of(&recipe);
    let start = case.build(SEED);
    assert!(start.steps_at_once(1) > 1);
    let n = start.steps_at_once(1);
    let (x, labels) = case.samples(0, n);
    let (targets, key) = (labels[..].into(), BatchKey { epoch: 0, first_sample: 0 });
    let batches = Batches { x: &x, targets, size: 1, key };
    let mut twin = NaiveNetwork::of(&start, SEED).unwrap();
    twin.train_steps(&x, targets, 1, key);
    let step = Step::make(&team, start.clone(), batches).unwrap();
    assert!(step.gradients.is_none());
    assert_eq!(twin.agrees_with(&step, TOLERANCE), Ok(()));
    for (constant, other) in off(case.optimizer) {
        let mut wrong = start.clone();
        wrong.set_learning_rate(other.learning_rate()).unwrap();
        let mut wrong = Step::make(&team, wrong, batches).unwrap();
        // The losses of later steps say it too.
        wrong.result = step.result;
        let fault = twin.agrees_with(&wrong, TOLERANCE).expect_err(constant);
        assert!(fault.contains("change"), "{fault}");
        // Even where chance may do the same to one tensor.
        let fault = twin.agrees_with(&wrong, 0.2).expect_err(constant);
        assert!(fault.contains("no change is close"), "{fault}");
    }
}

/// A rule with one of its constants wrong, each in turn.
fn off(right: Optimizer) -> Vec<(&'static str, Optimizer)> {
    let less = |decay: f32| 1.0 - (1.0 - decay) * 1.1;
    let mut wrong = vec![("learning rate", right.with_learning_rate(right.learning_rate() * 1.1))];
    match right {
        Optimizer::Sgd { momentum: 0.0, .. } => {}
        Optimizer::Sgd { momentum, .. } => {
            wrong.push(("momentum", right.with_momentum(less(momentum))));
        }
        Optimizer::RmsProp { learning_rate, rho, momentum, epsilon } => {
            let rho = less(rho);
            wrong.push(("rho", Optimizer::RmsProp { learning_rate, rho, momentum, epsilon }));
            if momentum > 0.0 {
                wrong.push(("momentum", right.with_momentum(less(momentum))));
            }
        }
        Optimizer::Adam { learning_rate, beta1, beta2, epsilon } => {
            let of = |beta1, beta2| Optimizer::Adam { learning_rate, beta1, beta2, epsilon };
            wrong.push(("beta1", of(less(beta1), beta2)));
            wrong.push(("beta2", of(beta1, less(beta2))));
            wrong.push(("the betas", of(beta2, beta1)));
        }
        Optimizer::AdamW { weight_decay, .. } => {
            wrong.push(("weight decay", right.with_weight_decay(weight_decay * 1.1)));
            wrong.push(("no weight decay", right.with_weight_decay(0.0)));
        }
    }
    wrong
}

/// A network with the parameters and the memory of another, and a rule of its own.
fn with_optimizer(case: &Case, from: &Network, optimizer: Optimizer) -> Network {
    let Case { input, layers, objective, batch, .. } = case;
    let mut network = Network::build(*input, layers, *objective, optimizer, *batch, SEED).unwrap();
    network.params_mut().copy_from_slice(from.params());
    let memory = from.tensors(Saved::Optimizer);
    for (to, from) in network.tensors_mut(Saved::Optimizer).into_iter().zip(memory) {
        to.data.copy_from_slice(from.data);
    }
    network
}
