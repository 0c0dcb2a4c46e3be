//! Sets made of folders of pictures: pixels arrive where they were, cuts are fair and repeatable,
//! nothing is dropped without a word, and nothing is left of an import that failed.
#![cfg(all(feature = "pictures", unix))]

use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::ops::ControlFlow;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, GrayImage, ImageFormat, LumaA, Rgb, RgbImage, Rgba};
use tempfile::TempDir;
use threadcount::data::pictures::{Colours, Imported, Tones};
use threadcount::data::{Cache, Dataset, Import, ImportEvent};
use threadcount::{Error, Result};

/// A folder of pictures, and a place for the set beside it.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn pictures(&self) -> PathBuf {
        self.0.path().join("pictures")
    }

    fn out(&self) -> PathBuf {
        self.0.path().join("set")
    }

    /// A file below the folder of pictures.
    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.pictures().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// So many grey pictures of 2x2 pixels in a class, each of a tone of its own.
    fn class(&self, name: &str, tones: std::ops::Range<u8>) {
        for tone in tones {
            self.put(&format!("{name}/{tone:03}.png"), grey(2, 2, |_, _| tone));
        }
    }

    fn two_classes() -> Self {
        let desk = Self::new();
        desk.class("a", 0..7);
        desk.class("b", 100..114);
        desk
    }

    fn import(&self) -> Import {
        Import { size: [2, 2], ..Import::new(self.pictures(), self.out()) }
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// One of the four files: its shape and elements.
    fn idx(&self, name: &str) -> (Vec<u32>, Vec<u8>) {
        let bytes = fs::read(self.out().join(name)).unwrap();
        assert_eq!(bytes[..3], [0, 0, 8], "{name}");
        let (head, elements) = bytes[4..].split_at(4 * usize::from(bytes[3]));
        let shape: Vec<_> =
            head.chunks(4).map(|side| u32::from_be_bytes(side.try_into().unwrap())).collect();
        assert_eq!(shape.iter().product::<u32>() as usize, elements.len(), "{name}");
        (shape, elements.to_vec())
    }

    /// The tones of pictures of one tone each, with their labels: training and test part.
    fn tones(&self) -> [Vec<(u8, u8)>; 2] {
        ["train", "t10k"].map(|part| {
            let (shape, pixels) = self.idx(&format!("{part}-images-idx3-ubyte"));
            let (_, labels) = self.idx(&format!("{part}-labels-idx1-ubyte"));
            assert_eq!(shape, [labels.len() as u32, 2, 2]);
            let tones = pixels.chunks(4).map(|image| {
                assert!(image.iter().all(|&pixel| pixel == image[0]), "{image:?}");
                image[0]
            });
            tones.zip(labels).collect()
        })
    }
}

