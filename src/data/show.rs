//! An image as text, for `threadcount data show N`.

use super::augment::Draws;
use super::dataset::Dataset;
use super::fashion_mnist::Half;
use crate::{Error, Result};

/// From black to white. Plain characters, no colours: it reads the same in a pipe.
const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];

/// The most pixels in a row: two characters each, on a terminal of 80.
const WIDEST: usize = 40;

/// Image `n` of a part, two characters to a pixel (so that it is about square in a terminal), under a line
/// with its number, its label, the name of its class if it has one, and its size. A pixel in colour is shown
/// by its lightness (ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B). Images of more than 40 columns are reduced
/// to the means of square blocks.
///
/// # Errors
/// [`Error::Usage`] if the part has not that many images.
pub fn show(dataset: &Dataset, half: Half, n: usize) -> Result<String> {
    drawn(dataset, half, n, None)
}

/// Training image `n` in the format of [`show`], augmented by the draws for the sample of that number.
///
/// # Errors
/// As [`show`].
pub fn show_augmented(dataset: &Dataset, n: usize, draws: &Draws) -> Result<String> {
    drawn(dataset, Half::Train, n, Some(draws))
}

fn drawn(dataset: &Dataset, half: Half, n: usize, draws: Option<&Draws>) -> Result<String> {
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
    let (width, height) = (images.width(), images.height());
    let side = width.div_ceil(WIDEST);
    let scale = if side > 1 { format!(", shown at 1/{side}") } else { String::new() };
    let mut text =
        format!("{name} image {n}: label {label}{class}, {}{scale}\n", images.measures());
    let image = match draws {
        None => images.image(n).to_vec(),
        Some(draws) => {
            let shape = [height, width, images.channels()];
            draws.picture(n as u32, shape, images.image(n))
        }
    };
    let pixels: Vec<u64> = image.chunks_exact(images.channels()).map(lightness).collect();
    for top in (0..height).step_by(side) {
        let rows = top..height.min(top + side);
        let start = text.len();
        for left in (0..width).step_by(side) {
            let columns = left..width.min(left + side);
            let (mut sum, mut count) = (0, 0);
            for row in rows.clone() {
                sum += pixels[row * width..][columns.clone()].iter().sum::<u64>();
                count += columns.len() as u64;
            }
            // Rounded, so that only the darkest and brightest eighths are bare and full blocks.
            let shade = SHADES[(sum / count * (SHADES.len() as u64 - 1) + 127) as usize / 255];
            text.extend([shade, shade]);
        }
        text.truncate(start + text[start..].trim_end().len());
        text.push('\n');
    }
    Ok(text)
}

/// 0 to 255.
fn lightness(pixel: &[u8]) -> u64 {
    match *pixel {
        [r, g, b] => (u64::from(r) * 299 + u64::from(g) * 587 + u64::from(b) * 114) / 1000,
        _ => pixel[0].into(),
    }
}
