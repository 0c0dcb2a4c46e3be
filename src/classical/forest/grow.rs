//! One tree.

use rand_chacha::rand_core::Rng;
use threadcount_kernels::machine::machine;

use super::columns::View;
use super::criterion::Criterion;
use super::split::{Search, Split};
use super::{ForestSettings, Node, Test, Tree, Tried};
use crate::classical::{GoOn, check};
use crate::random::{Key, below};
use crate::{Error, Result};

/// Keys below a tree's: of its bootstrap sample, and of its nodes.
const BOOTSTRAP: u64 = 0;
const NODES: u64 = 1;

/// Rows and columns that are transposed at once.
const GROUP: usize = 64;

/// Bytes that growing takes besides the trees: all samples row by row, and for each thread the samples of its tree,
/// room to part them, how often each was drawn, and the columns of a node.
pub(super) fn bytes_needed<C: Criterion>(rows: usize, columns: usize, threads: usize) -> u64 {
    let of_row = 2 * size_of::<C::Sample>() + size_of::<u32>();
    let of_thread = rows.saturating_mul(of_row).saturating_add(local_bytes());
    let of_rows = rows.saturating_mul(columns);
    of_thread.saturating_mul(threads).saturating_add(of_rows) as u64
}

/// Bytes of a node's columns, from which on they are copied together: half of a second-level cache. Below such a node
/// samples would otherwise be read from cache lines that are far apart, one for each sample and column.
pub(super) fn local_bytes() -> usize {
    machine().l2.unwrap_or(1 << 19) / 2
}

/// A node that is to be split or to become a leaf.
struct Open {
    node: usize,
    from: usize,
    to: usize,
}

/// Samples in columns, and the same row by row.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    pub(super) columns: View<'a>,
    pub(super) rows: &'a [u8],
}

/// How a tree grows.
#[derive(Clone, Copy)]
pub(super) struct Growth<'a> {
    pub(super) settings: &'a ForestSettings,
    /// Of the tree.
    pub(super) key: Key,
    /// Nodes whose columns take at most so many bytes have them copied together with those of the nodes below, which
    /// changes no bit.
    pub(super) local: usize,
    pub(super) go_on: &'a GoOn<'a>,
}

/// Grows a tree, depth first, left before right.
///
/// # Errors
/// [`Error::Failed`] for more nodes than can be numbered; [`Error::Interrupted`].
pub(super) fn grow<C: Criterion>(
    table: Table<'_>,
    growth: Growth<'_>,
    criterion: &mut C,
) -> Result<Tree> {
    let Growth { settings, key, local, go_on } = growth;
    let width = table.columns.kinds.len();
    let mut samples = drawn(table.columns.rows, settings, key.with(BOOTSTRAP), criterion);
    let leaves = criterion.first_leaves();
    let mut grower = Grower {
        room: vec![C::Sample::default(); samples.len()],
        search: Search::new(width),
        tried: match settings.tried {
            Tried::All => width,
            Tried::SquareRoot => width.isqrt(),
        },
        smallest_split: settings.smallest_split,
        key: key.with(NODES),
        tree: Tree { nodes: vec![LEAF], leaves },
        local: local / width,
        go_on,
        criterion,
    };
    grower.grow(table.columns, Some(table.rows), &mut samples, 0)?;
    let mut tree = grower.tree;
    tree.nodes.shrink_to_fit();
    tree.leaves.shrink_to_fit();
    Ok(tree)
}

const LEAF: Node = Node { link: 0, column: 0, bin: 0, test: Test::Leaf };

/// A tree that grows.
struct Grower<'a, C: Criterion> {
    criterion: &'a mut C,
    search: Search,
    tried: usize,
    smallest_split: usize,
    key: Key,
    /// For parting samples.
    room: Vec<C::Sample>,
    /// The most samples of nodes whose columns are copied together.
    local: usize,
    go_on: &'a GoOn<'a>,
    tree: Tree,
}

