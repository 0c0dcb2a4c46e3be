//! The judge in a project that has nothing to do with threadcount: the example, as a repository of its own.

use assert_cmd::Command;
use assert_cmd::assert::Assert;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use tempfile::TempDir;

/// The example's program.
const SUITE: [&str; 4] = ["--package", "watched", "--bin", "watched-perf"];

/// A copy of the example, with one commit on main.
struct Project {
    folder: TempDir,
}

impl Project {
    fn new() -> Self {
        let project = Self { folder: TempDir::new().unwrap() };
        let perf = Path::new(env!("CARGO_MANIFEST_DIR"));
        let example = perf.join("example");
        for file in ["Cargo.lock", "src/lib.rs", "src/bin/watched-perf.rs", ".gitignore"] {
            project.write(file, &fs::read_to_string(example.join(file)).unwrap());
        }
        let manifest = fs::read_to_string(example.join("Cargo.toml")).unwrap();
        let suite = perf.join("suite").display().to_string();
        project.write("Cargo.toml", &manifest.replace("\"../suite\"", &format!("'{suite}'")));
        project.git(&["init", "--quiet", "--initial-branch", "main"]);
        project.commit("first");
        project
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("project").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn change(&self, name: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "{text}");
        self.write(name, &text.replace(from, to));
    }

    fn git(&self, args: &[&str]) {
        let mut command = process::Command::new("git");
        command.args(["-c", "user.name=x", "-c", "user.email=x@x"]).args(args);
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        assert!(command.current_dir(self.path("")).status().unwrap().success(), "git {args:?}");
    }

    fn commit(&self, message: &str) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
    }

    /// A margin that the noise of a busy machine is within.
    fn check(&self, args: &[&str]) -> Assert {
        let margins = ["--margin", "*=40", "--anchor-margin", "*=40"];
        self.perf(&[&["check"], &SUITE[..], &margins, args].concat())
    }

    fn perf(&self, args: &[&str]) -> Assert {
        let mut command = Command::cargo_bin("threadcount-perf").unwrap();
        command.args(args).current_dir(self.path("")).env_remove("CARGO_TARGET_DIR");
        // What it depends on has been fetched for these tests.
        command.env("CARGO_NET_OFFLINE", "true").env_remove("RUSTFLAGS");
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        command.env("THREADCOUNT_CACHE", self.folder.path().join("cache")).assert()
    }
}

fn document(assert: &Assert) -> Value {
    serde_json::from_slice(&assert.get_output().stdout).unwrap()
}

/// One test, because it builds what the example depends on.
#[test]
fn a_planted_slowdown_is_found_and_explained() {
    let project = Project::new();
    project.perf(&["anchor", "HEAD", "--reason", "The first."]).success();
    project.change("src/lib.rs", "//! Something", "//! Still something");
    project.commit("words");

    // Every byte is counted three times, and two of these are taken back.
    let slow = "for _ in 0..2 {\n for &byte in bytes { tables[1][byte as usize] += 1; }\n \
                for &byte in std::hint::black_box(bytes) { tables[1][byte as usize] -= 1; }\n }\n let mut chunks";
    project.change("src/lib.rs", "let mut chunks", slow);
    let found = document(&project.check(&["HEAD", "--json", "-", "--only", "*100000"]).code(1));
    assert_eq!(found["outcome"], "regressed", "{found}");
    let row = &found["benchmarks"][0];
    assert_eq!((&row["name"], &row["isa"]), (&"histogram 100000".into(), &"as-built".into()));
    assert!(row["change_percent"].as_f64().unwrap() > 50.0, "{row}");
    // Nothing but words has changed between the base and the anchor.
    assert_eq!(row["since_anchor"]["verdict"], "regressed", "{row}");
    if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        let why = &row["why"];
        assert_eq!(why["has_other_code"], true, "{why}");
        let functions = why["functions"].as_array().unwrap();
        assert_eq!(functions[0]["code"], "changed", "{why}");
        let name = functions[0]["name"].as_str().unwrap();
        assert!(name.contains("histogram") || name.contains("watched"), "{why}");
    }

    // The other commands know the suite as well.
    project.commit("slow");
    let bisect = ["bisect", "HEAD~2..", "histogram 100000", "--margin", "*=40"];
    project.perf(&[&bisect, &SUITE[..]].concat()).success().stdout(contains("\"slow\", with 99."));
    let said = contains("perf/history").and(contains("2 benchmarks"));
    project.perf(&[&["record"], &SUITE[..]].concat()).success().stdout(said);

    // What differs from its twin is not timed.
    project.change("src/lib.rs", "-= 1", "-= 0");
    project.check(&["HEAD"]).code(1).stderr(contains("than a plain loop"));

    // What is chosen is what there is.
    project.git(&["checkout", "--quiet", "--", "."]);
    project.change("src/bin/watched-perf.rs", "[1_000, 100_000]", "[1_000]");
    let said = contains("GONE, in the base only: histogram 100000 on 1 thread of as-built");
    project.check(&["HEAD", "--quick"]).code(1).stdout(said);
    // What was committed last is as slow as before.
    let gone = ["HEAD", "--gone", "*100000", "--quick"];
    project.check(&gone).code(1).stdout(contains("DECAYED"));
    project.check(&[&gone[..], &["--without-anchor"]].concat()).success();
    let fault = contains("'sort*'").and(contains("histogram 1000"));
    project.check(&["HEAD", "--only", "sort*"]).code(2).stderr(fault);
    let other = ["check", "HEAD", "--package", "nobody"];
    project.perf(&other).code(2).stderr(contains("has no worker"));
}
