//! Pictures as SVG text. Nothing here measures or rasterises a font: the viewer of the SVG does,
//! so no font files and no system library are needed to draw.

use std::ops::Range;

use plotters::chart::MeshStyle;
use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::{Error, Result};

/// What [`curves`] draws: one point per epoch, epoch 1 first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curves {
    /// The heading, for example the name of the recipe.
    pub title: String,
    /// Mean loss per sample.
    pub loss: Series,
    /// Share of correct predictions, 0 to 1.
    pub accuracy: Series,
}

/// One quantity over the epochs of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Measured on the training samples while training.
    pub training: Vec<f64>,
    /// Measured on the validation samples after each epoch, where the run has any.
    pub validation: Option<Vec<f64>>,
}

/// What a panel shows.
pub(super) struct Names {
    name: &'static str,
    unit: &'static str,
}

pub(super) const LOSS: Names = Names { name: "Loss", unit: "mean per sample" };
pub(super) const ACCURACY: Names = Names { name: "Accuracy", unit: "share of correct predictions" };

const SIZE: (u32, u32) = (960, 420);
const PANEL: (u32, u32) = (480, 340);
const HEADER: u32 = 64;
pub(super) const TRAINING: RGBColor = RGBColor(0, 114, 178);
pub(super) const VALIDATION: RGBColor = RGBColor(213, 94, 0); // with TRAINING: told apart by colour-blind eyes
pub(super) const INK: RGBColor = RGBColor(64, 64, 64);
pub(super) const GRID: RGBColor = RGBColor(224, 224, 224);
/// Beyond this many epochs several share a pixel, and a line is drawn through the lowest and the highest of them.
const DRAWN_EPOCHS: usize = 2_000;
/// Beyond this many epochs the dots that mark single epochs would touch.
const MARKED_EPOCHS: usize = 30;

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type Drawn = std::result::Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// Draws loss and accuracy side by side, training and validation in each, as the text of one SVG
/// file of 960 x 420 pixels. Values that are not finite leave a gap.
///
/// # Errors
/// [`Error::Failed`] if the drawing library refuses, which no input is known to cause.
pub fn curves(curves: &Curves) -> Result<String> {
    let mut svg = String::new();
    draw(curves, &SVGBackend::with_string(&mut svg, SIZE).into_drawing_area())
        .map_err(|error| Error::Failed(format!("cannot draw the learning curves: {error}")))?;
    Ok(svg)
}

/// The loss alone, without heading and legend, as the text of an SVG file of 480 x 340 pixels.
///
/// # Errors
/// As [`curves`].
pub fn loss(series: &Series) -> Result<String> {
    alone(&LOSS, series)
}

/// The accuracy alone, in the form of [`loss`].
///
/// # Errors
/// As [`curves`].
pub fn accuracy(series: &Series) -> Result<String> {
    alone(&ACCURACY, series)
}

fn alone(names: &Names, series: &Series) -> Result<String> {
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, PANEL).into_drawing_area();
    let drawn = root.fill(&WHITE).and_then(|()| panel(&root, names, &lines(series)));
    drawn
        .and_then(|()| root.present())
        .map_err(|error| Error::Failed(format!("cannot draw the learning curves: {error}")))?;
    drop(root);
    Ok(svg)
}

fn draw(curves: &Curves, root: &Area<'_>) -> Drawn {
    root.fill(&WHITE)?;
    let (header, panels) = root.split_vertically(HEADER);
    let centre = SIZE.0 as i32 / 2;
    header.draw(&Text::new(curves.title.as_str(), (centre, 22), font(24, INK)))?;

    // One legend for both panels, above them: inside, it would sooner or later hide a curve.
    let validated = [&curves.loss, &curves.accuracy].iter().any(|s| s.validation.is_some());
    let mut legend = vec![("training", TRAINING)];
    if validated {
        legend.push(("validation", VALIDATION));
    }
    const ENTRY: i32 = 120;
    for (i, (name, colour)) in (0..).zip(&legend) {
        let x = centre - ENTRY * legend.len() as i32 / 2 + ENTRY * i + 10;
        header.draw(&PathElement::new([(x, 48), (x + 28, 48)], colour.stroke_width(2)))?;
        header.draw(&Circle::new((x + 14, 48), 3, colour.filled()))?;
        let text = font(17, INK).pos(Pos::new(HPos::Left, VPos::Center));
        header.draw(&Text::new(*name, (x + 36, 48), text))?;
    }

    let (left, right) = panels.split_horizontally(SIZE.0 / 2);
    panel(&left, &LOSS, &lines(&curves.loss))?;
    panel(&right, &ACCURACY, &lines(&curves.accuracy))?;
    root.present()
}

