//! Tasks in files: every setting of a [`Task`] as a key of TOML. A setting that a file leaves out has its
//! default. `threadcount recipe` prints recipes in this form, and `run.toml` holds its task in it.
//!
//! ```toml
//! epochs = 10
//! batch-size = 64
//! optimizer = { name = "adam", learning-rate = 0.001 }
//! selection = { partition = { as-filed = { tail = 0.2 } } }
//! layers = [
//!     { kind = "conv2d", filters = 32, kernel = 3, activation = "relu" },
//!     { kind = "flatten" },
//!     { kind = "dense", units = "classes" },
//! ]
//! ```

use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::Path;

use serde::Deserialize;

use super::schedule::Schedule;
use super::task::{EarlyStopping, Input, Keep, Order, Task};
use crate::data::{Augment, Scaling, Selection};
use crate::nn::{BatchNormOver, Freeze, KINDS, Layer, Loss, Optimizer, TestAugment};
use crate::toml_file::{Fault, Table, Value, inline, read_text, unknown};
use crate::{Error, Result};
use threadcount_kernels::Precision;

impl Task {
    /// A task from the text of a file.
    ///
    /// # Errors
    /// [`Error::Usage`] with the line, the key, and the nearest name that there is.
    pub fn from_toml(text: &str) -> Result<Self> {
        let read = Table::parse(text).and_then(read);
        read.map_err(|fault| Error::Usage(fault.to_string()))
    }

    /// The task in a file.
    ///
    /// # Errors
    /// [`Error::Usage`] as [`Task::from_toml`], with the file's name before it; [`Error::Io`].
    pub fn read_toml(path: &Path) -> Result<Self> {
        let text = read_text(path)?;
        Self::from_toml(&text).map_err(|error| Error::Usage(format!("{}: {error}", path.display())))
    }

    /// Every setting, with the keys of a file.
    ///
    /// # Errors
    /// As [`Task::to_toml`].
    pub(super) fn to_table(&self) -> Result<toml::Table> {
        self.to_toml()?.parse().map_err(|fault: toml::de::Error| Error::Usage(fault.to_string()))
    }

    /// The task as the text of a file, with every setting.
    ///
    /// # Errors
    /// [`Error::Usage`] for a user-defined kind of layer, or another value that a file cannot hold.
    pub fn to_toml(&self) -> Result<String> {
        // Each field by name: a new setting does not compile until it is written here.
        let Self {
            selection,
            scaling,
            augment,
            test_augment,
            input,
            layers,
            freeze,
            loss,
            label_smoothing,
            l2,
            clip_norm,
            optimizer,
            schedule,
            warm_up,
            epochs,
            batch_size,
            shards,
            batch_norm_over,
            order,
            early_stopping,
            keep,
            weight_average,
            precision,
        } = self;
        let mut values = vec![
            ("selection", inline(selection)),
            ("scaling", inline(scaling)),
            ("input", inline(input)),
            ("loss", inline(loss)),
            ("label-smoothing", inline(label_smoothing)),
            ("l2", inline(l2)),
            ("optimizer", inline(optimizer)),
            ("schedule", inline(schedule)),
            ("warm-up", inline(warm_up)),
            ("epochs", inline(epochs)),
            ("batch-size", inline(batch_size)),
            ("order", inline(order)),
            ("keep", inline(keep)),
        ];
        let over = *batch_norm_over != BatchNormOver::Batch;
        let freeze = (!freeze.is_none()).then(|| inline(freeze));
        let optional = [
            ("clip-norm", clip_norm.map(|norm| inline(&norm))),
            ("early-stopping", early_stopping.map(|stopping| inline(&stopping))),
            ("augment", (!augment.is_none()).then(|| inline(augment))),
            ("test-augment", (!test_augment.is_none()).then(|| inline(test_augment))),
            ("freeze", freeze),
            ("weight-average", weight_average.map(|decay| inline(&decay))),
            ("precision", (*precision != Precision::F32).then(|| inline(&precision.name()))),
            ("shards", (*shards != 1).then(|| inline(shards))),
            ("batch-norm-over", over.then(|| inline(batch_norm_over))),
        ];
        values.extend(optional.into_iter().filter_map(|(key, value)| Some((key, value?))));
        let mut text = String::new();
        for (key, value) in values {
            let value = value.map_err(|error| Error::Usage(format!("{key}: {error}")))?;
            _ = writeln!(text, "{key} = {value}");
        }
        text += "layers = [\n";
        for (i, layer) in layers.iter().enumerate() {
            let line = layer_line(layer).map_err(|fault| {
                Error::Usage(format!("layer {} ({}): {fault}", i + 1, layer.names().0))
            })?;
            _ = writeln!(text, "    {line},");
        }
        text += "]\n";
        Ok(text)
    }
}

