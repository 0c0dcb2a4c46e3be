//! Samples of a node of a decision tree, added up by the byte that each has in one column: what a split is
//! searched in. A task calls these; they start no phases.
//!
//! The column is read at the rows of the samples, which ascend: what is read lies close together in large nodes.
//! Scattered additions have no vector form that is faster (AVX-512 has one, with a detection of conflicts, and most
//! bytes of images are 0, where nearly all lanes conflict).

/// Bytes that there are.
pub const BINS: usize = 256;

/// A sample with a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassSample {
    /// Its row in the columns.
    pub row: u32,
    /// How often it counts.
    pub weight: u16,
    /// Its class.
    pub class: u8,
}

/// A sample with a value.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ValueSample {
    /// Its row in the columns.
    pub row: u32,
    /// How often it counts.
    pub weight: u32,
    /// Its value.
    pub value: f64,
}

/// Sums over samples with values.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    /// Sum of the weights: a whole number.
    pub draws: f64,
    /// Sum of the weights times the values.
    pub sum: f64,
}

impl Moments {
    /// Adds a sample.
    #[inline]
    pub fn add(&mut self, sample: &ValueSample) {
        let weight = f64::from(sample.weight);
        self.draws += weight;
        self.sum += weight * sample.value;
    }
}

/// Adds the weight of each sample to `counts[column[row]][class]`, and marks its bin as seen. `counts` is
/// `[256, classes]`.
///
/// # Panics
/// If the lengths do not fit, a row is not in the column, or a class not below `classes`.
#[track_caller]
pub fn classes(
    column: &[u8],
    samples: &[ClassSample],
    classes: usize,
    counts: &mut [u32],
    seen: &mut [bool; BINS],
) {
    assert_eq!(counts.len(), BINS * classes, "counts are not {BINS} rows of {classes}");
    for sample in samples {
        let bin = usize::from(column[sample.row as usize]);
        let counts = &mut counts[bin * classes..][..classes];
        counts[usize::from(sample.class)] += u32::from(sample.weight);
        seen[bin] = true;
    }
}

/// Adds each sample to the moments of its bin, in the order of the samples, and marks the bin as seen.
///
/// # Panics
/// If there are not 256 moments, or a row is not in the column.
#[track_caller]
pub fn values(
    column: &[u8],
    samples: &[ValueSample],
    moments: &mut [Moments],
    seen: &mut [bool; BINS],
) {
    assert_eq!(moments.len(), BINS, "moments of so many bins");
    for sample in samples {
        let bin = usize::from(column[sample.row as usize]);
        moments[bin].add(sample);
        seen[bin] = true;
    }
}
