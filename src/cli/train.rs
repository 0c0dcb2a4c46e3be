//! `threadcount train`

use super::change_flags::ChangeFlags;
use super::data;
use super::evaluation::Evaluation;
use super::network_table::summary;
use super::progress::Progress;
use super::ranks;
use super::report::{self, SessionLog};
use super::resumed;
use super::run_data::{Other, of_run};
use super::run_task::check_task;
use super::settings::{self, ComputeFlags, DataFlag, PrecisionFlag, SeedFlag, Settings};
use super::{interrupt, log, table};
use crate::console;
use crate::data::Split;
use crate::distributed::{Share, World};
use crate::evaluate::plots::{self, Curves, Series};
use crate::names::shortened;
use crate::reports;
#[cfg(feature = "tensorboard")]
use crate::train::events::{EventWriter, of_epoch};
use crate::train::{
    Beginning, Changes, DataRecord, Ended, Event, History, InitRecord, InitialWeights, Initialised,
    Lookout, Moment, Record, RunFolder, RunLog, Score, Session, kernel_of, never_predicted,
};
use crate::{Error, Result};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use threadcount_kernels::{Isa, Pool, Team};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Name of the recipe ('threadcount list' shows them), or a TOML file; may be left out with
    /// --resume
    #[arg(required_unless_present = "resume")]
    recipe: Option<String>,
    #[command(flatten)]
    seed: SeedFlag,
    #[command(flatten)]
    compute: ComputeFlags,
    #[command(flatten)]
    precision: PrecisionFlag,
    #[command(flatten)]
    data: DataFlag,
    /// Folder for the run [default: a new one, runs/RECIPE]
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    out: Option<PathBuf>,
    /// Continue the run in this folder; a larger --epochs makes it longer
    #[arg(long, value_name = "DIR")]
    resume: Option<PathBuf>,
    /// Begin with the weights of a run's folder, of a .safetensors file of threadcount or PyTorch, or of a
    /// .npz file of Keras
    #[arg(long, value_name = "RUN|FILE", conflicts_with = "resume")]
    init: Option<PathBuf>,
    /// Layers that --init does not load, separated by commas: such as the last one, for other classes
    #[arg(long, value_name = "LAYERS", requires = "init", value_delimiter = ',')]
    new_layers: Vec<String>,
    /// Print the network before training, and speed, share of validation and learning rate with each epoch
    #[arg(short, long)]
    verbose: bool,
    /// Also write each epoch's figures into an event file in the run's folder, for 'tensorboard --logdir runs'
    #[cfg(feature = "tensorboard")]
    #[arg(long)]
    tensorboard: bool,
    #[command(flatten)]
    changes: ChangeFlags,
}

/// A run that is ready to go.
struct Run {
    record: Record,
    folder: RunFolder,
    split: Split,
    pool: Pool,
    /// The number of epochs so far, if `--epochs` changes it.
    before: Option<usize>,
    /// Whether it goes on in another precision, or by a kernel with other bits, which its record has to say.
    is_recorded_anew: bool,
    /// The weights that it begins with, if they are not drawn.
    weights: Option<InitialWeights>,
}

/// A run that has been trained to its end.
struct Finished {
    evaluation: Evaluation,
    /// Whether the learning curves could be drawn.
    curves: Result<()>,
}

pub(super) fn run(args: &Args) -> Result<()> {
    ranks::with_world(|world| {
        let settings = Settings::load()?;
        if world.is_first() { lead(args, &settings, world) } else { follow(args, &settings, world) }
    })
}