/// `{ kind = "dense", units = 10, activation = "linear" }`
fn layer_line(layer: &Layer) -> std::result::Result<String, String> {
    let written = KINDS.iter().find_map(|kind| Some((kind.name, (kind.write)(layer)?)));
    let (name, settings) = written.ok_or("a kind of your own, which no file can name")?;
    let settings = settings.map_err(|error| error.to_string())?;
    // Without the outer pair of braces, the table's own.
    let inner = settings.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let inner = inner.ok_or("its settings are no table")?.trim();
    let comma = if inner.is_empty() { "" } else { ", " };
    Ok(format!("{{ kind = \"{name}\"{comma}{inner} }}"))
}

/// All settings but those that are read separately.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Plain {
    scaling: Scaling,
    input: Input,
    test_augment: TestAugment,
    freeze: Freeze,
    loss: Loss,
    label_smoothing: f32,
    l2: f32,
    clip_norm: Option<f32>,
    epochs: NonZeroUsize,
    batch_size: NonZeroUsize,
    shards: NonZeroUsize,
    batch_norm_over: BatchNormOver,
    order: Order,
    early_stopping: Option<EarlyStopping>,
    keep: Keep,
    weight_average: Option<f32>,
}

impl Default for Plain {
    fn default() -> Self {
        let task = Task::default();
        let [epochs, batch_size, shards] = [task.epochs, task.batch_size, task.shards]
            .map(|n| NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN));
        Self {
            scaling: task.scaling,
            input: task.input,
            test_augment: task.test_augment,
            freeze: task.freeze,
            loss: task.loss,
            label_smoothing: task.label_smoothing,
            l2: task.l2,
            clip_norm: task.clip_norm,
            epochs,
            batch_size,
            shards,
            batch_norm_over: task.batch_norm_over,
            order: task.order,
            early_stopping: task.early_stopping,
            keep: task.keep,
            weight_average: task.weight_average,
        }
    }
}

/// A task from a table that holds nothing else.
pub(super) fn read(mut table: Table<'_>) -> std::result::Result<Task, Fault> {
    let Some(layers) = table.take("layers") else {
        return Err(table.fault(
            "'layers' is missing: a list such as [{ kind = \"dense\", units = \"classes\" }]",
        ));
    };
    let layers = layers.into_elements("layers")?.into_iter().map(layer);
    let layers = layers.collect::<std::result::Result<_, _>>()?;
    let optimizer = match table.take("optimizer") {
        Some(value) => optimizer(value)?,
        None => Task::default().optimizer,
    };
    let selection = match table.take("selection") {
        Some(value) => selection(value)?,
        None => Task::default().selection,
    };
    let Task { mut schedule, mut warm_up, .. } = Task::default();
    // The line of a fault of the two together.
    let mut line = 1;
    if let Some(value) = table.take("schedule") {
        line = value.line();
        schedule = self::schedule(value)?;
    }
    if let Some(value) = table.take("warm-up") {
        line = value.line();
        warm_up = value.read(f64::deserialize).map_err(|fault| fault.of("warm-up"))?;
    }
    let augment = match table.take("augment") {
        Some(value) => augment(value)?,
        None => Task::default().augment,
    };
    let precision = match table.take("precision") {
        Some(value) => precision(&value)?,
        None => Task::default().precision,
    };
    let lines = table.lines();
    let plain: Plain = table.rest()?;
    let task = Task {
        selection,
        scaling: plain.scaling,
        augment,
        test_augment: plain.test_augment,
        input: plain.input,
        layers,
        freeze: plain.freeze,
        loss: plain.loss,
        label_smoothing: plain.label_smoothing,
        l2: plain.l2,
        clip_norm: plain.clip_norm,
        optimizer,
        schedule,
        warm_up,
        epochs: plain.epochs.get(),
        batch_size: plain.batch_size.get(),
        shards: plain.shards.get(),
        batch_norm_over: plain.batch_norm_over,
        order: plain.order,
        early_stopping: plain.early_stopping,
        keep: plain.keep,
        weight_average: plain.weight_average,
        precision,
    };
    task.check().map_err(|error| match error {
        Error::Setting { name, fault } => {
            let line = lines.get(name).copied().unwrap_or(line);
            Fault::at(line, format!("{name}: {fault}"))
        }
        error => Fault::at(line, error.to_string()),
    })?;
    Ok(task)
}

