//! The best split of a node.

use super::columns::View;
use super::criterion::{Criterion, Seen, can_split};
use super::{BINS, ColumnKind, Test};
use crate::random::{Key, below};

/// Nodes of up to so many samples are sorted by their bins; larger ones are counted into 256 bins.
const SORTED: usize = 96;

/// A split of a node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Split {
    pub(super) column: u16,
    pub(super) bin: u8,
    pub(super) test: Test,
    score: f64,
}

/// What the search needs besides the criterion, kept from node to node.
pub(super) struct Search {
    /// All columns; in their order between two nodes.
    order: Vec<u16>,
    /// The places that were exchanged for the current node.
    exchanged: Vec<usize>,
    seen: Seen,
    /// Samples of a small node: the bin in the high bits, the place among the samples in the low ones.
    sorted: Vec<u32>,
}

impl Search {
    pub(super) fn new(columns: usize) -> Self {
        Self {
            order: (0..columns).map(|column| column as u16).collect(),
            exchanged: Vec::new(),
            seen: [false; BINS],
            sorted: Vec::with_capacity(SORTED),
        }
    }

    /// The best split of the node that the criterion has begun, if it can be split: by `tried` columns, drawn
    /// without replacement by the node's key, and by as many more as it takes to find one that splits it.
    pub(super) fn best<C: Criterion>(
        &mut self,
        columns: View<'_>,
        tried: usize,
        key: Key,
        samples: &[C::Sample],
        criterion: &mut C,
    ) -> Option<Split> {
        let mut best: Option<Split> = None;
        for drawn in 0..self.order.len() {
            if drawn >= tried && best.is_some() {
                break;
            }
            let left = (self.order.len() - drawn) as u64;
            let place = drawn + below(key.with(drawn as u64).bits(), left) as usize;
            self.order.swap(drawn, place);
            self.exchanged.push(place);
            let column = self.order[drawn];
            let kind = columns.kinds[usize::from(column)];
            let test = match kind {
                ColumnKind::Ordered => Test::Above,
                ColumnKind::Categories { .. } => Test::Equal,
            };
            let bins = columns.column(usize::from(column));
            let consider = |bin: u8, score: f64| {
                if best.is_none_or(|best| score > best.score) {
                    best = Some(Split { column, bin, test, score });
                }
            };
            match samples.len() {
                ..=SORTED => self.by_sorting(kind, bins, samples, criterion, consider),
                _ => self.by_counting(kind, bins, samples, criterion, consider),
            }
        }
        // In their order again, so that no draw depends on the nodes before.
        for drawn in (0..self.exchanged.len()).rev() {
            self.order.swap(drawn, self.exchanged[drawn]);
        }
        self.exchanged.clear();
        best
    }

    /// Considers every split of one column, from the lowest bin up, in time proportional to the samples.
    fn by_sorting<C: Criterion>(
        &mut self,
        kind: ColumnKind,
        bins: &[u8],
        samples: &[C::Sample],
        criterion: &mut C,
        mut consider: impl FnMut(u8, f64),
    ) {
        let Some(first) = samples.first() else { return };
        let first = bins[C::row(first)];
        self.sorted.clear();
        let mut differing = 0;
        for (place, sample) in samples.iter().enumerate() {
            let bin = bins[C::row(sample)];
            differing |= bin ^ first;
            self.sorted.push(u32::from(bin) << 16 | place as u32);
        }
        if differing == 0 {
            return;
        }
        self.sorted.sort_unstable();
        criterion.restart();
        let mut at = 0;
        while at < self.sorted.len() {
            let bin = self.sorted[at] >> 16;
            if kind != ColumnKind::Ordered {
                criterion.restart();
            }
            while let Some(&entry) = self.sorted.get(at).filter(|&&entry| entry >> 16 == bin) {
                criterion.take(&samples[(entry & 0xFFFF) as usize]);
                at += 1;
            }
            let is_last = at == self.sorted.len() && kind == ColumnKind::Ordered;
            if !is_last && can_split(kind, bin as usize) {
                consider(
                    middle(kind, bin, self.sorted.get(at).map(|next| next >> 16)),
                    criterion.score(),
                );
            }
        }
    }

    /// The same in time proportional to the samples and the bins.
    fn by_counting<C: Criterion>(
        &mut self,
        kind: ColumnKind,
        bins: &[u8],
        samples: &[C::Sample],
        criterion: &mut C,
        mut consider: impl FnMut(u8, f64),
    ) {
        criterion.count(bins, samples, &mut self.seen);
        criterion.restart();
        let occurs = |seen: &Seen, from: usize| (from..BINS).find(|&bin| seen[bin]);
        let mut next = occurs(&self.seen, 0);
        let is_constant = next.is_some_and(|bin| occurs(&self.seen, bin + 1).is_none());
        while let Some(bin) = next {
            self.seen[bin] = false;
            next = occurs(&self.seen, bin + 1);
            if kind != ColumnKind::Ordered {
                criterion.restart();
            }
            criterion.take_bin(bin);
            let is_last = is_constant || (next.is_none() && kind == ColumnKind::Ordered);
            if !is_last && can_split(kind, bin) {
                consider(middle(kind, bin as u32, next.map(|next| next as u32)), criterion.score());
            }
        }
    }
}

/// The bin that a split at `bin` is described by: of an ordered column the last one at or below the middle
/// between it and the next that occurs.
fn middle(kind: ColumnKind, bin: u32, next: Option<u32>) -> u8 {
    match (kind, next) {
        (ColumnKind::Ordered, Some(next)) => ((bin + next) / 2) as u8,
        _ => bin as u8,
    }
}
