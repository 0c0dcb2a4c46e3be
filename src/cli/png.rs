//! Pixels as the bytes of a PNG file.

use crate::{Error, Result};

/// A PNG of an image `[height, width, channels]`, with one channel (grey) or three (red, green, blue): row by row, the
/// channels of a pixel side by side.
///
/// # Errors
/// [`Error::Failed`] if the pixels are not as many.
pub(super) fn png([height, width, channels]: [usize; 3], pixels: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(if channels == 1 { png::ColorType::Grayscale } else { png::ColorType::Rgb });
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(pixels)?;
        writer.finish()
    });
    written.map_err(|error| Error::Failed(format!("cannot write a picture: {error}")))?;
    Ok(bytes)
}
