//! Good and bad data files, through the public interface: every fault is one line that names the
//! file, with the exit code for bad data; nothing panics, waits or dies by a signal.
#![cfg(unix)]

#[path = "common/sets.rs"]
mod sets;

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
#[cfg(feature = "program")]
use std::process::Child;
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use sets::{NAMES, Scratch, gzip, idx, images, pixel};
use threadcount::Error;
#[cfg(feature = "program")]
use threadcount::cli::open_places;
use threadcount::data::{
    Cache, Dataset, Half, Identity, Places, Source, exit_on_lost_pages, fashion_mnist, synthetic,
};

/// Opens the set, which must fail, about this file, in one line that holds `fault`.
#[track_caller]
fn refused(scratch: &Scratch, path: &Path, fault: &str) {
    let error = Dataset::open_folder(&scratch.folder, &scratch.cache).expect_err(fault);
    let line = error.to_string();
    assert!(matches!(error, Error::Data { .. }), "{line}");
    assert_eq!(error.exit_code(), 3);
    assert!(line.starts_with(&format!("{}: ", path.display())), "{line}");
    assert!(line.contains(fault), "{line:?} does not say {fault:?}");
    assert_eq!(line.lines().count(), 1, "{line}");
}

/// The set with one raw file replaced.
#[track_caller]
fn refused_raw(name: &str, bytes: &[u8], fault: &str) {
    let scratch = Scratch::good();
    let path = scratch.put(name, bytes);
    refused(&scratch, &path, fault);
}

/// The set with one file replaced by a packed one; nothing may be left in the cache.
#[track_caller]
fn refused_packed(name: &str, packed: &[u8], fault: &str) {
    let scratch = Scratch::good();
    let path = scratch.put_packed(name, packed);
    refused(&scratch, &path, fault);
    assert_eq!(scratch.unpacked(), []);
}

#[test]
fn a_good_set_is_read_as_written() {
    let scratch = Scratch::good();
    let set = Dataset::open_folder(&scratch.folder, &scratch.cache).unwrap();
    assert_eq!((set.identity, &set.origin), (Identity::Other, &scratch.folder));
    for (half, count) in [(Half::Train, 20), (Half::Test, 10)] {
        let part = set.part(half);
        let images = &part.images;
        assert_eq!(
            [images.count(), images.height(), images.width(), images.pixels()],
            [count, 3, 4, 12]
        );
        assert_eq!(part.labels.count(), count);
        for n in 0..count {
            let expected: Vec<u8> = (0..12).map(|i| pixel(n, i)).collect();
            assert_eq!(images.image(n), expected);
            assert_eq!(part.labels.as_slice()[n], (n % 10) as u8);
        }
    }
}

#[test]
fn bad_headers_and_lengths() {
    let good = images(20, 3, 4);
    let [mut magic, mut floats, mut odd_type] = [good.clone(), good.clone(), good.clone()];
    magic[0] = 0x50;
    floats[2] = 0x0d;
    odd_type[2] = 0x42;
    for (bytes, fault) in [
        (vec![], "the file is empty"),
        (good[..3].to_vec(), "truncated: 3 bytes do not hold an IDX header"),
        (good[..9].to_vec(), "truncated: the header alone has 16 bytes, the file 9"),
        (magic, "not an IDX file (it begins with 50 00"),
        (b"<html>404</html>".to_vec(), "not an IDX file"),
        (gzip(&good), "holds gzip data under a raw file's name"),
        (floats, "32-bit floats (0x0d)"),
        (odd_type, "of an unknown type (0x42)"),
        (idx(&[20], &[0; 20]), "has 1 dimensions where images have 3"),
        (idx(&[20, 3, 2, 2], &[0; 240]), "has 4 dimensions where images have 3"),
        (idx(&[u32::MAX; 3], &[0; 100]), "more than can be addressed"),
        (idx(&[1 << 31, 1 << 31, 4], &[0; 100]), "more than can be addressed"),
        (
            idx(&[1 << 31, 1 << 20, 1], &[0; 100]),
            "truncated: the header promises 2251799813685264 bytes",
        ),
        (
            good[..good.len() - 1].to_vec(),
            "truncated: the header promises 256 bytes, the file has 255",
        ),
        (
            [&good[..], &[0]].concat(),
            "has trailing bytes: the header promises 256 bytes, the file has 257",
        ),
        (idx(&[0, 3, 4], &[]), "holds no images"),
        (idx(&[20, 0, 4], &[]), "its images measure 0x4 pixels"),
        (idx(&[20, 3, 0], &[]), "its images measure 3x0 pixels"),
    ] {
        refused_raw(NAMES[0], &bytes, fault);
    }
    refused_raw(NAMES[1], &good, "has 3 dimensions where labels have 1");
    refused_raw(NAMES[3], &idx(&[0], &[]), "holds no labels");
    refused_raw(NAMES[3], &idx(&[10], &[0; 9]), "truncated");
}

