//! The folder of one run: `run.toml` (everything that decided it, and what came of it), `history.csv`,
//! `checkpoint.safetensors`, `model.safetensors` and `curves.svg`; and `.lock`, which the process that trains
//! the run holds. The program adds `sessions.json` (its machine, each epoch's time) and `report.html`.

use super::fit::Trained;
use super::folder_contents;
use super::history::History;
use super::locked::{Lock, begin, numbered};
use super::record::{Record, ResultRecord};
use super::session::Session;
use crate::data::Samples;
use crate::files::write_atomically;
use crate::nn::io::model_file::{self, Origin};
use crate::nn::io::weights::InitialWeights;
use crate::toml_file::read_text;
use crate::{Error, Result};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use threadcount_kernels::{Pool, Team};

/// The folder of one run.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// The id of the run, which its checkpoint and its model also hold.
    id: String,
    /// Held by the process that trains the run, for as long as it lives.
    _lock: Option<Lock>,
}

/// What a session begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// The checkpoint.
    Checkpoint,
    /// Nothing: the run ended before it saved anything.
    NothingSaved,
}

const NOT_FINITE: &str = "training diverged: the mean loss of the test samples is not a finite number; no model is saved";

impl RunFolder {
    /// Starts a run in `path`, which is made if it does not exist.
    ///
    /// # Errors
    /// [`Error::RunExists`]; [`Error::Usage`] for a record that no file can hold; [`Error::Io`]. A folder
    /// that was created is then removed again.
    pub fn start(path: &Path, record: &Record) -> Result<Self> {
        // Everything that can be refused is checked before anything is created.
        let id = record.id()?;
        let text = record.text(&id)?;
        let lock = begin(path, "run.toml", &text)?;
        Ok(Self { path: path.to_owned(), id, _lock: Some(lock) })
    }

    /// Starts a run in the first free one of `root/name`, `root/name-2`, `root/name-3` ...
    ///
    /// # Errors
    /// As [`RunFolder::start`].
    pub fn start_numbered(root: &Path, name: &str, record: &Record) -> Result<Self> {
        numbered(root, name, |path| Self::start(path, record))
    }

    /// Opens the folder of a run that was started before, and its record, for reading.
    ///
    /// # Errors
    /// [`Error::Data`] if there is no run, or its record cannot be understood.
    pub fn open(path: &Path) -> Result<(Self, Record)> {
        let mut folder = Self { path: path.to_owned(), id: String::new(), _lock: None };
        let record = folder.read_record()?;
        Ok((folder, record))
    }

    /// Like [`RunFolder::open`], for training: only one process at a time.
    ///
    /// # Errors
    /// As [`RunFolder::open`]; [`Error::RunBusy`].
    pub fn open_to_train(path: &Path) -> Result<(Self, Record)> {
        let (mut folder, _) = Self::open(path)?;
        folder._lock = Some(Lock::take(path)?);
        // The process that held the lock until now may have rewritten it.
        let record = folder.read_record()?;
        Ok((folder, record))
    }