impl<C: Criterion> Grower<'_, C> {
    /// Grows what is below a node. With `rows`, the columns are those of all samples, and those of small nodes are
    /// copied together.
    fn grow(
        &mut self,
        columns: View<'_>,
        rows: Option<&[u8]>,
        samples: &mut [C::Sample],
        node: usize,
    ) -> Result<()> {
        let mut together = Vec::new();
        let mut open = vec![Open { node, from: 0, to: samples.len() }];
        while let Some(Open { node, from, to }) = open.pop() {
            check(self.go_on)?;
            let here = &mut samples[from..to];
            if let Some(rows) = rows.filter(|_| here.len() <= self.local) {
                copy::<C>(rows, columns.kinds.len(), here, &mut together);
                let local = View { kinds: columns.kinds, rows: here.len(), bins: &together };
                self.grow(local, None, here, node)?;
                continue;
            }
            self.criterion.begin(here);
            let may_split = here.len() >= self.smallest_split && !self.criterion.is_pure();
            let key = self.key.with(node as u64);
            let Self { search, criterion, tried, .. } = self;
            let best = || search.best(columns, *tried, key, here, *criterion);
            let Some(Split { column, bin, test, .. }) = may_split.then(best).flatten() else {
                self.tree.nodes[node].link = self.criterion.leaf(&mut self.tree.leaves);
                continue;
            };
            let bins = columns.column(usize::from(column));
            let is_right = |sample: &C::Sample| test.is_right(bins[C::row(sample)], bin);
            let middle = from + part(here, &mut self.room, is_right);
            // Else a child would be the node again, and the tree would grow without end.
            assert!(
                from < middle && middle < to,
                "a split of {column} at {bin} leaves a side empty"
            );
            let left = self.tree.nodes.len();
            let Ok(link) = u32::try_from(left) else {
                return Err(Error::Failed("a tree has more nodes than can be numbered".to_owned()));
            };
            self.tree.nodes[node] = Node { link, column, bin, test };
            self.tree.nodes.extend([LEAF, LEAF]);
            open.push(Open { node: left + 1, from: middle, to });
            open.push(Open { node: left, from, to: middle });
        }
        Ok(())
    }
}

/// Copies the columns of these samples together, and numbers the samples by their places there.
fn copy<C: Criterion>(rows: &[u8], width: usize, samples: &mut [C::Sample], to: &mut Vec<u8>) {
    let n = samples.len();
    to.clear();
    to.resize(n * width, 0);
    // In tiles: 64 cache lines are read, and each column's bytes are written side by side.
    for (group, of_group) in samples.chunks_mut(GROUP).enumerate() {
        let first = group * GROUP;
        for left in (0..width).step_by(GROUP) {
            let right = width.min(left + GROUP);
            let mut tile = [&[][..]; GROUP];
            for (tile, sample) in tile.iter_mut().zip(&*of_group) {
                *tile = &rows[C::row(sample) * width..][left..right];
            }
            for j in left..right {
                let column = &mut to[j * n + first..][..of_group.len()];
                for (bin, row) in column.iter_mut().zip(&tile) {
                    *bin = row[j - left];
                }
            }
        }
        for (i, sample) in (first..).zip(of_group) {
            C::renumber(sample, i as u32);
        }
    }
}

/// The samples of a tree, each once with the number of its draws, in their order.
fn drawn<C: Criterion>(
    rows: usize,
    settings: &ForestSettings,
    key: Key,
    criterion: &C,
) -> Vec<C::Sample> {
    if !settings.bootstrap {
        return (0..rows as u32).map(|row| criterion.sample(row, 1)).collect();
    }
    let mut draws = vec![0_u32; rows];
    let mut rng = key.rng();
    for _ in 0..rows {
        draws[below(rng.next_u64(), rows as u64) as usize] += 1;
    }
    let drawn = (0..).zip(draws).filter(|&(_, draws)| draws > 0);
    drawn.map(|(row, draws)| criterion.sample(row, draws)).collect()
}