#[test]
fn labels_and_images_that_do_not_fit() {
    let mut labels = vec![9; 20];
    labels[7] = 10;
    refused_raw(NAMES[1], &idx(&[20], &labels), "label 7 is 10; labels are 0 to 9");
    refused_raw(NAMES[1], &idx(&[19], &[0; 19]), "holds 19 labels for 20 images");
    refused_raw(NAMES[3], &idx(&[11], &[0; 11]), "holds 11 labels for 10 images");
    refused_raw(NAMES[2], &images(10, 4, 3), "its images measure 4x3, the training images 3x4");
    // The same faults in a packed file name the packed file, not its copy in the cache.
    let scratch = Scratch::good();
    let path = scratch.put_packed(NAMES[1], &gzip(&idx(&[20], &labels)));
    refused(&scratch, &path, "label 7 is 10");
    let scratch = Scratch::good();
    let path = scratch.put_packed(NAMES[1], &gzip(&idx(&[19], &[0; 19])));
    refused(&scratch, &path, "holds 19 labels for 20 images");
}

#[test]
fn things_that_are_no_files() {
    for packed in ["", ".gz"] {
        let replace = |with: &dyn Fn(&Path)| {
            let scratch = Scratch::good();
            fs::remove_file(scratch.folder.join(NAMES[0])).unwrap();
            let path = scratch.folder.join(format!("{}{packed}", NAMES[0]));
            with(&path);
            (scratch, path)
        };
        let (scratch, path) = replace(&|path| fs::create_dir(path).unwrap());
        refused(&scratch, &path, "a folder stands where a file is needed");
        let (scratch, path) = replace(&|path| symlink("/dev/zero", path).unwrap());
        refused(&scratch, &path, "a pipe, socket or device stands where a file is needed");
        let (scratch, path) = replace(&|path| symlink("nowhere", path).unwrap());
        refused(&scratch, &path, "file not found");
        let (scratch, path) = replace(&|path| symlink(path.file_name().unwrap(), path).unwrap());
        refused(&scratch, &path, "cannot be read");
        let (scratch, path) = replace(&|path| {
            assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        });
        // Nobody ever writes to the pipe: whoever opened it plainly would wait for ever.
        let (done, wait) = mpsc::channel();
        thread::spawn(move || {
            refused(&scratch, &path, "a pipe, socket or device stands where a file is needed");
            done.send(()).unwrap();
        });
        wait.recv_timeout(Duration::from_secs(20)).expect("opening a pipe waited or failed");
    }
}

#[test]
fn missing_files_and_folders() {
    for name in NAMES {
        let scratch = Scratch::good();
        fs::remove_file(scratch.folder.join(name)).unwrap();
        refused(&scratch, &scratch.folder.join(name), "not found, nor is its .gz");
    }
    let mut scratch = Scratch::good();
    let file = scratch.folder.join(NAMES[0]);
    scratch.folder.push("missing");
    refused(&scratch, &scratch.folder, "cannot be opened");
    scratch.folder = file;
    refused(&scratch, &scratch.folder, "not a folder");
}

