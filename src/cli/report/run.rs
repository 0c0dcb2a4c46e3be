//! The page of a run: everything that its folder and its data tell. What is missing or damaged is named on the page,
//! and the rest is shown.

use super::judged::{Answers, GALLERY, Judged, Matrix};
use super::rerun::Rerun;
use super::sessions::Sessions;
use super::views::{CurvesView, ModelView, SettingsView, SittingRow};
use crate::cli::table::{count, duration, grouped, percent, rate, seconds, span};
use crate::data::{Identity, Samples};
use crate::names::{shortened, shortened_middle};
use crate::nn::{Loss, Plan};
use crate::reports;
use crate::train::{History, Record, ResultRecord, RunFolder};
use crate::{Error, Result};
use askama::Template;
use std::io::ErrorKind;
use std::path::Path;
use threadcount_kernels::Pool;

/// The most characters of a fault.
pub(super) const FAULT: usize = 600;

/// A page.
#[derive(Template)]
#[template(path = "report/run.html")]
pub(super) struct Page {
    title: String,
    version: &'static str,
    status: Status,
    /// Whether the data are the set that the program draws where there is none.
    is_drawn: bool,
    /// What could not be read, and why.
    pub(super) missing: Vec<String>,
    tiles: Vec<Tile>,
    curves: Option<CurvesView>,
    judged: Option<Judged>,
    gallery_most: usize,
    model: Option<ModelView>,
    settings: Option<SettingsView>,
    sittings: Vec<SittingRow>,
    left_out_sittings: usize,
    rerun: Option<Rerun>,
}

/// How far the run has come.
struct Status {
    text: String,
    is_finished: bool,
}

/// A figure at the top.
struct Tile {
    name: &'static str,
    value: String,
    detail: String,
}

/// The parts of a run that can be had.
pub(super) struct Parts {
    opened: Option<(RunFolder, Record)>,
    plan: Option<Plan>,
    pub(super) history: Option<History>,
    pub(super) sessions: Option<Sessions>,
    missing: Vec<String>,
}

impl Parts {
    fn read(folder: &Path) -> Self {
        let mut missing = Vec::new();
        let opened = had(RunFolder::open(folder), &mut missing);
        let history = had(history(&folder.join("history.csv")), &mut missing);
        let sessions = had(Sessions::read(folder), &mut missing);
        let plan = opened.as_ref().and_then(|(_, record)| had(plan(record), &mut missing));
        Self { opened, plan, history, sessions, missing }
    }

    pub(super) fn record(&self) -> Option<&Record> {
        self.opened.as_ref().map(|(_, record)| record)
    }

    fn result(&self) -> Option<&ResultRecord> {
        self.record()?.result.as_ref()
    }

    /// Operations of the products for one sample.
    pub(super) fn flops(&self) -> Option<f64> {
        self.plan.as_ref().map(Plan::flops_per_sample)
    }

    fn epochs(&self) -> usize {
        self.history.as_ref().map_or(0, |history| history.epochs.len())
    }
}

fn history(path: &Path) -> Result<History> {
    History::read_csv(path).map_err(|error| match error {
        Error::Io { source, .. } if source.kind() == ErrorKind::NotFound => {
            Error::data(path, "missing: no epoch has ended, or it was taken away")
        }
        error => error,
    })
}

/// What a step came to; a fault is added to what is missing.
fn had<T>(result: Result<T>, missing: &mut Vec<String>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            missing.push(shortened_middle(&error.to_string(), FAULT));
            None
        }
    }
}

fn plan(record: &Record) -> Result<Plan> {
    let Some(sample) = record.data.shape() else {
        return Err(Error::Usage("data.sample: one to three sizes".to_owned()));
    };
    let classes = record.task.selection.classes.count(record.data.classes);
    record.task.plan(record.task.input.of(sample)?, classes)
}

impl Page {
    /// The page of the run in this folder; `samples` are its test samples.
    ///
    /// # Errors
    /// [`Error::Data`] if nothing of a run is there; as the drawing functions.
    pub(super) fn of(folder: &Path, samples: Result<Samples>, pool: Pool) -> Result<Self> {
        let mut parts = Parts::read(folder);
        if let (None, None, None) = (&parts.opened, &parts.history, &parts.sessions) {
            return Err(Error::data(folder, parts.missing.swap_remove(0)));
        }
        let judged = match (&parts.opened, parts.result()) {
            (Some((folder, record)), Some(_)) => {
                let judged = judge(folder, record, samples, pool);
                had(judged, &mut parts.missing)
            }
            _ => None,
        };
        let title = match parts.record() {
            Some(record) => shortened(&record.recipe),
            None => folder
                .file_name()
                .map_or("a run".into(), |name| name.to_string_lossy().into_owned()),
        };
        let rerun = parts.record().map(Rerun::of);
        let rerun = rerun.and_then(|rerun| had(rerun, &mut parts.missing));
        let settings = parts.record().map(SettingsView::of);
        let settings = settings.and_then(|settings| had(settings, &mut parts.missing));
        let (sittings, left_out_sittings) =
            parts.sessions.as_ref().map(SittingRow::of_all).unwrap_or_default();
        Ok(Self {
            title,
            version: env!("CARGO_PKG_VERSION"),
            status: status(&parts),
            is_drawn: parts.record().is_some_and(is_drawn),
            tiles: tiles(&parts, judged.as_ref(), rerun.as_ref()),
            curves: CurvesView::of(&parts)?,
            judged,
            gallery_most: GALLERY,
            model: parts.plan.as_ref().map(ModelView::of),
            settings,
            sittings,
            left_out_sittings,
            rerun,
            missing: parts.missing,
        })
    }
}

