//! `threadcount summary`

use super::network_table::summary;
use crate::Result;
use crate::console;
use crate::reports;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Name of the recipe ('threadcount list' shows them)
    recipe: String,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let recipe = reports::recipe(&args.recipe)?;
    let task = &recipe.task;
    let plan = recipe.plan()?;
    console::print(&format!(
        "{}: {}\n\n{}\n\n{}, batches of {}, {} epochs{}\n",
        recipe.id,
        recipe.about,
        summary(recipe.id, &plan),
        task.optimizer,
        task.batch_size,
        task.epochs,
        if task.early_stopping.is_some() { " at most" } else { "" }
    ))
}
