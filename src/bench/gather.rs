//! Images picked for a batch.

use super::case::{Case, Combine, Pieces, Work, noise};
use crate::nn::Buffer;
use std::ops::Range;
use threadcount_kernels::gather::{self, Batch, Cut};
use threadcount_kernels::{Team, naive};

/// Images there are: as many as Fashion-MNIST trains on.
const IMAGES: usize = 60_000;
/// Images of a run. With fewer, the picked ones would stay in the caches.
const PICKS: usize = 8_192;
/// Bytes of an image.
const PIXELS: usize = 784;

/// The kernel's size in tables.
pub fn shape() -> String {
    format!("{PICKS} of {IMAGES} x {PIXELS}")
}

/// Picking, and scaling to floats.
pub struct GatherCase {
    images: Vec<u8>,
    picks: Vec<usize>,
    factors: Buffer,
    offsets: Buffer,
}

impl GatherCase {
    /// With images and picks of its own.
    pub fn new() -> Self {
        // Multiples of a prime: far from each other, and none twice.
        let picks = (0..PICKS).map(|i| i * 7_919 % IMAGES).collect();
        let images = (0..IMAGES * PIXELS).map(|i| (i * 31 % 251) as u8).collect();
        Self { images, picks, factors: noise(1, PIXELS), offsets: noise(2, PIXELS) }
    }

    fn image(&self, pick: usize) -> &[u8] {
        &self.images[self.picks[pick] * PIXELS..][..PIXELS]
    }
}

impl Default for GatherCase {
    fn default() -> Self {
        Self::new()
    }
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
        gather::scaled(team, image, batch, out);
    }

    fn pieces(&self) -> Pieces {
        Pieces { count: PICKS, combine: Combine::Beside }
    }

    fn twin(&self, picks: Range<usize>, out: &mut [f32]) {
        let row = |i| self.image(picks.start + i);
        naive::gather::scaled(row, &self.factors, &self.offsets, out);
    }
}
