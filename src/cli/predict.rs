//! `threadcount predict`

use super::regress::FormFlags;
use super::settings::{ComputeFlags, Settings};
use super::table;
use crate::Result;
use crate::console;
use crate::files::stream_atomically;
use crate::tables::{Folder, PredictOptions, Predicted};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Folder that 'regress --out' has written
    folder: PathBuf,
    /// The table, a CSV file
    table: PathBuf,
    /// File for the table with its predictions [default: stdout]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Which model [default: the one with the smallest error]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// What becomes of rows with missing values: refuse, or empty (they get no prediction)
    #[arg(long, value_name = "NAME", default_value = "refuse")]
    missing: String,
    #[command(flatten)]
    form: FormFlags,
    #[command(flatten)]
    compute: ComputeFlags,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let settings = Settings::load()?;
    let options = PredictOptions {
        separator: args.form.separator()?,
        decimal: args.form.decimal()?,
        incomplete: args.missing.parse()?,
    };
    let folder = Folder::open(&args.folder)?;
    let name = args.model.as_deref().unwrap_or(folder.best());
    let pool = settings.pool(&args.compute)?;
    let mut model = folder.load(name, &pool)?;
    let encoding = folder.encoding();
    let mut write = |path: &Path, to: &mut dyn Write| {
        Predicted::write((encoding, &mut model, &pool), &args.table, &options, (path, to))
    };
    let predicted = match &args.out {
        Some(path) => stream_atomically(path, |to| write(path, to))?,
        None => write(Path::new("stdout"), &mut io::stdout().lock())?,
    };
    for (column, rows) in &predicted.unseen {
        console::warn(&format!(
            "{} of a category of '{column}' that was not trained on: it counts as none",
            table::count(*rows, "row")
        ));
    }
    if predicted.empty > 0 {
        console::warn(&format!(
            "{} with a missing value: no prediction",
            table::count(predicted.empty, "row")
        ));
    }
    console::note(&format!(
        "{} predicted by {name}: column 'predicted_{}'",
        table::count(predicted.rows - predicted.empty, "row"),
        encoding.target
    ));
    Ok(())
}
