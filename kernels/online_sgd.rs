//! Online stochastic gradient descent (a step after each sample) for `activation(x W + b) . v + c`
//! with the logistic loss, a block of samples at a time.
//!
//! It stands here and not with a caller because its recurrence is written on vectors: [`crate::gemm`]
//! does the products of a block, and the rest is a kernel of its own.
//!
//! Done as it is written, each sample reads and writes all of W once: 200 KB for 784 x 32, at the
//! speed of the second-level cache. But inside a block that begins with `W` and `b`, W has changed
//! only by products of earlier samples, so what sample j feeds to its activations is
//!
//! `z_j = x_j W + b - rate sum_{i < j} (x_i . x_j + 1) dz_i`
//!
//! A block is then two matrix products (its samples with W, and with each other), a short
//! recurrence on `[block, hidden]`, and one product that brings W up to date. These are the same
//! steps, rounded in another order; W is touched twice in sixteen samples instead of in each.

use crate::gemm::{Epilogue, Write, gemm};
use crate::loss::{binary, binary_cross_entropy, check_binary_labels};
use crate::simd::{Kernel, LaneSums, SUM_LANES, Simd, flush};
use crate::{Activation, Mat, MatMut, Team};

/// Samples of one block. At `BLOCK = hidden` the products of the samples with each other cost as many
/// operations as their products with W. Below 16, the tiles of W's update are loaded and stored for too
/// few multiply-adds.
pub const BLOCK: usize = 16;

/// Rows of the recurrence are padded to whole vectors of every instruction set.
const PAD: usize = SUM_LANES;

/// The parameters of two products with an activation between them: `a = activation(x w1 + b1)`,
/// `logit = a . w2 + b2`. They descend along the binary cross-entropy of the logit.
#[derive(Debug)]
pub struct TwoProducts<'a> {
    /// `[inputs, hidden]`
    pub w1: &'a mut [f32],
    /// `[hidden]`
    pub b1: &'a mut [f32],
    /// `[hidden]`
    pub w2: &'a mut [f32],
    /// The logit's bias.
    pub b2: &'a mut f32,
    /// Between the two products.
    pub activation: Activation,
}

/// Floats of scratch that [`descend`] needs.
pub fn scratch_len(hidden: usize) -> usize {
    let row = hidden.next_multiple_of(PAD);
    BLOCK * (row + BLOCK + 1) + 2 * row
}

/// One step of gradient descent after each sample, in order. `x` is `[n, inputs]`, `labels` (0 or 1)
/// is `[n]`; `losses` and `logits`, both `[n]`, receive those of each sample before its own step.
/// `scratch` has [`scratch_len`] floats, whose content does not matter.
///
/// Blocks of [`BLOCK`] samples are counted from the first one, so cutting a call in two keeps the
/// bits only at a multiple of it.
///
/// # Panics
/// If the lengths do not fit, or a label is neither 0 nor 1.
#[track_caller]
pub fn descend(
    team: &Team,
    params: TwoProducts,
    learning_rate: f32,
    x: Mat,
    labels: &[u8],
    [losses, logits]: [&mut [f32]; 2],
    scratch: &mut [f32],
) {
    let TwoProducts { w1, b1, w2, b2, activation } = params;
    let (n, inputs, hidden) = (x.rows(), x.cols(), b1.len());
    assert_eq!(w1.len(), inputs * hidden, "w1 is not {inputs} x {hidden}");
    assert_eq!(w2.len(), hidden, "one weight of the logit for each hidden unit");
    assert_eq!(labels.len(), n, "one label for each sample");
    assert_eq!(logits.len(), n, "one logit for each sample");
    assert_eq!(losses.len(), n, "one loss for each sample");
    check_binary_labels(labels);
    assert_eq!(scratch.len(), scratch_len(hidden), "the length of the scratch");

    let row = hidden.next_multiple_of(PAD);
    let (z, rest) = scratch.split_at_mut(BLOCK * row);
    let (gram, rest) = rest.split_at_mut(BLOCK * BLOCK);
    let (misses, rest) = rest.split_at_mut(BLOCK);
    let (a, padded_w2) = rest.split_at_mut(row);
    z.fill(0.0);
    padded_w2.fill(0.0);
    padded_w2[..hidden].copy_from_slice(w2);
    for start in (0..n).step_by(BLOCK) {
        let samples = start..n.min(start + BLOCK);
        let count = samples.len();
        let x = x.block(samples.clone(), 0..inputs);
        let w = Mat::new(w1, inputs, hidden);
        let bias = Epilogue::Bias { bias: b1, activation: Activation::Linear };
        gemm(team, 1.0, x, w, Write::Set, MatMut::strided(z, count, hidden, row, 1), bias);
        let among = MatMut::strided(gram, count, count, BLOCK, 1);
        gemm(team, 1.0, x, x.t(), Write::Set, among, Epilogue::None);
        team.isa().run(Recurrence {
            z,
            gram,
            a,
            w2: padded_w2,
            b1,
            b2,
            activation,
            learning_rate,
            labels: &labels[samples.clone()],
            logits: &mut logits[samples.clone()],
        });
        let steps = Mat::strided(z, count, hidden, row, 1);
        let w = MatMut::new(w1, inputs, hidden);
        gemm(team, 1.0, x.t(), steps, Write::Add { beta: 1.0 }, w, Epilogue::None);
        let losses = &mut losses[samples.clone()];
        let (logits, labels) = (&logits[samples.clone()], &labels[samples]);
        binary_cross_entropy(team, logits, labels, 0.0, losses, &mut misses[..count]);
    }
    w2.copy_from_slice(&padded_w2[..hidden]);
}

