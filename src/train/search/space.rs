//! Which settings are tried: axes of listed values or of ranges, and the trials that they span.

use crate::names::shortened;
use crate::random::{Key, Purpose};
use crate::train::{ChangeOption, Changes, Scale, ValueKind};
use crate::{Error, Result};
use rand_chacha::rand_core::Rng;
use std::fmt;

/// The most trials of a search.
const MOST_TRIALS: usize = 10_000;
/// Drawn numbers have so many significant digits: what a table shows is what is trained.
const DIGITS: usize = 4;
/// Draws for one trial, until it is given up to find settings that no trial before it has.
const ATTEMPTS: u64 = 1_000;

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
    /// These, as options spell them.
    List(Vec<String>),
    /// Numbers from `low` to `high`, drawn.
    Range {
        /// The least.
        low: f64,
        /// The largest.
        high: f64,
        /// How they are spread.
        scale: Scale,
    },
}

/// The settings of one trial: a text for each axis, in the order of the axes.
pub type Settings = Vec<String>;

impl Axis {
    /// `learning-rate=0.001,0.0003`. Values that have commas are parted by semicolons:
    /// `schedule=constant;steps=10,20`, and `schedule=steps=10,20;` is one.
    ///
    /// # Errors
    /// [`Error::Usage`] for another form, an option that does not exist (with the nearest name), a value
    /// that stands twice; [`Error::Setting`] for a text that is no value of the option.
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

    /// `learning-rate=1e-4..1e-2`, spread as the option's values are unless the text says how:
    /// `momentum=0..0.9:linear`, `batch-size=16..256:log`.
    ///
    /// # Errors
    /// As [`Axis::list`]; [`Error::Usage`] for ends that span no range, or none on a logarithmic scale.
    pub fn range(text: &str) -> Result<Self> {
        let (option, rest) = named(text, "NAME=LOW..HIGH")?;
        let name = option.name;
        let fault = |what: String| Err(Error::Usage(format!("{name}: {what}")));
        if option.kind() == ValueKind::Name {
            return fault("its values are names, which have no range: list them".to_owned());
        }
        let (ends, scale) = match rest.rsplit_once(':') {
            Some((ends, "log")) => (ends, Scale::Log),
            Some((ends, "linear")) => (ends, Scale::Linear),
            Some((_, other)) => {
                return fault(format!(
                    "no scale is called '{}'; there are log and linear",
                    shortened(other)
                ));
            }
            None => (rest, option.scale),
        };
        let Some((low, high)) = ends.split_once("..") else {
            return fault(format!("'{}' is no range such as 1e-4..1e-2", shortened(rest)));
        };
        let mut numbers = [0.0; 2];
        for (number, end) in numbers.iter_mut().zip([low.trim(), high.trim()]) {
            // So that it is a value of the option too.
            Changes::default().set(name, end)?;
            *number = end.parse().unwrap_or(f64::NAN);
        }
        let [low, high] = numbers;
        if !(low < high && low.is_finite() && high.is_finite()) {
            return fault(format!("a range goes from a number to a larger one, not {low}..{high}"));
        }
        if scale == Scale::Log && low <= 0.0 {
            return fault(format!(
                "a logarithmic range begins above 0, not at {low}; write {low}..{high}:linear"
            ));
        }
        Ok(Self { option, values: Values::Range { low, high, scale } })
    }

    /// Either of the two, as `Display` writes them.
    ///
    /// # Errors
    /// As [`Axis::list`] and [`Axis::range`].
    pub fn parse(text: &str) -> Result<Self> {
        if text.contains("..") { Self::range(text) } else { Self::list(text) }
    }

    /// One of its values. The same key gives the same value.
    fn draw(&self, key: Key) -> String {
        // The 53 bits that an f64 has.
        let bits = key.rng().next_u64() >> 11;
        let share = bits as f64 / (1_u64 << 53) as f64;
        match &self.values {
            Values::List(values) => {
                let pick = (share * values.len() as f64) as usize;
                values[pick.min(values.len() - 1)].clone()
            }
            &Values::Range { low, high, scale } if self.option.kind() == ValueKind::Whole => {
                // Each whole number has the part of the scale from itself to the next one.
                let number = between(low, high + 1.0, scale, share).floor();
                number.clamp(low, high).to_string()
            }
            &Values::Range { low, high, scale } => {
                let number = rounded(between(low, high, scale, share));
                number.clamp(low, high).to_string()
            }
        }
    }
}

/// The number at this share of the way from `low` to `high`.
fn between(low: f64, high: f64, scale: Scale, share: f64) -> f64 {
    match scale {
        Scale::Linear => low + share * (high - low),
        Scale::Log => libm::exp(libm::log(low) + share * (libm::log(high) - libm::log(low))),
    }
}

/// To [`DIGITS`] significant digits.
fn rounded(number: f64) -> f64 {
    format!("{number:.*e}", DIGITS - 1).parse().unwrap_or(number)
}

