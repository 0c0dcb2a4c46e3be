//! `threadcount predict` of images: the class of each, and how probable it is.

use super::data::user_cache;
use super::predict::Input;
use super::settings::{ComputeFlags, Settings};
use super::table::{self, Table};
use crate::classical::{Classifier, most_probable};
use crate::console;
use crate::data::{
    CLASS_NAMES, Classes, Ground, Identity, ImageFile, Samples, Treatment, exit_on_lost_pages,
    measures,
};
use crate::files::write_atomically;
use crate::toml_file::unknown;
use crate::train::{Record, RunFolder, Trained};
use crate::{Error, Result};
use serde::Serialize;
use std::path::{Path, PathBuf};
use threadcount_kernels::Pool;

/// Images that are predicted at once: of 28x28 pixels 3 MB.
const BLOCK: usize = 4_096;
/// The most classes besides the most probable one that the table names for an image.
const MOST_OTHERS: usize = 2;
/// The least probability with which it does.
const LEAST_OTHER: f64 = 0.000_5;

/// What is said of images.
#[derive(clap::Args)]
pub(super) struct ImageFlags {
    /// Of images: how to write their predictions: table, csv or json [default: table]
    #[arg(long, value_name = "NAME")]
    format: Option<String>,
    /// Of pictures: kept, inverted, or dark (those with a light edge are inverted) [default: dark for models of
    /// Fashion-MNIST, whose images lie on black, else kept]
    #[arg(long, value_name = "NAME")]
    tones: Option<String>,
}

#[derive(Clone, Copy)]
enum Format {
    Table,
    Csv,
    Json,
}

impl ImageFlags {
    /// Refuses flags that a table has no use for.
    pub(super) fn check_unused(&self) -> Result<()> {
        match (&self.format, &self.tones) {
            (None, None) => Ok(()),
            _ => Err(Error::Usage(
                "--format and --tones are for images, and this is a model of tables".into(),
            )),
        }
    }

    fn format(&self) -> Result<Format> {
        match self.format.as_deref() {
            None | Some("table") => Ok(Format::Table),
            Some("csv") => Ok(Format::Csv),
            Some("json") => Ok(Format::Json),
            Some(other) => Err(Error::Usage(unknown("format", other, &["table", "csv", "json"]))),
        }
    }

    /// What becomes of pictures, for a model of these data.
    fn ground(&self, data: &str) -> Result<Ground> {
        let is_dark = data != Identity::Other.name();
        match self.tones.as_deref() {
            None if is_dark => Ok(Ground::MadeDark),
            None | Some("kept") => Ok(Ground::Kept),
            Some("inverted") => Ok(Ground::Inverted),
            Some("dark") => Ok(Ground::MadeDark),
            Some(other) => Err(Error::Usage(unknown(
                "treatment of tones",
                other,
                &["kept", "inverted", "dark"],
            ))),
        }
    }
}

/// A model of images.
struct Model {
    /// The recipe, or the kind of a classical model.
    name: String,
    /// What it was trained on.
    data: String,
    /// Height, width and channels of an image.
    sample: [usize; 3],
    /// By the number of the class.
    classes: Vec<Class>,
    fitted: Fitted,
}

#[derive(Serialize)]
struct Class {
    /// The label that it has in the files of its set.
    label: u32,
    name: String,
}

enum Fitted {
    Network(Box<Trained>),
    Classical(Box<Classifier>, Pool),
}

/// What a model says of some images.
struct Outcome {
    classes: Vec<Option<u8>>,
    /// Of all classes, `[n, classes]`.
    probabilities: Option<Vec<f64>>,
}

/// The prediction for one image; the fields are those of the JSON document.
#[derive(Serialize)]
struct Row {
    file: String,
    /// Its number in an array.
    image: Option<usize>,
    /// None where the outputs belong to no class, or are not numbers.
    label: Option<u32>,
    class: Option<String>,
    /// Of that class; none where outputs are no probabilities.
    probability: Option<f64>,
    /// Of all classes, in their order.
    probabilities: Option<Vec<f64>>,
    /// What was done to a picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    treatment: Option<String>,
}

#[derive(Serialize)]
struct Document<'a> {
    model: &'a str,
    data: &'a str,
    classes: &'a [Class],
    predictions: &'a [Row],
}

