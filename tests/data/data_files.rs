//! Good and bad data files, through the public interface: every fault is one line that names the
//! file, with the exit code for bad data; nothing panics, waits or dies by a signal.
#![cfg(unix)]

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

use crate::common::sets::{NAMES, Scratch, gzip, idx, images, pixel};
use threadcount::Error;
#[cfg(feature = "program")]
use threadcount::cli::open_places;
use threadcount::data::{
    Cache, Dataset, Half, Identity, Places, Source, exit_on_lost_pages, synthetic, verify,
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
        (b"<html>404</html>".to_vec(), "not an IDX file but a web page: the download failed"),
        (b"\n <!DOCTYPE html>".to_vec(), "not an IDX file but a web page"),
        (b"PK\x03\x04....".to_vec(), "not an IDX file but a zip archive: unpack it"),
        (b"\xfd7zXZ\0....".to_vec(), "not an IDX file but an xz file: unpack it"),
        (b"BZh91AY&SY".to_vec(), "not an IDX file but a bzip2 file: unpack it"),
        (
            b"\x93NUMPY\x01\x00".to_vec(),
            "not an IDX file but a NumPy array: let its name end in .npy",
        ),
        (b"version https://git-lfs.github.com/spec/v1".to_vec(), "a pointer of git-lfs"),
        (floats, "32-bit floats (0x0d)"),
        (odd_type, "of an unknown type (0x42)"),
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
        (idx(&[20, 0, 4], &[]), "its images measure 0x4 numbers"),
        (idx(&[20, 3, 0], &[]), "its images measure 3x0 numbers"),
    ] {
        refused_raw(NAMES[0], &bytes, fault);
    }
    refused_raw(NAMES[3], &idx(&[0], &[]), "holds no labels");
    // Labels may be integers, images may not, though the file is as long as it says.
    let mut integers = idx(&[20, 3, 4], &[0; 20 * 3 * 4 * 4]);
    integers[2] = 0x0c;
    refused_raw(NAMES[0], &integers, "32-bit integers (0x0c); convert them to unsigned bytes");
    refused_raw(NAMES[3], &idx(&[10], &[0; 9]), "truncated");
}

/// Every form but the right one is named as what it is; "swapped" is only said where it is so.
#[test]
fn arrays_of_another_form() {
    for (sizes, fault) in [
        (&[20][..], "holds labels, one number each ([20]), where images belong"),
        (
            &[20, 144],
            "holds a row of 144 numbers for each image ([20, 144]), not its height and width; write the sizes [count, height, width], such as [20, 12, 12]",
        ),
        (
            &[20, 12],
            "holds a row of 12 numbers for each image ([20, 12]), not its height and width; write the sizes [count, height, width]",
        ),
        (
            &[20, 3, 5, 6],
            "its channels come first ([20, 3, 5, 6]); put those of each pixel side by side and write the sizes [20, 5, 6, 3]",
        ),
        (&[20, 1, 5, 6], "its channels come first ([20, 1, 5, 6])"),
        (&[20, 5, 6, 4], "its images have 4 channels ([20, 5, 6, 4]); convert them to 1 or 3"),
        (&[20, 2, 2, 2], "its images have 2 channels"),
        (
            &[20, 2, 2, 2, 3],
            "has 5 dimensions ([20, 2, 2, 2, 3]) where images have 3, or 4 with channels",
        ),
        (&[], "has 0 dimensions ([]) where images have 3"),
    ] {
        let bytes = idx(sizes, &vec![1; sizes.iter().product::<u32>() as usize]);
        let scratch = Scratch::good();
        let path = scratch.put(NAMES[0], &bytes);
        refused(&scratch, &path, fault);
        let error = Dataset::open_folder(&scratch.folder, &scratch.cache).unwrap_err();
        assert!(!error.to_string().contains("swapped"), "{error}");
        refused_packed(NAMES[0], &gzip(&bytes), &format!("unpacked, {fault}"));
    }
    for (sizes, fault) in [
        (&[20, 3, 4][..], "holds images ([20, 3, 4]), where labels belong"),
        (&[20, 3, 4, 3], "holds images ([20, 3, 4, 3]), where labels belong"),
        (&[20, 10], "holds 10 numbers for each label ([20, 10]), perhaps one-hot rows"),
        (&[1; 5], "has 5 dimensions ([1, 1, 1, 1, 1]) where labels have 1"),
    ] {
        let bytes = idx(sizes, &vec![1; sizes.iter().product::<u32>() as usize]);
        refused_raw(NAMES[1], &bytes, fault);
    }
    for packed in [false, true] {
        let scratch = Scratch::good();
        let [images, labels] = [0, 1].map(|i| fs::read(scratch.folder.join(NAMES[i])).unwrap());
        let paths = [(NAMES[0], labels), (NAMES[1], images)].map(|(name, bytes)| match packed {
            false => scratch.put(name, &bytes),
            true => scratch.put_packed(name, &gzip(&bytes)),
        });
        refused(&scratch, &paths[0], "images and labels are swapped, exchange the names");
    }
}

