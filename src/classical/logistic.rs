//! Multinomial logistic regression with an L2 penalty: the optimum that scikit-learn's `LogisticRegression` has.

use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use threadcount_kernels::gemm::{Epilogue, Write, gemm};
use threadcount_kernels::loss::softmax_cross_entropy;
use threadcount_kernels::team::Scratch;
use threadcount_kernels::{Activation, Mat, MatMut, Team};

use super::lbfgs::{Minimised, Stop, minimise};
use super::sample_rows::{SampleRows, check_classes, check_shape};
use crate::data::{Samples, Scale, Scaling, Shape};
use crate::{Error, Result};

/// Samples whose inputs are floats at once: 128 images of 784 floats are 400 KB, which a second-level cache holds.
const BLOCK: usize = 128;

/// Samples of one task: blocks whose gradients are added up in float64. Tasks are cut by the samples alone.
const TASK: usize = 8 * BLOCK;

/// What is minimised, and how far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogisticSettings {
    /// How much the losses count beside the penalty. As in scikit-learn the function is
    /// `C (sum of losses) + |W|^2 / 2`, without the intercepts in `|W|`.
    pub c: f64,
    /// Fitting ends when no component of the gradient of that function, divided by `C` and the number of samples, is
    /// larger than this.
    pub tolerance: f64,
    /// Or after so many iterations.
    pub iterations: usize,
}

/// scikit-learn's defaults, but for the iterations. It stops after 100, which on Fashion-MNIST is long before the
/// optimum, and warns.
impl Default for LogisticSettings {
    fn default() -> Self {
        Self { c: 1.0, tolerance: 1e-4, iterations: 1000 }
    }
}

impl LogisticSettings {
    pub(super) fn check(&self) -> Result<()> {
        let fault = |name, fault| Err(Error::Setting { name, fault });
        // Beyond these limits float32 has no weights for them.
        if !(1e-10..=1e10).contains(&self.c) {
            return fault("c", format!("{}; use a number from 1e-10 to 1e10", self.c));
        }
        if !(self.tolerance > 0.0 && self.tolerance.is_finite()) {
            return fault("tolerance", format!("{}; use a number above 0", self.tolerance));
        }
        Ok(())
    }
}

/// A fitted model: the probabilities of the classes are `softmax(x W + b)`, of inputs `x` that are scaled as
/// [`Scaling::Unit`] does.
#[derive(Clone, Debug, PartialEq)]
pub struct Logistic {
    pub(super) shape: Shape,
    /// Those that occurred; all others have a probability of 0.
    pub(super) classes: Vec<u8>,
    /// How many there are with those that did not occur.
    pub(super) outputs: usize,
    /// `[inputs, classes]`
    pub(super) weights: Vec<f32>,
    /// `[classes]`
    pub(super) intercepts: Vec<f32>,
}

impl Logistic {
    /// Fits a model, from weights of zero on. `watch` is told the number of iterations after each, and may stop.
    ///
    /// Classes without samples are left out: their intercepts would fall without end. With two classes the function
    /// that scikit-learn minimises has one column of weights, which here is the difference of the two columns, so
    /// the penalty counts twice.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for samples without classes, or floats that are not finite; [`Error::Setting`].
    pub fn fit(
        team: &Team,
        samples: &Samples,
        settings: &LogisticSettings,
        watch: impl FnMut(usize) -> ControlFlow<()>,
    ) -> Result<(Self, Minimised)> {
        settings.check()?;
        let outputs = check_classes(samples)?;
        let mut occurs = [false; 256];
        samples.labels().iter().for_each(|&label| occurs[usize::from(label)] = true);
        let classes: Vec<u8> = (0..=255).filter(|&class| occurs[usize::from(class)]).collect();
        let place = |label: &u8| classes.partition_point(|class| class < label) as u8;
        let objective = Objective {
            rows: SampleRows::new(samples)?,
            factors: Scale::fit(Scaling::Unit, samples),
            labels: &samples.labels().iter().map(place).collect::<Vec<u8>>(),
            classes: classes.len(),
            penalty: if classes.len() == 2 { 2.0 } else { 1.0 } / settings.c,
        };
        let inputs = samples.shape().len();
        let mut x = vec![0.0; (inputs + 1) * classes.len()];
        let stop = Stop {
            tolerance: settings.tolerance,
            iterations: settings.iterations,
            noise: f32::EPSILON.into(),
        };
        let minimised =
            minimise(&mut x, stop, |x, gradient| objective.evaluate(team, x, gradient), watch);
        let rounded: Vec<f32> = x.iter().map(|&x| x as f32).collect();
        let (weights, intercepts) = rounded.split_at(inputs * classes.len());
        let (weights, intercepts) = (weights.to_vec(), intercepts.to_vec());
        Ok((Self { shape: samples.shape(), classes, outputs, weights, intercepts }, minimised))
    }

