//! A table in memory: columns of numbers and of category codes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use threadcount_kernels::machine::machine;

use super::encoding::MOST_ENCODED;
use super::number::parse;
use super::options::{Decimal, ReadOptions};
use super::source::{Place, Source, fault_at};
use super::survey::{Kind, Survey, Surveyed, Wanted, cell_text};
use crate::error::memory;
use crate::names::shortened;
use crate::{Error, Result};

/// The longest category in bytes.
const LONGEST_CATEGORY: usize = 1_000;

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

    /// Reads a table, twice: once to learn what its columns are, once to keep them.
    ///
    /// # Errors
    /// [`Error::Data`] with line and column of what cannot be used, or if it does not fit into memory;
    /// [`Error::Usage`] if a column that is named does not exist.
    pub fn read(path: &Path, target: &str, options: &ReadOptions) -> Result<Self> {
        let survey = Survey::read(path, &Wanted::AllFor(target), options)?;
        survey.check(path, target)?;
        let mut source = Source::open(path, Some(survey.separator))?;
        let mut filling: Vec<_> =
            survey.columns.iter().map(|c| Filling::new(c, survey.rows)).collect();
        let (mut rows, mut dropped) = (0, 0);
        while let Some(row) = source.next()? {
            let (cells, place) = (row.cells, row.place);
            let texts = || survey.columns.iter().map(|c| cell_text(&cells[c.cell]).unwrap_or(""));
            if texts().any(super::number::is_missing) {
                dropped += 1;
                continue;
            }
            for ((filling, column), text) in filling.iter_mut().zip(&survey.columns).zip(texts()) {
                filling
                    .push(text, survey.decimal)
                    .map_err(|fault| cell_fault(path, place, &column.name, &fault))?;
            }
            rows += 1;
        }
        if (rows, dropped) != (survey.rows, survey.dropped) {
            return Err(Error::data(path, "it was changed while it was read: read it again"));
        }
        survey.table(path, target, filling)
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
        Some(_) => Err(format!(
            "'{}' is not finite: correct it, or leave the column out (--leave-out)",
            shortened(text)
        )),
        None => Err(no_number(text, decimal)),
    }
}

/// That a cell is no number.
pub(super) fn no_number(text: &str, decimal: Decimal) -> String {
    format!("'{}' is no number (decimal mark: {decimal})", shortened(text))
}

impl Survey {
    /// Refuses what cannot be predicted, or does not fit into memory.
    fn check(&self, path: &Path, target: &str) -> Result<()> {
        let dropped = match self.dropped {
            0 => String::new(),
            n => format!(" ({n} were dropped because a value is missing)"),
        };
        match self.rows {
            0 => return Err(Error::data(path, format!("no rows{dropped}"))),
            1 => {
                let fault =
                    format!("one row{dropped}: at least two are needed, to train and to test");
                return Err(Error::data(path, fault));
            }
            rows if u32::try_from(rows).is_err() => {
                return Err(Error::data(path, format!("{rows} rows; {} can be read", u32::MAX)));
            }
            _ => {}
        }
        let of_target = self.columns.iter().find(|column| column.name == target);
        if let Some(Surveyed { kind: Kind::Text, first_text: Some(spot), .. }) = of_target {
            let fault = format!(
                "{}; a target is one, what else there is can be predicted from",
                no_number(&spot.cell, self.decimal)
            );
            return Err(cell_fault(path, spot.place, target, &fault));
        }
        if self.columns.len() < 2 {
            let fault = format!(
                "no column to predict '{}' from (separator: {})",
                shortened(target),
                self.separator
            );
            return Err(Error::data(path, fault));
        }
        let needed = self.columns.iter().fold(0_u64, |sum, column| {
            let cell = if column.kind == Kind::Numbers { 8 } else { 4 };
            sum.saturating_add((self.rows as u64).saturating_mul(cell))
        });
        check_memory(path, needed, "leave columns out (--leave-out), or take fewer rows")
    }

    /// The table of the columns that were read, and what there is to say about it.
    fn table(self, path: &Path, target: &str, filling: Vec<Filling>) -> Result<Table> {
        let mut remarks = Vec::new();
        for name in &self.index {
            let shown =
                if name.is_empty() { "without a name".to_owned() } else { format!("'{name}'") };
            remarks.push(format!("the column {shown} numbers the rows: left out"));
        }
        if self.dropped > 0 {
            remarks.push(format!("{} rows with a missing value: left out", self.dropped));
        }
        let (mut columns, mut values) = (Vec::new(), Vec::new());
        for (surveyed, filling) in self.columns.into_iter().zip(filling) {
            remarks.extend(surveyed.remark(self.rows));
            match (filling.values(), surveyed.name == target) {
                (Values::Numbers(numbers), true) => values = numbers,
                (cells, _) => columns.push(Column { name: surveyed.name, values: cells }),
            }
        }
        let table = Table::new(columns, target, values)?;
        Ok(Table {
            remarks,
            names: self.names,
            dropped: self.dropped,
            path: path.to_owned(),
            ..table
        })
    }
}

