//! One kernel at one size, as something that can be run, checked and timed without knowing what it
//! computes.

use crate::nn::Buffer;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use threadcount_kernels::dropout::Dropout;
use threadcount_kernels::{Mat, Team};

/// A kernel at one size, with its inputs.
pub trait Case: Sync {
    /// What one run does.
    fn work(&self) -> Work;

    /// Floats that one run reads, each counted once.
    fn inputs(&self) -> usize;

    /// Floats that one run writes.
    fn outputs(&self) -> usize;

    /// Fills the outputs with what a run finds there: NaN, so that an element that was not written shows,
    /// unless the kernel works in place. Any number of runs may follow.
    fn prepare(&self, out: &mut [f32]) {
        out.fill(f32::NAN);
    }

    /// One run.
    fn run(&self, team: &Team, out: &mut [f32]);

    /// Copies into the outputs what a run wrote beside them, in the twin's layout; only for a comparison.
    /// Any number of runs may follow.
    fn gather(&self, _out: &mut [f32]) {}

    /// How the twin's work can be split.
    fn pieces(&self) -> Pieces;

    /// Runs the naive twin of a range of the pieces, on one thread. `out` has been prepared, and is the
    /// outputs of these pieces, or all outputs if pieces are added up.
    fn twin(&self, pieces: Range<usize>, out: &mut [f32]);

    /// The operands, if one run is a matrix product that other libraries can do as well; the
    /// outputs are its rows.
    fn product(&self) -> Option<(Mat<'_>, Mat<'_>)> {
        None
    }
}

/// The work of a run, in the unit that its rate is counted in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work {
    /// Floating-point operations; the FMA peak is the limit.
    Flops(f64),
    /// Bytes read and written; memory is the limit.
    Bytes(f64),
}

impl Work {
    /// The number of operations or bytes.
    pub fn amount(self) -> f64 {
        match self {
            Self::Flops(n) | Self::Bytes(n) => n,
        }
    }
}

/// How the work of a twin splits: rows of a product, images of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pieces {
    /// How many there are.
    pub count: usize,
    /// How their outputs are combined.
    pub combine: Combine,
}

/// How the outputs of pieces are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combine {
    /// They lie one after the other, all of the same length.
    Beside,
    /// Each piece writes all outputs, and those are added up.
    Added,
}

impl Pieces {
    /// A twin that cannot be split.
    pub const WHOLE: Self = Self { count: 1, combine: Combine::Beside };
}

/// The twin's outputs, its pieces spread over the threads of rayon's own pool.
pub fn twin_on_all_cores(case: &dyn Case, out: &mut [f32]) {
    let Pieces { count, combine } = case.pieces();
    // A few chunks for each thread, so that one held up by another program does not hold up all.
    let chunk = count.div_ceil(4 * rayon::current_num_threads()).max(1);
    let range = |start: usize| start..count.min(start + chunk);
    match combine {
        Combine::Beside => {
            let len = out.len() / count * chunk;
            out.par_chunks_mut(len.max(1)).enumerate().for_each(|(i, part)| {
                case.prepare(part);
                case.twin(range(i * chunk), part);
            });
        }
        Combine::Added => {
            let parts: Vec<Vec<f32>> = (0..count)
                .into_par_iter()
                .step_by(chunk)
                .map(|start| {
                    let mut part = vec![f32::NAN; out.len()];
                    case.twin(range(start), &mut part);
                    part
                })
                .collect();
            out.fill(0.0);
            for part in parts {
                out.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
            }
        }
    }
}

/// Compares a kernel's outputs with its twin's: equal within the rounding of sums of tens of thousands of
/// products. (The kernels' own tests check the bounds of the numeric contract.)
///
/// # Errors
/// The first element that differs, in words.
pub fn agree(actual: &[f32], expected: &[f32]) -> Result<(), String> {
    let squares: f64 = expected.iter().map(|&e| f64::from(e) * f64::from(e)).sum();
    let scale = (squares / expected.len().max(1) as f64).sqrt() as f32;
    for (i, (&a, &e)) in actual.iter().zip(expected).enumerate() {
        let near = (a - e).abs() <= 1e-3 * e.abs().max(scale);
        if !near {
            return Err(format!("output {i} is {a}, its twin says {e}"));
        }
    }
    Ok(())
}

/// `len` floats in `-1 .. 1`, a function of `seed` alone.
pub fn noise(seed: u32, len: usize) -> Buffer {
    let mut state = seed.wrapping_mul(0x9E37_79B9) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    filled(len, next)
}

/// As [`noise`], rounded to quarters: sums of a few thousand products of them are exact in any order. So
/// elements that are equal by one kernel are equal by all, and pooling has the same winners.
pub fn quarters(seed: u32, len: usize) -> Buffer {
    let noise = noise(seed, len);
    let mut quarters = noise.iter().map(|x| (x * 4.0).round() / 4.0);
    filled(len, || quarters.next().unwrap_or(0.0))
}

/// Locks what a run writes beside its outputs. Only one run is in progress at a time.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The dropout masks of samples from number `first` on.
pub(super) fn mask(rate: f32, first: usize) -> Dropout {
    Dropout { rate, key: 1, first_sample: first as u64 }
}

/// `len` NaN: an element that was not written shows. All memory has been touched, so no run waits for its
/// pages.
pub fn untouched(len: usize) -> Buffer {
    filled(len, || f32::NAN)
}

/// Floats that begin on a cache line, as those of a network do.
fn filled(len: usize, mut next: impl FnMut() -> f32) -> Buffer {
    let mut buffer = Buffer::zeroed(len).expect("memory for a case");
    buffer.iter_mut().for_each(|x| *x = next());
    buffer
}
