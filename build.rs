//! Tells the program which revision of the source it is built from: `THREADCOUNT_REVISION`, the short hash of the git
//! checkout with `-dirty` where what is compiled differs from it, and `THREADCOUNT_VERSION`, the version with the
//! revision. Where there is no git, and where this folder is no checkout of its own (a package, a copy inside another
//! repository), the version stands alone.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the program is compiled from. Where it changes the program is compiled again anyway.
const SOURCES: [&str; 6] = ["src", "kernels", "templates", "Cargo.toml", "Cargo.lock", "build.rs"];

/// The tests of the kernels lie among them, and are not in the program.
const TESTS: &str = ":!kernels/tests";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    match revision(&root) {
        Some(revision) => {
            println!("cargo::rustc-env=THREADCOUNT_REVISION={revision}");
            println!("cargo::rustc-env=THREADCOUNT_VERSION={version} ({revision})");
        }
        None => println!("cargo::rustc-env=THREADCOUNT_VERSION={version}"),
    }
}

/// The revision of the checkout at `root`, if that is one. It is looked for again once a source changes; in a release
/// build at every commit.
fn revision(root: &Path) -> Option<String> {
    if !root.join(".git").exists() {
        return None;
    }
    let answer =
        git(root, &["rev-parse", "--absolute-git-dir", "--git-common-dir", "--short", "HEAD"])?;
    let [folder, common, hash] = answer.lines().collect::<Vec<_>>()[..] else { return None };
    // Who tests after each commit should not compile everything once more; a program that trains has to be sure.
    if env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        // In a worktree HEAD is in a folder of its own, the branches are in the common one.
        watch_head(Path::new(folder), &root.join(common));
    }
    watch_sources(root);
    let mut status = vec!["status", "--porcelain", "--", TESTS];
    status.extend(SOURCES);
    let changed = git(root, &status)?;
    Some(format!("{hash}{}", if changed.is_empty() { "" } else { "-dirty" }))
}

/// What git prints; none where it fails, or is not there.
fn git(root: &Path, args: &[&str]) -> Option<String> {
    // No lock, which would be in the way of other processes.
    let mut command = Command::new("git");
    command.arg("--no-optional-locks").arg("-C").arg(root).args(args);
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

/// Runs this program again at another commit: HEAD names another branch, or its branch another commit.
fn watch_head(folder: &Path, common: &Path) {
    let head = folder.join("HEAD");
    let text = fs::read_to_string(&head).unwrap_or_default();
    let branch = text.strip_prefix("ref: ").map(|name| common.join(name.trim()));
    let watched = match branch {
        Some(branch) if branch.exists() => vec![head, branch],
        // It is in the list of packed ones, until it moves on: then the log of HEAD grows.
        Some(_) => vec![head, common.join("packed-refs"), folder.join("logs/HEAD")],
        None => vec![head],
    };
    for path in watched.iter().filter(|path| path.exists()) {
        println!("cargo::rerun-if-changed={}", path.display());
    }
}

/// Runs this program again where a source changes: the checkout may become dirty, or clean.
fn watch_sources(root: &Path) {
    for name in SOURCES.into_iter().filter(|&name| name != "kernels") {
        if root.join(name).exists() {
            println!("cargo::rerun-if-changed={name}");
        }
    }
    let kernels = fs::read_dir(root.join("kernels")).into_iter().flatten().flatten();
    for entry in kernels.filter(|entry| entry.file_name() != "tests") {
        println!("cargo::rerun-if-changed=kernels/{}", entry.file_name().display());
    }
}
