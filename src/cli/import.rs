//! `threadcount data import`

use super::progress::{Bar, Unit};
use super::settings::{SeedFlag, Settings};
use super::table::Table;
use super::{interrupt, table};
use crate::Result;
use crate::console;
use crate::data::pictures::{
    CLASSES_FILE, ClassCount, Colours, Import, ImportEvent, Imported, Tones,
};
use serde::Serialize;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Pictures between two lines of progress where there is no bar.
const STEP: usize = 10_000;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Folder of the pictures: DIR/CLASS/*.png, or DIR/train/CLASS/*.png and DIR/test/CLASS/*.png
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Folder for the set; nothing may be in it
    out: PathBuf,
    /// Size of an image in pixels: its side, or HEIGHTxWIDTH. Pictures are stretched to it
    #[arg(long, value_name = "HxW", default_value = "28", value_parser = size)]
    size: [usize; 2],
    /// Keep the colours: three channels
    #[arg(long)]
    color: bool,
    /// Exchange light and dark: MNIST has light strokes on black
    #[arg(long)]
    invert: bool,
    /// Share of each class to test on [default: 1/7]
    #[arg(long, value_name = "SHARE")]
    test_fraction: Option<f64>,
    #[command(flatten)]
    seed: SeedFlag,
    /// Print one JSON document instead
    #[arg(long)]
    json: bool,
}

fn size(text: &str) -> std::result::Result<[usize; 2], String> {
    let (height, width) = text.split_once('x').unwrap_or((text, text));
    match (height.parse(), width.parse()) {
        (Ok(height), Ok(width)) => Ok([height, width]),
        _ => Err("write it as 28, or as 32x24 (height x width)".to_owned()),
    }
}

#[derive(Serialize)]
struct Document<'a> {
    origin: &'a Path,
    folder: &'a Path,
    #[serde(flatten)]
    imported: &'a Imported,
    train: usize,
    test: usize,
    unreadable: usize,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let import = Import {
        size: args.size,
        colours: if args.color { Colours::Rgb } else { Colours::Grey },
        tones: if args.invert { Tones::Inverted } else { Tones::Kept },
        seed: Settings::load()?.seed(&args.seed)?,
        test_fraction: args.test_fraction,
        ..Import::new(&args.folder, &args.out)
    };
    interrupt::listen("stopping, nothing is written");
    let mut progress = Progress::default();
    let imported = import.run(&mut |event| progress.watch(event));
    drop(progress);
    let imported = imported?;
    if imported.unfiled > 0 {
        console::warn(&format!(
            "{} beside the folders of classes: they are in no class, and were left out",
            table::count(imported.unfiled, "picture")
        ));
    }
    console::print(&match args.json {
        true => table::json(&Document {
            origin: &args.folder,
            folder: &args.out,
            train: imported.sum(|class| class.train),
            test: imported.sum(|class| class.test),
            unreadable: imported.sum(|class| class.unreadable),
            imported: &imported,
        })?,
        false => text(&imported, &args.out),
    })
}

fn text(imported: &Imported, out: &Path) -> String {
    let mut rows =
        Table::new(&["label", "class", "training", "test", "unreadable"], &["label", "class"]);
    let total = ClassCount {
        name: "all".to_owned(),
        train: imported.sum(|class| class.train),
        test: imported.sum(|class| class.test),
        unreadable: imported.sum(|class| class.unreadable),
    };
    let labelled = imported.classes.iter().enumerate().map(|(label, row)| (label.to_string(), row));
    for (label, row) in labelled.chain([(String::new(), &total)]) {
        let [train, test, unreadable] =
            [row.train, row.test, row.unreadable].map(|n| table::grouped(n as u64));
        rows.add_row([label, row.name.clone(), train, test, unreadable]);
    }
    let Imported { height, width, channels, .. } = imported;
    let form = match channels {
        1 => "grey",
        _ => "red, green, blue",
    };
    let mut text = format!(
        "{}: images of {height}x{width} pixels, {form}; names of classes in {CLASSES_FILE}\n\n{}\n",
        out.display(),
        rows
    );
    if !imported.skipped.is_empty() {
        let kinds: Vec<_> =
            imported.skipped.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let count: usize = imported.skipped.values().sum();
        text += &format!("skipped: {} ({})\n", table::count(count, "other file"), kinds.join(", "));
    }
    text
}

/// A bar on a terminal, and plain lines elsewhere.
#[derive(Default)]
struct Progress {
    bar: Option<Bar>,
    said: usize,
}

impl Progress {
    fn watch(&mut self, event: ImportEvent<'_>) -> ControlFlow<()> {
        match event {
            ImportEvent::Found { pictures, classes } => {
                let pictures_found = table::count(pictures, "picture");
                let classes =
                    if classes == 1 { "1 class".to_owned() } else { format!("{classes} classes") };
                let bar = Bar::new("reading pictures", pictures as u64, Unit::Pieces);
                self.bar = Some(bar.or_note(&format!("reading {pictures_found} of {classes}")));
            }
            ImportEvent::Read(count) => {
                let Some(bar) = &mut self.bar else { return interrupt::go_on() };
                bar.set(count as u64);
                if count >= self.said + STEP && !bar.is_drawn() {
                    self.said = count;
                    console::note(&format!("{count} read"));
                }
            }
            ImportEvent::Writing => {}
            ImportEvent::Unreadable { path, fault } => {
                let warn = || console::warn(&format!("{}: {fault}; left out", path.display()));
                match &self.bar {
                    Some(bar) => bar.aside(warn),
                    None => warn(),
                }
            }
        }
        interrupt::go_on()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size("28"), Ok([28, 28]));
        assert_eq!(size("32x24"), Ok([32, 24]));
        for bad in ["", "x", "28x", "2.5", "-3", "1x2x3"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