fn lines(series: &Series) -> Vec<Line<'_>> {
    let both = [(Some(&series.training), TRAINING), (series.validation.as_ref(), VALIDATION)];
    let line = |(values, colour): (Option<_>, RGBColor)| Some((values?, colour.stroke_width(2)));
    both.into_iter().filter_map(line).map(|(values, style)| Line { values, style }).collect()
}

/// A line of a panel.
pub(super) struct Line<'a> {
    /// Its height at epoch 1, 2 ...
    pub(super) values: &'a [f64],
    pub(super) style: ShapeStyle,
}

/// Lines over epochs.
pub(super) fn panel(area: &Area<'_>, Names { name, unit }: &Names, lines: &[Line<'_>]) -> Drawn {
    let epochs = lines.iter().map(|line| line.values.len()).max().unwrap_or(0);
    let values = lines.iter().flat_map(|line| line.values).copied();
    let Some(range) = padded(values.filter(|value| value.is_finite())) else {
        let (width, height) = area.dim_in_pixel();
        let middle = (width as i32 / 2, height as i32 / 2);
        let text = if epochs == 0 { "no epoch yet" } else { "no finite value" };
        return area.draw(&Text::new(format!("{name}: {text}"), middle, font(18, INK)));
    };

    // Half an epoch of margin keeps the first and the last dot off the frame.
    let margin = if epochs <= MARKED_EPOCHS { 0.5 } else { 0.0 };
    let epoch_range = 1.0 - margin..epochs as f64 + margin;
    let ticks = ticks(&range, 7);
    let decimals = decimals(&ticks);
    let mut chart = framed(area).caption(*name, font(20, INK)).build_cartesian_2d(
        Axis { range: epoch_range, ticks: epoch_ticks(epochs) },
        Axis { range, ticks },
    )?;
    mesh(&mut chart)
        .disable_x_mesh()
        .x_desc("epoch")
        .y_desc(*unit)
        .x_label_formatter(&|epoch| format!("{epoch:.0}"))
        .y_label_formatter(&|&value| label(value, decimals))
        .draw()?;

    for &Line { values, style } in lines {
        let points: Vec<(f64, f64)> = (1..).map(f64::from).zip(values.iter().copied()).collect();
        let points = thinned(points);
        for run in points.split(|(_, value)| !value.is_finite()) {
            chart.draw_series(LineSeries::new(run.iter().copied(), style))?;
            // A run of one epoch has no line to show it, however many epochs there are.
            if epochs <= MARKED_EPOCHS || run.len() == 1 {
                chart.draw_series(run.iter().map(|&at| Circle::new(at, 3, style.filled())))?;
            }
        }
    }
    Ok(())
}

/// At most about [`DRAWN_EPOCHS`] points: of each piece of a longer line, its lowest and its highest.
fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    if points.len() <= DRAWN_EPOCHS {
        return points;
    }
    let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
    let ends = |piece: &[(f64, f64)]| {
        let finite = || piece.iter().filter(|(_, value)| value.is_finite());
        let (low, high) = (finite().min_by(by_value), finite().max_by(by_value));
        let mut ends: Vec<_> = low.into_iter().chain(high).copied().collect();
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        ends
    };
    points.chunks(points.len().div_ceil(DRAWN_EPOCHS / 2)).flat_map(ends).collect()
}

/// A chart with room for the labels of its axes.
pub(super) fn framed<'a, 'b, 'svg>(area: &'a Area<'svg>) -> ChartBuilder<'a, 'b, SVGBackend<'svg>> {
    let mut chart = ChartBuilder::on(area);
    chart.margin(8).margin_right(20).x_label_area_size(44).y_label_area_size(70);
    chart
}

/// The lines and labels of such a chart.
pub(super) fn mesh<'a, 'b, 'svg>(
    chart: &'b mut ChartContext<'a, SVGBackend<'svg>, Cartesian2d<Axis, Axis>>,
) -> MeshStyle<'a, 'b, Axis, Axis, SVGBackend<'svg>> {
    let mut mesh = chart.configure_mesh();
    mesh.bold_line_style(GRID)
        .axis_style(INK)
        .label_style(font(16, INK))
        .axis_desc_style(font(17, INK));
    mesh
}

