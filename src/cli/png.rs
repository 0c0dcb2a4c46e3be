//! Pixels as the bytes of a PNG file.

use crate::{Error, Result};

/// What each pixel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    Grey,
    Rgb,
}

/// A PNG of these pixels, row by row, the channels of a pixel side by side.
///
/// # Errors
/// [`Error::Failed`] if they are not `width` x `height`.
pub(super) fn png(width: usize, height: usize, colour: Colour, pixels: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(match colour {
        Colour::Grey => png::ColorType::Grayscale,
        Colour::Rgb => png::ColorType::Rgb,
    });
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(pixels)?;
        writer.finish()
    });
    written.map_err(|error| Error::Failed(format!("cannot write a picture: {error}")))?;
    Ok(bytes)
}
