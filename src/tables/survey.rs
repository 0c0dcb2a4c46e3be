//! The first reading of a table: what its columns are, which decimal mark it uses, how many rows it has. Of its cells
//! only different ones are kept, and no more than can be categories.

use std::path::Path;

use super::number::{Readings, is_missing};
use super::options::{Decimal, Missing, ReadOptions, Separator};
use super::source::{Place, Source, fault_at, line};
use super::words::Categories;
use crate::names::{nearest, shortened};
use crate::{Error, Result, memory};

/// Headings of columns that only number the rows.
const INDEX: [&str; 4] = ["", "unnamed: 0", "index", "id"];

/// What helps against a table that does not fit into memory.
pub(super) const FEWER: &str = "leave columns out (--leave-out), or take fewer rows";

/// Which columns are read.
pub(super) enum Wanted<'a> {
    /// All but index columns and those left out, and the target whatever it is called.
    AllFor(&'a str),
    /// These, for predictions, and whether each holds numbers.
    Only(&'a [(&'a str, Kind)]),
}

/// What the first reading found.
pub(super) struct Survey {
    pub(super) separator: Separator,
    pub(super) decimal: Decimal,
    /// The columns that are used, in the order of the file.
    pub(super) columns: Vec<Surveyed>,
    /// Names of index columns, which are left out.
    pub(super) index: Vec<String>,
    /// All names in the file but those of index columns, in their order.
    pub(super) names: Vec<String>,
    /// Rows that are used.
    pub(super) rows: usize,
    /// Rows that are dropped because a value is missing.
    pub(super) dropped: usize,
}

/// A column of the file.
pub(super) struct Surveyed {
    pub(super) name: String,
    /// Its place among the cells of a row.
    pub(super) cell: usize,
    pub(super) kind: Kind,
    /// Its different cells, of a table to train on.
    pub(super) categories: Categories,
    /// Cells that are no number.
    pub(super) texts: usize,
    /// The first of them.
    pub(super) first_text: Option<Spot>,
    /// The first number that is infinite.
    pub(super) first_infinite: Option<Spot>,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Numbers,
    Text,
}

/// A cell that decided something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) place: Place,
    pub(super) cell: String,
}

/// What the cells of a column are.
#[derive(Default)]
struct Evidence {
    categories: Categories,
    texts: usize,
    first_text: Option<Spot>,
    first_infinite: Option<Spot>,
    only_point: Option<Spot>,
    only_comma: Option<Spot>,
    /// Such as `1.234`.
    either_point: Option<Spot>,
    /// Such as `1,234`.
    either_comma: Option<Spot>,
}

impl Survey {
    /// Reads a table from its beginning to its end.
    ///
    /// # Errors
    /// [`Error::Data`] for a bad row, a missing value unless rows are dropped, a number that is ambiguous;
    /// [`Error::Usage`] if columns that are named do not exist.
    pub(super) fn read(path: &Path, wanted: &Wanted<'_>, options: &ReadOptions) -> Result<Self> {
        let mut source = Source::open(path, options.separator)?;
        let Used { columns: used, index } = wanted.of(&source, &options.leave_out)?;
        let mut evidence: Vec<Evidence> = used.iter().map(|_| Evidence::default()).collect();
        let (mut rows, mut dropped) = (0, 0);
        let memory = options.memory();
        while let Some(row) = source.next()? {
            let place = row.place;
            // The row borrows the source, which errors need.
            let (mut missing, mut unreadable) = (None, None);
            for (number, column) in used.iter().enumerate() {
                match cell_text(&row.cells[column.cell]) {
                    None => unreadable = unreadable.or(Some(number)),
                    Some(text) if is_missing(text) => {
                        missing = missing.or_else(|| Some((number, text.to_owned())));
                    }
                    Some(_) => {}
                }
            }
            if missing.is_none() && unreadable.is_none() {
                for (evidence, column) in evidence.iter_mut().zip(&used) {
                    let text = cell_text(&row.cells[column.cell]);
                    if let Some(text) = text.filter(|_| column.known != Some(Kind::Text)) {
                        if column.known.is_none() {
                            evidence.categories.add(text, place);
                        }
                        evidence.add(text, place);
                    }
                }
                rows += 1;
                wanted.check_memory(path, rows, used.len(), memory)?;
                continue;
            }
            if let Some(number) = unreadable {
                let name = shortened(&used[number].name);
                let fault = format!("column '{name}' is not UTF-8: save the file as UTF-8");
                return Err(source.fault(place, fault));
            }
            if let (Some((number, cell)), Missing::Refuse) = (missing, options.missing) {
                let shown = if cell.is_empty() { String::new() } else { format!(" ('{cell}')") };
                let name = shortened(&used[number].name);
                let fault = format!("column '{name}' has no value{shown}: {}", wanted.mend());
                return Err(source.fault(place, fault));
            }
            dropped += 1;
        }
        let separator = source.separator();
        let decimal = match options.decimal {
            Some(decimal) => decimal,
            None => decimal_of(path, separator, &used, &evidence)?,
        };
        let columns =
            used.into_iter().zip(evidence).map(|(column, evidence)| evidence.of(column, decimal));
        let names = source.names().iter().filter(|name| !index.contains(name)).cloned();
        Ok(Self {
            separator,
            decimal,
            columns: columns.collect(),
            names: names.collect(),
            index,
            rows,
            dropped,
        })
    }
}

