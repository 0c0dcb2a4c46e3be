//! `search.toml`: what decides a search, and what came of each trial so far.

use super::axis::Axis;
use super::halving::{self, Metric};
use super::space::{Settings, Space};
use crate::data::Split;
use crate::toml_file::{Fault, Table};
use crate::train::history::Epoch;
use crate::train::record::{check_seal, sealed};
use crate::train::stopping::improves;
use crate::train::{DataRecord, Keep, Record, Session, Task, task_file};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Incremented when the meaning of `search.toml` changes.
const FORMAT: u32 = 1;

/// Everything that decides what comes of a search.
#[derive(Clone, Debug)]
pub struct Definition {
    /// The version of threadcount that started the search.
    pub version: String,
    /// The recipe's name.
    pub recipe: String,
    /// The seed of all trials, and of the draws.
    pub seed: u64,
    /// The instruction set; another one may round differently.
    pub isa: String,
    /// The kernel of bf16 products, where products are not in f32.
    pub bf16_kernel: Option<String>,
    /// What trials are compared by.
    pub metric: Metric,
    /// One trial in this many goes on from rung to rung; `None`: all train to their end.
    pub halving: Option<usize>,
    /// The settings that are tried.
    pub space: Space,
    /// The task that every trial changes.
    pub task: Task,
    /// The data that all train on.
    pub data: DataRecord,
}

/// What a trial scores on the validation samples, with the weights that its task keeps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scores {
    /// Mean loss per sample.
    pub val_loss: f64,
    /// Share classified correctly.
    pub val_accuracy: f64,
}

/// What came of a trial in a rung.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The trial's number, from 1.
    pub trial: usize,
    /// The rung's number, from 1.
    pub rung: usize,
    /// Epochs trained until then.
    pub epochs: usize,
    /// `None` if it diverged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scores: Option<Scores>,
}

/// The plain values of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plain {
    version: String,
    recipe: String,
    seed: u64,
    isa: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bf16_kernel: Option<String>,
    metric: Metric,
    #[serde(skip_serializing_if = "Option::is_none")]
    halving: Option<usize>,
    axes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    draws: Option<usize>,
    data: DataRecord,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    results: Vec<Row>,
}

impl Scores {
    /// The scores of the epoch whose weights are kept; `None` without epochs.
    pub(super) fn of(epochs: &[Epoch], keep: Keep) -> Option<Self> {
        let mut kept = epochs.last()?;
        if keep != Keep::Last {
            let mut best = None;
            for epoch in epochs {
                if improves(keep, best, epoch) {
                    best = Some(epoch);
                }
            }
            kept = best.unwrap_or(kept);
        }
        Some(Self { val_loss: kept.val_loss, val_accuracy: kept.val_accuracy })
    }
}

impl Definition {
    /// The settings of every trial.
    ///
    /// # Errors
    /// As [`Space::trials`].
    pub fn trials(&self) -> Result<Vec<Settings>> {
        self.space.trials(self.seed)
    }

    /// The task of every trial, in order.
    ///
    /// # Errors
    /// [`Error::Setting`] and [`Error::Usage`] with the trial whose settings are out of range, or do not fit
    /// the task or each other; [`Error::Usage`] if epochs are an axis of a search with halving.
    pub fn tasks(&self) -> Result<Vec<Task>> {
        if let Some(factor) = self.halving {
            if factor < 2 {
                return Err(Error::Usage(format!(
                    "halving: one of 2 trials or more goes on, not one of {factor}"
                )));
            }
            if self.space.axes().iter().any(|axis| axis.option.name == "epochs") {
                return Err(Error::Usage(
                    "epochs: a search that halves compares trials after as many epochs; search them \
                     without halving"
                        .to_owned(),
                ));
            }
        }
        let task = |(number, settings): (usize, &Settings)| {
            let task = self.space.changes(settings)?.apply(self.task.clone());
            let task = task.and_then(|task| task.check().map(|()| task));
            task.map_err(|error| self.locate(number, settings, error))
        };
        (1..).zip(&self.trials()?).map(task).collect()
    }

