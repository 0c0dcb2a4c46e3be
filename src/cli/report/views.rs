//! The parts of a run's page that need no network: curves, layers, settings and machines.

use super::picture::inlined;
use super::run::{FAULT, Parts};
use super::sessions::{Pace, Sessions, Sitting};
use crate::Result;
use crate::bench::Facts;
use crate::cli::table::{bytes, grouped, rate, seconds, threads};
use crate::cli::train::curves;
use crate::data::measures;
use crate::evaluate::plots;
use crate::names::{shortened, shortened_middle};
use crate::nn::{Plan, PlannedLayer};
use crate::train::{Epoch, Record};

/// The most epochs, layers and sessions that are listed, and characters of settings that are shown: a page stays
/// small whatever was trained.
const EPOCHS: usize = 200;
const LAYERS: usize = 200;
const SITTINGS: usize = 20;
const SETTINGS: usize = 30_000;

/// The learning curves, and the epochs as a table.
pub(super) struct CurvesView {
    pub(super) loss: String,
    pub(super) accuracy: String,
    pub(super) validated_on: String,
    pub(super) epochs: Vec<EpochRow>,
    /// If not all are listed: how many there are, and every how many is.
    pub(super) thinned: Option<(usize, usize)>,
}

/// An epoch; a dash stands for what is not known.
pub(super) struct EpochRow {
    pub(super) epoch: usize,
    pub(super) loss: String,
    pub(super) accuracy: String,
    pub(super) val_loss: String,
    pub(super) val_accuracy: String,
    pub(super) seconds: String,
    pub(super) images_per_second: String,
    pub(super) gflops: String,
    /// GFLOP/s as a share of the FMA peak, in percent.
    pub(super) share: String,
}

/// The layers.
pub(super) struct ModelView {
    pub(super) layers: Vec<LayerRow>,
    pub(super) left_out: usize,
    pub(super) parameters: String,
    pub(super) learning: String,
    pub(super) frozen: String,
    pub(super) size: String,
    /// Millions of operations for one sample in a training step.
    pub(super) mflops: String,
}

/// A layer.
pub(super) struct LayerRow {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) output: String,
    pub(super) parameters: String,
}

