//! What five published reports trained on Fashion-MNIST, and what they claimed: one file per report, one
//! entry of [`ALL`] per file. The command line, the tests and the tables all iterate over that list. Beside it, the
//! [`records`], which are our own.

mod biu2023;
mod colman2023;
mod comp475;
mod cse574;
#[cfg(feature = "tables")]
pub mod flights;
mod nlp2024;
mod records;

use crate::data::CLASS_NAMES;
use crate::names::{nearest, shortened};
use crate::nn::{Plan, Shape};
use crate::train::Task;
use crate::{Error, Result};
use std::borrow::Cow;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

pub use records::{Record, records};

/// Every report, in the order of the tables.
pub const ALL: [Report; 5] =
    [biu2023::REPORT, colman2023::REPORT, nlp2024::REPORT, comp475::REPORT, cse574::REPORT];

/// A published report and the networks it trained.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// Its name on the command line.
    pub id: &'static str,
    /// What it is, in a few words.
    pub title: &'static str,
    /// Its recipes, in the report's order.
    pub recipes: fn() -> Vec<Recipe>,
}

/// One network of a report, ready to be trained, and the results that the report claims.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Its name on the command line; for a recipe from a file, the file's name without its ending.
    pub id: Cow<'static, str>,
    /// The network in one line.
    pub about: Cow<'static, str>,
    /// What to train.
    pub task: Task,
    /// What the report claims.
    pub claim: Claim,
    /// The file that it was read from; `None` for those of the reports.
    pub file: Option<PathBuf>,
}

/// Height and width of Fashion-MNIST's images.
pub const SIDE: usize = 28;

impl Recipe {
    /// One of a report.
    fn new(id: &'static str, about: &'static str, task: Task, claim: Claim) -> Self {
        Self { id: id.into(), about: about.into(), task, claim, file: None }
    }

    /// A task that somebody wrote into a file.
    ///
    /// # Errors
    /// As [`Task::read_toml`].
    pub fn from_file(path: &Path) -> Result<Self> {
        let task = Task::read_toml(path)?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let layers: Vec<_> = task.layers.iter().map(|layer| layer.names().0).collect();
        Ok(Self {
            id: stem.into_owned().into(),
            about: format!("{}, {}", layers.join(" - "), task.optimizer.name()).into(),
            task,
            claim: Claim::default(),
            file: Some(path.to_owned()),
        })
    }

    /// The argument that names it on the command line.
    pub fn argument(&self) -> &OsStr {
        self.file.as_ref().map_or(OsStr::new(&*self.id), |path| path.as_os_str())
    }

    /// Its network, planned for Fashion-MNIST's images.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the layer that does not fit, and the file if there is one.
    pub fn plan(&self) -> Result<Plan> {
        let classes = self.task.selection.classes.count(CLASS_NAMES.len());
        self.plan_for(Shape::Image([SIDE, SIDE, 1]), classes)
    }

    /// Its network, planned for samples of this shape and `classes` classes.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the layer that does not fit, and the file if there is one.
    pub fn plan_for(&self, sample: Shape, classes: usize) -> Result<Plan> {
        let input = self.task.input.of(sample);
        let plan = input.and_then(|input| self.task.plan(input, classes));
        plan.map_err(|error| self.locate(error))
    }

    /// Adds the name of the recipe's file to a fault of its task.
    pub fn locate(&self, error: Error) -> Error {
        match (&self.file, error) {
            (Some(path), Error::Usage(fault)) => {
                Error::Usage(format!("{}: {fault}", path.display()))
            }
            // Only these two are checked with the network. Other settings of the file were checked when it was
            // read, so the fault is an option's.
            (Some(path), Error::Setting { name, fault })
                if name == "freeze" && !self.task.freeze.is_none()
                    || name == "test-augment" && !self.task.test_augment.is_none() =>
            {
                Error::Usage(format!("{}: {name}: {fault}", path.display()))
            }
            (_, error) => error,
        }
    }
}

/// A report's figures for one recipe. Where it gives none, there is nothing to compare with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Claim {
    /// Share of test samples classified correctly, 0 to 1.
    pub accuracy: Option<Span>,
    /// Wall time of the whole training, in seconds.
    pub seconds: Option<Span>,
    /// A remark on the figures; printed under the table.
    pub note: Option<&'static str>,
}

/// A figure, or the range within which a report puts it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// The lower end.
    pub low: f64,
    /// The upper end; equal to `low` for a single figure.
    pub high: f64,
}

impl Span {
    /// A single figure.
    pub const fn exactly(value: f64) -> Self {
        Self { low: value, high: value }
    }

    /// A range.
    pub const fn between(low: f64, high: f64) -> Self {
        Self { low, high }
    }

    /// The one number that stands for the range: its middle.
    pub fn middle(self) -> f64 {
        f64::midpoint(self.low, self.high)
    }
}

