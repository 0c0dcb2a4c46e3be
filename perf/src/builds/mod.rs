//! Programs from sources: a commit, or the working tree as it is, is built into an executable of its own and
//! kept. Both sides of a check are built in the same folder, one after the other, because paths are part of
//! symbols and symbols decide how code lies in memory: equal sources give equal programs.
//!
//! - [`repository`]: what git knows, and which files are source
//! - [`workspace`]: what cargo knows, and how it is called
//! - [`mod@stand_in`]: what is added to each build

mod repository;
mod stand_in;
mod workspace;

pub use repository::{Commit, Source};
pub use stand_in::stand_in;
pub use workspace::{Built, Target, TargetFlag};

use repository::Repository;
use sha2::{Digest, Sha256};
use stand_in::ORDERS;
use std::env;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use threadcount::data::Cache;
use threadcount::{Error, Result, console};
use workspace::Workspace;

/// The two names that cargo's configuration can have, the one that wins first.
const CONFIGURATION: [&str; 2] = [".cargo/config", ".cargo/config.toml"];

/// A workspace in a repository, and the folders where its revisions are built.
pub struct Workshop {
    repository: Repository,
    workspace: Workspace,
    /// Where the workspace lies below the top of the repository; of the sources, too.
    prefix: PathBuf,
    /// In the workspace's folder of builds: programs, and what git writes.
    folder: PathBuf,
    /// Where sources are laid out. Not in `folder`: cargo also reads the configuration of all folders above, and
    /// those above `folder` are mostly the working tree's. Each revision has its own.
    shelter: PathBuf,
    /// This program; see [`workspace::build`].
    this: PathBuf,
}

/// Why a source has no program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It comes from before the program.
    Old,
    /// It does not build; cargo has said why.
    Broken,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Old => "is older than the runner, and has no worker",
            Self::Broken => "does not build",
        })
    }
}

/// A file of cargo's configuration that belongs to no revision.
struct Configuration {
    /// Its folder's folder.
    of: PathBuf,
    /// Its name below that.
    name: &'static str,
    text: Vec<u8>,
}

impl Workshop {
    /// The workshop of the workspace around the current folder.
    ///
    /// # Errors
    /// [`Error::Failed`] if there is no workspace in a repository.
    pub fn open() -> Result<Self> {
        let here = env::current_dir().map_err(Error::io("the current folder"))?;
        let top = repository::top(&here)?;
        let workspace = Workspace::around(&here)?;
        let root = fs::canonicalize(&workspace.root).map_err(Error::io(&workspace.root))?;
        let prefix = root.strip_prefix(fs::canonicalize(&top).map_err(Error::io(&top))?);
        let prefix = prefix.map(Path::to_owned).map_err(|_| {
            Error::Failed(format!(
                "the workspace {} reaches out of the git repository {}: they must lie in each other",
                root.display(),
                top.display()
            ))
        })?;
        let folder = workspace.target.join("perf");
        fs::create_dir_all(folder.join("objects")).map_err(Error::io(&folder))?;
        let repository = Repository::around(&here, &folder)?;
        let name = short(&Sha256::digest(top.as_os_str().as_encoded_bytes()));
        let shelter = Cache::user().root()?.join("perf").join(name);
        fs::create_dir_all(&shelter).map_err(Error::io(&shelter))?;
        let this = env::current_exe().map_err(Error::io("this program"))?;
        Ok(Self { repository, workspace, prefix, folder, shelter, this })
    }

    /// A revision by any of git's names for it.
    ///
    /// # Errors
    /// [`Error::Usage`] if git knows none of that name.
    pub fn revision(&self, name: &str) -> Result<Source> {
        self.repository.revision(name)
    }

    /// Where this branch has left the one that it came from.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is no such branch.
    pub fn merge_base(&self) -> Result<Source> {
        self.repository.merge_base()
    }

    /// The revisions of a range such as `v1..HEAD`: its base, and the commits from there to its end.
    ///
    /// # Errors
    /// [`Error::Usage`] if it is none, or empty.
    pub fn between(&self, range: &str) -> Result<Vec<Commit>> {
        self.repository.between(range)
    }

