//! `threadcount search`

use super::change_flags::ChangeFlags;
use super::data;
use super::resumed;
use super::run_data::{Other, of_run};
use super::run_task::check_task;
use super::search_progress::Progress;
use super::search_report::{picture, report};
use super::settings::{self, MeasureFlags, Settings};
use super::{choices, interrupt, ranks, table};
use crate::console;
use crate::data::Split;
use crate::distributed::World;
use crate::reports;
use crate::train::search::{
    Axis, Definition, Metric, Resources, Search, Space, Step, train_for_first,
};
use crate::train::{Changes, DataRecord, Ended, kernel_of};
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use threadcount_kernels::Isa;
use threadcount_kernels::machine::machine;
use threadcount_kernels::precision::Arithmetic;

/// The share of the training samples to validate on, where the recipe has no validation samples of its own.
const HELD_OUT: f64 = 0.1;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Name of the recipe ('threadcount list' shows them), or a TOML file; may be left out with
    /// --resume
    #[arg(required_unless_present = "resume")]
    recipe: Option<String>,
    /// Try these values of an option below, such as learning-rate=0.001,0.0003 (or separated by ;); several
    /// --grid: all combinations
    #[arg(long, value_name = "NAME=VALUES")]
    grid: Vec<String>,
    /// Draw values from a range, such as learning-rate=1e-4..1e-2; learning-rate, weight-decay, l2 and
    /// clip-norm logarithmically, others evenly, unless :log or :linear follows. Needs --random
    #[arg(long, value_name = "NAME=LOW..HIGH")]
    range: Vec<String>,
    /// Draw this many trials from all --grid and --range, instead of all combinations
    #[arg(long, value_name = "N")]
    random: Option<usize>,
    #[arg(long, value_name = "NAME", help = choices::metrics())]
    metric: Option<String>,
    /// End bad trials early: the best third goes on after a ninth of the epochs, and again after a third;
    /// --halving=2 for halves
    #[arg(long, value_name = "FACTOR", num_args = 0..=1, require_equals = true,
          default_missing_value = "3")]
    halving: Option<usize>,
    #[command(flatten)]
    flags: MeasureFlags,
    /// Folder for the search [default: a new one, runs/search-RECIPE]
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    out: Option<PathBuf>,
    /// Continue the search in this folder
    #[arg(long, value_name = "DIR")]
    resume: Option<PathBuf>,
    #[command(flatten)]
    changes: ChangeFlags,
}

/// A search that is ready to go.
struct Ready {
    search: Search,
    split: Split,
    resources: Resources,
    /// The bytes that each trial takes.
    needed: Vec<u64>,
}

pub(super) fn run(args: &Args) -> Result<()> {
    ranks::with_world(|world| {
        let settings = Settings::load()?;
        if world.is_first() { lead(args, &settings, world) } else { follow(args, &settings, world) }
    })
}

/// What rank 0 does, or one process alone.
fn lead(args: &Args, settings: &Settings, world: &World) -> Result<()> {
    args.flags.json.check()?;
    let mut ready = match &args.resume {
        Some(path) => continue_search(args, settings, path)?,
        None => start_search(args, settings)?,
    };
    ready.share(world)?;
    ready.announce(args.resume.is_some())?;
    ranks::announce(ready.resources.threads);
    interrupt::listen("stopping after these batches, saving the search");
    ready.train(world)?;
    ready.conclude(args)
}

