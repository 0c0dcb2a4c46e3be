//! One axis of a search: an option, and the values that are tried, listed or drawn from a range.

use crate::names::shortened;
use crate::random::Key;
use crate::train::{ChangeOption, Changes, Spacing, ValueKind};
use crate::{Error, Result};
use rand_chacha::rand_core::Rng;
use std::fmt;

/// The significant digits of drawn numbers: what a table shows is what is trained.
const DIGITS: usize = 4;

/// One option, and the values that are tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// Which option.
    pub option: &'static ChangeOption,
    /// Its values.
    pub values: Values,
}

/// The values of an axis.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// These, in the syntax of options.
    List(Vec<String>),
    /// Numbers from `low` to `high`, drawn.
    Range {
        /// The least.
        low: f64,
        /// The largest.
        high: f64,
        /// How they are spread.
        spacing: Spacing,
    },
}

impl Axis {
    /// `learning-rate=0.001,0.0003`. Values that contain commas are separated by semicolons:
    /// `schedule=constant;steps=10,20`; `schedule=steps=10,20;` is a single value.
    ///
    /// # Errors
    /// [`Error::Usage`] for another syntax, an option that does not exist (with the nearest name), a value
    /// that is listed twice; [`Error::Setting`] for a text that is not a value of the option.
    pub fn list(text: &str) -> Result<Self> {
        let (option, values) = named(text, "NAME=VALUE,VALUE")?;
        let comma = if values.contains(';') { ';' } else { ',' };
        let values = values.strip_suffix(';').unwrap_or(values);
        let values: Vec<String> = values.split(comma).map(|v| v.trim().to_owned()).collect();
        let fault = |what: String| Err(Error::Usage(format!("{}: {what}", option.name)));
        if values.iter().any(String::is_empty) {
            return fault(format!("'{}' has an empty value", shortened(text)));
        }
        let mut known = Vec::new();
        for value in &values {
            let mut changes = Changes::default();
            changes.set(option.name, value)?;
            if known.contains(&changes) {
                return fault(format!("the value {} stands twice", shortened(value)));
            }
            known.push(changes);
        }
        Ok(Self { option, values: Values::List(values) })
    }

    /// `learning-rate=1e-4..1e-2`, spread by the option's default unless the text says how:
    /// `momentum=0..0.9:linear`, `batch-size=16..256:log`.
    ///
    /// # Errors
    /// As [`Axis::list`]; [`Error::Usage`] for ends that do not form a range, or not one on a logarithmic
    /// scale.
    pub fn range(text: &str) -> Result<Self> {
        let (option, rest) = named(text, "NAME=LOW..HIGH")?;
        let name = option.name;
        let fault = |what: String| Err(Error::Usage(format!("{name}: {what}")));
        if option.kind() == ValueKind::Name {
            return fault("its values are names, which have no range: list them".to_owned());
        }
        let (ends, spacing) = match rest.rsplit_once(':') {
            Some((ends, "log")) => (ends, Spacing::Log),
            Some((ends, "linear")) => (ends, Spacing::Linear),
            Some((_, other)) => {
                return fault(format!(
                    "no scale is called '{}'; there are log and linear",
                    shortened(other)
                ));
            }
            None => (rest, option.spacing),
        };
        let Some((low, high)) = ends.split_once("..") else {
            return fault(format!("'{}' is no range such as 1e-4..1e-2", shortened(rest)));
        };
        let mut numbers = [0.0; 2];
        for (number, end) in numbers.iter_mut().zip([low.trim(), high.trim()]) {
            // Checks that each end is a value of the option.
            Changes::default().set(name, end)?;
            *number = end.parse().unwrap_or(f64::NAN);
        }
        let [low, high] = numbers;
        if !(low < high && low.is_finite() && high.is_finite()) {
            return fault(format!("a range goes from a number to a larger one, not {low}..{high}"));
        }
        if spacing == Spacing::Log && low <= 0.0 {
            return fault(format!(
                "a logarithmic range begins above 0, not at {low}; write {low}..{high}:linear"
            ));
        }
        Ok(Self { option, values: Values::Range { low, high, spacing } })
    }

    /// A list or a range, as `Display` writes them.
    ///
    /// # Errors
    /// As [`Axis::list`] and [`Axis::range`].
    pub fn parse(text: &str) -> Result<Self> {
        if text.contains("..") { Self::range(text) } else { Self::list(text) }
    }