/// What rank 0 does, or one process alone.
fn lead(args: &Args, settings: &Settings, world: &World) -> Result<()> {
    let run = match &args.resume {
        Some(path) => continue_run(args, settings, path, world)?,
        None => start_run(args, settings, world)?,
    };
    let mut session = Session::new(&run.record.task, &run.split, run.record.seed)?;
    if args.resume.is_some() {
        run.take_up(&mut session)?;
    }
    if let Some(weights) = &run.weights {
        announce_init(weights, &session.init(weights)?);
        // So that a run that is stopped before its first epoch's end resumes from them, too.
        run.folder.save(&session)?;
    }
    session.join(world.clone())?;
    let (log, folder) = (RunLog::new(settings.runs()?), run.folder.path().to_owned());
    let folder = folder.as_path();
    log::note(&log, if args.resume.is_some() { Event::Resume } else { Event::Start }, folder);
    run.announce(&session);
    ranks::announce(run.pool.threads());
    if args.verbose {
        console::note(&summary(&run.record.recipe, session.network().plan()));
    }
    interrupt::listen("stopping after this batch, saving the run");
    let mut sessions = SessionLog::begin(folder, &run.pool, &session);
    let ended = run.pool.enter(|team| run.train(team, &mut session, &mut sessions, args, world));
    drop(session);
    let kept = sessions.end(ended.as_ref().err());
    let page = folder.join(report::FILE);
    let Run { folder: files, split, pool, .. } = run;
    let reported = kept.and_then(|()| report::write(folder, &page, Ok(split.test), pool));
    log::note(&log, Event::End, folder);
    let ended = match ended {
        Ok(ended) => ended,
        Err(error) => {
            // The error that ended the run is more important than a fault of its report.
            match reported {
                Ok(_) => console::note(&format!("the run's report is {}", page.display())),
                Err(fault) => console::warn(&fault.to_string()),
            }
            return Err(error);
        }
    };
    console::print(&ended.evaluation.text())?;
    console::note(&format!(
        "\nthe run is in {}: {}\nthe run's report is {}\n'threadcount runs' lists it, with all others",
        folder.display(),
        files.files().join(", "),
        page.display()
    ));
    for missing in reported? {
        console::warn(&missing);
    }
    ended.curves
}

/// What every other rank does: trains what rank 0 trains, on its own data and threads.
fn follow(args: &Args, settings: &Settings, world: &World) -> Result<()> {
    let record = Record::of_first(world)?;
    let data = of_run(&record, &args.data, settings, Other::Refused)?;
    let isa = Isa::from_name(&record.isa)?;
    let arithmetic = record.arithmetic(isa)?;
    let pool = settings::pool(isa, settings.threads(&args.compute)?)?.with_arithmetic(arithmetic);
    world.agree(READY, "state", READY_TEXT)?;
    let mut session = Session::new(&record.task, &data.split, record.seed)?;
    session.join(world.clone())?;
    interrupt::listen("stopping after this batch");
    let mut go_on = |_: &Session<'_>, _| Ok(ControlFlow::Continue(()));
    pool.enter(|team| match session.train(team, &mut go_on)? {
        Ended::Interrupted => Ok(()),
        Ended::Finished => session.share_conclusion(team),
    })
}

/// Rank 0 has shared its record, and all others have the same data: from here on the run may begin.
const READY: u32 = 1;
const READY_TEXT: &str = "ready";

/// Tells the other ranks what is trained, with `pool`, and waits until they have its data.
fn share(record: &Record, pool: &Pool, world: &World) -> Result<()> {
    Share::new(record.task.shards, world.size(), world.rank())?;
    if world.size() == 1 {
        return Ok(());
    }
    let (isa, bf16_kernel) = (pool.isa().name().to_owned(), kernel_of(pool.arithmetic()));
    let record = Record { isa, bf16_kernel, ..record.clone() };
    record.shared(world)?;
    world.agree(READY, "state", READY_TEXT)
}