/// A cell as text, without spaces around it; `None` if it is not UTF-8.
pub(super) fn cell_text(cell: &[u8]) -> Option<&str> {
    Some(str::from_utf8(cell).ok()?.trim())
}

/// Whether a column of this name only numbers the rows.
fn is_index(name: &str) -> bool {
    INDEX.contains(&name.to_lowercase().as_str())
}

/// The columns that are used, and the names of index columns.
struct Used {
    columns: Vec<UsedColumn>,
    index: Vec<String>,
}

/// A column before its cells are read.
struct UsedColumn {
    name: String,
    /// Its place among the cells of a row.
    cell: usize,
    /// What it holds, where that does not follow from its cells.
    known: Option<Kind>,
}

impl Wanted<'_> {
    /// What helps against a missing value.
    fn mend(&self) -> &'static str {
        match self {
            Self::AllFor(_) => "--missing drop leaves such rows out, --leave-out the column",
            Self::Only(_) => "--missing empty leaves the predictions of such rows empty",
        }
    }

    /// Refuses a table to train on as soon as the rows that have been read do not fit into memory, whatever is in
    /// them: the rest need not be read. Each cell is a code of 4 bytes at the least, read and encoded.
    fn check_memory(
        &self,
        path: &Path,
        rows: usize,
        columns: usize,
        limit: Option<u64>,
    ) -> Result<()> {
        if matches!(self, Self::Only(_)) {
            return Ok(());
        }
        let needed = (rows as u64).saturating_mul(8 * columns as u64);
        match limit {
            Some(limit) if needed > limit => {
                let what = format!("its first {rows} rows alone need");
                memory::check_of(path, needed, Some(limit), &what, FEWER)
            }
            _ => Ok(()),
        }
    }

    /// Its columns in a table.
    fn of(&self, source: &Source, leave_out: &[String]) -> Result<Used> {
        match self {
            Self::AllFor(target) => Self::all(target, source, leave_out),
            Self::Only(columns) => {
                let names = source.names();
                let place = |&(wanted, kind): &(&str, Kind)| {
                    let cell = names.iter().position(|name| name == wanted).ok_or_else(|| {
                        let fault = no_column(wanted, names);
                        Error::data(source.path(), format!("{fault}: the model predicts from it"))
                    })?;
                    Ok(UsedColumn { name: wanted.to_owned(), cell, known: Some(kind) })
                };
                let columns = columns.iter().map(place).collect::<Result<_>>()?;
                Ok(Used { columns, index: Vec::new() })
            }
        }
    }

    fn all(target: &str, source: &Source, leave_out: &[String]) -> Result<Used> {
        let names = source.names();
        for name in leave_out.iter().map(String::as_str).chain([target]) {
            if !names.iter().any(|known| known == name) {
                let fault = format!("{}: {}", source.path().display(), no_column(name, names));
                return Err(Error::Usage(fault));
            }
        }
        if leave_out.iter().any(|name| name == target) {
            return Err(Error::Usage(format!("--leave-out {target}: that is the target")));
        }
        let (mut columns, mut index) = (Vec::new(), Vec::new());
        for (cell, name) in names.iter().enumerate().filter(|(_, name)| !leave_out.contains(name)) {
            match is_index(name) && target != name {
                true => index.push(name.clone()),
                false => columns.push(UsedColumn { name: name.clone(), cell, known: None }),
            }
        }
        Ok(Used { columns, index })
    }
}