#[test]
fn packed_files_are_unpacked_once() {
    let scratch = Scratch::good();
    for name in NAMES {
        let raw = fs::read(scratch.folder.join(name)).unwrap();
        scratch.put_packed(name, &gzip(&raw));
    }
    let set = Dataset::open_folder(&scratch.folder, &scratch.cache).unwrap();
    assert_eq!(set.train.images.file(), images(20, 3, 4));
    let (first, inode) = (scratch.unpacked(), set.train.images.path().metadata().unwrap().ino());
    assert_eq!(first.len(), 4);
    let again = Dataset::open_folder(&scratch.folder, &scratch.cache).unwrap();
    assert_eq!(scratch.unpacked(), first);
    assert_eq!(again.train.images.path().metadata().unwrap().ino(), inode, "was written again");
    // A raw file is preferred to a packed one.
    scratch.put(NAMES[1], &idx(&[20], &[3; 20]));
    let raw = Dataset::open_folder(&scratch.folder, &scratch.cache).unwrap();
    assert_eq!(raw.train.labels.as_slice(), [3; 20]);
}

#[test]
fn a_changed_packed_file_is_never_served_stale() {
    let scratch = Scratch::good();
    let labels = |label| {
        // Stored, not compressed: the two files have one length.
        let mut encoder = flate2::GzBuilder::new().write(Vec::new(), flate2::Compression::none());
        std::io::Write::write_all(&mut encoder, &idx(&[20], &[label; 20])).unwrap();
        encoder.finish().unwrap()
    };
    let path = scratch.put_packed(NAMES[1], &labels(1));
    let time = path.metadata().unwrap().modified().unwrap();
    for label in [1, 2, 1] {
        fs::write(&path, labels(label)).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        let set = Dataset::open_folder(&scratch.folder, &scratch.cache).unwrap();
        assert_eq!(set.train.labels.as_slice(), [label; 20]);
    }
}

#[test]
fn a_damaged_copy_in_the_cache_is_made_anew() {
    let scratch = Scratch::good();
    scratch.put_packed(NAMES[0], &gzip(&images(20, 3, 4)));
    let copy = |set: Arc<Dataset>| -> PathBuf { set.train.images.path().to_owned() };
    let copy = copy(Dataset::open_folder(&scratch.folder, &scratch.cache).unwrap());
    for damage in [&b""[..], b"short", &images(20, 3, 4)[..100]] {
        fs::write(&copy, damage).unwrap();
        let set = Dataset::open_folder(&scratch.folder, &scratch.cache).unwrap();
        assert_eq!(set.train.images.file(), images(20, 3, 4));
    }
}

#[test]
fn broken_gzip() {
    let good = images(20, 3, 4);
    let packed = gzip(&good);
    refused_packed(NAMES[0], &[], "not a gzip file");
    refused_packed(NAMES[0], &good, "not a gzip file");
    for cut in [2, 9, 12, packed.len() / 2, packed.len() - 8, packed.len() - 1] {
        refused_packed(NAMES[0], &packed[..cut], "broken gzip data");
    }
    for (byte, fault) in [
        (packed.len() - 8, "broken gzip data"),
        (packed.len() - 1, "broken gzip data"),
        (2, "broken gzip data"),
    ] {
        let mut damaged = packed.clone();
        damaged[byte] ^= 0x10;
        refused_packed(NAMES[0], &damaged, fault);
    }
    refused_packed(NAMES[0], &[&packed[..], b"trailing"].concat(), "broken gzip data");
    refused_packed(
        NAMES[0],
        &gzip(&good[..good.len() - 1]),
        "unpacked, truncated: the header promises 256 bytes, 1 are missing",
    );
    refused_packed(NAMES[0], &gzip(&[&good[..], &[0]].concat()), "unpacked, has trailing bytes");
    refused_packed(
        NAMES[0],
        &[packed.clone(), gzip(&[0])].concat(),
        "unpacked, has trailing bytes",
    );
    refused_packed(NAMES[0], &gzip(&good[..7]), "unpacked, truncated: the header alone");
    refused_packed(NAMES[0], &gzip(b""), "unpacked, truncated: 0 bytes");
    refused_packed(NAMES[0], &gzip(&idx(&[u32::MAX; 3], &[])), "more than can be addressed");
    refused_packed(NAMES[0], &gzip(&gzip(&good)), "unpacked, holds gzip data");
    // Two members are one file to gzip.
    let scratch = Scratch::good();
    scratch.put_packed(NAMES[0], &[gzip(&good[..100]), gzip(&good[100..])].concat());
    assert_eq!(
        Dataset::open_folder(&scratch.folder, &scratch.cache).unwrap().train.images.file(),
        good
    );
}

