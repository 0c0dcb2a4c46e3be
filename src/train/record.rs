//! `run.toml`: everything that decided a run, and what came of it.

use super::task::Task;
use super::task_file;
use crate::data::{ClassList, Dataset, MOST_CLASSES, Shape, Split};
use crate::files::hex;
use crate::nn::io::weights::{InitialWeights, Initialised};
use crate::toml_file::{Fault, Table};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::{PathBuf, absolute};
use std::sync::Arc;
use threadcount_kernels::precision::{Arithmetic, Bf16Kernel};
use threadcount_kernels::{Isa, Pool};

/// Incremented when the meaning of `run.toml` changes.
const FORMAT: u32 = 2;
/// The digits of an id, which is a SHA-256.
const ID_DIGITS: usize = 64;
/// Begins the line with the checksum of all lines below it.
const CHECKSUM: &str = "\nchecksum = \"";

/// The contents of `run.toml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The version of threadcount that started the run.
    pub version: String,
    /// The recipe's name.
    pub recipe: String,
    /// The seed of weights, splits, shuffling, dropout and augmentation.
    pub seed: u64,
    /// Threads; they do not change the result.
    pub threads: usize,
    /// The instruction set; another one rounds differently.
    pub isa: String,
    /// The kernel of bf16 products, where products are not in f32; older records do not say. Not all have the same bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bf16_kernel: Option<String>,
    /// The task as it is trained, with the command line's changes to the recipe.
    #[serde(skip)]
    pub task: Task,
    /// The data it is trained on.
    pub data: DataRecord,
    /// The weights that it began with, if they were not drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<InitRecord>,
    /// What came of it, once training has finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<ResultRecord>,
}

/// The data of a run as `run.toml` spells them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataRecord {
    /// The name of what the data are, such as `fashion-mnist`.
    pub identity: String,
    /// Their folder: an absolute path, so that it is valid from any folder.
    pub origin: PathBuf,
    /// SHA-256 over the pixels and labels of both parts.
    pub sha256: String,
    /// Sizes of a sample's axes, as [`Shape::dims`] has them.
    pub sample: Vec<usize>,
    /// The label of the set's first class.
    pub first_label: u32,
    /// Classes of the set, before a selection.
    pub classes: usize,
    /// The names of the classes that the task selects, by their numbers; none in the records of older versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub class_names: Vec<String>,
    /// Training samples.
    pub training: usize,
    /// Validation samples.
    pub validation: usize,
    /// Test samples.
    pub test: usize,
}

/// The weights that a run began with. From then on they are in its checkpoint; the file is not needed again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct InitRecord {
    /// Their file.
    pub file: PathBuf,
    /// Its SHA-256.
    pub sha256: String,
    /// The framework that they come from: `threadcount`, `pytorch` or `keras`.
    pub format: String,
    /// Layers that were drawn nevertheless.
    pub new_layers: Vec<String>,
}

impl InitRecord {
    /// The record of weights that a session has begun with.
    pub fn of(weights: &InitialWeights, begun: &Initialised) -> Self {
        let path = weights.path();
        Self {
            file: absolute(path).unwrap_or_else(|_| path.to_owned()),
            sha256: weights.sha256().to_owned(),
            format: weights.format().to_owned(),
            new_layers: begun.new.clone(),
        }
    }
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
        // If labels start at 0, the classes are the labels.
        if dataset.first_label() > 0 {
            sha.update(dataset.first_label().to_le_bytes());
        }
        let origin = &dataset.origin;
        Self {
            identity: dataset.identity.name().to_owned(),
            origin: absolute(origin).unwrap_or_else(|_| origin.clone()),
            sha256: hex(&sha.finalize()),
            sample: split.train.shape().dims().to_vec(),
            first_label: dataset.first_label(),
            classes: dataset.class_list.names.len(),
            class_names: split.train.class_names().to_vec(),
            training: split.train.len(),
            validation: split.validation.len(),
            test: split.test.len(),
        }
    }

    /// `dataset` with its classes numbered as in the data that the run was trained on.
    ///
    /// # Errors
    /// [`Error::Data`] if it has other classes.
    pub fn number(&self, dataset: Arc<Dataset>) -> Result<Arc<Dataset>> {
        if (dataset.first_label(), dataset.class_list.names.len())
            == (self.first_label, self.classes)
        {
            return Ok(dataset);
        }
        dataset.numbered_as(self.first_label, self.classes).map(Arc::new)
    }

    /// Refuses numbers that no data set has.
    ///
    /// # Errors
    /// The fault, with its key.
    pub(super) fn check(&self) -> std::result::Result<(), String> {
        if self.shape().is_none() {
            return Err("data.sample: one to three sizes".to_owned());
        }
        // They are shown as they are.
        let is_shown = |name: &String| !name.is_empty() && !name.contains(char::is_control);
        if self.class_names.len() > MOST_CLASSES || !self.class_names.iter().all(is_shown) {
            return Err("data.class_names: names of classes, without control characters".to_owned());
        }
        ClassList::check(self.first_label, self.classes).map_err(|fault| format!("data.{fault}"))
    }

    /// Refuses a folder whose path cannot be written into the file `name`.
    ///
    /// # Errors
    /// [`Error::Usage`].
    pub(super) fn check_origin(&self, name: &str) -> Result<()> {
        match self.origin.to_str() {
            Some(_) => Ok(()),
            None => Err(Error::Usage(format!(
                "{}: {name} cannot name this folder, whose name is not UTF-8: rename it, or name \
                 it by a link",
                self.origin.display()
            ))),
        }
    }

    /// The shape of a sample; `None` for sizes that no sample has.
    pub fn shape(&self) -> Option<Shape> {
        match self.sample[..] {
            [n] => Some(Shape::Flat(n)),
            [steps, inputs] => Some(Shape::Rows([steps, inputs])),
            [height, width, channels] => Some(Shape::Image([height, width, channels])),
            _ => None,
        }
    }
}

