//! NumPy's arrays: images and labels of each part in a `.npy` file (or a `.npz` archive with one array) of
//! their own, or all four in one archive, as Keras ships MNIST and as MedMNIST is shipped.

mod array;
mod floats;
mod header;
mod names;

use super::{Filed, FiledFile, FiledPart, Format, Listing, Look, Named, Opened, PLACES};
use crate::Result;
use crate::data::cache::Cache;
use crate::data::format::form::Form;
use crate::data::images::Images;
pub(crate) use floats::{read_npz, write_npz};

use array::{Array, arrays_of};
use std::path::Path;

/// The entry in [`FORMATS`](super::FORMATS).
pub(super) struct NumPy;

/// The names for the four arrays in messages, in the order of [`PLACES`].
const CANONICAL: [&str; 4] = ["x_train", "y_train", "x_test", "y_test"];

impl Format for NumPy {
    fn name(&self) -> &'static str {
        "NumPy"
    }

    fn files(&self) -> &'static str {
        "x_train.npy, y_train.npy, x_test.npy, y_test.npy, or these arrays in one .npz"
    }

    fn recognise(&self, listing: &Listing) -> Vec<Filed> {
        let mut read: Vec<_> =
            listing.names.iter().filter_map(|name| Some((names::read_file(name)?, name))).collect();
        read.sort_by(|(a, _), (b, _)| a.order().cmp(&b.order()));
        let filed = |prefix: &str, files| Filed {
            format: &NumPy,
            folder: listing.folder.clone(),
            prefix: prefix.to_owned(),
            files,
        };
        let of_several = |set: &[(Named, &String)]| {
            let file = |(place, canonical): (_, &str)| {
                let found = set.iter().find(|(named, _)| (named.half, named.form) == place);
                let missing = || "not found; put it there, or name another folder".to_owned();
                FiledFile {
                    name: format!("{}{canonical}.npy", set[0].0.prefix),
                    found: found.map(|&(_, name)| name.clone()).ok_or_else(missing),
                }
            };
            let files = PLACES.into_iter().zip(CANONICAL).map(file).collect();
            filed(&set[0].0.prefix, files)
        };
        let of_one = |(stem, name): (&str, &String)| {
            let found = four_in(&listing.folder.join(name)).map(|_| name.clone());
            filed(&format!("{stem}-"), vec![FiledFile { name: name.clone(), found }])
        };
        let several = read.chunk_by(|(a, _), (b, _)| a.prefix == b.prefix).map(of_several);
        let archives = listing.names.iter().filter_map(|name| Some((names::archive(name)?, name)));
        several.chain(archives.map(of_one)).collect()
    }

    fn look(&self, filed: &Filed, file: usize, cache: &Cache) -> Result<Look> {
        let arrays = arrays(filed)?;
        let looked_at = match filed.files.len() {
            1 => 0..PLACES.len(),
            _ => file..file + 1,
        };
        let mut looks = Vec::new();
        for i in looked_at {
            let remark = match PLACES[i].1 {
                Form::Images => arrays[i].images(cache)?.remark().map(str::to_owned),
                // All labels are read: any of them may be bad.
                Form::Labels => arrays[i].labels()?.remark,
            };
            looks.push((arrays[i].dims(PLACES[i].1)?, remark));
        }
        let dims = looks[0].0.clone();
        Ok(Look {
            dims,
            is_official: None,
            remark: looks.into_iter().find_map(|(_, remark)| remark),
        })
    }

    fn open(&self, filed: &Filed, cache: &Cache) -> Result<Opened> {
        let [x_train, y_train, x_test, y_test] = arrays(filed)?;
        let part = |images: Array, labels: Array| -> Result<_> {
            Ok(FiledPart { images: images.images(cache)?, labels: labels.labels()? })
        };
        Ok(Opened { train: part(x_train, y_train)?, test: part(x_test, y_test)? })
    }
}

/// The images in a single file.
///
/// # Errors
/// [`crate::Error::Data`] if it does not hold images.
pub(in crate::data) fn images(path: &Path, cache: &Cache) -> Result<Images> {
    Array::only_one_in(path.to_owned())?.images(cache)
}

/// Where the four arrays of a set are.
fn arrays(filed: &Filed) -> Result<[Array; 4]> {
    if filed.files.len() == 1 {
        let path = filed.path(0)?;
        return four_in(&path).map_err(|fault| crate::Error::data(path, fault));
    }
    let mut arrays = Vec::new();
    for file in 0..PLACES.len() {
        arrays.push(Array::only_one_in(filed.path(file)?)?);
    }
    Ok(arrays.try_into().expect("four files"))
}

/// The four arrays of a set in one archive.
fn four_in(path: &Path) -> std::result::Result<[Array; 4], String> {
    let names = arrays_of(path)?;
    let mut read: Vec<_> =
        names.iter().filter_map(|name| Some((names::read(name)?, name))).collect();
    // Without a prefix first: `x_train` before `augmented_x_train`.
    read.sort_by(|(a, _), (b, _)| a.order().cmp(&b.order()));
    let first = read.first().map(|(named, _)| named.prefix.clone());
    let called = |(place, canonical): (_, &'static str)| {
        let is = |named: &Named| {
            (named.half, named.form) == place && Some(&named.prefix) == first.as_ref()
        };
        match read.iter().find(|(named, _)| is(named)) {
            Some(&(_, name)) => Ok(name.clone()),
            None => Err(canonical),
        }
    };
    let found = PLACES.into_iter().zip(CANONICAL).map(called);
    let found: Vec<String> = found.collect::<std::result::Result<_, _>>().map_err(|missing| {
        format!(
            "has no array {missing} (it holds {}); name the arrays {}",
            names::list(&names),
            CANONICAL.join(", ")
        )
    })?;
    let unused: Vec<_> = names.iter().filter(|name| !found.contains(name)).cloned().collect();
    let remark =
        (!unused.is_empty()).then(|| format!("not used of the archive: {}", names::list(&unused)));
    let arrays = found.into_iter().enumerate().map(|(i, name)| Array {
        path: path.to_owned(),
        name: Some(name),
        // One remark per set.
        remark: remark.clone().filter(|_| i == 1),
    });
    Ok(arrays.collect::<Vec<_>>().try_into().expect("four arrays"))
}
