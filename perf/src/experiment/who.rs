//! `cargo perf experiment who`: a slowdown is hidden in one of 32 commits of a small project, the example of
//! `perf/example`, in a repository that is made on the spot; `cargo perf bisect` is to find it.
//!
//! The other commits add functions and words, and two in a row do not build. (Of threadcount itself a bisection builds
//! six or seven revisions, of minutes each.)

use super::Tally;
use crate::builds::{Workshop, text};
use crate::check::judge::any_seed;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::Value;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};
use threadcount::{Error, Result, console};

/// Commits after the first.
const COMMITS: usize = 32;

/// The commits that do not build: so many, one after the other.
const BROKEN: usize = 2;

/// One of so many bytes is counted twice.
const REPEATED: usize = 20;

/// A search that takes longer has found nothing.
const LIMIT: Duration = Duration::from_secs(600);

/// The share of the commits that is to be found at least.
const LEAST: f64 = 0.9;

/// The example, below the workspace's root, and its library.
const EXAMPLE: &str = "perf/example";
const FILES: [&str; 4] = ["Cargo.lock", LIBRARY, "src/bin/watched-perf.rs", ".gitignore"];
const LIBRARY: &str = "src/lib.rs";

/// The function that becomes slower, and the benchmark that shows it.
const FUNCTION: &str = "pub fn histogram(";
const BENCHMARK: &str = "histogram 100000";

#[derive(clap::Args)]
pub struct Args {
    /// Searches, each in a repository of its own
    #[arg(long, default_value_t = 10)]
    searches: usize,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let mut rng = ChaCha8Rng::seed_from_u64(any_seed());
    let root = Workshop::open()?.root().to_owned();
    let mut found = Tally::default();
    for search in 1..=args.searches {
        let history = History::any(&mut rng);
        let folder = tempfile::tempdir().map_err(Error::io("a folder for a repository"))?;
        let project = Project { folder: folder.path() };
        let guilty = project.make(&root, &history)?;
        let answer = project.bisect()?;
        let is_found = answer.is(&guilty);
        found.add(is_found);
        let mark = if is_found { "found" } else { "NOT FOUND" };
        console::print(&format!(
            "{search:>2}  commit {} of {COMMITS} {mark} in {:.0} s: {}\n",
            history.guilty,
            answer.took.as_secs_f64(),
            answer.text()
        ))?;
    }
    console::print(&format!("{found} commits were found\n"))?;
    Ok(found.exit_code(LEAST))
}

/// Which commits, of 1 to [`COMMITS`], are what.
struct History {
    /// The one with the slowdown.
    guilty: usize,
    /// The first of those that do not build.
    broken: usize,
}

impl History {
    /// The guilty one can be told from its neighbours: it builds, and so does the one before it. So does the last.
    fn any(rng: &mut ChaCha8Rng) -> Self {
        loop {
            let guilty = rng.random_range(1..=COMMITS);
            let broken = rng.random_range(1..=COMMITS - BROKEN);
            if !(broken..=broken + BROKEN).contains(&guilty) {
                return Self { guilty, broken };
            }
        }
    }

    /// The library as it is after so many commits.
    fn library(&self, first: &str, commit: usize) -> String {
        let mut library = first.to_owned();
        if commit >= self.guilty {
            library = library.replace(FUNCTION, "fn counted(");
            library += &format!(
                "\n/// How often each byte occurs, and some of them again.\n\
                 {FUNCTION}bytes: &[u8]) -> [u32; 256] {{\n    \
                 std::hint::black_box(counted(&bytes[..bytes.len() / {REPEATED}]));\n    counted(bytes)\n}}\n"
            );
        }
        for commit in 1..=commit {
            library += &match commit % 2 {
                0 => format!("\n// {commit} commits.\n"),
                _ => format!(
                    "\n/// {commit} more.\npub fn more_{commit}(x: u64) -> u64 {{\n    x + {commit}\n}}\n"
                ),
            };
        }
        if (self.broken..self.broken + BROKEN).contains(&commit) {
            library += "\nfn unfinished(\n";
        }
        library
    }
}

/// A repository with the example in it, and a cache.
struct Project<'a> {
    folder: &'a Path,
}