/// The recipe of this name, or the one in this file if the name ends in `.toml`.
///
/// # Errors
/// [`Error::Usage`] with the nearest name; as [`Recipe::from_file`].
pub fn recipe(name: &str) -> Result<Recipe> {
    if let Some(found) = one(name)? {
        return Ok(found);
    }
    if let Some(report) = ALL.iter().find(|report| report.id == name) {
        let recipes = (report.recipes)().into_iter().map(|r| r.id).collect::<Vec<_>>().join(", ");
        return Err(Error::Usage(format!("'{name}' is a report; its recipes are {recipes}")));
    }
    Err(Error::Usage(unknown("recipe", name, &recipe_names())))
}

/// The recipes for a list of names of reports, recipes and files, each once, in the order named; those of all
/// reports for an empty list.
///
/// # Errors
/// As [`recipe`].
pub fn select(names: &[String]) -> Result<Vec<Recipe>> {
    let mut picked: Vec<Recipe> = Vec::new();
    if names.is_empty() {
        picked.extend(of_the_reports());
    }
    for name in names {
        for recipe in find(name)?.ok_or_else(|| Error::Usage(none_called(name)))? {
            if picked.iter().all(|p| p.id != recipe.id) {
                picked.push(recipe);
            }
        }
    }
    Ok(picked)
}

/// The recipes of the report of this name, or the one recipe of this name or in this file; `None` if there is no
/// such.
///
/// # Errors
/// As [`Recipe::from_file`].
pub fn find(name: &str) -> Result<Option<Vec<Recipe>>> {
    match ALL.iter().find(|report| report.id == name) {
        Some(report) => Ok(Some((report.recipes)())),
        None => Ok(one(name)?.map(|recipe| vec![recipe])),
    }
}

/// That [`find`] finds nothing of this name, with the nearest name that there is.
pub fn none_called(name: &str) -> String {
    let mut names = recipe_names();
    names.extend(ALL.iter().map(|report| Cow::Borrowed(report.id)));
    unknown("report or recipe", name, &names)
}

/// The recipe in this file, or of this name, if there is one.
fn one(name: &str) -> Result<Option<Recipe>> {
    let path = Path::new(name);
    if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("toml")) {
        return Recipe::from_file(path).map(Some);
    }
    Ok(recipes().into_iter().find(|recipe| recipe.id == name))
}

/// Every recipe that has a name: those of the reports, then those of the records.
pub fn recipes() -> Vec<Recipe> {
    let records = records().into_iter().map(|record| record.recipe);
    of_the_reports().chain(records).collect()
}

fn of_the_reports() -> impl Iterator<Item = Recipe> {
    ALL.iter().flat_map(|report| (report.recipes)())
}

fn recipe_names() -> Vec<Cow<'static, str>> {
    recipes().into_iter().map(|recipe| recipe.id).collect()
}

/// "No such thing", with the nearest of the names that there are.
fn unknown(kind: &str, name: &str, names: &[Cow<'static, str>]) -> String {
    let hint = nearest(name, names.iter().map(|name| &**name))
        .map_or(String::new(), |near| format!("; did you mean '{near}'?"));
    format!(
        "no {kind} is called '{}'{hint} ('threadcount list' shows them all; a file of your own \
         ends in .toml)",
        shortened(name)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn there_are_fourteen_recipes_and_three_records_with_distinct_names() {
        let names = recipe_names();
        assert_eq!(names.len(), 14 + 3);
        let reports = ALL.iter().map(|report| report.id);
        let distinct: HashSet<_> = names.iter().map(|name| &**name).chain(reports).collect();
        assert_eq!(distinct.len(), 14 + 3 + ALL.len());
    }

    #[test]
    fn selecting_a_report_and_one_of_its_recipes_names_it_once() {
        let picked = select(&["nlp-cnn".into(), "nlp2024".into(), "cse574-mlp".into()]).unwrap();
        let ids: Vec<_> = picked.iter().map(|r| &*r.id).collect();
        assert_eq!(
            ids,
            ["nlp-cnn", "nlp-softmax", "nlp-mlp80", "nlp-mlp300", "nlp-rnn", "cse574-mlp"]
        );
        assert_eq!(select(&[]).unwrap().len(), 14);
    }

    #[test]
    fn unknown_names_suggest_the_nearest() {
        let message = recipe("cse574-mpl").unwrap_err().to_string();
        assert!(message.contains("did you mean 'cse574-mlp'?"), "{message}");
        let message = select(&["comp457".into()]).unwrap_err().to_string();
        assert!(message.contains("did you mean 'comp475'?"), "{message}");
        let message = recipe("quux").unwrap_err().to_string();
        assert!(!message.contains("did you mean"), "{message}");
        let message = recipe("biu2023").unwrap_err().to_string();
        assert!(message.contains("is a report; its recipes are biu-scratch"), "{message}");
    }
}