    /// Git's whole name of a revision that HEAD comes from.
    ///
    /// # Errors
    /// [`Error::Usage`] if git knows none of that name, or HEAD does not come from it.
    pub fn ancestor(&self, name: &str) -> Result<String> {
        self.repository.ancestor(name)
    }

    /// The root of the workspace.
    pub fn root(&self) -> &Path {
        &self.workspace.root
    }

    /// The commit that is checked out.
    ///
    /// # Errors
    /// [`Error::Failed`] if there is none.
    pub fn commit(&self) -> Result<String> {
        self.repository.commit()
    }

    /// What compiles here, in a line.
    ///
    /// # Errors
    /// [`Error::Failed`] if there is no compiler.
    pub fn toolchain(&self) -> Result<String> {
        workspace::toolchain(self.root())
    }

    /// The source as it is now.
    ///
    /// # Errors
    /// [`Error::Failed`] if git refuses.
    pub fn working_tree(&self) -> Result<Source> {
        self.repository.working_tree(&self.workspace)
    }

    /// A file of a source, named from the workspace's root.
    ///
    /// # Errors
    /// [`Error::Failed`] if there is none.
    pub fn file(&self, source: &Source, name: &str) -> Result<String> {
        self.repository.file(source, &self.prefix.join(name))
    }

