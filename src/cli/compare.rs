//! `threadcount compare`: classical models and networks side by side.

use super::compare_report::{Document, Ground, Measured, picture, told};
use super::json::check_file;
use super::progress::Progress;
use super::settings::{MeasureFlags, Settings};
use super::{data, interrupt, table};
use crate::bench::{Facts, fma_gflops};
use crate::classical::forest::ForestSettings;
use crate::classical::{Classifier, Kind, LogisticSettings, Neighbours, most_probable};
use crate::data::{Dataset, Samples, Selection, Split};
use crate::evaluate::{ClassificationReport, Confusion, log_loss};
use crate::files::write_atomically;
use crate::nn::Loss;
use crate::reports::{self, Recipe};
use crate::train::{Setup, Trained};
use crate::{Error, Result, classical};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use threadcount_kernels::Pool;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Models (logistic, neighbours or knn, forest), reports and recipes, TOML files [default: the three models
    /// and the networks of nlp2024]
    #[arg(value_name = "MODEL|RECIPE")]
    names: Vec<String>,
    /// Trees of the random forest
    #[arg(long, value_name = "N", default_value_t = 100)]
    trees: usize,
    /// Neighbours that vote
    #[arg(long, value_name = "N", default_value_t = 5)]
    k: usize,
    /// How much the losses count beside the penalty in the logistic regression
    #[arg(long, value_name = "NUMBER", default_value_t = 1.0)]
    c: f64,
    /// The most iterations of the logistic regression
    #[arg(long, value_name = "N", default_value_t = 1000)]
    iterations: usize,
    /// Draw bars of accuracy, loss, times and size into this SVG file
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Save the classical models into this folder; 'threadcount eval FILE' evaluates one again
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    #[command(flatten)]
    flags: MeasureFlags,
}

/// What is compared.
enum Subject {
    Model(Kind),
    Recipe(Box<Recipe>),
}

/// What all have in common.
struct Bench<'a> {
    pool: Pool,
    dataset: Arc<Dataset>,
    /// The set's own parts.
    split: Split,
    settings: classical::Settings,
    seed: u64,
    save: Option<&'a Path>,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let settings = Settings::load()?;
    let subjects = select(&args.names)?;
    let seed = settings.seed(&args.flags.seed)?;
    let of_models = classical::Settings {
        logistic: LogisticSettings { c: args.c, iterations: args.iterations, ..Default::default() },
        k: args.k,
        forest: ForestSettings { trees: args.trees, ..ForestSettings::classification(seed) },
    };
    of_models.check()?;
    let pool = settings.pool(&args.flags.compute)?;
    args.flags.json.check()?;
    args.plot.iter().try_for_each(|path| check_file("--plot", path))?;
    args.save.iter().try_for_each(|folder| check_folder(folder, &subjects))?;
    let dataset = data::open(settings.data(&args.flags.data)?.as_deref())?;
    let split = data::split(&Selection::default(), &dataset, seed)?;
    // Whether there are so many samples: before minutes of work.
    Neighbours::fit(&split.train, args.k)?;
    let save = args.save.as_deref();
    let bench = Bench { pool, dataset, split, settings: of_models, seed, save };
    interrupt::listen("stopping after this model; the finished results are printed");
    let mut results = Vec::new();
    let ended = bench.measure_all(&subjects, &mut results);
    // Whatever ended the comparison, what was measured until then is not lost.
    if !results.is_empty() {
        let facts = Facts::of(&bench.pool);
        let data = bench.dataset.identity.name();
        if let Some(path) = &args.plot {
            write_atomically(path, picture(&results, &facts)?.as_bytes())?;
        }
        let document = Document { machine: &facts, data, seed, results: &results };
        let has = |is: fn(&Subject) -> bool| subjects.iter().any(is);
        let ground = Ground {
            facts: &facts,
            dataset: &bench.dataset,
            split: &bench.split,
            seed,
            kinds: [
                has(|subject| matches!(subject, Subject::Model(_))),
                has(|subject| matches!(subject, Subject::Recipe(_))),
            ],
        };
        args.flags.json.put(&table::json(&document)?, &ground.report(&results))?;
    }
    ended
}