/// A linear axis with ticks of our choice (plotters' own fall between epochs).
pub(super) struct Axis {
    pub(super) range: Range<f64>,
    pub(super) ticks: Vec<f64>,
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (start, end): (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        start + (share * f64::from(end - start)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // Light points are the lines between the ticks: there are none.
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

/// Text centred on its point; plotters divides sizes by 1.24 when it writes them.
pub(super) fn font(size: u32, colour: RGBColor) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&colour).pos(Pos::new(HPos::Center, VPos::Center))
}

/// The range of an axis that shows all values with a little room; `None` without values. The room does not
/// reach below zero if no value does: neither a loss nor an accuracy is negative.
pub(super) fn padded(values: impl Iterator<Item = f64>) -> Option<Range<f64>> {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    if low > high {
        return None;
    }
    // Equal values, as after one epoch without validation, still need an axis around them.
    let least = (0.02 * low.abs().max(high.abs())).max(1e-3);
    let room = (0.06 * (high - low)).max(least);
    let bottom = if low >= 0.0 { (low - room).max(0.0) } else { low - room };
    Some(bottom..high + room)
}

/// At most `most` round values inside a range: multiples of 1, 2 or 5 times a power of ten.
pub(super) fn ticks(range: &Range<f64>, most: usize) -> Vec<f64> {
    let span = range.end - range.start;
    let power = 10_f64.powf((span / most as f64).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0, 20.0].map(|multiple| multiple * power);
    let multiples = |step: f64| {
        let (first, last) = ((range.start / step).ceil(), (range.end / step).floor());
        (0..=(last - first) as usize).map(move |i| (first + i as f64) * step)
    };
    let step = steps.into_iter().find(|&step| multiples(step).count() <= most);
    multiples(step.unwrap_or(steps[4])).collect()
}

/// Decimals that tell neighbouring ticks apart, or `None` where labels would be too long for the
/// margin and powers of ten have to do.
pub(super) fn decimals(ticks: &[f64]) -> Option<usize> {
    let step = ticks.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min);
    let decimals = if step.is_finite() { (-(step * 1.001).log10().floor()).max(0.0) } else { 2.0 };
    let largest = ticks.iter().fold(0.0_f64, |largest, tick| largest.max(tick.abs()));
    (decimals <= 4.0 && largest < 1e5).then_some(decimals as usize)
}

/// The label of a tick, with the decimals that [`decimals`] found.
pub(super) fn label(tick: f64, decimals: Option<usize>) -> String {
    match decimals {
        Some(decimals) => format!("{tick:.decimals$}"),
        None => format!("{tick:.1e}"),
    }
}

