//! One tree.

use rand_chacha::rand_core::Rng;

use super::columns::Columns;
use super::criterion::Criterion;
use super::split::{Search, Split};
use super::{ForestSettings, Node, Test, Tree, Tried};
use crate::random::Key;
use crate::{Error, Result};

/// Keys below a tree's: of its bootstrap sample, and of its nodes.
const BOOTSTRAP: u64 = 0;
const NODES: u64 = 1;

/// Bytes that growing takes besides the trees: each thread has the samples of its tree, room to part them, and how
/// often each was drawn.
pub(super) fn bytes_needed<C: Criterion>(rows: usize, threads: usize) -> u64 {
    let of_row = 2 * size_of::<C::Sample>() + size_of::<u32>();
    (rows as u64).saturating_mul((of_row * threads) as u64)
}

/// A node that is to be split or to become a leaf.
struct Open {
    node: usize,
    from: usize,
    to: usize,
}

/// Grows a tree, depth first, left before right.
///
/// # Errors
/// [`Error::Failed`] for more nodes than can be numbered.
pub(super) fn grow<C: Criterion>(
    columns: &Columns,
    settings: &ForestSettings,
    key: Key,
    criterion: &mut C,
) -> Result<Tree> {
    let mut samples = drawn(columns.rows(), settings, key.with(BOOTSTRAP), criterion);
    let mut parted = vec![C::Sample::default(); samples.len()];
    let mut search = Search::new(columns.kinds().len());
    let tried = match settings.tried {
        Tried::All => columns.kinds().len(),
        Tried::SquareRoot => columns.kinds().len().isqrt(),
    };
    let leaf = Node { link: 0, column: 0, bin: 0, test: Test::Leaf };
    let mut tree = Tree { nodes: vec![leaf], leaves: criterion.first_leaves() };
    let mut open = vec![Open { node: 0, from: 0, to: samples.len() }];
    while let Some(Open { node, from, to }) = open.pop() {
        let here = &mut samples[from..to];
        criterion.begin(here);
        let may_split = here.len() >= settings.smallest_split && !criterion.is_pure();
        let key = key.with(NODES).with(node as u64);
        let split = may_split.then(|| search.best(columns, tried, key, here, criterion)).flatten();
        let Some(Split { column, bin, test, .. }) = split else {
            tree.nodes[node].link = criterion.leaf(&mut tree.leaves);
            continue;
        };
        let bins = columns.column(usize::from(column));
        let is_right = |sample: &C::Sample| test.is_right(bins[C::row(sample)], bin);
        let middle = from + part(here, &mut parted, is_right);
        let left = tree.nodes.len();
        let Ok(link) = u32::try_from(left) else {
            return Err(Error::Failed("a tree has more nodes than can be numbered".to_owned()));
        };
        tree.nodes[node] = Node { link, column, bin, test };
        tree.nodes.extend([leaf, leaf]);
        open.push(Open { node: left + 1, from: middle, to });
        open.push(Open { node: left, from, to: middle });
    }
    tree.nodes.shrink_to_fit();
    tree.leaves.shrink_to_fit();
    Ok(tree)
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
        // Multiply and shift, as in `Key::shuffled`.
        let row = (u128::from(rng.next_u64()) * rows as u128) >> 64;
        draws[row as usize] += 1;
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
