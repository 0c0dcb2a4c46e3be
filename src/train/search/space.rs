//! Which settings are tried: the trials that axes span.

use super::axis::{Axis, Values};
use crate::random::{Key, Purpose};
use crate::train::Changes;
use crate::{Error, Result};

/// The most trials of a search.
const MOST_TRIALS: usize = 10_000;
/// The most draws for one trial to find settings that no trial before it has.
const ATTEMPTS: u64 = 1_000;

/// The settings of one trial: a text for each axis, in the order of the axes.
pub type Settings = Vec<String>;

/// The settings that are searched.
#[derive(Clone, Debug, PartialEq)]
pub struct Space {
    axes: Vec<Axis>,
    draws: Option<usize>,
}

impl Space {
    /// Every combination of the axes' values, or `draws` random trials.
    ///
    /// # Errors
    /// [`Error::Usage`] without axes, for two axes of one option, a range in a grid, or too many trials.
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

    /// The settings of every trial. In a grid, the last axis changes fastest. Drawn settings all differ;
    /// those of a trial do not depend on how many are drawn after it.
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
    /// [`Error::Setting`] for a text that is not a value of its option.
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
    use rand_chacha::rand_core::Rng;

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

    /// The first draws of seed 7, recorded when they were first drawn: they are part of a search's bits.
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

    const RECORDED: [[&str; 3]; 2] = [["sgd", "0.002796", "47"], ["sgd", "0.0004456", "48"]];

    /// Compares the draws with values computed from key, bits and scale.
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
    fn drawn_settings_differ_or_there_are_none() {
        let lists = ["batch-size=8,16,32", "optimizer=sgd,adam"];
        let six = space(&lists, &[], Some(6)).unwrap().trials(0).unwrap();
        let distinct: std::collections::HashSet<_> = six.iter().collect();
        assert_eq!(distinct.len(), 6);
        let error = space(&lists, &[], Some(7)).unwrap().trials(0).unwrap_err().to_string();
        assert!(error.contains("no more than 6 different settings"), "{error}");
    }
}
