//! A table's file, record by record. What is wrong with it is told with the line, which is looked up only then.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use csv::{ByteRecord, ReaderBuilder};

use super::options::Separator;
use crate::names::shortened;
use crate::{Error, Result};

/// Bytes of the file's beginning from which the separator is found.
const HEAD: usize = 64 << 10;
/// Lines of it that are looked at.
const HEAD_LINES: usize = 20;
/// The longest row in bytes. A longer one is a quote that is never closed, or no table.
const LONGEST_ROW: u64 = 1 << 20;
/// The most columns of a table.
pub(super) const MOST_COLUMNS: usize = 4_096;
/// UTF-8's byte-order mark.
const MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// An opened file and its header.
pub(super) struct Source {
    path: PathBuf,
    separator: Separator,
    /// Bytes of a byte-order mark.
    begin: u64,
    reader: csv::Reader<Metered>,
    record: ByteRecord,
    names: Vec<String>,
    /// The last row, if it spans several lines.
    last_long: Option<Place>,
}

/// The file, and what has been read of it.
struct Metered {
    file: File,
    /// Bytes since the last record.
    since: u64,
    /// Quotes in all.
    quotes: u64,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.since > LONGEST_ROW {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let n = self.file.read(buffer)?;
        self.since += n as u64;
        self.quotes += buffer[..n].iter().filter(|&&b| b == b'"').count() as u64;
        Ok(n)
    }
}

/// Where a row begins: what its line is found from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place(u64);

#[cfg(test)]
impl Place {
    /// That byte of the file.
    pub(super) fn at(byte: u64) -> Self {
        Self(byte)
    }
}

/// A row, as many cells as the header has names.
pub(super) struct Row<'a> {
    pub(super) cells: &'a ByteRecord,
    pub(super) place: Place,
}

impl Source {
    /// Opens a table, finds its separator unless it is given, and reads its header.
    ///
    /// # Errors
    /// [`Error::Data`] if there is no such file, or no header that can be used.
    pub(super) fn open(path: &Path, separator: Option<Separator>) -> Result<Self> {
        let fault = |fault: &str| Error::data(path, fault);
        let unreadable = |error: io::Error| Error::data(path, format!("cannot be read: {error}"));
        let mut file = File::open(path).map_err(unreadable)?;
        if !file.metadata().map_err(unreadable)?.is_file() {
            return Err(fault("no file: name a CSV file"));
        }
        let mut head = Vec::new();
        file.by_ref().take(HEAD as u64).read_to_end(&mut head).map_err(unreadable)?;
        if head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]) {
            return Err(fault("UTF-16 text: save it as UTF-8"));
        }
        if head.contains(&0) {
            return Err(fault("not text: name a CSV file"));
        }
        let begin = if head.starts_with(&MARK) { MARK.len() } else { 0 };
        let separator = separator.unwrap_or_else(|| found_separator(&head[begin..]));
        file.seek(SeekFrom::Start(begin as u64)).map_err(unreadable)?;
        let reader = ReaderBuilder::new()
            .delimiter(separator.byte())
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(HEAD)
            .from_reader(Metered { file, since: 0, quotes: 0 });
        let mut source = Self {
            path: path.to_owned(),
            separator,
            begin: begin as u64,
            reader,
            record: ByteRecord::new(),
            names: Vec::new(),
            last_long: None,
        };
        source.read_header()?;
        Ok(source)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn separator(&self) -> Separator {
        self.separator
    }

    /// The names of the columns, each once.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    fn read_header(&mut self) -> Result<()> {
        if !self.advance()? {
            return Err(Error::data(
                &self.path,
                "empty: a table begins with the names of its columns",
            ));
        }
        if self.record.len() > MOST_COLUMNS {
            return Err(Error::data(
                &self.path,
                format!("{} columns; a table may have {MOST_COLUMNS}", self.record.len()),
            ));
        }
        let mut names: Vec<String> = Vec::with_capacity(self.record.len());
        for (number, name) in (1..).zip(self.record.iter()) {
            let Ok(name) = str::from_utf8(name) else {
                let fault =
                    format!("the name of column {number} is not UTF-8: save the file as UTF-8");
                return Err(self.fault(Place(0), fault));
            };
            let name = name.trim();
            if let Some(first) = names.iter().position(|other| other == name) {
                let shown = shortened(name);
                let fault = format!(
                    "columns {} and {number} are both called '{shown}': give each a name of its own",
                    first + 1
                );
                return Err(self.fault(Place(0), fault));
            }
            names.push(name.to_owned());
        }
        self.names = names;
        Ok(())
    }

    /// The next row; `None` after the last.
    ///
    /// # Errors
    /// [`Error::Data`] for a row with another number of cells than the header, a row that is too long, a quote
    /// that is never closed; [`Error::Io`].
    pub(super) fn next(&mut self) -> Result<Option<Row<'_>>> {
        if !self.advance()? {
            // Only now are all quotes of the file those of rows that have been read.
            let is_odd = !self.reader.get_ref().quotes.is_multiple_of(2);
            return match self.last_long.filter(|_| is_odd) {
                Some(place) => Err(self.fault(place, "a quote is opened here and never closed")),
                None => Ok(None),
            };
        }
        let place = self.place();
        let (cells, wanted) = (self.record.len(), self.names.len());
        self.last_long = self.spans_lines().then_some(place);
        if cells != wanted {
            let quote = match self.spans_lines() {
                true => " (it spans several lines: is a quote not closed?)",
                false => "",
            };
            let fault = format!(
                "{cells} cells, where the header has {wanted}{quote}; separator: {}",
                self.separator
            );
            return Err(self.fault(place, fault));
        }
        Ok(Some(Row { cells: &self.record, place }))
    }

    fn spans_lines(&self) -> bool {
        self.record.as_slice().contains(&b'\n')
    }

    fn place(&self) -> Place {
        Place(self.begin + self.record.position().map_or(0, csv::Position::byte))
    }

    /// Reads a record; false at the end of the file.
    fn advance(&mut self) -> Result<bool> {
        self.reader.get_mut().since = 0;
        let before = Place(self.begin + self.reader.position().byte());
        match self.reader.read_byte_record(&mut self.record) {
            Ok(is_record) => Ok(is_record),
            Err(error) => match error.into_kind() {
                csv::ErrorKind::Io(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                    let fault = "a row of more than 1 MiB: is a quote not closed?";
                    Err(self.fault(before, fault))
                }
                csv::ErrorKind::Io(error) => Err(Error::io(&self.path)(error)),
                kind => Err(self.fault(before, format!("cannot be read: {kind:?}"))),
            },
        }
    }

    /// An error about the row at `place`.
    pub(super) fn fault(&self, place: Place, fault: impl AsRef<str>) -> Error {
        fault_at(&self.path, place, fault.as_ref())
    }
}

