//! `threadcount runs compare`

use super::super::json::check_file;
use super::super::table::{self, Table};
use super::fields::{FIELDS, json};
use super::{damaged, history, shown};
use crate::console;
use crate::evaluate::run_curves::{MOST_RUNS, RunCurves, run_curves};
use crate::files::write_atomically;
use crate::train::{Listed, LoggedRun, RunLog};
use crate::{Error, Result};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Names of the runs, as 'threadcount runs' lists them, or their folders
    #[arg(required = true, num_args = 2.., value_name = "RUN")]
    runs: Vec<String>,
    /// File for the picture [default: compare.svg in the folder of the runs]
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Print one JSON document instead of the table
    #[arg(long)]
    json: bool,
}

/// The fields that are told only if they differ; all others are results.
const FACTS: [&str; 8] =
    ["recipe", "seed", "data", "version", "threads", "isa", "precision", "cpu"];

#[derive(Serialize)]
struct Document {
    /// Of each setting that differs, its value in each run, where it has one.
    differences: BTreeMap<String, Vec<Option<String>>>,
    runs: Vec<Value>,
}

pub(super) fn run(args: &Args, log: &RunLog) -> Result<()> {
    if args.runs.len() > MOST_RUNS {
        return Err(Error::Usage(format!(
            "{} runs: a picture shows {MOST_RUNS} at most; 'threadcount runs --sort test_accuracy' lists any \
             number",
            args.runs.len()
        )));
    }
    let picture = args.plot.clone().unwrap_or_else(|| log.root().join("compare.svg"));
    if let Some(path) = &args.plot {
        check_file("--plot", path)?;
    }
    let runs = args.runs.iter().map(|name| log.find(name)).collect::<Result<Vec<_>>>()?;
    let known: Vec<&LoggedRun> = runs
        .iter()
        .map(|listed| listed.run.as_ref().ok_or_else(|| damaged(listed)))
        .collect::<Result<_>>()?;
    let differences = differences(&known);
    if args.json {
        let runs = runs.iter().map(json).collect();
        let differences = differences.into_iter().collect();
        console::print(&table::json(&Document { differences, runs })?)?;
    } else {
        console::print(&text(&runs, &differences, console::width()))?;
    }
    draw(&runs, &picture)
}

/// The settings that differ, with the value of each run, in the order of the settings.
fn differences(runs: &[&LoggedRun]) -> Vec<(String, Vec<Option<String>>)> {
    let all: Vec<Vec<(String, String)>> = runs.iter().map(|run| run.settings()).collect();
    let mut keys: Vec<&String> = Vec::new();
    for (key, _) in all.iter().flatten() {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let value = |settings: &Vec<(String, String)>, key: &String| {
        settings.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone())
    };
    let values = |key: &String| all.iter().map(|settings| value(settings, key)).collect::<Vec<_>>();
    let differs = |values: &Vec<Option<String>>| values.iter().any(|value| *value != values[0]);
    keys.into_iter()
        .map(|key| (key.clone(), values(key)))
        .filter(|(_, values)| differs(values))
        .collect()
}

/// Two tables with a column for each run: what differs, and the results.
fn text(runs: &[Listed], differences: &[(String, Vec<Option<String>>)], width: usize) -> String {
    let names: Vec<String> = runs.iter().map(shown).collect();
    let rows = |heading: &str, rows: Vec<(&str, Vec<String>)>| {
        let header: Vec<&str> =
            [heading].into_iter().chain(names.iter().map(String::as_str)).collect();
        let mut table = Table::new(&header, &[heading]);
        for (name, values) in rows {
            table.add_row([name.to_owned()].into_iter().chain(values));
        }
        table.text(width) + "\n"
    };
    let (mut facts, mut results) = (Vec::new(), Vec::new());
    for field in FIELDS.iter().filter(|field| field.name != "run") {
        let values: Vec<String> = runs.iter().map(|run| field.text(run)).collect();
        match FACTS.contains(&field.name) {
            true if values.iter().any(|value| *value != values[0]) => {
                facts.push((field.name, values))
            }
            true => {}
            false => results.push((field.name, values)),
        }
    }
    let told = |values: &Vec<Option<String>>| {
        values.iter().map(|value| value.clone().unwrap_or_else(|| "-".to_owned())).collect()
    };
    facts.extend(differences.iter().map(|(key, values)| (key.as_str(), told(values))));
    let differs = match facts.is_empty() {
        true => "The runs have the same settings, seed and data.\n".to_owned(),
        false => rows("differs", facts),
    };
    format!("{differs}\n{}", rows("results", results))
}