/// The models and recipes of these names, each once, in their order.
fn select(names: &[String]) -> Result<Vec<Subject>> {
    let default =
        || Kind::ALL.map(|kind| kind.name().to_owned()).into_iter().chain(["nlp2024".to_owned()]);
    let names = if names.is_empty() { default().collect() } else { names.to_vec() };
    let mut subjects: Vec<Subject> = Vec::new();
    for name in names {
        let found: Vec<Subject> = match Kind::from_name(&name) {
            Some(kind) => vec![Subject::Model(kind)],
            None => {
                let recipes = reports::find(&name)?.ok_or_else(|| {
                    let (fault, models) = (reports::none_called(&name), Kind::ALL.map(Kind::name));
                    Error::Usage(format!("{fault}; the classical models are {}", models.join(", ")))
                })?;
                recipes.into_iter().map(|recipe| Subject::Recipe(recipe.into())).collect()
            }
        };
        for subject in found {
            if subjects.iter().all(|known| known.name() != subject.name()) {
                subjects.push(subject);
            }
        }
    }
    Ok(subjects)
}

/// Checks before minutes of work that models can be saved, and that none is overwritten.
fn check_folder(folder: &Path, subjects: &[Subject]) -> Result<()> {
    fs::create_dir_all(folder).map_err(Error::io(folder))?;
    tempfile::tempfile_in(folder).map_err(Error::io(folder))?;
    for subject in subjects {
        let Subject::Model(kind) = subject else { continue };
        let path = file_of(folder, *kind);
        if path.exists() {
            return Err(Error::Usage(format!(
                "--save {}: {} is there already; choose another folder, or remove it",
                folder.display(),
                path.display()
            )));
        }
    }
    Ok(())
}

fn file_of(folder: &Path, kind: Kind) -> PathBuf {
    folder.join(format!("{kind}.safetensors"))
}

impl Subject {
    fn name(&self) -> &str {
        match self {
            Self::Model(kind) => kind.name(),
            Self::Recipe(recipe) => &recipe.id,
        }
    }
}

