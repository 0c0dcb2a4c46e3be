//! Predictions for a table, written beside its own columns. The table is read twice, row by row, and is never in
//! memory as a whole.

use std::io::Write;
use std::path::Path;
use std::str::FromStr;

use csv::{ByteRecord, Terminator, WriterBuilder};
use threadcount_kernels::Pool;

use super::encoding::{Cells, Design, Encoded, EncodedColumn, Encoding, NO_CATEGORY, code};
use super::models::Regressor;
use super::number::is_missing;
use super::options::{Decimal, Missing, ReadOptions, Separator, treatment};
use super::source::{Place, Source};
use super::survey::{Kind, Survey, Wanted, cell_text};
use super::table::{cell_fault, finite, no_number};
use crate::names::shortened;
use crate::{Error, Result};

/// Rows that are predicted at once.
const BLOCK: usize = 8_192;
/// Bytes of them, at most.
const BLOCK_BYTES: usize = 16 << 20;

/// How a table is read for predictions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PredictOptions {
    /// As in [`ReadOptions`].
    pub separator: Option<Separator>,
    /// As in [`ReadOptions`].
    pub decimal: Option<Decimal>,
    /// What becomes of rows with missing values.
    pub incomplete: Incomplete,
}

/// What becomes of a row that lacks a value that the model needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Incomplete {
    /// The table is refused, with line and column.
    #[default]
    Refuse,
    /// Its prediction stays empty, and is counted.
    Empty,
}

impl Incomplete {
    /// Both, with their names on the command line.
    pub const ALL: [(&'static str, Self); 2] = [("refuse", Self::Refuse), ("empty", Self::Empty)];
}

impl FromStr for Incomplete {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        treatment(text, Self::ALL)
    }
}

/// What was predicted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Predicted {
    /// Rows that were written.
    pub rows: usize,
    /// Rows among them without a prediction.
    pub empty: usize,
    /// Columns with categories that no training row had, and how many rows have one.
    pub unseen: Vec<(String, usize)>,
}

impl Predicted {
    /// Writes a table as it is, with a column of predictions behind its own ones: `predicted_` and the name of the
    /// target.
    ///
    /// # Errors
    /// [`Error::Data`] if the table lacks a column, a row cannot be used, or the new column is there already. Then
    /// nothing has been written. [`Error::Io`] about `to`.
    pub fn write<'a>(
        (encoding, model, pool): (&Encoding, &mut Regressor, &Pool),
        table: &Path,
        options: &PredictOptions,
        to: (&'a Path, &'a mut dyn Write),
    ) -> Result<Self> {
        let kind = |encoded: &Encoded| match encoded {
            Encoded::Number { .. } => Kind::Numbers,
            Encoded::Categories(_) => Kind::Text,
        };
        let columns: Vec<_> =
            encoding.columns.iter().map(|c| (c.name.as_str(), kind(&c.encoded))).collect();
        let read = ReadOptions {
            separator: options.separator,
            decimal: options.decimal,
            missing: match options.incomplete {
                Incomplete::Refuse => Missing::Refuse,
                Incomplete::Empty => Missing::Drop,
            },
            ..ReadOptions::default()
        };
        let survey = Survey::read(table, &Wanted::Only(&columns), &read)?;
        let mut source = Source::open(table, Some(survey.separator))?;
        let name = format!("predicted_{}", encoding.target);
        if source.names().contains(&name) {
            let fault = format!("it has a column '{}' already: rename that", shortened(&name));
            return Err(Error::data(table, fault));
        }
        check_numbers(&survey, table)?;
        let mut writer = Writer::new(to, survey.separator);
        let mut header = ByteRecord::from(source.names().to_vec());
        header.push_field(name.as_bytes());
        writer.put(&header)?;

        let mut predicted = Self::default();
        let mut unseen = vec![0; columns.len()];
        let mut block = Block::new(encoding, survey);
        loop {
            let row = source.next()?;
            let is_last = row.is_none();
            if let Some(row) = row {
                block.push(row.cells, row.place, table)?;
            }
            if is_last || block.is_full() {
                block.predict(model, pool, &mut unseen, &mut predicted, &mut writer)?;
            }
            if is_last {
                break;
            }
        }
        writer.flush()?;
        let counted = columns.into_iter().zip(unseen).filter(|&(_, count)| count > 0);
        predicted.unseen = counted.map(|((name, _), count)| (name.to_owned(), count)).collect();
        Ok(predicted)
    }
}

/// Refuses text where numbers belong, before anything is written.
fn check_numbers(survey: &Survey, table: &Path) -> Result<()> {
    for column in survey.columns.iter().filter(|column| column.kind == Kind::Numbers) {
        if let Some(spot) = &column.first_text {
            let fault = no_number(&spot.cell, survey.decimal);
            return Err(cell_fault(table, spot.place, &column.name, &fault));
        }
        if let Some(spot) = &column.first_infinite {
            let fault = format!("'{}' is not finite: correct it", spot.cell);
            return Err(cell_fault(table, spot.place, &column.name, &fault));
        }
    }
    Ok(())
}

