//! Inverted dropout. Whether an element survives is a pure function of the key, the sample's number
//! and the element's number, so backward draws the mask again instead of keeping it, and a run
//! gives the same masks however its batches are cut.
//!
//! The hash: SplitMix64's finaliser turns key and sample into 64 bits; their halves then enter the
//! two rounds of a 32-bit multiply-xorshift finaliser (the constants of Wellons's `lowbias32`) of
//! the element's number. An element dies if the result is below `rate 2^32`.

use crate::simd::{Kernel, Simd};
use crate::team::{Parts, Team};

/// Elements of the smallest task: an element costs a few integer operations more than a copy.
const TASK: usize = 16_384;

/// Which elements survive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Share of elements that die, in `0.0 .. 1.0`.
    pub rate: f32,
    /// What the masks are drawn from: one key per run, layer and epoch.
    pub key: u64,
    /// Number of the batch's first sample in its epoch.
    pub first_sample: u64,
}

impl Dropout {
    /// Elements die whose hash is below this.
    pub(crate) fn threshold(&self) -> u32 {
        assert!((0.0..1.0).contains(&self.rate), "a dropout rate of {} is not in 0..1", self.rate);
        // Exact: the factor is a power of two. It fits: the largest float below 1 is 1 - 2^-24.
        (f64::from(self.rate) * 4_294_967_296.0).ceil() as u32
    }

    /// The 64 bits of a sample, as halves.
    pub(crate) fn seeds(&self, sample: u64) -> [u32; 2] {
        let sample = self.first_sample.wrapping_add(sample);
        let mut x = self.key ^ sample.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^= x >> 31;
        [x as u32, (x >> 32) as u32]
    }
}

/// Hash of an element under its sample's seeds.
#[inline(always)]
fn hash([low, high]: [u32; 2], element: u32) -> u32 {
    let mut x = element ^ low;
    x = (x ^ (x >> 16)).wrapping_mul(0x7FEB_352D);
    x = (x ^ (x >> 15) ^ high).wrapping_mul(0x846C_A68B);
    x ^ (x >> 16)
}

/// `value` where the element survives, else 0. By a mask of bits: the compiler made a branch of an `if`
/// on SSE2, and a branch on random bits is mispredicted half of the time (2 GB/s).
#[inline(always)]
fn kept(seeds: [u32; 2], element: u32, threshold: u32, value: f32) -> f32 {
    let mask = 0_u32.wrapping_sub(u32::from(hash(seeds, element) >= threshold));
    f32::from_bits(value.to_bits() & mask)
}

/// Ones where elements survive, zeros where they die: those from number `first` on of the sample
/// with these seeds. For kernels that drop what they have in registers.
#[inline(always)]
pub(crate) fn survivors(seeds: [u32; 2], first: u32, threshold: u32, ones: &mut [f32]) {
    for i in 0..ones.len() {
        ones[i] = kept(seeds, first.wrapping_add(i as u32), threshold, 1.0);
    }
}

/// `y = x / (1 - rate)` where an element survives, else 0. Both are `[n, per_sample]`. No normal number
/// becomes a subnormal one.
///
/// # Panics
/// If the lengths do not fit, or the rate is not in `0..1`.
#[track_caller]
pub fn forward(team: &Team, dropout: &Dropout, per_sample: usize, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len(), "x and y differ in length");
    run(team, dropout, per_sample, Some(x), y);
}

/// `dy = dy / (1 - rate)` where the element survived, else 0: [`forward`]'s mask, in place.
///
/// # Panics
/// If the length does not fit, or the rate is not in `0..1`.
#[track_caller]
pub fn backward(team: &Team, dropout: &Dropout, per_sample: usize, dy: &mut [f32]) {
    run(team, dropout, per_sample, None, dy);
}

/// From `x` to `y`, or in place.
#[track_caller]
fn run(team: &Team, dropout: &Dropout, per_sample: usize, x: Option<&[f32]>, y: &mut [f32]) {
    let len = y.len();
    assert!(len.is_multiple_of(per_sample.max(1)), "{len} is no multiple of {per_sample}");
    assert!(u32::try_from(per_sample).is_ok(), "{per_sample} elements cannot be numbered");
    let (threshold, scale) = (dropout.threshold(), 1.0 / (1.0 - dropout.rate));
    let (isa, y) = (team.isa(), Parts::new(y));
    let tasks = (len / TASK).max(1);
    team.run_chunks(len, len.div_ceil(tasks).max(1), |range, _| {
        // SAFETY: tasks have disjoint ranges.
        let y = unsafe { y.part(range.clone()) };
        let x = x.map(|x| &x[range.clone()]);
        isa.run(Masks { dropout, per_sample, threshold, scale, start: range.start, x, y });
    });
}

/// Some elements in a row, perhaps of several samples; `start` is the first's place in the batch.
struct Masks<'a> {
    dropout: &'a Dropout,
    per_sample: usize,
    threshold: u32,
    scale: f32,
    start: usize,
    x: Option<&'a [f32]>,
    y: &'a mut [f32],
}

impl Kernel for Masks<'_> {
    type Output = ();

    /// Plain loops: the compiler's vectors of integers are as good as ours would be.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { dropout, per_sample, threshold, scale, start, x, y } = self;
        let mut done = 0;
        while done < y.len() {
            let (sample, element) = ((start + done) / per_sample, (start + done) % per_sample);
            let len = (per_sample - element).min(y.len() - done);
            let seeds = dropout.seeds(sample as u64);
            let y = &mut y[done..done + len];
            match x {
                Some(x) => {
                    let x = &x[done..done + len];
                    for i in 0..len {
                        y[i] = kept(seeds, (element + i) as u32, threshold, x[i] * scale);
                    }
                }
                None => {
                    for i in 0..len {
                        y[i] = kept(seeds, (element + i) as u32, threshold, y[i] * scale);
                    }
                }
            }
            done += len;
        }
    }
}
