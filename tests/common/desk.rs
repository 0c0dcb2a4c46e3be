//! A folder to work in, and the program as a person starts it there.

// Each test file uses its own share of this.
#![allow(dead_code)]

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::{contains, is_empty};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use tempfile::TempDir;
use threadcount::data::synthetic;

/// The drawn set that all tests share, and its parent for everything that lies beside it.
pub(crate) static DATA: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = TempDir::new().unwrap();
    synthetic::generate(folder.path(), 1, 400, 100).unwrap();
    folder
});

/// A folder to work in.
pub(crate) struct Desk(TempDir);

impl Desk {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// The program, in this folder, without any settings from outside.
    pub(crate) fn bare(&self, args: &str) -> Command {
        let mut command = Command::cargo_bin("threadcount").unwrap();
        self.clean(|name| {
            command.env_remove(name);
        });
        command.current_dir(self.0.path()).env("THREADCOUNT_CACHE", self.path("cache"));
        // Tables are whole, and no text is broken.
        command.env("COLUMNS", "1000");
        command.args(args.split_whitespace());
        // A run that ought to be refused may be one without end.
        command.timeout(std::time::Duration::from_secs(300));
        command
    }

    /// The program, with the drawn set.
    pub(crate) fn run(&self, args: &str) -> Command {
        let mut command = self.bare(args);
        command.env("THREADCOUNT_DATA", DATA.path());
        command
    }

    pub(crate) fn clean(&self, mut remove: impl FnMut(&str)) {
        for name in [
            "DATA",
            "THREADS",
            "ISA",
            "PRECISION",
            "SEED",
            "RUNS",
            "SHARDS",
            "BF16",
            "BATCH_NORM_OVER",
        ] {
            remove(&format!("THREADCOUNT_{name}"));
        }
    }

    /// What a command that succeeds prints.
    pub(crate) fn output(&self, args: &str) -> String {
        let output = self.run(args).assert().success().get_output().stdout.clone();
        String::from_utf8(output).unwrap()
    }

    /// What is said where a command ends with this code.
    pub(crate) fn refusal(&self, args: &str, code: i32) -> String {
        let output = self.run(args).assert().code(code).get_output().stderr.clone();
        String::from_utf8(output).unwrap()
    }

    /// Expects one line of error on stderr and nothing on stdout.
    pub(crate) fn refuses(&self, args: &str, code: i32, words: &str) {
        let line = predicate::function(|text: &str| {
            let errors = text.lines().filter(|line| !line.contains("warning: ")).count();
            errors == 1 && text.lines().last().unwrap().starts_with("threadcount: error: ")
        });
        let mut command = self.run(args);
        // Nothing is trained first, and whoever waits for the tests has no five minutes for each.
        command.timeout(std::time::Duration::from_secs(60));
        command.assert().code(code).stdout(is_empty()).stderr(line.and(contains(words)));
    }

    /// Expects an error as the last line of stderr, and nothing on stdout.
    pub(crate) fn refuses_last(&self, args: &str, code: i32, words: &str) {
        let last = predicate::function(|text: &str| {
            text.lines().last().unwrap_or_default().starts_with("threadcount: error: ")
        });
        self.run(args).assert().code(code).stdout(is_empty()).stderr(last.and(contains(words)));
    }
}

/// Copies the files of a folder into a new one.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}