pub(super) fn run(
    path: &Path,
    files: &[PathBuf],
    flags: &ImageFlags,
    out: Option<&Path>,
    compute: &ComputeFlags,
    settings: &Settings,
) -> Result<()> {
    let format = flags.format()?;
    if files.iter().filter(|file| file.as_os_str() == "-").count() > 1 {
        return Err(Error::Usage("- is standard input, which can be read once".into()));
    }
    let mut model = Model::load(path, settings.pool(compute)?)?;
    let ground = flags.ground(&model.data)?;
    exit_on_lost_pages()?;
    let mut rows = Vec::new();
    for file in files {
        let input = Input::open(file, "image.npz")?;
        model.predict(&input, ground, &mut rows)?;
    }
    if ground == Ground::Kept
        && flags.tones.is_none()
        && rows.iter().any(|row| row.treatment.is_some())
    {
        console::note(
            "note: tones are kept; --tones inverted if the training pictures were imported with --invert",
        );
    }
    let text = match format {
        Format::Table => model.table(&rows),
        Format::Csv => model.csv(&rows)?,
        Format::Json => table::json(&Document {
            model: &model.name,
            data: &model.data,
            classes: &model.classes,
            predictions: &rows,
        })?,
    };
    match out {
        Some(path) => write_atomically(path, format!("{}\n", text.trim_end()).as_bytes()),
        None => console::print(text.trim_end()),
    }
}

impl Model {
    fn load(path: &Path, pool: Pool) -> Result<Self> {
        if !path.is_file() && !path.join("run.toml").exists() {
            return Err(Error::data(
                path,
                "no models here (neither run.toml nor table.toml): name the folder of a run, the file of a model that \
                 'compare --save' has written, or a folder of 'regress --out'",
            ));
        }
        let (name, data, sample, classes, fitted) = if path.is_dir() {
            let (folder, record) = RunFolder::open(path)?;
            let trained = folder.trained(&record, pool)?;
            let outputs = trained.model().plan().output().len();
            let classes =
                classes_of(&record, trained.probabilities(&[]).map_or(outputs, |(_, n)| n));
            let Record { recipe, data, .. } = record;
            (recipe, data.identity, data.sample, classes, Fitted::Network(trained.into()))
        } else {
            let model = Classifier::load(path)?;
            let facts = model.facts().clone();
            let names = facts.classes.into_iter().zip(facts.first_label..);
            let classes = names.map(|(name, label)| Class { label, name }).collect();
            let name = model.kind().name().to_owned();
            (name, facts.data, facts.sample, classes, Fitted::Classical(model.into(), pool))
        };
        let [height, width, channels @ (1 | 3)] = sample[..] else {
            let fault = format!("a model of samples of {}, which are no images", measures(&sample));
            return Err(Error::data(path, fault));
        };
        Ok(Self { name, data, sample: [height, width, channels], classes, fitted })
    }

    /// Predicts the images of one file.
    fn predict(&mut self, input: &Input<'_>, ground: Ground, rows: &mut Vec<Row>) -> Result<()> {
        let opened = ImageFile::open(input.path(), self.sample, ground, &user_cache());
        let images = input.named(opened)?;
        let treatment = images.treatment();
        if let Some(done) = treatment.filter(|done| *done != UNTOUCHED) {
            console::note(&format!(
                "{}: {done}{}",
                input.shown(),
                if ground == Ground::MadeDark && done.inverted {
                    ", since it is light and what was trained on lies on dark ground"
                } else {
                    ""
                }
            ));
        }
        for first in (0..images.count()).step_by(BLOCK) {
            let range = first..images.count().min(first + BLOCK);
            let Outcome { classes, probabilities } = self.of_samples(&images.samples(range)?)?;
            let width = self.classes.len();
            for (i, class) in classes.into_iter().enumerate() {
                let shares = probabilities.as_ref().map(|all| all[i * width..][..width].to_vec());
                let known = class.and_then(|class| self.classes.get(usize::from(class)));
                rows.push(Row {
                    file: input.shown(),
                    image: treatment.is_none().then_some(first + i),
                    label: known.map(|class| class.label),
                    class: known.map(|class| class.name.clone()),
                    probability: class
                        .zip(shares.as_ref())
                        .map(|(class, shares)| shares[usize::from(class)]),
                    probabilities: shares,
                    treatment: treatment.map(|done| done.to_string()),
                });
            }
        }
        Ok(())
    }

