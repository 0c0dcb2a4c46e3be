//! Columns as models see them: numbers standardised, text one-hot, both by the training rows alone.
//!
//! Category `c` of a text column is an encoded column that is 1 in the rows of that category and 0 elsewhere. A
//! [`Design`] keeps the code instead: 4 bytes for a row, however many categories there are.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::table::{Table, Values};
use crate::names::shortened;
use crate::{Error, Result};

/// The most encoded columns: closed forms need their square in memory, 128 MiB for as many.
pub const MOST_ENCODED: usize = 4_096;

/// The code of a category that no training row has. All of its encoded columns are 0.
pub const NO_CATEGORY: u32 = u32::MAX;

/// How columns are encoded, and how the target is standardised where a model wants that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Encoding {
    /// Name of the column that is predicted.
    pub target: String,
    /// Mean of the target over the training rows.
    pub target_mean: f64,
    /// Its standard deviation there, above 0.
    pub target_deviation: f64,
    /// Columns that have one value in all training rows: left out.
    pub constant: Vec<String>,
    /// The other ones.
    pub columns: Vec<EncodedColumn>,
}

/// How one column is encoded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncodedColumn {
    /// Its name.
    pub name: String,
    /// What becomes of its cells.
    pub encoded: Encoded,
}

/// What becomes of the cells of a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Encoded {
    /// One encoded column: (number - mean) / deviation.
    Number {
        /// Mean over the training rows.
        mean: f64,
        /// Standard deviation there (of the population), above 0.
        deviation: f64,
    },
    /// An encoded column for each of these categories, which are in the order of their bytes.
    Categories(Vec<String>),
}

impl Encoded {
    /// How many encoded columns it makes.
    pub fn width(&self) -> usize {
        match self {
            Self::Number { .. } => 1,
            Self::Categories(categories) => categories.len(),
        }
    }
}

impl Encoding {
    /// Fits the encoding to these rows of a table.
    ///
    /// # Errors
    /// [`Error::Data`] if the target or every column is constant, if there would be more than [`MOST_ENCODED`]
    /// encoded columns, or if numbers are too large to be squared.
    ///
    /// # Panics
    /// If there are no rows, or not that many.
    pub fn fit(table: &Table, rows: &[u32]) -> Result<Self> {
        assert!(!rows.is_empty(), "an encoding is fitted to some rows");
        let fault = |fault: String| Err(Error::data(&table.path, fault));
        let target = shortened(&table.target);
        let (target_mean, target_deviation) = match moments(&table.values, rows) {
            Moments::Constant => {
                return fault(format!(
                    "column '{target}' is the same in all training rows: nothing to predict"
                ));
            }
            Moments::TooLarge => return fault(too_large(&target)),
            Moments::Varying { mean, deviation } => (mean, deviation),
        };
        let (mut columns, mut constant) = (Vec::new(), Vec::new());
        for column in &table.columns {
            let encoded = match &column.values {
                Values::Numbers(numbers) => match moments(numbers, rows) {
                    Moments::Constant => None,
                    Moments::TooLarge => return fault(too_large(&shortened(&column.name))),
                    Moments::Varying { mean, deviation } => {
                        Some(Encoded::Number { mean, deviation })
                    }
                },
                Values::Text { codes, categories } => {
                    let mut occurs = vec![false; categories.len()];
                    rows.iter().for_each(|&row| occurs[codes[row as usize] as usize] = true);
                    let known = categories.iter().zip(occurs).filter(|(_, occurs)| *occurs);
                    let known: Vec<_> = known.map(|(category, _)| category.clone()).collect();
                    (known.len() > 1).then_some(Encoded::Categories(known))
                }
            };
            let name = column.name.clone();
            match encoded {
                Some(encoded) => columns.push(EncodedColumn { name, encoded }),
                None => constant.push(name),
            }
        }
        let target = table.target.clone();
        let encoding = Self { target, target_mean, target_deviation, constant, columns };
        match encoding.width() {
            0 => fault(
                "every column is the same in all training rows: nothing to predict from".to_owned(),
            ),
            1..=MOST_ENCODED => Ok(encoding),
            width => {
                let widest = encoding.columns.iter().max_by_key(|column| column.encoded.width());
                let widest = widest.map_or("", |column| &column.name);
                fault(format!(
                    "{width} encoded columns, a number or a category each; {MOST_ENCODED} can be used: leave out \
                     the column with the most categories (--leave-out '{}')",
                    shortened(widest)
                ))
            }
        }
    }

    /// The number of encoded columns.
    pub fn width(&self) -> usize {
        self.columns.iter().map(|column| column.encoded.width()).sum()
    }