/// The steps of one block, except those of `w1`.
struct Recurrence<'a> {
    /// `[BLOCK, row]`: the pre-activations without the steps inside the block. Each row then becomes a
    /// step of `b1`: minus the rate times the gradient by the sample's pre-activations.
    z: &'a mut [f32],
    /// `[BLOCK, BLOCK]`: products of the samples with each other.
    gram: &'a [f32],
    /// `[row]`: the activations of one sample.
    a: &'a mut [f32],
    /// `[row]`, zero behind the last unit.
    w2: &'a mut [f32],
    /// `[hidden]`
    b1: &'a mut [f32],
    b2: &'a mut f32,
    activation: Activation,
    learning_rate: f32,
    labels: &'a [u8],
    logits: &'a mut [f32],
}

impl Kernel for Recurrence<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { z, gram, a, w2, b1, b2, activation, learning_rate, labels, logits } = self;
        let (row, hidden, count) = (w2.len(), b1.len(), labels.len());
        assert!(row % S::LANES == 0 && hidden <= row && a.len() == row);
        assert!(z.len() >= count * row && gram.len() >= count * BLOCK && logits.len() == count);
        let zero = simd.splat(0.0);
        for j in 0..count {
            let mut sums = LaneSums::zero(simd);
            for k in (0..row).step_by(S::LANES) {
                // SAFETY: k + LANES <= row, the length of a, w2 and of each row of z.
                unsafe {
                    let z = simd.load(z.as_ptr().add(j * row + k));
                    // Zero behind the last unit: w2 and z are then never changed there.
                    let unit = simd.mask_first(hidden.saturating_sub(k));
                    let y = simd.select(unit, activation.apply_flushed(simd, z), zero);
                    simd.store(a.as_mut_ptr().add(k), y);
                    let sum = sums.of_vector(k / S::LANES);
                    *sum = simd.mul_add(y, simd.load(w2.as_ptr().add(k)), *sum);
                }
            }
            logits[j] = flush(sums.total(simd) + *b2);
            let label = simd.splat(f32::from(labels[j]));
            let (_, miss) = binary(simd, simd.splat(logits[j]), label);
            let step = simd.mul(miss, simd.splat(-learning_rate));
            *b2 = flush(*b2 - learning_rate * simd.reduce_max(miss));
            for k in (0..row).step_by(S::LANES) {
                // SAFETY: as above.
                unsafe {
                    let at = z.as_mut_ptr().add(j * row + k);
                    let (y, w) = (simd.load(a.as_ptr().add(k)), simd.load(w2.as_ptr().add(k)));
                    let dz = activation.chain(simd, y, simd.mul(step, w));
                    simd.store(at, simd.flush(dz));
                    simd.store(w2.as_mut_ptr().add(k), simd.flush(simd.mul_add(step, y, w)));
                }
            }
            // What this step changes for the samples behind it.
            for later in j + 1..count {
                let factor = simd.splat(gram[j * BLOCK + later] + 1.0);
                for k in (0..row).step_by(S::LANES) {
                    // SAFETY: as above.
                    unsafe {
                        let step = simd.load(z.as_ptr().add(j * row + k));
                        let at = z.as_mut_ptr().add(later * row + k);
                        simd.store(at, simd.mul_add(factor, step, simd.load(at)));
                    }
                }
            }
        }
        for j in 0..count {
            for (b, step) in b1.iter_mut().zip(&z[j * row..]) {
                *b = flush(*b + step);
            }
        }
    }
}
