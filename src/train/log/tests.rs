use super::*;
use crate::train::{Record, ResultRecord, RunFolder, Task, remove_run};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

fn record(seed: u64) -> Record {
    Record {
        version: "0.0.1".to_owned(),
        recipe: "mine".to_owned(),
        seed,
        threads: 3,
        task: Task { epochs: 4, batch_size: 7, ..Record::example().task },
        ..Record::example()
    }
}

fn result() -> ResultRecord {
    ResultRecord {
        epochs: 2,
        test_loss: 0.25,
        test_accuracy: 0.75,
        train_seconds: 1.5,
        images_per_second: 1e3,
    }
}

const HISTORY: &str =
    "epoch,accuracy,loss,val_accuracy,val_loss\n1,0.5,0.9,0.4,1\n2,0.6,0.8,0.3,2\n";

/// A folder of runs with a log.
struct Place {
    folder: TempDir,
    log: RunLog,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = RunLog::new(folder.path().join("runs"));
        Self { folder, log }
    }

    /// Starts a run without logging it; nobody trains it from then on.
    fn run(&self, name: &str, seed: u64) -> PathBuf {
        let path = self.log.root().join(name);
        RunFolder::start(&path, &record(seed)).unwrap();
        path
    }

    fn finish(&self, path: &Path) {
        let (folder, record) = RunFolder::open(path).unwrap();
        fs::write(path.join("history.csv"), HISTORY).unwrap();
        folder.write_record(&Record { result: Some(result()), ..record }).unwrap();
    }

    /// Name and state of every run, the newest first.
    fn listed(&self) -> Vec<(String, &'static str)> {
        let listing = self.log.list().unwrap();
        listing.runs.into_iter().map(|run| (run.name, run.state.name())).collect()
    }

    fn write(&self, text: &str) {
        fs::create_dir_all(self.log.root()).unwrap();
        fs::write(self.log.path(), text).unwrap();
    }

    fn text(&self) -> String {
        fs::read_to_string(self.log.path()).unwrap()
    }
}

#[test]
fn a_run_is_listed_with_all_that_is_known_of_it() {
    let place = Place::new();
    let path = place.run("one", 9);
    place.log.append(Event::Start, &path).unwrap();
    assert_eq!(place.listed(), [("one".to_owned(), "unfinished")]);
    place.finish(&path);
    place.log.append(Event::End, &path).unwrap();
    let listing = place.log.list().unwrap();
    let [listed] = &listing.runs[..] else { panic!("{listing:?}") };
    assert_eq!((listed.name.as_str(), &listed.state), ("one", &State::Done));
    let run = listed.run.as_ref().unwrap();
    assert_eq!((run.recipe.as_str(), run.seed, run.data.as_str()), ("mine", 9, "other"));
    assert_eq!((run.version.as_str(), run.threads, run.isa.as_str()), ("0.0.1", 3, "avx2"));
    assert_eq!((run.epochs, run.epochs_done()), (4, 2));
    assert_eq!(run.cpu.as_deref(), Some(threadcount_kernels::machine::machine().cpu.as_str()));
    assert_eq!(run.result, Some(result()));
    let last = run.last.unwrap();
    assert_eq!((last.accuracy, last.loss, last.val_accuracy, last.val_loss), (0.6, 0.8, 0.3, 2.0));
    assert_eq!(run.kept, run.last);
    assert_eq!(run.id.len(), 64);
    let settings: BTreeMap<_, _> = run.settings().into_iter().collect();
    for (key, value) in [
        ("batch-size", "7"),
        ("epochs", "4"),
        ("optimizer.name", "adam"),
        ("layer 1: kind", "dense"),
        ("layer 1: units", "3"),
        ("layer 2: activation", "linear"),
    ] {
        assert_eq!(settings.get(key).map(String::as_str), Some(value), "{key}: {settings:?}");
    }
    // Numbers as a person writes them, not the digits of a float of another width.
    let rate = record(0).task.optimizer.learning_rate().to_string();
    assert_eq!(settings["optimizer.learning-rate"], rate);
}

#[test]
fn the_epoch_whose_weights_are_kept_is_the_one_that_counts() {
    let place = Place::new();
    for (keep, epoch) in [(crate::train::Keep::Last, 2), (crate::train::Keep::BestLoss, 1)] {
        let path = place.log.root().join(format!("{epoch}"));
        let task = Task { keep, ..record(0).task };
        RunFolder::start(&path, &Record { task, ..record(0) }).unwrap();
        fs::write(path.join("history.csv"), HISTORY).unwrap();
        assert_eq!(LoggedRun::of_folder(&path).unwrap().kept.unwrap().epoch, epoch, "{keep:?}");
    }
}

