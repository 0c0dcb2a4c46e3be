use super::*;
use std::cell::Cell;

/// A repository in a folder that is gone after the test.
struct Scratch {
    folder: tempfile::TempDir,
    commits: Cell<usize>,
}

impl Scratch {
    fn new() -> Self {
        let scratch = Self { folder: tempfile::tempdir().unwrap(), commits: Cell::new(0) };
        scratch.git(&["init", "--quiet", "--initial-branch", "main"]);
        scratch
    }

    fn git(&self, args: &[&str]) -> String {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=x", "-c", "user.email=x@x"]).args(args);
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        text(command.current_dir(self.folder.path())).unwrap()
    }

    /// Each with a file of its own.
    fn commit(&self, subject: &str) {
        self.commits.set(self.commits.get() + 1);
        fs::write(self.folder.path().join(self.commits.get().to_string()), "").unwrap();
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", subject]);
    }

    fn merge(&self, branch: &str) {
        self.git(&["merge", "--quiet", "--no-ff", "--message", &format!("merge {branch}"), branch]);
    }

    fn repository(&self) -> Repository {
        let objects = self.folder.path().join(".git/perf");
        fs::create_dir_all(objects.join("objects")).unwrap();
        Repository::around(self.folder.path(), &objects).unwrap()
    }
}

/// What main got beside a base that lay on a branch did not come after it, though main leads past it.
#[test]
fn only_what_came_after_the_base_is_between() {
    let scratch = Scratch::new();
    scratch.commit("first");
    scratch.git(&["checkout", "--quiet", "-b", "side"]);
    scratch.commit("the base");
    scratch.git(&["tag", "base"]);
    scratch.commit("after it on its branch");
    scratch.git(&["checkout", "--quiet", "main"]);
    scratch.commit("beside it");
    scratch.merge("side");
    scratch.commit("last");
    let revisions = scratch.repository().between("base..").unwrap();
    let subjects: Vec<&str> = revisions.iter().map(|commit| &commit.subject[..]).collect();
    assert_eq!(subjects, ["the base", "merge side", "last"]);
}

#[test]
fn an_anchor_is_an_ancestor() {
    let scratch = Scratch::new();
    scratch.commit("first");
    scratch.git(&["checkout", "--quiet", "-b", "side"]);
    scratch.commit("beside");
    scratch.git(&["checkout", "--quiet", "main"]);
    scratch.commit("second");
    let repository = scratch.repository();
    let first = scratch.git(&["rev-parse", "HEAD~1"]);
    assert_eq!(repository.ancestor("HEAD~1").unwrap(), first);
    assert_eq!(repository.ancestor("HEAD").unwrap(), scratch.git(&["rev-parse", "HEAD"]));
    for other in ["side", "nowhere"] {
        assert!(matches!(repository.ancestor(other), Err(Error::Usage(_))), "{other}");
    }
}

#[test]
fn files_are_put_into_a_source_and_nowhere_else() {
    let scratch = Scratch::new();
    scratch.commit("first");
    fs::create_dir(scratch.folder.path().join("below")).unwrap();
    fs::write(scratch.folder.path().join("below/old"), "one\ntwo\n").unwrap();
    scratch.commit("second");
    let repository = scratch.repository();
    let source = repository.revision("HEAD").unwrap();
    let file = |source, name: &str| repository.file(source, Path::new(name));
    assert_eq!(file(&source, "below/old").unwrap(), "one\ntwo\n");
    assert!(file(&source, "below/new").is_err());
    let files = [("below/old", "three\n"), ("below/new", "four\n")];
    let files = files.map(|(name, text)| (name.into(), text.to_owned()));
    let changed = repository.with_files(&source, "changed", &files).unwrap();
    assert_eq!(changed.name, "changed");
    assert_eq!(file(&changed, "below/old").unwrap(), "three\n");
    assert_eq!(file(&changed, "below/new").unwrap(), "four\n");
    // What is not named stays, and so does the working tree.
    assert_eq!(file(&changed, "1").unwrap(), "\n");
    assert_eq!(file(&source, "below/old").unwrap(), "one\ntwo\n");
    assert_eq!(scratch.git(&["status", "--porcelain"]), "");
    assert_eq!(repository.with_files(&source, "same", &[]).unwrap().tree, source.tree);
}
