//! Random forests on columns of bytes: of classes (Gini impurity) and of values (squared error), with the
//! defaults of scikit-learn's `RandomForestClassifier` and `RandomForestRegressor`.
//!
//! - [`Columns`]: the samples, column by column, each column at most 256 bins; [`Bins`] makes them of numbers
//! - `criterion`, `classes`, `values`: how good a split is
//! - `split`: the best split of one node; `grow`: one tree
//! - `predict`: means over the trees; `file`: forests in files
//!
//! **A tree** grows on a bootstrap sample (as many draws with replacement as there are samples) until a node is
//! pure, has fewer than [`ForestSettings::smallest_split`] different samples, or cannot be split. At each node
//! columns are drawn without replacement, [`Tried`] of them. Where none of those can split the node, further
//! ones are drawn until one can. Of all splits the one with the lowest impurity wins, of equals the first in the
//! order of the draws, then of the bins. A threshold lies in the middle between the two neighbouring bins that
//! occur in the node.
//!
//! **Same bits at any thread count**: threads take whole trees. What a node draws depends on the seed and on the
//! numbers of its tree and node alone, and predictions are summed in the order of the trees.
//!
//! ```
//! use threadcount::classical::forest::{ColumnKind, Columns, Forest, ForestSettings, Target};
//! use threadcount::kernels::{Isa, Team};
//!
//! // Two columns of six samples: a number in order, and one of three categories.
//! let kinds = vec![ColumnKind::Ordered, ColumnKind::Categories { count: 3 }];
//! let columns = Columns::new(6, kinds, vec![0, 1, 2, 3, 4, 5, /* */ 0, 0, 1, 1, 2, 2])?;
//! let settings = ForestSettings { trees: 10, ..ForestSettings::regression(0) };
//! let team = Team::solo(Isa::best());
//! let values = [1.0, 1.0, 2.0, 2.0, 8.0, 8.0];
//! let forest = Forest::fit(&team, &columns, Target::Values(&values), &settings)?;
//! let predicted = forest.predict(&team, &columns)?; // [6]
//! assert!(predicted[0] < predicted[5]);
//! # Ok::<(), threadcount::Error>(())
//! ```

mod bins;
mod classes;
mod columns;
mod criterion;
mod file;
mod grow;
mod predict;
mod split;
mod values;

pub use bins::Bins;
pub use columns::{BINS, ColumnKind, Columns};

use super::{GoOn, TO_THE_END};
use crate::random::{Key, Purpose};
use crate::{Error, Result};
use classes::Gini;
use criterion::Criterion;
pub(super) use file::{Flat, TENSORS};
use grow::{Growth, Table, grow, local_bytes};
use threadcount_kernels::Team;
use values::SquaredError;

/// What is to be predicted for each sample.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// One of `classes` classes, at most 256.
    Classes {
        /// `[rows]`, below `classes`.
        labels: &'a [u8],
        /// How many classes there are; some may not occur.
        classes: usize,
    },
    /// A finite number: `[rows]`.
    Values(&'a [f64]),
}

/// How many columns are tried at each node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// All of them.
    All,
    /// The whole part of the square root of their number, at least 1.
    SquareRoot,
}

/// How a forest grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForestSettings {
    /// How many trees.
    pub trees: usize,
    /// How many columns are tried at each node.
    pub tried: Tried,
    /// Whether each tree grows on a bootstrap sample, or on all samples.
    pub bootstrap: bool,
    /// Nodes of fewer different samples are leaves; at least 2.
    pub smallest_split: usize,
    /// The seed of bootstrap samples and of tried columns.
    pub seed: u64,
}

impl ForestSettings {
    /// scikit-learn's defaults for classes: 100 trees, the square root of the columns.
    pub const fn classification(seed: u64) -> Self {
        Self { trees: 100, tried: Tried::SquareRoot, bootstrap: true, smallest_split: 2, seed }
    }

    /// scikit-learn's defaults for values: 100 trees, all columns.
    pub const fn regression(seed: u64) -> Self {
        Self { tried: Tried::All, ..Self::classification(seed) }
    }

    pub(super) fn check(&self) -> Result<()> {
        let fault = |name, fault: String| Err(Error::Setting { name, fault });
        if !(1..=MOST_TREES).contains(&self.trees) {
            return fault("trees", format!("{} trees; use 1 to {MOST_TREES}", self.trees));
        }
        if self.smallest_split < 2 {
            return fault("smallest-split", format!("{}; use 2 or more", self.smallest_split));
        }
        Ok(())
    }
}

/// The most trees that a forest may have.
pub const MOST_TREES: usize = 100_000;

/// A node. Nodes of a tree lie in one list, the root first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Node {
    /// A leaf: the row of the tree's table of leaves. Else the number of its left child; the right one follows.
    link: u32,
    column: u16,
    bin: u8,
    test: Test,
}

/// What a node asks of a sample's bin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Test {
    /// Nothing: a leaf.
    Leaf = 0,
    /// Right if it is above the node's.
    Above = 1,
    /// Right if it is the node's.
    Equal = 2,
}