    fn of_samples(&mut self, samples: &Samples) -> Result<Outcome> {
        match &mut self.fitted {
            Fitted::Network(trained) => {
                let outputs = trained.predict(samples)?;
                let probabilities = trained.probabilities(&outputs).map(|(all, _)| all);
                Ok(Outcome { classes: trained.classes(samples)?, probabilities })
            }
            Fitted::Classical(model, pool) => {
                let probabilities = pool.enter(|team| model.probabilities(team, samples))?;
                let classes = most_probable(&probabilities, self.classes.len());
                let classes = classes.into_iter().map(Some).collect();
                Ok(Outcome { classes, probabilities: Some(probabilities) })
            }
        }
    }

    fn table(&self, rows: &[Row]) -> String {
        let mut text =
            Table::new(&["image", "class", "probability", "others"], &["image", "class", "others"]);
        for row in rows {
            let image = row.image.map_or(String::new(), |number| format!(" #{number}"));
            text.add_row([
                format!("{}{image}", row.file),
                row.class.clone().unwrap_or_else(|| "none".to_owned()),
                row.probability.map_or("-".to_owned(), |p| format!("{} %", table::percent(p))),
                self.others(row),
            ]);
        }
        let title = format!("{} ({}), probabilities in %", self.name, self.data);
        format!("{}\n\n{text}", table::prose(&title))
    }

    /// The classes that come next.
    fn others(&self, row: &Row) -> String {
        let Some(shares) = &row.probabilities else { return String::new() };
        let mut order: Vec<usize> = (0..shares.len()).collect();
        order.sort_by(|&a, &b| shares[b].total_cmp(&shares[a]).then(a.cmp(&b)));
        let others = order.into_iter().filter(|&class| {
            Some(self.classes[class].label) != row.label && shares[class] >= LEAST_OTHER
        });
        let told = others
            .take(MOST_OTHERS)
            .map(|class| format!("{} {}", self.classes[class].name, table::percent(shares[class])));
        told.collect::<Vec<_>>().join(", ")
    }

    fn csv(&self, rows: &[Row]) -> Result<String> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let fault =
            |error: &dyn std::fmt::Display| Error::Failed(format!("cannot write CSV: {error}"));
        let names = self.classes.iter().map(|class| class.name.as_str());
        let header = ["file", "image", "label", "class", "probability"].into_iter().chain(names);
        writer.write_record(header).map_err(|error| fault(&error))?;
        for row in rows {
            let shown = |x: Option<f64>| x.map_or(String::new(), |x| x.to_string());
            let mut cells = vec![
                row.file.clone(),
                row.image.map_or(String::new(), |number| number.to_string()),
                row.label.map_or(String::new(), |label| label.to_string()),
                row.class.clone().unwrap_or_default(),
                shown(row.probability),
            ];
            let share = |class: usize| row.probabilities.as_ref().map(|shares| shares[class]);
            cells.extend((0..self.classes.len()).map(|class| shown(share(class))));
            writer.write_record(&cells).map_err(|error| fault(&error))?;
        }
        let bytes = writer.into_inner().map_err(|error| fault(&error))?;
        String::from_utf8(bytes).map_err(|error| fault(&error))
    }
}

const UNTOUCHED: Treatment = Treatment { scaled_from: None, inverted: false };

/// The classes of a run's network, which has so many outputs for classes: with the names of its record; those of older
/// versions have none, and are named as Fashion-MNIST has them, or by their labels.
fn classes_of(record: &Record, outputs: usize) -> Vec<Class> {
    let data = &record.data;
    let labels: Vec<u32> = match record.task.selection.classes {
        Classes::All => (data.first_label..).take(data.classes).collect(),
        Classes::Pair { zero, one } => vec![zero.into(), one.into()],
    };
    let is_known = data.identity != Identity::Other.name();
    let name = |number: usize, label: u32| {
        let recorded = data.class_names.get(number).cloned();
        let known =
            CLASS_NAMES.get(label as usize).filter(|_| is_known).map(|&name| name.to_owned());
        recorded.or(known).unwrap_or_else(|| label.to_string())
    };
    let classes =
        labels.iter().enumerate().map(|(i, &label)| Class { label, name: name(i, label) });
    // A network may have more outputs than there are classes.
    let last = labels.iter().max().map_or(0, |&label| label + 1);
    let beyond = (labels.len()..outputs).zip(last..);
    let beyond = beyond.map(|(i, label)| Class { label, name: format!("output {i}") });
    classes.chain(beyond).collect()
}
