//! The block sizes of products, and what several threads cost on this machine. Each team carries them for
//! its kernels.

use crate::machine::{Machine, machine};
use std::sync::OnceLock;

/// Steps of K summed in registers. 256 x 14 floats of A are 14 KB: they stay in a first-level cache
/// of 32 KB while B streams by. It also bounds the rounding error of one chain.
pub(crate) const KC: usize = 256;

/// Blocks of K that are summed one by one before a new partial sum is begun. With this number, no chain
/// of blocks and no chain of slices is longer than 16 at K = 65,536.
const SLICE_BLOCKS: usize = 16;

/// The sizes that the loops step by, in elements, and what the machine is like.
///
/// `kc` and `slice_blocks` decide where sums are cut, and `copy_b_rows` takes part in the choice of the
/// kernel that computes them. So these three are the same on every machine. The other sizes depend on the
/// machine, and no bit of a result depends on them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Blocking {
    /// Steps of K in one block; at most 256. Cuts sums.
    pub kc: usize,
    /// Blocks of K summed one by one before a new partial sum is begun. Cuts sums.
    pub slice_blocks: usize,
    /// Bytes of second-level cache.
    pub l2: usize,
    /// Columns of B in one block: with `kc` rows they fill half of the second-level cache.
    pub nc: usize,
    /// Rows of a task from which on a copy of B pays.
    pub copy_b_rows: usize,
    /// Floats of partial sums held at once.
    pub buffer: usize,
    /// What several threads cost; `None` if that is to be measured.
    pub thread_costs: Option<ThreadCosts>,
}

impl Blocking {
    /// What [`crate::gemm::gemm`] uses on this machine.
    pub fn of_machine() -> &'static Self {
        static BLOCKING: OnceLock<Blocking> = OnceLock::new();
        BLOCKING.get_or_init(|| Self::for_machine(machine(), None))
    }

    /// The blocking for a machine, which may be a made-up one: tests check that all machines give the
    /// same bits.
    #[doc(hidden)]
    pub fn for_machine(machine: &Machine, thread_costs: Option<ThreadCosts>) -> Self {
        let l2 = machine.l2.unwrap_or(512 << 10);
        // 512 columns with 1 MiB; a multiple of every tile's width.
        let nc = (l2 / 2 / size_of::<f32>() / KC / 64).max(1) * 64;
        let (kc, slice_blocks) = (KC, SLICE_BLOCKS);
        Self { kc, slice_blocks, l2, nc, copy_b_rows: 97, buffer: 1 << 24, thread_costs }
    }

    /// How a sum of `k` products is cut.
    pub(crate) fn cut(&self, k: usize) -> Cut {
        Cut::new(k, self.kc, self.slice_blocks)
    }
}

/// How a sum over K is cut, by K alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Steps of K in a block; the last block may have fewer. Blocks are nearly equal: 784 is 4 x 196, not
    /// 3 x 256 + 16.
    pub(crate) kc: usize,
    /// Blocks.
    pub(crate) blocks: usize,
    /// Slices of blocks.
    pub(crate) slices: usize,
}

impl Cut {
    /// The cut of a sum of `k` products, on every machine.
    pub(crate) fn of(k: usize) -> Self {
        Self::new(k, KC, SLICE_BLOCKS)
    }

    fn new(k: usize, most: usize, slice_blocks: usize) -> Self {
        let kc = k.div_ceil(k.div_ceil(most).max(1)).max(1);
        let blocks = k.div_ceil(kc).max(1);
        Self { kc, blocks, slices: blocks.div_ceil(slice_blocks) }
    }
}

/// What it costs to compute on several threads, in vector multiply-adds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ThreadCosts {
    /// Starting a phase, and having its results in several cores' caches.
    pub phase: f64,
    /// The cost to a task for each row of memory of which it writes one part and another task writes the
    /// next part: the CPU's prefetchers run on into the other task's part and take its cache lines away.
    pub shared_row: f64,
    /// The cost of a float that one thread wrote and another thread reads.
    pub remote_float: f64,
}

impl ThreadCosts {
    /// No cost at all.
    pub const NONE: Self = Self { phase: 0.0, shared_row: 0.0, remote_float: 0.0 };

    /// The costs of cores that are close to each other. An empty phase was seen to cost 500
    /// multiply-adds, and a core reads what another core wrote at 100 GB/s.
    pub const NEAR: Self = Self { phase: 8e3, shared_row: 0.0, remote_float: 0.15 };

    /// The costs of cores that are far apart: 2,500 multiply-adds for an empty phase, and 25 GB/s, on the
    /// same machine at another time. Only such cores lose time on shared rows, 200 ns for each.
    pub const FAR: Self = Self { phase: 4e4, shared_row: 700.0, remote_float: 0.6 };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_k_are_even() {
        let cut = |k| {
            let Cut { kc, blocks, slices } = Cut::of(k);
            (kc, blocks, slices)
        };
        assert_eq!(cut(784), (196, 4, 1));
        assert_eq!(cut(256), (256, 1, 1));
        assert_eq!(cut(257), (129, 2, 1));
        assert_eq!(cut(4097), (241, 17, 2));
        assert_eq!(cut(65_536), (256, 256, 16));
        assert_eq!(cut(0), (1, 1, 1));
    }

    #[test]
    fn no_machine_cuts_sums_differently() {
        for l2 in [None, Some(1), Some(256 << 10), Some(2 << 20), Some(1 << 30)] {
            for costs in [None, Some(ThreadCosts::NONE), Some(ThreadCosts::FAR)] {
                let machine = Machine { l2, ..machine().clone() };
                let blocking = Blocking::for_machine(&machine, costs);
                for k in 0..10_000 {
                    assert_eq!(blocking.cut(k), Cut::of(k), "{k} on {machine:?}");
                }
            }
        }
    }
}
