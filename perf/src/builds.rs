//! Programs from sources: a commit, or the working tree as it is, is built into an executable of its
//! own and kept. Both sides of a check are built in the same folder, one after the other, because
//! paths are part of symbols and symbols decide how code lies in memory: equal sources give equal
//! programs.

use sha2::{Digest, Sha256};
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use threadcount::{Error, Result, console};

/// The branch that a change is compared with.
const MAIN: [&str; 4] = ["main", "origin/main", "master", "origin/master"];

/// Functions begin on cache lines. Else a change anywhere moves all code behind it, and moved by a quarter
/// of a line the products of less than a microsecond took up to 16 % longer.
const FLAGS: &str = "-Cllvm-args=-align-all-functions=6";

/// The executable's name.
const PROGRAM: &str = "threadcount-perf";

/// A repository, and the folder where its revisions are built.
pub struct Workshop {
    /// The root of the repository.
    root: PathBuf,
    git_dir: PathBuf,
    /// Beside the build of this program.
    folder: PathBuf,
}

/// What can be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What people call it.
    pub name: String,
    /// Git's name of its files.
    pub tree: String,
}

impl Workshop {
    /// The workshop of the repository around the current folder.
    ///
    /// # Errors
    /// [`Error::Failed`] if there is none.
    pub fn open() -> Result<Self> {
        let git = |args: &[&str]| text(Command::new("git").args(args));
        let here = |error| Error::Failed(format!("this needs a git repository: {error}"));
        let root = PathBuf::from(git(&["rev-parse", "--show-toplevel"]).map_err(here)?);
        let git_dir = PathBuf::from(git(&["rev-parse", "--absolute-git-dir"])?);
        let program = env::current_exe().map_err(Error::io("this program"))?;
        // target/release/threadcount-perf
        let target = program.parent().and_then(Path::parent);
        let folder = target.map_or(root.join("target"), Path::to_owned).join("perf");
        fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        Ok(Self { root, git_dir, folder })
    }

    /// A revision by any of git's names for it.
    ///
    /// # Errors
    /// [`Error::Usage`] if git knows none of that name.
    pub fn revision(&self, name: &str) -> Result<Source> {
        let parse = |what: &str| {
            self.git(&["rev-parse", "--verify", "--quiet", &format!("{name}^{{{what}}}")])
        };
        let unknown = |_| Error::Usage(format!("git knows no revision '{name}'"));
        let (commit, tree) = (parse("commit").map_err(unknown)?, parse("tree")?);
        Ok(Source { name: format!("{name} ({})", &commit[..9]), tree })
    }

    /// Where this branch has left the main one.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is no main branch.
    pub fn merge_base(&self) -> Result<Source> {
        let found = MAIN.iter().find_map(|main| self.git(&["merge-base", "HEAD", main]).ok());
        let commit = found.ok_or_else(|| {
            Error::Usage("no branch main to compare with; name a base, such as HEAD~1".into())
        })?;
        self.revision(&commit[..commit.len().min(12)])
    }

    /// Where it is checked out.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The commit that is checked out.
    ///
    /// # Errors
    /// [`Error::Failed`] if there is none.
    pub fn commit(&self) -> Result<String> {
        self.git(&["rev-parse", "HEAD"])
    }

    /// What compiles here, in a line.
    ///
    /// # Errors
    /// [`Error::Io`] if there is no compiler.
    pub fn toolchain(&self) -> Result<String> {
        text(cargo(&self.root).arg("--version"))
    }

    /// The files as they are now, those that git does not know yet too.
    ///
    /// # Errors
    /// [`Error::Failed`] if git refuses.
    pub fn working_tree(&self) -> Result<Source> {
        // An index of our own: nothing is staged for the user.
        let index = self.folder.join("working-tree.index");
        let git = |args: &[&str]| text(self.command(args).env("GIT_INDEX_FILE", &index));
        git(&["read-tree", "HEAD"])?;
        git(&["add", "--all", "."])?;
        let tree = git(&["write-tree"])?;
        let head = self.revision("HEAD")?;
        let name = if tree == head.tree { head.name } else { "the working tree".into() };
        Ok(Source { name, tree })
    }

    /// The program of a source; built, unless it has been already.
    ///
    /// # Errors
    /// [`Error::Failed`] if the source is older than this runner, or does not build.
    pub fn build(&self, source: &Source) -> Result<PathBuf> {
        let kept = self.folder.join("builds").join(self.key(source)?).join(PROGRAM);
        if kept.exists() {
            return Ok(kept);
        }
        console::note(&format!("building {}", source.name));
        let folder = self.lay_out(source)?;
        if !folder.join("perf/Cargo.toml").exists() {
            return Err(Error::Usage(format!(
                "{} is older than the runner, and has no worker; name a later base",
                source.name
            )));
        }
        let target = self.folder.join("target");
        let status = cargo(&folder)
            .args(["build", "--release", "--locked", "--quiet", "--package", "threadcount-perf"])
            .env("CARGO_TARGET_DIR", &target)
            .env("RUSTFLAGS", flags())
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .status()
            .map_err(Error::io("cargo"))?;
        if !status.success() {
            return Err(Error::Failed(format!("{} does not build; see above", source.name)));
        }
        let built = target.join("release").join(PROGRAM);
        let parent = kept.parent().unwrap_or(&self.folder);
        fs::create_dir_all(parent).map_err(Error::io(parent))?;
        // Under another name until it is whole.
        let part = kept.with_extension("part");
        fs::copy(&built, &part).map_err(Error::io(&built))?;
        fs::rename(&part, &kept).map_err(Error::io(&kept))?;
        Ok(kept)
    }

