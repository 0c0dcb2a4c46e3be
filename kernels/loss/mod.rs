//! Losses with their gradients, from logits: softmax and logistic function are part of the loss,
//! so nothing overflows and no probability is rounded to 0 before its logarithm is taken.
//!
//! Losses are per sample; gradients are those of their mean over the batch.
//!
//! # Label smoothing
//! With a smoothing of `s`, a label stands for a distribution that has `1 - s` on its own class and `s`
//! spread evenly over all (Szegedy et al. 2015): the cross-entropy is with that. Of two classes under one
//! logit the label becomes `(1 - s) label + s / 2`. Without smoothing the bits are those of the plain loss.

mod squared;

pub use squared::mean_squared_error;

use crate::math;
use crate::simd::{Kernel, LaneSums, Simd};
use crate::team::{Parts, Team};

/// Elements of the smallest task: an exponential costs about ten times a copy.
const TASK: usize = 4_096;

/// Samples whose logarithms are taken together.
const BLOCK: usize = 64;

/// Samples of one task.
fn chunk(per_sample: usize) -> usize {
    (TASK / per_sample.max(1)).max(BLOCK)
}

/// Softmax of each sample. `logits` and `probabilities` are `[n, classes]`.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
pub fn softmax(team: &Team, logits: &[f32], classes: usize, probabilities: &mut [f32]) {
    assert_eq!(logits.len(), probabilities.len(), "logits and probabilities differ in length");
    let n = logits.len().checked_div(classes).unwrap_or(0);
    assert_eq!(logits.len(), n * classes, "logits are no rows of {classes}");
    let (isa, probabilities) = (team.isa(), Parts::new(probabilities));
    team.run_chunks(n, chunk(classes), |samples, _| {
        let range = samples.start * classes..samples.end * classes;
        // SAFETY: tasks have disjoint samples.
        let out = unsafe { probabilities.part(range.clone()) };
        isa.run(Softmax { logits: &logits[range], classes, out });
    });
}

/// `losses = -sum of t ln softmax(logits)`, `dlogits = (softmax(logits) - t) / n`, where `t` is 1 at the
/// label and 0 elsewhere, smoothed by `smoothing`, 0 to 1.
/// `logits` and `dlogits` are `[n, classes]`, `labels` (below `classes`) and `losses` `[n]`.
///
/// # Panics
/// If the lengths do not fit, or a label is not below `classes`.
#[track_caller]
pub fn softmax_cross_entropy(
    team: &Team,
    logits: &[f32],
    classes: usize,
    labels: &[u8],
    smoothing: f32,
    losses: &mut [f32],
    dlogits: &mut [f32],
) {
    let n = labels.len();
    assert_eq!(logits.len(), n * classes, "logits are not {n} rows of {classes}");
    assert_eq!(dlogits.len(), n * classes, "dlogits are not {n} rows of {classes}");
    assert_eq!(losses.len(), n, "one loss for each label");
    if let Some(label) = labels.iter().find(|&&label| usize::from(label) >= classes) {
        panic!("label {label} with {classes} classes");
    }
    let scale = 1.0 / n as f32;
    let (isa, losses, dlogits) = (team.isa(), Parts::new(losses), Parts::new(dlogits));
    team.run_chunks(n, chunk(classes), |samples, _| {
        let range = samples.start * classes..samples.end * classes;
        // SAFETY: tasks have disjoint samples.
        let (losses, dlogits) =
            unsafe { (losses.part(samples.clone()), dlogits.part(range.clone())) };
        let (logits, labels) = (&logits[range], &labels[samples]);
        isa.run(CrossEntropy { logits, classes, labels, smoothing, scale, losses, dlogits });
    });
}

/// `losses = -t ln p - (1 - t) ln(1 - p)` with `p = sigmoid(logits)`, `dlogits = (p - t) / n`, where `t` is
/// the label, 0 or 1, smoothed by `smoothing`, 0 to 1. All are `[n]`.
///
/// # Panics
/// If the lengths differ, or a label is neither 0 nor 1.
#[track_caller]
pub fn binary_cross_entropy(
    team: &Team,
    logits: &[f32],
    labels: &[u8],
    smoothing: f32,
    losses: &mut [f32],
    dlogits: &mut [f32],
) {
    let n = labels.len();
    assert_eq!(logits.len(), n, "one logit for each label");
    assert_eq!(losses.len(), n, "one loss for each label");
    assert_eq!(dlogits.len(), n, "one gradient for each label");
    check_binary_labels(labels);
    let scale = 1.0 / n as f32;
    let (isa, losses, dlogits) = (team.isa(), Parts::new(losses), Parts::new(dlogits));
    team.run_chunks(n, chunk(1), |samples, _| {
        // SAFETY: tasks have disjoint samples.
        let (losses, dlogits) =
            unsafe { (losses.part(samples.clone()), dlogits.part(samples.clone())) };
        let (logits, labels) = (&logits[samples.clone()], &labels[samples]);
        isa.run(Binary { logits, labels, smoothing, scale, losses, dlogits });
    });
}

