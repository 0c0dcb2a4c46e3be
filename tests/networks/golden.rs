//! The golden traces: the file is read, its generator is ours bit for bit, and its cases hang
//! together.

use crate::common::golden::{Activation, Case, Layer, Loss, Optimizer, Padding, Traces, value};

fn case<'a>(traces: &'a Traces, id: &str) -> &'a Case {
    traces.cases.iter().find(|case| case.id == id).expect("a case of that name")
}

#[test]
fn the_generator_gives_the_listed_bits() {
    let traces = Traces::load();
    assert!(traces.made_by.contains("float64"));
    for tensor in &traces.generator {
        for (element, &expected) in (0..).zip(&tensor.first) {
            let measured = value(tensor.tensor, element, tensor.center, tensor.limit);
            assert_eq!(measured.to_bits(), expected.to_bits(), "{tensor:?}");
        }
    }
    // Tensor 1000 holds the pixels, and the listed labels are those of a case with ten classes.
    let (case, pixels) = (case(&traces, "lstm"), &traces.generator[2]);
    let picks: Vec<usize> = (0..traces.labels.len()).collect();
    let (x, labels) = case.gather(&picks);
    assert_eq!((pixels.tensor, &x[..6]), (1000, &pixels.first[..]));
    assert_eq!(labels, traces.labels);
}

#[test]
fn batches_go_round_the_samples() {
    let traces = Traces::load();
    let case = case(&traces, "biu-scratch");
    assert_eq!((case.batch, case.samples, case.classes()), (1, 4, 2));
    assert_eq!([case.picks(0), case.picks(3), case.picks(6)], [[0], [3], [2]]);
    let (x, _) = case.gather(&[2]);
    assert_eq!(x[..], case.gather(&[0, 1, 2]).0[2 * 784..]);
}

#[test]
fn every_case_lists_the_parameters_of_its_layers() {
    for case in Traces::load().cases {
        let (shapes, state_lengths) = expected_shapes(&case);
        let listed: Vec<&[usize]> = case.parameters.iter().map(|p| &p.shape[..]).collect();
        assert_eq!(listed, shapes, "{}", case.id);
        let listed: Vec<&[usize]> = case.states.iter().map(|s| &s.shape[..]).collect();
        assert_eq!(listed, state_lengths, "{}", case.id);
        assert_eq!((case.losses.len(), case.correct.len()), (case.steps, case.steps));
        let one_output = case.evaluation.probabilities.len() == 1;
        match case.loss {
            Loss::SoftmaxCrossEntropy => assert!(!one_output, "{}", case.id),
            Loss::BinaryCrossEntropy => assert!(one_output, "{}", case.id),
            Loss::MeanSquaredError => {}
        }
        assert!(matches!(
            case.layers.last(),
            Some(Layer::Dense { activation: Activation::Linear, .. })
        ));
    }
}

#[test]
fn optimizers_have_keras_defaults() {
    let traces = Traces::load();
    let optimizer = |id| case(&traces, id).optimizer;
    assert_eq!(optimizer("biu-scratch"), Optimizer::Sgd { learning_rate: 0.1, momentum: 0.0 });
    let (rho, momentum, epsilon) = (0.9, 0.9, 1e-7);
    let rmsprop = Optimizer::Rmsprop { learning_rate: 0.001, rho, momentum, epsilon };
    assert_eq!(optimizer("softmax-rmsprop"), rmsprop);
    let (beta1, beta2) = (0.9, 0.999);
    let adam = Optimizer::Adam { learning_rate: 0.001, beta1, beta2, epsilon };
    assert_eq!(optimizer("nlp-cnn"), adam);
    let adamw = Optimizer::Adamw { learning_rate: 0.01, beta1, beta2, epsilon, weight_decay: 0.3 };
    assert_eq!(optimizer("adamw"), adamw);
    let regularised = |id| {
        let Case { l2, label_smoothing, clip_norm, .. } = case(&traces, id);
        (*l2, *label_smoothing, *clip_norm)
    };
    assert_eq!(regularised("regularised"), (0.01, 0.1, Some(0.5)));
    assert_eq!(regularised("adamw"), (0.0, 0.0, None));
}

