//! Where two tasks differ: the first key of their files that has another value.

use std::fmt;

use toml::Value;

use super::task::Task;
use crate::Result;
use crate::names::shortened;

/// A key with two values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The key: `optimizer.learning-rate`; for a layer with its number, `layer 3: units` or
    /// `layer 3: activation.leaky-relu`.
    pub key: String,
    /// Its value in the first task, as in a file; `None` where the key is missing.
    pub one: Option<String>,
    /// Its value in the other task.
    pub other: Option<String>,
}

/// `epochs is 20, and was 10`
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |value: &Option<String>| value.as_deref().map_or("not there".into(), shortened);
        write!(f, "{} is {}, and was {}", self.key, told(&self.one), told(&self.other))
    }
}

impl Task {
    /// The first setting, in the order of the keys (`kind` and `name` before others), in which this task
    /// differs from `other`.
    ///
    /// # Errors
    /// As [`Task::to_toml`].
    pub fn difference(&self, other: &Self) -> Result<Option<Difference>> {
        let [one, other] = [self.to_table()?, other.to_table()?].map(Value::Table);
        Ok(differing("", Some(&one), Some(&other)))
    }
}

fn differing(key: &str, one: Option<&Value>, other: Option<&Value>) -> Option<Difference> {
    match (one, other) {
        (Some(Value::Table(one)), Some(Value::Table(other))) => {
            let only_there = other.keys().filter(|key| !one.contains_key(*key));
            // The kind or name first, then settings that only one of them has.
            let (first, others): (Vec<_>, Vec<_>) = one
                .keys()
                .chain(only_there)
                .partition(|key| ["kind", "name"].contains(&key.as_str()));
            first.into_iter().chain(others).find_map(|name| {
                let inner = match key {
                    "" => name.clone(),
                    key if key.starts_with("layer ") && !key.contains(':') => {
                        format!("{key}: {name}")
                    }
                    key => format!("{key}.{name}"),
                };
                differing(&inner, one.get(name), other.get(name))
            })
        }
        (Some(Value::Array(one)), Some(Value::Array(other))) if key == "layers" => {
            (0..one.len().max(other.len()))
                .find_map(|i| differing(&format!("layer {}", i + 1), one.get(i), other.get(i)))
        }
        (one, other) if one == other => None,
        (one, other) => {
            let text = |value: Option<&Value>| value.map(Value::to_string);
            Some(Difference { key: key.to_owned(), one: text(one), other: text(other) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Activation, dense};

    #[test]
    fn the_first_key_is_named_with_both_values() {
        let layers = vec![dense(3, Activation::Relu), dense(2, Activation::Linear)];
        let task = Task { layers, ..Task::default() };
        let told = |changed: &Task| {
            task.difference(changed).unwrap().map(|difference| difference.to_string())
        };
        assert_eq!(told(&task), None);
        let mut changed = task.clone();
        changed.batch_size = task.batch_size + 1;
        let (batch, more) = (task.batch_size, task.batch_size + 1);
        assert_eq!(told(&changed).unwrap(), format!("batch-size is {batch}, and was {more}"));
        changed = task.clone();
        changed.layers[1] = dense(4, Activation::Linear);
        assert_eq!(told(&changed).unwrap(), "layer 2: units is 2, and was 4");
        changed.layers.pop();
        assert!(told(&changed).unwrap().starts_with("layer 2 is {"), "{:?}", told(&changed));
        assert!(told(&changed).unwrap().ends_with(", and was not there"));
        changed = task.clone();
        changed.optimizer = task.optimizer.with_learning_rate(0.25);
        let line = told(&changed).unwrap();
        assert!(line.starts_with("optimizer.learning-rate is "), "{line}");
        assert!(line.ends_with(", and was 0.25"), "{line}");
    }
}
