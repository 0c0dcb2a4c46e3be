//! Regression models compared, as the text of SVG files: their errors as bars, and predictions over true values.

use plotters::prelude::*;

use super::plots::{
    Area, Axis, Drawn, GRID, INK, TRAINING, VALIDATION, decimals, font, padded, ticks,
};
use crate::{Error, Result};

/// What [`bars`] draws.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bars {
    /// The heading.
    pub title: String,
    /// One chart each.
    pub panels: Vec<BarPanel>,
}

/// One measure of several models.
#[derive(Clone, Debug, PartialEq)]
pub struct BarPanel {
    /// What is measured.
    pub name: String,
    /// The models.
    pub bars: Vec<Bar>,
}

/// One model.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// Its name.
    pub name: String,
    /// What was measured. What is not finite has no bar.
    pub value: f64,
    /// What a report claims.
    pub claimed: Option<f64>,
}

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
/// The most bars that have names under them.
const NAMED: usize = 12;

/// Draws bars from zero, a chart of 480 x 340 pixels for each measure, claims as outlines.
///
/// # Errors
/// [`Error::Failed`] if the drawing library refuses, which no input is known to cause.
pub fn bars(bars: &Bars) -> Result<String> {
    let is_claimed = bars.panels.iter().flat_map(|p| &p.bars).any(|bar| bar.claimed.is_some());
    let legend: &[(&str, Look)] = match is_claimed {
        true => &[("measured", Look::Filled), ("claimed", Look::Outline)],
        false => &[],
    };
    page(&bars.title, legend, bars.panels.len(), |number, area| {
        bar_panel(&bars.panels[number], area)
    })
}

/// Draws predictions over true values, a chart of 480 x 340 pixels for each model. On the line both are equal.
///
/// # Errors
/// As [`bars`].
pub fn against(against: &Against) -> Result<String> {
    let legend = [("a row", Look::Dot), ("predicted = true", Look::Line)];
    page(&against.title, &legend, against.panels.len(), |number, area| {
        let (name, points) = &against.panels[number];
        point_panel(name, &against.unit, points, area)
    })
}

/// How an entry of a legend looks.
#[derive(Clone, Copy)]
enum Look {
    Filled,
    Outline,
    Dot,
    Line,
}

fn page(
    title: &str,
    legend: &[(&str, Look)],
    panels: usize,
    draw: impl Fn(usize, &Area<'_>) -> Drawn,
) -> Result<String> {
    let rows = panels.div_ceil(COLUMNS).max(1);
    let size = (WIDTH * COLUMNS as u32, HEADER + HEIGHT * rows as u32);
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    let all = || -> Drawn {
        root.fill(&WHITE)?;
        let (header, below) = root.split_vertically(HEADER);
        heading(title, legend, &header)?;
        for (number, area) in below.split_evenly((rows, COLUMNS)).iter().take(panels).enumerate() {
            draw(number, area)?;
        }
        root.present()
    };
    let drawn = all();
    drop(root);
    drawn.map_err(|error| Error::Failed(format!("cannot draw the comparison: {error}")))?;
    Ok(svg)
}

fn heading(title: &str, legend: &[(&str, Look)], header: &Area<'_>) -> Drawn {
    const ENTRY: i32 = 170;
    let centre = header.dim_in_pixel().0 as i32 / 2;
    header.draw(&Text::new(title, (centre, 22), font(24, INK)))?;
    for (i, (name, look)) in (0..).zip(legend) {
        let x = centre - ENTRY * legend.len() as i32 / 2 + ENTRY * i + 20;
        let corners = [(x - 8, 42), (x + 8, 54)];
        match look {
            Look::Filled => header.draw(&Rectangle::new(corners, TRAINING.filled()))?,
            Look::Outline => header.draw(&Rectangle::new(corners, VALIDATION.stroke_width(2)))?,
            Look::Dot => header.draw(&Circle::new((x, 48), 2, TRAINING.filled()))?,
            Look::Line => {
                let line = [(x - 12, 48), (x + 12, 48)];
                header.draw(&PathElement::new(line, VALIDATION.stroke_width(2)))?;
            }
        }
        header.draw(&Text::new(*name, (x + 74, 48), font(15, INK)))?;
    }
    Ok(())
}

/// That there is nothing to draw.
fn nothing(name: &str, area: &Area<'_>) -> Drawn {
    let (width, height) = area.dim_in_pixel();
    let middle = (width as i32 / 2, height as i32 / 2);
    area.draw(&Text::new(format!("{name}: no finite value"), middle, font(18, INK)))
}

fn label(tick: f64, decimals: Option<usize>) -> String {
    match decimals {
        Some(decimals) => format!("{tick:.decimals$}"),
        None => format!("{tick:.1e}"),
    }
}

fn bar_panel(panel: &BarPanel, area: &Area<'_>) -> Drawn {
    let values = panel.bars.iter().flat_map(|bar| [Some(bar.value), bar.claimed]);
    let values = values.flatten().filter(|value| value.is_finite());
    if values.clone().next().is_none() {
        return nothing(&panel.name, area);
    }
    // Bars begin at zero, or their lengths say nothing.
    let Some(range) = padded(values.chain([0.0])) else { return nothing(&panel.name, area) };
    let marks = ticks(&range, 7);
    let places = decimals(&marks);
    let names = if panel.bars.len() <= NAMED { panel.bars.len() } else { 0 };
    let across = Axis {
        range: -0.5..panel.bars.len() as f64 - 0.5,
        ticks: (0..names).map(|i| i as f64).collect(),
    };
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.name, font(20, INK))
        .margin(8)
        .margin_right(20)
        .x_label_area_size(44)
        .y_label_area_size(70)
        .build_cartesian_2d(across, Axis { range, ticks: marks })?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID)
        .axis_style(INK)
        .label_style(font(16, INK))
        .x_label_formatter(&|at| {
            panel.bars.get(at.round() as usize).map_or(String::new(), |bar| bar.name.clone())
        })
        .y_label_formatter(&|value| label(*value, places))
        .draw()?;
    for (at, bar) in panel.bars.iter().enumerate() {
        let at = at as f64;
        if bar.value.is_finite() {
            let corners = [(at - 0.3, 0.0), (at + 0.3, bar.value)];
            chart.draw_series([Rectangle::new(corners, TRAINING.filled())])?;
        }
        if let Some(claimed) = bar.claimed.filter(|claimed| claimed.is_finite()) {
            let corners = [(at - 0.38, 0.0), (at + 0.38, claimed)];
            chart.draw_series([Rectangle::new(corners, VALIDATION.stroke_width(2))])?;
        }
    }
    Ok(())
}

