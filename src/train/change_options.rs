//! The options of [`Changes`] by name: one row each, for code that gets an option's name and value as text. A
//! new field of [`Changes`] gets a row here, and can then be searched too.

use super::changes::Changes;
use crate::names::shortened;
use crate::toml_file::unknown;
use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// An option of [`Changes`].
#[derive(Clone, Copy)]
pub struct ChangeOption {
    /// Its name, such as `learning-rate`.
    pub name: &'static str,
    /// How values of a range are spread by default.
    pub spacing: Spacing,
    field: Field,
}

/// The kind of value that an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// A number from 0 up without a fraction.
    Whole,
    /// Any number.
    Number,
    /// A name, or another text.
    Name,
}

/// How numbers are spread over a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// Uniform in the number.
    Linear,
    /// Uniform in its logarithm.
    Log,
}

/// The field that an option sets.
#[derive(Clone, Copy)]
enum Field {
    Whole(Place<usize>),
    Single(Place<f32>),
    Double(Place<f64>),
    Name(Place<String>),
}

type Place<T> = fn(&mut Changes) -> &mut Option<T>;

const fn option(name: &'static str, spacing: Spacing, field: Field) -> ChangeOption {
    ChangeOption { name, spacing, field }
}

impl Changes {
    /// Every option that there is.
    pub const OPTIONS: &'static [ChangeOption] = &[
        option("epochs", Spacing::Linear, Field::Whole(|c| &mut c.epochs)),
        option("batch-size", Spacing::Linear, Field::Whole(|c| &mut c.batch_size)),
        option("optimizer", Spacing::Linear, Field::Name(|c| &mut c.optimizer)),
        option("learning-rate", Spacing::Log, Field::Single(|c| &mut c.learning_rate)),
        option("momentum", Spacing::Linear, Field::Single(|c| &mut c.momentum)),
        option("weight-decay", Spacing::Log, Field::Single(|c| &mut c.weight_decay)),
        option("l2", Spacing::Log, Field::Single(|c| &mut c.l2)),
        option("label-smoothing", Spacing::Linear, Field::Single(|c| &mut c.label_smoothing)),
        option("clip-norm", Spacing::Log, Field::Single(|c| &mut c.clip_norm)),
        option("weight-average", Spacing::Linear, Field::Single(|c| &mut c.weight_average)),
        option("schedule", Spacing::Linear, Field::Name(|c| &mut c.schedule)),
        option("warm-up", Spacing::Linear, Field::Double(|c| &mut c.warm_up)),
        option("augment", Spacing::Linear, Field::Name(|c| &mut c.augment)),
        option("test-augment", Spacing::Linear, Field::Name(|c| &mut c.test_augment)),
        option("dropout", Spacing::Linear, Field::Single(|c| &mut c.dropout)),
        option("activation", Spacing::Linear, Field::Name(|c| &mut c.activation)),
        option("freeze", Spacing::Linear, Field::Name(|c| &mut c.freeze)),
        option("shards", Spacing::Linear, Field::Whole(|c| &mut c.shards)),
        option("batch-norm-over", Spacing::Linear, Field::Name(|c| &mut c.batch_norm_over)),
    ];

    /// The option of that name.
    ///
    /// # Errors
    /// [`Error::Usage`] with the nearest name, and all of them.
    pub fn option(name: &str) -> Result<&'static ChangeOption> {
        Self::OPTIONS.iter().find(|option| option.name == name).ok_or_else(|| {
            let names: Vec<_> = Self::OPTIONS.iter().map(|option| option.name).collect();
            Error::Usage(unknown("option", name, &names))
        })
    }

    /// Sets an option by name to a value in the syntax of the command line. [`Changes::apply`] checks whether
    /// the value fits a task.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is no such option, [`Error::Setting`] if the text is not a value of its
    /// kind.
    pub fn set(&mut self, name: &str, text: &str) -> Result<()> {
        let option = Self::option(name)?;
        match option.field {
            Field::Whole(place) => *place(self) = Some(option.parsed(text, "a whole number")?),
            Field::Single(place) => *place(self) = Some(option.parsed(text, "a number")?),
            Field::Double(place) => *place(self) = Some(option.parsed(text, "a number")?),
            Field::Name(place) => *place(self) = Some(text.to_owned()),
        }
        Ok(())
    }
}

impl ChangeOption {
    /// The kind of value that it takes.
    pub const fn kind(&self) -> ValueKind {
        match self.field {
            Field::Whole(_) => ValueKind::Whole,
            Field::Single(_) | Field::Double(_) => ValueKind::Number,
            Field::Name(_) => ValueKind::Name,
        }
    }