    /// Checks that all trials can be trained on these samples; returns the bytes of memory that each takes.
    ///
    /// # Errors
    /// As [`Definition::tasks`] and [`Session::check`].
    pub fn check(&self, split: &Split) -> Result<Vec<u64>> {
        let trials = self.trials()?;
        let check = |((number, settings), task): ((usize, &Settings), &Task)| {
            let memory = Session::check(task, split);
            memory.map_err(|error| self.locate(number, settings, error))
        };
        (1..).zip(&trials).zip(&self.tasks()?).map(check).collect()
    }

    /// A fault of a trial, with its settings.
    fn locate(&self, number: usize, settings: &Settings, error: Error) -> Error {
        let trial = format!("trial {number} ({})", self.space.told(settings));
        match error {
            Error::Setting { name, fault } => {
                Error::Setting { name, fault: format!("{fault}; in {trial}") }
            }
            Error::Usage(fault) => Error::Usage(format!("{trial}: {fault}")),
            error => error,
        }
    }

    /// The epochs after which trials are compared; the last of them is the end of every trial.
    pub fn rungs(&self) -> Vec<usize> {
        match self.halving {
            None => vec![usize::MAX],
            Some(factor) => halving::rungs(self.task.epochs, factor),
        }
    }

    /// How many trials each rung has, if none diverges.
    pub fn planned(&self, trials: usize) -> Vec<usize> {
        let factor = self.halving.unwrap_or(1);
        let sizes = std::iter::successors(Some(trials), |n| Some(n.div_ceil(factor)));
        sizes.take(self.rungs().len()).collect()
    }

    /// The record of a run of this task, which is a trial's or the search's own.
    pub fn record(&self, task: Task, threads: usize) -> Record {
        Record {
            version: self.version.clone(),
            recipe: self.recipe.clone(),
            seed: self.seed,
            threads,
            isa: self.isa.clone(),
            bf16_kernel: self.bf16_kernel.clone(),
            task,
            data: self.data.clone(),
            init: None,
            result: None,
        }
    }

    /// The text of the file.
    ///
    /// # Errors
    /// [`Error::Usage`] for what a file cannot hold, such as a user-defined layer.
    pub(super) fn text(&self, rows: &[Row]) -> Result<String> {
        let Self { version, recipe, seed, isa, bf16_kernel, metric, halving, space, task, data } =
            self;
        data.check_origin("search.toml")?;
        let plain = Plain {
            version: version.clone(),
            recipe: recipe.clone(),
            seed: *seed,
            isa: isa.clone(),
            bf16_kernel: bf16_kernel.clone(),
            metric: *metric,
            halving: *halving,
            axes: space.axes().iter().map(Axis::to_string).collect(),
            draws: space.draws(),
            data: data.clone(),
            results: rows.to_vec(),
        };
        let body = toml::to_string(&plain)
            .map_err(|error| Error::Failed(format!("cannot write search.toml: {error}")))?;
        let body = format!("{body}\n[task]\n{}", task.to_toml()?);
        let about = "A search of threadcount; 'threadcount search --resume' reads it.";
        Ok(sealed(about, FORMAT, &body))
    }

    /// From [`Search::definition_text`](super::Search::definition_text) of rank 0.
    ///
    /// # Errors
    /// [`Error::Data`] if it is none.
    pub fn of_first(text: &str) -> Result<Self> {
        let parsed = Self::parse(text);
        let (definition, _) = parsed.map_err(|fault| Error::data("the search of rank 0", fault))?;
        Ok(definition)
    }

