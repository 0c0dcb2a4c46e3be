//! The one pass that turns picked samples into a batch of floats.

use threadcount_kernels::Team;
use threadcount_kernels::gather::{self as kernel, Cut};

use super::scale::Scale;
use super::split::Samples;

/// Gathers picked samples into a batch: `out` becomes `[picks, pixels]` floats, scaled, and
/// `labels` their `[picks]` labels. `cut` says how the threads are to share the work.
///
/// # Panics
/// If a pick is not below `samples.len()`, or `out`, `labels` or `scale` are not of those lengths.
pub fn gather(
    team: &Team,
    samples: &Samples,
    scale: &Scale,
    picks: &[u32],
    cut: Cut,
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
    let image = |i: usize| samples.image(picks[i] as usize);
    kernel::scaled(team, image, scale.factors(), scale.offsets(), cut, out);
}
