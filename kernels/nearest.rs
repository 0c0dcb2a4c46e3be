//! The search for large scores: what exact nearest neighbours are picked by.

use crate::Isa;
use crate::simd::{Kernel, Simd};

/// Scores that are looked at together: whether one of them is large enough is known after four vectors of sixteen
/// lanes each, and seldom true.
const STRIDE: usize = 256;

/// The first number from `start` on with `scores[i] - offsets[i] >= bar`; NaN never is. On the calling thread.
///
/// # Panics
/// If there are not as many scores as offsets.
#[track_caller]
pub fn first_from(
    isa: Isa,
    scores: &[f32],
    offsets: &[f32],
    bar: f32,
    start: usize,
) -> Option<usize> {
    assert_eq!(scores.len(), offsets.len(), "an offset for each score");
    let mut from = start.min(scores.len());
    while from < scores.len() {
        let skipped = isa.run(Below { scores: &scores[from..], offsets: &offsets[from..], bar });
        from += skipped;
        let end = scores.len().min(from + STRIDE);
        if let Some(at) = (from..end).find(|&i| scores[i] - offsets[i] >= bar) {
            return Some(at);
        }
        from = end;
    }
    None
}

/// How many scores from the start on, in strides, are all below the bar.
struct Below<'a> {
    scores: &'a [f32],
    offsets: &'a [f32],
    bar: f32,
}

impl Kernel for Below<'_> {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> usize {
        let Self { scores, offsets, bar } = self;
        let len = scores.len().min(offsets.len());
        let mut from = 0;
        while from + STRIDE <= len {
            let mut most = [simd.splat(f32::NEG_INFINITY); 4];
            let mut i = from;
            while i < from + STRIDE {
                for most in &mut most {
                    // SAFETY: STRIDE is a multiple of four vectors, and from + STRIDE is within both.
                    let (score, offset) = unsafe {
                        (simd.load(scores.as_ptr().add(i)), simd.load(offsets.as_ptr().add(i)))
                    };
                    // A NaN is passed over: `max` gives its second argument then.
                    *most = simd.max(simd.sub(score, offset), *most);
                    i += S::LANES;
                }
            }
            let most = simd.max(simd.max(most[0], most[1]), simd.max(most[2], most[3]));
            if simd.reduce_max(most) >= bar {
                return from;
            }
            from += STRIDE;
        }
        from
    }
}
