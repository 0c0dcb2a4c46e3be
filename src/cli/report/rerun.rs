//! The command that trains a run again.

use crate::nn::BatchNormOver;
use crate::reports;
use crate::train::{Changes, Record, Schedule, Task};
use crate::{Error, Result};
use threadcount_kernels::precision::Bf16Kernel;

/// How to train a run again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rerun {
    /// The command.
    pub(super) command: String,
    /// The file that the settings of the task have to be saved as first, unless a recipe of the program has them.
    pub(super) file: Option<String>,
    /// Whether it is a recipe of the program without changes.
    pub(super) is_recipe: bool,
}

impl Rerun {
    /// Of the run of this record.
    ///
    /// # Errors
    /// As [`Task::to_toml`].
    pub(super) fn of(record: &Record) -> Result<Self> {
        let known = reports::recipes().into_iter().find(|recipe| recipe.id == record.recipe);
        // The precision is no change of the recipe, but a setting.
        let precision = record.task.precision;
        let changes = match &known {
            Some(recipe) => changes(&Task { precision, ..recipe.task.clone() }, &record.task)?,
            None => None,
        };
        let other = known.filter(|recipe| recipe.task.precision != precision);
        // Not every kernel of bf16 products has the same bits.
        let kernel = record.bf16_kernel.iter().map(|name| format!("{}={name}", Bf16Kernel::ENV));
        let program = ["threadcount".to_owned(), "train".to_owned()];
        let mut words: Vec<String> = kernel.chain(program).collect();
        let file = changes.is_none().then(|| format!("{}.toml", record.recipe));
        words.push(file.clone().unwrap_or_else(|| record.recipe.clone()));
        let is_recipe = changes.as_ref().is_some_and(Vec::is_empty) && other.is_none();
        for (name, value) in changes.unwrap_or_default() {
            words.extend([format!("--{name}"), value]);
        }
        if file.is_none() && other.is_some() {
            words.extend(["--precision".to_owned(), precision.name().to_owned()]);
        }
        let seed = ["--seed".to_owned(), record.seed.to_string()];
        let threads = ["--threads".to_owned(), record.threads.to_string()];
        let isa = ["--isa".to_owned(), record.isa.clone()];
        let data = ["--data".to_owned(), record.data.origin.display().to_string()];
        words.extend([seed, threads, isa, data].into_iter().flatten());
        if let Some(init) = &record.init {
            words.extend(["--init".to_owned(), init.file.display().to_string()]);
            if !init.new_layers.is_empty() {
                words.extend(["--new-layers".to_owned(), init.new_layers.join(",")]);
            }
        }
        Ok(Self { command: command(&words), file, is_recipe })
    }
}

