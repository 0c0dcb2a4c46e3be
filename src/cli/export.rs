//! `threadcount export`

use super::settings::{ComputeFlags, Settings};
use crate::Result;
use crate::console;
use crate::nn::exchange::Framework;
use crate::train::RunFolder;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Folder of the run
    run: PathBuf,
    /// Framework whose layout the weights get
    #[arg(long, value_enum, value_name = "FRAMEWORK")]
    to: To,
    /// File for the weights [default: pytorch.safetensors or keras.npz in the run's folder]
    out: Option<PathBuf>,
    #[command(flatten)]
    compute: ComputeFlags,
}

/// The other framework.
#[derive(Clone, Copy, clap::ValueEnum)]
enum To {
    /// A state_dict in a safetensors file
    Pytorch,
    /// The arrays of get_weights() in an .npz file
    Keras,
}

/// Writes the weights, and prints the model in Python.
pub(super) fn run(args: &Args) -> Result<()> {
    let settings = Settings::load()?;
    let (folder, record) = RunFolder::open(&args.run)?;
    let trained = folder.trained(&record, settings.pool(&args.compute)?)?;
    let (framework, name) = match args.to {
        To::Pytorch => (Framework::PyTorch, "pytorch.safetensors"),
        To::Keras => (Framework::Keras, "keras.npz"),
    };
    let out = args.out.clone().unwrap_or_else(|| folder.path().join(name));
    console::print(&trained.export(framework, &out)?)?;
    console::note(&format!("the weights are in {}", out.display()));
    Ok(())
}
