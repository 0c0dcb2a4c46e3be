//! A cell as a number. `1,234` is one thousand or one and a bit, by the country: a cell is read with both decimal
//! marks, and what the file as a whole allows decides.

use super::options::Decimal;

/// Cells that hold no value, as other programs write them; empty cells besides.
const MISSING: [&str; 10] =
    ["NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None"];
/// Infinite values, without a sign.
const INFINITE: [&str; 5] = ["inf", "Inf", "infinity", "Infinity", "\u{221e}"];
/// Spaces that group thousands: plain, no-break, thin, narrow no-break.
const SPACES: [char; 4] = [' ', '\u{a0}', '\u{2009}', '\u{202f}'];

/// Whether a trimmed cell holds no value.
pub(super) fn is_missing(cell: &str) -> bool {
    cell.is_empty() || MISSING.contains(&cell)
}

/// The values of a trimmed cell with either decimal mark. Infinite values are numbers here: whoever uses a
/// column of numbers refuses them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Readings {
    pub(super) point: Option<f64>,
    pub(super) comma: Option<f64>,
}

impl Readings {
    pub(super) fn of(cell: &str) -> Self {
        let point = parse(cell, Decimal::Point);
        let comma = match cell.contains(['.', ',']) {
            true => parse(cell, Decimal::Comma),
            false => point,
        };
        Self { point, comma }
    }

    /// Whether some decimal mark makes it a number.
    pub(super) fn is_number(self) -> bool {
        self.point.is_some() || self.comma.is_some()
    }

    /// The only decimal mark with which this is a number.
    pub(super) fn only(self) -> Option<Decimal> {
        match (self.point, self.comma) {
            (Some(_), None) => Some(Decimal::Point),
            (None, Some(_)) => Some(Decimal::Comma),
            _ => None,
        }
    }

    /// Whether it is another number with the other decimal mark.
    pub(super) fn is_ambiguous(self) -> bool {
        matches!((self.point, self.comma), (Some(point), Some(comma)) if point != comma)
    }
}

/// The value of a trimmed cell; `None` if it is no number with this decimal mark. Thousands may be grouped by
/// the other mark or by spaces: all of them, in threes.
pub(super) fn parse(cell: &str, decimal: Decimal) -> Option<f64> {
    // What most cells of text begin with.
    let first = cell.chars().next()?;
    if first.is_ascii_alphabetic() && !INFINITE.contains(&cell) {
        return None;
    }
    let (sign, digits) = match first {
        '-' => (-1.0, &cell[1..]),
        '\u{2212}' => (-1.0, &cell[first.len_utf8()..]),
        '+' => (1.0, &cell[1..]),
        _ => (1.0, cell),
    };
    if INFINITE.contains(&digits) {
        return Some(sign * f64::INFINITY);
    }
    let is_plain = |b: u8| b.is_ascii_digit() || matches!(b, b'e' | b'E' | b'+' | b'-' | b'.');
    if digits.bytes().all(is_plain) && (decimal == Decimal::Point || !digits.contains('.')) {
        return unsigned(digits).map(|value| sign * value);
    }
    let mark = char::from(decimal.byte());
    let (whole, decimals) = digits.split_once(mark).map_or((digits, None), |(w, d)| (w, Some(d)));
    let is_grouping = |c: char| SPACES.contains(&c) || c == char::from(decimal.other().byte());
    let whole = match whole.chars().find(|&c| is_grouping(c)) {
        Some(grouping) => ungrouped(whole, grouping)?,
        None => whole.to_owned(),
    };
    let text = match decimals {
        // A group behind the decimal mark, or a second mark.
        Some(decimals) if !decimals.bytes().all(|b| is_plain(b) && b != b'.') => return None,
        Some(decimals) => format!("{whole}.{decimals}"),
        None => whole,
    };
    unsigned(&text).map(|value| sign * value)
}

/// A number in Rust's form, without a sign of its own. One that is too small for an `f64` is text: 6E-367 is a
/// flight.
fn unsigned(text: &str) -> Option<f64> {
    let begins = text.bytes().next()?;
    if !(begins.is_ascii_digit() || begins == b'.') {
        return None;
    }
    let number: f64 = text.parse().ok()?;
    let is_zero = || {
        text.split(['e', 'E'])
            .next()
            .is_some_and(|digits| !digits.contains(|c: char| ('1'..='9').contains(&c)))
    };
    (number != 0.0 || is_zero()).then_some(number)
}

