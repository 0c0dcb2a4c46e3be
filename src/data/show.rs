//! An image and what is told of it, for `threadcount data show N`.

use super::augment::Draws;
use super::dataset::Dataset;
use super::fashion_mnist::Half;
use crate::{Error, Result};
use std::fmt;

/// From black to white. Plain characters, no colours: it reads the same in a pipe.
const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];

/// The most pixels in a row: two characters each, on a terminal of 80.
const WIDEST: usize = 40;

/// An image with what is told of it. As text ([`Display`](fmt::Display)) it is two characters to a pixel (so that it
/// is about square in a terminal), under a line with its number, its label, the name of its class if it has one,
/// and its size. A pixel in colour is shown by its lightness (ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B). Images of
/// more than 40 columns are reduced to the means of square blocks.
#[derive(Clone, Debug)]
pub struct Shown {
    /// `[height, width, channels]`: one channel for shades of grey, three for red, green and blue.
    pub shape: [usize; 3],
    /// Row by row, the channels of a pixel side by side; none are reduced.
    pub pixels: Vec<u8>,
    /// Which image it is, and of what.
    title: String,
}

/// Image `n` of a part.
///
/// # Errors
/// [`Error::Usage`] if the part has not that many images.
pub fn show(dataset: &Dataset, half: Half, n: usize) -> Result<Shown> {
    let part = dataset.part(half);
    let (name, count) =
        (if half == Half::Train { "training" } else { "test" }, part.images.count());
    if n >= count {
        return Err(Error::Usage(format!(
            "there is no {name} image {n}: the set has {count}, numbered from 0"
        )));
    }
    let class = part.labels.as_slice()[n];
    let (label, class) = (dataset.label(class).to_string(), dataset.class_name(class));
    let class = if class == label { String::new() } else { format!(", {class}") };
    let images = &part.images;
    Ok(Shown {
        shape: images.shape(),
        pixels: images.image(n).to_vec(),
        title: format!("{name} image {n}: label {label}{class}, {}", images.measures()),
    })
}

/// Training image `n`, augmented by the draws for the sample of that number.
///
/// # Errors
/// As [`show`].
pub fn show_augmented(dataset: &Dataset, n: usize, draws: &Draws) -> Result<Shown> {
    let mut shown = show(dataset, Half::Train, n)?;
    shown.pixels = draws.picture(n as u32, shown.shape, &shown.pixels);
    Ok(shown)
}

impl fmt::Display for Shown {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [height, width, channels] = self.shape;
        let side = width.div_ceil(WIDEST);
        let scale = if side > 1 { format!(", shown at 1/{side}") } else { String::new() };
        writeln!(to, "{}{scale}", self.title)?;
        let pixels: Vec<u64> = self.pixels.chunks_exact(channels).map(lightness).collect();
        for top in (0..height).step_by(side) {
            let rows = top..height.min(top + side);
            let mut line = String::new();
            for left in (0..width).step_by(side) {
                let columns = left..width.min(left + side);
                let (mut sum, mut count) = (0, 0);
                for row in rows.clone() {
                    sum += pixels[row * width..][columns.clone()].iter().sum::<u64>();
                    count += columns.len() as u64;
                }
                // Rounded, so that only the darkest and brightest eighths are bare and full blocks.
                let shade = SHADES[(sum / count * (SHADES.len() as u64 - 1) + 127) as usize / 255];
                line.extend([shade, shade]);
            }
            writeln!(to, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// 0 to 255.
fn lightness(pixel: &[u8]) -> u64 {
    match *pixel {
        [r, g, b] => (u64::from(r) * 299 + u64::from(g) * 587 + u64::from(b) * 114) / 1000,
        _ => pixel[0].into(),
    }
}
