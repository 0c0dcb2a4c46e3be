//! What a folder of pictures holds: classes and their pictures, in an order that does not depend on the
//! file system.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};

use super::Import;
use crate::data::{Half, MOST_CLASSES};
use crate::{Error, Result};

/// File name endings of pictures, in lower case.
const PICTURES: [&str; 3] = ["png", "jpg", "jpeg"];
/// Names of the folder with the classes of the training part.
const TRAIN: [&str; 2] = ["train", "training"];
/// Names of the folder with the classes of the test part.
const TEST: [&str; 6] = ["test", "testing", "t10k", "val", "valid", "validation"];

/// A picture, by its name.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) path: PathBuf,
    pub(super) class: u8,
    /// The part that it is in, where the folder is divided into parts.
    pub(super) half: Option<Half>,
}

/// All that was found.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// In the order of their names as text: `10` comes before `2`.
    pub(super) classes: Vec<String>,
    /// By class, part and name.
    pub(super) pictures: Vec<Picture>,
    /// As in [`Imported`](super::Imported).
    pub(super) skipped: BTreeMap<String, usize>,
    pub(super) unfiled: usize,
}

pub(super) fn list(import: &Import) -> Result<Listing> {
    let root = &import.folder;
    let mut listing = Listing::default();
    let folders = listing.folders(root)?;
    let parts = parts(root, &folders)?;
    if parts.is_some() && import.test_fraction.is_some() {
        return Err(Error::Setting {
            name: "test-fraction",
            fault: format!(
                "{} is cut into training and test pictures already: leave it out, or import a folder \
                 that holds the classes themselves",
                root.display()
            ),
        });
    }
    let mut found: Vec<(String, Option<Half>, PathBuf)> = Vec::new();
    match parts {
        None => found.extend(folders.into_iter().map(|(name, path)| (name, None, path))),
        Some(parts) => {
            for (half, part) in parts {
                let classes = listing.folders(&part)?;
                found.extend(classes.into_iter().map(|(name, path)| (name, Some(half), path)));
            }
        }
    }
    let names: BTreeSet<String> = found.iter().map(|(name, ..)| name.clone()).collect();
    listing.classes = names.into_iter().collect();
    listing.check(root, &found)?;
    for (name, half, folder) in found {
        let class = listing.classes.binary_search(&name).unwrap_or_default() as u8;
        let mut paths = Vec::new();
        listing.walk(&folder, &mut HashSet::new(), &mut paths)?;
        paths.sort();
        listing.pictures.extend(paths.into_iter().map(|path| Picture { path, class, half }));
    }
    // With a folder for each part, one part's pictures came after the other's.
    listing.pictures.sort_by_key(|picture| picture.class);
    if u32::try_from(listing.pictures.len()).is_err() {
        return Err(Error::data(
            root,
            format!("holds more than {} pictures: import fewer", u32::MAX),
        ));
    }
    Ok(listing)
}

/// The folders of the training and the test part, if `root` holds these and not the classes themselves.
fn parts(root: &Path, folders: &[(String, PathBuf)]) -> Result<Option<[(Half, PathBuf); 2]>> {
    let is_part = |name: &String| [&TRAIN[..], &TEST].concat().contains(&&*name.to_lowercase());
    if folders.is_empty() || !folders.iter().all(|(name, _)| is_part(name)) {
        return Ok(None);
    }
    for (_, path) in folders {
        // Classes that happen to have such names hold pictures, not folders.
        if Listing::default().folders(path)?.is_empty() {
            return Ok(None);
        }
    }
    let of = |names: &[&str]| -> Vec<_> {
        folders.iter().filter(|(name, _)| names.contains(&&*name.to_lowercase())).collect()
    };
    match (&of(&TRAIN)[..], &of(&TEST)[..]) {
        ([(_, train)], [(_, test)]) => {
            Ok(Some([(Half::Train, train.clone()), (Half::Test, test.clone())]))
        }
        _ => {
            let names: Vec<_> = folders.iter().map(|(name, _)| format!("'{name}'")).collect();
            Err(Error::data(
                root,
                format!(
                    "its classes are in {}, where a set has one training part and one test part: name \
                     one of these folders, or leave one of each kind",
                    names.join(", ")
                ),
            ))
        }
    }
}

