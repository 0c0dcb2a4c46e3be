//! What git knows: revisions, where a branch left the one that it came from, and the working tree as a tree
//! of files. Nothing is written into the repository: new objects and indexes go to a folder of our own.

use super::text;
use super::workspace::Workspace;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use threadcount::{Error, Result};

/// The branches that a branch can have come from, besides the one that it follows.
const MAIN: [&str; 6] =
    ["main", "origin/main", "upstream/main", "master", "origin/master", "upstream/master"];

/// A repository, seen from a folder in it.
pub struct Repository {
    /// Its top folder.
    top: PathBuf,
    git_dir: PathBuf,
    /// Where new objects and indexes are written.
    folder: PathBuf,
    /// Where its own objects are.
    objects: OsString,
}

/// What can be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What people call it.
    pub name: String,
    /// Git's name of its files.
    pub tree: String,
}

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its files.
    pub source: Source,
    /// Git's name of it.
    pub hash: String,
    /// The first line of its message.
    pub subject: String,
}

impl Commit {
    /// Its name, as short as people use it.
    pub fn short(&self) -> &str {
        &self.hash[..9]
    }
}

impl Repository {
    /// The repository around a folder. New objects go to `folder`.
    ///
    /// # Errors
    /// [`Error::Failed`] if there is none.
    pub fn around(here: &Path, folder: &Path) -> Result<Self> {
        let top = top(here)?;
        let git_dir = PathBuf::from(outside(here, &["rev-parse", "--absolute-git-dir"])?);
        let objects = here.join(outside(here, &["rev-parse", "--git-path", "objects"])?);
        let named = env::var_os("GIT_ALTERNATE_OBJECT_DIRECTORIES").unwrap_or_default();
        let all = [objects].into_iter().chain(env::split_paths(&named));
        let objects = env::join_paths(all)
            .map_err(|error| Error::Failed(format!("git's folder of objects: {error}")))?;
        Ok(Self { top, git_dir, folder: folder.to_owned(), objects })
    }

    /// Its top folder.
    pub fn top(&self) -> &Path {
        &self.top
    }

    /// A revision by any of git's names for it.
    ///
    /// # Errors
    /// [`Error::Usage`] if git knows none of that name.
    pub fn revision(&self, name: &str) -> Result<Source> {
        let parse = |what: &str| {
            self.git(&["rev-parse", "--verify", "--quiet", &format!("{name}^{{{what}}}")])
        };
        let unknown =
            |_| Error::Usage(format!("git knows no revision '{name}'{}", self.shallow_advice()));
        let (commit, tree) = (parse("commit").map_err(unknown)?, parse("tree")?);
        Ok(Source { name: format!("{name} ({})", &commit[..9]), tree })
    }

    /// The revisions of a range such as `v1..HEAD`: its base, and the commits that lead from there to its end, along
    /// first parents: what a merge has brought came with the merge. Commits that change no file are left out.
    ///
    /// # Errors
    /// [`Error::Usage`] if it is none, or there are no commits between.
    pub fn between(&self, range: &str) -> Result<Vec<Commit>> {
        let wrong = |what: &str| {
            Error::Usage(format!("'{range}' {what}, such as v1..HEAD{}", self.shallow_advice()))
        };
        let (base, head) = range
            .split_once("..")
            .filter(|(base, head)| !base.is_empty() && !head.starts_with('.'))
            .ok_or_else(|| wrong("is no range of revisions"))?;
        let head = if head.is_empty() { "HEAD" } else { head };
        let (from, to) = (self.revision(base)?, self.revision(head)?);
        let log = |args: &[&str]| {
            let format = ["log", "--no-show-signature", "--format=%H%x09%T%x09%s"];
            self.git(&[&format, args, &["--"]].concat())
        };
        let range = format!("{base}..{head}");
        // Asked together, git does not see a base that lies on a branch which was merged later.
        let after = self.git(&["rev-list", "--ancestry-path", &range])?;
        let first = log(&["--max-count=1", base])?;
        let path = log(&["--first-parent", "--reverse", &range])?;
        let path = path.lines().filter(|line| after.lines().any(|hash| line.starts_with(hash)));
        let parsed = first.lines().chain(path).filter_map(|line| {
            let mut parts = line.splitn(3, '\t').map(str::to_owned);
            let (hash, tree, subject) = (parts.next()?, parts.next()?, parts.next()?);
            let source = Source { name: format!("{} \"{subject}\"", &hash[..9]), tree };
            Some(Commit { source, hash, subject })
        });
        let mut revisions: Vec<Commit> = parsed.collect();
        revisions.dedup_by(|one, before| one.source.tree == before.source.tree);
        if revisions.len() < 2 {
            return Err(wrong("has no commits: its base must be an ancestor of its end"));
        }
        // As the user calls them.
        let last = revisions.len() - 1;
        (revisions[0].source, revisions[last].source) = (from, to);
        Ok(revisions)
    }

