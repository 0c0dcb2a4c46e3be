//! `threadcount recipe`

use crate::Result;
use crate::console;
use crate::reports;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Name of the recipe ('threadcount list' shows them), or a TOML file
    recipe: String,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let recipe = reports::recipe(&args.recipe)?;
    console::print(&format!("# {}: {}\n{}", recipe.id, recipe.about, recipe.task.to_toml()?))
}