fn point_panel(name: &str, unit: &str, points: &[(f64, f64)], area: &Area<'_>) -> Drawn {
    let finite = || points.iter().filter(|(x, y)| x.is_finite() && y.is_finite());
    let Some(range) = padded(finite().flat_map(|&(x, y)| [x, y])) else {
        return nothing(name, area);
    };
    let marks = ticks(&range, 6);
    let places = decimals(&marks);
    let axis = || Axis { range: range.clone(), ticks: marks.clone() };
    let mut chart = ChartBuilder::on(area)
        .caption(name, font(20, INK))
        .margin(8)
        .margin_right(20)
        .x_label_area_size(44)
        .y_label_area_size(70)
        .build_cartesian_2d(axis(), axis())?;
    chart
        .configure_mesh()
        .bold_line_style(GRID)
        .axis_style(INK)
        .label_style(font(16, INK))
        .axis_desc_style(font(17, INK))
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

    fn compared(claimed: Option<f64>) -> Bars {
        let bar = |name: &str, value| Bar { name: name.to_owned(), value, claimed };
        let bars = vec![bar("mean", 5e8), bar("forest", 7e6), bar("bad", f64::NAN)];
        Bars { title: "a & b".to_owned(), panels: vec![BarPanel { name: "MSE".to_owned(), bars }] }
    }

    #[test]
    fn bars_say_what_they_show() {
        let svg = bars(&compared(Some(4e8))).unwrap();
        let shown = texts(&svg);
        for text in ["a &amp; b", "MSE", "mean", "forest", "measured", "claimed"] {
            assert!(shown.contains(&text), "{text} in {shown:?}");
        }
        // Three outlines and one in the legend; two bars and one in the legend.
        assert_eq!(svg.matches("#D55E00").count(), 4);
        assert_eq!(svg.matches("#0072B2").count(), 3);
        let alone = bars(&compared(None)).unwrap();
        assert!(!alone.contains("#D55E00") && !texts(&alone).contains(&"claimed"));
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
        bars(&Bars::default()).unwrap();
        against(&Against::default()).unwrap();
        let empty = BarPanel { name: "R2".to_owned(), bars: Vec::new() };
        let svg = bars(&Bars { title: String::new(), panels: vec![empty] }).unwrap();
        assert!(texts(&svg).contains(&"R2: no finite value"));
    }
}