/// Sizes written with the last byte first are told from damage, in every place they occur.
#[test]
fn sizes_written_the_other_way_round() {
    let reversed = |sizes: &[u32], elements: &[u8]| {
        let swapped: Vec<u32> = sizes.iter().map(|size| size.swap_bytes()).collect();
        idx(&swapped, elements)
    };
    let says = |sizes: &str| {
        format!("little-endian): read so they are {sizes}, which fits the file exactly")
    };
    for (name, bytes, sizes) in [
        (NAMES[0], reversed(&[20, 3, 4], &[1; 240]), "[20, 3, 4]"),
        (NAMES[0], reversed(&[20, 3, 4, 3], &[1; 720]), "[20, 3, 4, 3]"),
        // As large the other way round as a file may be.
        (NAMES[0], reversed(&[256, 1, 1], &[1; 256]), "[256, 1, 1]"),
        (NAMES[3], reversed(&[10], &[1; 10]), "[10]"),
    ] {
        refused_raw(name, &bytes, &says(sizes));
        refused_packed(name, &gzip(&bytes), &says(sizes));
        let mut short = bytes.clone();
        short.pop();
        let scratch = Scratch::good();
        scratch.put(name, &short);
        let error = Dataset::open_folder(&scratch.folder, &scratch.cache).unwrap_err();
        assert!(!error.to_string().contains("little-endian"), "{error}");
    }
    let mut whole = reversed(&[20, 3, 4], &[1; 240]);
    whole[..4].reverse();
    refused_raw(NAMES[0], &whole, "little-endian: it begins with 03 08 00 00");
}

