//! Hyperparameter search: the same task with other settings, trial by trial, and which of them is best on the
//! validation samples. The test samples have no part in the choice.
//!
//! - [`Axis`], [`Space`]: which settings are tried, all of a grid or a number of draws
//! - [`halving`]: how long each trial trains, where bad ones end early; a function of results alone
//! - [`Definition`] and [`Row`]: what decides a search, and what came of each trial, as `search.toml` holds
//!   them
//! - [`Search`]: a folder in which trials train side by side, each a run folder of its own
//! - [`train_for_first`]: what other ranks do for the one that has the search
//!
//! The result of a search depends on its definition alone: a trial has the same bits at any number of threads
//! and after every resume, and a rung is decided when all its trials have finished it.

mod axis;
mod folder;
pub mod halving;
mod lanes;
mod ranks;
mod space;
mod state;

pub use axis::{Axis, Values};
pub use folder::{Search, Standing};
pub use halving::Metric;
pub use lanes::{Resources, Step};
pub use ranks::train_for_first;
pub use space::{Settings, Space};
pub use state::{Definition, Row, Scores};
