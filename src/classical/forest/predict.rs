//! What a forest predicts: the mean over its trees.

use threadcount_kernels::Team;

use super::{Columns, Forest, Test, Tree};
use crate::{Error, Result};

/// Rows of one task. Each tree is used for all of them while it is in the caches.
const TASK: usize = 256;

/// Rows that go down a tree at once: a step waits for a node, and for a byte of a row, from the second-level cache.
const ABREAST: usize = 8;

impl Forest {
    /// Predictions for samples in columns, `[rows, outputs]`: shares of the classes, or the value.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if the columns are of other kinds than those that the forest grew on.
    pub fn predict(&self, team: &Team, columns: &Columns) -> Result<Vec<f64>> {
        if columns.kinds() != self.kinds {
            return Err(Error::Mismatch(format!(
                "{} columns are not of the kinds of the {} that the forest grew on",
                columns.kinds().len(),
                self.kinds.len()
            )));
        }
        let width = self.kinds.len();
        let mut predictions = vec![0.0; columns.rows() * self.outputs];
        team.run_on_chunks(&mut predictions, TASK * self.outputs, |first, out| {
            let (first, rows) = (first / self.outputs, out.len() / self.outputs);
            let mut bytes = vec![0; rows * width];
            for number in 0..width {
                let column = &columns.column(number)[first..first + rows];
                for (row, &bin) in bytes.chunks_exact_mut(width).zip(column) {
                    row[number] = bin;
                }
            }
            let rows: Vec<&[u8]> = bytes.chunks_exact(width).collect();
            self.mean(&rows, out);
        });
        Ok(predictions)
    }

    /// Predictions for samples that lie row by row: `row(i)` has a byte for each column.
    ///
    /// # Panics
    /// If a row has another length than there are columns.
    pub fn predict_rows<'a>(
        &self,
        team: &Team,
        rows: usize,
        row: impl Fn(usize) -> &'a [u8] + Sync,
    ) -> Vec<f64> {
        let mut predictions = vec![0.0; rows * self.outputs];
        team.run_on_chunks(&mut predictions, TASK * self.outputs, |first, out| {
            let first = first / self.outputs;
            let rows: Vec<&[u8]> = (first..first + out.len() / self.outputs).map(&row).collect();
            let is_whole = rows.iter().all(|row| row.len() == self.kinds.len());
            assert!(is_whole, "rows of {} bytes, one for each column", self.kinds.len());
            self.mean(&rows, out);
        });
        predictions
    }

    /// Means of the trees for these rows, summed in the order of the trees.
    fn mean(&self, rows: &[&[u8]], out: &mut [f64]) {
        let outputs = self.outputs;
        out.fill(0.0);
        for tree in &self.trees {
            for (rows, out) in rows.chunks(ABREAST).zip(out.chunks_mut(ABREAST * outputs)) {
                let leaves = tree.leaves_of(rows);
                for (out, leaf) in out.chunks_exact_mut(outputs).zip(leaves) {
                    let leaf = &tree.leaves[leaf as usize * outputs..][..outputs];
                    out.iter_mut().zip(leaf).for_each(|(sum, &x)| *sum += f64::from(x));
                }
            }
        }
        let trees = self.trees.len() as f64;
        out.iter_mut().for_each(|sum| *sum /= trees);
    }
}

impl Tree {
    /// The row of the table of leaves that each of the rows ends at; at most [`ABREAST`].
    fn leaves_of(&self, rows: &[&[u8]]) -> [u32; ABREAST] {
        let mut at = [0_u32; ABREAST];
        loop {
            let mut are_leaves = true;
            for (at, row) in at.iter_mut().zip(rows) {
                let node = self.nodes[*at as usize];
                if node.test != Test::Leaf {
                    let is_right = node.test.is_right(row[usize::from(node.column)], node.bin);
                    *at = node.link + u32::from(is_right);
                    are_leaves = false;
                }
            }
            if are_leaves {
                return at.map(|at| self.nodes[at as usize].link);
            }
        }
    }
}
