//! An image as text, for `threadcount data show N`.

use super::dataset::Dataset;
use super::fashion_mnist::Half;
use crate::{Error, Result};

/// From black to white. Plain characters, no colours: it reads the same in a pipe.
const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];

/// Image `n` of a part, two characters to a pixel (so that it is about square in a terminal), under
/// a line with its number, its label, the name of its class if it has one, and its size. Of colours the
/// lightness is shown (ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B).
///
/// # Errors
/// [`Error::Usage`] if the part has not that many images.
pub fn show(dataset: &Dataset, half: Half, n: usize) -> Result<String> {
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
    let mut text = format!("{name} image {n}: label {label}{class}, {}\n", images.measures());
    for row in images.image(n).chunks_exact(images.width() * images.channels()) {
        let start = text.len();
        for pixel in row.chunks_exact(images.channels()) {
            let byte = match *pixel {
                [r, g, b] => (u32::from(r) * 299 + u32::from(g) * 587 + u32::from(b) * 114) / 1000,
                _ => pixel[0].into(),
            } as usize;
            // Rounded, so that only the darkest and brightest eighths are bare and full blocks.
            let shade = SHADES[(byte * (SHADES.len() - 1) + 127) / 255];
            text.extend([shade, shade]);
        }
        text.truncate(start + text[start..].trim_end().len());
        text.push('\n');
    }
    Ok(text)
}
