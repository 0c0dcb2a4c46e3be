//! The classes of a set: which labels it has, and what they are called.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::dataset::Identity;
use super::fashion_mnist::CLASS_NAMES;
use super::format::{Filed, Listing};
use crate::{Error, Result};

/// The most classes that a set can have: a class is a byte.
pub const MOST_CLASSES: usize = 256;

/// The most bytes of a file of names. Such a file has a few thousand: a longer one is something else.
const LONGEST: u64 = 1 << 20;

/// The classes of a set: all labels from the first to the last. A label between them that no image has is a
/// class like the others, so that a label means the same in every part of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassList {
    /// The label of class 0.
    pub first: u32,
    /// A name for each class; its label where no name is known.
    pub names: Vec<String>,
}

/// How a file beside the data names classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spelling {
    /// A name on each line; the first line is that of the first label.
    Lines,
    /// A line for each label: the label, then the codes of the characters that it stands for.
    Characters,
}

/// One name per line, beginning with the first label's.
pub const CLASSES_FILE: &str = "classes.txt";

/// The files beside the data that name classes, in the order in which they are looked for. Each may begin
/// with the prefix of the set's other files.
const FILES: [(&str, Spelling); 4] = [
    (CLASSES_FILE, Spelling::Lines),
    ("mapping.txt", Spelling::Characters),
    // As CIFAR-10 and CIFAR-100 are shipped.
    ("batches.meta.txt", Spelling::Lines),
    ("fine_label_names.txt", Spelling::Lines),
];

impl ClassList {
    /// The classes of a set whose labels are `first` to `last`.
    ///
    /// # Errors
    /// [`Error::Data`] if there are more than 256, or a file beside the data names different ones.
    pub(super) fn of(filed: &Filed, identity: Identity, [first, last]: [u32; 2]) -> Result<Self> {
        let count = (last - first) as usize + 1;
        if count > MOST_CLASSES {
            return Err(Error::data(
                &filed.folder,
                format!(
                    "its labels are {first} to {last}, {count} classes; number {MOST_CLASSES} at most, one after \
                     the other"
                ),
            ));
        }
        let known = CLASS_NAMES.len() as u32;
        if identity != Identity::Other && last < known {
            return Ok(Self { first: 0, names: CLASS_NAMES.map(str::to_owned).into() });
        }
        match beside(filed) {
            Some((path, Spelling::Lines)) => Self::lines(&path, [first, last]),
            Some((path, Spelling::Characters)) => Self::characters(&path, [first, last]),
            None => {
                Ok(Self { first, names: (first..=last).map(|label| label.to_string()).collect() })
            }
        }
    }

    fn lines(path: &Path, [first, last]: [u32; 2]) -> Result<Self> {
        let text = read(path)?;
        let mut names: Vec<_> = text.lines().map(|line| line.trim().to_owned()).collect();
        while names.pop_if(|name| name.is_empty()).is_some() {}
        if let Some(i) = names.iter().position(String::is_empty) {
            return Err(Error::data(path, format!("line {} is empty; name a class on it", i + 1)));
        }
        if let Some(i) = names.iter().position(|name| name.contains(char::is_control)) {
            return Err(Error::data(
                path,
                format!(
                    "line {} holds a control character; write a name as it is to be shown",
                    i + 1
                ),
            ));
        }
        let count = (last - first) as usize + 1;
        // Names after the last label belong to a larger set, of which this is a part. Names before the first
        // label cannot be told from a wrong file.
        if names.len() == count
            || (first == 0 && names.len() > count && names.len() <= MOST_CLASSES)
        {
            return Ok(Self { first, names });
        }
        Err(Error::data(
            path,
            format!(
                "names {} classes, but the labels of the set are {first} to {last}; write {count} lines, the \
                 first for label {first}",
                names.len()
            ),
        ))
    }

