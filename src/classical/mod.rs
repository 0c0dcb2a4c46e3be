//! Models that are no networks, for comparison with them: logistic regression, the nearest neighbours, and random
//! forests, each as scikit-learn has it by default. A module uses only those listed before it:
//!
//! - `sample_rows`, `model_file`: samples as these models read them, and files of models
//! - `lbfgs`: minimising a smooth function; [`Logistic`]: multinomial logistic regression
//! - [`Neighbours`]: the nearest training samples, exactly
//! - [`forest`]: random forests of classes or values on columns of bytes; [`SampleForest`]: one on samples
//! - [`Kind`], [`Classifier`]: any of the three, fitted, saved and loaded in the same way
//! - [`naive`]: their twins
//!
//! ```
//! use std::ops::ControlFlow::Continue;
//! use threadcount::classical::{Classifier, Kind, Settings};
//! use threadcount::data::{Samples, Shape};
//! use threadcount::kernels::{Isa, Team};
//!
//! let x: Vec<u8> = (0..200).map(|i| (i * 37 % 256) as u8).collect();
//! let labels: Vec<u8> = x.chunks(2).map(|p| u8::from(p[0] > p[1])).collect();
//! let samples = Samples::new(Shape::Flat(2), x, &labels)?;
//! let (team, settings) = (Team::solo(Isa::best()), Settings { k: 1, ..Settings::default() });
//! for kind in Kind::ALL {
//!     let model = Classifier::fit(kind, &team, &samples, &settings, &|| Continue(()))?;
//!     let probabilities = model.probabilities(&team, &samples)?; // [100, 2]
//!     assert_eq!(probabilities.len(), 200);
//! }
//! # Ok::<(), threadcount::Error>(())
//! ```
#![forbid(unsafe_code)]

mod classifier;
pub mod forest;
mod kind;
mod lbfgs;
mod logistic;
mod model_file;
pub mod naive;
mod neighbours;
mod sample_forest;
mod sample_rows;

use std::ops::ControlFlow;

pub use classifier::{Classifier, Facts, Settings, most_probable};
pub use forest::Forest;
pub use kind::Kind;
pub use lbfgs::{Ended, Minimised};
pub use logistic::{Logistic, LogisticSettings};
pub use neighbours::{Neighbour, Neighbours};
pub use sample_forest::SampleForest;

/// Asked again and again, from any thread, while something is fitted or predicted: `Break` ends that with
/// [`Error::Interrupted`](crate::Error::Interrupted).
pub type GoOn<'a> = dyn Fn() -> ControlFlow<()> + Sync + 'a;

/// To the end.
pub(crate) const TO_THE_END: &GoOn<'static> = &|| ControlFlow::Continue(());

/// Ends what was asked to end.
pub(crate) fn check(go_on: &GoOn<'_>) -> crate::Result<()> {
    match go_on() {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(crate::Error::Interrupted(String::new())),
    }
}
