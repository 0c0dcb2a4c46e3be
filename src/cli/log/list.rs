//! `threadcount runs`: the list.

use super::super::table::{self, Table};
use super::all;
use super::fields::{FIELDS, Field, Filter, json};
use crate::Result;
use crate::console;
use crate::train::{Listed, RunLog, State};

#[derive(clap::Args)]
pub(super) struct ListArgs {
    /// Sort by this, the best first: test_accuracy, val_loss, images_per_second, run ... [default: started,
    /// the newest first]
    #[arg(long, value_name = "FIELD")]
    sort: Option<String>,
    /// List only runs with this value: recipe=nlp-cnn, batch-size=64, optimizer.name=adam, run=cse574-*; may
    /// be given more than once
    #[arg(long, value_name = "FIELD=VALUE")]
    filter: Vec<String>,
    /// Print one JSON document with all that is known of each run
    #[arg(long)]
    json: bool,
}

/// The columns besides the run and its state, the most important first: those come first into a narrow
/// terminal.
const IMPORTANT: [&str; 15] = [
    "test_accuracy",
    "val_accuracy",
    "epochs",
    "started",
    "train_seconds",
    "images_per_second",
    "test_loss",
    "seed",
    "val_loss",
    "recipe",
    "accuracy",
    "loss",
    "data",
    "threads",
    "isa",
];

pub(super) fn run(args: &ListArgs, log: &RunLog) -> Result<()> {
    let sort = args.sort.as_deref().map(Field::named).transpose()?;
    let filters = args.filter.iter().map(|text| Filter::parse(text)).collect::<Result<Vec<_>>>()?;
    let mut runs = all(log)?.runs;
    let found = runs.len();
    for filter in &filters {
        runs = filter.keep(runs)?;
    }
    if let Some(field) = sort {
        runs.sort_by(|a, b| field.order(a, b));
    }
    if args.json {
        return console::print(&table::json(&runs.iter().map(json).collect::<Vec<_>>())?);
    }
    if runs.is_empty() {
        console::note(&match found {
            0 => format!(
                "no runs in {} yet; 'threadcount train biu-relu' makes the first one",
                log.root().display()
            ),
            _ => format!("none of the {} fits", table::count(found, "run")),
        });
        return Ok(());
    }
    console::print(&format!("{}\n", table_of(&runs, sort, console::width())))?;
    if runs.iter().any(|run| matches!(run.state, State::Damaged(_))) {
        console::note("'threadcount runs show RUN' says what is wrong with a damaged run");
    }
    Ok(())
}

/// The most characters of a name that no column is left out for.
const NAME: usize = 30;

