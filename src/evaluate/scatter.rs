//! What the trials of a search scored, over each setting that was searched, as the text of an SVG file.

use std::ops::Range;

use plotters::prelude::*;

use super::plots::{
    Area, Axis, Drawn, INK, TRAINING, VALIDATION, decimals, font, framed, label, mesh, padded,
    ticks,
};
use crate::{Error, Result};

/// What [`scatter`] draws.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scatter {
    /// The heading.
    pub title: String,
    /// What the scores are, for example `val_accuracy`.
    pub metric: String,
    /// The settings, one panel each.
    pub panels: Vec<Panel>,
    /// The trials, one point each.
    pub points: Vec<Point>,
}

/// One setting.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// Its name.
    pub name: String,
    /// How its values lie along the axis.
    pub along: Along,
}

/// How values lie along an axis.
#[derive(Clone, Debug, PartialEq)]
pub enum Along {
    /// Numbers, on a linear axis.
    Linear,
    /// Numbers above 0, on a logarithmic axis.
    Log,
    /// These names; a value is the index of one, from 0.
    Names(Vec<String>),
}

/// One trial.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Its value in each panel.
    pub values: Vec<f64>,
    /// Its score; none if it diverged.
    pub score: Option<f64>,
    /// How far it came.
    pub mark: Mark,
}

/// How a trial is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The best one: a dot in a ring.
    Best,
    /// Trained to its end: a dot.
    Finished,
    /// Ended early: a circle.
    EndedEarly,
}

const WIDTH: u32 = 480;
const HEIGHT: u32 = 340;
const HEADER: u32 = 64;
/// Panels per row.
const COLUMNS: usize = 2;

/// Draws the scores over each setting, two panels of 480 x 340 pixels in a row. Trials that diverged are
/// crosses at the lower edge.
///
/// # Errors
/// [`Error::Failed`] if the drawing library refuses, which no input is known to cause.
pub fn scatter(scatter: &Scatter) -> Result<String> {
    let columns = scatter.panels.len().clamp(1, COLUMNS);
    let rows = scatter.panels.len().div_ceil(columns).max(1);
    // The legend needs the width of two.
    let size = (WIDTH * COLUMNS as u32, HEADER + HEIGHT * rows as u32);
    let mut svg = String::new();
    draw(scatter, (rows, columns), &SVGBackend::with_string(&mut svg, size).into_drawing_area())
        .map_err(|error| Error::Failed(format!("cannot draw the search: {error}")))?;
    Ok(svg)
}

fn draw(scatter: &Scatter, (rows, columns): (usize, usize), root: &Area<'_>) -> Drawn {
    root.fill(&WHITE)?;
    let (header, panels) = root.split_vertically(HEADER);
    let centre = root.dim_in_pixel().0 as i32 / 2;
    header.draw(&Text::new(scatter.title.as_str(), (centre, 22), font(24, INK)))?;
    const ENTRY: i32 = 150;
    let legend = ["best", "trained to its end", "ended early", "diverged"];
    for (i, name) in (0..).zip(legend) {
        let x = centre - ENTRY * legend.len() as i32 / 2 + ENTRY * i + 10;
        let at = (x, 48);
        match i {
            0 => ring(&header, at)?,
            1 => header.draw(&Circle::new(at, 4, TRAINING.filled()))?,
            2 => header.draw(&Circle::new(at, 4, TRAINING))?,
            _ => header.draw(&Cross::new(at, 4, INK))?,
        }
        header.draw(&Text::new(name, (x + 66, 48), font(15, INK)))?;
    }
    for (number, area) in panels.split_evenly((rows, columns)).iter().enumerate() {
        if let Some(one) = scatter.panels.get(number) {
            panel(scatter, number, one, area)?;
        }
    }
    root.present()
}

fn ring(area: &Area<'_>, at: (i32, i32)) -> Drawn {
    area.draw(&Circle::new(at, 4, VALIDATION.filled()))?;
    area.draw(&Circle::new(at, 8, VALIDATION.stroke_width(2)))
}

/// Where a value lies along the axis, if it does.
fn place(along: &Along, value: f64) -> Option<f64> {
    let place = if *along == Along::Log { value.log10() } else { value };
    place.is_finite().then_some(place)
}

/// The axis, and the labels of its ticks.
fn across(along: &Along, places: impl Iterator<Item = f64>) -> Option<(Axis, Vec<String>)> {
    if let Along::Names(names) = along {
        let ticks = (0..names.len()).map(|i| i as f64).collect();
        return Some((Axis { range: -0.5..names.len() as f64 - 0.5, ticks }, names.clone()));
    }
    let (low, high) = places.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), place| {
        (low.min(place), high.max(place))
    });
    if low > high {
        return None;
    }
    let room = (0.06 * (high - low)).max(if *along == Along::Log { 0.05 } else { 1e-3 });
    let range = low - room..high + room;
    let (ticks, labels) = match along {
        Along::Log => decades(&range),
        _ => {
            let ticks = ticks(&range, 6);
            let decimals = decimals(&ticks);
            let labels = ticks.iter().map(|&tick| label(tick, decimals)).collect();
            (ticks, labels)
        }
    };
    Some((Axis { range, ticks }, labels))
}

/// Ticks on a logarithmic axis: powers of ten, and 2 and 5 times them where there are few.
fn decades(range: &Range<f64>) -> (Vec<f64>, Vec<String>) {
    let (first, last) = (range.start.floor() as i32, range.end.ceil() as i32);
    let inside = |multiples: &[f64]| -> Vec<(f64, String)> {
        let all = (first..=last).flat_map(|power| multiples.iter().map(move |&m| (m, power)));
        let placed = all.map(|(m, power)| (m.log10() + f64::from(power), format!("{m}e{power}")));
        placed.filter(|(place, _)| range.contains(place)).collect()
    };
    let few = inside(&[1.0]);
    if few.len() > 2 { few } else { inside(&[1.0, 2.0, 5.0]) }.into_iter().unzip()
}

