//! `cargo perf check` in other people's repositories, made on the spot: where the workspace lies, what counts as
//! source, with which flags it is built, and what it is compared with.

mod project;

use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use project::{NAMES, Project};
use serde_json::{Value, json};
use std::fs;

/// A flag that makes the worker of a [`Project`] twice as slow.
const SLOW: &str = "--cfg=slow";

#[test]
fn flags_of_the_configuration_count() {
    let configurations = [
        format!("[build]\nrustflags = ['{SLOW}']\n"),
        format!("[target.{}]\nrustflags = ['{SLOW}']\n", project::host()),
        format!("[target.'cfg(all())']\nrustflags = ['{SLOW}']\n"),
        "[profile.release]\ndebug-assertions = true\n".to_owned(),
    ];
    let project = Project::new("");
    for configuration in configurations {
        project.write(".cargo/config.toml", &configuration);
        let head = project.commit("slow");
        let document = project.document(&["HEAD~1"], 1);
        assert_eq!(document["outcome"], "regressed", "{configuration}: {document}");
        assert_eq!(project::seconds(&document), [1e-3, 2e-3], "{configuration}");
        project.git(&["reset", "--quiet", "--hard", &format!("{head}~1")]);
    }
}

#[test]
fn flags_of_the_environment_count_on_both_sides() {
    let project = Project::new("");
    project.write("src/lib.rs", "//! Changed.\n");
    let plain = project.document(&[], 0);
    assert_eq!(project::seconds(&plain), [1e-3, 1e-3]);
    for (name, value) in [
        ("RUSTFLAGS", SLOW),
        ("CARGO_ENCODED_RUSTFLAGS", SLOW),
        ("CARGO_BUILD_RUSTFLAGS", SLOW),
        ("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true"),
    ] {
        let document = project.document_with(&[], 0, &[(name, value)]);
        assert_eq!(project::seconds(&document), [2e-3, 2e-3], "{name}");
    }
}

#[test]
fn the_program_is_where_cargo_says() {
    let project = Project::new("");
    project.write(".cargo/config.toml", &format!("[build]\ntarget = '{}'\n", project::host()));
    project.commit("a target");
    assert_eq!(project.document(&["HEAD~1"], 0)["outcome"], "passed");
    project.write(".cargo/config.toml", "[build]\ntarget-dir = 'elsewhere'\n");
    assert_eq!(project.document(&["HEAD~1"], 0)["outcome"], "passed");
    project.write("src/lib.rs", "//! Changed.\n");
    let target = [("CARGO_BUILD_TARGET", project::host())];
    assert_eq!(project.document_with(&["HEAD~1"], 0, &target)["outcome"], "passed");
}

#[test]
fn the_base_is_the_nearest_of_all() {
    // Local main is older than origin/main, from which the branch came.
    let project = Project::new("");
    project.git(&["branch", "--quiet", "old"]);
    project.write("src/lib.rs", "//! Of others.\n");
    let others = project.commit("of others");
    project.git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
    project.git(&["checkout", "--quiet", "-b", "branch"]);
    project.git(&["branch", "--quiet", "--force", "main", "old"]);
    project.write("src/lib.rs", "//! Own.\n");
    project.commit("own");
    let base = project.document(&[], 0)["base"].to_string();
    assert!(base.contains("origin/main") && base.contains(&others[..9]), "{base}");

    // On a main that is ahead of origin/main.
    project.git(&["checkout", "--quiet", "-B", "main"]);
    let base = project.document(&[], 0)["base"].to_string();
    assert!(base.contains("origin/main") && base.contains(&others[..9]), "{base}");

    // What has been pushed is still compared with where it came from.
    project.git(&["checkout", "--quiet", "branch"]);
    project.git(&["branch", "--quiet", "--force", "main", "old"]);
    project.git(&["remote", "add", "origin", "."]);
    project.git(&["update-ref", "refs/remotes/origin/branch", "HEAD"]);
    project.git(&["branch", "--quiet", "--set-upstream-to", "origin/branch"]);
    let base = project.document(&[], 0)["base"].to_string();
    assert!(base.contains("origin/main"), "{base}");

    // Nothing to compare, since nothing was changed.
    project.git(&["checkout", "--quiet", "--detach", "origin/main"]);
    project.check(&[]).success().stdout(contains("nothing to compare"));
}

#[test]
fn what_is_gone_fails() {
    let project = Project::new("");
    project.write("src/names.txt", NAMES[0]);
    project.commit("gone");
    let document = project.document(&["HEAD~1"], 1);
    assert_eq!(document["outcome"], "gone");
    assert_eq!(document["gone"][0]["name"], NAMES[1]);
    project.check(&["HEAD~1", "--gone", "gemm 512*"]).success().stdout(contains("as was meant"));
}