    /// The probabilities of the classes, `[n, classes]`.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for samples of another shape, or floats that are not finite.
    pub fn probabilities(&self, team: &Team, samples: &Samples) -> Result<Vec<f64>> {
        check_shape(samples, self.shape)?;
        let scale = Scale::fit(Scaling::Unit, samples);
        let rows = SampleRows::new(samples)?;
        let mut all = vec![0.0; samples.len() * self.outputs];
        let isa = team.isa();
        team.run_on_chunks(&mut all, BLOCK * self.outputs, |first, out| {
            let (first, n) = (first / self.outputs, out.len() / self.outputs);
            let mut x = vec![0.0; n * self.shape.len()];
            let mut logits = vec![0.0; n * self.classes.len()];
            let solo = Team::solo(isa);
            rows.gather(&solo, first, &scale, &mut x);
            self.logits(&solo, &x, &mut logits);
            for (out, logits) in
                out.chunks_exact_mut(self.outputs).zip(logits.chunks_exact(self.classes.len()))
            {
                let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let exp = |z: f32| libm::exp(f64::from(z) - f64::from(most));
                let sum: f64 = logits.iter().map(|&z| exp(z)).sum();
                for (&class, &z) in self.classes.iter().zip(logits) {
                    out[usize::from(class)] = exp(z) / sum;
                }
            }
        });
        Ok(all)
    }

    /// `[inputs, classes]`, for the classes that occurred.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    fn logits(&self, team: &Team, x: &[f32], logits: &mut [f32]) {
        let (inputs, classes) = (self.shape.len(), self.classes.len());
        product_with_bias(team, x, inputs, &self.weights, &self.intercepts, classes, logits);
    }

    /// Bytes of weights and intercepts.
    pub fn bytes(&self) -> u64 {
        size_of_val(&*self.weights) as u64 + size_of_val(&*self.intercepts) as u64
    }
}

/// `logits = x W + b` for x of `n x inputs`.
fn product_with_bias(
    team: &Team,
    x: &[f32],
    inputs: usize,
    weights: &[f32],
    bias: &[f32],
    classes: usize,
    logits: &mut [f32],
) {
    let n = logits.len() / classes;
    let bias = Epilogue::Bias { bias, activation: Activation::Linear };
    let (x, w) = (Mat::new(x, n, inputs), Mat::new(weights, inputs, classes));
    gemm(team, 1.0, x, w, Write::Set, MatMut::new(logits, n, classes), bias);
}

/// The function that is minimised, per sample: `mean loss + penalty / (2 n) |W|^2`.
struct Objective<'a> {
    rows: SampleRows<'a>,
    factors: Scale,
    labels: &'a [u8],
    classes: usize,
    penalty: f64,
}

/// What a task adds up.
struct Sums {
    loss: f64,
    /// As the variables: `[inputs, classes]`, then `[classes]`.
    gradient: Vec<f64>,
}