impl Bench<'_> {
    fn measure_all(&self, subjects: &[Subject], results: &mut Vec<Measured>) -> Result<()> {
        for (number, subject) in (1..).zip(subjects) {
            let name = format!("[{number}/{}] {:<17}", subjects.len(), subject.name());
            let mut progress = Progress::new();
            progress.begin(&format!("{name}  training ..."));
            let measured = match subject {
                Subject::Model(kind) => self.model(*kind),
                Subject::Recipe(recipe) => self.recipe(recipe, &name, &mut progress),
            };
            progress.finish();
            if interrupt::asked() {
                return Err(Error::Interrupted(format!(" in {}", subject.name())));
            }
            let measured = measured?;
            progress.line(&format!(
                "{name}  accuracy {} %  {} s",
                table::percent(measured.test_accuracy),
                table::seconds(measured.train_seconds + measured.predict_seconds)
            ));
            results.push(measured);
        }
        Ok(())
    }

    /// A classical model, on the set's own parts.
    fn model(&self, kind: Kind) -> Result<Measured> {
        let Split { train, test, .. } = &self.split;
        let watch = |_| match interrupt::asked() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        let began = Instant::now();
        let fitted =
            self.pool.enter(|team| Classifier::fit(kind, team, train, &self.settings, watch));
        let train_seconds = began.elapsed().as_secs_f64();
        let model = fitted?.of_set(self.dataset.identity.name(), self.dataset.first_label());
        let began = Instant::now();
        let probabilities = self.pool.enter(|team| model.probabilities(team, test))?;
        let predict_seconds = began.elapsed().as_secs_f64();
        if let Some(folder) = self.save {
            model.save(&file_of(folder, kind))?;
        }
        let operations = model.neighbours().map(|model| model.operations(test.len()));
        let gflops = operations.map(|operations| operations / predict_seconds / 1e9);
        let peak = gflops.map(|_| self.pool.enter(fma_gflops));
        let predicted = most_probable(&probabilities, test.classes());
        let predicted: Vec<_> = predicted.into_iter().map(Some).collect();
        let loss = log_loss(test.labels(), &probabilities, test.classes(), f64::EPSILON);
        Ok(Measured {
            bytes: model.bytes(),
            gflops,
            fma_gflops: peak,
            share_of_peak: gflops.zip(peak).map(|(rate, peak)| rate / peak),
            note: model.minimised().map(told),
            ..measured(
                kind.name(),
                train,
                test,
                &predicted,
                Some(loss),
                [train_seconds, predict_seconds],
            )
        })
    }

    /// A network, on its recipe's own split.
    fn recipe(&self, recipe: &Recipe, name: &str, progress: &mut Progress) -> Result<Measured> {
        let task = &recipe.task;
        let split = data::split(&task.selection, &self.dataset, self.seed)?;
        let (threads, isa) = (Some(self.pool.threads()), Some(self.pool.isa()));
        let setup = Setup { seed: self.seed, threads, isa };
        let began = Instant::now();
        let trained =
            task.fit(&split, &setup, |session, moment| progress.watch(name, session, moment));
        let train_seconds = began.elapsed().as_secs_f64();
        let mut trained = trained.map_err(|error| recipe.locate(error))?;
        let began = Instant::now();
        let outputs = trained.predict(&split.test)?;
        let predict_seconds = began.elapsed().as_secs_f64();
        let predicted = trained.classes(&split.test)?;
        let loss = network_loss(task.loss, &trained, &outputs, split.test.labels());
        let bytes = trained.model().plan().parameter_count() * size_of::<f32>();
        let seconds = [train_seconds, predict_seconds];
        let measured = measured(&recipe.id, &split.train, &split.test, &predicted, loss, seconds);
        Ok(Measured { bytes: bytes as u64, ..measured })
    }
}

/// The log loss of a network's outputs, which are float32, if they are probabilities.
fn network_loss(loss: Loss, trained: &Trained, outputs: &[f32], labels: &[u8]) -> Option<f64> {
    let width = trained.model().plan().output().len();
    let outputs = outputs.iter().copied().map(f64::from);
    let (probabilities, classes): (Vec<f64>, usize) = match loss {
        Loss::SoftmaxCrossEntropy => (outputs.collect(), width),
        Loss::BinaryCrossEntropy => (outputs.flat_map(|p| [1.0 - p, p]).collect(), 2),
        Loss::MeanSquaredError => return None,
    };
    Some(log_loss(labels, &probabilities, classes, f32::EPSILON.into()))
}

/// What is measured alike of all.
fn measured(
    name: &str,
    train: &Samples,
    test: &Samples,
    predicted: &[Option<u8>],
    loss: Option<f64>,
    [train_seconds, predict_seconds]: [f64; 2],
) -> Measured {
    // A network may have more outputs than there are classes.
    let outputs = predicted.iter().flatten().max().map_or(0, |&last| usize::from(last) + 1);
    let names = (0..test.classes().max(outputs)).map(|class| class.to_string());
    let mut confusion = Confusion::new(names);
    confusion.add(test.labels(), predicted);
    Measured {
        model: name.to_owned(),
        test_accuracy: confusion.accuracy(),
        macro_f1: ClassificationReport::new(&confusion).macro_avg.f1,
        log_loss: loss.filter(|loss| loss.is_finite()),
        train_seconds,
        predict_seconds,
        predicted_images_per_second: test.len() as f64 / predict_seconds,
        bytes: 0,
        train_images: train.len(),
        test_images: test.len(),
        gflops: None,
        fma_gflops: None,
        share_of_peak: None,
        note: None,
    }
}