    /// A source with these files, named from the workspace's root, new or in the place of its own. People call it
    /// `name`.
    ///
    /// # Errors
    /// [`Error::Failed`] if git refuses.
    pub fn with_files(
        &self,
        source: &Source,
        name: &str,
        files: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Source> {
        let files: Vec<(PathBuf, String)> =
            files.into_iter().map(|(name, text)| (self.prefix.join(name), text)).collect();
        self.repository.with_files(source, name, &files)
    }

    /// A program of a source; built, unless it has been already.
    ///
    /// # Errors
    /// [`Error::Usage`] if the source does not have it, [`Error::Failed`] if it does not build.
    pub fn build(&self, source: &Source, target: &Target) -> Result<Built> {
        self.try_build(source, target)?.map_err(|fault| match fault {
            Fault::Old => Error::Usage(format!("{} {fault}; name a later one", source.name)),
            Fault::Broken => Error::Failed(format!("{} {fault}; see above", source.name)),
        })
    }

    /// The same where a source without the program is nothing out of the common.
    ///
    /// # Errors
    /// [`Error::Failed`] if git or cargo cannot be asked.
    pub fn try_build(
        &self,
        source: &Source,
        target: &Target,
    ) -> Result<std::result::Result<Built, Fault>> {
        // Sources and builds are in folders that two checks would share.
        let lock = self.folder.join("lock");
        let lock = File::create(&lock).map_err(Error::io(&lock))?;
        lock.lock().map_err(Error::io("the lock of the builds"))?;
        let outer = self.outer_configuration()?;
        let all: Vec<u8> = outer.iter().flat_map(|one| one.text.clone()).collect();
        let settings = workspace::settings(&self.shelter, &all)?;
        let key = format!("{}-{settings}", &source.tree[..12]);
        let folder = self.folder.join("builds").join(key);
        let (kept, orders) =
            (folder.join(&target.binary), folder.join("orders").join(&target.binary));
        if kept.exists() {
            return Ok(Ok(Built::with(kept, &orders)));
        }
        console::note(&format!("building {}", source.name));
        let place = self.lay_out(source, &outer)?;
        let is_there =
            place.join("Cargo.toml").exists() && Workspace::around(&place)?.has(&target.package);
        if !is_there {
            return Ok(Err(Fault::Old));
        }
        let into = self.folder.join(format!("target-{settings}"));
        let Some(built) = workspace::build(&place, target, &into, &self.this)? else {
            return Ok(Err(Fault::Broken));
        };
        if built.orders.len() < ORDERS {
            console::note(&format!(
                "the linker has put the functions of {} in {} other orders, not in {ORDERS}: whether a change \
                 comes from where code lies is less well known",
                source.name,
                built.orders.len()
            ));
        }
        fs::create_dir_all(&orders).map_err(Error::io(&orders))?;
        for (index, order) in built.orders.iter().enumerate() {
            keep(order, &stand_in::path(&orders, index + 1))?;
        }
        if let Some(functions) = &built.functions {
            keep(functions, &stand_in::functions(&orders))?;
        }
        // Last: where it is, the others are.
        keep(&built.program, &kept)?;
        Ok(Ok(Built::with(kept, &orders)))
    }

    /// The configuration that counts here for every revision: that of the folders above the repository, outermost
    /// first, and that of folders in it which git ignores. That of cargo's home is found without us, and what
    /// lies above the shelter, too.
    fn outer_configuration(&self) -> Result<Vec<Configuration>> {
        let top = self.repository.top();
        let home = env::var_os("CARGO_HOME").map(PathBuf::from);
        let above = top.ancestors().skip(1).filter(|folder| {
            !self.shelter.starts_with(folder) && Some(folder.join(".cargo")) != home
        });
        let within = self.prefix.ancestors().map(|below| top.join(below));
        let mut folders: Vec<PathBuf> = above.map(Path::to_owned).collect();
        folders.reverse();
        let outside = folders.len();
        folders.extend(within);
        let mut found = Vec::new();
        for (index, of) in folders.into_iter().enumerate() {
            let name = CONFIGURATION.into_iter().find(|name| of.join(name).is_file());
            let Some(name) = name else { continue };
            let path = of.join(name);
            if index < outside || self.repository.ignores(&path)? {
                found.push(Configuration {
                    of,
                    name,
                    text: fs::read(&path).map_err(Error::io(&path))?,
                });
            }
        }
        Ok(found)
    }

    /// Lays a source out under the configuration that counts for every revision; returns the workspace's folder.
    fn lay_out(&self, source: &Source, outer: &[Configuration]) -> Result<PathBuf> {
        let top = self.repository.top();
        let (within, above): (Vec<_>, Vec<_>) =
            outer.iter().partition(|one| one.of.starts_with(top));
        let mut place = self.shelter.clone();
        for Configuration { name, text, .. } in above {
            place.push("above");
            replace_configuration(&place, name, text)?;
        }
        place.push("source");
        // What was put there for another build.
        for below in self.prefix.ancestors() {
            remove_configuration(&place.join(below))?;
        }
        self.repository.lay_out(source, &place)?;
        for Configuration { of, name, text } in within {
            let below = of.strip_prefix(top).unwrap_or(Path::new(""));
            let folder = place.join(below);
            if folder.is_dir() && !CONFIGURATION.iter().any(|name| folder.join(name).exists()) {
                replace_configuration(&folder, name, text)?;
            }
        }
        Ok(place.join(&self.prefix))
    }
}

/// Copies a program, under another name until it is whole.
fn keep(program: &Path, at: &Path) -> Result<()> {
    let part = at.with_extension("part");
    fs::copy(program, &part).map_err(Error::io(program))?;
    fs::rename(&part, at).map_err(Error::io(at))
}

fn remove_configuration(folder: &Path) -> Result<()> {
    for path in CONFIGURATION.map(|name| folder.join(name)).iter().filter(|path| path.exists()) {
        fs::remove_file(path).map_err(Error::io(path))?;
    }
    Ok(())
}

/// Makes `text` the only configuration of a folder.
fn replace_configuration(folder: &Path, name: &str, text: &[u8]) -> Result<()> {
    remove_configuration(folder)?;
    let path = folder.join(name);
    let parent = path.parent().unwrap_or(folder);
    fs::create_dir_all(parent).map_err(Error::io(parent))?;
    fs::write(&path, text).map_err(Error::io(&path))
}

/// The first eight digits of a hash.
fn short(hash: &[u8]) -> String {
    hash[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a command prints, without the line's end.
pub fn text(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(Error::io(&name))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let first = words.lines().next().unwrap_or("it says nothing");
        return Err(Error::Failed(format!("{name}: {first}")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}