impl Project<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join("project").join(name)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path(name);
        let folder = path.parent().unwrap_or(self.folder);
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
        fs::write(&path, text).map_err(Error::io(&path))
    }

    fn git(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=experiment", "-c", "user.email=experiment@localhost"]);
        command.args(args).current_dir(self.path(""));
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        text(&mut command)
    }

    fn commit(&self, subject: &str) -> Result<String> {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--message", subject])?;
        self.git(&["rev-parse", "HEAD"])
    }

    /// Makes it; returns the guilty commit.
    fn make(&self, root: &Path, history: &History) -> Result<String> {
        let example = root.join(EXAMPLE);
        let read = |name: &str| {
            let path = example.join(name);
            fs::read_to_string(&path).map_err(Error::io(&path))
        };
        for name in FILES {
            self.write(name, &read(name)?)?;
        }
        let suite = format!("path = '{}'", root.join("perf/suite").display());
        self.write("Cargo.toml", &read("Cargo.toml")?.replace("path = \"../suite\"", &suite))?;
        self.git(&["init", "--quiet", "--initial-branch", "main"])?;
        self.commit("first")?;
        let (library, mut guilty) = (read(LIBRARY)?, String::new());
        for commit in 1..=COMMITS {
            self.write(LIBRARY, &history.library(&library, commit))?;
            let hash = self.commit(&format!("commit {commit}"))?;
            if commit == history.guilty {
                guilty = hash;
            }
        }
        Ok(guilty)
    }

    /// What this program says of it.
    fn bisect(&self) -> Result<Answer> {
        let this = env::current_exe().map_err(Error::io("this program"))?;
        let range = format!("HEAD~{COMMITS}..HEAD");
        let mut command = Command::new(this);
        command.args(["bisect", &range, BENCHMARK, "--package", "watched", "--bin"]);
        command.args(["watched-perf", "--json", "-"]).current_dir(self.path(""));
        command.env("THREADCOUNT_CACHE", self.folder.join("cache")).env_remove("CARGO_TARGET_DIR");
        let start = Instant::now();
        let output = command.output().map_err(Error::io("this program"))?;
        let document = serde_json::from_slice(&output.stdout).map_err(|_| {
            let words = String::from_utf8_lossy(&output.stderr);
            Error::Failed(format!("bisect: {}", words.lines().last().unwrap_or("it says nothing")))
        })?;
        Ok(Answer { document, took: start.elapsed() })
    }
}

/// What a bisection has said.
struct Answer {
    document: Value,
    took: Duration,
}

impl Answer {
    fn commits(&self) -> &[Value] {
        self.document["commits"].as_array().map_or(&[], |commits| commits)
    }

    /// Whether it names this commit, and no other, in time.
    fn is(&self, guilty: &str) -> bool {
        self.took <= LIMIT
            && self.document["outcome"] == "found"
            && matches!(self.commits(), [one] if one["commit"] == guilty)
    }

    fn text(&self) -> String {
        let named = self.commits().iter().filter_map(|commit| commit["subject"].as_str());
        let named: Vec<&str> = named.collect();
        let number = |key: &str| self.document[key].as_f64().unwrap_or(f64::NAN);
        let revisions = self.document["revisions"].as_array().map_or(0, Vec::len);
        format!(
            "{} {} with {:.3}, {:+.1} %, {revisions} revisions",
            self.document["outcome"].as_str().unwrap_or("no outcome"),
            named.join(", "),
            number("confidence"),
            number("change_percent")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_guilty_commit_is_told_from_its_neighbours() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let first = "pub fn histogram(bytes: &[u8]) -> [u32; 256] {\n    [0; 256]\n}\n";
        let mut guilty = Vec::new();
        for _ in 0..300 {
            let history = History::any(&mut rng);
            let library = |commit| history.library(first, commit);
            let is_slow = |commit: &usize| library(*commit).contains("fn counted(");
            let is_broken = |commit: &usize| library(*commit).contains("fn unfinished(\n");
            let slow: Vec<usize> = (0..=COMMITS).filter(is_slow).collect();
            assert_eq!(slow, (history.guilty..=COMMITS).collect::<Vec<_>>());
            let broken: Vec<usize> = (0..=COMMITS).filter(is_broken).collect();
            assert_eq!(broken.len(), BROKEN);
            for builds in [0, history.guilty - 1, history.guilty, COMMITS] {
                assert!(!broken.contains(&builds), "{builds} of {broken:?}");
            }
            // Each commit changes something.
            assert!((1..=COMMITS).all(|commit| library(commit) != library(commit - 1)));
            guilty.push(history.guilty);
        }
        guilty.sort_unstable();
        guilty.dedup();
        assert_eq!((guilty[0], guilty[guilty.len() - 1]), (1, COMMITS));
    }

    #[test]
    fn only_the_guilty_commit_alone_counts() {
        let answer_after = |took: Duration, outcome: &str, commits: &[&str]| {
            let commits: Vec<Value> =
                commits.iter().map(|hash| json!({"commit": hash, "subject": "s"})).collect();
            Answer { document: json!({"outcome": outcome, "commits": commits}), took }
        };
        let answer = |outcome, commits| answer_after(LIMIT, outcome, commits);
        assert!(answer("found", &["a"]).is("a"));
        for (outcome, commits) in
            [("found", &["b"][..]), ("found", &["a", "b"]), ("too-noisy", &["a"]), ("found", &[])]
        {
            assert!(!answer(outcome, commits).is("a"), "{outcome} {commits:?}");
        }
        assert!(!answer_after(2 * LIMIT, "found", &["a"]).is("a"));
    }
}