#[test]
fn gzip_bombs_stop_at_what_the_header_promises() {
    // 64 MB of zeros behind a header that promises 240 bytes.
    let mut bomb = images(20, 3, 4);
    bomb.resize(64 << 20, 0);
    refused_packed(NAMES[0], &gzip(&bomb), "unpacked, has trailing bytes: the header promises 256");
    // A header that promises 1 TB in some hundred bytes: refused before anything is written.
    let scratch = Scratch::good();
    let packed = gzip(&idx(&[1 << 20, 1 << 10, 1 << 10], &[0; 4096]));
    let path = scratch.put_packed(NAMES[0], &packed);
    refused(&scratch, &path, "packed bytes can hold");
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let scratch = Scratch::good();
    scratch.put_packed(NAMES[0], &gzip(&images(20, 3, 4)));
    let file = scratch.path().join("file");
    fs::write(&file, "").unwrap();
    let cache = Cache::at(file.join("cache"));
    let error = Dataset::open_folder(&scratch.folder, &cache).unwrap_err();
    assert_eq!(error.exit_code(), 3);
    let line = error.to_string();
    assert!(line.starts_with(&file.display().to_string()), "{line}");
    assert!(
        line.contains("the cache folder cannot be written") && line.contains("THREADCOUNT_CACHE"),
        "{line}"
    );
    // A set of raw files needs no cache.
    let raw = Scratch::good();
    Dataset::open_folder(&raw.folder, &cache).unwrap();
}

#[test]
fn a_set_is_found_in_the_promised_order() {
    let scratch = Scratch::good();
    let places = |explicit: Option<&Path>, local: &str| Places {
        explicit: explicit.map(Path::to_owned),
        local: scratch.path().join(local),
        cache: scratch.cache.clone(),
    };
    let found = |places: Places| places.locate().map(|location| (location.source, location.folder));
    // Nothing there: the synthetic set, below the cache; looking has made nothing.
    let (source, folder) = found(places(None, "nothing")).unwrap();
    assert_eq!(source, Source::Synthetic);
    assert!(folder.starts_with(scratch.cache.root().unwrap()) && !folder.exists());
    assert!(
        places(None, "nothing")
            .verify()
            .unwrap_err()
            .to_string()
            .contains("threadcount data fetch")
    );
    // The fetched set counts once it is complete.
    let cached = scratch.cache.fashion_mnist().unwrap();
    fs::create_dir_all(&cached).unwrap();
    for (i, name) in NAMES.iter().enumerate() {
        assert_eq!(found(places(None, "nothing")).unwrap().0, Source::Synthetic, "{i} files");
        fs::copy(scratch.folder.join(name), cached.join(name)).unwrap();
    }
    assert_eq!(found(places(None, "nothing")).unwrap(), (Source::Cached, cached.clone()));
    // The local folder comes before it, even with one file only: that is an error to be told.
    let local = scratch.path().join("local");
    fs::create_dir(&local).unwrap();
    assert_eq!(found(places(None, "local")).unwrap().0, Source::Cached);
    fs::copy(scratch.folder.join(NAMES[3]), local.join(NAMES[3])).unwrap();
    assert_eq!(found(places(None, "local")).unwrap(), (Source::Local, local));
    assert_eq!(places(None, "local").open().unwrap_err().exit_code(), 3);
    // An explicit folder comes first and is never passed over.
    assert_eq!(
        found(places(Some(&scratch.folder), "local")).unwrap(),
        (Source::Explicit, scratch.folder.clone())
    );
    let missing = scratch.path().join("missing");
    assert!(
        matches!(found(places(Some(&missing), "local")), Err(Error::Data { path, .. }) if path == missing)
    );
}

