//! Which rows train and which test.

use super::table::Table;
use crate::random::{Key, Purpose};
use crate::{Error, Result};

/// The share of the rows that are tested on, unless another is asked for.
pub const TEST_SHARE: f64 = 0.2;

/// Rows of a table, in a random order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Rows to train on.
    pub train: Vec<u32>,
    /// Rows to test on.
    pub test: Vec<u32>,
}

impl Parts {
    /// A split that the seed, the number of rows and the share decide. The share is rounded to whole rows, one at
    /// least in each part.
    ///
    /// # Errors
    /// [`Error::Setting`] for a share that is not between 0 and 1; [`Error::Mismatch`] for fewer than two rows.
    pub fn new(table: &Table, test_share: f64, seed: u64) -> Result<Self> {
        let rows = table.values.len();
        Self::check_share(test_share)?;
        if rows < 2 {
            return Err(Error::Mismatch(format!("{rows} rows cannot be split in two")));
        }
        let test = test_rows(rows, test_share);
        let mut train = Key::new(seed, Purpose::Split).shuffled(rows);
        let test = train.split_off(rows - test);
        Ok(Self { train, test })
    }

    /// Refuses what is no share of the rows.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn check_share(test_share: f64) -> Result<()> {
        if test_share > 0.0 && test_share < 1.0 {
            return Ok(());
        }
        let fault = format!("a share between 0 and 1, not {test_share}");
        Err(Error::Setting { name: "test-share", fault })
    }
}

/// How many of at least two rows are tested on.
pub(super) fn test_rows(rows: usize, share: f64) -> usize {
    ((share * rows as f64).round() as usize).clamp(1, rows - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: usize) -> Table {
        Table::new(Vec::new(), "y", vec![0.0; rows]).unwrap()
    }

    #[test]
    fn every_row_is_in_one_part() {
        for (rows, share, test) in [(2, 0.2, 1), (3, 0.99, 2), (10, 0.2, 2), (1001, 0.25, 250)] {
            let parts = Parts::new(&table(rows), share, 7).unwrap();
            assert_eq!(parts.test.len(), test);
            let mut all = [parts.train.clone(), parts.test.clone()].concat();
            all.sort_unstable();
            assert!(all.into_iter().eq(0..rows as u32));
            assert_eq!(parts, Parts::new(&table(rows), share, 7).unwrap());
        }
        let seeds = [7, 8].map(|seed| Parts::new(&table(100), 0.2, seed).unwrap());
        assert_ne!(seeds[0], seeds[1]);
    }

    #[test]
    fn shares_and_rows_that_leave_a_part_empty_are_refused() {
        for share in [0.0, 1.0, -0.1, 1.5, f64::NAN] {
            let fault = Parts::new(&table(10), share, 0).unwrap_err();
            assert_eq!(fault.exit_code(), 2, "{fault}");
        }
        assert!(Parts::new(&table(1), 0.5, 0).is_err());
    }
}