    /// Whether this could have been fitted to a table: everything finite, categories in order, names different.
    pub(super) fn is_sound(&self) -> bool {
        let scales = |mean: f64, deviation: f64| {
            mean.is_finite() && deviation.is_finite() && deviation > 0.0
        };
        let is_sound = |column: &EncodedColumn| match &column.encoded {
            Encoded::Number { mean, deviation } => scales(*mean, *deviation),
            Encoded::Categories(known) => known.len() > 1 && known.windows(2).all(|w| w[0] < w[1]),
        };
        let names = || self.columns.iter().map(|column| &column.name);
        let mut sorted: Vec<_> = names().chain([&self.target]).collect();
        sorted.sort_unstable();
        sorted.windows(2).all(|pair| pair[0] != pair[1])
            && scales(self.target_mean, self.target_deviation)
            && (1..=MOST_ENCODED).contains(&self.width())
            && self.columns.iter().all(is_sound)
    }
}

fn too_large(name: &str) -> String {
    format!("column '{name}': numbers too large or too small to be squared: choose another unit")
}

/// Mean and standard deviation of a column.
enum Moments {
    Constant,
    /// A sum or a square is not finite, or all squares vanish.
    TooLarge,
    Varying {
        mean: f64,
        deviation: f64,
    },
}

/// In two passes: the squares about the mean would cancel if taken from raw squares.
fn moments(numbers: &[f64], rows: &[u32]) -> Moments {
    let numbers = || rows.iter().map(|&row| numbers[row as usize]);
    let first = numbers().next().unwrap_or(0.0);
    if numbers().all(|x| x == first) {
        return Moments::Constant;
    }
    let mean = numbers().sum::<f64>() / rows.len() as f64;
    let squares: f64 = numbers().map(|x| (x - mean) * (x - mean)).sum();
    let deviation = (squares / rows.len() as f64).sqrt();
    match mean.is_finite() && deviation.is_finite() && deviation > 0.0 {
        true => Moments::Varying { mean, deviation },
        false => Moments::TooLarge,
    }
}

/// Rows, encoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Design {
    rows: usize,
    width: usize,
    columns: Vec<DesignColumn>,
}

/// One column of a [`Design`].
#[derive(Clone, Debug, PartialEq)]
pub(super) struct DesignColumn {
    /// The first of its encoded columns.
    pub(super) start: usize,
    /// How many encoded columns it has.
    pub(super) width: usize,
    pub(super) cells: Cells,
}

/// The cells of a column, one for each row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cells {
    /// Standardised.
    Numbers(Vec<f64>),
    /// Below the width, or [`NO_CATEGORY`].
    Codes(Vec<u32>),
}

impl Design {
    /// Encodes these rows of a table, in this order.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if the table lacks a column, or has text for numbers.
    ///
    /// # Panics
    /// If there are not that many rows.
    pub fn new(encoding: &Encoding, table: &Table, rows: &[u32]) -> Result<Self> {
        let rows_of = || rows.iter().map(|&row| row as usize);
        let mut columns = Vec::with_capacity(encoding.columns.len());
        for EncodedColumn { name, encoded } in &encoding.columns {
            let column = table.columns.iter().find(|column| column.name == *name);
            columns.push(match (encoded, column.map(|column| &column.values)) {
                (Encoded::Number { mean, deviation }, Some(Values::Numbers(numbers))) => {
                    Cells::Numbers(rows_of().map(|row| (numbers[row] - mean) / deviation).collect())
                }
                (Encoded::Categories(known), Some(Values::Text { codes, categories })) => {
                    let new: Vec<u32> = categories.iter().map(|c| code(known, c)).collect();
                    Cells::Codes(rows_of().map(|row| new[codes[row] as usize]).collect())
                }
                _ => {
                    let fault =
                        format!("no column '{}' of the kind that was trained on", shortened(name));
                    return Err(Error::Mismatch(fault));
                }
            });
        }
        Ok(Self::of_cells(encoding, columns, rows.len()))
    }

