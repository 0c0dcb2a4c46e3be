//! How a table's file is read.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::toml_file::unknown;
use crate::{Error, Result, memory};

/// How a table is read. The default finds separator and decimal mark by itself and refuses missing values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// What stands between two cells; found from the first lines unless given.
    pub separator: Option<Separator>,
    /// The decimal mark; found from the numbers of the file unless given.
    pub decimal: Option<Decimal>,
    /// What becomes of rows with missing values.
    pub missing: Missing,
    /// Columns that are not read.
    pub leave_out: Vec<String>,
    /// The most bytes of memory that a table and its models may take; all that the machine has unless given.
    pub memory: Option<u64>,
}

impl ReadOptions {
    /// The most bytes of memory, if that is known.
    pub(super) fn memory(&self) -> Option<u64> {
        self.memory.or_else(memory::limit)
    }
}

/// What stands between two cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Separator {
    /// `,`
    Comma,
    /// `;`
    Semicolon,
    /// A tabulator.
    Tab,
}

impl Separator {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Comma, Self::Semicolon, Self::Tab];

    /// The byte in the file.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Comma => b',',
            Self::Semicolon => b';',
            Self::Tab => b'\t',
        }
    }

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Comma => "comma",
            Self::Semicolon => "semicolon",
            Self::Tab => "tab",
        }
    }
}

impl fmt::Display for Separator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Separator {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let is_it = |s: &Self| s.name() == text || text.as_bytes() == [s.byte()];
        let names = Self::ALL.map(Self::name);
        let fault = || Error::Usage(unknown("separator", text, &names));
        Self::ALL.into_iter().find(is_it).ok_or_else(fault)
    }
}

/// What stands before the decimals of a number. The other one of the two may group its thousands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decimal {
    /// `1234.5`, `1,234.5`
    Point,
    /// `1234,5`, `1.234,5`
    Comma,
}

impl Decimal {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Point, Self::Comma];

    /// The byte in the file.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Point => b'.',
            Self::Comma => b',',
        }
    }

    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::Point => Self::Comma,
            Self::Comma => Self::Point,
        }
    }

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Point => "point",
            Self::Comma => "comma",
        }
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Decimal {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let is_it = |d: &Self| d.name() == text || text.as_bytes() == [d.byte()];
        let names = Self::ALL.map(Self::name);
        let fault = || Error::Usage(unknown("decimal mark", text, &names));
        Self::ALL.into_iter().find(is_it).ok_or_else(fault)
    }
}

/// What becomes of a row with a missing value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// The table is refused, with line and column.
    #[default]
    Refuse,
    /// The row is left out, and counted.
    Drop,
}

impl Missing {
    /// Both, with their names on the command line.
    pub const ALL: [(&'static str, Self); 2] = [("refuse", Self::Refuse), ("drop", Self::Drop)];
}

impl FromStr for Missing {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        treatment(text, Self::ALL)
    }
}

/// The treatment of missing values that is called so.
pub(super) fn treatment<T>(text: &str, all: [(&'static str, T); 2]) -> Result<T> {
    let names = all.each_ref().map(|(name, _)| *name);
    let found = all.into_iter().find(|(name, _)| *name == text);
    found
        .map(|(_, it)| it)
        .ok_or_else(|| Error::Usage(unknown("treatment of missing values", text, &names)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_signs_are_read() {
        for separator in Separator::ALL {
            let sign = char::from(separator.byte()).to_string();
            assert_eq!(separator.name().parse::<Separator>().unwrap(), separator);
            assert_eq!(sign.parse::<Separator>().unwrap(), separator);
        }
        for decimal in Decimal::ALL {
            assert_eq!(decimal.name().parse::<Decimal>().unwrap(), decimal);
            assert_eq!(decimal.other().other(), decimal);
        }
        let fault = "semikolon".parse::<Separator>().unwrap_err();
        assert_eq!(fault.exit_code(), 2);
        assert!(fault.to_string().contains("did you mean 'semicolon'?"), "{fault}");
        assert_eq!("drop".parse::<Missing>().unwrap(), Missing::Drop);
        assert!("mean".parse::<Missing>().is_err());
    }
}
