//! The twin of [`crate::classical::Forest`]: every tree grows by recursion, and every split of every column that is
//! tried is judged by looking through all samples of the node. It draws what the forest draws.

use rand_chacha::rand_core::Rng;

use crate::classical::forest::{ColumnKind, Columns, ForestSettings, Target, Tried};
use crate::random::{Key, Purpose};

/// Predictions of a forest for the rows of `queries`, `[rows, outputs]`, by growing it.
pub fn predictions(
    columns: &Columns,
    target: Target<'_>,
    settings: &ForestSettings,
    queries: &Columns,
) -> Vec<f64> {
    let outputs = if let Target::Classes { classes, .. } = target { classes } else { 1 };
    let mut sums = vec![0.0; queries.rows() * outputs];
    for tree in 0..settings.trees as u64 {
        let key = Key::new(settings.seed, Purpose::Forest).with(tree);
        let samples = bootstrap(columns.rows(), settings, key.with(0));
        let grower = Grower { columns, target, settings, key: key.with(1) };
        let mut count = 1;
        let root = grower.grow(samples, 0, &mut count);
        for row in 0..queries.rows() {
            let leaf = root.leaf(queries, row);
            for (sum, x) in sums[row * outputs..].iter_mut().zip(leaf) {
                *sum += f64::from(*x as f32);
            }
        }
    }
    sums.iter().map(|sum| sum / settings.trees as f64).collect()
}

/// The rows of a tree, each as often as it was drawn.
fn bootstrap(rows: usize, settings: &ForestSettings, key: Key) -> Vec<usize> {
    if !settings.bootstrap {
        return (0..rows).collect();
    }
    let mut rng = key.rng();
    let draw = |_| ((u128::from(rng.next_u64()) * rows as u128) >> 64) as usize;
    let mut drawn: Vec<usize> = (0..rows).map(draw).collect();
    drawn.sort_unstable();
    drawn
}

enum Tree {
    Leaf(Vec<f64>),
    Split { column: usize, bin: u8, left: Box<Tree>, right: Box<Tree> },
}

impl Tree {
    fn leaf(&self, columns: &Columns, row: usize) -> &[f64] {
        match self {
            Self::Leaf(values) => values,
            Self::Split { column, bin, left, right } => {
                let side = if goes_right(columns, *column, row, *bin) { right } else { left };
                side.leaf(columns, row)
            }
        }
    }
}

fn goes_right(columns: &Columns, column: usize, row: usize, bin: u8) -> bool {
    let here = columns.column(column)[row];
    match columns.kinds()[column] {
        ColumnKind::Ordered => here > bin,
        ColumnKind::Categories { .. } => here == bin,
    }
}

struct Grower<'a> {
    columns: &'a Columns,
    target: Target<'a>,
    settings: &'a ForestSettings,
    key: Key,
}

impl Grower<'_> {
    /// Grows node `number` of these rows. Numbers are given as nodes are split: `count` of them so far.
    fn grow(&self, rows: Vec<usize>, number: u64, count: &mut u64) -> Tree {
        let mut different = rows.clone();
        different.dedup();
        let is_pure = rows.iter().all(|&row| self.target(row) == self.target(rows[0]));
        let split = match is_pure || different.len() < self.settings.smallest_split {
            true => None,
            false => self.best(&rows, self.key.with(number)),
        };
        let Some((column, bin)) = split else {
            return Tree::Leaf(self.mean(&rows));
        };
        let (right, left): (Vec<usize>, Vec<usize>) =
            rows.into_iter().partition(|&row| goes_right(self.columns, column, row, bin));
        assert!(!left.is_empty() && !right.is_empty(), "a split has two sides");
        let first = *count;
        *count += 2;
        let left = self.grow(left, first, count).into();
        let right = self.grow(right, first + 1, count).into();
        Tree::Split { column, bin, left, right }
    }

    /// The column and bin of the best split, if there is one.
    fn best(&self, rows: &[usize], key: Key) -> Option<(usize, u8)> {
        let all = self.columns.kinds().len();
        let tried = match self.settings.tried {
            Tried::All => all,
            Tried::SquareRoot => (all as f64).sqrt() as usize,
        };
        let mut order: Vec<usize> = (0..all).collect();
        let (mut best, mut highest) = (None, f64::NEG_INFINITY);
        for drawn in 0..all {
            if drawn >= tried && best.is_some() {
                break;
            }
            let draw = u128::from(key.with(drawn as u64).bits()) * (all - drawn) as u128;
            order.swap(drawn, drawn + (draw >> 64) as usize);
            let column = order[drawn];
            let mut bins: Vec<u8> =
                rows.iter().map(|&row| self.columns.column(column)[row]).collect();
            bins.sort_unstable();
            bins.dedup();
            for (i, &bin) in bins.iter().enumerate() {
                let at = match self.columns.kinds()[column] {
                    ColumnKind::Ordered => match bins.get(i + 1) {
                        Some(next) => ((f64::from(bin) + f64::from(*next)) / 2.0).floor() as u8,
                        None => continue,
                    },
                    ColumnKind::Categories { count }
                        if u16::from(bin) < count && bins.len() > 1 =>
                    {
                        bin
                    }
                    ColumnKind::Categories { .. } => continue,
                };
                let (right, left): (Vec<usize>, Vec<usize>) =
                    rows.iter().partition(|&&row| goes_right(self.columns, column, row, at));
                let score = self.score(&left) + self.score(&right);
                if score > highest {
                    (best, highest) = (Some((column, at)), score);
                }
            }
        }
        best
    }

    fn target(&self, row: usize) -> f64 {
        match self.target {
            Target::Classes { labels, .. } => f64::from(labels[row]),
            Target::Values(values) => values[row],
        }
    }

    /// The number of rows, times the sum of the squares of the shares of classes or the square of the mean value: the
    /// higher, the less impure they are. Divided once, so that it is exact but for that.
    fn score(&self, rows: &[usize]) -> f64 {
        let n = rows.len() as f64;
        match self.target {
            Target::Classes { labels, classes } => {
                let count =
                    |class| rows.iter().filter(|&&row| usize::from(labels[row]) == class).count();
                (0..classes).map(|class| (count(class) as f64).powi(2)).sum::<f64>() / n
            }
            Target::Values(values) => rows.iter().map(|&row| values[row]).sum::<f64>().powi(2) / n,
        }
    }

    fn mean(&self, rows: &[usize]) -> Vec<f64> {
        let n = rows.len() as f64;
        match self.target {
            Target::Classes { labels, classes } => {
                let share = |class| {
                    rows.iter().filter(|&&row| usize::from(labels[row]) == class).count() as f64 / n
                };
                (0..classes).map(share).collect()
            }
            Target::Values(values) => vec![rows.iter().map(|&row| values[row]).sum::<f64>() / n],
        }
    }
}
