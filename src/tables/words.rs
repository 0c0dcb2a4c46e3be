//! The different texts of a column: its categories.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::encoding::MOST_ENCODED;
use super::source::Place;
use super::table::Values;

/// The longest category in bytes.
const LONGEST: usize = 1_000;

/// The different cells of a column while it is read for the first time: as many as can be categories, so that
/// memory is bounded whatever the column holds.
#[derive(Clone, Debug)]
pub(super) enum Categories {
    /// All so far.
    Few(HashSet<String>),
    /// More than there can be; the first that was too many.
    TooMany(Place),
    /// One that is too long, and its bytes.
    TooLong(Place, usize),
}

impl Default for Categories {
    fn default() -> Self {
        Self::Few(HashSet::new())
    }
}

impl Categories {
    pub(super) fn add(&mut self, cell: &str, place: Place) {
        let Self::Few(known) = self else { return };
        if known.contains(cell) {
            return;
        }
        if cell.len() > LONGEST {
            *self = Self::TooLong(place, cell.len());
        } else if known.len() >= MOST_ENCODED {
            *self = Self::TooMany(place);
        } else {
            known.insert(cell.to_owned());
        }
    }

    /// All of them in the order of their bytes; or the row and the fault that makes them no categories.
    pub(super) fn sorted(self) -> Result<Vec<String>, (Place, String)> {
        let fault = match self {
            Self::Few(known) => {
                return Ok(Vec::from_iter(known.into_iter().collect::<BTreeSet<_>>()));
            }
            Self::TooMany(place) => (
                place,
                format!(
                    "more than {MOST_ENCODED} categories, each of which would be a column of its own: leave the \
                     column out (--leave-out)"
                ),
            ),
            Self::TooLong(place, bytes) => (
                place,
                format!(
                    "a text of {bytes} bytes; a category may have {LONGEST}: leave the column out (--leave-out)"
                ),
            ),
        };
        Err(fault)
    }
}

/// Different texts, numbered as they came.
#[derive(Default)]
pub(super) struct Words(HashMap<String, u32>);

impl Words {
    /// Texts that are known to be all, numbered in their order.
    pub(super) fn known(words: &[String]) -> Self {
        Self(words.iter().cloned().zip(0..).collect())
    }

    /// The number of a text that is known.
    pub(super) fn get(&self, text: &str) -> Option<u32> {
        self.0.get(text).copied()
    }

    /// The number of a text, which is known from now on.
    pub(super) fn code(&mut self, text: &str) -> u32 {
        if let Some(code) = self.get(text) {
            return code;
        }
        let code = self.0.len() as u32;
        self.0.insert(text.to_owned(), code);
        code
    }

    /// The column, with its categories numbered in their order.
    pub(super) fn sorted(self, mut codes: Vec<u32>) -> Values {
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
    use super::*;

    fn of<'a>(cells: impl IntoIterator<Item = &'a str>) -> Categories {
        let mut all = Categories::default();
        cells.into_iter().zip(1..).for_each(|(cell, line)| all.add(cell, Place::at(line)));
        all
    }

    #[test]
    fn as_many_are_kept_as_can_be_used() {
        assert_eq!(of(["b", "a", "b"]).sorted().unwrap(), ["a", "b"]);
        let many: Vec<String> = (0..=MOST_ENCODED).map(|i| i.to_string()).collect();
        let cells = |n: usize| many.iter().take(n).chain(&many[..2]).map(String::as_str);
        assert_eq!(of(cells(MOST_ENCODED)).sorted().unwrap().len(), MOST_ENCODED);
        let (place, fault) = of(cells(MOST_ENCODED + 1)).sorted().unwrap_err();
        assert_eq!(place, Place::at(MOST_ENCODED as u64 + 1));
        assert!(fault.contains("more than 4096 categories"), "{fault}");
        let long = "x".repeat(LONGEST + 1);
        assert!(of(["a", &long[1..]]).sorted().is_ok());
        let (place, fault) = of(["a", &long, "b"]).sorted().unwrap_err();
        assert_eq!((place, fault.contains("1001 bytes")), (Place::at(2), true));
    }
}
