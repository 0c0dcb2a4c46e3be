//! Forests in files: four tensors, and the checks that make walking a tree from any file safe.

use std::path::Path;

use super::columns::BINS;
use super::{ColumnKind, Forest, Node, Test, Tree};
use crate::Result;
use crate::classical::model_file;
use crate::nn::io::tensor_file::{Tensor, Tensors};

const NODES: &str = "forest/nodes";
const LEAVES: &str = "forest/leaves";
const TREES: &str = "forest/trees";
const COLUMNS: &str = "forest/columns";

/// What a file with nothing but a forest on columns calls itself.
const KIND: &str = "columns-forest";

/// The names of its tensors.
pub(in crate::classical) const TENSORS: [&str; 4] = [NODES, LEAVES, TREES, COLUMNS];

/// A forest as plain numbers.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::classical) struct Flat {
    outputs: usize,
    /// `[nodes, 2]`, tree after tree: the link; column, bin and test in 16, 8 and 8 bits from the lowest.
    nodes: Vec<u32>,
    /// `[leaves, outputs]`, tree after tree.
    leaves: Vec<f32>,
    /// `[trees, 2]`: how many nodes and leaves.
    trees: Vec<u32>,
    /// `[columns]`: 0 for an ordered one, else 1 and the number of categories.
    columns: Vec<u32>,
}

impl Flat {
    pub(in crate::classical) fn of(forest: &Forest) -> Self {
        let outputs = forest.outputs;
        let mut flat =
            Self { outputs, nodes: vec![], leaves: vec![], trees: vec![], columns: vec![] };
        for kind in &forest.kinds {
            flat.columns.push(match kind {
                ColumnKind::Ordered => 0,
                ColumnKind::Categories { count } => 1 + u32::from(*count),
            });
        }
        for tree in &forest.trees {
            flat.trees.extend([tree.nodes.len() as u32, (tree.leaves.len() / outputs) as u32]);
            flat.leaves.extend(&tree.leaves);
            for &Node { link, column, bin, test } in &tree.nodes {
                let what = u32::from(column) | u32::from(bin) << 16 | (test as u32) << 24;
                flat.nodes.extend([link, what]);
            }
        }
        flat
    }

    pub(in crate::classical) fn tensors(&self) -> [Tensor<'_>; 4] {
        let outputs = self.outputs;
        [
            Tensor::new(NODES, &[self.nodes.len() / 2, 2], &self.nodes),
            Tensor::new(LEAVES, &[self.leaves.len() / outputs, outputs], &self.leaves),
            Tensor::new(TREES, &[self.trees.len() / 2, 2], &self.trees),
            Tensor::flat(COLUMNS, &self.columns),
        ]
    }

    pub(in crate::classical) fn read(tensors: &Tensors<'_>) -> Result<Self> {
        let pairs = |name| {
            let (shape, numbers) = tensors.array::<u32>(name, 2)?;
            match shape[1] {
                2 => Ok(numbers),
                _ => Err(tensors.fault(format!("its tensor '{name}' is not made of pairs"))),
            }
        };
        let (nodes, trees) = (pairs(NODES)?, pairs(TREES)?);
        let (shape, leaves) = tensors.array::<f32>(LEAVES, 2)?;
        let (_, columns) = tensors.array::<u32>(COLUMNS, 1)?;
        Ok(Self { outputs: shape[1], nodes, leaves, trees, columns })
    }

    /// The forest, or what is wrong with it: after this every way through a tree ends at a leaf that there is.
    pub(in crate::classical) fn build(&self) -> std::result::Result<Forest, String> {
        let outputs = self.outputs;
        if outputs == 0 || self.trees.is_empty() || self.columns.is_empty() {
            return Err("it has no outputs, no trees or no columns".to_owned());
        }
        let mut kinds = Vec::with_capacity(self.columns.len());
        for &code in &self.columns {
            kinds.push(match code.checked_sub(1).map(u16::try_from) {
                None => ColumnKind::Ordered,
                Some(Ok(count)) if usize::from(count) <= BINS => ColumnKind::Categories { count },
                Some(_) => return Err(format!("a column of {code} categories")),
            });
        }
        let (mut nodes, mut leaves) = (self.nodes.as_slice(), self.leaves.as_slice());
        let mut trees = Vec::with_capacity(self.trees.len() / 2);
        for counts in self.trees.chunks_exact(2) {
            let number = trees.len();
            let [of_nodes, of_leaves] = [counts[0] as usize * 2, counts[1] as usize * outputs];
            let (Some((here, other_nodes)), Some((table, other_leaves))) =
                (nodes.split_at_checked(of_nodes), leaves.split_at_checked(of_leaves))
            else {
                return Err(format!("tree {number} has more nodes or leaves than are there"));
            };
            (nodes, leaves) = (other_nodes, other_leaves);
            let nodes = tree(here, counts[1], &kinds);
            let nodes = nodes.map_err(|fault| format!("tree {number}: {fault}"))?;
            trees.push(Tree { nodes, leaves: table.to_vec() });
        }
        if !nodes.is_empty() || !leaves.is_empty() {
            return Err("there are nodes or leaves of no tree".to_owned());
        }
        Ok(Forest { kinds, outputs, trees })
    }
}

