//! What `search` prints and draws: a table, a JSON document, a picture.

use super::table::{self, Table};
use crate::Result;
use crate::data::Split;
use crate::evaluate::scatter::{Along, Mark, Panel, Point, Scatter, scatter};
use crate::train::search::{Axis, Row, Search, Standing, Values};
use crate::train::{ResultRecord, Spacing, ValueKind};
use serde::Serialize;
use serde_json::{Map, Value};

#[derive(Serialize)]
struct Document<'a> {
    recipe: &'a str,
    data: &'a str,
    seed: u64,
    metric: &'a str,
    epochs: usize,
    /// One trial in this many goes on.
    halving: Option<usize>,
    axes: Vec<String>,
    /// Trials that were drawn; null for a grid.
    random: Option<usize>,
    training_samples: usize,
    validation_samples: usize,
    test_samples: usize,
    /// By rank.
    trials: Vec<Trial>,
    best: Option<Best>,
}

#[derive(Serialize)]
struct Trial {
    trial: usize,
    rank: Option<usize>,
    settings: Map<String, Value>,
    epochs: usize,
    val_loss: Option<f64>,
    val_accuracy: Option<f64>,
    diverged: bool,
    /// False where halving ended it.
    finished: bool,
}

#[derive(Serialize)]
struct Best {
    trial: usize,
    file: String,
    /// Null for a trial that was not trained to its end.
    test_loss: Option<f64>,
    test_accuracy: Option<f64>,
}

/// The JSON document and the text.
///
/// # Errors
/// As [`table::json`].
pub(super) fn report(
    search: &Search,
    split: &Split,
    tested: Option<&ResultRecord>,
) -> Result<(String, String)> {
    let standings = search.standings();
    let definition = search.definition();
    let axes = definition.space.axes();
    let trial = |standing: &Standing| Trial {
        trial: standing.trial,
        rank: standing.rank,
        settings: (axes.iter().zip(&search.trials()[standing.trial - 1]))
            .map(|(axis, text)| (axis.option.name.to_owned(), value(axis, text)))
            .collect(),
        epochs: standing.epochs,
        val_loss: standing.scores.map(|scores| scores.val_loss),
        val_accuracy: standing.scores.map(|scores| scores.val_accuracy),
        diverged: standing.scores.is_none(),
        finished: standing.is_finished,
    };
    let best = search.best().map(|best| Best {
        trial: best.trial,
        file: search.best_path().display().to_string(),
        test_loss: tested.map(|result| result.test_loss),
        test_accuracy: tested.map(|result| result.test_accuracy),
    });
    let json = table::json(&Document {
        recipe: &definition.recipe,
        data: &definition.data.identity,
        seed: definition.seed,
        metric: definition.metric.name(),
        epochs: definition.task.epochs,
        halving: definition.halving,
        axes: axes.iter().map(Axis::to_string).collect(),
        random: definition.space.draws(),
        training_samples: split.train.len(),
        validation_samples: split.validation.len(),
        test_samples: split.test.len(),
        trials: standings.iter().map(trial).collect(),
        best,
    })?;
    Ok((json, text(search, &standings, tested)))
}

/// A setting as JSON has it: a number where it is one.
fn value(axis: &Axis, text: &str) -> Value {
    let number = match axis.option.kind() {
        ValueKind::Whole => text.parse::<u64>().ok().map(Value::from),
        ValueKind::Number => text.parse::<f64>().ok().map(Value::from),
        ValueKind::Name => None,
    };
    number.unwrap_or_else(|| Value::from(text))
}