    /// The name of a build: its files, the compiler, and the flags that matter.
    fn key(&self, source: &Source) -> Result<String> {
        let compiler = text(cargo(&self.root).arg("-vV"))?;
        let hash = Sha256::digest([compiler, flags()].concat());
        let hash: String = hash[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("{}-{hash}", &source.tree[..12]))
    }

    /// Lays the source's files out where everything is built. Files that have not changed keep their
    /// time, so that cargo builds only what differs.
    fn lay_out(&self, source: &Source) -> Result<PathBuf> {
        let folder = self.folder.join("source");
        fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        let index = self.folder.join("source.index");
        let git = |args: &[&str]| {
            let mut command = self.command(args);
            command.env("GIT_INDEX_FILE", &index).env("GIT_WORK_TREE", &folder);
            text(command.current_dir(&folder))
        };
        git(&["read-tree", "--reset", "-u", &source.tree])?;
        // Files that somebody has deleted meanwhile.
        git(&["checkout-index", "--all", "--force", "--quiet"])?;
        Ok(folder)
    }

    fn git(&self, args: &[&str]) -> Result<String> {
        text(&mut self.command(args))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("git");
        command.args(args).current_dir(&self.root).env("GIT_DIR", &self.git_dir);
        command.env("GIT_WORK_TREE", &self.root);
        command
    }
}

/// The compiler's flags: the user's, and ours.
fn flags() -> String {
    format!("{} {FLAGS}", env::var("RUSTFLAGS").unwrap_or_default())
}

/// The cargo that built this program, if one did.
fn cargo(folder: &Path) -> Command {
    let program = env::var_os("CARGO").unwrap_or_else(|| OsStr::new("cargo").to_owned());
    let mut command = Command::new(program);
    command.current_dir(folder);
    command
}

/// What a command prints, without the line's end.
fn text(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(Error::io(&name))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let first = words.lines().next().unwrap_or("it says nothing");
        return Err(Error::Failed(format!("{name}: {first}")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A repository with one commit, and a change that is not in it.
    fn repository() -> (tempfile::TempDir, Workshop) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir_all(root.join("sub")).unwrap();
        let git = |args: &[&str]| {
            let mut command = Command::new("git");
            command.args(["-c", "user.name=x", "-c", "user.email=x@x"]).args(args);
            text(command.current_dir(&root)).unwrap()
        };
        git(&["init", "--quiet", "--initial-branch", "main"]);
        fs::write(root.join("a"), "one").unwrap();
        fs::write(root.join("sub/b"), "two").unwrap();
        git(&["add", "."]);
        git(&["commit", "--quiet", "--message", "first"]);
        let workshop =
            Workshop { git_dir: root.join(".git"), folder: folder.path().join("perf"), root };
        fs::create_dir_all(&workshop.folder).unwrap();
        (folder, workshop)
    }

    #[test]
    fn the_working_tree_is_what_lies_there() {
        let (_folder, workshop) = repository();
        let head = workshop.revision("HEAD").unwrap();
        assert_eq!(workshop.working_tree().unwrap().tree, head.tree);
        fs::write(workshop.root.join("new"), "three").unwrap();
        let changed = workshop.working_tree().unwrap();
        assert_ne!(changed.tree, head.tree);
        assert_eq!(changed.name, "the working tree");
        assert_eq!(workshop.git(&["diff", "--cached", "--name-only"]).unwrap(), "");

        let laid_out = workshop.lay_out(&changed).unwrap();
        assert_eq!(fs::read_to_string(laid_out.join("new")).unwrap(), "three");
        fs::remove_file(laid_out.join("a")).unwrap();
        let laid_out = workshop.lay_out(&head).unwrap();
        assert!(!laid_out.join("new").exists());
        assert_eq!(fs::read_to_string(laid_out.join("a")).unwrap(), "one");
        assert_eq!(fs::read_to_string(laid_out.join("sub/b")).unwrap(), "two");
    }

    #[test]
    fn the_base_is_where_the_branch_began() {
        let (_folder, workshop) = repository();
        let first = workshop.revision("HEAD").unwrap();
        assert_eq!(workshop.merge_base().unwrap().tree, first.tree);
        assert!(matches!(workshop.revision("nowhere"), Err(Error::Usage(_))));
    }

    #[test]
    fn what_has_no_worker_is_refused() {
        let (_folder, workshop) = repository();
        let error = workshop.build(&workshop.revision("HEAD").unwrap()).unwrap_err().to_string();
        assert!(error.contains("older than the runner"), "{error}");
    }
}