    fn characters(path: &Path, [first, last]: [u32; 2]) -> Result<Self> {
        let text = read(path)?;
        let mut named: Vec<(u32, String)> = Vec::new();
        for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let numbers: Option<Vec<u32>> =
                line.split_whitespace().map(|n| n.parse().ok()).collect();
            let entry = match numbers.as_deref() {
                Some([label, codes @ ..]) if !codes.is_empty() => {
                    let shown = |&code| char::from_u32(code).filter(|c| !c.is_control());
                    let name: Option<String> = codes.iter().map(shown).collect();
                    name.map(|name| (*label, name))
                }
                _ => None,
            };
            named.push(entry.ok_or_else(|| {
                Error::data(
                    path,
                    format!(
                        "line {} is not a label and codes of characters, such as '1 65 97'",
                        i + 1
                    ),
                )
            })?);
        }
        let labels = || named.iter().map(|&(label, _)| label);
        let (from, to) = (labels().min().unwrap_or(first), labels().max().unwrap_or(last));
        if first < from || last > to {
            return Err(Error::data(
                path,
                format!(
                    "names the labels {from} to {to}, but those of the set are {first} to {last}; put the \
                     mapping of this set in its place"
                ),
            ));
        }
        if (to - from) as usize >= MOST_CLASSES {
            return Err(Error::data(path, format!("names more than {MOST_CLASSES} labels")));
        }
        let name = |label: u32| match named.iter().find(|&&(named, _)| named == label) {
            Some((_, name)) => name.clone(),
            None => label.to_string(),
        };
        Ok(Self { first: from, names: (from..=to).map(name).collect() })
    }

    /// Checks that a set can have `classes` classes of which the first has the label `first`. The fault says
    /// which of the two is wrong, and its range.
    pub(crate) fn check(first: u32, classes: usize) -> std::result::Result<(), String> {
        if !(1..=MOST_CLASSES).contains(&classes) {
            return Err(format!("classes: 1 to {MOST_CLASSES}, not {classes}"));
        }
        let most = u32::MAX - (classes as u32 - 1);
        match first <= most {
            true => Ok(()),
            false => {
                Err(format!("first_label: {most} at most with {classes} classes, not {first}"))
            }
        }
    }

    /// The label of the last class.
    pub fn last(&self) -> u32 {
        self.first.saturating_add((self.names.len() as u32).saturating_sub(1))
    }

    /// The class that has a label.
    pub fn class(&self, label: u32) -> Option<u8> {
        let class = label.checked_sub(self.first)?;
        (label <= self.last()).then(|| u8::try_from(class).ok()).flatten()
    }
}

/// The file that names the classes of a set: of the first kind in [`FILES`] that is there, the file with the
/// prefix of the set's other files, else the one without a prefix, else the only one with any prefix (renamed
/// files of EMNIST beside `emnist-letters-mapping.txt`).
fn beside(filed: &Filed) -> Option<(PathBuf, Spelling)> {
    let names = Listing::read(&filed.folder).ok()?.names;
    let is = |name: &str, wanted: &str| name.eq_ignore_ascii_case(wanted);
    let called = |wanted: &str| names.iter().find(|name| is(name, wanted));
    let found = FILES.iter().find_map(|&(name, spelling)| {
        let own = called(&format!("{}{name}", filed.prefix)).or_else(|| called(name));
        let ends = |found: &&String| found.to_ascii_lowercase().ends_with(&format!("-{name}"));
        let mut others = names.iter().filter(ends);
        let only = others.next().filter(|_| others.next().is_none() && filed.prefix.is_empty());
        Some((own.or(only)?, spelling))
    });
    found.map(|(name, spelling)| (filed.folder.join(name), spelling))
}

fn read(path: &Path) -> Result<String> {
    let (mut file, metadata) = super::map::open_regular(path)?;
    if metadata.len() > LONGEST {
        return Err(Error::data(path, "too long for a list of names; write one name a line"));
    }
    let mut text = String::new();
    match file.read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(source) => Err(Error::data(
            path,
            format!("cannot be read ({source}); write the names of the classes in UTF-8"),
        )),
    }
}