impl Listing {
    /// Folders of `root` in the order of [`entries`], by name; other entries are counted.
    fn folders(&mut self, root: &Path) -> Result<Vec<(String, PathBuf)>> {
        let mut folders = Vec::new();
        for entry in entries(root)? {
            let path = entry.path();
            if is_hidden(&path) || !path.is_dir() {
                match is_picture(&path) && !is_hidden(&path) {
                    true => self.unfiled += 1,
                    false => self.skip(&path),
                }
                continue;
            }
            match entry.file_name().into_string() {
                Ok(name) if !name.contains(['\n', '\r']) => folders.push((name, path)),
                _ => {
                    return Err(Error::data(
                        path,
                        "the name of a class has to be UTF-8 in one line: rename the folder",
                    ));
                }
            }
        }
        Ok(folders)
    }

    /// Refuses a folder that cannot become a set, whatever is in its files.
    fn check(&self, root: &Path, found: &[(String, Option<Half>, PathBuf)]) -> Result<()> {
        let fault = match (self.classes.len(), found) {
            (0, _) if self.unfiled > 0 => format!(
                "its {} pictures are in no class: put those of each class into a folder of its name",
                self.unfiled
            ),
            (0, _) => "holds no folders: put the pictures of each class into a folder of its name \
                       and name the folder of these"
                .to_owned(),
            (1, [(name, _, path), ..]) => match Self::default().folders(path)?.is_empty() {
                true => format!(
                    "holds one class, '{name}', where there is nothing to tell apart: add the \
                     folder of another"
                ),
                false => {
                    format!(
                        "holds one class, '{name}': if its folders are, name {}",
                        path.display()
                    )
                }
            },
            (n, _) if n > MOST_CLASSES => format!(
                "holds {n} folders, where labels number {MOST_CLASSES} classes at most: import fewer"
            ),
            _ => return Ok(()),
        };
        Err(Error::data(root, fault))
    }

    /// The pictures of `folder` and below.
    fn walk(
        &mut self,
        folder: &Path,
        seen: &mut HashSet<PathBuf>,
        paths: &mut Vec<PathBuf>,
    ) -> Result<()> {
        // Following a link that leads back up would never end.
        let real = folder.canonicalize().map_err(not_listed(folder))?;
        if !seen.insert(real) {
            self.skip(folder);
            return Ok(());
        }
        for entry in entries(folder)? {
            let path = entry.path();
            if is_hidden(&path) {
                self.skip(&path);
            } else if path.is_dir() {
                self.walk(&path, seen, paths)?;
            } else if is_picture(&path) {
                paths.push(path);
            } else {
                self.skip(&path);
            }
        }
        Ok(())
    }

    fn skip(&mut self, path: &Path) {
        let kind = match path.extension() {
            _ if is_hidden(path) => "hidden".to_owned(),
            _ if path.is_dir() => "link back".to_owned(),
            Some(extension) => format!(".{}", extension.to_string_lossy().to_lowercase()),
            None => "no extension".to_owned(),
        };
        *self.skipped.entry(kind).or_default() += 1;
    }
}

fn entries(folder: &Path) -> Result<Vec<DirEntry>> {
    let mut entries = fs::read_dir(folder)
        .and_then(Iterator::collect::<std::io::Result<Vec<_>>>)
        .map_err(not_listed(folder))?;
    // Which of two links to one folder counts must not depend on the file system.
    entries.sort_by_key(DirEntry::file_name);
    Ok(entries)
}

fn not_listed(folder: &Path) -> impl FnOnce(std::io::Error) -> Error {
    move |source| {
        let mend = match source.kind() {
            std::io::ErrorKind::NotFound => "check the path",
            std::io::ErrorKind::NotADirectory => "name the folder that holds the classes",
            _ => "check its owner and mode",
        };
        Error::data(folder, format!("cannot be listed ({source}): {mend}"))
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn is_picture(path: &Path) -> bool {
    path.extension()
        .is_some_and(|end| PICTURES.iter().any(|picture| end.eq_ignore_ascii_case(picture)))
}
