//! `threadcount eval`

use super::evaluation::{Evaluation, Subject};
use super::run_data::{Other, of_run};
use super::settings::{ComputeFlags, DataFlag, Settings};
use crate::console;
use crate::train::RunFolder;
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