#[test]
fn verify_reports_every_file() {
    let scratch = Scratch::good();
    scratch.put_packed(NAMES[2], &gzip(&images(10, 3, 4)));
    let report = fashion_mnist::verify(&scratch.folder, &scratch.cache);
    assert!(!report.is_official());
    let text = report.to_string();
    assert!(
        text.contains("20x3x4")
            && text.contains("t10k-images-idx3-ubyte.gz")
            && text.contains("another set"),
        "{text}"
    );
    report.into_result().unwrap();

    scratch.put(NAMES[0], b"bad");
    fs::remove_file(scratch.folder.join(NAMES[3])).unwrap();
    let report = fashion_mnist::verify(&scratch.folder, &scratch.cache);
    let text = report.to_string();
    assert_eq!(text.matches("BAD").count(), 2, "{text}");
    assert!(text.contains("cannot be used"), "{text}");
    assert!(report.into_result().unwrap_err().to_string().contains(NAMES[0]));
}

/// The synthetic set has the form of the real one, and is one function of its seed.
#[test]
fn the_synthetic_set_is_a_set_and_says_what_it_is() {
    let scratch = Scratch::empty();
    let make = |name: &str, seed, train, test| {
        let folder = scratch.path().join(name);
        fs::create_dir(&folder).unwrap();
        synthetic::generate(&folder, seed, train, test).unwrap();
        Dataset::open_folder(&folder, &scratch.cache).unwrap()
    };
    let set = make("a", 3, 5000, 230);
    assert_eq!(set.identity, Identity::Synthetic);
    assert_eq!(
        [set.train.images.count(), set.train.images.height(), set.train.images.width()],
        [5000, 28, 28]
    );
    assert_eq!(set.test.images.count(), 230);
    for part in [&set.train, &set.test] {
        let labels = part.labels.as_slice();
        let counts = (0..10).map(|class| labels.iter().filter(|&&label| label == class).count());
        assert!(
            counts.clone().all(|count| count == labels.len() / 10),
            "{:?}",
            counts.collect::<Vec<_>>()
        );
        // Something is drawn in each image, and something is left black.
        for (n, label) in labels.iter().enumerate() {
            let bright = part.images.image(n).iter().filter(|&&byte| byte > 40).count();
            assert!(
                (20..700).contains(&bright),
                "image {n}, label {label}: {bright} bright pixels"
            );
        }
    }
    // The same at another size (so at any order of threads), another with another seed.
    let shorter = make("b", 3, 70, 10);
    assert_eq!(shorter.train.images.as_slice(), &set.train.images.as_slice()[..70 * 784]);
    assert_eq!(shorter.train.labels.as_slice(), &set.train.labels.as_slice()[..70]);
    assert_ne!(make("c", 4, 70, 10).train.images.as_slice(), shorter.train.images.as_slice());
    // Training and test images are not the same ones.
    assert_ne!(set.train.images.image(0), set.test.images.image(0));
    let note = fs::read_to_string(scratch.path().join("a").join(synthetic::MARKER)).unwrap();
    assert!(note.contains("NOT Fashion-MNIST"), "{note}");
}

