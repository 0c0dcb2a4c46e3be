//! TOML that people write: reading it, with faults that name the line, the key and the nearest known name,
//! and writing single values.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer, ValueDeserializer};

use crate::Error;
use crate::names::{nearest, shortened, shortened_middle};

/// The largest file that is read: a thousand layers are some 60 kB.
const MOST_BYTES: u64 = 1 << 20;
/// The longest message of the parser that is repeated whole.
const LONGEST: usize = 180;

/// The text of a file that may be written by hand.
///
/// # Errors
/// [`Error::Io`]; [`Error::Usage`] if it is too large, or not text.
pub(crate) fn read_text(path: &Path) -> crate::Result<String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(Error::io(path))?;
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(Error::io(path))?;
    let usage = |fault| Error::Usage(format!("{}: {fault}", path.display()));
    if bytes.len() as u64 > MOST_BYTES {
        return Err(usage("more than a MiB: name a TOML file"));
    }
    String::from_utf8(bytes).map_err(|_| usage("not text: name a TOML file"))
}

/// What is wrong with a document, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    line: Option<usize>,
    message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl Fault {
    /// A fault in this line, counted from 1.
    pub(crate) fn at(line: usize, message: impl Into<String>) -> Self {
        Self { line: Some(line), message: message.into() }
    }

    /// The same fault, with the name of its part before it.
    pub(crate) fn of(self, part: &str) -> Self {
        Self { message: format!("{part}: {}", self.message), ..self }
    }
}

/// A table of a document, whose values are taken out key by key.
pub(crate) struct Table<'t> {
    text: &'t str,
    table: Spanned<DeTable<'t>>,
    /// Keys that have been asked for by name.
    known: Vec<&'static str>,
}

impl<'t> Table<'t> {
    /// A whole document.
    pub(crate) fn parse(text: &'t str) -> Result<Self, Fault> {
        let table = DeTable::parse(text).map_err(|error| fault(text, &error, &[]))?;
        Ok(Self { text, table, known: Vec::new() })
    }

    /// Takes a value out.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Value<'t>> {
        self.known.push(key);
        let value = self.table.get_mut().remove(key)?;
        Some(Value { text: self.text, value })
    }

    /// The lines of the values that are left, counted from 1.
    pub(crate) fn lines(&self) -> BTreeMap<String, usize> {
        let entries = self.table.get_ref().iter();
        entries
            .map(|(key, value)| (key.get_ref().to_string(), line(self.text, value.span())))
            .collect()
    }

    /// What is left as a `T`, which must know all of its keys.
    pub(crate) fn rest<T: DeserializeOwned>(self) -> Result<T, Fault> {
        let Self { text, table, known } = self;
        T::deserialize(Deserializer::from(table)).map_err(|error| fault(text, &error, &known))
    }

    /// All that is left, in the order of the keys.
    pub(crate) fn entries(self) -> impl Iterator<Item = (String, Value<'t>)> {
        let Self { text, table, .. } = self;
        let entries = table.into_inner().into_iter();
        entries.map(move |(key, value)| (key.into_inner().into_owned(), Value { text, value }))
    }

    /// A fault of the table as a whole.
    pub(crate) fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::at(line(self.text, self.table.span()), message)
    }
}

/// A value of a document.
pub(crate) struct Value<'t> {
    text: &'t str,
    value: Spanned<DeValue<'t>>,
}

impl<'t> Value<'t> {
    /// The text, if it is a string.
    pub(crate) fn as_str(&self) -> Option<&str> {
        self.value.get_ref().as_str()
    }

    /// A string, or the digits of a whole number of any size, as on a command line.
    #[cfg(feature = "program")]
    pub(crate) fn as_text(&self) -> Option<String> {
        match self.value.get_ref() {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
            DeValue::Integer(number) => {
                u64::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n.to_string())
            }
            _ => None,
        }
    }

    /// What TOML calls a value of this kind.
    #[cfg(feature = "program")]
    pub(crate) fn type_name(&self) -> &'static str {
        self.value.get_ref().type_str()
    }

    /// The elements, if it is an array.
    pub(crate) fn into_elements(self, what: &str) -> Result<Vec<Self>, Fault> {
        let Self { text, value } = self;
        match value {
            value if !value.get_ref().is_array() => {
                Err(Self { text, value }.fault(format!("{what}: a list belongs here")))
            }
            value => match value.into_inner() {
                DeValue::Array(array) => {
                    Ok(array.into_iter().map(|value| Self { text, value }).collect())
                }
                _ => Ok(Vec::new()),
            },
        }
    }

    /// The table, if it is a table.
    pub(crate) fn into_table(self, what: &str) -> Result<Table<'t>, Fault> {
        let Self { text, value } = self;
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => {
                Ok(Table { text, table: Spanned::new(span, table), known: Vec::new() })
            }
            _ => Err(Fault::at(line(text, span), format!("{what}: a table belongs here"))),
        }
    }

    /// Its line, counted from 1.
    pub(crate) fn line(&self) -> usize {
        line(self.text, self.value.span())
    }

    /// Converts it with `read`.
    pub(crate) fn read<T>(
        self,
        read: impl FnOnce(ValueDeserializer<'t>) -> Result<T, toml::de::Error>,
    ) -> Result<T, Fault> {
        read(self.value.into()).map_err(|error| fault(self.text, &error, &[]))
    }

    /// A fault of this value.
    pub(crate) fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::at(self.line(), message)
    }
}

