//! Trainings whose figures make a table: of `reproduce` and of `record`.

use super::data;
use super::progress::Progress;
use super::settings::note_slow;
use super::table;
use crate::bench::fma_gflops;
use crate::data::Dataset;
use crate::reports::{Recipe, Span};
use crate::train::{Ended, Session};
use crate::{Error, Result};
use serde::Serialize;
use std::sync::Arc;
use threadcount_kernels::Pool;

/// How often recipes are trained.
#[derive(clap::Args)]
pub(super) struct RepeatsFlag {
    /// Train each recipe this many times, with consecutive seeds
    #[arg(long, value_name = "N", default_value_t = 1)]
    repeats: usize,
}

impl RepeatsFlag {
    /// The number.
    ///
    /// # Errors
    /// [`Error::Usage`] for 0.
    pub(super) fn checked(&self) -> Result<usize> {
        match self.repeats {
            0 => Err(Error::Usage("--repeats 0: at least 1".into())),
            repeats => Ok(repeats),
        }
    }
}

/// One training run; the fields are those of the JSON document.
#[derive(Serialize)]
pub(super) struct Measured {
    pub(super) recipe: String,
    pub(super) claimed_accuracy: Option<f64>,
    pub(super) test_accuracy: f64,
    pub(super) test_loss: f64,
    pub(super) claimed_seconds: Option<f64>,
    pub(super) train_seconds: f64,
    pub(super) images_per_second: f64,
    /// The FMA peak of the threads, measured right before the run.
    pub(super) fma_gflops: f64,
    pub(super) epochs: usize,
    pub(super) parameters: usize,
    pub(super) seed: u64,
    pub(super) threads: usize,
    pub(super) isa: &'static str,
    pub(super) precision: &'static str,
    pub(super) data: &'static str,
}

/// Everything that the runs have in common.
pub(super) struct Runs {
    pub(super) pool: Pool,
    pub(super) dataset: Arc<Dataset>,
}

impl Runs {
    /// Trains each recipe `repeats` times, with consecutive seeds from `seed` on. What was measured before
    /// an error stands in `results`.
    ///
    /// # Errors
    /// As [`Session::train`]; [`Error::Interrupted`] after Ctrl-C.
    pub(super) fn measure_all(
        &self,
        recipes: &[Recipe],
        repeats: usize,
        seed: u64,
        results: &mut Vec<Measured>,
    ) -> Result<()> {
        let runs = recipes.len() * repeats;
        for recipe in recipes {
            for repeat in 0..repeats as u64 {
                let number = results.len() + 1;
                results.push(self.measure(recipe, seed.wrapping_add(repeat), number, runs)?);
            }
        }
        Ok(())
    }

    fn measure(&self, recipe: &Recipe, seed: u64, number: usize, runs: usize) -> Result<Measured> {
        let task = &recipe.task;
        let split = data::split(&task.selection, &self.dataset, seed)?;
        let mut session = Session::new(task, &split, seed)?;
        let digits = runs.to_string().len();
        let name = format!("[{number:>digits$}/{runs}] {:<17} seed {seed}", recipe.id);
        let mut progress = Progress::new();
        progress.begin(&format!("{name}  training ..."));
        let arithmetic = task.arithmetic(self.pool.isa())?;
        note_slow(arithmetic);
        let (peak, ended, score) = self.pool.enter_with(arithmetic, |team| -> Result<_> {
            let peak = fma_gflops(team);
            let mut watch =
                |session: &Session<'_>, moment| Ok(progress.watch(&name, session, moment));
            let ended = session.train(team, &mut watch)?;
            Ok((peak, ended, session.test(team)?))
        })?;
        progress.finish();
        if ended == Ended::Interrupted {
            return Err(Error::Interrupted(format!(" in run {number} of {runs} ({})", recipe.id)));
        }
        let done = session.progress().clone();
        progress.line(&format!(
            "{name}  accuracy {} %  {} s",
            table::percent(score.accuracy),
            table::seconds(done.train_seconds)
        ));
        Ok(Measured {
            recipe: recipe.id.to_string(),
            claimed_accuracy: recipe.claim.accuracy.map(Span::middle),
            test_accuracy: score.accuracy,
            test_loss: score.loss,
            claimed_seconds: recipe.claim.seconds.map(Span::middle),
            train_seconds: done.train_seconds,
            images_per_second: done.images_per_second(),
            fma_gflops: peak,
            epochs: done.history.epochs.len(),
            parameters: session.network().plan().parameter_count(),
            seed,
            threads: self.pool.threads(),
            isa: self.pool.isa().name(),
            precision: task.precision.name(),
            data: self.dataset.identity.name(),
        })
    }
}

/// The seeds of these runs: `seed 0`, `seeds 0-19`.
pub(super) fn seeds(results: &[Measured]) -> String {
    let first = results.iter().map(|run| run.seed).min().unwrap_or(0);
    let last = results.iter().map(|run| run.seed).max().unwrap_or(0);
    if first == last { format!("seed {first}") } else { format!("seeds {first}-{last}") }
}

/// One figure of several runs.
#[derive(Serialize)]
pub(super) struct Spread {
    pub(super) mean: f64,
    pub(super) lowest: f64,
    pub(super) highest: f64,
    /// The sample standard deviation; of a single run, none.
    pub(super) deviation: Option<f64>,
}

impl Spread {
    /// Of at least one run.
    pub(super) fn of(runs: &[&Measured], figure: fn(&Measured) -> f64) -> Self {
        let figures: Vec<f64> = runs.iter().map(|run| figure(run)).collect();
        let count = figures.len() as f64;
        let mean = figures.iter().sum::<f64>() / count;
        let squares: f64 = figures.iter().map(|x| (x - mean) * (x - mean)).sum();
        Self {
            mean,
            lowest: figures.iter().copied().fold(f64::INFINITY, f64::min),
            highest: figures.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            deviation: (figures.len() > 1).then(|| (squares / (count - 1.0)).sqrt()),
        }
    }

    /// `mean (lowest-highest)`, or the figure of a single run.
    pub(super) fn text(&self, write: fn(f64) -> String) -> String {
        match self.deviation {
            None => write(self.mean),
            Some(_) => {
                format!("{} ({}-{})", write(self.mean), write(self.lowest), write(self.highest))
            }
        }
    }

    /// `mean ± deviation (lowest-highest)`, or the figure of a single run.
    pub(super) fn with_deviation(&self, write: fn(f64) -> String) -> String {
        let (mean, low, high) = (write(self.mean), write(self.lowest), write(self.highest));
        match self.deviation {
            None => mean,
            Some(deviation) => format!("{mean} ± {} ({low}-{high})", write(deviation)),
        }
    }
}