/// A table that is at most this wide, if its least columns are.
fn table_of(runs: &[Listed], sort: Option<&Field>, width: usize) -> String {
    let mut wanted = vec!["run"];
    if runs.iter().any(|run| run.state != State::Done) {
        wanted.push("state");
    }
    wanted.extend(sort.map(|field| field.name));
    let always = wanted.len();
    wanted.extend(IMPORTANT);
    let mut columns: Vec<&str> = Vec::new();
    // A table's line begins with a bar, and each column with a space ends in one with two.
    let mut used = 1;
    for (index, name) in wanted.into_iter().enumerate() {
        let Some(field) = FIELDS.iter().find(|field| field.name == name) else { continue };
        let cells = runs.iter().map(|run| field.text(run).chars().count());
        let cells = cells.map(|cell| if name == "run" { cell.min(NAME) } else { cell });
        let needed = 3 + cells.chain([field.heading.len()]).max().unwrap_or(0);
        if !columns.contains(&name) && (index < always || used + needed <= width) {
            columns.push(name);
            used += needed;
        }
    }
    let columns: Vec<&Field> =
        FIELDS.iter().filter(|field| columns.contains(&field.name)).collect();
    let headings: Vec<_> = columns.iter().map(|field| field.heading).collect();
    let mut table =
        Table::new(&headings, &["run", "state", "started (UTC)", "recipe", "data", "isa", "cpu"]);
    for run in runs {
        table.add_row(columns.iter().map(|field| field.text(run)));
    }
    table.text(width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::RunLog;
    use std::fs;

    /// Runs with these lines in their log; the folders are gone.
    fn listed(runs: &[(&str, &str)]) -> Vec<Listed> {
        let folder = tempfile::tempdir().unwrap();
        let log = RunLog::new(folder.path());
        let line = |(name, run): &(&str, &str)| {
            format!(
                "{{\"format\":1,\"event\":\"end\",\"time\":\"2026-01-02T03:04:05Z\",\
                 \"folder\":\"{name}\",\"run\":{run}}}\n"
            )
        };
        fs::write(log.path(), runs.iter().map(line).collect::<String>()).unwrap();
        log.list().unwrap().runs
    }

    fn finished(accuracy: f64, seed: u64, batch: usize) -> String {
        format!(
            "{{\"recipe\":\"nlp-cnn\",\"seed\":{seed},\"data\":\"fashion-mnist\",\"version\":\"0.1.0\",\
             \"cpu\":null,\"threads\":2,\"isa\":\"avx2\",\"epochs\":9,\
             \"last\":{{\"epoch\":8,\"accuracy\":0.5,\"loss\":0.7,\"val_accuracy\":0.6,\"val_loss\":0.8}},\
             \"kept\":{{\"epoch\":7,\"accuracy\":0.51,\"loss\":0.71,\"val_accuracy\":0.61,\"val_loss\":0.81}},\
             \"result\":{{\"epochs\":8,\"test_loss\":0.25,\"test_accuracy\":{accuracy},\
             \"train_seconds\":12.5,\"images_per_second\":12345.0}},\
             \"task\":{{\"batch-size\":{batch},\"optimizer\":{{\"name\":\"adam\",\"learning-rate\":0.001}}}},\
             \"id\":\"x\"}}"
        )
    }

    fn unfinished() -> String {
        "{\"recipe\":\"mine\",\"seed\":0,\"data\":\"other\",\"version\":\"0.1.0\",\"threads\":2,\
         \"isa\":\"avx2\",\"epochs\":9,\"last\":null,\"kept\":null,\"result\":null,\"task\":{},\"id\":\"y\"}"
            .to_owned()
    }

    fn three() -> Vec<Listed> {
        listed(&[
            ("a", &finished(0.91, 3, 32)),
            ("b-of-a-name-that-is-rather-long", &finished(0.925, 10, 64)),
            ("c", &unfinished()),
        ])
    }

    #[test]
    fn a_table_fits_and_says_what_is_in_its_columns() {
        let runs = three();
        for width in [40, 60, 80, 100, 120, 200] {
            let table = table_of(&runs, None, width);
            let widest = table.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= width.max(50), "{width}:\n{table}");
            // What is left of a line is less than the next column needs.
            assert!(width > 120 || widest + 30 > width, "{width}:\n{table}");
        }
        let table = table_of(&runs, None, 200);
        let cells = |line: &str| -> Vec<String> {
            line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
        };
        let lines: Vec<_> = table.lines().map(cells).collect();
        let of = |run: usize, heading: &str| {
            let column = lines[0].iter().position(|cell| cell == heading).unwrap();
            lines[2 + run][column].clone()
        };
        for (heading, expected) in [
            ("run", "a"),
            ("state", "gone"),
            ("started (UTC)", "2026-01-02 03:04"),
            ("recipe", "nlp-cnn"),
            ("seed", "3"),
            ("epochs", "8"),
            ("train", "51.00"),
            ("train loss", "0.7100"),
            ("val", "61.00"),
            ("val loss", "0.8100"),
            ("test", "91.00"),
            ("loss", "0.2500"),
            ("images/s", "12,300"),
            ("seconds", "12.5"),
            ("data", "fashion-mnist"),
        ] {
            assert_eq!(of(0, heading), expected, "{heading}");
        }
        assert_eq!((of(2, "test"), of(2, "epochs")), ("-".to_owned(), "0".to_owned()));
    }

    #[test]
    fn the_best_come_first_and_runs_without_a_figure_last() {
        let names = |sort: &str| {
            let (mut runs, field) = (three(), Field::named(sort).unwrap());
            runs.sort_by(|a, b| field.order(a, b));
            runs.into_iter().map(|run| run.name[..1].to_owned()).collect::<String>()
        };
        assert_eq!(names("test_accuracy"), "bac");
        assert_eq!(names("test_loss"), "abc", "of equals the order stays");
        assert_eq!(names("seed"), "cab", "as numbers: 3 before 10");
        assert_eq!(names("recipe"), "cab");
        let error = Field::named("test_acuracy").map(drop).unwrap_err().to_string();
        assert!(error.contains("did you mean 'test_accuracy'?"), "{error}");
        // What is sorted by is shown in the narrowest table, too.
        let table = table_of(&three(), Some(Field::named("seed").unwrap()), 20);
        assert!(table.contains("seed"), "{table}");
    }

    #[test]
    fn filters_take_fields_and_settings() {
        let names = |filter: &str| {
            let kept = Filter::parse(filter).and_then(|filter| filter.keep(three()));
            kept.map(|runs| {
                runs.into_iter().map(|run| run.name[..1].to_owned()).collect::<String>()
            })
        };
        for (filter, expected) in [
            ("recipe=nlp-cnn", "ab"),
            ("recipe = nlp-*", "ab"),
            ("recipe=nlp", ""),
            ("state=gone", "abc"),
            ("seed=10", "b"),
            ("batch-size=32", "a"),
            ("optimizer.name=adam", "ab"),
            ("optimizer.learning-rate=1e-3", "ab"),
            ("test_accuracy=0.9250", "b"),
        ] {
            assert_eq!(names(filter).unwrap(), expected, "{filter}");
        }
        let error = names("batch_size=3").unwrap_err().to_string();
        assert!(error.contains("no run has a 'batch_size'; did you mean 'batch-size'?"), "{error}");
        assert!(names("recipe").unwrap_err().to_string().contains("as recipe=nlp-cnn"));
    }

    #[test]
    fn json_has_every_field_and_the_settings() {
        let run = json(&three()[0]);
        for field in &FIELDS {
            assert!(run.get(field.name).is_some(), "{}", field.name);
        }
        assert_eq!(run["test_accuracy"], 0.91);
        assert_eq!(run["settings"]["optimizer"]["learning-rate"], 0.001);
        assert_eq!((&run["epochs"], &run["planned_epochs"]), (&8.into(), &9.into()));
        assert!(run["cpu"].is_null());
    }

    #[test]
    fn every_important_column_is_a_field() {
        for name in IMPORTANT {
            Field::named(name).map(drop).unwrap();
        }
    }
}