impl<'t> From<Table<'t>> for Value<'t> {
    fn from(table: Table<'t>) -> Self {
        let Table { text, table, .. } = table;
        let span = table.span();
        Self { text, value: Spanned::new(span, DeValue::Table(table.into_inner())) }
    }
}

/// "No such thing", with the nearest of the names that there are, and all of them.
pub(crate) fn unknown(what: &str, name: &str, names: &[&str]) -> String {
    let name = shortened(name);
    let hint = nearest(&name, names.iter().copied())
        .map_or(String::new(), |near| format!("; did you mean '{near}'?"));
    format!("unknown {what} '{name}'{hint} (there are {})", names.join(", "))
}

/// A value as it is written after a key.
pub(crate) fn inline<T: Serialize>(value: &T) -> Result<String, toml::ser::Error> {
    let mut text = String::new();
    value.serialize(toml::ser::ValueSerializer::new(&mut text))?;
    Ok(text)
}

fn line(text: &str, span: Range<usize>) -> usize {
    1 + text.as_bytes()[..span.start.min(text.len())].iter().filter(|&&b| b == b'\n').count()
}

/// An error of serde or the parser in plain words. `known` are keys that were taken out before.
fn fault(text: &str, error: &toml::de::Error, known: &[&'static str]) -> Fault {
    let span = error.span();
    let at = span.clone().map(|span| line(text, span));
    Fault { line: at, message: friendly(text, span, error.message(), known) }
}

fn friendly(text: &str, span: Option<Range<usize>>, message: &str, known: &[&str]) -> String {
    for (beginning, what) in [("unknown field `", "key"), ("unknown variant `", "name")] {
        if let Some((name, names)) =
            message.strip_prefix(beginning).and_then(|rest| rest.split_once('`'))
        {
            let mut names: Vec<_> = names.split('`').skip(1).step_by(2).collect();
            if what == "key" {
                names.extend(known);
            }
            return unknown(what, name, &names);
        }
    }
    if let Some(rest) = message.strip_prefix("unexpected keys in table: ")
        && let Some((surplus, names)) = rest.split_once(", available keys: ")
    {
        let first = surplus.split(", ").next().unwrap_or(surplus);
        return unknown("key", first, &names.split(", ").collect::<Vec<_>>());
    }
    if let Some(name) = message.strip_prefix("missing field `") {
        return format!("'{}' is missing", name.trim_end_matches('`'));
    }
    let message = match wrong_value(message) {
        Some(message) => message,
        None => shortened_middle(message, LONGEST),
    };
    match span.and_then(|span| key_before(text, span)) {
        Some(key) => format!("{key}: {message}"),
        None => message,
    }
}

/// serde's "invalid type: integer `0`, expected a nonzero usize" in plain words.
fn wrong_value(message: &str) -> Option<String> {
    if let Some(wanted) = message.strip_prefix("wanted ") {
        return Some(format!("{} belongs here", in_words(wanted)));
    }
    let (_, rest) = message.strip_prefix("invalid ")?.split_once(": ")?;
    let (given, wanted) = rest.rsplit_once(", expected ")?;
    match wanted {
        "newtype variant" => return Some("this name needs a value, as { NAME = 0.1 }".to_owned()),
        "struct variant" => {
            return Some("this name needs settings, as { NAME = { KEY = VALUE } }".to_owned());
        }
        _ => {}
    }
    let given = match given.split_once(['`', '"']) {
        Some((kind, value)) => {
            let value = shortened(value.trim_end_matches(['`', '"']));
            if kind.starts_with("string") { format!("\"{value}\"") } else { value }
        }
        None => in_words(given).to_owned(),
    };
    Some(format!("{} belongs here, not {given}", in_words(wanted)))
}

/// The name of a kind of value in TOML's documentation, given the name that serde or Rust uses.
fn in_words(kind: &str) -> &str {
    match kind {
        "a nonzero usize" => "a whole number from 1 up",
        "usize" | "u64" | "u32" | "u8" => "a whole number from 0 up",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "sequence" | "a sequence" => "a list",
        "map" | "a map" | "unit variant" | "table" => "a table",
        "string or table" => "a name or a table",
        variant if variant.starts_with("struct variant ") => "a table",
        structure if structure.starts_with("struct ") => "a table",
        other => other,
    }
}

/// The key whose value is at `span`.
fn key_before(text: &str, span: Range<usize>) -> Option<String> {
    let before = text.get(..span.start)?.trim_end().strip_suffix('=')?.trim_end();
    let is_key = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    let length = before.chars().rev().take_while(|&c| is_key(c)).map(char::len_utf8).sum::<usize>();
    let key = &before[before.len() - length..];
    (!key.is_empty()).then(|| shortened(key))
}
