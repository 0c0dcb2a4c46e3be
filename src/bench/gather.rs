//! Gathering the images of a batch, with or without moving them.

use super::case::{Case, Combine, Pieces, Work, noise};
use crate::nn::Buffer;
use std::ops::Range;
use threadcount_kernels::augment::{self, Motion, Rectangle, Warp};
use threadcount_kernels::gather::{self, Batch, Cut};
use threadcount_kernels::{Team, naive};

/// Images in the data set: as many as Fashion-MNIST trains on.
const IMAGES: usize = 60_000;
/// Images of a run. With fewer, the picked ones would stay in the caches.
const PICKS: usize = 8_192;
/// Rows and columns of an image.
const SIDE: usize = 28;
/// Bytes of an image.
const PIXELS: usize = SIDE * SIDE;
const SHAPE: augment::ImageShape = [SIDE, SIDE, 1];

/// The kernel's size in tables.
pub fn shape() -> String {
    format!("{PICKS} of {IMAGES} x {PIXELS}")
}

/// Gathering images and scaling them to floats.
pub struct GatherCase {
    images: Vec<u8>,
    picks: Vec<usize>,
    factors: Buffer,
    offsets: Buffer,
    moving: Moving,
}

/// What happens to images while they are gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moving {
    /// Nothing.
    None,
    /// They are shifted and mirrored, and a rectangle is erased.
    Shifted,
    /// They are turned, scaled and shifted, and a rectangle is erased.
    Turned,
}

impl Moving {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::None, Self::Shifted, Self::Turned];

    /// The kernel's name.
    pub fn kernel(self) -> &'static str {
        match self {
            Self::None => "gather",
            Self::Shifted => "gather-shifted",
            Self::Turned => "gather-turned",
        }
    }
}

impl GatherCase {
    /// A case with its own images and picks.
    pub fn new(moving: Moving) -> Self {
        // Multiples of a prime: far from each other, and none twice.
        let picks = (0..PICKS).map(|i| i * 7_919 % IMAGES).collect();
        let images = (0..IMAGES * PIXELS).map(|i| (i * 31 % 251) as u8).collect();
        Self { images, picks, factors: noise(1, PIXELS), offsets: noise(2, PIXELS), moving }
    }

    fn image(&self, pick: usize) -> &[u8] {
        &self.images[self.picks[pick] * PIXELS..][..PIXELS]
    }
}

/// How to move the image of this pick: images that follow each other are moved differently.
fn warp(moving: Moving, pick: usize) -> Warp {
    let by = |most: usize| (pick % (2 * most + 1)) as f32 - most as f32;
    let motion = match moving {
        Moving::None => Motion::NONE,
        Moving::Shifted => Motion::Shift {
            right: by(2) as isize,
            down: by(1) as isize,
            mirrored: pick.is_multiple_of(2),
        },
        // A rotation by some degrees about the centre.
        Moving::Turned => {
            let (cos, sin) = (1.0 + by(5) / 50.0, by(8) / 50.0);
            let (centre, mirror) = ((SIDE - 1) as f32 / 2.0, 1.0 - 2.0 * (pick % 2) as f32);
            Motion::Affine {
                x_from: [mirror * cos, mirror * sin, centre * (1.0 - mirror * (cos + sin))],
                y_from: [-sin, cos, centre * (1.0 + sin - cos)],
            }
        }
    };
    let erased = Rectangle { left: pick % 20, top: pick % 23, width: pick % 11, height: 9 };
    Warp { motion, erased: if pick.is_multiple_of(5) { erased } else { Rectangle::EMPTY } }
}

impl Case for GatherCase {
    fn work(&self) -> Work {
        Work::Bytes((PICKS * PIXELS * (1 + size_of::<f32>())) as f64)
    }

    /// The bytes, in units of floats.
    fn inputs(&self) -> usize {
        PICKS * PIXELS / size_of::<f32>()
    }

    fn outputs(&self) -> usize {
        PICKS * PIXELS
    }

    fn run(&self, team: &Team, out: &mut [f32]) {
        let batch = Batch { factors: &self.factors, offsets: &self.offsets, cut: Cut::Rows };
        let image = |i| if i < PICKS { self.image(i) } else { &[] };
        match self.moving {
            Moving::None => gather::scaled(team, image, batch, out),
            moving => {
                augment::scaled(team, SHAPE, image, |i| warp(moving, i), batch, out);
            }
        }
    }

    fn pieces(&self) -> Pieces {
        Pieces { count: PICKS, combine: Combine::Beside }
    }

    fn twin(&self, picks: Range<usize>, out: &mut [f32]) {
        let row = |i| self.image(picks.start + i);
        let (factors, offsets) = (&self.factors[..], &self.offsets[..]);
        match self.moving {
            Moving::None => naive::gather::scaled(row, factors, offsets, out),
            moving => {
                let warp = |i| warp(moving, picks.start + i);
                naive::augment::scaled(SHAPE, row, warp, factors, offsets, out);
            }
        }
    }
}
