//! Evaluation: how good a trained network's predictions are, in numbers, text and pictures.
//!
//! - [`Confusion`]: which class was taken for which; accuracy
//! - [`ClassificationReport`]: precision, recall and F1 per class and averaged
//! - [`log_loss()`]: the mean negative logarithm of the true class's probability
//! - [`Regression`]: MSE, RMSE, MAE and R² of predicted quantities
//! - [`Calibration`]: whether it is right as often as its probabilities say
//! - [`mistakes()`], [`confused_pairs()`], [`look_alikes()`]: what it gets wrong
//! - `plots`: the learning curves of a run as an SVG picture, `scatter`: a search's scores over its settings,
//!   `run_curves`: those of several runs, `bars`: a comparison of models, `predictions`: predicted over true values,
//!   `reliability`: accuracy over confidence (feature `program`)
//!
//! Everything here works on plain labels, predictions and numbers per epoch: it needs no network
//! and no data set, and nothing in it depends on how the predictions were made.

#[cfg(feature = "program")]
pub mod bars;
mod calibration;
mod classification;
mod confusion;
mod log_loss;
mod mistakes;
#[cfg(feature = "program")]
pub mod plots;
#[cfg(feature = "program")]
pub mod predictions;
mod regression;
#[cfg(feature = "program")]
pub mod reliability;
#[cfg(feature = "program")]
pub mod run_curves;
#[cfg(feature = "program")]
pub mod scatter;

pub use calibration::{Bin, Calibration};
pub use classification::{ClassificationReport, Scores};
pub use confusion::Confusion;
pub use log_loss::log_loss;
pub use mistakes::{ConfusedPair, confused_pairs, look_alikes, mistakes};
pub use regression::Regression;