    /// A design of cells that are encoded already, a column of each for each one of the encoding.
    pub(super) fn of_cells(encoding: &Encoding, columns: Vec<Cells>, rows: usize) -> Self {
        let mut start = 0;
        let columns = columns.into_iter().zip(&encoding.columns).map(|(cells, column)| {
            let width = column.encoded.width();
            start += width;
            DesignColumn { start: start - width, width, cells }
        });
        Self { rows, columns: columns.collect(), width: encoding.width() }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of encoded columns.
    pub fn width(&self) -> usize {
        self.width
    }

    pub(super) fn columns(&self) -> &[DesignColumn] {
        &self.columns
    }

    /// Rows whose category no training row has: how many there are in each column, in the order of the encoding.
    pub fn unseen(&self) -> Vec<usize> {
        let count = |column: &DesignColumn| match &column.cells {
            Cells::Numbers(_) => 0,
            Cells::Codes(codes) => codes.iter().filter(|&&code| code == NO_CATEGORY).count(),
        };
        self.columns.iter().map(count).collect()
    }

    /// The encoded columns of some rows, `[rows, width]`.
    ///
    /// # Panics
    /// If there are not that many rows.
    pub fn dense(&self, rows: Range<usize>) -> Vec<f32> {
        let mut dense = vec![0.0; rows.len() * self.width];
        self.fill(rows, &mut dense);
        dense
    }

    /// The encoded columns of all rows, to be shared: they are in memory once only.
    pub(super) fn shared(&self) -> Arc<[f32]> {
        let mut dense: Arc<[f32]> = (0..self.rows * self.width).map(|_| 0.0).collect();
        if let Some(to) = Arc::get_mut(&mut dense) {
            self.fill(0..self.rows, to);
        }
        dense
    }

    /// Writes the encoded columns of some rows over zeros.
    fn fill(&self, rows: Range<usize>, dense: &mut [f32]) {
        for DesignColumn { start, cells, .. } in &self.columns {
            let to = dense.chunks_exact_mut(self.width);
            match cells {
                Cells::Numbers(numbers) => {
                    to.zip(&numbers[rows.clone()]).for_each(|(row, &x)| row[*start] = x as f32);
                }
                Cells::Codes(codes) => {
                    for (row, &code) in to.zip(&codes[rows.clone()]) {
                        if code != NO_CATEGORY {
                            row[start + code as usize] = 1.0;
                        }
                    }
                }
            }
        }
    }
}

/// The code of a category among those that are known.
pub(super) fn code(known: &[String], category: &str) -> u32 {
    let place = known.binary_search_by(|known| known.as_str().cmp(category));
    place.map_or(NO_CATEGORY, |place| place as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::Column;

    fn column(name: &str, values: Values) -> Column {
        Column { name: name.to_owned(), values }
    }

    fn table() -> Table {
        let columns = vec![
            column("x", Values::Numbers(vec![1.0, 3.0, 100.0, 5.0])),
            column("same", Values::Numbers(vec![2.0, 2.0, 7.0, 2.0])),
            column("word", Values::text(["b", "a", "new", "b"])),
            column("only", Values::text(["k", "k", "l", "k"])),
        ];
        Table::new(columns, "y", vec![1.0, 2.0, 50.0, 6.0]).unwrap()
    }

    #[test]
    fn training_rows_alone_decide() {
        let encoding = Encoding::fit(&table(), &[0, 1, 3]).unwrap();
        assert_eq!((encoding.target_mean, encoding.width()), (3.0, 3));
        assert_eq!(encoding.constant, ["same", "only"]);
        let deviation = (8.0_f64 / 3.0).sqrt();
        assert_eq!(encoding.columns[0].encoded, Encoded::Number { mean: 3.0, deviation });
        let known = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(encoding.columns[1].encoded, Encoded::Categories(known));
        assert!(encoding.is_sound());
    }

    #[test]
    fn designs_are_one_hot() {
        let table = table();
        let encoding = Encoding::fit(&table, &[0, 1, 3]).unwrap();
        let design = Design::new(&encoding, &table, &[2, 1, 0]).unwrap();
        let s = (8.0_f64 / 3.0).sqrt();
        let expected = [97.0 / s, 0.0, 0.0, 0.0, 1.0, 0.0, -2.0 / s, 0.0, 1.0].map(|x| x as f32);
        assert_eq!(design.dense(0..3), expected);
        assert_eq!(design.dense(1..2), expected[3..6]);
        assert_eq!(design.unseen(), [0, 1]);
    }

    #[test]
    fn what_cannot_be_encoded_is_refused() {
        let refused = |columns: Vec<Column>, y: [f64; 2], words: &str| {
            let fault =
                Encoding::fit(&Table::new(columns, "y", y.to_vec()).unwrap(), &[0, 1]).unwrap_err();
            assert_eq!(fault.exit_code(), 3);
            assert!(fault.to_string().contains(words), "{fault}");
        };
        let numbers = |numbers: [f64; 2]| vec![column("x", Values::Numbers(numbers.to_vec()))];
        refused(numbers([1.0, 2.0]), [3.0, 3.0], "column 'y' is the same in all training rows");
        refused(numbers([1.0, 1.0]), [3.0, 4.0], "every column is the same");
        refused(numbers([1e200, -1e200]), [3.0, 4.0], "column 'x': numbers too large");
        refused(numbers([1.0, 2.0]), [1e300, -1e300], "column 'y': numbers too large");
        let many: Vec<Column> =
            (0..4097).map(|i| column(&i.to_string(), Values::Numbers(vec![0.0, 1.0]))).collect();
        refused(many, [3.0, 4.0], "4097 encoded columns");
    }
}