/// The newest first; a run that goes on keeps the time of its start, a new one in the same folder does not.
#[test]
fn a_run_began_when_it_was_started() {
    let place = Place::new();
    for name in ["a", "b", "c"] {
        let path = place.run(name, 0);
        place.finish(&path);
        place.log.append(Event::Start, &path).unwrap();
    }
    let text = place.text();
    let line = |name: &str, event: &str, hour: u32| {
        let line = text.lines().find(|line| line.contains(&format!("\"folder\":\"{name}\"")));
        let mut line: serde_json::Value = serde_json::from_str(line.unwrap()).unwrap();
        line["event"] = event.into();
        line["time"] = format!("2026-01-01T{hour:02}:00:00Z").into();
        format!("{line}\n")
    };
    let started = |text: String| {
        place.write(&text);
        let runs = place.log.list().unwrap().runs;
        runs.iter().map(|run| format!("{} {}", run.name, &run.started[11..13])).collect::<Vec<_>>()
    };
    let three = line("b", "start", 1) + &line("a", "start", 2) + &line("c", "start", 3);
    assert_eq!(started(three.clone()), ["c 03", "a 02", "b 01"]);
    let more = line("b", "resume", 4) + &line("b", "end", 5) + &line("a", "start", 6);
    assert_eq!(started(three.clone() + &more), ["a 06", "c 03", "b 01"]);
    // Its start is lost: the first line that there is counts.
    assert_eq!(started(line("a", "start", 2) + &line("b", "end", 5))[1..], ["b 05", "a 02"]);
    // Runs of the same second are in the order of their names.
    let same = line("c", "start", 3) + &line("a", "start", 3) + &line("b", "start", 3);
    assert_eq!(started(same), ["a 03", "b 03", "c 03"]);
}

#[test]
fn lines_that_cannot_be_read_are_skipped_named_and_kept() {
    let place = Place::new();
    let (one, two) = (place.run("one", 1), place.run("two", 2));
    place.log.append(Event::Start, &one).unwrap();
    let good = place.text();
    let broken = [
        good.replace("\"format\":1", "\"format\":2"),
        "\n".to_owned(),
        "nonsense\n".to_owned(),
        good.replace("\"seed\":1", "\"seed\":\"x\""),
        good[..good.len() / 2].to_owned(),
    ];
    place.write(&(good.clone() + &broken.concat()));
    let before = place.text();
    // The cut line is the last one: what is appended begins a line of its own.
    place.log.append(Event::Start, &two).unwrap();
    assert!(place.text().starts_with(&(before + "\n{")), "{}", place.text());
    let listing = place.log.list().unwrap();
    let words = [
        "line 2: format 2, where",
        "line 4: not a line of the log",
        "line 5: not a line of this",
        "line 6: cut off",
    ];
    assert_eq!(listing.faults.len(), words.len(), "{:?}", listing.faults);
    for (fault, words) in listing.faults.iter().zip(words) {
        assert!(fault.starts_with(words), "{fault}");
    }
    assert_eq!(listing.runs.len(), 2);
    // And a file that is not text at all.
    fs::write(place.log.path(), [0xff, 0xfe, b'\n', 0, 0]).unwrap();
    let listing = place.log.list().unwrap();
    assert_eq!((listing.runs.len(), listing.faults.len()), (2, 2));
}

/// What every line says is in the folders, too: without the log, or with the end's line missing, the same runs
/// are there.
#[test]
fn folders_tell_what_the_log_does_not() {
    let place = Place::new();
    assert!(place.listed().is_empty(), "no folder at all");
    let (done, stopped) = (place.run("done", 1), place.run("stopped", 2));
    place.log.append(Event::Start, &done).unwrap();
    place.finish(&done);
    fs::write(stopped.join("history.csv"), HISTORY).unwrap();
    let damaged = place.run("damaged", 3);
    fs::write(damaged.join("run.toml"), "format = 1\n").unwrap();
    fs::create_dir(place.log.root().join("search-x")).unwrap();
    fs::write(place.log.root().join("a-file"), "").unwrap();
    let expected = [("damaged", "damaged"), ("done", "done"), ("stopped", "unfinished")];
    let states = |place: &Place| {
        let mut listed = place.listed();
        listed.sort();
        listed
    };
    let expected: Vec<_> = expected.map(|(name, state)| (name.to_owned(), state)).into();
    assert_eq!(states(&place), expected);
    fs::remove_file(place.log.path()).unwrap();
    assert_eq!(states(&place), expected);
    let stopped = place.log.find("stopped").unwrap();
    assert_eq!(stopped.run.unwrap().epochs_done(), 2);
    assert_eq!(stopped.started[..2], *"20", "the time of its record, not of 1970");
    let State::Damaged(fault) = place.log.find("damaged").unwrap().state else { panic!() };
    assert!(fault.contains("run.toml: the record has format 1, where"), "{fault}");
    // In use, it runs.
    let _held = RunFolder::open_to_train(&done).unwrap();
    assert_eq!(place.log.find("done").unwrap().state, State::Running);
}