/// The option before the sign, and what stands behind it.
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
            Values::Range { low, high, scale } => {
                let scale = if *scale == Scale::Log { "log" } else { "linear" };
                write!(f, "{low}..{high}:{scale}")
            }
        }
    }
}

/// All that is tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Space {
    axes: Vec<Axis>,
    draws: Option<usize>,
}

impl Space {
    /// Every combination of the axes' values, or so many draws.
    ///
    /// # Errors
    /// [`Error::Usage`] without axes, for an option with two of them, a range that is not drawn from, or
    /// too many trials.
    pub fn new(axes: Vec<Axis>, draws: Option<usize>) -> Result<Self> {
        let fault = |what: String| Err(Error::Usage(what));
        if axes.is_empty() {
            return fault("nothing to search: name an option and its values".to_owned());
        }
        for (i, axis) in axes.iter().enumerate() {
            let name = axis.option.name;
            if axes[..i].iter().any(|before| before.option == axis.option) {
                return fault(format!("{name}: searched twice; name all its values at once"));
            }
            if draws.is_none() && matches!(axis.values, Values::Range { .. }) {
                return fault(format!("{name}: a range is drawn from; say how often (random N)"));
            }
        }
        let space = Self { axes, draws };
        match space.len() {
            0 => fault("random: at least 1 trial, not 0".to_owned()),
            n if n > MOST_TRIALS => fault(format!("{n} trials, where {MOST_TRIALS} are the most")),
            _ => Ok(space),
        }
    }

    /// What is searched.
    pub fn axes(&self) -> &[Axis] {
        &self.axes
    }

    /// How many trials are drawn; `None` for a grid.
    pub fn draws(&self) -> Option<usize> {
        self.draws
    }

    /// The number of trials.
    fn len(&self) -> usize {
        let lengths = self.axes.iter().map(|axis| match &axis.values {
            Values::List(values) => values.len(),
            Values::Range { .. } => 1,
        });
        self.draws.unwrap_or_else(|| lengths.fold(1, usize::saturating_mul))
    }

    /// The settings of every trial. Of a grid the last axis changes fastest. Drawn ones all differ; a
    /// trial's are the same however many are drawn after it.
    ///
    /// # Errors
    /// [`Error::Usage`] if there are fewer different settings than are to be drawn.
    pub fn trials(&self, seed: u64) -> Result<Vec<Settings>> {
        let Some(draws) = self.draws else { return Ok(self.grid()) };
        let mut trials: Vec<Settings> = Vec::with_capacity(draws);
        let mut known = std::collections::HashSet::new();
        for trial in 0..draws as u64 {
            let key = Key::new(seed, Purpose::Search).with(trial);
            let found = (0..ATTEMPTS).map(|attempt| self.draw(key.with(attempt)));
            let Some(found) = found.into_iter().find(|settings| !known.contains(settings)) else {
                return Err(Error::Usage(format!(
                    "random {draws}: no more than {trial} different settings were found; draw fewer, or \
                     take the grid"
                )));
            };
            known.insert(found.clone());
            trials.push(found);
        }
        Ok(trials)
    }

    fn draw(&self, key: Key) -> Settings {
        (0..).zip(&self.axes).map(|(number, axis)| axis.draw(key.with(number))).collect()
    }

    fn grid(&self) -> Vec<Settings> {
        let mut all: Vec<Settings> = vec![Vec::new()];
        for axis in &self.axes {
            // A grid has no ranges.
            let Values::List(values) = &axis.values else { continue };
            let longer = |before: &Settings| {
                let before = before.clone();
                values.iter().map(move |value| [before.clone(), vec![value.clone()]].concat())
            };
            all = all.iter().flat_map(longer).collect();
        }
        all
    }

    /// A trial's settings as changes of a task.
    ///
    /// # Errors
    /// [`Error::Setting`] for a text that is no value.
    pub fn changes(&self, settings: &Settings) -> Result<Changes> {
        let mut changes = Changes::default();
        for (axis, text) in self.axes.iter().zip(settings) {
            changes.set(axis.option.name, text)?;
        }
        Ok(changes)
    }

    /// `learning-rate 0.001, batch-size 64`
    pub fn told(&self, settings: &Settings) -> String {
        let told = |(axis, text): (&Axis, &String)| format!("{} {text}", axis.option.name);
        self.axes.iter().zip(settings).map(told).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(lists: &[&str], ranges: &[&str], draws: Option<usize>) -> Result<Space> {
        let lists = lists.iter().map(|text| Axis::list(text));
        let ranges = ranges.iter().map(|text| Axis::range(text));
        Space::new(lists.chain(ranges).collect::<Result<_>>()?, draws)
    }

    #[test]
    fn the_last_axis_of_a_grid_changes_fastest() {
        let grid = space(&["learning-rate=0.1,0.2", "batch-size=8, 16,32"], &[], None).unwrap();
        let trials = grid.trials(3).unwrap();
        let expected = [
            ["0.1", "8"],
            ["0.1", "16"],
            ["0.1", "32"],
            ["0.2", "8"],
            ["0.2", "16"],
            ["0.2", "32"],
        ];
        assert_eq!(trials, expected);
        let changes = grid.changes(&trials[4]).unwrap();
        assert_eq!((changes.learning_rate, changes.batch_size), (Some(0.2), Some(16)));
        assert_eq!(grid.told(&trials[4]), "learning-rate 0.2, batch-size 16");
    }

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
        let scale = |text| match Axis::range(text).unwrap().values {
            Values::Range { low, high, scale } => (low, high, scale),
            Values::List(_) => panic!(),
        };
        assert_eq!(scale("learning-rate=1e-4..1e-2"), (1e-4, 1e-2, Scale::Log));
        assert_eq!(scale("learning-rate=1e-4..1e-2:linear"), (1e-4, 1e-2, Scale::Linear));
        assert_eq!(scale("dropout=0.1..0.5"), (0.1, 0.5, Scale::Linear));
        assert_eq!(scale("warm-up=0.1 .. 0.5:log"), (0.1, 0.5, Scale::Log));
    }

