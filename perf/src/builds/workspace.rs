//! What cargo knows: where the workspace is and what it builds from, where programs are put, and how a program
//! is built with the flags of its own configuration, and with one more.

use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use threadcount::{Error, Result};

use super::stand_in::{self, ALIGNED, KEPT, ORDERS, orders, wrap};
use super::{short, text};

/// Variables that say how cargo builds. Those that only say where or how fast are not among them.
const SETTINGS: [&str; 3] = ["CARGO_BUILD_", "CARGO_PROFILE_", "CARGO_TARGET_"];
const SETTING: [&str; 5] =
    ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_INCREMENTAL", "RUSTC", "RUSTC_BOOTSTRAP"];
const PLACES: [&str; 4] =
    ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR", "CARGO_BUILD_BUILD_DIR", "CARGO_BUILD_JOBS"];

/// A program of a workspace, which is a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The package.
    pub package: String,
    /// The executable.
    pub binary: String,
}

/// Whose benchmarks are meant.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct TargetFlag {
    /// Another package of the workspace, with a program that serves a suite of its own [default: threadcount-perf]
    #[arg(long, value_name = "NAME")]
    package: Option<String>,
    /// That program [default: named as the package]
    #[arg(long, value_name = "NAME", requires = "package")]
    bin: Option<String>,
}

impl TargetFlag {
    /// Whether it is the suite of another package.
    pub fn is_foreign(&self) -> bool {
        self.package.is_some()
    }

    /// The program.
    pub fn target(&self) -> Target {
        let package = self.package.clone().unwrap_or_else(|| OWN.to_owned());
        let binary = self.bin.clone().unwrap_or_else(|| package.clone());
        Target { package, binary }
    }
}

/// This program.
const OWN: &str = "threadcount-perf";

/// What `cargo metadata` says.
#[derive(Debug, Deserialize)]
pub struct Workspace {
    /// Its root.
    #[serde(rename = "workspace_root")]
    pub root: PathBuf,
    /// Where it is built.
    #[serde(rename = "target_directory")]
    pub target: PathBuf,
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Root>,
}

/// What is compiled as one.
#[derive(Debug, Deserialize)]
struct Root {
    kind: Vec<String>,
    src_path: PathBuf,
}

impl Workspace {
    /// The workspace around a folder.
    ///
    /// # Errors
    /// [`Error::Failed`] with what cargo says.
    pub fn around(folder: &Path) -> Result<Self> {
        let mut command = cargo(folder);
        let answer = text(command.args(["metadata", "--no-deps", "--format-version", "1"]))?;
        serde_json::from_str(&answer)
            .map_err(|error| Error::Failed(format!("cargo metadata: {error}")))
    }

    /// Whether it has a package of that name.
    pub fn has(&self, package: &str) -> bool {
        self.packages.iter().any(|known| known.name == package)
    }

    /// Whether cargo builds from a file, as far as its place tells: the manifests, the lock file, cargo's
    /// configuration and the toolchain's; build scripts; and what lies in the folders of the root files of
    /// libraries and programs, or below. Where such a folder is that of the whole package, data can lie in it
    /// too, so there only Rust files count. Tests, benches and examples are not built here.
    pub fn builds_from(&self, file: &Path) -> bool {
        let is_named = |names: &[&str]| names.iter().any(|name| file.ends_with(name));
        if is_named(&[
            ".cargo/config.toml",
            ".cargo/config",
            "rust-toolchain.toml",
            "rust-toolchain",
        ]) || file == self.root.join("Cargo.lock")
            || file == self.root.join("Cargo.toml")
        {
            return true;
        }
        self.packages.iter().any(|package| {
            package.manifest_path == file
                || package.targets.iter().any(|root| root.builds_from(file, &package.manifest_path))
        })
    }
}

impl Root {
    fn builds_from(&self, file: &Path, manifest: &Path) -> bool {
        let is = |kind: &str| self.kind.iter().any(|known| known == kind);
        if is("custom-build") {
            return self.src_path == file;
        }
        if is("test") || is("bench") || is("example") {
            return false;
        }
        let folder = self.src_path.parent();
        folder.is_some_and(|folder| file.starts_with(folder))
            && (folder != manifest.parent() || file.extension() == Some(OsStr::new("rs")))
    }
}

