//! Lines about work under way, made to fit a terminal.

use super::table;
use crate::names::shortened_middle;
use crate::train::Epoch;

/// A part of a line.
struct Part {
    long: String,
    /// For when there is no room for the long form.
    short: String,
    /// Of the parts that do not fit, those with the highest rank are left out first; those of rank 0 never.
    rank: u8,
}

/// A part whose name goes before its value.
fn named(long: &str, short: &str, value: &str, rank: u8) -> Part {
    Part { long: format!("{long} {value}"), short: format!("{short} {value}"), rank }
}

/// A part whose unit goes behind its value.
fn measured(value: &str, long: &str, short: &str, rank: u8) -> Part {
    Part { long: format!("{value} {long}"), short: format!("{value} {short}"), rank }
}

/// What a bar tells.
#[derive(Clone, Debug)]
pub(super) struct Now<'a> {
    /// What is trained; empty if that is clear.
    pub(super) name: &'a str,
    /// The epoch under way, from 1.
    pub(super) epoch: usize,
    pub(super) epochs: usize,
    /// Batches of it that are done.
    pub(super) batch: usize,
    pub(super) batches: usize,
    /// Mean over these batches.
    pub(super) loss: f64,
    pub(super) accuracy: f64,
    /// Of the training steps of this epoch.
    pub(super) images_per_second: f64,
    pub(super) gflops: f64,
    /// Until all epochs are done.
    pub(super) seconds_left: f64,
}

/// The least columns of a bar, with its brackets; and the most.
const BAR: usize = 12;
const MOST_BAR: usize = 32;
/// Between parts.
const GAP: &str = "  ";

impl Now<'_> {
    /// The line of the bar, at most this wide.
    pub(super) fn line(&self, width: usize) -> String {
        let head = match self.name {
            "" => format!("epoch {}/{}", self.epoch, self.epochs),
            name => format!("{name}  epoch {}/{}", self.epoch, self.epochs),
        };
        let parts = [
            Part { long: head, short: format!("epoch {}/{}", self.epoch, self.epochs), rank: 0 },
            Part { long: String::new(), short: String::new(), rank: 4 },
            named("batch", "", &format!("{}/{}", self.batch, self.batches), 6),
            named("loss", "loss", &format!("{:.4}", self.loss), 2),
            named("accuracy", "acc", &format!("{:.4}", self.accuracy), 3),
            measured(&table::rate(self.images_per_second), "images/s", "img/s", 5),
            measured(&format!("{:.0}", self.gflops), "GFLOP/s", "GF/s", 7),
            measured(&clock(self.seconds_left), "left", "left", 1),
        ];
        let bar = |columns: usize| bar(columns, self.batch as f64 / self.batches.max(1) as f64);
        fit(&parts, width, Some((1, &bar)))
    }
}

/// What the length of a work is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Items, images, rows.
    Pieces,
    Bytes,
}

/// How far a work of a known length has come.
#[derive(Clone, Debug)]
pub(super) struct Work<'a> {
    /// What is done, or the item that is being worked on.
    pub(super) name: &'a str,
    pub(super) done: u64,
    pub(super) total: u64,
    pub(super) unit: Unit,
    /// What else is to be said; may be empty.
    pub(super) remark: &'a str,
    /// Where it can be told already.
    pub(super) seconds_left: Option<f64>,
}

/// The most characters of a name where there is no room for all of it.
const SHORT_NAME: usize = 32;

impl Work<'_> {
    /// The line of the bar, at most this wide.
    pub(super) fn line(&self, width: usize) -> String {
        let Self { name, done, total, unit, remark, seconds_left } = self;
        let count = match unit {
            Unit::Pieces => format!("{}/{}", table::grouped(*done), table::grouped(*total)),
            Unit::Bytes => format!("{} of {}", table::bytes(*done), table::bytes(*total)),
        };
        let same = |text: String, rank| Part { long: text.clone(), short: text, rank };
        let mut cells = vec![
            Part { long: (*name).to_owned(), short: shortened_middle(name, SHORT_NAME), rank: 0 },
            same(String::new(), 3),
            same(count, 1),
        ];
        if !remark.is_empty() {
            cells.push(same((*remark).to_owned(), 2));
        }
        cells.extend(seconds_left.map(|left| measured(&clock(left), "left", "left", 4)));
        let share = *done as f64 / (*total).max(1) as f64;
        fit(&cells, width, Some((1, &|columns| bar(columns, share))))
    }
}

/// A bar of this many columns, this full.
fn bar(columns: usize, share: f64) -> String {
    let inside = columns.saturating_sub(2);
    let full = ((inside as f64 * share) as usize).min(inside);
    let head = if full < inside { ">" } else { "" };
    format!("[{}{head}{}]", "=".repeat(full), " ".repeat(inside.saturating_sub(full + 1)))
}

/// What came of an epoch.
pub(super) struct Done<'a> {
    pub(super) epochs: usize,
    pub(super) epoch: &'a Epoch,
    /// Of the epoch with its validation.
    pub(super) seconds: f64,
    /// What `--verbose` adds.
    pub(super) more: Option<More>,
}