/// The digits of a whole number without its grouping; `None` if the groups are not of three digits, the first
/// of one to three and not zero.
fn ungrouped(whole: &str, grouping: char) -> Option<String> {
    let mut groups = whole.split(grouping);
    let first = groups.next()?;
    let is_digits = |group: &str| group.bytes().all(|b| b.is_ascii_digit());
    let begins = (1..=3).contains(&first.len()) && is_digits(first) && !first.starts_with('0');
    let mut digits = first.to_owned();
    for group in groups {
        if group.len() != 3 || !is_digits(group) {
            return None;
        }
        digits += group;
    }
    begins.then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFINITY: f64 = f64::INFINITY;

    fn both(cell: &str) -> (Option<f64>, Option<f64>) {
        let Readings { point, comma } = Readings::of(cell);
        (point, comma)
    }

    #[test]
    fn plain_numbers_need_no_decimal_mark() {
        for (cell, value) in [
            ("0", 0.0),
            ("007", 7.0),
            ("-12", -12.0),
            ("+3", 3.0),
            ("\u{2212}3", -3.0),
            ("1e3", 1000.0),
            ("2E-2", 0.02),
            ("0e5", 0.0),
            ("1 234", 1234.0),
            ("12\u{a0}345\u{a0}678", 12_345_678.0),
            ("1\u{202f}234", 1234.0),
            ("inf", INFINITY),
            ("-Infinity", -INFINITY),
            ("\u{221e}", INFINITY),
            ("1e999", INFINITY),
        ] {
            assert_eq!(both(cell), (Some(value), Some(value)), "{cell}");
        }
    }

    #[test]
    fn some_numbers_have_one_reading() {
        for (cell, point, comma) in [
            ("1.5", Some(1.5), None),
            ("1,5", None, Some(1.5)),
            (".5", Some(0.5), None),
            (",5", None, Some(0.5)),
            ("0.123", Some(0.123), None),
            ("0,123", None, Some(0.123)),
            ("1234.567", Some(1234.567), None),
            ("1,234.5", Some(1234.5), None),
            ("1.234,5", None, Some(1234.5)),
            ("1,234,567", Some(1_234_567.0), None),
            ("1.234.567", None, Some(1_234_567.0)),
            ("1 234.5", Some(1234.5), None),
            ("-1 234,5", None, Some(-1234.5)),
            ("1.5e3", Some(1500.0), None),
            ("1,5e3", None, Some(1500.0)),
        ] {
            assert_eq!(both(cell), (point, comma), "{cell}");
            assert!(!Readings::of(cell).is_ambiguous());
        }
    }

    #[test]
    fn some_numbers_have_two() {
        assert_eq!(both("1,234"), (Some(1234.0), Some(1.234)));
        assert_eq!(both("12.345"), (Some(12.345), Some(12_345.0)));
        assert_eq!(both("-999.000"), (Some(-999.0), Some(-999_000.0)));
        assert!(Readings::of("1,234").is_ambiguous());
    }

    #[test]
    fn other_text_is_no_number() {
        for cell in [
            "a",
            "1a",
            "1-2",
            "--1",
            "+-1",
            "1.2.3",
            "1,2,3",
            "1,23,456",
            "1234,567.8",
            "6E-367",
            "01.02.2024",
            "2024-01-02",
            "10:30",
            "e5",
            ".",
            ",",
            "-",
            "+",
            "1 23",
            "1  234",
            "0 123",
            "1,234 567",
            "1.5,",
            "5%",
            "0x10",
            "1_000",
            "infinite",
            "\u{661}",
            "'1'",
            "1,234.5.6",
            "1.234,5,6",
            "- 5",
            "1e",
            "e",
        ] {
            assert_eq!(both(cell), (None, None), "{cell}");
        }
    }

    #[test]
    fn missing_values_have_many_names() {
        for cell in ["", "NA", "NaN", "nan", "null", "None", "N/A"] {
            assert!(is_missing(cell), "{cell}");
        }
        for cell in ["0", "nil", "-", "Nancy", "inf"] {
            assert!(!is_missing(cell), "{cell}");
        }
    }

    /// What is read does not depend on how the number was grouped.
    #[test]
    fn grouping_changes_nothing() {
        for value in [1_u64, 12, 123, 1_234, 12_345, 123_456, 1_234_567, 1_000_000_000] {
            let digits = value.to_string();
            let mut grouped = String::new();
            for (i, digit) in digits.chars().enumerate() {
                if i > 0 && (digits.len() - i).is_multiple_of(3) {
                    grouped.push('_');
                }
                grouped.push(digit);
            }
            let expected = Some(value as f64 + 0.25);
            for space in SPACES {
                let text = grouped.replace('_', &space.to_string());
                assert_eq!(parse(&format!("{text}.25"), Decimal::Point), expected);
                assert_eq!(parse(&format!("{text},25"), Decimal::Comma), expected);
            }
            assert_eq!(
                parse(&format!("{}.25", grouped.replace('_', ",")), Decimal::Point),
                expected
            );
            assert_eq!(
                parse(&format!("{},25", grouped.replace('_', ".")), Decimal::Comma),
                expected
            );
        }
    }
}