fn start_run(args: &Args, settings: &Settings, world: &World) -> Result<Run> {
    let recipe = reports::recipe(args.recipe.as_deref().unwrap_or_default())?;
    let mut changes = Changes::from(args.changes.clone());
    changes.shards = settings.shards(changes.shards)?;
    changes.batch_norm_over = settings.batch_norm_over(changes.batch_norm_over)?;
    let mut task = changes.apply(recipe.task.clone())?;
    task.precision = settings.precision(&args.precision)?.unwrap_or(task.precision);
    let seed = settings.seed(&args.seed)?;
    let pool = settings.pool(&args.compute)?.with_precision(task.precision)?;
    let dataset = data::open(settings.data(&args.data)?.as_deref())?;
    let split = data::split(&task.selection, &dataset, seed);
    let split = split.map_err(|error| recipe.locate(error))?;
    let weights = args.init.as_deref().map(|path| initial_weights(path, &args.new_layers));
    let weights = weights.transpose()?;
    let mut record = Record::new(&recipe.id, task, seed, &pool, DataRecord::of(&dataset, &split));
    // Everything that can be refused is checked before a folder is created.
    let session = Session::new(&record.task, &split, seed);
    let mut session = session.map_err(|error| match error {
        // The option's fault, not the file's.
        Error::Setting { .. } if args.changes.freeze.is_some() => error,
        error => recipe.locate(error),
    })?;
    if let Some(weights) = &weights {
        let init = InitRecord::of(weights, &session.init(weights)?);
        drop(session);
        record.init = Some(init);
    }
    share(&record, &pool, world)?;
    let folder = match &args.out {
        Some(path) => RunFolder::start(path, &record)?,
        None => RunFolder::start_numbered(&settings.runs()?, &record.recipe, &record)?,
    };
    Ok(Run { record, folder, split, pool, before: None, is_recorded_anew: false, weights })
}

/// The weights in a run's folder or in a file.
fn initial_weights(path: &Path, new_layers: &[String]) -> Result<InitialWeights> {
    let weights = if path.is_dir() {
        let (folder, record) = RunFolder::open(path)?;
        folder.weights(&record)?
    } else {
        InitialWeights::read(path)?
    };
    let names = new_layers.iter().map(|name| name.trim().to_owned());
    Ok(weights.with_new_layers(names.collect()))
}

/// Says where the weights are from, and which they are.
fn announce_init(weights: &InitialWeights, begun: &Initialised) {
    let mut line = format!(
        "weights of {} ({}): {}",
        weights.path().display(),
        weights.format(),
        begun.loaded.join(", ")
    );
    if !begun.new.is_empty() {
        line += &format!("; drawn anew: {}", begun.new.join(", "));
    }
    if !begun.left_out.is_empty() {
        line += &format!("; left out of the file: {}", shortened(&begun.left_out.join(", ")));
    }
    if begun.has_scale() {
        line += "; inputs are scaled as they were for these weights";
    }
    console::note(&line);
}

/// Resumes a run: everything but the number of epochs and the threads comes from the folder.
fn continue_run(args: &Args, settings: &Settings, path: &Path, world: &World) -> Result<Run> {
    let (folder, mut record) = RunFolder::open_to_train(path)?;
    let shown = path.display();
    let mut beside = None;
    if let Some(named) = args.recipe.as_deref() {
        let named = reports::recipe(named)?;
        if named.id != record.recipe {
            return Err(Error::Failed(format!(
                "{shown} holds a run of {}, not of {}",
                record.recipe, named.id
            )));
        }
        beside = Some(named);
    }
    let wanted = Changes::from(args.changes.clone());
    if let Some(option) = wanted.beyond_epochs(&record.task)? {
        return Err(Error::Usage(format!(
            "--{option}: a resumed run keeps what {shown} was started with; only --epochs may change"
        )));
    }
    if let Some(named) = &beside {
        check_task(named, &record.task, &wanted, path)?;
    }
    if let Some(seed) = args.seed.given().filter(|&seed| seed != record.seed) {
        return Err(Error::Usage(format!(
            "--seed {seed}: {shown} was started with seed {}",
            record.seed
        )));
    }
    let data = of_run(&record, &args.data, settings, Other::Refused)?;
    let mut task = wanted.apply(record.task.clone())?;
    let own = record.task.precision;
    task.precision = settings.resumed_precision(&args.precision, own)?;
    let mut before = None;
    if task.epochs != record.task.epochs {
        before = Some(record.task.epochs);
    }
    if before.is_some() || task.precision != own {
        record.task = task;
    }
    let threads = settings.threads(&args.compute)?;
    let isa = settings.resumed_isa(&args.compute.isa, "run", &record.isa)?;
    let own_kernel = record.bf16_kernel.clone();
    let arithmetic = resumed::arithmetic(&mut record, isa, &args.precision)?;
    let is_recorded_anew = record.task.precision != own || record.bf16_kernel != own_kernel;
    let pool = settings::pool(isa, threads)?.with_arithmetic(arithmetic);
    share(&record, &pool, world)?;
    Ok(Run { record, folder, split: data.split, pool, before, is_recorded_anew, weights: None })
}

