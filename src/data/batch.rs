//! The one pass that turns picked samples into a batch of floats.

use threadcount_kernels::Team;

use super::scale::Scale;
use super::split::Samples;

/// Samples that one task gathers: some 4 us of work, mostly waiting for memory.
const TASK: usize = 8;

/// Gathers picked samples into a batch: `out` becomes `[picks, pixels]` floats, scaled, and
/// `labels` their `[picks]` labels.
///
/// # Panics
/// If a pick is not below `samples.len()`, or `out`, `labels` or `scale` are not of those lengths.
pub fn gather(
    team: &Team,
    samples: &Samples,
    scale: &Scale,
    picks: &[u32],
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
    team.run_on_chunks(out, TASK * pixels, |start, rows| {
        let picks = &picks[start / pixels..];
        for (&pick, row) in picks.iter().zip(rows.chunks_exact_mut(pixels)) {
            scale.apply(samples.image(pick as usize), row);
        }
    });
}