impl Test {
    /// Whether a sample with this bin goes right at a node with that one.
    #[inline]
    fn is_right(self, bin: u8, of_node: u8) -> bool {
        if self == Self::Equal { bin == of_node } else { bin > of_node }
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Tree {
    nodes: Vec<Node>,
    /// `[leaves, outputs]`; several leaves may share a row.
    leaves: Vec<f32>,
}

/// A trained forest.
#[derive(Clone, Debug, PartialEq)]
pub struct Forest {
    kinds: Vec<ColumnKind>,
    outputs: usize,
    trees: Vec<Tree>,
}

impl Forest {
    /// Grows a forest. Each thread of the team grows one tree at a time.
    ///
    /// # Errors
    /// [`Error::Setting`] for a setting that cannot be; [`Error::Mismatch`] if there are no samples, the target
    /// has another length, a label is no class, or a value is not finite; [`Error::Memory`] for more memory than
    /// the machine has.
    pub fn fit(
        team: &Team,
        columns: &Columns,
        target: Target<'_>,
        settings: &ForestSettings,
    ) -> Result<Self> {
        Self::fit_while(team, columns, target, settings, TO_THE_END)
    }

    /// The same, which `go_on`, asked at each node, may stop.
    ///
    /// # Errors
    /// As [`Self::fit`]; [`Error::Interrupted`].
    pub fn fit_while(
        team: &Team,
        columns: &Columns,
        target: Target<'_>,
        settings: &ForestSettings,
        go_on: &GoOn<'_>,
    ) -> Result<Self> {
        settings.check()?;
        target.check(columns.rows())?;
        let trees = match target {
            Target::Classes { labels, classes } => {
                grow_all(team, columns, settings, go_on, || Gini::new(labels, classes))?
            }
            Target::Values(values) => {
                grow_all(team, columns, settings, go_on, || SquaredError::new(values))?
            }
        };
        Ok(Self { kinds: columns.kinds().to_vec(), outputs: target.outputs(), trees })
    }

    /// Bytes that a forest of values takes at most: while it grows, besides itself, and itself.
    #[cfg(feature = "tables")]
    pub(crate) fn memory(
        rows: u64,
        columns: u64,
        threads: u64,
        settings: &ForestSettings,
    ) -> [u64; 2] {
        let growing = grow::bytes_needed::<SquaredError<'_>>(
            usize::try_from(rows).unwrap_or(usize::MAX),
            usize::try_from(columns).unwrap_or(usize::MAX),
            usize::try_from(threads).unwrap_or(usize::MAX),
        );
        // A bootstrap sample has 1 - 1/e of the rows; six standard deviations (0.31 of the root of the rows each) more
        // are never seen. Each may be a leaf.
        let n = rows as f64;
        let drawn = if settings.bootstrap { (0.6322 * n + 2.0 * n.sqrt() + 1.0).min(n) } else { n };
        let of_tree = drawn * (2.0 * size_of::<Node>() as f64 + size_of::<f32>() as f64);
        // Lists that grow have room for twice as much.
        let unfinished = 2.0 * of_tree * threads as f64;
        [growing.saturating_add(unfinished as u64), (of_tree * settings.trees as f64) as u64]
    }

    /// Numbers that are predicted for each sample: the classes, or 1 for a value.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// What its columns are.
    pub fn kinds(&self) -> &[ColumnKind] {
        &self.kinds
    }

    /// How many trees it has.
    pub fn trees(&self) -> usize {
        self.trees.len()
    }

    /// How many nodes all trees have together, leaves included.
    pub fn nodes(&self) -> usize {
        self.trees.iter().map(|tree| tree.nodes.len()).sum()
    }

    /// Bytes of nodes and leaves in memory.
    pub fn bytes(&self) -> u64 {
        let leaves: usize = self.trees.iter().map(|tree| tree.leaves.len()).sum();
        (self.nodes() * size_of::<Node>() + leaves * size_of::<f32>()) as u64
    }
}

impl Target<'_> {
    fn outputs(&self) -> usize {
        match self {
            Self::Classes { classes, .. } => *classes,
            Self::Values(_) => 1,
        }
    }

    fn check(&self, rows: usize) -> Result<()> {
        let refuse = |fault: String| Err(Error::Mismatch(fault));
        let given = match self {
            Self::Classes { labels, .. } => labels.len(),
            Self::Values(values) => values.len(),
        };
        if rows == 0 {
            return refuse("no samples to grow a forest on".to_owned());
        }
        if given != rows {
            return refuse(format!("{rows} samples with {given} targets"));
        }
        match self {
            Self::Classes { labels, classes } => {
                match labels.iter().find(|&&label| usize::from(label) >= *classes) {
                    Some(label) => refuse(format!("label {label} with {classes} classes")),
                    None => Ok(()),
                }
            }
            Self::Values(values) => match values.iter().position(|value| !value.is_finite()) {
                Some(i) => refuse(format!("target {i} is {}, no finite number", values[i])),
                None => Ok(()),
            },
        }
    }
}

/// All trees, one task each. `criterion` makes what a thread needs to judge splits.
fn grow_all<C: Criterion>(
    team: &Team,
    columns: &Columns,
    settings: &ForestSettings,
    go_on: &GoOn<'_>,
    criterion: impl Fn() -> C + Sync,
) -> Result<Vec<Tree>> {
    crate::memory::check(grow::bytes_needed::<C>(
        columns.rows(),
        columns.kinds().len(),
        team.threads(),
    ))?;
    let table = Table { columns: columns.view(), rows: &columns.to_rows(team)? };
    let local = local_bytes();
    let key = Key::new(settings.seed, Purpose::Forest);
    let mut trees: Vec<Option<Result<Tree>>> = (0..settings.trees).map(|_| None).collect();
    team.run_on_chunks(&mut trees, 1, |number, slot| {
        let growth = Growth { settings, key: key.with(number as u64), local, go_on };
        slot[0] = Some(grow(table, growth, &mut criterion()));
    });
    trees.into_iter().flatten().collect()
}
