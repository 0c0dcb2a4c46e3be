//! From samples to a network that predicts, in one call, for programs that use the library.

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;

use threadcount_kernels::machine::machine;
use threadcount_kernels::{Isa, Pool};

use super::history::History;
use super::score::{EVALUATION_BATCH, Score, in_batches};
use super::session::{Moment, Session};
use super::task::Task;
use crate::data::{Samples, Scale, Shape, Split};
use crate::nn::exchange::Framework;
use crate::nn::io::foreign;
use crate::nn::io::model_file::{self, ModelFile, Origin};
use crate::nn::io::tensor_file::Tensors;
use crate::nn::io::weights::InitialWeights;
use crate::nn::{BatchResult, Loss, Model, Plan, Predictor};
use crate::{Error, Result};

/// What a fit runs on and starts from. Only the seed and the instruction set change the bits of the result. (So
/// does the precision, which is the task's.)
#[derive(Clone, Copy, Debug, Default)]
pub struct Setup {
    /// The seed of weights, shuffling, dropout and augmentation.
    pub seed: u64,
    /// Threads; as many as there are physical cores unless said otherwise.
    pub threads: Option<usize>,
    /// The instruction set; the best that this CPU has unless said otherwise.
    pub isa: Option<Isa>,
}

impl Setup {
    fn pool(&self) -> Result<Pool> {
        let threads = self.threads.unwrap_or_else(|| machine().physical_cores);
        Pool::new(self.isa.unwrap_or_else(Isa::best), threads)
            .map_err(|error| Error::Failed(format!("cannot start {threads} threads: {error}")))
    }
}

