//! The order of an epoch, and the one pass that turns picks of it into a batch of floats.

use rand_chacha::rand_core::Rng;
use threadcount_kernels::Team;

use super::scale::Scale;
use super::split::Samples;
use crate::random::Key;

/// A random order of the numbers below `len`: Fisher and Yates's shuffle on the key's own stream, so
/// an epoch's order depends on its key alone.
///
/// # Panics
/// If `len` does not fit in a u32; samples never do that.
pub fn epoch_order(key: Key, len: usize) -> Vec<u32> {
    let len = u32::try_from(len).expect("samples are numbered in a u32");
    let mut order: Vec<u32> = (0..len).collect();
    let mut rng = key.rng();
    for last in (1..order.len()).rev() {
        // Multiply and shift (Lemire 2019) without the rejection step: with 64 random bits for a
        // 32-bit bound the bias is below 2^-32.
        let pick = (u128::from(rng.next_u64()) * (last as u128 + 1)) >> 64;
        order.swap(last, pick as usize);
    }
    order
}

/// Samples that one task gathers: some 4 us of work, mostly waiting for memory.
const TASK: usize = 8;

/// Gathers picked samples into a batch: `out` becomes `[picks, pixels]` floats, scaled, and `labels`
/// their `[picks]` labels.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;

    #[test]
    fn an_order_is_a_permutation_that_its_key_decides() {
        let key = Key::new(7, Purpose::Shuffle);
        for len in [0, 1, 2, 3, 1000] {
            let mut order = epoch_order(key, len);
            assert_eq!(order, epoch_order(key, len));
            order.sort_unstable();
            assert!(order.iter().copied().eq(0..len as u32));
        }
        assert_ne!(epoch_order(key.with(0), 1000), epoch_order(key.with(1), 1000));
    }

    #[test]
    fn every_order_of_three_is_equally_likely() {
        let mut counts = std::collections::HashMap::new();
        for epoch in 0..6000 {
            *counts
                .entry(epoch_order(Key::new(1, Purpose::Shuffle).with(epoch), 3))
                .or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 6);
        // Binomial(6000, 1/6): standard deviation 29, so 150 is five of them.
        assert!(counts.values().all(|&count: &i32| (count - 1000).abs() < 150), "{counts:?}");
    }
}