/// # Panics
/// If a label is neither 0 nor 1.
#[track_caller]
pub(crate) fn check_binary_labels(labels: &[u8]) {
    if let Some(label) = labels.iter().find(|&&label| label > 1) {
        panic!("label {label} is neither 0 nor 1");
    }
}

/// Writes e^(z - max) of a row to `out`; returns their sum and the maximum.
#[inline(always)]
fn exponentials<S: Simd>(simd: S, row: &[f32], out: &mut [f32]) -> (f32, f32) {
    let len = row.len();
    assert_eq!(len, out.len());
    let lowest = simd.splat(f32::NEG_INFINITY);
    let tail = simd.mask_first(len % S::LANES);
    let full = len - len % S::LANES;

    let mut max = lowest;
    let mut i = 0;
    while i < full {
        // SAFETY: i + LANES <= len.
        max = simd.max(unsafe { simd.load(row.as_ptr().add(i)) }, max);
        i += S::LANES;
    }
    if full < len {
        // SAFETY: the mask chooses the lanes below len.
        let z = unsafe { simd.load_masked(row.as_ptr().add(full), tail) };
        max = simd.max(simd.select(tail, z, lowest), max);
    }
    let max = simd.reduce_max(max);

    let shift = simd.splat(max);
    let mut sums = LaneSums::zero(simd);
    i = 0;
    while i < full {
        // SAFETY: i + LANES <= len, the length of both.
        unsafe {
            let e = math::exp(simd, simd.sub(simd.load(row.as_ptr().add(i)), shift));
            simd.store(out.as_mut_ptr().add(i), e);
            let sum = sums.of_vector(i / S::LANES);
            *sum = simd.add(*sum, e);
        }
        i += S::LANES;
    }
    if full < len {
        // SAFETY: the mask chooses the lanes below len.
        unsafe {
            let z = simd.load_masked(row.as_ptr().add(full), tail);
            let e = math::exp(simd, simd.sub(z, shift));
            simd.store_masked(out.as_mut_ptr().add(full), e, tail);
            let sum = sums.of_vector(full / S::LANES);
            *sum = simd.add(*sum, simd.select(tail, e, simd.splat(0.0)));
        }
    }
    (sums.total(simd), max)
}

/// `row * factor - offset`; without an offset its subtraction changes no bit.
#[inline(always)]
fn multiply<S: Simd>(simd: S, row: &mut [f32], factor: f32, offset: f32) {
    let len = row.len();
    let (factor, offset) = (simd.splat(factor), simd.splat(offset));
    let mut i = 0;
    while i + S::LANES <= len {
        // SAFETY: i + LANES <= len.
        unsafe {
            let p = row.as_mut_ptr().add(i);
            simd.store(p, simd.flush(simd.sub(simd.mul(simd.load(p), factor), offset)));
        }
        i += S::LANES;
    }
    if i < len {
        let tail = simd.mask_first(len - i);
        // SAFETY: the mask chooses the lanes below len.
        unsafe {
            let p = row.as_mut_ptr().add(i);
            let product = simd.mul(simd.load_masked(p, tail), factor);
            simd.store_masked(p, simd.flush(simd.sub(product, offset)), tail);
        }
    }
}

/// The mean over a row of `max - z`, no term of which is negative.
#[inline(always)]
fn mean_below<S: Simd>(simd: S, row: &[f32], max: f32) -> f32 {
    let mut sums = LaneSums::zero(simd);
    let top = simd.splat(max);
    let mut i = 0;
    while i < row.len() {
        let mask = simd.mask_first(row.len() - i);
        // SAFETY: the mask chooses the lanes below the length.
        let z = unsafe { simd.load_masked(row.as_ptr().add(i), mask) };
        let below = simd.select(mask, simd.sub(top, z), simd.splat(0.0));
        let sum = sums.of_vector(i / S::LANES);
        *sum = simd.add(*sum, below);
        i += S::LANES;
    }
    sums.total(simd) / row.len() as f32
}

struct Softmax<'a> {
    logits: &'a [f32],
    classes: usize,
    out: &'a mut [f32],
}

impl Kernel for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { logits, classes, out } = self;
        let mut at = 0;
        while at < logits.len() {
            let out = &mut out[at..at + classes];
            let (sum, _) = exponentials(simd, &logits[at..at + classes], out);
            multiply(simd, out, 1.0 / sum, 0.0);
            at += classes;
        }
    }
}