impl Run {
    /// Resumes the session where the run was saved. A new number of epochs is recorded once it is known to be
    /// possible.
    fn take_up(&self, session: &mut Session<'_>) -> Result<()> {
        let Self { folder, record, .. } = self;
        if folder.resume(session, record)? == Beginning::NothingSaved {
            console::note("nothing was saved of this run yet: it begins with its first epoch");
        }
        // No result until the run has finished again: it may be interrupted.
        let write_anew = || folder.write_record(&Record { result: None, ..record.clone() });
        if self.before.is_none() {
            return match self.is_recorded_anew {
                true if session.is_finished() => Err(Error::Usage(format!(
                    "--precision {}: the run in {} is complete: it trains no more",
                    record.task.precision,
                    folder.path().display()
                ))),
                true => write_anew(),
                false => Ok(()),
            };
        }
        let progress = session.progress();
        let (done, wanted) = (progress.history.epochs.len(), record.task.epochs);
        let shown = folder.path().display();
        let fault = if progress.stopped_early {
            format!(
                "early stopping ended the run in {shown} after {done} epochs: it trains no more"
            )
        } else if wanted < done {
            format!("the run in {shown} has {done} epochs already")
        } else if wanted == done && progress.batches > 0 {
            format!("the run in {shown} has begun epoch {}", done + 1)
        } else if record.task.schedule.depends_on_epochs() {
            let before = self.before.unwrap_or_default();
            format!(
                "the learning rates of the run in {shown} are planned for {before} epochs ({})",
                record.task.schedule
            )
        } else {
            return write_anew();
        };
        Err(Error::Usage(format!("--epochs {wanted}: {fault}")))
    }

    fn announce(&self, session: &Session<'_>) {
        let Self { record, folder, split, pool, .. } = self;
        let layers = session.network().plan().layers().iter();
        let stems: Vec<_> = layers.map(|layer| layer.class_name()).collect();
        console::note(&format!(
            "{}: {}, {}\n{} parameters, {} of memory; {} training, {} validation, {} test samples ({}); seed {}, {}, {}",
            record.recipe,
            stems.join(" - "),
            record.task.optimizer.name(),
            table::grouped(session.network().plan().parameter_count() as u64),
            table::bytes(session.memory()),
            table::grouped(split.train.len() as u64),
            table::grouped(split.validation.len() as u64),
            table::grouped(split.test.len() as u64),
            record.data.identity,
            record.seed,
            table::threads(pool.threads()),
            format_args!("{}{}", pool.isa(), settings::told(pool.arithmetic())),
        ));
        settings::note_slow(pool.arithmetic());
        let done = session.progress().history.epochs.len();
        let path = folder.path().display();
        if session.is_finished() {
            console::note(&match session.progress().stopped_early {
                true => format!("{path} is complete: early stopping ended it after {done} epochs"),
                false => format!(
                    "{path} is complete after {done} epochs; a larger --epochs would train on"
                ),
            });
        } else if done > 0 || session.progress().batches > 0 {
            let (at, of) = (session.progress().batches, session.batches_per_epoch());
            console::note(&format!(
                "resuming {path} in epoch {} of {}, after batch {at} of {of}",
                done + 1,
                record.task.epochs
            ));
        } else {
            console::note(&format!("the run's folder is {path}"));
        }
    }