/// Words as a command for a shell.
pub(super) fn command(words: &[String]) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./=,:+%@".contains(c);
    let quoted = |word: &String| match word.chars().all(is_plain) && !word.is_empty() {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// The options that make `task` of `recipe`; none if no options do.
fn changes(recipe: &Task, task: &Task) -> Result<Option<Vec<(&'static str, String)>>> {
    let (was, is) = (options(recipe), options(task));
    let mut changed: Vec<(&'static str, String)> = Vec::new();
    // Another optimizer begins with its own constants.
    let other_optimizer = recipe.optimizer.name() != task.optimizer.name();
    for (name, value) in is {
        let same = was.iter().any(|(other, old)| *other == name && *old == value);
        let constant = ["learning-rate", "momentum", "weight-decay"].contains(&name);
        if !same || (other_optimizer && constant) {
            changed.push((name, value));
        }
    }
    let mut made = Changes::default();
    for (name, value) in &changed {
        made.set(name, value)?;
    }
    // Layers, selections and what no option sets decide whether this is all.
    let again = made.apply(recipe.clone());
    match again.and_then(|again| Ok(again.difference(task)?.is_none())) {
        Ok(true) => Ok(Some(changed)),
        Ok(false) | Err(Error::Setting { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What options say about a task, as they spell it.
fn options(task: &Task) -> Vec<(&'static str, String)> {
    let mut options = vec![
        ("epochs", task.epochs.to_string()),
        ("batch-size", task.batch_size.to_string()),
        ("optimizer", task.optimizer.name().to_owned()),
    ];
    let mut optimizer = task.optimizer;
    for (name, value) in optimizer.constants_mut() {
        if ["learning-rate", "momentum", "weight-decay"].contains(&name) {
            options.push((name, value.to_string()));
        }
    }
    options.extend([
        ("l2", task.l2.to_string()),
        ("label-smoothing", task.label_smoothing.to_string()),
        ("warm-up", task.warm_up.to_string()),
        ("augment", task.augment.to_string()),
        ("test-augment", task.test_augment.to_string()),
    ]);
    options.extend(task.clip_norm.map(|norm| ("clip-norm", norm.to_string())));
    options.extend(task.weight_average.map(|decay| ("weight-average", decay.to_string())));
    options.extend(schedule(&task.schedule).map(|schedule| ("schedule", schedule)));
    if !task.freeze.is_none() {
        options.push(("freeze", task.freeze.to_string()));
    }
    if task.shards != 1 {
        options.push(("shards", task.shards.to_string()));
    }
    if task.batch_norm_over != BatchNormOver::Batch {
        options.push(("batch-norm-over", task.batch_norm_over.name().to_owned()));
    }
    options
}

/// A schedule as the option spells it, if it can.
fn schedule(schedule: &Schedule) -> Option<String> {
    let steps = match schedule {
        Schedule::Steps { at, .. } => {
            let at: Vec<_> = at.iter().map(usize::to_string).collect();
            format!("steps={}", at.join(","))
        }
        _ => String::new(),
    };
    let spelt = ["constant", "cosine", "one-cycle", "plateau", &steps];
    let is_it = |text: &&&str| text.parse::<Schedule>().is_ok_and(|parsed| parsed == *schedule);
    spelt.iter().find(is_it).map(|text| (*text).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::{DataRecord, InitRecord};

    fn record(recipe: &str, change: impl Fn(&mut Task)) -> Record {
        let mut task = reports::recipe("cse574-cnn").unwrap().task;
        change(&mut task);
        let data = DataRecord {
            origin: "/my data/o'brien".into(),
            sample: vec![28, 28, 1],
            classes: 10,
            ..Record::example().data
        };
        let recipe = recipe.to_owned();
        Record { recipe, seed: 7, threads: 2, task, data, ..Record::example() }
    }

    const REST: &str = r"--seed 7 --threads 2 --isa avx2 --data '/my data/o'\''brien'";

    fn set(changes: &[(&str, &str)]) -> impl Fn(&mut Task) {
        let mut made = Changes::default();
        changes.iter().for_each(|(name, value)| made.set(name, value).unwrap());
        move |task| *task = made.apply(task.clone()).unwrap()
    }

    #[test]
    fn options_are_found_again() {
        let cases: &[&[(&str, &str)]] = &[
            &[],
            &[("epochs", "2")],
            &[("epochs", "3"), ("batch-size", "128"), ("learning-rate", "0.0003")],
            &[("optimizer", "sgd"), ("learning-rate", "0.5"), ("momentum", "0.9")],
            &[("l2", "0.0001"), ("label-smoothing", "0.1"), ("clip-norm", "1")],
            &[("warm-up", "1.5"), ("augment", "shift=2,flip"), ("weight-average", "0.99")],
            &[("schedule", "cosine")],
            &[("schedule", "steps=2,5")],
            &[("freeze", "2"), ("test-augment", "flip")],
            &[("shards", "4")],
            &[("shards", "2"), ("batch-norm-over", "shard")],
            &[("optimizer", "adamw"), ("learning-rate", "0.5"), ("weight-decay", "0.5")],
        ];
        // Those that change layers are in a file.
        for option in
            Changes::OPTIONS.iter().filter(|o| !["dropout", "activation"].contains(&o.name))
        {
            assert!(cases.concat().iter().any(|(name, _)| *name == option.name), "{option:?}");
        }
        for case in cases {
            let rerun = Rerun::of(&record("cse574-cnn", set(case))).unwrap();
            // In the order of `options`, which has learning rates behind the optimizer and schedules at the end.
            for (name, value) in *case {
                assert!(rerun.command.contains(&format!(" --{name} {value} ")), "{rerun:?}");
            }
            assert_eq!(rerun.command.matches(" --").count(), case.len() + 4, "{rerun:?}");
            assert!(rerun.command.starts_with("threadcount train cse574-cnn --"), "{rerun:?}");
            assert!(rerun.command.ends_with(REST), "{rerun:?}");
            assert_eq!((rerun.file, rerun.is_recipe), (None, case.is_empty()));
        }
    }

    #[test]
    fn what_no_option_says_is_in_a_file() {
        let changed = record("cse574-cnn", |task| drop(task.layers.remove(1)));
        let own = record("my", |_| ());
        for (record, file) in [(changed, "cse574-cnn.toml"), (own, "my.toml")] {
            let rerun = Rerun::of(&record).unwrap();
            assert_eq!(rerun.command, format!("threadcount train {file} {REST}"));
            assert_eq!((rerun.file.as_deref(), rerun.is_recipe), (Some(file), false));
        }
    }

    #[test]
    fn initial_weights_are_named() {
        let mut record = record("cse574-cnn", |_| ());
        record.init = Some(InitRecord {
            file: "/w/a.npz".into(),
            sha256: String::new(),
            format: "keras".to_owned(),
            new_layers: vec!["dense".to_owned(), "dense_1".to_owned()],
        });
        let command = Rerun::of(&record).unwrap().command;
        assert!(command.ends_with(" --init /w/a.npz --new-layers dense,dense_1"), "{command}");
    }
}