/// Reads a selection, and checks its shares and classes.
fn selection(value: Value<'_>) -> std::result::Result<Selection, Fault> {
    let line = value.line();
    let selection = value.read(Selection::deserialize)?;
    selection.check().map_err(|error| Fault::at(line, error.to_string()).of("selection"))?;
    Ok(selection)
}

/// Reads the name of a precision.
fn precision(value: &Value<'_>) -> std::result::Result<Precision, Fault> {
    let text = value.as_str().unwrap_or_default();
    let names = Precision::ALL.map(Precision::name);
    Precision::from_name(text).map_err(|_| value.fault(unknown("precision", text, &names)))
}

/// Reads augmentation, and checks its settings.
fn augment(value: Value<'_>) -> std::result::Result<Augment, Fault> {
    let line = value.line();
    let augment = value.read(Augment::deserialize).map_err(|fault: Fault| fault.of("augment"))?;
    augment.check().map_err(|error| Fault::at(line, error.to_string()))?;
    Ok(augment)
}

/// Reads a schedule, and checks its settings.
fn schedule(value: Value<'_>) -> std::result::Result<Schedule, Fault> {
    let line = value.line();
    let schedule =
        value.read(Schedule::deserialize).map_err(|fault: Fault| fault.of("schedule"))?;
    schedule.check().map_err(|error| Fault::at(line, error.to_string()))?;
    Ok(schedule)
}

/// A layer: its kind, and the settings of that kind.
fn layer(value: Value<'_>) -> std::result::Result<Layer, Fault> {
    let mut table = value.into_table("a layer")?;
    let Some(name) = table.take("kind") else {
        return Err(table.fault("a layer's 'kind' is missing"));
    };
    let names: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
    let Some(text) = name.as_str() else { return Err(name.fault("kind: a name belongs here")) };
    let Some(kind) = KINDS.iter().find(|kind| kind.name == text) else {
        return Err(name.fault(unknown("kind of layer", text, &names)));
    };
    Value::from(table).read(kind.read).map_err(|fault| fault.of(kind.name))
}

/// An optimizer by its name, with Keras's constants where none are given.
fn optimizer(value: Value<'_>) -> std::result::Result<Optimizer, Fault> {
    let mut table = match value.as_str() {
        Some(_) => return named(&value),
        None => value.into_table("optimizer")?,
    };
    let Some(name) = table.take("name") else {
        return Err(table.fault(format!(
            "the optimizer's 'name' is missing (there are {})",
            Optimizer::NAMES.join(", ")
        )));
    };
    let mut optimizer = named(&name)?;
    for (key, value) in table.entries() {
        let constants = optimizer.constants_mut();
        let names: Vec<_> = constants.iter().map(|(name, _)| *name).collect();
        let Some((_, constant)) = constants.into_iter().find(|(name, _)| *name == key) else {
            return Err(value.fault(unknown("key", &key, &names)));
        };
        *constant = value.read(f32::deserialize)?;
    }
    optimizer.check().map_err(|error| name.fault(error.to_string()))?;
    Ok(optimizer)
}

fn named(name: &Value<'_>) -> std::result::Result<Optimizer, Fault> {
    let text = name.as_str().unwrap_or_default();
    text.parse().map_err(|_| name.fault(unknown("optimizer", text, &Optimizer::NAMES)))
}
