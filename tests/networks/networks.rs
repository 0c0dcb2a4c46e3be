//! What a network refuses, and what it promises about evaluation, predictions and its seed.

use threadcount::nn::*;
use threadcount::{Error, Result};
use threadcount_kernels::{Isa, Team};

const LINEAR: Activation = Activation::Linear;
const SOFTMAX: Loss = Loss::SoftmaxCrossEntropy;
const KEY: BatchKey = BatchKey { epoch: 0, first_sample: 0 };

fn build(layers: &[Layer], loss: Loss, max_batch: usize) -> Result<Network> {
    Network::build(Shape::Flat(4), layers, loss, Optimizer::sgd(), max_batch, 1)
}

#[test]
fn what_a_loss_cannot_use_is_refused() {
    let relu = || dense(3, Activation::Relu);
    let cases: [(&[Layer], Loss, &str); 5] = [
        (&[dense(1, LINEAR)], SOFTMAX, "binary"),
        (&[dense(2, LINEAR)], Loss::BinaryCrossEntropy, "softmax"),
        (&[relu()], SOFTMAX, "linear"),
        (&[dense(3, LINEAR), activation(Activation::Sigmoid)], SOFTMAX, "linear"),
        (&[dense(1, Activation::Sigmoid)], Loss::BinaryCrossEntropy, "linear"),
    ];
    for (layers, loss, word) in cases {
        match build(layers, loss, 8) {
            Err(Error::Usage(text)) => assert!(text.contains(word), "{text}"),
            other => panic!("{layers:?}: {other:?}"),
        }
    }
    assert!(build(&[relu()], Loss::MeanSquaredError, 8).is_ok());
    let conv = [conv2d(2, 3, Padding::Valid, LINEAR)];
    let image = Shape::Image([5, 5, 1]);
    let network = Network::build(image, &conv, SOFTMAX, Optimizer::sgd(), 8, 1);
    assert!(matches!(network, Err(Error::Usage(_))));
}

#[test]
fn impossible_sizes_and_rates_are_refused() {
    let layers = [dense(3, LINEAR)];
    assert!(matches!(build(&layers, SOFTMAX, 0), Err(Error::Usage(_))));
    assert!(matches!(build(&layers, SOFTMAX, usize::MAX), Err(Error::Memory { .. })));
    assert!(matches!(build(&layers, SOFTMAX, usize::MAX / 8), Err(Error::Memory { .. })));
    let wide = [dense(1 << 60, LINEAR)];
    assert!(matches!(build(&wide, SOFTMAX, 1), Err(Error::Memory { .. })));
    let pool = [max_pool(1), flatten(), dense(2, LINEAR)];
    let image = Shape::Image([1 << 20, 1 << 20, 1 << 10]);
    let network = Network::build(image, &pool, SOFTMAX, Optimizer::sgd(), 1 << 10, 1);
    assert!(matches!(network, Err(Error::Memory { .. })));
    let rate = Optimizer::sgd().with_learning_rate(-1.0);
    let network = Network::build(Shape::Flat(4), &layers, SOFTMAX, rate, 1, 1);
    assert!(matches!(network, Err(Error::Usage(_))));
}

#[test]
fn batches_that_do_not_fit_change_nothing() {
    let team = Team::solo(Isa::Portable);
    let mut network = build(&[dense(3, LINEAR)], SOFTMAX, 2).unwrap();
    let before = network.params().to_vec();
    let x = [0.5; 12];
    let cases: [(&[f32], &[u8]); 5] =
        [(&x, &[0, 1, 2]), (&x[..0], &[]), (&x[..7], &[0, 1]), (&x[..8], &[0]), (&x[..8], &[0, 3])];
    for (x, labels) in cases {
        assert!(matches!(network.train_batch(&team, x, labels, KEY), Err(Error::Mismatch(_))));
        assert!(matches!(network.evaluate_batch(&team, x, labels), Err(Error::Mismatch(_))));
    }
    assert!(network.predict(&team, &x[..8], &mut [0.0; 5]).is_err());
    assert_eq!(network.params(), before);
    assert_eq!(network.optimizer_steps(), 0);
}

