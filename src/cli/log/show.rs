//! `threadcount runs show`

use super::super::report::revisions;
use super::super::table::{self, Table};
use super::fields::{FIELDS, Field, json};
use super::{damaged, history};
use crate::Result;
use crate::console;
use crate::train::{LoggedRun, RunLog, State};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Name of the run, as 'threadcount runs' lists it, or its folder
    run: String,
    /// Print one JSON document instead
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, log: &RunLog) -> Result<()> {
    let listed = log.find(&args.run)?;
    let Some(run) = &listed.run else { return Err(damaged(&listed)) };
    if let State::Damaged(fault) = &listed.state {
        console::warn(fault);
    }
    let history = history(&listed)?;
    let revisions = revisions(&listed.path);
    if args.json {
        let mut document = json(&listed);
        document["revisions"] = revisions.into();
        document["history"] = serde_json::to_value(&history).unwrap_or_default();
        return console::print(&table::json(&document)?);
    }
    let of = |field: &Field| match field.name {
        "epochs" => epochs(run),
        "started" => format!("{} UTC", field.text(&listed)),
        _ => field.text(&listed),
    };
    let mut known: Vec<(&str, String)> =
        FIELDS.iter().map(|field| (field.name, of(field))).collect();
    if !revisions.is_empty() {
        known.push(("revision", revisions.join(", ")));
    }
    known.push(("folder", listed.path.display().to_string()));
    let settings = run.settings();
    let settings = settings.iter().map(|(key, value)| (key.as_str(), value.clone()));
    let mut text = table::facts(known, 22);
    text += &format!("\nSettings\n{}", table::facts(settings, 37));
    if !history.epochs.is_empty() {
        let header = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"];
        let mut rows = Table::new(&header, &[]);
        for epoch in &history.epochs {
            rows.add_row([
                epoch.epoch.to_string(),
                format!("{:.4}", epoch.loss),
                table::percent(epoch.accuracy),
                format!("{:.4}", epoch.val_loss),
                table::percent(epoch.val_accuracy),
            ]);
        }
        text += &format!("\n{rows}\n");
    }
    console::print(&text)
}

/// Epochs trained and planned, and whose weights are kept.
fn epochs(run: &LoggedRun) -> String {
    let mut text = format!("{} of {}", run.epochs_done(), run.epochs);
    if let (Some(kept), Some(last)) = (run.kept, run.last)
        && kept.epoch != last.epoch
    {
        text += &format!(", the weights of epoch {} are kept", kept.epoch);
    }
    text
}
