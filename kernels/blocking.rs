//! The block sizes of products, and what several threads cost on this machine. Each team carries them for
//! its kernels.

use crate::machine::{Machine, machine};
use crate::tiles::DEPTH;
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
    /// Bytes of first-level cache for data.
    pub l1: usize,
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
        let l1 = machine.l1d.unwrap_or(32 << 10);
        let l2 = machine.l2.unwrap_or(512 << 10);
        // 512 columns with 1 MiB; a multiple of every tile's width.
        let nc = (l2 / 2 / size_of::<f32>() / KC / 64).max(1) * 64;
        let (kc, slice_blocks) = (KC, SLICE_BLOCKS);
        Self { kc, slice_blocks, l1, l2, nc, copy_b_rows: 97, buffer: 1 << 24, thread_costs }
    }

    /// How a sum of `k` products is cut.
    pub(crate) fn cut(&self, k: usize) -> Cut {
        Cut::new(k, self.kc, self.slice_blocks)
    }

    /// The same where each product is computed as the sum of so many: blocks have no more steps, and slices as
    /// many elements.
    pub(crate) fn cut_of_parts(&self, k: usize, parts: usize) -> Cut {
        let pairs = (self.kc / 2 / parts).max(1);
        Cut::in_pairs(k, pairs, self.slice_blocks * parts)
    }

    /// The same on tiles: blocks are whole tiles, with no more words of all parts than others have steps. Such sums
    /// have fewer roundings (`gemm`), so blocks have more elements: 512, or 64 of six parts.
    pub(crate) fn cut_of_tiles(&self, k: usize, parts: usize) -> Cut {
        let tiles = (self.kc / (DEPTH / 2) / parts).max(1);
        Cut::in_units(k, DEPTH, tiles, self.slice_blocks * parts)
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

    /// The cut of a sum of `k` products into blocks of whole pairs, at most so many.
    pub(crate) fn in_pairs(k: usize, most: usize, slice_blocks: usize) -> Self {
        Self::in_units(k, 2, most, slice_blocks)
    }

    /// The same into blocks of whole units of so many elements.
    fn in_units(k: usize, unit: usize, most: usize, slice_blocks: usize) -> Self {
        let Self { kc, blocks, slices } = Self::new(k.div_ceil(unit), most, slice_blocks);
        Self { kc: unit * kc, blocks, slices }
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

    /// The bound of split products is that of f32: see `gemm`.
    #[test]
    fn split_sums_have_fewer_roundings_than_those_of_f32() {
        let blocking = Blocking::of_machine();
        let roundings = |k: usize, cut: Cut, in_slice: usize| {
            k.min(cut.kc) + cut.blocks.min(in_slice) - 1 + cut.slices - 1 + 2
        };
        for k in 43..300_000_usize {
            let of_f32 = (k.min(256) + k.div_ceil(256).min(16) - 1 + k.div_ceil(4096) + 1) as f64;
            let cut = blocking.cut_of_parts(k, 6);
            assert!(cut.kc.is_multiple_of(2) && 6 * cut.kc <= KC && cut.blocks > 1);
            // Five sums of parts whose products are 2^-7 of the whole, and what is left out.
            let more = 5.0 * cut.kc as f64 / 128.0 + 1.02;
            let of_split = roundings(k, cut, 6 * blocking.slice_blocks) as f64 + more;
            assert!(of_split <= of_f32, "K = {k}: {of_split} and {of_f32}");
            let of_bf16 = roundings(k, blocking.cut_of_parts(k, 1), blocking.slice_blocks);
            assert!(of_bf16 as f64 <= of_f32 + 1.0);
        }
    }

    /// On tiles: the two sums of a tile, the one added to the other, and one addition for each tile of K.
    #[test]
    fn sums_on_tiles_have_fewer_roundings_than_those_of_f32() {
        let blocking = Blocking::of_machine();
        for k in 16..300_000_usize {
            let of_f32 = (k.min(256) + k.div_ceil(256).min(16) - 1 + k.div_ceil(4096) + 1) as f64;
            for (parts, first) in [(1, 16), (6, 43)] {
                if k < first {
                    continue;
                }
                let cut = blocking.cut_of_tiles(k, parts);
                assert!(cut.kc.is_multiple_of(DEPTH) && parts * cut.kc / 2 <= KC);
                let tiles = k.min(cut.kc).div_ceil(DEPTH);
                let in_block = k.div_ceil(2).min(16) + 1 + tiles;
                let in_slice = parts * blocking.slice_blocks;
                let of_blocks = cut.blocks.min(in_slice) - 1 + cut.slices - 1 + 2;
                // The smaller parts: five sums of 2^-7 of the whole, and what is left out.
                let more = if parts == 6 { 5.0 * (17 + tiles) as f64 / 128.0 + 1.02 } else { 0.0 };
                let of_tiles = (in_block + of_blocks) as f64 + more;
                assert!(of_tiles <= of_f32, "K = {k}, {parts} parts: {of_tiles} and {of_f32}");
            }
        }
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
