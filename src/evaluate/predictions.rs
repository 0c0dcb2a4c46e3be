//! What regression models predict over what is true, a chart for each model, as the text of an SVG file.

use plotters::prelude::*;

use super::plots::{
    Area, Axis, Drawn, INK, TRAINING, VALIDATION, decimals, font, framed, label, mesh, padded,
    ticks,
};
use crate::{Error, Result};

/// What [`against`] draws.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Against {
    /// The heading.
    pub title: String,
    /// What is predicted.
    pub unit: String,
    /// The models, one chart each: name, and (true, predicted) of each row.
    pub panels: Vec<(String, Vec<(f64, f64)>)>,
}

const WIDTH: u32 = 480;
const HEIGHT: u32 = 340;
const HEADER: u32 = 64;
/// Charts in a row.
const COLUMNS: usize = 2;

/// Draws predictions over true values, a chart of 480 x 340 pixels for each model. On the line both are equal.
///
/// # Errors
/// [`Error::Failed`] if the drawing library refuses, which no input is known to cause.
pub fn against(against: &Against) -> Result<String> {
    let rows = against.panels.len().div_ceil(COLUMNS).max(1);
    let size = (WIDTH * COLUMNS as u32, HEADER + HEIGHT * rows as u32);
    let mut svg = String::new();
    draw(against, rows, &SVGBackend::with_string(&mut svg, size).into_drawing_area())
        .map_err(|error| Error::Failed(format!("cannot draw the predictions: {error}")))?;
    Ok(svg)
}

fn draw(against: &Against, rows: usize, root: &Area<'_>) -> Drawn {
    root.fill(&WHITE)?;
    let (header, below) = root.split_vertically(HEADER);
    heading(&against.title, &header)?;
    for ((name, points), area) in against.panels.iter().zip(below.split_evenly((rows, COLUMNS))) {
        panel(name, &against.unit, points, &area)?;
    }
    root.present()
}

fn heading(title: &str, header: &Area<'_>) -> Drawn {
    let centre = header.dim_in_pixel().0 as i32 / 2;
    header.draw(&Text::new(title, (centre, 22), font(24, INK)))?;
    header.draw(&Circle::new((centre - 150, 48), 2, TRAINING.filled()))?;
    header.draw(&Text::new("a row", (centre - 110, 48), font(15, INK)))?;
    let line = [(centre - 12, 48), (centre + 12, 48)];
    header.draw(&PathElement::new(line, VALIDATION.stroke_width(2)))?;
    header.draw(&Text::new("predicted = true", (centre + 80, 48), font(15, INK)))
}

/// That there is nothing to draw.
fn nothing(name: &str, area: &Area<'_>) -> Drawn {
    let (width, height) = area.dim_in_pixel();
    let middle = (width as i32 / 2, height as i32 / 2);
    area.draw(&Text::new(format!("{name}: no finite value"), middle, font(18, INK)))
}

fn panel(name: &str, unit: &str, points: &[(f64, f64)], area: &Area<'_>) -> Drawn {
    let finite = || points.iter().filter(|(x, y)| x.is_finite() && y.is_finite());
    let Some(range) = padded(finite().flat_map(|&(x, y)| [x, y])) else {
        return nothing(name, area);
    };
    let marks = ticks(&range, 6);
    let places = decimals(&marks);
    let axis = || Axis { range: range.clone(), ticks: marks.clone() };
    let mut chart = framed(area).caption(name, font(20, INK)).build_cartesian_2d(axis(), axis())?;
    mesh(&mut chart)
        .x_desc(format!("true {unit}"))
        .y_desc("predicted")
        .x_label_formatter(&|value| label(*value, places))
        .y_label_formatter(&|value| label(*value, places))
        .draw()?;
    let dot = TRAINING.mix(0.4).filled();
    chart.draw_series(finite().map(|&at| Circle::new(at, 2, dot)))?;
    let diagonal = [range.start, range.end].map(|at| (at, at));
    chart.draw_series(LineSeries::new(diagonal, VALIDATION.stroke_width(2)))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(svg: &str) -> Vec<&str> {
        svg.split("<text").skip(1).map(|t| t.split(['>', '<']).nth(1).unwrap().trim()).collect()
    }

    #[test]
    fn points_lie_beside_the_line() {
        let points = (0..50).map(|i| (f64::from(i), f64::from(i) + 1.0)).collect();
        let odd = vec![(f64::NAN, 1.0), (1.0, f64::INFINITY)];
        let panels = vec![("forest".to_owned(), points), ("none".to_owned(), odd)];
        let svg =
            against(&Against { title: "t".to_owned(), unit: "price".to_owned(), panels }).unwrap();
        assert_eq!(svg.matches("<circle").count(), 51);
        let shown = texts(&svg);
        for text in ["forest", "true price", "predicted", "none: no finite value"] {
            assert!(shown.contains(&text), "{text} in {shown:?}");
        }
        assert!(!svg.contains("NaN"));
    }

    #[test]
    fn nothing_can_be_drawn() {
        against(&Against::default()).unwrap();
    }
}