#[test]
fn the_real_set_is_known_by_its_checksums() {
    let Some(folder) = std::env::var_os("THREADCOUNT_DATA").map(PathBuf::from) else {
        eprintln!("skipped: THREADCOUNT_DATA names no set");
        return;
    };
    let scratch = Scratch::empty();
    let set = Dataset::open_folder(&folder, &scratch.cache).unwrap();
    if set.identity != Identity::FashionMnist {
        eprintln!("skipped: {} does not hold Fashion-MNIST", folder.display());
        return;
    }
    assert_eq!(
        [set.train.images.count(), set.test.images.count(), set.train.images.pixels()],
        [60_000, 10_000, 784]
    );
    // Published: 6,000 and 1,000 of each class; the first training image is an ankle boot.
    for (half, each) in [(Half::Train, 6000), (Half::Test, 1000)] {
        let labels = set.part(half).labels.as_slice();
        assert!(
            (0..10).all(|class| labels.iter().filter(|&&label| label == class).count() == each)
        );
    }
    assert_eq!(set.class_name(set.train.labels.as_slice()[0]), "Ankle boot");
    let report = fashion_mnist::verify(&folder, &scratch.cache);
    assert!(
        report.is_official() && report.to_string().contains("This is Fashion-MNIST"),
        "{report}"
    );

    // One bit of one pixel changed: another set.
    let changed = scratch.folder.clone();
    for (file, name) in [
        set.train.images.file(),
        set.train.labels.file(),
        set.test.images.file(),
        set.test.labels.file(),
    ]
    .into_iter()
    .zip(NAMES)
    {
        fs::write(changed.join(name), file).unwrap();
    }
    assert_eq!(
        Dataset::open_folder(&changed, &scratch.cache).unwrap().identity,
        Identity::FashionMnist
    );
    let mut bytes = fs::read(changed.join(NAMES[2])).unwrap();
    bytes[5000] ^= 1;
    fs::write(changed.join(NAMES[2]), bytes).unwrap();
    assert_eq!(Dataset::open_folder(&changed, &scratch.cache).unwrap().identity, Identity::Other);
}

// The rest runs this very test program as another process, which does one thing and is watched.

/// Runs the test `name` of this program as a child, with a folder in its environment.
fn child(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env("THREADCOUNT_TEST_CHILD", folder);
    command
}

/// The folder, if this process is such a child.
fn child_folder() -> Option<PathBuf> {
    std::env::var_os("THREADCOUNT_TEST_CHILD").map(PathBuf::from)
}

#[test]
fn child_reads_a_file_that_is_cut_short() {
    let Some(folder) = child_folder() else { return };
    exit_on_lost_pages().unwrap();
    let set = Dataset::open_folder(&folder, &Cache::at("/nonexistent")).unwrap();
    let file = fs::File::options().write(true).open(set.train.images.path()).unwrap();
    file.set_len(100).unwrap();
    // On another thread than the one that mapped the file, as in a training run.
    let sum = thread::spawn(move || {
        set.train.images.as_slice().iter().map(|&byte| u64::from(byte)).sum::<u64>()
    });
    panic!("read pages that are gone: {:?}", sum.join());
}

