//! A table between its two readings: what is in it is known, and what that takes in memory, before it is kept.

use std::mem;
use std::path::{Path, PathBuf};

use super::number::is_missing;
use super::options::{Decimal, ReadOptions};
use super::source::Source;
use super::survey::{FEWER, Kind, Survey, Surveyed, Wanted, cell_text};
use super::table::{Column, Table, Values, cell_fault, finite, no_number, not_finite};
use super::words::Words;
use crate::names::shortened;
use crate::{Error, Result, memory};

/// A table that has been read once. Of its cells only the different texts are in memory.
pub struct Outline {
    path: PathBuf,
    target: String,
    survey: Survey,
    /// The categories of each column in their order; none of a column of numbers.
    categories: Vec<Vec<String>>,
    memory: Option<u64>,
}

impl Outline {
    /// Reads a table from its beginning to its end.
    ///
    /// # Errors
    /// As [`Table::read`].
    pub fn read(path: &Path, target: &str, options: &ReadOptions) -> Result<Self> {
        let mut survey = Survey::read(path, &Wanted::AllFor(target), options)?;
        survey.check(path, target)?;
        let mut categories = Vec::with_capacity(survey.columns.len());
        for column in &mut survey.columns {
            let found = mem::take(&mut column.categories);
            categories.push(match column.kind {
                Kind::Numbers => Vec::new(),
                Kind::Text => found
                    .sorted()
                    .map_err(|(place, fault)| cell_fault(path, place, &column.name, &fault))?,
            });
        }
        let (path, target) = (path.to_owned(), target.to_owned());
        let outline = Self { path, target, survey, categories, memory: options.memory() };
        outline.check_memory(outline.bytes(), "needs", FEWER)?;
        Ok(outline)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Rows that are used.
    pub fn rows(&self) -> usize {
        self.survey.rows
    }

    /// The encoded columns of each column that is predicted from, if all of its cells are among the training rows: 1
    /// for numbers, else the number of categories.
    pub(super) fn widths(&self) -> impl Iterator<Item = Option<usize>> {
        let columns = self.survey.columns.iter().zip(&self.categories);
        let inputs = columns.filter(|(column, _)| column.name != self.target);
        inputs.map(|(column, categories)| (column.kind == Kind::Text).then_some(categories.len()))
    }

    /// The name of the column with the most categories.
    pub(super) fn widest(&self) -> Option<&str> {
        let columns = self.survey.columns.iter().zip(&self.categories);
        let widest = columns.max_by_key(|(_, categories)| categories.len())?;
        (!widest.1.is_empty()).then_some(&*widest.0.name)
    }

    /// Bytes of the cells.
    pub(super) fn bytes(&self) -> u64 {
        self.survey.columns.iter().fold(0_u64, |sum, column| {
            let cell = if column.kind == Kind::Numbers { 8 } else { 4 };
            sum.saturating_add((self.rows() as u64).saturating_mul(cell))
        })
    }

    /// Refuses what takes more memory than it may.
    pub(super) fn check_memory(&self, needed: u64, what: &str, mend: &str) -> Result<()> {
        memory::check_of(&self.path, needed, self.memory, what, mend)
    }

    /// Reads the table again, and keeps it.
    ///
    /// # Errors
    /// [`Error::Data`] for a number that is not finite, or if the file was changed meanwhile.
    pub fn table(self) -> Result<Table> {
        let Self { path, survey, categories, .. } = &self;
        let mut source = Source::open(path, Some(survey.separator))?;
        let columns = survey.columns.iter().zip(categories);
        let mut filling: Vec<_> = columns.map(|(c, w)| Filling::new(c, w, survey.rows)).collect();
        let (mut rows, mut dropped) = (0, 0);
        while let Some(row) = source.next()? {
            let (cells, place) = (row.cells, row.place);
            let texts = || survey.columns.iter().map(|c| cell_text(&cells[c.cell]).unwrap_or(""));
            if texts().any(is_missing) {
                dropped += 1;
                continue;
            }
            rows += 1;
            if rows > survey.rows {
                break;
            }
            for ((filling, column), text) in filling.iter_mut().zip(&survey.columns).zip(texts()) {
                filling
                    .push(text, survey.decimal)
                    .map_err(|fault| cell_fault(path, place, &column.name, &fault))?;
            }
        }
        if (rows, dropped) != (survey.rows, survey.dropped) {
            return Err(Error::data(path, CHANGED));
        }
        self.filled(filling)
    }

    /// The table of the columns that were read, and what there is to say about it.
    fn filled(self, filling: Vec<Filling>) -> Result<Table> {
        let Self { path, target, survey, categories, .. } = self;
        let mut remarks = Vec::new();
        for name in &survey.index {
            let shown =
                if name.is_empty() { "without a name".to_owned() } else { format!("'{name}'") };
            remarks.push(format!("the column {shown} numbers the rows: left out"));
        }
        if survey.dropped > 0 {
            remarks.push(format!("{} rows with a missing value: left out", survey.dropped));
        }
        let (mut columns, mut values) = (Vec::new(), Vec::new());
        let filled = survey.columns.into_iter().zip(filling).zip(categories);
        for ((surveyed, filling), categories) in filled {
            remarks.extend(surveyed.remark(survey.rows));
            let cells = match filling {
                Filling::Numbers(numbers) if surveyed.name == target => {
                    values = numbers;
                    continue;
                }
                Filling::Numbers(numbers) => Values::Numbers(numbers),
                Filling::Text(codes, _) => Values::Text { codes, categories },
            };
            columns.push(Column { name: surveyed.name, values: cells });
        }
        let table = Table::new(columns, &target, values)?;
        let (names, dropped) = (survey.names, survey.dropped);
        Ok(Table { remarks, names, dropped, path, ..table })
    }
}

const CHANGED: &str = "it was changed while it was read: read it again";

impl Survey {
    /// Refuses what cannot be predicted.
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
        for column in self.columns.iter().filter(|column| column.kind == Kind::Numbers) {
            if let Some(spot) = &column.first_infinite {
                let fault = not_finite(&spot.cell);
                return Err(cell_fault(path, spot.place, &column.name, &fault));
            }
        }
        if self.columns.len() < 2 {
            let fault = format!(
                "no column to predict '{}' from (separator: {})",
                shortened(target),
                self.separator
            );
            return Err(Error::data(path, fault));
        }
        Ok(())
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

/// A column that is being read.
enum Filling {
    Numbers(Vec<f64>),
    Text(Vec<u32>, Words),
}

impl Filling {
    fn new(column: &Surveyed, categories: &[String], rows: usize) -> Self {
        match column.kind {
            Kind::Numbers => Self::Numbers(Vec::with_capacity(rows)),
            Kind::Text => Self::Text(Vec::with_capacity(rows), Words::known(categories)),
        }
    }

