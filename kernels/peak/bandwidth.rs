//! How fast a level of memory can be read: what bounds every kernel that does little with each
//! number. A task sums a buffer of its own over and over; the buffer's size decides which level it
//! comes from.

use crate::Team;
use crate::machine::Machine;
use crate::simd::{Kernel, Simd};
use crate::team::Scratch;
use std::hint::black_box;
use std::time::Instant;

/// Measurements of one level, of which the median counts.
const SAMPLES: usize = 25;
/// Bytes that one task reads in one measurement, at least: a millisecond or two of L1's 100 to
/// 500 GB/s, some of DRAM's 10 to 40.
const BYTES_PER_SAMPLE: usize = 64 << 20;
/// The largest buffer, all threads together; four times the third-level cache of all but the
/// largest machines.
const MOST_BYTES: usize = 512 << 20;
/// Sums that are independent: enough to hide the latency of an addition behind two loads a cycle.
const SUMS: usize = 8;

/// Where data are read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// First-level data cache, one per core.
    L1,
    /// Second-level cache, one per core.
    L2,
    /// Third-level cache, shared.
    L3,
    /// Memory.
    Dram,
}

impl Level {
    /// All levels, nearest first.
    pub const ALL: [Self; 4] = [Self::L1, Self::L2, Self::L3, Self::Dram];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::L1 => "L1",
            Self::L2 => "L2",
            Self::L3 => "L3",
            Self::Dram => "DRAM",
        }
    }

    /// The nearest level that holds `bytes` which `threads` share between them; memory where the machine
    /// does not tell the caches' sizes.
    pub fn holding(bytes: usize, machine: &Machine, threads: usize) -> Self {
        let fits = |bytes: usize, cache: Option<usize>| cache.is_some_and(|cache| bytes <= cache);
        match bytes / threads {
            share if fits(share, machine.l1d) => Self::L1,
            share if fits(share, machine.l2) => Self::L2,
            _ if fits(bytes, machine.l3) => Self::L3,
            _ => Self::Dram,
        }
    }

    /// Bytes that each of `threads` reads again and again: half of the first and second level; of
    /// the third a quarter for all threads together, but more than the second level holds; of
    /// memory four times the third level together. `None` where the machine does not tell the
    /// cache's size.
    pub fn bytes_per_thread(self, machine: &Machine, threads: usize) -> Option<usize> {
        match self {
            Self::L1 => Some(machine.l1d? / 2),
            Self::L2 => Some(machine.l2? / 2),
            Self::L3 => {
                // A large machine has several third-level caches, of which `l3` is one.
                let share = machine.l3? / 4 / threads;
                Some(share.max(2 * machine.l2.unwrap_or(0)))
            }
            Self::Dram => {
                let all = machine.l3.map_or(MOST_BYTES, |l3| l3.saturating_mul(4));
                Some(all.min(MOST_BYTES) / threads)
            }
        }
    }
}

/// Measured bytes per second that the team's threads read together, each from a buffer of
/// `bytes_per_thread` of its own: the median of several runs. The buffers are written before, so
/// that no page is touched for the first time while the clock runs.
pub fn read_rate(team: &Team, bytes_per_thread: usize) -> f64 {
    // Whole lines of the cache, and of all the sums: 8 vectors of 16 floats.
    let len = (bytes_per_thread / size_of::<f32>()).next_multiple_of(16 * SUMS);
    let threads = team.threads();
    let mut scratch = Scratch::default();
    let data = scratch.floats(len * threads);
    team.run_on_chunks(data, len, |_, part| part.fill(1e-3));
    let data = &*data;
    team.call_back();
    let passes = BYTES_PER_SAMPLE.div_ceil(len * size_of::<f32>());
    let isa = team.isa();
    let mut rates = [0.0; SAMPLES];
    for rate in &mut rates {
        let start = Instant::now();
        team.run(threads, |task, _| {
            black_box(isa.run(Read { data: &data[task * len..(task + 1) * len], passes }));
        });
        let bytes = len * size_of::<f32>() * passes * threads;
        *rate = bytes as f64 / start.elapsed().as_secs_f64();
    }
    rates.sort_unstable_by(f64::total_cmp);
    rates[SAMPLES / 2]
}

/// The sum of `data`, whose length is a multiple of `16 * SUMS`, over and over.
struct Read<'a> {
    data: &'a [f32],
    passes: usize,
}

impl Kernel for Read<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        let mut sums = [simd.splat(0.0); SUMS];
        let step = SUMS * S::LANES;
        for _ in 0..self.passes {
            // Each pass reads what the compiler must take for another buffer.
            let data = black_box(self.data);
            for i in 0..data.len() / step {
                for (j, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: the last vector of block i ends at (i + 1) * step <= data.len().
                    let x = unsafe { simd.load(data.as_ptr().add(i * step + j * S::LANES)) };
                    *sum = simd.add(*sum, x);
                }
            }
        }
        let mut total = simd.splat(0.0);
        for sum in sums {
            total = simd.add(total, sum);
        }
        simd.reduce_add(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;
    use crate::machine::machine;

    #[test]
    fn every_element_is_read_once_in_each_pass() {
        let data: Vec<f32> = (0..16 * SUMS * 3).map(|i| (i % 7) as f32).collect();
        let expected = 2.0 * data.iter().sum::<f32>();
        for isa in Isa::detected() {
            assert_eq!(isa.run(Read { data: &data, passes: 2 }), expected, "{isa}");
        }
    }

    #[test]
    fn buffers_lie_where_they_should() {
        let (kib, mib) = (1 << 10, 1 << 20);
        let caches = |l1d, l2, l3| Machine { l1d, l2, l3, ..machine().clone() };
        let zen = caches(Some(48 * kib), Some(mib), Some(32 * mib));
        let bytes = |level: Level, threads| level.bytes_per_thread(&zen, threads);
        assert_eq!((bytes(Level::L1, 4), bytes(Level::L2, 4)), (Some(24 * kib), Some(mib / 2)));
        assert_eq!((bytes(Level::L3, 1), bytes(Level::L3, 4)), (Some(8 * mib), Some(2 * mib)));
        assert_eq!(bytes(Level::L3, 64), Some(2 * mib));
        assert_eq!(
            (bytes(Level::Dram, 1), bytes(Level::Dram, 4)),
            (Some(128 * mib), Some(32 * mib))
        );
        let unknown = caches(None, None, None);
        let known = Level::ALL.map(|level| level.bytes_per_thread(&unknown, 2));
        assert_eq!(known, [None, None, None, Some(256 * mib)]);

        let holding = |bytes| [1, 4].map(|threads| Level::holding(bytes, &zen, threads));
        assert_eq!(holding(40 * kib), [Level::L1; 2]);
        assert_eq!(holding(80 * kib), [Level::L2, Level::L1]);
        assert_eq!(holding(3 * mib), [Level::L3, Level::L2]);
        assert_eq!(holding(40 * mib), [Level::Dram; 2]);
        assert_eq!(Level::holding(1, &unknown, 1), Level::Dram);
    }

    #[test]
    fn rates_are_positive() {
        for isa in Isa::detected() {
            assert!(read_rate(&Team::solo(isa), 4096) > 0.0, "{isa}");
        }
    }
}