/// What every other rank does: trains the trials that rank 0 gives it.
fn follow(args: &Args, settings: &Settings, world: &World) -> Result<()> {
    let shared = world.shared(SEARCH, Vec::new())?;
    let shared = String::from_utf8_lossy(&shared).into_owned();
    let mut parts = shared.splitn(3, '\n');
    let [isa, path, text] = [(); 3].map(|()| parts.next().unwrap_or_default());
    let (isa, path) = (Isa::from_name(isa)?, Path::new(path));
    let definition = Definition::of_first(text)?;
    let record = definition.record(definition.task.clone(), 1);
    let data = of_run(&record, &args.flags.data, settings, Other::Refused)?;
    let threads = settings.threads(&args.flags.compute)?;
    let resources = resources(isa, record.arithmetic(isa)?, threads);
    if !path.is_dir() {
        return Err(Error::Failed(format!(
            "rank {} does not see {}: give a folder that all machines share, with --out",
            world.rank(),
            path.display()
        )));
    }
    world.agree(READY, "state", READY_TEXT)?;
    interrupt::listen("stopping after this batch");
    train_for_first(world, &definition, path, &data.split, &resources)
}

/// The tags of the messages here: rank 0 shares the search, and all others have its data and its folder.
const SEARCH: u32 = 2;
const READY: u32 = 3;
const READY_TEXT: &str = "ready";

fn start_search(args: &Args, settings: &Settings) -> Result<Ready> {
    let recipe = reports::recipe(args.recipe.as_deref().unwrap_or_default())?;
    let changes = Changes::from(args.changes.clone());
    let (space, metric) = (space(args, &changes)?, metric(args)?.unwrap_or_default());
    let mut task = changes.apply(recipe.task.clone())?;
    task.precision = settings.precision(&args.flags.precision)?.unwrap_or(task.precision);
    let seed = settings.seed(&args.flags.seed)?;
    let threads = settings.threads(&args.flags.compute)?;
    let isa = settings.isa(&args.flags.compute.isa)?.unwrap_or_else(Isa::best);
    let arithmetic = task.arithmetic(isa)?;
    let dataset = data::open(settings.data(&args.flags.data)?.as_deref())?;
    let validated_on_test = task.selection.validates_on_test();
    task.selection = task.selection.with_own_validation(HELD_OUT);
    let split = data::split(&task.selection, &dataset, seed);
    let split = split.map_err(|error| recipe.locate(error))?;
    let definition = Definition {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        recipe: recipe.id.to_string(),
        seed,
        isa: isa.name().to_owned(),
        bf16_kernel: kernel_of(arithmetic),
        metric,
        halving: args.halving,
        space,
        task,
        data: DataRecord::of(&dataset, &split),
    };
    // Everything that can be refused is checked before a folder is created and before anything is trained.
    let needed = definition.check(&split).map_err(|error| recipe.locate(error))?;
    let search = match &args.out {
        Some(path) => Search::start(path, &definition),
        None => {
            let name = format!("search-{}", recipe.id);
            Search::start_numbered(&settings.runs()?, &name, &definition)
        }
    };
    let search = search.map_err(|error| match error {
        Error::RunExists { path } => {
            let shown = path.display();
            Error::Failed(format!(
                "{shown} already holds a search or a run (choose another --out, or go on with \
                 'threadcount search --resume {shown}')"
            ))
        }
        error => error,
    })?;
    if validated_on_test {
        console::note(&format!(
            "{} validates on its test samples; the search holds a tenth of the training samples out \
             instead: test samples choose nothing here, and only the best trial is tested in the end",
            recipe.id
        ));
    }
    Ok(Ready { search, split, resources: resources(isa, arithmetic, threads), needed })
}

/// The axes that `--grid` and `--range` name.
fn asked_axes(args: &Args, changes: &Changes) -> Result<Vec<Axis>> {
    let lists = args.grid.iter().map(|text| match text.contains("..") {
        true => {
            Err(Error::Usage(format!("--grid {text}: for a range there are --range and --random")))
        }
        false => Axis::list(text),
    });
    let ranges = args.range.iter().map(|text| Axis::range(text));
    let axes = lists.chain(ranges).collect::<Result<Vec<_>>>()?;
    for Axis { option, .. } in &axes {
        if option.is_set(changes) {
            let name = option.name;
            return Err(Error::Usage(format!(
                "--{name}: it is searched; leave the option out, or search something else"
            )));
        }
    }
    Ok(axes)
}

