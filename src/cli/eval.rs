//! `threadcount eval`

use super::data;
use super::evaluation::{Evaluation, Subject};
use super::run_data::{Other, of_run};
use super::settings::{ComputeFlags, DataFlag, Settings};
use crate::classical::{Classifier, most_probable};
use crate::console;
use crate::data::{Selection, measures};
use crate::evaluate::log_loss;
use crate::names::shortened;
use crate::train::{RunFolder, Score};
use crate::{Error, Result};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Folder of the run, or file of a classical model
    run: PathBuf,
    #[command(flatten)]
    data: DataFlag,
    #[command(flatten)]
    compute: ComputeFlags,
    /// Print one JSON document instead
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let settings = Settings::load()?;
    if args.run.is_file() {
        return classical(args, &settings);
    }
    let (folder, record) = RunFolder::open(&args.run)?;
    let pool = settings.pool(&args.compute)?;
    let mut trained = folder.trained(&record, pool)?;
    let data = of_run(&record, &args.data, &settings, Other::Tried)?;
    let test = &data.split.test;
    let score = trained.evaluate(test)?;
    if !score.loss.is_finite() {
        return Err(Error::Failed(
            "the mean loss of the test samples is not a finite number".to_owned(),
        ));
    }
    let predictions = trained.classes(test)?;
    let origin = trained.origin();
    match origin {
        Some(origin) => console::note(&format!(
            "the model of epoch {} of {} that were trained",
            origin.epoch, origin.epochs
        )),
        None => console::warn(
            "the model does not say that it is of this run: it was not written by threadcount",
        ),
    }
    let evaluation = Evaluation::new(score, test.class_names(), test.labels(), &predictions);
    console::print(&match args.json {
        true => evaluation.json(&Subject {
            recipe: &record.recipe,
            data: &data.facts.identity,
            epoch: origin.map(|origin| origin.epoch),
        })?,
        false => evaluation.text(),
    })
}

/// A model that `compare` saved, on the test part of a set.
fn classical(args: &Args, settings: &Settings) -> Result<()> {
    let model = Classifier::load(&args.run)?;
    let facts = model.facts();
    let pool = settings.pool(&args.compute)?;
    let dataset = data::open(settings.data(&args.data)?.as_deref())?;
    let dataset = Arc::new(dataset.numbered_as(facts.first_label, facts.classes.len())?);
    let test = data::split(&Selection::default(), &dataset, 0)?.test;
    if test.shape().dims() != facts.sample {
        return Err(Error::data(
            &dataset.origin,
            format!(
                "its images measure {}, the model was fitted to {}",
                measures(test.shape().dims()),
                measures(&facts.sample)
            ),
        ));
    }
    let identity = dataset.identity.name();
    if facts.data != identity {
        console::warn(&format!(
            "the model was fitted to other data ({}) than these ({identity}, from {})",
            shortened(&facts.data),
            dataset.origin.display()
        ));
    }
    let probabilities = pool.enter(|team| model.probabilities(team, &test))?;
    let classes = facts.classes.len();
    let predictions: Vec<_> =
        most_probable(&probabilities, classes).into_iter().map(Some).collect();
    let right = predictions.iter().zip(test.labels()).filter(|(p, label)| **p == Some(**label));
    let score = Score {
        loss: log_loss(test.labels(), &probabilities, classes, f64::EPSILON),
        accuracy: right.count() as f64 / test.len() as f64,
    };
    let evaluation = Evaluation::new(score, test.class_names(), test.labels(), &predictions);
    let subject = Subject { recipe: model.kind().name(), data: identity, epoch: None };
    console::print(&match args.json {
        true => evaluation.json(&subject)?,
        false => evaluation.text(),
    })
}