/// What the run was told.
pub(super) struct SettingsView {
    pub(super) facts: Vec<(&'static str, String)>,
    /// The task as the text of a file.
    pub(super) task: String,
    /// Whether the task is longer than what is shown.
    pub(super) is_cut: bool,
}

/// A process that trained the run, and its machine.
pub(super) struct SittingRow {
    pub(super) epochs: String,
    pub(super) cpu: String,
    pub(super) system: String,
    pub(super) caches: String,
    pub(super) computes: String,
    pub(super) peak: String,
    pub(super) version: String,
    pub(super) ended: String,
}

impl CurvesView {
    /// Of a run that has finished an epoch; else none.
    ///
    /// # Errors
    /// As the drawing functions.
    pub(super) fn of(parts: &Parts) -> Result<Option<Self>> {
        let Some(history) = parts.history.as_ref().filter(|history| !history.epochs.is_empty())
        else {
            return Ok(None);
        };
        let drawn = curves("", history);
        let paces = parts.sessions.as_ref().map(Sessions::paces).unwrap_or_default();
        let flops = parts.flops();
        let row = |epoch: &Epoch| EpochRow::of(epoch, paces.get(&epoch.epoch), flops);
        let count = history.epochs.len();
        let step = count.div_ceil(EPOCHS);
        let listed = |epoch: &&Epoch| epoch.epoch.is_multiple_of(step) || epoch.epoch == count;
        let last = &history.epochs[count - 1];
        let drawing = |what: &str, svg: &str, [training, validation]: [f64; 2]| {
            let text = format!(
                "{what} over {count} epochs; in the last one {training:.4} in training, {validation:.4} in validation"
            );
            inlined(svg, &text)
        };
        Ok(Some(Self {
            loss: drawing("loss", &plots::loss(&drawn.loss)?, [last.loss, last.val_loss]),
            accuracy: drawing(
                "accuracy",
                &plots::accuracy(&drawn.accuracy)?,
                [last.accuracy, last.val_accuracy],
            ),
            validated_on: parts.record().map_or(String::new(), validated_on),
            epochs: history.epochs.iter().filter(listed).map(row).collect(),
            thinned: (step > 1).then_some((count, step)),
        }))
    }
}

impl EpochRow {
    /// `flops` are the operations for one sample.
    fn of(epoch: &Epoch, pace: Option<&Pace>, flops: Option<f64>) -> Self {
        let gflops = pace.zip(flops).map(|(pace, flops)| pace.images_per_second * flops / 1e9);
        let share = gflops.zip(pace).map(|(gflops, pace)| 100.0 * gflops / pace.fma_gflops);
        let told = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let figure = |figure: f64| format!("{figure:.4}");
        Self {
            epoch: epoch.epoch,
            loss: figure(epoch.loss),
            accuracy: figure(epoch.accuracy),
            val_loss: figure(epoch.val_loss),
            val_accuracy: figure(epoch.val_accuracy),
            seconds: told(pace.map(|pace| seconds(pace.seconds))),
            images_per_second: told(pace.map(|pace| rate(pace.images_per_second))),
            gflops: told(gflops.map(|gflops| format!("{gflops:.1}"))),
            share: told(share.map(|share| format!("{share:.1}"))),
        }
    }
}

/// Which samples an epoch is validated on.
fn validated_on(record: &Record) -> String {
    let samples = grouped(record.data.validation as u64);
    match record.task.selection.validates_on_test() {
        true => format!("Validated on the {samples} test samples."),
        false => format!("Validated on {samples} samples that are neither trained nor tested on."),
    }
}

impl ModelView {
    /// Of a planned network.
    pub(super) fn of(plan: &Plan) -> Self {
        let layers = plan.layers();
        let row = |layer: &PlannedLayer| LayerRow {
            name: shortened(&layer.name),
            kind: layer.class_name(),
            output: layer.output.to_string(),
            parameters: grouped(layer.parameter_count() as u64),
        };
        let all = plan.parameter_count();
        let learning: usize = plan.learning().iter().map(ExactSizeIterator::len).sum();
        let flops: f64 = plan.flops_per_sample();
        Self {
            layers: layers.iter().take(LAYERS).map(row).collect(),
            left_out: layers.len().saturating_sub(LAYERS),
            parameters: grouped(all as u64),
            learning: grouped(learning as u64),
            frozen: grouped((all - learning) as u64),
            size: bytes(4 * all as u64),
            mflops: format!("{:.2}", flops / 1e6),
        }
    }
}

impl SettingsView {
    /// Of a record.
    ///
    /// # Errors
    /// As [`Task::to_toml`](crate::train::Task::to_toml).
    pub(super) fn of(record: &Record) -> Result<Self> {
        let Record { version, recipe, seed, threads: count, isa, data, init, .. } = record;
        let precision = match &record.bf16_kernel {
            None => record.task.precision.to_string(),
            Some(kernel) => format!("{} by {}", record.task.precision, shortened(kernel)),
        };
        let mut facts = vec![
            ("recipe", shortened(recipe)),
            ("seed", seed.to_string()),
            ("data", shortened(&data.identity)),
            ("data folder", shortened_middle(&data.origin.display().to_string(), FAULT)),
            ("SHA-256 of the data", shortened_middle(&data.sha256, FAULT)),
            ("a sample", measures(&data.sample)),
            ("classes of the set", grouped(data.classes as u64)),
            ("training samples", grouped(data.training as u64)),
            ("validation samples", grouped(data.validation as u64)),
            ("test samples", grouped(data.test as u64)),
            ("threads", count.to_string()),
            ("instruction set", shortened(isa)),
            ("precision", precision),
            ("threadcount", shortened(version)),
        ];
        if let Some(init) = init {
            let file = format!("{} ({})", init.file.display(), init.format);
            facts.push(("initial weights", shortened_middle(&file, FAULT)));
        }
        let mut task = record.task.to_toml()?;
        let cut = task.char_indices().nth(SETTINGS).map(|(at, _)| at);
        if let Some(at) = cut {
            task.truncate(at);
        }
        Ok(Self { facts, task, is_cut: cut.is_some() })
    }
}

impl SittingRow {
    /// The last processes of a run, and how many there are before them.
    pub(super) fn of_all(sessions: &Sessions) -> (Vec<Self>, usize) {
        let left_out = sessions.sessions.len().saturating_sub(SITTINGS);
        (sessions.sessions[left_out..].iter().map(Self::of).collect(), left_out)
    }

    fn of(sitting: &Sitting) -> Self {
        let Facts { machine, threads: count, version, .. } = &sitting.machine;
        let epochs = match (sitting.epochs.first(), sitting.epochs.last()) {
            (Some(first), Some(last)) if first.epoch < last.epoch => {
                format!("{} to {}", first.epoch, last.epoch)
            }
            (Some(only), _) => only.epoch.to_string(),
            _ => "none".to_owned(),
        };
        let mut system = machine.platform.clone();
        if let Some(hypervisor) = &machine.hypervisor {
            system += &format!(", virtual ({hypervisor})");
        }
        let caches = [("L1d", machine.l1d), ("L2", machine.l2), ("L3", machine.l3)];
        let caches = caches.map(|(name, size)| (name, size.map(|size| size as u64)));
        let sizes = caches.into_iter().chain([("memory", machine.memory)]);
        let sizes = sizes.filter_map(|(name, size)| Some(format!("{name} {}", bytes(size?))));
        let ended = sitting.ended.as_deref().unwrap_or("killed, or still training");
        let (threads, cores) = (threads(*count), machine.physical_cores);
        Self {
            epochs,
            cpu: shortened_middle(&machine.cpu, FAULT),
            system: shortened_middle(&system, FAULT),
            caches: sizes.collect::<Vec<_>>().join(", "),
            computes: format!(
                "{threads} on {cores} physical cores, {}",
                shortened(&sitting.machine.computes())
            ),
            peak: match sitting.fma_gflops {
                Some(peak) => format!("{peak:.0} GFLOP/s"),
                None => "not measured: no epoch ended".to_owned(),
            },
            version: match &sitting.revision {
                Some(revision) => format!("{} ({})", shortened(version), shortened(revision)),
                None => shortened(version),
            },
            ended: shortened_middle(ended, FAULT),
        }
    }
}