/// Round epochs: every one up to 12, then every 2nd, 5th, 10th, 20th ... and the first.
fn epoch_ticks(epochs: usize) -> Vec<f64> {
    let scale = (0..).map(|power| 10_usize.saturating_pow(power));
    let steps = scale.flat_map(|power| [1, 2, 5].map(|multiple| multiple * power));
    let step = steps.into_iter().find(|step| epochs / step <= 12).unwrap_or(1);
    // Next to a tick at 2 the first epoch's label would only crowd.
    let first = (step > 2).then_some(1);
    let multiples = (1..=epochs / step).map(|i| i * step);
    first.into_iter().chain(multiples).map(|epoch| epoch as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(epochs: usize) -> Curves {
        let falling = |from: f64, to: f64| {
            (0..epochs).map(move |i| to + (from - to) * (-(i as f64) / 4.0).exp()).collect()
        };
        let series = |a: (f64, f64), b: (f64, f64)| Series {
            training: falling(a.0, a.1),
            validation: Some(falling(b.0, b.1)),
        };
        Curves {
            title: "cse574-cnn".to_owned(),
            loss: series((0.58, 0.16), (0.41, 0.24)),
            accuracy: series((0.78, 0.94), (0.85, 0.92)),
        }
    }

    /// The content of every `<text>` element, in drawing order.
    fn texts(svg: &str) -> Vec<&str> {
        svg.split("<text").skip(1).map(|t| t.split(['>', '<']).nth(1).unwrap().trim()).collect()
    }

    #[test]
    fn says_what_it_shows() {
        let svg = curves(&run(10)).unwrap();
        let texts = texts(&svg);
        for text in ["cse574-cnn", "training", "validation", "Loss", "Accuracy", "epoch", "10"] {
            assert!(texts.contains(&text), "{text} in {texts:?}");
        }
        assert!(svg.trim_end().ends_with("</svg>"));
        // 4 lines, 2 legend samples and the frames; a dot per epoch and line, 2 in the legend.
        assert_eq!(svg.matches("<circle").count(), 42);
        let coloured = |colour| svg.matches(colour).count();
        assert!(coloured("#0072B2") == coloured("#D55E00"));
    }

    #[test]
    fn every_length_of_run_can_be_drawn() {
        for epochs in [0, 1, 2, 3, 10, 15, 30, 31, 50, 1_000, 10_000] {
            let svg = curves(&run(epochs)).unwrap();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{epochs} epochs");
        }
        assert!(texts(&curves(&run(0)).unwrap()).contains(&"Loss: no epoch yet"));
    }

    #[test]
    fn a_panel_alone_has_the_same_lines() {
        let run = run(10);
        let lines = |svg: &str| {
            let points = |line: &str| line.matches(',').count();
            svg.split("<polyline").skip(1).map(points).filter(|&n| n >= 10).count()
        };
        let both = curves(&run).unwrap();
        let [first, second] = [loss(&run.loss).unwrap(), accuracy(&run.accuracy).unwrap()];
        assert_eq!((lines(&first), lines(&second), lines(&both)), (2, 2, 4));
        assert!(texts(&first).contains(&"Loss") && texts(&second).contains(&"Accuracy"));
        assert!(!texts(&first).contains(&"Accuracy"));
        assert!(texts(&loss(&Series::default()).unwrap()).contains(&"Loss: no epoch yet"));
    }

    #[test]
    fn long_lines_keep_their_extremes() {
        let mut points: Vec<(f64, f64)> = (1..=10_001).map(|i| (f64::from(i), 0.5)).collect();
        (points[0].1, points[777].1, points[10_000].1) = (0.9, 0.1, 0.7);
        let thin = thinned(points.clone());
        assert!(thin.len() <= DRAWN_EPOCHS + 2, "{}", thin.len());
        for i in [0, 777, 10_000] {
            assert!(thin.contains(&points[i]), "{i}");
        }
        assert!(thin.windows(2).all(|pair| pair[0].0 <= pair[1].0));
        points.truncate(DRAWN_EPOCHS);
        assert_eq!(thinned(points.clone()), points);
    }

    #[test]
    fn a_run_without_validation_has_no_legend_for_it() {
        let mut alone = run(3);
        (alone.loss.validation, alone.accuracy.validation) = (None, None);
        let svg = curves(&alone).unwrap();
        assert!(!texts(&svg).contains(&"validation"));
        assert!(!svg.contains("#D55E00"));
    }

    #[test]
    fn a_diverged_run_leaves_gaps() {
        let mut diverged = run(5);
        diverged.loss.training[2] = f64::NAN;
        diverged.loss.training[4] = f64::INFINITY;
        let svg = curves(&diverged).unwrap();
        assert!(!svg.contains("NaN"));
        assert_eq!(svg.matches("<circle").count(), 20 + 2 - 2);
        diverged.loss = Series { training: vec![f64::NAN], validation: None };
        assert!(texts(&curves(&diverged).unwrap()).contains(&"Loss: no finite value"));
        diverged.loss = Series { training: vec![1e30, -1e30, 1e-30], validation: None };
        curves(&diverged).unwrap();
    }

    #[test]
    fn a_title_cannot_break_the_file() {
        let svg = curves(&Curves { title: "a < b & c".to_owned(), ..run(2) }).unwrap();
        assert!(svg.contains("a &lt; b &amp; c"));
    }

    #[test]
    fn ticks_are_round_and_inside() {
        let shown = |range: Range<f64>| {
            let ticks = ticks(&range, 7);
            let decimals = decimals(&ticks).unwrap();
            ticks.iter().map(|tick| format!("{tick:.decimals$}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(shown(0.14..0.61), "0.2 0.3 0.4 0.5 0.6");
        assert_eq!(shown(0.0..1.0), "0.0 0.2 0.4 0.6 0.8 1.0");
        assert_eq!(shown(0.9931..0.9989), "0.994 0.995 0.996 0.997 0.998");
        assert_eq!(shown(3.0..170.0), "50 100 150");
    }

    #[test]
    fn epochs_are_whole() {
        assert!(epoch_ticks(0).is_empty());
        assert_eq!(epoch_ticks(1), [1.0]);
        assert_eq!(epoch_ticks(2), [1.0, 2.0]);
        assert_eq!(epoch_ticks(10).len(), 10);
        assert_eq!(epoch_ticks(15), [2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0]);
        assert_eq!(epoch_ticks(30), [1.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0]);
        assert_eq!(
            epoch_ticks(50),
            [1.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 40.0, 45.0, 50.0]
        );
    }
}
