//! `threadcount summary`

use super::data;
use super::network_table::summary;
use crate::Result;
use crate::console;
use crate::nn::BatchNormOver;
use crate::reports;
use crate::train::Schedule;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Name of the recipe ('threadcount list' shows them), or a TOML file
    recipe: String,
    /// Plan the network for the images in this folder [default: for Fashion-MNIST's]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let recipe = reports::recipe(&args.recipe)?;
    let task = &recipe.task;
    let plan = match &args.data {
        None => recipe.plan()?,
        Some(folder) => {
            let split = data::split(&task.selection, &data::open(Some(folder))?, 0)?;
            let plan = recipe.plan_for(split.train.shape(), split.train.classes())?;
            task.check_classes(&split.train, plan.output().len())?;
            plan
        }
    };
    let mut how = vec![task.optimizer.to_string()];
    if task.schedule != Schedule::Constant {
        how.push(task.schedule.to_string());
    }
    if task.warm_up > 0.0 {
        how.push(format!("{} epochs of warm-up", task.warm_up));
    }
    let factors = [("l2", task.l2), ("label smoothing", task.label_smoothing)];
    for (name, factor) in factors.into_iter().filter(|(_, factor)| *factor > 0.0) {
        how.push(format!("{name} {factor}"));
    }
    if let Some(norm) = task.clip_norm {
        how.push(format!("gradients clipped to {norm}"));
    }
    if let Some(decay) = task.weight_average {
        how.push(format!("weights averaged with {decay}"));
    }
    if task.shards != 1 {
        let over = match task.batch_norm_over {
            BatchNormOver::Batch => "",
            BatchNormOver::Shard => ", each normalised by itself",
        };
        how.push(format!("batches cut into {} shards{over}", task.shards));
    }
    if !task.augment.is_none() {
        how.push(format!("images augmented by {}", task.augment));
    }
    if !task.test_augment.is_none() {
        how.push(format!("test-time augmentation by {}", task.test_augment));
    }
    console::print(&format!(
        "{}: {}\n\n{}\n\n{}, batches of {}, {} epochs{}\n",
        recipe.id,
        recipe.about,
        summary(&recipe.id, &plan),
        how.join(", "),
        task.batch_size,
        task.epochs,
        if task.early_stopping.is_some() { " at most" } else { "" }
    ))
}
