//! What a list of runs can show, be sorted by and be filtered by.

use super::super::table;
use super::shown;
use crate::names::{nearest, shortened};
use crate::train::{Listed, LoggedRun};
use crate::{Error, Result};
use serde_json::{Map, Value};
use std::cmp::Ordering;

/// Something that is known of a run.
pub(super) struct Field {
    /// Its name in options and in JSON.
    pub(super) name: &'static str,
    /// Its name above a column.
    pub(super) heading: &'static str,
    first: First,
    of: Of,
    show: fn(&Value) -> String,
}

/// Which values come first when runs are sorted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum First {
    /// The least number or the first word.
    Lowest,
    /// The greatest number or the latest time.
    Highest,
}

/// Where a value is from.
enum Of {
    Listed(fn(&Listed) -> Option<Value>),
    Run(fn(&LoggedRun) -> Option<Value>),
}

/// The fields, in the order of columns.
pub(super) const FIELDS: [Field; 20] = {
    use First::{Highest, Lowest};
    use Of::{Listed, Run};
    [
        Field::new("run", "run", Lowest, Listed(|run| Some(shown(run).into())), words),
        Field::new("state", "state", Lowest, Listed(|run| Some(run.state.name().into())), words),
        Field::new(
            "started",
            "started (UTC)",
            Highest,
            Listed(|run| Some((*run.started).into())),
            minute,
        ),
        Field::new("recipe", "recipe", Lowest, Run(|run| Some((*run.recipe).into())), words),
        Field::new("seed", "seed", Lowest, Run(|run| Some(run.seed.into())), words),
        Field::new("epochs", "epochs", Lowest, Run(|run| Some(run.epochs_done().into())), words),
        Field::new(
            "accuracy",
            "train",
            Highest,
            Run(|run| Some(run.kept?.accuracy.into())),
            percent,
        ),
        Field::new("loss", "train loss", Lowest, Run(|run| Some(run.kept?.loss.into())), loss),
        Field::new(
            "val_accuracy",
            "val",
            Highest,
            Run(|run| Some(run.kept?.val_accuracy.into())),
            percent,
        ),
        Field::new(
            "val_loss",
            "val loss",
            Lowest,
            Run(|run| Some(run.kept?.val_loss.into())),
            loss,
        ),
        Field::new(
            "test_accuracy",
            "test",
            Highest,
            Run(|run| Some(run.result.as_ref()?.test_accuracy.into())),
            percent,
        ),
        Field::new(
            "test_loss",
            "loss",
            Lowest,
            Run(|run| Some(run.result.as_ref()?.test_loss.into())),
            loss,
        ),
        Field::new(
            "images_per_second",
            "images/s",
            Highest,
            Run(|run| Some(run.result.as_ref()?.images_per_second.into())),
            rate,
        ),
        Field::new(
            "train_seconds",
            "seconds",
            Lowest,
            Run(|run| Some(run.result.as_ref()?.train_seconds.into())),
            seconds,
        ),
        Field::new("data", "data", Lowest, Run(|run| Some((*run.data).into())), words),
        Field::new("threads", "threads", Lowest, Run(|run| Some(run.threads.into())), words),
        Field::new("isa", "isa", Lowest, Run(|run| Some((*run.isa).into())), words),
        Field::new(
            "precision",
            "precision",
            Lowest,
            Run(|run| Some((*run.precision).into())),
            words,
        ),
        Field::new("cpu", "cpu", Lowest, Run(|run| Some(run.cpu.as_deref()?.into())), words),
        Field::new("version", "version", Lowest, Run(|run| Some((*run.version).into())), words),
    ]
};

impl Field {
    const fn new(
        name: &'static str,
        heading: &'static str,
        first: First,
        of: Of,
        show: fn(&Value) -> String,
    ) -> Self {
        Self { name, heading, first, of, show }
    }

    /// The field of this name.
    ///
    /// # Errors
    /// [`Error::Usage`] with the names that there are.
    pub(super) fn named(name: &str) -> Result<&'static Self> {
        FIELDS.iter().find(|field| field.name == name).ok_or_else(|| unknown(name, &[]))
    }

    /// Its value.
    pub(super) fn value(&self, run: &Listed) -> Option<Value> {
        match self.of {
            Of::Listed(value) => value(run),
            Of::Run(value) => run.run.as_ref().and_then(value),
        }
    }

    /// Its value for people; a dash where there is none.
    pub(super) fn text(&self, run: &Listed) -> String {
        self.value(run).map_or("-".to_owned(), |value| (self.show)(&value))
    }

    /// The order of two runs by this field; runs without a value come last.
    pub(super) fn order(&self, a: &Listed, b: &Listed) -> Ordering {
        match (self.value(a), self.value(b)) {
            (Some(a), Some(b)) => {
                let order = match (&a, &b) {
                    (Value::Number(_), Value::Number(_)) => number(&a).total_cmp(&number(&b)),
                    _ => words(&a).cmp(&words(&b)),
                };
                if self.first == First::Highest { order.reverse() } else { order }
            }
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        }
    }
}