#[test]
fn a_file_cut_short_while_in_use_ends_in_one_line() {
    let scratch = Scratch::good();
    let path = scratch.put(NAMES[0], &images(20, 300, 400));
    scratch.put(NAMES[2], &images(10, 300, 400));
    let output = child("child_reads_a_file_that_is_cut_short", &scratch.folder).output().unwrap();
    assert_eq!((output.status.code(), output.status.signal()), (Some(3), None), "{output:?}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    let line = format!("threadcount: error: {}: the file was cut short", path.display());
    assert!(stderr.contains(&line), "{stderr}");
    assert_eq!(stderr.matches("threadcount: error:").count(), 1, "{stderr}");
}

#[test]
fn child_of_a_host_with_a_handler() {
    let Some(folder) = child_folder() else { return };
    extern "C" fn handler(_: i32) {
        std::process::exit(77);
    }
    // SAFETY: the handler has the form that `signal` asks for.
    unsafe { libc::signal(libc::SIGBUS, handler as *const () as usize) };
    let set = Dataset::open_folder(&folder, &Cache::at("/nonexistent")).unwrap();
    let file = fs::File::options().write(true).open(set.train.images.path()).unwrap();
    file.set_len(100).unwrap();
    let sum: u64 = set.train.images.as_slice().iter().map(|&byte| u64::from(byte)).sum();
    panic!("read pages that are gone: {sum}");
}

/// A library leaves its host's signals alone.
#[test]
fn opening_a_set_installs_no_handler() {
    let scratch = Scratch::good();
    scratch.put(NAMES[0], &images(20, 300, 400));
    scratch.put(NAMES[2], &images(10, 300, 400));
    let output = child("child_of_a_host_with_a_handler", &scratch.folder).output().unwrap();
    assert_eq!(output.status.code(), Some(77), "{output:?}");
}

#[test]
fn child_is_sent_a_signal() {
    let Some(folder) = child_folder() else { return };
    exit_on_lost_pages().unwrap();
    let _set = Dataset::open_folder(&folder, &Cache::at("/nonexistent")).unwrap();
    let me = std::process::id().to_string();
    assert!(Command::new("kill").args(["-BUS", &me]).status().unwrap().success());
    thread::sleep(Duration::from_secs(20));
    panic!("survived SIGBUS");
}

#[test]
fn a_sigbus_that_is_not_ours_still_kills() {
    let scratch = Scratch::good();
    let output = child("child_is_sent_a_signal", &scratch.folder).output().unwrap();
    const SIGBUS: i32 = 7;
    assert_eq!(output.status.signal(), Some(SIGBUS), "{output:?}");
}

#[test]
fn child_opens_a_packed_set() {
    let Some(folder) = child_folder() else { return };
    let set = Dataset::open_folder(&folder.join("set"), &Cache::at(folder.join("cache"))).unwrap();
    assert_eq!(set.train.images.file(), images(2000, 28, 28));
}

#[test]
fn processes_may_unpack_at_once() {
    let scratch = Scratch::good();
    scratch.put_packed(NAMES[0], &gzip(&images(2000, 28, 28)));
    scratch.put(NAMES[1], &idx(&[2000], &[1; 2000]));
    scratch.put(NAMES[2], &images(10, 28, 28));
    let start = |_| {
        let mut child = child("child_opens_a_packed_set", scratch.path());
        child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<_> = (0..8).map(start).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(scratch.unpacked().len(), 1, "one copy, no temporary files");
}

#[test]
#[cfg(feature = "program")]
fn child_finds_no_data() {
    let Some(folder) = child_folder() else { return };
    let places = Places {
        explicit: None,
        local: folder.join("nothing"),
        cache: Cache::at(folder.join("cache")),
    };
    assert_eq!(open_places(&places).unwrap().identity, Identity::Synthetic);
    // The library opens it too, and says nothing.
    assert_eq!(places.open().unwrap().identity, Identity::Synthetic);
}

/// At full size, so this also says that drawing 70,000 images is a matter of seconds.
#[test]
#[cfg(feature = "program")]
fn without_data_the_synthetic_set_is_drawn_once_and_announced() {
    let scratch = Scratch::empty();
    let run = || {
        child("child_finds_no_data", scratch.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    };
    let announced = |child: Child| {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(stderr.matches("NOT FASHION-MNIST").count(), 1, "{stderr}");
        stderr
    };
    // Two at once: both succeed, one set is kept.
    let both = [run().unwrap(), run().unwrap()];
    for child in both {
        announced(child);
    }
    let cache = scratch.cache.root().unwrap();
    let entries: Vec<_> =
        fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(entries, [synthetic::folder_name().as_str()]);
    let images = cache.join(synthetic::folder_name()).join(NAMES[0]);
    let inode = images.metadata().unwrap().ino();
    assert!(!announced(run().unwrap()).contains("drawing"), "was drawn again");
    assert_eq!(images.metadata().unwrap().ino(), inode);
    // Damaged: drawn anew, not used and not complained about.
    fs::write(&images, "damage").unwrap();
    assert_eq!(synthetic::ensure(&scratch.cache).unwrap(), cache.join(synthetic::folder_name()));
    let set = Dataset::open_folder(images.parent().unwrap(), &scratch.cache).unwrap();
    assert_eq!([set.train.images.count(), set.test.images.count()], [60_000, 10_000]);
    assert_eq!((set.identity, set.class_name(9).as_str()), (Identity::Synthetic, "Ankle boot"));
}