fn text(search: &Search, standings: &[Standing], tested: Option<&ResultRecord>) -> String {
    let definition = search.definition();
    let names = definition.space.axes().iter().map(|axis| axis.option.name);
    let header: Vec<&str> = (["trial"].into_iter().chain(names))
        .chain(["epochs", "val_loss", "val_accuracy", "rank"])
        .collect();
    let axes = definition.space.axes().iter();
    let words: Vec<&str> = axes
        .filter(|axis| axis.option.kind() == ValueKind::Name)
        .map(|axis| axis.option.name)
        .collect();
    let mut table = Table::new(&header, &words);
    for standing in standings {
        let scores = standing.scores.map_or_else(
            || ["diverged".to_owned(), "-".to_owned()],
            |scores| [scores.val_loss, scores.val_accuracy].map(|score| format!("{score:.4}")),
        );
        let mut row = vec![standing.trial.to_string()];
        row.extend(search.trials()[standing.trial - 1].iter().cloned());
        row.push(standing.epochs.to_string());
        row.extend(scores);
        row.push(standing.rank.map_or("-".to_owned(), |rank| rank.to_string()));
        table.add_row(row);
    }
    let text = format!("{table}\n\n");
    let mut notes = String::new();
    if let Some(Standing { trial, scores: Some(scores), .. }) = search.best() {
        notes += &format!(
            "best by {}: trial {trial} ({}), {:.4}\n",
            definition.metric.name(),
            definition.space.told(&search.trials()[trial - 1]),
            definition.metric.of(&scores),
        );
    }
    if let Some(result) = tested {
        notes += &format!(
            "tested once, after it was chosen: test loss {:.4}, test accuracy {:.4}\n",
            result.test_loss, result.test_accuracy
        );
    }
    text + &table::prose(&notes)
}

/// What a trial scored, in a line.
pub(super) fn scores(row: &Row) -> String {
    match row.scores {
        None => "diverged".to_owned(),
        Some(scores) => {
            format!("val_loss {:.4}  val_accuracy {:.4}", scores.val_loss, scores.val_accuracy)
        }
    }
}

/// The scores over each setting.
///
/// # Errors
/// As [`scatter`].
pub(super) fn picture(search: &Search) -> Result<String> {
    let definition = search.definition();
    let axes = definition.space.axes();
    let panel = |axis: &Axis| Panel { name: axis.option.name.to_owned(), along: along(axis) };
    let point = |standing: &Standing| Point {
        values: (axes.iter().zip(&search.trials()[standing.trial - 1]))
            .map(|(axis, text)| place(axis, text))
            .collect(),
        score: standing.scores.map(|scores| definition.metric.of(&scores)),
        mark: match standing {
            Standing { rank: Some(1), .. } => Mark::Best,
            Standing { is_finished: true, .. } => Mark::Finished,
            _ => Mark::EndedEarly,
        },
    };
    scatter(&Scatter {
        title: format!("{}: {}", definition.recipe, table::count(search.trials().len(), "trial")),
        metric: definition.metric.name().to_owned(),
        panels: axes.iter().map(panel).collect(),
        points: search.standings().iter().map(point).collect(),
    })
}

/// Listed numbers are on a logarithmic axis if the largest is at least this many times the smallest.
const FAR_APART: f64 = 8.0;

fn along(axis: &Axis) -> Along {
    let is_log = match &axis.values {
        Values::Range { spacing, .. } => *spacing == Spacing::Log,
        Values::List(values) if axis.option.kind() == ValueKind::Name => {
            return Along::Names(values.clone());
        }
        Values::List(values) => {
            let numbers = values.iter().map(|text| place(axis, text));
            let (low, high) = numbers.fold((f64::INFINITY, 0.0_f64), |(low, high), number| {
                (low.min(number), high.max(number))
            });
            low > 0.0 && (axis.option.spacing == Spacing::Log || high / low >= FAR_APART)
        }
    };
    if is_log { Along::Log } else { Along::Linear }
}

/// A setting as a number; for a name, its place among those that are tried.
fn place(axis: &Axis, text: &str) -> f64 {
    match (&axis.values, axis.option.kind()) {
        (Values::List(values), ValueKind::Name) => {
            values.iter().position(|value| value == text).map_or(f64::NAN, |place| place as f64)
        }
        _ => text.parse().unwrap_or(f64::NAN),
    }
}
