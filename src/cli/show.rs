//! `threadcount data show`

use super::data;
use super::json::check_file;
use super::png::png;
use super::settings::{DataFlag, SeedFlag, Settings};
use crate::console;
use crate::data::{Augment, Dataset, Draws, Half, Shape, Shown, show, show_augmented};
use crate::files::write_atomically;
use crate::{Error, Result};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Its number, from 0
    number: usize,
    /// Take the image from the test part
    #[arg(long)]
    test: bool,
    /// Augment it as in training: rotate=10,scale=0.1,shift=2,flip,erase=0.2
    #[arg(long, value_name = "SETTINGS", conflicts_with = "test")]
    augment: Option<String>,
    /// Epoch to augment for, from 1; each draws anew
    #[arg(long, value_name = "N", requires = "augment", default_value_t = 1,
        value_parser = clap::value_parser!(u64).range(1..))]
    epoch: u64,
    /// Also write the image into this PNG file, pixel by pixel
    #[arg(long, value_name = "FILE")]
    png: Option<PathBuf>,
    #[command(flatten)]
    seed: SeedFlag,
    #[command(flatten)]
    data: DataFlag,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let settings = Settings::load()?;
    let augment = args.augment.as_deref().map(str::parse::<Augment>).transpose()?;
    args.png.iter().try_for_each(|path| check_file("--png", path))?;
    let set = data::open(settings.data(&args.data)?.as_deref())?;
    let shown = match augment {
        Some(augment) => augmented(&set, args, augment, settings.seed(&args.seed)?)?,
        None if args.seed.given().is_some() => {
            let fault = "--seed: nothing is drawn without --augment; leave it out";
            return Err(Error::Usage(fault.to_owned()));
        }
        None => show(&set, if args.test { Half::Test } else { Half::Train }, args.number)?,
    };
    if let Some(path) = &args.png {
        write_atomically(path, &png(shown.shape, &shown.pixels)?)?;
    }
    console::print(&shown.to_string())?;
    if let Some(path) = &args.png {
        console::note(&format!("the image is in {}", path.display()));
    }
    Ok(())
}

fn augmented(set: &Dataset, args: &Args, augment: Augment, seed: u64) -> Result<Shown> {
    augment.check_shape(Shape::Image(set.train.images.shape()))?;
    show_augmented(set, args.number, &Draws::new(augment, seed, args.epoch - 1))
}
