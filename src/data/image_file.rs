//! Images in one file, for predictions: a picture (PNG, JPEG), which is brought to the size that is wanted as
//! [`pictures`](super::pictures) does it; or an array of images (IDX, packed or not, NumPy), which has to have it.

use std::fmt;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use super::cache::Cache;
use super::format::{self, header::known_stranger};
use super::images::Images;
use super::map::open_regular;
use super::pictures::{Colours, Picture, invert};
use super::samples::Samples;
use super::shape::{Shape, measures};
use super::unpack::unreadable;
use crate::{Error, Result};

/// What becomes of a picture's tones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// They stay.
    Kept,
    /// Light becomes dark.
    Inverted,
    /// A picture whose edge is light is inverted: the images that were trained on lie on dark ground.
    MadeDark,
}

/// The images of a file.
#[derive(Debug)]
pub struct ImageFile {
    source: ImageSource,
    sample: [usize; 3],
}

#[derive(Debug)]
enum ImageSource {
    Picture { pixels: Vec<u8>, treatment: Treatment },
    Array(Images),
}

/// What was done to a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Treatment {
    /// Height and width that it had, if it was scaled.
    pub scaled_from: Option<[usize; 2]>,
    /// Whether it was inverted.
    pub inverted: bool,
}

/// What the first bytes of a file say.
enum Kind {
    Picture,
    Idx,
    NumPy,
}

impl ImageFile {
    /// Opens a file of images that are to measure `sample`: height, width, channels (1 or 3). Its contents say what
    /// it is. `ground` is for pictures; an array is taken as it is.
    ///
    /// # Errors
    /// [`Error::Data`] if it cannot be read, is damaged or something else, or holds images of another size.
    pub fn open(path: &Path, sample: [usize; 3], ground: Ground, cache: &Cache) -> Result<Self> {
        let source = match kind(path)? {
            Kind::Picture => {
                let (pixels, treatment) = picture(path, sample, ground)?;
                ImageSource::Picture { pixels, treatment }
            }
            Kind::Idx => ImageSource::Array(format::idx_images(path, cache)?),
            Kind::NumPy => ImageSource::Array(format::numpy_images(path, cache)?),
        };
        if let ImageSource::Array(images) = &source
            && images.shape() != sample
        {
            return Err(Error::data(
                path,
                format!(
                    "its images measure {}, where {} is expected: give images of that size (only PNG and JPEG \
                     pictures are scaled)",
                    images.measures(),
                    measures(&sample)
                ),
            ));
        }
        Ok(Self { source, sample })
    }

    /// How many images there are; at least one.
    pub fn count(&self) -> usize {
        match &self.source {
            ImageSource::Picture { .. } => 1,
            ImageSource::Array(images) => images.count(),
        }
    }

    /// What was done to a picture; `None` for an array.
    pub fn treatment(&self) -> Option<Treatment> {
        match &self.source {
            ImageSource::Picture { treatment, .. } => Some(*treatment),
            ImageSource::Array(_) => None,
        }
    }

    /// Some of the images as samples, all of class 0.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for an empty range.
    ///
    /// # Panics
    /// If there are not that many images.
    pub fn samples(&self, range: Range<usize>) -> Result<Samples> {
        let len: usize = self.sample.iter().product();
        let labels = vec![0_u8; range.len()];
        let all = match &self.source {
            ImageSource::Picture { pixels, .. } => pixels.as_slice(),
            ImageSource::Array(images) => images.as_slice(),
        };
        let bytes = all[range.start * len..range.end * len].to_vec();
        Samples::new(Shape::Image(self.sample), bytes, &labels)
    }
}

impl fmt::Display for Treatment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scaled = self.scaled_from.map(|size| format!("scaled from {}", measures(&size)));
        let inverted = self.inverted.then(|| "inverted".to_owned());
        let done: Vec<_> = scaled.into_iter().chain(inverted).collect();
        f.write_str(&if done.is_empty() { "as it is".to_owned() } else { done.join(", ") })
    }
}

fn kind(path: &Path) -> Result<Kind> {
    let (file, _) = open_regular(path)?;
    let mut front = Vec::new();
    file.take(32).read_to_end(&mut front).map_err(unreadable(path))?;
    let fault = |fault: String| Err(Error::data(path, fault));
    match front.as_slice() {
        [] => fault("the file is empty: give one with an image".to_owned()),
        [0x89, b'P', b'N', b'G', ..] | [0xff, 0xd8, 0xff, ..] => Ok(Kind::Picture),
        [0x93, b'N', b'U', b'M', ..] | [b'P', b'K', 3, 4, ..] => Ok(Kind::NumPy),
        [0x1f, 0x8b, ..] | [0, 0, ..] => Ok(Kind::Idx),
        _ => fault(match known_stranger(&front) {
            Some(what) => format!("no image but {what}"),
            None => "neither a picture (PNG, JPEG) nor an array of images (IDX, .npy): convert it to one of these"
                .to_owned(),
        }),
    }
}

/// A picture of the size that is wanted, and what was done to it.
fn picture(path: &Path, sample: [usize; 3], ground: Ground) -> Result<(Vec<u8>, Treatment)> {
    let [height, width, channels] = sample;
    let colours = if channels == 1 { Colours::Grey } else { Colours::Rgb };
    let mut picture =
        Picture::read(path, [height, width], colours).map_err(|fault| Error::data(path, fault))?;
    let inverted = match ground {
        Ground::Kept => false,
        Ground::Inverted => true,
        Ground::MadeDark => is_edge_light(&picture.pixels, sample),
    };
    if inverted {
        invert(&mut picture.pixels);
    }
    let scaled_from = (picture.was != [height, width]).then_some(picture.was);
    Ok((picture.pixels, Treatment { scaled_from, inverted }))
}

/// Whether the outermost pixels are light, in the mean.
fn is_edge_light(pixels: &[u8], [height, width, channels]: [usize; 3]) -> bool {
    let is_edge = |i: usize| {
        let (row, column) = (i / width, i % width);
        row == 0 || row + 1 == height || column == 0 || column + 1 == width
    };
    let (mut sum, mut count) = (0, 0);
    for (_, pixel) in pixels.chunks_exact(channels).enumerate().filter(|&(i, _)| is_edge(i)) {
        sum += pixel.iter().map(|&x| u64::from(x)).sum::<u64>();
        count += channels as u64;
    }
    2 * sum > 255 * count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edge_decides() {
        let mut pixels = vec![200_u8; 5 * 4];
        for row in 1..4 {
            pixels[row * 4 + 1..row * 4 + 3].fill(0);
        }
        assert!(is_edge_light(&pixels, [5, 4, 1]));
        let dark: Vec<u8> = pixels.iter().map(|x| 255 - x).collect();
        assert!(!is_edge_light(&dark, [5, 4, 1]));
        // One row is all edge, and what is half light is not light.
        assert!(is_edge_light(&[255, 255, 255, 0, 0, 1], [1, 2, 3]));
        assert!(!is_edge_light(&[127, 127, 128, 128], [1, 4, 1]));
        assert!(is_edge_light(&[127, 127, 128, 129], [1, 4, 1]));
    }

    #[test]
    fn treatments_are_told() {
        let told = |scaled_from, inverted| Treatment { scaled_from, inverted }.to_string();
        assert_eq!(told(None, false), "as it is");
        assert_eq!(told(Some([300, 200]), true), "scaled from 300x200, inverted");
        assert_eq!(told(None, true), "inverted");
    }
}