impl Task {
    /// Trains this task on these samples (its own selection is ignored) until all epochs are done, early
    /// stopping ends it, or `watch` returns `Break`. `watch` is called after every batch and every epoch.
    ///
    /// # Errors
    /// [`Error::Usage`] if the network does not fit the samples, [`Error::Mismatch`] if their targets
    /// do not fit its loss; [`Error::Diverged`]; [`Error::Memory`].
    pub fn fit(
        &self,
        split: &Split,
        setup: &Setup,
        watch: impl FnMut(&Session<'_>, Moment) -> ControlFlow<()> + Send,
    ) -> Result<Trained> {
        self.fit_session(split, setup, None, watch)
    }

    /// Like [`Task::fit`], but starts with the weights of a file: fine-tuning. [`Task::freeze`] names the
    /// layers that keep theirs.
    ///
    /// # Errors
    /// As [`Task::fit`]; as [`Session::init`].
    pub fn fit_from(
        &self,
        weights: &InitialWeights,
        split: &Split,
        setup: &Setup,
        watch: impl FnMut(&Session<'_>, Moment) -> ControlFlow<()> + Send,
    ) -> Result<Trained> {
        self.fit_session(split, setup, Some(weights), watch)
    }

    fn fit_session(
        &self,
        split: &Split,
        setup: &Setup,
        weights: Option<&InitialWeights>,
        mut watch: impl FnMut(&Session<'_>, Moment) -> ControlFlow<()> + Send,
    ) -> Result<Trained> {
        let pool = setup.pool()?.with_precision(self.precision)?;
        let mut session = Session::new(self, split, setup.seed)?;
        if let Some(weights) = weights {
            session.init(weights)?;
        }
        pool.enter(|team| session.train(team, &mut |session, moment| Ok(watch(session, moment))))?;
        let history = session.progress().history.clone();
        let epochs = history.epochs.len();
        let epoch = session.progress().best.map_or(epochs, |best| best.epoch);
        let (model, scale) = session.into_model();
        let origin = Some(Origin { run: String::new(), epochs, epoch });
        let trained = Trained::new(model, scale, self, split.train.shape(), pool)?;
        Ok(Trained { history, origin, ..trained })
    }
}

/// A trained network with everything it needs to predict.
pub struct Trained {
    predictor: Predictor,
    scale: Scale,
    sample: Shape,
    history: History,
    origin: Option<Origin>,
    pool: Pool,
}

impl Trained {
    fn new(model: Model, scale: Scale, task: &Task, sample: Shape, pool: Pool) -> Result<Self> {
        let predictor = Predictor::new(model, task.objective(), EVALUATION_BATCH)?;
        Ok(Self { predictor, scale, sample, history: History::default(), origin: None, pool })
    }

    /// Loads a saved network with the layers of `task`, for samples of shape `sample`. It has no history.
    /// Where the task takes the number of classes from the samples, the outputs in the file decide it.
    ///
    /// # Errors
    /// [`Error::Usage`] if the layers do not fit such samples; [`Error::Io`] if there is no file,
    /// [`Error::Data`] if it is damaged or of other layers; [`Error::Memory`].
    pub fn load(path: &Path, task: &Task, sample: Shape, setup: &Setup) -> Result<Self> {
        Self::of_file(path, task, sample, None, setup.pool()?)
    }

    /// Like [`Self::load`], for this many classes if the number is known.
    pub(super) fn of_file(
        path: &Path,
        task: &Task,
        sample: Shape,
        classes: Option<usize>,
        pool: Pool,
    ) -> Result<Self> {
        let pool = pool.with_precision(task.precision)?;
        let file = ModelFile::read(path)?;
        let (tensors, origin) = file.open()?;
        let input = task.input.of(sample)?;
        let classes = match classes {
            Some(classes) => classes,
            None => classes_of(&tensors, task, input)?,
        };
        let mut model = Model::of(task.plan(input, classes)?, 0)?;
        let scale = model_file::fill(&tensors, &mut model, sample.len())?;
        Ok(Self { origin, ..Self::new(model, scale, task, sample, pool)? })
    }

    /// Saves it as a safetensors file: the named tensors of the network, and the scale of its inputs.
    ///
    /// # Errors
    /// [`Error::Io`]; then a file that was there before is unchanged.
    pub fn save(&self, path: &Path) -> Result<()> {
        let origin = self.origin.clone().unwrap_or_default();
        model_file::write(path, self.predictor.model(), &self.scale, origin)
    }

    /// Saves it as the model of a run.
    pub(super) fn save_of(&self, path: &Path, run: &str) -> Result<()> {
        let origin = Origin { run: run.to_owned(), ..self.origin.clone().unwrap_or_default() };
        model_file::write(path, self.predictor.model(), &self.scale, origin)
    }

    /// Writes its weights for another framework into the file `path` (`.safetensors` for PyTorch, `.npz` for
    /// Keras), and returns a Python program that builds the model there, loads the weights, and treats inputs
    /// and outputs as this crate does. The program names the file by `path`. The layouts are described in
    /// [`nn::exchange`](crate::nn::exchange).
    ///
    /// # Errors
    /// [`Error::Usage`] naming a layer that the framework does not have; [`Error::Io`].
    pub fn export(&self, framework: Framework, path: &Path) -> Result<String> {
        let model = self.predictor.model();
        let program = foreign::python(
            framework,
            &foreign::Sequential {
                plan: model.plan(),
                loss: self.predictor.loss(),
                scale: &self.scale,
                weights: &path.display().to_string(),
            },
        )?;
        foreign::write(path, model, framework)?;
        Ok(program)
    }

    /// The run and the epoch that it comes from; `None` for a file that does not say.
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// The network.
    pub fn model(&self) -> &Model {
        self.predictor.model()
    }

    /// The epochs that it was trained for.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The network's predictions for each sample, `[n, outputs]`: the probabilities of the classes (of class
    /// 1, for binary cross-entropy), or the plain outputs for squared errors.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if the samples are of another shape.
    pub fn predict(&mut self, samples: &Samples) -> Result<Vec<f32>> {
        self.check(samples)?;
        let Self { predictor, scale, pool, .. } = self;
        let width = predictor.model().plan().output().len();
        let cut = predictor.model().plan().input_cut();
        let mut all = Vec::with_capacity(samples.len() * width);
        pool.enter(|team| {
            in_batches(team, samples, scale, cut, |x, n, _| {
                let start = all.len();
                all.resize(start + n * width, 0.0);
                predictor.predict(team, x, &mut all[start..])
            })
        })?;
        Ok(all)
    }

    /// The probabilities of the classes in what [`Self::predict`] has returned: `[n, classes]`, and how many classes;
    /// `None` where outputs are no probabilities, because the loss is the squared error.
    pub fn probabilities(&self, outputs: &[f32]) -> Option<(Vec<f64>, usize)> {
        let outputs = outputs.iter().copied().map(f64::from);
        match self.predictor.loss() {
            Loss::SoftmaxCrossEntropy => {
                Some((outputs.collect(), self.model().plan().output().len()))
            }
            Loss::BinaryCrossEntropy => Some((outputs.flat_map(|p| [1.0 - p, p]).collect(), 2)),
            Loss::MeanSquaredError => None,
        }
    }

    /// The most probable class of each sample; `None` for a sample whose outputs are NaN or belong to no
    /// class.
    ///
    /// # Errors
    /// As [`Self::predict`].
    pub fn classes(&mut self, samples: &Samples) -> Result<Vec<Option<u8>>> {
        self.check(samples)?;
        let Self { predictor, scale, pool, .. } = self;
        let cut = predictor.model().plan().input_cut();
        let mut all = Vec::with_capacity(samples.len());
        pool.enter(|team| {
            in_batches(team, samples, scale, cut, |x, n, _| {
                let start = all.len();
                all.resize(start + n, None);
                predictor.classify(team, x, &mut all[start..])
            })
        })?;
        Ok(all)
    }

    /// Loss and accuracy on samples with their targets. Accuracy is 0 where targets are values.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if the samples, or their targets, do not fit.
    pub fn evaluate(&mut self, samples: &Samples) -> Result<Score> {
        self.check(samples)?;
        let Self { predictor, scale, pool, .. } = self;
        let cut = predictor.model().plan().input_cut();
        let mut sum = BatchResult::default();
        pool.enter(|team| {
            in_batches(team, samples, scale, cut, |x, _, targets| {
                sum += predictor.evaluate(team, x, targets)?;
                Ok(())
            })
        })?;
        Ok(Score { loss: sum.loss(), accuracy: sum.accuracy() })
    }

    fn check(&self, samples: &Samples) -> Result<()> {
        if samples.shape() == self.sample {
            return Ok(());
        }
        Err(Error::Mismatch(format!(
            "samples of shape {} for a network that was trained on {}",
            samples.shape(),
            self.sample
        )))
    }
}

/// The number of classes that a saved network of this task has outputs for, read from the tensor axis in
/// which a network for two classes differs from one for three. Where the two do not differ, any number will
/// do.
fn classes_of(tensors: &Tensors<'_>, task: &Task, input: Shape) -> Result<usize> {
    const TWO: usize = 2;
    let plans = [TWO, TWO + 1].map(|classes| Plan::new(input, &task.layers_for(classes)));
    let [two, three] = plans;
    let (two, three) = (two?, three?);
    for (two, three) in two.params().iter().zip(three.params()) {
        let mut axes = two.shape.iter().zip(&three.shape);
        let Some(axis) = axes.position(|(two, three)| two != three) else { continue };
        let shape = tensors.shape(&two.name).unwrap_or_default();
        return shape.get(axis).copied().filter(|&n| n > 0).ok_or_else(|| {
            tensors.fault(format!("it has no tensor '{}' that tells its classes", two.name))
        });
    }
    Ok(TWO)
}

impl fmt::Debug for Trained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { predictor, history, pool, .. } = self;
        f.debug_struct("Trained")
            .field("layers", &predictor.model().plan().layers().len())
            .field("epochs", &history.epochs.len())
            .field("threads", &pool.threads())
            .finish_non_exhaustive()
    }
}