struct CrossEntropy<'a> {
    logits: &'a [f32],
    classes: usize,
    labels: &'a [u8],
    smoothing: f32,
    scale: f32,
    losses: &'a mut [f32],
    dlogits: &'a mut [f32],
}

impl Kernel for CrossEntropy<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { logits, classes, labels, smoothing, scale, losses, dlogits } = self;
        let spread = smoothing / classes as f32 * scale;
        let mut sums = [0.0_f32; BLOCK];
        let mut start = 0;
        while start < labels.len() {
            let end = labels.len().min(start + BLOCK);
            for i in start..end {
                let row = &logits[i * classes..(i + 1) * classes];
                let (sum, max) = exponentials(simd, row, &mut dlogits[i * classes..][..classes]);
                // Both are positive where the label has not the largest logit: nothing cancels.
                let below = max - row[usize::from(labels[i])];
                losses[i] = match smoothing {
                    0.0 => below,
                    _ => (1.0 - smoothing) * below + smoothing * mean_below(simd, row, max),
                };
                sums[i - start] = sum;
            }
            let mut i = 0;
            while start + i < end {
                let mask = simd.mask_first(end - start - i);
                // SAFETY: BLOCK is a multiple of every LANES, so a whole vector of sums is there;
                // the mask chooses losses below end.
                unsafe {
                    let p = losses.as_mut_ptr().add(start + i);
                    let sum = simd.load(sums.as_ptr().add(i));
                    let loss = simd.add(simd.load_masked(p, mask), math::ln(simd, sum));
                    simd.store_masked(p, simd.flush(loss), mask);
                    simd.store(sums.as_mut_ptr().add(i), simd.div(simd.splat(scale), sum));
                }
                i += S::LANES;
            }
            // Not in the first loop: reading what a masked store has just written waits until it
            // has left for the cache, and took 40 % of the time on AVX2.
            for i in start..end {
                let out = &mut dlogits[i * classes..][..classes];
                multiply(simd, out, sums[i - start], spread);
                out[usize::from(labels[i])] -= (1.0 - smoothing) * scale;
            }
            start = end;
        }
    }
}

/// The loss of a logit whose label is 0 or 1, and `sigmoid(logit) - label`.
#[inline(always)]
pub(crate) fn binary<S: Simd>(simd: S, z: S::V, label: S::V) -> (S::V, S::V) {
    let (zero, one) = (simd.splat(0.0), simd.splat(1.0));
    let e = math::exp(simd, simd.sub(zero, simd.abs(z)));
    // max(z, 0) - z label + ln(1 + e^-|z|); with the label's side of z nothing cancels:
    // max(z, 0) - z = max(-z, 0).
    let wrong = simd.select(simd.gt(label, zero), simd.sub(zero, z), z);
    let loss = simd.add(simd.max(zero, wrong), math::ln_1p(simd, e));
    // sigmoid(z) - label = sigmoid(-wrong) or its negative, again without cancelling.
    let numerator = simd.select(simd.gt(zero, wrong), e, one);
    let miss = simd.div(numerator, simd.add(one, e));
    (loss, simd.select(simd.gt(label, zero), simd.sub(zero, miss), miss))
}

struct Binary<'a> {
    logits: &'a [f32],
    labels: &'a [u8],
    smoothing: f32,
    scale: f32,
    losses: &'a mut [f32],
    dlogits: &'a mut [f32],
}

impl Kernel for Binary<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { logits, labels, smoothing, scale, losses, dlogits } = self;
        let scale = simd.splat(scale);
        let half = simd.splat(smoothing / 2.0);
        let zero = simd.splat(0.0);
        let len = logits.len();
        assert!(labels.len() == len && losses.len() == len && dlogits.len() == len);
        let mut i = 0;
        while i < len {
            let mask = simd.mask_first(len - i);
            // SAFETY: the mask chooses the lanes below len, the length of all four.
            unsafe {
                let z = simd.load_masked(logits.as_ptr().add(i), mask);
                let label = simd.load_u8(labels.as_ptr().add(i), len - i);
                let (mut loss, mut miss) = binary(simd, z, label);
                if smoothing != 0.0 {
                    // The loss of the other label is less by z, or by -z.
                    let is_one = simd.gt(label, zero);
                    let right = simd.select(is_one, z, simd.sub(zero, z));
                    loss = simd.mul_add(half, right, loss);
                    miss = simd.add(miss, simd.select(is_one, half, simd.sub(zero, half)));
                }
                simd.store_masked(losses.as_mut_ptr().add(i), simd.flush(loss), mask);
                let gradient = simd.flush(simd.mul(miss, scale));
                simd.store_masked(dlogits.as_mut_ptr().add(i), gradient, mask);
            }
            i += S::LANES;
        }
    }
}
