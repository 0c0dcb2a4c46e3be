//! The anchor: a revision that every check compares with besides its base, so that many small changes, each within
//! the margin, raise an alarm together. It is pinned in a file of the repository and moves with a commit, and the file
//! says why.

use crate::builds::{Source, Workshop};
use std::fs;
use std::path::Path;
use threadcount::files::write_atomically;
use threadcount::{Error, Result, console};

/// The file, below the workspace's root.
const FILE: &str = "perf/anchor";

/// What the file says of itself.
const HEAD: &str = "\
# `cargo perf check` compares with this revision besides its base: many small changes are one large one.
# `cargo perf anchor REV --reason TEXT` moves it, where something has become slower for a reason, or faster for good.
";

#[derive(clap::Args)]
pub struct Args {
    /// Pin this revision, an ancestor of HEAD [default: show which one is pinned]
    #[arg(requires = "reason")]
    revision: Option<String>,
    /// Why, for those who read the file later
    #[arg(long, value_name = "TEXT", requires = "revision")]
    reason: Option<String>,
}

/// What the file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Anchor {
    /// Git's whole name of the commit.
    commit: String,
    /// Why it is this one.
    reason: String,
}

pub fn run(args: &Args) -> Result<()> {
    let workshop = Workshop::open()?;
    let path = workshop.root().join(FILE);
    let (Some(revision), Some(reason)) = (&args.revision, &args.reason) else {
        let words = match Anchor::read(&path)? {
            Some(Anchor { commit, reason }) => format!("{commit} {reason}\n"),
            None => "there is no anchor; `cargo perf anchor REV --reason TEXT` pins one\n".into(),
        };
        return console::print(&words);
    };
    let anchor = Anchor::new(&workshop.ancestor(revision)?, reason)
        .ok_or_else(|| Error::Usage("--reason: a line that says why".into()))?;
    let folder = path.parent().unwrap_or(&path);
    fs::create_dir_all(folder).map_err(Error::io(folder))?;
    write_atomically(&path, anchor.text().as_bytes())?;
    console::print(&format!("{}: {}; commit it\n", path.display(), anchor.commit))
}

/// The revision that is pinned, if one is.
///
/// # Errors
/// [`Error::Data`] if the file cannot be read; [`Error::Usage`] if git does not know the revision.
pub fn source(workshop: &Workshop) -> Result<Option<Source>> {
    let path = workshop.root().join(FILE);
    let Some(Anchor { commit, .. }) = Anchor::read(&path)? else { return Ok(None) };
    let source = workshop.revision(&commit).map_err(|error| match error {
        Error::Usage(fault) => Error::Usage(format!(
            "{FILE}: {fault}; pin another one (cargo perf anchor), or leave it out (--without-anchor)"
        )),
        other => other,
    })?;
    Ok(Some(Source { name: format!("the anchor ({})", &commit[..9]), ..source }))
}

impl Anchor {
    /// Nothing if the reason is none, or no line.
    fn new(commit: &str, reason: &str) -> Option<Self> {
        let reason = reason.trim();
        let is_line = !reason.is_empty() && !reason.contains(['\n', '\r']);
        is_line.then(|| Self { commit: commit.to_owned(), reason: reason.to_owned() })
    }

    fn read(path: &Path) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(path).map_err(Error::io(path))?;
        Self::parse(&text).map(Some).ok_or_else(|| {
            let advice = "this must be one line, a commit's whole name and why; `cargo perf anchor` writes it";
            Error::data(path, advice)
        })
    }

    /// From the only line that is no comment.
    fn parse(text: &str) -> Option<Self> {
        let mut lines =
            text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        let (commit, reason) = lines.next()?.split_once(' ')?;
        let is_commit = matches!(commit.len(), 40 | 64)
            && commit.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
        if !is_commit || lines.next().is_some() {
            return None;
        }
        Self::new(commit, reason)
    }

    fn text(&self) -> String {
        format!("{HEAD}{} {}\n", self.commit, self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let anchor = Anchor::new(commit, " The sweeps are exact now. ").unwrap();
        assert_eq!(anchor.reason, "The sweeps are exact now.");
        assert_eq!(Anchor::parse(&anchor.text()), Some(anchor));
        for reason in ["", "  ", "one\ntwo"] {
            assert_eq!(Anchor::new(commit, reason), None);
        }
        for bad in [
            String::new(),
            HEAD.to_owned(),
            commit.to_owned(),
            format!("{commit} "),
            format!("{} why", &commit[1..]),
            format!("{} why", commit.to_uppercase()),
            format!("{commit} why\n{commit} why"),
        ] {
            assert_eq!(Anchor::parse(&bad), None, "{bad}");
        }
    }

    /// The file of this repository.
    #[test]
    fn ours_is_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("anchor");
        assert!(Anchor::read(&path).unwrap().is_some());
    }
}
