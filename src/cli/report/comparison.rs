//! The page of `reproduce`: what the reports claim beside what is measured, and all models in bars.

use super::picture::inlined;
use super::rerun::command;
use super::{FILE, rendered};
use crate::bench::Facts;
use crate::cli::VERSION;
use crate::cli::runs::{Measured, Spread};
use crate::cli::table::{self, grouped, percent, rate, seconds, span};
use crate::evaluate::bars::{Along, Bars, Figure, bars};
use crate::files::write_atomically;
use crate::names::shortened;
use crate::reports::Recipe;
use crate::train::numbered;
use crate::{Error, Result};
use askama::Template;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What the page tells.
pub(in crate::cli) struct Comparison<'a> {
    pub(in crate::cli) facts: &'a Facts,
    /// Without claims, if the data may not be compared with them.
    pub(in crate::cli) recipes: &'a [Recipe],
    pub(in crate::cli) results: &'a [Measured],
    /// What the data are, if no claim is about them.
    pub(in crate::cli) other_data: Option<String>,
    /// The words of the command that measured it.
    pub(in crate::cli) words: Vec<String>,
    /// Why the runs ended before the last one, if they did.
    pub(in crate::cli) ended: Option<String>,
}

#[derive(Template)]
#[template(path = "report/comparison.html")]
struct Page {
    title: &'static str,
    version: String,
    heading: String,
    other_data: Option<String>,
    ended: Option<String>,
    /// Whether any recipe has a claim.
    has_claims: bool,
    has_repeats: bool,
    rows: Vec<Row>,
    notes: Vec<(String, &'static str)>,
    charts: Vec<String>,
    runs: Vec<RunRow>,
    machine: Vec<(&'static str, String)>,
    command: String,
}

/// A recipe: the means of its runs.
struct Row {
    recipe: String,
    claimed: String,
    accuracy: String,
    difference: String,
    loss: String,
    claimed_time: String,
    time: String,
    images_per_second: String,
    parameters: String,
    epochs: String,
}

struct RunRow {
    recipe: String,
    seed: u64,
    accuracy: String,
    loss: String,
    time: String,
    images_per_second: String,
    peak: String,
    epochs: usize,
}

/// A folder for the page and its figures, made before minutes of work.
pub(in crate::cli) struct Folder {
    path: PathBuf,
    /// The folders that were made for it, the innermost first.
    made: Vec<PathBuf>,
}

impl Folder {
    /// The one that was named, which must not hold a page yet; else the first free one of `runs/reproduce`,
    /// `runs/reproduce-2` ...
    ///
    /// # Errors
    /// [`Error::Usage`] if the named folder holds a page; [`Error::Io`].
    pub(in crate::cli) fn make(named: Option<&Path>, runs: &Path) -> Result<Self> {
        let missing = |path: &Path| -> Vec<PathBuf> {
            path.ancestors().take_while(|path| !path.exists()).map(Path::to_owned).collect()
        };
        if let Some(path) = named {
            if path.join(FILE).exists() {
                return Err(Error::Usage(format!(
                    "--out {}: there is a report already; name another folder",
                    path.display()
                )));
            }
            let made = missing(path);
            fs::create_dir_all(path).map_err(Error::io(path))?;
            return Ok(Self { path: path.to_owned(), made });
        }
        let mut made = missing(runs);
        fs::create_dir_all(runs).map_err(Error::io(runs))?;
        let path = numbered(runs, "reproduce", |path| match fs::create_dir(path) {
            Ok(()) => Ok(path.to_owned()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(Error::RunExists { path: path.to_owned() })
            }
            Err(error) => Err(Error::io(path)(error)),
        })?;
        made.insert(0, path.clone());
        Ok(Self { path, made })
    }

    /// Writes the page, and the results as a JSON document; returns where the page is.
    ///
    /// # Errors
    /// [`Error::Io`]; as the drawing functions.
    pub(in crate::cli) fn write(&self, page: &Comparison<'_>, json: &str) -> Result<PathBuf> {
        write_atomically(&self.path.join("results.json"), json.as_bytes())?;
        let path = self.path.join(FILE);
        write_atomically(&path, rendered(&Page::of(page)?)?.as_bytes())?;
        Ok(path)
    }

    /// Takes away again what was made, if nothing was written into it.
    pub(in crate::cli) fn give_up(self) {
        // A folder that is not empty stays.
        self.made.iter().for_each(|path| drop(fs::remove_dir(path)));
    }
}

impl Page {
    fn of(comparison: &Comparison<'_>) -> Result<Self> {
        let Comparison { facts, recipes, results, other_data, words, ended } = comparison;
        let measured = |recipe: &Recipe| -> Vec<&Measured> {
            results.iter().filter(|run| run.recipe == recipe.id).collect()
        };
        let trained: Vec<(&Recipe, Vec<&Measured>)> = recipes
            .iter()
            .map(|recipe| (recipe, measured(recipe)))
            .filter(|(_, runs)| !runs.is_empty())
            .collect();
        let notes = trained
            .iter()
            .filter_map(|(recipe, _)| Some((shortened(&recipe.id), recipe.claim.note?)));
        Ok(Self {
            title: "The reports' claims beside what is measured",
            version: facts.version.clone(),
            heading: format!(
                "{}, {}, {}, {}",
                facts.machine.cpu,
                table::threads(facts.threads),
                facts.isa,
                crate::cli::runs::seeds(results)
            ),
            other_data: other_data.clone(),
            ended: ended.clone(),
            has_claims: recipes.iter().any(|recipe| recipe.claim.accuracy.is_some()),
            has_repeats: results.len() > trained.len(),
            rows: trained.iter().map(|(recipe, runs)| Row::of(recipe, runs)).collect(),
            notes: notes.collect(),
            charts: charts(&trained)?,
            runs: results.iter().map(RunRow::of).collect(),
            machine: machine(facts),
            command: command(words),
        })
    }
}

impl Row {
    fn of(recipe: &Recipe, runs: &[&Measured]) -> Self {
        let mean = |of: fn(&Measured) -> f64| Spread::of(runs, of).mean;
        let accuracy = Spread::of(runs, |run| run.test_accuracy);
        let difference = recipe.claim.accuracy.map_or("-".to_owned(), |claimed| {
            // Within a claimed range there is none.
            let nearest = accuracy.mean.clamp(claimed.low, claimed.high);
            format!("{:+.2}", 100.0 * (accuracy.mean - nearest))
        });
        let epochs = |pick: fn(std::slice::Iter<'_, &Measured>) -> Option<usize>| pick(runs.iter());
        let low = epochs(|runs| runs.map(|run| run.epochs).min()).unwrap_or(0);
        let high = epochs(|runs| runs.map(|run| run.epochs).max()).unwrap_or(0);
        Self {
            recipe: shortened(&recipe.id),
            claimed: span(recipe.claim.accuracy, percent, ""),
            difference,
            loss: Spread::of(runs, |run| run.test_loss).text(|loss| format!("{loss:.4}")),
            claimed_time: span(recipe.claim.seconds, |s| format!("{s:.0}"), " s"),
            time: format!("{} s", seconds(mean(|run| run.train_seconds))),
            images_per_second: rate(mean(|run| run.images_per_second)),
            parameters: grouped(runs[0].parameters as u64),
            epochs: if low == high { low.to_string() } else { format!("{low}-{high}") },
            accuracy: accuracy.text(percent),
        }
    }
}

impl RunRow {
    fn of(run: &Measured) -> Self {
        Self {
            recipe: shortened(&run.recipe),
            seed: run.seed,
            accuracy: percent(run.test_accuracy),
            loss: format!("{:.4}", run.test_loss),
            time: format!("{} s", seconds(run.train_seconds)),
            images_per_second: rate(run.images_per_second),
            peak: format!("{:.0} GFLOP/s", run.fma_gflops),
            epochs: run.epochs,
        }
    }
}

/// Accuracy, loss and time of all models.
fn charts(trained: &[(&Recipe, Vec<&Measured>)]) -> Result<Vec<String>> {
    let names: Vec<String> = trained.iter().map(|(recipe, _)| shortened(&recipe.id)).collect();
    let chart = |name: &str, axis, of: fn(&Measured) -> f64| -> Result<String> {
        let values: Vec<_> =
            trained.iter().map(|(_, runs)| Some(Spread::of(runs, of).mean)).collect();
        let told = names
            .iter()
            .zip(&values)
            .map(|(name, value)| format!("{name} {:.4}", value.unwrap_or_default()));
        let text = format!("{name}: {}", told.collect::<Vec<_>>().join(", "));
        let panels = vec![Figure { name: name.to_owned(), values, axis }];
        let svg = bars(&Bars { title: String::new(), names: names.clone(), panels })?;
        Ok(inlined(&svg, &text))
    };
    Ok(vec![
        chart("test accuracy in %", Along::FromZero, |run| 100.0 * run.test_accuracy)?,
        chart("test loss", Along::FromZero, |run| run.test_loss)?,
        chart("training time in s", Along::Log, |run| run.train_seconds)?,
    ])
}

fn machine(facts: &Facts) -> Vec<(&'static str, String)> {
    let Facts { machine, threads: count, .. } = facts;
    let size = |size: Option<u64>| size.map_or("unknown".to_owned(), table::bytes);
    let cache = |cache: Option<usize>| size(cache.map(|n| n as u64));
    vec![
        ("CPU", machine.cpu.clone()),
        ("system", machine.platform.clone()),
        ("virtual machine", machine.hypervisor.clone().unwrap_or_else(|| "no".to_owned())),
        ("physical cores", machine.physical_cores.to_string()),
        ("L1d, L2, L3", [machine.l1d, machine.l2, machine.l3].map(cache).join(", ")),
        ("memory", size(machine.memory)),
        ("computes with", format!("{}, {}", table::threads(*count), facts.computes())),
        ("threadcount", VERSION.to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reports;
    use threadcount_kernels::{Isa, Pool};

    fn measured(recipe: &str, seed: u64, accuracy: f64, seconds: f64) -> Measured {
        Measured {
            recipe: recipe.to_owned(),
            claimed_accuracy: None,
            test_accuracy: accuracy,
            test_loss: 0.25 + seconds,
            claimed_seconds: None,
            train_seconds: seconds,
            images_per_second: 1_000.0 * seconds,
            fma_gflops: 100.0,
            epochs: 10 + seed as usize,
            parameters: 31_482,
            seed,
            threads: 2,
            isa: "portable",
            precision: "f32",
            data: "fashion-mnist",
        }
    }

    #[test]
    fn claims_stand_beside_the_means() {
        let facts = Facts::of(&Pool::new(Isa::best(), 1).unwrap());
        let names = ["biu-base", "nlp-softmax", "nlp-cnn", "nlp-rnn"].map(String::from);
        let recipes = reports::select(&names).unwrap();
        // nlp-cnn is inside its claimed range of 88.6 to 90.7; nlp-rnn was not reached.
        let results = [
            measured("biu-base", 0, 0.97, 1.0),
            measured("biu-base", 1, 0.98, 3.0),
            measured("nlp-softmax", 0, 0.85, 2.0),
            measured("nlp-cnn", 0, 0.9, 5.0),
        ];
        let page = Page::of(&Comparison {
            facts: &facts,
            recipes: &recipes,
            results: &results,
            other_data: None,
            words: ["threadcount", "reproduce", "a b"].map(String::from).to_vec(),
            ended: Some("interrupted".to_owned()),
        })
        .unwrap();
        let told = |row: &Row| {
            [&row.recipe, &row.claimed, &row.accuracy, &row.difference, &row.time, &row.epochs]
                .map(String::clone)
        };
        let rows: Vec<_> = page.rows.iter().map(told).collect();
        let expected = [
            ["biu-base", "96.85", "97.50 (97.00-98.00)", "+0.65", "2.00 s", "10-11"],
            ["nlp-softmax", "89.44", "85.00", "-4.44", "2.00 s", "10"],
            ["nlp-cnn", "88.60-90.70", "90.00", "+0.00", "5.00 s", "10"],
        ];
        assert_eq!(rows, expected.map(|row| row.map(String::from)));
        assert_eq!(page.rows[0].loss, "2.2500 (1.2500-3.2500)");
        assert_eq!(page.rows[0].images_per_second, "2,000");
        assert_eq!(page.rows[2].claimed_time, "328-592 s");
        let noted: Vec<&str> = page.notes.iter().map(|(recipe, _)| recipe.as_str()).collect();
        assert_eq!(noted, ["nlp-softmax", "nlp-cnn"]);
        let html = rendered(&page).unwrap();
        assert!(html.contains("The runs were not completed: interrupted"));
        assert!(html.contains("<span>&#39;a</span> <span>b&#39;</span></pre>"), "{html}");
        assert!(html.contains("<th scope=\"col\">claimed</th>"));
    }
}