#[test]
fn a_shallow_clone_is_told_to_be_deepened() {
    let project = Project::new("");
    project.write("src/lib.rs", "//! Changed.\n");
    project.commit("second");
    project.git(&["checkout", "--quiet", "-b", "branch"]);
    let clone = project.shallow_clone();
    for args in [&[][..], &["HEAD~1"]] {
        clone.check(args).code(2).stderr(contains("shallow").and(contains("--unshallow")));
    }
}

#[test]
fn a_project_can_lie_below_the_top() {
    let project = Project::new("deep/er");
    project.write(".cargo/config.toml", &format!("[build]\nrustflags = ['{SLOW}']\n"));
    assert_eq!(project::seconds(&project.document(&["HEAD"], 1)), [1e-3, 2e-3]);
}

#[test]
fn only_what_cargo_builds_from_is_source() {
    let project = Project::new("");
    let objects = project.objects();
    let data = vec![7; 1 << 20];
    for name in ["data/images", "threadcount.toml", "perf.md", "tests/new.rs"] {
        project.write_bytes(name, if name == "threadcount.toml" { b"" } else { &data });
    }
    project.check(&["HEAD"]).success().stdout(contains("nothing to compare"));
    // A module that git does not know yet counts.
    project.write("src/new.rs", "");
    assert_eq!(project.document(&["HEAD"], 0)["head"], "the working tree");
    assert_eq!(project.objects(), objects);
}

#[test]
fn a_deleted_file_is_laid_out_again() {
    let project = Project::new("");
    project.write("src/lib.rs", "//! Changed.\n");
    project.document(&["HEAD"], 0);
    // As somebody who tidies up the cache would; no revision has another one.
    fs::remove_file(project.layout().join("src/names.txt")).unwrap();
    project.write("src/lib.rs", "//! Changed again.\n");
    project.document(&["HEAD"], 0);
}

#[test]
fn a_base_without_a_worker_is_told() {
    let project = Project::new("");
    project.git(&["checkout", "--quiet", "--orphan", "old"]);
    project.git(&["rm", "--quiet", "--cached", "Cargo.toml"]);
    project.git(&["commit", "--quiet", "--message", "no package yet"]);
    project.git(&["checkout", "--quiet", "--force", "main"]);
    let said = contains("older than the runner").and(contains("name a later one"));
    project.check(&["old"]).code(2).stderr(said);
}

/// Linked in four orders besides its own, and what only its own shows accuses nobody.
#[cfg(target_os = "linux")]
#[test]
fn suspects_are_timed_in_other_orders_of_functions() {
    let project = Project::new("");
    project.write(".cargo/config.toml", "[build]\nrustflags = ['--cfg=slow_in_own_order']\n");
    let document = project.document(&["HEAD"], 0);
    let row = &document["benchmarks"][0];
    // It was suspected.
    assert_eq!((&row["pairs"], &row["verdict"]), (&json!(64), &json!("unchanged")), "{document}");
    let mut orders = project.orders();
    assert_eq!(orders.len(), 10, "{orders:?}");
    assert_eq!(orders.iter().filter(|order| *order == "abcdefgh").count(), 2, "{orders:?}");
    orders.sort_unstable();
    orders.dedup();
    // Both sides have the same.
    assert_eq!(orders.len(), 5, "{orders:?}");
}

/// A linker of the user's own, which counts its calls, and takes scripts or does not.
#[cfg(target_os = "linux")]
#[test]
fn the_users_linker_is_called() {
    use std::os::unix::fs::PermissionsExt;
    for (scripts, expected) in [("exec cc \"$@\"", 5), ("exit 1", 2)] {
        let project = Project::new("");
        let calls = project.path("elsewhere/calls");
        let linker = project.path("elsewhere/own-cc");
        let text = format!(
            "#!/bin/sh\necho >> {}\ncase \"$*\" in *' -T '*) {scripts};; esac\nexec cc \"$@\"\n",
            calls.display()
        );
        project.write("elsewhere/own-cc", &text);
        fs::set_permissions(&linker, fs::Permissions::from_mode(0o755)).unwrap();
        let configuration = format!(
            "[build]\nrustflags = ['{SLOW}']\n[target.{}]\nlinker = '{}'\n",
            project::host(),
            linker.display()
        );
        project.write(".cargo/config.toml", &configuration);
        let assert = project.check(&["HEAD"]).code(1).stdout(contains("REGRESSED"));
        assert_eq!(fs::read_to_string(&calls).unwrap().lines().count(), expected);
        let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert_eq!(said.contains("in 0 other orders"), expected == 2, "{said}");
    }
}