impl Record {
    /// Of a run that begins: with this version of threadcount, on these threads, from weights that are drawn.
    pub fn new(recipe: &str, task: Task, seed: u64, pool: &Pool, data: DataRecord) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            recipe: recipe.to_owned(),
            seed,
            threads: pool.threads(),
            isa: pool.isa().name().to_owned(),
            bf16_kernel: kernel_of(pool.arithmetic()),
            task,
            data,
            init: None,
            result: None,
        }
    }

    /// How its products are computed beside that instruction set, with the bits that they had before.
    ///
    /// # Errors
    /// As [`Arithmetic::with_bits_of`]; if this version does not know the kernel.
    pub fn arithmetic(
        &self,
        isa: Isa,
    ) -> std::result::Result<Arithmetic, threadcount_kernels::Error> {
        let precision = self.task.precision;
        match &self.bf16_kernel {
            None => Arithmetic::of(isa, precision),
            Some(own) => Arithmetic::with_bits_of(isa, precision, Bf16Kernel::from_name(own)?),
        }
    }

    /// An id that differs between runs whose bits differ: the hash of the seed, the data, the initial
    /// weights, and all of the task but the number of epochs.
    pub(super) fn id(&self) -> Result<String> {
        let Self { seed, data, init, .. } = self;
        let task = Task { epochs: 0, ..self.task.clone() }.to_toml()?;
        let init = init.as_ref().map_or(String::new(), |init| {
            format!("\n{} {} {:?}", init.sha256, init.format, init.new_layers)
        });
        Ok(hex(&Sha256::digest(format!("{seed}\n{}\n{task}{init}", data.sha256))))
    }

    /// A record, and the id that its run was started with.
    pub(super) fn parse(text: &str) -> std::result::Result<(Self, String), String> {
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
        check_seal(&mut table, text)?;
        let Some(id) = table.take("id") else {
            return Err("not the record of a run: 'id' is missing".to_owned());
        };
        let id = id.read(String::deserialize).map_err(broken)?;
        // It is written back as it is.
        if id.len() != ID_DIGITS || !id.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(format!("not the record of a run: id: {ID_DIGITS} hexadecimal digits"));
        }
        let Some(task) = task else {
            return Err("not the record of a run: [task] is missing".to_owned());
        };
        let task = task.into_table("task").and_then(task_file::read).map_err(broken)?;
        let record: Self = table.rest().map_err(broken)?;
        record.data.check().map_err(|fault| format!("not the record of a run: {fault}"))?;
        Ok((Self { task, ..record }, id))
    }

    /// The text of the file.
    ///
    /// # Errors
    /// [`Error::Usage`] for what a file cannot hold: a user-defined layer, a folder whose name is not UTF-8.
    pub(super) fn text(&self, id: &str) -> Result<String> {
        let init = self.init.as_ref().map(|init| &init.file);
        if let Some(file) = init.filter(|file| file.to_str().is_none()) {
            return Err(Error::Usage(format!(
                "{}: run.toml cannot name this file, whose name is not UTF-8: rename it",
                file.display()
            )));
        }
        self.data.check_origin("run.toml")?;
        let task = self.task.to_toml()?;
        let body = toml::to_string(self)
            .map_err(|error| Error::Failed(format!("cannot write run.toml: {error}")))?;
        let body = format!("id = \"{id}\"\n{body}\n[task]\n{task}");
        let about =
            "A run of threadcount; 'threadcount eval' and 'threadcount train --resume' read it.";
        Ok(sealed(about, FORMAT, &body))
    }
}

