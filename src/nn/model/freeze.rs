//! Frozen layers: training does not change them.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::plan::{Plan, PlannedLayer};
use crate::error::{Error, Result};
use crate::names::{nearest, shortened};

/// The layers of a network that training does not change: neither their parameters nor their moving
/// statistics, with which they normalise in training too (as with Keras's `trainable = False`, or PyTorch's
/// `eval()` of that layer). Dropout still drops. In files this is a number or a list of names:
/// `freeze = 2`, `freeze = ["conv2d", "batch_normalization*"]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Freeze {
    /// The first layers that have parameters, this many.
    First(usize),
    /// The layers with these names ([`PlannedLayer::name`]). A `*` at the end stands for any ending.
    Layers(Vec<String>),
}

/// Freezes no layer.
impl Default for Freeze {
    fn default() -> Self {
        Self::Layers(Vec::new())
    }
}

impl Freeze {
    /// Whether every layer learns.
    pub fn is_none(&self) -> bool {
        match self {
            Self::First(layers) => *layers == 0,
            Self::Layers(names) => names.is_empty(),
        }
    }
}

/// `2`, or names separated by commas.
impl FromStr for Freeze {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Ok(layers) = text.trim().parse() {
            return Ok(Self::First(layers));
        }
        Ok(Self::Layers(names_of(text)))
    }
}

impl fmt::Display for Freeze {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First(layers) => write!(f, "{layers}"),
            Self::Layers(names) => f.write_str(&names.join(",")),
        }
    }
}

/// Splits names that are separated by commas.
pub(crate) fn names_of(text: &str) -> Vec<String> {
    text.split(',').map(|name| name.trim().to_owned()).collect()
}

impl Serialize for Freeze {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::First(layers) => layers.serialize(serializer),
            Self::Layers(names) => names.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Freeze {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Freeze;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of layers or a list of their names")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> std::result::Result<Freeze, E> {
                let wrong = |_| E::invalid_value(de::Unexpected::Signed(value), &self);
                usize::try_from(value).map(Freeze::First).map_err(wrong)
            }

            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut list: A,
            ) -> std::result::Result<Freeze, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = list.next_element()? {
                    names.push(name);
                }
                Ok(Freeze::Layers(names))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl Plan {
    /// Freezes these layers, and lets all others learn.
    ///
    /// # Errors
    /// [`Error::Setting`] if there is no such layer (the message names the nearest one), if it has nothing
    /// to freeze, or if no layer is left that learns.
    pub fn freeze(&mut self, freeze: &Freeze) -> Result<()> {
        let refuse = |fault| Err(Error::Setting { name: "freeze", fault });
        let with_parameters: Vec<usize> =
            (0..self.layers().len()).filter(|&i| self.layers()[i].parameter_count() > 0).collect();
        let frozen = match freeze {
            Freeze::First(layers) if *layers > with_parameters.len() => {
                let all = with_parameters.len();
                return refuse(format!(
                    "the network has {all} layers with parameters, fewer than {layers}"
                ));
            }
            Freeze::First(layers) => with_parameters[..*layers].to_vec(),
            Freeze::Layers(names) => self.with_parameters("freeze", names)?,
        };
        self.mark_frozen(&frozen);
        if self.learning().is_empty() {
            return refuse("no layer is left that learns".to_owned());
        }
        Ok(())
    }

    /// The indices of the layers with parameters that these names match, in the network's order.
    ///
    /// # Errors
    /// [`Error::Setting`] of the setting `setting` if a name matches none.
    pub(crate) fn with_parameters(
        &self,
        setting: &'static str,
        names: &[String],
    ) -> Result<Vec<usize>> {
        let mut found = Vec::new();
        for name in names {
            let is_meant = |layer: &PlannedLayer| match name.strip_suffix('*') {
                Some(beginning) => layer.name.starts_with(beginning),
                None => layer.name == *name,
            };
            let meant = self.layers().iter().enumerate().filter(|(_, layer)| is_meant(layer));
            let before = found.len();
            let mut is_there = false;
            for (index, layer) in meant {
                is_there = true;
                if layer.parameter_count() > 0 {
                    found.push(index);
                }
            }
            if found.len() > before {
                continue;
            }
            let shown = shortened(name);
            let fault = if is_there {
                format!("'{shown}' has no parameters")
            } else {
                let own = self.layers().iter().filter(|layer| layer.parameter_count() > 0);
                let own: Vec<&str> = own.map(|layer| layer.name.as_str()).collect();
                let hint = nearest(name.trim_end_matches('*'), own.iter().copied())
                    .map_or(String::new(), |near| format!("; did you mean '{near}'?"));
                let there = own.join(", ");
                format!("no layer is called '{shown}'{hint} (those with parameters are {there})")
            };
            return Err(Error::Setting { name: setting, fault });
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }
}