#[test]
fn the_parameter_counts_are_those_of_the_reports() {
    let traces = Traces::load();
    let count = |id| {
        let elements = |index| case(&traces, id).start(index).len();
        (0..case(&traces, id).parameters.len()).map(elements).sum::<usize>()
    };
    assert_eq!((count("cse574-mlp"), count("cse574-cnn")), (567_434, 423_338));
}

#[test]
#[should_panic(expected = "biu-base: sum of squares of dense_1/kernel")]
fn untrained_parameters_are_noticed() {
    let traces = Traces::load();
    let case = case(&traces, "biu-base");
    case.check_parameter(0, &case.start(0));
}

#[test]
fn checks_accept_what_is_listed_and_refuse_the_rest() {
    let traces = Traces::load();
    let case = case(&traces, "softmax-sgd-momentum");
    let probabilities: Vec<f32> = case.evaluation.probabilities.iter().map(|&p| p as f32).collect();
    for (step, (&loss, &correct)) in case.losses.iter().zip(&case.correct).enumerate() {
        case.check_step(step, loss, correct);
    }
    case.check_evaluation(case.evaluation.loss, &probabilities);
    let off = case.losses[1] * (1.0 + 3.0 * case.tolerance.losses);
    assert!(std::panic::catch_unwind(|| case.check_step(1, off, case.correct[1])).is_err());
    assert!(std::panic::catch_unwind(|| case.check_state(0, &[])).is_err());
}

/// Both forms of squared errors: to one-hot labels, and to the label as a number.
#[test]
fn every_loss_has_a_trace() {
    let traces = Traces::load();
    let of = |loss, outputs: std::ops::RangeInclusive<usize>| {
        let is_that = |case: &&Case| {
            case.loss == loss && outputs.contains(&case.evaluation.probabilities.len())
        };
        traces.cases.iter().filter(is_that).count()
    };
    assert!(of(Loss::SoftmaxCrossEntropy, 2..=10) > 0);
    assert!(of(Loss::BinaryCrossEntropy, 1..=1) > 0);
    assert_eq!((of(Loss::MeanSquaredError, 1..=1), of(Loss::MeanSquaredError, 2..=10)), (1, 1));
}

/// The shapes of the parameters and states that a case's layers call for, derived anew.
fn expected_shapes(case: &Case) -> (Vec<Vec<usize>>, Vec<Vec<usize>>) {
    let (mut shapes, mut states) = (Vec::new(), Vec::new());
    let mut shape = case.input.clone();
    for layer in &case.layers {
        let inputs = *shape.last().expect("a shape");
        match *layer {
            Layer::Dense { units, .. } => {
                shapes.extend([vec![inputs, units], vec![units]]);
                shape = vec![units];
            }
            Layer::Conv2d { filters, kernel, padding, activation } => {
                assert_ne!(activation, Activation::Sigmoid, "no report has that");
                shapes.extend([vec![kernel, kernel, inputs, filters], vec![filters]]);
                let cut = if padding == Padding::Valid { kernel - 1 } else { 0 };
                shape = vec![shape[0] - cut, shape[1] - cut, filters];
            }
            Layer::BatchNorm { momentum, epsilon } => {
                assert_eq!((momentum, epsilon), (0.99, 1e-3));
                shapes.extend([vec![inputs], vec![inputs]]);
                states.extend([vec![inputs], vec![inputs]]);
            }
            Layer::MaxPool { size } | Layer::AveragePool { size } => {
                shape = vec![shape[0] / size, shape[1] / size, inputs];
            }
            Layer::LeakyRelu { slope } => assert_eq!(slope, 0.1),
            Layer::Flatten => shape = vec![shape.iter().product()],
            Layer::SimpleRnn { units } | Layer::Lstm { units } => {
                let gates = if matches!(layer, Layer::Lstm { .. }) { 4 * units } else { units };
                shapes.extend([vec![inputs, gates], vec![units, gates], vec![gates]]);
                shape = vec![units];
            }
        }
    }
    (shapes, states)
}