fn panel(scatter: &Scatter, number: usize, panel: &Panel, area: &Area<'_>) -> Drawn {
    let along = &panel.along;
    let at = |point: &Point| place(along, *point.values.get(number)?);
    let scores = scatter.points.iter().filter_map(|point| point.score);
    let scores = padded(scores.filter(|score| score.is_finite()));
    let axis = across(along, scatter.points.iter().filter_map(at));
    let (Some(range), Some((axis, labels))) = (scores, axis) else {
        let (width, height) = area.dim_in_pixel();
        let middle = (width as i32 / 2, height as i32 / 2);
        return area.draw(&Text::new(
            format!("{}: no trial has a score", panel.name),
            middle,
            font(18, INK),
        ));
    };
    let marks = ticks(&range, 7);
    let places = decimals(&marks);
    let bottom = range.start;
    let named: Vec<(f64, String)> = axis.ticks.iter().copied().zip(labels).collect();
    let mut chart = framed(area).build_cartesian_2d(axis, Axis { range, ticks: marks })?;
    let named_label = |place: &f64| {
        let is_it = |(tick, _): &&(f64, String)| (tick - place).abs() < 1e-9 * (1.0 + tick.abs());
        named.iter().find(is_it).map_or(String::new(), |(_, name)| name.clone())
    };
    mesh(&mut chart)
        .x_desc(panel.name.as_str())
        .y_desc(scatter.metric.as_str())
        .x_label_formatter(&named_label)
        .y_label_formatter(&|&value| label(value, places))
        .draw()?;
    // The best one is drawn on top of the others.
    let (best, others): (Vec<_>, Vec<_>) =
        scatter.points.iter().partition(|point| point.mark == Mark::Best);
    for point in others.into_iter().chain(best) {
        let Some(x) = at(point) else { continue };
        let Some(y) = point.score.filter(|score| score.is_finite()) else {
            chart.draw_series([Cross::new((x, bottom), 4, INK)])?;
            continue;
        };
        match point.mark {
            Mark::Finished => chart.draw_series([Circle::new((x, y), 4, TRAINING.filled())])?,
            Mark::EndedEarly => chart.draw_series([Circle::new((x, y), 4, TRAINING)])?,
            Mark::Best => chart.draw_series([
                Circle::new((x, y), 4, VALIDATION.filled()),
                Circle::new((x, y), 8, VALIDATION.stroke_width(2)),
            ])?,
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(trials: usize) -> Scatter {
        let panels = vec![
            Panel { name: "learning-rate".to_owned(), along: Along::Log },
            Panel { name: "dropout".to_owned(), along: Along::Linear },
            Panel {
                name: "optimizer".to_owned(),
                along: Along::Names(vec!["sgd".to_owned(), "adam".to_owned()]),
            },
        ];
        let point = |i: usize| Point {
            values: vec![10_f64.powi(-(i as i32 % 4)), i as f64 / 10.0, (i % 2) as f64],
            score: (i % 5 != 4).then_some(0.5 + i as f64 / 100.0),
            mark: match i {
                0 => Mark::Best,
                i if i % 2 == 1 => Mark::EndedEarly,
                _ => Mark::Finished,
            },
        };
        let points = (0..trials).map(point).collect();
        Scatter { title: "a & b".to_owned(), metric: "val_accuracy".to_owned(), panels, points }
    }

    fn texts(svg: &str) -> Vec<&str> {
        svg.split("<text").skip(1).map(|t| t.split(['>', '<']).nth(1).unwrap().trim()).collect()
    }

    #[test]
    fn says_what_it_shows() {
        let svg = scatter(&search(10)).unwrap();
        let texts = texts(&svg);
        let names = ["learning-rate", "dropout", "optimizer", "sgd", "adam", "val_accuracy"];
        for text in names.into_iter().chain(["a &amp; b", "1e-3", "1e0", "ended early"]) {
            assert!(texts.contains(&text), "{text} in {texts:?}");
        }
        // The best one is two circles, in each of three panels and in the legend. Of ten trials trials 5 and
        // 10 diverged.
        let filled =
            |colour: &str| svg.matches(&format!("fill=\"{colour}\" stroke=\"none\"")).count();
        assert_eq!(filled("#D55E00"), 4);
        assert_eq!(filled("#0072B2"), 3 * 3 + 1);
        assert_eq!(svg.matches("<circle").count(), 3 * (8 + 1) + 4);
    }

    #[test]
    fn every_search_can_be_drawn() {
        for trials in [0, 1, 2, 5, 200] {
            let mut search = search(trials);
            for panels in (0..=3).rev() {
                search.panels.truncate(panels);
                let svg = scatter(&search).unwrap();
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{trials} {panels}");
            }
        }
        let mut none = search(5);
        none.points.iter_mut().for_each(|point| point.score = None);
        assert!(scatter(&none).unwrap().contains("no trial has a score"));
        none.points.iter_mut().for_each(|point| point.values = vec![0.0, f64::NAN, 7.0]);
        scatter(&none).unwrap();
    }

    #[test]
    fn decades_are_few_and_inside() {
        let labels = |range: Range<f64>| decades(&range).1.join(" ");
        assert_eq!(labels(-4.1..-1.9), "1e-4 1e-3 1e-2");
        assert_eq!(labels(-3.1..-1.9), "1e-3 2e-3 5e-3 1e-2");
        assert_eq!(labels(1.4..2.0), "5e1");
    }
}
