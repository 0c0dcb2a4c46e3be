//! `threadcount compare`: classical models and networks side by side.

use super::compare_report::{self as report, Conditions, Document, Measured, picture, told};
use super::json::check_file;
use super::progress::Progress;
use super::settings::{MeasureFlags, Settings};
use super::{choices, data, interrupt, table};
use crate::bench::{Facts, fma_gflops};
use crate::classical::forest::ForestSettings;
use crate::classical::{Classifier, GoOn, Kind, LogisticSettings, Neighbours, most_probable};
use crate::data::{Dataset, Samples, Selection, Split};
use crate::evaluate::{ClassificationReport, Confusion, log_loss};
use crate::files::write_atomically;
use crate::reports::{self, Recipe};
use crate::train::{DataRecord, Record, RunFolder, Setup, Trained};
use crate::{Error, Result, classical};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use threadcount_kernels::Pool;

#[derive(clap::Args)]
pub(super) struct Args {
    #[arg(value_name = "MODEL|RECIPE", help = choices::compared())]
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
    /// Save the models into this folder: classical ones as files, networks as folders of runs; 'eval' and 'predict'
    /// read both
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
    go_on: &'a GoOn<'a>,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let settings = Settings::load()?;
    let mut subjects = select(&args.names)?;
    let tasks = subjects.iter_mut().filter_map(|subject| match subject {
        Subject::Recipe(recipe) => Some(&mut recipe.task),
        Subject::Model(_) => None,
    });
    settings.in_precision(&args.flags.precision, tasks)?;
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
    let bench =
        Bench { pool, dataset, split, settings: of_models, seed, save, go_on: &interrupt::go_on };
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
        let conditions =
            Conditions { facts: &facts, dataset: &bench.dataset, split: &bench.split, seed };
        args.flags.json.put(&table::json(&document)?, &conditions.report(&results))?;
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
        let path = subject.saved_in(folder);
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

impl Subject {
    /// Its file or folder among those that are saved.
    fn saved_in(&self, folder: &Path) -> PathBuf {
        match self {
            Self::Model(kind) => folder.join(format!("{kind}.safetensors")),
            Self::Recipe(recipe) => folder.join(&*recipe.id),
        }
    }

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
            if (self.go_on)().is_break() {
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
        let began = Instant::now();
        let fitted =
            self.pool.enter(|team| Classifier::fit(kind, team, train, &self.settings, self.go_on));
        let train_seconds = began.elapsed().as_secs_f64();
        let model = fitted?.of_set(self.dataset.identity.name(), self.dataset.first_label());
        let began = Instant::now();
        let go_on = self.go_on;
        let probabilities = self.pool.enter(|team| model.probabilities_while(team, test, go_on))?;
        let predict_seconds = began.elapsed().as_secs_f64();
        if let Some(folder) = self.save {
            model.save(&Subject::Model(kind).saved_in(folder))?;
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
            samples: report::Samples::Filed,
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
        let loss = trained.probabilities(&outputs).map(|(probabilities, classes)| {
            log_loss(split.test.labels(), &probabilities, classes, f32::EPSILON.into())
        });
        if let Some(folder) = self.save {
            let folder = folder.join(&*recipe.id);
            self.save_run(&folder, recipe, &split, &mut trained, train_seconds)?;
        }
        let bytes = trained.model().plan().parameter_count() * size_of::<f32>();
        let seconds = [train_seconds, predict_seconds];
        let measured = measured(&recipe.id, &split.train, &split.test, &predicted, loss, seconds);
        Ok(Measured { bytes: bytes as u64, ..measured })
    }

    /// Writes a network as the folder of a run that has finished.
    fn save_run(
        &self,
        folder: &Path,
        recipe: &Recipe,
        split: &Split,
        trained: &mut Trained,
        train_seconds: f64,
    ) -> Result<()> {
        let data = DataRecord::of(&self.dataset, split);
        let record = Record::new(&recipe.id, recipe.task.clone(), self.seed, &self.pool, data);
        RunFolder::start(folder, &record)?.write_trained(
            &record,
            trained,
            &split.test,
            train_seconds,
        )
    }
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
        samples: report::Samples::Selected,
        gflops: None,
        fma_gflops: None,
        share_of_peak: None,
        note: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Cache, synthetic};
    use std::ops::ControlFlow;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use threadcount_kernels::Isa;

    /// Ctrl-C in the middle of a model: those before it are there.
    #[test]
    fn what_was_finished_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        synthetic::generate(folder.path(), 1, 120, 40).unwrap();
        let dataset =
            Dataset::open_folder(folder.path(), &Cache::at(folder.path().join("cache"))).unwrap();
        let asked = AtomicUsize::new(0);
        let measure = |names: &[Kind], most: usize| {
            asked.store(0, Ordering::Relaxed);
            let go_on = || match asked.fetch_add(1, Ordering::Relaxed) < most {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            };
            let bench = Bench {
                pool: Pool::new(Isa::best(), 1).unwrap(),
                split: data::split(&Selection::default(), &dataset, 0).unwrap(),
                dataset: dataset.clone(),
                settings: classical::Settings::default(),
                seed: 0,
                save: None,
                go_on: &go_on,
            };
            let subjects: Vec<_> = names.iter().map(|&kind| Subject::Model(kind)).collect();
            let mut results = Vec::new();
            let ended = bench.measure_all(&subjects, &mut results);
            let names: Vec<_> = results.into_iter().map(|result| result.model).collect();
            (ended, names, asked.load(Ordering::Relaxed))
        };
        let all = [Kind::Neighbours, Kind::Forest, Kind::Logistic];
        let after = |kinds: &[Kind]| measure(kinds, usize::MAX).2;
        let [first, second] = [after(&all[..1]), after(&all[..2])];
        for (most, finished) in [(0, 0), (first, 1), (first + 50, 1), (second, 2), (second + 3, 2)]
        {
            let (ended, names, _) = measure(&all, most);
            let error = ended.unwrap_err();
            assert_eq!(names, ["neighbours", "forest", "logistic"][..finished], "{most}");
            let told = format!("interrupted in {}", all[finished].name());
            assert_eq!((error.to_string(), error.exit_code()), (told, 130));
        }
    }
}
