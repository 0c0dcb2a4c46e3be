//! One pass over flat arrays of the same length: the loop that activations, optimizer updates and
//! other elementwise kernels share. Each element's result depends on that element alone, so how the
//! pass is cut into tasks cannot change a bit.

use crate::Isa;
use crate::simd::{Kernel, Simd};
use crate::team::{Parts, Team};

/// Elements of the smallest task: below twice this the leader works alone. At 50 GB/s a task with
/// two arrays takes 2.6 us, five times what waking a spinning worker costs.
const TASK: usize = 4_096;

/// What happens to one element of each array: `R` arrays are read, `W` are read and written.
pub(crate) trait Step<const R: usize, const W: usize>: Copy + Sync {
    /// Whether the new values are stored as they are: no step of normal numbers makes a subnormal one.
    const IS_FLUSHED: bool = false;

    /// The new values of the written arrays; what is subnormal is stored as zero, unless the step says
    /// that it has seen to it. Mark it `#[inline(always)]`.
    fn step<S: Simd>(self, simd: S, read: [S::V; R], write: [S::V; W]) -> [S::V; W];
}

/// Who does a sweep.
#[derive(Clone, Copy)]
pub(crate) enum Executor<'a> {
    /// All of a team, as a phase.
    Team(&'a Team<'a>),
    /// The calling thread, inside a task.
    Task(Isa),
}

/// Applies `step` to every element.
///
/// # Panics
/// If the arrays differ in length.
#[track_caller]
pub(crate) fn sweep<const R: usize, const W: usize>(
    team: &Team,
    step: impl Step<R, W>,
    reads: [&[f32]; R],
    writes: [&mut [f32]; W],
) {
    sweep_by(Executor::Team(team), step, reads, writes);
}

/// The same, by this executor.
///
/// # Panics
/// If the arrays differ in length.
#[track_caller]
pub(crate) fn sweep_by<const R: usize, const W: usize>(
    executor: Executor,
    step: impl Step<R, W>,
    reads: [&[f32]; R],
    writes: [&mut [f32]; W],
) {
    let len = writes[0].len();
    for other in reads.iter().map(|r| r.len()).chain(writes.iter().map(|w| w.len())) {
        assert_eq!(other, len, "arrays of one sweep differ in length");
    }
    let team = match executor {
        Executor::Team(team) => team,
        Executor::Task(isa) => return isa.run(Pass { step, reads, writes }),
    };
    let tasks = (len / TASK).clamp(1, 4 * team.threads());
    let chunk = len.div_ceil(tasks).next_multiple_of(64).max(64);
    let isa = team.isa();
    let writes = writes.map(Parts::new);
    team.run_chunks(len, chunk, |range, _| {
        let mut reads = reads;
        for read in &mut reads {
            *read = &read[range.clone()];
        }
        let writes = writes.each_ref().map(|write| {
            // SAFETY: tasks have disjoint ranges.
            unsafe { write.part(range.clone()) }
        });
        isa.run(Pass { step, reads, writes });
    });
}

/// What a step's new value is stored as.
#[inline(always)]
fn flushed<S: Simd, T: Step<R, W>, const R: usize, const W: usize>(simd: S, new: S::V) -> S::V {
    if T::IS_FLUSHED { new } else { simd.flush(new) }
}

/// One task.
struct Pass<'a, T, const R: usize, const W: usize> {
    step: T,
    reads: [&'a [f32]; R],
    writes: [&'a mut [f32]; W],
}

impl<T: Step<R, W>, const R: usize, const W: usize> Pass<'_, T, R, W> {
    /// The elements of `G` vectors from `i` on, a vector after the other: side by side, long steps
    /// only fill the scheduler's queue (tanh took 20 % longer).
    ///
    /// # Safety
    /// They lie inside the arrays.
    #[inline(always)]
    unsafe fn group<S: Simd, const G: usize>(&mut self, simd: S, i: usize) {
        // Everything that is going to be overwritten is loaded first. The compiler would turn a load, a
        // select and a store in a row into a masked store, which takes AVX2 ten times as long (ReLU
        // backward).
        let mut write = [[simd.splat(0.0); W]; G];
        for g in 0..G {
            for k in 0..W {
                // SAFETY: by this function's contract.
                write[g][k] = unsafe { simd.load(self.writes[k].as_ptr().add(i + g * S::LANES)) };
            }
        }
        for g in 0..G {
            let mut read = [simd.splat(0.0); R];
            for k in 0..R {
                // SAFETY: as above.
                read[k] = unsafe { simd.load(self.reads[k].as_ptr().add(i + g * S::LANES)) };
            }
            let new = self.step.step(simd, read, write[g]);
            for k in 0..W {
                // SAFETY: as above.
                unsafe {
                    let p = self.writes[k].as_mut_ptr().add(i + g * S::LANES);
                    simd.store(p, flushed::<S, T, R, W>(simd, new[k]));
                }
            }
        }
    }
}

impl<T: Step<R, W>, const R: usize, const W: usize> Kernel for Pass<'_, T, R, W> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let len = self.writes[0].len();
        let mut i = 0;
        while i + 2 * S::LANES <= len {
            // SAFETY: i + 2 LANES <= len, the length of every array.
            unsafe { self.group::<S, 2>(simd, i) };
            i += 2 * S::LANES;
        }
        if i + S::LANES <= len {
            // SAFETY: i + LANES <= len.
            unsafe { self.group::<S, 1>(simd, i) };
            i += S::LANES;
        }
        if i == len {
            return;
        }
        let Self { step, reads, writes } = self;
        let mask = simd.mask_first(len - i);
        let mut read = [simd.splat(0.0); R];
        let mut write = [simd.splat(0.0); W];
        for k in 0..R {
            // SAFETY: the mask chooses the lanes below len - i.
            read[k] = unsafe { simd.load_masked(reads[k].as_ptr().add(i), mask) };
        }
        for k in 0..W {
            // SAFETY: as above.
            write[k] = unsafe { simd.load_masked(writes[k].as_ptr().add(i), mask) };
        }
        let new = step.step(simd, read, write);
        for k in 0..W {
            let new = flushed::<S, T, R, W>(simd, new[k]);
            // SAFETY: as above.
            unsafe { simd.store_masked(writes[k].as_mut_ptr().add(i), new, mask) };
        }
    }
}