    fn read_record(&mut self) -> Result<Record> {
        let path = self.record_path();
        let text = match read_text(&path) {
            Ok(text) => text,
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Err(Error::data(&self.path, "no run here (it has no run.toml)"));
            }
            Err(Error::Usage(_)) => return Err(Error::data(path, "not the record of a run")),
            Err(error) => return Err(error),
        };
        let (record, id) = Record::parse(&text).map_err(|fault| Error::data(path, fault))?;
        self.id = id;
        Ok(record)
    }

    /// The id of its run.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Where the folder is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of the run's files that are there.
    pub fn files(&self) -> Vec<String> {
        folder_contents::files(&self.path)
    }

    /// Where the checkpoint is, or would be.
    pub fn checkpoint_path(&self) -> PathBuf {
        self.path.join("checkpoint.safetensors")
    }

    /// Where the trained model is, or would be.
    pub fn model_path(&self) -> PathBuf {
        self.path.join("model.safetensors")
    }

    fn history_path(&self) -> PathBuf {
        self.path.join("history.csv")
    }

    fn curves_path(&self) -> PathBuf {
        self.path.join("curves.svg")
    }

    fn record_path(&self) -> PathBuf {
        self.path.join("run.toml")
    }

    /// Rewrites `run.toml`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_record(&self, record: &Record) -> Result<()> {
        write_atomically(&self.record_path(), record.text(&self.id)?.as_bytes())
    }

    /// Saves the session: the checkpoint and the history.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, session: &Session<'_>) -> Result<()> {
        write_atomically(&self.checkpoint_path(), &session.checkpoint_of(&self.id)?)?;
        self.write_history(session)
    }

    /// Resumes the run where it was saved; the session has to have the record's task, data and seed.
    ///
    /// # Errors
    /// [`Error::Data`] if the checkpoint is damaged or of another run, or missing though the run was saved: a
    /// trained run is not silently started over.
    pub fn resume(&self, session: &mut Session<'_>, record: &Record) -> Result<Beginning> {
        let path = self.checkpoint_path();
        if path.exists() {
            session.resume_of(&path, Some(&self.id))?;
            return Ok(Beginning::Checkpoint);
        }
        let others = [self.history_path(), self.model_path(), self.curves_path()];
        if record.init.is_none()
            && record.result.is_none()
            && !others.iter().any(|path| path.exists())
        {
            return Ok(Beginning::NothingSaved);
        }
        Err(Error::data(
            path,
            "missing, though this run was saved: put it back, or train anew into another folder",
        ))
    }

    /// Writes the history.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_history(&self, session: &Session<'_>) -> Result<()> {
        session.progress().history.write_csv(&self.history_path())
    }

    /// The history as it was last written; empty before the end of the first epoch.
    ///
    /// # Errors
    /// [`Error::Data`] if it is not one; [`Error::Io`].
    pub fn read_history(&self) -> Result<History> {
        match History::read_csv(&self.history_path()) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                Ok(History::default())
            }
            result => result,
        }
    }

    /// Writes the learning curves.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_curves(&self, svg: &str) -> Result<()> {
        write_atomically(&self.curves_path(), svg.as_bytes())
    }

    /// Writes the session's network as a model: its named parameters and moving statistics, and
    /// the scale that its inputs need (`input/factors`, `input/offsets`).
    ///
    /// # Errors
    /// [`Error::Failed`] if a weight is not a finite number; [`Error::Io`].
    pub fn write_model(&self, session: &Session<'_>) -> Result<()> {
        let model = session.network().model();
        if model.params().iter().chain(model.state()).any(|x| !x.is_finite()) {
            return Err(Error::Failed(
                "training diverged: the network holds what is not a finite number; no model is saved"
                    .to_owned(),
            ));
        }
        let epochs = session.progress().history.epochs.len();
        let epoch = session.progress().best.map_or(epochs, |best| best.epoch);
        let origin = Origin { run: self.id.clone(), epochs, epoch };
        model_file::write(&self.model_path(), model, session.scale(), origin)
    }

    /// Evaluates a finished session on the test samples, and writes the model, the history and `record`
    /// with the result.
    ///
    /// # Errors
    /// [`Error::Failed`] if a weight or the score is not a finite number: then nothing is written;
    /// [`Error::Io`].
    pub fn conclude(
        &self,
        team: &Team,
        session: &mut Session<'_>,
        record: &Record,
    ) -> Result<ResultRecord> {
        let score = session.test(team)?;
        if !score.loss.is_finite() {
            return Err(Error::Failed(NOT_FINITE.to_owned()));
        }
        self.write_model(session)?;
        self.write_history(session)?;
        let progress = session.progress();
        let result = ResultRecord {
            epochs: progress.history.epochs.len(),
            test_loss: score.loss,
            test_accuracy: score.accuracy,
            train_seconds: progress.train_seconds,
            images_per_second: progress.images_per_second(),
        };
        self.write_record(&Record { result: Some(result.clone()), ..record.clone() })?;
        Ok(result)
    }

    /// Writes a network that was trained without a session of its own: the model, the history and `record` with the
    /// result. There is no checkpoint: the run cannot be resumed. `train_seconds` are those of the whole training.
    ///
    /// # Errors
    /// [`Error::Failed`] if the score on the test samples is not a finite number; [`Error::Io`].
    pub fn write_trained(
        &self,
        record: &Record,
        trained: &mut Trained,
        test: &Samples,
        train_seconds: f64,
    ) -> Result<()> {
        let score = trained.evaluate(test)?;
        if !score.loss.is_finite() {
            return Err(Error::Failed(NOT_FINITE.to_owned()));
        }
        trained.save_of(&self.model_path(), &self.id)?;
        trained.history().write_csv(&self.history_path())?;
        let epochs = trained.history().epochs.len();
        let images = (epochs * record.data.training) as f64;
        let result = ResultRecord {
            epochs,
            test_loss: score.loss,
            test_accuracy: score.accuracy,
            train_seconds,
            images_per_second: images / train_seconds,
        };
        self.write_record(&Record { result: Some(result), ..record.clone() })
    }

    /// The trained network of `record`, as [`RunFolder::write_model`] wrote it.
    ///
    /// # Errors
    /// [`Error::Failed`] if the run has not finished; [`Error::Data`] if the model is missing, damaged,
    /// or not the one that the record describes.
    pub fn trained(&self, record: &Record, pool: Pool) -> Result<Trained> {
        let path = self.finished_model(record)?;
        let Some(sample) = record.data.shape() else {
            return Err(Error::data(self.record_path(), "data.sample: one to three sizes"));
        };
        let classes = record.task.selection.classes.count(record.data.classes);
        let trained = Trained::of_file(&path, &record.task, sample, Some(classes), pool)?;
        self.check_origin(record, trained.origin())?;
        Ok(trained)
    }

    /// The weights of its trained network, for another run to start with.
    ///
    /// # Errors
    /// As [`RunFolder::trained`].
    pub fn weights(&self, record: &Record) -> Result<InitialWeights> {
        let weights = InitialWeights::read(&self.finished_model(record)?)?;
        self.check_origin(record, weights.origin())?;
        Ok(weights)
    }

    /// The model of a run that has finished.
    fn finished_model(&self, record: &Record) -> Result<PathBuf> {
        let (path, shown) = (self.model_path(), self.path.display());
        if record.result.is_none() {
            let older = if path.exists() {
                ": its model is of an earlier end, before it was made longer"
            } else {
                " and has no trained model yet"
            };
            return Err(Error::Failed(format!(
                "{shown} is not finished{older}; finish it with 'threadcount train --resume {shown}'"
            )));
        };
        if !path.exists() {
            return Err(Error::data(
                path,
                format!("missing; 'threadcount train --resume {shown}' writes it again"),
            ));
        }
        Ok(path)
    }

    /// Checks that the model is the one that the record describes.
    fn check_origin(&self, record: &Record, origin: Option<&Origin>) -> Result<()> {
        let (path, shown) = (self.model_path(), self.path.display());
        let epochs = record.result.as_ref().map_or(0, |result| result.epochs);
        match origin {
            Some(origin) if origin.run != self.id => {
                Err(Error::data(path, "of another run than run.toml: put its own one back"))
            }
            Some(origin) if origin.epochs != epochs => Err(Error::data(
                path,
                format!(
                    "of a run of {} epochs, where run.toml tells of {}: \
                     'threadcount train --resume {shown}' writes it again",
                    origin.epochs, epochs
                ),
            )),
            _ => Ok(()),
        }
    }
}
