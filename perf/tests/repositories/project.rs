//! A repository with a package whose worker answers at once: a millisecond for each sample, or two.

use assert_cmd::Command;
use assert_cmd::assert::Assert;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use tempfile::TempDir;

/// What the worker can time.
pub const NAMES: [&str; 2] = ["gemm 256x256x256", "gemm 512x512x512"];

const MANIFEST: &str = r#"[package]
name = "threadcount-perf"
version = "0.1.0"
edition = "2024"

[lints.rust]
unexpected_cfgs = "allow"
"#;

const LOCK: &str = r#"version = 4

[[package]]
name = "threadcount-perf"
version = "0.1.0"
"#;

/// Functions that do not begin on a cache line, and there always are some in a plain build, end it.
const WORKER: &str = r##"use std::io::{BufRead, stdin};

macro_rules! functions { ($($name:ident = $n:literal),*) => {
    $(#[inline(never)] fn $name(x: u64) -> u64 { std::hint::black_box(x * $n + 1) })*
    fn addresses() -> Vec<usize> { vec![$($name as fn(u64) -> u64 as usize),*] }
} }
functions!(a = 3, b = 5, c = 7, d = 11, e = 13, f = 17, g = 19, h = 23);

fn main() {
    if std::env::args().nth(1).as_deref() == Some("order") {
        let mut order: Vec<_> = addresses().into_iter().zip('a'..).collect();
        order.sort();
        return println!("{}", order.iter().map(|(_, name)| name).collect::<String>());
    }
    assert!(addresses().iter().all(|address| address % 64 == 0), "not aligned");
    let names: Vec<String> =
        include_str!("names.txt").lines().map(|name| format!("\"{name}\"")).collect();
    println!("{{\"Ready\":{{\"protocol\":1,\"names\":[{}]}}}}", names.join(","));
    let is_own_order = addresses().is_sorted();
    let is_slow = cfg!(any(slow, debug_assertions)) || cfg!(slow_in_own_order) && is_own_order;
    let seconds = if is_slow { 2e-3 } else { 1e-3 };
    for line in stdin().lock().lines().map_while(Result::ok) {
        if line.contains("Prepare") {
            println!("{}", r#"{"Prepared":{"size":{"timings":1,"runs":1},"work":{"flops":1.0,"bytes":1.0,"limit":"Fma"},"images":null}}"#);
        } else {
            while cfg!(hangs) {
                std::thread::sleep(std::time::Duration::from_secs(1));
            }
            println!("{{\"Sampled\":{{\"seconds\":{seconds},\"share_of_limit\":null}}}}");
        }
    }
}
"##;

/// A repository, and the package in it.
pub struct Project {
    /// Holds the repository, and a cache.
    folder: TempDir,
    top: PathBuf,
    root: PathBuf,
}

impl Project {
    /// With one commit on main; the package lies at `below` the top.
    pub fn new(below: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let top = folder.path().join("top");
        let project = Self { folder, root: top.join(below), top };
        fs::create_dir_all(&project.root).unwrap();
        let top = project.top.display().to_string();
        project.git(&["init", "--quiet", "--initial-branch", "main", &top]);
        project.write(".gitignore", "target\nelsewhere\n");
        project.write("Cargo.toml", MANIFEST);
        project.write("Cargo.lock", LOCK);
        project.write("src/lib.rs", "");
        project.write("src/main.rs", WORKER);
        project.write("src/names.txt", &NAMES.join("\n"));
        project.commit("first");
        project
    }

    /// A clone of the branch that is checked out, with its last commit only.
    pub fn shallow_clone(&self) -> Self {
        let folder = TempDir::new().unwrap();
        let top = folder.path().join("top");
        let from = format!("file://{}", self.top.display());
        self.git(&["clone", "--quiet", "--depth", "1", &from, &top.display().to_string()]);
        Self { folder, root: top.clone(), top }
    }

    /// Where a file of the package is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        self.write_bytes(name, text.as_bytes());
    }

    pub fn write_bytes(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Commits everything; returns the commit.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub fn git(&self, args: &[&str]) -> String {
        let mut command = process::Command::new("git");
        command.args(["-c", "user.name=x", "-c", "user.email=x@x"]).args(args);
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        let output = command.current_dir(&self.root).output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {args:?}: {words}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Files of the repository's store, in any order.
    pub fn objects(&self) -> usize {
        fn count(folder: &Path) -> usize {
            let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            entries.map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
        }
        count(&self.top.join(".git/objects"))
    }

    /// All programs that were kept: what each says of the order of its functions.
    pub fn orders(&self) -> Vec<String> {
        fn programs(folder: &Path) -> Vec<PathBuf> {
            let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            entries
                .flat_map(|path| if path.is_dir() { programs(&path) } else { vec![path] })
                .collect()
        }
        let order = |program: PathBuf| {
            let output = process::Command::new(program).arg("order").output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        let mut asked = self.isolated(process::Command::new("cargo"));
        let answer =
            asked.args(["metadata", "--no-deps", "--format-version", "1"]).output().unwrap();
        let metadata: Value = serde_json::from_slice(&answer.stdout).unwrap();
        let target = Path::new(metadata["target_directory"].as_str().unwrap());
        let kept = programs(&target.join("perf/builds")).into_iter();
        kept.filter(|path| !path.ends_with("functions")).map(order).collect()
    }

    /// Where the sources of revisions are laid out.
    pub fn layout(&self) -> PathBuf {
        let mut shelters = fs::read_dir(self.folder.path().join("cache/perf")).unwrap();
        shelters.next().unwrap().unwrap().path().join("source")
    }

    /// `cargo perf bisect` of the first product.
    pub fn bisect(&self, args: &[&str]) -> Assert {
        let args = [&["bisect"], args, &[NAMES[0], "--isa", "portable"]].concat();
        self.perf(&args, &[])
    }

    /// `cargo perf anchor`.
    pub fn anchor(&self, args: &[&str]) -> Assert {
        self.perf(&[&["anchor"], args].concat(), &[])
    }

    /// `cargo perf check` of the products.
    pub fn check(&self, args: &[&str]) -> Assert {
        self.check_with(args, &[], "gemm *")
    }

    /// Its JSON document; it ends with that code.
    pub fn document(&self, args: &[&str], code: i32) -> Value {
        self.document_with(args, code, &[])
    }

    /// The same in an environment.
    pub fn document_with(&self, args: &[&str], code: i32, variables: &[(&str, &str)]) -> Value {
        let args = [args, &["--json", "-"]].concat();
        let assert = self.check_with(&args, variables, "gemm *").code(code);
        serde_json::from_slice(&assert.get_output().stdout).unwrap()
    }

    pub fn check_with(&self, args: &[&str], variables: &[(&str, &str)], only: &str) -> Assert {
        let all = ["--only", only, "--threads", "1", "--isa", "portable"];
        self.perf(&[&["check"], args, &all].concat(), variables)
    }

    /// `cargo perf`, in an environment.
    pub fn perf(&self, args: &[&str], variables: &[(&str, &str)]) -> Assert {
        let program = process::Command::new(assert_cmd::cargo::cargo_bin!("threadcount-perf"));
        let mut command = Command::from_std(self.isolated(program));
        command.args(args).envs(variables.iter().copied()).assert()
    }

    /// In the package, whatever surrounds the tests.
    fn isolated(&self, mut command: process::Command) -> process::Command {
        command.current_dir(&self.root);
        for name in [
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_BUILD_RUSTFLAGS",
            "CARGO_BUILD_TARGET",
            "CARGO_BUILD_TARGET_DIR",
            "CARGO_TARGET_DIR",
            "THREADCOUNT_DATA",
        ] {
            command.env_remove(name);
        }
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        command.env("CARGO_HOME", self.folder.path().join("home"));
        command.env("THREADCOUNT_CACHE", self.folder.path().join("cache"));
        command
    }
}

/// Base's and head's time of the first benchmark.
pub fn seconds(document: &Value) -> [f64; 2] {
    let row = &document["benchmarks"][0];
    ["base_seconds", "head_seconds"].map(|key| row[key].as_f64().unwrap())
}

/// The target that is built for.
pub fn host() -> &'static str {
    use std::sync::OnceLock;
    static HOST: OnceLock<String> = OnceLock::new();
    HOST.get_or_init(|| {
        let output = process::Command::new("rustc").arg("-vV").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
    })
}