/// The search space that the options ask for.
fn space(args: &Args, changes: &Changes) -> Result<Space> {
    let axes = asked_axes(args, changes)?;
    if axes.is_empty() {
        return Err(Error::Usage(
            "nothing to search: name an option and its values, as --grid learning-rate=0.001,0.0003, \
             or a range, as --range learning-rate=1e-4..1e-2 --random 20"
                .to_owned(),
        ));
    }
    Space::new(axes, args.random)
}

fn metric(args: &Args) -> Result<Option<Metric>> {
    args.metric.as_deref().map(str::parse).transpose()
}

fn resources(isa: Isa, arithmetic: Arithmetic, threads: usize) -> Resources {
    Resources { isa, arithmetic, threads, memory: machine().memory }
}

/// Resumes a search: everything but the threads comes from the folder.
fn continue_search(args: &Args, settings: &Settings, path: &Path) -> Result<Ready> {
    let search = Search::open(path)?;
    let definition = search.definition();
    check_resumed(args, definition, path)?;
    let record = definition.record(definition.task.clone(), 1);
    let data = of_run(&record, &args.flags.data, settings, Other::Refused)?;
    let threads = settings.threads(&args.flags.compute)?;
    let isa = settings.resumed_isa(&args.flags.compute.isa, "search", &definition.isa)?;
    let precision = definition.task.precision;
    if settings.precision(&args.flags.precision)?.is_some_and(|asked| asked != precision) {
        return Err(Error::Usage(format!(
            "--precision: the trials of {} are computed in {precision}; start another search",
            path.display()
        )));
    }
    let arithmetic = resumed::own_bits(&record, isa, "start another search")?;
    let needed = definition.check(&data.split)?;
    Ok(Ready { search, split: data.split, resources: resources(isa, arithmetic, threads), needed })
}

/// Refuses options that ask for another search than the one in the folder.
fn check_resumed(args: &Args, was: &Definition, path: &Path) -> Result<()> {
    let shown = path.display();
    let differs = |option: &str, now: String, before: String| {
        Err(Error::Usage(format!(
            "--{option} {now}: {shown} was started with {before}; leave it out to go on with that, or \
             start another search"
        )))
    };
    let changes = Changes::from(args.changes.clone());
    let axes = was.space.axes();
    let told = |axes: &[Axis]| axes.iter().map(Axis::to_string).collect::<Vec<_>>().join(" ");
    if !args.grid.is_empty() || !args.range.is_empty() {
        let asked = asked_axes(args, &changes)?;
        if asked != axes {
            let option = if args.grid.is_empty() { "range" } else { "grid" };
            return differs(option, told(&asked), told(axes));
        }
    }
    let number = |n: Option<usize>| n.map_or("none".to_owned(), |n| n.to_string());
    if args.random.is_some() && args.random != was.space.draws() {
        return differs("random", number(args.random), number(was.space.draws()));
    }
    if args.halving.is_some() && args.halving != was.halving {
        return differs("halving", number(args.halving), number(was.halving));
    }
    if let Some(metric) = metric(args)?.filter(|&metric| metric != was.metric) {
        return differs("metric", metric.name().to_owned(), was.metric.name().to_owned());
    }
    if let Some(seed) = args.flags.seed.given().filter(|&seed| seed != was.seed) {
        return differs("seed", seed.to_string(), was.seed.to_string());
    }
    if let Some(epochs) = changes.epochs.filter(|&epochs| epochs != was.task.epochs) {
        return differs("epochs", epochs.to_string(), was.task.epochs.to_string());
    }
    if let Some(option) = changes.beyond_epochs(&was.task)? {
        return Err(Error::Usage(format!(
            "--{option}: a resumed search keeps what {shown} was started with"
        )));
    }
    let Some(named) = args.recipe.as_deref() else { return Ok(()) };
    let mut named = reports::recipe(named)?;
    if named.id != was.recipe {
        return Err(Error::Failed(format!(
            "{shown} holds a search over {}, not over {}",
            was.recipe, named.id
        )));
    }
    named.task.selection = named.task.selection.with_own_validation(HELD_OUT);
    check_task(&named, &was.task, &changes, path)
}