    /// This option of `all`, and no other.
    pub(super) fn alone(&self, all: &Changes) -> Changes {
        fn copied<T>(place: Place<T>, all: &Changes) -> Changes {
            let mut one = Changes::default();
            *place(&mut one) = place(&mut all.clone()).take();
            one
        }
        match self.field {
            Field::Whole(place) => copied(place, all),
            Field::Single(place) => copied(place, all),
            Field::Double(place) => copied(place, all),
            Field::Name(place) => copied(place, all),
        }
    }

    /// Whether `changes` has a value for it.
    pub fn is_set(&self, changes: &Changes) -> bool {
        self.alone(changes) != Changes::default()
    }

    fn parsed<T: FromStr>(&self, text: &str, what: &str) -> Result<T> {
        text.parse().map_err(|_| setting(self.name, format!("'{}' is not {what}", shortened(text))))
    }
}

impl fmt::Debug for ChangeOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.name, self.kind())
    }
}

impl PartialEq for ChangeOption {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// The fault of an option's value.
pub(super) fn setting(name: &'static str, fault: impl Into<String>) -> Error {
    Error::Setting { name, fault: fault.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text that the option takes.
    fn value(option: &ChangeOption) -> &'static str {
        if option.kind() == ValueKind::Name { "adam" } else { "3" }
    }

    /// Each row sets a field of its own.
    #[test]
    fn an_option_sets_its_field_and_no_other() {
        for option in Changes::OPTIONS {
            let mut changes = Changes::default();
            changes.set(option.name, value(option)).unwrap();
            for other in Changes::OPTIONS {
                assert_eq!(other.is_set(&changes), other == option, "{option:?}, {other:?}");
            }
            assert_eq!(option.alone(&changes), changes);
        }
        let mut changes = Changes::default();
        for (name, text) in [("epochs", "4"), ("batch-size", "8"), ("learning-rate", "1e-3")] {
            changes.set(name, text).unwrap();
        }
        for (name, text) in [("momentum", "0.5"), ("warm-up", "1.5"), ("dropout", "0.25")] {
            changes.set(name, text).unwrap();
        }
        for (name, text) in [("optimizer", "sgd"), ("schedule", "cosine"), ("activation", "tanh")] {
            changes.set(name, text).unwrap();
        }
        for (name, text) in [("weight-decay", "0.01"), ("l2", "0.02"), ("label-smoothing", "0.1")] {
            changes.set(name, text).unwrap();
        }
        for (name, text) in [("clip-norm", "2"), ("weight-average", "0.9"), ("freeze", "1")] {
            changes.set(name, text).unwrap();
        }
        changes.set("augment", "flip").unwrap();
        assert_eq!(changes.augment.as_deref(), Some("flip"));
        assert_eq!((changes.weight_decay, changes.l2), (Some(0.01), Some(0.02)));
        assert_eq!(changes.label_smoothing, Some(0.1));
        assert_eq!(changes.freeze.as_deref(), Some("1"));
        assert_eq!((changes.clip_norm, changes.weight_average), (Some(2.0), Some(0.9)));
        changes.set("shards", "4").unwrap();
        changes.set("batch-norm-over", "shard").unwrap();
        assert_eq!((changes.shards, changes.batch_norm_over.as_deref()), (Some(4), Some("shard")));
        assert_eq!((changes.epochs, changes.batch_size), (Some(4), Some(8)));
        assert_eq!((changes.learning_rate, changes.momentum), (Some(1e-3), Some(0.5)));
        assert_eq!((changes.warm_up, changes.dropout), (Some(1.5), Some(0.25)));
        let names = [&changes.optimizer, &changes.schedule, &changes.activation];
        assert_eq!(names.map(|name| name.as_deref().unwrap()), ["sgd", "cosine", "tanh"]);
    }

    #[test]
    fn what_is_no_value_is_refused_by_name() {
        let mut changes = Changes::default();
        let error = changes.set("learning-rte", "1").unwrap_err().to_string();
        assert!(error.contains("did you mean 'learning-rate'?"), "{error}");
        for (name, text) in [("batch-size", "1.5"), ("epochs", "-1"), ("dropout", "half")] {
            let error = changes.set(name, text).unwrap_err();
            assert!(matches!(error, Error::Setting { name: n, .. } if n == name), "{error}");
            assert!(error.to_string().contains(text), "{error}");
        }
        assert_eq!(changes, Changes::default());
    }
}