    /// Parses the text of a file.
    pub(super) fn parse(text: &str) -> std::result::Result<(Self, Vec<Row>), String> {
        let broken = |fault: Fault| format!("not the file of a search: {fault}");
        let mut table = Table::parse(text).map_err(broken)?;
        let format = match table.take("format") {
            Some(value) => value.read(u32::deserialize).map_err(broken)?,
            None => return Err("not the file of a search: 'format' is missing".to_owned()),
        };
        if format != FORMAT {
            return Err(format!(
                "it has format {format}, where this version of threadcount reads {FORMAT}"
            ));
        }
        check_seal(&mut table, text)?;
        let Some(task) = table.take("task") else {
            return Err("not the file of a search: [task] is missing".to_owned());
        };
        let task = task.into_table("task").and_then(task_file::read).map_err(broken)?;
        let plain: Plain = table.rest().map_err(broken)?;
        let broken = |error: Error| format!("not the file of a search: {error}");
        let axes = plain.axes.iter().map(|text| Axis::parse(text)).collect::<Result<_>>();
        let space = axes.and_then(|axes| Space::new(axes, plain.draws)).map_err(broken)?;
        let Plain {
            version, recipe, seed, isa, bf16_kernel, metric, halving, data, results, ..
        } = plain;
        data.check().map_err(|fault| format!("not the file of a search: {fault}"))?;
        let definition =
            Self { version, recipe, seed, isa, bf16_kernel, metric, halving, space, task, data };
        let trials = definition.tasks().map_err(broken)?.len();
        let rungs = definition.rungs().len();
        let is_one =
            |row: &Row| (1..=trials).contains(&row.trial) && (1..=rungs).contains(&row.rung);
        let is_finite = |row: &Row| {
            row.scores.is_none_or(|s| s.val_loss.is_finite() && s.val_accuracy.is_finite())
        };
        if !results.iter().all(|row| is_one(row) && is_finite(row)) {
            return Err("not the file of a search: a result of no trial".to_owned());
        }
        Ok((definition, results))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Activation, dense};

    fn definition(axes: &[&str], draws: Option<usize>, halving: Option<usize>) -> Definition {
        let axes = axes.iter().map(|text| Axis::parse(text).unwrap()).collect();
        Definition {
            version: "0".to_owned(),
            recipe: "none".to_owned(),
            seed: 3,
            isa: "avx2".to_owned(),
            bf16_kernel: None,
            metric: Metric::ValLoss,
            halving,
            space: Space::new(axes, draws).unwrap(),
            task: Task {
                layers: vec![dense(3, Activation::Relu), dense(2, Activation::Linear)],
                epochs: 9,
                ..Task::default()
            },
            data: Record::example().data,
        }
    }

    #[test]
    fn the_file_reads_as_it_was_written() {
        let scores = Some(Scores { val_loss: 0.1 + 0.2, val_accuracy: 1.0 / 3.0 });
        let rows = [
            Row { trial: 1, rung: 1, epochs: 1, scores },
            Row { trial: 2, rung: 1, epochs: 0, scores: None },
        ];
        for (draws, halving) in [(None, None), (Some(4), Some(3))] {
            let was = definition(&["learning-rate=0.1,0.2", "batch-size=2,4"], draws, halving);
            for rows in [&rows[..], &[]] {
                let text = was.text(rows).unwrap();
                let (read, found) = Definition::parse(&text).unwrap();
                assert_eq!(found, rows);
                assert_eq!(read.text(&found).unwrap(), text);
                assert_eq!((read.space, read.halving), (was.space.clone(), halving));
                assert_eq!(read.metric, Metric::ValLoss);
                assert!(read.task.difference(&was.task).unwrap().is_none());
            }
        }
    }

    #[test]
    fn a_file_that_was_changed_is_refused() {
        let text = definition(&["batch-size=2,4"], None, Some(3)).text(&[]).unwrap();
        let refused = |text: &str, said: &str| {
            let fault = Definition::parse(text).unwrap_err();
            assert!(fault.contains(said), "{fault}");
        };
        refused(&text.replace("batch-size=2,4", "batch-size=2,8"), "changed since");
        refused(&text.replace("format = 1", "format = 9"), "format 9");
        refused("", "'format' is missing");
        let lines = text.lines().filter(|line| !line.starts_with("checksum"));
        let open = lines.collect::<Vec<_>>().join("\n");
        Definition::parse(&open).unwrap();
        refused(&open.replace("[task]", "[other]"), "[task] is missing");
        refused(&open.replace("batch-size=2,4", "batch-siz=2,4"), "did you mean");
        refused(&open.replace("batch-size=2,4", "batch-size=2,0"), "at least 1");
        refused(&open.replace("halving = 3", "halving = 1"), "2 trials or more");
        refused(&open.replace("classes = 2\n", "classes = 0\n"), "data.classes: 1 to 256");
        refused(&open.replace("classes = 2\n", "classes = 9999\n"), "data.classes: 1 to 256");
        let other = "[[results]]\ntrial = 3\nrung = 1\nepochs = 1\n\n[task]";
        refused(&open.replace("[task]", other), "of no trial");
        refused(&open.replace("metric = \"val_loss\"", "metric = \"loss\""), "val_accuracy");
    }

