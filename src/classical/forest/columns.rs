//! Samples as a forest reads them: column by column, a byte for each sample.

use threadcount_kernels::Team;
pub use threadcount_kernels::histogram::BINS;

use crate::{Error, Result};

/// The most columns: a node numbers them in 16 bits.
const MOST_COLUMNS: usize = 1 << 16;

/// Rows and columns of a tile that is transposed at once: 64 rows of 64 bytes are 64 cache lines.
const TILE: usize = 64;

/// What the bytes of a column mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// Bins in their order: a split separates those up to one from those above it.
    Ordered,
    /// Categories without an order: a split separates one from all others, as the columns of a one-hot encoding
    /// do.
    Categories {
        /// Bins from 0 up to this number are categories, at most 256. Those from here on mean "none of them" (a
        /// category that was not known, or one of another column of the same variable); none is ever split off.
        count: u16,
    },
}

/// Samples in columns, `[column][row]`, each a byte.
#[derive(Clone, Debug, PartialEq)]
pub struct Columns {
    rows: usize,
    kinds: Vec<ColumnKind>,
    bins: Vec<u8>,
}

impl Columns {
    /// Columns of these kinds: `bins` is `[column][row]`.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if there are no columns or too many, or the bins are not as many.
    pub fn new(rows: usize, kinds: Vec<ColumnKind>, bins: Vec<u8>) -> Result<Self> {
        if !(1..=MOST_COLUMNS).contains(&kinds.len()) {
            return Err(Error::Mismatch(format!(
                "{} columns; a forest has 1 to {MOST_COLUMNS}",
                kinds.len()
            )));
        }
        if u32::try_from(rows).is_err() {
            return Err(Error::Mismatch(format!("{rows} samples are more than {}", u32::MAX)));
        }
        if rows.checked_mul(kinds.len()) != Some(bins.len()) {
            return Err(Error::Mismatch(format!(
                "{} bins for {} columns of {rows} samples",
                bins.len(),
                kinds.len()
            )));
        }
        let is_known = |kind: &ColumnKind| match kind {
            ColumnKind::Ordered => true,
            ColumnKind::Categories { count } => usize::from(*count) <= BINS,
        };
        if !kinds.iter().all(is_known) {
            return Err(Error::Mismatch(format!("a column has more than {BINS} categories")));
        }
        Ok(Self { rows, kinds, bins })
    }

    /// The transpose of samples that lie row by row: `row(i)` has a byte for each column.
    ///
    /// # Errors
    /// As [`Self::new`]; [`Error::Memory`] if they do not fit into the machine's.
    ///
    /// # Panics
    /// If a row is not as long as there are columns.
    pub fn of_rows<'a>(
        team: &Team,
        kinds: Vec<ColumnKind>,
        rows: usize,
        row: impl Fn(usize) -> &'a [u8] + Sync,
    ) -> Result<Self> {
        let bytes = rows.saturating_mul(kinds.len());
        crate::memory::check(bytes as u64)?;
        let mut columns = Self::new(rows, kinds, vec![0; bytes])?;
        if rows > 0 {
            let width = columns.kinds.len();
            team.run_on_chunks(&mut columns.bins, TILE * rows, |first, chunk| {
                let first = first / rows;
                for top in (0..rows).step_by(TILE) {
                    for i in top..rows.min(top + TILE) {
                        let bytes = row(i);
                        assert_eq!(bytes.len(), width, "row {i} has another length");
                        for (j, column) in chunk.chunks_exact_mut(rows).enumerate() {
                            column[i] = bytes[first + j];
                        }
                    }
                }
            });
        }
        Ok(columns)
    }

    /// How many samples there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// What the columns are.
    pub fn kinds(&self) -> &[ColumnKind] {
        &self.kinds
    }

    /// The bin of each sample in one column.
    ///
    /// # Panics
    /// If there are not that many columns.
    pub fn column(&self, number: usize) -> &[u8] {
        self.view().column(number)
    }

    pub(super) fn view(&self) -> View<'_> {
        View { kinds: &self.kinds, rows: self.rows, bins: &self.bins }
    }

    /// The bins of all samples, row by row.
    ///
    /// # Errors
    /// [`Error::Memory`] if they do not fit into the machine's.
    pub(super) fn to_rows(&self, team: &Team) -> Result<Vec<u8>> {
        crate::memory::check(self.bins.len() as u64)?;
        let width = self.kinds.len();
        let mut rows = vec![0; self.bins.len()];
        team.run_on_chunks(&mut rows, TILE * width, |start, chunk| {
            let first = start / width;
            for left in (0..width).step_by(TILE) {
                for number in left..width.min(left + TILE) {
                    let column = &self.column(number)[first..];
                    for (row, &bin) in chunk.chunks_exact_mut(width).zip(column) {
                        row[number] = bin;
                    }
                }
            }
        });
        Ok(rows)
    }
}

/// Columns of all samples, or of those of one node.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) kinds: &'a [ColumnKind],
    pub(super) rows: usize,
    /// `[column][row]`
    pub(super) bins: &'a [u8],
}

impl<'a> View<'a> {
    pub(super) fn column(&self, number: usize) -> &'a [u8] {
        &self.bins[number * self.rows..][..self.rows]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use threadcount_kernels::Isa;

    #[test]
    fn rows_become_columns() {
        let team = Team::solo(Isa::best());
        for (rows, width) in [(0, 1), (1, 1), (63, 65), (64, 64), (65, 63), (130, 131)] {
            let bytes: Vec<u8> = (0..rows * width).map(|i| (i * 7 % 251) as u8).collect();
            let row = |i: usize| &bytes[i * width..][..width];
            let kinds = vec![ColumnKind::Ordered; width];
            let columns = Columns::of_rows(&team, kinds, rows, row).unwrap();
            assert_eq!(columns.to_rows(&team).unwrap(), bytes, "{rows} {width}");
            for j in 0..width {
                let expected = (0..rows).map(|i| bytes[i * width + j]);
                assert!(columns.column(j).iter().copied().eq(expected), "{rows} {width} {j}");
            }
        }
    }

    #[test]
    fn what_cannot_be_columns_is_refused() {
        let ordered = |n| vec![ColumnKind::Ordered; n];
        assert!(Columns::new(2, ordered(0), vec![]).is_err());
        assert!(Columns::new(2, ordered(2), vec![0; 3]).is_err());
        assert!(Columns::new(0, ordered(MOST_COLUMNS + 1), vec![]).is_err());
        assert!(Columns::new(1, vec![ColumnKind::Categories { count: 257 }], vec![0]).is_err());
        assert!(Columns::new(1, vec![ColumnKind::Categories { count: 256 }], vec![255]).is_ok());
    }
}