/// The base has come to main by a merge, and what is slow has come by another.
#[test]
fn what_a_merge_has_brought_came_with_the_merge() {
    let project = Project::new("");
    let side = |branch: &str, text: &str| {
        project.git(&["checkout", "--quiet", "-b", branch]);
        project.write(&format!("src/{branch}.rs"), "");
        project.commit(branch);
        project.write(".cargo/config.toml", text);
        project.commit(&format!("{branch} again"));
        project.git(&["checkout", "--quiet", "main"]);
        project.write("src/lib.rs", &format!("//! Beside {branch}.\n"));
        project.commit(&format!("beside {branch}"));
        project.git(&[
            "merge",
            "--quiet",
            "--no-ff",
            "--message",
            &format!("merge {branch}"),
            branch,
        ]);
    };
    side("one", "");
    side("two", &format!("[build]\nrustflags = ['{SLOW}']\n"));
    let assert = project.bisect(&["one..", "--json", "-"]).success();
    let document: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    assert_eq!(document["commits"][0]["subject"], "merge two", "{document}");
    let revisions = document["revisions"].as_array().unwrap();
    let subjects: Vec<_> = revisions.iter().map(|revision| &revision["subject"]).collect();
    // Beside them only what was needed; what lies on the side of a merge is not.
    assert!(subjects.iter().all(|subject| *subject != "two"), "{subjects:?}");
}

/// Ten commits after the base: the fourth and the fifth do not build, the seventh changes nothing, the eighth is
/// slow.
#[test]
fn a_commit_is_found() {
    let project = Project::new("");
    let base = project.git(&["rev-parse", "HEAD"]);
    let mut commits = Vec::new();
    for number in 1..=10 {
        let text = match number {
            4 | 5 => "does not build".into(),
            7 => "//! Number 6.\n".into(),
            _ => format!("//! Number {number}.\n"),
        };
        project.write("src/lib.rs", &text);
        if number == 8 {
            project.write(".cargo/config.toml", &format!("[build]\nrustflags = ['{SLOW}']\n"));
        }
        project.git(&["add", "--all"]);
        project.git(&[
            "commit",
            "--quiet",
            "--allow-empty",
            "--message",
            &format!("Subject {number}"),
        ]);
        commits.push(project.git(&["rev-parse", "HEAD"]));
    }
    let range = format!("{base}..HEAD");
    let line = format!("it came with {} \"Subject 8\", with 99.", &commits[7][..9]);
    let assert = project.bisect(&[&range]).success().stdout(contains(line));
    let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(said.matches("building").count() <= 6, "{said}");

    let assert = project.bisect(&[&range, "--json", "-"]).success();
    let document: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    assert_eq!(document["outcome"], "found");
    assert_eq!(document["commits"], json!([{"commit": commits[7], "subject": "Subject 8"}]));
    assert!(document["confidence"].as_f64().unwrap() > 0.99);
    assert_eq!(
        (&document["head"]["commit"], &document["base"]["commit"]),
        (&json!(commits[9]), &json!(base))
    );
    assert_eq!(document["low_percent"].as_f64().unwrap().round(), 100.0);
    let revisions = document["revisions"].as_array().unwrap();
    assert_eq!(
        revisions[0],
        json!({"commit": base, "subject": "first", "change_percent": 0.0, "pairs": 64, "fault": null})
    );

    // Up to the commit before nothing has changed, and between those that do not build nothing can be told.
    let range = format!("{base}..{}", commits[6]);
    project.bisect(&[&range]).code(1).stdout(contains("do not differ"));
    let range = format!("{}..{}", commits[5], commits[6]);
    project.bisect(&[&range]).code(2).stderr(contains("no commits"));
    project.bisect(&["HEAD..HEAD"]).code(2).stderr(contains("no commits"));
    project.bisect(&["HEAD"]).code(2).stderr(contains("no range"));
    project.bisect(&[&format!("HEAD..{base}")]).code(2).stderr(contains("ancestor"));
}

#[test]
fn commits_that_nothing_tells_apart_are_named_together() {
    let project = Project::new("");
    for number in 1..=3 {
        project.write("src/lib.rs", if number == 3 { "//! Mended.\n" } else { "broken" });
        project.write(".cargo/config.toml", &format!("[build]\nrustflags = ['{SLOW}']\n#{number}"));
        project.commit(&format!("Subject {number}"));
    }
    let assert = project.bisect(&["HEAD~3.."]).success();
    let text = String::from_utf8_lossy(&assert.get_output().stdout).into_owned();
    let end = text.split("one of these").nth(1).unwrap();
    assert!((1..=3).all(|number| end.contains(&format!("\"Subject {number}\""))), "{text}");
    assert!(text.contains("does not build"), "{text}");
}

#[test]
fn a_worker_that_hangs_is_ended() {
    let project = Project::new("");
    project.write(".cargo/config.toml", "[build]\nrustflags = ['--cfg=hangs']\n");
    let said =
        contains(NAMES[0]).and(contains("head's worker")).and(contains("for 1 s and was ended"));
    project.check(&["HEAD", "--sample-limit", "1"]).code(1).stderr(said);
}

