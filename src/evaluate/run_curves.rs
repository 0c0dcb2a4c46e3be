//! The learning curves of several runs in one picture, as the text of an SVG file.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::plots::{ACCURACY, Area, Drawn, INK, LOSS, Line, TRAINING, VALIDATION, font, panel};
use crate::names::shortened_middle;
use crate::train::{Epoch, History};
use crate::{Error, Result};

/// A run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunCurves {
    /// Its name.
    pub name: String,
    /// Its epochs.
    pub history: History,
}

/// The colours of Okabe and Ito, which colour-blind eyes tell apart; black and yellow, which white paper hides,
/// apart.
const COLOURS: [RGBColor; 7] = [
    TRAINING,
    VALIDATION,
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    INK,
];

/// The most runs that a picture shows: one for each colour.
pub const MOST_RUNS: usize = COLOURS.len();

const WIDTH: u32 = 960;
const PANELS: u32 = 356;
/// Height of the title, and of a row of the legend.
const TITLE: i32 = 40;
const ROW: i32 = 24;
/// The longest name in the legend, and the entries in a row of it.
const NAME: usize = 34;
const IN_A_ROW: usize = 3;

/// Draws loss and accuracy side by side; of each run the validation as a line, and the training as a pale thin
/// one. Values that are not finite leave a gap. Runs beyond [`MOST_RUNS`] would share colours.
///
/// # Errors
/// [`Error::Failed`] if the drawing library refuses, which no input is known to cause.
pub fn run_curves(runs: &[RunCurves]) -> Result<String> {
    let header = TITLE + ROW * runs.len().div_ceil(IN_A_ROW) as i32;
    let mut svg = String::new();
    let size = (WIDTH, header as u32 + PANELS);
    draw(runs, header, &SVGBackend::with_string(&mut svg, size).into_drawing_area())
        .map_err(|error| Error::Failed(format!("cannot draw the curves of the runs: {error}")))?;
    Ok(svg)
}

fn draw(runs: &[RunCurves], height: i32, root: &Area<'_>) -> Drawn {
    root.fill(&WHITE)?;
    let (header, panels) = root.split_vertically(height as u32);
    let title = "validation (training: pale)";
    header.draw(&Text::new(title, (WIDTH as i32 / 2, 20), font(20, INK)))?;
    let column = WIDTH as i32 / IN_A_ROW as i32;
    for (i, (run, colour)) in runs.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let x = column * (i % IN_A_ROW) as i32 + 20;
        let y = TITLE + ROW * (i / IN_A_ROW) as i32;
        header.draw(&PathElement::new([(x, y), (x + 28, y)], colour.stroke_width(2)))?;
        let text = font(17, INK).pos(Pos::new(HPos::Left, VPos::Center));
        header.draw(&Text::new(shortened_middle(&run.name, NAME), (x + 36, y), text))?;
    }
    let (left, right) = panels.split_horizontally(WIDTH / 2);
    let draw = |area, names, training: fn(&Epoch) -> f64, validation: fn(&Epoch) -> f64| {
        let of = |value: fn(&Epoch) -> f64| -> Vec<Vec<f64>> {
            runs.iter().map(|run| run.history.epochs.iter().map(value).collect()).collect()
        };
        let (training, validation) = (of(training), of(validation));
        let colours = || COLOURS.iter().cycle();
        let pale = training
            .iter()
            .zip(colours())
            .map(|(values, colour)| Line { values, style: colour.mix(0.4).stroke_width(1) });
        let strong = validation
            .iter()
            .zip(colours())
            .map(|(values, colour)| Line { values, style: colour.stroke_width(2) });
        panel(area, names, &pale.chain(strong).collect::<Vec<_>>())
    };
    draw(&left, &LOSS, |e| e.loss, |e| e.val_loss)?;
    draw(&right, &ACCURACY, |e| e.accuracy, |e| e.val_accuracy)?;
    root.present()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str, epochs: usize, loss: f64) -> RunCurves {
        let epoch = |epoch| Epoch {
            epoch,
            accuracy: 0.5,
            loss,
            val_accuracy: 0.25,
            val_loss: loss + 1.0 / epoch as f64,
        };
        RunCurves {
            name: name.to_owned(),
            history: History { epochs: (1..=epochs).map(epoch).collect() },
        }
    }

    /// The heights of the points that are drawn in a colour, or pale in it.
    fn heights(svg: &str, colour: &str, is_pale: bool) -> Vec<i32> {
        let circles = svg.split("<circle").skip(1).map(|rest| rest.split('>').next().unwrap());
        let wanted = format!("fill=\"{colour}\"");
        circles
            .filter(|circle| {
                circle.contains(&wanted) && circle.contains("opacity=\"0.4\"") == is_pale
            })
            .map(|circle| circle.split("cy=\"").nth(1).unwrap().split('"').next().unwrap())
            .map(|y| y.parse().unwrap())
            .collect()
    }

    #[test]
    fn each_run_has_its_colour_its_name_and_both_of_its_curves() {
        let svg = run_curves(&[run("first", 3, 1.0), run("second", 2, 2.0)]).unwrap();
        assert!(svg.contains("first") && svg.contains("second"));
        let (first, second) = ("#0072B2", "#D55E00");
        // Three and two epochs, in each of two panels.
        for is_pale in [false, true] {
            assert_eq!(heights(&svg, first, is_pale).len(), 6, "{is_pale}");
            assert_eq!(heights(&svg, second, is_pale).len(), 4, "{is_pale}");
        }
        // The loss is drawn first: validation lies above training, and the second run above the first.
        let loss = |colour, is_pale| heights(&svg, colour, is_pale)[0];
        assert!(loss(first, false) < loss(first, true), "y grows downwards");
        assert!(loss(second, true) < loss(first, true));
        // Accuracy: validation lies below training, and the runs are equal.
        let accuracy = |colour, is_pale| *heights(&svg, colour, is_pale).last().unwrap();
        assert!(accuracy(first, false) > accuracy(first, true));
        assert_eq!(accuracy(first, false), accuracy(second, false));
    }

    #[test]
    fn every_number_of_runs_can_be_drawn() {
        for count in 0..=MOST_RUNS {
            let runs: Vec<_> =
                (0..count).map(|i| run(&format!("run <{i}> {}", "x".repeat(80)), i, 1.0)).collect();
            let svg = run_curves(&runs).unwrap();
            assert!(!svg.contains("NaN") && svg.matches("run &lt;").count() == count, "{count}");
        }
    }
}