impl Ready {
    /// Tells the other ranks what is searched, and waits until they are ready.
    fn share(&self, world: &World) -> Result<()> {
        if world.size() == 1 {
            return Ok(());
        }
        let Self { search, resources, .. } = self;
        let path = std::path::absolute(search.path()).map_err(Error::io(search.path()))?;
        let text = search.definition_text()?;
        let text = format!("{}\n{}\n{text}", resources.isa.name(), path.display());
        world.shared(SEARCH, text.into_bytes())?;
        world.agree(READY, "state", READY_TEXT)
    }

    fn announce(&self, is_resumed: bool) -> Result<()> {
        let Self { search, split, resources, .. } = self;
        let was = search.definition();
        let arithmetic = resources.arithmetic;
        let axes: Vec<_> = was.space.axes().iter().map(Axis::to_string).collect();
        let rungs: Vec<_> = was.rungs().iter().map(usize::to_string).collect();
        let epochs = match was.halving {
            None => format!("{} epochs", was.task.epochs),
            Some(factor) => {
                format!("one of {factor} goes on after {} epochs", rungs.join(", of them after "))
            }
        };
        console::note(&format!(
            "{}: {} over {}; {epochs}\n{} training, {} validation samples ({}), {} test samples for the \
             best trial; seed {}, {}, {}",
            was.recipe,
            table::count(search.trials().len(), "trial"),
            axes.join(" "),
            table::grouped(split.train.len() as u64),
            table::grouped(split.validation.len() as u64),
            was.data.identity,
            table::grouped(split.test.len() as u64),
            was.seed,
            table::threads(resources.threads),
            format_args!("{}{}", resources.isa, settings::told(arithmetic)),
        ));
        settings::note_slow(arithmetic);
        let path = search.path().display();
        console::note(&match is_resumed {
            true => format!("resuming {path}, where {} of trials are in", search.rows().len()),
            false => format!("the search's folder is {path}"),
        });
        Ok(())
    }

    fn train(&mut self, world: &World) -> Result<()> {
        let Self { search, split, resources, needed } = self;
        let progress = Progress::new(search);
        let watch = |step: Step<'_>| {
            if let Step::Rung(row) = step {
                progress.take_in(row);
            }
            interrupt::go_on()
        };
        let ended = search.run(split, needed, resources, world, &watch);
        drop(progress);
        match ended? {
            Ended::Finished => Ok(()),
            Ended::Interrupted => Err(Error::Interrupted(format!(
                "; saved: continue with 'threadcount search --resume {}'",
                search.path().display()
            ))),
        }
    }

    /// Tests the best trial, and writes and prints the results.
    fn conclude(&self, args: &Args) -> Result<()> {
        let Self { search, split, resources, .. } = self;
        let pool = settings::pool(resources.isa, resources.threads)?;
        let pool = pool.with_arithmetic(resources.arithmetic);
        let tested = pool.enter(|team| search.conclude(split, team));
        let (tested, fault) = match tested {
            Ok(tested) => (tested, None),
            Err(error) => (None, Some(error)),
        };
        let (json, text) = report(search, split, tested.as_ref())?;
        args.flags.json.put(&json, &text)?;
        search.write_picture(&picture(search)?)?;
        search.write_best()?;
        let named = args.flags.data.data.as_ref();
        let data = named.map_or(String::new(), |path| format!(" --data {}", path.display()));
        console::note(&format!(
            "\nthe search is in {}; train its best trial again with\nthreadcount train {} --seed {}{data}",
            search.path().display(),
            search.best_path().display(),
            search.definition().seed,
        ));
        fault.map_or(Ok(()), Err)
    }
}