    /// Draws one of its values. The same key gives the same value.
    pub(super) fn draw(&self, key: Key) -> String {
        // The 53 bits that an f64 has.
        let bits = key.rng().next_u64() >> 11;
        let share = bits as f64 / (1_u64 << 53) as f64;
        match &self.values {
            Values::List(values) => {
                let pick = (share * values.len() as f64) as usize;
                values[pick.min(values.len() - 1)].clone()
            }
            &Values::Range { low, high, spacing } if self.option.kind() == ValueKind::Whole => {
                // Each whole number has the part of the scale from itself to the next one.
                let number = between(low, high + 1.0, spacing, share).floor();
                number.clamp(low, high).to_string()
            }
            &Values::Range { low, high, spacing } => {
                let number = rounded(between(low, high, spacing, share));
                number.clamp(low, high).to_string()
            }
        }
    }
}

/// The number at this share of the way from `low` to `high`.
fn between(low: f64, high: f64, spacing: Spacing, share: f64) -> f64 {
    match spacing {
        Spacing::Linear => low + share * (high - low),
        Spacing::Log => libm::exp(libm::log(low) + share * (libm::log(high) - libm::log(low))),
    }
}

/// To [`DIGITS`] significant digits.
fn rounded(number: f64) -> f64 {
    format!("{number:.*e}", DIGITS - 1).parse().unwrap_or(number)
}

/// The option before the `=`, and the text after it.
fn named<'t>(text: &'t str, form: &str) -> Result<(&'static ChangeOption, &'t str)> {
    let Some((name, values)) = text.split_once('=') else {
        return Err(Error::Usage(format!("'{}' is not {form}", shortened(text))));
    };
    Ok((Changes::option(name.trim())?, values.trim()))
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=", self.option.name)?;
        match &self.values {
            Values::List(values) => {
                let has_commas = values.iter().any(|value| value.contains(','));
                write!(f, "{}", values.join(if has_commas { ";" } else { "," }))?;
                // A single value with commas in it is not several.
                if has_commas && values.len() == 1 { write!(f, ";") } else { Ok(()) }
            }
            Values::Range { low, high, spacing } => {
                let spacing = if *spacing == Spacing::Log { "log" } else { "linear" };
                write!(f, "{low}..{high}:{spacing}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;

    #[test]
    fn semicolons_part_values_with_commas() {
        for (text, number) in [
            ("schedule=constant;steps=10,20", 2),
            ("schedule=steps=1,2;cosine;plateau", 3),
            ("schedule=steps=1,2;", 1),
        ] {
            let axis = Axis::list(text).unwrap();
            assert_eq!(axis.to_string(), text);
            assert!(matches!(axis.values, Values::List(values) if values.len() == number));
        }
    }

    #[test]
    fn an_axis_reads_as_it_is_written() {
        let texts = [
            "learning-rate=0.001,3e-4",
            "optimizer=sgd,adam",
            "learning-rate=0.0001..0.01:log",
            "dropout=0..0.5:linear",
            "batch-size=16..256:log",
        ];
        for text in texts {
            assert_eq!(Axis::parse(text).unwrap().to_string(), text);
        }
        let spacing = |text| match Axis::range(text).unwrap().values {
            Values::Range { low, high, spacing } => (low, high, spacing),
            Values::List(_) => panic!(),
        };
        assert_eq!(spacing("learning-rate=1e-4..1e-2"), (1e-4, 1e-2, Spacing::Log));
        assert_eq!(spacing("learning-rate=1e-4..1e-2:linear"), (1e-4, 1e-2, Spacing::Linear));
        assert_eq!(spacing("dropout=0.1..0.5"), (0.1, 0.5, Spacing::Linear));
        assert_eq!(spacing("warm-up=0.1 .. 0.5:log"), (0.1, 0.5, Spacing::Log));
    }

    #[test]
    fn whole_numbers_are_drawn_to_both_ends() {
        let counts = |text: &str| {
            let axis = Axis::range(text).unwrap();
            let mut counts = std::collections::BTreeMap::new();
            for i in 0..4_000 {
                let drawn = axis.draw(Key::new(2, Purpose::Search).with(i));
                *counts.entry(drawn.parse::<u32>().unwrap()).or_insert(0) += 1;
            }
            counts.into_iter().collect::<Vec<(u32, i32)>>()
        };
        let linear = counts("batch-size=3..6");
        assert_eq!(linear.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [3, 4, 5, 6]);
        // Binomial(4000, 1/4): standard deviation 27.
        assert!(linear.iter().all(|(_, count)| (count - 1000).abs() < 140), "{linear:?}");
        // The shares of 1, 2 and 3 are log 2, log 3/2 and log 4/3 of log 4.
        let log = counts("batch-size=1..3:log");
        let expected = [2000.0, 1169.9, 830.1];
        assert_eq!(log.len(), 3);
        for ((_, count), expected) in log.iter().zip(expected) {
            assert!((f64::from(*count) - expected).abs() < 160.0, "{log:?}");
        }
    }
}