/// An error about the row at `place` of a file.
pub(super) fn fault_at(path: &Path, place: Place, fault: &str) -> Error {
    match line(path, place) {
        Ok(line) => Error::data(path, format!("line {line}: {fault}")),
        // The file has gone meanwhile: the fault is as true.
        Err(_) => Error::data(path, fault),
    }
}

/// The line of a row, counted from 1.
pub(super) fn line(path: &Path, Place(byte): Place) -> io::Result<u64> {
    let mut file = BufReader::new(File::open(path)?);
    let (mut line, mut left) = (1, byte);
    loop {
        let block = file.fill_buf()?;
        let n = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        line += block[..n].iter().filter(|&&b| b == b'\n').count() as u64;
        left -= n as u64;
        if left == 0 || n == 0 {
            break;
        }
        file.consume(n);
    }
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(byte))?;
    // A record's place is behind the last one's `\r`, and before empty lines.
    for byte in BufReader::new(file).bytes() {
        match byte? {
            b'\n' => line += 1,
            b'\r' => {}
            _ => break,
        }
    }
    Ok(line)
}

/// The separator that cuts the first lines into equally many cells; of several the one that makes the most.
/// Where none does, the one that the header has most of, and a comma in a table of one column.
fn found_separator(head: &[u8]) -> Separator {
    let lines = unquoted_lines(head);
    let count =
        |line: &[u8], separator: Separator| line.iter().filter(|&&b| b == separator.byte()).count();
    let header = |separator| lines.first().map_or(0, |line| count(line, separator));
    let is_even = |separator| lines.iter().all(|line| count(line, separator) == header(separator));
    // Of equals the last one is taken.
    let candidates = || Separator::ALL.into_iter().rev();
    let even = candidates().filter(|&s| header(s) > 0 && is_even(s)).max_by_key(|&s| header(s));
    even.or_else(|| candidates().max_by_key(|&s| header(s))).unwrap_or(Separator::Comma)
}

