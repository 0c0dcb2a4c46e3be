//! The folder of one run: `run.toml` (everything that decided it, and what came of it),
//! `history.csv`, `checkpoint.safetensors`, `model.safetensors` and `curves.svg`.

use super::session::Session;
use super::task::Task;
use super::task_file;
use crate::data::{CLASS_NAMES, Dataset, Split};
use crate::files::{hex, write_atomically, write_new};
use crate::nn::io::model_file;
use crate::toml_file::{Fault, Table};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Raised when the meaning of `run.toml` changes.
const FORMAT: u32 = 2;

/// The folder of one run.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
}

/// The contents of `run.toml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The version of threadcount that started the run.
    pub version: String,
    /// The recipe's name.
    pub recipe: String,
    /// The seed of weights, splits, shuffling and dropout.
    pub seed: u64,
    /// Threads; they do not change the result.
    pub threads: usize,
    /// The instruction set; another one rounds differently.
    pub isa: String,
    /// The task as it is trained, with what the command line changed about the recipe.
    #[serde(skip)]
    pub task: Task,
    /// The data it is trained on.
    pub data: DataRecord,
    /// What came of it, once training has finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<ResultRecord>,
}

/// The data of a run as `run.toml` spells them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataRecord {
    /// What the data are known as.
    pub identity: String,
    /// Where they were.
    pub origin: PathBuf,
    /// SHA-256 over the pixels and classes of both parts.
    pub sha256: String,
    /// The label of the set's first class.
    #[serde(default)]
    pub first_label: u32,
    /// Classes of the set, before a selection; 0 in runs of versions that had ten.
    #[serde(default)]
    pub classes: usize,
    /// Training samples.
    pub training: usize,
    /// Validation samples.
    pub validation: usize,
    /// Test samples.
    pub test: usize,
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResultRecord {
    /// Epochs trained.
    pub epochs: usize,
    /// Mean loss per test sample.
    pub test_loss: f64,
    /// Share of test samples classified correctly.
    pub test_accuracy: f64,
    /// Wall time of training and validation.
    pub train_seconds: f64,
    /// Training samples per second of training steps.
    pub images_per_second: f64,
}

impl DataRecord {
    /// The facts about `dataset` and the samples that a task takes from it.
    pub fn of(dataset: &Dataset, split: &Split) -> Self {
        let mut sha = Sha256::new();
        for part in [&dataset.train, &dataset.test] {
            sha.update(part.images.as_slice());
            sha.update(part.labels.as_slice());
        }
        Self {
            identity: dataset.identity.name().to_owned(),
            origin: dataset.origin.clone(),
            sha256: hex(&sha.finalize()),
            first_label: dataset.first_label(),
            classes: dataset.class_list.names.len(),
            training: split.train.len(),
            validation: split.validation.len(),
            test: split.test.len(),
        }
    }
}

impl DataRecord {
    /// The classes of `dataset` numbered as those that the run was trained on.
    ///
    /// # Errors
    /// [`Error::Data`] if it has others.
    pub fn number(&self, dataset: Arc<Dataset>) -> Result<Arc<Dataset>> {
        let classes = if self.classes == 0 { CLASS_NAMES.len() } else { self.classes };
        let ours = (dataset.first_label(), dataset.class_list.names.len());
        if ours == (self.first_label, classes) {
            return Ok(dataset);
        }
        dataset.numbered_as(self.first_label, classes).map(Arc::new)
    }
}

impl RunFolder {
    /// Starts a run in `path`, which is made if it does not exist.
    ///
    /// # Errors
    /// [`Error::RunExists`]; [`Error::Io`].
    pub fn start(path: &Path, record: &Record) -> Result<Self> {
        let folder = Self { path: path.to_owned() };
        fs::create_dir_all(path).map_err(Error::io(path))?;
        match write_new(&folder.record_path(), record.text()?.as_bytes()) {
            Ok(()) => Ok(folder),
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::AlreadyExists => {
                Err(Error::RunExists { path: path.to_owned() })
            }
            Err(error) => Err(error),
        }
    }