#[test]
fn predictions_are_probabilities() {
    let team = Team::solo(Isa::best());
    let x = [0.1, -0.2, 0.3, 0.4, 0.9, 0.8, -0.7, 0.6];
    let mut network = build(&[dense(3, LINEAR)], SOFTMAX, 2).unwrap();
    let mut softmax = [0.0; 6];
    network.predict(&team, &x, &mut softmax).unwrap();
    let z = |network: &Network, i: usize, j: usize, units: usize| -> f64 {
        let w = network.params();
        (0..4).map(|k| f64::from(x[i * 4 + k]) * f64::from(w[k * units + j])).sum()
    };
    for i in 0..2 {
        let sum: f64 = (0..3).map(|j| z(&network, i, j, 3).exp()).sum();
        for j in 0..3 {
            let expected = z(&network, i, j, 3).exp() / sum;
            assert!((f64::from(softmax[i * 3 + j]) - expected).abs() < 1e-6);
        }
    }
    let mut network = build(&[dense(1, LINEAR)], Loss::BinaryCrossEntropy, 2).unwrap();
    let mut sigmoid = [0.0; 2];
    network.predict(&team, &x, &mut sigmoid).unwrap();
    for (i, p) in sigmoid.iter().enumerate() {
        let expected = 1.0 / (1.0 + (-z(&network, i, 0, 1)).exp());
        assert!((f64::from(*p) - expected).abs() < 1e-6);
    }
}

/// Evaluation sees neither dropout nor the batch: moving statistics stay, and a batch gives what
/// its samples give one by one.
#[test]
fn evaluation_leaves_everything_alone() {
    let team = Team::solo(Isa::best());
    let layers = [dense(6, Activation::Tanh), batch_norm(), dropout(0.5), dense(3, LINEAR)];
    let mut network = build(&layers, SOFTMAX, 4).unwrap();
    let x: Vec<f32> = (0..16).map(|i| (i * 7 % 5) as f32 - 2.0).collect();
    let labels = [0, 1, 2, 1];
    network.train_batch(&team, &x, &labels, KEY).unwrap();
    let state = network.state().to_vec();
    assert_ne!(state, [[0.0; 6], [1.0; 6]].concat(), "training moved the statistics");
    let whole = network.evaluate_batch(&team, &x, &labels).unwrap();
    let mut singly = BatchResult::default();
    for i in 0..4 {
        singly += network.evaluate_batch(&team, &x[4 * i..][..4], &labels[i..][..1]).unwrap();
    }
    assert_eq!(network.state(), state);
    assert_eq!((whole.correct, whole.count), (singly.correct, singly.count));
    assert!((whole.loss_sum - singly.loss_sum).abs() < 1e-5);
}

#[test]
fn the_seed_decides_the_weights() {
    let layers = [dense(5, Activation::Tanh), dense(3, LINEAR)];
    let params = |seed| {
        let optimizer = Optimizer::adam();
        let network = Network::build(Shape::Flat(4), &layers, SOFTMAX, optimizer, 1, seed);
        network.unwrap().params().to_vec()
    };
    assert_eq!(params(3), params(3));
    assert_ne!(params(3), params(4));
}

/// From the next step on, also where a kernel does many steps at once.
#[test]
fn the_learning_rate_may_change_between_steps() {
    let team = Team::solo(Isa::best());
    let x: Vec<f32> = (0..16).map(|i| (i * 5 % 7) as f32 / 7.0).collect();
    let one_hidden = [dense(3, Activation::Sigmoid), dense(1, LINEAR)];
    let cases: [(&[Layer], Loss, usize); 2] =
        [(&[dense(2, LINEAR)], SOFTMAX, 4), (&one_hidden, Loss::BinaryCrossEntropy, 1)];
    for (layers, loss, batch_size) in cases {
        let step = |network: &mut Network| {
            network.train_steps(&team, &x, &[0, 1, 1, 0], batch_size, KEY).unwrap();
        };
        let with_rate = |rate| {
            let optimizer = Optimizer::sgd().with_learning_rate(rate);
            Network::build(Shape::Flat(4), layers, loss, optimizer, 4, 1).unwrap()
        };
        let (mut changed, mut expected) = (with_rate(0.5), with_rate(0.125));
        let mut unchanged = with_rate(0.5);
        step(&mut unchanged);
        changed.set_learning_rate(0.125).unwrap();
        assert_eq!(changed.optimizer(), expected.optimizer());
        step(&mut changed);
        step(&mut expected);
        assert_eq!(changed.params(), expected.params());
        assert_ne!(changed.params(), unchanged.params());
        for rate in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert!(matches!(changed.set_learning_rate(rate), Err(Error::Usage(_))), "{rate}");
        }
        assert_eq!(changed.optimizer(), expected.optimizer());
    }
}