fn silent(_: ImportEvent<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Runs an import; gives the faults that it told of, by the names of the files.
fn with_faults(import: &Import) -> (Result<Imported>, BTreeMap<String, String>) {
    let mut faults = BTreeMap::new();
    let imported = import.run(&mut |event| {
        if let ImportEvent::Unreadable { path, fault } = event {
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(faults.insert(name.to_owned(), fault.to_owned()).is_none(), "{name} twice");
        }
        ControlFlow::Continue(())
    });
    (imported, faults)
}

fn encoded(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn grey(height: u32, width: u32, tone: impl Fn(u32, u32) -> u8) -> Vec<u8> {
    encoded(GrayImage::from_fn(width, height, |x, y| [tone(y, x)].into()), ImageFormat::Png)
}

fn rgb(height: u32, width: u32, colour: impl Fn(u32, u32) -> [u8; 3]) -> Vec<u8> {
    encoded(RgbImage::from_fn(width, height, |x, y| Rgb(colour(y, x))), ImageFormat::Png)
}

/// Two pictures of class `a`, and two of `b` to be told from them.
fn pair(picture: &[u8]) -> Desk {
    let desk = Desk::new();
    desk.put("a/1.png", picture);
    desk.put("a/2.png", picture);
    desk.class("b", 0..2);
    desk
}

/// The training image of class `a` of such a pair.
fn image_of_a(desk: &Desk, import: &Import) -> Vec<u8> {
    import.run(&mut silent).unwrap();
    let (shape, pixels) = desk.idx("train-images-idx3-ubyte");
    let (_, labels) = desk.idx("train-labels-idx1-ubyte");
    let [height, width] = import.size;
    let mut expected = vec![2, height as u32, width as u32];
    if import.colours == Colours::Rgb {
        expected.push(3);
    }
    assert_eq!(shape, expected);
    let a = labels.iter().position(|&label| label == 0).unwrap();
    pixels.chunks(pixels.len() / 2).nth(a).unwrap().to_vec()
}

#[test]
fn pixels_arrive_in_their_row_column_and_channel() {
    let desk = pair(&grey(5, 7, |y, x| (y * 40 + x) as u8));
    let import = Import { size: [5, 7], ..desk.import() };
    let expected: Vec<u8> = (0..5).flat_map(|y| (0..7).map(move |x| y * 40 + x)).collect();
    assert_eq!(image_of_a(&desk, &import), expected);

    let desk = pair(&rgb(5, 7, |y, x| [y as u8 * 40, x as u8 * 30, 200 + (y + x) as u8]));
    let import = Import { size: [5, 7], colours: Colours::Rgb, ..desk.import() };
    let expected: Vec<u8> =
        (0..5).flat_map(|y| (0..7).flat_map(move |x| [y * 40, x * 30, 200 + y + x])).collect();
    assert_eq!(image_of_a(&desk, &import), expected);

    // Grey of colours by the weights of BT.601; inverted, of everything.
    let desk = pair(&rgb(2, 2, |y, x| {
        [[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [9, 9, 9]]][y as usize][x as usize]
    }));
    assert_eq!(image_of_a(&desk, &desk.import()), [76, 150, 29, 9]);
    fs::remove_dir_all(desk.out()).unwrap();
    let import = Import { tones: Tones::Inverted, ..desk.import() };
    assert_eq!(image_of_a(&desk, &import), [179, 105, 226, 246]);
    fs::remove_dir_all(desk.out()).unwrap();
    let import = Import { colours: Colours::Rgb, ..import };
    assert_eq!(image_of_a(&desk, &import), [0, 255, 255, 255, 0, 255, 255, 255, 0, 246, 246, 246]);
}

#[test]
fn every_kind_of_pixel_is_laid_on_white_and_brought_to_bytes() {
    let opaque_then_clear = |bytes: Vec<u8>, expected: [u8; 4]| {
        let desk = pair(&bytes);
        assert_eq!(image_of_a(&desk, &desk.import()), expected);
    };
    type Grey16 = image::ImageBuffer<image::Luma<u16>, Vec<u16>>;
    type Rgba16 = image::ImageBuffer<Rgba<u16>, Vec<u16>>;
    // 0, half covered, clear, full.
    let alpha = |x: u32, y: u32| [[255, 102], [0, 255]][y as usize][x as usize];
    let png = ImageFormat::Png;
    opaque_then_clear(
        encoded(image::GrayAlphaImage::from_fn(2, 2, |x, y| LumaA([0, alpha(x, y)])), png),
        [0, 153, 255, 0],
    );
    opaque_then_clear(
        encoded(image::RgbaImage::from_fn(2, 2, |x, y| Rgba([50, 50, 50, alpha(x, y)])), png),
        [50, 173, 255, 50],
    );
    opaque_then_clear(
        encoded(Grey16::from_fn(2, 2, |x, y| [((y * 2 + x) * 21_845) as u16].into()), png),
        [0, 85, 170, 255],
    );
    opaque_then_clear(
        encoded(Rgba16::from_fn(2, 2, |x, y| Rgba([0, 0, 0, u16::from(alpha(x, y)) * 257])), png),
        [0, 153, 255, 0],
    );
}

#[test]
fn pictures_are_stretched_to_the_size() {
    // Three quarters of the height are white, and the left half of those of the other.
    let desk = pair(&grey(40, 20, |y, _| if y < 30 { 255 } else { 0 }));
    let image = image_of_a(&desk, &Import { size: [8, 10], ..desk.import() });
    let rows: Vec<_> = image.chunks(10).collect();
    assert!(rows[..5].iter().flat_map(|row| *row).all(|&pixel| pixel == 255), "{rows:?}");
    assert!(rows[7].iter().all(|&pixel| pixel == 0), "{rows:?}");

    let desk = pair(&grey(30, 60, |_, x| if x < 30 { 200 } else { 10 }));
    let image = image_of_a(&desk, &Import { size: [6, 6], ..desk.import() });
    for row in image.chunks(6) {
        assert_eq!((row[0], row[1], row[4], row[5]), (200, 200, 10, 10), "{row:?}");
    }
    // What is averaged is all of it, not a point here and there: stripes of one pixel are grey.
    let desk = pair(&grey(64, 64, |_, x| if x % 2 == 0 { 0 } else { 255 }));
    let image = image_of_a(&desk, &Import { size: [8, 8], ..desk.import() });
    assert!(image.iter().all(|&pixel| (120..=135).contains(&pixel)), "{image:?}");
}

/// A JPEG of four fields of one tone each, with an orientation in its EXIF segment.
fn jpeg(orientation: u8) -> Vec<u8> {
    let fields = GrayImage::from_fn(32, 16, |x, y| {
        [[[250, 10], [120, 60]][(y / 8) as usize][(x / 16) as usize]].into()
    });
    let mut plain = Vec::new();
    JpegEncoder::new_with_quality(&mut plain, 100).encode_image(&fields).unwrap();
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let mut bytes = vec![0xff, 0xd8, 0xff, 0xe1];
    bytes.extend((exif.len() as u16 + 2).to_be_bytes());
    bytes.extend(exif);
    bytes.extend(&plain[2..]);
    bytes
}

#[test]
fn jpegs_are_read_and_turned_as_their_tag_says() {
    // Top left, top right, bottom left, bottom right, of the tag's eight values (EXIF 2.3, 4.6.4).
    let [a, b, c, d] = [250, 10, 120, 60];
    for (orientation, expected) in [
        (1, [a, b, c, d]),
        (2, [b, a, d, c]),
        (3, [d, c, b, a]),
        (4, [c, d, a, b]),
        (5, [a, c, b, d]),
        (6, [c, a, d, b]),
        (7, [d, b, c, a]),
        (8, [b, d, a, c]),
    ] {
        let desk = pair(&jpeg(orientation));
        let image = image_of_a(&desk, &Import { size: [8, 8], ..desk.import() });
        let corners = [image[0], image[7], image[56], image[63]];
        for (found, expected) in corners.iter().zip(expected) {
            assert!(found.abs_diff(expected) <= 2, "{orientation}: {corners:?}");
        }
    }
}

#[test]
fn a_cut_is_fair_to_every_class_and_takes_nothing_away() {
    let desk = Desk::new();
    for (class, (first, count)) in
        ["one", "three", "two", "forty"].iter().zip([(0, 1), (10, 3), (20, 2), (100, 40)])
    {
        desk.class(class, first..first + count);
    }
    let imported = desk.import().run(&mut silent).unwrap();
    let counts: Vec<_> =
        imported.classes.iter().map(|class| (&*class.name, class.train, class.test)).collect();
    // 40 / 7 is 5.7.
    assert_eq!(counts, [("forty", 34, 6), ("one", 1, 0), ("three", 2, 1), ("two", 1, 1)]);
    assert_eq!(
        fs::read_to_string(desk.out().join("classes.txt")).unwrap(),
        "forty\none\nthree\ntwo\n"
    );

    let tones = desk.tones();
    for (part, counts) in tones.iter().zip([[34, 1, 2, 1], [6, 0, 1, 1]]) {
        for (label, count) in counts.into_iter().enumerate() {
            assert_eq!(part.iter().filter(|(_, l)| usize::from(*l) == label).count(), count);
        }
    }
    // Every picture once, with the label of its class.
    let mut all = tones.concat();
    all.sort_unstable();
    let labelled = |tones: std::ops::Range<u8>, label| tones.map(move |tone| (tone, label));
    let expected: Vec<_> = labelled(0..1, 1)
        .chain(labelled(10..13, 2))
        .chain(labelled(20..22, 3))
        .chain(labelled(100..140, 0))
        .collect();
    assert_eq!(all, expected);
    // Not one class after the other: the last of them would be lost to whoever holds a tail out.
    for part in &tones {
        assert!(!part.is_sorted_by_key(|(_, label)| label), "{part:?}");
    }
    let half =
        Import { test_fraction: Some(0.5), out: desk.0.path().join("half"), ..desk.import() };
    assert_eq!(half.run(&mut silent).unwrap().classes[0].test, 20);
    // A share is never all or nothing of a class that has two.
    for share in [1e-9, 1.0 - 1e-9] {
        let out = desk.0.path().join(share.to_string());
        let imported =
            Import { test_fraction: Some(share), out, ..desk.import() }.run(&mut silent).unwrap();
        for class in imported.classes.iter().filter(|class| class.name != "one") {
            assert!(class.train > 0 && class.test > 0, "{class:?}");
        }
    }
}

#[test]
fn the_seed_decides_and_the_file_system_does_not() {
    let desk = Desk::two_classes();
    desk.import().run(&mut silent).unwrap();
    let first = desk.tones();
    // The same pictures, made in another order.
    let other = Desk::new();
    for tone in (100..114).rev() {
        other.put(&format!("b/{tone:03}.png"), grey(2, 2, |_, _| tone));
    }
    for tone in [3, 1, 6, 0, 2, 5, 4] {
        other.put(&format!("a/{tone:03}.png"), grey(2, 2, |_, _| tone));
    }
    other.import().run(&mut silent).unwrap();
    for name in fs::read_dir(desk.out()).unwrap().map(|entry| entry.unwrap().file_name()) {
        assert_eq!(
            fs::read(desk.out().join(&name)).unwrap(),
            fs::read(other.out().join(&name)).unwrap(),
            "{name:?}"
        );
    }
    fs::remove_dir_all(other.out()).unwrap();
    Import { seed: 1, ..other.import() }.run(&mut silent).unwrap();
    let second = other.tones();
    let tested = |tones: &[Vec<(u8, u8)>; 2]| {
        let mut tested = tones[1].clone();
        tested.sort_unstable();
        tested
    };
    assert_ne!(tested(&first), tested(&second), "another seed tests on the same pictures");
}

#[test]
fn parts_that_are_filed_stay_parts() {
    for [train, test] in [["train", "test"], ["Training", "testing"], ["train", "val"]] {
        let desk = Desk::new();
        desk.class(&format!("{train}/a"), 0..5);
        desk.class(&format!("{train}/b"), 10..13);
        desk.class(&format!("{test}/a"), 20..21);
        desk.class(&format!("{test}/b"), 30..36);
        let imported = desk.import().run(&mut silent).unwrap();
        let counts: Vec<_> =
            imported.classes.iter().map(|class| (&*class.name, class.train, class.test)).collect();
        assert_eq!(counts, [("a", 5, 1), ("b", 3, 6)]);
        let [trained, tested] = desk.tones();
        assert!(
            trained.iter().all(|&(tone, label)| tone < 20 && label == tone / 10),
            "{trained:?}"
        );
        assert!(tested.iter().all(|&(tone, label)| tone >= 20 && label == tone / 30), "{tested:?}");
        let import =
            Import { test_fraction: Some(0.2), out: desk.0.path().join("other"), ..desk.import() };
        let error = import.run(&mut silent).unwrap_err();
        assert!(matches!(error, Error::Setting { name: "test-fraction", .. }), "{error}");
    }
    // Classes of such names that hold pictures are classes.
    let desk = Desk::new();
    desk.class("train", 0..3);
    desk.class("test", 10..13);
    assert_eq!(desk.import().run(&mut silent).unwrap().classes[1].name, "train");
    // Two of a kind are not added up.
    let desk = Desk::new();
    for part in ["train", "val", "test"] {
        desk.class(&format!("{part}/a"), 0..3);
        desk.class(&format!("{part}/b"), 0..3);
    }
    let error = desk.import().run(&mut silent).unwrap_err().to_string();
    assert!(error.contains("'test', 'train', 'val'"), "{error}");
}

/// A PNG whose header promises another size, with good checksums.
fn promising(png: &[u8], width: u32, height: u32) -> Vec<u8> {
    let mut bytes = png.to_vec();
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let mut crc = flate2::Crc::new();
    crc.update(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    bytes
}

#[test]
fn what_cannot_be_read_is_named_and_counted() {
    let desk = Desk::two_classes();
    let good = grey(9, 9, |y, x| (y * 9 + x) as u8);
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x40;
    let photo = jpeg(1);
    let cases = [
        ("empty.png", vec![], "empty"),
        ("text.png", b"no picture at all".to_vec(), "neither PNG nor JPEG"),
        ("gif.png", b"GIF89a and so on, for a while".to_vec(), "Gif"),
        ("half.png", good[..good.len() / 2].to_vec(), "cannot be decoded"),
        ("head.png", good[..20].to_vec(), "cannot be decoded"),
        ("flipped.png", flipped, "cannot be decoded"),
        ("half.jpg", photo[..photo.len() / 2].to_vec(), "cut short"),
        ("last.jpeg", photo[..photo.len() - 2].to_vec(), "cut short"),
        ("head.JPG", photo[..30].to_vec(), "cut short"),
        ("bomb.png", promising(&good, 60_000, 60_000), "too large"),
        ("long.png", promising(&good, 2_000_000_000, 1), "too large"),
        ("wide.png", promising(&good, 30_000, 30_000), "too large"),
        ("none.png", promising(&good, 0, 5), "cannot be decoded"),
    ];
    for (name, bytes, _) in &cases {
        desk.put(&format!("a/{name}"), bytes);
    }
    symlink("nowhere", desk.pictures().join("a/link.png")).unwrap();
    let pipe = desk.pictures().join("a/pipe.png");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());

    let (imported, faults) = with_faults(&desk.import());
    let imported = imported.unwrap();
    let others = [("link.png", "cannot be read"), ("pipe.png", "a pipe")];
    let expected: Vec<_> =
        cases.iter().map(|(name, _, fault)| (*name, *fault)).chain(others).collect();
    for (name, fault) in &expected {
        assert!(faults[*name].contains(fault), "{name}: {}", faults[*name]);
        assert!(!faults[*name].contains('\n'), "{name}: {}", faults[*name]);
    }
    assert_eq!(faults.len(), expected.len());
    assert_eq!((imported.classes[0].unreadable, imported.classes[1].unreadable), (15, 0));
    // The cut is one of what is left.
    assert_eq!((imported.classes[0].train, imported.classes[0].test), (6, 1));
    assert_eq!(desk.tones().concat().len(), 21);
}

#[test]
fn a_picture_under_another_kinds_name_is_read() {
    let desk = pair(&jpeg(1));
    desk.put("b/x.jpg", grey(2, 2, |_, _| 5));
    let (imported, faults) = with_faults(&desk.import());
    assert_eq!((imported.unwrap().sum(|class| class.unreadable), faults.len()), (0, 0));
}

#[test]
fn files_of_other_kinds_are_counted() {
    let desk = Desk::two_classes();
    for name in [
        "a/notes.txt",
        "b/more.TXT",
        "README",
        "a/scan.webp",
        "a/.DS_Store",
        ".git/a.png",
        "b/sub/.x.png",
    ] {
        desk.put(name, "x");
    }
    desk.put("contact.png", grey(2, 2, |_, _| 0));
    desk.put("b/deep/er/200.PNG", grey(2, 2, |_, _| 200));
    // A folder may be a link; one that leads back up must not be followed for ever.
    symlink(desk.pictures().join("a"), desk.pictures().join("c")).unwrap();
    symlink(desk.pictures().join("b"), desk.pictures().join("b/deep/loop")).unwrap();
    let imported = desk.import().run(&mut silent).unwrap();
    let skipped: Vec<_> = imported.skipped.iter().map(|(kind, n)| (&**kind, *n)).collect();
    let expected =
        [(".txt", 3), (".webp", 2), ("hidden", 4), ("link back", 1), ("no extension", 1)];
    assert_eq!(skipped, expected);
    assert_eq!(imported.unfiled, 1);
    assert_eq!(imported.sum(|class| class.train + class.test), 7 + 15 + 7);
    assert!(desk.tones().concat().contains(&(200, 1)));
}

/// The import is refused with these words, and leaves nothing.
#[track_caller]
fn refuses(desk: &Desk, import: &Import, code: u8, words: &str) {
    let before = desk.names();
    let error = import.run(&mut silent).expect_err(words);
    let line = error.to_string();
    assert!(line.contains(words), "{line}");
    assert_eq!(error.exit_code(), code, "{line}");
    assert_eq!(desk.names(), before, "{line}");
}

#[test]
fn what_cannot_become_a_set_is_refused_with_the_mend() {
    let desk = Desk::two_classes();
    let import = desk.import();
    for size in [[0, 2], [2, 0], [1025, 2], [2, usize::MAX]] {
        refuses(&desk, &Import { size, ..import.clone() }, 2, "1 to 1024");
    }
    for share in [0.0, 1.0, -0.5, 7.0, f64::NAN, f64::INFINITY] {
        let import = Import { test_fraction: Some(share), ..import.clone() };
        refuses(&desk, &import, 2, "above 0 and below 1");
    }
    let into = |out: &str| Import { out: desk.0.path().join(out), ..import.clone() };
    fs::create_dir(desk.0.path().join("full")).unwrap();
    fs::write(desk.0.path().join("full/x"), "mine").unwrap();
    symlink("nowhere", desk.0.path().join("dangling")).unwrap();
    refuses(&desk, &into("full"), 2, "not empty");
    refuses(&desk, &into("full/x"), 2, "a file is there");
    refuses(&desk, &into("dangling"), 2, "leads nowhere");
    refuses(&desk, &into("pictures"), 2, "not empty");
    refuses(&desk, &into("pictures/set"), 2, "within the folder of pictures");
    refuses(&desk, &into("full/../pictures/deep/set"), 2, "within the folder of pictures");
    assert_eq!(fs::read_to_string(desk.0.path().join("full/x")).unwrap(), "mine");
    let from = |name: &str| Import { folder: desk.0.path().join(name), ..import.clone() };
    refuses(&desk, &from("missing"), 3, "check the path");
    refuses(&desk, &from("full/x"), 3, "name the folder that holds the classes");
    refuses(&desk, &from("full"), 3, "holds no folders");
    refuses(&desk, &from("pictures/a"), 3, "its 7 pictures are in no class");

    let desk = Desk::new();
    desk.class("only", 0..5);
    refuses(&desk, &desk.import(), 3, "one class, 'only', where there is nothing to tell apart");
    let desk = Desk::new();
    desk.class("all/a", 0..5);
    desk.class("all/b", 0..5);
    refuses(&desk, &desk.import(), 3, "if its folders are, name");
    let desk = Desk::new();
    for class in 0..257 {
        desk.class(&format!("{class}"), 0..1);
    }
    refuses(&desk, &desk.import(), 3, "257 folders");
    fs::remove_dir_all(desk.pictures().join("256")).unwrap();
    desk.class("0", 1..2);
    assert_eq!(desk.import().run(&mut silent).unwrap().classes.len(), 256);
    assert_eq!(desk.tones()[0].iter().map(|(_, label)| *label).max(), Some(255));

    let desk = Desk::two_classes();
    fs::create_dir(desk.pictures().join("c")).unwrap();
    refuses(&desk, &desk.import(), 3, "pictures/c: holds no pictures");
    desk.put("c/x.png", "x");
    refuses(&desk, &desk.import(), 3, "pictures/c: none of its 1 pictures can be read");
    let desk = Desk::new();
    desk.class("a", 0..1);
    desk.class("b", 0..1);
    refuses(&desk, &desk.import(), 3, "no class has two pictures");
    let desk = Desk::new();
    desk.class("train/a", 0..2);
    desk.class("test/a", 0..2);
    desk.class("test/b", 0..2);
    refuses(&desk, &desk.import(), 3, "pictures/b: holds no training pictures");
    let desk = Desk::two_classes();
    desk.class("two\nlines", 0..2);
    refuses(&desk, &desk.import(), 3, "rename the folder");
}

#[test]
fn a_set_appears_whole_or_not_at_all() {
    let desk = Desk::two_classes();
    let mut events = 0;
    desk.import()
        .run(&mut |_| {
            events += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(events >= 5, "{events}");
    fs::remove_dir_all(desk.out()).unwrap();
    for last in 1..=events {
        let mut seen = 0;
        let error = desk
            .import()
            .run(&mut |_| {
                seen += 1;
                match seen == last {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            })
            .unwrap_err();
        assert!(matches!(error, Error::Interrupted(_)), "{error}");
        assert_eq!(desk.names(), ["pictures"], "after event {last}");
    }
    // Into an empty folder, and below one that is not there yet.
    fs::create_dir(desk.out()).unwrap();
    desk.import().run(&mut silent).unwrap();
    let deep = desk.0.path().join("deep/er/set");
    Import { out: deep.clone(), ..desk.import() }.run(&mut silent).unwrap();
    let mut files: Vec<_> = fs::read_dir(&deep)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let expected = [
        "classes.txt",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
    ];
    assert_eq!(files, expected);
    assert_eq!(desk.names(), ["deep", "pictures", "set"]);
}

#[test]
fn the_set_opens() {
    let desk = Desk::two_classes();
    desk.import().run(&mut silent).unwrap();
    let set = Dataset::open_folder(&desk.out(), &Cache::at(desk.0.path().join("cache"))).unwrap();
    assert_eq!((set.train.images.count(), set.test.images.count()), (18, 3));
    assert_eq!((set.train.images.height(), set.train.images.width()), (2, 2));
}

#[cfg(feature = "program")]
mod command {
    use super::*;
    use assert_cmd::Command;
    use predicates::prelude::*;
    use predicates::str::{contains, is_empty};

    fn program(desk: &Desk, args: &str) -> Command {
        let mut command = Command::cargo_bin("threadcount").unwrap();
        command.current_dir(desk.0.path()).env_remove("THREADCOUNT_SEED");
        command.args("data import pictures set".split(' ')).args(args.split_whitespace());
        command
    }

    #[test]
    fn prints_counts_and_names_what_it_left_out() {
        let desk = Desk::two_classes();
        desk.put("a/bad.png", "");
        desk.put("a/notes.txt", "");
        desk.put("stray.png", "");
        program(&desk, "--size 4x3 --color")
            .assert()
            .success()
            .stdout(
                contains("set: images of 4x3 pixels, red, green, blue")
                    .and(contains("| 0     | a     |        6 |    1 |          1 |"))
                    .and(contains("|       | all   |       18 |    3 |          1 |"))
                    .and(contains("skipped: 1 other file (1 .txt)")),
            )
            .stderr(
                contains("a/bad.png: the file is empty; left out")
                    .and(contains("1 picture beside the folders of classes")),
            );
        assert_eq!(desk.idx("t10k-images-idx3-ubyte").0, [3, 4, 3, 3]);
    }

    #[test]
    fn prints_json_and_takes_a_seed() {
        let desk = Desk::two_classes();
        let output = program(&desk, "--json --seed 5 --test-fraction 0.5").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["height"], 28);
        assert_eq!(document["channels"], 1);
        assert_eq!((&document["train"], &document["test"]), (&10.into(), &11.into()));
        assert_eq!(document["classes"][1]["name"], "b");
        assert_eq!(document["classes"][1]["test"], 7);
        let first = desk.idx("t10k-labels-idx1-ubyte");
        let images = desk.idx("t10k-images-idx3-ubyte");
        fs::remove_dir_all(desk.out()).unwrap();
        let other = Import {
            seed: 5,
            test_fraction: Some(0.5),
            ..Import::new(desk.pictures(), desk.out())
        };
        other.run(&mut silent).unwrap();
        assert_eq!(desk.idx("t10k-labels-idx1-ubyte"), first);
        assert_eq!(desk.idx("t10k-images-idx3-ubyte"), images);
    }

    #[test]
    fn refusals_end_with_their_codes() {
        let desk = Desk::two_classes();
        let refuses = |args: &str, code: i32, words: &str| {
            program(&desk, args).assert().code(code).stdout(is_empty()).stderr(contains(words));
        };
        refuses("--size 4x", 2, "write it as 28, or as 32x24");
        refuses("--size 0", 2, "--size: 0x0 is not 1 to 1024");
        refuses("--test-fraction 1.5", 2, "--test-fraction: 1.5 is not a share");
        desk.class("c", 0..0);
        fs::create_dir(desk.pictures().join("c")).unwrap();
        refuses("", 3, "pictures/c: holds no pictures");
        fs::create_dir(desk.out()).unwrap();
        fs::write(desk.out().join("x"), "").unwrap();
        refuses("", 2, "set: the folder is not empty");
    }
}
