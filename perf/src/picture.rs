//! What the pictures share. They are SVG text, in which nothing measures or rasterises a font: the viewer
//! does, so no font files and no system library are needed.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use threadcount::{Error, Result};

/// Where it is drawn.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// How drawing ends.
pub type Drawn = std::result::Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// Axes and words.
pub const INK: RGBColor = RGBColor(64, 64, 64);
/// Lines behind everything.
pub const GRID: RGBColor = RGBColor(228, 228, 228);
/// Colours that colour-blind people can tell apart (Okabe and Ito 2008).
pub const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];

/// Words that begin at their point, in the middle of their height; plotters divides sizes by 1.24 when it
/// writes them.
pub fn font(size: u32, colour: RGBColor) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&colour).pos(Pos::new(HPos::Left, VPos::Center))
}

/// The text of one SVG file.
///
/// # Errors
/// [`Error::Failed`] if the drawing library refuses, which no input is known to cause.
pub fn svg(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Drawn) -> Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE)
            .and_then(|()| draw(&root))
            .and_then(|()| root.present())
            .map_err(|error| Error::Failed(format!("cannot draw: {error}")))?;
    }
    Ok(svg)
}