    /// Trains to the end, saving after every epoch and on Ctrl-C, and evaluates.
    fn train(
        &self,
        team: &Team<'_>,
        session: &mut Session<'_>,
        sessions: &mut SessionLog,
        args: &Args,
        world: &World,
    ) -> Result<Finished> {
        #[cfg(feature = "tensorboard")]
        let mut events = match args.tensorboard {
            true => Some(EventWriter::create(self.folder.path())?),
            false => None,
        };
        let mut progress = Progress::of(session);
        let mut lookout = Lookout::new(&self.split);
        // Training pauses once, after its first epoch: the peak needs the threads. Other ranks are not asked to.
        let ended = loop {
            let mut is_paused = false;
            let mut watch = |session: &Session<'_>, moment| {
                let flow = progress.watch("", session, moment);
                if moment == Moment::Epoch {
                    progress.epoch_line(session, args.verbose);
                    #[cfg(feature = "tensorboard")]
                    if let (Some(events), Some(epoch)) =
                        (&mut events, session.progress().history.epochs.last())
                    {
                        events.scalars(epoch.epoch, &of_epoch(epoch))?;
                    }
                    for trouble in lookout.look(&session.progress().history, session.predicted()) {
                        progress.warn(&trouble.to_string());
                    }
                    self.folder.save(session)?;
                    sessions.epoch(session.progress())?;
                    is_paused = flow.is_continue() && world.size() == 1 && sessions.lacks_peak();
                } else if flow.is_break() {
                    self.folder.save(session)?;
                }
                Ok(if is_paused { ControlFlow::Break(()) } else { flow })
            };
            let ended = session.train(team, &mut watch);
            // The cores are as warm as they have been in training.
            let ended = ended.and_then(|ended| {
                sessions.measure_peak(team, session.progress())?;
                Ok(ended)
            });
            if !(is_paused && matches!(ended, Ok(Ended::Interrupted))) {
                break ended;
            }
        };
        progress.finish();
        let curves = self.draw_curves(&session.progress().history);
        if !matches!(ended, Ok(Ended::Finished))
            && let Err(fault) = &curves
        {
            // The error that ended the run is more important.
            console::warn(&fault.to_string());
        }
        if ended? == Ended::Interrupted {
            return Err(Error::Interrupted(format!(
                " in epoch {} of {}; saved: continue with 'threadcount train --resume {}'",
                session.progress().history.epochs.len() + 1,
                self.record.task.epochs,
                self.folder.path().display()
            )));
        }
        if session.progress().stopped_early {
            progress.line("stopped early: the validation loss no longer improves");
        }
        if let Some(best) = session.progress().best {
            progress.line(&format!("the weights of epoch {} are kept", best.epoch));
        }
        Ok(Finished { evaluation: self.conclude(team, session)?, curves })
    }

    fn draw_curves(&self, history: &History) -> Result<()> {
        if history.epochs.is_empty() {
            return Ok(());
        }
        self.folder.write_curves(&plots::curves(&curves(&self.record.recipe, history))?)
    }

    /// Evaluates on the test samples, and writes the model, the history and the result.
    fn conclude(&self, team: &Team<'_>, session: &mut Session<'_>) -> Result<Evaluation> {
        let result = self.folder.conclude(team, session, &self.record)?;
        let predictions = session.test_predictions(team)?;
        let score = Score { loss: result.test_loss, accuracy: result.test_accuracy };
        console::note(&format!(
            "trained for {}, {:.0} % of it validation; {} images/s\n",
            table::duration(result.train_seconds),
            session.progress().validation_share() * 100.0,
            table::rate(result.images_per_second)
        ));
        let test = &self.split.test;
        if let Some(trouble) = never_predicted(test, &predictions) {
            console::warn(&trouble.to_string());
        }
        Ok(Evaluation::new(score, test.class_names(), test.labels(), &predictions))
    }
}

/// The history in the form for the plot.
pub(super) fn curves(title: &str, history: &History) -> Curves {
    let of = |pick: fn(&crate::train::Epoch) -> f64| history.epochs.iter().map(pick).collect();
    Curves {
        title: title.to_owned(),
        loss: Series { training: of(|e| e.loss), validation: Some(of(|e| e.val_loss)) },
        accuracy: Series { training: of(|e| e.accuracy), validation: Some(of(|e| e.val_accuracy)) },
    }
}