#[test]
fn bad_data_are_told_before_anything_is_built() {
    let project = Project::new("");
    project.write("src/lib.rs", "this does not build");
    let check = |args: &[&str]| project.check_with(args, &[], "step nlp-softmax");
    check(&["HEAD", "--data", "nowhere"]).code(3).stderr(contains("nowhere"));
    project.write("threadcount.toml", "data = ['x']\n");
    check(&["HEAD"]).code(2).stderr(contains("data is"));
}

/// The base is as slow as the head, and only the anchor shows it.
#[test]
fn the_anchor_is_compared_too() {
    let project = Project::new("");
    let first = project.git(&["rev-parse", "HEAD"]);
    project.anchor(&[]).success().stdout(contains("there is no anchor"));
    project.anchor(&["HEAD"]).code(2);
    project.anchor(&["HEAD", "--reason", " "]).code(2).stderr(contains("says why"));
    project.anchor(&["nowhere", "--reason", "x"]).code(2).stderr(contains("'nowhere'"));
    project.anchor(&["HEAD", "--reason", "The first."]).success().stdout(contains("commit it"));
    project.anchor(&[]).success().stdout(format!("{first} The first.\n"));
    project.write(".cargo/config.toml", &format!("[build]\nrustflags = ['{SLOW}']\n"));
    project.commit("slow");
    project.write("src/lib.rs", "//! Changed.\n");
    let document = project.document(&["HEAD"], 1);
    assert_eq!(document["outcome"], "decayed", "{document}");
    assert_eq!(document["anchor"], format!("the anchor ({})", &first[..9]));
    assert_eq!(project::seconds(&document), [2e-3, 2e-3]);
    assert_eq!(document["benchmarks"][0]["since_anchor"]["anchor_seconds"], json!(1e-3));
    let document = project.document(&["HEAD", "--anchor-margin", "gemm *=150"], 0);
    assert_eq!(document["benchmarks"][0]["since_anchor"]["margin_percent"], json!(150.0));
    let document = project.document(&["HEAD", "--without-anchor"], 0);
    assert_eq!((&document["anchor"], &document["outcome"]), (&json!(null), &json!("passed")));
    // Beside the anchor itself there is one comparison.
    let document = project.document(&[&first], 1);
    assert_eq!((&document["anchor"], &document["outcome"]), (&json!(null), &json!("regressed")));

    project.write("perf/anchor", "main\n");
    project.check(&["HEAD"]).code(3).stderr(contains("perf/anchor").and(contains("whole name")));
    project.write("perf/anchor", &format!("{} Not here.\n", "1".repeat(40)));
    let said = contains("perf/anchor").and(contains("1111")).and(contains("--without-anchor"));
    project.check(&["HEAD"]).code(2).stderr(said);
}

/// What was recorded on this machine widens margins; what the user says does not wait for it.
#[test]
fn a_benchmark_has_its_own_noise() {
    let project = Project::new("");
    project
        .perf(&["record", "--only", "gemm *", "--threads", "1", "--isa", "portable"], &[])
        .success();
    let history = project.path("perf/history");
    let machine = fs::read_dir(&history).unwrap().next().unwrap().unwrap().path();
    let run = fs::read_dir(&machine).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(&run).unwrap();
    // Three sizes, one of them in two more precisions.
    assert_eq!(text.matches("\"noise_percent\":0.0").count(), 5, "{text}");
    fs::write(&run, text.replacen("\"noise_percent\":0.0", "\"noise_percent\":3.5", 1)).unwrap();
    project.write("src/lib.rs", "//! Changed.\n");
    let margins = |args: &[&str]| {
        let document = project.document(&[&["HEAD"], args].concat(), 0);
        let rows = document["benchmarks"].as_array().unwrap();
        let margin = |row: &Value| (10.0 * row["margin_percent"].as_f64().unwrap()).round() / 10.0;
        rows.iter().map(margin).collect::<Vec<_>>()
    };
    assert_eq!(margins(&[]), [3.5, 2.0]);
    assert_eq!(margins(&["--margin", "gemm *=3"]), [3.0, 3.0]);
    // A bisection looks for nothing that a check would not have found.
    project.write(".cargo/config.toml", &format!("[build]\nrustflags = ['{SLOW}']\n"));
    project.commit("slow");
    project.bisect(&["HEAD~1.."]).success();
    fs::write(&run, text.replace("\"noise_percent\":0.0", "\"noise_percent\":150.0")).unwrap();
    project.bisect(&["HEAD~1.."]).code(1).stdout(contains("do not differ"));
    fs::write(&run, "{}\n").unwrap();
    project.check(&["HEAD"]).code(3).stderr(contains("line 1"));
}