    fn push(&mut self, text: &str, decimal: Decimal) -> std::result::Result<(), String> {
        match self {
            Self::Numbers(numbers) => numbers.push(finite(text, decimal)?),
            Self::Text(codes, words) => codes.push(words.get(text).ok_or(CHANGED)?),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn outline(text: &str, memory: u64) -> Result<Outline> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        let options = ReadOptions { memory: Some(memory), ..ReadOptions::default() };
        Outline::read(file.path(), "y", &options)
    }

    #[test]
    fn bytes_are_those_of_the_cells() {
        let text = "a,b,y\n1,x,3\n2,z,4\n3,x,6\n";
        let found = outline(text, 1 << 20).unwrap();
        assert_eq!((found.rows(), found.bytes()), (3, 3 * (8 + 4 + 8)));
        assert_eq!(found.widths().collect::<Vec<_>>(), [None, Some(2)]);
        assert_eq!(found.widest(), Some("b"));
        // What the first reading alone can tell: 3 rows of 3 codes, read and encoded.
        assert!(outline(text, 72).is_ok());
        let fault = outline(text, 71).err().unwrap();
        assert_eq!(fault.exit_code(), 3);
        assert!(fault.to_string().contains("its first 3 rows alone need"), "{fault}");
    }

    /// Between the readings a file may become another one: what is kept is never more than was foreseen.
    #[test]
    fn a_file_that_changes_between_the_readings_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let good = "a,b,y\n1,x,3\n2,z,4\n3,x,6\n";
        for other in [
            "a,b,y\n1,x,3\n2,z,4\n",
            "a,b,y\n1,x,3\n2,z,4\n3,x,6\n4,x,7\n",
            "a,b,y\n1,x,3\n2,new,4\n3,x,6\n",
            "a,b,y\n1,x,3\n,z,4\n3,x,6\n3,x,6\n",
        ] {
            fs::write(file.path(), good).unwrap();
            let outline = Outline::read(file.path(), "y", &ReadOptions::default()).unwrap();
            fs::write(file.path(), other).unwrap();
            let fault = outline.table().unwrap_err();
            assert!(fault.to_string().contains("changed while it was read"), "{other}: {fault}");
        }
    }
}
