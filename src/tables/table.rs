//! A table in memory: columns of numbers and of category codes.

use std::path::{Path, PathBuf};

use super::number::parse;
use super::options::{Decimal, ReadOptions};
use super::outline::Outline;
use super::source::{Place, fault_at};
use super::words::Words;
use crate::names::shortened;
use crate::{Error, Result};

/// Columns to predict from, and the numbers to predict.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// What is predicted from, in the order of the file.
    pub columns: Vec<Column>,
    /// Name of the column that is predicted.
    pub target: String,
    /// What is predicted, `[rows]`, finite.
    pub values: Vec<f64>,
    /// What was done with columns and rows that were not used as they are, a sentence each.
    pub remarks: Vec<String>,
    /// Names of all columns in the file but those of an index, left-out ones included.
    pub names: Vec<String>,
    /// Rows that were dropped because a value was missing.
    pub dropped: usize,
    /// The file; empty for a table that was made in memory.
    pub path: PathBuf,
}

/// A column to predict from.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name, which no other has.
    pub name: String,
    /// Its cells.
    pub values: Values,
}

/// The cells of a column, one for each row.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Finite numbers.
    Numbers(Vec<f64>),
    /// Text.
    Text {
        /// For each row the number of its category.
        codes: Vec<u32>,
        /// The different texts, in the order of their bytes.
        categories: Vec<String>,
    },
}

impl Values {
    /// How many cells there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers(numbers) => numbers.len(),
            Self::Text { codes, .. } => codes.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Text, with its categories in order.
    pub fn text<'a>(cells: impl IntoIterator<Item = &'a str>) -> Self {
        let mut words = Words::default();
        let codes = cells.into_iter().map(|cell| words.code(cell)).collect();
        words.sorted(codes)
    }
}

impl Table {
    /// A table of these columns.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if columns differ in length, have one name, hold a number that is not finite, or a
    /// code of no category.
    pub fn new(columns: Vec<Column>, target: &str, values: Vec<f64>) -> Result<Self> {
        let rows = values.len();
        let fault = |name: &str, fault: &str| {
            Err(Error::Mismatch(format!("column '{}': {fault}", shortened(name))))
        };
        if values.iter().any(|x| !x.is_finite()) {
            return fault(target, "not all numbers are finite");
        }
        for (number, column) in columns.iter().enumerate() {
            let name = &column.name;
            let is_double = columns[..number].iter().any(|other| other.name == *name);
            if is_double || name == target {
                return fault(name, "another column has the same name");
            }
            if column.values.len() != rows {
                return fault(name, &format!("{} cells, {rows} rows", column.values.len()));
            }
            match &column.values {
                Values::Numbers(numbers) if numbers.iter().any(|x| !x.is_finite()) => {
                    return fault(name, "not all numbers are finite");
                }
                Values::Text { codes, categories }
                    if codes.iter().any(|&code| code as usize >= categories.len()) =>
                {
                    return fault(name, "a code of no category");
                }
                _ => {}
            }
        }
        let names = columns.iter().map(|column| column.name.clone());
        Ok(Self {
            names: names.chain([target.to_owned()]).collect(),
            columns,
            target: target.to_owned(),
            values,
            remarks: Vec::new(),
            dropped: 0,
            path: PathBuf::new(),
        })
    }

    /// Reads a table, twice: once to learn what its columns are, once to keep them. [`Outline`] does it step by step.
    ///
    /// # Errors
    /// [`Error::Data`] with line and column of what cannot be used, or if it does not fit into memory;
    /// [`Error::Usage`] if a column that is named does not exist.
    pub fn read(path: &Path, target: &str, options: &ReadOptions) -> Result<Self> {
        Outline::read(path, target, options)?.table()
    }
}

/// A fault of one cell.
pub(super) fn cell_fault(path: &Path, place: Place, column: &str, fault: &str) -> Error {
    fault_at(path, place, &format!("column '{}': {fault}", shortened(column)))
}

/// The number in a cell.
pub(super) fn finite(text: &str, decimal: Decimal) -> std::result::Result<f64, String> {
    match parse(text, decimal) {
        Some(number) if number.is_finite() => Ok(number),
        Some(_) => Err(not_finite(text)),
        None => Err(no_number(text, decimal)),
    }
}

/// That a cell is an infinite number.
pub(super) fn not_finite(text: &str) -> String {
    format!(
        "'{}' is not finite: correct it, or leave the column out (--leave-out)",
        shortened(text)
    )
}

/// That a cell is no number.
pub(super) fn no_number(text: &str, decimal: Decimal) -> String {
    format!("'{}' is no number (decimal mark: {decimal})", shortened(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_are_in_order() {
        let values = Values::text(["b", "a", "c", "a", "B"]);
        let Values::Text { codes, categories } = values else { panic!() };
        assert_eq!(categories, ["B", "a", "b", "c"]);
        assert_eq!(codes, [2, 1, 3, 1, 0]);
    }

    #[test]
    fn columns_that_do_not_fit_are_refused() {
        let numbers = |name: &str, numbers: &[f64]| Column {
            name: name.to_owned(),
            values: Values::Numbers(numbers.to_vec()),
        };
        let refused = |columns: Vec<Column>, words: &str| {
            let fault = Table::new(columns, "y", vec![1.0, 2.0]).unwrap_err().to_string();
            assert!(fault.contains(words), "{fault}");
        };
        refused(vec![numbers("x", &[1.0])], "1 cells, 2 rows");
        refused(vec![numbers("y", &[1.0, 2.0])], "the same name");
        refused(vec![numbers("x", &[1.0, 2.0]), numbers("x", &[1.0, 2.0])], "the same name");
        refused(vec![numbers("x", &[1.0, f64::NAN])], "finite");
        let codes = Values::Text { codes: vec![0, 1], categories: vec!["a".to_owned()] };
        refused(vec![Column { name: "x".to_owned(), values: codes }], "no category");
        assert!(
            Table::new(vec![numbers("x", &[1.0, 2.0])], "y", vec![1.0, f64::INFINITY]).is_err()
        );
        assert!(Table::new(vec![numbers("x", &[1.0, 2.0])], "y", vec![1.0, 2.0]).is_ok());
    }
}