/// What `--verbose` adds to an epoch's line.
#[derive(Clone, Copy, Debug)]
pub(super) struct More {
    pub(super) images_per_second: f64,
    pub(super) gflops: f64,
    /// The share of validation in the epoch's time.
    pub(super) validation: f64,
    /// Of the epoch's last step.
    pub(super) learning_rate: f32,
}

impl Done<'_> {
    /// The line of the epoch, at most this wide if its least parts are.
    pub(super) fn line(&self, width: usize) -> String {
        let Self { epochs, epoch, seconds, more } = self;
        let digits = epochs.to_string().len();
        let head = format!("epoch {:>digits$}/{epochs}", epoch.epoch);
        let four = |value: f64| format!("{value:.4}");
        let mut parts = vec![
            Part { long: head.clone(), short: head, rank: 0 },
            named("loss", "loss", &four(epoch.loss), 2),
            named("accuracy", "acc", &four(epoch.accuracy), 3),
            named("val_loss", "val_loss", &four(epoch.val_loss), 4),
            named("val_accuracy", "val_acc", &four(epoch.val_accuracy), 1),
            measured(&table::seconds(*seconds), "s", "s", 5),
        ];
        if let Some(more) = more {
            parts.extend([
                measured(&table::rate(more.images_per_second), "images/s", "img/s", 6),
                measured(&format!("{:.1}", more.gflops), "GFLOP/s", "GF/s", 7),
                named("validation", "val", &format!("{:.0} %", more.validation * 100.0), 8),
                named("learning rate", "rate", &more.learning_rate.to_string(), 9),
            ]);
        }
        fit(&parts, width, None)
    }
}

/// A part that takes the columns that are left: its index, and how it is drawn over this many.
type Growing<'a> = Option<(usize, &'a dyn Fn(usize) -> String)>;

/// The parts in one line: in their long forms if these fit, else in their short forms, else without the last in
/// rank.
fn fit(parts: &[Part], width: usize, growing: Growing<'_>) -> String {
    let grows = |index: usize| growing.is_some_and(|(at, _)| at == index);
    let mut shown: Vec<usize> = (0..parts.len()).collect();
    let mut is_short = false;
    loop {
        let text = |index: usize| match is_short {
            true => parts[index].short.trim(),
            false => parts[index].long.trim(),
        };
        let lengths = shown.iter().map(|&index| match grows(index) {
            true => BAR,
            false => text(index).chars().count(),
        });
        let needed = lengths.sum::<usize>() + GAP.len() * shown.len().saturating_sub(1);
        let last = shown.iter().copied().max_by_key(|&index| parts[index].rank);
        match last.filter(|&index| parts[index].rank > 0 && needed > width) {
            Some(_) if !is_short => is_short = true,
            Some(last) => shown.retain(|&index| index != last),
            None => {
                let spare = width.saturating_sub(needed);
                let draw = |&index: &usize| match growing.filter(|&(at, _)| at == index) {
                    Some((_, draw)) => draw((BAR + spare).min(MOST_BAR)),
                    None => text(index).to_owned(),
                };
                let line = shown.iter().map(draw).collect::<Vec<_>>().join(GAP);
                return line.chars().take(width).collect();
            }
        }
    }
}

