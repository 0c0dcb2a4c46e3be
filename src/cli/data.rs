//! `threadcount data`

use super::progress::{Bar, Unit};
use super::settings::{DataFlag, SeedFlag, Settings};
use super::{import, show, table};
use crate::console;
use crate::data::{
    Cache, CacheWork, Dataset, Fetch, FetchEvent, Identity, Location, Made, Missing, Places,
    Selection, Source, Split, exit_on_lost_pages,
};
use crate::files::stream_atomically;
use crate::tables::flights;
use crate::{Error, Result};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The most classes that a warning names.
const MOST_SHOWN: usize = 10;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Download Fashion-MNIST (30 MB) into the cache folder, or into --into
    Fetch {
        /// Folder to put the files into
        #[arg(long, value_name = "DIR")]
        into: Option<PathBuf>,
    },
    /// Make a data set from a folder of pictures (PNG, JPEG): one folder per class
    Import(import::Args),
    /// Draw a table of flights and their prices, as CSV, by a known rule
    Flights {
        /// Rows
        #[arg(long, value_name = "N", default_value_t = flights::ROWS as u64)]
        rows: u64,
        /// File for the table [default: stdout]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        seed: SeedFlag,
    },
    /// Check the files: form, sizes, checksums
    Verify(DataFlag),
    /// Print the folder that is used
    Path(DataFlag),
    /// Print an image as text, or write it as PNG
    Show(show::Args),
}

impl Command {
    pub(super) fn run(&self) -> Result<()> {
        match self {
            Self::Fetch { into } => fetch(into.clone()),
            Self::Import(args) => import::run(args),
            Self::Flights { rows, out, seed } => draw_flights(*rows, out.as_deref(), seed),
            Self::Verify(data) => {
                exit_on_lost_pages()?;
                let found = places(data)?.verify()?;
                console::print(&found.to_string())?;
                found.into_result()
            }
            Self::Path(data) => path(data),
            Self::Show(args) => show::run(args),
        }
    }
}

/// A line that says that these are other images than Fashion-MNIST's, and which.
pub(super) fn other_images(dataset: &Dataset) -> String {
    let what = match dataset.identity {
        Identity::Synthetic => "drawn, synthetic images",
        _ => "other images",
    };
    format!("NOT FASHION-MNIST: these are {what}, from {}.\n", dataset.origin.display())
}

fn draw_flights(rows: u64, out: Option<&Path>, seed: &SeedFlag) -> Result<()> {
    let seed = Settings::load()?.seed(seed)?;
    // Not between the rows on a terminal.
    let is_shown = out.is_some() || !io::stdout().is_terminal();
    let mut bar = is_shown.then(|| Bar::new("drawing flights", rows, Unit::Pieces));
    let mut watch = |drawn| bar.iter_mut().for_each(|bar| bar.set(drawn));
    match out {
        Some(path) => {
            let write = |to: &mut dyn Write| {
                flights::write(to, rows, seed, &mut watch).map_err(Error::io(path))
            };
            stream_atomically(path, write)?;
            drop(bar);
            console::note(&format!("{rows} drawn flights are in {}", path.display()));
            Ok(())
        }
        None => {
            let mut stdout = BufWriter::new(io::stdout().lock());
            let written = flights::write(&mut stdout, rows, seed, &mut watch);
            let written = written.and_then(|()| stdout.flush());
            written.map_err(Error::io("stdout"))
        }
    }
}

fn places(data: &DataFlag) -> Result<Places> {
    Ok(user_places(Settings::load()?.data(data)?.as_deref()))
}

/// The places of the user; what the cache does for long is shown.
pub(super) fn user_places(folder: Option<&Path>) -> Places {
    Places { cache: user_cache(), ..Places::user(folder) }
}

/// Unpacking that many bytes takes about a second: it is told where there is no bar.
const LONG: u64 = 100 << 20;

/// The user's cache; what it does for long is shown.
pub(super) fn user_cache() -> Cache {
    let shown: Mutex<Option<Bar>> = Mutex::new(None);
    Cache::user().watched(move |CacheWork { made, done, total }| {
        let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
        if done == 0 {
            *shown = Some(match made {
                Made::Drawn => Bar::new("drawing the synthetic set", total, Unit::Pieces),
                Made::Unpacked(path) => unpacking(path, total),
            });
        }
        shown.iter_mut().for_each(|bar| bar.set(done));
        if done >= total {
            *shown = None;
        }
    })
}

fn unpacking(path: &Path, total: u64) -> Bar {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let bar = Bar::new(&format!("unpacking {name}"), total, Unit::Bytes);
    match total {
        LONG.. => bar.or_note(&format!("unpacking {} ({})", path.display(), table::bytes(total))),
        _ => bar,
    }
}