impl Surveyed {
    /// That a column is text although most of its cells are numbers. (Some texts only look like some: flight 6E-20.)
    fn remark(&self, rows: usize) -> Option<String> {
        let spot = self.first_text.as_ref()?;
        (self.texts < rows / 2).then(|| {
            format!(
                "the column '{}' is taken for text, since not all of its cells are numbers: '{}' is none",
                shortened(&self.name),
                spot.cell
            )
        })
    }
}

/// Refuses to use more memory than the machine has.
pub(super) fn check_memory(path: &Path, needed: u64, mend: &str) -> Result<()> {
    match machine().memory {
        Some(has) if needed > has => Err(Error::data(
            path,
            format!("needs {}, and this machine has {}: {mend}", memory(needed), memory(has)),
        )),
        _ => Ok(()),
    }
}

/// A column that is being read.
enum Filling {
    Numbers(Vec<f64>),
    Text(Vec<u32>, Words),
}

impl Filling {
    fn new(column: &Surveyed, rows: usize) -> Self {
        match column.kind {
            Kind::Numbers => Self::Numbers(Vec::with_capacity(rows)),
            Kind::Text => Self::Text(Vec::with_capacity(rows), Words::default()),
        }
    }

    fn push(&mut self, text: &str, decimal: Decimal) -> std::result::Result<(), String> {
        match self {
            Self::Numbers(numbers) => numbers.push(finite(text, decimal)?),
            Self::Text(codes, words) => {
                if text.len() > LONGEST_CATEGORY {
                    return Err(format!(
                        "a text of {} bytes; a category may have {LONGEST_CATEGORY}: leave the column out \
                         (--leave-out)",
                        text.len()
                    ));
                }
                codes.push(words.code(text));
                if words.0.len() > MOST_ENCODED {
                    return Err(format!(
                        "more than {MOST_ENCODED} categories, each of which would be a column of its own: leave \
                         the column out (--leave-out)"
                    ));
                }
            }
        }
        Ok(())
    }

    fn values(self) -> Values {
        match self {
            Self::Numbers(numbers) => Values::Numbers(numbers),
            Self::Text(codes, words) => words.sorted(codes),
        }
    }
}

/// Different texts, numbered as they came.
#[derive(Default)]
struct Words(HashMap<String, u32>);

impl Words {
    fn code(&mut self, text: &str) -> u32 {
        if let Some(&code) = self.0.get(text) {
            return code;
        }
        let code = self.0.len() as u32;
        self.0.insert(text.to_owned(), code);
        code
    }

    /// The column, with its categories numbered in their order.
    fn sorted(self, mut codes: Vec<u32>) -> Values {
        let mut words: Vec<(String, u32)> = self.0.into_iter().collect();
        words.sort_unstable();
        let mut new = vec![0; words.len()];
        for (number, (_, old)) in (0..).zip(&words) {
            new[*old as usize] = number;
        }
        codes.iter_mut().for_each(|code| *code = new[*code as usize]);
        Values::Text { codes, categories: words.into_iter().map(|(word, _)| word).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::Separator;
    use super::*;

    #[test]
    fn categories_are_in_order() {
        let values = Values::text(["b", "a", "c", "a", "B"]);
        let Values::Text { codes, categories } = values else { panic!() };
        assert_eq!(categories, ["B", "a", "b", "c"]);
        assert_eq!(codes, [2, 1, 3, 1, 0]);
    }

    #[test]
    fn more_than_memory_is_refused_before_it_is_read() {
        let column = |cell: usize| Surveyed {
            name: format!("x{cell}"),
            cell,
            kind: Kind::Numbers,
            texts: 0,
            first_text: None,
            first_infinite: None,
        };
        let survey = |rows| Survey {
            separator: Separator::Comma,
            decimal: Decimal::Point,
            columns: (0..1_000).map(column).collect(),
            index: Vec::new(),
            names: Vec::new(),
            rows,
            dropped: 0,
        };
        let path = Path::new("t.csv");
        assert!(survey(1_000).check(path, "x0").is_ok());
        let fault = survey(1 << 31).check(path, "x0").unwrap_err();
        assert_eq!(fault.exit_code(), 3);
        assert!(fault.to_string().contains("t.csv: needs 15.6 TiB of memory"), "{fault}");
        assert!(survey(1 << 32).check(path, "x0").unwrap_err().to_string().contains("rows"));
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