/// A time as a clock shows it: `1:20`, `1:02:03`.
fn clock(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole / 3_600 {
        0 => format!("{}:{:02}", whole / 60, whole % 60),
        hours => format!("{hours}:{:02}:{:02}", whole / 60 % 60, whole % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now<'_> = Now {
        name: "cse574-cnn",
        epoch: 3,
        epochs: 10,
        batch: 469,
        batches: 938,
        loss: 0.31215,
        accuracy: 0.88716,
        images_per_second: 6_541.0,
        gflops: 123.4,
        seconds_left: 3_700.4,
    };

    #[test]
    fn a_bar_tells_what_there_is_room_for() {
        for (width, line) in [
            (
                200,
                "cse574-cnn  epoch 3/10  [===============>              ]  batch 469/938  loss 0.3121  \
                 accuracy 0.8872  6,540 images/s  123 GFLOP/s  1:01:40 left",
            ),
            (
                120,
                "epoch 3/10  [===============>              ]  469/938  loss 0.3121  acc 0.8872  6,540 img/s  123 GF/s  \
                 1:01:40 left",
            ),
            (
                100,
                "epoch 3/10  [=======>       ]  469/938  loss 0.3121  acc 0.8872  6,540 img/s  123 GF/s  \
                 1:01:40 left",
            ),
            (
                80,
                "epoch 3/10  [=======>      ]  loss 0.3121  acc 0.8872  6,540 img/s  1:01:40 left",
            ),
            (40, "epoch 3/10  loss 0.3121  1:01:40 left"),
            (10, "epoch 3/10"),
            (4, "epoc"),
            (0, ""),
        ] {
            assert_eq!(NOW.line(width), line, "{width}");
        }
    }

    #[test]
    fn no_line_is_wider_than_its_terminal() {
        let wild = Now {
            name: "[14/14] a-network-with-a-long-name seed 18446744073709551615",
            epochs: 1_000_000,
            loss: 123_456.0,
            images_per_second: 1e9,
            gflops: 1e5,
            seconds_left: 1e9,
            ..NOW
        };
        let epoch =
            Epoch { epoch: 3, accuracy: 0.5, loss: 1e9, val_accuracy: 0.25, val_loss: 0.75 };
        let more =
            More { images_per_second: 1e6, gflops: 1e4, validation: 0.1, learning_rate: 1e-6 };
        for width in 0..220 {
            for batch in [0, 1, 937, 938] {
                for now in [&NOW, &wild] {
                    let line = Now { batch, ..now.clone() }.line(width);
                    assert!(line.chars().count() <= width, "{width}: {line}");
                }
            }
            let done =
                Done { epochs: 12, epoch: &epoch, seconds: 1.5, more: Some(more) }.line(width);
            assert!(done.chars().count() <= width, "{width}: {done}");
        }
    }

    const WORK: Work<'_> = Work {
        name: "trials",
        done: 12,
        total: 1_234,
        unit: Unit::Pieces,
        remark: "best 0.9123 (trial 3)",
        seconds_left: Some(65.0),
    };

    #[test]
    fn work_tells_what_there_is_room_for() {
        for (width, line) in [
            (
                200,
                "trials  [>                             ]  12/1,234  best 0.9123 (trial 3)  1:05 left",
            ),
            (70, "trials  [>               ]  12/1,234  best 0.9123 (trial 3)  1:05 left"),
            (64, "trials  [>         ]  12/1,234  best 0.9123 (trial 3)  1:05 left"),
            (63, "trials  [>                   ]  12/1,234  best 0.9123 (trial 3)"),
            (50, "trials  12/1,234  best 0.9123 (trial 3)"),
            (20, "trials  12/1,234"),
            (8, "trials"),
            (3, "tri"),
        ] {
            assert_eq!(WORK.line(width), line, "{width}");
        }
        let bytes = Work { unit: Unit::Bytes, done: 13 << 19, total: 26 << 20, remark: "", ..WORK };
        assert_eq!(bytes.line(60), "trials  [=====>              ]  6.5 MiB of 26 MiB  1:05 left");
        let long = "a-recipe-of-someone-with-a-name-of-at-least-sixty-characters with 2 threads";
        let long = Work { name: long, seconds_left: None, remark: "", ..WORK };
        assert_eq!(long.line(200).split("  ").next(), Some(long.name));
        assert_eq!(
            long.line(80),
            "a-recipe-of-some...s with 2 threads  [>                             ]  12/1,234"
        );
    }

    #[test]
    fn no_work_is_wider_than_its_terminal() {
        let wild =
            "a name with spaces and-hyphens of more characters than a line of a terminal has";
        for width in 0..220 {
            for (name, remark) in [("trials", ""), (wild, wild), ("", wild)] {
                for (done, total) in [(0, 0), (0, 1), (1, 1), (u64::MAX, u64::MAX), (3, 7)] {
                    for unit in [Unit::Pieces, Unit::Bytes] {
                        for seconds_left in [None, Some(1e9)] {
                            let line =
                                Work { name, done, total, unit, remark, seconds_left }.line(width);
                            assert!(line.chars().count() <= width, "{width}: {line}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_bar_is_as_full_as_the_epoch() {
        let bars: Vec<_> = [0.0, 0.5, 0.99, 1.0].into_iter().map(|share| bar(12, share)).collect();
        assert_eq!(bars, ["[>         ]", "[=====>    ]", "[=========>]", "[==========]"]);
        assert_eq!((bar(2, 1.0), bar(0, 0.5)), ("[]".to_owned(), "[]".to_owned()));
    }

    #[test]
    fn an_epochs_line_names_its_figures() {
        let epoch =
            Epoch { epoch: 3, accuracy: 0.5, loss: 0.125, val_accuracy: 0.25, val_loss: 0.75 };
        let done = |more| Done { epochs: 12, epoch: &epoch, seconds: 1.5, more };
        assert_eq!(
            done(None).line(usize::MAX),
            "epoch  3/12  loss 0.1250  accuracy 0.5000  val_loss 0.7500  val_accuracy 0.2500  1.50 s"
        );
        assert_eq!(
            done(None).line(80),
            "epoch  3/12  loss 0.1250  acc 0.5000  val_loss 0.7500  val_acc 0.2500  1.50 s"
        );
        assert_eq!(done(None).line(40), "epoch  3/12  loss 0.1250  val_acc 0.2500");
        let more = More {
            images_per_second: 6_541.0,
            gflops: 12.34,
            validation: 0.081,
            learning_rate: 0.01,
        };
        assert!(
            done(Some(more)).line(usize::MAX).ends_with(
                "1.50 s  6,540 images/s  12.3 GFLOP/s  validation 8 %  learning rate 0.01"
            )
        );
    }

    #[test]
    fn times_read_as_on_a_clock() {
        let shown = [0.0, 59.4, 80.0, 3_599.6, 3_723.0, -1.0].map(clock);
        assert_eq!(shown, ["0:00", "0:59", "1:20", "1:00:00", "1:02:03", "0:00"]);
    }
}
