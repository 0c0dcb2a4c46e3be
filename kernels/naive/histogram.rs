//! The twin of [`crate::histogram`]: bin by bin, all samples are looked through.

use crate::histogram::{BINS, ClassSample, Moments, ValueSample};

/// Adds the weight of each sample to `counts[column[row]][class]`.
pub fn classes(column: &[u8], samples: &[ClassSample], classes: usize, counts: &mut [u32]) {
    for bin in 0..BINS {
        for class in 0..classes {
            for sample in samples {
                let is_here = usize::from(column[sample.row as usize]) == bin
                    && usize::from(sample.class) == class;
                counts[bin * classes + class] += if is_here { u32::from(sample.weight) } else { 0 };
            }
        }
    }
}

/// Adds each sample to the moments of its bin.
pub fn values(column: &[u8], samples: &[ValueSample], moments: &mut [Moments]) {
    for (bin, moments) in moments.iter_mut().enumerate() {
        for sample in samples {
            if usize::from(column[sample.row as usize]) == bin {
                moments.draws += f64::from(sample.weight);
                moments.sum += f64::from(sample.weight) * sample.value;
            }
        }
    }
}