/// A line of what cargo says of a build.
#[derive(Deserialize)]
struct Message {
    target: Option<Named>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

/// A program that was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The executable.
    pub program: PathBuf,
    /// The same with its functions in other orders, where the linker can do that.
    pub orders: Vec<PathBuf>,
    /// The code of its functions, where it is known: see [`Code`](crate::code::Code).
    pub functions: Option<PathBuf>,
}

impl Built {
    /// A program, and what lies in a folder beside it.
    pub fn with(program: PathBuf, folder: &Path) -> Self {
        let functions = Some(stand_in::functions(folder)).filter(|path| path.exists());
        Self { program, orders: orders(folder), functions }
    }
}

/// Builds a program of the workspace in `folder`; nothing if it does not build, and cargo has said why. Cargo is
/// asked where it is, because configuration and environment can name another target, whose programs lie
/// elsewhere.
///
/// The configuration counts as in any other build. Flags have many places there, of which one hides another, so
/// ours is added behind all of them: cargo calls `this` program, which calls the compiler. A wrapper that the user
/// has, such as one that keeps what was compiled, is left out: it would not know of that flag.
///
/// # Errors
/// [`Error::Failed`] if cargo cannot be run, or does not say where the program is.
pub fn build(folder: &Path, target: &Target, into: &Path, this: &Path) -> Result<Option<Built>> {
    let shuffled = into.join("orders").join(&target.binary);
    fs::create_dir_all(&shuffled).map_err(Error::io(&shuffled))?;
    let mut command = cargo(folder);
    command
        .args(["build", "--release", "--locked", "--quiet"])
        .args(["--message-format", "json-render-diagnostics"])
        .args(["--package", &target.package, "--bin", &target.binary])
        .arg("--target-dir")
        .arg(into)
        .stderr(Stdio::inherit());
    wrap(&mut command, this, &target.binary, &shuffled);
    let output = command.output().map_err(Error::io("cargo"))?;
    if !output.status.success() {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let messages = said.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    let of_target = |message: &Message| {
        message.target.as_ref().is_some_and(|named| named.name == target.binary)
    };
    let found = messages.filter(of_target).filter_map(|message| message.executable).next_back();
    let program = found.ok_or_else(|| {
        Error::Failed(format!("cargo does not say where it has put {}", target.binary))
    })?;
    Ok(Some(Built::with(program, &shuffled)))
}

/// A short name for how programs are built now: by which compiler, with which flags, and what the environment
/// and the configuration outside of the repository say.
///
/// # Errors
/// [`Error::Failed`] if there is no compiler.
pub fn settings(folder: &Path, configuration: &[u8]) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(text(cargo(folder).arg("-vV"))?);
    hash.update(ALIGNED);
    hash.update(ORDERS.to_le_bytes());
    hash.update(KEPT);
    let counts = |name: &str| {
        (SETTING.contains(&name) || SETTINGS.iter().any(|begin| name.starts_with(begin)))
            && !PLACES.contains(&name)
    };
    let mut variables: Vec<(OsString, OsString)> =
        env::vars_os().filter(|(name, _)| name.to_str().is_some_and(counts)).collect();
    variables.sort_unstable();
    for (name, value) in variables {
        hash.update(format!("{name:?}={value:?};"));
    }
    hash.update(configuration);
    Ok(short(&hash.finalize()))
}

/// What compiles in a folder, in a line.
///
/// # Errors
/// [`Error::Failed`] if there is no compiler.
pub fn toolchain(folder: &Path) -> Result<String> {
    text(cargo(folder).arg("--version"))
}

/// The cargo that built this program, if one did.
fn cargo(folder: &Path) -> Command {
    let program = env::var_os("CARGO").unwrap_or_else(|| OsStr::new("cargo").to_owned());
    let mut command = Command::new(program);
    command.current_dir(folder);
    command
}
