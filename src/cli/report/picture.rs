//! Pictures inside a page: samples as PNG, drawings as SVG.

use super::super::png::png;
use crate::Result;
use crate::data::{Row, Samples, Shape};
use askama::filters::{Html, escape};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The longest side of a sample's picture in pixels: larger ones are reduced, so that a page of a hundred stays
/// small.
const LONGEST: usize = 48;
/// How large a sample is shown, in pixels of the screen, at least if it can be enlarged by a whole number.
const SHOWN: usize = 84;

/// A picture in a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Picture {
    /// A `data:` address.
    pub(super) source: String,
    /// Its size on the screen.
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Picture {
    /// Sample `i`; none if it is no image. Of an image with neither one channel nor three, the first channel.
    ///
    /// # Errors
    /// As [`Picture::png`].
    pub(super) fn of(samples: &Samples, i: usize) -> Result<Option<Self>> {
        let (Shape::Image([height, width, channels]), Row::Bytes(bytes)) =
            (samples.shape(), samples.row(i))
        else {
            return Ok(None);
        };
        let kept = if channels == 3 { 3 } else { 1 };
        let block = width.max(height).div_ceil(LONGEST);
        let (rows, columns) = (height.div_ceil(block), width.div_ceil(block));
        let mut pixels = Vec::with_capacity(rows * columns * kept);
        for place in 0..rows * columns {
            let (top, left) = (place / columns * block, place % columns * block);
            for channel in 0..kept {
                pixels.push(mean(
                    (top..height.min(top + block))
                        .flat_map(|y| (left..width.min(left + block)).map(move |x| y * width + x))
                        .map(|pixel| bytes[pixel * channels + channel]),
                ));
            }
        }
        let source = Self::png([rows, columns, kept], &pixels)?;
        let scale = (SHOWN / rows.max(columns)).max(1);
        Ok(Some(Self { source, width: columns * scale, height: rows * scale }))
    }

    /// An image as the address of a PNG.
    ///
    /// # Errors
    /// As [`png`].
    pub(super) fn png(shape: [usize; 3], pixels: &[u8]) -> Result<String> {
        Ok(format!("data:image/png;base64,{}", STANDARD.encode(png(shape, pixels)?)))
    }
}

/// The mean of at least one byte, rounded.
fn mean(bytes: impl Iterator<Item = u8>) -> u8 {
    let (sum, count) =
        bytes.fold((0_u64, 0_u64), |(sum, count), byte| (sum + u64::from(byte), count + 1));
    ((sum + count / 2) / count.max(1)) as u8
}

/// A drawing as an element of a page, with a text for those who cannot see it.
pub(super) fn inlined(svg: &str, text: &str) -> String {
    let svg = svg.trim().replace(" xmlns=\"http://www.w3.org/2000/svg\"", "");
    let escaped = escape(text, Html).map(|text| text.to_string()).unwrap_or_default();
    svg.replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{escaped}\" "), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(picture: &Picture) -> (usize, usize, Vec<u8>) {
        let encoded = picture.source.strip_prefix("data:image/png;base64,").unwrap();
        let bytes = STANDARD.decode(encoded).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        (info.width as usize, info.height as usize, pixels)
    }

    fn samples(shape: [usize; 3], n: usize) -> Samples {
        let size: usize = shape.iter().product();
        let bytes: Vec<u8> = (0..n * size).map(|i| (i * 7 + i / 5) as u8).collect();
        Samples::new(Shape::Image(shape), bytes, &vec![0_u8; n]).unwrap()
    }

    #[test]
    fn a_small_image_keeps_its_pixels() {
        for shape in [[28, 28, 1], [1, 1, 1], [3, 5, 3], [48, 2, 3]] {
            let samples = samples(shape, 3);
            let picture = Picture::of(&samples, 2).unwrap().unwrap();
            let (width, height, pixels) = decoded(&picture);
            assert_eq!([height, width], shape[..2]);
            assert_eq!(Row::Bytes(&pixels), samples.row(2), "{shape:?}");
        }
        let shown = Picture::of(&samples([28, 14, 1], 1), 0).unwrap().unwrap();
        assert_eq!((shown.width, shown.height), (42, 84));
    }

    #[test]
    fn a_large_image_is_reduced_to_means_of_blocks() {
        // Blocks of 2 x 2 where it is whole, and of what is left at the edges.
        let bytes: Vec<u8> = (0..49 * 3).map(|i| (i % 49) as u8).collect();
        let samples = Samples::new(Shape::Image([3, 49, 1]), bytes, &[0_u8]).unwrap();
        let (width, height, pixels) = decoded(&Picture::of(&samples, 0).unwrap().unwrap());
        assert_eq!((width, height), (25, 2));
        let expected: Vec<u8> = (0..24).map(|i| 2 * i + 1).chain([48]).collect();
        assert_eq!(pixels, [&expected[..], &expected].concat());
    }

    #[test]
    fn other_channels_and_no_images() {
        let two = samples([2, 2, 2], 1);
        let (.., pixels) = decoded(&Picture::of(&two, 0).unwrap().unwrap());
        let Row::Bytes(bytes) = two.row(0) else { panic!() };
        assert_eq!(pixels, [bytes[0], bytes[2], bytes[4], bytes[6]]);
        let flat = Samples::new(Shape::Flat(4), vec![0_u8; 4], &[0_u8]).unwrap();
        assert_eq!(Picture::of(&flat, 0).unwrap(), None);
    }

    #[test]
    fn a_drawing_has_a_text_and_no_address() {
        let svg = "<svg width=\"1\" xmlns=\"http://www.w3.org/2000/svg\">\n<g/></svg>\n";
        let expected =
            "<svg role=\"img\" aria-label=\"a &#60; &#34;b&#34;\" width=\"1\">\n<g/></svg>";
        assert_eq!(inlined(svg, "a < \"b\""), expected);
    }
}