    /// Git's whole name of a revision that HEAD comes from: any other can vanish with its branch.
    ///
    /// # Errors
    /// [`Error::Usage`] if git knows none of that name, or HEAD does not come from it.
    pub fn ancestor(&self, name: &str) -> Result<String> {
        self.revision(name)?;
        let commit = self.git(&["rev-parse", "--verify", &format!("{name}^{{commit}}")])?;
        match self.git(&["merge-base", "HEAD", &commit]) {
            Ok(base) if base == commit => Ok(commit),
            _ => Err(Error::Usage(format!("HEAD does not come from '{name}'"))),
        }
    }

    /// The commit that is checked out.
    ///
    /// # Errors
    /// [`Error::Failed`] if there is none.
    pub fn commit(&self) -> Result<String> {
        self.git(&["rev-parse", "HEAD"])
    }

    /// Where this branch has left the one that it came from: of all branches that it can have come from, the
    /// merge base that is nearest to the commit that is checked out.
    ///
    /// A branch has not come from itself, nor from its copy in the repository that it is pushed to: else what
    /// has been pushed would never be compared. Only where there is no other branch these two count.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is no such branch, or a shallow clone does not know where they met.
    pub fn merge_base(&self) -> Result<Source> {
        let own = self.git(&["symbolic-ref", "--quiet", "--short", "HEAD"]).unwrap_or_default();
        let followed = self
            .git(&["rev-parse", "--abbrev-ref", "--symbolic-full-name", "@{upstream}"])
            .unwrap_or_default();
        let is_copy = followed.split_once('/').is_some_and(|(_, branch)| branch == own);
        let mut others: Vec<&str> = MAIN.into_iter().filter(|main| *main != own).collect();
        let mut selves: Vec<&str> = MAIN.into_iter().filter(|main| *main == own).collect();
        if is_copy {
            selves.push(&followed)
        } else {
            others.push(&followed)
        }
        let nearest = match self.nearest(&others)? {
            // Others may only be missing from a shallow clone.
            None if self.shallow_advice().is_empty() => self.nearest(&selves)?,
            found => found,
        };
        let (branch, commit) = nearest.ok_or_else(|| {
            let advice = self.shallow_advice();
            Error::Usage(if advice.is_empty() {
                "no branch main to compare with; name a base, such as HEAD~1".into()
            } else {
                format!("no commit of a branch main to compare with{advice}")
            })
        })?;
        let base = self.revision(&commit)?;
        Ok(Source { name: format!("where HEAD left {branch} ({})", &commit[..9]), ..base })
    }

    /// Of some branches the one that HEAD left last, and where.
    fn nearest(&self, branches: &[&str]) -> Result<Option<(String, String)>> {
        let mut best: Option<(usize, String, String)> = None;
        for &branch in branches.iter().filter(|branch| !branch.is_empty()) {
            let Ok(commit) = self.git(&["merge-base", "HEAD", branch]) else { continue };
            let count = self.git(&["rev-list", "--count", &format!("{commit}..HEAD")])?;
            let away = count.parse().map_err(|_| Error::Failed(format!("git counts '{count}'")))?;
            if best.as_ref().is_none_or(|(nearest, ..)| away < *nearest) {
                best = Some((away, branch.to_owned(), commit));
            }
        }
        Ok(best.map(|(_, branch, commit)| (branch, commit)))
    }

    /// Whether git ignores a file. One that is tracked is not ignored, whatever the patterns say.
    ///
    /// # Errors
    /// [`Error::Failed`] if git does not tell.
    pub fn ignores(&self, file: &Path) -> Result<bool> {
        let status = self.command(&["check-ignore", "--quiet"]).arg(file).status();
        match status.map_err(Error::io("git"))?.code() {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => Err(Error::Failed(format!(
                "git does not say whether it ignores {}",
                file.display()
            ))),
        }
    }