    /// Starts a run in the first free one of `root/name`, `root/name-2`, `root/name-3` ...
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn start_numbered(root: &Path, name: &str, record: &Record) -> Result<Self> {
        let mut number = 1;
        loop {
            let path = root.join(match number {
                1 => name.to_owned(),
                _ => format!("{name}-{number}"),
            });
            match Self::start(&path, record) {
                Err(Error::RunExists { .. }) => number += 1,
                other => return other,
            }
        }
    }

    /// The folder of a run that was started before, and its record.
    ///
    /// # Errors
    /// [`Error::Failed`] if there is no run, or its record cannot be understood.
    pub fn open(path: &Path) -> Result<(Self, Record)> {
        let folder = Self { path: path.to_owned() };
        let record_path = folder.record_path();
        let text = match fs::read_to_string(&record_path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(Error::Failed(format!(
                    "{}: no run here (it has no run.toml)",
                    path.display()
                )));
            }
            Err(error) => return Err(Error::io(&record_path)(error)),
        };
        let record = Record::parse(&text)
            .map_err(|fault| Error::Failed(format!("{}: {fault}", record_path.display())))?;
        Ok((folder, record))
    }

    /// Where the folder is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the checkpoint is, or would be.
    pub fn checkpoint_path(&self) -> PathBuf {
        self.path.join("checkpoint.safetensors")
    }

    /// Where the trained model is, or would be.
    pub fn model_path(&self) -> PathBuf {
        self.path.join("model.safetensors")
    }

    fn record_path(&self) -> PathBuf {
        self.path.join("run.toml")
    }

    /// Rewrites `run.toml`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_record(&self, record: &Record) -> Result<()> {
        write_atomically(&self.record_path(), record.text()?.as_bytes())
    }

    /// Saves the session: the checkpoint and the history.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, session: &Session<'_>) -> Result<()> {
        write_atomically(&self.checkpoint_path(), &session.checkpoint()?)?;
        session.progress().history.write_csv(&self.path.join("history.csv"))
    }

    /// Writes the learning curves.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_curves(&self, svg: &str) -> Result<()> {
        write_atomically(&self.path.join("curves.svg"), svg.as_bytes())
    }

    /// Writes the session's network as a model: its named parameters and moving statistics, and
    /// the scale that its inputs need (`input/factors`, `input/offsets`).
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_model(&self, session: &Session<'_>) -> Result<()> {
        model_file::write(&self.model_path(), session.network().model(), session.scale())
    }

    /// Reads what [`RunFolder::write_model`] wrote into a session of the same task.
    ///
    /// # Errors
    /// [`Error::Io`] if there is no model, [`Error::Failed`] if it is damaged or of other layers.
    pub fn read_model(&self, session: &mut Session<'_>) -> Result<()> {
        let inputs = session.scale().inputs();
        let model = session.network_mut().model_mut();
        let scale = model_file::read(&self.model_path(), model, inputs)?;
        session.set_scale(scale);
        Ok(())
    }
}

impl Record {
    fn parse(text: &str) -> std::result::Result<Self, String> {
        let broken = |fault: Fault| format!("not the record of a run: {fault}");
        let mut table = Table::parse(text).map_err(broken)?;
        let format = match table.take("format") {
            Some(value) => Some(value.read(u32::deserialize).map_err(broken)?),
            None => None,
        };
        let task = table.take("task");
        if format != Some(FORMAT) {
            return Err(match (format, &task) {
                (None, None) => "not the record of a run: 'format' is missing".to_owned(),
                (None, Some(_)) => "this run was started by a version of threadcount that did not \
                                    record its network: train it anew"
                    .to_owned(),
                (Some(format), _) => format!(
                    "the record has format {format}, where this version of threadcount reads {FORMAT}"
                ),
            });
        }
        let Some(task) = task else {
            return Err("not the record of a run: [task] is missing".to_owned());
        };
        let task = task.into_table("task").and_then(task_file::read).map_err(broken)?;
        Ok(Self { task, ..table.rest().map_err(broken)? })
    }

    fn text(&self) -> Result<String> {
        let body = toml::to_string(self)
            .map_err(|error| Error::Failed(format!("cannot write run.toml: {error}")))?;
        let task = self.task.to_toml()?;
        Ok(format!(
            "# A run of threadcount; 'threadcount eval' and 'threadcount train --resume' read it.\n\
             format = {FORMAT}\n{body}\n[task]\n{task}"
        ))
    }
}