/// Draws the curves of the runs that have any.
fn draw(runs: &[Listed], picture: &Path) -> Result<()> {
    let mut curves = Vec::new();
    for run in runs {
        let history = history(run)?;
        if history.epochs.is_empty() {
            console::warn(&format!("{} has no curves: no epoch of it is there", shown(run)));
        } else {
            curves.push(RunCurves { name: shown(run), history });
        }
    }
    if curves.is_empty() {
        return Ok(());
    }
    write_atomically(picture, run_curves(&curves)?.as_bytes())?;
    console::note(&format!("their curves are in {}", picture.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::State;

    fn run(task: &str) -> LoggedRun {
        serde_json::from_str(&format!(
            "{{\"recipe\":\"mine\",\"seed\":0,\"data\":\"other\",\"version\":\"0.1.0\",\"threads\":2,\
             \"isa\":\"avx2\",\"epochs\":9,\"last\":null,\"kept\":null,\"result\":null,\"task\":{task},\
             \"id\":\"y\"}}"
        ))
        .unwrap()
    }

    fn listed(name: &str, run: LoggedRun) -> Listed {
        Listed {
            name: name.to_owned(),
            path: PathBuf::from(name),
            started: "2026-01-02T03:04:05Z".to_owned(),
            state: State::Gone,
            run: Some(run),
        }
    }

    const ONE: &str = "{\"batch-size\":8,\"l2\":0.5,\"layers\":[{\"kind\":\"dense\",\"units\":4}]}";
    const OTHER: &str = "{\"batch-size\":16,\"l2\":0.5,\"layers\":[{\"kind\":\"dense\",\"units\":5},\
                         {\"kind\":\"flatten\"}]}";

    #[test]
    fn what_differs_is_told_and_nothing_else() {
        let (one, other) = (run(ONE), run(OTHER));
        let found = differences(&[&one, &other, &one]);
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            found,
            [
                ("batch-size".to_owned(), vec![some("8"), some("16"), some("8")]),
                ("layer 1: units".to_owned(), vec![some("4"), some("5"), some("4")]),
                ("layer 2: kind".to_owned(), vec![None, some("flatten"), None]),
            ]
        );
        assert!(differences(&[&one, &one]).is_empty());
    }

    #[test]
    fn tables_have_a_column_for_each_run_and_fit() {
        let mut other = run(OTHER);
        other.seed = 7;
        let runs = [listed("first", run(ONE)), listed("second", other)];
        let known: Vec<&LoggedRun> = runs.iter().filter_map(|run| run.run.as_ref()).collect();
        let text = text(&runs, &differences(&known), 80);
        let row = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(&format!("| {name} ")));
            let cells: Vec<_> =
                line.unwrap_or_else(|| panic!("{name}: {text}")).split('|').collect();
            [cells[2].trim().to_owned(), cells[3].trim().to_owned()]
        };
        assert_eq!(row("differs"), ["first", "second"]);
        assert_eq!(row("seed"), ["0", "7"]);
        assert_eq!(row("batch-size"), ["8", "16"]);
        assert_eq!(row("layer 2: kind"), ["-", "flatten"]);
        assert_eq!(row("test_accuracy"), ["-", "-"]);
        assert!(!text.contains("| recipe") && !text.contains("| l2"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        let same = super::text(&[listed("a", run(ONE)), listed("b", run(ONE))], &[], 80);
        assert!(same.starts_with("The runs have the same settings"), "{same}");
    }
}