/// That a table has no such column, and which ones it has.
fn no_column(name: &str, names: &[String]) -> String {
    const MOST_SHOWN: usize = 20;
    let near = nearest(name, names.iter().map(String::as_str));
    let hint = near.map_or(String::new(), |near| format!("; did you mean '{}'?", shortened(near)));
    let shown: Vec<_> = names.iter().take(MOST_SHOWN).map(|name| shortened(name)).collect();
    let more = if names.len() > MOST_SHOWN { " ..." } else { "" };
    format!("no column '{}'{hint} (there are {}{more})", shortened(name), shown.join(", "))
}

impl Evidence {
    fn add(&mut self, cell: &str, place: Place) {
        let spot = || Some(Spot { place, cell: shortened(cell) });
        let readings = Readings::of(cell);
        if !readings.is_number() {
            self.texts += 1;
            if self.first_text.is_none() {
                self.first_text = spot();
            }
            return;
        }
        let is_infinite = readings.point.or(readings.comma).is_some_and(f64::is_infinite);
        if is_infinite && self.first_infinite.is_none() {
            self.first_infinite = spot();
        }
        let found = match readings.only() {
            Some(Decimal::Point) => &mut self.only_point,
            Some(Decimal::Comma) => &mut self.only_comma,
            None if !readings.is_ambiguous() => return,
            None if cell.contains('.') => &mut self.either_point,
            None => &mut self.either_comma,
        };
        if found.is_none() {
            *found = spot();
        }
    }

    /// The column with that decimal mark: text if one of its cells is no number then.
    fn of(self, column: UsedColumn, decimal: Decimal) -> Surveyed {
        let other = match decimal {
            Decimal::Point => self.only_comma,
            Decimal::Comma => self.only_point,
        };
        let first_text = self.first_text.or(other);
        let UsedColumn { name, cell, known } = column;
        let found = if first_text.is_some() { Kind::Text } else { Kind::Numbers };
        let kind = known.unwrap_or(found);
        let Self { categories, texts, first_infinite, .. } = self;
        Surveyed { name, cell, kind, categories, texts, first_text, first_infinite }
    }
}

/// The decimal mark of the numbers of a file. Columns with other text in them say nothing.
fn decimal_of(
    path: &Path,
    separator: Separator,
    used: &[UsedColumn],
    evidence: &[Evidence],
) -> Result<Decimal> {
    let numeric = || used.iter().zip(evidence).filter(|(_, e)| e.first_text.is_none());
    let first = |of: fn(&Evidence) -> &Option<Spot>| {
        numeric().find_map(|(column, e)| of(e).as_ref().map(|spot| (&column.name, spot)))
    };
    let shown = |(name, spot): (&String, &Spot)| {
        let at = line(path, spot.place).map_or(String::new(), |line| format!("line {line}, "));
        format!("'{}' ({at}column '{}')", spot.cell, shortened(name))
    };
    match (first(|e| &e.only_point), first(|e| &e.only_comma)) {
        (Some(point), Some(comma)) => {
            let fault = format!(
                "{} has a decimal point, {} a decimal comma: say which with --decimal point or comma; the \
                 columns of the other are text then",
                shown(point),
                shown(comma)
            );
            return Err(Error::data(path, fault));
        }
        (Some(_), None) => return Ok(Decimal::Point),
        (None, Some(_)) => return Ok(Decimal::Comma),
        (None, None) => {}
    }
    // Nothing but numbers such as 1.234 and 1,234: where the separator is a semicolon the comma is the usual
    // mark, else the point. The other one is one thousand, or a foreigner's decimals.
    let usual = match separator {
        Separator::Semicolon => Decimal::Comma,
        Separator::Comma | Separator::Tab => Decimal::Point,
    };
    let doubtful = match usual {
        Decimal::Point => first(|e| &e.either_comma),
        Decimal::Comma => first(|e| &e.either_point),
    };
    let Some((name, spot)) = doubtful else { return Ok(usual) };
    let [point, comma] = [Decimal::Point, Decimal::Comma].map(|decimal| {
        super::number::parse(&spot.cell, decimal).map_or(String::new(), |x| x.to_string())
    });
    let fault = format!(
        "column '{}': '{}' is {point} or {comma}: say which with --decimal point or --decimal comma",
        shortened(name),
        spot.cell
    );
    Err(fault_at(path, spot.place, &fault))
}