/// Rows that wait for their predictions.
struct Block<'a> {
    encoding: &'a Encoding,
    survey: Survey,
    rows: Vec<ByteRecord>,
    /// Whether each of them is complete.
    complete: Vec<bool>,
    bytes: usize,
    /// Of the complete rows.
    cells: Vec<Cells>,
}

impl<'a> Block<'a> {
    fn new(encoding: &'a Encoding, survey: Survey) -> Self {
        let cells = empty_cells(encoding);
        Self { encoding, survey, rows: Vec::new(), complete: Vec::new(), bytes: 0, cells }
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= BLOCK || self.bytes >= BLOCK_BYTES
    }

    fn push(&mut self, row: &ByteRecord, place: Place, table: &Path) -> Result<()> {
        let texts = || self.survey.columns.iter().map(|c| cell_text(&row[c.cell]).unwrap_or(""));
        let is_complete = !texts().any(is_missing);
        if is_complete {
            let columns = self.encoding.columns.iter().zip(&mut self.cells).zip(texts());
            for ((column, cells), text) in columns {
                match (&column.encoded, cells) {
                    (Encoded::Number { mean, deviation }, Cells::Numbers(numbers)) => {
                        let number = finite(text, self.survey.decimal)
                            .map_err(|fault| cell_fault(table, place, &column.name, &fault))?;
                        numbers.push((number - mean) / deviation);
                    }
                    (Encoded::Categories(known), Cells::Codes(codes)) => {
                        codes.push(code(known, text))
                    }
                    _ => unreachable!("cells are made for the encoding"),
                }
            }
        }
        self.bytes += row.as_slice().len();
        self.rows.push(row.clone());
        self.complete.push(is_complete);
        Ok(())
    }

    /// Predicts the rows, writes them, and is empty again.
    fn predict(
        &mut self,
        model: &mut Regressor,
        pool: &Pool,
        unseen: &mut [usize],
        predicted: &mut Predicted,
        writer: &mut Writer<'_>,
    ) -> Result<()> {
        let complete = self.complete.iter().filter(|&&complete| complete).count();
        let cells = std::mem::replace(&mut self.cells, empty_cells(self.encoding));
        for (unseen, cells) in unseen.iter_mut().zip(&cells) {
            if let Cells::Codes(codes) = cells {
                *unseen += codes.iter().filter(|&&code| code == NO_CATEGORY).count();
            }
        }
        let design = Design::of_cells(self.encoding, cells, complete);
        let mut predictions = match complete {
            0 => Vec::new(),
            _ => model.predict(&design, pool)?,
        }
        .into_iter();
        for (row, complete) in self.rows.iter_mut().zip(&self.complete) {
            let prediction = if *complete { predictions.next() } else { None };
            let text = prediction.map(|y| shown(y, self.survey.decimal)).unwrap_or_default();
            row.push_field(text.as_bytes());
            writer.put(row)?;
        }
        predicted.rows += self.rows.len();
        predicted.empty += self.rows.len() - complete;
        self.rows.clear();
        self.complete.clear();
        self.bytes = 0;
        Ok(())
    }
}

fn empty_cells(encoding: &Encoding) -> Vec<Cells> {
    let empty = |column: &EncodedColumn| match column.encoded {
        Encoded::Number { .. } => Cells::Numbers(Vec::new()),
        Encoded::Categories(_) => Cells::Codes(Vec::new()),
    };
    encoding.columns.iter().map(empty).collect()
}

/// A prediction as a cell: the shortest text that reads back as the same number.
fn shown(prediction: f64, decimal: Decimal) -> String {
    let text = prediction.to_string();
    match decimal {
        Decimal::Point => text,
        Decimal::Comma => text.replace('.', ","),
    }
}

/// Rows on their way to a file.
struct Writer<'a> {
    path: &'a Path,
    csv: csv::Writer<&'a mut dyn Write>,
}

impl<'a> Writer<'a> {
    fn new((path, to): (&'a Path, &'a mut dyn Write), separator: Separator) -> Self {
        let mut builder = WriterBuilder::new();
        builder.delimiter(separator.byte()).terminator(Terminator::Any(b'\n'));
        Self { path, csv: builder.from_writer(to) }
    }

    fn put(&mut self, row: &ByteRecord) -> Result<()> {
        self.csv.write_byte_record(row).map_err(|error| match error.into_kind() {
            csv::ErrorKind::Io(error) => Error::io(self.path)(error),
            kind => Error::Failed(format!("{}: {kind:?}", self.path.display())),
        })
    }

    fn flush(&mut self) -> Result<()> {
        self.csv.flush().map_err(Error::io(self.path))
    }
}
