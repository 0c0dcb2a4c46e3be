//! Several models side by side, a panel of bars for each figure, as the text of an SVG file.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::plots::{Area, Axis, Drawn, GRID, INK, TRAINING, decimals, font, label, ticks};
use crate::{Error, Result};

/// What [`bars`] draws.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bars {
    /// The heading.
    pub title: String,
    /// The models, from top to bottom.
    pub names: Vec<String>,
    /// The figures, one panel each.
    pub panels: Vec<Figure>,
}

/// One figure of all models.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What it is, with its unit.
    pub name: String,
    /// By model; none where a model has no such figure.
    pub values: Vec<Option<f64>>,
    /// How the axis runs.
    pub axis: Along,
}

/// How the axis of a panel runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Along {
    /// From 0.
    FromZero,
    /// In powers of ten, from the one below the least value: for figures that differ by orders of magnitude.
    Log,
}

const WIDTH: u32 = 480;
const HEADER: u32 = 44;
/// Height of a bar with its gap, and of what stands around the bars of a panel.
const BAR: u32 = 34;
const AROUND: u32 = 90;
/// Width of the names.
const NAMES: u32 = 140;
/// Panels per row.
const COLUMNS: usize = 2;

/// Draws the bars, two panels of 480 pixels in a row; a single panel is as wide as that, and an empty title has no
/// room. Values that are missing or not finite have no bar. Those below
/// zero have only their number, and so has zero on a logarithmic axis.
///
/// # Errors
/// [`Error::Failed`] if the drawing library refuses, which no input is known to cause.
pub fn bars(bars: &Bars) -> Result<String> {
    let columns = bars.panels.len().clamp(1, COLUMNS);
    let rows = bars.panels.len().div_ceil(columns).max(1);
    let height = AROUND + BAR * bars.names.len() as u32;
    let header = if bars.title.is_empty() { 0 } else { HEADER };
    let size = (WIDTH * columns as u32, header + height * rows as u32);
    let mut svg = String::new();
    draw(
        bars,
        header,
        (rows, columns),
        &SVGBackend::with_string(&mut svg, size).into_drawing_area(),
    )
    .map_err(|error| Error::Failed(format!("cannot draw the comparison: {error}")))?;
    Ok(svg)
}

fn draw(bars: &Bars, header: u32, grid: (usize, usize), root: &Area<'_>) -> Drawn {
    root.fill(&WHITE)?;
    let (header, panels) = root.split_vertically(header);
    let centre = (root.dim_in_pixel().0 / 2) as i32;
    header.draw(&Text::new(bars.title.as_str(), (centre, 24), font(24, INK)))?;
    for (figure, area) in bars.panels.iter().zip(panels.split_evenly(grid)) {
        panel(&bars.names, figure, &area)?;
    }
    root.present()
}

/// The axis of a panel for such values, and where they lie on it.
fn axis(along: Along, values: &[f64]) -> Axis {
    let most = values.iter().copied().fold(0.0, f64::max);
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    match along {
        Along::Log if least.is_finite() && least > 0.0 => {
            let (low, high) = (least.log10().floor(), most.log10().ceil());
            // A value that is a power of ten has a bar too, and the label of the longest has room.
            let low = if low == least.log10() { low - 1.0 } else { low };
            let ticks = (low as i32..=high as i32).map(f64::from).collect();
            Axis { range: low..high + 0.35 * (high - low), ticks }
        }
        _ => {
            let most = if most > 0.0 { most } else { 1.0 };
            Axis { range: 0.0..1.3 * most, ticks: ticks(&(0.0..most), 5) }
        }
    }
}

fn panel(names: &[String], figure: &Figure, area: &Area<'_>) -> Drawn {
    let is_drawn = |value: f64| match figure.axis {
        Along::FromZero => value.is_finite() && value >= 0.0,
        Along::Log => value.is_finite() && value > 0.0,
    };
    let values: Vec<Option<f64>> =
        figure.values.iter().map(|value| value.filter(|&value| is_drawn(value))).collect();
    let drawn: Vec<f64> = values.iter().copied().flatten().collect();
    let axis = axis(figure.axis, &drawn);
    let start = axis.range.start;
    let places = decimals(&axis.ticks);
    let place = |value: f64| if figure.axis == Along::Log { value.log10() } else { value };
    let count = names.len().max(1) as f64;
    // The first model is at the top.
    let rows = Axis { range: -count + 0.5..0.5, ticks: Vec::new() };
    let mut chart = ChartBuilder::on(area)
        .caption(&figure.name, font(18, INK))
        .margin(8)
        .x_label_area_size(30)
        .y_label_area_size(NAMES)
        .build_cartesian_2d(axis, rows)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .bold_line_style(GRID)
        .axis_style(INK)
        .label_style(font(15, INK))
        .x_label_formatter(&|&tick| match figure.axis {
            Along::Log => format!("1e{tick:.0}"),
            Along::FromZero => label(tick, places),
        })
        .draw()?;
    let name_style = font(15, INK).pos(Pos::new(HPos::Right, VPos::Center));
    let value_style = font(14, INK).pos(Pos::new(HPos::Left, VPos::Center));
    let places_of_rows = (0..).map(|row: u32| -f64::from(row));
    for (((row, name), value), told) in places_of_rows.zip(names).zip(&values).zip(&figure.values) {
        let at = chart.backend_coord(&(start, row));
        let (left, top) = area.get_base_pixel();
        let (x, y) = (at.0 - left, at.1 - top);
        area.draw(&Text::new(name.as_str(), (x - 8, y), name_style.clone()))?;
        let Some(value) = *value else {
            let told = told.filter(|told| told.is_finite()).map_or("-".to_owned(), written);
            area.draw(&Text::new(told, (x + 6, y), value_style.clone()))?;
            continue;
        };
        let corners = [(start, row - 0.32), (place(value), row + 0.32)];
        chart.draw_series([Rectangle::new(corners, TRAINING.filled())])?;
        let end = chart.backend_coord(&(place(value), row)).0 - left;
        area.draw(&Text::new(written(value), (end + 6, y), value_style.clone()))?;
    }
    Ok(())
}

