//! How often a classifier is right at each confidence, as the text of an SVG file.

use plotters::prelude::*;

use super::Calibration;
use super::plots::{Area, Axis, Drawn, TRAINING, VALIDATION, framed, mesh};
use crate::{Error, Result};

const SIZE: (u32, u32) = (480, 400);

/// Draws a reliability diagram of 480 x 400 pixels: a bar for each bin that has samples, as high as its accuracy.
/// On the line accuracy equals confidence. As figure 1 of Guo et al., ICML 2017.
///
/// # Errors
/// [`Error::Failed`] if the drawing library refuses, which no input is known to cause.
pub fn reliability(calibration: &Calibration) -> Result<String> {
    let mut svg = String::new();
    draw(calibration, &SVGBackend::with_string(&mut svg, SIZE).into_drawing_area())
        .map_err(|error| Error::Failed(format!("cannot draw the reliability diagram: {error}")))?;
    Ok(svg)
}

fn draw(calibration: &Calibration, root: &Area<'_>) -> Drawn {
    root.fill(&WHITE)?;
    let fifths = || (0..=5).map(|i| f64::from(i) / 5.0).collect();
    let mut chart = framed(root).build_cartesian_2d(
        Axis { range: 0.0..1.0, ticks: fifths() },
        Axis { range: 0.0..1.02, ticks: fifths() },
    )?;
    mesh(&mut chart)
        .disable_x_mesh()
        .x_desc("confidence")
        .y_desc("accuracy")
        .x_label_formatter(&|tick| format!("{tick:.1}"))
        .y_label_formatter(&|tick| format!("{tick:.1}"))
        .draw()?;
    let width = 1.0 / calibration.bins.len() as f64;
    for (bin, low) in calibration.bins.iter().zip((0..).map(|m| f64::from(m) * width)) {
        if bin.samples > 0 {
            let corners = [(low + 0.06 * width, 0.0), (low + 0.94 * width, bin.accuracy)];
            chart.draw_series([Rectangle::new(corners, TRAINING.filled())])?;
        }
    }
    chart.draw_series(LineSeries::new([(0.0, 0.0), (1.0, 1.0)], VALIDATION.stroke_width(2)))?;
    root.present()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_high_as_its_accuracy() {
        let confidences = [0.1, 0.9, 0.9, 0.9, 0.9, 0.6, 0.6];
        let right = [false, true, true, true, true, true, false];
        let svg = reliability(&Calibration::measure(&confidences, &right, 4)).unwrap();
        let bars: Vec<f64> = svg
            .split("<rect")
            .filter(|rect| rect.contains("#0072B2"))
            .map(|rect| rect.split(" height=\"").nth(1).unwrap().split('"').next().unwrap())
            .map(|height| height.parse().unwrap())
            .collect();
        // Of the bins at 0.1, 0.6 and 0.9: none, half and all of the height.
        assert_eq!(bars.len(), 3, "{svg}");
        assert!(bars[0] <= 1.0, "{bars:?}");
        assert!((bars[2] / bars[1] - 2.0).abs() < 0.05, "{bars:?}");
        assert_eq!(svg.matches("stroke=\"#D55E00\"").count(), 1, "{svg}");
    }

    #[test]
    fn nothing_can_be_drawn() {
        for bins in [1, 15, 100] {
            let svg = reliability(&Calibration::measure(&[], &[], bins)).unwrap();
            assert!(!svg.contains("NaN") && !svg.contains("#0072B2"), "{svg}");
        }
    }
}
