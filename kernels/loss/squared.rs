//! The mean squared error and its gradient.

use super::chunk;
use crate::simd::{Kernel, LaneSums, Simd, flush};
use crate::sweep::{Step, sweep};
use crate::team::{Parts, Team};

/// `losses = ` mean over a sample's outputs of `(prediction - target)^2`, and its gradient over
/// `n`. `predictions`, `targets` and `dpredictions` are `[n, outputs_per_sample]`, `losses` `[n]`.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
pub fn mean_squared_error(
    team: &Team,
    predictions: &[f32],
    targets: &[f32],
    outputs_per_sample: usize,
    losses: &mut [f32],
    dpredictions: &mut [f32],
) {
    let (n, outputs) = (losses.len(), outputs_per_sample);
    assert_eq!(predictions.len(), n * outputs, "predictions are not {n} rows of {outputs}");
    assert_eq!(targets.len(), n * outputs, "targets are not {n} rows of {outputs}");
    assert_eq!(dpredictions.len(), n * outputs, "gradients are not {n} rows of {outputs}");
    let scale = 2.0 / (n * outputs) as f32;
    if outputs == 1 {
        return sweep(team, Squared { scale }, [predictions, targets], [losses, dpredictions]);
    }
    let (isa, losses, gradients) = (team.isa(), Parts::new(losses), Parts::new(dpredictions));
    team.run_chunks(n, chunk(outputs), |samples, _| {
        let range = samples.start * outputs..samples.end * outputs;
        // SAFETY: tasks have disjoint samples.
        let (losses, gradients) = unsafe { (losses.part(samples), gradients.part(range.clone())) };
        let (predictions, targets) = (&predictions[range.clone()], &targets[range]);
        isa.run(SquaredRows { predictions, targets, outputs, scale, losses, gradients });
    });
}

/// One output per sample.
#[derive(Clone, Copy)]
struct Squared {
    scale: f32,
}

impl Step<2, 2> for Squared {
    #[inline(always)]
    fn step<S: Simd>(self, simd: S, [p, t]: [S::V; 2], _: [S::V; 2]) -> [S::V; 2] {
        let d = simd.sub(p, t);
        [simd.mul(d, d), simd.mul(d, simd.splat(self.scale))]
    }
}

struct SquaredRows<'a> {
    predictions: &'a [f32],
    targets: &'a [f32],
    outputs: usize,
    scale: f32,
    losses: &'a mut [f32],
    gradients: &'a mut [f32],
}

impl Kernel for SquaredRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { predictions, targets, outputs, scale, losses, gradients } = self;
        let share = 1.0 / outputs as f32;
        let scale = simd.splat(scale);
        for (i, loss) in losses.iter_mut().enumerate() {
            let p = &predictions[i * outputs..(i + 1) * outputs];
            let t = &targets[i * outputs..(i + 1) * outputs];
            let gradient = &mut gradients[i * outputs..(i + 1) * outputs];
            let mut sums = LaneSums::zero(simd);
            let mut j = 0;
            while j < outputs {
                let mask = simd.mask_first(outputs - j);
                // SAFETY: the mask chooses the lanes below outputs, the length of all three. Lanes
                // that are not chosen are zero.
                unsafe {
                    let p = simd.load_masked(p.as_ptr().add(j), mask);
                    let t = simd.load_masked(t.as_ptr().add(j), mask);
                    let d = simd.sub(p, t);
                    let sum = sums.of_vector(j / S::LANES);
                    *sum = simd.mul_add(d, d, *sum);
                    let d = simd.flush(simd.mul(d, scale));
                    simd.store_masked(gradient.as_mut_ptr().add(j), d, mask);
                }
                j += S::LANES;
            }
            *loss = flush(sums.total(simd) * share);
        }
    }
}