#[test]
fn runs_elsewhere_are_known_by_their_paths() {
    let place = Place::new();
    let elsewhere = place.folder.path().join("elsewhere");
    RunFolder::start(&elsewhere, &record(1)).unwrap();
    place.log.append(Event::Start, &elsewhere).unwrap();
    let whole = elsewhere.canonicalize().unwrap().to_str().unwrap().to_owned();
    assert_eq!(place.listed(), [(whole.clone(), "unfinished")]);
    let inside = place.run("in/side", 1);
    place.log.append(Event::Start, &inside).unwrap();
    assert_eq!(place.log.find("in/side").unwrap().name, "in/side");
    for name in [&whole, elsewhere.to_str().unwrap()] {
        assert_eq!(place.log.find(name).unwrap().name, whole);
    }
    // The whole folder may be moved, with the runs that are in it.
    let moved = place.folder.path().join("moved");
    fs::rename(place.log.root(), &moved).unwrap();
    let log = RunLog::new(&moved);
    assert_eq!(log.find("in/side").unwrap().path, moved.join("in/side"));
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&elsewhere, moved.join("link")).unwrap();
        let mut names: Vec<_> = log.list().unwrap().runs.into_iter().map(|run| run.name).collect();
        names.sort();
        assert_eq!(names, [whole, "in/side".to_owned()], "a link is no second run");
    }
    let error = log.find("nothing").unwrap_err();
    assert!(error.to_string().starts_with("nothing: no run here"), "{error}");
}

#[test]
fn what_is_removed_is_gone_from_the_folder_and_the_list() {
    let place = Place::new();
    let path = place.run("one", 1);
    place.log.append(Event::Start, &path).unwrap();
    place.finish(&path);
    for file in ["events.out.tfevents.1.x", ".threadcount-abc", "model.safetensors"] {
        fs::write(path.join(file), "").unwrap();
    }
    {
        let _held = RunFolder::open_to_train(&path).unwrap();
        assert!(matches!(remove_run(&path), Err(Error::RunBusy { .. })));
        assert!(path.join("history.csv").exists());
    }
    assert_eq!(remove_run(&path).unwrap(), crate::train::Removed::Folder);
    assert!(!path.exists());
    assert_eq!(place.listed(), [("one".to_owned(), "gone")]);
    place.log.append_removal("one").unwrap();
    assert!(place.listed().is_empty());
    assert!(place.log.find("one").is_err());
    // A new run may take its place.
    let path = place.run("one", 2);
    place.log.append(Event::Start, &path).unwrap();
    assert_eq!(place.listed(), [("one".to_owned(), "unfinished")]);

    // Files of the user's own stay, and so does the folder.
    fs::write(path.join("notes.txt"), "mine").unwrap();
    assert_eq!(remove_run(&path).unwrap(), crate::train::Removed::Files(1));
    let left: Vec<_> =
        fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["notes.txt"]);
    assert!(remove_run(&path).unwrap_err().to_string().contains("no run here"));
    assert!(path.join("notes.txt").exists());
    // A search needs its trials.
    let trial = place.run("search/trial-1", 1);
    fs::write(place.log.root().join("search/search.toml"), "").unwrap();
    assert!(remove_run(&trial).unwrap_err().to_string().contains("a trial of the search"));
    assert!(trial.join("run.toml").exists());
}

/// Who appends waits while another process writes.
#[test]
fn an_append_waits_for_the_lock() {
    let place = Place::new();
    let path = place.run("one", 1);
    let mut other = File::options().create(true).append(true).open(place.log.path()).unwrap();
    other.lock().unwrap();
    thread::scope(|scope| {
        let append = scope.spawn(|| place.log.append(Event::Resume, &path));
        thread::sleep(Duration::from_millis(150));
        other.write_all(b"a line of another process\n").unwrap();
        other.unlock().unwrap();
        append.join().unwrap().unwrap();
    });
    let text = place.text();
    assert!(text.starts_with("a line of another process\n{"), "{text}");
    assert_eq!(text.lines().count(), 2);
}

/// Twenty writers at once: as many whole lines as were written. (Between processes: `tests/program/run_log.rs`.)
#[test]
fn writers_at_once_lose_nothing() {
    let place = Place::new();
    let path = place.run("one", 1);
    let (writers, each) = (20, 10);
    let barrier = Barrier::new(writers);
    thread::scope(|scope| {
        for _ in 0..writers {
            scope.spawn(|| {
                barrier.wait();
                for _ in 0..each {
                    place.log.append(Event::Resume, &path).unwrap();
                }
            });
        }
    });
    assert_eq!(place.text().lines().count(), writers * each);
    assert!(place.log.list().unwrap().faults.is_empty());
}