/// Gradients that were changed on the way are the ones that are applied.
#[test]
fn stored_gradients_may_be_changed() {
    let team = Team::solo(Isa::best());
    let mut network = build(&[dense(2, LINEAR)], SOFTMAX, 1).unwrap();
    let before = network.params().to_vec();
    network.gradients(&team, &[0.5, -0.5, 1.0, 0.25], &[1], KEY).unwrap();
    network.grads_mut().fill(2.0);
    network.apply_gradients(&team);
    let expected: Vec<f32> = before.iter().map(|w| 2.0f32.mul_add(-0.01, *w)).collect();
    assert_eq!(network.params(), expected);
    assert_eq!(network.optimizer_steps(), 1);
}

/// One linear layer with these weights, of one input each to its outputs; its outputs are the weights
/// where the input is 1.
fn outputs_of(loss: Loss, weights: &[f32], max_batch: usize) -> Network {
    let layers = [dense(weights.len(), LINEAR)];
    let mut network =
        Network::build(Shape::Flat(1), &layers, loss, Optimizer::sgd(), max_batch, 1).unwrap();
    network.params_mut()[..weights.len()].copy_from_slice(weights);
    network
}

/// Outputs that are equal as probabilities, or that lie at the border of two classes.
#[test]
fn what_counts_as_correct_is_what_is_predicted() {
    let cases: [(Loss, &[f32], u8); 6] = [
        (Loss::BinaryCrossEntropy, &[1e-9], 1),
        (Loss::BinaryCrossEntropy, &[-1e-9], 0),
        (Loss::BinaryCrossEntropy, &[0.0], 0),
        (SOFTMAX, &[1.0, 1.0 + f32::EPSILON, 0.5], 1),
        (Loss::MeanSquaredError, &[6.6], 7),
        (Loss::MeanSquaredError, &[0.25, 0.5, 0.5], 1),
    ];
    for (loss, weights, class) in cases {
        for isa in Isa::detected() {
            let team = Team::solo(isa);
            let mut network = outputs_of(loss, weights, 1);
            let mut predictor = Predictor::new(network.model().clone(), loss, 1).unwrap();
            let mut found = [[None; 1]; 2];
            network.classify(&team, &[1.0], &mut found[0]).unwrap();
            predictor.classify(&team, &[1.0], &mut found[1]).unwrap();
            assert_eq!(found, [[Some(class)]; 2], "{loss:?}, {weights:?} on {isa}");
            for label in 0..weights.len().max(2) as u8 {
                let correct = usize::from(label == class);
                let evaluated = network.evaluate_batch(&team, &[1.0], &[label]).unwrap();
                assert_eq!(evaluated.correct, correct, "{loss:?}, {weights:?} on {isa}");
                let predicted = predictor.evaluate(&team, &[1.0], &[label]).unwrap();
                assert_eq!(predicted.correct, correct);
                let trained =
                    outputs_of(loss, weights, 1).train_batch(&team, &[1.0], &[label], KEY).unwrap();
                assert_eq!(trained.correct, correct);
            }
        }
    }
    let mut network = outputs_of(SOFTMAX, &[0.0, 1.0], 2);
    let team = Team::solo(Isa::best());
    let classes = &mut [None; 3];
    assert!(matches!(network.classify(&team, &[1.0; 2], classes), Err(Error::Mismatch(_))));
    assert!(matches!(network.classify(&team, &[1.0; 3], classes), Err(Error::Mismatch(_))));
}

/// Under every loss a sample whose outputs are NaN has no class, is wrong whatever its label, and shows
/// in the loss; its neighbours are what they are.
#[test]
fn what_is_not_a_number_is_no_class() {
    for loss in Loss::ALL {
        let widths: &[usize] = match loss {
            Loss::SoftmaxCrossEntropy => &[2, 10],
            Loss::BinaryCrossEntropy => &[1],
            Loss::MeanSquaredError => &[1, 3],
        };
        for &width in widths {
            let mut weights = vec![0.0; width];
            weights[width - 1] = 1.0;
            let class = if width == 1 { 1 } else { width as u8 - 1 };
            for isa in Isa::detected() {
                let team = Team::solo(isa);
                let mut network = outputs_of(loss, &weights, 3);
                let x = [1.0, f32::NAN, 1.0];
                let mut classes = [Some(9); 3];
                network.classify(&team, &x, &mut classes).unwrap();
                assert_eq!(classes, [Some(class), None, Some(class)], "{loss:?} on {isa}");
                for label in [0, class] {
                    let labels = [class, label, class];
                    let result = network.evaluate_batch(&team, &x, &labels).unwrap();
                    assert_eq!((result.correct, result.count), (2, 3), "{loss:?} on {isa}");
                    assert!(result.loss().is_nan(), "{loss:?} on {isa}: {}", result.loss());
                }
            }
        }
    }
}

