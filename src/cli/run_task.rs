//! The task of a run that was started before: a recipe named with `--resume` has to have the same one.

use std::path::Path;

use crate::reports::Recipe;
use crate::train::{Changes, Task};
use crate::{Error, Result};

/// Refuses a recipe or a file whose task, with the same options, is not `was`, that of the run in `folder`:
/// the run goes on with its own.
///
/// # Errors
/// [`Error::Usage`] with the first key that differs, and both of its values.
pub(super) fn check_task(
    named: &Recipe,
    was: &Task,
    wanted: &Changes,
    folder: &Path,
) -> Result<()> {
    let changes = Changes { epochs: None, ..wanted.clone() };
    // Options that do not fit this task fit `was`, so the two differ anyway.
    let mut task = changes.apply(named.task.clone()).unwrap_or_else(|_| named.task.clone());
    // Which precision a run goes on in is a setting, checked with the others.
    task.precision = was.precision;
    // A built-in recipe's epochs were not written for this run.
    if wanted.epochs.is_some() || named.file.is_none() {
        task.epochs = was.epochs;
    }
    let Some(difference) = task.difference(was)? else { return Ok(()) };
    let (shown, what) = match &named.file {
        Some(file) => (file.display().to_string(), "file"),
        None => (named.id.to_string(), "recipe"),
    };
    let mend = match difference.key.as_str() {
        "epochs" => {
            format!("give --epochs {} to train as many, or leave the file out", task.epochs)
        }
        _ => {
            format!("leave the {what} out to go on with what the run has, or start another run")
        }
    };
    let folder = folder.display();
    Err(Error::Usage(format!("{shown}: {difference} when {folder} was started; {mend}")))
}
