//! Downloads, against servers on this machine: mirrors in turn, checksums, bounds in length and
//! time.
#![cfg(feature = "fetch")]

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use threadcount::Error;
use threadcount::data::Fetch;
use threadcount::data::fetch::{Fetched, Wanted};
use tiny_http::{Response, Server};

const NAMES: [&str; 2] = ["images.gz", "labels.gz"];

/// What the good mirror serves.
fn content(name: &str) -> Vec<u8> {
    name.bytes().cycle().take(100_000).collect()
}

fn wanted() -> Vec<Wanted> {
    let file = |name: &str| {
        let digest = Sha256::digest(content(name));
        let sha256 = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Wanted { name: name.to_owned(), len: 100_000, sha256 }
    };
    NAMES.map(file).into()
}

/// How a server answers.
#[derive(Clone, Copy)]
enum Mood {
    Good,
    NotFound,
    WrongBytes,
    TooShort,
    Endless,
}

/// A server for as long as the test program runs, and how often it was asked.
fn server(mood: Mood) -> (String, Arc<AtomicUsize>) {
    let server = Server::http("127.0.0.1:0").unwrap();
    let address = format!("http://{}/data/", server.server_addr());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    thread::spawn(move || {
        for request in server.incoming_requests() {
            count.fetch_add(1, Ordering::Relaxed);
            let name = request.url().strip_prefix("/data/").unwrap_or("").to_owned();
            let mut bytes = content(&name);
            // A client that has read enough hangs up: that is no failure of the server.
            let _ = match mood {
                Mood::Good => request.respond(Response::from_data(bytes)),
                Mood::NotFound => {
                    request.respond(Response::from_string("nothing here").with_status_code(404))
                }
                Mood::WrongBytes => {
                    bytes[70_000] ^= 1;
                    request.respond(Response::from_data(bytes))
                }
                Mood::TooShort => {
                    bytes.truncate(99_999);
                    request.respond(Response::from_data(bytes))
                }
                Mood::Endless => {
                    let zeros = std::io::repeat(0);
                    request.respond(Response::new(200.into(), vec![], zeros, None, None))
                }
            };
        }
    });
    (address, asked)
}

fn fetch(into: &Path, mirrors: &[&str]) -> Fetch {
    Fetch {
        into: into.to_owned(),
        mirrors: mirrors.iter().map(|&mirror| mirror.to_owned()).collect(),
        files: wanted(),
        patience: Duration::from_secs(20),
    }
}

/// The names in a folder, sorted: no temporary file may be left.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn files_arrive_and_are_not_fetched_twice() {
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("deep/set");
    let (good, asked) = server(Mood::Good);
    assert_eq!(
        fetch(&into, &[&good]).run(&mut |_| ()).unwrap(),
        Fetched { downloaded: 2, kept: 0 }
    );
    assert_eq!(names(&into), NAMES);
    assert!(NAMES.iter().all(|name| fs::read(into.join(name)).unwrap() == content(name)));
    // The second run finds them; a damaged one is fetched again.
    assert_eq!(
        fetch(&into, &[&good]).run(&mut |_| ()).unwrap(),
        Fetched { downloaded: 0, kept: 2 }
    );
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    fs::write(into.join(NAMES[1]), "damaged").unwrap();
    assert_eq!(
        fetch(&into, &[&good]).run(&mut |_| ()).unwrap(),
        Fetched { downloaded: 1, kept: 1 }
    );
    assert_eq!(fs::read(into.join(NAMES[1])).unwrap(), content(NAMES[1]));
}

#[test]
fn bad_mirrors_are_passed_over() {
    let (good, _) = server(Mood::Good);
    // A port that nobody listens on any more.
    let closed =
        format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    for mood in [Mood::NotFound, Mood::WrongBytes, Mood::TooShort, Mood::Endless] {
        let folder = tempfile::tempdir().unwrap();
        let (bad, asked) = server(mood);
        let fetched =
            fetch(folder.path(), &[&closed, "nonsense", &bad, &good]).run(&mut |_| ()).unwrap();
        assert_eq!(fetched, Fetched { downloaded: 2, kept: 0 });
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        assert_eq!(names(folder.path()), NAMES);
        assert!(
            NAMES.iter().all(|name| fs::read(folder.path().join(name)).unwrap() == content(name))
        );
    }
}

#[test]
fn without_a_good_mirror_nothing_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (wrong, _) = server(Mood::WrongBytes);
    let (missing, _) = server(Mood::NotFound);
    let error = fetch(folder.path(), &[&wrong, &missing]).run(&mut |_| ()).unwrap_err();
    let line = error.to_string();
    assert!(matches!(error, Error::Failed(_)), "{line}");
    for part in [NAMES[0], &wrong, "wrong checksum", &missing, "404"] {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(line.lines().count(), 1);
    assert!(names(folder.path()).is_empty());
    assert!(
        fetch(folder.path(), &[])
            .run(&mut |_| ())
            .unwrap_err()
            .to_string()
            .contains("none is named")
    );
}

#[test]
fn a_silent_mirror_is_left_in_time() {
    let folder = tempfile::tempdir().unwrap();
    // Takes connections (into its backlog) and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (good, _) = server(Mood::Good);
    let mut fetch =
        fetch(folder.path(), &[&format!("http://{}", silent.local_addr().unwrap()), &good]);
    fetch.patience = Duration::from_secs(1);
    fetch.files.truncate(1);
    let start = Instant::now();
    assert_eq!(fetch.run(&mut |_| ()).unwrap(), Fetched { downloaded: 1, kept: 0 });
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let (good, asked) = server(Mood::Good);
    let error = fetch(&file.join("set"), &[&good]).run(&mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("cannot be written") && error.exit_code() == 3, "{error}");
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

#[test]
fn the_official_files_come_from_the_well_known_mirrors() {
    let fetch = Fetch::official("folder".into());
    assert_eq!(fetch.files.len(), 4);
    assert!(
        fetch.files.iter().all(|file| file.name.ends_with("-ubyte.gz") && file.sha256.len() == 64)
    );
    assert!(fetch.mirrors.len() >= 2 && fetch.mirrors[0].contains("fashion-mnist.s3-website"));
}
