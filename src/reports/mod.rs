//! What five published reports trained on Fashion-MNIST, and what they claimed: one file per
//! report, one row of [`ALL`] per file. The command line, the tests and the tables all walk that
//! list.

mod biu2023;
mod colman2023;
mod comp475;
mod cse574;
mod nlp2024;

use crate::names::nearest;
use crate::nn::Plan;
use crate::train::Task;
use crate::{Error, Result};

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

/// One network of a report, ready to be trained, and what the report says came of it.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Its name on the command line.
    pub id: &'static str,
    /// The network in one line.
    pub about: &'static str,
    /// What to train.
    pub task: Task,
    /// What the report claims.
    pub claim: Claim,
}

/// Height and width of Fashion-MNIST's images.
pub const SIDE: usize = 28;

impl Recipe {
    /// Its network, planned for Fashion-MNIST's images.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the layer that does not fit.
    pub fn plan(&self) -> Result<Plan> {
        Plan::new(self.task.input.shape(SIDE, SIDE), &self.task.layers)
    }
}

/// A report's figures for one recipe. Where it gives none, there is nothing to compare with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Claim {
    /// Share of test samples classified correctly, 0 to 1.
    pub accuracy: Option<Span>,
    /// Wall time of the whole training, in seconds.
    pub seconds: Option<Span>,
    /// What has to be said beside the figures; printed under the table.
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

/// The recipe of this name.
///
/// # Errors
/// [`Error::Usage`] with the nearest name.
pub fn recipe(name: &str) -> Result<Recipe> {
    let mut all = ALL.iter().flat_map(|report| (report.recipes)());
    all.find(|recipe| recipe.id == name).ok_or_else(|| {
        if let Some(report) = ALL.iter().find(|report| report.id == name) {
            let recipes = (report.recipes)().iter().map(|r| r.id).collect::<Vec<_>>().join(", ");
            return Error::Usage(format!("'{name}' is a report; its recipes are {recipes}"));
        }
        unknown("recipe", name, recipe_names())
    })
}

/// The recipes behind a list of names of reports and recipes, each once, in the order named; all
/// of them for an empty list.
///
/// # Errors
/// [`Error::Usage`] with the nearest name.
pub fn select(names: &[String]) -> Result<Vec<Recipe>> {
    let mut picked: Vec<Recipe> = Vec::new();
    if names.is_empty() {
        picked.extend(ALL.iter().flat_map(|report| (report.recipes)()));
    }
    for name in names {
        let named = match ALL.iter().find(|report| report.id == name) {
            Some(report) => (report.recipes)(),
            None => {
                let reports = ALL.iter().map(|report| report.id);
                let names = recipe_names().chain(reports);
                vec![recipe(name).map_err(|_| unknown("report or recipe", name, names))?]
            }
        };
        for recipe in named {
            if picked.iter().all(|p| p.id != recipe.id) {
                picked.push(recipe);
            }
        }
    }
    Ok(picked)
}

fn recipe_names() -> impl Iterator<Item = &'static str> {
    ALL.iter().flat_map(|report| (report.recipes)()).map(|recipe| recipe.id)
}

/// "No such thing", with the nearest of the names that there are.
fn unknown(kind: &str, name: &str, names: impl Iterator<Item = &'static str>) -> Error {
    let hint =
        nearest(name, names).map_or(String::new(), |near| format!("; did you mean '{near}'?"));
    Error::Usage(format!("no {kind} is called '{name}'{hint} ('threadcount list' shows them all)"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn there_are_fourteen_recipes_with_distinct_names() {
        let names: Vec<_> = recipe_names().collect();
        assert_eq!(names.len(), 14);
        let reports = ALL.iter().map(|report| report.id);
        let distinct: HashSet<_> = names.iter().copied().chain(reports).collect();
        assert_eq!(distinct.len(), 14 + ALL.len());
    }

    #[test]
    fn selecting_a_report_and_one_of_its_recipes_names_it_once() {
        let picked = select(&["nlp-cnn".into(), "nlp2024".into(), "cse574-mlp".into()]).unwrap();
        let ids: Vec<_> = picked.iter().map(|r| r.id).collect();
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