/// The nodes of one tree with so many leaves.
fn tree(
    pairs: &[u32],
    leaves: u32,
    kinds: &[ColumnKind],
) -> std::result::Result<Vec<Node>, String> {
    let count = pairs.len() / 2;
    if count == 0 {
        return Err("no nodes".to_owned());
    }
    let mut nodes = Vec::with_capacity(count);
    for (number, pair) in pairs.chunks_exact(2).enumerate() {
        let (link, what) = (pair[0], pair[1]);
        let (column, bin) = (what as u16, (what >> 16) as u8);
        let kind = kinds.get(usize::from(column));
        let test = match (what >> 24, kind) {
            (0, _) if link < leaves => Test::Leaf,
            (0, _) => return Err(format!("node {number} is leaf {link} of {leaves}")),
            (1, Some(ColumnKind::Ordered)) => Test::Above,
            (2, Some(ColumnKind::Categories { .. })) => Test::Equal,
            (test, _) => {
                return Err(format!(
                    "node {number} asks {test} of column {column}, which cannot be"
                ));
            }
        };
        // Children stand behind their parents: there is no circle.
        let has_children = link as usize > number && (link as usize) < count - 1;
        if test != Test::Leaf && !has_children {
            return Err(format!("node {number} has child {link} of {count}"));
        }
        nodes.push(Node { link, column, bin, test });
    }
    Ok(nodes)
}

impl Forest {
    /// Saves it as a safetensors file, with a text of the caller's beside it.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io); then a file that was there before is unchanged.
    pub fn save(&self, path: &Path, text: &str) -> Result<()> {
        model_file::write(path, KIND, &text.to_owned(), &Flat::of(self).tensors())
    }

    /// Loads a forest that [`Self::save`] saved, and the text beside it.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if there is no file, [`Error::Data`](crate::Error::Data) if it is damaged
    /// or something else.
    pub fn load(path: &Path) -> Result<(Self, String)> {
        let file = model_file::read(path)?;
        let (tensors, text) = file.open::<String>(KIND, &TENSORS)?;
        let forest = Flat::read(&tensors)?.build().map_err(|fault| tensors.fault(fault))?;
        Ok((forest, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classical::forest::{Columns, ForestSettings, Target};
    use threadcount_kernels::{Isa, Team};

    fn forest() -> Forest {
        let kinds = vec![ColumnKind::Ordered, ColumnKind::Categories { count: 3 }];
        let bins = (0..20).chain((0..20).map(|i| i % 3)).collect();
        let columns = Columns::new(20, kinds, bins).unwrap();
        let labels: Vec<u8> = (0..20).map(|i| (i * i / 3 % 4) as u8).collect();
        let settings = ForestSettings { trees: 3, ..ForestSettings::classification(5) };
        let target = Target::Classes { labels: &labels, classes: 4 };
        Forest::fit(&Team::solo(Isa::best()), &columns, target, &settings).unwrap()
    }

    #[test]
    fn a_forest_and_its_text_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("forest.safetensors");
        forest().save(&path, "encoding: none").unwrap();
        assert_eq!(Forest::load(&path).unwrap(), (forest(), "encoding: none".to_owned()));
    }

    /// Whatever a file says: an error, or a forest whose trees can be walked.
    #[test]
    fn what_is_no_forest_is_refused() {
        let good = Flat::of(&forest());
        assert_eq!(good.build().unwrap(), forest());
        let refused = |change: &dyn Fn(&mut Flat), words: &str| {
            let mut bad = good.clone();
            change(&mut bad);
            let fault = bad.build().unwrap_err();
            assert!(fault.contains(words), "{fault}");
        };
        let split = good.nodes.chunks(2).position(|pair| pair[1] >> 24 != 0).unwrap() * 2;
        let leaf = good.nodes.chunks(2).position(|pair| pair[1] >> 24 == 0).unwrap() * 2;
        refused(&|flat| flat.nodes[leaf] = 1000, "is leaf 1000 of");
        refused(&|flat| flat.nodes[split] = split as u32 / 2, "has child");
        refused(&|flat| flat.nodes[split] = 10_000, "has child 10000");
        refused(&|flat| flat.nodes[split] = flat.trees[0] - 1, "has child");
        refused(&|flat| flat.nodes[split + 1] = 1 << 24 | 7, "column 7");
        refused(&|flat| flat.nodes[split + 1] = 1 << 24 | 1, "asks 1 of column 1");
        refused(&|flat| flat.nodes[split + 1] = 3 << 24, "asks 3");
        refused(&|flat| flat.trees[0] += 1, "");
        refused(&|flat| flat.trees[1] = u32::MAX, "more nodes or leaves");
        refused(&|flat| flat.trees.extend([0, 0]), "no nodes");
        refused(&|flat| flat.trees.clear(), "no trees");
        refused(&|flat| flat.columns[0] = 258, "258 categories");
        refused(&|flat| flat.columns.clear(), "no columns");
        refused(&|flat| flat.leaves.extend([0.0; 4]), "of no tree");
        refused(&|flat| flat.outputs = 0, "no outputs");
    }
}