fn is_drawn(record: &Record) -> bool {
    record.data.identity == Identity::Synthetic.name()
}

/// Evaluates the run's model.
fn judge(
    folder: &RunFolder,
    record: &Record,
    samples: Result<Samples>,
    pool: Pool,
) -> Result<Judged> {
    let samples = samples?;
    let mut trained = folder.trained(record, pool)?;
    if samples.is_empty() {
        return Err(Error::data(folder.path(), "there are no test samples"));
    }
    let predictions = trained.classes(&samples)?;
    let probabilities = match record.task.loss {
        Loss::MeanSquaredError => None,
        _ => Some(trained.predict(&samples)?),
    };
    Judged::new(&Answers {
        samples: &samples,
        predictions: &predictions,
        probabilities: probabilities.as_deref(),
    })
}

fn status(parts: &Parts) -> Status {
    let unfinished = |text: String| Status { text, is_finished: false };
    let done = parts.epochs();
    let Some(record) = parts.record() else {
        return unfinished("what the folder holds of a run without a readable run.toml".to_owned());
    };
    let most = record.task.epochs;
    if let Some(result) = &record.result {
        let text = match result.epochs < most {
            true => format!(
                "finished: early stopping ended it after {} of {most} epochs",
                result.epochs
            ),
            false => format!("finished after {}", count(result.epochs, "epoch")),
        };
        return Status { text, is_finished: true };
    }
    let last = parts.sessions.as_ref().and_then(|sessions| sessions.sessions.last());
    let ended = last.and_then(|sitting| sitting.ended.as_deref());
    let why = ended.unwrap_or("it was stopped, or is still training");
    unfinished(format!("not finished: {done} of {most} epochs; {}", shortened_middle(why, FAULT)))
}

fn tiles(parts: &Parts, judged: Option<&Judged>, rerun: Option<&Rerun>) -> Vec<Tile> {
    let mut tiles = Vec::new();
    let mut tile = |name, value: String, detail: String| tiles.push(Tile { name, value, detail });
    if let Some(result) = parts.result() {
        let claim = rerun.and_then(|rerun| claim(parts.record()?, rerun));
        tile(
            "test accuracy",
            format!("{} %", percent(result.test_accuracy)),
            claim.unwrap_or_default(),
        );
        tile("test loss", format!("{:.4}", result.test_loss), String::new());
    } else if let Some(last) = parts.history.as_ref().and_then(|history| history.epochs.last()) {
        let detail = format!("after epoch {}", last.epoch);
        tile("validation accuracy", format!("{} %", percent(last.val_accuracy)), detail);
    }
    if let Some(calibration) = judged.and_then(|judged| judged.calibration.as_ref()) {
        tile(
            "calibration error",
            format!("{:.4}", calibration.error),
            "expected, 15 bins".to_owned(),
        );
    }
    if let Some(result) = parts.result() {
        let detail = format!(
            "{} s for each epoch",
            seconds(result.train_seconds / result.epochs.max(1) as f64)
        );
        tile("training time", duration(result.train_seconds), detail);
        let share = parts.flops().zip(peak(parts)).map(|(flops, peak)| {
            let gflops = result.images_per_second * flops / 1e9;
            format!("{gflops:.1} GFLOP/s, {:.0} % of the FMA peak", 100.0 * gflops / peak)
        });
        tile("images/s", rate(result.images_per_second), share.unwrap_or_default());
    }
    if let Some(plan) = &parts.plan {
        tile("parameters", grouped(plan.parameter_count() as u64), String::new());
    }
    tiles
}

/// The peak of the process that trained last.
fn peak(parts: &Parts) -> Option<f64> {
    parts.sessions.as_ref()?.sessions.last()?.fma_gflops
}

/// What the report of a recipe claims, if the run is of that recipe as it is, on the report's data.
fn claim(record: &Record, rerun: &Rerun) -> Option<String> {
    let recipe = reports::recipes().into_iter().find(|recipe| recipe.id == record.recipe)?;
    let comparable = rerun.is_recipe && record.data.identity == Identity::FashionMnist.name();
    let claimed = recipe.claim.accuracy.filter(|_| comparable)?;
    Some(format!("the report claims {} %", span(Some(claimed), percent, "")))
}
