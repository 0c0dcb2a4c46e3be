//! The data of a run that was started before, which its record names.

use super::data;
use super::settings::{DataFlag, Settings};
use crate::console;
use crate::data::{Dataset, Source, Split, measures};
use crate::train::{DataRecord, Record};
use crate::{Error, Result};
use std::path::{PathBuf, absolute};
use std::sync::Arc;

/// What to do with other data than the run's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Other {
    /// The run cannot go on with them.
    Refused,
    /// Its model may be tried on them, if `--data` names them.
    Tried,
}

/// The samples, and what they are.
pub(super) struct RunData {
    pub(super) split: Split,
    pub(super) facts: DataRecord,
}

/// The set that `--data` names; without it the folder of the record, whatever the environment and
/// `threadcount.toml` say: they are about new runs. Only if that folder no longer has the run's data, the
/// same data are looked for elsewhere.
///
/// # Errors
/// [`Error::Data`] if there are no such data, or the network does not fit those that were named.
pub(super) fn of_run(
    record: &Record,
    flag: &DataFlag,
    settings: &Settings,
    other: Other,
) -> Result<RunData> {
    let was = &record.data;
    if let Some(folder) = &flag.data {
        let found = take(record, data::open(Some(folder))?)?;
        if found.facts.sha256 == was.sha256 {
            return Ok(found);
        }
        check_form(was, &found.facts)?;
        let said = format!(
            "other data ({}, from {}) than these ({}, from {})",
            was.identity,
            was.origin.display(),
            found.facts.identity,
            found.facts.origin.display()
        );
        if other == Other::Refused {
            return Err(Error::data(
                folder,
                format!("the run was trained on {said}; leave --data out"),
            ));
        }
        console::warn(&format!("the model was trained on {said}"));
        return Ok(found);
    }
    let mut first_fault = None;
    for place in [Place::Record, Place::Settings, Place::Default] {
        let Some(folder) = place.folder(was, settings)? else { continue };
        let found = data::open(Some(&folder)).and_then(|dataset| take(record, dataset));
        match found {
            Ok(found) if found.facts.sha256 == was.sha256 => return Ok(found),
            Ok(_) => first_fault.get_or_insert("other data are there now".to_owned()),
            Err(error) => first_fault.get_or_insert(error.to_string()),
        };
    }
    Err(Error::data(
        &was.origin,
        format!(
            "the data of this run ({}) were here, and cannot be found ({}); name their folder with --data",
            was.identity,
            first_fault.unwrap_or_default()
        ),
    ))
}

/// Where the run's data may be, in the order of the search.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// The folder of the record.
    Record,
    /// What the environment or `threadcount.toml` names.
    Settings,
    /// The places where data are looked for by default.
    Default,
}

impl Place {
    fn folder(self, was: &DataRecord, settings: &Settings) -> Result<Option<PathBuf>> {
        match self {
            Self::Record => Ok(Some(was.origin.clone())),
            Self::Settings => settings.data(&DataFlag::default()),
            Self::Default => {
                let places = data::user_places(None);
                let Ok(location) = places.locate() else { return Ok(None) };
                if location.source != Source::Synthetic {
                    return Ok(Some(location.folder));
                }
                // The synthetic set is drawn again, if the run was trained on it.
                let is_it = absolute(&location.folder).is_ok_and(|folder| folder == was.origin);
                is_it.then(|| Ok(data::open_places(&places)?.origin.clone())).transpose()
            }
        }
    }
}

fn take(record: &Record, dataset: Arc<Dataset>) -> Result<RunData> {
    let dataset = record.data.number(dataset)?;
    let split = data::split(&record.task.selection, &dataset, record.seed)?;
    Ok(RunData { facts: DataRecord::of(&dataset, &split), split })
}

/// Refuses data whose shape the network has no inputs for.
fn check_form(was: &DataRecord, now: &DataRecord) -> Result<()> {
    let refuse = |fault| Err(Error::data(&now.origin, fault));
    if now.sample != was.sample {
        return refuse(format!(
            "its images measure {}, the model was trained on {}",
            measures(&now.sample),
            measures(&was.sample)
        ));
    }
    Ok(())
}