fn fetch(into: Option<PathBuf>) -> Result<()> {
    let into = match into {
        Some(folder) => folder,
        None => Cache::user().fashion_mnist()?,
    };
    let mut bar = None;
    let fetched = Fetch::official(into.clone()).run(&mut |event| tell(event, &mut bar))?;
    console::print(&format!(
        "Fashion-MNIST is in {}: {} files downloaded, {} there already\n",
        into.display(),
        fetched.downloaded,
        fetched.kept
    ))
}

/// A bar on a terminal, and plain lines elsewhere.
fn tell(event: FetchEvent<'_>, bar: &mut Option<Bar>) {
    match event {
        FetchEvent::Kept(wanted) => {
            console::note(&format!("{}: there already, checksum good", wanted.name));
        }
        FetchEvent::Begun(wanted) => {
            let line = format!("{}: downloading {}", wanted.name, table::bytes(wanted.len));
            *bar = Some(Bar::new(&wanted.name, wanted.len, Unit::Bytes).or_note(&line));
        }
        FetchEvent::Received(bytes) => bar.iter_mut().for_each(|bar| bar.set(bytes)),
        FetchEvent::Ended => *bar = None,
        FetchEvent::PassedOver { mirror, wanted, fault } => {
            // A mirror may have broken off.
            *bar = None;
            console::warn(&format!("{mirror}/{}: {fault}", wanted.name));
        }
    }
}

/// The set that a command works on: the user's, with a warning of whatever was odd about it, or the synthetic
/// one, which is announced. From here on, a data file that is cut short ends the program with a line that
/// says why.
///
/// # Errors
/// As [`Places::open`].
pub fn open(folder: Option<&Path>) -> Result<Arc<Dataset>> {
    open_places(&user_places(folder))
}

/// Like [`open`], from these places.
///
/// # Errors
/// As [`Places::open`].
pub fn open_places(places: &Places) -> Result<Arc<Dataset>> {
    exit_on_lost_pages()?;
    let Location { folder, source } = places.locate()?;
    if source == Source::Synthetic && !folder.exists() {
        console::note(&format!(
            "threadcount: drawing the synthetic set into {} (once)",
            folder.display()
        ));
    }
    let dataset = places.open()?;
    dataset.remarks().iter().for_each(|remark| console::warn(remark));
    if dataset.identity == Identity::Synthetic {
        console::warn(&format!(
            "THIS IS NOT FASHION-MNIST but a synthetic set of drawn garments ({}); results on it say \
             nothing about the reports' claims. Get the real set with `threadcount data fetch`, or \
             name its folder with --data",
            dataset.origin.display()
        ));
    }
    Ok(dataset)
}

/// The samples of a selection, with a warning about classes that are missing in a part after the split.
///
/// # Errors
/// As [`Selection::apply`].
pub fn split(selection: &Selection, dataset: &Arc<Dataset>, seed: u64) -> Result<Split> {
    let split = selection.apply(dataset, seed)?;
    for Missing { parts, classes } in split.missing() {
        let part = parts.join(" or ");
        let shown: Vec<_> = classes.iter().take(MOST_SHOWN).map(String::as_str).collect();
        let more = match classes.len() - shown.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let means = match parts.contains(&"training") {
            true => "the network cannot learn them; shuffle the set, or take a recipe that does",
            false => "what is measured there says nothing of them",
        };
        console::warn(&format!(
            "no {part} sample is of {}{more} ({} of {} classes): {means}",
            shown.join(", "),
            classes.len(),
            split.train.classes()
        ));
    }
    Ok(split)
}

fn path(data: &DataFlag) -> Result<()> {
    let location = places(data)?.locate()?;
    console::note(match location.source {
        Source::Explicit => "the folder that was named",
        Source::Local => "the folder below this one",
        Source::Cached => "the cache, filled by 'threadcount data fetch'",
        Source::Synthetic => "no data found: the synthetic set, drawn when it is first used",
    });
    console::print(&format!("{}\n", location.folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::fetch::Wanted;

    /// A file has a bar while it is being received, however that ends.
    #[test]
    fn a_download_has_a_bar_while_it_lasts() {
        let wanted = Wanted { name: "file.gz".to_owned(), len: 30, sha256: String::new() };
        let mut bar = None;
        let mut is_shown = |event: FetchEvent<'_>| {
            tell(event, &mut bar);
            bar.is_some()
        };
        assert!(!is_shown(FetchEvent::Kept(&wanted)));
        for end in [
            FetchEvent::Ended,
            FetchEvent::PassedOver { mirror: "m", wanted: &wanted, fault: "broke off" },
        ] {
            assert!(is_shown(FetchEvent::Begun(&wanted)) && is_shown(FetchEvent::Received(10)));
            assert!(!is_shown(end));
        }
    }
}
