//! `threadcount predict`: of a table with a model of `regress`, or of images with a run's network or a model of `compare`.

use super::predict_images::{self, ImageFlags};
use super::regress::FormFlags;
use super::settings::{ComputeFlags, Settings};
use super::table;
use crate::console;
use crate::files::stream_atomically;
use crate::names::shortened;
use crate::tables::{Folder, PredictOptions, Predicted};
use crate::{Error, Result};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Folder of a run, file of a model that 'compare --save' has written, or folder that 'regress --out' has written
    #[arg(value_name = "MODEL|RUN")]
    model: PathBuf,
    /// Images (PNG, JPEG, IDX packed or not, .npy), or for a model of 'regress' one table (CSV); '-' reads standard
    /// input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// File for the predictions [default: stdout]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    images: ImageFlags,
    #[command(flatten)]
    table: TableFlags,
    #[command(flatten)]
    compute: ComputeFlags,
}

/// What is said of a table.
#[derive(clap::Args)]
struct TableFlags {
    /// Of a table: which model [default: the one with the smallest error]
    #[arg(long = "model", value_name = "NAME", id = "table_model")]
    model: Option<String>,
    /// Of a table: what becomes of rows with missing values: refuse, or empty (they get no prediction) [default: refuse]
    #[arg(long, value_name = "NAME")]
    missing: Option<String>,
    #[command(flatten)]
    form: FormFlags,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let settings = Settings::load()?;
    if Folder::is_at(&args.model) {
        args.images.check_unused()?;
        return of_table(args, &settings);
    }
    let TableFlags { model, missing, form } = &args.table;
    if model.is_some() || missing.is_some() || form.is_given() {
        return Err(Error::Usage(format!(
            "--model, --missing, --separator and --decimal are for tables, and {} is no folder of 'regress --out'",
            args.model.display()
        )));
    }
    let out = args.out.as_deref();
    predict_images::run(&args.model, &args.files, &args.images, out, &args.compute, &settings)
}

fn of_table(args: &Args, settings: &Settings) -> Result<()> {
    let TableFlags { model, missing, form } = &args.table;
    let options = PredictOptions {
        separator: form.separator()?,
        decimal: form.decimal()?,
        incomplete: missing.as_deref().map(str::parse).transpose()?.unwrap_or_default(),
    };
    let [file] = &args.files[..] else {
        return Err(Error::Usage(format!("{} tables: give one", args.files.len())));
    };
    let folder = Folder::open(&args.model)?;
    let name = model.as_deref().unwrap_or(folder.best());
    let pool = settings.pool(&args.compute)?;
    let mut model = folder.load(name, &pool)?;
    let encoding = folder.encoding();
    let input = Input::open(file, "table.csv")?;
    let mut write = |path: &Path, to: &mut dyn Write| {
        input.named(Predicted::write(
            (encoding, &mut model, &pool),
            input.path(),
            &options,
            (path, to),
        ))
    };
    let predicted = match &args.out {
        Some(path) => stream_atomically(path, |to| write(path, to))?,
        None => write(Path::new("stdout"), &mut io::stdout().lock())?,
    };
    for (column, rows) in &predicted.unseen {
        let column = shortened(column);
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
        shortened(&encoding.target)
    ));
    Ok(())
}

/// A file that is named, or a copy of standard input, since readers go through a file more than once.
pub(super) enum Input<'a> {
    File(&'a Path),
    Copy { path: PathBuf, _folder: TempDir },
}

/// What messages call standard input.
const STDIN: &str = "standard input";

impl<'a> Input<'a> {
    /// Opens a file; of standard input (`-`), makes a copy of that name.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read or copied.
    pub(super) fn open(path: &'a Path, name: &str) -> Result<Self> {
        if path.as_os_str() != "-" {
            return Ok(Self::File(path));
        }
        let folder = tempfile::tempdir().map_err(Error::io(std::env::temp_dir()))?;
        let path = folder.path().join(name);
        let mut copy = File::create(&path).map_err(Error::io(&path))?;
        io::copy(&mut io::stdin().lock(), &mut copy).map_err(Error::io(STDIN))?;
        Ok(Self::Copy { path, _folder: folder })
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Copy { path, .. } => path,
        }
    }

    /// What messages and results call it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Copy { .. } => STDIN.to_owned(),
        }
    }

    /// A result in which no error names the copy.
    pub(super) fn named<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| match (self, error) {
            (Self::Copy { path, .. }, Error::Data { path: of, fault }) if of == *path => {
                Error::data(STDIN, fault)
            }
            (_, error) => error,
        })
    }
}