    /// What to do where a clone lacks what came before; nothing where it has all.
    fn shallow_advice(&self) -> &'static str {
        match self.git(&["rev-parse", "--is-shallow-repository"]).as_deref() {
            Ok("true") => {
                "; this clone is shallow: deepen it with `git fetch --unshallow` (GitHub Actions: \
                 fetch-depth: 0), and fetch the branch to compare with"
            }
            _ => "",
        }
    }

    /// The files as they are now: those that git tracks, and of the others what cargo builds from.
    ///
    /// Not the whole folder: data, settings and results that lie in it are no source. An untracked file counts
    /// if git does not ignore it and [`Workspace::builds_from`] it. Anything else that a build needs, such as a
    /// file that `include_str!` names in another folder, counts as soon as it is added to git's index.
    ///
    /// # Errors
    /// [`Error::Failed`] if git refuses.
    pub fn working_tree(&self, workspace: &Workspace) -> Result<Source> {
        // An index of our own: nothing is staged for the user. It begins as the user's, because a file that was
        // added there is tracked.
        let index = self.folder.join("working-tree.index");
        let users = self.top.join(self.git(&["rev-parse", "--git-path", "index"])?);
        fs::copy(&users, &index).map_err(Error::io(&users))?;
        let git = |args: &[&str]| {
            let mut command = self.command(args);
            command.env("GIT_INDEX_FILE", &index);
            command
        };
        text(&mut git(&["add", "--update", "."]))?;
        let others = text(&mut git(&["ls-files", "--others", "--exclude-standard", "-z"]))?;
        let sources = others
            .split('\0')
            .filter(|name| !name.is_empty() && workspace.builds_from(&self.top.join(name)));
        let names: Vec<u8> = sources.flat_map(|name| [name.as_bytes(), b"\0"].concat()).collect();
        if !names.is_empty() {
            feed(&mut git(&["update-index", "--add", "-z", "--stdin"]), &names)?;
        }
        let tree = text(&mut git(&["write-tree"]))?;
        let head = self.revision("HEAD")?;
        let name = if tree == head.tree { head.name } else { "the working tree".into() };
        Ok(Source { name, tree })
    }

    /// A file of a source, named from the top.
    ///
    /// # Errors
    /// [`Error::Failed`] if there is none.
    pub fn file(&self, source: &Source, name: &Path) -> Result<String> {
        // The line's end is cut off.
        self.git(&["show", &format!("{}:{}", source.tree, name.display())]).map(|text| text + "\n")
    }

    /// A source with these files, named from the top, new or in the place of its own.
    ///
    /// # Errors
    /// [`Error::Failed`] if git refuses.
    pub fn with_files(
        &self,
        source: &Source,
        name: &str,
        files: &[(PathBuf, String)],
    ) -> Result<Source> {
        let index = self.folder.join("changed.index");
        let git = |args: &[&str]| {
            let mut command = self.command(args);
            command.env("GIT_INDEX_FILE", &index);
            command
        };
        text(&mut git(&["read-tree", "--reset", &source.tree]))?;
        let part = self.folder.join("changed.part");
        for (path, contents) in files {
            fs::write(&part, contents).map_err(Error::io(&part))?;
            let mut hash = git(&["hash-object", "-w", "--no-filters"]);
            let entry = format!("100644,{},{}", text(hash.arg(&part))?, path.display());
            text(&mut git(&["update-index", "--add", "--cacheinfo", &entry]))?;
        }
        Ok(Source { name: name.to_owned(), tree: text(&mut git(&["write-tree"]))? })
    }

    /// Lays a source's files out in `place`. Files that have not changed keep their time, so that cargo builds
    /// only what differs.
    ///
    /// # Errors
    /// [`Error::Failed`] if git refuses.
    pub fn lay_out(&self, source: &Source, place: &Path) -> Result<()> {
        fs::create_dir_all(place).map_err(Error::io(place))?;
        // Beside the files, so that the one is never without the other.
        let index = place.with_extension("index");
        // Also what somebody has deleted meanwhile.
        let mut command = self.command(&["read-tree", "--reset", "-u", &source.tree]);
        command.env("GIT_INDEX_FILE", &index).env("GIT_WORK_TREE", place).current_dir(place);
        text(&mut command).map(drop)
    }

    fn git(&self, args: &[&str]) -> Result<String> {
        text(&mut self.command(args))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("git");
        command.args(args).current_dir(&self.top).env("GIT_DIR", &self.git_dir);
        command.env("GIT_WORK_TREE", &self.top);
        // The user's repository does not grow by what was measured once.
        command.env("GIT_OBJECT_DIRECTORY", self.folder.join("objects"));
        command.env("GIT_ALTERNATE_OBJECT_DIRECTORIES", &self.objects);
        command
    }
}

/// The top of the repository around a folder.
///
/// # Errors
/// [`Error::Failed`] if there is none.
pub fn top(here: &Path) -> Result<PathBuf> {
    outside(here, &["rev-parse", "--show-toplevel"]).map(PathBuf::from)
}

/// Git in a folder of which nothing is known yet.
fn outside(here: &Path, args: &[&str]) -> Result<String> {
    text(Command::new("git").args(args).current_dir(here))
        .map_err(|error| Error::Failed(format!("this needs a git repository: {error}")))
}

/// Runs a command that reads `input`.
fn feed(command: &mut Command, input: &[u8]) -> Result<()> {
    let mut child = command.stdin(Stdio::piped()).spawn().map_err(Error::io("git"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input).map_err(Error::io("git"))?;
    }
    let status = child.wait().map_err(Error::io("git"))?;
    if status.success() { Ok(()) } else { Err(Error::Failed(format!("git: {status}"))) }
}

#[cfg(test)]
mod tests;