/// The kernel of bf16 products as a record has it.
pub fn kernel_of(arithmetic: Arithmetic) -> Option<String> {
    arithmetic.bf16_kernel().map(|kernel| kernel.name().to_owned())
}

/// The text of a file: what it is, its format, the checksum of the lines below, and these lines.
pub(super) fn sealed(about: &str, format: u32, body: &str) -> String {
    format!("# {about}\nformat = {format}{CHECKSUM}{}\"\n{body}", checksum(body))
}

/// Takes the checksum out of a file's table, and refuses a file that was changed after it was written.
pub(super) fn check_seal(table: &mut Table<'_>, text: &str) -> std::result::Result<(), String> {
    match table.take("checksum") {
        Some(_) if !is_whole(text) => {
            Err("changed since threadcount wrote it: restore it, or take the line \
                                           'checksum' out to go by what it says now"
                .to_owned())
        }
        _ => Ok(()),
    }
}

/// Whether the checksum is that of the lines below it.
fn is_whole(text: &str) -> bool {
    // With the line ends as they were written: an editor may have changed them.
    let text = text.replace("\r\n", "\n");
    let below = text.split_once(CHECKSUM).and_then(|(_, rest)| rest.split_once("\"\n"));
    below.is_some_and(|(sha256, body)| sha256 == checksum(body))
}

fn checksum(body: &str) -> String {
    hex(&Sha256::digest(body))
}

#[cfg(test)]
impl Record {
    /// A small run, for tests to change.
    pub(crate) fn example() -> Self {
        use crate::nn::{Activation, dense};

        let layers = vec![dense(3, Activation::Relu), dense(2, Activation::Linear)];
        Self {
            version: "0".to_owned(),
            recipe: "none".to_owned(),
            seed: 1,
            threads: 1,
            isa: "avx2".to_owned(),
            bf16_kernel: None,
            task: Task { layers, ..Task::default() },
            data: DataRecord {
                identity: "other".to_owned(),
                origin: "/data".into(),
                sha256: "a".repeat(64),
                sample: vec![2],
                first_label: 0,
                classes: 2,
                class_names: Vec::new(),
                training: 10,
                validation: 5,
                test: 5,
            },
            init: None,
            result: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Scaling;
    use crate::nn::{Activation, Freeze, Loss, Optimizer, dense};
    use crate::train::{EarlyStopping, Input, Keep, Order, Schedule};

    /// A run of another task, seed, data or initial weights has another id; a run that is longer, or in another
    /// folder, has the same one.
    #[test]
    fn an_id_is_of_everything_that_changes_a_bit() {
        let id = Record::example().id().unwrap();
        let of = |change: &dyn Fn(&mut Record)| {
            let mut changed = Record::example();
            change(&mut changed);
            changed.id().unwrap()
        };
        let others: [&dyn Fn(&mut Record); 16] = [
            &|record| {
                record.init = Some(InitRecord {
                    file: "a".into(),
                    sha256: "b".to_owned(),
                    format: "keras".to_owned(),
                    new_layers: Vec::new(),
                });
            },
            &|record| record.task.freeze = Freeze::First(1),
            &|record| record.seed += 1,
            &|record| record.data.sha256.replace_range(..1, "b"),
            &|record| record.task.batch_size += 1,
            &|record| record.task.scaling = Scaling::Standardise,
            &|record| record.task.input = Input::Pixels,
            &|record| record.task.layers[0] = dense(4, Activation::Relu),
            &|record| record.task.loss = Loss::MeanSquaredError,
            &|record| record.task.optimizer = Optimizer::adam().with_learning_rate(0.5),
            &|record| record.task.schedule = Schedule::Cosine { last: 0.0 },
            &|record| record.task.warm_up = 1.0,
            &|record| record.task.order = Order::AsSplit,
            &|record| record.task.early_stopping = Some(EarlyStopping { patience: 3 }),
            &|record| record.task.keep = Keep::BestLoss,
            &|record| {
                record.task.selection.partition =
                    crate::data::Partition::AsFiled(crate::data::Validation::Tail(0.5))
            },
        ];
        for (i, change) in others.into_iter().enumerate() {
            assert_ne!(of(change), id, "change {i}");
        }
        assert_eq!(of(&|record| record.task.epochs += 1), id);
        assert_eq!(of(&|record| record.threads += 1), id);
        assert_eq!(of(&|record| record.data.origin = "/elsewhere".into()), id);
    }
}
