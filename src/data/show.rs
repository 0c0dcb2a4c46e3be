//! An image as text, for `threadcount data show N`.

use super::dataset::Dataset;
use super::fashion_mnist::Half;
use crate::{Error, Result};

/// From black to white. Plain characters, no colours: it reads the same in a pipe.
const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];

/// Image `n` of a part, two characters to a pixel (so that it is about square in a terminal), under
/// a line with its number, label and class.
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
    let label = part.labels.as_slice()[n];
    let mut text = format!("{name} image {n}: label {label}, {}\n", dataset.class_name(label));
    for row in part.images.image(n).chunks_exact(part.images.width()) {
        let start = text.len();
        for &byte in row {
            // Rounded, so that only the darkest and brightest eighths are bare and full blocks.
            let shade = SHADES[(usize::from(byte) * (SHADES.len() - 1) + 127) / 255];
            text.extend([shade, shade]);
        }
        text.truncate(start + text[start..].trim_end().len());
        text.push('\n');
    }
    Ok(text)
}