/// Brings those that go right behind those that do not, both in their order, and returns how many do not.
fn part<T: Copy>(samples: &mut [T], room: &mut [T], is_right: impl Fn(&T) -> bool) -> usize {
    let (mut left, mut right) = (0, 0);
    for i in 0..samples.len() {
        let sample = samples[i];
        let goes_right = is_right(&sample);
        // Both are written and one is counted: what cannot be foreseen costs more.
        room[right] = sample;
        samples[left] = sample;
        right += usize::from(goes_right);
        left += usize::from(!goes_right);
    }
    samples[left..].copy_from_slice(&room[..right]);
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classical::TO_THE_END;
    use crate::classical::forest::ColumnKind;
    use crate::classical::forest::classes::Gini;
    use crate::classical::forest::columns::Columns;
    use crate::classical::forest::criterion::Seen;
    use threadcount_kernels::{Isa, Team};

    /// Whether and where columns are copied together changes nothing.
    #[test]
    fn trees_do_not_depend_on_what_is_copied_together() {
        let (rows, width) = (500, 70);
        let byte = |i: usize| (i * i % 251 / (1 + i % 7)) as u8;
        let bins = (0..rows * width).map(byte).collect();
        let columns = Columns::new(rows, vec![ColumnKind::Ordered; width], bins).unwrap();
        let labels: Vec<u8> = (0..rows).map(|i| (i * i / 11 % 5) as u8).collect();
        let in_rows = columns.to_rows(&Team::solo(Isa::best())).unwrap();
        let table = Table { columns: columns.view(), rows: &in_rows };
        let tree = |local| {
            let settings = ForestSettings::classification(0);
            let key = Key::new(0, crate::random::Purpose::Forest);
            let growth = Growth { settings: &settings, key, local, go_on: TO_THE_END };
            grow(table, growth, &mut Gini::new(&labels, 5)).unwrap()
        };
        let never = tree(0);
        assert!(never.nodes.len() > 100);
        for samples in [1, 2, 63, 64, 65, 130, rows] {
            assert_eq!(tree(samples * width), never, "{samples}");
        }
    }

    /// A tree whose search finds a split that is none does not grow without end.
    #[test]
    #[should_panic(expected = "leaves a side empty")]
    fn a_split_that_is_none_is_noticed() {
        struct Wrong<'a>(Gini<'a>);
        impl Criterion for Wrong<'_> {
            type Sample = <Gini<'static> as Criterion>::Sample;
            fn sample(&self, row: u32, weight: u32) -> Self::Sample {
                self.0.sample(row, weight)
            }
            // Every sample lies in the first row when it is parted, in its own when it is counted.
            fn row(_: &Self::Sample) -> usize {
                0
            }
            fn renumber(_: &mut Self::Sample, _: u32) {}
            fn begin(&mut self, samples: &[Self::Sample]) {
                self.0.begin(samples);
            }
            fn is_pure(&self) -> bool {
                self.0.is_pure()
            }
            fn restart(&mut self) {
                self.0.restart();
            }
            fn take(&mut self, sample: &Self::Sample) {
                self.0.take(sample);
            }
            fn count(&mut self, column: &[u8], samples: &[Self::Sample], seen: &mut Seen) {
                self.0.count(column, samples, seen);
            }
            fn take_bin(&mut self, bin: usize) {
                self.0.take_bin(bin);
            }
            fn score(&self) -> f64 {
                self.0.score()
            }
            fn first_leaves(&self) -> Vec<f32> {
                self.0.first_leaves()
            }
            fn leaf(&self, leaves: &mut Vec<f32>) -> u32 {
                self.0.leaf(leaves)
            }
        }
        let rows = 200_u8;
        let bins: Vec<u8> = (0..rows).collect();
        let columns = Columns::new(rows.into(), vec![ColumnKind::Ordered], bins.clone()).unwrap();
        let labels: Vec<u8> = (0..rows).map(|i| i % 2).collect();
        let table = Table { columns: columns.view(), rows: &bins };
        let settings = ForestSettings { bootstrap: false, ..ForestSettings::classification(0) };
        let key = Key::new(0, crate::random::Purpose::Forest);
        let growth = Growth { settings: &settings, key, local: 0, go_on: TO_THE_END };
        let _ = grow(table, growth, &mut Wrong(Gini::new(&labels, 2)));
    }

    #[test]
    fn parting_keeps_the_order() {
        for n in [0_u32, 1, 2, 3, 17, 100] {
            for modulus in 1..4 {
                let mut samples: Vec<u32> = (0..n).collect();
                let is_right = |x: &u32| (x * 7 + 3) % 4 < modulus;
                let (right, left): (Vec<u32>, Vec<u32>) = (0..n).partition(is_right);
                let mut room = vec![0; samples.len()];
                assert_eq!(part(&mut samples, &mut room, is_right), left.len());
                assert_eq!(samples, [left, right].concat());
            }
        }
    }
}
