//! `threadcount eval`

use super::data;
use super::evaluation::Evaluation;
use super::settings::{ComputeFlags, DataFlag, Settings};
use crate::console;
use crate::train::{DataRecord, RunFolder, Session};
use crate::{Error, Result};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Folder of the run
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
    let (folder, record) = RunFolder::open(&args.run)?;
    if !folder.model_path().exists() {
        let path = folder.path().display();
        return Err(Error::Failed(format!(
            "{path} has no trained model yet; finish it with 'threadcount train --resume {path}'"
        )));
    }
    let task = &record.task;
    let dataset = record.data.number(data::open(settings.data(&args.data)?.as_deref())?)?;
    let split = data::split(&task.selection, &dataset, record.seed)?;
    let data = DataRecord::of(&dataset, &split);
    if data.sha256 != record.data.sha256 {
        console::warn(&format!(
            "the model was trained on other data ({}, from {}) than it is evaluated on ({}, from {})",
            record.data.identity,
            record.data.origin.display(),
            data.identity,
            data.origin.display()
        ));
    }
    let mut session = Session::new(task, &split, record.seed)?;
    folder.read_model(&mut session)?;
    let pool = settings.pool(&args.compute)?;
    let (score, predictions) = pool.enter(|team| -> Result<_> {
        Ok((session.test(team)?, session.test_predictions(team)?))
    })?;
    let test = &split.test;
    let evaluation = Evaluation::new(score, test.class_names(), test.labels(), &predictions);
    console::print(&match args.json {
        true => evaluation.json(&record.recipe, &data.identity)?,
        false => evaluation.text(),
    })
}
