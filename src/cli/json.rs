//! The option `--json FILE` of the commands whose results take minutes.

use crate::console;
use crate::files::write_atomically;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Where the results go besides the table.
#[derive(clap::Args, Clone, Debug)]
pub struct JsonFlag {
    /// Also write the results as one JSON document; '-' prints it instead of the table
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Checks that a file which a flag names can be written.
///
/// # Errors
/// [`Error::Usage`] or [`Error::Io`] if it cannot.
pub(super) fn check_file(flag: &str, path: &Path) -> Result<()> {
    if path.is_dir() {
        return Err(Error::Usage(format!("{flag} {}: a folder, not a file", path.display())));
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    tempfile::tempfile_in(folder).map(drop).map_err(Error::io(path))
}

impl JsonFlag {
    /// Checks before minutes of work, not after, that the results can be written.
    ///
    /// # Errors
    /// [`Error::Usage`] or [`Error::Io`] if they cannot.
    pub fn check(&self) -> Result<()> {
        match self.json.as_deref().filter(|path| path.as_os_str() != "-") {
            None => Ok(()),
            Some(path) => check_file("--json", path),
        }
    }

    /// Prints the table, and writes the document to its file; or prints the document.
    ///
    /// # Errors
    /// [`Error::Io`] if either cannot be written.
    pub fn put(&self, json: &str, table: &str) -> Result<()> {
        match &self.json {
            Some(path) if path.as_os_str() == "-" => console::print(json),
            Some(path) => {
                write_atomically(path, json.as_bytes())?;
                console::print(table)
            }
            None => console::print(table),
        }
    }
}
