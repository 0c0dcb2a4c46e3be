//! The one pass that turns picked samples into a batch of floats.

use threadcount_kernels::Team;
use threadcount_kernels::gather::{self as kernel, Batch, Cut};

use super::scale::Scale;
use super::split::Samples;

/// Picked samples.
#[derive(Clone, Copy, Debug)]
pub struct Picks<'a> {
    /// Numbers of the samples of a batch.
    pub now: &'a [u32],
    /// Those of the batch that will probably be next, none if there is none: their images are
    /// asked for ahead.
    pub next: &'a [u32],
    /// How threads share the work.
    pub cut: Cut,
}

/// Gathers the samples picked now into a batch: `out` becomes `[picks, pixels]` floats, scaled, and
/// `labels` their `[picks]` labels.
///
/// # Panics
/// If a pick, also of the next batch, is not below `samples.len()`, or `out`, `labels` or `scale` are not of those lengths.
pub fn gather(
    team: &Team,
    samples: &Samples,
    scale: &Scale,
    Picks { now: picks, next, cut }: Picks<'_>,
    out: &mut [f32],
    labels: &mut [u8],
) {
    let pixels = samples.pixels();
    assert_eq!(out.len(), picks.len() * pixels, "a row of floats per pick");
    assert_eq!(labels.len(), picks.len(), "a label per pick");
    assert_eq!(scale.pixels(), pixels, "a factor per pixel");
    for (&pick, label) in picks.iter().zip(labels) {
        *label = samples.label(pick as usize);
    }
    let image = |i: usize| {
        let pick = picks.get(i).or_else(|| next.get(i - picks.len()));
        pick.map_or(&[][..], |&pick| samples.image(pick as usize))
    };
    let batch = Batch { factors: scale.factors(), offsets: scale.offsets(), cut };
    kernel::scaled(team, image, batch, out);
}