/// A small network whose outputs depend on left and right.
fn sided(test_augment: TestAugment, loss: Loss) -> Network {
    let layers = [
        conv2d(3, 2, Padding::Valid, Activation::Tanh),
        batch_norm(),
        flatten(),
        dropout(0.5),
        dense(3, LINEAR),
    ];
    let mut plan = Plan::new(Shape::Image([4, 5, 2]), &layers).unwrap();
    plan.augment_tests(test_augment).unwrap();
    Network::of(Model::of(plan, 3).unwrap(), loss, Optimizer::sgd(), 7).unwrap()
}

/// Test-time augmentation averages the outputs of an image and of its mirror image, in all three ways to ask
/// for them, and training knows nothing of it.
#[test]
fn predictions_are_averaged_over_mirror_images() {
    const N: usize = 5;
    let x: Vec<f32> = (0..N * 40).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
    // Row by row, pixel by pixel, with its two channels.
    let mirror = |i: usize| i / 10 * 10 + (4 - i % 10 / 2) * 2 + i % 2;
    let mirrored: Vec<f32> = (0..x.len()).map(|i| x[mirror(i)]).collect();
    let labels = [0_u8, 1, 2, 1, 0];
    for isa in Isa::detected() {
        let team = Team::solo(isa);
        let outputs = |augment, x: &[f32]| {
            let mut outputs = vec![f32::NAN; N * 3];
            let mut network = sided(augment, Loss::MeanSquaredError);
            network.predict(&team, x, &mut outputs).unwrap();
            outputs
        };
        let [plain, of_mirrored] = [&x, &mirrored].map(|x| outputs(TestAugment::None, x));
        assert!(plain.iter().zip(&of_mirrored).all(|(one, other)| one != other));
        let mean: Vec<f32> = plain.iter().zip(&of_mirrored).map(|(a, b)| 0.5 * (a + b)).collect();
        assert_eq!(outputs(TestAugment::Flip, &x), mean);
        assert_eq!(outputs(TestAugment::Flip, &mirrored), mean);

        let mut network = sided(TestAugment::Flip, SOFTMAX);
        let (mut probabilities, mut classes) = (vec![f32::NAN; N * 3], [None; N]);
        network.predict(&team, &x, &mut probabilities).unwrap();
        network.classify(&team, &x, &mut classes).unwrap();
        let result = network.evaluate_batch(&team, &x, &labels).unwrap();
        let (mut loss, mut correct) = (0.0, 0);
        for sample in 0..N {
            let of = |numbers: &[f32]| numbers[3 * sample..][..3].to_vec();
            let powers: Vec<f64> = of(&mean).iter().map(|&y| f64::from(y).exp()).collect();
            let sum: f64 = powers.iter().sum();
            for (class, &p) in of(&probabilities).iter().enumerate() {
                assert!((f64::from(p) - powers[class] / sum).abs() < 1e-6, "{p}");
            }
            let label = usize::from(labels[sample]);
            loss -= (powers[label] / sum).ln();
            let most = (0..3).max_by(|&a, &b| powers[a].total_cmp(&powers[b])).unwrap();
            assert_eq!(classes[sample], Some(most as u8));
            correct += usize::from(most == label);
        }
        assert!((result.loss_sum - loss).abs() < 1e-5, "{} {loss}", result.loss_sum);
        assert_eq!(result.correct, correct);
        let model = sided(TestAugment::Flip, SOFTMAX).into_model();
        let mut predictor = Predictor::new(model, SOFTMAX, N).unwrap();
        let (mut again, mut classes_again) = (vec![f32::NAN; N * 3], [None; N]);
        predictor.predict(&team, &x, &mut again).unwrap();
        predictor.classify(&team, &x, &mut classes_again).unwrap();
        assert_eq!((again, classes_again), (probabilities, classes));
        assert_eq!(predictor.evaluate(&team, &x, &labels).unwrap(), result);

        // A step from either is the same.
        let steps = [TestAugment::None, TestAugment::Flip].map(|augment| {
            let mut network = sided(augment, SOFTMAX);
            network.train_batch(&team, &x, &labels, KEY).unwrap();
            (network.params().to_vec(), network.state().to_vec())
        });
        assert_eq!(steps[0], steps[1]);
    }
}

#[test]
fn what_is_no_image_cannot_be_mirrored() {
    for shape in [Shape::Flat(6), Shape::Rows([3, 2])] {
        let mut plan = Plan::new(shape, &[flatten(), dense(3, LINEAR)]).unwrap();
        plan.augment_tests(TestAugment::None).unwrap();
        let error = plan.augment_tests(TestAugment::Flip).unwrap_err();
        assert!(matches!(error, Error::Setting { name: "test-augment", .. }), "{error}");
    }
}
