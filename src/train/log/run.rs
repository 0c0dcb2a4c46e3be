//! One run as a line of the log has it.

use crate::train::history::{Epoch, History};
use crate::train::record::ResultRecord;
use crate::train::stopping::improves;
use crate::train::{Keep, RunFolder, Task};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use std::path::Path;
use threadcount_kernels::Precision;
use threadcount_kernels::machine::machine;

/// A run: what decided it, how far it came, and what came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoggedRun {
    /// The recipe's name.
    pub recipe: String,
    /// The seed.
    pub seed: u64,
    /// The name of what the data are.
    pub data: String,
    /// The version of threadcount that started it.
    pub version: String,
    /// The CPU of the machine that last trained it; `None` if nothing says.
    #[serde(default)]
    pub cpu: Option<String>,
    /// Its threads.
    pub threads: usize,
    /// Its instruction set.
    pub isa: String,
    /// Its precision; older lists, whose runs had one, do not say.
    #[serde(default = "f32")]
    pub precision: String,
    /// The epochs that it is to train.
    pub epochs: usize,
    /// The last epoch that was trained.
    pub last: Option<Epoch>,
    /// The epoch whose weights are kept.
    pub kept: Option<Epoch>,
    /// What came of it, if it has finished.
    pub result: Option<ResultRecord>,
    /// Every setting of its task, with the keys of a task's file. Most readers need none of them.
    task: Box<RawValue>,
    /// The id that its checkpoint and its model also hold.
    pub id: String,
}

fn f32() -> String {
    Precision::F32.name().to_owned()
}

impl LoggedRun {
    /// The run in a folder.
    ///
    /// # Errors
    /// [`Error::Data`] if there is none, or its record or its history cannot be understood.
    pub fn of_folder(path: &Path) -> Result<Self> {
        let (folder, record) = RunFolder::open(path)?;
        let history = folder.read_history()?;
        Ok(Self {
            id: folder.id().to_owned(),
            version: record.version,
            recipe: record.recipe,
            seed: record.seed,
            data: record.data.identity,
            threads: record.threads,
            isa: record.isa,
            precision: record.task.precision.name().to_owned(),
            cpu: None,
            epochs: record.task.epochs,
            last: history.epochs.last().copied(),
            kept: kept(record.task.keep, &history),
            result: record.result,
            task: settings(&record.task)?,
        })
    }

    /// The same run, trained on the machine that this process runs on.
    pub(super) fn on_this_machine(self) -> Self {
        Self { cpu: Some(machine().cpu.clone()), ..self }
    }

    /// The epochs that were trained.
    pub fn epochs_done(&self) -> usize {
        self.last.map_or(0, |last| last.epoch)
    }

    /// Every setting of its task, as JSON with the keys of a task's file.
    pub fn task(&self) -> Value {
        // It was read as JSON before.
        serde_json::from_str(self.task.get()).unwrap_or_default()
    }

    /// Every setting of its task, with keys such as `optimizer.learning-rate` and `layer 3: units`; layers come
    /// last.
    pub fn settings(&self) -> Vec<(String, String)> {
        let mut settings = Vec::new();
        if let Value::Object(mut task) = self.task() {
            let layers = task.remove("layers");
            flatten("", &Value::Object(task), &mut settings);
            let layers = layers.as_ref().and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            for (number, layer) in (1..).zip(layers) {
                flatten(&format!("layer {number}: "), layer, &mut settings);
            }
        }
        settings
    }
}

/// The epoch whose weights a run of this history keeps.
fn kept(keep: Keep, history: &History) -> Option<Epoch> {
    let last = history.epochs.last().copied();
    let mut best = None;
    for epoch in &history.epochs {
        if improves(keep, best.as_ref(), epoch) {
            best = Some(*epoch);
        }
    }
    best.or(last)
}

/// The settings as JSON.
fn settings(task: &Task) -> Result<Box<RawValue>> {
    to_raw_value(&task.to_table()?)
        .map_err(|error| Error::Failed(format!("cannot write JSON: {error}")))
}

/// Adds every value inside of `value`, whose own key ends in a colon and a space or is empty.
fn flatten(key: &str, value: &Value, settings: &mut Vec<(String, String)>) {
    match value {
        Value::Object(values) => {
            for (name, value) in values {
                let dot = if key.is_empty() || key.ends_with(": ") { "" } else { "." };
                flatten(&format!("{key}{dot}{name}"), value, settings);
            }
        }
        Value::String(text) => settings.push((key.to_owned(), text.clone())),
        value => settings.push((key.to_owned(), value.to_string())),
    }
}
