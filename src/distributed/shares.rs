//! The rule by which a batch is cut: shard `i` of `k` has the samples from `i n / k` to `(i + 1) n / k`. Shards
//! are consecutive and nearly equal; of a batch smaller than `k` some are empty.

use std::ops::Range;

use crate::{Error, Result};

/// Part `index` of `parts` of `n` things in a row.
pub(crate) fn part(n: usize, parts: usize, index: usize) -> Range<usize> {
    let bound = |i: usize| (i as u128 * n as u128 / parts as u128) as usize;
    bound(index)..bound(index + 1)
}

/// The shards that one process of several has: consecutive ones, as many as each of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The shards of all processes.
    pub shards: usize,
    /// The number of processes.
    pub ranks: usize,
    /// Which of them this is, from 0.
    pub rank: usize,
}

impl Share {
    /// The share of process `rank` of `ranks`.
    ///
    /// # Errors
    /// [`Error::Setting`] if the processes cannot have equally many shards.
    pub fn new(shards: usize, ranks: usize, rank: usize) -> Result<Self> {
        if shards == 0 || ranks == 0 || !shards.is_multiple_of(ranks) {
            let fault = format!(
                "{ranks} ranks cannot have equal parts of {shards}: give a multiple of {ranks}, such as {}",
                shards.max(1).next_multiple_of(ranks.max(1))
            );
            return Err(Error::Setting { name: "shards", fault });
        }
        Ok(Self { shards, ranks, rank })
    }

    /// How many shards each process has.
    pub(crate) fn own(&self) -> usize {
        self.shards / self.ranks
    }

    /// The first of this process's shards.
    pub(crate) fn first(&self) -> usize {
        self.rank * self.own()
    }

    /// The process that has this shard.
    pub(crate) fn owner(&self, shard: usize) -> usize {
        shard / self.own()
    }

    /// The samples of a batch of `n` that these shards have.
    pub(crate) fn samples(&self, n: usize, shards: Range<usize>) -> Range<usize> {
        part(n, self.shards, shards.start).start..part(n, self.shards, shards.end - 1).end
    }

    /// The samples of a batch of `n` that this process has.
    pub(crate) fn own_samples(&self, n: usize) -> Range<usize> {
        self.samples(n, self.first()..self.first() + self.own())
    }

    /// The samples of this process's shard `index` (of its own, from 0), counted from its own first sample.
    pub(crate) fn own_part(&self, n: usize, index: usize) -> Range<usize> {
        let first = self.own_samples(n).start;
        let part = part(n, self.shards, self.first() + index);
        part.start - first..part.end - first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_consecutive_and_nearly_equal() {
        for n in [0, 1, 2, 3, 7, 31, 32, 33, 1000] {
            for parts in [1, 2, 3, 4, 7, 8] {
                let all: Vec<_> = (0..parts).map(|i| part(n, parts, i)).collect();
                assert_eq!((all[0].start, all[parts - 1].end), (0, n));
                assert!(all.windows(2).all(|pair| pair[0].end == pair[1].start));
                let sizes = all.iter().map(Range::len);
                assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1, "{n} in {parts}");
            }
        }
        // No product overflows.
        assert_eq!(part(usize::MAX, 4, 3).end, usize::MAX);
    }

    /// However many processes there are, a shard has the same samples.
    #[test]
    fn processes_share_the_same_shards() {
        for n in [3, 32, 45] {
            for (shards, ranks) in [(4, 1), (4, 2), (4, 4), (6, 3), (6, 2), (1, 1)] {
                let mut found = Vec::new();
                for rank in 0..ranks {
                    let share = Share::new(shards, ranks, rank).unwrap();
                    let first = share.own_samples(n).start;
                    for index in 0..share.own() {
                        let own = share.own_part(n, index);
                        found.push(own.start + first..own.end + first);
                        assert_eq!(share.owner(share.first() + index), rank);
                    }
                }
                let expected: Vec<_> = (0..shards).map(|i| part(n, shards, i)).collect();
                assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn what_cannot_be_shared_is_refused() {
        for (shards, ranks) in [(4, 3), (1, 2), (2, 4), (0, 1), (4, 0)] {
            let error = Share::new(shards, ranks, 0).unwrap_err();
            assert!(matches!(error, Error::Setting { name: "shards", .. }), "{error}");
        }
        let told = Share::new(4, 3, 0).unwrap_err().to_string();
        assert!(told.contains("a multiple of 3, such as 6"), "{told}");
    }
}
