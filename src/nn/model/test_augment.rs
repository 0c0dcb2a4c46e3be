//! Test-time augmentation: a prediction that is the mean over an image and a changed copy of it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::plan::Plan;
use crate::data::Shape;
use crate::error::{Error, Result};
use crate::names::shortened;

/// What a network predicts from: the image alone, or changed copies of it too. The outputs of the last layer,
/// before softmax or sigmoid, are averaged. Training does not change; validation, tests and predictions do,
/// and take as many forward passes as there are copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TestAugment {
    /// The image as it is.
    #[default]
    None,
    /// The image and its mirror image, left to right.
    Flip,
}

impl TestAugment {
    /// The names, as files and options spell them.
    pub const NAMES: [&'static str; 2] = ["none", "flip"];

    /// Whether predictions are made from the image alone.
    pub fn is_none(self) -> bool {
        self == Self::None
    }
}

impl FromStr for TestAugment {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "none" => Ok(Self::None),
            "flip" => Ok(Self::Flip),
            _ => Err(fault(format!("there is no {:?}; there are flip and none", shortened(text)))),
        }
    }
}

impl fmt::Display for TestAugment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::Flip => "flip",
        })
    }
}

impl Plan {
    /// Sets what is predicted from.
    ///
    /// # Errors
    /// [`Error::Setting`] if the inputs are no images and cannot be flipped.
    pub fn augment_tests(&mut self, augment: TestAugment) -> Result<()> {
        match (augment, self.input()) {
            (TestAugment::Flip, shape @ (Shape::Flat(_) | Shape::Rows(_))) => Err(fault(format!(
                "the network's inputs of shape {shape} are no images that can be flipped; leave it out, or let \
                 the network take images (input = \"image\")"
            ))),
            _ => {
                self.set_test_augment(augment);
                Ok(())
            }
        }
    }
}

fn fault(fault: String) -> Error {
    Error::Setting { name: "test-augment", fault }
}

/// Writes images of `width` pixels in a row and `channels` numbers in a pixel, mirrored left to right.
///
/// # Panics
/// If `images` are no whole rows, or `flipped` is not as long.
pub(crate) fn flip(images: &[f32], [width, channels]: [usize; 2], flipped: &mut [f32]) {
    assert_eq!((images.len() % (width * channels), images.len()), (0, flipped.len()));
    let rows = images.chunks_exact(width * channels);
    for (row, flipped) in rows.zip(flipped.chunks_exact_mut(width * channels)) {
        let pixels = row.chunks_exact(channels).rev();
        for (pixel, flipped) in pixels.zip(flipped.chunks_exact_mut(channels)) {
            flipped.copy_from_slice(pixel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_change_their_places_and_channels_stay() {
        let numbers: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let mut flipped = [f32::NAN; 12];
        flip(&numbers, [3, 2], &mut flipped);
        assert_eq!(flipped, [4., 5., 2., 3., 0., 1., 10., 11., 8., 9., 6., 7.]);
        flip(&numbers, [4, 1], &mut flipped);
        assert_eq!(flipped, [3., 2., 1., 0., 7., 6., 5., 4., 11., 10., 9., 8.]);
        flip(&numbers, [1, 1], &mut flipped);
        assert_eq!(flipped[..], numbers[..]);
        flip(&[], [3, 1], &mut []);
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in TestAugment::NAMES {
            assert_eq!(name.parse::<TestAugment>().unwrap().to_string(), name);
        }
        let error = "flop".parse::<TestAugment>().unwrap_err().to_string();
        assert!(error.contains("test-augment: there is no \"flop\""), "{error}");
    }
}