    #[test]
    fn settings_that_do_not_fit_are_named_with_their_trial() {
        let refused = |axes: &[&str], said: &[&str]| {
            let error = definition(axes, None, None).tasks().unwrap_err();
            assert_eq!(error.exit_code(), 2);
            said.iter().for_each(|said| assert!(error.to_string().contains(said), "{error}"));
        };
        refused(&["batch-size=4,0"], &["batch-size: at least 1", "trial 2 (batch-size 0)"]);
        refused(&["learning-rate=0.1,-1"], &["must be positive", "trial 2 (learning-rate -1)"]);
        refused(&["dropout=0.1"], &["no dropout layer"]);
        refused(&["warm-up=0,9"], &["9 epochs of 9", "trial 2"]);
        let both = ["optimizer=sgd,adam", "momentum=0.5"];
        refused(&both, &["Adam has its own", "trial 2 (optimizer adam, momentum 0.5)"]);
        let error = definition(&["epochs=1,2"], None, Some(3)).tasks().unwrap_err();
        assert!(error.to_string().contains("without halving"), "{error}");
        assert_eq!(definition(&["epochs=1,2"], None, None).tasks().unwrap()[1].epochs, 2);
    }

    #[test]
    fn the_seed_is_that_of_the_draws() {
        let mut definition = definition(&["learning-rate=0.001..0.1:log"], Some(3), None);
        let trials = definition.trials().unwrap();
        assert_eq!(trials, definition.space.trials(3).unwrap());
        for (task, settings) in definition.tasks().unwrap().iter().zip(&trials) {
            assert_eq!(task.optimizer.learning_rate(), settings[0].parse::<f32>().unwrap());
        }
        definition.seed = 4;
        assert_ne!(definition.trials().unwrap(), trials);
    }

    #[test]
    fn rungs_are_of_the_tasks_epochs() {
        let definition = |halving| definition(&["batch-size=2,4"], None, halving);
        assert_eq!(definition(Some(3)).rungs(), [1, 3, 9]);
        assert_eq!(definition(Some(2)).rungs(), [3, 5, 9]);
        assert_eq!(definition(None).rungs(), [usize::MAX]);
        assert_eq!(definition(Some(3)).planned(24), [24, 8, 3]);
        assert_eq!(definition(None).planned(24), [24]);
    }

    /// Computed by hand: the scores of the epoch that a run keeps.
    #[test]
    fn scores_are_of_the_epoch_that_is_kept() {
        let epoch = |epoch, val_loss, val_accuracy| Epoch {
            epoch,
            accuracy: 0.0,
            loss: 0.0,
            val_accuracy,
            val_loss,
        };
        let epochs =
            [epoch(1, 0.5, 0.7), epoch(2, 0.3, 0.8), epoch(3, 0.4, 0.9), epoch(4, 0.6, 0.9)];
        let of =
            |n: usize, keep| Scores::of(&epochs[..n], keep).map(|s| (s.val_loss, s.val_accuracy));
        assert_eq!(of(4, Keep::Last), Some((0.6, 0.9)));
        assert_eq!(of(4, Keep::BestLoss), Some((0.3, 0.8)));
        assert_eq!(of(4, Keep::BestAccuracy), Some((0.4, 0.9)));
        assert_eq!(of(1, Keep::BestAccuracy), Some((0.5, 0.7)));
        assert_eq!(of(0, Keep::Last), None);
    }
}
