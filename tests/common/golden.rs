//! Loads `tests/golden/traces.json` and generates the weights and samples that its cases start
//! from. `tests/golden/README.md` explains the file; nothing here knows the crate under test.

use serde::Deserialize;

/// The tensor numbers of the samples; parameters are numbered from 0.
const X: u64 = 1000;
const LABELS: u64 = 1001;

/// One element of a generated tensor, uniform in [0, 1): 53 bits of SplitMix64's output function.
pub(crate) fn uniform(tensor: u64, element: u64) -> f64 {
    let z = (tensor << 32 | element).wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    let z = z ^ (z >> 31);
    (z >> 11) as f64 * 2.0_f64.powi(-53)
}

/// One element of a generated tensor: uniform in `center` ± `limit`.
pub(crate) fn value(tensor: u64, element: u64, center: f64, limit: f64) -> f32 {
    (center + limit * (2.0 * uniform(tensor, element) - 1.0)) as f32
}

/// The whole file.
#[derive(Debug, Deserialize)]
pub(crate) struct Traces {
    pub(crate) made_by: String,
    /// The first elements of a few tensors, to check the generator by.
    pub(crate) generator: Vec<Generated>,
    /// The labels of the first samples when there are ten classes.
    pub(crate) labels: Vec<u8>,
    pub(crate) cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Generated {
    pub(crate) tensor: u64,
    pub(crate) center: f64,
    pub(crate) limit: f64,
    pub(crate) first: Vec<f32>,
}

/// A network, how it is trained, and what comes out.
#[derive(Debug, Deserialize)]
pub(crate) struct Case {
    pub(crate) id: String,
    /// The shape of one sample: `[features]`, `[H, W, C]` or `[steps, inputs]`.
    pub(crate) input: Vec<usize>,
    pub(crate) layers: Vec<Layer>,
    pub(crate) loss: Loss,
    #[serde(default)]
    pub(crate) l2: f32,
    #[serde(default)]
    pub(crate) label_smoothing: f32,
    #[serde(default)]
    pub(crate) clip_norm: Option<f32>,
    pub(crate) optimizer: Optimizer,
    pub(crate) batch: usize,
    /// How many samples there are; the batches go round them.
    pub(crate) samples: usize,
    pub(crate) steps: usize,
    pub(crate) tolerance: Tolerance,
    /// Mean loss of every step's batch, before its update.
    pub(crate) losses: Vec<f64>,
    /// Correct predictions in every step's batch, before its update.
    pub(crate) correct: Vec<usize>,
    /// The parameters after the last step, layer by layer.
    pub(crate) parameters: Vec<Parameter>,
    /// The moving statistics after the last step, layer by layer.
    pub(crate) states: Vec<State>,
    pub(crate) evaluation: Evaluation,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Layer {
    Dense { units: usize, activation: Activation },
    Conv2d { filters: usize, kernel: usize, padding: Padding, activation: Activation },
    LeakyRelu { slope: f32 },
    BatchNorm { momentum: f32, epsilon: f32 },
    MaxPool { size: usize },
    AveragePool { size: usize },
    Flatten,
    SimpleRnn { units: usize },
    Lstm { units: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Activation {
    Linear,
    Relu,
    Sigmoid,
    Tanh,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Padding {
    Valid,
    Same,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Loss {
    SoftmaxCrossEntropy,
    BinaryCrossEntropy,
    MeanSquaredError,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Optimizer {
    Sgd { learning_rate: f32, momentum: f32 },
    Rmsprop { learning_rate: f32, rho: f32, momentum: f32, epsilon: f32 },
    Adam { learning_rate: f32, beta1: f32, beta2: f32, epsilon: f32 },
    Adamw { learning_rate: f32, beta1: f32, beta2: f32, epsilon: f32, weight_decay: f32 },
}

/// How far float32 may stray.
#[derive(Debug, Deserialize)]
pub(crate) struct Tolerance {
    /// Of losses and probabilities.
    pub(crate) losses: f64,
    /// Of the sums over parameters and states.
    pub(crate) parameters: f64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) center: f64,
    pub(crate) limit: f64,
    pub(crate) sum: f64,
    pub(crate) sum_of_squares: f64,
    /// How far the tensor has moved from its start, as the Euclidean norm of the difference.
    pub(crate) distance: f64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct State {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) sum: f64,
    pub(crate) sum_of_squares: f64,
}

/// After the last step, on the first batch, in inference mode.
#[derive(Debug, Deserialize)]
pub(crate) struct Evaluation {
    pub(crate) loss: f64,
    /// The answer to sample 0: one per class, or that of label 1 alone.
    pub(crate) probabilities: Vec<f64>,
}

impl Traces {
    /// The committed file.
    pub(crate) fn load() -> Self {
        serde_json::from_str(include_str!("../golden/traces.json")).expect("traces.json")
    }
}

impl Case {
    /// How many labels there are: 2 where one output answers.
    pub(crate) fn classes(&self) -> usize {
        self.evaluation.probabilities.len().max(2)
    }

    /// The numbers of the samples in the batch of a step, the first step being 0.
    pub(crate) fn picks(&self, step: usize) -> Vec<usize> {
        (0..self.batch).map(|i| (step * self.batch + i) % self.samples).collect()
    }

    /// The samples `picks`, one after the other, and their labels.
    pub(crate) fn gather(&self, picks: &[usize]) -> (Vec<f32>, Vec<u8>) {
        let size: usize = self.input.iter().product();
        let elements = picks.iter().flat_map(|sample| sample * size..(sample + 1) * size);
        let x = elements.map(|element| value(X, element as u64, 0.0, 1.0)).collect();
        let label =
            |&sample: &usize| (uniform(LABELS, sample as u64) * self.classes() as f64) as u8;
        (x, picks.iter().map(label).collect())
    }

    /// The initial values of parameter tensor `index`.
    pub(crate) fn start(&self, index: usize) -> Vec<f32> {
        let Parameter { shape, center, limit, .. } = &self.parameters[index];
        let count = shape.iter().product::<usize>() as u64;
        (0..count).map(|element| value(index as u64, element, *center, *limit)).collect()
    }

    /// Asserts the mean loss and the correct predictions of a step.
    pub(crate) fn check_step(&self, step: usize, loss: f64, correct: usize) {
        self.near(&format!("loss of step {step}"), loss, self.losses[step]);
        assert_eq!(correct, self.correct[step], "{}: correct in step {step}", self.id);
    }

    /// Asserts parameter tensor `index` after the last step.
    pub(crate) fn check_parameter(&self, index: usize, values: &[f32]) {
        let Parameter { name, shape, sum, sum_of_squares, distance, .. } = &self.parameters[index];
        self.sums(name, shape, values, *sum, *sum_of_squares);
        let difference = |(&now, start)| f64::from(now) - f64::from(start);
        let moved = values.iter().zip(self.start(index)).map(difference);
        let moved = moved.map(|difference| difference * difference).sum::<f64>().sqrt();
        self.close(&format!("distance of {name}"), moved, *distance, *distance);
    }

    /// Asserts state tensor `index` after the last step.
    pub(crate) fn check_state(&self, index: usize, values: &[f32]) {
        let State { name, shape, sum, sum_of_squares } = &self.states[index];
        self.sums(name, shape, values, *sum, *sum_of_squares);
    }

    /// Asserts the loss over the first batch and the answer to sample 0, after the last step.
    pub(crate) fn check_evaluation(&self, loss: f64, probabilities: &[f32]) {
        self.near("loss of the evaluation", loss, self.evaluation.loss);
        assert_eq!(probabilities.len(), self.evaluation.probabilities.len(), "{}", self.id);
        for (&measured, &expected) in probabilities.iter().zip(&self.evaluation.probabilities) {
            self.near("probability", f64::from(measured), expected);
        }
    }

    fn near(&self, what: &str, measured: f64, expected: f64) {
        // A small loss is the difference of logits of order 1: it inherits their rounding.
        let allowed = self.tolerance.losses * expected.max(1.0);
        let id = &self.id;
        assert!((measured - expected).abs() <= allowed, "{id}: {what}: {measured} for {expected}");
    }

    fn sums(&self, name: &str, shape: &[usize], values: &[f32], sum: f64, squares: f64) {
        let count = shape.iter().product::<usize>();
        assert_eq!(values.len(), count, "{}: elements of {name}", self.id);
        let values = values.iter().map(|&value| f64::from(value));
        let measured = values.clone().map(|value| value * value).sum();
        self.close(&format!("sum of squares of {name}"), measured, squares, squares);
        // A sum of mixed signs has no scale of its own: take that of the elements.
        let scale = (count as f64 * squares).sqrt();
        self.close(&format!("sum of {name}"), values.sum(), sum, scale);
    }

    fn close(&self, what: &str, measured: f64, expected: f64, scale: f64) {
        let allowed = self.tolerance.parameters * scale;
        let id = &self.id;
        assert!((measured - expected).abs() <= allowed, "{id}: {what}: {measured} for {expected}");
    }
}