#[test]
fn labels_and_images_that_do_not_fit() {
    refused_raw(NAMES[1], &idx(&[19], &[0; 19]), "holds 19 labels for 20 images");
    refused_raw(NAMES[3], &idx(&[11], &[0; 11]), "holds 11 labels for 10 images");
    refused_raw(NAMES[2], &images(10, 4, 3), "its images measure 4x3, the training images 3x4");
    let colours = idx(&[10, 3, 4, 3], &[0; 360]);
    refused_raw(NAMES[2], &colours, "its images measure 3x4x3, the training images 3x4");
    // The same fault in a packed file names the packed file, not its copy in the cache.
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
        refused(&scratch, &scratch.folder.join(name), "not found, nor is its .gz; put it there");
        // A copy of the other part's file is not it, one of its own is.
        let other = NAMES[(NAMES.iter().position(|&own| own == name).unwrap() + 2) % 4];
        scratch.put(&format!("{other} (1)"), b"");
        refused(&scratch, &scratch.folder.join(name), "not found, nor is its .gz; put it there");
        scratch.put(&format!("{name} (1)"), b"");
        let wanted = format!("not found, nor is its .gz; if \"{name} (1)\" is it, give it");
        refused(&scratch, &scratch.folder.join(name), &wanted);
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
    refused_packed(NAMES[0], &[], "the file is empty");
    refused_packed(NAMES[0], &packed[..1], "truncated: 1 bytes do not hold an IDX header");
    refused_packed(NAMES[0], b"<html>404</html>", "not an IDX file but a web page");
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
    refused_packed(
        NAMES[0],
        &gzip(&gzip(&good)),
        "unpacked, not an IDX file but gzip data, packed twice",
    );
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

/// As gzip has it: zeros behind the last member end the file, however many; anything else does not.
#[test]
fn zeros_behind_a_packed_file_end_it() {
    let good = images(20, 3, 4);
    let two = [gzip(&good[..100]), gzip(&good[100..])].concat();
    for packed in [gzip(&good), two] {
        // One, a block of a tape, and more than is read at once.
        for zeros in [1, 512 - packed.len() % 512, 300_000] {
            let padded = [&packed[..], &vec![0; zeros]].concat();
            let scratch = Scratch::good();
            scratch.put_packed(NAMES[0], &padded);
            let set = Dataset::open_folder(&scratch.folder, &scratch.cache).unwrap();
            assert_eq!(set.train.images.file(), good, "{zeros} zeros");
            refused_packed(NAMES[0], &[&padded[..], b"x"].concat(), "broken gzip data");
        }
        let between = [&packed[..], &[0; 9], &gzip(&[0])].concat();
        refused_packed(NAMES[0], &between, "broken gzip data");
    }
}

/// Contents count, not names: browsers unpack a file and keep its name, or the other way round.
#[test]
fn a_file_is_packed_if_it_is_whatever_its_name_says() {
    for name in NAMES {
        let scratch = Scratch::good();
        let raw = fs::read(scratch.folder.join(name)).unwrap();
        let want = Dataset::open_folder(&scratch.folder, &scratch.cache).unwrap();
        let same = |scratch: &Scratch| {
            let set = Dataset::open_folder(&scratch.folder, &scratch.cache).unwrap();
            for (part, want) in [(&set.train, &want.train), (&set.test, &want.test)] {
                assert_eq!(part.images.as_slice(), want.images.as_slice(), "{name}");
                assert_eq!(part.labels.as_slice(), want.labels.as_slice(), "{name}");
            }
            assert_eq!(set.remarks(), [""; 0]);
            verify(&scratch.folder, &scratch.cache).unwrap().into_result().unwrap();
        };
        scratch.put_packed(name, &raw);
        same(&scratch);
        let scratch = Scratch::good();
        scratch.put(name, &gzip(&raw));
        same(&scratch);
    }
}

#[test]
fn a_cache_that_cannot_be_written_is_done_without() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let cache = Cache::at(file.path().join("cache"));
    for name in NAMES {
        let scratch = Scratch::good();
        let raw = fs::read(scratch.folder.join(name)).unwrap();
        let path = scratch.put_packed(name, &gzip(&raw));
        let set = Dataset::open_folder(&scratch.folder, &cache).unwrap();
        assert_eq!(set.train.images.file(), images(20, 3, 4));
        assert_eq!(set.test.labels.as_slice(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let [remark] = &set.remarks()[..] else { panic!("{:?}", set.remarks()) };
        let says = format!("{}: unpacked into memory, as the cache folder", path.display());
        assert!(remark.starts_with(&says) && remark.contains("THREADCOUNT_CACHE"), "{remark}");
        let report = verify(&scratch.folder, &cache).unwrap();
        assert!(report.to_string().contains("unpacked into memory"), "{report}");
        // What is wrong with the file is still found.
        let path = scratch.put(&format!("{name}.gz"), &gzip(&raw[..raw.len() - 1]));
        let error = Dataset::open_folder(&scratch.folder, &cache).unwrap_err().to_string();
        assert!(error.starts_with(&path.display().to_string()), "{error}");
        assert!(error.contains("unpacked, truncated"), "{error}");
    }
    // A set of raw files needs no cache, and there is nothing to say.
    let raw = Scratch::good();
    assert_eq!(Dataset::open_folder(&raw.folder, &cache).unwrap().remarks(), [""; 0]);
    // What was unpacked before a cache became read-only is used.
    let scratch = Scratch::good();
    scratch.put_packed(NAMES[0], &gzip(&images(20, 3, 4)));
    Dataset::open_folder(&scratch.folder, &scratch.cache).unwrap();
    let unpacked = scratch.cache.root().unwrap().join("unpacked");
    let mut mode = unpacked.metadata().unwrap().permissions();
    mode.set_readonly(true);
    fs::set_permissions(&unpacked, mode).unwrap();
    assert_eq!(Dataset::open_folder(&scratch.folder, &scratch.cache).unwrap().remarks(), [""; 0]);
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
    let report = verify(&scratch.folder, &scratch.cache).unwrap();
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
    let report = verify(&scratch.folder, &scratch.cache).unwrap();
    let text = report.to_string();
    assert_eq!(text.matches("BAD").count(), 2, "{text}");
    assert!(report.set.is_none() && text.ends_with("cannot be used as it is.\n"), "{text}");
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
    let report = verify(&folder, &scratch.cache).unwrap();
    assert!(
        report.is_official() && report.to_string().contains("This is Fashion-MNIST"),
        "{report}"
    );

    // One bit of one pixel changed: another set.
    let changed = scratch.folder.clone();
    for (part, [images, labels]) in
        [(&set.train, [NAMES[0], NAMES[1]]), (&set.test, [NAMES[2], NAMES[3]])]
    {
        fs::write(changed.join(images), part.images.file()).unwrap();
        let bytes = idx(&[part.labels.count() as u32], part.labels.as_slice());
        fs::write(changed.join(labels), bytes).unwrap();
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
        .args(["--exact", &format!("data_files::{name}"), "--nocapture", "--test-threads=1"])
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
    let entries = || {
        let names = fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(entries(), [".lock", &synthetic::folder_name()]);
    let images = cache.join(synthetic::folder_name()).join(NAMES[0]);
    let inode = images.metadata().unwrap().ino();
    assert!(!announced(run().unwrap()).contains("drawing"), "was drawn again");
    assert_eq!(images.metadata().unwrap().ino(), inode);
    // Damaged: drawn anew by one of those who find it so, not used and not complained about.
    fs::write(&images, "damage").unwrap();
    for child in [run().unwrap(), run().unwrap(), run().unwrap()] {
        announced(child);
    }
    assert_eq!(entries(), [".lock", &synthetic::folder_name()]);
    assert_eq!(synthetic::ensure(&scratch.cache).unwrap(), cache.join(synthetic::folder_name()));
    let set = Dataset::open_folder(images.parent().unwrap(), &scratch.cache).unwrap();
    assert_eq!([set.train.images.count(), set.test.images.count()], [60_000, 10_000]);
    assert_eq!((set.identity, set.class_name(9).as_str()), (Identity::Synthetic, "Ankle boot"));
}