/// A value to three or four figures.
fn written(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        ..0.0 => format!("-{}", written(-value)),
        ..0.001 => format!("{value:.1e}"),
        ..1.0 => format!("{value:.4}"),
        ..100.0 => format!("{value:.2}"),
        ..1e6 => format!("{value:.0}"),
        _ => format!("{value:.2e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(models: usize) -> Bars {
        let figure = |name: &str, axis, factor: f64| Figure {
            name: name.to_owned(),
            values: (0..models)
                .map(|i| (i != 2).then_some(factor * 10_f64.powi(i as i32)))
                .collect(),
            axis,
        };
        Bars {
            title: "a & b".to_owned(),
            names: (0..models).map(|i| format!("model-{i}")).collect(),
            panels: vec![
                figure("accuracy", Along::FromZero, 0.001),
                figure("seconds", Along::Log, 0.02),
                figure("bytes", Along::Log, 1.0),
            ],
        }
    }

    #[test]
    fn every_model_has_a_bar_in_every_panel() {
        let svg = bars(&comparison(4)).unwrap();
        let texts: Vec<_> = svg
            .split("<text")
            .skip(1)
            .map(|t| t.split(['>', '<']).nth(1).unwrap().trim())
            .collect();
        for text in ["a &amp; b", "accuracy", "seconds", "model-0", "model-3", "0.0010", "20.00"] {
            assert!(texts.contains(&text), "{text} in {texts:?}");
        }
        // Three of four values in each of three panels.
        assert_eq!(svg.matches("fill=\"#0072B2\"").count(), 9, "{svg}");
        assert_eq!(texts.iter().filter(|text| **text == "-").count(), 3);
    }

    #[test]
    fn values_without_a_bar_are_told_if_they_are_numbers() {
        let values = vec![Some(-0.0033), None, Some(f64::NAN), Some(-5e7), Some(0.5)];
        let names = ["a", "b", "c", "d", "e"].map(String::from).to_vec();
        let panels = vec![Figure { name: String::new(), values, axis: Along::FromZero }];
        let svg = bars(&Bars { title: String::new(), names, panels }).unwrap();
        let texts: Vec<_> = svg
            .split("<text")
            .skip(1)
            .map(|t| t.split(['>', '<']).nth(1).unwrap().trim())
            .collect();
        assert!(texts.contains(&"-0.0033") && texts.contains(&"-5.00e7"), "{texts:?}");
        assert_eq!(texts.iter().filter(|text| **text == "-").count(), 2);
        assert_eq!(svg.matches("fill=\"#0072B2\"").count(), 1, "{svg}");
    }

    #[test]
    fn longer_bars_are_larger_values() {
        let values = vec![Some(1.0), Some(2.0), Some(4.0)];
        let names = ["a", "b", "c"].map(String::from).to_vec();
        let panels = vec![Figure { name: String::new(), values, axis: Along::FromZero }];
        let svg = bars(&Bars { title: String::new(), names, panels }).unwrap();
        let lengths: Vec<f64> = svg
            .split("<rect")
            .filter(|rect| rect.contains("#0072B2"))
            .map(|rect| rect.split("width=\"").nth(1).unwrap().split('"').next().unwrap())
            .map(|width| width.parse().unwrap())
            .collect();
        assert_eq!(lengths.len(), 3);
        assert!((lengths[2] / lengths[0] - 4.0).abs() < 0.1, "{lengths:?}");
        assert!((lengths[1] / lengths[0] - 2.0).abs() < 0.1, "{lengths:?}");
    }

    #[test]
    fn everything_can_be_drawn() {
        for models in [0, 1, 3, 20] {
            let mut comparison = comparison(models);
            for value in [f64::NAN, f64::INFINITY, -1.0, 0.0, 1.0, 1e300] {
                for panel in &mut comparison.panels {
                    panel.values.fill(Some(value));
                }
                let svg = bars(&comparison).unwrap();
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{models} {value}");
            }
        }
        bars(&Bars::default()).unwrap();
    }
}