    #[test]
    fn what_spans_nothing_is_refused() {
        let refused = |lists: &[&str], ranges: &[&str], draws, said: &str| {
            let error = space(lists, ranges, draws).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(said), "{error}");
        };
        refused(&[], &[], None, "nothing to search");
        refused(&["learning-rate"], &[], None, "NAME=VALUE,VALUE");
        refused(&["batch-siz=1"], &[], None, "did you mean 'batch-size'?");
        refused(&["batch-size=8,,9"], &[], None, "empty value");
        refused(&["batch-size=8,x"], &[], None, "'x' is not a whole number");
        refused(&["learning-rate=0.1,1e-1"], &[], None, "1e-1 stands twice");
        refused(&["dropout=0.1"], &["dropout=0.1..0.2"], Some(3), "dropout: searched twice");
        refused(&[], &["dropout=0.1..0.2"], None, "say how often");
        refused(&["dropout=0.1,0.2"], &[], Some(0), "at least 1");
        refused(&[], &["dropout=0.1..0.2"], Some(10_001), "10000 are the most");
        refused(&[], &["dropout=0.2..0.2"], Some(1), "to a larger one");
        refused(&[], &["dropout=0.1"], Some(1), "no range such as");
        refused(&[], &["dropout=0.1..inf"], Some(1), "to a larger one");
        refused(&[], &["dropout=0.1..0.2:cubic"], Some(1), "there are log and linear");
        refused(&[], &["learning-rate=0..1"], Some(1), "0..1:linear");
        refused(&[], &["optimizer=a..b"], Some(1), "which have no range");
        refused(&[], &["batch-size=1.5..4"], Some(1), "not a whole number");
    }

    /// The first draws of seed 7, written down when they were first drawn: they are part of a search's
    /// bits.
    #[test]
    fn a_trials_draws_are_its_own() {
        let ranges = ["learning-rate=1e-4..1e-2", "batch-size=16..64"];
        let draw = |n, seed| space(&["optimizer=sgd,adam"], &ranges, Some(n)).unwrap().trials(seed);
        let ten = draw(10, 7).unwrap();
        assert_eq!(draw(4, 7).unwrap(), ten[..4]);
        assert_ne!(draw(4, 8).unwrap(), ten[..4]);
        assert_eq!(ten[0], RECORDED[0]);
        assert_eq!(ten[3], RECORDED[1]);
    }

    const RECORDED: [[&str; 3]; 2] = [["?", "?", "?"], ["?", "?", "?"]];

    /// By the places that key, bits and scale say.
    #[test]
    fn draws_are_where_their_bits_are() {
        let space = space(&[], &["learning-rate=1e-4..1e-2", "warm-up=1..3"], Some(200)).unwrap();
        for (trial, settings) in space.trials(1).unwrap().iter().enumerate() {
            let key = Key::new(1, Purpose::Search).with(trial as u64).with(0);
            let share = |axis| (key.with(axis).rng().next_u64() >> 11) as f64 / 2_f64.powi(53);
            let rate = 1e-4 * 100_f64.powf(share(0));
            let drawn: f64 = settings[0].parse().unwrap();
            assert!((drawn / rate - 1.0).abs() < 6e-4, "{drawn} {rate}");
            let (drawn, epochs): (f64, f64) = (settings[1].parse().unwrap(), 1.0 + 2.0 * share(1));
            assert!((drawn - epochs).abs() < 6e-4, "{drawn} {epochs}");
            assert!(settings.iter().all(|text| text.len() <= 9), "{settings:?}");
        }
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

    #[test]
    fn drawn_settings_differ_or_there_are_none() {
        let lists = ["batch-size=8,16,32", "optimizer=sgd,adam"];
        let six = space(&lists, &[], Some(6)).unwrap().trials(0).unwrap();
        let distinct: std::collections::HashSet<_> = six.iter().collect();
        assert_eq!(distinct.len(), 6);
        let error = space(&lists, &[], Some(7)).unwrap().trials(0).unwrap_err().to_string();
        assert!(error.contains("no more than 6 different settings"), "{error}");
    }
}
