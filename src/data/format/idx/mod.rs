//! IDX, the format of MNIST and its successors: images and labels of each part in a file of their own,
//! raw or packed by gzip.

mod gzip;
pub(in crate::data) mod header;
mod names;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::form::Form;
use super::{Filed, FiledFile, FiledPart, Format, Listing, Look, Named, Opened, PLACES};
use crate::data::cache::Cache;
use crate::data::contents::Contents;
use crate::data::fashion_mnist::{FILES, Half};
use crate::data::images::Images;
use crate::{Error, Result};
use header::Header;

/// The entry in [`FORMATS`](super::FORMATS).
pub(super) struct Idx;

/// The images in a single file, packed or not.
///
/// # Errors
/// [`Error::Data`] if it does not hold images.
pub(in crate::data) fn images(path: &Path, cache: &Cache) -> Result<Images> {
    header::images(gzip::contents(Form::Images, path, cache)?)
}

impl Format for Idx {
    fn name(&self) -> &'static str {
        "IDX"
    }

    fn files(&self) -> &'static str {
        "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte, \
         packed or not"
    }

    fn recognise(&self, listing: &Listing) -> Vec<Filed> {
        let mut read: Vec<_> =
            listing.names.iter().filter_map(|name| Some((names::read(name)?, name))).collect();
        read.sort_by(|(a, _), (b, _)| a.order().cmp(&b.order()));
        let sets = read.chunk_by(|(a, _), (b, _)| a.prefix == b.prefix);
        let filed = |set: &[(Named, &String)]| {
            let prefix = &set[0].0.prefix;
            let file = |(half, form)| {
                let found = set.iter().find(|(named, _)| (named.half, named.form) == (half, form));
                let name = names::canonical(prefix, half, form);
                let found = match found {
                    Some(&(_, found)) => Ok(found.clone()),
                    None => Err(missing(listing, half, form)),
                };
                FiledFile { name, found }
            };
            Filed {
                format: &Idx,
                folder: listing.folder.clone(),
                prefix: prefix.clone(),
                files: PLACES.map(file).into(),
            }
        };
        sets.map(filed).collect()
    }

    fn look(&self, filed: &Filed, file: usize, cache: &Cache) -> Result<Look> {
        let (_, form) = PLACES[file];
        read(filed, file, cache, |contents| {
            // All labels are read: any of them may be bad.
            if form == Form::Labels {
                header::labels(&contents)?;
            }
            Ok(Look {
                dims: header::parsed(form, &contents)?.dims,
                is_official: Some(FILES[file].is_raw(&[&contents])),
                remark: contents.remark().map(str::to_owned),
            })
        })
    }

    fn open(&self, filed: &Filed, cache: &Cache) -> Result<Opened> {
        let part = |images: usize, labels: usize| -> Result<_> {
            let images = read(filed, images, cache, header::images)?;
            let labels = read(filed, labels, cache, |contents| header::labels(&contents))?;
            Ok(FiledPart { images, labels })
        };
        Ok(Opened { train: part(0, 1)?, test: part(2, 3)? })
    }
}

/// Applies `of` to the contents of a file.
fn read<T>(
    filed: &Filed,
    file: usize,
    cache: &Cache,
    of: impl FnOnce(Contents) -> Result<T>,
) -> Result<T> {
    let path = filed.path(file)?;
    let read = gzip::contents(PLACES[file].1, &path, cache).and_then(of);
    read.map_err(|error| match error {
        Error::Data { path, fault } if are_swapped(filed, file) => Error::data(
            path,
            format!("{fault}: images and labels are swapped, exchange the names of the two files"),
        ),
        other => other,
    })
}

/// Whether each of the two files of a part has the form of the other.
fn are_swapped(filed: &Filed, file: usize) -> bool {
    let front = |file: usize| {
        let path = filed.path(file).ok()?;
        if gzip::is_packed(&path).ok()? {
            return gzip::front(&path).ok();
        }
        let mut front = Vec::new();
        File::open(path).ok()?.take(Header::LONGEST as u64).read_to_end(&mut front).ok()?;
        Some(front)
    };
    let (_, form) = PLACES[file];
    let has_form = |file, form: Form| front(file).is_some_and(|front| Header::fits(form, &front));
    has_form(file, form.other()) && has_form(file ^ 1, form)
}

/// The message about a missing file of a set that has other files.
fn missing(listing: &Listing, half: Half, form: Form) -> String {
    let half = if half == Half::Train { ["train", "train"] } else { ["t10k", "test"] };
    // A name that nearly is one of this file's: `train-images-idx3-ubyte (1).gz`.
    let similar = listing.names.iter().find(|name| {
        let lower = name.to_lowercase();
        names::read(name).is_none()
            && lower.contains(form.noun())
            && half.iter().any(|half| lower.contains(half))
    });
    match similar {
        Some(name) => format!("not found, nor is its .gz; if {name:?} is it, give it this name"),
        None => "not found, nor is its .gz; put it there, or name another folder".to_owned(),
    }
}
