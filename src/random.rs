//! Counter-based random numbers: every draw is a function of what it is for (seed, purpose, epoch,
//! layer, sample), never of what was drawn before it. That is what makes a run give the same bits
//! at any thread count and after a resume.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What a stream of random numbers is for. The discriminants are part of every run's bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Initial weights, one stream per parameter tensor.
    Init = 1,
    /// Splitting a data set into training, validation and test samples.
    Split = 2,
    /// The order of the samples in one epoch.
    Shuffle = 3,
    /// Dropout masks, one key per layer and epoch.
    Dropout = 4,
    /// Drawing the synthetic set, one stream per image.
    Synthetic = 5,
    /// The settings of a search's trials, one stream per trial and axis.
    Search = 6,
    /// Augmenting training images, one key per epoch and sample.
    Augment = 7,
    /// Bootstrap samples and tried columns of a random forest, one key per tree.
    Forest = 8,
}

/// The name of one stream of random numbers, built up field by field.
///
/// ```
/// use threadcount::random::{Key, Purpose};
/// let epoch_3 = Key::new(42, Purpose::Shuffle).with(3);
/// assert_ne!(epoch_3, Key::new(42, Purpose::Shuffle).with(4));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(u64);

impl Key {
    /// The root of all streams of one purpose under a seed.
    pub fn new(seed: u64, purpose: Purpose) -> Self {
        // Mixed twice: if it were mixed once, like a field, seed and purpose could change places.
        Self(mix(mix(seed))).with(purpose as u64)
    }

    /// The stream of `field` (an epoch, a layer, a sample) below this one.
    #[must_use]
    pub fn with(self, field: u64) -> Self {
        Self(mix(self.0 ^ mix(field)))
    }

    /// The key as a number, for kernels that draw from counters themselves (dropout).
    pub fn bits(self) -> u64 {
        self.0
    }

    /// A generator that starts at the beginning of this stream.
    pub fn rng(self) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.0)
    }

    /// The numbers below `len` in a random order that depends on this key alone: Fisher and Yates's
    /// shuffle on the key's stream.
    ///
    /// # Panics
    /// If `len` does not fit in a u32; samples never do that.
    pub fn shuffled(self, len: usize) -> Vec<u32> {
        let len = u32::try_from(len).expect("samples are numbered in a u32");
        let mut order: Vec<u32> = (0..len).collect();
        let mut rng = self.rng();
        for last in (1..order.len()).rev() {
            order.swap(last, below(rng.next_u64(), last as u64 + 1) as usize);
        }
        order
    }
}

/// A number below `bound` of 64 random bits: multiply and shift (Lemire 2019) without the rejection step, so with a
/// 32-bit bound the bias is below 2^-32.
pub fn below(bits: u64, bound: u64) -> u64 {
    ((u128::from(bits) * u128::from(bound)) >> 64) as u64
}

/// The output function of SplitMix64 (Steele, Lea & Flood 2014): a bijection on 64 bits in which
/// every input bit reaches every output bit.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const PURPOSES: [Purpose; 8] = [
        Purpose::Init,
        Purpose::Split,
        Purpose::Shuffle,
        Purpose::Dropout,
        Purpose::Synthetic,
        Purpose::Search,
        Purpose::Augment,
        Purpose::Forest,
    ];

    #[test]
    fn streams_differ_by_every_field() {
        let mut seen = HashSet::new();
        for seed in 0..8 {
            for purpose in PURPOSES {
                for field in 0..64 {
                    assert!(seen.insert(Key::new(seed, purpose).with(field).bits()));
                }
            }
        }
    }

    #[test]
    fn order_of_fields_matters() {
        let root = Key::new(0, Purpose::Dropout);
        assert_ne!(root.with(1).with(2), root.with(2).with(1));
    }

    #[test]
    fn an_order_is_a_permutation_that_its_key_decides() {
        let key = Key::new(7, Purpose::Shuffle);
        for len in [0, 1, 2, 3, 1000] {
            let mut order = key.shuffled(len);
            assert_eq!(order, key.shuffled(len));
            order.sort_unstable();
            assert!(order.iter().copied().eq(0..len as u32));
        }
        assert_ne!(key.with(0).shuffled(1000), key.with(1).shuffled(1000));
    }

    #[test]
    fn every_order_of_three_is_equally_likely() {
        let mut counts = std::collections::HashMap::new();
        for epoch in 0..6000 {
            *counts.entry(Key::new(1, Purpose::Shuffle).with(epoch).shuffled(3)).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 6);
        // Binomial(6000, 1/6): standard deviation 29, so 150 is five of them.
        assert!(counts.values().all(|&count: &i32| (count - 1000).abs() < 150), "{counts:?}");
    }
}