/// All that is known of a run, as JSON: the fields, and its settings.
pub(super) fn json(run: &Listed) -> Value {
    let fields =
        FIELDS.iter().map(|field| (field.name.to_owned(), field.value(run).unwrap_or(Value::Null)));
    let mut all: Map<String, Value> = fields.collect();
    all.insert("folder".to_owned(), run.path.display().to_string().into());
    if let Some(run) = &run.run {
        all.insert("id".to_owned(), (*run.id).into());
        all.insert("planned_epochs".to_owned(), run.epochs.into());
        all.insert("settings".to_owned(), run.task());
    }
    Value::Object(all)
}

/// A condition on runs: a field or a setting, and its value; one that ends in `*` stands for all that begin so.
pub(super) struct Filter {
    key: String,
    wanted: String,
}

impl Filter {
    /// A condition as it is written: `recipe=cse574-*`.
    ///
    /// # Errors
    /// [`Error::Usage`] for a text without `=`.
    pub(super) fn parse(text: &str) -> Result<Self> {
        match text.split_once('=') {
            Some((key, wanted)) => {
                Ok(Self { key: key.trim().to_owned(), wanted: wanted.trim().to_owned() })
            }
            None => Err(Error::Usage(format!(
                "--filter {}: name a field and its value, as recipe=nlp-cnn",
                shortened(text)
            ))),
        }
    }

    /// The runs that it holds for.
    ///
    /// # Errors
    /// [`Error::Usage`] for a key that is neither a field nor a setting of any run.
    pub(super) fn keep(&self, runs: Vec<Listed>) -> Result<Vec<Listed>> {
        if let Some(field) = FIELDS.iter().find(|field| field.name == self.key) {
            let holds =
                |run: &Listed| field.value(run).is_some_and(|value| self.is(&words(&value)));
            return Ok(runs.into_iter().filter(holds).collect());
        }
        let mut names = Vec::new();
        let mut kept = Vec::new();
        let mut is_known = runs.is_empty();
        for run in runs {
            let settings = run.run.as_ref().map(LoggedRun::settings).unwrap_or_default();
            match settings.iter().find(|(key, _)| *key == self.key) {
                Some((_, value)) => {
                    is_known = true;
                    if self.is(value) {
                        kept.push(run);
                    }
                }
                None if names.is_empty() => {
                    names = settings.into_iter().map(|(key, _)| key).collect()
                }
                None => {}
            }
        }
        if is_known { Ok(kept) } else { Err(unknown(&self.key, &names)) }
    }

    fn is(&self, value: &str) -> bool {
        if let Some(beginning) = self.wanted.strip_suffix('*') {
            return value.starts_with(beginning);
        }
        let same_number = || match (value.parse::<f64>(), self.wanted.parse::<f64>()) {
            (Ok(value), Ok(wanted)) => value == wanted,
            _ => false,
        };
        value == self.wanted || same_number()
    }
}

/// No such field; nor is it one of these settings.
fn unknown(name: &str, settings: &[String]) -> Error {
    let names = || FIELDS.iter().map(|field| field.name);
    let near = nearest(name, names().chain(settings.iter().map(String::as_str)));
    let hint = near.map_or(String::new(), |near| format!("; did you mean '{near}'?"));
    let or_setting =
        if settings.is_empty() { "" } else { ", and the settings that 'runs show' prints" };
    Error::Usage(format!(
        "no run has a '{}'{hint} (there are {}{or_setting})",
        shortened(name),
        names().collect::<Vec<_>>().join(", ")
    ))
}

/// A number; values that are none are never asked.
fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

fn words(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A time to the minute: `2026-07-12 14:03`.
fn minute(value: &Value) -> String {
    words(value).chars().take(16).map(|c| if c == 'T' { ' ' } else { c }).collect()
}

fn percent(value: &Value) -> String {
    table::percent(number(value))
}

fn loss(value: &Value) -> String {
    format!("{:.4}", number(value))
}

fn rate(value: &Value) -> String {
    table::rate(number(value))
}

fn seconds(value: &Value) -> String {
    table::seconds(number(value))
}
