//! What fits a screen: the progress of all long commands, on terminals of some widths and in pipes.

#[path = "common/desk.rs"]
mod desk;
#[path = "common/sets.rs"]
mod sets;
#[cfg(target_os = "linux")]
#[path = "common/terminal.rs"]
mod terminal;

use desk::{DATA, Desk};
use sets::{NAMES, gzip};
use std::fs;
#[cfg(target_os = "linux")]
use terminal::on_terminal;

/// The drawn set without the file that says that it is one: nothing is said about it.
fn other_data(desk: &Desk, name: &str) {
    desk::copy(DATA.path(), &desk.path(name));
    fs::remove_file(desk.path(name).join("NOT-FASHION-MNIST.txt")).unwrap();
}

/// Commands that may take long, with little to do; each may be given again. Each in its own folders, so that the
/// runs are new.
fn long_commands(desk: &Desk) -> Vec<String> {
    other_data(desk, "data");
    // Packed, and large enough that a bar is seen.
    fs::create_dir(desk.path("packed")).unwrap();
    for name in NAMES {
        let bytes = fs::read(desk.path("data").join(name)).unwrap();
        fs::write(desk.path("packed").join(format!("{name}.gz")), gzip(&bytes)).unwrap();
    }
    desk.run("data flights --rows 300 --out flights.csv").assert().success();
    for (class, shade) in [("a", 20), ("b", 200)] {
        let folder = desk.path("pictures").join(class);
        fs::create_dir_all(&folder).unwrap();
        for i in 0..4 {
            let picture = image::GrayImage::from_pixel(28, 28, image::Luma([shade + i]));
            picture.save(folder.join(format!("{i}.png"))).unwrap();
        }
    }
    [
        "train nlp-mlp80 --epochs 20 --batch-size 2",
        "reproduce biu-base biu-relu",
        "search biu-relu --grid learning-rate=0.1,0.05 --epochs 1",
        "compare logistic knn --iterations 5",
        "regress flights.csv --target price --models linear,forest",
        "bench biu-base biu-relu --threads 1 --samples 1",
        "bench --kernels 784x10 --threads 1 --samples 1",
        "data flights --rows 20000 --out drawn.csv",
        "data import pictures OUT",
        "data verify --data packed",
    ]
    .map(str::to_owned)
    .into()
}

/// In a pipe there are plain lines; on a terminal none is wider than it, and with `-q` there is nothing at all.
#[cfg(target_os = "linux")]
#[test]
fn long_commands_show_progress_that_fits() {
    let desk = Desk::new();
    let data = desk.path("data").display().to_string();
    for (number, command) in long_commands(&desk).into_iter().enumerate() {
        let of = |way: &str| command.replace("OUT", &format!("imported-{way}"));
        let forget = || drop(fs::remove_dir_all(desk.path("cache")));

        forget();
        let piped = desk.run(&of("pipe")).env("THREADCOUNT_DATA", &data).assert().success();
        let said = String::from_utf8_lossy(&piped.get_output().stderr).into_owned();
        assert!(said.chars().all(|c| c == '\n' || !c.is_control()), "{command}: {said:?}");

        forget();
        let Some(quiet) = on_terminal(&desk, &format!("-q {}", of("quiet")), &data, 80) else {
            return;
        };
        assert!(
            quiet.raw.is_empty() || quiet.raw.starts_with("threadcount: warning:"),
            "{command}: {:?}",
            quiet.raw
        );
        assert!(
            !quiet.raw.contains('\x1b') && !quiet.raw.contains('['),
            "{command}: {:?}",
            quiet.raw
        );

        forget();
        let width = [80, 60][number % 2];
        let shown = on_terminal(&desk, &of("shown"), &data, width).unwrap();
        assert!(shown.raw.contains("\x1b["), "nothing is redrawn by {command}: {:?}", shown.raw);
        for line in &shown.lines {
            assert!(fits(line, width), "{command}, {width}: {line}");
        }
    }
}

/// Names of files are never broken: one that is too long has a line of its own.
#[cfg(target_os = "linux")]
fn fits(line: &str, width: usize) -> bool {
    line.chars().count() <= width || !line.trim().contains(' ')
}

#[cfg(target_os = "linux")]
#[test]
fn a_training_run_fits_every_terminal() {
    let desk = Desk::new();
    let data = DATA.path().display().to_string();
    for width in [60, 80, 100, 200] {
        let command = "train nlp-cnn --epochs 2 --batch-size 2";
        let Some(shown) = on_terminal(&desk, command, &data, width) else { return };
        let text = shown.raw;
        assert!(text.contains("epoch 1/2") && text.contains('['), "{text}");
        assert!(text.contains("=>") && text.contains(" left"), "{width}: {text}");
        for line in &shown.lines {
            assert!(fits(line, width), "{width}: {line}");
        }
    }
}

/// The synthetic set is drawn where there are no data: with a bar, and in a pipe with a line.
#[cfg(target_os = "linux")]
#[test]
fn drawing_the_synthetic_set_is_shown() {
    let desk = Desk::new();
    let Some(shown) = on_terminal(&desk, "data show 0", "", 80) else { return };
    assert!(
        shown.lines.iter().any(|line| line.starts_with("drawing the synthetic set  [=")),
        "{}",
        shown.raw
    );
    assert!(shown.lines.iter().any(|line| line.contains("/70,000")), "{}", shown.raw);
    for line in &shown.lines {
        assert!(fits(line, 80), "{line}");
    }
}