/// The first complete lines that are not empty, without what stands in quotes.
fn unquoted_lines(head: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    let (mut line, mut is_quoted) = (Vec::new(), false);
    let is_whole = head.len() < HEAD;
    for &byte in head.iter().chain(is_whole.then_some(&b'\n')) {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'\n' if !is_quoted => {
                if !line.is_empty() {
                    lines.push(std::mem::take(&mut line));
                }
                if lines.len() == HEAD_LINES {
                    break;
                }
            }
            b'\r' => {}
            byte if !is_quoted => line.push(byte),
            _ => {}
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use tempfile::NamedTempFile;

    fn file(text: &[u8]) -> NamedTempFile {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        file
    }

    /// Every row's cells and line.
    fn rows(text: &[u8]) -> Result<Vec<(Vec<String>, u64)>> {
        let file = file(text);
        let mut source = Source::open(file.path(), None)?;
        let mut rows = Vec::new();
        while let Some(row) = source.next()? {
            let cells = row.cells.iter().map(|cell| String::from_utf8_lossy(cell).into_owned());
            let (cells, place) = (cells.collect(), row.place);
            rows.push((cells, line(file.path(), place).unwrap()));
        }
        Ok(rows)
    }

    #[test]
    fn lines_are_those_of_an_editor() {
        let wanted =
            [(vec!["1".to_owned(), "2".to_owned()], 2), (vec!["3".to_owned(), "4".to_owned()], 3)];
        for text in [
            "a,b\n1,2\n3,4\n",
            "a,b\r\n1,2\r\n3,4\r\n",
            "\u{feff}a,b\n1,2\n3,4",
            "\u{feff}a,b\r\n1,2\r\n3,4",
        ] {
            assert_eq!(rows(text.as_bytes()).unwrap(), wanted, "{text:?}");
        }
        // Empty lines are skipped, and counted.
        for text in ["a,b\n\n1,2\n\n\n3,4\n\n", "a,b\r\n\r\n1,2\r\n\r\n\r\n3,4\r\n"] {
            let lines: Vec<_> = rows(text.as_bytes()).unwrap().into_iter().map(|r| r.1).collect();
            assert_eq!(lines, [3, 6], "{text:?}");
        }
        // A row is where it begins.
        let lines: Vec<_> =
            rows(b"a,b\n\"x\ny\",2\n3,4\n").unwrap().into_iter().map(|r| r.1).collect();
        assert_eq!(lines, [2, 4]);
    }

    #[test]
    fn separators_are_found() {
        for (text, wanted) in [
            ("a,b\n1,2\n", Separator::Comma),
            ("a;b\n1;2\n", Separator::Semicolon),
            ("a\tb\n1\t2\n", Separator::Tab),
            ("a;b\n1,5;2,5\n", Separator::Semicolon),
            ("a, b;c\n1, 2;2\n1;2\n", Separator::Semicolon),
            ("\"a;b\",c\n\"1;2\",3\n", Separator::Comma),
            ("a\n1\n", Separator::Comma),
            ("", Separator::Comma),
            // Even though the rows have different numbers of both.
            ("a;b;c,d\n1;2\n", Separator::Semicolon),
        ] {
            assert_eq!(found_separator(text.as_bytes()), wanted, "{text:?}");
        }
    }

    #[test]
    fn quotes_are_taken_off() {
        let rows = rows(b"a,b\n\"1,5\",\"say \"\"so\"\"\"\n").unwrap();
        assert_eq!(rows[0].0, ["1,5", "say \"so\""]);
    }

    #[test]
    fn bad_files_are_told_with_the_line() {
        for (text, words) in [
            (&b""[..], "empty"),
            (b"\n\n", "empty"),
            (b"a,b\n1\n", "line 2: 1 cells, where the header has 2"),
            (b"a,b\n1,2\n1,2,3\n", "line 3: 3 cells"),
            (b"a,b\r\n1,2\r\n1,2,3\r\n", "line 3: 3 cells"),
            (b"a,a\n1,2\n", "columns 1 and 2 are both called 'a'"),
            (b"a,b\n1,\"2\n3,4\n", "line 2: a quote is opened here and never closed"),
            (b"a,b\n1,2\n\"3,4\n5,6\n", "line 3"),
            (b"a,\xe9\n1,2\n", "line 1: the name of column 2 is not UTF-8"),
            (b"\xff\xfea\0", "UTF-16"),
            (b"PK\x03\x04\0\0", "not text"),
        ] {
            let fault = rows(text).unwrap_err();
            assert_eq!(fault.exit_code(), 3, "{fault}");
            assert!(fault.to_string().contains(words), "{fault}: {words}");
        }
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path(), &folder.path().join("none.csv")] {
            assert_eq!(Source::open(path, None).err().unwrap().exit_code(), 3);
        }
    }

    #[test]
    fn a_row_without_end_takes_no_memory_without_end() {
        let mut text = b"a,b\n1,2\n3,\"".to_vec();
        text.resize(5 << 20, b'x');
        let fault = rows(&text).unwrap_err().to_string();
        assert!(fault.contains("line 3: a row of more than 1 MiB"), "{fault}");
    }
}
