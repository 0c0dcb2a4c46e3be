//! The one pass that turns picked samples into a batch of floats and their targets.

use threadcount_kernels::augment::{self, ImageShape};
use threadcount_kernels::gather::{self as kernel, Batch, Cut, Element};
use threadcount_kernels::{Team, naive};

use super::augment::Draws;
use super::samples::{Inputs, Row, Samples};
use super::scale::Scale;
use super::shape::Shape;
use super::targets::Targets;

/// Picked samples.
#[derive(Clone, Copy, Debug)]
pub struct Picks<'a> {
    /// The samples of a batch, by number.
    pub now: &'a [u32],
    /// The samples of the batch that will probably be next, empty if there is none: their inputs are
    /// prefetched.
    pub next: &'a [u32],
    /// How threads share the work. An augmented image is never divided between threads.
    pub cut: Cut,
    /// The draws for augmentation; `None` in validation, test and prediction.
    pub draws: Option<Draws>,
}

/// A buffer for the targets of a batch, of one kind.
#[derive(Clone, Debug)]
pub enum TargetBuffer {
    /// `[largest]`
    Classes(Vec<u8>),
    /// `[largest, width]`
    Values {
        /// The numbers.
        values: Vec<f32>,
        /// How many numbers each target has.
        width: usize,
    },
}

impl TargetBuffer {
    /// A buffer for up to `largest` of these samples.
    pub fn new(samples: &Samples, largest: usize) -> Self {
        let width = samples.target_width();
        match samples.targets() {
            Targets::Classes(_) => Self::Classes(vec![0; largest]),
            Targets::Values(_) => Self::Values { values: vec![0.0; largest * width], width },
        }
    }

    /// The first `n` targets.
    ///
    /// # Panics
    /// If the buffer has fewer.
    pub fn first(&self, n: usize) -> Targets<'_> {
        match self {
            Self::Classes(labels) => Targets::Classes(&labels[..n]),
            Self::Values { values, width } => Targets::Values(&values[..n * width]),
        }
    }

    /// Copies the targets of these samples, which are of the same kind.
    fn fill(&mut self, samples: &Samples, picks: &[u32]) {
        match (self, samples.targets()) {
            (Self::Classes(labels), Targets::Classes(all)) => {
                assert!(labels.len() >= picks.len(), "room for a label per pick");
                for (label, &pick) in labels.iter_mut().zip(picks) {
                    *label = all[pick as usize];
                }
            }
            (Self::Values { values, width }, Targets::Values(all)) => {
                assert_eq!(*width, samples.target_width(), "targets of one width");
                assert!(values.len() >= picks.len() * *width, "room for values of every pick");
                for (to, &pick) in values.chunks_exact_mut(*width).zip(picks) {
                    to.copy_from_slice(&all[pick as usize * *width..][..*width]);
                }
            }
            _ => panic!("a batch's targets are classes or values, not both"),
        }
    }
}

/// Gathers the samples picked now into a batch: `out` becomes `[picks, inputs]` scaled floats, and the first
/// of `targets` become their targets.
///
/// # Panics
/// If a pick, also of the next batch, is not below `samples.len()`; if `out`, `targets` or `scale` do not
/// fit; or if samples that are not images are to be augmented.
pub fn gather(
    team: &Team,
    samples: &Samples,
    scale: &Scale,
    Picks { now: picks, next, cut, draws }: Picks<'_>,
    out: &mut [f32],
    targets: &mut TargetBuffer,
) {
    let inputs = samples.shape().len();
    assert_eq!(out.len(), picks.len() * inputs, "a row of floats per pick");
    assert_eq!(scale.inputs(), inputs, "a factor per input");
    targets.fill(samples, picks);
    let pick = |i: usize| picks.get(i).or_else(|| next.get(i - picks.len())).map(|&p| p as usize);
    let batch = Batch { factors: scale.factors(), offsets: scale.offsets(), cut };
    let warps = draws.map(|draws| {
        let Shape::Image(shape) = samples.shape() else { panic!("only images are augmented") };
        Warps { draws, shape, picks }
    });
    match samples.inputs {
        Inputs::Floats(_) => {
            let row = |i: usize| pick(i).map_or(&[][..], |pick| samples.floats(pick));
            picked(team, row, warps, batch, out);
        }
        Inputs::Files(_) | Inputs::Bytes(_) => {
            let row = |i: usize| pick(i).map_or(&[][..], |pick| samples.bytes(pick));
            picked(team, row, warps, batch, out);
        }
    }
}

/// How the images of a batch are augmented.
struct Warps<'a> {
    draws: Draws,
    shape: ImageShape,
    picks: &'a [u32],
}

/// Gathers with the kernel for augmented images or the one for plain rows.
fn picked<'a, T: Element + 'a>(
    team: &Team,
    row: impl Fn(usize) -> &'a [T] + Sync,
    warps: Option<Warps<'_>>,
    batch: Batch<'_>,
    out: &mut [f32],
) {
    match warps {
        None => kernel::scaled(team, row, batch, out),
        Some(Warps { draws, shape, picks }) => {
            let warp = |i: usize| draws.warp(picks[i], shape);
            augment::scaled(team, shape, row, warp, batch, out);
        }
    }
}

/// The inputs of the first samples, by plain loops: the reference that [`gather`] is tested against.
///
/// # Panics
/// If the length of `out` is not a multiple of a row's, or there are fewer samples than rows.
pub fn naive_gather(samples: &Samples, scale: &Scale, out: &mut [f32]) {
    for (i, out) in out.chunks_exact_mut(samples.shape().len()).enumerate() {
        let (factors, offsets) = (scale.factors(), scale.offsets());
        match samples.row(i) {
            Row::Bytes(bytes) => naive::gather::scaled(|_| bytes, factors, offsets, out),
            Row::Floats(floats) => naive::gather::scaled(|_| floats, factors, offsets, out),
        }
    }
}
