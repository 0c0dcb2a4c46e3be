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
use crate::nn::io::model_file;
use crate::nn::{BatchResult, Model, Predictor};
use crate::{Error, Result};

/// What a fit runs on and starts from. None of it but the seed and the instruction set changes a bit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setup {
    /// Of weights, shuffling and dropout.
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
    /// Trains this task on these samples (its own selection is not asked) until its epochs are over,
    /// its patience is, or `watch` breaks off, which it is asked after every batch and every epoch.
    ///
    /// # Errors
    /// [`Error::Usage`] if the network does not fit the samples, [`Error::Mismatch`] if their targets
    /// do not fit its loss; [`Error::Diverged`]; [`Error::Memory`].
    pub fn fit(
        &self,
        split: &Split,
        setup: &Setup,
        mut watch: impl FnMut(&Session<'_>, Moment) -> ControlFlow<()> + Send,
    ) -> Result<Trained> {
        let pool = setup.pool()?;
        let mut session = Session::new(self, split, setup.seed)?;
        pool.enter(|team| session.train(team, &mut |session, moment| Ok(watch(session, moment))))?;
        let history = session.progress().history.clone();
        let (model, scale) = session.into_model();
        Trained::new(model, scale, self, split.train.shape(), history, pool)
    }
}

/// A trained network with what it takes to predict.
pub struct Trained {
    predictor: Predictor,
    scale: Scale,
    sample: Shape,
    history: History,
    pool: Pool,
}

impl Trained {
    fn new(
        model: Model,
        scale: Scale,
        task: &Task,
        sample: Shape,
        history: History,
        pool: Pool,
    ) -> Result<Self> {
        let predictor = Predictor::new(model, task.loss, EVALUATION_BATCH)?;
        Ok(Self { predictor, scale, sample, history, pool })
    }

    /// A network that was saved, of the layers of `task` and for samples of shape `sample`. It has no
    /// history.
    ///
    /// # Errors
    /// [`Error::Usage`] if the layers do not fit such samples; [`Error::Io`] if there is no file,
    /// [`Error::Failed`] if it is damaged or of other layers.
    pub fn load(path: &Path, task: &Task, sample: Shape, setup: &Setup) -> Result<Self> {
        let mut model = Model::new(task.input.of(sample)?, &task.layers, setup.seed)?;
        let scale = model_file::read(path, &mut model, sample.len())?;
        Self::new(model, scale, task, sample, History::default(), setup.pool()?)
    }

    /// Saves it as a safetensors file: the named tensors of the network, and the scale of its inputs.
    ///
    /// # Errors
    /// [`Error::Io`], and what stood there is untouched.
    pub fn save(&self, path: &Path) -> Result<()> {
        model_file::write(path, self.predictor.model(), &self.scale)
    }

    /// The network.
    pub fn model(&self) -> &Model {
        self.predictor.model()
    }

    /// The epochs that it was trained for.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// What the network makes of each sample, `[n, outputs]`: the probabilities of the classes (of
    /// class 1, for binary cross-entropy), or the plain outputs for squared errors.
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

    /// The class that the network finds most probable, for each sample; none for one whose outputs are NaN
    /// or no class's.
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
