//! `threadcount runs show`

use super::super::table;
use super::fields::{FIELDS, json};
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
    if args.json {
        let mut document = json(&listed);
        document["history"] = serde_json::to_value(&history).unwrap_or_default();
        return console::print(&table::json(&document)?);
    }
    let mut text = String::new();
    let mut put = |name: &str, value: &str| text += &format!("{name:<24}{value}\n");
    for field in &FIELDS {
        match field.name {
            "epochs" => put("epochs", &epochs(run)),
            "started" => put("started", &format!("{} UTC", field.text(&listed))),
            name => put(name, &field.text(&listed)),
        }
    }
    put("folder", &listed.path.display().to_string());
    text += "\nSettings\n";
    for (key, value) in run.settings() {
        text += &format!("{key:<38} {value}\n");
    }
    if !history.epochs.is_empty() {
        let header = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"];
        let mut rows = table::markdown(&header, &[]);
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