impl Objective<'_> {
    /// The value and the gradient at `x`: `[inputs, classes]` weights, then `[classes]` intercepts. Products are of
    /// float32; sums over blocks of samples are of float64, in an order that no number of threads changes.
    fn evaluate(&self, team: &Team, x: &[f64], gradient: &mut [f64]) -> f64 {
        let n = self.labels.len();
        let rounded: Vec<f32> = x.iter().map(|&x| x as f32).collect();
        let sums: Vec<Mutex<Option<Sums>>> =
            (0..n.div_ceil(TASK)).map(|_| Mutex::default()).collect();
        let isa = team.isa();
        team.run(sums.len(), |task, scratch| {
            let done = self.task(&Team::solo(isa), &rounded, task, scratch);
            *sums[task].lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
        });
        gradient.fill(0.0);
        let mut loss = 0.0;
        for done in sums {
            let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
            let Some(done) = done else { continue };
            loss += done.loss;
            gradient.iter_mut().zip(&done.gradient).for_each(|(sum, part)| *sum += part);
        }
        let n = n as f64;
        gradient.iter_mut().for_each(|sum| *sum /= n);
        let weights = x.len() - self.classes;
        let mut squares = 0.0;
        for (gradient, &w) in gradient[..weights].iter_mut().zip(x) {
            *gradient += self.penalty / n * w;
            squares += w * w;
        }
        loss / n + self.penalty / (2.0 * n) * squares
    }

    /// The losses of one task's samples, and the gradient of their sum.
    fn task(&self, team: &Team, x: &[f32], task: usize, scratch: &mut Scratch) -> Sums {
        let (inputs, classes) = (self.factors.inputs(), self.classes);
        let (weights, intercepts) = x.split_at(inputs * classes);
        let mut sums = Sums { loss: 0.0, gradient: vec![0.0; x.len()] };
        let sizes = [BLOCK * inputs, BLOCK * classes, BLOCK * classes, BLOCK, weights.len()];
        let mut room = scratch.floats(sizes.iter().sum());
        let [x, logits, dlogits, losses, dweights] = sizes.map(|size| {
            let part;
            (part, room) = std::mem::take(&mut room).split_at_mut(size);
            part
        });
        let end = self.labels.len().min((task + 1) * TASK);
        for first in (task * TASK..end).step_by(BLOCK) {
            let labels = &self.labels[first..end.min(first + BLOCK)];
            let n = labels.len();
            let (x, losses) = (&mut x[..n * inputs], &mut losses[..n]);
            let (logits, dlogits) = (&mut logits[..n * classes], &mut dlogits[..n * classes]);
            self.rows.gather(team, first, &self.factors, x);
            product_with_bias(team, x, inputs, weights, intercepts, classes, logits);
            softmax_cross_entropy(team, logits, classes, labels, 0.0, losses, dlogits);
            sums.loss += losses.iter().map(|&loss| f64::from(loss)).sum::<f64>();
            let (xt, d) = (Mat::new(x, n, inputs).t(), Mat::new(dlogits, n, classes));
            let out = MatMut::new(dweights, inputs, classes);
            gemm(team, 1.0, xt, d, Write::Set, out, Epilogue::None);
            // The kernel's gradients are those of the block's mean.
            let n = n as f64;
            let (to_weights, to_intercepts) = sums.gradient.split_at_mut(dweights.len());
            for (sum, &part) in to_weights.iter_mut().zip(&*dweights) {
                *sum += n * f64::from(part);
            }
            for row in dlogits.chunks_exact(classes) {
                for (sum, &part) in to_intercepts.iter_mut().zip(row) {
                    *sum += n * f64::from(part);
                }
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classical::{Ended, naive};
    use threadcount_kernels::Isa;

    /// Noisy points about a centre for each class.
    pub(in crate::classical) fn points(n: usize, inputs: usize, classes: usize) -> Samples {
        let noise = |i: usize| (i as f32 * 0.618_034).fract() - 0.5;
        let labels: Vec<u8> = (0..n).map(|i| (i * 7 % classes) as u8).collect();
        let value = |i: usize| {
            let class = usize::from(labels[i / inputs]);
            noise((i % inputs + 1) * (class + 3)) + 1.5 * noise(i * i + 5)
        };
        let x: Vec<f32> = (0..n * inputs).map(value).collect();
        Samples::new(Shape::Flat(inputs), x, &labels).unwrap()
    }

    fn on(_: usize) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// The gradient is that of the function, and both are those of the twin, whatever the cut into blocks.
    #[test]
    fn the_gradient_is_that_of_the_function() {
        let team = Team::solo(Isa::best());
        for (n, inputs, classes) in [(1, 1, 2), (127, 3, 3), (129, 5, 4), (1500, 4, 2)] {
            let samples = points(n, inputs, classes);
            let objective = Objective {
                rows: SampleRows::new(&samples).unwrap(),
                factors: Scale::fit(Scaling::Unit, &samples),
                labels: samples.labels(),
                classes,
                penalty: 0.7,
            };
            let mut x: Vec<f64> =
                (0..(inputs + 1) * classes).map(|i| f64::from((i as f32 * 0.77).sin())).collect();
            let (mut ours, mut twins) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            let value = objective.evaluate(&team, &x, &mut ours);
            let twin = |x: &[f64], gradient: &mut [f64]| {
                naive::logistic::function(&samples, classes, 0.7, x, gradient)
            };
            assert!((value - twin(&x, &mut twins)).abs() < 1e-6, "{n} {inputs} {classes}");
            for i in 0..x.len() {
                assert!((ours[i] - twins[i]).abs() < 1e-6, "{i}: {} {}", ours[i], twins[i]);
                let (place, mut unused) = (x[i], vec![0.0; x.len()]);
                let mut at = |place: f64| {
                    x[i] = place;
                    twin(&x, &mut unused)
                };
                let slope = (at(place + 1e-5) - at(place - 1e-5)) / 2e-5;
                x[i] = place;
                assert!((slope - twins[i]).abs() < 1e-8, "{i}: {slope} {}", twins[i]);
            }
        }
    }

    #[test]
    fn the_optimum_is_the_twins() {
        let team = Team::solo(Isa::best());
        let every: &[f64] = &[0.01, 1.0, 10.0];
        // The twin needs long for many samples.
        for (n, inputs, classes, cs) in
            [(60, 2, 2, every), (100, 3, 3, every), (1100, 4, 5, &[1.0])]
        {
            let samples = points(n, inputs, classes);
            for &c in cs {
                let settings = LogisticSettings { c, tolerance: 1e-7, ..Default::default() };
                let (model, done) = Logistic::fit(&team, &samples, &settings, on).unwrap();
                assert!(done.gradient < 1e-5, "{done:?}");
                let twin = naive::logistic::fit(&samples, classes, c);
                let ours = model.weights.iter().chain(&model.intercepts);
                for (ours, twin) in ours.zip(&twin) {
                    assert!((f64::from(*ours) - twin).abs() < 1e-4, "{n} {c}: {ours} {twin}");
                }
            }
        }
    }

    /// A class without samples is never predicted, and does not keep the others from converging.
    #[test]
    fn classes_without_samples_have_no_probability() {
        let team = Team::solo(Isa::best());
        let x: Vec<f32> = (0..20).map(|i| i as f32 / 10.0).collect();
        let labels: Vec<u8> = (0..20).map(|i| if i < 9 { 1 } else { 3 }).collect();
        let samples = Samples::new(Shape::Flat(1), x, &labels).unwrap();
        let (model, done) = Logistic::fit(&team, &samples, &Default::default(), on).unwrap();
        assert_eq!((done.ended, model.classes.clone()), (Ended::Converged, vec![1, 3]));
        let probabilities = model.probabilities(&team, &samples).unwrap();
        for row in probabilities.chunks(4) {
            assert!(row[0] == 0.0 && row[2] == 0.0 && (row[1] + row[3] - 1.0).abs() < 1e-12);
        }
        assert!(probabilities[1] > 0.5 && probabilities[79] > 0.5);
        let one = Samples::new(Shape::Flat(1), vec![1.0, 2.0], &[2, 2]).unwrap();
        let (model, done) = Logistic::fit(&team, &one, &Default::default(), on).unwrap();
        assert_eq!(done.ended, Ended::Converged);
        assert_eq!(model.probabilities(&team, &one).unwrap(), [0.0, 0.0, 1.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn settings_that_cannot_be_are_refused() {
        let team = Team::solo(Isa::best());
        let samples = points(10, 1, 2);
        let fit = |settings| Logistic::fit(&team, &samples, &settings, on).map(drop);
        for c in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let refused = fit(LogisticSettings { c, ..Default::default() });
            assert!(matches!(refused, Err(Error::Setting { name: "c", .. })), "{c}");
        }
        let refused = fit(LogisticSettings { tolerance: f64::NAN, ..Default::default() });
        assert!(matches!(refused, Err(Error::Setting { name: "tolerance", .. })));
    }
}
