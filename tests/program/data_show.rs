//! `threadcount data show`: an image as text, and as a PNG file.

use crate::common::desk::{DATA, Desk};
use crate::common::sets::{NAMES, Scratch, idx};
use predicates::prelude::*;
use predicates::str::{contains, starts_with};
use std::fs;
use std::fs::File;
use std::io::BufReader;
use threadcount::data::{Augment, Cache, Dataset, Draws, Half, show, show_augmented};

/// `[height, width, channels]` and the bytes of a PNG.
fn decoded(desk: &Desk, name: &str) -> ([usize; 3], Vec<u8>) {
    let file = BufReader::new(File::open(desk.path(name)).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!(info.bit_depth, png::BitDepth::Eight);
    let channels = info.color_type.samples();
    ([info.height as usize, info.width as usize, channels], pixels)
}

#[test]
fn a_picture_has_the_pixels_of_the_set() {
    let desk = Desk::new();
    let cache = Cache::at(desk.path("cache"));
    let set = Dataset::open_folder(DATA.path(), &cache).unwrap();
    for (args, half, n) in [("3", Half::Train, 3), ("99 --test", Half::Test, 99)] {
        let text = desk.output(&format!("data show {args}"));
        let run = desk.run(&format!("data show {args} --png shown.png")).assert().success();
        // The text stays what it is without a picture.
        run.stdout(text).stderr(contains("the image is in shown.png"));
        let image = set.part(half).images.image(n).to_vec();
        assert_eq!(decoded(&desk, "shown.png"), ([28, 28, 1], image), "{args}");
    }
}

#[test]
fn a_picture_has_what_training_sees() {
    let desk = Desk::new();
    let set = Dataset::open_folder(DATA.path(), &Cache::at(desk.path("cache"))).unwrap();
    let augment: Augment = "rotate=30,shift=2".parse().unwrap();
    desk.run("data show 5 --augment rotate=30,shift=2 --epoch 3 --seed 7 --png shown.png")
        .assert()
        .success();
    let shown = show_augmented(&set, 5, &Draws::new(augment, 7, 2)).unwrap();
    assert_eq!(decoded(&desk, "shown.png"), (shown.shape, shown.pixels.clone()));
    assert_ne!(shown.pixels, show(&set, Half::Train, 5).unwrap().pixels);
}

#[test]
fn a_picture_keeps_colours_and_sides() {
    let desk = Desk::new();
    let scratch = Scratch::with_labels(&[0], &[0]);
    // No two bytes alike: neither sides nor channels can be exchanged unseen. Wider than the text shows in full.
    let pixels: Vec<u8> = (0..2 * 41 * 3).map(|i| i as u8).collect();
    for name in [NAMES[0], NAMES[2]] {
        scratch.put(name, &idx(&[1, 2, 41, 3], &pixels));
    }
    let data = scratch.folder.display();
    let size = contains("2x41x3, shown at 1/2");
    desk.run(&format!("data show 0 --png shown.png --data {data}")).assert().success().stdout(size);
    assert_eq!(decoded(&desk, "shown.png"), ([2, 41, 3], pixels));
}

#[test]
fn a_picture_replaces_a_file_but_no_folder() {
    let desk = Desk::new();
    fs::create_dir(desk.path("folder")).unwrap();
    fs::write(desk.path("old.png"), "old").unwrap();
    desk.refuses("data show 0 --png folder", 2, "--png folder: a folder, not a file");
    desk.refuses("data show 0 --png none/a.png", 1, "none/a.png");
    // An image that is not there leaves the old file.
    desk.refuses("data show 400 --png old.png", 2, "there is no training image 400");
    assert_eq!(desk.read("old.png"), "old");
    desk.run("data show 0 --png old.png").assert().success();
    assert_eq!(decoded(&desk, "old.png").0, [28, 28, 1]);
    desk.run("data show 0 --png old.png -q")
        .assert()
        .success()
        .stdout(starts_with("training image 0"))
        .stderr(contains("the image is").not());
}

#[test]
fn an_image_is_shown_as_it_is_augmented() {
    let desk = Desk::new();
    let plain = desk.output("data show 3");
    let show = |args: &str| desk.output(&format!("data show 3 {args}"));
    assert_eq!(show("--augment none"), plain);
    let turned = show("--augment rotate=30,shift=2");
    assert!(turned != plain && turned.lines().next() == plain.lines().next(), "{turned}");
    assert!(show("--augment rotate=30,shift=2 --epoch 1 --seed 0") == turned);
    assert!(show("--augment rotate=30,shift=2 --epoch 2") != turned);
    assert!(show("--augment rotate=30,shift=2 --seed 1") != turned);
    for (args, wanted) in [
        ("--test --augment flip", "cannot be used with"),
        ("--epoch 2", "--augment <SETTINGS>"),
        ("--seed 2", "--seed: nothing is drawn without --augment"),
        ("--augment flip --epoch 0", "--epoch"),
        ("--augment shift=40", "augment: a shift of 40 leaves nothing"),
        ("--augment up=1", "there is no \"up=1\""),
    ] {
        let message = desk.refusal(&format!("data show 3 {args}"), 2);
        assert!(message.contains(wanted), "{message}");
    }
}
